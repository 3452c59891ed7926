"""The processes that verify: this one alone, or several others, each with a connection of its own."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import asynccontextmanager
from multiprocessing.connection import wait
from typing import Any, overload

from meeta_bot import database
from meeta_bot.errors import DatabaseError
from meeta_bot.settings import Settings
from meeta_bot.verify import examine
from meeta_bot.verify.examine import CaptureJob, ChainFindings, ChainJob, Examined

Job = CaptureJob | ChainJob
Result = Examined | ChainFindings


class Workers:
    """The workers that do jobs; any number of jobs may be given at once, and wait for their turn."""

    def __init__(self, perform: Callable[[Job], Awaitable[Any]]) -> None:
        self._perform = perform

    @overload
    async def do(self, job: CaptureJob) -> Examined: ...

    @overload
    async def do(self, job: ChainJob) -> ChainFindings: ...

    async def do(self, job: Job) -> Result:
        """Run `job` and return its result.

        :raises DatabaseError: PostgreSQL refused or went away.
        """
        result: Result = await self._perform(job)
        return result


@asynccontextmanager
async def alone(url: str, settings: Settings) -> AsyncIterator[Workers]:
    """Yield workers of this process, one job after the other: a few captures are done before other processes start."""
    connection = await examine.connect(url, settings)
    turn = asyncio.Lock()

    async def perform(job: Job) -> Result:
        async with turn:
            return await _perform(connection, job)

    try:
        yield Workers(perform)
    finally:
        connection.terminate()


@asynccontextmanager
async def processes(url: str, settings: Settings, number: int) -> AsyncIterator[Workers]:
    """Yield workers in `number` processes. They end with this one, however it ends."""
    # The address may hold a password: it goes through a pipe, never through arguments. Not forked: threads run here.
    pool = ProcessPoolExecutor(
        number,
        multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=(url, settings.model_dump()),
    )
    loop = asyncio.get_running_loop()

    async def perform(job: Job) -> Result:
        try:
            return await loop.run_in_executor(pool, _work, job)
        except BrokenProcessPool:
            raise DatabaseError("A process that verifies died", hint="is there enough memory? Try again") from None

    try:
        yield Workers(perform)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)  # each finishes its job, which is a part of one capture


async def _perform(connection: database.Connection, job: Job) -> Result:
    try:
        return await (
            examine.examine_capture(connection, job)
            if isinstance(job, CaptureJob)
            else examine.examine_chain(connection, job)
        )
    except database.TROUBLE as error:
        raise database.trouble(error) from None


# --- in a process of its own --------------------------------------------------------------------------------------


class _Worker:
    """The loop and the connection of a process, which is opened by the first job."""

    def __init__(self, url: str, settings: Settings) -> None:
        self._url = url
        self._settings = settings
        self._loop = asyncio.new_event_loop()
        self._connection: database.Connection | None = None

    def work(self, job: Job) -> Result:
        return self._loop.run_until_complete(self._work(job))

    async def _work(self, job: Job) -> Result:
        if self._connection is None or self._connection.is_closed():
            self._connection = await examine.connect(self._url, self._settings)
        return await _perform(self._connection, job)


_workers: list[_Worker] = []


def _begin(url: str, values: dict[str, Any]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the process that the user knows; it ends this one
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _workers.append(_Worker(url, Settings.model_construct(**values)))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _work(job: Job) -> Result:
    return _workers[0].work(job)
