"""Verification: what was delivered is verified, and whatever was done to it afterwards is refuted where it was done."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meeta_bot import settings as bot_settings
from meeta_bot import verify
from meeta_bot.capture.log import end_cut_captures
from meeta_bot.capture.normalize import Message, normalize
from meeta_bot.capture.spool import Append, Spool
from meeta_bot.capture.spool.status import read_statuses
from meeta_bot.clock import SystemClock
from meeta_bot.database import migrations
from meeta_bot.events import (
    BridgeLost,
    CaptureEnded,
    CaptureGap,
    CaptureHeartbeat,
    CaptureHookInstalled,
    CaptureReconnecting,
    ChatMessage,
    ConferenceJoined,
    ConferenceSubjectChanged,
    EndReason,
    Event,
    GapCause,
    Lost,
    MeetingEnded,
    MeetingStarted,
    ParticipantRenamed,
    SealedEvent,
    SignallingLost,
    Unknown,
)
from meeta_bot.verify import AwaitingDelivery, Verdict
from tests import tapes
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
from tests.postgres.tables import derived, empty, sink, write
from tests.postgres.test_projections import long_story
from tests.stack.postgres import fetch

RELAXED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
LONG_NOISE = random.Random(1).randbytes(6000).hex()  # too long and too random for any index
TABLES = ("meeta.events", "meeta.captures", "meeta.visits", "meeta.gaps")
ALL_CHECKS = ["numbers", "chain", "books", "projections", "gaps", "ends"]


def heartbeat(ms: int, events: int, messages: int | None = None, **counts: int) -> Event:
    """A heartbeat whose books say that so many events were made before it, each of a message."""
    books = {"absorbed": 0, "sampled": 0, "refused": 0, "unknown": 0} | counts
    payload = CaptureHeartbeat(
        in_conference=True,
        participants=1,
        events=events,
        messages=events + sum(books.values()) - books["unknown"] if messages is None else messages,
        **books,
    )
    return happening(payload, ms)


def sound_story(offset: int = 0, meeting: str = MEETING) -> list[Event]:
    """Return a capture as the recorder writes one: books that agree, and a silence with its gap."""
    gap = CaptureGap(
        cause=GapCause.SIGNALLING_LOST,
        lost=Lost.EVERYTHING,
        from_at=BEGAN_MS + 45_000,
        to_at=BEGAN_MS + 200_000,
        evidence="test",
    )
    return [
        started(),
        happening(CaptureHookInstalled(page_load="1", library_version="1.0"), 10),
        happening(ConferenceJoined(room="standup"), 20 + offset, "bot"),
        identified(30, meeting),
        happening(MeetingStarted(started_at=BEGAN_MS + 40 - offset, basis="seen"), 40),
        joined(50, "a", "Ada", role="moderator"),
        joined(60, "b", "Bo"),
        heartbeat(15_000, 7),
        happening(Unknown(arguments=[1.5, {"k": [None, True, "é\u2028"]}], problem="odd"), 15_500),
        happening(ChatMessage(text="Hello"), 16_000, "a", server_at=BEGAN_MS + 16_001),
        heartbeat(30_000, 10, absorbed=3, unknown=1),
        happening(ParticipantRenamed(old_name="Bo", new_name="Bo B"), 31_000, "b", initial=True),
        left(45_000, "b", inferred=True),
        happening(gap, 200_000),
        happening(ConferenceSubjectChanged(subject=f"Plans {offset}"), 200_100),
        left(210_000, "a"),
        happening(MeetingEnded(ended_at=BEGAN_MS + 210_000 + offset, reason="left_alone"), 210_000),
        ended(211_000),
    ]


SOON = datetime.fromtimestamp(BEGAN_MS / 1000, UTC)  # captures of the samples are not lost, however long tests take


async def verdicts(url: str, *captures: str | Sequence[SealedEvent], **options: Any) -> list[Verdict]:
    """Return the verdicts on some captures, on all by default."""
    options = {"now": SOON} | options
    names = [capture if isinstance(capture, str) else capture[0].capture_id for capture in captures]
    names = names or await verify.stored_captures(url, bot_settings.load())
    given_settings = options.pop("settings", None) or bot_settings.load()
    return [verdict async for verdict in verify.verdicts(url, given_settings, names, **options)]


async def verdict(url: str, capture: str | Sequence[SealedEvent], **options: Any) -> Verdict:
    """Return the verdict on one capture."""
    [found] = await verdicts(url, capture, **options)
    return found


def refuted(found: Verdict) -> set[str]:
    """Return the checks that refute."""
    assert found.verified == all(check.ok for check in found.checks.values())
    return {name for name, check in found.checks.items() if not check.ok}


# --- what is as it was delivered is verified --------------------------------------------------------------------------


async def test_a_capture_that_was_delivered_is_verified(database_url: str) -> None:
    batch = seal_all(sound_story())
    await write(database_url, batch[:5], batch[3:], batch)
    found = await verdict(database_url, batch)
    assert refuted(found) == set(), found
    assert list(found.checks) == ALL_CHECKS
    assert (found.events, found.head, found.state) == (len(batch), batch[-1].digest.hex(), "ended")
    assert (found.room, found.meeting_id, found.first_bad_seq, found.notes) == ("standup", MEETING, None, [])


async def test_several_witnesses_of_a_meeting_are_verified_in_the_order_in_which_they_are_named(
    database_url: str,
) -> None:
    captures = [seal_all(sound_story(offset)) for offset in (0, 7, 3)]
    captures.append(seal_all(sound_story(1, OTHER_MEETING)))
    await write(database_url, *captures)
    found = await verdicts(database_url, *captures)
    assert [one.capture_id for one in found] == [capture[0].capture_id for capture in captures]
    assert [refuted(one) for one in found] == [set()] * 4


async def test_nothing_is_changed_and_no_lock_is_waited_for(database_url: str) -> None:
    batch = seal_all(sound_story())
    await write(database_url, batch)
    before = await derived(database_url)
    async with sink(database_url) as target:
        await target.write(batch)
        holder = await bot_connection(database_url)
        async with holder.transaction():
            # As a writer does in the middle of a transaction: readers take no lock that it would wait for, or it for.
            await holder.execute("UPDATE meeta.captures SET room = room")
            await holder.execute("UPDATE meeta.meetings SET room = room")
            assert refuted(await verdict(database_url, batch)) == set()
        await holder.close()
    assert await derived(database_url) == before


async def bot_connection(url: str) -> Any:
    """A connection of the test's own."""
    import asyncpg

    return await asyncpg.connect(url)


class Wall(SystemClock):
    """This machine's clocks, but for the wall clock, which stands."""

    def __init__(self, wall_ms: int) -> None:
        self._wall_ms = wall_ms

    def wall_ms(self) -> int:
        return self._wall_ms


