"""The directory of a spool: its lock, and the check that the files that are open still lie there."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path

from meeta_bot import directories
from meeta_bot.capture.spool.format import NAME
from meeta_bot.errors import SpoolBusy, SpoolError
from meeta_bot.settings import Settings

FILES_CHECK_SECONDS = 0.2  # between checks that the files still lie there; the open ones hold all until then

_FILES = (NAME, f"{NAME}-wal")


class SpoolDirectory:
    """The directory of a spool, owned until `close`."""

    def __init__(self, directory: Path) -> None:
        """Make the directory if need be, and own it.

        :raises SpoolBusy: another process owns it.
        :raises SpoolError: it can't be written.
        """
        self.directory = directory
        self._lock = _take_lock(directory)
        self._files: list[tuple[int, int]] = []  # device and inode of those that are open
        self._next_check_at = 0.0  # by the monotonic clock

    def note_files(self) -> None:
        """Remember the file and its log that lie there now as those that are open.

        :raises OSError: there are none.
        """
        self._files = self._identities()

    def has_files(self, *, at_once: bool = False) -> bool:
        """Check that the files still lie there. `at_once`: even if that was done a moment ago."""
        now = time.monotonic()
        if now < self._next_check_at and not at_once:
            return True
        try:
            if self._identities() != self._files:
                return False
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True  # nobody can tell; what is open can be written all the same
        self._next_check_at = now + FILES_CHECK_SECONDS
        return True

    def take_again(self) -> None:
        """Own the directory that lies there now, which is made if there is none.

        :raises SpoolBusy: it is another one, and another process owns that.
        :raises SpoolError: it can't be written.
        :raises OSError: it can't be made.
        """
        directories.make(self.directory)
        held = os.fstat(self._lock)
        with contextlib.suppress(OSError):
            if _identity(self.directory / "lock") == (held.st_dev, held.st_ino):
                return
        lock = _take_lock(self.directory)
        os.close(self._lock)
        self._lock = lock

    def close(self) -> None:
        """Let go of the directory."""
        os.close(self._lock)

    def _identities(self) -> list[tuple[int, int]]:
        return [_identity(self.directory / name) for name in _FILES]


def _take_lock(directory: Path) -> int:
    """Return the open file that holds the lock."""
    try:
        directories.make(directory)
        lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        hint = "name a directory that you may write to with MEETA_DATA_DIRECTORY"
        raise SpoolError(f"Can't write the spool {directory}: {error.strerror}", hint=hint) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise SpoolBusy(f"The spool {directory} belongs to another process") from None
    return lock


def _identity(path: Path) -> tuple[int, int]:
    found = os.stat(path)  # noqa: PTH116 - a third of the time of Path.stat, before every commit
    return found.st_dev, found.st_ino


def spool_root(settings: Settings) -> Path:
    """Return the directory of the spools of all processes with these settings."""
    return settings.data_directory / "spool"
