"""The read side: meetings by every name they have, timelines, people, gaps, states."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import jsonschema
import msgspec
import pytest

from meeta_bot import settings
from meeta_bot.errors import Ambiguous, NotFound
from meeta_bot.events import (
    AudioUnmuted,
    CaptureGap,
    CaptureLobbyDenied,
    ConferenceJoined,
    DominantSpeakerChanged,
    EndReason,
    GapCause,
    LeftCause,
    Lost,
    MeetingEnded,
    MeetingStarted,
    ParticipantLeft,
    ParticipantMovedToBreakout,
    ParticipantRenamed,
    json_schema,
)
from meeta_bot.events.document import event_document
from meeta_bot.reading import queries
from meeta_bot.reading.queries import Filter
from meeta_bot.timestamps import iso
from tests.postgres.samples import (
    BEGAN_MS,
    MEETING,
    OTHER_MEETING,
    capture_id,
    ended,
    happening,
    identified,
    joined,
    left,
    seal_all,
    started,
)
from tests.postgres.tables import write
from tests.stack.postgres import fetch

SETTINGS = settings.load()
NOW = datetime.fromtimestamp(BEGAN_MS / 1000, UTC)


def _at(ms: int) -> datetime:
    return NOW + timedelta(milliseconds=ms)


async def test_meeting_by_all_its_names(database_url: str) -> None:
    batch = seal_all([started("Standup"), identified(1), ended(2)])
    await write(database_url, batch)
    names = ["latest", MEETING, MEETING[:4], MEETING.replace("-", "").upper()[:13], "standup", "STANDUP"]
    names += [batch[0].capture_id, batch[0].capture_id[:30]]
    async with queries.reading(database_url, SETTINGS) as reader:
        for name in names:
            assert (await reader.find_meeting(name)).id == MEETING
        for name in ("", "6f1", "standu", "nothing", "6f1c1e0b", "latest2", f"{MEETING}0", "6f1c1e0a-5a55-5c1f"):
            with pytest.raises(NotFound):
                await reader.find_meeting(name)


async def test_capture_without_a_meeting_stands_for_itself(database_url: str) -> None:
    batch = seal_all([started("locked"), ended(2, EndReason.LOBBY_DENIED)])
    await write(database_url, batch)
    async with queries.reading(database_url, SETTINGS) as reader:
        for name in ("latest", "locked", batch[0].capture_id):
            row = await reader.find_meeting(name)
            assert (row.meeting_id, row.id, row.end_reason) == (None, batch[0].capture_id, "lobby_denied")
            assert (row.room, row.state, row.event_count, row.people) == ("locked", "ended", 2, 0)


async def test_ambiguous_prefix_names_the_candidates(database_url: str) -> None:
    one, two = f"abcd{MEETING[4:]}", f"abcd{OTHER_MEETING[4:]}"
    await write(database_url, seal_all([started(), identified(1, one)]), seal_all([started(), identified(1, two)]))
    async with queries.reading(database_url, SETTINGS) as reader:
        with pytest.raises(Ambiguous) as caught:
            await reader.find_meeting("abcd")
        assert one in str(caught.value)
        assert two in str(caught.value)


async def test_room_names_its_latest_meeting_and_lists_all(database_url: str) -> None:
    later = happening(started().payload, 10_000)
    await write(
        database_url,
        seal_all([started(), identified(1)], capture_id(BEGAN_MS)),
        seal_all([later, identified(10_001, OTHER_MEETING)], capture_id(BEGAN_MS + 10_000)),
        seal_all([started("other")], capture_id(BEGAN_MS + 20_000)),
    )
    async with queries.reading(database_url, SETTINGS) as reader:
        assert (await reader.find_meeting("standup")).id == OTHER_MEETING
        assert [row.id for row in await reader.meetings(10, "standup")] == [OTHER_MEETING, MEETING]
        assert len(await reader.meetings(10)) == 3
        assert len(await reader.meetings(2)) == 2


async def test_states(database_url: str) -> None:
    running, over = seal_all([started("a"), identified(1)]), seal_all([started("b"), ended(5)])
    await write(database_url, running, over)
    soon, late = NOW + timedelta(seconds=30), NOW + timedelta(hours=1)
    async with queries.reading(database_url, SETTINGS) as reader:
        for moment, state in ((soon, "recording"), (late, "lost")):
            assert (await reader.find_meeting("a", moment)).state == state
            assert (await reader.captures([running[0].capture_id], moment))[0].state == state
            assert (await reader.find_meeting("b", moment)).state == "ended"


async def test_two_witnesses_are_one_meeting(database_url: str) -> None:
    first, second = seal_all([started(), identified(1), joined(2, "a", "Ada")]), seal_all([started(), identified(1)])
    await write(database_url, first, second)
    async with queries.reading(database_url, SETTINGS) as reader:
        [row] = await reader.meetings(10)
        assert (row.event_count, row.people) == (5, 1)
        assert row.capture_ids == sorted([first[0].capture_id, second[0].capture_id])
        captures = await reader.captures(row.capture_ids)
        assert [capture.capture_id for capture in captures] == row.capture_ids
        assert await reader.counts(row.capture_ids) == {
            "capture.started": 2,
            "meeting.identified": 2,
            "participant.joined": 1,
        }


async def test_events_by_page_type_and_endpoint(database_url: str) -> None:
    one = seal_all([started(), *(joined(n, f"e{n % 2}") for n in range(1, 8))], capture_id(BEGAN_MS))
    two = seal_all([started(), left(1, "e1")], capture_id(BEGAN_MS + 1))
    await write(database_url, one, two)
    ids = [one[0].capture_id, two[0].capture_id]
    expected = [(event.capture_id, event.seq) for event in (*one, *two)]
    async with queries.reading(database_url, SETTINGS) as reader:
        assert [(row.capture_id, row.seq) for row in await reader.events(ids)] == expected
        after = expected[6]
        assert [(row.capture_id, row.seq) for row in await reader.events(ids, after=after, limit=2)] == expected[7:9]
        types = await reader.events(ids, Filter(types=["participant.left", "capture.started"]))
        assert [row.seq for row in types] == [1, 1, 2]
        assert [row.seq async for row in reader.all_events(ids, Filter(participant="e1"))] == [2, 4, 6, 8, 2]
        assert await reader.events([]) == []


async def test_all_events_reads_every_page(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = seal_all([started(), *(joined(n, f"e{n}") for n in range(1, 25))])
    await write(database_url, batch)
    async with queries.reading(database_url, SETTINGS) as reader:
        pages = [row.seq async for row in reader.all_events([batch[0].capture_id])]
        small = []
        after = (batch[0].capture_id, 0)
        while page := await reader.events([batch[0].capture_id], after=after, limit=7):
            small += [row.seq for row in page]
            after = (page[-1].capture_id, page[-1].seq)
    assert pages == small == list(range(1, 26))


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
async def test_pages_of_every_filter_are_complete(database_url: str, limit: int) -> None:
    turns = [joined, left, left]
    one = seal_all([started(), *(turns[n % 3](n, f"e{n % 4}") for n in range(1, 20))], capture_id(BEGAN_MS))
    two = seal_all([started(), *(turns[n % 3](n, f"e{n % 2}") for n in range(1, 9))], capture_id(BEGAN_MS + 1))
    await write(database_url, one, two)
    ids = [one[0].capture_id, two[0].capture_id]
    types, soon = ["participant.joined", "participant.left"], NOW + timedelta(milliseconds=6)
    async with queries.reading(database_url, SETTINGS) as reader:
        for wanted in (
            Filter(),
            Filter(types=types),
            Filter(types=types[:1]),
            Filter(types=[]),
            Filter(participant="e1"),
            Filter(participant="e1", types=types[1:]),
            Filter(participant="e1", types=types),
            Filter(participant="e1", since=soon),
            Filter(types=types, until=soon),
        ):
            expected = [
                (event.capture_id, event.seq)
                for event in (*one, *two)
                if (wanted.types is None or event.type in wanted.types)
                and (wanted.participant is None or event.endpoint_id == wanted.participant)
                and (wanted.since is None or event.occurred_at >= BEGAN_MS + 6)
                and (wanted.until is None or event.occurred_at < BEGAN_MS + 6)
            ]
            found, after = [], (ids[0], 0)
            while page := await reader.events(ids, wanted, after=after, limit=limit):
                assert len(page) <= limit
                after = (page[-1].capture_id, page[-1].seq)
                found += [(row.capture_id, row.seq) for row in page]
            assert found == expected, wanted


async def test_a_list_counts_the_people_that_participants_shows(database_url: str) -> None:
    kinds = ("human", "phone", "bot", "human", "transcriber", "hidden")
    batch = [joined(n, f"e{n}", kind=kind, user_id=f"user{n % 4}") for n, kind in enumerate(kinds, 1)]
    other = [joined(n, f"f{n}", f"Person {n}", stats_id=f"stats{n % 3}", kind=kind) for n, kind in enumerate(kinds, 1)]
    await write(
        database_url,
        seal_all([started(), identified(1), *batch]),
        seal_all([started(), identified(1), *batch[2:], *other[:2]]),
        seal_all([started(), *other, left(9, "f1")]),
    )
    async with queries.reading(database_url, SETTINGS) as reader:
        rows = await reader.meetings(10)
        assert len(rows) == 2
        for row in rows:
            people = await reader.participants(row.capture_ids)
            assert row.people == sum(person.kind in ("human", "phone") for person in people) > 0


async def test_event_documents_follow_the_schema(database_url: str) -> None:
    story = [started(), joined(1, "a", "Ada", server_at=BEGAN_MS + 1), left(2, "a"), ended(3)]
    batch = seal_all(story)
    await write(database_url, batch)
    validator = jsonschema.Draft202012Validator(json_schema())
    async with queries.reading(database_url, SETTINGS) as reader:
        documents: list[dict[str, Any]] = [
            event_document(row) async for row in reader.all_events([batch[0].capture_id])
        ]
    for document in documents:
        validator.validate(msgspec.json.decode(msgspec.json.encode(document)))
    assert documents[1]["occurred_at"] == iso(NOW + timedelta(milliseconds=1))
    assert documents[1]["occurred_at"].endswith(".001Z")
    assert documents[1]["digest"] == batch[1].digest.hex()


async def test_people_visits_gaps_and_quarantine(database_url: str) -> None:
    gap = CaptureGap(cause=GapCause.LATE_JOIN, lost=Lost.EVERYTHING, from_at=BEGAN_MS, to_at=BEGAN_MS + 5)
    batch = seal_all([started(), joined(10, "a", "Ada"), happening(gap, 15), left(20, "a"), joined(30, "b", "Bo")])
    poisoned = msgspec.structs.replace(batch[4], payload='"\\u0000"')
    await write(database_url, [*batch[:4], poisoned])
    ids = [batch[0].capture_id]
    async with queries.reading(database_url, SETTINGS) as reader:
        people = await reader.participants(ids)
        assert [(row.display_name, row.visits, row.duration_ms) for row in people] == [("Ada", 1, 10), (None, 1, 0)]
        visits = await reader.visits(ids)
        assert [(row.endpoint_id, row.present, row.left_cause) for row in visits] == [
            ("a", False, "left"),
            ("b", True, None),
        ]
        [row] = await reader.gaps(ids)
        assert (row.cause, row.lost, row.seq) == ("late_join", "everything", 3)
        [held] = await reader.quarantine(ids)
        assert (held.seq, held.kind, held.digest) == (5, "refused", batch[4].digest)
        assert event_document((await reader.events(ids))[4])["payload"] is None


async def test_events_of_a_participant_by_every_name_and_by_id(database_url: str) -> None:
    renamed = ParticipantRenamed(old_name="Grace", new_name="Zo\u00eb STRASSE")
    one = seal_all(
        [started(), joined(1, "a", "Ada"), joined(2, "b", "Grace"), happening(renamed, 3, "b"), left(4, "b")]
    )
    two = seal_all([started(), joined(5, "b", None), joined(6, "c", "ADA"), left(7, "a")])
    await write(database_url, one, two)
    ids = [one[0].capture_id, two[0].capture_id]
    async with queries.reading(database_url, SETTINGS) as reader:

        async def found(participant: str) -> list[tuple[str, int]]:
            return sorted(
                [(row.capture_id, row.seq) async for row in reader.all_events(ids, Filter(participant=participant))]
            )

        of_b = sorted([*((ids[0], seq) for seq in (3, 4, 5)), (ids[1], 2)])
        for name in ("b", "Grace", "GRACE", "zoe\u0308 stra\u00dfe"):
            assert await found(name) == of_b
        assert await found("ada") == sorted([(ids[0], 2), (ids[1], 3), (ids[1], 4)])
        for name in ("B", "Ad", "", "%", "Person"):
            assert await found(name) == []


async def test_events_between_two_moments(database_url: str) -> None:
    batch = seal_all([started(), *(joined(n * 1000, f"e{n}") for n in range(1, 6))])
    await write(database_url, batch)
    ids, second = [batch[0].capture_id], timedelta(seconds=1)
    async with queries.reading(database_url, SETTINGS) as reader:
        for wanted, seqs in (
            (Filter(since=NOW + 2 * second), [3, 4, 5, 6]),
            (Filter(until=NOW + 2 * second), [1, 2]),
            (Filter(since=NOW + second, until=NOW + 3 * second, participant="e2"), [3]),
            (Filter(since=NOW + second, types=["capture.started"]), []),
        ):
            assert [row.seq for row in await reader.events(ids, wanted)] == seqs
        assert [row.seq async for row in reader.all_events(ids, through=2)] == [1, 2]


async def test_heads_say_how_far_captures_are_stored(database_url: str) -> None:
    running, over = seal_all([started("a"), joined(1, "a")]), seal_all([started("b"), joined(1, "a"), ended(5)])
    await write(database_url, running, over)
    async with queries.reading(database_url, SETTINGS) as reader:
        heads = {head.capture_id: (head.last_seq, head.event_count, head.ended) for head in await reader.progress()}
        assert heads == {running[0].capture_id: (2, 2, False), over[0].capture_id: (3, 3, True)}
        assert [head.last_seq for head in await reader.progress([over[0].capture_id])] == [3]
        assert await reader.progress([]) == []


async def test_following_goes_on_with_every_capture_until_all_have_ended(database_url: str) -> None:
    older = seal_all([started(), identified(1), ended(2)], capture_id(BEGAN_MS - 1))
    known = seal_all([started(), identified(1), joined(2, "a"), joined(3, "b"), ended(4)], capture_id(BEGAN_MS))
    names = {older[0].capture_id: "older", known[0].capture_id: "known"}
    await write(database_url, known[:1])
    async with queries.reading(database_url, SETTINGS) as reader:
        rows = reader.follow([known[0].capture_id], interval=0.01)

        async def following(count: int) -> list[tuple[str, int]]:
            seen = [await anext(rows) for _ in range(count)]
            return [(names[row.capture_id], row.seq) for row in seen]

        assert await following(1) == [("known", 1)]
        await write(database_url, known[1:3])
        assert await following(2) == [("known", 2), ("known", 3)]
        await write(database_url, older[:2])
        assert await following(2) == [("older", 1), ("older", 2)]
        await write(database_url, known[3:])
        assert await following(2) == [("known", 4), ("known", 5)]
        await write(database_url, older[2:])
        assert [(names[row.capture_id], row.seq) async for row in rows] == [("older", 3)]


async def test_following_a_participant_misses_nothing_of_who_comes_later(database_url: str) -> None:
    batch = seal_all([started(), joined(1, "a", "Ada"), joined(2, "b", "Bo"), left(3, "a"), left(4, "b"), ended(5)])
    await write(database_url, batch[:1])
    async with queries.reading(database_url, SETTINGS) as reader:
        rows = reader.follow([batch[0].capture_id], Filter(participant="bo"), interval=0.01)
        waiting = asyncio.ensure_future(anext(rows))
        await write(database_url, batch[1:3])
        assert (await waiting).seq == 3
        await write(database_url, batch[3:])
        assert [row.seq async for row in rows] == [5]


# --- what a page reads --------------------------------------------------------------------------------------------

# A large capture in each month and a hundred small ones, or none; all that a month has is written in turns, so that
# neighbours lie apart. One type of event is most of all.
_LARGE = """
    WITH capture AS (
        SELECT meeta.first_capture_id(timestamptz '2026-01-02 00:00:00+00' + make_interval(months => number % 4,
                secs => number)) AS capture_id, number, CASE WHEN number > 4 THEN 100 ELSE 4000 END AS size
        FROM generate_series(1, $1::integer) AS number
    ), known AS (
        INSERT INTO meeta.captures (capture_id, meeting_id, last_seq, last_at, last_monotonic_ms, head_digest,
            event_count)
        SELECT capture_id, md5(number::text)::uuid, size, now(), size, '', size FROM capture
    )
    INSERT INTO meeta.events (capture_id, seq, type, origin, room, endpoint_id, occurred_at, monotonic_ms, initial,
        inferred, payload, commitment, digest)
    SELECT capture_id, seq,
        CASE WHEN seq % 5 > 1 THEN 'connection.stats_updated'
             ELSE (ARRAY['participant.joined', 'dominant_speaker.changed', 'audio.muted', 'audio.unmuted'])[seq % 4 + 1]
        END,
        'test', 'main', 'endpoint' || seq % 9, now(), seq, false, false,
        jsonb_build_object('text', repeat('So it goes. ', 20)), '', ''
    FROM capture CROSS JOIN LATERAL generate_series(1, size) AS seq
    ORDER BY seq * 4000 / size, capture_id"""


class _Explained:
    """A connection that explains what is fetched over it: `buffers` is how many pages that took."""

    def __init__(self, connection: asyncpg.Connection[Any]) -> None:
        self.connection = connection
        self.buffers = 0

    async def fetch(self, statement: str, *arguments: Any) -> list[Any]:
        text = await self.connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", *arguments)
        plan = json.loads(text)[0]["Plan"]
        self.buffers += plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
        return await self.connection.fetch(statement, *arguments)


@pytest.mark.parametrize("captures", [4, 400], ids=["young", "grown"])
@pytest.mark.parametrize("has_statistics", [False, True], ids=["new", "analyzed"])
async def test_a_page_reads_little_more_than_it_returns(
    own_database_url: str, captures: int, has_statistics: bool
) -> None:
    connection = await asyncpg.connect(own_database_url)
    await connection.execute("SELECT meeta.ensure_partitions('2026-01-01 00:00:00+00', 4)")
    await connection.execute(_LARGE, captures)
    await connection.execute(f"VACUUM {'(ANALYZE)' if has_statistics else ''}")
    largest = str(await connection.fetchval("SELECT capture_id FROM meeta.captures ORDER BY last_seq DESC LIMIT 1"))
    await connection.close()
    # Without statistics all indexes look alike to planners, and one that fits only half may be taken.
    most = 1.2 if has_statistics else 1.3
    statistics = "connection.stats_updated"
    async with queries.reading(own_database_url, SETTINGS) as reader:
        plain = reader._connection
        for after in (0, 2000):
            for wanted in (
                Filter(),
                Filter(types=[statistics]),
                Filter(types=["dominant_speaker.changed"]),
                Filter(types=["audio.muted", "audio.unmuted"]),
                Filter(types=[statistics, "participant.joined"]),
                Filter(participant="endpoint3"),
                Filter(participant="endpoint3", types=[statistics]),
            ):
                selection = await reader._selection([largest], wanted)
                explained = _Explained(plain)
                reader._connection = explained  # type: ignore[assignment]
                rows = await reader._page_of_rows(largest, selection, after, 200)
                reader._connection = plain
                assert len(rows) > 100
                assert explained.buffers <= most * len(rows), wanted


async def test_new_events_are_vacuumed_soon_in_every_month(database_url: str) -> None:
    rows = await fetch(
        database_url,
        "SELECT reloptions FROM pg_class JOIN pg_inherits ON pg_class.oid = inhrelid"
        " WHERE inhparent = 'meeta.events'::regclass",
    )
    expected = {"autovacuum_vacuum_insert_threshold=2000", "autovacuum_vacuum_insert_scale_factor=0"}
    assert len(rows) > SETTINGS.partition_months_ahead
    assert all(set(row["reloptions"] or ()) == expected for row in rows)


async def test_a_meeting_that_went_on_without_the_bot_was_left(database_url: str) -> None:
    began = happening(MeetingStarted(started_at=BEGAN_MS, basis="first_human_observed"), 2)
    over = happening(MeetingEnded(ended_at=BEGAN_MS + 5, reason="last_left"), 6)
    kicked = seal_all([started("a"), identified(1), began, ended(7, EndReason.KICKED)])
    whole = seal_all([started("b"), identified(1, OTHER_MEETING), began, over, ended(7)])
    await write(database_url, kicked, whole)
    async with queries.reading(database_url, SETTINGS) as reader:
        left = await reader.find_meeting("a")
        assert (left.state, left.left_reason, left.ended_at, left.duration_ms) == ("left", "kicked", None, None)
        assert left.state_text == "we left (kicked), end unknown"
        full = await reader.find_meeting("b")
        assert (full.state, full.left_reason, full.state_text) == ("ended", None, "ended")


async def test_a_capture_that_was_kept_out_is_not_told_for_the_meeting_in_the_room(database_url: str) -> None:
    into = happening(ConferenceJoined(room="standup"), 2, "bot")
    refused = [happening(started().payload, 1000), happening(CaptureLobbyDenied(), 5000)]
    seen = seal_all([started(), into, identified(3), ended(9000)], capture_id(BEGAN_MS))
    kept_out = seal_all([*refused, ended(6000, EndReason.LOBBY_DENIED)], capture_id(BEGAN_MS + 1000))
    later = [happening(started().payload, 20_000), ended(30_000, EndReason.LOBBY_DENIED)]
    await write(database_url, seen, kept_out)
    async with queries.reading(database_url, SETTINGS) as reader:
        for name in ("standup", "latest", MEETING):
            assert (await reader.find_meeting(name)).id == MEETING
        assert (await reader.find_meeting(kept_out[0].capture_id)).id == kept_out[0].capture_id
        after = seal_all(later, capture_id(BEGAN_MS + 20_000))
        await write(database_url, after)
        assert (await reader.find_meeting("standup")).id == after[0].capture_id


async def test_who_was_lost_went_between_two_moments(database_url: str) -> None:
    lost = ParticipantLeft(cause=LeftCause.LOST, last_heard_at=BEGAN_MS + 1000, silent_ms=61_000)
    batch = seal_all(
        [started(), joined(1, "a", "Ada"), joined(2, "b"), happening(lost, 62_000, "a"), left(63_000, "b")]
    )
    await write(database_url, batch)
    async with queries.reading(database_url, SETTINGS) as reader:
        ada, bob = await reader.visits([batch[0].capture_id])
        assert (ada.left_cause, ada.left_after, ada.left_at) == ("lost", _at(1000), _at(62_000))
        assert (bob.left_after, bob.left_at) == (_at(63_000), _at(63_000))


async def test_what_is_not_seen_in_a_breakout_room_ends_with_the_move(database_url: str) -> None:
    batch = seal_all(
        [
            started(),
            joined(1, "a", "Ada"),
            happening(AudioUnmuted(), 1000, "a"),
            happening(DominantSpeakerChanged(), 2000, "a"),
            happening(ParticipantMovedToBreakout(breakout_id="b-1"), 5000, "a"),
            ended(60_000),
        ]
    )
    await write(database_url, batch)
    async with queries.reading(database_url, SETTINGS) as reader:
        for view in ("states", "speaking"):
            [row] = await reader._connection.fetch(f"SELECT * FROM meeta.{view}")  # noqa: S608
            assert (row["ended_by"], row["duration_is_lower_bound"]) == ("participant.moved_to_breakout", True)
        [visit] = await reader.visits([batch[0].capture_id])
        assert visit.left_at is None
