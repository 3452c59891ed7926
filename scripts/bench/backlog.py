"""Measure how long live events wait behind an hour of backlog, and the memory that an outage of hours takes.

Filling, draining and appending run in processes of their own (``python -m scripts.bench.backlog ROLE …``), so that the
memory of each is its own.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import uuid_utils

from meeta_bot import logs
from meeta_bot import settings as bot_settings
from meeta_bot.capture.normalize import State
from meeta_bot.capture.spool import Append, Spool
from meeta_bot.delivery.postgres import PostgresSink
from meeta_bot.delivery.sink import Delivery
from meeta_bot.delivery.writer import Writer
from meeta_bot.events import CaptureStarted, Event, SealedEvent
from scripts.bench.delivery import make_load
from tests.stack import report
from tests.stack.postgres import FORGET, Server

HOURS = {"50 events/s in 10 rooms": (10, 180_000), "1 event/s in each of 200 rooms": (200, 720_000)}
POOL = 20_000  # different events, which come again and again
LIVE_PAUSE = 0.02  # seconds between live events: 50 a second
AFTERWARDS = 250  # live events that are measured when the backlog is gone
TOGETHER = 25  # appends that share a commit while a backlog is made, as when a busy disk makes them wait
AWAY_EVENTS, AWAY_ROOMS, AWAY_BATCH = 2_000_000, 50, 100
SAMPLES = 10  # of memory, while they are appended
AWAY_BYTES = 16 * 2**30  # of spool: more than is appended, so that nothing waits for room
NOWHERE = "postgresql:///none?host=/nonexistent"
LONGEST_SECONDS = 1800  # that one process may take
WARM_UP_SHARE = (
    1.1  # of the memory after a tenth of the events; what grows with the backlog would have ten times as much
)
LONGEST_WAIT = 120  # seconds
TEXT = (
    "A database was away for an hour: the spool holds its events (the mix of the section above, each appended alone, "
    f"{TOGETHER} sharing a flush), and a new process begins to deliver them while one more room appends "
    f"{1 / LIVE_PAUSE:.0f} live events a second. Order is the spool's, so live events wait until the backlog is "
    "stored: the first of them longest, each later one less. *Wait* is from the call of append until the transaction "
    "has been committed. PostgreSQL 18 on the same machine with fsync on. Memory is that of the Python process."
)


# --- in processes of their own ----------------------------------------------------------------------------------------


class _Rooms:
    """Captures whose events come from one pool, over and over."""

    def __init__(self, number: int) -> None:
        load = make_load(POOL, 500, random.Random(number))
        pool = [event for batch in load.batches for _, event in batch if not isinstance(event.payload, CaptureStarted)]
        states = itertools.cycle(appends[0].state for appends in load.appends.values())
        self._events: Iterator[Event] = itertools.cycle(pool)
        self._states: list[State] = [
            msgspec.structs.replace(state, capture_id=str(uuid_utils.uuid7()))
            for state in itertools.islice(states, number)
        ]
        self._turn = itertools.cycle(self._states)

    def next(self, count: int) -> tuple[str, Append]:
        """`count` events of the room whose turn it is."""
        state = next(self._turn)
        return state.capture_id, Append(state, list(itertools.islice(self._events, count)), 0)


async def _fill(directory: str, rooms: str, events: str) -> None:
    """Make a backlog."""
    spool = Spool(Path(directory), bot_settings.load({"spool_max_bytes": AWAY_BYTES}))
    made = _Rooms(int(rooms))
    for _ in range(int(events) // TOGETHER):
        await asyncio.gather(*(spool.append(*made.next(1)) for _ in range(TOGETHER)))
    await spool.close()


class _Clocked:
    """A sink that notes when each event of one capture was stored."""

    def __init__(self, sink: PostgresSink, capture_id: str) -> None:
        self._sink = sink
        self._capture_id = capture_id
        self.stored_at: list[float] = []

    async def open(self) -> None:
        await self._sink.open()

    async def write(self, batch: Sequence[SealedEvent]) -> Delivery:
        delivery = await self._sink.write(batch)
        now = time.perf_counter()
        self.stored_at += [now for event in batch if event.capture_id == self._capture_id]
        return delivery

    async def close(self) -> None:
        await self._sink.close()


async def _drain(directory: str, url: str) -> dict[str, Any]:
    """Deliver a backlog while live events are appended."""
    settings = bot_settings.load({"spool_max_bytes": AWAY_BYTES})
    spool = Spool(Path(directory), settings)
    backlog, live = spool.waiting, _Rooms(1)
    name = live.next(1)[0]
    sink = _Clocked(PostgresSink(url, settings), name)
    writer = Writer(spool, sink, settings)
    before = _memory("VmRSS")
    appended_at, appends = [], []
    writer.start()
    began = time.perf_counter()
    following = 0
    while following < AFTERWARDS:
        called = time.perf_counter()
        appended_at.append(called)
        await spool.append(*live.next(1))
        appends.append(time.perf_counter() - called)
        following += bool(sink.stored_at)
        await asyncio.sleep(max(0.0, began + len(appended_at) * LIVE_PAUSE - time.perf_counter()))
    assert await writer.stop(LONGEST_SECONDS)
    assert writer.stored == backlog + len(appended_at)
    await sink.close()
    await spool.close()
    waits = [stored - called for called, stored in zip(appended_at, sink.stored_at, strict=True)]
    drained = sink.stored_at[0] - began
    behind = [wait for called, wait in zip(appended_at, waits, strict=True) if called - began < drained]
    halfway = next(wait for called, wait in zip(appended_at, waits, strict=True) if called - began >= drained / 2)
    return {
        "backlog": backlog,
        "first": waits[0],
        "halfway": halfway,
        "longest": max(waits),
        "afterwards": waits[len(behind) :][-AFTERWARDS // 2 :],
        "append": appends,
        "before": before,
        "peak": _memory("VmHWM"),
    }


async def _away(directory: str, events: str) -> list[tuple[int, float]]:
    """Append as fast as can be while nothing answers; memory after each tenth of the events."""
    settings = bot_settings.load({"spool_max_bytes": AWAY_BYTES, "database_retry_max": 0.5})
    spool = Spool(Path(directory), settings)
    sink = PostgresSink(NOWHERE, settings)
    writer = Writer(spool, sink, settings)
    writer.start()
    rooms, samples = _Rooms(AWAY_ROOMS), []
    rounds = int(events) // (AWAY_BATCH * AWAY_ROOMS)
    for number in range(1, rounds + 1):
        await asyncio.gather(*(spool.append(*rooms.next(AWAY_BATCH)) for _ in range(AWAY_ROOMS)))
        if number % max(1, rounds // SAMPLES) == 0:
            samples.append((spool.waiting, _memory("VmRSS")))
    assert not await writer.stop(0)
    assert writer.waiting == rounds * AWAY_BATCH * AWAY_ROOMS
    await sink.close()
    await spool.close()
    return samples


def _memory(name: str) -> float:
    """MiB of this process: VmRSS now, VmHWM at the most."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) / 1024


