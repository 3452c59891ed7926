"""What happens to a spool's files, for tests: kills, torn logs, flipped bits."""

from __future__ import annotations

import shutil
import zlib
from pathlib import Path

import msgspec

from meeta_bot.capture.spool import Append, OpenCapture, Spool
from meeta_bot.capture.spool.witness import SLOT_BYTES, WitnessedPosition
from meeta_bot.errors import SpoolError, SpoolFull
from meeta_bot.events import CaptureError, SealedEvent
from tests.unit.builders import append, event, settings

SPOOL_FILE = "events.sqlite3"
LOG = "events.sqlite3-wal"


def as_a_kill_leaves_it(spool: Spool, place: Path) -> Path:
    """A copy of an open spool's files: what is on disk if its process is killed now."""
    shutil.copytree(spool.directory, place, ignore=shutil.ignore_patterns("*-shm"))
    return place


def flip(path: Path, offset: int, bit: int = 0) -> None:
    """Flip one bit of a file; a negative `offset` counts from its end."""
    content = bytearray(path.read_bytes())
    content[offset] ^= 1 << bit
    path.write_bytes(content)


def big(number: int, capture_id: str = "c", *, urgent: bool = False) -> Append:
    """An append of 20 kB."""
    found = [event(number, CaptureError(where="x", message="y" * 20_000))]
    return append(capture_id=capture_id, events=found, urgent=urgent)


async def fill_up(spool: Spool, most: int = 10_000) -> int:
    """Append until the spool takes no more; how many events it took.

    :raises SpoolError: why it takes no more, if that is not for want of room.
    """
    for number in range(1, most):
        try:
            await spool.append("c", big(number))
        except SpoolFull:
            return number - 1
    raise SpoolError(f"{most} appends did not fill it")


async def found_in(directory: Path) -> tuple[list[SealedEvent], list[OpenCapture], Spool]:
    """What the next process finds in a spool: its events and its open captures; the caller closes it."""
    spool = Spool(directory, settings(spool_recent_bytes=0))
    captures = await spool.open_captures()
    return [item.event for item in await spool.read(100_000)], captures, spool


def without_counts(heads: Path) -> None:
    """Take the books out of a witness, as they are left out for a room with a long name."""
    content = heads.read_bytes()
    slots = [content[place : place + SLOT_BYTES] for place in range(0, len(content), SLOT_BYTES)]
    heads.write_bytes(b"".join(map(_slot_without_counts, slots)))


def _slot_without_counts(slot: bytes) -> bytes:
    length = int.from_bytes(slot[4:6])
    values = msgspec.msgpack.decode(slot[6 : 6 + length]) if length else None
    if not isinstance(values, list):
        return slot  # free, or the first one
    body = msgspec.msgpack.encode(values[: WitnessedPosition.__struct_fields__.index("counts")])
    content = len(body).to_bytes(2) + body
    return (zlib.crc32(content).to_bytes(4) + content).ljust(SLOT_BYTES, b"\0")
