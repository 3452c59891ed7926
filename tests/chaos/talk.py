"""People who talk: real participants of a room, whose numbered messages are known with the moments of their sending."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random

from tests.stack.participant import Participant, ParticipantBrowser, ParticipantError

LONGEST_SILENCE = 0.4  # seconds between what one of them does and the next thing
COMES_AGAIN = 0.02  # share of what they do; the rest is talk, and now and then a hand


@dataclass(frozen=True)
class Message:
    """Something said: everybody in the room had it at a moment between `begun_at` and `had_at` (wall clock, ms)."""

    text: str
    begun_at: int
    had_at: int


class Talkers:
    """Some participants who talk, come and go until they are told to stop."""

    def __init__(self, browser: ParticipantBrowser, url: str, names: list[str], chance: Random) -> None:
        self.said: list[Message] = []
        self.unsure: set[str] = set()  # texts of which nobody knows whether the room had them
        self._browser = browser
        self._url = url
        self._chance = chance
        self._names = names
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()

    @asynccontextmanager
    async def talking(self) -> AsyncIterator[None]:
        """All of them are in the room and talk."""
        people = [await self._come(name) for name in self._names]
        seeds = [self._chance.random() for _ in people]
        self._tasks = [
            asyncio.create_task(self._talk(person, name, Random(seed)), name=f"talk of {name}")
            for person, name, seed in zip(people, self._names, seeds, strict=True)
        ]
        try:
            yield
        finally:
            await self.stop()

    async def stop(self) -> None:
        """They finish their sentences and leave. Safe to call twice."""
        self._stopping.set()
        await asyncio.gather(*self._tasks)

    async def _come(self, name: str) -> Participant:
        person = await self._browser.participant(self._url)
        await person.join(name, audio=False, video=False)
        return person

    async def _talk(self, person: Participant, name: str, chance: Random) -> None:
        number = 0
        while not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), chance.random() * LONGEST_SILENCE)
            draw = chance.random()
            if draw < COMES_AGAIN:
                await person.leave()
                await person.close()
                person = await self._come(name)
            elif draw < 3 * COMES_AGAIN:
                await (person.raise_hand() if chance.random() < 0.5 else person.lower_hand())
            else:
                number += 1
                await self._say(person, f"{name} says {number}")
        await person.leave()
        await person.close()

    async def _say(self, person: Participant, text: str) -> None:
        begun_at = int(time.time() * 1000)
        try:
            await person.send_chat(text)
        except ParticipantError:
            self.unsure.add(text)
            return
        self.said.append(Message(text, begun_at, person.log[-1].at_ms))
