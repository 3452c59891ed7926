"""Loads as processes: forked from a warm parent, listened to, killed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import msgspec

from tests.chaos import load
from tests.chaos.load import Said
from tests.chaos.oracle import Known

END_TIMEOUT = 60.0  # seconds in which a load ends that was asked to, or was killed
PHASE_TIMEOUT = 30.0  # seconds until a load has come so far
PHASES = ("forked", "starting", "adopting", "recording", "stopping")  # in their order
_PIECE = 65_536

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.chaos.load"])
_decode = msgspec.json.Decoder(Said).decode


def now_ms() -> int:
    """Wall clock, rounded as the product does."""
    return time.time_ns() // 1_000_000


class Child:
    """A running load; `known` is what it said of its captures."""

    def __init__(self, order: load.Order) -> None:
        ours, theirs = _context.Pipe(duplex=False)
        ours_log, theirs_log = _context.Pipe(duplex=False)
        self._process = _context.Process(target=load.run, args=(order, theirs, theirs_log))
        self._process.start()
        theirs.close()
        theirs_log.close()
        assert self._process.pid is not None
        self.pid: int = self._process.pid
        self.known: dict[str, Known] = {}
        self.log: list[dict[str, Any]] = []
        self.phase = PHASES[0]
        self._news = asyncio.Event()
        self._ends = [
            asyncio.create_task(_lines(ours, self._heard)),
            asyncio.create_task(_lines(ours_log, self._logged)),
        ]

    @property
    def acknowledged(self) -> int:
        """Events that were acknowledged."""
        return sum(known.last_seq for known in self.known.values())

    def _heard(self, line: bytes) -> None:
        said = _decode(line)
        if said.phase is not None:
            self.phase = said.phase
        elif said.seq == 0:
            self.known[said.capture_id] = Known(said.capture_id)
        else:
            self.known[said.capture_id].acknowledged.append(said)
        self._news.set()

    def _logged(self, line: bytes) -> None:
        with contextlib.suppress(ValueError):  # cut off by the kill
            self.log.append(json.loads(line))

    async def until(self, phase: str) -> None:
        """Until it is in `phase` or further, or has ended."""
        async with asyncio.timeout(PHASE_TIMEOUT):
            while PHASES.index(self.phase) < PHASES.index(phase) and not self._ends[0].done():
                await self._hears_more()

    async def until_acknowledged(self, count: int) -> None:
        """Until so many events are acknowledged, or it has ended."""
        async with asyncio.timeout(PHASE_TIMEOUT):
            while self.acknowledged < count and not self._ends[0].done():
                await self._hears_more()

    async def _hears_more(self) -> None:
        self._news.clear()
        news = asyncio.create_task(self._news.wait())
        await asyncio.wait([news, self._ends[0]], return_when=asyncio.FIRST_COMPLETED)
        news.cancel()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal; nothing happens when it is gone."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    async def kill(self) -> None:
        """SIGKILL it, and hear what it said until then."""
        cut_at = now_ms()
        self.send(signal.SIGKILL)
        await self.ended(cut_at)

    async def ended(self, cut_at: int | None = None) -> int:
        """Wait for its end; the exit code. `cut_at` is the moment before it was killed."""
        before = now_ms() if cut_at is None else cut_at
        async with asyncio.timeout(END_TIMEOUT):
            await asyncio.gather(*self._ends)
        await asyncio.to_thread(self._process.join, END_TIMEOUT)
        for known in self.known.values():
            known.cut_at, known.dead_by = before, now_ms()
        return self._process.exitcode or 0

    @property
    def is_alive(self) -> bool:
        """Does it still run?"""
        return not self._ends[0].done()


async def _lines(pipe: Connection, take: Callable[[bytes], None]) -> None:
    """Give each whole line that comes through `pipe` to `take`, until nobody can write to it any more."""
    loop = asyncio.get_running_loop()
    ended = loop.create_future()
    rest = bytearray()

    def read() -> None:
        piece = os.read(pipe.fileno(), _PIECE)
        if not piece:
            loop.remove_reader(pipe.fileno())
            ended.set_result(None)
            return
        rest.extend(piece)
        *lines, last = bytes(rest).split(b"\n")
        rest[:] = last
        for line in lines:
            take(line)

    loop.add_reader(pipe.fileno(), read)
    try:
        await ended
    finally:
        loop.remove_reader(pipe.fileno())
        pipe.close()