@pytest.mark.parametrize("is_killed", [False, True], ids=["ended", "killed"])
@pytest.mark.parametrize("tape", tapes.names())
async def test_what_normalizer_and_spool_make_of_a_conference_is_verified(
    database_url: str, tmp_path: Path, tape: str, is_killed: bool
) -> None:
    state = msgspec.structs.replace(tapes.first_state(tape), capture_id=capture_id())
    spool = Spool(tmp_path, bot_settings.load())
    messages = tapes.read_messages(tape)
    for number, message in enumerate(messages[:-1] if is_killed else messages):
        beat = Message("recorder.heartbeat", [], message.wall_ms, message.monotonic_ms)
        for said in [message, beat] if number % 5 == 0 else [message]:
            state, found = normalize(state, said)
            if found:
                await spool.append(state.capture_id, Append(state, found, said.wall_ms))
    if is_killed:
        assert await end_cut_captures(spool, Wall(messages[-1].wall_ms + 3_600_000)) == 1
    await write(database_url, [spooled.event for spooled in await spool.read(10_000)])
    await spool.close()
    found_out = await verdict(database_url, state.capture_id)
    assert refuted(found_out) == set(), found_out
    assert (found_out.state, found_out.events > 10) == ("ended", True)


@settings(max_examples=20, suppress_health_check=RELAXED)
@given(stories=st.lists(st.lists(arbitrary_events(), min_size=1, max_size=15), min_size=1, max_size=3))
async def test_projections_are_what_the_sink_derives_from_any_events(
    database_url: str, stories: list[list[Event]]
) -> None:
    await empty(database_url)
    captures = [seal_all(story) for story in stories] + [seal_all(long_story(0)), seal_all(long_story(7))]
    await write(database_url, *captures)
    for found in await verdicts(database_url):
        assert refuted(found) <= {"books", "gaps", "ends"}, found


async def test_chains_are_checked_in_parts_by_processes_with_the_same_result(database_url: str) -> None:
    batch = seal_all(sound_story())
    await write(database_url, batch, seal_all(sound_story(3)))
    small = bot_settings.load({"verify_chunk_events": 4, "verify_page_events": 3})
    advanced: list[int] = []
    found = await verdicts(database_url, settings=small, processes=2, advance=advanced.append)
    assert [refuted(one) for one in found] == [set(), set()]
    assert sum(advanced) == 2 * len(batch)
    for seq in (1, 4, 5, 8, 9, 17, 18):
        await tamper(database_url, "UPDATE meeta.events SET origin = 'x' WHERE seq = $1", seq)
        found = await verdicts(database_url, batch, settings=small)
        assert (refuted(found[0]), found[0].first_bad_seq) == ({"chain"}, seq)
        await tamper(database_url, "UPDATE meeta.events SET origin = 'test' WHERE seq = $1", seq)
    for seq in (1, 4, 5, 8, 9, 18):
        await empty(database_url)
        await write(database_url, batch)
        await tamper(database_url, "DELETE FROM meeta.events WHERE seq = $1", seq)
        found = await verdicts(database_url, batch, settings=small)
        assert (found[0].first_bad_seq, "numbers" in refuted(found[0])) == (seq, True), found[0]


async def test_a_payload_that_is_large_is_checked(database_url: str) -> None:
    noise = random.Random(1).randbytes(50_000).hex()
    batch = seal_all([started(), happening(ChatMessage(text=noise), 5, "a"), ended(10)])
    await write(database_url, batch)
    assert refuted(await verdict(database_url, batch)) == set()
    await tamper(database_url, 'UPDATE meeta.events SET payload = payload || \'{"text": "no"}\' WHERE seq = 2')
    assert (await verdict(database_url, batch)).first_bad_seq == 2


# --- a capture that goes on -------------------------------------------------------------------------------------------


async def test_a_running_capture_that_is_written_to_is_never_refuted(database_url: str) -> None:
    chatter = [joined(n, f"e{n % 5}", f"N{n}") if n % 3 else left(n, f"e{n % 5}") for n in range(2, 400)]
    captures = [seal_all([started(), identified(1), *chatter]) for _ in range(3)]
    done = asyncio.Event()

    async def write_slowly() -> None:
        for start in range(0, len(captures[0]), 4):
            await write(database_url, [event for capture in captures for event in capture[start : start + 4]])
        done.set()

    async def read_statuses() -> int:
        rounds = 0
        while not done.is_set():
            for found in await verdicts(database_url):
                assert refuted(found) == set(), found
                assert found.state == "recording"
                rounds += 1
        return rounds

    _, rounds = await asyncio.gather(write_slowly(), read_statuses())
    assert rounds > 0
    assert [one.events for one in await verdicts(database_url)] == [400] * 3


async def test_a_capture_without_an_end_and_without_life_is_said_to_be_lost_and_not_refuted(database_url: str) -> None:
    batch = seal_all(sound_story()[:-1])
    await write(database_url, batch)
    now = (await fetch(database_url, "SELECT max(occurred_at) + interval '59 seconds' AS soon FROM meeta.events"))[0]
    assert (await verdict(database_url, batch, now=now["soon"])).state == "recording"
    later = (await fetch(database_url, "SELECT max(occurred_at) + interval '61 seconds' AS at FROM meeta.events"))[0]
    found = await verdict(database_url, batch, now=later["at"])
    assert (refuted(found), found.state) == (set(), "lost")
    assert "lost and without an end" in found.notes[0]


# --- what waits in a spool --------------------------------------------------------------------------------------------


async def test_what_waits_in_a_spool_is_not_missing(database_url: str, tmp_path: Path) -> None:
    name, spool = capture_id(), Spool(tmp_path / "one", bot_settings.load())
    state = msgspec.structs.replace(tapes.first_state(tapes.names()[0]), capture_id=name)
    for event in (started(), joined(10, "a"), joined(20, "b")):
        await spool.append(name, Append(state, [event], BEGAN_MS))
    awaiting = {
        one.capture_id: AwaitingDelivery(one.last_seq or 0, one.waiting) for one in read_statuses(tmp_path)[0].captures
    }
    assert awaiting == {name: AwaitingDelivery(3, 3)}

    missing = await verdict(database_url, name)
    assert (refuted(missing), missing.state) == ({"numbers"}, "missing")
    found = await verdict(database_url, name, awaiting=awaiting)
    assert (refuted(found), found.state, found.first_bad_seq) == (set(), "spooled", None)
    assert found.notes[0].startswith("3 events wait in the spool")

    sealed = [spooled.event for spooled in await spool.read(10)]
    await spool.close()
    await write(database_url, sealed[:2])
    found = await verdict(database_url, name, awaiting=awaiting)
    assert (refuted(found), [note.split(":")[0] for note in found.notes]) == (
        set(),
        ["3 events wait in the spool of this machine"],
    )
    await write(database_url, sealed)
    assert (await verdict(database_url, name, awaiting=awaiting)).notes == []  # they have arrived since that look
    await tamper(database_url, "DELETE FROM meeta.events WHERE seq = 2")
    assert refuted(await verdict(database_url, name, awaiting=awaiting)) >= {"numbers"}


# --- heads that are kept elsewhere ------------------------------------------------------------------------------------


