"""No stored value, however odd, breaks a view, a documented query or a reader.

The database is the operator's own: what stands in it may come from another program, an older one, or a hand. Every
column of every table takes every extreme of its type in a capture of its own; a value that a table refuses can't stand
there, and is none of ours.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from itertools import count
from typing import Any

import asyncpg
import msgspec
from typer.testing import CliRunner

from meeta_bot.cli import app
from meeta_bot.events import (
    CATALOG,
    AudioUnmuted,
    CaptureGap,
    ChatMessage,
    ConferenceJoined,
    DominantSpeakerChanged,
    Event,
    GapCause,
    HandRaised,
    Lost,
    MeetingStarted,
    ParticipantRenamed,
)
from tests.postgres.samples import BEGAN_MS, ended, happening, identified, joined, left, seal_all, started
from tests.postgres.tables import write
from tests.postgres.test_views import QUERIES, VIEWS

EXTREMES = {
    "bigint": ["0", "-1", "9223372036854775807", "-9223372036854775808", "9223372036854775", "253402300800000"],
    "timestamp with time zone": [
        "'0001-01-01 00:00:00+00'",
        "'9999-12-31 23:59:59.999999+00'",
    ],
    "text": ["''", "repeat('x', 100000)", r"E'\x1b[2J\r\n\t\u202e\U0010ffff'", "'[bold]%s{}'", "'NaN'"],
    "boolean": ["true", "false"],
    "bytea": ["''", r"'\x00'", "decode(repeat('00', 10000), 'hex')"],
    "uuid": ["'00000000-0000-0000-0000-000000000000'", "'ffffffff-ffff-ffff-ffff-ffffffffffff'"],
    "jsonb": ["'null'", "'[]'", "'0'", "'\"x\"'", "'{}'", "'[[[[[]]]]]'"],
}
# Moments that no reader could show; every column of one refuses them.
NOT_SHOWN = ["infinity", "-infinity", "4714-11-24 00:00:00+00 BC", "294276-12-31 23:59:59.999999+00"]
# In every field of a payload.
ODD: list[object] = [
    None,
    True,
    -1,
    2**63,
    -(2**63),
    1e308,
    0.5,
    "",
    "NaN",
    [],
    {},
    [[]],
    [{}],
    {"": None},
    "\u202e\x1b[2J",
    "9" * 400,
]
ROWS_OF = {
    "events": "capture_id = $1",
    "captures": "capture_id = $1",
    "meetings": "meeting_id IN (SELECT meeting_id FROM meeta.captures WHERE capture_id = $1)",
    "visits": "capture_id = $1",
    "gaps": "capture_id = $1",
}
KEYS = {"capture_id", "meeting_id", "seq", "joined_seq", "last_seq"}  # another row they would be, or another capture


Statement = tuple[str, str, str]  # table, what to set, and which rows of the capture $1


def conference(meeting_id: str) -> list[Event]:
    """Something of everything that views look at."""
    gap = CaptureGap(
        cause=GapCause.PAGE_CRASHED, lost=Lost.EVERYTHING, from_at=BEGAN_MS, to_at=BEGAN_MS, from_ms=20, to_ms=30
    )
    return [
        started(),
        identified(1, meeting_id),
        happening(ConferenceJoined(room="standup", role="participant", roster_size=1), 5, "bot"),
        happening(MeetingStarted(started_at=BEGAN_MS, basis="seen"), 6),
        joined(10, "a", "Ada", role="moderator", user_id="ada"),
        joined(11, "b", "Ben"),
        happening(AudioUnmuted(), 12, "a"),
        happening(DominantSpeakerChanged(), 13, "a"),
        happening(gap, 30),
        happening(HandRaised(), 31, "b"),
        happening(ChatMessage(text="hello"), 32, "b"),
        happening(ParticipantRenamed(old_name="Ben", new_name="Benny"), 33, "b"),
        left(40, "b"),
        ended(50),
    ]


_MEETINGS = count(1)


def new_meeting() -> str:
    return f"00000000-0000-5000-8000-{next(_MEETINGS):012x}"


def odd_conference(value: Any) -> list[Event]:
    """A conference in which each type of event comes once more, with `value` in all its fields."""
    first, *rest = conference(new_meeting())
    fields = {name: msgspec.structs.fields(kind.payload) for name, kind in CATALOG.items()}
    odd = [
        happening(CATALOG[name].payload(**{field.name: value for field in fields[name]}), 41 + number, "a")
        for number, name in enumerate(sorted(CATALOG))
    ]
    return [first, *rest[:-1], *odd, ended(1000)]


async def columns(connection: asyncpg.Connection[asyncpg.Record]) -> dict[str, list[tuple[str, list[str]]]]:
    """The columns of each table with the values to try; not those that say whose row it is."""
    rows = await connection.fetch(
        "SELECT relname, attname, format_type(atttypid, NULL) AS type, attnotnull"
        " FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid"
        " WHERE relnamespace = 'meeta'::regnamespace AND relname = ANY ($1) AND attnum > 0 AND NOT attisdropped"
        " ORDER BY relname, attnum",
        list(ROWS_OF),
    )
    found: dict[str, list[tuple[str, list[str]]]] = defaultdict(list)
    for row in rows:
        if row["attname"] not in KEYS:
            found[row["relname"]].append((row["attname"], EXTREMES[row["type"]] + ["NULL"] * (not row["attnotnull"])))
    return found


def alone(found: dict[str, list[tuple[str, list[str]]]]) -> list[Statement]:
    """Each column with each extreme."""
    return [
        (table, f"{name} = {value}", ROWS_OF[table])
        for table, of_table in found.items()
        for name, values in of_table
        for value in values
    ]


def together(found: dict[str, list[tuple[str, list[str]]]]) -> list[Statement]:
    """All columns of a table at once: the first extreme of each, the second, and so on."""
    most = max(len(values) for of_table in found.values() for _, values in of_table)
    return [
        (table, ", ".join(f"{name} = {values[rank % len(values)]}" for name, values in of_table), ROWS_OF[table])
        for table, of_table in found.items()
        for rank in range(most)
    ]


async def store_odd_values(url: str, statements: list[Statement]) -> list[str]:
    """One conference for each statement; ids of the captures in which the odd value stands."""
    sealed = [seal_all(conference(new_meeting())) for _ in statements]
    await write(url, [event for one in sealed for event in one])
    standing = []
    connection = await asyncpg.connect(url)
    try:
        for (table, values, rows), one in zip(statements, sealed, strict=True):
            capture = one[0].capture_id
            try:
                await connection.execute(f"UPDATE meeta.{table} SET {values} WHERE {rows}", capture)  # noqa: S608
            except asyncpg.PostgresError:
                continue  # the table refuses it, or an index does: it can't stand there
            standing.append(capture)
    finally:
        await connection.close()
    return standing


async def assert_sql_reads(url: str) -> None:
    """Every view and documented query, as text: what psql shows."""
    connection = await asyncpg.connect(url)
    try:
        views = [f"SELECT * FROM meeta.{view}" for view in VIEWS]  # noqa: S608 - names from above
        for statement in [*views, *(statement.rstrip().rstrip(";") for _, statement in QUERIES)]:
            await connection.execute(f"SELECT count(shown::text) FROM ({statement}) AS shown")  # noqa: S608
    finally:
        await connection.close()


async def assert_commands_read(url: str, capture_ids: list[str]) -> None:
    """Every reading command, in its formats; verify may refute, and nothing else may fail."""
    whole = ["meetings -n 10000", "meetings -n 10000 --json", "export --all", "export --all --format csv"]
    each = ["timeline", "timeline --all --json", "participants --json", "events --json"]
    commands = [
        *whole,
        "verify --all",
        "verify --all --json",
        *(f"{one} {name}" for one in each for name in capture_ids),
    ]
    for command in commands:
        answer = await asyncio.to_thread(CliRunner().invoke, app, [*command.split(), "--database-url", url])
        assert answer.exit_code in ((0, 1) if command.startswith("verify") else (0,)), (command, answer.output[-300:])
        assert answer.exception is None or isinstance(answer.exception, SystemExit), (command, answer.exc_info)


async def test_no_column_takes_a_moment_that_no_reader_could_show(own_database_url: str) -> None:
    connection = await asyncpg.connect(own_database_url)
    moments = [
        (table, f"{name} = '{value}'", ROWS_OF[table])
        for table, of_table in (await columns(connection)).items()
        for name, values in of_table
        if values[0] == EXTREMES["timestamp with time zone"][0]
        for value in NOT_SHOWN
    ]
    await connection.close()
    assert {table for table, _, _ in moments} == set(ROWS_OF)
    assert await store_odd_values(own_database_url, moments) == []


async def test_any_extreme_in_any_column_alone_breaks_no_view_and_no_query(own_database_url: str) -> None:
    connection = await asyncpg.connect(own_database_url)
    statements = alone(await columns(connection))
    await connection.close()
    standing = await store_odd_values(own_database_url, statements)
    assert len(standing) > len(statements) // 2
    await assert_sql_reads(own_database_url)


async def test_extremes_in_all_columns_of_a_table_break_no_view_query_or_command(own_database_url: str) -> None:
    connection = await asyncpg.connect(own_database_url)
    statements = together(await columns(connection))
    await connection.close()
    standing = await store_odd_values(own_database_url, statements)
    assert len(standing) > len(statements) // 2
    await assert_sql_reads(own_database_url)
    await assert_commands_read(own_database_url, standing)


async def test_odd_values_in_payloads_break_no_view_query_or_command(own_database_url: str) -> None:
    sealed = [seal_all(odd_conference(value)) for value in ODD]
    await write(own_database_url, *sealed)
    await assert_sql_reads(own_database_url)
    await assert_commands_read(own_database_url, [one[0].capture_id for one in sealed])
