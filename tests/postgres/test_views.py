"""Views for reading, and the queries of docs/queries.md: what they say of a small conference with two witnesses."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meeta_bot.events import (
    CATALOG,
    ORDERLY_ENDS,
    AudioMuted,
    AudioUnmuted,
    CaptureGap,
    CaptureHeartbeat,
    CaptureKicked,
    CaptureReconnecting,
    ChatMessage,
    ConferenceJoined,
    ConferenceLeft,
    DominantSpeakerChanged,
    EndReason,
    Event,
    GapCause,
    HandLowered,
    HandRaised,
    Lost,
    MeetingEnded,
    MeetingStarted,
    ParticipantRenamed,
    RecordingStarted,
    RecordingStopped,
    ScreenShareStarted,
    ScreenShareStopped,
    SealedEvent,
    VideoMuted,
    VideoUnmuted,
)
from meeta_bot.reading import lanes, narration
from tests.postgres.samples import (
    BEGAN_MS,
    MEETING,
    OTHER_MEETING,
    arbitrary_events,
    capture_id,
    ended,
    happening,
    identified,
    joined,
    left,
    seal_all,
    started,
)
from tests.postgres.tables import empty, write
from tests.stack.postgres import fetch

DOCUMENT = Path(__file__).parents[2] / "docs" / "queries.md"
QUERIES = re.findall(r"^## \d+\. (.+?)$.*?^```sql\n(.*?)^```$", DOCUMENT.read_text("utf-8"), re.MULTILINE | re.DOTALL)
VIEWS = ("timeline", "speaking", "states", "counts", "visit_times", "participants")
RELAXED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
SECOND_CAME_MS = 10_000
FIRST, SECOND, THIRD = (capture_id(BEGAN_MS + number) for number in range(3))
HEARTBEAT = CaptureHeartbeat(
    in_conference=True, participants=1, messages=1, events=1, absorbed=0, sampled=0, refused=0, unknown=0
)


def at(ms: int) -> datetime:
    """A moment of the conference."""
    return datetime.fromtimestamp(BEGAN_MS / 1000, UTC) + timedelta(milliseconds=ms)


def speaks(ms: int, endpoint_id: str, **fields: Any) -> Event:
    """The bridge names a dominant speaker."""
    initial = fields.pop("initial", False)
    return happening(DominantSpeakerChanged(**fields), ms, endpoint_id, initial=initial)


def gap(ms: int, from_ms: int, lost: Lost = Lost.EVERYTHING) -> Event:
    """A gap that ends now."""
    cause = GapCause.SIGNALLING_RESUMED
    return happening(CaptureGap(cause=cause, lost=lost, from_at=BEGAN_MS + from_ms, to_at=BEGAN_MS + ms), ms)


def later(events: list[Event], ms: int) -> list[Event]:
    """The same, as a capture that began `ms` after the conference."""
    return [msgspec.structs.replace(event, occurred_at=event.occurred_at + ms) for event in events]


def first_witness() -> list[Event]:
    """There from the beginning, kicked before the end."""
    return [
        started(),
        happening(ConferenceJoined(room="standup"), 10, "bot"),
        identified(20),
        joined(100, "a", "Ada", user_id="u1"),
        happening(MeetingStarted(started_at=BEGAN_MS + 100, basis="first_human_observed"), 100),
        happening(AudioUnmuted(), 110, "a"),
        joined(1000, "b", "Bo", stats_id="browser"),
        happening(AudioMuted(), 1010, "b"),
        speaks(2000, "a"),
        happening(ParticipantRenamed(old_name="Ada", new_name="Ada L"), 6000, "a"),
        speaks(8000, "b"),
        happening(AudioUnmuted(), 9000, "b"),
        happening(AudioMuted(), 12_000, "b"),
        speaks(13_000, "b", silence=True),
        happening(ScreenShareStarted(), 14_000, "a"),
        happening(ChatMessage(text="one"), 15_000, "a"),
        happening(ChatMessage(text="two"), 16_000, "b"),
        happening(HEARTBEAT, 17_000),
        happening(ScreenShareStopped(), 20_000, "a"),
        happening(RecordingStarted(session_id="r1", initiator_endpoint_id="b"), 21_000),
        left(22_000, "b"),
        joined(30_000, "b2", "Bo", stats_id="browser"),
        speaks(31_000, "b2"),
        happening(AudioMuted(), 32_000, "b2"),
        left(33_000, "b2"),
        happening(RecordingStopped(session_id="r1"), 34_000),
        gap(350_000, 340_000),
        gap(360_000, 355_000, Lost.NOTHING),
        joined(400_000, "c", "Cy", kind="phone"),
        speaks(401_000, "c"),
        happening(ScreenShareStarted(), 402_000, "c"),
        happening(CaptureKicked(), 404_000, "bot"),
        ended(405_000, EndReason.KICKED),
    ]


def second_witness() -> list[Event]:
    """Came ten seconds later and stayed until all had gone; milliseconds since its own beginning."""
    story = [
        started(),
        joined(100, "a", "Ada L", user_id="u1", initial=True),
        joined(100, "b", "Bo", stats_id="browser", initial=True),
        happening(AudioUnmuted(), 110, "b", initial=True),
        happening(ConferenceJoined(room="standup"), 200, "bot2"),
        identified(210),
        speaks(300, "b", initial=True),
        happening(AudioMuted(), 2000, "b"),
        speaks(3000, "b", silence=True),
        happening(ScreenShareStarted(), 4000, "a"),
        happening(ChatMessage(text="one"), 5000, "a"),
        happening(ChatMessage(text="two"), 6000, "b"),
        happening(ScreenShareStopped(), 10_000, "a"),
        happening(RecordingStarted(session_id="r1", initiator_endpoint_id="b"), 11_000),
        left(12_000, "b"),
        joined(20_000, "b2", "Bo", stats_id="browser"),
        speaks(21_000, "b2"),
        left(23_000, "b2"),
        happening(RecordingStopped(session_id="r1"), 24_000),
        joined(390_000, "c", "Cy", kind="phone"),
        speaks(391_000, "c"),
        happening(ScreenShareStarted(), 392_000, "c"),
        happening(ChatMessage(text="three"), 396_000, "a"),
        speaks(397_000, "a"),
        happening(ScreenShareStopped(), 399_000, "c"),
        left(400_000, "c"),
        left(401_000, "a"),
        happening(MeetingEnded(ended_at=BEGAN_MS + 411_000, reason="last_left"), 401_000),
        ended(402_000),
    ]
    return later(story, SECOND_CAME_MS)


def other_meeting() -> list[Event]:
    """Had gone on for ten minutes when its only capture came; its recording outlasts the capture."""
    return [
        started("retrospective"),
        joined(100, "d", "Di", initial=True),
        happening(MeetingStarted(started_at=BEGAN_MS - 600_000, basis="created_timestamp"), 100, initial=True),
        happening(ConferenceJoined(room="retrospective"), 200, "bot"),
        identified(300, OTHER_MEETING),
        gap(3000, 1000),
        joined(5000, "e", "Ed"),
        happening(RecordingStarted(session_id="r2", initiator_endpoint_id="e"), 6000),
        happening(ConferenceLeft(), 9000, "bot"),
        ended(10_000, EndReason.OPERATOR),
    ]


@pytest.fixture
async def conference_url(database_url: str) -> str:
    """A database with one meeting that two captures saw and one that a single capture saw."""
    stories = {FIRST: first_witness(), SECOND: second_witness(), THIRD: other_meeting()}
    await write(database_url, *(seal_all(story, name) for name, story in stories.items()))
    return database_url


def query(words: str) -> str:
    """The one documented query whose heading has these words."""
    (found,) = [statement for heading, statement in QUERIES if words in heading]
    return str(found)


async def answers(url: str, words: str) -> list[tuple[Any, ...]]:
    """The rows of a documented query: ids as text, numbers as they print."""
    return [tuple(_plain(value) for value in row.values()) for row in await fetch(url, query(words))]


def _plain(value: Any) -> Any:
    if isinstance(value, bool | int | str | datetime | timedelta | None):
        return value
    text = str(value)
    return float(text) if re.fullmatch(r"\d+\.\d+", text) else text


# --- documented queries -------------------------------------------------------------------------------------------


def test_every_sql_block_is_a_numbered_query() -> None:
    assert len(QUERIES) == DOCUMENT.read_text("utf-8").count("```sql") == 11


@pytest.mark.parametrize(("heading", "statement"), QUERIES, ids=[heading for heading, _ in QUERIES])
async def test_documented_queries_run_and_answer(conference_url: str, heading: str, statement: str) -> None:
    rows = await fetch(conference_url, statement)
    assert rows, f"“{heading}” has no answer, though the conference gives one"


async def test_who_spoke_longest(conference_url: str) -> None:
    # Ada: 2 to 8 s, seen by the first, and 407 to 411 s, seen by the second. Bo: 8 to 13 s, of which the second saw a
    # part, and 31 to 33 s with another endpoint. Cy: 401 s until Ada took over at 407 s; the first was kicked before.
    assert await answers(conference_url, "spoke longest") == [
        (MEETING, "Ada L", 10.0),
        (MEETING, "Bo", 7.0),
        (MEETING, "Cy", 6.0),
    ]


async def test_who_was_muted_while_dominant(conference_url: str) -> None:
    # 8 to 9 s and 12 to 13 s, the latter seen by both; 32 to 33 s after the reconnect.
    assert await answers(conference_url, "muted while dominant") == [(MEETING, "Bo", 3.0)]


async def test_meetings_per_week(database_url: str) -> None:
    moments = ["2026-01-04T23:59:59+00:00", "2026-01-05T00:00:00+00:00", "2026-01-11T12:00:00+00:00", None]
    for number, moment in enumerate(moments):
        story = [started(), identified(1, f"{MEETING[:-1]}{number}")]
        if moment is not None:
            started_at = round(datetime.fromisoformat(moment).timestamp() * 1000)
            story.append(happening(MeetingStarted(started_at=started_at, basis="test"), 2))
        await write(database_url, seal_all([*story, ended(3)]))
    assert await answers(database_url, "per week") == [
        (datetime(2025, 12, 29, tzinfo=UTC), 1),
        (datetime(2026, 1, 5, tzinfo=UTC), 2),
    ]


async def test_who_came_back(conference_url: str) -> None:
    assert await answers(conference_url, "come back") == [(MEETING, "Bo", 1)]


async def test_who_came_late(conference_url: str) -> None:
    # Di was first seen after more than ten minutes too, but had been there before the bot.
    assert await answers(conference_url, "came late") == [
        (MEETING, "Cy", timedelta(milliseconds=399_900)),
        (OTHER_MEETING, "Ed", timedelta(seconds=605)),
    ]


async def test_longest_screen_shares(conference_url: str) -> None:
    assert await answers(conference_url, "screen shares") == [(MEETING, "Cy", 7.0), (MEETING, "Ada L", 6.0)]


async def test_chat_messages(conference_url: str) -> None:
    assert await answers(conference_url, "chat messages") == [(MEETING, "Ada L", 2), (MEETING, "Bo", 1)]


async def test_recordings(conference_url: str) -> None:
    assert await answers(conference_url, "recording run") == [
        (MEETING, at(21_000), "Bo", 13.0, True),
        (OTHER_MEETING, at(6000), "Ed", 4.0, False),
    ]


async def test_blind_moments(conference_url: str) -> None:
    assert await answers(conference_url, "blind") == [
        (OTHER_MEETING, "retrospective", "signalling_resumed", "everything", at(1000), timedelta(seconds=2), 1, False),
        (MEETING, "standup", "signalling_resumed", "everything", at(340_000), timedelta(seconds=10), 1, True),
    ]


async def test_a_gap_is_as_long_as_the_monotonic_clock_says(database_url: str) -> None:
    jumped = CaptureGap(
        cause=GapCause.PUT_OUT,
        lost=Lost.EVERYTHING,
        from_at=BEGAN_MS + 5000,
        to_at=BEGAN_MS + 3_609_000,
        from_ms=5000,
        to_ms=9000,
    )
    await write(database_url, seal_all([started(), identified(1), happening(jumped, 9000), ended(9001)]))
    assert [row[5:7] for row in await answers(database_url, "blind")] == [(timedelta(seconds=4), 0)]


async def test_whose_time_is_not_known_exactly(conference_url: str) -> None:
    # Ada was there all the time, seen by one or the other; nobody saw when Cy, Di and Ed came or went but the second.
    assert await answers(conference_url, "not known exactly") == [
        (OTHER_MEETING, "Di", timedelta(milliseconds=9900), timedelta(seconds=2), False, False),
        (OTHER_MEETING, "Ed", timedelta(seconds=5), timedelta(0), True, False),
    ]


async def test_other_witness_who_was_blind_too_is_none(conference_url: str) -> None:
    there = [started(), happening(ConferenceJoined(room="standup"), 10, "bot2"), identified(20)]
    blind_too = [*there, gap(345_000, 335_000), ended(500_000)]
    await empty(conference_url)
    await write(conference_url, seal_all(first_witness()), seal_all(blind_too))
    assert {row[-1] for row in await answers(conference_url, "blind")} == {False}


async def test_captures_that_need_a_look(database_url: str) -> None:
    for reason in EndReason:
        await write(database_url, seal_all([started(reason), ended(1, reason)]))
    day_ms = 24 * 3600 * 1000
    silent, alive = ([started(room), happening(HEARTBEAT, 1)] for room in ("silent", "alive"))
    await write(database_url, seal_all(later(silent, -day_ms)), seal_all(later(alive, day_ms)))
    reasons = {(room, lost, reason) for _, room, _, lost, reason, _ in await answers(database_url, "need a look")}
    assert reasons == {(reason, False, reason) for reason in EndReason if reason not in ORDERLY_ENDS} | {
        ("silent", True, None)
    }


# --- views --------------------------------------------------------------------------------------------------------


async def test_timeline_tells_names_of_the_moment(conference_url: str) -> None:
    rows = await fetch(
        conference_url,
        "SELECT seq, type, display_name, person FROM meeta.timeline"
        " WHERE capture_id = $1 AND endpoint_id IN ('a', 'bot') ORDER BY seq",
        FIRST,
    )
    assert [tuple(row.values()) for row in rows] == [
        (2, "conference.joined", None, None),
        (4, "participant.joined", "Ada", "user u1"),
        (6, "audio.unmuted", "Ada", "user u1"),
        (9, "dominant_speaker.changed", "Ada", "user u1"),
        (10, "participant.renamed", "Ada L", "user u1"),
        (15, "screen_share.started", "Ada L", "user u1"),
        (16, "chat.message", "Ada L", "user u1"),
        (19, "screen_share.stopped", "Ada L", "user u1"),
        (32, "capture.kicked", None, None),
    ]


async def test_timeline_of_a_meeting_has_each_witness(conference_url: str) -> None:
    rows = await fetch(
        conference_url,
        "SELECT capture_id, count(*) FROM meeta.timeline WHERE meeting_id = $1 GROUP BY capture_id ORDER BY capture_id",
        MEETING,
    )
    # All events but meeting.identified of each and the heartbeat of the first.
    expected = [(FIRST, len(first_witness()) - 2), (SECOND, len(second_witness()) - 1)]
    assert [(str(row["capture_id"]), row["count"]) for row in rows] == expected


async def test_timeline_tells_an_outage_once(database_url: str) -> None:
    tries = [
        happening(CaptureReconnecting(cause=GapCause.PAGE_CRASHED, attempt=number), 10 * number)
        for number in (1, 2, 3, 1)
    ]
    await write(database_url, seal_all([started(), *tries, gap(50, 10), ended(60)]))
    rows = await fetch(database_url, "SELECT seq, type FROM meeta.timeline ORDER BY seq")
    assert [tuple(row.values()) for row in rows] == [
        (1, "capture.started"),
        (2, "capture.reconnecting"),
        (5, "capture.reconnecting"),
        (6, "capture.gap"),
        (7, "capture.ended"),
    ]


async def test_timeline_leaves_out_what_the_command_does(database_url: str) -> None:
    # Only types matter here, so rows do; it should not surprise that `meeta-bot timeline` and the view differ.
    await write(database_url, seal_all([started()], FIRST))
    copy = """
        INSERT INTO meeta.events (capture_id, seq, type, origin, room, occurred_at, monotonic_ms, initial, inferred,
            commitment, digest)
        SELECT capture_id, number + 1, named, origin, room, occurred_at, monotonic_ms, initial, inferred, commitment,
            digest
        FROM meeta.events CROSS JOIN unnest($1::text[]) WITH ORDINALITY AS catalog (named, number)"""
    await fetch(database_url, copy, sorted(CATALOG))
    told = {row["type"] for row in await fetch(database_url, "SELECT type FROM meeta.timeline")}
    assert told == CATALOG.keys() - narration.DETAILS


async def test_speaking_and_its_ends(conference_url: str) -> None:
    rows = await fetch(
        conference_url,
        "SELECT capture_id, seq, endpoint_id, display_name, from_at, to_at, duration_ms, duration_is_lower_bound,"
        " ended_by FROM meeta.speaking ORDER BY capture_id, seq",
    )
    assert [(str(row["capture_id"]), *list(row.values())[1:]) for row in rows] == [
        (FIRST, 9, "a", "Ada L", at(2000), at(8000), 6000, False, "dominant_speaker.changed"),
        (FIRST, 11, "b", "Bo", at(8000), at(13_000), 5000, False, "dominant_speaker.changed"),
        (FIRST, 23, "b2", "Bo", at(31_000), at(33_000), 2000, False, "participant.left"),
        (FIRST, 30, "c", "Cy", at(401_000), at(404_000), 3000, True, "capture.kicked"),
        (SECOND, 7, "b", "Bo", at(10_300), at(13_000), 2700, True, "dominant_speaker.changed"),
        (SECOND, 17, "b2", "Bo", at(31_000), at(33_000), 2000, False, "participant.left"),
        (SECOND, 21, "c", "Cy", at(401_000), at(407_000), 6000, False, "dominant_speaker.changed"),
        (SECOND, 24, "a", "Ada L", at(407_000), at(411_000), 4000, False, "participant.left"),
    ]


async def test_open_intervals_reach_to_the_last_moment_seen(database_url: str) -> None:
    # The bridge names her before presence shows her; somebody else's departure ends nothing of hers.
    story = [started(), speaks(900, "a"), joined(1000, "a", "Ada"), joined(1000, "b", "Bo"), identified(1500)]
    story += [happening(HandRaised(), 2000, "a"), left(3000, "b"), happening(HEARTBEAT, 7000)]
    await write(database_url, seal_all(story))
    facts = "person, display_name, duration_ms, to_at, duration_is_lower_bound, ended_by, to_ms - from_ms"
    for view, duration_ms in (("speaking", 6100), ("states", 5000)):
        rows = await fetch(database_url, f"SELECT {facts} FROM meeta.{view}")  # noqa: S608 - names from above
        assert [tuple(row.values()) for row in rows] == [
            ("endpoint a", "Ada", duration_ms, at(7000), True, None, duration_ms)
        ]


async def test_intervals_go_on_over_a_gap_and_say_what_of_them_was_not_seen(database_url: str) -> None:
    left_by_itself = happening(ConferenceLeft(), 10_000, "bot")
    story = [
        started(),
        happening(ConferenceJoined(room="standup"), 10, "bot"),
        *(joined(100, who) for who in "abc"),
        *(happening(AudioUnmuted(), 1000, who) for who in "abc"),
        speaks(2000, "a"),
        gap(9000, 6000, Lost.BRIDGE_ONLY),
        left_by_itself,
        gap(14_000, 10_000),
        joined(14_000, "d", inferred=True),
        happening(AudioUnmuted(), 14_000, "d", inferred=True),
        happening(AudioMuted(), 14_000, "c", inferred=True),
        happening(ConferenceJoined(room="standup"), 14_100, "bot2"),
        left(10_000, "b", inferred=True),
        speaks(20_000, "d"),
        happening(AudioMuted(), 21_000, "a"),
        ended(30_000),
    ]
    await write(database_url, seal_all(story))
    facts = "endpoint_id, duration_ms, unseen_ms, duration_is_lower_bound, ended_by"
    rows = await fetch(database_url, f"SELECT {facts} FROM meeta.states WHERE type = 'audio.unmuted' ORDER BY seq")  # noqa: S608
    assert [tuple(row.values()) for row in rows] == [
        ("a", 20_000, 4000, False, "audio.muted"),
        ("b", 9000, 0, True, "participant.left"),
        ("c", 13_000, 4000, False, "audio.muted"),
        ("d", 16_000, 0, True, "capture.ended"),
    ]
    rows = await fetch(database_url, f"SELECT {facts} FROM meeta.speaking ORDER BY seq")  # noqa: S608
    assert [tuple(row.values()) for row in rows] == [
        ("a", 18_000, 7000, False, "dominant_speaker.changed"),
        ("d", 10_000, 0, True, "capture.ended"),
    ]


async def test_states_and_their_ends(conference_url: str) -> None:
    rows = await fetch(
        conference_url,
        "SELECT type, endpoint_id, duration_ms, duration_is_lower_bound, ended_by FROM meeta.states"
        " WHERE capture_id = $1 ORDER BY seq",
        FIRST,
    )
    assert [tuple(row.values()) for row in rows] == [
        ("audio.unmuted", "a", 403_890, True, "capture.kicked"),
        ("audio.muted", "b", 7990, False, "audio.unmuted"),
        ("audio.unmuted", "b", 3000, False, "audio.muted"),
        ("audio.muted", "b", 10_000, False, "participant.left"),
        ("screen_share.started", "a", 6000, False, "screen_share.stopped"),
        ("audio.muted", "b2", 1000, False, "participant.left"),
        ("screen_share.started", "c", 2000, True, "capture.kicked"),
    ]


async def test_counts(conference_url: str) -> None:
    rows = await fetch(
        conference_url,
        "SELECT capture_id, events FROM meeta.counts WHERE meeting_id = $1 AND type = 'chat.message' ORDER BY 1",
        MEETING,
    )
    assert [(str(row["capture_id"]), row["events"]) for row in rows] == [(FIRST, 2), (SECOND, 3)]
    total = await fetch(conference_url, "SELECT sum(events)::integer AS total FROM meeta.counts")
    assert total[0]["total"] == len(first_witness()) + len(second_witness()) + len(other_meeting())


_CHANGES = st.sampled_from(
    [
        DominantSpeakerChanged(),
        DominantSpeakerChanged(silence=True),
        AudioMuted(),
        AudioUnmuted(),
        VideoMuted(),
        VideoUnmuted(),
        ScreenShareStarted(),
        ScreenShareStopped(),
        HandRaised(),
        HandLowered(),
        None,  # leaves and comes back at once
    ]
)
_TRACKS = {
    "audio.unmuted": "audio",
    "video.unmuted": "video",
    "screen_share.started": "sharing",
    "hand.raised": "hand",
}


@settings(max_examples=20, suppress_health_check=RELAXED)
@given(changes=st.lists(st.tuples(_CHANGES, st.sampled_from("abc"), st.integers(0, 5000)), max_size=40))
async def test_intervals_agree_with_the_lanes(database_url: str, changes: list[tuple[Any, str, int]]) -> None:
    # lanes.py finds the same intervals by another way: one pass in Python.
    await empty(database_url)
    story, now_ms = [started(), *(joined(10, who) for who in "abc")], 10
    for payload, who, pause_ms in changes:
        now_ms += pause_ms
        story += [left(now_ms, who), joined(now_ms, who)] if payload is None else [happening(payload, now_ms, who)]
    sealed = seal_all([*story, ended(now_ms + 10)])
    await write(database_url, sealed)
    found: dict[tuple[str, str], int] = defaultdict(int)
    for row in await fetch(database_url, "SELECT endpoint_id, duration_ms FROM meeta.speaking"):
        found[row["endpoint_id"], "speaking"] += row["duration_ms"]
    for row in await fetch(database_url, "SELECT endpoint_id, type, duration_ms FROM meeta.states"):
        if row["type"] in _TRACKS:
            found[row["endpoint_id"], _TRACKS[row["type"]]] += row["duration_ms"]
    builder = lanes.LaneBuilder()
    for event in sealed:
        builder.feed(_Stored(event))
    expected = {
        (lane.endpoint_id, track): lanes.total_ms(getattr(lane, track))
        for lane in builder.finish()
        for track in (*_TRACKS.values(), "speaking")
    }
    assert {key: value for key, value in found.items() if value} == {
        key: value for key, value in expected.items() if value
    }


class _Stored:
    """A sealed event as lanes read it."""

    def __init__(self, event: SealedEvent) -> None:
        self.type = event.type
        self.endpoint_id = event.endpoint_id
        self.monotonic_ms = event.monotonic_ms
        self.payload: dict[str, Any] | None = json.loads(event.payload)


@settings(max_examples=10, suppress_health_check=RELAXED)
@given(stories=st.lists(st.lists(arbitrary_events(), min_size=1, max_size=15), min_size=1, max_size=3))
async def test_no_event_breaks_a_view_or_a_query(database_url: str, stories: list[list[Event]]) -> None:
    await empty(database_url)
    await write(database_url, *(seal_all(story) for story in stories))
    stored = (await fetch(database_url, "SELECT count(*) FROM meeta.events"))[0]["count"]
    counted = await fetch(database_url, "SELECT coalesce(sum(events), 0)::bigint AS count FROM meeta.counts")
    assert counted[0]["count"] == stored
    for statement in [f"SELECT * FROM meeta.{view}" for view in VIEWS] + [one for _, one in QUERIES]:  # noqa: S608
        await fetch(database_url, statement)


# --- the schema ---------------------------------------------------------------------------------------------------


async def test_every_table_view_and_column_has_a_comment(database_url: str) -> None:
    rows = await fetch(
        database_url,
        "SELECT relname, attname, obj_description(pg_class.oid, 'pg_class') AS about,"
        " col_description(pg_class.oid, attnum) AS meaning"
        " FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped"
        " WHERE relnamespace = 'meeta'::regnamespace AND relkind IN ('r', 'p', 'v', 'm') AND NOT relispartition",
    )
    assert {row["relname"] for row in rows} >= {*VIEWS, "events", "captures", "meetings", "visits", "gaps"}
    assert [(row["relname"], row["attname"]) for row in rows if not (row["about"] and row["meaning"])] == []


# Four hundred captures in four months, two a meeting: enough that the planner has something to gain from an index.
_MANY = """
    WITH capture AS (
        SELECT meeta.first_capture_id(timestamptz '2026-01-02 00:00:00+00' + make_interval(months => number % 4,
                secs => number)) AS capture_id, number
        FROM generate_series(1, 400) AS number
    ), known AS (
        INSERT INTO meeta.captures (capture_id, meeting_id, last_seq, last_at, last_monotonic_ms, head_digest,
            event_count)
        SELECT capture_id, md5((number % 200)::text)::uuid, 50, now(), 50, '', 50 FROM capture
    )
    INSERT INTO meeta.events (capture_id, seq, type, origin, room, endpoint_id, occurred_at, monotonic_ms, initial,
        inferred, payload, commitment, digest)
    SELECT capture_id, seq,
        (ARRAY['participant.joined', 'dominant_speaker.changed', 'audio.muted', 'chat.message'])[seq % 4 + 1],
        'test', 'main', 'endpoint' || seq % 20, now(), seq, false, false, '{}', '', ''
    FROM capture CROSS JOIN generate_series(1, 50) AS seq"""


@pytest.mark.parametrize("has_statistics", [False, True], ids=["new", "analyzed"])
async def test_a_condition_reads_its_own_partitions_only(own_database_url: str, has_statistics: bool) -> None:
    connection = await asyncpg.connect(own_database_url)
    try:
        await connection.execute("SELECT meeta.ensure_partitions('2026-01-01 00:00:00+00', 4)")
        await connection.execute(_MANY)
        if has_statistics:
            await connection.execute("ANALYZE")
        newest = await connection.fetchval("SELECT capture_id FROM meeta.captures ORDER BY capture_id DESC LIMIT 1")
        for view in ("timeline", "speaking", "states", "counts"):
            of = f"SELECT * FROM meeta.{view} WHERE"  # noqa: S608 - names from above
            of_all = await _partitions_read(connection, f"{of} true")
            assert of_all >= {f"events_2026_0{month}" for month in (1, 2, 3, 4)}
            assert await _partitions_read(connection, f"{of} meeting_id = md5('2')::uuid") == {"events_2026_03"}
            assert await _partitions_read(connection, f"{of} capture_id = '{newest}'") == {"events_2026_04"}
    finally:
        await connection.close()


# One capture in a month of its own: whatever is looked for among its events seems close to planners.
_LONG = """
    WITH known AS (
        INSERT INTO meeta.captures (capture_id, last_seq, last_at, last_monotonic_ms, head_digest, event_count)
        SELECT meeta.first_capture_id(timestamptz '2026-01-02 00:00:00+00'), 2000, now(), 2000, '', 2000
    )
    INSERT INTO meeta.events (capture_id, seq, type, origin, room, endpoint_id, occurred_at, monotonic_ms, initial,
        inferred, payload, commitment, digest)
    SELECT meeta.first_capture_id(timestamptz '2026-01-02 00:00:00+00'), seq,
        CASE WHEN seq <= 20 THEN 'participant.joined' ELSE 'audio.muted' END,
        'test', 'main', 'endpoint' || seq % 20, now(), seq, false, false,
        jsonb_build_object('display_name', 'Person ' || seq), '', ''
    FROM generate_series(1, 2000) AS seq"""


@pytest.mark.parametrize("has_statistics", [False, True], ids=["new", "analyzed"])
async def test_names_in_a_timeline_are_looked_up_not_searched(own_database_url: str, has_statistics: bool) -> None:
    connection = await asyncpg.connect(own_database_url)
    try:
        await connection.execute("SELECT meeta.ensure_partitions('2026-01-01 00:00:00+00', 4)")
        await connection.execute(_LONG)
        await connection.execute("VACUUM (ANALYZE)" if has_statistics else "VACUUM")
        named = "SELECT count(*) FROM meeta.timeline WHERE display_name = 'Person ' || (seq - 1) % 20 + 1"
        assert await connection.fetchval(named) == 2000
        text = await connection.fetchval("EXPLAIN (ANALYZE, FORMAT JSON) SELECT display_name FROM meeta.timeline")
        # Each event itself, and some of twenty arrivals for it; going through the events would meet a thousand.
        assert _rows_looked_at(json.loads(text)[0]["Plan"]) < 2000 * 100
    finally:
        await connection.close()


def _rows_looked_at(plan: dict[str, Any]) -> float:
    """Events that a plan took or passed over."""
    seen = 0.0
    if str(plan.get("Relation Name", "")).startswith("events_"):
        removed = plan.get("Rows Removed by Filter", 0) + plan.get("Rows Removed by Index Recheck", 0)
        seen = (plan["Actual Rows"] + removed) * plan["Actual Loops"]
    return seen + sum(_rows_looked_at(part) for part in plan.get("Plans", []))


async def _partitions_read(connection: asyncpg.Connection[Any], statement: str) -> set[str]:
    text = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}")
    return _partitions_in(json.loads(text)[0]["Plan"])


def _partitions_in(plan: dict[str, Any]) -> set[str]:
    """Partitions of meeta.events that a plan really read; what was pruned while it ran has no loops."""
    name = str(plan.get("Relation Name", ""))
    read = {name} if name.startswith("events_") and plan["Actual Loops"] else set()
    return read.union(*(_partitions_in(part) for part in plan.get("Plans", [])))
