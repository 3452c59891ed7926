"""`python -m tests.tapes.record NAME …`: play the scripted conference NAME on the local stack and tape it.

The bot is the real recorder; only what it hands to the normalizer is copied. Without a name, all tapes are recorded.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from meeta_bot import room_address, settings
from meeta_bot.capture.browser.chromium import Chromium
from meeta_bot.capture.browser.seats import Seats
from meeta_bot.capture.log import CaptureLog
from meeta_bot.capture.normalize import Message
from meeta_bot.capture.recorder import Recorder
from meeta_bot.capture.request import CaptureRequest, request_for
from meeta_bot.capture.spool import Spool
from meeta_bot.clock import Clock, SystemClock
from meeta_bot.events import EndReason, Event
from meeta_bot.settings import Settings
from tests import tapes
from tests.stack.client import Stack
from tests.stack.participant import ParticipantBrowser
from tests.tapes.conferences import SCRIPTS

PATIENCE_SECONDS = 20


class TapingLog(CaptureLog):
    """The log, with a copy of every message that it normalizes."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.tape: list[Message] = []
        self.seen: list[Event] = []
        self.news = asyncio.Condition()

    async def record(self, messages: list[Message], **how: Any) -> list[Event]:
        found = await super().record(messages, **how)
        self.tape += messages
        self.seen += found
        async with self.news:
            self.news.notify_all()
        return found


class TapingRecorder(Recorder):
    """The recorder, with a log that is taped."""

    def __init__(self, request: CaptureRequest, seats: Seats, spool: Spool, settings: Settings, clock: Clock) -> None:
        super().__init__(request, seats, spool, settings, clock)
        self.taped = TapingLog(self.log.state, spool, settings, clock, self._departure_changed)
        self.log = self.taped

    async def until(self, event_type: str, matches: Callable[[Any], bool] = lambda _payload: True) -> Event:
        """Wait for an event of that type whose payload matches, then forget all up to it."""

        def find() -> int | None:
            found = (
                at for at, event in enumerate(self.taped.seen) if event.type == event_type and matches(event.payload)
            )
            return next(found, None)

        async with self.taped.news:
            try:
                await asyncio.wait_for(self.taped.news.wait_for(lambda: find() is not None), PATIENCE_SECONDS)
            except TimeoutError:
                raise AssertionError(
                    f"no {event_type} came after {[event.type for event in self.taped.seen]}"
                ) from None
        at = find()
        assert at is not None
        found = self.taped.seen[at]
        del self.taped.seen[: at + 1]
        return found


class Set:
    """What a script plays with: the stack, people, and the bot, which it lets in when it wants."""

    def __init__(self, stack: Stack, people: ParticipantBrowser, chromium: Chromium, spool: Spool, room: str) -> None:
        self.stack = stack
        self.people = people
        self.room = room
        self.url = stack.room_url(room)
        self._chromium = chromium
        self._spool = spool
        self._recorders: list[tuple[TapingRecorder, asyncio.Task[Any]]] = []

    async def bot(self) -> TapingRecorder:
        """The bot, in the room."""
        chosen = settings.load({"heartbeat_interval": 3600})
        clock = SystemClock()
        seats = Seats(self._chromium, clock, chosen)
        recorder = TapingRecorder(request_for(room_address.parse(self.url), chosen), seats, self._spool, chosen, clock)
        self._recorders.append((recorder, asyncio.create_task(recorder.run())))
        await recorder.until("conference.joined")
        return recorder

    async def strike(self) -> list[Message]:
        """End the bot and give its tape."""
        recorder, running = self._recorders[0]
        recorder.stop(EndReason.OPERATOR)
        await running
        return recorder.taped.tape


@asynccontextmanager
async def _stage(room: str) -> AsyncIterator[Set]:
    with tempfile.TemporaryDirectory() as folder:
        chosen = settings.load()
        spool, chromium = Spool(Path(folder), chosen), Chromium(chosen)
        await chromium.start()
        try:
            async with Stack.start() as stack, ParticipantBrowser.start() as people:
                yield Set(stack, people, chromium, spool, room)
        finally:
            await chromium.stop()
            await spool.close()


async def record(name: str) -> int:
    """Play and tape one conference; returns how many messages there were."""
    async with _stage(name) as stage:
        await SCRIPTS[name](stage)
        messages = await stage.strike()
        text = msgspec.json.encode(messages).decode().replace(stage.stack.url, tapes.DEPLOYMENT)
    tapes.write_messages(name, msgspec.json.decode(text, type=list[Message]))
    return len(messages)


if __name__ == "__main__":
    for chosen_name in sys.argv[1:] or sorted(SCRIPTS):
        print(f"{chosen_name}: {asyncio.run(record(chosen_name))} messages")
        print(f"{chosen_name}: {tapes.write_events(chosen_name)} events")
