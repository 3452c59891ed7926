"""Processes as /proc shows them: enough to find those of a test, look at them and kill them."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path


class Process:
    """A process by its number; it may be gone at any moment."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._folder = Path("/proc") / str(number)

    def command_line(self) -> str:
        """Program and arguments, separated by blanks; empty for one that is gone or a zombie."""
        try:
            return (self._folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            return ""

    def is_alive(self) -> bool:
        """Does it still run?"""
        return bool(self.command_line())

    def parent(self) -> Process:
        """Who started it."""
        status = (self._folder / "status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("PPid:"))
        return Process(int(line.split()[1]))

    def user_id(self) -> int:
        """Whom it runs as."""
        return self._folder.stat().st_uid

    def program(self) -> str:
        """The file that it runs."""
        return str((self._folder / "exe").readlink())

    def send(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens when it is gone."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.number, number)


def processes_about(text: str) -> list[Process]:
    """Those whose command line has `text` in it, except this one."""
    numbers = [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit()]
    found = [Process(number) for number in numbers if number != os.getpid()]
    return [process for process in found if text in process.command_line()]