async def test_the_expected_head(database_url: str) -> None:
    batch, other = seal_all(sound_story()), seal_all(sound_story())
    await write(database_url, batch, other)
    assert refuted(await verdict(database_url, batch, expect=batch[-1].digest)) == set()
    assert refuted(await verdict(database_url, batch, expect=other[-1].digest)) == {"head"}
    passed = await verdict(database_url, batch, expect=batch[4].digest)
    assert (refuted(passed), passed.first_bad_seq) == ({"head"}, 6)


async def test_a_head_that_a_running_capture_has_passed_is_fine(database_url: str) -> None:
    batch = seal_all(sound_story())[:12]
    await write(database_url, batch)
    found = await verdict(database_url, batch, expect=batch[4].digest)
    assert refuted(found) == set()
    assert any("7 have been added since" in note for note in found.notes)


async def test_a_capture_that_was_made_anew_is_refuted_by_its_head_alone(database_url: str) -> None:
    story = sound_story()
    batch = seal_all(story)
    forged = seal_all([*story[:9], happening(ChatMessage(text="Bye"), 16_000, "a"), *story[10:]], batch[0].capture_id)
    await write(database_url, forged)
    assert refuted(await verdict(database_url, batch)) == set()
    assert refuted(await verdict(database_url, batch, expect=batch[-1].digest)) == {"head"}


async def test_a_capture_that_was_removed_whole_is_refuted_when_it_is_named(database_url: str) -> None:
    batch, other = seal_all(sound_story()), seal_all(sound_story(3))
    await write(database_url, batch, other)
    for table in TABLES:
        await tamper(database_url, f"DELETE FROM {table} WHERE capture_id = $1::text::uuid", batch[0].capture_id)  # noqa: S608
    await migrations.rebuild(database_url, bot_settings.load())
    assert refuted(await verdict(database_url, batch)) == {"numbers"}
    found = await verdict(database_url, batch, expect=batch[-1].digest)
    assert (refuted(found), found.state) == ({"numbers", "head"}, "missing")
    assert [refuted(one) for one in await verdicts(database_url)] == [set()]


async def test_a_capture_that_was_removed_whole_is_missed_by_its_meeting(database_url: str) -> None:
    batch, other = seal_all(sound_story()), seal_all(sound_story(3))
    await write(database_url, batch, other)
    for table in TABLES:
        await tamper(database_url, f"DELETE FROM {table} WHERE capture_id = $1::text::uuid", batch[0].capture_id)  # noqa: S608
    [found] = await verdicts(database_url)
    assert (found.capture_id, refuted(found)) == (other[0].capture_id, {"projections"})
    assert "row of meetings differs: capture_count" in (found.checks["projections"].problem or "")


async def test_a_capture_that_stands_in_anothers_place_is_refuted(database_url: str) -> None:
    batch, other = seal_all(sound_story()), seal_all(sound_story(3))
    await write(database_url, other)
    for table in TABLES:
        await tamper(database_url, f"UPDATE {table} SET capture_id = $1::text::uuid", batch[0].capture_id)  # noqa: S608
    found = await verdict(database_url, batch)
    assert (refuted(found), found.first_bad_seq) == ({"chain"}, 1)


# --- alterations ------------------------------------------------------------------------------------------------------


async def tamper(url: str, statement: str, *arguments: Any) -> None:
    """Alter the database as somebody with the right to write it could, behind our back."""
    await fetch(url, statement, *arguments)


@pytest.fixture
async def standup(database_url: str) -> tuple[str, list[SealedEvent]]:
    """A database with one sound capture, and its events."""
    batch = seal_all(sound_story())
    await write(database_url, batch)
    return database_url, batch


ALTERED = "UPDATE meeta.events SET {} WHERE seq = 10"
# Whoever alters a log may alter its table.
UNCHECKED = "DO $$ BEGIN ALTER TABLE meeta.events DROP CONSTRAINT shown_moments; {}; END $$"
DOUBLED = (
    "INSERT INTO meeta.events SELECT capture_id, {}, type, origin, room, endpoint_id, occurred_at, monotonic_ms,"
    " server_at, initial, inferred, payload, salt, commitment, digest, quarantine_reason"
    " FROM meeta.events WHERE seq = 10"
)


@pytest.mark.parametrize(
    ("statement", "seq", "checks"),
    [
        pytest.param("DELETE FROM meeta.events WHERE seq = 10", 10, {"numbers"}, id="one-removed"),
        pytest.param("DELETE FROM meeta.events WHERE seq = 1", 1, {"numbers"}, id="first-removed"),
        pytest.param("DELETE FROM meeta.events WHERE seq = 18", 18, {"numbers"}, id="last-removed"),
        pytest.param("DELETE FROM meeta.events WHERE seq >= 10", 10, {"numbers"}, id="many-removed"),
        pytest.param("DELETE FROM meeta.events", 1, {"numbers"}, id="all-events-removed"),
        pytest.param(
            "UPDATE meeta.events AS one SET payload = other.payload FROM meeta.events AS other"
            " WHERE (one.seq, other.seq) IN ((6, 7), (7, 6))",
            6,
            {"chain"},
            id="payloads-swapped",
        ),
        pytest.param(
            "UPDATE meeta.events AS one SET payload = other.payload, salt = other.salt, commitment = other.commitment"
            " FROM meeta.events AS other WHERE (one.seq, other.seq) IN ((6, 7), (7, 6))",
            6,
            {"chain"},
            id="commitments-swapped",
        ),
        pytest.param(
            "DO $$ BEGIN UPDATE meeta.events SET seq = -1 WHERE seq = 6;"
            " UPDATE meeta.events SET seq = 6 WHERE seq = 7; UPDATE meeta.events SET seq = 7 WHERE seq = -1; END $$",
            6,
            {"chain"},
            id="rows-swapped",
        ),
        pytest.param(
            DOUBLED.format(19),
            18,  # the end is no longer the last event
            {"numbers", "chain", "ends"},
            id="doubled-at-the-end",
        ),
        pytest.param(
            DOUBLED.format(0),
            0,
            {"numbers"},
            id="doubled-before-the-first",
        ),
        pytest.param(
            "UPDATE meeta.events SET seq = 9000000000000000000 WHERE seq = 18",
            18,
            {"numbers"},
            id="a-number-out-of-reach",
        ),
        pytest.param(ALTERED.format("type = 'chat.private_message'"), 10, {"chain"}, id="type"),
        pytest.param(ALTERED.format("origin = origin || ' '"), 10, {"chain"}, id="origin"),
        pytest.param(ALTERED.format("room = 'breakout'"), 10, {"chain"}, id="room"),
        pytest.param(ALTERED.format("endpoint_id = 'b'"), 10, {"chain"}, id="endpoint_id"),
        pytest.param(ALTERED.format("endpoint_id = NULL"), 10, {"chain"}, id="endpoint_id-gone"),
        pytest.param(
            ALTERED.format("occurred_at = occurred_at + interval '1 millisecond'"), 10, {"chain"}, id="occurred_at"
        ),
        pytest.param(
            ALTERED.format("occurred_at = occurred_at + interval '1 microsecond'"), 10, {"chain"}, id="a-microsecond"
        ),
        pytest.param(UNCHECKED.format(ALTERED.format("server_at = 'infinity'")), 10, {"chain"}, id="infinity"),
        pytest.param(ALTERED.format("monotonic_ms = monotonic_ms + 1"), 10, {"chain"}, id="monotonic_ms"),
        pytest.param(ALTERED.format("server_at = NULL"), 10, {"chain"}, id="server_at"),
        pytest.param(ALTERED.format("initial = NOT initial"), 10, {"chain"}, id="initial"),
        pytest.param(ALTERED.format("inferred = NOT inferred"), 10, {"chain"}, id="inferred"),
        pytest.param(ALTERED.format("""payload = payload || '{"text": "Hullo"}'"""), 10, {"chain"}, id="payload"),
        pytest.param(ALTERED.format("payload = '1e400'"), 10, {"chain"}, id="payload-no-double-holds"),
        pytest.param(ALTERED.format("payload = 'null'"), 10, {"chain"}, id="payload-json-null"),
        pytest.param(ALTERED.format("payload = NULL"), 10, {"chain"}, id="payload-gone"),
        pytest.param(ALTERED.format("salt = NULL"), 10, {"chain"}, id="salt-gone"),
        pytest.param(ALTERED.format("salt = set_byte(salt, 0, 255 - get_byte(salt, 0))"), 10, {"chain"}, id="salt"),
        pytest.param(ALTERED.format("commitment = sha256(commitment)"), 10, {"chain"}, id="commitment"),
        pytest.param(ALTERED.format("digest = sha256(digest)"), 10, {"chain"}, id="digest"),
        pytest.param(ALTERED.format("quarantine_reason = 'none'"), 10, {"chain"}, id="quarantine_reason"),
        pytest.param("UPDATE meeta.events SET digest = sha256(digest) WHERE seq = 18", 18, {"chain"}, id="last-digest"),
        # A digit that no double has, and the same number written otherwise: the text is not what was sealed.
        pytest.param(
            "UPDATE meeta.events SET payload = jsonb_set(payload, '{arguments,0}', '1.50000000000000000000001')"
            " WHERE seq = 9",
            9,
            {"chain"},
            id="digits-beyond-a-double",
        ),
        pytest.param(
            "UPDATE meeta.events SET payload = jsonb_set(payload, '{arguments,0}', '1.50') WHERE seq = 9",
            9,
            {"chain"},
            id="a-zero-more",
        ),
    ],
)
async def test_whatever_is_done_to_events_is_refuted_where_it_was_done(
    standup: tuple[str, list[SealedEvent]], statement: str, seq: int, checks: set[str]
) -> None:
    url, batch = standup
    await tamper(url, statement)
    found = await verdict(url, batch)
    assert found.first_bad_seq == seq, found
    assert refuted(found) - {"projections", "books", "gaps"} == checks


