"""Fills a database with made-up captures: several meetings at once, so that their rows lie mixed, month after month.

Templates (`made_up`) are varied in SQL: each capture gets ids, room, times and a meeting of its own. Digests and salts
are the template's, so chains don't hold. The derived tables come from the product's own `db rebuild` statement. All
partitions are vacuumed but the newest one.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from meeta_bot import settings
from meeta_bot.database import migrations, sqlfiles
from meeta_bot.events import SealedEvent
from scripts.bench import made_up

PARTITIONS = 108  # months that have a partition, nine years; the last ones with events, the others empty
MONTHS = 24  # that have events
AT_ONCE = 40  # captures that are written in turns
_SECOND_WITNESS = 0.08  # share of captures that see the meeting of the one before
_WORKERS = 2
_SORT_MEMORY = "192MB"
_MONTH_MS = 2_629_800_000  # a twelfth of a year
_FIRST_PARTITION = "2020-01-01 00:00:00+00"

_TABLES = """
    CREATE SCHEMA bench;
    CREATE TABLE bench.template (
        template integer, seq bigint, type text, origin text, room text, endpoint_id text, monotonic_ms bigint,
        initial boolean, inferred boolean, payload text, salt bytea, commitment bytea, digest bytea);
    CREATE TABLE bench.capture (
        capture_id uuid, template integer, began_ms bigint, mark text, room text, meeting_id uuid, slot integer)"""

# In the order of time, as a recorder with many captures writes. Moments in payloads move with the capture.
_INSERT = f"""
    INSERT INTO meeta.events (capture_id, seq, type, origin, room, endpoint_id, occurred_at, monotonic_ms, initial,
        inferred, payload, salt, commitment, digest)
    SELECT capture.capture_id, seq, type, origin, template.room,
        replace(endpoint_id, '{made_up.ENDPOINTS}', mark), meeta.moment((began_ms + monotonic_ms)::numeric),
        monotonic_ms, initial, inferred,
        CASE WHEN strpos(own.payload, '_at":1') = 0 THEN own.payload::jsonb
             ELSE (SELECT jsonb_object_agg(key, CASE WHEN key LIKE '%\\_at' AND jsonb_typeof(value) = 'number'
                       THEN to_jsonb(value::bigint - {made_up.BASE_MS} + began_ms) ELSE value END)
                   FROM jsonb_each(own.payload::jsonb)) END,
        salt, commitment, digest
    FROM bench.capture
    JOIN bench.template USING (template)
    CROSS JOIN LATERAL (SELECT replace(replace(replace(template.payload, '{made_up.MEETING}', meeting_id::text),
        '{made_up.ROOM}', capture.room), '{made_up.ENDPOINTS}', mark)) AS own (payload)
    WHERE slot = $1
    ORDER BY began_ms + monotonic_ms, capture.capture_id, seq"""  # noqa: S608 - constants from above


@dataclass(frozen=True)
class Capture:
    """One capture to be: rows of `bench.capture`, without the slot."""

    capture_id: UUID
    template: int
    began_ms: int
    mark: str
    room: str
    meeting_id: UUID


async def fill(url: str, events: int, now: datetime) -> int:
    """Make at least `events` events in the `MONTHS` before `now`, and what is derived from them; how many there are."""
    stories = made_up.templates(48, seed=1)
    slots = list(_slots(events, [len(story) for story in stories], now, random.Random(2)))
    connection = await asyncpg.connect(url)
    try:
        await migrations.upgrade(url, settings.load())
        await connection.execute("SELECT meeta.ensure_partitions($1::timestamptz, $2)", _moment(), PARTITIONS)
        await connection.execute(_TABLES)
        await _copy(connection, stories, slots)
        await connection.execute("ANALYZE bench.template")
    finally:
        await connection.close()
    by_month = [range(month, len(slots), MONTHS) for month in range(MONTHS)]
    done = [0]
    await asyncio.gather(*(_work(url, by_month[first::_WORKERS], slots, done) for first in range(_WORKERS)))
    await _vacuum_derived(url)
    return sum(len(stories[capture.template]) for slot in slots for capture in slot)


def _moment() -> datetime:
    return datetime.fromisoformat(_FIRST_PARTITION)


def _slots(events: int, sizes: Sequence[int], now: datetime, chance: random.Random) -> Iterator[list[Capture]]:
    """Captures that run at once, a slot of them in every month by turns, until there are `events` events."""
    captures = round(events / (sum(sizes) / len(sizes)))
    rounds = max(1, round(captures / MONTHS / AT_ONCE))
    together = max(2, round(captures / MONTHS / rounds))
    first = int(now.timestamp() * 1000) - MONTHS * _MONTH_MS
    for round_ in range(rounds):
        for month in range(MONTHS):
            at = first + month * _MONTH_MS + (2 * round_ + 1) * _MONTH_MS // (2 * rounds + 2)
            yield list(_together(at, together, len(sizes), chance))


def _together(at: int, number: int, stories: int, chance: random.Random) -> Iterator[Capture]:
    last: Capture | None = None
    for _ in range(number):
        began = at + chance.randrange(300_000)
        if last is not None and chance.random() < _SECOND_WITNESS:
            last = Capture(_uuid(7, began, chance), last.template, began, last.mark, last.room, last.meeting_id)
        else:
            room = f"Room{chance.randrange(1500)}"
            mark = chance.randbytes(3).hex()
            meeting_id = _uuid(5, chance.getrandbits(48), chance)
            last = Capture(_uuid(7, began, chance), chance.randrange(stories), began, mark, room, meeting_id)
        yield last


def _uuid(version: int, first_bits: int, chance: random.Random) -> UUID:
    return UUID(int=first_bits << 80 | version << 76 | chance.getrandbits(12) << 64 | 2 << 62 | chance.getrandbits(62))


async def _copy(
    connection: asyncpg.Connection[Any], stories: Sequence[list[SealedEvent]], slots: Sequence[list[Capture]]
) -> None:
    await connection.copy_records_to_table(
        "template",
        schema_name="bench",
        records=[_template_row(number, event) for number, story in enumerate(stories) for event in story],
    )
    await connection.copy_records_to_table(
        "capture",
        schema_name="bench",
        records=[
            (one.capture_id, one.template, one.began_ms, one.mark, one.room, one.meeting_id, number)
            for number, slot in enumerate(slots)
            for one in slot
        ],
    )


def _template_row(number: int, event: SealedEvent) -> tuple[Any, ...]:
    return (
        number,
        event.seq,
        event.type,
        event.origin,
        event.room,
        event.endpoint_id,
        event.monotonic_ms,
        event.initial,
        event.inferred,
        event.payload,
        event.salt,
        event.commitment,
        event.digest,
    )


async def _work(url: str, months: Sequence[Sequence[int]], slots: Sequence[list[Capture]], done: list[int]) -> None:
    """Write whole months, one after the other, and derive what is derived."""
    connection = await asyncpg.connect(
        url, server_settings={"work_mem": _SORT_MEMORY, "jit": "off", "synchronous_commit": "off"}
    )
    try:
        for month in months:
            for slot in month:
                await connection.execute(_INSERT, slot)
                await derive(connection, [capture.capture_id for capture in slots[slot]])
            await _tidy(connection, slots[month[0]][0].capture_id, is_newest=month[0] == MONTHS - 1)
            done[0] += 1
            print(f"  {done[0]} of {MONTHS} months written", file=sys.stderr)
    finally:
        await connection.close()


async def _tidy(connection: asyncpg.Connection[Any], capture_id: UUID, *, is_newest: bool) -> None:
    """Do what autovacuum does to the partition that a capture lies in; to the newest only half of it."""
    partition = await connection.fetchval(
        "SELECT tableoid::regclass::text FROM meeta.events WHERE capture_id = $1 LIMIT 1", capture_id
    )
    await connection.execute(f"{'ANALYZE' if is_newest else 'VACUUM (ANALYZE)'} {partition}")


async def _vacuum_derived(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("VACUUM (ANALYZE) meeta.captures, meeta.meetings, meeta.visits, meeta.gaps")
    finally:
        await connection.close()


async def derive(connection: asyncpg.Connection[Any], capture_ids: Sequence[UUID]) -> None:
    """Derive meetings, visits, gaps and captures from stored events."""
    statement = sqlfiles.statement("rebuild/chunk")
    for capture_id in sorted(capture_ids):
        last = 0
        while row := await connection.fetchrow(statement, capture_id, last, migrations.REBUILD_CHUNK):
            last = row["last"]
