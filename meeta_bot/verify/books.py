"""The recorder's books: what became of its messages, and what the page says that it had of them.

They travel with every heartbeat and with the end. Each message was normalized into events, absorbed, sampled or
refused; each event that was made is stored. A page numbers its messages anew in each stay in the room. What found no
room in its buffer it counts at once, and tells as a gap when there is room: the two are compared once that is due.
"""

from __future__ import annotations

import msgspec

from meeta_bot.events import CaptureHeartbeat

PAGE_LAG_MS = 60_000  # a page whose last sign of life is older was given up long before
_NO_BOOKS = "no books that can be read"


class _Counts(CaptureHeartbeat, kw_only=True):
    """The books of a heartbeat, or of an end, which says nothing of the room."""

    in_conference: bool = False
    participants: int = 0

    @property
    def telling(self) -> int:
        """Messages that gave events."""
        if self.normalized is not None:
            return self.normalized
        return self.messages - self.absorbed - self.sampled - self.refused

    @property
    def counters(self) -> tuple[int, ...]:
        """What never gets less."""
        return (self.messages, self.events, self.telling, self.absorbed, self.sampled, self.refused, self.unknown)


class _MaybeBooks(msgspec.Struct):
    messages: int | None = None


class _Missed(msgspec.Struct):
    missed: int | None = None


class _Stay:
    """One stay in the room: what its page counted, and what its gaps tell of it."""

    def __init__(self) -> None:
        self._seen = (0, 0, 0)
        self._told: list[tuple[int, int]] = []  # when, and how many were missed
        self._due: tuple[int, int] | None = None  # when more than so many are taken, so many that were missed are told
        self._is_known = True

    def tell(self, monotonic_ms: int, missed: int | None) -> None:
        """A gap because the buffer was full; None when its payload was erased."""
        if missed is None:
            self._is_known = False
        else:
            self._told.append((monotonic_ms, missed))

    def problem(self, monotonic_ms: int, made: int, taken: int, missed: int) -> str | None:
        """What is wrong with the numbers of a heartbeat."""
        before, self._seen = self._seen, (made, taken, missed)
        if taken > made:
            return f"{taken} messages were taken from the page, which had made {made}"
        if any(new < old for new, old in zip(self._seen, before, strict=True)):
            return "a counter of the page is smaller than it was at the heartbeat before"
        return self._missed_problem(monotonic_ms, made, taken, missed) if self._is_known else None

    def _missed_problem(self, monotonic_ms: int, made: int, taken: int, missed: int) -> str | None:
        told = sum(count for _, count in self._told)
        if self._due is not None and taken > self._due[0]:
            due, self._due = self._due[1], None
            if told < due:
                return f"the page had missed {due} messages, and its gaps tell of {told}"
        told_long_ago = sum(count for at, count in self._told if at <= monotonic_ms - PAGE_LAG_MS)
        if told_long_ago > missed:
            return f"the page had missed {missed} messages, and its gaps tell of {told_long_ago}"
        if self._due is None and missed > told:
            self._due = (made, missed)
        return None


class Books:
    """Takes heartbeats, the end and what they count, in order; every method returns what is wrong, or None."""

    def __init__(self) -> None:
        self._last: tuple[int, _Counts] | None = None
        self._last_beat_ms: int | None = None
        self._unknown = 0
        self._stay = _Stay()

    def kept_raw(self) -> None:
        """An event of type ``unknown`` is stored."""
        self._unknown += 1

    def new_stay(self) -> None:
        """Another page, or another load of it: its numbers begin anew."""
        self._stay = _Stay()

    def missed(self, monotonic_ms: int, payload: str | None) -> None:
        """A gap because the page's buffer was full; None when that was erased."""
        try:
            missed = None if payload is None else msgspec.json.decode(payload, type=_Missed).missed
        except ValueError:
            missed = None
        self._stay.tell(monotonic_ms, missed)

    def heartbeat(self, seq: int, monotonic_ms: int, payload: str | None) -> str | None:
        """The books of a heartbeat; of an erased one there are none."""
        before, self._last_beat_ms = self._last_beat_ms, monotonic_ms
        problem = None
        if payload is not None:
            try:
                counts = msgspec.json.decode(payload, type=_Counts)
            except ValueError:
                return f"this heartbeat has {_NO_BOOKS}"
            problem = self._own_problem(seq, counts, "heartbeat") or self._page_problem(monotonic_ms, counts)
        if problem is None and before is not None and monotonic_ms < before:
            problem = "this heartbeat is older than the one before, by the monotonic clock"
        return problem

    def ended(self, seq: int, payload: str | None) -> str | None:
        """The books of the end; older recorders gave it none."""
        if payload is None:
            return None
        try:
            if msgspec.json.decode(payload, type=_MaybeBooks).messages is None:
                return None
            counts = msgspec.json.decode(payload, type=_Counts)
        except ValueError:
            return f"the end has {_NO_BOOKS}"
        return self._own_problem(seq, counts, "end")

    def _own_problem(self, seq: int, counts: _Counts, where: str) -> str | None:
        before, self._last = self._last, (seq, counts)
        if counts.events != seq - 1:
            return f"the recorder had made {counts.events} events, and {seq - 1} come before this {where}"
        if counts.unknown != self._unknown:
            return f"the recorder had kept {counts.unknown} messages raw, and {self._unknown} are stored"
        outcomes = counts.telling + counts.absorbed + counts.sampled + counts.refused
        if outcomes != counts.messages:
            return f"the recorder had taken {counts.messages} messages, and says what became of {outcomes}"
        since, told, made = 1, counts.telling, counts.events
        if before is not None:
            since, told, made = before[0], told - before[1].telling, made - before[1].events
            if any(new < old for new, old in zip(counts.counters, before[1].counters, strict=True)):
                return "a counter is smaller than it was at the heartbeat before"
        if counts.telling < 0 or not (made > 0) <= told <= made:
            return f"{told} messages are said to have made the {made} events since event {since}"
        return None

    def _page_problem(self, monotonic_ms: int, counts: _Counts) -> str | None:
        made, taken, missed = counts.page_made, counts.page_taken, counts.page_missed
        if made is None or taken is None or missed is None:
            return None
        return self._stay.problem(monotonic_ms, made, taken, missed)