async def test_a_row_moved_into_another_capture_is_missed_and_found(database_url: str) -> None:
    one, other = seal_all(sound_story()), seal_all(sound_story(3))
    await write(database_url, one, other)
    await tamper(
        database_url,
        "UPDATE meeta.events SET capture_id = $1::text::uuid, seq = 19 WHERE capture_id = $2::text::uuid AND seq = 9",
        other[0].capture_id,
        one[0].capture_id,
    )
    found = await verdicts(database_url, one, other)
    assert [item.checks["numbers"].seq for item in found] == [9, 19]


async def test_a_number_in_place_of_its_text_is_refuted(database_url: str) -> None:
    """The canonical form writes what is beyond 2^53 as text: an alteration back must not look like the original."""
    batch = seal_all([started(), happening(Unknown(arguments=[2**60]), 1), ended(2)])
    await write(database_url, batch)
    assert refuted(await verdict(database_url, batch)) == set()
    await tamper(
        database_url,
        "UPDATE meeta.events SET payload = jsonb_set(payload, '{arguments,0}', (payload #>> '{arguments,0}')::jsonb)"
        " WHERE seq = 2",
    )
    assert (await verdict(database_url, batch)).first_bad_seq == 2


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("UPDATE meeta.captures SET room = 'other'", "differs: room"),
        ("UPDATE meeta.captures SET ended_at = NULL", "differs: ended_at"),
        ("UPDATE meeta.captures SET last_at = last_at + interval '1 second'", "differs: last_at"),
        ("UPDATE meeta.captures SET meeting_id = NULL", "differs: meeting_id"),
        ("UPDATE meeta.captures SET host_name = 'Eve'", "differs: host_name"),
        ("DELETE FROM meeta.captures", "of captures is missing"),
        ("UPDATE meeta.meetings SET subject = 'other', captured_at = NULL", "differs: captured_at, subject"),
        ("UPDATE meeta.meetings SET capture_count = 2", "differs: capture_count"),
        ("DELETE FROM meeta.meetings", "of meetings is missing"),
        ("UPDATE meeta.visits SET display_name = 'Eve' WHERE joined_seq = 6", "row 6 of visits differs: display_name"),
        ("UPDATE meeta.visits SET joined_seq = 5 WHERE joined_seq = 6", "no event accounts for the row 5 of visits"),
        ("DELETE FROM meeta.visits WHERE joined_seq = 7", "row 7 of visits is missing"),
        ("UPDATE meeta.gaps SET to_at = to_at - interval '1 minute'", "row 14 of gaps differs: to_at"),
        ("DELETE FROM meeta.gaps", "row 14 of gaps is missing"),
        (
            "INSERT INTO meeta.gaps (capture_id, seq) SELECT capture_id, 9 FROM meeta.captures",
            "no event accounts for the row 9 of gaps",
        ),
    ],
)
async def test_whatever_is_done_to_derived_tables_is_refuted_and_a_rebuild_heals_it(
    standup: tuple[str, list[SealedEvent]], statement: str, says: str
) -> None:
    url, batch = standup
    await tamper(url, statement)
    found = await verdict(url, batch)
    assert refuted(found) == {"projections"}, found
    check = found.checks["projections"]
    assert says in (check.problem or "")
    assert "db rebuild" in (check.hint or "")
    await migrations.rebuild(url, bot_settings.load())
    assert refuted(await verdict(url, batch)) == set()


@pytest.mark.parametrize(
    ("statement", "checks"),
    [
        ("UPDATE meeta.captures SET event_count = event_count + 1", {"numbers"}),
        ("UPDATE meeta.captures SET last_seq = last_seq - 1", {"numbers"}),
        ("UPDATE meeta.captures SET head_digest = sha256(head_digest)", {"chain"}),
        ("UPDATE meeta.captures SET last_monotonic_ms = 1", {"projections"}),
    ],
)
async def test_what_captures_says_of_the_head_is_compared(
    standup: tuple[str, list[SealedEvent]], statement: str, checks: set[str]
) -> None:
    url, batch = standup
    await tamper(url, statement)
    assert refuted(await verdict(url, batch)) == checks


