"""Derived tables: what they say, and that batches, interleaving and rebuilding can't change it."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meeta_bot import settings as bot_settings
from meeta_bot.database import migrations
from meeta_bot.events import (
    CaptureGap,
    CaptureHeartbeat,
    CaptureHookInstalled,
    ConferenceJoined,
    ConferenceSubjectChanged,
    EndReason,
    Event,
    GapCause,
    LeftCause,
    Lost,
    MeetingBasis,
    MeetingEnded,
    MeetingStarted,
    ParticipantLeft,
    ParticipantRenamed,
    ParticipantRoleChanged,
    SealedEvent,
)
from tests.postgres.samples import (
    BEGAN_MS,
    MEETING,
    OTHER_MEETING,
    arbitrary_events,
    ended,
    happening,
    identified,
    joined,
    left,
    seal_all,
    started,
)
from tests.postgres.tables import derived, empty, write
from tests.stack.postgres import fetch

RELAXED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
VISITS = "SELECT * FROM meeta.visits ORDER BY capture_id, joined_seq"


def long_story(offset: int, meeting: str = MEETING) -> list[Event]:
    """A capture in which everything happens that projections know, some of it oddly."""
    heartbeat = CaptureHeartbeat(
        in_conference=True, participants=1, messages=1, events=1, absorbed=0, sampled=0, refused=0, unknown=0
    )
    return [
        started(),
        happening(CaptureHookInstalled(page_load="1", library_version="1.0"), 10),
        happening(ConferenceJoined(room="standup"), 20 + offset, "bot"),
        left(30, "ghost"),
        joined(40, "a", "Ada", role="moderator", initial=True, user_id="u1"),
        joined(50 + offset, "b", "Bo", kind="phone", role="moderator"),
        identified(60, OTHER_MEETING, MeetingBasis.CREATED_TIMESTAMP),
        happening(MeetingStarted(started_at=BEGAN_MS + 40 - offset, basis="seen"), 60),
        happening(ParticipantRenamed(old_name="Ada", new_name="Ada L"), 70, "a"),
        joined(80, "c", "Cy"),
        joined(90, "c", "Cy again", inferred=True),
        happening(ParticipantRoleChanged(role="moderator"), 95, "c"),
        happening(heartbeat, 100 + offset),
        left(110, "a"),
        happening(ParticipantRenamed(old_name="Ada L", new_name="after she left"), 115, "a"),
        left(116, "a"),
        happening(ConferenceSubjectChanged(subject=f"Plans {offset}"), 120),
        happening(CaptureGap(cause=GapCause.PUT_OUT, lost=Lost.EVERYTHING, from_at=1, to_at=2, missed=3), 130),
        identified(140, meeting),
        joined(150, "a", "Ada", room="breakout"),
        happening(CaptureHookInstalled(page_load="2", library_version="2.0"), 160),
        left(170 + offset, "c"),
        happening(MeetingEnded(ended_at=BEGAN_MS + 180 + offset, reason="left_alone"), 180),
        ended(190 + offset),
    ]


def interleaved(captures: list[list[SealedEvent]], choice: random.Random) -> list[list[SealedEvent]]:
    """All events in batches of random size, in order within each capture, captures mixed."""
    waiting = [list(capture) for capture in captures]
    mixed = []
    while any(waiting):
        source = choice.choice([capture for capture in waiting if capture])
        mixed.append(source.pop(0))
    batches = []
    while mixed:
        size = choice.randint(1, 9)
        batches.append(mixed[:size])
        mixed = mixed[size:]
    return batches


async def rebuilt(url: str) -> dict[str, list[dict[str, Any]]]:
    """Every derived table after a rebuild."""
    await migrations.rebuild(url, bot_settings.load())
    return await derived(url)


async def test_what_a_capture_says_of_itself(database_url: str) -> None:
    batch = seal_all(long_story(0))
    await write(database_url, batch)
    capture = (await fetch(database_url, "SELECT * FROM meeta.captures"))[0]
    told = {name: capture[name] for name in ("room", "library_version", "endpoint_id", "end_reason", "subject")}
    assert told == {
        "room": "standup",
        "library_version": "2.0",
        "endpoint_id": "bot",
        "end_reason": "left_alone",
        "subject": "Plans 0",
    }
    assert (str(capture["meeting_id"]), capture["meeting_basis"]) == (MEETING, "server_id")
    assert (capture["host_endpoint_id"], capture["host_name"]) == ("a", "Ada L")
    assert (capture["last_seq"], capture["event_count"]) == (len(batch), len(batch))
    assert capture["head_digest"] == batch[-1].digest
    moments = ("started_at", "joined_at", "heartbeat_at", "meeting_started_at", "meeting_ended_at", "ended_at")
    assert [round(capture[name].timestamp() * 1000) - BEGAN_MS for name in moments] == [0, 20, 100, 40, 180, 190]


async def test_visits(database_url: str) -> None:
    await write(database_url, seal_all(long_story(0)))
    rows = await fetch(database_url, VISITS)
    names = ("joined_seq", "endpoint_id", "display_name", "role", "left_seq", "left_cause", "duration_ms")
    assert [tuple(row[name] for name in names) for row in rows] == [
        (4, "ghost", None, None, 4, "left", None),
        (5, "a", "Ada L", "moderator", 14, "left", 70),
        (6, "b", "Bo", "moderator", None, None, None),
        (10, "c", "Cy", None, 11, "unseen", 10),
        (11, "c", "Cy again", "moderator", 22, "left", 80),
        (16, "a", None, None, 16, "left", None),
        (20, "a", "Ada", None, None, None, None),
    ]
    assert [(row["joined_at"] is None, row["initial"], row["inferred"]) for row in rows] == [
        (True, False, False),
        (False, True, False),
        (False, False, False),
        (False, False, False),
        (False, False, True),
        (True, False, False),
        (False, False, False),
    ]


async def test_open_visits_are_closed_in_the_view_only(database_url: str) -> None:
    await write(database_url, seal_all([started(), joined(1000, "a"), joined(2000, "b"), left(5000, "b"), ended(9000)]))
    rows = await fetch(
        database_url,
        "SELECT endpoint_id, duration_ms, duration_is_lower_bound, present FROM meeta.visit_times ORDER BY joined_seq",
    )
    assert [tuple(row.values()) for row in rows] == [("a", 8000, True, False), ("b", 3000, False, False)]
    assert [row["left_at"] is None for row in await fetch(database_url, VISITS)] == [True, False]


async def test_gap_rows(database_url: str) -> None:
    odd = CaptureGap(cause=GapCause.SPOOL_FULL, lost=Lost.BRIDGE_ONLY, from_at=2**62, to_at=BEGAN_MS, missed=-(2**70))
    await write(database_url, seal_all([started(), happening(odd, 1)]))
    gap = (await fetch(database_url, "SELECT * FROM meeta.gaps"))[0]
    assert (gap["seq"], gap["cause"], gap["lost"], gap["from_at"]) == (2, "spool_full", "bridge_only", None)
    assert gap["to_at"].timestamp() * 1000 == BEGAN_MS
    assert (gap["from_ms"], gap["to_ms"]) == (None, None)


async def test_gaps_have_both_clocks(database_url: str) -> None:
    late = CaptureGap(cause=GapCause.LATE_JOIN, lost=Lost.EVERYTHING, from_at=0, to_at=1, from_ms=-600_000, to_ms=5)
    await write(database_url, seal_all([started(), happening(late, 5)]))
    tables = await derived(database_url)
    assert [(row["from_ms"], row["to_ms"]) for row in tables["gaps"]] == [(-600_000, 5)]
    assert await rebuilt(database_url) == tables


async def test_meeting_of_two_witnesses(database_url: str) -> None:
    first, second = seal_all(long_story(0)), seal_all(long_story(7))
    await write(database_url, first, second)
    meetings = await fetch(database_url, "SELECT * FROM meeta.meetings")
    assert [(str(row["meeting_id"]), row["capture_count"]) for row in meetings] == [(MEETING, 2)]
    spans = [round(meetings[0][name].timestamp() * 1000) - BEGAN_MS for name in ("started_at", "ended_at")]
    assert spans == [33, 187]


async def test_late_meeting_id_moves_the_capture_and_leaves_no_empty_meeting(database_url: str) -> None:
    batch = seal_all([started(), identified(1, OTHER_MEETING), identified(2, MEETING), identified(3, "no uuid")])
    seen = []
    for event in batch:
        await write(database_url, [event])
        seen.append([str(row["meeting_id"]) for row in await fetch(database_url, "SELECT * FROM meeta.meetings")])
    assert seen == [[], [OTHER_MEETING], [MEETING], []]


async def test_meeting_that_goes_on_has_no_end(database_url: str) -> None:
    begun, over = MeetingStarted(started_at=BEGAN_MS, basis="seen"), MeetingEnded(ended_at=BEGAN_MS, reason="x")
    told = [started(), identified(1), happening(begun, 2), happening(over, 3), happening(begun, 4)]
    await write(database_url, seal_all(told))
    assert (await fetch(database_url, "SELECT ended_at FROM meeta.meetings"))[0]["ended_at"] is None


@pytest.mark.parametrize("number", range(3))
async def test_rebuild_equals_increments(database_url: str, seed: int, number: int) -> None:
    choice = random.Random(seed + number)
    captures = [seal_all(long_story(offset)) for offset in (0, 7)]
    captures.append(seal_all(long_story(3, meeting=OTHER_MEETING)))
    await write(database_url, *interleaved(captures, choice))
    tables = await derived(database_url)
    assert {name: len(rows) for name, rows in tables.items()} == {
        "captures": 3,
        "meetings": 2,
        "visits": 21,
        "gaps": 3,
    }
    assert await rebuilt(database_url) == tables


async def test_rebuild_in_small_chunks_and_in_one_batch_agree(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await write(database_url, seal_all(long_story(0)) + seal_all(long_story(7)))
    tables = await derived(database_url)
    monkeypatch.setattr(migrations, "REBUILD_CHUNK", 2)
    assert await rebuilt(database_url) == tables


@settings(max_examples=15, suppress_health_check=RELAXED)
@given(
    stories=st.lists(st.lists(arbitrary_events(), min_size=1, max_size=15), min_size=1, max_size=3),
    seed=st.integers(0, 2**32),
)
async def test_no_event_breaks_projections_and_rebuild_is_identical(
    database_url: str, stories: list[list[Event]], seed: int
) -> None:
    await empty(database_url)
    captures = [seal_all(story) for story in stories]
    deliveries = await write(database_url, *interleaved(captures, random.Random(seed)))
    assert sum(one.stored + one.quarantined for one in deliveries) == sum(len(story) for story in stories)
    # Only an envelope that no column can hold may be refused; payloads never are.
    reasons = await fetch(database_url, "SELECT DISTINCT reason FROM meeta.quarantine")
    assert [row for row in reasons if "outside the years" not in row["reason"] and "64 bits" not in row["reason"]] == []
    tables = await derived(database_url)
    assert await rebuilt(database_url) == tables
    await fetch(database_url, "SELECT * FROM meeta.participants")
    await fetch(database_url, "SELECT * FROM meeta.visit_times")


COMPUTED_VISITS = """
    WITH seen AS (SELECT DISTINCT capture_id, endpoint_id FROM meeta.events WHERE endpoint_id IS NOT NULL)
    SELECT visit.* FROM meeta.visits_of(
        ARRAY(SELECT capture_id FROM seen ORDER BY capture_id, endpoint_id),
        ARRAY(SELECT endpoint_id FROM seen ORDER BY capture_id, endpoint_id)) AS visit
    ORDER BY capture_id, joined_seq
