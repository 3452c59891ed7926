"""What is stored reads back as it was sealed: payloads survive jsonb, digests can be recomputed from the tables."""

from __future__ import annotations

import asyncpg
import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meeta_bot import settings as bot_settings
from meeta_bot.events import Event, chain
from meeta_bot.events.document import envelope, event_document
from meeta_bot.reading import queries
from meeta_bot.timestamps import milliseconds
from tests.postgres.samples import JSON_VALUES, arbitrary_events, seal_all
from tests.postgres.tables import write

RELAXED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@settings(max_examples=15, suppress_health_check=RELAXED)
@given(values=st.lists(JSON_VALUES, min_size=10, max_size=40))
async def test_canonical_json_survives_jsonb(database_url: str, values: list[object]) -> None:
    written = [chain.canonical_json(value) for value in values]
    connection = await asyncpg.connect(database_url)
    try:
        rows = await connection.fetch(
            "SELECT value::text FROM unnest($1::jsonb[]) WITH ORDINALITY AS row (value, place) ORDER BY place",
            [value.decode() for value in written],
        )
    finally:
        await connection.close()
    assert [chain.canonical_json(msgspec.json.decode(row["value"])) for row in rows] == written


@settings(max_examples=15, suppress_health_check=RELAXED)
@given(events=st.lists(arbitrary_events(), min_size=1, max_size=12))
async def test_digests_can_be_recomputed_from_what_is_stored(database_url: str, events: list[Event]) -> None:
    sealed = seal_all(events)
    [delivery] = await write(database_url, sealed)
    assert delivery.stored + delivery.quarantined == len(sealed)
    async with queries.reading(database_url, bot_settings.load()) as reader:
        rows = await reader.events([sealed[0].capture_id])
    assert [row.seq for row in rows] == [event.seq for event in sealed]
    previous = chain.GENESIS
    for row, event in zip(rows, sealed, strict=True):
        assert (row.commitment, row.digest) == (event.commitment, event.digest)
        if row.quarantine_reason is None:
            assert row.payload is not None
            assert row.salt is not None
            assert chain.commit(row.salt, chain.canonical_json(msgspec.json.decode(row.payload))) == row.commitment
            assert chain.link(previous, envelope(row), row.commitment) == row.digest
            assert event_document(row)["seq"] == row.seq
        previous = row.digest


@settings(max_examples=50, suppress_health_check=RELAXED)
@given(ms=st.lists(st.integers(-62_135_596_800_000, 253_402_300_799_999), min_size=20))
async def test_moments_are_exact(database_url: str, ms: list[int]) -> None:
    connection = await asyncpg.connect(database_url, server_settings={"timezone": "UTC"})
    try:
        rows = await connection.fetch(
            "SELECT meeta.moment(ms::numeric) AS moment FROM unnest($1::bigint[]) WITH ORDINALITY AS row (ms, place)"
            " ORDER BY place",
            ms,
        )
    finally:
        await connection.close()
    assert [milliseconds(row["moment"]) for row in rows] == ms
