"""The log of one capture: from messages to events on disk, and the end of captures that a killed process left.

The normalizer's state becomes current only when its events are durable, so that state and disk always agree.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from typing import NamedTuple

from meeta_bot.capture.normalize import Message, State, normalize
from meeta_bot.capture.normalize.reports import DamageReport, EndReport, GapReport, Report, message_of
from meeta_bot.capture.spool import Append, Damage, OpenCapture, Position, Spool
from meeta_bot.clock import Clock
from meeta_bot.errors import SpoolError, SpoolFull
from meeta_bot.events import EndReason, Event, GapCause, Lost
from meeta_bot.logs import get_logger
from meeta_bot.settings import Settings


class _SpoolRefusal(NamedTuple):
    """A spool that took nothing since ``since_ms`` of the monotonic clock, though something was to be written."""

    since_ms: float
    is_full: bool


class CaptureLog:
    """The log of one capture: messages are normalized and appended to the spool, one after the other.

    ``departure_changed`` is set when the time of the bot's departure may have changed. ``state``, ``position`` and
    ``last_event`` are of what is on disk.
    """

    def __init__(
        self, state: State, spool: Spool, settings: Settings, clock: Clock, departure_changed: asyncio.Event
    ) -> None:
        self.state = state
        self.position = Position()
        self.last_event: Event | None = None
        self.started_ms = clock.monotonic_ms()
        self.is_patient = True  # whether to wait for a spool that takes nothing
        self._spool = spool
        self._settings = settings
        self._clock = clock
        self._departure_changed = departure_changed
        self._turn = asyncio.Lock()
        self._seen_ms: float | None = None  # until then, all that the page saw is on disk
        self._refused: _SpoolRefusal | None = None
        self._reporting: asyncio.Task[None] | None = None
        self._log = get_logger("recorder", capture=state.capture_id)

    def elapsed_ms(self) -> int:
        """Return the time since the capture began, by the monotonic clock."""
        return int(self._clock.monotonic_ms() - self.started_ms)

    async def report(self, report: Report, *, urgent: bool = False, seen_ms: float | None = None) -> None:
        """Record something that the recorder itself knows; ``urgent`` and ``seen_ms`` as for :meth:`record`."""
        message = message_of(report, self._clock.wall_ms(), self.elapsed_ms())
        await self.record([message], urgent=urgent, seen_ms=seen_ms)

    async def record(
        self,
        messages: list[Message],
        *,
        urgent: bool = False,
        seen_ms: float | None = None,
    ) -> list[Event]:
        """Normalize `messages`; the new state counts from the moment when its events are on disk.

        Who waits for it may be cancelled; the work itself goes on, so that state and disk agree.

        :param seen_ms: by our monotonic clock, until when all that the page saw is on disk with this; None: as before.
            Should the process be killed, its gap begins there.
        """
        return await asyncio.shield(self._record_whole(messages, urgent, seen_ms))

    async def _record_whole(self, messages: list[Message], urgent: bool, seen_ms: float | None) -> list[Event]:
        async with self._turn:
            seen_ms = self._seen_ms if seen_ms is None else seen_ms
            state, found = self.state, []
            for message in messages:
                state, more = normalize(state, message)
                found += more
            if found:
                append = Append(state, found, self._wall_ms(seen_ms), urgent=urgent)
                self.position = await self._append(append)
                self._seen_ms = seen_ms
                self.last_event = found[-1]
            if (state.in_conference, state.meeting) != (self.state.in_conference, self.state.meeting):
                self._departure_changed.set()
            self.state = state
            return found

    def _wall_ms(self, monotonic_ms: float | None) -> int:
        """Return the wall clock at a moment of the past; None is now."""
        ago_ms = 0.0 if monotonic_ms is None else max(0.0, self._clock.monotonic_ms() - monotonic_ms)
        return self._clock.wall_ms() - math.ceil(ago_ms)

    async def _append(self, append: Append) -> Position:
        """Append to the spool, patiently: a full disk can be emptied, and the page keeps what we don't take."""
        failed_ms, full = None, False
        while True:
            try:
                position = await self._spool.append(append.state.capture_id, append)
                break
            except SpoolError as error:
                now_ms = self._clock.monotonic_ms()
                failed_ms, full = failed_ms or now_ms, isinstance(error, SpoolFull)
                if not self.is_patient or now_ms - failed_ms >= self._settings.spool_retry_timeout * 1000:
                    self._refused = self._refused or _SpoolRefusal(failed_ms, is_full=full)
                    raise
                self._log.error("the spool takes nothing", problem=str(error), hint=error.hint)
                await asyncio.sleep(self._settings.spool_retry_pause)
        if failed_ms is not None:
            # Not now: whoever appends has the turn.
            self._reporting = asyncio.create_task(
                self._report_a_wait(self._clock.monotonic_ms() - failed_ms, full=full), name="report a wait"
            )
        return position

    async def report_what_was_refused(self) -> None:
        """Record, with the last words, a gap for what was seen and is not on disk since the spool did not take it."""
        if self._refused is None:
            return
        since_ms = self._refused.since_ms if self._seen_ms is None else min(self._seen_ms, self._refused.since_ms)
        report = GapReport(
            cause=_cause(is_full=self._refused.is_full),
            lost=Lost.EVERYTHING,
            ago_ms=math.ceil(self._clock.monotonic_ms() - since_ms),
            until_ago_ms=0,
            evidence="the spool took nothing, up to the end",
        )
        await self.report(report, urgent=True)

    async def _report_a_wait(self, waited_ms: float, *, full: bool) -> None:
        """Record that the spool took nothing for a while: the page kept what it saw, or says itself that it didn't."""
        report = GapReport(
            cause=_cause(is_full=full),
            lost=Lost.NOTHING,
            ago_ms=int(waited_ms),
            until_ago_ms=0,
            evidence="the spool took nothing; the page kept what it saw",
        )
        with contextlib.suppress(SpoolError):  # it takes nothing again: that is reported when it does
            await self.report(report)


def _cause(*, is_full: bool) -> GapCause:
    return GapCause.SPOOL_FULL if is_full else GapCause.SPOOL_DAMAGED


def damage_report(damage: Damage, wall_ms: int) -> DamageReport:
    """Return the report of `damage`, made at `wall_ms`."""
    since_at = wall_ms if damage.since_at is None else damage.since_at
    return DamageReport(missed=damage.missed, evidence=damage.evidence, ago_ms=max(0, wall_ms - since_at))


async def end_cut_captures(spool: Spool, clock: Clock) -> int:
    """Give every capture that a killed process left in `spool` its gaps and its end.

    :returns: how many there were.
    """
    cut = await spool.open_captures()
    for capture in cut:
        state, found = capture.state, []
        for message in _last_words(capture, clock.wall_ms()):
            state, more = normalize(state, message)
            found += more
        await spool.append(state.capture_id, Append(state, found, clock.wall_ms(), urgent=True))
    return len(cut)


def _last_words(capture: OpenCapture, now: int) -> list[Message]:
    at, last_ms = capture.touched_at, capture.state.last_ms
    reports: list[Report] = []
    if capture.damage is not None:
        reports.append(damage_report(capture.damage, at))
    killed = GapReport(
        cause=GapCause.PROCESS_KILLED,
        lost=Lost.EVERYTHING,
        from_at=at,
        to_at=max(now, at),
        evidence="from when all that was seen is on disk, to the adoption of the spool by another process",
    )
    reports += [killed, EndReport(reason=EndReason.PROCESS_KILLED)]
    return [message_of(report, at, last_ms) for report in reports]