"""


@settings(max_examples=25, suppress_health_check=RELAXED)
@given(
    stories=st.lists(st.lists(arbitrary_events(), min_size=1, max_size=15), min_size=1, max_size=3),
    orderly=st.booleans(),
    seed=st.integers(0, 2**32),
)
async def test_visits_are_the_same_in_whatever_order_events_come(
    database_url: str, stories: list[list[Event]], orderly: bool, seed: int
) -> None:
    await empty(database_url)
    chance = random.Random(seed)
    batches = interleaved([seal_all(story) for story in [*stories, long_story(0)]], chance)
    if not orderly:
        chance.shuffle(batches)
    await write(database_url, *batches)
    visits = await fetch(database_url, VISITS)
    assert visits == await fetch(database_url, COMPUTED_VISITS)
    assert (await rebuilt(database_url))["visits"] == visits


async def test_an_event_behind_all_others_needs_none_of_them(database_url: str) -> None:
    batch = seal_all([started(), joined(1, "a", "Ada", role="moderator"), joined(2, "b"), left(9, "a")])
    await write(database_url, batch[:3])
    await fetch(database_url, "DELETE FROM meeta.events WHERE seq < 4")
    await write(database_url, batch[3:])
    rows = await fetch(database_url, VISITS)
    told = [(row["joined_seq"], row["display_name"], row["role"], row["left_seq"], row["duration_ms"]) for row in rows]
    assert told == [(2, "Ada", "moderator", 4, 8), (3, None, None, None, None)]


async def test_after_a_hole_visits_are_computed_from_all_events(database_url: str) -> None:
    batch = seal_all([started(), joined(1, "a", "Ada"), joined(2, "a", "Ada again"), left(3, "a"), ended(4)])
    for event in (batch[0], batch[1], batch[3], batch[4], batch[2]):
        await write(database_url, [event])
        assert await fetch(database_url, VISITS) == await fetch(database_url, COMPUTED_VISITS)


async def test_placeholders_count_and_open_visits_without_names(database_url: str) -> None:
    batch = seal_all([started(), joined(1, "a", "Ada"), identified(2), left(3, "a"), ended(4)])
    poisoned = [msgspec.structs.replace(event, payload='"\\u0000"') for event in batch]
    await write(database_url, poisoned)
    tables = await derived(database_url)
    assert tables["captures"][0]["event_count"] == 5
    assert (tables["captures"][0]["meeting_id"], tables["captures"][0]["end_reason"]) == (None, None)
    assert tables["captures"][0]["ended_at"] is not None
    assert [(row["display_name"], row["duration_ms"]) for row in tables["visits"]] == [(None, 2)]
    assert await rebuilt(database_url) == tables


async def test_many_writers_of_one_meeting(database_url: str) -> None:
    captures = [
        seal_all([started(), identified(1, OTHER_MEETING), joined(2, "a"), identified(3, MEETING), ended(4 + n)])
        for n in range(6)
    ]

    async def write_slowly(capture: list[SealedEvent]) -> None:
        await write(database_url, *([event] for event in capture))

    await asyncio.gather(*(write_slowly(capture) for capture in captures))
    tables = await derived(database_url)
    assert [(str(row["meeting_id"]), row["capture_count"]) for row in tables["meetings"]] == [(MEETING, 6)]
    assert await rebuilt(database_url) == tables


async def test_rebuild_while_writers_write(database_url: str) -> None:
    captures = [seal_all(long_story(n)) for n in range(4)]

    async def write_slowly(capture: list[SealedEvent]) -> None:
        await write(database_url, *(capture[start : start + 3] for start in range(0, len(capture), 3)))

    await asyncio.gather(rebuilt(database_url), *(write_slowly(capture) for capture in captures))
    tables = await derived(database_url)
    assert [row["event_count"] for row in tables["captures"]] == [len(captures[0])] * 4
    assert await rebuilt(database_url) == tables


PEOPLE = (
    "SELECT display_name, visits, duration_ms, duration_is_lower_bound, present FROM meeta.participants"
    " ORDER BY display_name"
)


async def test_person_with_several_visits_and_two_tabs(database_url: str) -> None:
    story = [
        started(),
        joined(1000, "tab", "Ada", user_id="u1", stats_id="firefox"),
        joined(2000, "another-tab", "Ada L", user_id="u1", stats_id="firefox"),
        left(4000, "tab"),
        left(5000, "another-tab"),
        joined(8000, "phone", "Ada", user_id="u1", stats_id="chrome"),
        left(9000, "phone"),
        joined(1500, "x1", "Bo", stats_id="browser"),
        left(2500, "x1"),
        joined(3500, "x2", "Bo", stats_id="browser"),
        joined(6000, "y", "Cy"),
    ]
    await write(database_url, seal_all(story))
    assert [tuple(row.values()) for row in await fetch(database_url, PEOPLE)] == [
        ("Ada", 3, 5000, False, False),
        ("Bo", 2, 1000 + 2500, True, True),
        ("Cy", 1, 0, True, True),
    ]


KNOWN = "SELECT display_name, known_by, visits FROM meeta.participants ORDER BY first_joined_at"


def token(ms: int, endpoint_id: str, name: str | None, stats_id: str | None = None, **envelope: Any) -> Event:
    """Somebody arrives with the token of all."""
    return joined(ms, endpoint_id, name, user_id="shared", stats_id=stats_id, **envelope)


def lost(ms: int, endpoint_id: str, last_heard_ms: int) -> Event:
    """The server gives somebody's connection up."""
    return happening(ParticipantLeft(cause=LeftCause.LOST, last_heard_at=BEGAN_MS + last_heard_ms), ms, endpoint_id)


