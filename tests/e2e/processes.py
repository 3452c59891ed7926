"""The processes of a recorder, as the system shows them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


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


def is_alive(pid: int) -> bool:
    """Whether a process is there and does something; one that waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def renderers(pid: int) -> list[int]:
    """The renderers of a recorder's pages.

    Chromium has others, in reserve and for itself; only lib-jitsi-meet, which looks what media there are, makes one
    start a thread for them.
    """
    return [child for child, line in descendants(pid) if "--type=renderer" in line and "Media" in _threads(child)]


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


def browser(pid: int) -> int:
    """Chromium itself, which runs once."""
    (found,) = browsers(pid)
    return found
