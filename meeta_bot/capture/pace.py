"""The pace at which rooms are joined: so many a second begin, so many at once are on their way in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from meeta_bot.settings import Settings


class JoinPace:
    """The queue before the doors. Servers and this machine see a stream of joins, however many rooms are asked for."""

    def __init__(self, settings: Settings) -> None:
        self._at_once = asyncio.Semaphore(settings.joins_at_once)
        self._interval = 1 / settings.joins_per_second
        self._next = 0.0  # loop time at which the next one may begin

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for one's turn to join, and keep it until the block is left; turns come in the order of asking."""
        async with self._at_once:
            now = asyncio.get_running_loop().time()
            begin, self._next = max(now, self._next), max(now, self._next) + self._interval
            await asyncio.sleep(begin - now)
            yield
