"""One capture: wires page, normalizer and spool together and decides when it is over.

What the page says is normalized, made durable and only then acknowledged. Decisions (in the room, refused, alone)
are taken from events that are already on disk. A capture is a sequence of stays in the room: when one is lost with its
page, its browser or its signalling, the next is begun, and the normalizer says what could not be seen in between. The
first reason to end wins; then the bot leaves, what the page still holds is taken, and the last event of the capture
says why it ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Coroutine
from typing import Any, NamedTuple

import msgspec
import uuid_utils

from meeta_bot import __version__, events
from meeta_bot.capture.admission import ANSWERS, Credentials, Refusal
from meeta_bot.capture.browser.bridge import Channel, PageMessage
from meeta_bot.capture.browser.conference_page import PageNotLoaded
from meeta_bot.capture.browser.seats import Gone, Pages, Seat
from meeta_bot.capture.departure import next_departure
from meeta_bot.capture.log import CaptureLog, damage_said
from meeta_bot.capture.login import Login
from meeta_bot.capture.normalize import Message, State
from meeta_bot.capture.phases import TABLE, Phase
from meeta_bot.capture.reconnect import Returning
from meeta_bot.capture.request import CaptureRequest
from meeta_bot.capture.spool import Position, Spool
from meeta_bot.capture.standstill import Stall
from meeta_bot.clock import Clock
from meeta_bot.errors import BrowserError, PageError, SpoolError
from meeta_bot.events import EndReason, Event, GapCause, Lost
from meeta_bot.logs import get_logger
from meeta_bot.settings import Settings

# Few of the many events are a reason to do something.
_TO_REACT_TO = frozenset(
    {
        events.CaptureHookInstalled,
        events.CaptureLobbyWaiting,
        events.ConferenceJoined,
        events.ConnectionEstablished,
        events.SignallingLost,
        events.SignallingRestored,
        *ANSWERS,
    }
)
LAST_WORD = "hook.left"  # the hook's last message: the page has nothing more to tell


class End(NamedTuple):
    """Why a capture ends."""

    reason: EndReason
    detail: str | None = None


class Loss(NamedTuple):
    """Why a stay is over though the capture is not."""

    cause: GapCause
    detail: str


class Recorder:
    """Records one room once. Make one per capture; :meth:`run` does everything."""

    def __init__(self, request: CaptureRequest, pages: Pages, spool: Spool, settings: Settings, clock: Clock) -> None:
        self.request = request
        self.address = address = request.address
        self.capture_id = str(uuid_utils.uuid7())
        self.phase = Phase.STARTING
        self.end: End | None = None
        self.settled = asyncio.Event()  # in the room, waiting to be let in, or over: joining takes no more work
        self._pages = pages
        self._spool = spool
        self._settings = settings
        self._clock = clock
        self._log = get_logger("recorder", capture=self.capture_id, room=address.url)
        self._loop = asyncio.get_running_loop()
        self._ending: asyncio.Future[End] = self._loop.create_future()
        self._asides: set[asyncio.Task[None]] = set()
        self._company_changed = asyncio.Event()
        self._returning = Returning(settings)
        self._was_in_room = False
        # Of the present stay:
        self._stays = 0
        self._loss: asyncio.Future[Loss] = self._loop.create_future()
        self._in_room = asyncio.Event()
        self._page_is_empty = asyncio.Event()
        self._signalling_deadline: asyncio.TimerHandle | None = None
        self._seat: Seat | None = None
        self._channel: Channel | None = None
        self._login = Login(request)
        self._tried = Credentials()
        self._seen_ms = clock.monotonic_ms()  # until then, all that the page saw was handed over
        state = State(
            capture_id=self.capture_id,
            deployment=address.deployment,
            room=address.room,
            schedule_key=request.schedule_key,
            statistics_interval_ms=int(settings.statistics_interval * 1000),
        )
        self.log = CaptureLog(state, spool, settings, clock, self._company_changed)

    @property
    def state(self) -> State:
        """What the normalizer knows, as far as it is on disk."""
        return self.log.state

    @property
    def position(self) -> Position:
        """How far the log has come on disk."""
        return self.log.position

    @property
    def last_event(self) -> Event | None:
        """The newest event on disk."""
        return self.log.last_event

    def stop(self, reason: EndReason, detail: str | None = None) -> None:
        """End the capture for `reason`, unless it ends already. Safe at any time."""
        if not self._ending.done():
            self.log.is_patient = False
            self._ending.set_result(End(reason, detail))

    async def run(self) -> End:
        """Record until something ends it; always ends with a reason, which is also the last event."""
        await self._watched(self.log.tell("recorder.started", msgspec.to_builtins(self._introduction())))
        tasks = [asyncio.create_task(self._watched(self._live()), name=f"live {self.capture_id}")]
        tasks += [asyncio.create_task(self._watched(work)) for work in (self._heartbeats(), self._company())]
        end = self.end = await self._ending
        self._enter(Phase.LEAVING)
        self._log.info("leaving", reason=end.reason.value, detail=end.detail)
        try:
            await self._leave()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, *self._asides, return_exceptions=True)
            if self._seat is not None:
                self._seat.vacate()
            self.settled.set()
        try:
            await self._last_events(end)
        except SpoolError as error:  # the next process that opens this spool writes the end
            self._log.error("the end could not be written", problem=str(error))
        self._enter(Phase.ENDED)
        position = self.log.position
        self._log.info("ended", reason=end.reason.value, events=position.last_seq, head=position.head.hex())
        return end

    async def _last_events(self, end: End) -> None:
        if end.reason in (EndReason.LEFT_ALONE, EndReason.ONLY_BOTS_LEFT):
            await self.log.tell("recorder.meeting_over", urgent=True)
        await self.log.tell_of_what_was_refused()
        ended = events.CaptureEnded(reason=end.reason, detail=end.detail)
        await self.log.tell("recorder.ended", msgspec.to_builtins(ended), urgent=True)

    def _introduction(self) -> events.CaptureStarted:
        return events.CaptureStarted(
            room_url=self.address.url,
            deployment=self.address.deployment,
            room=self.address.room,
            bot_name=self.request.name,
            program_version=__version__,
            heartbeat_interval_ms=int(self._settings.heartbeat_interval * 1000),
            labels=self.request.labels,
        )

    def _enter(self, phase: Phase) -> None:
        """Be in `phase` from now on. On the way back into a lost room, its parts don't show."""
        is_part = phase in (Phase.LOADING, Phase.CONNECTING, Phase.JOINING)
        if is_part and self.phase is Phase.RECONNECTING:
            return
        if phase not in (self.phase, *TABLE[self.phase].following):
            self._log.error("a phase that the table does not have here", phase=phase.value, before=self.phase.value)
        self.phase = phase

    # --- stays in the room ----------------------------------------------------------------------------------------

    async def _live(self) -> None:
        """Stay in the room, and get back into it whenever it was lost, until the capture ends."""
        while True:
            loss = await self._stay()
            if loss is None or not await self._may_return(loss):
                return

    async def _stay(self) -> Loss | None:
        """One stay: take a seat, join, listen until the room is lost. None when the capture ends for it."""
        self._stays += 1
        self._loss = self._loop.create_future()
        self._in_room.clear()
        self._page_is_empty.clear()
        joining = asyncio.create_task(self._join())
        tasks: list[asyncio.Task[Any]] = [joining]
        try:
            await self._either(joining)
            if joining.done():
                seat, channel = joining.result()
                listening = asyncio.create_task(self._listen(seat, channel))
                tasks += [listening, asyncio.create_task(self._join_deadline())]
                await self._either(listening)
                if listening.done():
                    listening.result()  # it ends with an error only
            return self._loss.result()
        except PageNotLoaded as problem:
            return self._passing_loss(problem.reason, str(problem))
        except PageError as problem:
            return self._lost_now(GapCause.PAGE_CRASHED, str(problem))
        except BrowserError as problem:
            return self._lost_now(GapCause.BROWSER_CRASHED, str(problem))
        finally:
            await self._finish_stay(tasks)

    async def _either(self, work: asyncio.Task[Any]) -> None:
        """Until `work` is done or the stay is lost."""
        waiting: list[asyncio.Future[Any]] = [work, self._loss]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)

    async def _finish_stay(self, tasks: list[asyncio.Task[Any]]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._signalling_deadline is not None:
            self._signalling_deadline.cancel()
        seat, channel, self._channel = self._seat, self._channel, None
        if seat is not None and channel is not None:
            if handed_over := channel.receive_nowait():
                await self._take(seat, channel, handed_over)
            if channel.seen_until is not None:
                self._seen_ms = seat.earliest_ms(channel.seen_until)
            seat.forget()

    async def _join(self) -> tuple[Seat, Channel]:
        self._enter(Phase.LOADING)
        seat = await self._take_seat()
        before, self._seat = self._seat, seat
        if before is not None:  # kept until now, so that a page that is whole was not closed behind it
            before.vacate()
        self._enter(Phase.CONNECTING)
        self._tried = self._login.credentials()
        self._channel = await seat.join(
            self.address.room, name=self.request.name, token=self._tried.token, password=self._tried.password
        )
        return seat, self._channel

    async def _take_seat(self) -> Seat:
        seconds = self._settings.browser_start_timeout + self._settings.page_load_timeout
        try:
            async with asyncio.timeout(seconds):
                return await self._pages.take(self.address, f"{self.capture_id}.{self._stays}", self._page_gone)
        except TimeoutError:
            raise BrowserError(f"no page within {seconds:g} s") from None

    async def _listen(self, seat: Seat, channel: Channel) -> None:
        while True:
            await self._take(seat, channel, await channel.receive())

    async def _join_deadline(self) -> None:
        """In the room in time; waiting in a lobby has a longer time of its own."""
        seconds = self._settings.join_timeout
        if self._was_in_room:
            seconds = min(seconds, self._returning.left_ms(self._clock.monotonic_ms()) / 1000)
        try:
            async with asyncio.timeout(seconds):
                await self._in_room.wait()
        except TimeoutError:
            if self.phase is not Phase.LOBBY:
                self._lose_or_stop(EndReason.JOIN_TIMEOUT, f"not in the room after {seconds:g} s")
                return
            try:
                async with asyncio.timeout(self._settings.lobby_timeout):
                    await self._in_room.wait()
            except TimeoutError:
                self.stop(EndReason.LOBBY_TIMEOUT, f"not let in after {self._settings.lobby_timeout:g} s")

    async def _may_return(self, loss: Loss) -> bool:
        """Say that the room is lost, and wait for the moment to try again; False when there is none any more."""
        now_ms = self._clock.monotonic_ms()
        pause = self._returning.lost(loss.cause, now_ms)
        self._log.warning("room lost", cause=loss.cause.value, detail=loss.detail, attempt=self._returning.attempts)
        said = {
            "cause": loss.cause.value,
            "attempt": self._returning.attempts,
            "detail": loss.detail,
            "ago_ms": max(0, math.ceil(now_ms - self._seen_ms)),
            "evidence": loss.detail,
        }
        await self.log.tell("recorder.lost", said)
        self._enter(Phase.RECONNECTING)
        if isinstance(pause, EndReason):
            self.stop(pause, loss.detail)
            return False
        await asyncio.sleep(pause)
        return True

    def _page_gone(self, gone: Gone) -> None:
        self._lose(Loss(gone.cause, gone.evidence))

    def _lose(self, loss: Loss) -> None:
        """The present stay is over; the first reason wins."""
        if not self._loss.done():
            self._loss.set_result(loss)

    def _lost_now(self, cause: GapCause, detail: str) -> Loss:
        """What was told first, if anything was: a page that is gone is seen in many places."""
        return self._loss.result() if self._loss.done() else Loss(cause, detail)

    def _passing_loss(self, reason: EndReason, detail: str) -> Loss | None:
        """What ends a capture that was never in its room is one more failed try for one that was."""
        if self._was_in_room:
            return self._lost_now(GapCause.SIGNALLING_LOST, detail)
        self.stop(reason, detail)
        return None

    def _lose_or_stop(self, reason: EndReason, detail: str | None) -> None:
        loss = self._passing_loss(reason, detail or reason.value)
        if loss is not None:
            self._lose(loss)

    async def _leave(self) -> None:
        """Out of the room and everything told, or the deadline is over."""
        seat = self._seat
        if seat is None or self._channel is None or self._loss.done():
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.leave_timeout):
                await seat.leave()
                await self._page_is_empty.wait()

    # --- timers ---------------------------------------------------------------------------------------------------

    async def _watched(self, work: Coroutine[Any, Any, None]) -> None:
        """Whatever goes wrong must end this capture with a reason, and no other capture."""
        try:
            await work
        except SpoolError as error:
            self.stop(EndReason.DISK_FAILED, str(error))
        except Exception as error:
            self._log.exception("the recorder failed")
            self.stop(EndReason.PAGE_CRASHED, f"internal error: {error!r}")

    def _aside(self, work: Coroutine[Any, Any, None]) -> None:
        """Do `work` beside everything else; the capture's end waits for it."""
        task = asyncio.create_task(self._watched(work))
        self._asides.add(task)
        task.add_done_callback(self._asides.discard)

    async def _heartbeats(self) -> None:
        while True:
            await asyncio.sleep(self._settings.heartbeat_interval)
            await self._tell_of_the_spool()
            seat, channel = self._seat, self._channel
            if seat is None or channel is None:
                await self.log.tell("recorder.heartbeat", {})
                continue
            page = {"page_made": channel.made, "page_taken": channel.page_seq, "page_missed": channel.missed}
            seen_until = channel.seen_until
            seen_ms = None if seen_until is None else seat.earliest_ms(seen_until)
            await self.log.tell("recorder.heartbeat", page, seen_ms=seen_ms)

    async def _tell_of_the_spool(self) -> None:
        """What the spool found out since the last heartbeat: damage, and that its end is near or no longer near."""
        damage = self._spool.take_damage(self.capture_id)
        if damage is not None:
            await self.log.tell("recorder.damaged", damage_said(damage, self._clock.wall_ms()))
        if self.log.state.telemetry is self._spool.is_nearly_full:
            await self.log.tell("recorder.telemetry", not self._spool.is_nearly_full)

    def stood_still(self, stall: Stall) -> None:
        """The process got no time. Its page did, unless the whole machine was suspended, and keeps what it saw."""
        is_suspended = stall.suspended_ms > 0
        said = {
            "ms": stall.ms,
            "suspended_ms": stall.suspended_ms,
            "lost": (Lost.EVERYTHING if is_suspended else Lost.NOTHING).value,
            "evidence": "the machine was suspended" if is_suspended else "the recorder got no time; its page had it",
        }
        self._aside(self.log.tell("recorder.stood_still", said))

    def clock_jumped(self, jump_ms: int) -> None:
        """Somebody set the wall clock, by so many milliseconds."""
        self._aside(self.log.tell("recorder.clock_jumped", {"jump_ms": jump_ms}))

    async def _company(self) -> None:
        """Leave when nobody is there any more, nobody ever came, or the time is over."""
        while True:
            self._company_changed.clear()
            due = next_departure(self.log.state, self.log.elapsed_ms(), self.request)
            if due is not None and due.seconds <= 0:
                self.stop(due.reason)
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if due is None else due.seconds):
                    await self._company_changed.wait()

    # --- from message to disk -------------------------------------------------------------------------------------

    async def _take(self, seat: Seat, channel: Channel, fresh: list[PageMessage]) -> None:
        """Normalize, store and acknowledge what a page said."""
        messages = [self._from_page(seat, message) for message in fresh]
        page_load = f"{channel.page_load}/{channel.conference}"
        seen_ms = seat.earliest_ms(fresh[-1].now)
        found = await self.log.record(messages, page_load=page_load, page_seq=fresh[-1].page_seq, seen_ms=seen_ms)
        seat.acknowledge(fresh[-1].page_seq)
        for event in found:
            if type(event.payload) in _TO_REACT_TO:
                self._react(event)
        if fresh[-1].origin == LAST_WORD:
            self._page_is_empty.set()

    def _from_page(self, seat: Seat, message: PageMessage) -> Message:
        return Message(
            # A page may say what it likes, but not in the recorder's name.
            origin=f"page.{message.origin}" if message.origin.startswith("recorder.") else message.origin,
            args=message.args,
            wall_ms=int(message.wall_ms),
            monotonic_ms=int(seat.monotonic_ms(message.now) - self.log.started_ms),
        )

    # --- decisions ------------------------------------------------------------------------------------------------

    def _react(self, event: Event) -> None:
        payload = event.payload
        if self._ending.done():
            return  # what comes on the way out means nothing any more
        match payload:
            case events.ConferenceJoined():
                self._arrive(payload)
            case events.ConnectionEstablished() if not self._in_room.is_set():
                self._enter(Phase.JOINING)
            case events.CaptureLobbyWaiting():
                self._wait_in_lobby()
            case events.SignallingLost():
                self._give_signalling_time()
            case events.SignallingRestored() if self._signalling_deadline is not None:
                self._signalling_deadline.cancel()
            case events.CaptureHookInstalled() if payload.unknown_events:
                self._log.info("the library can emit events without a type here", events=len(payload.unknown_events))
            case _:
                self._judge(payload)

    def _arrive(self, payload: events.ConferenceJoined) -> None:
        self._enter(Phase.IN_ROOM)
        self._was_in_room = True
        self._in_room.set()
        self.settled.set()
        if self._returning.attempts:
            self._log.info("back in the room", attempts=self._returning.attempts, participants=payload.roster_size)
        else:
            self._log.info("in the room", participants=payload.roster_size)
        self._returning.back()

    def _wait_in_lobby(self) -> None:
        self._enter(Phase.LOBBY)
        self.settled.set()
        self._log.info("waiting in the lobby")
        if self._seat is not None:
            self._seat.knock(self.request.name)

    def _give_signalling_time(self) -> None:
        """It mostly comes back by itself, with nothing lost; not for ever."""
        self._log.warning("signalling lost")
        seconds = self._settings.signalling_timeout
        loss = Loss(GapCause.SIGNALLING_LOST, f"signalling was gone for {seconds:g} s")
        if self._signalling_deadline is not None:
            self._signalling_deadline.cancel()
        self._signalling_deadline = self._loop.call_later(seconds, self._lose, loss)

    def _judge(self, payload: events.Payload) -> None:
        refusal = self._login.judge(payload, self._tried, wall_ms=self._clock.wall_ms(), was_in_room=self._was_in_room)
        if refusal is not None:
            self._accept(refusal)

    def _accept(self, refusal: Refusal) -> None:
        if refusal.is_passing:
            self._lose_or_stop(refusal.reason, refusal.detail)
        else:
            self.stop(refusal.reason, refusal.detail)
