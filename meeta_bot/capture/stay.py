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

from meeta_bot.capture.admission import Action, Credentials, Refusal, last_word
from meeta_bot.capture.browser.bridge import Channel, PageMessage
from meeta_bot.capture.browser.conference_page import PageNotLoaded
from meeta_bot.capture.browser.health import PageLoss, loss_of
from meeta_bot.capture.browser.seats import Seat, Seats
from meeta_bot.capture.log import CaptureLog
from meeta_bot.capture.login import Login
from meeta_bot.capture.normalize import Message
from meeta_bot.capture.phases import TABLE, Phase
from meeta_bot.capture.request import CaptureRequest
from meeta_bot.clock import Clock
from meeta_bot.errors import BrowserError
from meeta_bot.events import EndReason, GapCause, Payload
from meeta_bot.settings import Settings

LAST_WORD = "hook.left"  # the hook's last message: the page has nothing more to hand over


class RoomLoss(NamedTuple):
    """The end of a stay whose capture goes on; ``refusal`` is the answer that ended it, if one did."""

    cause: GapCause
    detail: str
    refusal: Refusal | None = None


class Queued(NamedTuple):
    """News: the room was asked to let the bot in, and says nothing; ``refusal`` is the end if it never does."""


class Seated(NamedTuple):
    """News: the stay has a seat of its own, in a page that has loaded."""