@pytest.mark.parametrize(
    ("story", "people"),
    [
        pytest.param(
            [token(1000, "a", "Ada", "b1"), token(2000, "b", "Bo", "b2"), token(3000, "c", "Cy", "b3")],
            [("Ada", "browser and name", 1), ("Bo", "browser and name", 1), ("Cy", "browser and name", 1)],
            id="one-token-three-people",
        ),
        pytest.param(
            [token(1000, "a", "Ada"), token(2000, "b", "Bo"), left(3000, "a"), left(3000, "b")],
            [("Ada", "endpoint", 1), ("Bo", "endpoint", 1)],
            id="no-browser-known-but-names",
        ),
        pytest.param(
            [token(1000, "a", "Guest", "b1"), token(2000, "b", "Guest", "b2")],
            [("Guest", "browser and name", 1), ("Guest", "browser and name", 1)],
            id="one-name-two-browsers",
        ),
        pytest.param(
            [
                *(token(1000, "a", "Ada", "b1"), token(2000, "b", "Bo", "b2"), left(3000, "a"), left(3500, "b")),
                *(token(4000, "a2", "Ada", "b1"), left(5000, "a2"), token(6000, "b3", "Bo", "b2")),
            ],
            [("Ada", "browser and name", 2), ("Bo", "browser and name", 2)],
            id="both-come-back-one-by-one",
        ),
        pytest.param(
            [token(1000, "a", "Ada", "b1"), left(2000, "a"), token(2000, "b", "Ada", "b2")],
            [("Ada", "user id", 2)],
            id="from-laptop-to-phone",
        ),
        pytest.param(
            [token(1000, "a", "Ada", "b1"), token(60_000, "b", "Ada", "b2"), lost(62_000, "a", 1500)],
            [("Ada", "user id", 2)],
            id="a-ghost-stayed-while-she-came-back",
        ),
        pytest.param(
            [token(1000, "a", "Ada", "b1"), token(60_000, "b", "Ada", "b2"), lost(99_000, "a", 70_000)],
            [("Ada", "browser and name", 1), ("Ada", "browser and name", 1)],
            id="heard-of-while-the-other-was-there",
        ),
        pytest.param(
            [
                *(token(1000, "a", "Ada", "b1"), token(9000, "b", "Ada", "b2")),
                happening(ParticipantLeft(cause=LeftCause.UNSEEN), 5000, "a", inferred=True),
            ],
            [("Ada", "user id", 2)],
            id="gone-in-a-gap-before",
        ),
        pytest.param(
            [token(1000, "a", "Ada", "b1"), token(2000, "a", "Ada", "b1"), left(3000, "a")],
            [("Ada", "user id", 2)],
            id="an-endpoint-that-arrived-twice",
        ),
        pytest.param(
            [
                *(token(0, "a", "Ada", "b1", initial=True), token(0, "b", "Bo", "b2", initial=True)),
                *(joined(10, "c", "Cy", user_id="own", stats_id="b3"), left(20, "c")),
                joined(30, "d", "Cy", user_id="own", stats_id="b4"),
            ],
            [("Ada", "browser and name", 1), ("Bo", "browser and name", 1), ("Cy", "user id", 2)],
            id="there-before-the-bot-and-somebody-of-their-own",
        ),
    ],
)
async def test_people_at_once_in_different_browsers_are_different_people(
    database_url: str, story: list[Event], people: list[tuple[str, str, int]]
) -> None:
    await write(database_url, seal_all([started(), identified(0), *story]))
    # Another witness, who saw each of them alone, knows no better.
    await write(database_url, seal_all([started(), identified(0), ended(1)]))
    assert [tuple(row.values()) for row in await fetch(database_url, KNOWN)] == people


