"""The life of a recorder by its own account: its beginning and end, its signs of life, its books and gaps."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from meeta_bot.limits import MISSED_HEARTBEATS
from meeta_bot.verify.books import Books
from meeta_bot.verify.ledger import Ledger, LifeEvent, is_overflow
from meeta_bot.verify.links import Span, merged_spans
from meeta_bot.verify.verdict import BOOKS, ENDS, GAPS, Problem

SHORTEST_SILENCE_MS = 10_000  # twice what a recorder takes for a stall of its own, however often it gives signs of life
_BOOKS_HINT = "the chain shows whether events were altered; if it holds, this is a fault of the recorder: report it"
_DAMAGED_BOOKS_HINT = "books went with it; numbers and chain show whether events are missing or altered"
_SILENCE_HINT = "nothing was seen then and no gap says so: treat it as one, and report it"


class _StartPayload(msgspec.Struct):
    heartbeat_interval_ms: int | None = None


class Life:
    """The life of a recorder: takes the events in which it reports on itself, in order.

    `interval_ms` is how often it is expected to give a sign of life where it does not declare that itself.
    """

    def __init__(self, interval_ms: int, through: int) -> None:
        """Begin with no events; `through` is the number of the last one."""
        self.began_at: int | None = None
        self.alive_at: int | None = None
        self.declared_interval_ms: int | None = None
        self.has_ended = False
        self.notes: list[str] = []
        self._problems: dict[str, Problem | None] = {BOOKS: None, GAPS: None, ENDS: None}
        self._interval_ms = interval_ms
        self._through = through
        self._early_end: int | None = None  # the first end that others follow
        self._beats: list[int] = []
        self._books = Books()
        self._ledger = Ledger()

    @property
    def problems(self) -> dict[str, Problem | None]:
        """The first problem of each check."""
        return {**self._problems, GAPS: self._ledger.problem or self._problems[GAPS]}

    def take(self, event: LifeEvent) -> None:
        """Take the next event."""
        match event.type:
            case "capture.started":
                self._begin(event)
            case "capture.hook_installed":
                self._books.new_stay()
            case "capture.heartbeat":
                self._beats.append(event.monotonic_ms)
                self.alive_at = event.wall_ms
                self._ledger.heartbeat(event)
                self._refute_books(self._books.heartbeat(event.seq, event.monotonic_ms, event.payload), event.seq)
            case "capture.gap":
                self._ledger.gap(event)
                if event.payload is None or is_overflow(event.payload):
                    self._books.missed(event.monotonic_ms, event.payload)
            case "signalling.lost" | "bridge.lost" | "capture.reconnecting":
                self._ledger.loss(event)
                if event.type == "capture.reconnecting":
                    self._books.new_stay()
            case "capture.ended":
                self._end(event)
            case _:
                self._books.unknown()

    @property
    def interval_ms(self) -> int:
        """The interval of the recorder's signs of life: as declared, else as expected, or longer if it was."""
        if self.declared_interval_ms is not None:
            return self.declared_interval_ms
        steps = sorted(later - earlier for earlier, later in zip(self._beats, self._beats[1:], strict=False))
        return max(steps[len(steps) // 2], self._interval_ms) if len(steps) >= MISSED_HEARTBEATS else self._interval_ms

    @property
    def silence_ms(self) -> int:
        """The shortest interval without any event in which the capture did not see."""
        return max(MISSED_HEARTBEATS * self.interval_ms, SHORTEST_SILENCE_MS)

    def close(self) -> None:
        """End the life: no events follow."""
        if self._early_end is not None:
            self._refute_end(self._early_end)
        self._ledger.check_bounds(self.began_at, self.interval_ms, self.silence_ms)

    def check_silences(self, spans: Sequence[Span]) -> None:
        """Check that gaps cover the intervals without events; `spans` are those with events, of the whole capture."""
        found = merged_spans([*spans, *self._ledger.spans()], self.silence_ms)
        if len(found) < 2:
            return
        seconds = (found[1].begin - found[0].end) / 1000
        silence = (
            f"{seconds:.0f} s without any event, though a sign of life was due every {self.interval_ms / 1000:g} s"
        )
        if self._ledger.erased:
            self.notes.append(f"{silence}; the bounds of {self._ledger.erased} gaps were erased")
        else:
            self._refute(GAPS, f"{silence}, and no gap covers them", found[1].seq, _SILENCE_HINT)

    def damage_after(self, seq: int) -> tuple[int, int] | None:
        """Return number and lost events of the first gap behind `seq` with a damaged spool as cause."""
        return self._ledger.damage_after(seq)

    def _begin(self, event: LifeEvent) -> None:
        self.began_at = self.began_at if self.began_at is not None else event.wall_ms
        if event.seq != 1:
            self._refute(ENDS, "capture.started is not the first event: it was added", event.seq)
        elif event.payload is not None:
            try:
                declared = msgspec.json.decode(event.payload, type=_StartPayload).heartbeat_interval_ms
            except ValueError:
                return
            self.declared_interval_ms = declared if declared and declared > 0 else None

    def _end(self, event: LifeEvent) -> None:
        self.has_ended = True
        if event.seq != self._through and self._early_end is None:
            self._early_end = event.seq
        self._refute_books(self._books.ended(event.seq, event.payload), event.seq)
        self._ledger.ended(event)

    def _refute_end(self, seq: int) -> None:
        why = "what follows was added"
        if self._ledger.is_damage(seq + 1):
            why = f"a damaged spool had lost it, according to event {seq + 1}, and its adopter wrote another end"
        self._refute(ENDS, f"capture.ended is not the last event: {why}", seq)

    def _refute_books(self, problem: str | None, seq: int) -> None:
        damage = self._ledger.last_damage
        if problem is not None and damage is not None:
            text = f"{problem}: its spool was damaged, according to event {damage}"
            self._refute(BOOKS, text, seq, _DAMAGED_BOOKS_HINT)
        elif problem is not None:
            self._refute(BOOKS, problem, seq, _BOOKS_HINT)

    def _refute(self, check: str, text: str, seq: int, hint: str | None = None) -> None:
        if self._problems[check] is None:
            self._problems[check] = Problem(text, seq, hint)
