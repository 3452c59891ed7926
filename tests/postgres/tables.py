"""Reading whole tables back, for comparison."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from meeta_bot import settings
from meeta_bot.delivery.postgres import PostgresSink
from meeta_bot.delivery.sink import Delivery
from meeta_bot.events import SealedEvent
from tests.stack.postgres import FORGET, fetch

DERIVED = {
    "captures": "SELECT * FROM meeta.captures ORDER BY capture_id",
    "meetings": "SELECT * FROM meeta.meetings ORDER BY meeting_id",
    "visits": "SELECT * FROM meeta.visits ORDER BY capture_id, joined_seq",
    "gaps": "SELECT * FROM meeta.gaps ORDER BY capture_id, seq",
}


async def derived(url: str) -> dict[str, list[dict[str, Any]]]:
    """Every row of every derived table."""
    return {name: await fetch(url, statement) for name, statement in DERIVED.items()}


async def empty(url: str) -> None:
    """Forget all captures."""
    await fetch(url, FORGET)


@asynccontextmanager
async def sink(url: str, **options: Any) -> AsyncIterator[PostgresSink]:
    """A sink with `options` as settings."""
    instance = PostgresSink(url, settings.load(options))
    try:
        yield instance
    finally:
        await instance.close()


async def write(url: str, *batches: Sequence[SealedEvent]) -> list[Delivery]:
    """What became of batches that one sink wrote."""
    async with sink(url) as target:
        return [await target.write(batch) for batch in batches]
