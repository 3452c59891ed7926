"""The reader of a command: opened for it on the database that its options name, and asked for the meeting it names."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from meeta_bot import logs
from meeta_bot.database import migrations
from meeta_bot.database.access import DatabaseAccess
from meeta_bot.errors import Ambiguous, NotFound
from meeta_bot.reading import queries
from meeta_bot.reading.queries import Reader
from meeta_bot.reading.rows import MeetingRow
from meeta_bot.settings import Settings, load

_T = TypeVar("_T")
_ROOMS_COMPARED = 200  # latest meetings whose rooms are compared with one that is not found
RECORD_ONE = "record one: meeta-bot record https://meet.example.org/WeeklyStandup"


@asynccontextmanager
async def _reader(settings: Settings) -> AsyncIterator[Reader]:
    async with DatabaseAccess(settings) as access:
        if access.is_embedded:  # nobody else maintains its schema
            await migrations.upgrade(access.url, settings)
        async with queries.reading(access.url, settings) as reader:
            yield reader


def run_with_reader(work: Callable[[Reader], Awaitable[_T]], *, database_url: str | None, config: Path | None) -> _T:
    """Run `work` with a reader of the database that the options name, and return its result."""
    settings = load({"database_url": database_url}, config)
    logs.configure(level="warning")

    async def run() -> _T:
        async with _reader(settings) as reader:
            return await work(reader)

    return asyncio.run(run())


async def find_meeting(reader: Reader, which: str) -> MeetingRow:
    """Find the meeting that `which` names, as :meth:`Reader.find_meeting` does.

    :raises NotFound: it names none; the hint names a room that is spelt alike.
    :raises Ambiguous: a prefix matches several.
    """
    try:
        return await reader.find_meeting(which)
    except Ambiguous:
        raise
    except NotFound as error:
        rows = await reader.meetings(_ROOMS_COMPARED)
        if not rows:
            raise NotFound("There are no meetings yet", hint=RECORD_ONE) from None
        close = difflib.get_close_matches(which.lower(), {row.room or "" for row in rows}, 1)
        to_do = f"did you mean {close[0]!r}?" if close else f"{error.hint}; `meeta-bot meetings` lists them"
        raise NotFound(str(error), hint=to_do) from None