async def test_what_one_witness_saw_tells_people_apart_for_all(database_url: str) -> None:
    both = [started(), identified(0), token(1000, "a", "Ada", "b1"), token(1000, "b", "Bo", "b2"), ended(9000)]
    alone = [started(), identified(0), token(1000, "a", "Ada", "b1"), left(2000, "a"), ended(9000)]
    await write(database_url, seal_all(both), seal_all(alone))
    assert [tuple(row.values()) for row in await fetch(database_url, KNOWN)] == [
        ("Ada", "browser and name", 1),
        ("Bo", "browser and name", 1),
    ]


async def test_two_witnesses_do_not_double_a_persons_time(database_url: str) -> None:
    whole = [started(), identified(1), joined(1000, "a", "Ada"), left(9000, "a"), joined(2000, "b", "Bo")]
    late = [started(), identified(1), joined(5000, "a", "Ada", initial=True), left(9000, "a")]
    late += [joined(5000, "b", "Bo", initial=True), left(10_000, "b")]
    await write(database_url, seal_all([*whole, ended(6000, EndReason.PROCESS_KILLED)]), seal_all(late))
    assert [tuple(row.values()) for row in await fetch(database_url, PEOPLE)] == [
        ("Ada", 1, 8000, False, False),
        ("Bo", 1, 8000, False, False),
    ]


