"""The ledger of gaps: bounds that make sense, losses that are covered, heartbeats that agree."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from meeta_bot.events import EndReason, GapCause, Lost
from meeta_bot.timestamps import EPOCH_2000_MS
from meeta_bot.verify.links import Span
from meeta_bot.verify.verdict import Problem

# The page's clock is put on the recorder's, and what happens at once is not recorded at once.
CLOCKS_APART_MS = 1000
_LOSSES = {
    "signalling.lost": "signalling was lost",
    "capture.reconnecting": "the room was lost",
    "bridge.lost": "the bridge was lost",
}
_BY_ANOTHER_PROCESS = frozenset({GapCause.PROCESS_KILLED})
_NO_TIME = frozenset({GapCause.PROCESS_KILLED, GapCause.HOST_SUSPENDED})
_UNCOVERED_HINT = "nothing was seen then: treat it as a gap up to the next event, and report it"


class LifeEvent(NamedTuple):
    """A row of the statement verify/life; `occurred_at` is in microseconds from the year 2000."""

    seq: int
    type: str
    occurred_at: int
    monotonic_ms: int
    payload: str | None

    @property
    def wall_ms(self) -> int:
        """`occurred_at` in milliseconds since 1970."""
        return self.occurred_at // 1000 + EPOCH_2000_MS


class _GapPayload(msgspec.Struct):
    from_at: int
    to_at: int
    cause: str
    lost: str | None = None
    missed: int | None = None
    from_ms: int | None = None
    to_ms: int | None = None


class _CausePayload(msgspec.Struct):
    cause: str | None = None


class _EndPayload(msgspec.Struct):
    reason: str | None = None


class Ledger:
    """The ledger of a capture: takes gaps and the events they must agree with, in order; has the first problem."""

    def __init__(self) -> None:
        self.problem: Problem | None = None
        self.erased = 0  # gaps whose bounds are gone
        self._gaps: list[tuple[LifeEvent, _GapPayload]] = []
        self._uncovered: list[LifeEvent] = []
        self._beats: list[LifeEvent] = []
        self._kill_has_gap = False
        self._damage: list[tuple[int, int]] = []  # the number of the gap, and how many events were lost

    def loss(self, event: LifeEvent) -> None:
        """Take a loss that a gap must cover: of signalling, of the bridge, or of the whole room."""
        self._uncovered.append(event)

    def heartbeat(self, event: LifeEvent) -> None:
        """Take a heartbeat: the process lived."""
        self._beats.append(event._replace(payload=None))
        self._kill_has_gap = False

    def gap(self, event: LifeEvent) -> None:
        """Take the next gap."""
        if event.payload is None:
            self.erased += 1
            return
        try:
            gap = msgspec.json.decode(event.payload, type=_GapPayload)
        except ValueError:
            self._refute("the bounds of this gap can't be read", event.seq)
            return
        self._gaps.append((event._replace(payload=None), gap))
        span = _on_axis(event, gap)
        self._uncovered = [
            one for one in self._uncovered if not (_explains(one, gap) and _covers(span, one.monotonic_ms))
        ]
        self._kill_has_gap |= gap.cause == GapCause.PROCESS_KILLED or gap.lost == Lost.EVERYTHING
        if gap.cause == GapCause.SPOOL_DAMAGED and gap.missed is not None:  # else it only took nothing for a while
            self._damage.append((event.seq, gap.missed))

    def ended(self, event: LifeEvent) -> None:
        """Take the end: gaps must cover every loss by now."""
        if self.erased:
            return
        for one in self._uncovered[:1]:
            self._refute(f"{_LOSSES[one.type]} here, and no gap that follows covers it", one.seq, _UNCOVERED_HINT)
        if not self._kill_has_gap and _reason(event.payload) == EndReason.PROCESS_KILLED:
            self._refute("the process was killed, and no gap says since when", event.seq, _UNCOVERED_HINT)

    def check_bounds(self, began_at: int | None, interval_ms: int, silence_ms: int) -> None:
        """Check the bounds of all gaps. `began_at` is the wall clock of the capture's beginning, if that is known."""
        for event, gap in self._gaps:
            problem = _bounds_problem(event, gap, began_at, silence_ms) or self._beats_problem(event, gap, interval_ms)
            if problem is not None:
                self._refute(problem, event.seq)

    def spans(self) -> Iterator[Span]:
        """Return the gaps on the monotonic clock of their capture."""
        return (_on_axis(event, gap) for event, gap in self._gaps)

    def damage_after(self, seq: int) -> tuple[int, int] | None:
        """Return number and lost events of the first gap behind `seq` with a damaged spool as cause."""
        return next((one for one in self._damage if one[0] > seq and one[1]), None)

    def is_damage(self, seq: int) -> bool:
        """Tell whether event `seq` is a gap with a damaged spool as cause."""
        return any(number == seq for number, _ in self._damage)

    @property
    def last_damage(self) -> int | None:
        """The number of the last gap so far with a damaged spool as cause."""
        return self._damage[-1][0] if self._damage else None

    def _beats_problem(self, event: LifeEvent, gap: _GapPayload, interval_ms: int) -> str | None:
        """Find a heartbeat in a gap in which the process got no time. By an interval a gap may be wider than it was."""
        if gap.cause not in _NO_TIME:
            return None
        span = _on_axis(event, gap)
        first = bisect_right(self._beats, span.begin + interval_ms, key=lambda beat: beat.monotonic_ms)
        for beat in self._beats[first:]:
            if beat.monotonic_ms >= span.end - interval_ms:
                break
            # By both clocks: the monotonic one stands still while some machines are suspended, the other may be set.
            if gap.from_at + interval_ms < beat.wall_ms < gap.to_at - interval_ms:
                return f"this gap says that the process got no time, and heartbeat {beat.seq} lies in the middle of it"
        return None

    def _refute(self, text: str, seq: int, hint: str | None = None) -> None:
        if self.problem is None or (self.problem.seq is not None and seq < self.problem.seq):
            self.problem = Problem(text, seq, hint)


