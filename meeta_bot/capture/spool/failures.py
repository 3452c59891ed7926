"""Failures of SQLite and of the disk, as errors of a spool."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from meeta_bot.capture.spool.format import NAME
from meeta_bot.capture.spool.reserve import is_out_of_room
from meeta_bot.errors import SpoolError, SpoolFull

_CODE = 0xFF  # SQLite's extended codes have the plain one in their last byte
_HINT_FULL = "deliver it with `meeta-bot spool flush`, free disk space, or raise MEETA_SPOOL_MAX_BYTES"
_HINT_READ_ONLY = "give its owner's rights back, or name a directory that you may write to with MEETA_DATA_DIRECTORY"


def code_of(error: BaseException) -> int:
    """Return SQLite's code of an error; 0 for one that did not come from it."""
    return getattr(error, "sqlite_errorcode", 0) or 0


def is_damaged(error: BaseException) -> bool:
    """Tell damage from other errors: the file is not what SQLite has written."""
    return code_of(error) & _CODE in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def damaged_file_error(problem: str = "file is not a database") -> sqlite3.DatabaseError:
    """Make SQLite's own error for a file that is none of its own, or no longer."""
    error = sqlite3.DatabaseError(problem)
    error.sqlite_errorcode = sqlite3.SQLITE_NOTADB
    return error


def spool_full(directory: Path) -> SpoolFull:
    """Make the error of a spool in which nothing more finds room."""
    return SpoolFull(f"The spool {directory} is full", hint=_HINT_FULL)


def spool_error(error: Exception, directory: Path) -> SpoolError:
    """Make an error of the spool in `directory` from one of SQLite or of the system."""
    if isinstance(error, SpoolError):
        return error
    code = code_of(error) & _CODE
    if code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and _is_out_of_room(directory)):
        return spool_full(directory)
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return SpoolError(f"Can't write the spool {directory}: {error}", hint=_HINT_READ_ONLY)
    if isinstance(error, OSError):
        return SpoolError(f"Can't write the spool {directory}: {error.strerror}", hint=_HINT_READ_ONLY)
    return SpoolError(f"The spool {directory} failed: {error}")


@contextlib.contextmanager
def spool_errors(directory: Path) -> Iterator[None]:
    """Raise errors of SQLite and of the system as errors of the spool in `directory`."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise spool_error(error, directory) from error


def _is_out_of_room(directory: Path) -> bool:
    sizes = [0]
    for name in (NAME, f"{NAME}-wal"):
        with contextlib.suppress(OSError):
            sizes.append((directory / name).stat().st_size)
    return is_out_of_room(directory, max(sizes))
