"""Loads ``sql/``: the repository's folder in a checkout, ``meeta_bot/sql`` in a wheel.

``queries/`` holds what the program asks, many statements to a file, each below a line with its name::

    -- name: meetings
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


@cache
def _root() -> Path:
    packaged = Path(__file__).parent / "sql"
    return packaged if packaged.is_dir() else Path(__file__).parent.parent / "sql"


@cache
def statement(name: str) -> str:
    """Return the text of a statement: that below ``-- name: meetings`` in ``reading.sql`` for ``"reading/meetings"``.

    :raises LookupError: there is no such statement, which is a bug.
    """
    file, _, wanted = name.partition("/")
    try:
        return _statements(_root() / "queries" / f"{file}.sql")[wanted]
    except (FileNotFoundError, KeyError):
        raise LookupError(f"There is no statement {name!r} in sql/queries") from None


@cache
def _statements(file: Path) -> dict[str, str]:
    _, *parts = _NAME.split(file.read_text(encoding="utf-8"))
    return {name: text.strip() for name, text in zip(parts[::2], parts[1::2], strict=True)}


def migrations() -> list[tuple[int, str, str]]:
    """All migrations as ``(number, name, text)``, in order. Files are named ``0001_what_it_does.sql``."""
    files = sorted((_root() / "migrations").glob("*.sql"))
    return [(int(file.stem[:4]), file.stem, file.read_text(encoding="utf-8")) for file in files]
