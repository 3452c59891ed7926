"""The kinds of sinks that there are, and the sinks that a process has.

A new kind is registered in `KINDS`; the conformance tests then fail until they hold it against its promises.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec

from meeta_bot.delivery import jsonl
from meeta_bot.delivery.postgres import PostgresSink
from meeta_bot.delivery.sink import Sink
from meeta_bot.settings import Settings

DATABASE = "database"
FILE = "jsonl"
STREAM = "jsonl-stream"


class Destination(msgspec.Struct, frozen=True):
    """A place that events go to: the kind of its sink, and what that kind calls it, such as a file's absolute path."""

    kind: str
    target: str

    def __repr__(self) -> str:
        shown = repr(self.target) if can_be_owed(self) else "…"  # the database's may hold a password
        return f"Destination({self.kind!r}, {shown})"


class Kind(NamedTuple):
    """A kind of sink.

    ``name`` is what the log calls it, ``make`` makes one for a target. One that ``can_be_owed`` can be opened by
    another process later, and its target is no secret: a spool names it (`meeta_bot.delivery.owed`). That is not so
    for the database, which every spool owes its events anyway, nor for standard output, which is gone with its process.
    """

    name: str
    make: Callable[[str, Settings], Sink]
    can_be_owed: bool


def _file(target: str, settings: Settings) -> Sink:
    return jsonl.JsonLinesSink(Path(target), settings)


def _stream(_target: str, settings: Settings) -> Sink:
    return jsonl.standard_output(settings)


KINDS = {
    DATABASE: Kind("database", PostgresSink, can_be_owed=False),
    FILE: Kind("JSON Lines", _file, can_be_owed=True),
    STREAM: Kind("JSON Lines", _stream, can_be_owed=False),
}


def can_be_owed(destination: Destination) -> bool:
    """Tell a destination that another process could deliver to from one that is gone with this process."""
    return destination.kind in KINDS and KINDS[destination.kind].can_be_owed


def json_lines(target: str) -> Destination:
    """Return the destination of ``--jsonl TARGET``: a file's name, or ``-`` for standard output."""
    if target == jsonl.STANDARD_OUTPUT:
        return Destination(STREAM, target)
    return Destination(FILE, str(Path(target).absolute()))


def make(destination: Destination, settings: Settings) -> Sink:
    """Make a sink of its kind.

    :raises UsageError: there can't be one here.
    """
    return KINDS[destination.kind].make(destination.target, settings)


class Sinks:
    """The sinks beside the database that this process has: one for each destination, which all its spools share.

    A file is locked by the sink that has it open, so that a second one in the same process could not write to it.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._sinks: dict[Destination, Sink] = {}

    def get(self, destination: Destination) -> Sink:
        """Return the sink of a destination.

        :raises UsageError: there can't be one here.
        """
        if destination not in self._sinks:
            self._sinks[destination] = make(destination, self._settings)
        return self._sinks[destination]

    async def close(self) -> None:
        """Close all of them. Safe to call twice."""
        await asyncio.gather(*(sink.close() for sink in self._sinks.values()))
