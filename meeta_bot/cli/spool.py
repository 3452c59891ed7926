"""``meeta-bot spool``: what waits on disk to be delivered."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import typer

from meeta_bot import logs, migrations
from meeta_bot.cli import console
from meeta_bot.cli.database import DatabaseAccess
from meeta_bot.clock import SystemClock
from meeta_bot.errors import EXIT_EVENTS_REMAIN, SpoolUnusable
from meeta_bot.postgres import PostgresSink
from meeta_bot.recorder import end_cut_captures
from meeta_bot.settings import Settings, load
from meeta_bot.spool import adopt
from meeta_bot.worker import deliver_and_close, spool_root

app = typer.Typer(help="Events on disk that are not in the database yet.", no_args_is_help=True)


@app.callback()
def spool() -> None:
    """Events on disk that are not in the database yet."""


@app.command()
def flush(
    database_url: console.DatabaseUrl = None, config: console.ConfigFile = None, as_json: console.AsJson = False
) -> None:
    """Deliver what recorders that no longer run have left.

    Captures that were cut by a kill get their gap and their end. Spools of running recorders are left alone: those
    deliver themselves. Exits with 75 when events remain.
    """
    settings = load({"database_url": database_url}, config)
    logs.configure(level="warning")
    sys.exit(asyncio.run(_flush(settings, as_json=as_json)))


async def _flush(settings: Settings, *, as_json: bool) -> int:
    delivered = remaining = captures = 0
    root = spool_root(settings)
    if not _is_there(root):
        console.talk().print(f"There is no spool {console.markup_free(str(root))}", soft_wrap=True)
    async with DatabaseAccess(settings) as database:
        await migrations.upgrade(database.url, settings)
        for spool in adopt(root, settings):
            captures += await end_cut_captures(spool, SystemClock())
            before = spool.waiting
            left = await deliver_and_close(spool, PostgresSink(database.url, settings), settings)
            delivered += before - left
            remaining += left
    if as_json:
        console.print_json({"delivered": delivered, "remaining": remaining, "captures_ended": captures})
    else:
        console.talk().print(f"{delivered} events delivered, {remaining} remain, {captures} cut captures ended")
    return EXIT_EVENTS_REMAIN if remaining else 0


def _is_there(root: Path) -> bool:
    """Is there a directory of spools? Without one nothing can remain; more often its place was named wrongly.

    :raises SpoolUnusable: nobody can tell.
    """
    try:
        return root.is_dir()
    except OSError as error:
        hint = "name the directory that the recorder had with MEETA_DATA_DIRECTORY"
        raise SpoolUnusable(f"Can't read the spool {root}: {error.strerror}", hint=hint) from None
