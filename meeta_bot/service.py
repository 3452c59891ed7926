"""The composition root: from settings to a database, sinks and a worker.

Whatever starts a recording or delivers what is left does it here: the command line today. Surfaces parse, call one
function of this module, and show what came of it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import msgspec

from meeta_bot.capture.log import end_cut_captures
from meeta_bot.capture.spool import Spool, adopt
from meeta_bot.capture.spool.directory import spool_root
from meeta_bot.clock import SystemClock
from meeta_bot.database import migrations
from meeta_bot.database.access import DatabaseAccess
from meeta_bot.delivery import registry
from meeta_bot.delivery.outlets import LeftSpool
from meeta_bot.delivery.registry import DATABASE, Destination, Sinks
from meeta_bot.delivery.sink import Sink
from meeta_bot.settings import Settings
from meeta_bot.worker import Worker


class FlushResult(msgspec.Struct):
    """The outcome of a flush.

    ``lost``: events that had been acknowledged and are gone. ``waits_for``: the sinks that remaining events wait for,
    and why they don't take them.
    """

    delivered: int = 0
    remaining: int = 0
    captures_ended: int = 0
    lost: int = 0
    damaged_captures: list[str] = []
    damaged_spools: list[str] = []
    waits_for: list[str] = []


@asynccontextmanager
async def recording(settings: Settings, sinks: Sequence[Destination] = ()) -> AsyncIterator[Worker]:
    """Give a worker with its database and further `sinks`, which are opened first; it runs within the block.

    The database may be away: an embedded one is started, and any is migrated, when the worker delivers.

    :raises UsageError: one of the sinks can't be opened; nothing is recorded then.
    :raises SpoolError: there is no spool to be had.
    """
    opened = Sinks(settings)
    try:
        for destination in sinks:
            await opened.get(destination).open()
        async with DatabaseAccess(settings, eager=False) as database:
            worker = Worker(
                settings,
                make_sink=lambda: _sink(database, settings),
                prepare=lambda: _prepare(database, settings),
                also=sinks,
                sinks=opened,
            )
            try:
                yield worker
            finally:
                await worker.close()
    finally:
        await opened.close()


async def flush(settings: Settings, *, database_only: bool = False) -> FlushResult:
    """Deliver what recorders that no longer run have left, to every sink that it was promised to.

    :param database_only: to the database alone; other sinks never get it.
    :raises DatabaseError: the database can't be used.
    """
    result = FlushResult()
    sinks = Sinks(settings)
    try:
        async with DatabaseAccess(settings) as database:
            await migrations.upgrade(database.url, settings)
            for spool in adopt(spool_root(settings), settings):
                result.captures_ended += await end_cut_captures(spool, SystemClock())
                left = LeftSpool(spool, _sink(database, settings), sinks, settings)
                await _flush(spool, left, settings, result, database_only=database_only)
    finally:
        await sinks.close()
    return result


async def _flush(
    spool: Spool, left: LeftSpool, settings: Settings, result: FlushResult, *, database_only: bool
) -> None:
    before = spool.waiting
    remaining = await left.deliver_and_close(within=settings.flush_timeout, database_only=database_only)
    result.delivered += before - remaining
    result.remaining += remaining
    result.lost += spool.damaged
    result.damaged_captures += spool.damaged_captures
    if remaining:
        result.waits_for += left.lacking
    if spool.damaged_captures:
        result.damaged_spools.append(str(spool.directory))


def _sink(database: DatabaseAccess, settings: Settings) -> Sink:
    return registry.make(Destination(DATABASE, database.url), settings)


async def _prepare(database: DatabaseAccess, settings: Settings) -> None:
    await database.open()
    await migrations.upgrade(database.url, settings)
