"""Stories of meetings: the capture that saw most of one, its lanes and gaps, and an entry for each thing that happened.

Nothing here knows where a story is shown: a terminal, a web page and a report can be made from the same one. Times are
milliseconds since the capture's start, by the monotonic clock.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from meeta_bot.reading import narration
from meeta_bot.reading.decoded import DecodedEvent, decoded
from meeta_bot.reading.lanes import Gap, Interval, Lane, gap_of, gaps, lanes, merged, total_ms
from meeta_bot.reading.queries import Reader
from meeta_bot.reading.rows import CaptureRow, MeetingRow
from meeta_bot.text import duration, safe_name
from meeta_bot.timestamps import milliseconds

# Gaps before the bot saw anybody: no lane has begun.
_BEFORE_ALL = ("late_join", "not_admitted")
_PEOPLE = ("human", "phone")


class Story(msgspec.Struct, frozen=True):
    """A meeting as one of its captures saw it; ``events`` are all of that capture's, in order of ``seq``."""

    meeting: MeetingRow
    capture: CaptureRow
    events: list[DecodedEvent]
    lanes: list[Lane]
    gaps: list[Gap]

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

    def entries(self, *, everything: bool = False) -> Iterator[Entry]:
        """Yield an entry for each event in order; without details unless `everything` is wanted."""
        names = _Names(self.capture.endpoint_id)
        taken_back = _taken_back(self.events)
        last_gap: Gap | None = None
        for event, after in zip(self.events, [*self.events[1:], None], strict=True):
            names.learn(event)
            gap = gap_of(event, milliseconds(event.row.occurred_at)) if event.type == "capture.gap" else None
            if gap is not None and gap.lost == "everything":
                last_gap = gap
            if everything or not _is_detail(event, after, self.capture.endpoint_id):
                entry = _entry(event, names, gap, last_gap)
                by = taken_back.get(str((event.payload or {}).get("message_id")), _NOT_TAKEN_BACK)
                if event.type != "chat.message" or by is _NOT_TAKEN_BACK:
                    yield entry
                    continue
                whose = "" if by == event.endpoint_id else f" by {names.name(by)}"
                yield msgspec.structs.replace(entry, sentence=f"{entry.sentence} (taken back{whose})")

    def _gaps_among_people(self, lost: str) -> list[Gap]:
        return [gap for gap in self.gaps if gap.lost == lost and gap.cause not in _BEFORE_ALL]


_NOT_TAKEN_BACK = ""


def _taken_back(events: list[DecodedEvent]) -> dict[str, str | None]:
    """Return the ids of messages that were taken back, and by whom."""
    return {
        str((event.payload or {}).get("message_id")): event.endpoint_id
        for event in events
        if event.type == "chat.message_retracted"
    }


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


async def read_story(reader: Reader, meeting: MeetingRow) -> Story:
    """Read the story of `meeting`, as the capture saw it that has most to tell of those that saw people.

    :raises DatabaseUnreachable: the server went away.
    """
    captures = await reader.captures(meeting.capture_ids)
    capture = max(
        captures, key=lambda row: (row.meeting_started_at is not None, row.joined_at is not None, row.event_count)
    )
    events = [decoded(row) async for row in reader.all_events([capture.capture_id])]
    found = gaps((event, milliseconds(event.row.occurred_at)) for event in events)
    return Story(meeting, capture, events, lanes(events), found)


def moment_text(ms: int) -> str:
    """Write a moment of a capture with a tenth of a second, such as ``0:06.9``."""
    sign, away = ("-", -ms) if ms < 0 else ("", ms)
    return f"{sign}{duration(away)}.{away % 1000 // 100}"


class _Names:
    """The names of the endpoints of a capture, as far as its events were read."""

    def __init__(self, own: str | None) -> None:
        self._own = own
        self._names: dict[str, str] = {}

    def learn(self, event: DecodedEvent) -> None:
        """Take the name that `event` gives to its endpoint, if it does."""
        key = {"participant.joined": "display_name", "participant.renamed": "new_name"}.get(event.type)
        if key and event.endpoint_id and event.payload:
            self._names[event.endpoint_id] = safe_name(event.payload.get(key))
        if event.type == "breakout.changed" and event.payload:
            for room in event.payload.get("rooms") or []:
                self._names[str(room.get("breakout_id"))] = safe_name(room.get("name"))

    def name(self, endpoint_id: str | None) -> str:
        """Return the name of an endpoint, for a person."""
        if endpoint_id is None:
            return "somebody"
        return "the bot" if endpoint_id == self._own else self._names.get(endpoint_id) or safe_name(endpoint_id)


def _entry(event: DecodedEvent, names: _Names, gap: Gap | None, last_gap: Gap | None) -> Entry:
    sentence = narration.sentence(event.type, event.payload, event.endpoint_id, names.name)
    return Entry(
        event_type=event.type,
        at_ms=event.monotonic_ms,
        sentence=sentence if gap is None else narration.gap_sentence(gap, moment_text),
        is_initial=event.row.initial and event.type != "chat.message",
        inferred=_bounds(last_gap) if event.row.inferred else None,
    )


def _bounds(gap: Gap | None) -> str:
    """Write the bounds of an event that was found after a gap."""
    return "inferred" if gap is None else f"between {moment_text(gap.start_ms)} and {moment_text(gap.end_ms)}"


def _is_detail(event: DecodedEvent, after: DecodedEvent | None, own: str | None) -> bool:
    payload = event.payload or {}
    if event.type in narration.DETAILS or payload.get("is_interim"):
        return True
    if event.type == "connection.failed":
        return after is not None and after.type == "capture.reconnecting"  # which tells it again
    if event.type == "capture.reconnecting":
        return bool(payload.get("attempt", 1) != 1)  # one line an outage
    if event.type in ("audio.muted", "video.muted"):
        return event.row.initial  # everybody comes in like that, then opens what is wanted
    if event.type == "meeting.started":
        return payload.get("basis") == "created_timestamp"  # corrects the one before
    return event.type == "participant.role_changed" and (event.endpoint_id == own or payload.get("role") == "none")
