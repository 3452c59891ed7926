"""The recorder's books: the outcome of its messages, and the page's own count of them.

They travel with every heartbeat and with the end. Each message was normalized into events, absorbed, sampled or
refused; each event that was made is stored. A page numbers its messages anew in each stay in the room. What found no
room in its buffer it counts at once, and reports as a gap when there is room: the two are compared once that is due.
"""

from __future__ import annotations

import msgspec

from meeta_bot.events import CaptureHeartbeat

PAGE_LAG_MS = 60_000  # a page whose last sign of life is older was given up long before


class _Counts(CaptureHeartbeat, kw_only=True):
    """The books of a heartbeat, or of an end, which says nothing of the room."""

    in_conference: bool = False
    participants: int = 0

    @property
    def productive(self) -> int:
        """The number of messages that gave events."""
        if self.normalized is not None:
            return self.normalized
        return self.messages - self.absorbed - self.sampled - self.refused

    @property
    def counters(self) -> tuple[int, ...]:
        """The counters that never decrease."""
        return (self.messages, self.events, self.productive, self.absorbed, self.sampled, self.refused, self.unknown)


class _EndBooks(msgspec.Struct):
    messages: int | None = None


class _OverflowPayload(msgspec.Struct):
    missed: int | None = None


class _Stay:
    """A stay in the room: the counters of its page, and the messages that its gaps account for."""

    def __init__(self) -> None:
        self._counters = (0, 0, 0)
        self._overflows: list[tuple[int, int]] = []  # when, and how many were missed
        self._due: tuple[int, int] | None = None  # once more than so many are taken, gaps have so many that were missed
        self._is_known = True

    def overflow(self, monotonic_ms: int, missed: int | None) -> None:
        """Take a gap because the buffer was full; None when its payload was erased."""
        if missed is None:
            self._is_known = False
        else:
            self._overflows.append((monotonic_ms, missed))

    def problem(self, monotonic_ms: int, made: int, taken: int, missed: int) -> str | None:
        """Return the problem with the counters of a heartbeat."""
        before, self._counters = self._counters, (made, taken, missed)
        if taken > made:
            return f"{taken} messages were taken from the page, which had made {made}"
        if any(new < old for new, old in zip(self._counters, before, strict=True)):
            return "a counter of the page is smaller than it was at the heartbeat before"
        return self._missed_problem(monotonic_ms, made, taken, missed) if self._is_known else None

    def _missed_problem(self, monotonic_ms: int, made: int, taken: int, missed: int) -> str | None:
        in_gaps = sum(count for _, count in self._overflows)
        if self._due is not None and taken > self._due[0]:
            due, self._due = self._due[1], None
            if in_gaps < due:
                return f"the page had missed {due} messages, and its gaps account for {in_gaps}"
        in_older_gaps = sum(count for at, count in self._overflows if at <= monotonic_ms - PAGE_LAG_MS)
        if in_older_gaps > missed:
            return f"the page had missed {missed} messages, and its gaps account for {in_older_gaps}"
        if self._due is None and missed > in_gaps:
            self._due = (made, missed)
        return None


class Books:
    """The books of a capture: take heartbeats, the end and what they count, in order; return problems, or None."""

    def __init__(self) -> None:
        self._last: tuple[int, _Counts] | None = None
        self._last_beat_ms: int | None = None
        self._unknown = 0
        self._stay = _Stay()

    def unknown(self) -> None:
        """Count an event of type ``unknown``."""
        self._unknown += 1

    def new_stay(self) -> None:
        """Begin a stay with another page, or another load of it: its numbers begin anew."""
        self._stay = _Stay()

    def missed(self, monotonic_ms: int, payload: str | None) -> None:
        """Take a gap because the page's buffer was full; None when its payload was erased."""
        try:
            missed = None if payload is None else msgspec.json.decode(payload, type=_OverflowPayload).missed
        except ValueError:
            missed = None
        self._stay.overflow(monotonic_ms, missed)

    def heartbeat(self, seq: int, monotonic_ms: int, payload: str | None) -> str | None:
        """Check the books of a heartbeat; an erased one has none."""
        before, self._last_beat_ms = self._last_beat_ms, monotonic_ms
        problem = None
        if payload is not None:
            try:
                counts = msgspec.json.decode(payload, type=_Counts)
            except ValueError:
                return "the books of this heartbeat can't be read"
            problem = self._own_problem(seq, counts, "heartbeat") or self._page_problem(monotonic_ms, counts)
        if problem is None and before is not None and monotonic_ms < before:
            problem = "this heartbeat is older than the one before, by the monotonic clock"
        return problem

    def ended(self, seq: int, payload: str | None) -> str | None:
        """Check the books of the end; older recorders gave it none."""
        if payload is None:
            return None
        try:
            if msgspec.json.decode(payload, type=_EndBooks).messages is None:
                return None
            counts = msgspec.json.decode(payload, type=_Counts)
        except ValueError:
            return "the books of the end can't be read"
        return self._own_problem(seq, counts, "end")

    def _own_problem(self, seq: int, counts: _Counts, where: str) -> str | None:
        before, self._last = self._last, (seq, counts)
        if counts.events != seq - 1:
            return f"the recorder had made {counts.events} events, and {seq - 1} come before this {where}"
        if counts.unknown != self._unknown:
            return f"the recorder had kept {counts.unknown} messages raw, and {self._unknown} are stored"
        outcomes = counts.productive + counts.absorbed + counts.sampled + counts.refused
        if outcomes != counts.messages:
            return f"the recorder had taken {counts.messages} messages, and accounts for {outcomes}"
        since, productive, made = 1, counts.productive, counts.events
        if before is not None:
            since, productive, made = before[0], productive - before[1].productive, made - before[1].events
            if any(new < old for new, old in zip(counts.counters, before[1].counters, strict=True)):
                return "a counter is smaller than it was at the heartbeat before"
        if counts.productive < 0 or not (made > 0) <= productive <= made:
            return f"the books count {productive} messages for the {made} events since event {since}"
        return None

    def _page_problem(self, monotonic_ms: int, counts: _Counts) -> str | None:
        made, taken, missed = counts.page_made, counts.page_taken, counts.page_missed
        if made is None or taken is None or missed is None:
            return None
        return self._stay.problem(monotonic_ms, made, taken, missed)
