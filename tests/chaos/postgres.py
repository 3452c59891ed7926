"""A PostgreSQL that is killed: without a warning, the whole of it or the backend of one session."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from pathlib import Path
from random import Random

from tests.stack.postgres import VERSIONS, Server

GONE_TIMEOUT = 10.0  # seconds; killed processes take milliseconds
START_TRIES = 20
START_PAUSE = 0.1  # seconds; what a killed server held is let go by then


class Killable(Server):
    """A server that can be killed; it starts again on the same data."""

    def __init__(self) -> None:
        super().__init__(VERSIONS[-1])

    async def kill_all(self) -> None:
        """SIGKILL every process of it, and start it again at once."""
        await asyncio.to_thread(self._kill_all)

    def kill_backend(self, chance: Random) -> bool:
        """SIGKILL the backend of some session: the server ends all the others, recovers, and goes on.

        :returns: whether there was one.
        """
        backends = [pid for pid in _children(self._postmaster()) if "[local]" in _command_line(pid)]
        if not backends:
            return False
        _kill(chance.choice(backends))
        return True

    @staticmethod
    def name_of(url: str) -> str:
        """The database that one of its addresses names."""
        return url.partition("///")[2].partition("?")[0]

    async def connect_to_socket(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A bare connection, for a proxy."""
        return await asyncio.open_unix_connection(self.directory / ".s.PGSQL.5432")

    def _postmaster(self) -> int:
        return int((self.directory / "data" / "postmaster.pid").read_text().split()[0])

    def _kill_all(self) -> None:
        children = _children(self._postmaster())
        self.stop(signal.SIGKILL)
        for pid in children:
            _kill(pid)
        deadline = time.monotonic() + GONE_TIMEOUT
        while any(Path(f"/proc/{pid}").exists() for pid in children) and time.monotonic() < deadline:
            time.sleep(0.005)
        for number in range(START_TRIES):
            try:
                return self.start()
            except AssertionError:  # the kernel has not let go of its memory yet
                if number == START_TRIES - 1:
                    raise
                time.sleep(START_PAUSE)
        return None


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