# --- what nobody saw ----------------------------------------------------------------------------------------------


def blind(begin_ms: int, end_ms: int, lost: Lost = Lost.EVERYTHING, *, is_old: bool = False) -> Event:
    """A gap; an older recorder told its bounds by the wall clock only."""
    bounds: dict[str, Any] = {} if is_old else {"from_ms": begin_ms, "to_ms": end_ms}
    payload = CaptureGap(
        cause=GapCause.PUT_OUT, lost=lost, from_at=BEGAN_MS + begin_ms, to_at=BEGAN_MS + end_ms, **bounds
    )
    return happening(payload, end_ms)


def outage(*, is_old: bool = False) -> list[Event]:
    """Four seconds in which nothing was seen: a stays, b leaves, c comes; then it is blind once more, in part."""
    return [
        started(),
        identified(1),
        joined(1000, "a", "Ada"),
        joined(1000, "b", "Bo"),
        blind(5000, 9000, is_old=is_old),
        joined(9000, "c", "Cy", inferred=True),
        happening(ParticipantLeft(cause=LeftCause.UNSEEN), 5000, "b", inferred=True),
        blind(8000, 10_000, is_old=is_old),
        blind(10_000, 11_000, Lost.BRIDGE_ONLY, is_old=is_old),
        blind(10_000, 11_000, Lost.NOTHING, is_old=is_old),
        left(12_000, "a"),
        left(13_000, "c"),
        ended(14_000),
    ]


