"""Loads the statements of ``sql/``: the repository's folder in a checkout, ``meeta_bot/sql`` in a wheel."""

from __future__ import annotations

from functools import cache
from pathlib import Path


@cache
def _root() -> Path:
    packaged = Path(__file__).parents[1] / "sql"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "sql"


@cache
def statement(name: str) -> str:
    """The text of ``sql/<name>.sql``, such as ``statement("queries/meetings")``.

    :raises FileNotFoundError: there is no such file, which is a bug.
    """
    return (_root() / f"{name}.sql").read_text(encoding="utf-8")


def migrations() -> list[tuple[int, str, str]]:
    """All migrations as ``(number, name, text)``, in order. Files are named ``0001_what_it_does.sql``."""
    files = sorted((_root() / "migrations").glob("*.sql"))
    return [(int(file.stem[:4]), file.stem, file.read_text(encoding="utf-8")) for file in files]
