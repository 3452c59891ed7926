"""Processes as /proc shows them: enough to find those of a recorder or a server, look at them and kill them."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

# Before a command: to it, orphans come as to process 1 of a container.
AS_SUBREAPER = (
    sys.executable,
    "-c",
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(36, 1, 0, 0, 0); os.execvp(sys.argv[1], sys.argv[1:])",
)


def descendants(pid: int) -> Iterator[tuple[int, str]]:
    """Process ids and command lines of everything that `pid` started, directly or not; of what is still there."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for task in list(Path(f"/proc/{pid}/task").iterdir()):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                children = (task / "children").read_text().split()
                for child in map(int, children):
                    yield from _family(child)


def _family(pid: int) -> Iterator[tuple[int, str]]:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        yield pid, Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    yield from descendants(pid)


def zombies(pid: int) -> list[int]:
    """Processes below `pid` that have ended, and nobody has asked how."""
    return [child for child, _ in descendants(pid) if not is_alive(child)]


def is_alive(pid: int) -> bool:
    """Whether a process is there and does something; one that waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


_MEDIA_THREADS = {"Media", "WebRTC_Signalin", "WebRTC_W_and_N"}


def renderers(pid: int) -> list[int]:
    """The renderers of a recorder's pages.

    Chromium has others, in reserve and for itself; only lib-jitsi-meet makes one start a thread for media: libraries of
    2021 when they look what there are, all when a media session begins.
    """
    return [child for child, line in descendants(pid) if "--type=renderer" in line and _threads(child) & _MEDIA_THREADS]


def _threads(pid: int) -> set[str]:
    """The names of a process's threads."""
    return {(task / "comm").read_text().strip() for task in Path(f"/proc/{pid}/task").iterdir()}


def browsers(pid: int) -> set[int]:
    """Chromium itself, as often as it runs.

    It leads a group of processes. One that it has just begun has its command line, too, until it becomes another.
    """
    found = {child for child, line in descendants(pid) if "--headless" in line and "--type=" not in line}
    return {child for child in found if is_alive(child) and _leads(child)}


def _leads(pid: int) -> bool:
    try:
        return os.getpgid(pid) == pid
    except ProcessLookupError:
        return False


def driver(pid: int) -> int:
    """Playwright's driver, which runs once."""
    (found,) = [child for child, line in descendants(pid) if "run-driver" in line]
    return found


def browser(pid: int) -> int:
    """Chromium itself, which runs once."""
    (found,) = browsers(pid)
    return found


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
