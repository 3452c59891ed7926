"""Stories of meetings: the capture that saw most of one, its lanes and gaps, and an entry for each thing that happened.

Nothing here knows where a story is shown: a terminal, a web page and a report can be made from the same one. Times are
milliseconds since the capture's start, by the monotonic clock. A story holds who was there and when, never all events:
those are told one by one as they are read (`Story.teller`), so that a meeting of a million needs no more memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from meeta_bot.events import CATALOG
from meeta_bot.reading import narration
from meeta_bot.reading.decoded import DecodedEvent, decoded
from meeta_bot.reading.lanes import (
    GAP_TYPES,
    LANE_TYPES,
    Gap,
    GapBuilder,
    Interval,
    Lane,
    LaneBuilder,
    gap_of,
    merged,
    total_ms,
)
from meeta_bot.reading.queries import Filter, Reader
from meeta_bot.reading.rows import CaptureRow, MeetingRow
from meeta_bot.text import duration, safe_name
from meeta_bot.timestamps import milliseconds

# Gaps before the bot saw anybody: no lane has begun.
_BEFORE_ALL = ("late_join", "not_admitted")
_PEOPLE = ("human", "phone")
# Fields of events that name something, and the types that a story is made from besides those of lanes and gaps.
_NAMING = {"participant.joined": "display_name", "participant.renamed": "new_name"}
_OTHER_TYPES = ("breakout.changed", "chat.message_retracted", "connection.failed", "capture.reconnecting")
# All others, left out in the order of seq: an index by type would have the wanted ones in another order.
_LEFT_OUT = sorted(CATALOG.keys() - {*LANE_TYPES, *GAP_TYPES, *_NAMING, *_OTHER_TYPES})


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """A meeting as one of its captures saw it.

    ``names``: the names that endpoints and breakout rooms got, each with the ``seq`` from which it holds.
    ``told_gaps``: the gaps in which nothing was seen, with the ``seq`` that told them. ``taken_back``: the ids of
    messages that were taken back, and by whom. ``retried``: the ``seq`` of failures that the next event tells again.
    """

    meeting: MeetingRow
    capture: CaptureRow
    lanes: list[Lane]
    gaps: list[Gap]
    names: list[tuple[int, str, str]]
    told_gaps: list[tuple[int, Gap]]
    taken_back: dict[str, str | None]
    retried: frozenset[int]

    @property
    def people_first(self) -> list[Lane]:
        """The lanes, those of people before those of bots and services; else in order of first arrival."""
        return sorted(self.lanes, key=lambda lane: lane.kind not in _PEOPLE)

    @property
    def presence(self) -> Interval | None:
        """The time from the first arrival to the last departure; None when nobody was seen."""
        present = [interval for lane in self.lanes for interval in lane.present]
        if not present:
            return None
        start_ms = min(interval.start_ms for interval in present)
        return Interval(start_ms, max(start_ms + 1, *(interval.end_ms for interval in present)))

    @property
    def blind(self) -> list[Interval]:
        """The times in which the bot saw nothing."""
        return merged(self._gaps_among_people("everything"))

    @property
    def deaf(self) -> list[Interval]:
        """The times in which the bot did not hear who spoke."""
        return merged(self._gaps_among_people("bridge_only"))

    def summarize_gaps(self) -> Iterator[str]:
        """Yield how long the bot did not see, and how long it did not hear."""
        for lost, what in (("everything", "could not see"), ("bridge_only", "could not hear who spoke")):
            found = self._gaps_among_people(lost)
            if found:
                still = ", and still can't" if any(gap.is_open for gap in found) else ""
                many = f"in {len(found)} gap{'s' * (len(found) != 1)}"
                yield f"{what} for {duration(total_ms(merged(found)))} {many}{still}"

    def teller(self, *, everything: bool = False) -> Callable[[DecodedEvent], Entry | None]:
        """Return a function that makes the entry of an event; None of a detail, unless `everything` is wanted.

        It takes events of the story's capture in order of ``seq``; any may be left out.
        """
        return _Teller(self, everything=everything).entry

    def _gaps_among_people(self, lost: str) -> list[Gap]:
        return [gap for gap in self.gaps if gap.lost == lost and gap.cause not in _BEFORE_ALL]


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened, as a sentence.

    ``is_initial``: it was so when the bot came. ``inferred`` says between which moments something happened that was
    found after a gap; None for what was seen.
    """

    event_type: str
    at_ms: int
    sentence: str
    is_initial: bool
    inferred: str | None


async def fullest_capture(reader: Reader, meeting: MeetingRow) -> CaptureRow:
    """Return the capture that has most to tell of `meeting`, of those that saw people if some did.

    :raises DatabaseUnreachable: the server went away.
    """
    captures = await reader.captures(meeting.capture_ids)
    return max(
        captures, key=lambda row: (row.meeting_started_at is not None, row.joined_at is not None, row.event_count)
    )


async def read_story(reader: Reader, meeting: MeetingRow, capture: CaptureRow) -> Story:
    """Read the story of `meeting` as `capture` saw it.

    :raises DatabaseUnreachable: the server went away.
    """
    builder = StoryBuilder()
    async for row in reader.all_events([capture.capture_id], Filter(except_types=_LEFT_OUT)):
        builder.feed(decoded(row))
    return builder.finish(meeting, capture)


