"""Stories of meetings, free of any terminal: lanes, times without sight, and what happened as sentences."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from meeta_bot.events.document import EventRow
from meeta_bot.reading.decoded import decoded
from meeta_bot.reading.lanes import Interval
from meeta_bot.reading.rows import CaptureRow, MeetingRow
from meeta_bot.reading.story import Entry, Story, StoryBuilder, fullest_capture, moment_text
from meeta_bot.timestamps import milliseconds

BEGAN = datetime(2026, 11, 22, 10, tzinfo=UTC)
BEGAN_MS = milliseconds(BEGAN)
OWN = "bot"


def row(event_type: str, ms: int, endpoint_id: str | None = None, *, flag: str = "", **payload: Any) -> EventRow:
    """A stored event; `flag` is ``initial``, ``inferred`` or nothing."""
    return EventRow(
        capture_id="c",
        seq=1,
        type=event_type,
        origin="conference.test",
        room="main",
        endpoint_id=endpoint_id,
        occurred_at=BEGAN + timedelta(milliseconds=ms),
        monotonic_ms=ms,
        server_at=None,
        initial=flag == "initial",
        inferred=flag == "inferred",
        payload=json.dumps(payload),
        salt=None,
        commitment=b"",
        digest=b"",
        quarantine_reason=None,
    )


def gap(ms: int, begin: int, end: int, cause: str = "put_out", lost: str = "everything") -> EventRow:
    bounds: dict[str, Any] = {"from_ms": begin, "to_ms": end, "from_at": BEGAN_MS + begin, "to_at": BEGAN_MS + end}
    return row("capture.gap", ms, cause=cause, lost=lost, **bounds)


def capture(capture_id: str, event_count: int) -> CaptureRow:
    fields: dict[str, Any] = dict.fromkeys(CaptureRow.__struct_fields__)
    return CaptureRow(**fields | {"capture_id": capture_id, "event_count": event_count, "endpoint_id": OWN})


def meeting(**changes: Any) -> MeetingRow:
    fields: dict[str, Any] = dict.fromkeys(MeetingRow.__struct_fields__)
    given = {"meeting_id": "m", "capture_ids": ["c"], "state": "ended", "captured_at": BEGAN, "people": 1}
    return MeetingRow(**fields | given | {"event_count": 1} | changes)


def numbered(*rows: EventRow) -> list[EventRow]:
    return [msgspec.structs.replace(one, seq=seq) for seq, one in enumerate(rows, 1)]


def story(*rows: EventRow) -> Story:
    builder = StoryBuilder()
    for one in numbered(*rows):
        builder.feed(decoded(one))
    return builder.finish(meeting(), capture("c", len(rows)))


def entries(*rows: EventRow, everything: bool = False) -> list[Entry]:
    teller = story(*rows).teller(everything=everything)
    told = [teller(decoded(one)) for one in numbered(*rows)]
    return [entry for entry in told if entry is not None]


def sentences(*rows: EventRow, everything: bool = False) -> list[str]:
    return [entry.sentence for entry in entries(*rows, everything=everything)]


def test_entries_have_the_names_of_their_moment() -> None:
    rows = (
        row("participant.joined", 0, "a", display_name="Ada", flag="initial"),
        row("audio.unmuted", 10, "a"),
        row("participant.renamed", 20, "a", old_name="Ada", new_name="Lovelace"),
        row("audio.muted", 30, "a"),
        row("hand.raised", 40, "b"),
        row("audio.unmuted", 50, OWN),
    )
    assert sentences(*rows) == [
        "Ada joined",
        "Ada unmuted",
        "Ada is now Lovelace",
        "Lovelace muted",
        "b raised a hand",
        "the bot unmuted",
    ]
    assert [(entry.at_ms, entry.is_initial) for entry in entries(*rows)][:2] == [(0, True), (10, False)]


def test_details_are_left_out_unless_everything_is_wanted() -> None:
    rows = (
        row("capture.heartbeat", 0),
        row("audio.muted", 1, "a", flag="initial"),
        row("capture.reconnecting", 2, cause="page_crashed", attempt=1),
        row("capture.reconnecting", 3, cause="page_crashed", attempt=2),
        row("participant.role_changed", 4, OWN, role="moderator"),
        row("transcript.chunk", 5, "a", text="Hel", is_interim=True),
    )
    assert [entry.event_type for entry in entries(*rows)] == ["capture.reconnecting"]
    assert len(sentences(*rows, everything=True)) == len(rows)


def test_what_is_found_after_a_gap_has_its_bounds() -> None:
    rows = (
        row("participant.left", 500, "a", flag="inferred"),
        gap(9000, 1000, 9000),
        row("participant.joined", 9000, "b", display_name="Bo", flag="inferred"),
        gap(9500, 9200, 9400, "bridge_channel_closed", "bridge_only"),
        row("participant.left", 9600, "b", flag="inferred"),
    )
    between = "between 0:01.0 and 0:09.0"
    assert [entry.inferred for entry in entries(*rows)] == ["inferred", None, between, None, between]
    assert sentences(*rows)[1].startswith("COULD NOT SEE for 8.0 s, 0:01.0 to 0:09.0")


def test_times_without_sight_are_summed_up_without_those_before_anybody_was_seen() -> None:
    told = story(
        gap(0, -5000, 0, "late_join"),
        gap(9000, 1000, 5000),
        gap(9000, 4000, 6000, "page_crashed"),
        gap(9000, 7000, 9000, "bridge_channel_closed", "bridge_only"),
    )
    assert (told.blind, told.deaf) == ([Interval(1000, 6000)], [Interval(7000, 9000)])
    assert list(told.summarize_gaps()) == [
        "could not see for 0:05 in 2 gaps",
        "could not hear who spoke for 0:02 in 1 gap",
    ]
    assert told.presence is None


def test_lanes_of_people_come_first_and_presence_spans_them_all() -> None:
    told = story(
        row("participant.joined", 10, "r", kind="recorder"),
        row("participant.joined", 20, "a", kind="human"),
        row("participant.left", 90, "a"),
    )
    assert [lane.endpoint_id for lane in told.lanes] == ["r", "a"]
    assert [lane.endpoint_id for lane in told.people_first] == ["a", "r"]
    assert told.presence == Interval(10, 90)


@pytest.mark.parametrize(
    ("ms", "text"), [(0, "0:00.0"), (6987, "0:06.9"), (-1250, "-0:01.2"), (3_600_000, "1:00:00.0")]
)
def test_moments_have_a_tenth_of_a_second(ms: int, text: str) -> None:
    assert moment_text(ms) == text


class Stored:
    """A reader of two captures of one meeting."""

    def __init__(self, *found: CaptureRow) -> None:
        self.found = found

    async def captures(self, _: list[str]) -> list[CaptureRow]:
        return list(self.found)


async def test_the_fullest_capture_tells_the_meeting() -> None:
    reader: Any = Stored(capture("short", 1), capture("full", 2))
    assert (await fullest_capture(reader, meeting(capture_ids=["short", "full"]))).capture_id == "full"


@pytest.mark.parametrize(
    ("changes", "text", "duration_ms"),
    [
        ({"started_at": BEGAN, "ended_at": BEGAN + timedelta(seconds=7)}, "ended", 7000),
        ({"started_at": BEGAN, "state": "recording"}, "recording", None),
        ({"meeting_id": None, "end_reason": "lobby_denied"}, "ended (lobby denied)", None),
        ({"end_reason": "left_alone"}, "ended", None),
        ({"state": "left", "left_reason": "max_duration"}, "we left (max duration), end unknown", None),
        ({"state": "left"}, "we left, end unknown", None),
    ],
)
def test_a_meeting_has_a_state_and_a_duration(changes: dict[str, Any], text: str, duration_ms: int | None) -> None:
    found = meeting(**changes)
    assert (found.state_text, found.duration_ms) == (text, duration_ms)


async def test_the_capture_that_saw_people_tells_the_meeting_however_long_another_waited() -> None:
    seen = msgspec.structs.replace(capture("full", 2), joined_at=BEGAN, meeting_started_at=BEGAN)
    reader: Any = Stored(capture("short", 900), seen)
    assert (await fullest_capture(reader, meeting(capture_ids=["short", "full"]))).capture_id == "full"


def test_a_message_that_was_taken_back_is_marked() -> None:
    told = sentences(
        row("participant.joined", 0, "a", display_name="Ada"),
        row("participant.joined", 0, "b", display_name="Bob"),
        row("chat.message", 1, "a", text="oops", message_id="m-1", display_name="Ada"),
        row("chat.message", 2, "a", text="fine", message_id="m-2", display_name="Ada"),
        row("chat.message", 3, "a", text="odd", message_id="m-3", display_name="Ada"),
        row("chat.message_retracted", 4, "a", message_id="m-1"),
        row("chat.message_retracted", 5, "b", message_id="m-3"),
    )
    assert told[2:] == [
        "Ada: “oops” (taken back)",
        "Ada: “fine”",
        "Ada: “odd” (taken back by Bob)",
        "Ada took a message back",
        "Bob took a message back",
    ]


def test_breakout_rooms_are_told_by_name() -> None:
    told = sentences(
        row("participant.joined", 0, "a", display_name="Ada"),
        row("breakout.changed", 1, rooms=[{"breakout_id": "b-1", "name": "First"}]),
        row("participant.moved_to_breakout", 2, "a", breakout_id="b-1"),
        row("participant.returned", 62_000, "a", breakout_id="b-1", away_ms=60_000),
        row("breakout.changed", 63_000, rooms=[]),
    )
    assert told[1:] == [
        "breakout rooms: “First”",
        "Ada went to the breakout room First",
        "Ada came back to the main room after 1:00",
        "the breakout rooms were closed",
    ]


async def test_a_failure_that_begins_a_try_to_get_back_is_told_once() -> None:
    failed = row("connection.failed", 100, error="connection.otherError", message="gone")
    again = row("capture.reconnecting", 110, cause="signalling_lost", attempt=1, detail="gone")
    assert [entry.event_type for entry in entries(failed, again)] == ["capture.reconnecting"]
    assert [entry.event_type for entry in entries(failed)] == ["connection.failed"]
