"""``meeta-bot meetings``: what was recorded."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from meeta_bot.cli import console, reading_command
from meeta_bot.reading.rows import MeetingRow
from meeta_bot.text import duration, safe_name
from meeta_bot.timestamps import iso, milliseconds

_LENGTHS = range(8, 37)  # characters of an id that are shown, 36 are all
_STATE_STYLES = {"recording": "green", "lost": "red"}


def meetings(
    room: Annotated[str | None, typer.Option(callback=console.as_text, help="Only meetings of this room.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="At most so many.")] = 20,
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
    rows = reading_command.read(lambda reader: reader.meetings(limit, room), database_url=database_url, config=config)
    if as_json:
        for row in rows:
            console.print_json(document(row))
    elif rows:
        console.print_table(_table(rows))
    elif room is not None:
        shown = console.markup_free(safe_name(room))
        console.talk().print(f"No meetings of room {shown!r}. `meeta-bot meetings` lists all.", soft_wrap=True)
    else:
        console.talk().print(f"No meetings yet; {reading_command.RECORD_ONE}", soft_wrap=True)


def document(row: MeetingRow) -> dict[str, object]:
    """A meeting as users get it in JSON."""
    return {
        "meeting_id": row.meeting_id,
        "capture_ids": row.capture_ids,
        "state": row.state,
        "deployment": row.deployment,
        "room": row.room,
        "subject": row.subject,
        "started_at": iso(row.started_at),
        "ended_at": iso(row.ended_at),
        "duration_ms": length_ms(row),
        "end_reason": row.end_reason,
        "host_name": row.host_name,
        "host_endpoint_id": row.host_endpoint_id,
        "server_meeting_id": row.server_meeting_id,
        "created_at": iso(row.created_at),
        "people": row.people,
        "events": row.event_count,
    }


def length_ms(row: MeetingRow) -> int | None:
    """How long the meeting took; None while it runs, and where its end was not seen."""
    if row.started_at is None or row.ended_at is None:
        return None
    return milliseconds(row.ended_at) - milliseconds(row.started_at)


def state_text(row: MeetingRow) -> Text:
    """Where the meeting stands, in colour."""
    reason = f" ({row.end_reason.replace('_', ' ')})" if row.meeting_id is None and row.end_reason else ""
    return Text(f"{row.state}{reason}", style=_STATE_STYLES.get(row.state, ""))


def _short_ids(rows: list[MeetingRow]) -> list[str]:
    """The beginning of each row's id that fits no other: captures of the same minute share the first eight digits."""
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
            Text(duration(length_ms(row))),
            Text(str(row.people)),
            Text(str(row.event_count)),
            state_text(row),
            Text(safe_name(f"{row.deployment}/{row.room}", 80)),
        )
    return table
