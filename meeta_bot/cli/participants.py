"""``meeta-bot participants``: the people of a meeting, and how long each was there."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from meeta_bot.cli import console
from meeta_bot.cli.pager import paged
from meeta_bot.cli.reader import find_meeting, run_with_reader
from meeta_bot.reading.documents import participant_document
from meeta_bot.reading.queries import Reader
from meeta_bot.reading.rows import ParticipantRow
from meeta_bot.text import duration, safe_name

_SHORTEST_SHOWN_MS = 1000  # less shows as 0:00


def participants(
    meeting: console.Which = "latest",
    as_json: console.AsJsonLines = False,
    database_url: console.DatabaseUrl = None,
    config: console.ConfigFile = None,
) -> None:
    """Show who was in a meeting, when they came and went, and for how long they stayed.

    A duration with ≥ is a lower bound: the arrival or the departure was not seen.
    It was before or after the bot was there, or in a gap. Time within a duration
    in which every bot was blind is shown, too: they were there before and after.

    Visits are put together by the evidence that "known by" names: the user id of
    a token, unless people in two browsers used it at once; else the same browser
    and name. Who is known by an endpoint has one visit only.

    Example:

      meeta-bot participants weeklystandup
    """

    async def work(reader: Reader) -> list[ParticipantRow]:
        found = await find_meeting(reader, meeting)
        return await reader.participants(found.capture_ids)

    rows = run_with_reader(work, database_url=database_url, config=config)
    if as_json:
        for row in rows:
            console.print_json(participant_document(row))
    elif rows:
        with paged():
            console.print_table(_table(rows))
    else:
        console.talk().print("Nobody was seen in this meeting.")


def _table(rows: list[ParticipantRow]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    doubts = [_unseen(row) for row in rows]
    headings = ["participant", "kind", "came", "went", "duration", "visits", "known by"]
    if any(doubts):
        headings.append("not seen")
    for heading in headings:
        table.add_column(heading, justify="right" if heading in ("duration", "visits") else "left", no_wrap=True)
    for row, doubt in zip(rows, doubts, strict=True):
        bound = "≥ " if row.duration_is_lower_bound else ""
        table.add_row(
            Text(safe_name(row.display_name) or safe_name(row.endpoint_ids[0]), style="bold"),
            Text(row.kind or "", style="dim"),
            Text(console.local_time(row.first_joined_at, "%H:%M:%S")),
            Text("still there" if row.present else console.local_time(row.last_seen_at, "%H:%M:%S")),
            Text(f"{bound}{duration(row.duration_ms)}"),
            Text(str(row.visits)),
            Text(row.known_by, style="dim"),
            *([Text(doubt, style="yellow")] if any(doubts) else []),
        )
    return table


def _unseen(row: ParticipantRow) -> str:
    """Write the part of somebody's time that nobody saw: the arrival, the departure, and gaps in between."""
    parts = [] if row.arrivals_seen else ["arrival"]
    if not row.departures_seen and not row.present:
        parts.append("departure")
    if row.unseen_ms >= _SHORTEST_SHOWN_MS:
        parts.append(f"{duration(row.unseen_ms)} in between")
    return ", ".join(parts)
