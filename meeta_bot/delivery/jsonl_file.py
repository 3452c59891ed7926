"""A file of events as JSON Lines that this process alone appends to, whole batches at a time, durably.

**Format.** One JSON object a line with at least ``capture_id``, ``seq`` and ``digest``; what else is in it is the
writer's. Without a newline at its end a line is not finished.

**Promises.**

1. ``append`` returns after its lines are on disk. If it raises, none of them is in the file.
2. A line that a killed process left unfinished is gone after opening; what is whole is on disk then.
3. A file that holds anything else is refused and stays as it is.
4. One process owns the file (flock). Who moves or shortens it meanwhile is noticed by ``is_current``.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from meeta_bot.errors import UsageError
from meeta_bot.logs import get_logger

_BEGINNING = b'{"capture_id":"'  # of every line that we write, so what a torn first line is known by
_log = get_logger("jsonl")


class Line(msgspec.Struct, frozen=True):
    """The name of an event in a file: its capture, its number, and its digest in hexadecimal."""

    capture_id: str
    seq: int
    digest: str


_decoder = msgspec.json.Decoder(Line)


class EventFile:
    """An open, locked file. All methods block, and belong off the event loop; one thread at a time."""

    def __init__(self, path: Path, longest_line: int) -> None:
        """Open the file at `path` (with permissions 0600 if it is new) and lock it; `recover` comes next.

        :param longest_line: bytes of a line when the file is read, -1 for any; longer ones are not ours.
        :raises UsageError: there can't be such a file, or another process has it.
        """
        self.path = path
        self.length = 0
        self._longest_line = longest_line
        self._is_uncertain = False  # what is behind `length` may be left from an append that failed
        self._descriptor = _open_locked(path)

    def close(self) -> None:
        """Let go of the file and its lock. Safe to call twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def recover(self, note: Callable[[Line, int], None]) -> None:
        """Make the file whole and durable, and `note` each line with the number of bytes before it. Once, to begin.

        :raises UsageError: the file holds something else than events.
        :raises OSError: the disk failed.
        """
        line, unread = b"\n", None
        for offset, line in self._lines(0, os.fstat(self._descriptor).st_size):
            if unread is not None:
                break
            event = _parse(line)
            if event is None:
                unread = (offset, line)
            else:
                self.length = offset + len(line)
                note(event, offset)
        if unread is not None:
            self._cut_torn(*unread, is_last=line is unread[1])
        elif not line.endswith(b"\n"):
            self.append(b"\n")  # a whole event whose newline is missing is kept
        os.fdatasync(self._descriptor)  # a killed process may have left lines that only the page cache has
        self._sync_folder()

    def read(self, start: int) -> Iterator[Line]:
        """Yield the lines from `start` on, which must be the beginning of one."""
        for _, line in self._lines(start, self.length):
            event = _parse(line)
            if event is not None:
                yield event

    def append(self, lines: bytes) -> None:
        """Add `lines` durably.

        :raises OSError: the disk is full or failed; nothing of them is in the file.
        """
        try:
            if self._is_uncertain:
                os.ftruncate(self._descriptor, self.length)
            self._is_uncertain = True
            _write_all(self._descriptor, lines)
            os.fdatasync(self._descriptor)
        except OSError:
            with contextlib.suppress(OSError):  # then the next append tries again
                os.ftruncate(self._descriptor, self.length)
                self._is_uncertain = False
            raise
        self._is_uncertain = False
        self.length += len(lines)

    def is_current(self) -> bool:
        """Check that `path` still leads to this file, and nobody else has changed its length."""
        try:
            there = self.path.stat()
        except FileNotFoundError:
            return False
        ours = os.fstat(self._descriptor)
        is_same = (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)
        return is_same and (self._is_uncertain or ours.st_size == self.length)

    def _lines(self, start: int, end: int) -> Iterator[tuple[int, bytes]]:
        with os.fdopen(os.dup(self._descriptor), "rb") as file:
            file.seek(start)
            while start < end and (line := file.readline(self._longest_line)):
                yield start, line
                start += len(line)

    def _cut_torn(self, offset: int, line: bytes, *, is_last: bool) -> None:
        """Take away a last line that a process was killed over; refuse any other line that is not an event."""
        is_ours = offset > 0 or (not line.endswith(b"\n") and line[: len(_BEGINNING)] == _BEGINNING[: len(line)])
        if not (is_last and is_ours):
            where = "its first line is" if offset == 0 else f"there is a line after {offset} bytes that is"
            raise UsageError(f"{self.path} holds something else: {where} not an event", hint="name another file")
        _log.warning("unfinished line removed", file=str(self.path), bytes=len(line), after=offset)
        os.ftruncate(self._descriptor, offset)

    def _sync_folder(self) -> None:
        """Make the name of a new file durable, where folders may be opened at all."""
        with contextlib.suppress(OSError):
            folder = os.open(self.path.resolve().parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


def _open_locked(path: Path) -> int:
    descriptor = -1
    try:
        if path.exists() and not path.is_file():  # opening a device or a pipe could already do something
            raise UsageError(f"{path} is not an ordinary file", hint="name a file, or - for standard output")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK, 0o600)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise UsageError(f"{path} is not an ordinary file", hint="name a file, or - for standard output")
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (OSError, ValueError, UsageError) as error:
        if descriptor >= 0:
            os.close(descriptor)
        if isinstance(error, BlockingIOError):
            hint = "wait until it has ended, or name another file"
            raise UsageError(f"Another process writes to {path}", hint=hint) from None
        if isinstance(error, UsageError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"Can't write {path}: {reason}", hint="name a file that you may write to") from None
    return descriptor


def _parse(line: bytes) -> Line | None:
    try:
        return _decoder.decode(line)
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return None


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