async def test_what_is_left_of_a_removed_capture_and_meetings_of_nobody_are_found(database_url: str) -> None:
    batch = seal_all(sound_story())
    await write(database_url, batch)
    await tamper(database_url, "DELETE FROM meeta.events")
    await tamper(database_url, "DELETE FROM meeta.captures")
    [found] = await verdicts(database_url)
    assert refuted(found) == {"numbers", "projections"}
    strays = await verify.stray_meetings(database_url, bot_settings.load())
    assert [(stray.capture_id, stray.meeting_id, refuted(stray)) for stray in strays] == [
        (None, MEETING, {"projections"})
    ]


# --- erased, and in quarantine ----------------------------------------------------------------------------------------


async def test_erased_payloads_still_verify(standup: tuple[str, list[SealedEvent]]) -> None:
    url, batch = standup
    await tamper(url, "UPDATE meeta.events SET payload = NULL, salt = NULL WHERE seq = 10")
    found = await verdict(url, batch)
    assert (refuted(found), found.erased) == (set(), 1)
    await tamper(url, "UPDATE meeta.events SET payload = NULL, salt = NULL")
    # What was derived of them before is still there, and has the names that were to be erased.
    assert refuted(await verdict(url, batch)) == {"projections"}
    await migrations.rebuild(url, bot_settings.load())
    found = await verdict(url, batch)
    assert (refuted(found), found.erased) == (set(), len(batch))
    await tamper(url, "UPDATE meeta.events SET commitment = sha256('x') WHERE seq = 3")
    assert (await verdict(url, batch)).first_bad_seq == 3


def refusable_story() -> list[Event]:
    """Events that are sealed as they should be, of which PostgreSQL refuses the third and the fourth."""
    return [
        started(),
        joined(1, "a", "Ada"),
        joined(2, LONG_NOISE, "Noise"),
        happening(ChatMessage(text="when"), 3, "a", occurred_at=2**62, server_at=-(2**62)),
        ended(4),
    ]


async def test_placeholders_are_verified_against_quarantine(database_url: str) -> None:
    batch = seal_all(refusable_story())
    [delivery] = await write(database_url, batch)
    assert delivery.quarantined == 2
    found = await verdict(database_url, batch)
    assert (refuted(found), found.quarantined) == (set(), 2), found


@pytest.mark.parametrize(
    ("statement", "seq"),
    [
        ("DELETE FROM meeta.quarantine WHERE seq = 4", 4),
        ("UPDATE meeta.quarantine SET seq = 2 WHERE seq = 3", 3),
        ("UPDATE meeta.quarantine SET digest = sha256(digest) WHERE seq = 3", 3),
        ("UPDATE meeta.quarantine SET reason = 'other' WHERE seq = 3", 3),
        ("UPDATE meeta.quarantine SET kind = 'conflict' WHERE seq = 3", 3),
        ("UPDATE meeta.quarantine SET sealed = 'x' WHERE seq = 3", 3),
        (
            "UPDATE meeta.quarantine SET"
            " sealed = convert_to(replace(convert_from(sealed, 'UTF8'), 'when', 'then'), 'UTF8')"
            " WHERE seq = 4",
            4,
        ),
        (
            "UPDATE meeta.quarantine SET"
            " sealed = convert_to(replace(convert_from(sealed, 'UTF8'), '\"chat', '\"chut'), 'UTF8')"
            " WHERE seq = 4",
            4,
        ),
        ("UPDATE meeta.events SET quarantine_reason = NULL WHERE seq = 4", 4),
        ("UPDATE meeta.events SET quarantine_reason = 'other' WHERE seq = 4", 4),
        ("UPDATE meeta.events SET endpoint_id = 'b' WHERE seq = 3", 3),
        ("UPDATE meeta.events SET occurred_at = now() WHERE seq = 4", 4),
        ("UPDATE meeta.events SET payload = '{}' WHERE seq = 4", 4),
        ("DELETE FROM meeta.events WHERE seq = 3", 3),
    ],
)
async def test_a_placeholder_or_what_waits_for_it_that_was_altered_is_refuted(
    database_url: str, statement: str, seq: int
) -> None:
    batch = seal_all(refusable_story())
    await write(database_url, batch)
    await tamper(database_url, statement)
    found = await verdict(database_url, batch)
    assert "chain" in refuted(found)
    assert found.first_bad_seq == seq, found


async def test_a_capture_all_of_which_is_in_quarantine_is_capture_of(database_url: str) -> None:
    name = "ffffffff-ffff-4fff-bfff-ffffffffffff"
    await write(database_url, seal_all([started(), ended(1)], name), seal_all([started()], "no uuid"))
    found = await verdicts(database_url)
    assert [(one.capture_id, refuted(one)) for one in found] == [(name, {"numbers"}), ("no uuid", {"numbers"})]
    assert "2 wait in quarantine" in (found[0].checks["numbers"].problem or "")


async def test_a_conflict_is_told_and_refutes_nothing(database_url: str) -> None:
    batch = seal_all(sound_story())
    await write(database_url, batch, [msgspec.structs.replace(batch[1], digest=bytes(32))])
    found = await verdict(database_url, batch)
    assert refuted(found) == set()
    assert "1 other events wait in quarantine" in found.notes[0]


# --- books, gaps, beginning and end -----------------------------------------------------------------------------------


def capture_of(*story: Event) -> list[SealedEvent]:
    """Return a capture with a beginning and an end, and this story in between."""
    last = max((event.monotonic_ms for event in story), default=0)
    return seal_all([started(), *story, ended(last + 1)])


@pytest.mark.parametrize(
    ("story", "seq"),
    [
        pytest.param([heartbeat(10, 1)], None, id="right"),
        pytest.param([heartbeat(10, 1, messages=5, absorbed=2, sampled=1, refused=1)], None, id="all-kinds"),
        pytest.param([joined(5, "a"), heartbeat(10, 2, messages=1)], None, id="two-events-of-one-message"),
        pytest.param([heartbeat(10, 2)], 2, id="an-event-too-many"),
        pytest.param([joined(5, "a"), heartbeat(10, 1)], 3, id="an-event-too-few"),
        pytest.param([heartbeat(10, 1, unknown=1)], 2, id="unknown-ones-not-stored"),
        pytest.param([heartbeat(10, 1, messages=4, absorbed=1)], 2, id="messages-without-an-outcome"),
        pytest.param([heartbeat(10, 1, messages=4, absorbed=4)], 2, id="events-of-no-message"),
        pytest.param([heartbeat(10, 1, absorbed=5), heartbeat(20, 2, absorbed=4)], 3, id="going-back"),
    ],
)
async def test_books_agree_with_what_is_stored(database_url: str, story: list[Event], seq: int | None) -> None:
    batch = capture_of(*story)
    await write(database_url, batch)
    found = await verdict(database_url, batch)
    assert (refuted(found), found.first_bad_seq) == (set() if seq is None else {"books"}, seq), found


def balanced(
    ms: int, events: int, *, page: tuple[int, int, int] | None = None, normalized: int | None = None, **counts: int
) -> Event:
    """A heartbeat that says of every message what became of it; `page` is what it made, what was taken and missed."""
    books = msgspec.structs.asdict(heartbeat(ms, events, **counts).payload)
    books["normalized"] = events if normalized is None else normalized
    made, taken, missed = page or (None, None, None)
    payload = CaptureHeartbeat(**books | {"page_made": made, "page_taken": taken, "page_missed": missed})
    return happening(payload, ms)


