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


def renderers(pid: int, pages: int) -> list[int]:
    """The renderers of so many pages: the largest ones, for Chromium keeps empty ones in reserve."""
    found = [
        child for child, line in descendants(pid) if "--type=renderer" in line and "--extension-process" not in line
    ]
    return sorted(found, key=_resident)[-pages:]


def _resident(pid: int) -> int:
    """Pages of memory that a process has."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1])


def browser(pid: int) -> int:
    """Chromium itself."""
    processes = [(child, line) for child, line in descendants(pid) if "chromium" in line]
    return next(child for child, line in processes if "--type=" not in line and "--headless" in line)
