"""Room on the disk: the reserve for last words, and the proof that the disk is full."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from pathlib import Path

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})  # no room, no more for this user, none in this file
_PROBE_BYTES = 65_536  # what a transaction writes at least, with the index


class Reserve:
    """A file that takes room until it is needed. It is made of allocated blocks, not of a hole."""

    def __init__(self, path: Path, size: int) -> None:
        """Make the file, `size` bytes large, if there is room."""
        self._path = path
        self._size = size
        self.is_released = False
        self._make()

    def release(self) -> bool:
        """Give the room away; False when there was none."""
        with contextlib.suppress(OSError):
            self._path.unlink()
            self.is_released = True
            return True
        return False

    def restore(self) -> bool:
        """Take the room again if there is twice as much, so that it does not come and go; True when it is there."""
        if self.is_released and free_bytes(self._path.parent) >= 2 * self._size:
            self.is_released = not self._make()
        return not self.is_released

    def remove(self) -> None:
        """Give the room away for good."""
        with contextlib.suppress(OSError):
            self._path.unlink()

    def _make(self) -> bool:
        try:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(file, 0, self._size)
            finally:
                os.close(file)
        except OSError:
            self.remove()
            return False
        return True


def free_bytes(directory: Path) -> int:
    """Return the bytes that this user may still write where `directory` is; 0 when nobody can tell."""
    try:
        found = os.statvfs(directory)
    except OSError:
        return 0
    return found.f_bavail * found.f_frsize


def is_out_of_room(directory: Path, offset: int) -> bool:
    """Find out by a trial whether a file in `directory` can't grow beyond `offset` bytes for want of room.

    SQLite tells only that writing failed. So a few blocks are allocated there, in a file that is removed at once.
    """
    path = directory / f"probe-{secrets.token_hex(4)}"
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(file, offset, _PROBE_BYTES)
        finally:
            os.close(file)
    except OSError as error:
        return error.errno in FULL
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
    return False