def balanced_end(ms: int, events: int, normalized: int | None = None, **counts: int) -> Event:
    """The end with its books."""
    books: dict[str, Any] = {
        "absorbed": 0,
        "sampled": 0,
        "refused": 0,
        "unknown": 0,
        "normalized": normalized or events,
    } | counts
    messages = sum(books.values()) - books["unknown"]
    return happening(CaptureEnded(reason=EndReason.OPERATOR, events=events, **{"messages": messages} | books), ms)


@pytest.mark.parametrize(
    ("story", "seq"),
    [
        pytest.param([balanced(10, 1)], None, id="right"),
        pytest.param([balanced(10, 1, absorbed=2, sampled=1, refused=1)], None, id="all-kinds"),
        pytest.param([joined(5, "a"), balanced(10, 2, normalized=1, messages=1)], None, id="two-events-of-one-message"),
        pytest.param([balanced(10, 1, messages=3, absorbed=1)], 2, id="a-message-without-an-outcome"),
        pytest.param([balanced(10, 1, messages=1, absorbed=1)], 2, id="two-outcomes-of-one-message"),
        pytest.param([joined(5, "a"), balanced(10, 2, normalized=3, messages=3)], 3, id="events-too-few"),
        pytest.param([balanced(10, 1), balanced(20, 2), heartbeat(30, 3)], None, id="one-of-an-older-recorder"),
        pytest.param([balanced(20, 1), balanced(10, 2)], 3, id="heartbeats-out-of-order"),
    ],
)
async def test_books_say_of_every_message_what_became_of_it(
    database_url: str, story: list[Event], seq: int | None
) -> None:
    batch = capture_of(*story)
    await write(database_url, batch)
    found = await verdict(database_url, batch)
    assert (refuted(found), found.first_bad_seq) == (set() if seq is None else {"books"}, seq), found


@pytest.mark.parametrize(
    ("story", "seq"),
    [
        pytest.param([balanced_end(9, 1)], None, id="right"),
        pytest.param([balanced(5, 1, absorbed=2), balanced_end(9, 2, absorbed=4)], None, id="after-a-heartbeat"),
        pytest.param([balanced_end(9, 2)], 2, id="an-event-too-many"),
        pytest.param([balanced_end(9, 1, unknown=1)], 2, id="unknown-ones-not-stored"),
        pytest.param([balanced_end(9, 1, messages=4)], 2, id="messages-without-an-outcome"),
        pytest.param([balanced(5, 1, absorbed=2), balanced_end(9, 2, absorbed=1)], 3, id="less-than-at-a-heartbeat"),
        pytest.param([joined(5, "a"), balanced_end(9, 2, normalized=1)], None, id="two-events-of-one-message"),
    ],
)
async def test_the_end_has_books_too(database_url: str, story: list[Event], seq: int | None) -> None:
    batch = seal_all([started(), *story])
    await write(database_url, batch)
    found = await verdict(database_url, batch)
    assert (refuted(found), found.first_bad_seq) == (set() if seq is None else {"books"}, seq), found


def overflow(ms: int, missed: int | None) -> Event:
    """A gap because a page's buffer was full."""
    bounds: dict[str, Any] = {"from_at": BEGAN_MS + ms - 1, "to_at": BEGAN_MS + ms, "from_ms": ms - 1, "to_ms": ms}
    cause = GapCause.PAGE_BUFFER_OVERFLOW
    return happening(CaptureGap(cause=cause, lost=Lost.EVERYTHING, missed=missed, **bounds), ms)


STAY = happening(CaptureHookInstalled(page_load="2"), 30)
LATER = 90_000


@pytest.mark.parametrize(
    ("story", "seq"),
    [
        pytest.param([balanced(10, 1, page=(5, 5, 0)), balanced(20, 2, page=(9, 7, 0))], None, id="right"),
        pytest.param([balanced(10, 1, page=(5, 6, 0))], 2, id="more-taken-than-made"),
        pytest.param([balanced(10, 1, page=(5, 5, 0)), balanced(20, 2, page=(4, 4, 0))], 3, id="less-than-before"),
        pytest.param([balanced(10, 1, page=(5, 5, 0)), STAY, balanced(40, 3, page=(4, 4, 0))], None, id="another-stay"),
        pytest.param([overflow(5, 17), balanced(10, 2, page=(5, 5, 17))], None, id="missed-and-told"),
        pytest.param([balanced(10, 1, page=(5, 3, 17)), balanced(20, 2, page=(5, 5, 17))], None, id="still-full"),
        pytest.param(
            [balanced(10, 1, page=(5, 3, 17)), overflow(15, 17), balanced(20, 3, page=(9, 9, 17))], None, id="told-then"
        ),
        pytest.param([balanced(10, 1, page=(5, 3, 17)), balanced(20, 2, page=(9, 9, 17))], 3, id="never-told"),
        pytest.param(
            [balanced(10, 1, page=(5, 3, 17)), overflow(15, 16), balanced(20, 3, page=(9, 9, 17))], 4, id="told-in-part"
        ),
        pytest.param([overflow(5, 17), balanced(10, 2, page=(5, 5, 0))], None, id="told-since-the-page-spoke"),
        pytest.param(
            [overflow(5, 17), heartbeat(45_000, 2), balanced(LATER, 3, page=(5, 5, 16))], 4, id="told-and-not-missed"
        ),
        pytest.param(
            [balanced(10, 1, page=(5, 3, 17)), STAY, balanced(40, 3, page=(9, 9, 0))], None, id="lost-with-its-page"
        ),
    ],
)
async def test_what_a_page_missed_is_told_as_gaps(database_url: str, story: list[Event], seq: int | None) -> None:
    batch = capture_of(*story)
    await write(database_url, batch)
    found = await verdict(database_url, batch)
    assert (refuted(found), found.first_bad_seq) == (set() if seq is None else {"books"}, seq), found


async def test_of_erased_gaps_nobody_knows_how_many_they_tell_of(database_url: str) -> None:
    batch = capture_of(overflow(5, 17), balanced(10, 2, page=(5, 3, 17)), balanced(20, 3, page=(9, 9, 17)))
    await write(database_url, batch)
    await tamper(database_url, "UPDATE meeta.events SET payload = NULL, salt = NULL WHERE seq = 2")
    await migrations.rebuild(database_url, bot_settings.load())
    assert refuted(await verdict(database_url, batch)) == set()


def gap(
    ms: int, begin: int, end: int, cause: GapCause = GapCause.SIGNALLING_LOST, *, set_ms: int | None = None, **more: Any
) -> Event:
    """Return a gap that is recorded at `ms`; with monotonic bounds, too, when the wall clock was set by `set_ms`."""
    off = BEGAN_MS + (set_ms or 0)
    bounds = {} if set_ms is None else {"from_ms": begin, "to_ms": end}
    payload = CaptureGap(cause=cause, from_at=off + begin, to_at=off + end, **{"lost": Lost.EVERYTHING} | bounds | more)
    return happening(payload, ms, occurred_at=off + ms)


