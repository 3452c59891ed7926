"""The list of rooms that ``record --rooms`` reads: an address a line, ``#`` begins a comment."""

from __future__ import annotations

import sys
from pathlib import Path

from meeta_bot import room_address
from meeta_bot.errors import InvalidRoomUrl, UsageError
from meeta_bot.room_address import RoomAddress

LARGEST_FILE_BYTES = 2**20  # a thousand rooms have 100 kB


class RoomsFile:
    """The rooms in a file, or on standard input for ``-``, as they were when it was last read."""

    def __init__(self, name: str) -> None:
        """Read it.

        :raises UsageError: it can't be read, names no room, or has a line that is no address.
        """
        self.name = name
        self.rooms = _read(name)

    def reread(self) -> tuple[list[RoomAddress], list[RoomAddress]]:
        """Read it again: the rooms that are new in it, and those that are gone from it.

        :raises UsageError: as above; then nothing has changed.
        """
        if self.name == "-":
            raise UsageError("Standard input can't be read again", hint="keep the list in a file: --rooms FILE")
        before, self.rooms = self.rooms, _read(self.name)
        return (
            [room for key, room in self.rooms.items() if key not in before],
            [room for key, room in before.items() if key not in self.rooms],
        )


def _read(name: str) -> dict[tuple[str, str], RoomAddress]:
    """Every room once, in order of the lines."""
    shown = "standard input" if name == "-" else name
    found: dict[tuple[str, str], RoomAddress] = {}
    for number, line in enumerate(_text(name, shown).splitlines(), start=1):
        address = line.partition(" #")[0].strip()
        if address and not address.startswith("#"):
            try:
                room = room_address.parse(address)
            except InvalidRoomUrl as error:
                raise UsageError(f"{shown}, line {number}: {error}", hint=error.hint) from None
            found.setdefault(room.key, room)
    if not found:
        raise UsageError(f"{shown} names no room", hint="an address a line, such as https://meet.example.org/Standup")
    return found


def _text(name: str, shown: str) -> str:
    try:
        if name == "-":
            raw = sys.stdin.buffer.read(LARGEST_FILE_BYTES + 1)
        else:
            with Path(name).open("rb") as file:
                raw = file.read(LARGEST_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        raise UsageError(f"Can't read {shown}: {getattr(error, 'strerror', error)}") from None
    if len(raw) > LARGEST_FILE_BYTES:
        raise UsageError(f"{shown} is larger than {LARGEST_FILE_BYTES} bytes: is it a list of rooms?")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{shown} is no UTF-8 text") from None
