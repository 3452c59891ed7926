"""The pager of a terminal: long output is read page by page, and made only as far as it is read."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import IO, TextIO, cast

_PLAIN = ("", "cat")  # pagers that are none
# How less is to behave where its user says nothing: leave at once if all fits, keep colours, leave the screen as it is.
_LESS = "FRX"


class _Screen:
    """The pager's input as standard output: a terminal to whoever asks about colours and controls."""

    def __init__(self, pipe: IO[str]) -> None:
        self._pipe = pipe
        self.encoding = "utf-8"

    def write(self, text: str) -> int:
        return self._pipe.write(text)

    def flush(self) -> None:
        self._pipe.flush()

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._pipe.fileno()


@contextlib.contextmanager
def paged(*, wanted: bool = True) -> Iterator[None]:
    """Show what is written to standard output in $PAGER, else `less`, if that is a terminal and the pager is there.

    Whoever leaves the pager early has seen enough: the block ends there.
    """
    command = _command() if wanted and sys.stdin and sys.stdin.isatty() and sys.stdout.isatty() else None
    if command is None:
        yield
        return
    environment = {"LESS": _LESS, "LESSCHARSET": "utf-8", **os.environ}
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, text=True, encoding="utf-8", errors="replace", env=environment
    )
    terminal = sys.stdout
    try:
        with contextlib.suppress(BrokenPipeError, KeyboardInterrupt), cast("IO[str]", process.stdin) as pipe:
            sys.stdout = cast("TextIO", _Screen(pipe))
            yield
    finally:
        sys.stdout = terminal
        _wait(process)


def _command() -> list[str] | None:
    named = os.environ.get("PAGER", "less").strip()
    if named in _PLAIN:
        return None
    try:
        command = shlex.split(named)
    except ValueError:
        return None
    return command if shutil.which(command[0]) else None


def _wait(process: subprocess.Popen[str]) -> None:
    """Wait until the pager is left; it takes Ctrl-C for itself, as it does everywhere."""
    while True:
        with contextlib.suppress(KeyboardInterrupt):
            process.wait()
            return