MINUTE = 60_000


@pytest.mark.parametrize(
    ("story", "seq"),
    [
        pytest.param([joined(MINUTE, "a")], None, id="four-heartbeats"),
        pytest.param([joined(MINUTE + 1, "a")], 2, id="more"),
        pytest.param([joined(3 * MINUTE, "a"), joined(MINUTE, "b"), joined(2 * MINUTE, "c")], None, id="out-of-order"),
        pytest.param([gap(9 * MINUTE, 1000, 9 * MINUTE)], None, id="covered"),
        pytest.param([gap(9 * MINUTE, 1000, 7 * MINUTE)], 2, id="not-covered-to-the-end"),
        pytest.param([gap(9 * MINUTE, 2 * MINUTE, 9 * MINUTE)], 2, id="not-covered-from-the-beginning"),
        pytest.param([gap(5 * MINUTE, 0, 5 * MINUTE), gap(9 * MINUTE, 5 * MINUTE, 9 * MINUTE)], None, id="by-two"),
        pytest.param([joined(0, "a"), gap(10, 9, 8)], 3, id="ends-before-it-begins"),
        pytest.param([gap(10, -2 * MINUTE, 8)], 2, id="begins-before-the-capture"),
        pytest.param([gap(10, 1, 2 * MINUTE)], 2, id="ends-after-it-is-told"),
        pytest.param([gap(10, 1, 90 * MINUTE, GapCause.PROCESS_KILLED)], None, id="a-killed-process"),
        # A recorder that was told to give signs of life more seldom shows that by itself.
        pytest.param([heartbeat(n * MINUTE, n) for n in range(1, 7)] + [joined(10 * MINUTE, "a")], None, id="seldom"),
        pytest.param([heartbeat(n * 1000, n) for n in range(1, 7)] + [joined(50_000, "a")], None, id="often"),
    ],
)
async def test_silences_are_covered_by_gaps(database_url: str, story: list[Event], seq: int | None) -> None:
    batch = capture_of(*story)
    await write(database_url, batch)
    found = await verdict(database_url, batch)
    assert (refuted(found), found.first_bad_seq) == (set() if seq is None else {"gaps"}, seq), found


HOUR = 60 * MINUTE
LOST = happening(SignallingLost(since_at=BEGAN_MS + 1000, evidence="silent"), 5000)
DEAF = happening(BridgeLost(since_at=BEGAN_MS + 1000, evidence="silent"), 5000)
DEAF_GAP = happening(
    CaptureGap(
        cause=GapCause.BRIDGE_UNHEARD,
        lost=Lost.BRIDGE_ONLY,
        from_at=BEGAN_MS + 1000,
        to_at=BEGAN_MS + 9000,
        from_ms=1000,
        to_ms=9000,
    ),
    9000,
)
AWAY = happening(CaptureReconnecting(cause=GapCause.PAGE_CRASHED), 5000)
SUSPENDED, KILLED = GapCause.HOST_SUSPENDED, GapCause.PROCESS_KILLED


@pytest.mark.parametrize(
    ("story", "seq"),
    [
        pytest.param([gap(9 * MINUTE, 1000, 9 * MINUTE, set_ms=0)], None, id="both-clocks"),
        pytest.param([gap(9 * MINUTE, 1000, 9 * MINUTE, set_ms=-HOUR)], None, id="clock-set-back"),
        pytest.param([gap(9 * MINUTE, 1000, 9 * MINUTE, set_ms=HOUR)], None, id="clock-set-forward"),
        pytest.param([gap(9 * MINUTE, 1000, 7 * MINUTE, set_ms=HOUR)], 2, id="clock-set-and-not-covered"),
        pytest.param([gap(10, 9, 8, set_ms=0)], 2, id="ends-before-it-begins"),
        pytest.param([gap(10, 1, 2, from_ms=2, to_ms=1)], 2, id="ends-before-it-begins-by-the-monotonic-clock"),
        pytest.param([gap(10, -2 * MINUTE, 8, set_ms=0)], 2, id="begins-before-the-capture"),
        pytest.param([gap(10, -20 * MINUTE, 8, GapCause.LATE_JOIN, set_ms=0)], None, id="late-join"),
        pytest.param([gap(10, -20 * MINUTE, 8, GapCause.LATE_JOIN)], None, id="late-join-by-the-wall-clock"),
        pytest.param([gap(10, 1, 2 * MINUTE, set_ms=0)], 2, id="ends-after-it-is-told"),
        pytest.param([gap(10, 1, HOUR, KILLED, set_ms=0)], None, id="a-killed-process"),
        pytest.param([LOST, gap(9000, 1000, 9000, set_ms=0)], None, id="lost-and-told"),
        pytest.param([LOST, gap(9000, 1000, 9000)], None, id="lost-and-told-by-the-wall-clock"),
        pytest.param([LOST], 2, id="lost-and-not-told"),
        pytest.param([DEAF], 2, id="deaf-and-not-told"),
        pytest.param([DEAF, DEAF_GAP], None, id="deaf-and-told"),
        pytest.param([DEAF, gap(9000, 1000, 9000, set_ms=0)], None, id="deaf-since-the-room-was-lost"),
        pytest.param([LOST, DEAF_GAP], 2, id="lost-and-only-deafness-told"),
        pytest.param([LOST, gap(9000, 7000, 9000, set_ms=0)], 2, id="lost-and-another-told"),
        pytest.param([gap(4000, 1000, 5000, set_ms=0), LOST], 3, id="lost-and-told-before"),
        pytest.param([AWAY, AWAY, gap(9000, 1000, 9000, set_ms=0)], None, id="away-and-told"),
        pytest.param([AWAY, gap(9000, 1000, 9000, set_ms=0), happening(AWAY.payload, 20_000)], 4, id="away-once-more"),
        pytest.param([gap(9 * MINUTE, 0, 9 * MINUTE, SUSPENDED, set_ms=0)], None, id="suspended"),
        pytest.param(
            [*(heartbeat(n * 15_000, n) for n in range(1, 9)), gap(2 * MINUTE, 0, 2 * MINUTE, SUSPENDED, set_ms=0)],
            10,
            id="suspended-and-alive",
        ),
        pytest.param(
            [heartbeat(15_000, 1), gap(2 * MINUTE, 14_000, 2 * MINUTE, SUSPENDED, set_ms=0), heartbeat(2 * MINUTE, 3)],
            None,
            id="alive-at-the-edges",
        ),
        pytest.param(
            [*(heartbeat(n * 15_000, n) for n in range(1, 9)), gap(2 * MINUTE, 0, 2 * MINUTE, set_ms=0)],
            None,
            id="blind-and-alive",
        ),
    ],
)
async def test_gaps_make_sense_and_cover_what_was_lost(database_url: str, story: list[Event], seq: int | None) -> None:
    batch = capture_of(*story)
    await write(database_url, batch)
    found = await verdict(database_url, batch)
    assert (refuted(found), found.first_bad_seq) == (set() if seq is None else {"gaps"}, seq), found


