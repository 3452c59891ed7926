"""Status of spools, seen from outside: the events that wait in them, and their owners. Takes nothing, not even a lock.

A spool is not opened as its owner would (a recorder that starts in that moment would pass it over): its file is read,
and the kernel's list of locks says who holds it.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

import msgspec

from meeta_bot.capture.spool import witness
from meeta_bot.capture.spool.file import open_read_only, waiting_of
from meeta_bot.capture.spool.format import NAME
from meeta_bot.errors import SpoolUnusable

_LOCKS = Path("/proc/locks")
_BUSY_TIMEOUT = 1.0  # seconds; a reader of a WAL waits for recovery at most


class CaptureStatus(msgspec.Struct, frozen=True):
    """The status of a capture in a spool.

    ``last_seq``: the last number that was given; None where only events of it are left. ``waiting``: its events that
    are not in the database yet.
    """

    capture_id: str
    last_seq: int | None
    is_open: bool
    waiting: int


class SpoolStatus(msgspec.Struct, frozen=True):
    """The status of a spool as it lies on the disk.

    ``owner`` is the process that holds it, 0 for one that can't be seen from here; None when nobody does.
    ``set_aside`` are the files of what was damaged. With ``problem``, it could not be read, and nothing is known of it.
    """

    directory: Path
    owner: int | None
    captures: list[CaptureStatus]
    set_aside: list[str]
    problem: str | None = None

    @property
    def waiting(self) -> int:
        """Events that are not in the database yet."""
        return sum(capture.waiting for capture in self.captures)

    @property
    def open_captures(self) -> int:
        """Captures without an end."""
        return sum(capture.is_open for capture in self.captures)


def read_statuses(root: Path) -> list[SpoolStatus]:
    """Read the status of all spools under `root`, also those that a running process owns; in order of their names.

    :raises SpoolUnusable: `root` can't be read.
    """
    try:
        files = sorted(root.glob(f"*/{NAME}"), key=lambda file: (len(file.parent.name), file.parent.name))
    except OSError as error:
        hint = "name the directory that the recorder had with MEETA_DATA_DIRECTORY"
        raise SpoolUnusable(f"Can't read the spool {root}: {error.strerror}", hint=hint) from None
    return [_read_status(file) for file in files]


def _read_status(file: Path) -> SpoolStatus:
    directory = file.parent
    captures: list[CaptureStatus] = []
    problem = None
    try:
        with contextlib.closing(open_read_only(file, _BUSY_TIMEOUT)) as connection:
            captures = _captures(connection, witness.passed_ordinal(directory / "heads"))
    except sqlite3.Error as error:
        problem = str(error)
    except SpoolUnusable as error:
        problem = f"{error}; {error.hint}"
    set_aside = sorted(path.name for path in directory.glob("damaged-*"))
    return SpoolStatus(directory, _owner(directory / "lock"), captures, set_aside, problem)


def _captures(connection: sqlite3.Connection, passed: int) -> list[CaptureStatus]:
    connection.execute("BEGIN")  # all of it as of one moment
    waiting = waiting_of(connection, passed)
    found = [
        CaptureStatus(capture_id, last_seq, not ended, waiting.pop(capture_id, 0))
        for capture_id, last_seq, ended in connection.execute(
            "SELECT capture_id, last_seq, ended FROM captures ORDER BY capture_id"
        )
    ]
    return found + [CaptureStatus(capture_id, None, False, count) for capture_id, count in waiting.items()]


def _owner(lock: Path) -> int | None:
    """Return the process that holds a lock, by the kernel's list: ``1: FLOCK ADVISORY WRITE 4711 08:01:1234 0 EOF``."""
    with contextlib.suppress(OSError):
        file = lock.stat()
        identity = f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x}:{file.st_ino}"
        for line in _LOCKS.read_text(encoding="ascii", errors="replace").splitlines():
            fields = line.split()
            if len(fields) > 5 and fields[1] == "FLOCK" and fields[5] == identity:
                return int(fields[4])
    return None
