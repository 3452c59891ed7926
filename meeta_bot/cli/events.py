"""``meeta-bot events``: the events of a meeting, as they are stored."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from meeta_bot.cli import console, selection
from meeta_bot.cli.pager import paged
from meeta_bot.cli.reader import find_meeting, run_with_reader
from meeta_bot.errors import UsageError
from meeta_bot.events.document import EventRow, event_document
from meeta_bot.reading.queries import EVERYTHING, Filter, Reader
from meeta_bot.reading.rows import MeetingRow
from meeta_bot.text import safe_name
from meeta_bot.timestamps import iso

# Seconds between two queries of --follow: at once for a person, and two small queries a second for the database.
FOLLOW_INTERVAL = 0.5

_LONGEST_PAYLOAD = 10_000  # characters of a line for persons; --json has all of them


def events(
    meeting: console.Which = "latest",
    types: selection.Types = None,
    who: selection.Who = None,
    since: selection.Since = None,
    until: selection.Until = None,
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", min=1, help="At most this many, the first ones.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with new events, until Ctrl-C or the captures have ended.")
    ] = False,
    counts: Annotated[bool, typer.Option("--counts", help="Count the events of each type.")] = False,
    as_json: console.AsJsonLines = False,
    database_url: console.DatabaseUrl = None,
    config: console.ConfigFile = None,
) -> None:
    """Print the events of a meeting in order, one a line.

    A time without a zone is local time.

    Examples:

      meeta-bot events latest --type chat.message --json

      meeta-bot events weeklystandup --who "Ada Lovelace" --since 15m

      meeta-bot events latest --counts
    """
    selected = selection.selection(types, who, since, until)
    if counts and follow:
        raise UsageError("--counts and --follow don't go together", hint="give one of them")

    async def work(reader: Reader) -> None:
        found = await find_meeting(reader, meeting)
        wanted = selected.filter(found.captured_at)
        if counts:
            _print_counts(await _count(reader, found, wanted, limit), as_json=as_json)
        else:
            await _print_events(reader, found, wanted, limit, follow=follow, as_json=as_json)

    # Ctrl-C is how following is meant to end.
    is_paged = not (follow or counts or as_json)
    with contextlib.suppress(KeyboardInterrupt) if follow else paged(wanted=is_paged):
        run_with_reader(work, database_url=database_url, config=config)


# --- output -------------------------------------------------------------------------------------------------------


async def _print_events(
    reader: Reader, found: MeetingRow, wanted: Filter, limit: int | None, *, follow: bool, as_json: bool
) -> None:
    if follow and found.state == "lost":
        console.talk().print("No capture shows signs of life; waiting in case one comes back. Ctrl-C ends.")
    printed = 0
    async with aclosing(_rows(reader, found, wanted, limit, follow=follow)) as rows:
        async for row in rows:
            _print_event(row, as_json=as_json, flush=follow)
            printed += 1
    if not (printed or as_json or follow):
        console.talk().print("No events match.")


async def _rows(
    reader: Reader, found: MeetingRow, wanted: Filter, limit: int | None, *, follow: bool = False
) -> AsyncGenerator[EventRow, None]:
    """Yield the events that are wanted, `limit` of them at most."""
    rows: AsyncIterator[EventRow] = reader.all_events(found.capture_ids, wanted)
    if follow:
        rows = reader.follow(found.capture_ids, wanted, interval=FOLLOW_INTERVAL)
    passed = 0
    async for row in rows:
        yield row
        passed += 1
        if passed == limit:
            return


def _print_event(row: EventRow, *, as_json: bool, flush: bool) -> None:
    if as_json:
        console.print_json(event_document(row))
    else:
        sys.stdout.write(f"{_line(row)}\n")
    if flush:
        sys.stdout.flush()


def _line(row: EventRow) -> str:
    flags = " initial" if row.initial else ""
    flags += " inferred" if row.inferred else ""
    payload = safe_name(row.payload or f"({row.quarantine_reason or 'erased'})", _LONGEST_PAYLOAD)
    whom = safe_name(row.endpoint_id) or "-"
    return f"{row.seq:>6} {iso(row.occurred_at)} {row.type:<28} {whom:<10}{flags} {payload}"


async def _count(reader: Reader, found: MeetingRow, wanted: Filter, limit: int | None) -> dict[str, int]:
    """Count the events of each type. Without conditions an index answers."""
    if wanted == EVERYTHING and limit is None:
        return await reader.counts(found.capture_ids)
    numbers: Counter[str] = Counter()
    async with aclosing(_rows(reader, found, wanted, limit)) as rows:
        async for row in rows:
            numbers[row.type] += 1
    return dict(sorted(numbers.items()))


def _print_counts(found: dict[str, int], *, as_json: bool) -> None:
    if as_json:
        console.print_json(found)
        return
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(justify="right")
    for event_type, count in sorted(found.items(), key=lambda item: (-item[1], item[0])):
        table.add_row(Text(str(count), style="bold"), Text(event_type))
    console.out().print(table)