async def test_what_goes_on_may_still_be_capture_of(database_url: str) -> None:
    batch = seal_all([started(), LOST, AWAY])
    await write(database_url, batch)
    assert refuted(await verdict(database_url, batch)) == set()


@pytest.mark.parametrize(
    ("story", "seq"),
    [
        ([heartbeat(10, 1), gap(10, 10, HOUR, KILLED, set_ms=0)], None),
        ([gap(5, 1, 5, KILLED, set_ms=0), heartbeat(10, 2)], 4),
        ([heartbeat(10, 1)], 3),
    ],
    ids=["told", "told-before-it-lived", "not-told"],
)
async def test_a_killed_process_leaves_a_gap(database_url: str, story: list[Event], seq: int | None) -> None:
    batch = seal_all([started(), *story, ended(10, EndReason.PROCESS_KILLED)])
    await write(database_url, batch)
    found = await verdict(database_url, batch)
    assert (refuted(found), found.first_bad_seq) == (set() if seq is None else {"gaps"}, seq), found


@pytest.mark.parametrize(
    ("interval_ms", "silence", "is_refuted"),
    [
        (1000, 9000, False),
        (1000, 11_000, True),
        (5000, 21_000, True),
        (60_000, 3 * MINUTE, False),
        (None, MINUTE, False),
    ],
)
async def test_silences_are_judged_by_the_interval_that_the_recorder_had(
    database_url: str, interval_ms: int | None, silence: int, is_refuted: bool
) -> None:
    first = started()
    payload = msgspec.structs.replace(first.payload, heartbeat_interval_ms=interval_ms)
    first = msgspec.structs.replace(first, payload=payload)
    batch = seal_all([first, joined(silence, "a"), ended(silence)])
    await write(database_url, batch)
    found = await verdict(database_url, batch)
    assert (refuted(found), found.first_bad_seq) == (({"gaps"}, 2) if is_refuted else (set(), None)), found


async def test_a_capture_is_lost_by_the_interval_that_its_recorder_had(database_url: str) -> None:
    first = started()
    payload = msgspec.structs.replace(first.payload, heartbeat_interval_ms=60_000)
    batch = seal_all([msgspec.structs.replace(first, payload=payload)])
    await write(database_url, batch)
    for minutes, state in ((3, "recording"), (5, "lost")):
        now = datetime.fromtimestamp((BEGAN_MS + minutes * MINUTE) / 1000, UTC)
        assert (await verdict(database_url, batch, now=now)).state == state


@pytest.mark.parametrize(
    ("missed", "says"),
    [
        (2, "events 3 to 4 are missing: up to 2 events were lost with a damaged spool, according to event 5"),
        (None, "events 3 to 4 are missing: removed, or given another number"),
    ],
)
async def test_a_hole_that_a_damaged_spool_left_is_named_and_stays_a_hole(
    database_url: str, missed: int | None, says: str
) -> None:
    damaged = gap(30, 10, 30, GapCause.SPOOL_DAMAGED, set_ms=0, missed=missed)
    batch = seal_all([started(), *(joined(n, f"e{n}") for n in (10, 20, 25)), damaged, ended(40)])
    await write(database_url, [*batch[:2], *batch[4:]])
    found = await verdict(database_url, batch)
    assert (refuted(found), found.first_bad_seq) == ({"numbers"}, 3), found
    assert found.checks["numbers"].problem == says


@pytest.mark.parametrize(
    ("story", "seq"),
    [
        ([started(), started(), ended(1)], 2),
        ([joined(0, "a"), started(), ended(1)], 2),
        ([started(), ended(1), joined(2, "a")], 2),
        ([started(), ended(1), ended(2)], 2),
        ([started(), ended(1)], None),
    ],
)
async def test_one_beginning_and_one_end(database_url: str, story: list[Event], seq: int | None) -> None:
    batch = seal_all(story)
    await write(database_url, batch)
    found = await verdict(database_url, batch)
    assert (refuted(found), found.first_bad_seq) == (set() if seq is None else {"ends"}, seq)


# --- any alteration ---------------------------------------------------------------------------------------------------

ANY_EVENT = arbitrary_events(st.integers(BEGAN_MS - 1000, BEGAN_MS + 1000)).filter(
    # What a recorder says of itself is judged by itself, too: a loss without its gap is refuted however it is stored.
    lambda event: not event.type.startswith(("capture.", "signalling.", "bridge.lost"))
)
REMOVE = "DELETE FROM meeta.events"
OTHER_VALUES = {
    "type": "type || 'x'",
    "origin": "origin || 'x'",
    "room": "room || 'x'",
    "endpoint_id": "coalesce(endpoint_id || 'x', 'x')",
    "occurred_at": "occurred_at + interval '1 microsecond'",
    "monotonic_ms": "monotonic_ms + 1",
    "server_at": "coalesce(server_at, occurred_at) + interval '1 day'",
    "initial": "NOT initial",
    "inferred": "NOT inferred",
    "payload": """coalesce(payload || '{"x": 1}', '{}')""",
    "salt": "coalesce(salt, '') || 'x'::bytea",
    "commitment": "sha256(commitment)",
    "digest": "sha256(digest)",
    "quarantine_reason": "coalesce(quarantine_reason || 'x', 'x')",
    "seq": "seq + 1000",
}


@settings(max_examples=40, suppress_health_check=RELAXED)
@given(
    story=st.lists(ANY_EVENT, max_size=12),
    column=st.sampled_from([*OTHER_VALUES, "removed"]),
    place=st.integers(0, 2**16),
)
async def test_any_alteration_of_a_row_of_any_capture_is_refuted(
    database_url: str, story: list[Event], column: str, place: int
) -> None:
    await empty(database_url)
    timed = [msgspec.structs.replace(event, monotonic_ms=n) for n, event in enumerate(story, 1)]
    batch = seal_all([started(), *timed, ended(len(story) + 1)])
    await write(database_url, batch)
    sound = await verdict(database_url, batch)
    assert refuted(sound) == set(), sound
    seq = place % len(batch) + 1
    change = f"UPDATE meeta.events SET {column} = {OTHER_VALUES[column]}" if column in OTHER_VALUES else REMOVE  # noqa: S608
    await tamper(database_url, f"{change} WHERE seq = $1", seq)
    found = await verdict(database_url, batch)
    assert refuted(found) & {"numbers", "chain"}, found
    assert min(found.checks[name].seq or 2**63 for name in ("numbers", "chain")) == seq


async def test_events_as_postgresql_gives_them_back_fit_their_commitments(database_url: str, seed: int) -> None:
    """Numbers of every size, which PostgreSQL writes in another way than they were sealed."""
    choice = random.Random(seed)
    numbers = [choice.uniform(-1, 1) * 10.0 ** choice.randint(-290, 15) for _ in range(2000)]
    odd = [0.1, 1e-300, 5e-324, 2**53, -(2**53), 2**53 - 0.5, 1e22, -0.0, 1.5e-10, 123456789.123456789]
    batch = capture_of(happening(Unknown(arguments=[*numbers, *odd]), 1))
    await write(database_url, batch)
    assert refuted(await verdict(database_url, batch)) == set()
