"""The list of rooms that ``record --rooms`` reads, in one of three forms.

The first line that is neither empty nor a comment (``#``) tells which: a heading or an assignment begins TOML, a brace
begins JSON Lines, anything else is an address. So standard input and files of any name are read alike.
"""

from __future__ import annotations

import json
import os
import re
import stat
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from meeta_bot.cli import room_values
from meeta_bot.cli.room_values import ListedRoom
from meeta_bot.errors import UsageError

LARGEST_FILE_BYTES = 4 * 2**20  # two thousand rooms with values of their own have 1 MB

_BEGINS_TOML = re.compile(r"\[\[?\s*[\w-]+\s*\]|[\w-]+\s*=")
_AS_TOML = 'write a [[room]] for each, with url = "https://meet.example.org/Standup" and other values below it'
_AS_JSON = 'an object a line: {"url": "https://meet.example.org/Standup", "max_duration": "2h"}'
_OTHERS_MAY_READ = stat.S_IRGRP | stat.S_IROTH

Key = tuple[str, str]


class Changes(NamedTuple):
    """The differences of a list from what it was before. ``changed`` rooms have other values now."""

    new: list[ListedRoom]
    gone: list[ListedRoom]
    changed: list[ListedRoom]


class RoomsFile:
    """The rooms in a file, or on standard input for ``-``, as they were when it was last read."""

    def __init__(self, name: str) -> None:
        """Read it.

        :raises UsageError: it can't be read, names no room, or has a line that can't be used.
        """
        self.name = name
        self._warning: str | None = None
        self._has_warned = False
        self.rooms = self._read()

    def warning(self) -> str | None:
        """Return, once, that others may read the secrets in it; None when they can't, or that was said before."""
        warning, self._warning = self._warning, None
        if warning is None or self._has_warned:
            return None
        self._has_warned = True
        return warning

    def reread(self) -> Changes:
        """Read it again, and return what has changed.

        :raises UsageError: as above; then nothing has changed.
        """
        if self.name == "-":
            raise UsageError("Standard input can't be read again", hint="keep the list in a file: --rooms FILE")
        before, self.rooms = self.rooms, self._read()
        return Changes(
            [room for key, room in self.rooms.items() if key not in before],
            [room for key, room in before.items() if key not in self.rooms],
            [room for key, room in self.rooms.items() if key in before and not room.is_like(before[key])],
        )

    def _read(self) -> dict[Key, ListedRoom]:
        """Read every room once, in order of the lines."""
        shown = "standard input" if self.name == "-" else self.name
        raw, mode = _bytes(self.name, shown)
        folder = Path() if self.name == "-" else Path(self.name).parent
        found: dict[Key, tuple[str, ListedRoom]] = {}
        for place, values in _entries(_decoded(raw, shown), shown):
            try:
                room = room_values.parse(values, folder.absolute())
            except UsageError as error:
                raise UsageError(f"{shown}, {place}: {_about_room(str(error))}", hint=error.hint) from None
            first, other = found.setdefault(room.address.key, (place, room))
            if not room.is_like(other):
                hint = "name each room once; the bot sits in a room once at a time"
                raise UsageError(f"{shown}, {place}: it names the room of {first} with other values", hint=hint)
        if not found:
            hint = "an address a line, such as https://meet.example.org/Standup"
            raise UsageError(f"{shown} names no room", hint=hint)
        rooms = {key: room for key, (_, room) in found.items()}
        if mode & _OTHERS_MAY_READ and any(room.has_secret for room in rooms.values()):
            self._warning = f"{shown} holds passwords or tokens, and others on this machine may read it"
        return rooms


def _about_room(problem: str) -> str:
    """Return what is wrong with a room as the end of a line that names it: problems begin with a verb."""
    return f"it {problem}" if problem.startswith(("has ", "is ")) else problem


def _entries(text: str, shown: str) -> Iterator[tuple[str, Any]]:
    """Return where each room stands in a list, and its values.

    :raises UsageError: the list as a whole, or one of its lines, can't be understood.
    """
    lines = [(number, line.strip()) for number, line in enumerate(text.split("\n"), start=1)]
    lines = [(number, line) for number, line in lines if line and not line.startswith("#")]
    first = lines[0][1] if lines else ""
    if _BEGINS_TOML.match(first):
        for number, values in enumerate(_toml_rooms(text, shown), start=1):
            yield f"room {number}{room_values.shown(values)}", values
    elif first.startswith("{"):
        for number, line in lines:
            yield f"line {number}", _json_object(line, f"{shown}, line {number}")
    else:
        for number, line in lines:
            yield f"line {number}", {"url": line.partition(" #")[0]}


def _toml_rooms(text: str, shown: str) -> list[Any]:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"line \d+", str(error))
        where = f": {place[0]}" if place else " at its end"
        raise UsageError(f"{shown} is not valid TOML{where}", hint=_AS_TOML) from None
    except RecursionError:
        raise UsageError(f"{shown} is not valid TOML: it is nested too deeply", hint=_AS_TOML) from None
    unknown = next((key for key in document if key != "room"), None)
    if unknown is not None:
        raise UsageError(f"{shown} has {unknown[:60]!r} outside of any [[room]]", hint=_AS_TOML)
    rooms = document.get("room", [])
    if not isinstance(rooms, list):
        raise UsageError(f"{shown} has a room that is not a [[room]]", hint=_AS_TOML)
    return rooms


def _json_object(line: str, place: str) -> Any:
    try:
        return json.loads(line, object_pairs_hook=_each_key_once)
    except json.JSONDecodeError as error:
        raise UsageError(f"{place} is not valid JSON: column {error.colno}", hint=_AS_JSON) from None
    except (RecursionError, ValueError):
        raise UsageError(f"{place} can't be used: nested too deeply, or a number too long", hint=_AS_JSON) from None
    except KeyError as error:
        raise UsageError(f"{place} has the key {error.args[0][:60]!r} twice", hint=_AS_JSON) from None


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object of these `pairs`.

    :raises KeyError: a key is there twice.
    """
    values: dict[str, Any] = {}
    for key, value in pairs:
        if key in values:
            raise KeyError(key)
        values[key] = value
    return values


def _bytes(name: str, shown: str) -> tuple[bytes, int]:
    """Return the content of a list, and the mode of its file; 0 for standard input."""
    mode = 0
    try:
        if name == "-":
            raw = sys.stdin.buffer.read(LARGEST_FILE_BYTES + 1)
        else:
            with Path(name).open("rb") as file:
                raw = file.read(LARGEST_FILE_BYTES + 1)
                mode = os.fstat(file.fileno()).st_mode
    except (OSError, ValueError, AttributeError) as error:
        reason = getattr(error, "strerror", None) or ("it is closed" if name == "-" else error)
        raise UsageError(f"Can't read {shown}: {reason}", hint="name a file with --rooms that can be read") from None
    return raw, mode


def _decoded(raw: bytes, shown: str) -> str:
    if len(raw) > LARGEST_FILE_BYTES:
        hint = "split it, and start a recorder for each part"
        raise UsageError(f"{shown} is larger than {LARGEST_FILE_BYTES} bytes: is it a list of rooms?", hint=hint)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{shown} is not valid UTF-8: line {line}", hint="save it as UTF-8") from None
