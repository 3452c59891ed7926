"""The spools of all processes with these settings: what waits in them, and whose it is. Looks without touching.

A spool is not opened as its owner would (that takes its lock, and a recorder that starts in that moment would pass
it over): its file is read, and the kernel's list of locks says who holds it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from pathlib import Path

import msgspec

from meeta_bot.doctor.checks import Examination, Finding, ok, warning
from meeta_bot.spool import FORMAT_VERSION
from meeta_bot.worker import spool_root

_LOCKS = Path("/proc/locks")
_BUSY_TIMEOUT = 1.0  # seconds; a reader of a WAL waits for recovery at most

_BLOCKS = 2  # the format in which rows hold many events
_EVENTS = "SELECT coalesce(sum(count), 0) FROM events"
_EVENTS_BEFORE_BLOCKS = "SELECT count(*) FROM events"


class SpoolFile(msgspec.Struct, frozen=True):
    """One spool as it lies on the disk.

    ``owner`` is the process that holds it, 0 for one that can't be seen from here; None when nobody does.
    """

    directory: Path
    events: int
    open_captures: int
    owner: int | None


async def waiting(examination: Examination) -> Finding:
    """What waits to be delivered, and does it need anybody?"""
    return await asyncio.to_thread(_waiting, spool_root(examination.settings))


def _waiting(root: Path) -> Finding:
    found, problems = [], []
    for file in sorted(root.glob("*/events.sqlite3")):
        try:
            found.append(_look(file))
        except sqlite3.Error as error:
            problems.append(f"{file.parent} can't be read: {error}")
    if problems:
        return warning("; ".join(problems), "its events can't be delivered; keep the directory and ask for help")
    running = [spool for spool in found if spool.owner is not None]
    left = [spool for spool in found if spool.owner is None and (spool.events or spool.open_captures)]
    parts = [
        f"{spool.events:,} events in the spool of {_process(spool.owner)}, which delivers them" for spool in running
    ]
    if left:
        cut = sum(spool.open_captures for spool in left)
        parts.append(
            f"{sum(spool.events for spool in left):,} events left by processes that are gone"
            + (f", {cut} of their captures without an end" if cut else "")
        )
        return warning("; ".join(parts), "the next `meeta-bot record` delivers them; now: `meeta-bot spool flush`")
    return ok("; ".join(parts) or "nothing waits")


def _process(number: int | None) -> str:
    return f"process {number}" if number else "a process outside this container"


def _look(file: Path) -> SpoolFile:
    """Read one; the format is that of `meeta_bot.spool`.

    :raises sqlite3.Error: it is damaged or of another format.
    """
    address = f"{file.absolute().as_uri()}?mode=ro"
    with contextlib.closing(sqlite3.connect(address, uri=True, timeout=_BUSY_TIMEOUT)) as database:
        version: int = database.execute("PRAGMA user_version").fetchone()[0]
        if version > FORMAT_VERSION:
            raise sqlite3.DatabaseError("it was written by a newer version of this program")
        events: int = database.execute(_EVENTS_BEFORE_BLOCKS if version < _BLOCKS else _EVENTS).fetchone()[0]
        cut: int = database.execute("SELECT count(*) FROM captures WHERE ended = 0").fetchone()[0]
    return SpoolFile(file.parent, events, cut, _owner(file.parent / "lock"))


def _owner(lock: Path) -> int | None:
    """The process that holds a lock, by the kernel's list: ``1: FLOCK ADVISORY WRITE 4711 08:01:1234 0 EOF``."""
    with contextlib.suppress(OSError):
        file = lock.stat()
        place = f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x}:{file.st_ino}"
        for line in _LOCKS.read_text(encoding="ascii", errors="replace").splitlines():
            fields = line.split()
            if len(fields) > 5 and fields[1] == "FLOCK" and fields[5] == place:
                return int(fields[4])
    return None
