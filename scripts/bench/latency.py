"""Measure how long an event takes from the library to the disk, and to a row that others can read."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg

from scripts.bench.deployment import Load, Played, WatchedRecorder, postgresql, recording
from tests.stack import report

BURST = 10_000  # events within a second from one page
BURST_SECONDS = 1.1  # a page that takes longer has not emitted it: the promise was not put to the test
DISK_TARGET_MS = 10.0  # 99 of 100, at 50 events/s
COMMIT_TARGET_MS = 20.0

TEXT = """
A page emits conference events (chat, statistics of 20 participants, presence, dominant speaker; 650 bytes of JSON at
the mean) and stamps each; the stamps are compared with the moment when the spool's append has returned, which is when
the page is acknowledged, and with the moment when the transaction of its row has been committed, from when on other
connections see it. Of this, only Jitsi is not real: a synthetic library emits the events. Chromium, hook, binding,
normalizer, spool and PostgreSQL are the shipped ones with their default settings, except that statistics are not
sampled; spool and PostgreSQL flush to the disk. All of it shares the machine's cores. The yardstick is the disk
itself: a flushed append to a file, and a committed row of the same size through a connection that does nothing else.
"""


@dataclass
class Scenario:
    """One load, and what its rounds showed."""

    name: str
    rooms: int
    events: int  # a room and round
    every_ms: float
    to_disk: list[float] = field(default_factory=list)
    to_commit: list[float] = field(default_factory=list)

    async def play(self, recorder: WatchedRecorder) -> list[Played]:
        # The rooms of a load take turns instead of emitting at the same moment.
        phase = self.every_ms / self.rooms
        loads = [Load(self.events, 1, self.every_ms, number * phase) for number in range(self.rooms)]
        played = await recorder.play(*loads)
        for one in played:
            self.to_disk += one.to_disk_ms
            self.to_commit += one.to_commit_ms
        return played

    def row(self) -> tuple[str, ...]:
        return (self.name, *_percentiles(self.to_disk), *_percentiles(self.to_commit))


async def run(*, quick: bool) -> report.Section:
    """Interleaved rounds of the loads, then the burst."""
    seconds, rounds, burst = (2, 1, 2_000) if quick else (15, 4, BURST)
    slow = Scenario("50 events/s in one room", 1, 50 * seconds, 20)
    spread = Scenario("50 events/s over 10 rooms", 10, 5 * seconds, 200)
    fast = Scenario("1,000 events/s in one room", 1, 1000 * seconds, 1)
    storm = Scenario(f"{burst:,} events/s for a second in one room", 1, burst, 1000 / burst)
    flushes: list[float] = []
    commits: list[float] = []
    async with postgresql() as server, recording(server, 1) as one, recording(server, 10) as ten:
        for recorder in (one, ten):
            await _warm_up(recorder)
        for _ in range(rounds):
            flushes += await asyncio.to_thread(_flush_a_file, 200)
            commits += await _commit_rows(one.database_url, 200)
            await slow.play(one)
            await spread.play(ten)
            await fast.play(one)
        [played] = await storm.play(one)
        kept = await _rows(one, played)
    yardsticks = [
        ("a flushed append of 1 kB", *_percentiles(flushes), "", ""),
        ("a row", "", "", *_percentiles(commits)),
    ]
    scenarios = (slow, spread, fast, storm)
    columns = ("load", "on disk, p50", "p99", "committed, p50", "p99")
    table = report.Table(
        f"Milliseconds from the library to the disk and to the committed row; {rounds} rounds of {seconds} s each, "
        f"and one burst. {kept}",
        columns,
        [*(scenario.row() for scenario in scenarios), *yardsticks],
    )
    return report.Section("From the library to a row", TEXT, [table], _targets((slow, spread), kept))


@dataclass(frozen=True)
class Kept:
    """Return the events of a burst that are in the database."""

    emitted: int
    seconds: float
    rows: int
    gaps: int

    @property
    def complete(self) -> bool:
        return self.rows == self.emitted and self.gaps == 0 and self.seconds <= BURST_SECONDS

    def __str__(self) -> str:
        return (
            f"Of the {self.emitted:,} events of the burst, emitted within {self.seconds:.2f} s, "
            f"{self.rows:,} are in the database, with {self.gaps} gaps."
        )


async def _warm_up(recorder: WatchedRecorder) -> None:
    await recorder.play(*(Load(500, 10, 10) for _ in recorder.rooms))


async def _rows(recorder: WatchedRecorder, played: Played) -> Kept:
    capture_id = recorder.probe.capture_of[played.room]
    connection = await asyncpg.connect(recorder.database_url)
    try:
        last = played.first_seq + len(played.emitted) - 1
        found = await connection.fetchrow(
            """SELECT count(*) FILTER (WHERE seq BETWEEN $2 AND $3), count(*) FILTER (WHERE type = 'capture.gap')
               FROM meeta.events WHERE capture_id = $1""",
            *(capture_id, played.first_seq, last),
        )
    finally:
        await connection.close()
    assert found is not None, "an aggregate has a row"
    return Kept(len(played.emitted), played.emitted[-1] - played.emitted[0], *found)


def _flush_a_file(times: int) -> list[float]:
    """Milliseconds of each of so many appends with a flush."""
    found = []
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        (Path(folder) / "file").open("wb", buffering=0) as file,
    ):
        for _ in range(times):
            before = time.perf_counter()
            file.write(bytes(1000))
            os.fsync(file.fileno())
            found.append((time.perf_counter() - before) * 1000)
    return found


async def _commit_rows(url: str, times: int) -> list[float]:
    """Milliseconds of each of so many inserts of one row into a table of its own."""
    connection = await asyncpg.connect(url)
    found = []
    try:
        await connection.execute("CREATE TABLE IF NOT EXISTS yardstick (number bigserial PRIMARY KEY, payload text)")
        for _ in range(times):
            before = time.perf_counter()
            await connection.execute("INSERT INTO yardstick (payload) VALUES ($1)", "x" * 650)
            found.append((time.perf_counter() - before) * 1000)
    finally:
        await connection.close()
    return found


def _percentiles(values: Sequence[float]) -> tuple[str, str]:
    return f"{report.percentile(values, 0.5):.1f}", f"{report.percentile(values, 0.99):.1f}"


def _targets(slow: Sequence[Scenario], kept: Kept) -> list[report.Target]:
    targets = []
    for scenario in slow:
        disk, commit = (report.percentile(values, 0.99) for values in (scenario.to_disk, scenario.to_commit))
        for promise, measured, limit in (
            ("on disk", disk, DISK_TARGET_MS),
            ("committed", commit, COMMIT_TARGET_MS),
        ):
            wanted = f"{scenario.name}: 99 of 100 {promise} within {limit:g} ms"
            targets.append(report.Target(wanted, f"{measured:.1f} ms", measured <= limit))
    wanted = f"a burst of {kept.emitted:,} events within a second from one page loses none"
    seen = f"{kept.rows:,} stored, {kept.gaps} gaps, emitted in {kept.seconds:.2f} s"
    return [*targets, report.Target(wanted, seen, kept.complete)]
