"""Tampering: copies of a sound database in which something was done to a capture; verify has to refute each."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Any

import asyncpg

from meeta_bot import settings as bot_settings
from meeta_bot import verify
from meeta_bot.database import migrations
from tests.chaos import faults, world
from tests.chaos.oracle import Known
from tests.chaos.postgres import Killable

RUNS = 3  # of the load that is tampered with
LEAST_EVENTS = 8  # of a capture that is tampered with
# Places of a row that are altered; each leaves a value that the column takes.
ALTERATIONS = (
    'payload = payload || \'{"text": "nobody said this"}\'',
    "occurred_at = occurred_at + interval '1 ms'",
    "monotonic_ms = monotonic_ms + 1",
    "type = 'chat.private_message'",
    "endpoint_id = 'somebody'",
    "inferred = NOT inferred",
    "salt = decode(md5(salt::text), 'hex')",
)
_SWAP = """
UPDATE meeta.events AS one SET {columns} FROM meeta.events AS other
WHERE one.capture_id = $1::uuid AND other.capture_id = $1::uuid
    AND ((one.seq = $2 AND other.seq = $3) OR (one.seq = $3 AND other.seq = $2))
"""
_WORDS = ("payload", "salt", "commitment")
_WHOLE = (*_WORDS, "type", "origin", "room", "endpoint_id", "occurred_at", "monotonic_ms", "digest")


@dataclass
class Refutation:
    """A kind of tampering, how often it was done, and how often verify refuted the capture afterwards."""

    name: str
    times: int = 0
    refuted: int = 0


@dataclass(frozen=True)
class _Case:
    """A capture in a copy of the database; `last` is its last number."""

    url: str
    connection: Any
    capture_id: str
    last: int
    chance: Random

    def middle(self) -> int:
        """A number that is neither the first nor the last."""
        return self.chance.randint(2, self.last - 1)

    async def do(self, statement: str, *arguments: Any) -> None:
        """Run a statement about the capture, which is $1."""
        await self.connection.execute(statement, self.capture_id, *arguments)


async def _delete_row(case: _Case) -> None:
    await case.do("DELETE FROM meeta.events WHERE capture_id = $1::uuid AND seq = $2", case.middle())


async def _delete_last(case: _Case) -> None:
    await case.do("DELETE FROM meeta.events WHERE capture_id = $1::uuid AND seq = $2", case.last)


async def _delete_last_and_rebuild(case: _Case) -> None:
    await _delete_last(case)
    await migrations.rebuild(case.url, bot_settings.load())


async def _delete_events(case: _Case) -> None:
    await case.do("DELETE FROM meeta.events WHERE capture_id = $1::uuid")


async def _delete_capture(case: _Case) -> None:
    for table in ("events", "captures", "visits", "gaps"):
        await case.do(f"DELETE FROM meeta.{table} WHERE capture_id = $1::uuid")  # noqa: S608 - names from above


async def _alter(case: _Case) -> None:
    change = case.chance.choice(ALTERATIONS)
    await case.do(f"UPDATE meeta.events SET {change} WHERE capture_id = $1::uuid AND seq = $2", case.middle())  # noqa: S608


async def _swap(case: _Case) -> None:
    one, other = case.chance.sample(range(2, case.last), 2)
    columns = case.chance.choice([_WORDS, _WHOLE])
    await case.do(_SWAP.format(columns=", ".join(f"{name} = other.{name}" for name in columns)), one, other)


# The name, what is done, and whether it takes a head that was kept elsewhere to show it.
_KINDS: tuple[tuple[str, Callable[[_Case], Awaitable[None]], bool], ...] = (
    ("a row deleted", _delete_row, False),
    ("the last row deleted", _delete_last, False),
    ("the last row deleted, tables rebuilt (`--expect`)", _delete_last_and_rebuild, True),
    ("all events of a capture deleted", _delete_events, False),
    ("a capture deleted everywhere (`--expect`)", _delete_capture, True),
    ("a row altered", _alter, False),
    ("two rows swapped", _swap, False),
)


async def run(server: Killable, chance: Random, rounds: int) -> tuple[list[Refutation], list[str]]:
    """Record something, and tamper `rounds` times in each way with a capture of it.

    :returns: what was refuted, and why nothing could be tampered with.
    """
    async with world.made(server) as place:
        for _ in range(RUNS):
            await faults.killed(place, Random(chance.random()))
        await faults.killed_stopping(place, Random(chance.random()))
        await place.reckon()
        if place.tally.violations:
            return [], [f"what is to be tampered with is not sound: {line}" for line in place.tally.violations]
        captures = [known for known in place.known().values() if known.last_seq >= LEAST_EVENTS]
        return [await _kind(server, place.url, kind, captures, chance, rounds) for kind in _KINDS], []


async def _kind(
    server: Killable,
    url: str,
    kind: tuple[str, Callable[[_Case], Awaitable[None]], bool],
    captures: list[Known],
    chance: Random,
    rounds: int,
) -> Refutation:
    name, tamper, needs_head = kind
    found = Refutation(name)
    for _ in range(rounds):
        known = chance.choice(captures)
        async with _copied(server, url) as copy:
            connection = await asyncpg.connect(copy)
            try:
                before = await connection.fetchrow(
                    "SELECT max(seq) AS last, (array_agg(digest ORDER BY seq DESC))[1] AS head"
                    " FROM meeta.events WHERE capture_id = $1::uuid",
                    known.capture_id,
                )
                assert before is not None
                await tamper(_Case(copy, connection, known.capture_id, before["last"], chance))
            finally:
                await connection.close()
            found.times += 1
            found.refuted += await _is_refuted(copy, known.capture_id, before["head"] if needs_head else None)
    return found


async def _is_refuted(url: str, capture_id: str, expect: bytes | None) -> bool:
    settings = bot_settings.load()
    # Without a head, everything that is known is asked for, as `verify --all` does: no name is needed then.
    names = [capture_id] if expect is not None else await verify.stored_captures(url, settings)
    found = [verdict async for verdict in verify.verdicts(url, settings, names, expect=expect)]
    return [verdict.capture_id for verdict in found if not verdict.verified] == [capture_id]


@asynccontextmanager
async def _copied(server: Killable, url: str) -> AsyncIterator[str]:
    copy = "tampered"
    with contextlib.suppress(asyncpg.InvalidCatalogNameError):
        await server.execute(f"DROP DATABASE {copy} WITH (FORCE)")
    await server.execute(f"CREATE DATABASE {copy} TEMPLATE {server.name_of(url)}")
    try:
        yield server.url(copy)
    finally:
        await server.execute(f"DROP DATABASE {copy} WITH (FORCE)")
