"""The recorder as its users run it: ``meeta-bot`` in a process of its own, watched through its log lines."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from meeta_bot import settings
from meeta_bot.reading import queries
from meeta_bot.reading.queries import Reader

LOG_TIMEOUT = 60.0  # seconds; bounds a wait, measures nothing
EXIT_TIMEOUT = 60.0


class RecorderProcess:
    """A running ``meeta-bot record``."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._news = asyncio.Condition()
        self._reader = asyncio.create_task(self._read())
        self.log: list[dict[str, Any]] = []
        self.talk: list[str] = []
        self.printed = ""

    @property
    def pid(self) -> int:
        return self._process.pid

    async def _read(self) -> None:
        assert self._process.stderr is not None
        while line := await self._process.stderr.readline():
            async with self._news:
                try:
                    self.log.append(json.loads(line))
                except ValueError:
                    self.talk.append(line.decode().rstrip())
                self._news.notify_all()
        async with self._news:
            self._news.notify_all()

    async def logged(self, event: str, times: int = 1) -> dict[str, Any]:
        """Wait until a line with that event has been logged so many times; the last of them."""

        def found() -> list[dict[str, Any]]:
            return [line for line in self.log if line["event"] == event]

        async with self._news, asyncio.timeout(LOG_TIMEOUT):
            while len(found()) < times:
                assert not self._reader.done(), f"the recorder ended without {event!r}: {self.log} {self.talk}"
                await self._news.wait()
        return found()[-1]

    async def until_stored(self, database_url: str, event_type: str, times: int = 1) -> None:
        """Wait until its captures have so many events of a type in the database."""

        async def is_stored(reader: Reader, captures: list[str]) -> bool:
            return (await reader.counts(captures)).get(event_type, 0) >= times

        await self._until(database_url, is_stored, event_type)

    async def until_named(self, database_url: str) -> None:
        """Wait until the server's own ids of its captures' meetings are in the database: they come after the join."""

        async def is_named(reader: Reader, captures: list[str]) -> bool:
            rows = await reader.captures(captures)
            return len(rows) == len(captures) and all(row.server_meeting_id for row in rows)

        await self._until(database_url, is_named, "the meeting's id")

    async def _until(self, database_url: str, is_so: Callable[[Reader, list[str]], Awaitable[bool]], what: str) -> None:
        async with reading(database_url) as reader, asyncio.timeout(LOG_TIMEOUT):
            while True:
                assert not self._reader.done(), f"the recorder ended without {what!r}: {self.log} {self.talk}"
                captures = sorted({line["capture"] for line in self.log if line["event"] == "in the room"})
                if captures and await is_so(reader, captures):
                    return
                await asyncio.sleep(0.05)  # another process fills the table

    def send(self, number: signal.Signals) -> None:
        """Send the recorder, and nothing that it started, a signal."""
        self._process.send_signal(number)

    async def stopped(self) -> None:
        """End the recording as an operator does; what remains to be read is in the database then."""
        self.send(signal.SIGTERM)
        assert await self.ended() == 0, (self.log, self.talk)

    async def prints(self) -> str:
        """The next line on standard output."""
        assert self._process.stdout is not None
        async with asyncio.timeout(LOG_TIMEOUT):
            return (await self._process.stdout.readline()).decode()

    def look_away(self) -> None:
        """Close standard output at the reading end, as `head` does."""
        self._process._transport.get_pipe_transport(1).close()  # type: ignore[attr-defined]

    async def ended(self) -> int:
        """Wait for its end; the exit code."""
        try:
            async with asyncio.timeout(EXIT_TIMEOUT):
                assert self._process.stdout is not None
                self.printed += (await self._process.stdout.read()).decode()
                await self._reader
                code = await self._process.wait()
        except TimeoutError:
            raise AssertionError(f"the recorder goes on: {self.log} {self.talk}") from None
        strays = [line for line in self.log if line["event"] == "a phase that the table does not have here"]
        assert not strays, strays
        return code


@asynccontextmanager
async def recording(*arguments: str, below: Sequence[str] = (), **environment: str) -> AsyncIterator[RecorderProcess]:
    """``meeta-bot record ARGUMENTS`` with additional environment; killed at the end if it still runs.

    ``below`` is a command that it is started by.
    """
    process = await asyncio.create_subprocess_exec(
        *(*below, sys.executable, "-m", "meeta_bot", "record", *arguments),
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    recorder = RecorderProcess(process)
    try:
        yield recorder
    finally:
        if process.returncode is None:
            process.kill()
        await recorder.ended()


async def run(*arguments: str, **environment: str) -> tuple[int, str, str]:
    """``meeta-bot ARGUMENTS`` to its end: exit code, standard output, standard error."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "meeta_bot", *arguments),
        env={**os.environ, **environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(EXIT_TIMEOUT):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def run_with_output(out: int, *arguments: str, **environment: str) -> tuple[int | None, str]:
    """``meeta-bot ARGUMENTS`` with that standard output, which is closed then: exit code, standard error."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "meeta_bot", *arguments),
        env={**os.environ, **environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=out,
        stderr=asyncio.subprocess.PIPE,
    )
    os.close(out)
    async with asyncio.timeout(EXIT_TIMEOUT):
        _, err = await process.communicate()
    return process.returncode, err.decode()


@asynccontextmanager
async def reading(database_url: str) -> AsyncIterator[Reader]:
    """A reader with the patience of a test: it shares two cores with browsers."""
    patient = settings.load({"database_connect_timeout": LOG_TIMEOUT})
    async with queries.reading(database_url, patient) as reader:
        yield reader


def folder_for_spool(tmp_path: Path) -> dict[str, str]:
    """Environment that keeps a test's spool apart from every other."""
    return {"MEETA_DATA_DIRECTORY": str(tmp_path / "data")}
