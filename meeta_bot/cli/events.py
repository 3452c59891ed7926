"""``meeta-bot events``: the log itself."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from meeta_bot.cli import console, reading
from meeta_bot.queries import Reader
from meeta_bot.rows import EventRow, event_document


def events(
    meeting: console.Which = "latest",
    types: Annotated[
        list[str] | None, typer.Option("--type", "-t", metavar="TYPE", help="Only this type; may be repeated.")
    ] = None,
    counts: Annotated[bool, typer.Option("--counts", help="How many there are of each type.")] = False,
    as_json: console.AsJson = False,
    database_url: console.DatabaseUrl = None,
    config: console.ConfigFile = None,
) -> None:
    """Print the events of a meeting in order, one a line.

    Examples:

      meeta-bot events latest --type chat.message --json

      meeta-bot events latest --counts
    """
    if counts:
        _print_counts(meeting, as_json=as_json, database_url=database_url, config=config)
        return

    async def work(reader: Reader) -> None:
        found = await reader.find_meeting(meeting)
        async for row in reader.all_events(found.capture_ids, types=types):
            if as_json:
                console.print_json(event_document(row))
            else:
                typer.echo(_line(row))

    reading.read(work, database_url=database_url, config=config)


def _line(row: EventRow) -> str:
    flags = " initial" if row.initial else ""
    flags += " inferred" if row.inferred else ""
    payload = console.safe_name(row.payload or f"({row.quarantine_reason or 'erased'})", 10_000)
    return (
        f"{row.seq:>6} {console.iso_time(row.occurred_at)} {row.type:<28} {row.endpoint_id or '-':<10}{flags} {payload}"
    )


def _print_counts(meeting: str, *, as_json: bool, database_url: str | None, config: console.ConfigFile) -> None:
    async def work(reader: Reader) -> dict[str, int]:
        return await reader.counts((await reader.find_meeting(meeting)).capture_ids)

    found = reading.read(work, database_url=database_url, config=config)
    if as_json:
        console.print_json(found)
        return
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(justify="right")
    for event_type, count in sorted(found.items(), key=lambda item: (-item[1], item[0])):
        table.add_row(Text(str(count), style="bold"), Text(event_type))
    console.out().print(table)
