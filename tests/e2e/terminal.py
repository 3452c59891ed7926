"""``meeta-bot`` on a terminal of a given size, as a person sees it."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import re
import signal
import struct
import sys
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.e2e.recorder_process import EXIT_TIMEOUT, LOG_TIMEOUT

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_READ_BYTES = 65536
_LAST_SHOWN = 3000  # characters of the screen in a failure


class Terminal:
    """A program and the screen that it writes to."""

    def __init__(self, process: asyncio.subprocess.Process, screen: int) -> None:
        self._process = process
        self._screen = screen
        self._news = asyncio.Condition()
        self._watcher = asyncio.create_task(self._watch())
        self.sent = ""  # everything so far

    @property
    def shown(self) -> str:
        """Everything so far, without colours and cursor movements."""
        return _CONTROL.sub("", self.sent)

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        raw = b""
        while True:
            try:
                more = await loop.run_in_executor(None, os.read, self._screen, _READ_BYTES)
            except OSError:  # EIO: the last one who wrote here is gone
                more = b""
            raw += more
            async with self._news:
                self.sent = raw.decode("utf-8", "replace")
                self._news.notify_all()
            if not more:
                return

    async def shows(self, pattern: str) -> str:
        """Wait until the regular expression has been on the screen; what it matched."""
        try:
            async with self._news, asyncio.timeout(LOG_TIMEOUT):
                while not (found := re.search(pattern, self.shown)):
                    assert not self._watcher.done(), f"it ended without {pattern!r}: {self.shown}"
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"no {pattern!r} within {LOG_TIMEOUT} s: {self.shown[-_LAST_SHOWN:]}") from None
        return found[0]

    def send(self, number: signal.Signals) -> None:
        """Send the program a signal."""
        self._process.send_signal(number)

    async def ended(self) -> int:
        """Wait for its end; the exit code."""
        async with asyncio.timeout(EXIT_TIMEOUT):
            code = await self._process.wait()
            await self._watcher
            return code


def _surroundings() -> dict[str, str]:
    """Our environment without the size of another terminal, which the readline library of this process puts there."""
    return {name: value for name, value in os.environ.items() if name not in ("LINES", "COLUMNS")}


@asynccontextmanager
async def on_terminal(
    *arguments: str, columns: int = 80, lines: int = 24, **environment: str
) -> AsyncIterator[Terminal]:
    """``meeta-bot ARGUMENTS`` on a terminal of that size; killed at the end if it still runs."""
    screen, keyboard = pty.openpty()
    fcntl.ioctl(keyboard, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "meeta_bot", *arguments),
        env={**_surroundings(), "TERM": "xterm-256color", "PAGER": "cat", **environment},
        stdin=keyboard,
        stdout=keyboard,
        stderr=keyboard,
        start_new_session=True,
    )
    os.close(keyboard)
    terminal = Terminal(process, screen)
    try:
        yield terminal
    finally:
        if process.returncode is None:
            process.kill()
        await terminal.ended()
        os.close(screen)


async def run_on_terminal(*arguments: str, columns: int = 80, **environment: str) -> tuple[int, str]:
    """``meeta-bot ARGUMENTS`` to its end: exit code, and everything that the terminal was sent."""
    async with on_terminal(*arguments, columns=columns, lines=24, **environment) as terminal:
        code = await terminal.ended()
    return code, terminal.sent
