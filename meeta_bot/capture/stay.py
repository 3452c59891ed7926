"""One stay of the bot in its room: a seat in a page, a login, a conference, until the room is lost or left.

What the page says is normalized, made durable and only then acknowledged; then the owner hears of it. A stay begins
with nothing, and nothing of it goes on in the next but the seat: that is kept until the next stay has one of its own,
so that a page that is whole is not closed in between.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from meeta_bot.capture.admission import Credentials, Refusal
from meeta_bot.capture.browser.bridge import Channel, PageMessage
from meeta_bot.capture.browser.conference_page import PageNotLoaded
from meeta_bot.capture.browser.health import PageLoss, loss_of
from meeta_bot.capture.browser.seats import Seat, Seats
from meeta_bot.capture.log import CaptureLog
from meeta_bot.capture.login import Login
from meeta_bot.capture.normalize import Message
from meeta_bot.capture.request import CaptureRequest
from meeta_bot.clock import Clock
from meeta_bot.errors import BrowserError
from meeta_bot.events import EndReason, GapCause, Payload
from meeta_bot.settings import Settings

LAST_WORD = "hook.left"  # the hook's last message: the page has nothing more to hand over


class RoomLoss(NamedTuple):
    """The end of a stay whose capture goes on."""

    cause: GapCause
    detail: str


class Seated(NamedTuple):
    """News: the stay has a seat of its own, in a page that has loaded."""


News = Payload | Refusal | Seated


class Stay:
    """One stay in the room; make one for each.

    ``on_news`` hears of its seat, of every event that is on disk, and of refusals that no event tells. The owner
    decides what follows, by :meth:`lose` or by leaving.
    """

    def __init__(
        self,
        key: str,
        request: CaptureRequest,
        seats: Seats,
        log: CaptureLog,
        settings: Settings,
        clock: Clock,
        on_news: Callable[[News], None],
        *,
        until_ms: float = math.inf,
    ) -> None:
        """Prepare a stay.

        :param key: the conference's in its page, unlike that of every other stay.
        :param until_ms: the moment by the monotonic clock at which it must be in the room, whatever ``join_timeout``.
        """
        self._key = key
        self._request = request
        self._seats = seats
        self._log = log
        self._settings = settings
        self._clock = clock
        self._on_news = on_news
        self._until_ms = until_ms
        self._login = Login(request)
        self._tried = Credentials()
        self._loop = asyncio.get_running_loop()
        self._loss: asyncio.Future[RoomLoss] = self._loop.create_future()
        self._in_room = asyncio.Event()
        self._page_is_empty = asyncio.Event()
        self._is_in_lobby = False
        self._signalling_deadline: asyncio.TimerHandle | None = None
        self._seat: Seat | None = None
        self._channel: Channel | None = None

    @property
    def seat(self) -> Seat | None:
        """The stay's own seat, once it has one; whoever owns the stay gives it back."""
        return self._seat

    @property
    def channel(self) -> Channel | None:
        """The page's messages of this stay, once the bot has begun to join."""
        return self._channel

    @property
    def seen_ms(self) -> float | None:
        """The monotonic time up to which all that the page saw was handed over; None before it was anything."""
        if self._seat is None or self._channel is None or self._channel.seen_until is None:
            return None
        return self._seat.earliest_ms(self._channel.seen_until)

    @property
    def is_in_room(self) -> bool:
        """True from the arrival in the room on."""
        return self._in_room.is_set()

    # --- from the seat to the end -----------------------------------------------------------------------------------

    async def run(self) -> RoomLoss | None:
        """Take a seat, join, and listen until the room is lost; None when the room could not be reached at all."""
        joining = asyncio.create_task(self._join())
        tasks: list[asyncio.Task[Any]] = [joining]
        try:
            await self._done_or_lost(joining)
            if joining.done():
                seat, channel = joining.result()
                listening = asyncio.create_task(self._listen(seat, channel))
                tasks += [listening, asyncio.create_task(self._join_deadline())]
                await self._done_or_lost(listening)
                if listening.done():
                    listening.result()  # it ends with an error only
        except PageNotLoaded as problem:
            self._on_news(Refusal(problem.reason, str(problem), is_passing=True))
        except BrowserError as problem:
            self._page_lost(loss_of(problem))
        finally:
            await self._finish(tasks)
        return self._loss.result() if self._loss.done() else None

    async def _done_or_lost(self, work: asyncio.Task[Any]) -> None:
        """Wait until `work` is done or the room is lost."""
        waiting: list[asyncio.Future[Any]] = [work, self._loss]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)

    async def _finish(self, tasks: list[asyncio.Task[Any]]) -> None:
        """Stop everything that goes on, and take what the page has handed over by now."""
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.signalling_is_back()
        seat, channel = self._seat, self._channel
        if seat is not None and channel is not None:
            if handed_over := channel.receive_nowait():
                await self._take(seat, handed_over)
            seat.forget()

    async def _join(self) -> tuple[Seat, Channel]:
        self._seat = seat = await self._take_seat()
        self._on_news(Seated())
        self._tried = self._login.credentials()
        self._channel = await seat.join(
            self._request.address.room,
            name=self._request.name,
            token=self._tried.token,
            password=self._tried.password,
        )
        return seat, self._channel

    async def _take_seat(self) -> Seat:
        seconds = self._settings.browser_start_timeout + self._settings.page_load_timeout
        try:
            async with asyncio.timeout(seconds):
                return await self._seats.take(self._request.address, self._key, self._page_lost)
        except TimeoutError:
            raise BrowserError(f"no page within {seconds:g} s") from None

    def _page_lost(self, loss: PageLoss) -> None:
        self.lose(RoomLoss(loss.cause, loss.evidence))

    async def _join_deadline(self) -> None:
        """Refuse a bot that is not in the room in time; waiting in a lobby has a longer time of its own."""
        left = (self._until_ms - self._clock.monotonic_ms()) / 1000
        seconds = max(0.0, min(self._settings.join_timeout, left))
        if await self._arrives_within(seconds):
            return
        if not self._is_in_lobby:
            detail = f"not in the room after {seconds:g} s"
            self._on_news(Refusal(EndReason.JOIN_TIMEOUT, detail, is_passing=True))
        elif not await self._arrives_within(self._settings.lobby_timeout):
            self._on_news(Refusal(EndReason.LOBBY_TIMEOUT, f"not let in after {self._settings.lobby_timeout:g} s"))

    async def _arrives_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._in_room.wait()
        return self._in_room.is_set()

    # --- what the owner decides -------------------------------------------------------------------------------------

    def lose(self, loss: RoomLoss) -> None:
        """End the stay; the first reason wins, since a page that is gone is noticed in many places."""
        if not self._loss.done():
            self._loss.set_result(loss)

    def arrive(self) -> None:
        """Note that the bot is in the room."""
        self._in_room.set()

    def knock(self) -> None:
        """Ask to be let in from the lobby, and wait there for as long as one may."""
        self._is_in_lobby = True
        if self._seat is not None:
            self._seat.knock(self._request.name)

    def give_signalling_time(self) -> None:
        """Wait for signalling that was lost: it mostly comes back by itself, with nothing lost; not for ever."""
        self.signalling_is_back()
        seconds = self._settings.signalling_timeout
        loss = RoomLoss(GapCause.SIGNALLING_LOST, f"signalling was gone for {seconds:g} s")
        self._signalling_deadline = self._loop.call_later(seconds, self.lose, loss)

    def signalling_is_back(self) -> None:
        """Wait for it no longer."""
        if self._signalling_deadline is not None:
            self._signalling_deadline.cancel()

    def judge(self, payload: Payload, *, was_in_room: bool) -> Refusal | None:
        """Return what `payload` refuses to the login of this stay; None when it refuses nothing."""
        return self._login.judge(payload, self._tried, wall_ms=self._clock.wall_ms(), was_in_room=was_in_room)

    async def leave(self) -> None:
        """Leave the room; returns when the page has handed over everything, or the deadline is over."""
        if self._seat is None or self._channel is None or self._loss.done():
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.leave_timeout):
                await self._seat.leave()
                await self._page_is_empty.wait()

    # --- from message to disk ---------------------------------------------------------------------------------------

    async def _listen(self, seat: Seat, channel: Channel) -> None:
        while True:
            await self._take(seat, await channel.receive())

    async def _take(self, seat: Seat, fresh: list[PageMessage]) -> None:
        """Normalize, store and acknowledge messages of a page."""
        messages = [self._from_page(seat, message) for message in fresh]
        seen_ms = seat.earliest_ms(fresh[-1].now)
        found = await self._log.record(messages, seen_ms=seen_ms)
        seat.acknowledge(fresh[-1].page_seq)
        for event in found:
            self._on_news(event.payload)
        if fresh[-1].origin == LAST_WORD:
            self._page_is_empty.set()

    def _from_page(self, seat: Seat, message: PageMessage) -> Message:
        return Message(
            # A page may say what it likes, but not in the recorder's name.
            origin=f"page.{message.origin}" if message.origin.startswith("recorder.") else message.origin,
            args=message.args,
            wall_ms=int(message.wall_ms),
            monotonic_ms=int(seat.monotonic_ms(message.now) - self._log.started_ms),
        )