VISIT_FACTS = (
    "SELECT endpoint_id, duration_ms, unseen_ms, arrival_seen, departure_seen, duration_is_lower_bound"
    " FROM meeta.visit_times ORDER BY capture_id, joined_seq"
)
PERSON_FACTS = (
    "SELECT display_name, duration_ms, unseen_ms, arrivals_seen, departures_seen, duration_is_lower_bound"
    " FROM meeta.participants ORDER BY display_name"
)


async def facts(url: str, statement: str) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in await fetch(url, statement)]


@pytest.mark.parametrize("is_old", [False, True], ids=["both-clocks", "wall-clock"])
async def test_ends_that_were_inferred_make_lower_bounds_and_gaps_in_the_middle_are_counted(
    database_url: str, is_old: bool
) -> None:
    await write(database_url, seal_all(outage(is_old=is_old)))
    assert await facts(database_url, VISIT_FACTS) == [
        ("a", 11_000, 5000, True, True, False),
        ("b", 4000, 0, True, False, True),
        ("c", 4000, 1000, False, True, True),
    ]
    assert await facts(database_url, PERSON_FACTS) == [
        ("Ada", 11_000, 5000, True, True, False),
        ("Bo", 4000, 0, True, False, True),
        ("Cy", 4000, 1000, False, True, True),
    ]
    seen_until = await fetch(database_url, "SELECT seen_until FROM meeta.visit_times WHERE endpoint_id = 'b'")
    assert round(seen_until[0]["seen_until"].timestamp() * 1000) == BEGAN_MS + 5000