class StoryBuilder:
    """A builder of stories, fed with a capture's events in order of ``seq``."""

    def __init__(self) -> None:
        self._lanes = LaneBuilder()
        self._gaps = GapBuilder()
        self._names: list[tuple[int, str, str]] = []
        self._told_gaps: list[tuple[int, Gap]] = []
        self._taken_back: dict[str, str | None] = {}
        self._retried: set[int] = set()
        self._failed_seq: int | None = None

    def feed(self, event: DecodedEvent) -> None:
        """Take the next event; those that no story is made from may be left out."""
        wall_ms = milliseconds(event.row.occurred_at)
        self._lanes.feed(event)
        self._gaps.feed(event, wall_ms)
        payload, seq = event.payload or {}, event.row.seq
        self._names += [(seq, *named) for named in _namings(event, payload)]
        if event.type == "chat.message_retracted":
            self._taken_back[str(payload.get("message_id"))] = event.endpoint_id
        if event.type == "capture.gap":
            gap = gap_of(event, wall_ms)
            if gap is not None and gap.lost == "everything":
                self._told_gaps.append((seq, gap))
        if event.type == "capture.reconnecting" and self._failed_seq is not None:
            self._retried.add(self._failed_seq)
        self._failed_seq = seq if event.type == "connection.failed" else None

    def finish(self, meeting: MeetingRow, capture: CaptureRow) -> Story:
        """Return the story of `meeting` by `capture`, whose events these were."""
        end_ms = capture.last_monotonic_ms or 0
        return Story(
            meeting=meeting,
            capture=capture,
            lanes=self._lanes.finish(end_ms),
            gaps=self._gaps.finish(end_ms),
            names=self._names,
            told_gaps=self._told_gaps,
            taken_back=self._taken_back,
            retried=frozenset(self._retried),
        )


def _namings(event: DecodedEvent, payload: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what an event names, by its id, and the name."""
    key = _NAMING.get(event.type)
    if key and event.endpoint_id and payload:
        yield event.endpoint_id, safe_name(payload.get(key))
    if event.type == "breakout.changed":
        for room in payload.get("rooms") or []:
            yield str(room.get("breakout_id")), safe_name(room.get("name"))


def moment_text(ms: int) -> str:
    """Write a moment of a capture with a tenth of a second, such as ``0:06.9``."""
    sign, away = ("-", -ms) if ms < 0 else ("", ms)
    return f"{sign}{duration(away)}.{away % 1000 // 100}"


class _Teller:
    """A teller of events: what they are about had the name that holds at their ``seq``."""

    def __init__(self, story: Story, *, everything: bool) -> None:
        self._story = story
        self._everything = everything
        self._own = story.capture.endpoint_id
        self._names: dict[str, str] = {}
        self._last_gap: Gap | None = None
        self._coming_names = iter([*story.names, None])
        self._coming_gaps = iter([*story.told_gaps, None])
        self._next_name = next(self._coming_names)
        self._next_gap = next(self._coming_gaps)

    def entry(self, event: DecodedEvent) -> Entry | None:
        """Return the entry of the next event; None of a detail."""
        self._advance(event.row.seq)
        if not self._everything and self._is_detail(event):
            return None
        gap = gap_of(event, milliseconds(event.row.occurred_at)) if event.type == "capture.gap" else None
        return Entry(
            event_type=event.type,
            at_ms=event.monotonic_ms,
            sentence=self._sentence(event) if gap is None else narration.gap_sentence(gap, moment_text),
            is_initial=event.row.initial and event.type != "chat.message",
            inferred=_bounds(self._last_gap) if event.row.inferred else None,
        )

    def _advance(self, seq: int) -> None:
        while self._next_name is not None and self._next_name[0] <= seq:
            _, named, name = self._next_name
            self._names[named] = name
            self._next_name = next(self._coming_names)
        while self._next_gap is not None and self._next_gap[0] <= seq:
            self._last_gap = self._next_gap[1]
            self._next_gap = next(self._coming_gaps)

    def _sentence(self, event: DecodedEvent) -> str:
        sentence = narration.sentence(event.type, event.payload, event.endpoint_id, self._name)
        message_id = str((event.payload or {}).get("message_id"))
        if event.type != "chat.message" or message_id not in self._story.taken_back:
            return sentence
        by = self._story.taken_back[message_id]
        return f"{sentence} (taken back{'' if by == event.endpoint_id else f' by {self._name(by)}'})"

    def _name(self, endpoint_id: str | None) -> str:
        """Return the name of an endpoint, for a person."""
        if endpoint_id is None:
            return "somebody"
        return "the bot" if endpoint_id == self._own else self._names.get(endpoint_id) or safe_name(endpoint_id)

    def _is_detail(self, event: DecodedEvent) -> bool:
        return event.row.seq in self._story.retried or _is_detail(event, self._own)


def _bounds(gap: Gap | None) -> str:
    """Write the bounds of an event that was found after a gap."""
    return "inferred" if gap is None else f"between {moment_text(gap.start_ms)} and {moment_text(gap.end_ms)}"


def _is_detail(event: DecodedEvent, own: str | None) -> bool:
    payload = event.payload or {}
    if event.type in narration.DETAILS or payload.get("is_interim"):
        return True
    if event.type == "capture.reconnecting":
        return bool(payload.get("attempt", 1) != 1)  # one line an outage
    if event.type in ("audio.muted", "video.muted"):
        return event.row.initial  # everybody comes in like that, then opens what is wanted
    if event.type == "meeting.started":
        return payload.get("basis") == "created_timestamp"  # corrects the one before
    return event.type == "participant.role_changed" and (event.endpoint_id == own or payload.get("role") == "none")
