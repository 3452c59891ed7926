"""``meeta-bot meetings``: the list of recorded meetings."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from meeta_bot.cli import console
from meeta_bot.cli.pager import paged
from meeta_bot.cli.reader import RECORD_ONE, run_with_reader
from meeta_bot.reading.documents import meeting_document
from meeta_bot.reading.rows import MeetingRow
from meeta_bot.text import duration, safe_name

_LENGTHS = range(8, 37)  # characters of an id that are shown, 36 are all
_STATE_STYLES = {"recording": "green", "lost": "red"}


def meetings(
    room: Annotated[str | None, typer.Option(callback=console.as_text, help="Only meetings of this room.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="At most this many.")] = 20,
    as_json: console.AsJsonLines = False,
    database_url: console.DatabaseUrl = None,
    config: console.ConfigFile = None,
) -> None:
    """List recorded meetings, the newest first.

    A capture that never got into its room belongs to no meeting and is listed by
    itself.

    Examples:

      meeta-bot meetings

      meeta-bot meetings --room weeklystandup --json
    """
    rows = run_with_reader(lambda reader: reader.meetings(limit, room), database_url=database_url, config=config)
    if as_json:
        for row in rows:
            console.print_json(meeting_document(row))
    elif rows:
        with paged():
            console.print_table(_table(rows))
    elif room is not None:
        shown = console.markup_free(safe_name(room))
        console.talk().print(f"No meetings of room {shown!r}. `meeta-bot meetings` lists all.", soft_wrap=True)
    else:
        console.talk().print(f"No meetings yet; {RECORD_ONE}", soft_wrap=True)


def styled_state(row: MeetingRow) -> Text:
    """Write a meeting's state in colour."""
    return Text(row.state_text, style=_STATE_STYLES.get(row.state, ""))


def _short_ids(rows: list[MeetingRow]) -> list[str]:
    """Shorten each row's id until it fits no other: captures of the same minute share the first eight digits."""
    fitting = Counter(one[:n] for row in rows for one in {row.id, *row.capture_ids} for n in _LENGTHS)
    return [next((row.id[:n] for n in _LENGTHS if fitting[row.id[:n]] == 1), row.id) for row in rows]


def _table(rows: list[MeetingRow]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for heading in ("meeting", "started", "length", "people", "events", "state", "room"):
        numeric = heading in ("length", "people", "events")
        table.add_column(heading, justify="right" if numeric else "left", no_wrap=True)
    for row, short_id in zip(rows, _short_ids(rows), strict=True):
        table.add_row(
            Text(short_id),
            Text(console.local_time(row.started_at or row.captured_at, "%Y-%m-%d %H:%M")),
            Text(duration(row.duration_ms)),
            Text(str(row.people)),
            Text(str(row.event_count)),
            styled_state(row),
            Text(safe_name(f"{row.deployment}/{row.room}", 80)),
        )
    return table
