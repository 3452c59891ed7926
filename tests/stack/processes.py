"""Child processes that never outlive their parent. Test equipment, Linux only."""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PR_SET_PDEATHSIG = 1
DIRECTORY_PREFIX = "local-jitsi-stack-"
LOCK_NAME = "lock"

# Loaded here and not in the child: between fork and exec only calls that need no lock are safe.
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(parent: int) -> None:
    """Ask the kernel to SIGKILL this process when the thread that started it dies, however it dies.

    A parent that died before it could be asked for has left an orphan already: that one ends at once.
    """
    if _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) was refused")
    if os.getppid() != parent:
        os._exit(1)


@contextmanager
def temporary_directory() -> Iterator[Path]:
    """A directory of one stack; removed at the end, or by the next stack when this one was killed."""
    _remove_abandoned_directories()
    directory = Path(tempfile.mkdtemp(prefix=DIRECTORY_PREFIX))
    lock = os.open(directory / LOCK_NAME, os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        os.close(lock)


def _remove_abandoned_directories() -> None:
    for directory in Path(tempfile.gettempdir()).glob(DIRECTORY_PREFIX + "*"):
        if _is_abandoned(directory):
            shutil.rmtree(directory, ignore_errors=True)


def _is_abandoned(directory: Path) -> bool:
    """The lock of a living stack is held; a directory without a lock file is one that is just being made."""
    try:
        lock = os.open(directory / LOCK_NAME, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(lock)
    return True
