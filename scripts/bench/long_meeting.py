"""Reading one meeting of 300 people, of ten thousand to a million events, with every command that reads it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from meeta_bot import settings
from meeta_bot.database import migrations
from meeta_bot.events import SealedEvent
from meeta_bot.timestamps import moment
from scripts.bench import filling, made_up
from tests.stack import report
from tests.stack.postgres import Server

PEOPLE = 300
MINUTES = (4.8, 48, 480)  # of the meeting, by which its events grow to a million
QUICK_MINUTES = (0.5, 5)
FIRST_LINE_MS, MOST_MB = 1000, 150  # promised
COMMANDS = (
    ("meetings",),
    ("participants",),
    ("timeline",),
    ("timeline", "--all"),
    ("timeline", "--json"),
    ("timeline", "--who", "Ada Lovelace", "--since", "0:01:00"),
    ("events",),
    ("events", "--json"),
    ("events", "--type", "chat.message"),
    ("events", "--counts"),
    ("export", "--format", "jsonl"),
    ("export", "--format", "csv"),
)
_COLUMNS = (
    *("capture_id", "seq", "type", "origin", "room", "endpoint_id", "occurred_at", "monotonic_ms", "initial"),
    *("inferred", "payload", "salt", "commitment", "digest"),
)
_TEXT = (
    f"{PEOPLE} people in one room, captured once: statistics of everybody every 10 s, and what people do, in the "
    "proportions of ordinary meetings. Every command is a process of its own, whose output is read as it comes. "
    "*First line* is from the start of the process, Python's own start among it; *memory* is the most that the process "
    "had. PostgreSQL 18 on the same machine."
)


@dataclass(frozen=True)
class Cost:
    """The cost of one command: milliseconds, seconds, megabytes."""

    first_ms: float
    seconds: float
    megabytes: float


async def run(*, quick: bool) -> report.Section:
    """Fill a throwaway server with a meeting of each size, and read it with every command."""
    server = Server("18")
    sizes: list[int] = []
    costs: list[list[Cost]] = []
    try:
        server.start()
        for number, minutes in enumerate(QUICK_MINUTES if quick else MINUTES):
            await server.execute(f"CREATE DATABASE long_{number}")
            url = server.url(f"long_{number}")
            sizes.append(await _fill(url, made_up.meeting(PEOPLE, minutes, seed=5)))
            print(f"  {sizes[-1]} events stored", file=sys.stderr)
            costs.append([_measured(url, command) for command in COMMANDS])
    finally:
        server.destroy()
    return report.Section(
        title="Reading one long meeting",
        text=_TEXT,
        tables=[
            _table("First line, ms:", sizes, [[f"{one.first_ms:.0f}" for one in column] for column in costs]),
            _table("Memory, MB:", sizes, [[f"{one.megabytes:.0f}" for one in column] for column in costs]),
            _table("To the last line, s:", sizes, [[f"{one.seconds:.1f}" for one in column] for column in costs]),
        ],
        targets=_targets(costs[-1]),
    )


async def _fill(url: str, events: Sequence[SealedEvent]) -> int:
    connection = await asyncpg.connect(url)
    try:
        await migrations.upgrade(url, settings.load())
        await connection.execute("SELECT meeta.ensure_partition_of($1::uuid)", made_up.CAPTURE)
        await connection.copy_records_to_table(
            "events", schema_name="meeta", columns=_COLUMNS, records=map(_row, events)
        )
        await filling.derive(connection, [UUID(made_up.CAPTURE)])
        await connection.execute("VACUUM (ANALYZE)")
    finally:
        await connection.close()
    return len(events)


def _row(event: SealedEvent) -> tuple[object, ...]:
    return (
        *(UUID(event.capture_id), event.seq, event.type, event.origin, event.room, event.endpoint_id),
        *(moment(event.occurred_at), event.monotonic_ms, event.initial, event.inferred),
        *(event.payload, event.salt, event.commitment, event.digest),
    )


def _measured(url: str, command: Sequence[str]) -> Cost:
    began = time.monotonic()
    arguments = [sys.executable, "-m", "meeta_bot", *command, "--database-url", url]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        process.stdout.readline()
        first = time.monotonic()
        while process.stdout.read(1 << 20):
            pass
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
    return Cost((first - began) * 1000, time.monotonic() - began, usage.ru_maxrss / 1024)


def _table(caption: str, sizes: Sequence[int], columns: Sequence[Sequence[str]]) -> report.Table:
    rows = [(f"`{' '.join(command)}`", *cells) for command, *cells in zip(COMMANDS, *columns, strict=True)]
    return report.Table(caption, ("command", *(f"{size:,} events" for size in sizes)), rows)


def _targets(costs: Sequence[Cost]) -> list[report.Target]:
    first, most = max(one.first_ms for one in costs), max(one.megabytes for one in costs)
    return [
        report.Target(f"first line within {FIRST_LINE_MS} ms", f"{first:.0f} ms at most", first <= FIRST_LINE_MS),
        report.Target(f"memory below {MOST_MB} MB", f"{most:.0f} MB at most", most < MOST_MB),
    ]
