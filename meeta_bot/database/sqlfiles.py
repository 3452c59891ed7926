"""Loads ``sql/``: the repository's folder in a checkout, ``meeta_bot/sql`` in a wheel.

``migrations/`` makes the tables, a file a step. ``functions/`` and ``views/`` have a file for each name, as it is now.
What such a file builds on stands in lines of its own, and is created before it::

    -- after: functions/whole, views/visit_times

``queries/`` holds what the program asks, many statements to a file, each below a line with its name::

    -- name: meetings
"""

from __future__ import annotations

import hashlib
import re
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)
_AFTER = re.compile(r"^-- after: (.+)$", re.MULTILINE)


class Definition(NamedTuple):
    """A function, with all that have its name, or a view: ``name`` is ``functions/whole`` or ``views/timeline``."""

    name: str
    text: str

    @property
    def sha256(self) -> bytes:
        """The checksum of the file."""
        return checksum(self.text)


@cache
def _root() -> Path:
    packaged = Path(__file__).parents[1] / "sql"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "sql"


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


def migrations(root: Path | None = None) -> list[tuple[int, str, str]]:
    """Return all migrations as ``(number, name, text)``, in order. Files are named ``0001_what_it_does.sql``."""
    files = sorted(((root or _root()) / "migrations").glob("*.sql"))
    return [(int(file.stem[:4]), file.stem, file.read_text(encoding="utf-8")) for file in files]


@cache
def definitions(root: Path | None = None) -> tuple[Definition, ...]:
    """Return all functions and views in an order in which they can be created.

    :raises LookupError: one builds on another that has no file, which is a bug.
    :raises ValueError: some build on each other in a circle, which is a bug.
    """
    folder = root or _root()
    files = sorted([*folder.glob("functions/*.sql"), *folder.glob("views/*.sql")])
    return in_order([Definition(f"{file.parent.name}/{file.stem}", file.read_text(encoding="utf-8")) for file in files])


def in_order(unordered: list[Definition]) -> tuple[Definition, ...]:
    """Return `unordered` with each definition after those that it builds on.

    :raises LookupError: one of those is missing.
    :raises ValueError: some build on each other in a circle.
    """
    known = {definition.name: definition for definition in unordered}
    builds_on = {definition.name: after(definition) for definition in unordered}
    for name, others in builds_on.items():
        for other in others:
            if other not in known:
                raise LookupError(f"{name} is to come after {other}, which has no file")
    try:
        return tuple(known[name] for name in TopologicalSorter(builds_on).static_order())
    except CycleError as error:
        raise ValueError(f"Each of these is to come after the next: {', '.join(error.args[1][::-1])}") from None


def after(definition: Definition) -> list[str]:
    """Return the names of what `definition` builds on, as its file gives them."""
    return [name.strip() for line in _AFTER.findall(definition.text) for name in line.split(",")]


def checksum(text: str) -> bytes:
    """Return the SHA-256 of a file's text, by which a database knows what it was made of."""
    return hashlib.sha256(text.encode()).digest()