def _bounds_problem(event: LifeEvent, gap: _GapPayload, began_at: int | None, silence_ms: int) -> str | None:
    if gap.from_at > gap.to_at or (gap.from_ms is not None and gap.to_ms is not None and gap.from_ms > gap.to_ms):
        return "this gap ends before it begins: did the clock jump?"
    # The monotonic clock where there is one: the other may have been set since.
    before_ms = -gap.from_ms if gap.from_ms is not None else (began_at or gap.from_at) - gap.from_at
    if gap.cause != GapCause.LATE_JOIN and before_ms > silence_ms:
        return "this gap begins before its capture"
    after_ms = gap.to_ms - event.monotonic_ms if gap.to_ms is not None else gap.to_at - event.wall_ms
    # The end of a killed process is written by the next one, much later, with the time of its last word.
    if gap.cause not in _BY_ANOTHER_PROCESS and after_ms > silence_ms:
        return "this gap ends after it was recorded"
    return None


def _on_axis(event: LifeEvent, gap: _GapPayload) -> Span:
    """Return a gap on the monotonic clock; where it has only the other, its event has both."""
    if gap.from_ms is not None and gap.to_ms is not None:
        return Span(min(gap.from_ms, gap.to_ms), max(gap.from_ms, gap.to_ms), event.seq)
    moments = [event.monotonic_ms - (event.wall_ms - at) for at in (gap.from_at, gap.to_at)]
    return Span(min(moments), max(moments), event.seq)


def _covers(span: Span, moment_ms: int) -> bool:
    return span.begin - CLOCKS_APART_MS <= moment_ms <= span.end + CLOCKS_APART_MS


def _explains(loss: LifeEvent, gap: _GapPayload) -> bool:
    """Tell whether `gap` lost as much as `loss` says; the bridge's half is not the room's."""
    return loss.type == "bridge.lost" or gap.lost != Lost.BRIDGE_ONLY


def is_overflow(payload: str | None) -> bool:
    """Tell whether a gap's payload names a full page buffer as the cause."""
    try:
        return (
            payload is not None
            and msgspec.json.decode(payload, type=_CausePayload).cause == GapCause.PAGE_BUFFER_OVERFLOW
        )
    except ValueError:
        return False


def _reason(payload: str | None) -> str | None:
    try:
        return None if payload is None else msgspec.json.decode(payload, type=_EndPayload).reason
    except ValueError:
        return None
