"""Large batches: whatever way they are stored, the tables are the same as from small ones."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest

from meeta_bot import settings
from meeta_bot.capture.normalize import State
from meeta_bot.capture.spool import Append, Spool
from meeta_bot.delivery.postgres import COPY_EVENTS, PostgresSink
from meeta_bot.delivery.sink import Delivery
from meeta_bot.delivery.writer import Writer
from meeta_bot.events import SealedEvent
from tests.postgres.samples import OTHER_MEETING, joined, seal_all, small_capture, started
from tests.postgres.tables import derived, empty, sink
from tests.postgres.test_projections import long_story
from tests.stack.postgres import fetch

PATIENCE_SECONDS = 60
TABLES = {
    "events": "SELECT * FROM meeta.events ORDER BY capture_id, seq",
    "quarantine": "SELECT * FROM meeta.quarantine ORDER BY capture_id, seq, kind, digest",
}


def many_captures(chance: random.Random) -> list[SealedEvent]:
    """Several whole captures and one with many arrivals, mixed, each in its order."""
    stories = [seal_all(long_story(offset)) for offset in range(4)]
    stories += [seal_all(long_story(9, OTHER_MEETING)), small_capture(3 * COPY_EVENTS)]
    waiting = [list(reversed(story)) for story in stories]
    mixed = []
    while any(waiting):
        mixed.append(chance.choice([story for story in waiting if story]).pop())
    return mixed


def with_duplicates(batch: list[SealedEvent], chance: random.Random) -> list[SealedEvent]:
    """Some events come again later."""
    again = chance.sample(batch, 30)
    return [*batch, *again]


def with_conflicts(batch: list[SealedEvent], chance: random.Random) -> list[SealedEvent]:
    """Some numbers are given a second time."""
    others = [msgspec.structs.replace(event, digest=chance.randbytes(32)) for event in chance.sample(batch, 10)]
    return [*batch, *others]


def with_poison(batch: list[SealedEvent], chance: random.Random) -> list[SealedEvent]:
    """Some events are refused: by PostgreSQL, by asyncpg, by us."""
    changes: list[dict[str, Any]] = [
        {"payload": '{"text":"\\u0000"}'},
        {"payload": "no json"},
        {"room": "\ud800"},
        {"origin": "a\0b"},
        {"occurred_at": 2**62},
        {"monotonic_ms": 2**70},
    ]
    bad = dict(zip(chance.sample(range(len(batch)), len(changes)), changes, strict=True))
    return [msgspec.structs.replace(event, **bad.get(index, {})) for index, event in enumerate(batch)]


def with_everything(batch: list[SealedEvent], chance: random.Random) -> list[SealedEvent]:
    """All of it."""
    return with_conflicts(with_duplicates(with_poison(batch, chance), chance), chance)


async def tables(url: str) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table; what depends on where in its batch a refused row stood is left out."""
    found = {name: await fetch(url, statement) for name, statement in TABLES.items()}
    return found | await derived(url)


async def stored_in(url: str, batch: Sequence[SealedEvent], size: int) -> dict[str, list[dict[str, Any]]]:
    """The tables after `batch` was written in parts of `size`; every event is accounted for."""
    await empty(url)
    async with sink(url) as target:
        for first in range(0, len(batch), size):
            part = batch[first : first + size]
            outcome = await target.write(part)
            assert sum(msgspec.structs.astuple(outcome)) == len(part)
    return await tables(url)


@pytest.mark.parametrize(
    "make", [lambda batch, _: batch, with_duplicates, with_conflicts, with_poison, with_everything]
)
async def test_large_and_small_batches_give_identical_tables(make: Any, database_url: str) -> None:
    chance = random.Random(4)
    batch = make(many_captures(chance), chance)
    small = await stored_in(database_url, batch, 7)
    for size in (COPY_EVENTS, len(batch)):
        assert await stored_in(database_url, batch, size) == small
    assert small["captures"]
    assert small["visits"]


