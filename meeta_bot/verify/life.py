"""What the recorder said of itself: its books, its signs of life, its gaps, its beginning and end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from meeta_bot.events import GapCause
from meeta_bot.verify.links import EPOCH_2000_MS, Span, merged
from meeta_bot.verify.verdict import BOOKS, ENDS, GAPS, Problem

MISSED_HEARTBEATS = 4  # so many in a row are a silence: from then on readers call a capture lost
_BOOKS_HINT = "the chain shows whether events were altered; if it holds, this is a fault of the recorder: report it"
_SILENCE_HINT = "nothing was seen then and no gap says so: treat it as one, and report it"


class LifeEvent(NamedTuple):
    """A row of verify_life.sql; `occurred_at` is in microseconds from the year 2000."""

    seq: int
    type: str
    occurred_at: int
    monotonic_ms: int
    payload: str | None


class _Books(msgspec.Struct):
    messages: int
    events: int
    absorbed: int
    sampled: int
    refused: int
    unknown: int

    @property
    def telling(self) -> int:
        """Messages that gave events."""
        return self.messages - self.absorbed - self.sampled - self.refused


class _Bounds(msgspec.Struct):
    from_at: int
    to_at: int
    cause: str


class Life:
    """Takes what a recorder said of itself, in order; `interval_ms` is how often it is expected to."""

    def __init__(self, interval_ms: int, through: int) -> None:
        """`through` is the number of the last event."""
        self.problems: dict[str, Problem | None] = {BOOKS: None, GAPS: None, ENDS: None}
        self.began_at: int | None = None
        self.alive_at: int | None = None
        self.has_ended = False
        self.notes: list[str] = []
        self._interval_ms = interval_ms
        self._through = through
        self._books: tuple[int, _Books] | None = None
        self._unknown = 0
        self._beats: list[int] = []
        self._gaps: list[tuple[LifeEvent, _Bounds]] = []
        self._erased_gaps = 0

    def take(self, event: LifeEvent) -> None:
        """Look at the next event."""
        match event.type:
            case "capture.started":
                self.began_at = self.began_at if self.began_at is not None else _wall_ms(event)
                if event.seq != 1:
                    self._refute(ENDS, "capture.started is not the first event: it was added", event.seq)
            case "capture.heartbeat":
                self._heartbeat(event)
            case "capture.gap":
                self._gap(event)
            case "capture.ended":
                self.has_ended = True
                if event.seq != self._through:
                    self._refute(ENDS, "capture.ended is not the last event: what follows was added", event.seq)
            case _:
                self._unknown += 1

    @property
    def interval_ms(self) -> int:
        """How often the recorder gave a sign of life, if that was more seldom than expected by the settings here."""
        steps = sorted(later - earlier for earlier, later in zip(self._beats, self._beats[1:], strict=False))
        return max(steps[len(steps) // 2], self._interval_ms) if len(steps) >= MISSED_HEARTBEATS else self._interval_ms

    @property
    def silence_ms(self) -> int:
        """From here on, an interval without any event is one in which the capture did not see."""
        return MISSED_HEARTBEATS * self.interval_ms

    def close(self) -> None:
        """Nothing follows."""
        for event, gap in self._gaps:
            self._check_bounds(event, gap)

    def check_silences(self, spans: Sequence[Span]) -> None:
        """Are intervals without events covered by gaps? `spans` are the intervals with them, of the whole capture."""
        told = [_on_axis(event, gap) for event, gap in self._gaps]
        found = merged([*spans, *told], self.silence_ms)
        if len(found) < 2:
            return
        seconds = (found[1].begin - found[0].end) / 1000
        said = f"{seconds:.0f} s without any event, though a sign of life was due every {self.interval_ms / 1000:g} s"
        if self._erased_gaps:
            self.notes.append(f"{said}; the bounds of {self._erased_gaps} gaps were erased")
        else:
            self._refute(GAPS, f"{said}, and no gap covers them", found[1].seq, _SILENCE_HINT)

    def _heartbeat(self, event: LifeEvent) -> None:
        self._beats.append(event.monotonic_ms)
        self.alive_at = _wall_ms(event)
        if event.payload is None:
            return
        try:
            books = msgspec.json.decode(event.payload, type=_Books)
        except ValueError:
            self._refute(BOOKS, "this heartbeat has no books that can be read", event.seq, _BOOKS_HINT)
            return
        problem = self._books_problem(event.seq, books)
        if problem is not None:
            self._refute(BOOKS, problem, event.seq, _BOOKS_HINT)
        self._books = (event.seq, books)

    def _books_problem(self, seq: int, books: _Books) -> str | None:
        if books.events != seq - 1:
            return f"the recorder had made {books.events} events, and {seq - 1} are stored before this heartbeat"
        if books.unknown != self._unknown:
            return f"the recorder had kept {books.unknown} messages raw, and {self._unknown} are stored"
        since, before = self._books or (1, None)
        told = books.telling - (before.telling if before is not None else 0)
        made = books.events - (before.events if before is not None else 0)
        if books.telling < 0 or not (made > 0) <= told <= made:
            return f"{told} messages are said to have made the {made} events since event {since}"
        if before is not None and any(
            new < old for new, old in zip(msgspec.structs.astuple(books), msgspec.structs.astuple(before), strict=True)
        ):
            return "a counter is smaller than it was at the heartbeat before"
        return None

    def _gap(self, event: LifeEvent) -> None:
        if event.payload is None:
            self._erased_gaps += 1
            return
        try:
            self._gaps.append((event, msgspec.json.decode(event.payload, type=_Bounds)))
        except ValueError:
            self._refute(GAPS, "this gap has no bounds that can be read", event.seq)

    def _check_bounds(self, event: LifeEvent, gap: _Bounds) -> None:
        if gap.from_at > gap.to_at:
            self._refute(GAPS, "this gap ends before it begins: did the clock jump?", event.seq)
        if self.began_at is not None and gap.from_at < self.began_at - self.silence_ms:
            self._refute(GAPS, "this gap begins before its capture", event.seq)
        # The end of a killed process is written by the next one, much later, with the time of its last word.
        if gap.cause != GapCause.PROCESS_KILLED and gap.to_at > _wall_ms(event) + self.silence_ms:
            self._refute(GAPS, "this gap ends after it was told", event.seq)

    def _refute(self, check: str, text: str, seq: int, hint: str | None = None) -> None:
        if self.problems[check] is None:
            self.problems[check] = Problem(text, seq, hint)


def _wall_ms(event: LifeEvent) -> int:
    return event.occurred_at // 1000 + EPOCH_2000_MS


def _on_axis(event: LifeEvent, gap: _Bounds) -> Span:
    """A gap on the monotonic clock of its capture; the event that tells it has both clocks."""
    moments = [event.monotonic_ms - (_wall_ms(event) - at) for at in (gap.from_at, gap.to_at)]
    return Span(min(moments), max(moments), event.seq)
