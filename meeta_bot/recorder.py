"""One capture: wires page, normalizer and spool together and decides when it is over.

What the page says is normalized, made durable and only then acknowledged. Decisions (in the room, refused, alone)
are taken from events that are already on disk. The first reason to end wins; then the bot leaves, what the page
still holds is taken, and the last event of the capture says why it ended.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec
import uuid_utils

from meeta_bot import __version__, admission, events
from meeta_bot.bridge import Channel, PageMessage
from meeta_bot.clock import Clock
from meeta_bot.conference import PageNotLoaded
from meeta_bot.errors import BrowserError, PageError, SpoolError
from meeta_bot.events import EndReason, Event
from meeta_bot.logs import get_logger
from meeta_bot.normalize import Message, State, normalize
from meeta_bot.pages import Pages, Seat
from meeta_bot.room_address import RoomAddress
from meeta_bot.settings import Settings
from meeta_bot.spool import Append, OpenCapture, Position, Spool

# Few of the many events are a reason to do something.
_TO_REACT_TO = frozenset(
    {events.ConferenceJoined, events.CaptureLobbyWaiting, events.CaptureHookInstalled, *admission.DECISIVE}
)
LAST_WORD = "hook.left"  # the hook's last message: the page has nothing more to tell


class Phase(StrEnum):
    """Where a capture stands."""

    STARTING = "starting"
    LOADING = "loading"
    JOINING = "joining"
    LOBBY = "lobby"
    IN_ROOM = "in the room"
    LEAVING = "leaving"
    ENDED = "ended"


class End(NamedTuple):
    """Why a capture ends."""

    reason: EndReason
    detail: str | None = None


class Recorder:
    """Records one room once. Make one per capture; :meth:`run` does everything."""

    def __init__(self, address: RoomAddress, pages: Pages, spool: Spool, settings: Settings, clock: Clock) -> None:
        self.address = address
        self.capture_id = str(uuid_utils.uuid7())
        self.phase = Phase.STARTING
        self.last_event: Event | None = None
        self.position = Position()
        self.end: End | None = None
        self.settled = asyncio.Event()  # in the room, waiting to be let in, or over: joining takes no more work
        self._pages = pages
        self._spool = spool
        self._settings = settings
        self._clock = clock
        self._log = get_logger("recorder", capture=self.capture_id, room=address.url)
        self._started_ms = clock.monotonic_ms()
        self._turn = asyncio.Lock()
        self._ending: asyncio.Future[End] = asyncio.get_running_loop().create_future()
        self._in_room = asyncio.Event()
        self._company_changed = asyncio.Event()
        self._page_is_empty = asyncio.Event()
        self._seat: Seat | None = None
        self._channel: Channel | None = None
        self.state = State(
            capture_id=self.capture_id,
            deployment=address.deployment,
            room=address.room,
            statistics_interval_ms=int(settings.statistics_interval * 1000),
        )

    def stop(self, reason: EndReason, detail: str | None = None) -> None:
        """End the capture for `reason`, unless it ends already. Safe at any time."""
        if not self._ending.done():
            self._ending.set_result(End(reason, detail))

    async def run(self) -> End:
        """Record until something ends it; always ends with a reason, which is also the last event."""
        await self._tell("recorder.started", self._introduction())
        tasks = [asyncio.create_task(self._attend(), name=f"attend {self.capture_id}")]
        tasks += [asyncio.create_task(self._watch(work)) for work in (self._heartbeats(), self._company())]
        end = self.end = await self._ending
        self.phase = Phase.LEAVING
        self._log.info("leaving", reason=end.reason.value, detail=end.detail)
        try:
            await self._leave(end)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if self._seat is not None:
                await self._seat.vacate()
            self.settled.set()
        try:
            await self._last_events(end)
        except SpoolError as error:  # the next process that opens this spool writes the end
            self._log.error("the end could not be written", problem=str(error))
        self.phase = Phase.ENDED
        self._log.info("ended", reason=end.reason.value, events=self.position.last_seq, head=self.position.head.hex())
        return end

    async def _last_events(self, end: End) -> None:
        if end.reason in (EndReason.LEFT_ALONE, EndReason.ONLY_BOTS_LEFT):
            await self._tell("recorder.meeting_over")
        await self._tell("recorder.ended", events.CaptureEnded(reason=end.reason, detail=end.detail))

    def _introduction(self) -> events.CaptureStarted:
        return events.CaptureStarted(
            room_url=self.address.url,
            deployment=self.address.deployment,
            room=self.address.room,
            bot_name=self._settings.bot_name,
            program_version=__version__,
        )

    # --- getting in, listening, getting out -----------------------------------------------------------------------

    async def _attend(self) -> None:
        try:
            self.phase = Phase.LOADING
            self._seat = await self._pages.take(self.address, self.capture_id, self._page_crashed)
            self.phase = Phase.JOINING
            password = self._settings.room_password
            self._channel = await self._seat.join(
                self.address,
                name=self._settings.bot_name,
                password=password.get_secret_value() if password else None,
            )
            async with asyncio.TaskGroup() as group:
                group.create_task(self._listen(self._channel))
                group.create_task(self._join_deadline())
        except* PageNotLoaded as problem:
            first = problem.exceptions[0]
            self.stop(getattr(first, "reason", EndReason.ROOM_UNREACHABLE), str(first))
        except* PageError as problem:
            self.stop(EndReason.PAGE_CRASHED, str(problem.exceptions[0]))
        except* BrowserError as problem:
            self.stop(EndReason.BROWSER_CRASHED, str(problem.exceptions[0]))
        except* SpoolError as problem:
            self.stop(EndReason.DISK_FAILED, str(problem.exceptions[0]))
        except* Exception as problem:  # a bug must end this capture with a reason, and no other capture
            self._log.exception("the recorder failed")
            self.stop(EndReason.PAGE_CRASHED, f"internal error: {problem.exceptions[0]!r}")

    async def _listen(self, channel: Channel) -> None:
        while True:
            await self._take(channel, await channel.receive())

    async def _join_deadline(self) -> None:
        """In the room in time; waiting in a lobby has a longer time of its own."""
        try:
            async with asyncio.timeout(self._settings.join_timeout):
                await self._in_room.wait()
        except TimeoutError:
            if self.phase is not Phase.LOBBY:
                self.stop(EndReason.JOIN_TIMEOUT, f"not in the room after {self._settings.join_timeout:g} s")
                return
            try:
                async with asyncio.timeout(self._settings.lobby_timeout):
                    await self._in_room.wait()
            except TimeoutError:
                self.stop(EndReason.LOBBY_TIMEOUT, f"not let in after {self._settings.lobby_timeout:g} s")

    async def _leave(self, end: End) -> None:
        if self._seat is None or self._channel is None or end.reason is EndReason.PAGE_CRASHED:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.leave_timeout):
                await self._seat.leave()
                await self._page_is_empty.wait()

    def _page_crashed(self) -> None:
        self.stop(EndReason.PAGE_CRASHED, "the page's process died")

    # --- timers ---------------------------------------------------------------------------------------------------

    async def _watch(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except SpoolError as error:
            self.stop(EndReason.DISK_FAILED, str(error))

    async def _heartbeats(self) -> None:
        while True:
            await asyncio.sleep(self._settings.heartbeat_interval)
            await self._tell("recorder.heartbeat")

    async def _company(self) -> None:
        """Leave when nobody is there any more, nobody ever came, or the time is over."""
        while True:
            self._company_changed.clear()
            departures = self._departures()
            due = min(departures, default=None)
            if due is not None and due[0] <= 0:
                self.stop(due[1])
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if due is None else due[0]):
                    await self._company_changed.wait()

    def _departures(self) -> list[tuple[float, EndReason]]:
        """In how many seconds the bot would leave, and why, if nothing changed until then."""
        now_ms = self._clock.monotonic_ms() - self._started_ms
        found: list[tuple[float, EndReason]] = []
        if self._settings.max_duration is not None:
            found.append((self._settings.max_duration - now_ms / 1000, EndReason.MAX_DURATION))
        meeting = self.state.meeting
        if self.state.in_conference and meeting.empty_since_ms is not None:
            alone = (now_ms - meeting.empty_since_ms) / 1000
            if meeting.started_at is None:
                found.append((self._settings.nobody_came_timeout - alone, EndReason.NOBODY_CAME))
            else:
                reason = EndReason.ONLY_BOTS_LEFT if self.state.participants else EndReason.LEFT_ALONE
                found.append((self._settings.left_alone_grace - alone, reason))
        return found

    # --- from message to disk -------------------------------------------------------------------------------------

    async def _take(self, channel: Channel, fresh: list[PageMessage]) -> None:
        """Normalize, store and acknowledge what a page said."""
        messages = [self._from_page(message) for message in fresh]
        found = await self._record(messages, page_load=channel.page_load, page_seq=fresh[-1].page_seq)
        if self._seat is not None:
            self._seat.acknowledge(fresh[-1].page_seq)
        for event in found:
            if type(event.payload) in _TO_REACT_TO:
                self._react(event)
        if fresh[-1].origin == LAST_WORD:
            self._page_is_empty.set()

    def _from_page(self, message: PageMessage) -> Message:
        monotonic_ms = self._seat.monotonic_ms(message.now) if self._seat else self._clock.monotonic_ms()
        return Message(
            # A page may say what it likes, but not in the recorder's name.
            origin=f"page.{message.origin}" if message.origin.startswith("recorder.") else message.origin,
            args=message.args,
            wall_ms=int(message.wall_ms),
            monotonic_ms=int(monotonic_ms - self._started_ms),
        )

    async def _tell(self, origin: str, payload: events.Payload | None = None) -> None:
        """Record something that the recorder itself knows."""
        args = [] if payload is None else [msgspec.to_builtins(payload)]
        monotonic_ms = int(self._clock.monotonic_ms() - self._started_ms)
        await self._record([Message(origin, args, self._clock.wall_ms(), monotonic_ms)])

    async def _record(self, messages: list[Message], *, page_load: str | None = None, page_seq: int = 0) -> list[Event]:
        """Normalize `messages`; the new state counts from the moment when its events are on disk.

        Who waits for it may be cancelled; the work itself goes on, so that state and disk agree.
        """
        return await asyncio.shield(self._record_whole(messages, page_load, page_seq))

    async def _record_whole(self, messages: list[Message], page_load: str | None, page_seq: int) -> list[Event]:
        async with self._turn:
            state, found = self.state, []
            for message in messages:
                state, more = normalize(state, message)
                found += more
            if found:
                append = Append(state, found, self._clock.wall_ms(), page_load, page_seq)
                self.position = await self._append(append)
                self.last_event = found[-1]
            if (state.in_conference, state.meeting) != (self.state.in_conference, self.state.meeting):
                self._company_changed.set()
            self.state = state
            return found

    async def _append(self, append: Append) -> Position:
        """Append to the spool, patiently: a full disk can be emptied, and the page keeps what we don't take."""
        deadline = self._clock.monotonic_ms() + self._settings.spool_retry_timeout * 1000
        while True:
            try:
                return await self._spool.append(self.capture_id, append)
            except SpoolError as error:
                if self._ending.done() or self._clock.monotonic_ms() >= deadline:
                    raise
                self._log.error("the spool takes nothing", problem=str(error), hint=error.hint)
                await asyncio.sleep(self._settings.spool_retry_pause)

    # --- decisions ------------------------------------------------------------------------------------------------

    def _react(self, event: Event) -> None:
        payload = event.payload
        if isinstance(payload, events.ConferenceJoined):
            self.phase = Phase.IN_ROOM
            self._in_room.set()
            self.settled.set()
            self._log.info("in the room", participants=payload.roster_size)
        elif isinstance(payload, events.CaptureLobbyWaiting):
            self.phase = Phase.LOBBY
            self.settled.set()
            self._log.info("waiting in the lobby")
            if self._seat is not None:
                self._seat.knock(self._settings.bot_name)
        elif isinstance(payload, events.CaptureHookInstalled) and payload.unknown_events:
            self._log.info("the library can emit events without a type here", events=len(payload.unknown_events))
        else:
            verdict = admission.verdict(
                payload, has_password=self._settings.room_password is not None, has_token=bool(self.address.token)
            )
            if verdict is not None:
                self.stop(*verdict)


async def end_cut_captures(spool: Spool, clock: Clock) -> int:
    """Give every capture that a killed process left in `spool` its gap and its end.

    :returns: how many there were.
    """
    cut = await spool.open_captures()
    for capture in cut:
        state, found = capture.state, []
        for message in _last_words(capture, clock.wall_ms()):
            state, more = normalize(state, message)
            found += more
        await spool.append(state.capture_id, Append(state, found, clock.wall_ms()))
    return len(cut)


def _last_words(capture: OpenCapture, now: int) -> list[Message]:
    gap = events.CaptureGap(
        cause=events.GapCause.PROCESS_KILLED,
        lost=events.Lost.EVERYTHING,
        from_at=capture.touched_at,
        to_at=max(now, capture.touched_at),
        evidence="from the last write to the spool to its adoption by another process",
    )
    end = events.CaptureEnded(reason=EndReason.PROCESS_KILLED)
    at, last_ms = capture.touched_at, capture.state.last_ms
    return [
        Message("recorder.gap", [msgspec.to_builtins(gap)], at, last_ms),
        Message("recorder.ended", [msgspec.to_builtins(end)], at, last_ms),
    ]
