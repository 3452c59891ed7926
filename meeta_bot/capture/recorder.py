"""One capture: a sequence of stays in one room, the decisions on the way, and the end.

Decisions (in the room, refused, alone) are taken from events that are already on disk. When a stay is lost with its
page, its browser or its signalling, the next is begun, and the normalizer says what could not be seen in between. The
first reason to end wins; then the bot leaves, what the page still holds is taken, and the last event of the capture
says why it ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

import uuid_utils

from meeta_bot import __version__, events
from meeta_bot.capture.admission import ANSWERS, Action, Refusal
from meeta_bot.capture.bridge_care import BRIDGE_COUNT, CARED_FOR, BridgeCare, CaredFor
from meeta_bot.capture.browser.seats import Seat, Seats
from meeta_bot.capture.departure import next_departure
from meeta_bot.capture.log import CaptureLog, damage_report
from meeta_bot.capture.normalize import State
from meeta_bot.capture.normalize.reports import (
    ClockReport,
    EndReport,
    GapReport,
    HeartbeatReport,
    LossReport,
    MeetingOverReport,
    StandstillReport,
    StartReport,
    TelemetryReport,
)
from meeta_bot.capture.phases import TABLE, Phase
from meeta_bot.capture.reconnect import Reconnect
from meeta_bot.capture.request import CaptureRequest
from meeta_bot.capture.spool import Position, Spool
from meeta_bot.capture.standstill import Stall
from meeta_bot.capture.stay import News, Queued, RoomLoss, Seated, Stay
from meeta_bot.capture.waiting import Waiting
from meeta_bot.clock import Clock
from meeta_bot.errors import SpoolError
from meeta_bot.events import EndReason, Event, GapCause, Lost
from meeta_bot.logs import get_logger
from meeta_bot.settings import Settings


class End(NamedTuple):
    """The end of a capture."""

    reason: EndReason
    detail: str | None = None


class Recorder:
    """The recorder of one room, once. Make one per capture; :meth:`run` does everything."""

    def __init__(self, request: CaptureRequest, seats: Seats, spool: Spool, settings: Settings, clock: Clock) -> None:
        self.request = request
        self.address = address = request.address
        self.capture_id = str(uuid_utils.uuid7())
        self.phase = Phase.STARTING
        self.end: End | None = None
        self.settled = asyncio.Event()  # in the room, waiting to be let in, or over: joining takes no more work
        self._seats = seats
        self._spool = spool
        self._settings = settings
        self._clock = clock
        self._log = get_logger("recorder", capture=self.capture_id, room=address.url)
        self._ending: asyncio.Future[End] = asyncio.get_running_loop().create_future()
        self._asides: set[asyncio.Task[None]] = set()
        self._departure_changed = asyncio.Event()
        self._reconnect = Reconnect(settings)
        self._bridge_care = BridgeCare(settings, self._log)
        self._was_in_room = False
        self._first_in_by_ms = math.inf  # who was never in the room tries until then
        self._waiting = Waiting(settings, clock, self._log)
        self._stays = 0
        self._stay: Stay | None = None  # None between two stays
        self._unreported: RoomLoss | None = None  # of the former stay, which is not in the log yet
        self._kept_seat: Seat | None = None  # the former stay's, until the present one has its own
        self._seen_ms = clock.monotonic_ms()  # until then, all that the former stays' pages saw was handed over
        state = State(
            capture_id=self.capture_id,
            deployment=address.deployment,
            room=address.room,
            schedule_key=request.schedule_key,
            statistics_interval_ms=int(settings.statistics_interval * 1000),
        )
        self.log = CaptureLog(state, spool, settings, clock, self._departure_changed)

    @property
    def state(self) -> State:
        """The normalizer's state, as far as it is on disk."""
        return self.log.state

    @property
    def position(self) -> Position:
        """The position that the log has reached on disk."""
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
            if self._stay is not None:
                self._stay.call_off()

    async def run(self) -> End:
        """Record until something ends it; always ends with a reason, which is also the last event."""
        if self.address.other_name is not None:
            self._log.info("the room is called otherwise than its address reads", explanation=self.address.other_name)
        await self._guarded(self.log.report(self._introduction()))
        tasks = self._begin()
        end = self.end = await self._ending
        self._enter(Phase.LEAVING)
        self._log.info("leaving", reason=end.reason.value, detail=end.detail)
        try:
            if self._stay is not None:
                await self._guarded(self._stay.leave())
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, *self._asides, return_exceptions=True)
            self._vacate_kept_seat()
            self.settled.set()
        try:
            await self._last_events(end)
        except SpoolError as error:  # the next process that opens this spool writes the end
            self._log.error("the end could not be written", problem=str(error))
        self._enter(Phase.ENDED)
        position = self.log.position
        self._log.info("ended", reason=end.reason.value, events=position.last_seq, head=position.head.hex())
        return end

    def _begin(self) -> list[asyncio.Task[None]]:
        """Begin everything that goes on until the end; nothing if that has come already."""
        if self._ending.done():
            return []
        tasks = [asyncio.create_task(self._guarded(self._live()), name=f"live {self.capture_id}")]
        beside = (self._heartbeats(), self._depart_in_time(), self._waiting.remind(lambda: self.phase))
        return [*tasks, *(asyncio.create_task(self._guarded(work)) for work in beside)]

    async def _last_events(self, end: End) -> None:
        await self._report_loss_on_the_way_out()
        if end.reason in (EndReason.LEFT_ALONE, EndReason.ONLY_BOTS_LEFT):
            await self.log.report(MeetingOverReport(), urgent=True)
        await self.log.report_what_was_refused()
        await self.log.report(EndReport(reason=end.reason, detail=end.detail), urgent=True)

    async def _report_loss_on_the_way_out(self) -> None:
        """Record a gap for what a page that was lost may have known, when the bot does not go back for it."""
        loss, state = self._unreported, self.log.state
        if loss is None or not state.in_conference or state.blind is not None:
            return
        report = GapReport(
            cause=loss.cause,
            lost=Lost.EVERYTHING,
            ago_ms=max(0, math.ceil(self._clock.monotonic_ms() - self._seen_ms)),
            until_ago_ms=0,
            evidence=f"{loss.detail}; until the end of the capture",
        )
        await self.log.report(report, urgent=True)

    def _introduction(self) -> StartReport:
        return StartReport(
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
            self._enter(Phase.LOADING)
            self._stay = stay = self._next_stay()
            try:
                loss = await stay.run()
            finally:
                self._part_with(stay)
            if loss is None or self._ending.done() or not await self._may_return(loss):
                return

    def _next_stay(self) -> Stay:
        self._stays += 1
        key = f"{self.capture_id}.{self._stays}"
        until_ms = math.inf
        if self._was_in_room:
            now_ms = self._clock.monotonic_ms()
            until_ms = now_ms + self._reconnect.left_ms(now_ms)
        elif self._stays > 1:
            until_ms = self._first_in_by_ms
        return Stay(
            key, self.request, self._seats, self.log, self._settings, self._clock, self._react, until_ms=until_ms
        )

    def _part_with(self, stay: Stay) -> None:
        """Keep the two things that outlive a stay: its seat, for a while, and until when all was seen."""
        self._stay = None
        self._bridge_care.stay_is_over()
        self._seen_ms = self._seen_ms if stay.seen_ms is None else stay.seen_ms
        self._unreported = stay.loss
        if stay.seat is not None:
            self._vacate_kept_seat()
            self._kept_seat = stay.seat

    def _vacate_kept_seat(self) -> None:
        if self._kept_seat is not None:
            self._kept_seat.vacate()
            self._kept_seat = None

    async def _may_return(self, loss: RoomLoss) -> bool:
        """Report the loss, and wait for the moment to try again; False when there is none any more.

        The end of the capture may come at any moment of it; whoever leaves does not go back.
        """
        now_ms = self._clock.monotonic_ms()
        pause = self._reconnect.lost(loss.cause, now_ms)
        self._log.warning("room lost", cause=loss.cause.value, detail=loss.detail, attempt=self._reconnect.attempts)
        report = LossReport(
            cause=loss.cause,
            attempt=self._reconnect.attempts,
            detail=loss.detail,
            ago_ms=max(0, math.ceil(now_ms - self._seen_ms)),
            evidence=loss.detail,
        )
        self._unreported = None
        await self.log.report(report)
        if self._ending.done():
            return False
        self._enter(Phase.RECONNECTING)
        if self._is_too_late(loss, now_ms, pause):
            return False
        if isinstance(pause, EndReason):
            self.stop(pause, loss.detail)
            return False
        await asyncio.sleep(pause)
        return not self._ending.done()

    def _is_too_late(self, loss: RoomLoss, now_ms: float, pause: float | EndReason) -> bool:
        """End a capture that never was in its room and whose time to get in is over, for what refused it."""
        if loss.refusal is None or self._was_in_room:
            return False
        if not isinstance(pause, EndReason) and now_ms + pause * 1000 < self._first_in_by_ms:
            return False
        self.stop(loss.refusal.reason, loss.detail)
        return True

    # --- timers ---------------------------------------------------------------------------------------------------

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        """Await `work`; any error in it ends this capture with a reason, and no other capture."""
        try:
            await work
        except SpoolError as error:
            self.stop(EndReason.DISK_FAILED, str(error))
        except Exception as error:
            self._log.exception("the recorder failed")
            self.stop(EndReason.INTERNAL_ERROR, type(error).__name__)

    def _aside(self, work: Coroutine[Any, Any, None]) -> None:
        """Do `work` beside everything else; the capture's end waits for it."""
        task = asyncio.create_task(self._guarded(work))
        self._asides.add(task)
        task.add_done_callback(self._asides.discard)

    async def _heartbeats(self) -> None:
        while True:
            await asyncio.sleep(self._settings.heartbeat_interval)
            await self._report_the_spool()
            if self._stay is None or (channel := self._stay.channel) is None:
                await self.log.report(HeartbeatReport())
                continue
            report = HeartbeatReport(page_made=channel.made, page_taken=channel.page_seq, page_missed=channel.missed)
            await self.log.report(report, seen_ms=self._stay.seen_ms)

    async def _report_the_spool(self) -> None:
        """Report news of the spool since the last heartbeat: damage, and that its bound is near or no longer near."""
        damage = self._spool.take_damage(self.capture_id)
        if damage is not None:
            await self.log.report(damage_report(damage, self._clock.wall_ms()))
        if self.log.state.telemetry is self._spool.is_nearly_full:
            await self.log.report(TelemetryReport(is_kept=not self._spool.is_nearly_full))

    def stood_still(self, stall: Stall) -> None:
        """Record a standstill. The page had time, unless the whole machine was suspended, and keeps what it saw."""
        is_suspended = stall.suspended_ms > 0
        report = StandstillReport(
            ms=stall.ms,
            lost=Lost.EVERYTHING if is_suspended else Lost.NOTHING,
            evidence="the machine was suspended" if is_suspended else "the recorder got no time; its page had it",
        )
        self._aside(self.log.report(report))

    def clock_jumped(self, jump_ms: int) -> None:
        """Record that somebody set the wall clock, by so many milliseconds."""
        self._aside(self.log.report(ClockReport(jump_ms=jump_ms)))

    async def _depart_in_time(self) -> None:
        """Leave when nobody is there any more, nobody ever came, or the time is over."""
        while True:
            self._departure_changed.clear()
            due = next_departure(self.log.state, self.log.elapsed_ms(), self.request)
            if due is not None and due.seconds <= 0:
                self.stop(due.reason)
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if due is None else due.seconds):
                    await self._departure_changed.wait()

    # --- decisions ------------------------------------------------------------------------------------------------

    def _react(self, news: News) -> None:
        """Act on `news` of the present stay."""
        if self._ending.done() or self._stay is None:
            return  # what comes on the way out means nothing any more
        reaction = _REACTIONS.get(type(news))
        if reaction is not None:
            reaction(self, self._stay, news)

    def _begin_to_join(self, _stay: Stay, _: Seated) -> None:
        self._vacate_kept_seat()
        if math.isinf(self._first_in_by_ms):
            self._first_in_by_ms = self._clock.monotonic_ms() + self._settings.join_timeout * 1000
        self._enter(Phase.CONNECTING)

    def _note_library(self, _stay: Stay, payload: events.CaptureHookInstalled) -> None:
        if payload.unknown_events:
            self._log.info("the library can emit events without a type here", events=len(payload.unknown_events))

    def _note_connection(self, stay: Stay, _: events.ConnectionEstablished) -> None:
        if not stay.is_in_room and self.phase is Phase.CONNECTING:
            self._enter(Phase.JOINING)

    def _arrive(self, stay: Stay, payload: events.ConferenceJoined) -> None:
        self._enter(Phase.IN_ROOM)
        self._was_in_room = True
        stay.arrive()
        self.settled.set()
        if self._reconnect.attempts:
            self._log.info("back in the room", attempts=self._reconnect.attempts, participants=payload.roster_size)
        else:
            self._log.info("in the room", participants=payload.roster_size)
        self._reconnect.back()

    def _wait_in_lobby(self, stay: Stay, _: events.CaptureLobbyWaiting) -> None:
        self._wait(Phase.LOBBY, "the room has a lobby")
        stay.knock()

    def _miss_signalling(self, stay: Stay, _: events.SignallingLost) -> None:
        self._log.warning("signalling lost")
        stay.give_signalling_time()

    def _trust_signalling(self, stay: Stay, _: events.SignallingRestored) -> None:
        stay.signalling_is_back()

    def _care_for_bridge(self, stay: Stay, payload: CaredFor) -> None:
        def leave(why: str) -> None:
            stay.lose(RoomLoss(GapCause.BRIDGE_UNHEARD, why))

        bridges = self.log.state.properties.get(BRIDGE_COUNT)
        self._bridge_care.note(payload, self._clock.monotonic_ms(), bridges=bridges, leave=leave)

    def _hear_focus(self, stay: Stay, payload: events.FocusRefused) -> None:
        if stay.is_in_room:
            self._log.warning("the conference focus is away and is asked back", answer=payload.answer)
        else:
            self._log.info("the conference focus says no for now", answer=payload.answer)
            self._judge(stay, payload)

    def _judge(self, stay: Stay, payload: events.Payload) -> None:
        refusal = stay.judge(payload, was_in_room=self._was_in_room)
        if refusal is not None:
            self._accept(stay, refusal)

    def _accept(self, stay: Stay, refusal: Refusal) -> None:
        """End the capture for a refusal, or only the stay, or ask again; what is asked in the room is no end."""
        if refusal.action is Action.ASK:
            if not stay.is_in_room:
                self._ask_again(stay, refusal)
        elif refusal.action is Action.ENTER or (refusal.action is Action.RETURN and self._was_in_room):
            stay.lose(RoomLoss(GapCause.SIGNALLING_LOST, refusal.detail or refusal.reason.value, refusal))
        else:
            self.stop(refusal.reason, refusal.detail)

    def _ask_again(self, stay: Stay, refusal: Refusal) -> None:
        stay.ask_again(refusal)
        if refusal.waits is None:
            self._log.info("the server says no for now; asking again", said=refusal.detail)
        else:
            self._wait(refusal.waits, refusal.detail)

    def _wait_in_queue(self, _stay: Stay, _: Queued) -> None:
        self._wait(Phase.QUEUE, "the server lets in one after the other, or not at all")

    def _wait(self, phase: Phase, why: str | None) -> None:
        """Wait for somebody, which takes no more work."""
        self._enter(phase)
        self._waiting.begin(phase, why)
        self.settled.set()

    def _note_asked_in(self, stay: Stay, _: events.CaptureEntering) -> None:
        stay.note_asked_in()


# All news that are a reason to act, each with what is done about it; few of the many events are.
_REACTIONS: dict[type[News], Callable[[Recorder, Stay, Any], None]] = {
    Seated: Recorder._begin_to_join,
    Queued: Recorder._wait_in_queue,
    Refusal: Recorder._accept,
    events.CaptureEntering: Recorder._note_asked_in,
    events.CaptureHookInstalled: Recorder._note_library,
    events.CaptureLobbyWaiting: Recorder._wait_in_lobby,
    events.ConferenceJoined: Recorder._arrive,
    events.ConnectionEstablished: Recorder._note_connection,
    events.SignallingLost: Recorder._miss_signalling,
    events.SignallingRestored: Recorder._trust_signalling,
    **dict.fromkeys(CARED_FOR, Recorder._care_for_bridge),
    **dict.fromkeys(ANSWERS, Recorder._judge),
    events.FocusRefused: Recorder._hear_focus,
}