async def test_who_arrives_again_without_having_left_was_not_seen_to_leave(database_url: str) -> None:
    await write(database_url, seal_all([started(), joined(1000, "a"), joined(5000, "a"), left(9000, "a"), ended(9001)]))
    assert await facts(database_url, VISIT_FACTS) == [
        ("a", 4000, 0, True, False, False),  # that is the most that it can have been
        ("a", 4000, 0, True, True, False),
    ]


async def test_what_another_witness_saw_was_seen(database_url: str) -> None:
    witness = [started(), identified(1), joined(1000, "a", "Ada", initial=True), joined(7000, "c", "Cy")]
    witness += [
        joined(1000, "b", "Bo", initial=True),
        left(6000, "b"),
        blind(8500, 9500),
        left(12_000, "a"),
        ended(12_500),
    ]
    await write(database_url, seal_all(outage()), seal_all(witness))
    assert await facts(database_url, PERSON_FACTS) == [
        ("Ada", 11_000, 1000, True, True, False),  # both were blind from 8.5 to 9.5 s
        ("Bo", 5000, 0, True, True, False),
        ("Cy", 6000, 1000, True, True, False),
    ]


async def test_an_inferred_end_whose_event_is_gone_counts_as_not_seen(database_url: str) -> None:
    await write(database_url, seal_all(outage()))
    await fetch(database_url, "DELETE FROM meeta.events")
    assert [row[3:5] for row in await facts(database_url, VISIT_FACTS)] == [
        (True, True),
        (False, False),
        (False, False),
    ]