async def _in_process(*arguments: str) -> Any:
    """Return the answer of a role of this module."""
    program = [sys.executable, "-m", "scripts.bench.backlog", *arguments]
    process = await asyncio.create_subprocess_exec(*program, stdout=asyncio.subprocess.PIPE)
    try:
        output, _ = await asyncio.wait_for(process.communicate(), LONGEST_SECONDS)
    except BaseException:
        process.kill()
        raise
    assert process.returncode == 0, f"{arguments[0]} failed"
    return json.loads(output)


# --- what came out ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Hour:
    """An hour of backlog and what its draining showed."""

    name: str
    shown: dict[str, Any]

    def row(self) -> tuple[str, ...]:
        shown = self.shown
        return (
            f"{self.name}: {shown['backlog']:,}",
            f"{shown['backlog'] / shown['first']:,.0f}",
            f"{shown['longest']:.1f}",
            f"{shown['halfway']:.1f}",
            f"{report.percentile(shown['afterwards'], 0.99) * 1000:.0f}",
            f"{report.percentile(shown['append'], 0.99) * 1000:.0f}",
            f"{shown['before']:.0f}",
            f"{shown['peak']:.0f}",
        )


async def run(*, quick: bool) -> report.Section:
    """Drain an hour of each load, then append with the database away; `quick` takes a twentieth."""
    logs.configure(level="error")
    share = 20 if quick else 1
    hours = []
    async with AsyncExitStack() as stack:
        server = Server("18")
        stack.callback(server.destroy)
        server.start(fsync="on", full_page_writes="on", autovacuum="on", shared_buffers="128MB")
        url = await server.migrated_database()
        folder = Path(tempfile.mkdtemp(prefix="bench-backlog-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        for number, (name, (rooms, events)) in enumerate(HOURS.items()):
            directory = str(folder / str(number))
            await _in_process("fill", directory, str(rooms), str(events // share))
            await _forget(url)
            hours.append(_Hour(name, await _in_process("drain", directory, url)))
            shutil.rmtree(directory)
        samples = await _in_process("away", str(folder / "away"), str(AWAY_EVENTS // share))
    return _section(hours, samples)


async def _forget(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(FORGET)
        await connection.execute("SELECT meeta.ensure_partitions(now(), 3)")
    finally:
        await connection.close()


def _section(hours: Sequence[_Hour], samples: Sequence[tuple[int, float]]) -> report.Section:
    columns = (
        "backlog of an hour, events",
        "events/s",
        "longest wait s",
        "wait of an event from halfway s",
        "p99 afterwards ms",
        "append p99 ms",
        "memory before MiB",
        "at the most MiB",
    )
    first = samples[0][1]
    memory = [(f"{events:,}", f"{used:.0f}", f"{used / first:.2f}") for events, used in samples]
    return report.Section(
        "Behind an hour of backlog",
        TEXT,
        [
            report.Table(
                "Waits of live events, and memory, while an hour of backlog is stored:",
                columns,
                [hour.row() for hour in hours],
            ),
            report.Table(
                "Memory while events are appended as fast as can be and the database is away:",
                ("events that wait", "memory MiB", "of the first"),
                memory,
            ),
        ],
        _targets(hours, samples),
    )


def _targets(hours: Sequence[_Hour], samples: Sequence[tuple[int, float]]) -> list[report.Target]:
    longest = max(hour.shown["longest"] for hour in hours)
    most, first = max(used for _, used in samples), samples[0][1]
    peaks = [hour.shown["peak"] for hour in hours]
    return [
        report.Target(
            f"a live event waits at most {LONGEST_WAIT} s behind an hour of backlog",
            f"{longest:.0f} s",
            longest <= LONGEST_WAIT,
        ),
        report.Target(
            f"memory with {samples[-1][0]:,} events waiting at most {WARM_UP_SHARE} of that with {samples[0][0]:,}",
            f"{most / first:.2f}",
            most / first <= WARM_UP_SHARE,
        ),
        report.Target(
            f"memory for four times the backlog at most {WARM_UP_SHARE} of that for one",
            f"{peaks[-1] / peaks[0]:.2f}",
            peaks[-1] / peaks[0] <= WARM_UP_SHARE,
        ),
    ]


_ROLES: dict[str, Callable[..., Coroutine[Any, Any, Any]]] = {"fill": _fill, "drain": _drain, "away": _away}


def main() -> None:
    """Run one role and print its answer as JSON."""
    logs.configure(level="error")
    role, *arguments = sys.argv[1:]
    json.dump(asyncio.run(_ROLES[role](*arguments)), sys.stdout)


if __name__ == "__main__":
    main()