News = Payload | Queued | Refusal | Seated


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
        self._waits: Phase | None = None  # for somebody, and why the bot was told to
        self._waits_since_ms = 0.0
        self._why: Refusal | None = None
        self._last_word: str | None = None
        self._has_asked_in = False
        self._changed = asyncio.Event()  # how it waits
        self._asked = 0
        self._asking: asyncio.TimerHandle | None = None
        self._signalling_deadline: asyncio.TimerHandle | None = None
        self._seat: Seat | None = None
        self._channel: Channel | None = None
        self._joining: asyncio.Task[tuple[Seat, Channel]] | None = None

    @property
    def loss(self) -> RoomLoss | None:
        """The loss of the room, unless the page had handed over everything before it."""
        return self._loss.result() if self._loss.done() and not self._page_is_empty.is_set() else None

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
        joining = self._joining = asyncio.create_task(self._join())
        tasks: list[asyncio.Task[Any]] = [joining]
        try:
            await self._done_or_lost(joining)
            if joining.done() and not joining.cancelled():
                seat, channel = joining.result()
                listening = asyncio.create_task(self._listen(seat, channel))
                tasks += [listening, asyncio.create_task(self._join_deadline())]
                await self._done_or_lost(listening)
                if listening.done():
                    listening.result()  # it ends with an error only
        except PageNotLoaded as problem:
            self._on_news(Refusal(problem.reason, str(problem), Action.RETURN))
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
        self._ask_no_more()
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
        """Refuse a bot that is not in the room in time; who waits for somebody has the longer time of that phase."""
        left = (self._until_ms - self._clock.monotonic_ms()) / 1000
        seconds = max(0.0, min(self._settings.join_timeout, left))
        if await self._arrives_within(seconds):
            return
        if self._waits is None and self._has_asked_in:
            self.wait(Phase.QUEUE)
            self._on_news(Queued())
        while self._waits is not None:
            self._changed.clear()
            limit = float(getattr(self._settings, TABLE[self._waits].deadlines[0]))
            waited = (self._clock.monotonic_ms() - self._waits_since_ms) / 1000
            if waited >= limit:
                break
            if await self._arrives_within(limit - waited):
                return
        self._on_news(self._too_late(seconds))

    def _too_late(self, seconds: float) -> Refusal:
        """Return the refusal of a bot whose time to get in is over, with the server's last word."""
        why = self._why
        if self._waits is not None:
            limit = float(getattr(self._settings, TABLE[self._waits].deadlines[0]))
            detail = f"not let in after {limit:g} s" if self._waits is Phase.LOBBY else f"{self._waits} for {limit:g} s"
            reason = EndReason.JOIN_TIMEOUT if why is None else why.reason
            return Refusal(reason, self._with_last_word(detail))
        detail = self._with_last_word(f"not in the room after {seconds:g} s")
        return Refusal(EndReason.JOIN_TIMEOUT if why is None else why.reason, detail, Action.RETURN)

    def _with_last_word(self, detail: str) -> str:
        return f"{detail}; the server's last word: {self._last_word}" if self._last_word else detail

    async def _arrives_within(self, seconds: float) -> bool:
        """Tell whether the bot is in the room within so many seconds, or until it waits for something else."""
        arriving = asyncio.ensure_future(self._in_room.wait())
        changing = asyncio.ensure_future(self._changed.wait())
        waiting = {arriving} if self._waits is None else {arriving, changing}
        try:
            await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            arriving.cancel()
            changing.cancel()
        return self._in_room.is_set()

    # --- what the owner decides -------------------------------------------------------------------------------------

    def lose(self, loss: RoomLoss) -> None:
        """End the stay; the first reason wins, since a page that is gone is noticed in many places."""
        if not self._loss.done():
            self._loss.set_result(loss)

    def arrive(self) -> None:
        """Note that the bot is in the room."""
        self._in_room.set()
        self._waits = self._why = None
        self._ask_no_more()

    def knock(self) -> None:
        """Ask to be let in from the lobby, and wait there for as long as one may."""
        self._ask_no_more()
        self.wait(Phase.LOBBY, Refusal(EndReason.LOBBY_TIMEOUT))
        if self._seat is not None:
            self._seat.knock(self._request.name)

    def note_asked_in(self) -> None:
        """Note that the room was asked to let the bot in: what follows may be a queue, in which nobody asks again."""
        self._has_asked_in = True
        self._ask_no_more()

    def wait(self, phase: Phase, why: Refusal | None = None) -> None:
        """Wait in `phase` for as long as its deadline allows, and end for `why` if nobody does anything."""
        self._why = why
        if self._waits is not phase:
            self._waits, self._waits_since_ms = phase, self._clock.monotonic_ms()
            self._changed.set()

    def ask_again(self, why: Refusal) -> None:
        """Ask again to be let in, in the same login, until the room is asked; `why` is what the server said."""
        self._has_asked_in = False
        if why.waits is not None:
            self.wait(why.waits, why)
        elif self._waits is None:
            self._why = why
        self._ask_no_more()
        self._ask_after_a_pause(why)

    def _ask_after_a_pause(self, why: Refusal) -> None:
        """Ask after a pause, and after the next one: a refusal that is no news is not told again."""
        pause = self._settings.ask_pause
        if why.waits is None:  # it may pass at any moment
            pause = min(pause, self._settings.reconnect_pause_initial * 2.0**self._asked)
        self._asked += 1
        self._asking = self._loop.call_later(pause, self._ask, why)

    def _ask(self, why: Refusal) -> None:
        if self._seat is not None:
            self._seat.join_again(self._tried.password)
        self._ask_after_a_pause(why)

    def _ask_no_more(self) -> None:
        if self._asking is not None:
            self._asking.cancel()

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
        if (word := last_word(payload)) is not None:
            self._last_word = word
        return self._login.judge(payload, self._tried, wall_ms=self._clock.wall_ms(), was_in_room=was_in_room)

    def call_off(self) -> None:
        """Begin nothing more: no seat is taken, and no room entered or asked to let the bot in. Leave comes next."""
        self._ask_no_more()
        if self._joining is not None:
            self._joining.cancel()

    async def leave(self) -> None:
        """Leave the room; returns when the page has handed over everything or is lost, or the deadline is over."""
        if self._seat is None or self._channel is None or self._loss.done():
            return
        goodbye = asyncio.create_task(self._say_goodbye(self._seat))
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.leave_timeout):
                    await self._done_or_lost(goodbye)
            if goodbye.done():
                goodbye.result()
        finally:
            goodbye.cancel()
            await asyncio.gather(goodbye, return_exceptions=True)

    async def _say_goodbye(self, seat: Seat) -> None:
        await seat.leave()
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
            server_ms=None if message.server_ms is None else int(message.server_ms),
        )
