"""A page that a test plays, where a stay in a room would have a browser's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from meeta_bot.capture.browser.bridge import PageMessage
from meeta_bot.capture.stay import LAST_WORD
from meeta_bot.clock import SystemClock

OWN = {"endpoint_id": "bot", "role": "none", "roster_size": 0}


class Page:
    """Seats, the only page, its only seat and its channel in one; it says what a test has it say."""

    def __init__(self, problem: Exception | None = None) -> None:
        self.problem = problem
        self.on_lost: Callable[[Any], None] | None = None
        self.keys: list[str] = []
        self.joined: dict[str, Any] = {}
        self.has_joined = asyncio.Event()
        self.is_slow = False  # nobody is woken by what it says
        self.acknowledged = 0
        self.calls: list[str] = []
        self.page_load, self.conference = "load", "key"
        self.made, self.page_seq, self.missed, self.seen_until = 0, 0, 0, None  # as a channel knows them
        self._said: asyncio.Queue[PageMessage] = asyncio.Queue()
        self._seq = 0
        self._called = asyncio.Event()

    def say(self, origin: str, *args: Any) -> None:
        self._seq += 1
        self._said.put_nowait(PageMessage(self._seq, 1_700_000_000_000, float(self._seq), origin, list(args)))

    # As Seats.

    async def take(self, _address: Any, key: str, on_lost: Callable[[Any], None]) -> Page:
        if self.problem is not None:
            raise self.problem
        self.keys.append(key)
        self.calls.append("take")
        self.on_lost = on_lost
        return self

    # As a Seat.

    async def join(self, room: str, **how: Any) -> Page:
        self.calls.append("join")
        self.joined = {"room": room, **how}
        self.has_joined.set()
        return self

    def join_again(self, _password: str | None) -> None:
        self.calls.append("join_again")
        self._called.set()

    async def until_called(self, call: str) -> None:
        """Wait until the recorder has called this."""
        while call not in self.calls:
            self._called.clear()
            await self._called.wait()

    def acknowledge(self, page_seq: int) -> None:
        self.acknowledged = page_seq

    def monotonic_ms(self, _now: float) -> float:
        return SystemClock().monotonic_ms()

    def earliest_ms(self, _now: float) -> float:
        return SystemClock().monotonic_ms()

    def knock(self, name: str) -> None:
        self.calls.append(f"knock {name}")

    def forget(self) -> None:
        self.calls.append("forget")

    def vacate(self) -> None:
        self.calls.append("vacate")

    async def leave(self) -> None:
        self.say(LAST_WORD)

    # As a Channel.

    async def receive(self) -> list[PageMessage]:
        if self.is_slow:
            await asyncio.Event().wait()
        return [await self._said.get()]

    def receive_nowait(self) -> list[PageMessage]:
        return [self._said.get_nowait() for _ in range(self._said.qsize())]
