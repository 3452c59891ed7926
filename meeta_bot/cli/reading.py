"""What the reading commands share: open the database, find the meeting, run a coroutine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from meeta_bot import logs, migrations, queries
from meeta_bot.cli.database import DatabaseAccess
from meeta_bot.queries import Reader
from meeta_bot.rows import EventRow
from meeta_bot.settings import Settings, load

_T = TypeVar("_T")


@asynccontextmanager
async def _reader(settings: Settings) -> AsyncIterator[Reader]:
    async with DatabaseAccess(settings) as database:
        if database.is_embedded:  # nobody else looks after its schema
            await migrations.upgrade(database.url, settings)
        async with queries.reading(database.url, settings) as reader:
            yield reader


def read(work: Callable[[Reader], Awaitable[_T]], *, database_url: str | None, config: Path | None) -> _T:
    """The result of `work`, which is given a reader of the database that the options name."""
    settings = load({"database_url": database_url}, config)
    logs.configure(level="warning")

    async def run() -> _T:
        async with _reader(settings) as reader:
            return await work(reader)

    return asyncio.run(run())


class ToldEvent(msgspec.Struct, frozen=True):
    """A stored event with its payload decoded."""

    row: EventRow
    payload: dict[str, Any] | None

    @property
    def type(self) -> str:
        return self.row.type

    @property
    def endpoint_id(self) -> str | None:
        return self.row.endpoint_id

    @property
    def monotonic_ms(self) -> int:
        return self.row.monotonic_ms


def told(row: EventRow) -> ToldEvent:
    """`row` with its payload decoded."""
    return ToldEvent(row, None if row.payload is None else msgspec.json.decode(row.payload))
