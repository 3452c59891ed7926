"""``meeta-bot db``: the database."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import typer

from meeta_bot import embedded, logs, migrations
from meeta_bot.cli import console
from meeta_bot.cli.database import DatabaseAccess
from meeta_bot.errors import DatabaseNotMigrated
from meeta_bot.settings import Settings, load

app = typer.Typer(help="The database: schema, address, the embedded server.", no_args_is_help=True)

_T = TypeVar("_T")


def _settings(database_url: str | None, config: Path | None) -> Settings:
    logs.configure(level="warning")
    return load({"database_url": database_url}, config)


def _with_database(settings: Settings, work: Callable[[str], Awaitable[_T]]) -> _T:
    async def run() -> _T:
        async with DatabaseAccess(settings) as database:
            return await work(database.url)

    return asyncio.run(run())


@app.command()
def upgrade(
    database_url: console.DatabaseUrl = None, config: console.ConfigFile = None, as_json: console.AsJson = False
) -> None:
    """Create the schema or bring it up to date, and create the coming months' partitions. Safe to repeat."""
    settings = _settings(database_url, config)
    applied = _with_database(settings, lambda url: migrations.upgrade(url, settings))
    if as_json:
        console.print_json({"applied": applied})
    else:
        console.talk().print(f"applied {', '.join(applied)}" if applied else "already up to date")


@app.command()
def status(
    database_url: console.DatabaseUrl = None, config: console.ConfigFile = None, as_json: console.AsJson = False
) -> None:
    """Say whether the schema fits this program. Exits with 4 when it doesn't."""
    settings = _settings(database_url, config)
    found = _with_database(settings, lambda url: migrations.status(url, settings))
    if as_json:
        console.print_json(found)
    else:
        for label, names in (
            ("applied", found.applied),
            ("pending", found.pending),
            ("unknown to this program", found.unknown),
            ("changed since they were applied", found.changed),
        ):
            if names:
                console.out().print(f"{label}: {', '.join(names)}")
    if found.pending or found.unknown or found.changed:
        sys.exit(DatabaseNotMigrated.exit_code)


@app.command()
def url(database_url: console.DatabaseUrl = None, config: console.ConfigFile = None) -> None:
    """Print the database's address, such as for `psql "$(meeta-bot db url)"`. See `db start` for the embedded one."""
    settings = _settings(database_url, config)
    given = settings.database_url
    typer.echo(given.get_secret_value() if given else embedded.url(settings))


@app.command()
def rebuild(
    database_url: console.DatabaseUrl = None, config: console.ConfigFile = None, as_json: console.AsJson = False
) -> None:
    """Derive captures, meetings, visits and gaps anew from the events. The result is the same."""
    settings = _settings(database_url, config)
    replayed = _with_database(settings, lambda url: migrations.rebuild(url, settings))
    if as_json:
        console.print_json({"events": replayed})
    else:
        console.talk().print(f"rebuilt from {replayed} events")


@app.command()
def start(config: console.ConfigFile = None) -> None:
    """Start the embedded PostgreSQL and keep it up until `db stop`, and print its address."""
    typer.echo(asyncio.run(embedded.start(_settings(None, config))))


@app.command()
def stop(config: console.ConfigFile = None) -> None:
    """Stop the embedded PostgreSQL as soon as no command uses it."""
    down = asyncio.run(embedded.stop(_settings(None, config)))
    console.talk().print("stopped" if down else "other commands still use it; it stops when the last one has ended")