async def test_a_large_batch_is_copied(own_database_url: str) -> None:
    batch = small_capture(COPY_EVENTS)
    await fetch(own_database_url, "DROP FUNCTION meeta.store")
    async with sink(own_database_url) as target:
        assert await target.write(batch) == Delivery(COPY_EVENTS, 0, 0)


async def test_a_large_batch_with_one_event_that_is_there_stores_the_others(database_url: str) -> None:
    batch = small_capture(2 * COPY_EVENTS)
    async with sink(database_url) as target:
        assert await target.write(batch[-1:]) == Delivery(1, 0, 0)
        assert await target.write(batch) == Delivery(2 * COPY_EVENTS - 1, 1, 0)
        assert await target.write(batch) == Delivery(0, 2 * COPY_EVENTS, 0)
    counted = await fetch(database_url, "SELECT event_count, last_seq FROM meeta.captures")
    assert counted == [{"event_count": 2 * COPY_EVENTS, "last_seq": 2 * COPY_EVENTS}]


async def test_two_processes_deliver_the_same_large_batch(database_url: str) -> None:
    batch = small_capture(5 * COPY_EVENTS)

    async def deliver() -> Delivery:
        async with sink(database_url) as target:
            return await target.write(batch)

    one, other = await asyncio.gather(deliver(), deliver())
    assert (one.stored + other.stored, one.duplicates + other.duplicates) == (len(batch), len(batch))
    counted = await fetch(database_url, "SELECT event_count FROM meeta.captures")
    assert counted == [{"event_count": len(batch)}]


async def test_times_are_the_same_to_the_millisecond_either_way(database_url: str) -> None:
    moments = [-62_135_596_800_000, -1, 0, 1, 999, 1_700_000_000_123, 253_402_300_799_999]
    plain = small_capture(COPY_EVENTS)
    batch = [
        msgspec.structs.replace(event, occurred_at=moments[index % 7], server_at=moments[-1 - index % 7])
        for index, event in enumerate(plain)
    ]
    large, small = await stored_in(database_url, batch, len(batch)), await stored_in(database_url, batch, 10)
    assert large == small
    exact = await fetch(database_url, "SELECT (extract(epoch FROM occurred_at) * 1000)::bigint AS ms FROM meeta.events")
    assert sorted({row["ms"] for row in exact}) == moments


async def test_a_backlog_arrives_in_bulk_and_live_events_behind_it_in_order(tmp_path: Path, database_url: str) -> None:
    options = settings.load({"writer_bulk_backlog": 300, "writer_bulk_events": 700, "writer_batch_events": 100})
    spool = Spool(tmp_path / "spool", options)
    state = State(capture_id=small_capture(1)[0].capture_id, deployment="https://meet.example.org", room="standup")

    async def append(first: int, count: int) -> None:
        events = [
            started() if number == 1 else joined(number, f"e{number % 9}") for number in range(first, first + count)
        ]
        await spool.append(state.capture_id, Append(state, events, 0))

    for first in range(1, 2000, 100):
        await append(first, 100)
    target = PostgresSink(database_url, options)
    writer = Writer(spool, target, options)
    writer.start()
    await append(2001, 5)
    assert await writer.stop(PATIENCE_SECONDS)
    await target.close()
    await spool.close()
    seqs = await fetch(database_url, "SELECT seq FROM meeta.events ORDER BY seq")
    assert [row["seq"] for row in seqs] == list(range(1, 2006))
    assert (writer.stored, writer.quarantined) == (2005, 0)


async def test_a_sink_that_is_stopped_in_the_middle_of_a_copy_stores_all_or_nothing(own_database_url: str) -> None:
    batch = small_capture(COPY_EVENTS)
    connection = await asyncpg.connect(own_database_url)
    async with sink(own_database_url) as target:
        await target.write(batch[:1])
        async with connection.transaction():
            await connection.execute("LOCK TABLE meeta.captures")
            task = asyncio.create_task(target.write(batch[1:] + small_capture(COPY_EVENTS)))
            held = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'meeta.captures'::regclass"
            while not await connection.fetchval(held):
                assert not task.done()
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert await target.write(batch) == Delivery(COPY_EVENTS - 1, 1, 0)
    await connection.close()
