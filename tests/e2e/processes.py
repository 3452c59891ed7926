"""The processes of a recorder, as the system shows them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def descendants(pid: int) -> Iterator[tuple[int, str]]:
    """Process ids and command lines of everything that `pid` started, directly or not."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield int(child), Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            yield from descendants(int(child))


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


def browser(pid: int) -> int:
    """Chromium itself."""
    processes = [(child, line) for child, line in descendants(pid) if "chromium" in line]
    return next(child for child, line in processes if "--type=" not in line and "--headless" in line)
