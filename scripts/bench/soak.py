"""Measure whether anything grows: one process, ten rooms, people who come and go for twenty minutes."""

from __future__ import annotations

import asyncio
import gc
import os
import secrets
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from statistics import linear_regression

from meeta_bot import logs, room_address, settings
from meeta_bot.capture.request import request_for
from meeta_bot.delivery.postgres import PostgresSink
from meeta_bot.worker import Worker
from scripts.bench.rooms import MEBIBYTE_KB, cost, processes
from tests.stack.client import Stack
from tests.stack.postgres import VERSIONS, Server, fetch
from tests.stack.report import Section, Table, Target

ROOMS, PEOPLE = 10, 3
FULL_SECONDS, QUICK_SECONDS = 1200, 60
WARM_UP = 0.25  # of the time: caches fill, garbage collectors find their pace
LOOKS = 60
READY_SECONDS = 120

TEXT = """
`Worker`, the same object that `meeta-bot record` runs, in {rooms} rooms of the local stack for {minutes:g} minutes,
with {people} people at a time in each room who come, mute, rename themselves, chat and go (`tests/stack/crowd.py`:
XMPP occupants without a browser); {came} people came, {events} events were stored. Memory is the resident set of
Python and the proportional set size (PSS) of all of Chromium's processes. The slope is that of a straight line through
what was measured after the first {warm_up:.0%} of the time.
What Python grows by is holes in the C library's heap: the number of its live blocks stood still, and `malloc_trim`
gave the memory back, three times in a run of 30,000 events in three minutes.
"""


@dataclass(frozen=True)
class Look:
    """The resources of the process at a moment; memory in MiB."""

    seconds: float
    python_mb: float
    chromium_mb: float
    driver_mb: float
    descriptors: int
    tasks: int
    processes: int
    threads: int


async def run(*, quick: bool) -> Section:
    """Watch a worker while a crowd comes and goes."""
    logs.configure(json_lines=True, level="error")
    seconds = QUICK_SECONDS if quick else FULL_SECONDS
    server = Server(VERSIONS[-1])
    await asyncio.to_thread(server.start)
    try:
        url = await server.migrated_database()
        async with Stack.start(hibernation_seconds=5) as stack:
            rooms = [f"soak-{number}" for number in range(ROOMS)]
            async with _worker(url, [stack.room_url(room) for room in rooms]) as worker, _crowd(stack.url, rooms):
                looks = await _watched(seconds)
                stored = worker.writer.stored
        came = await _people(url)
    finally:
        await asyncio.to_thread(server.destroy)
    text = TEXT.format(
        rooms=ROOMS, people=PEOPLE, minutes=seconds / 60, came=f"{came:,}", events=f"{stored:,}", warm_up=WARM_UP
    )
    return Section("Soak", text, [_table(looks)], list(_targets(looks)))


@asynccontextmanager
async def _worker(database_url: str, urls: Sequence[str]) -> AsyncIterator[Worker]:
    with tempfile.TemporaryDirectory(prefix="meeta-soak-") as folder:
        chosen = settings.load(
            {"data_directory": Path(folder), "nobody_came_timeout": 86400, "left_alone_grace": 86400}
        )

        async def nothing() -> None:
            """The database is migrated."""

        worker = Worker(chosen, lambda: PostgresSink(database_url, chosen), nothing)
        task = asyncio.create_task(worker.run([request_for(room_address.parse(url), chosen) for url in urls]))
        try:
            async with asyncio.timeout(READY_SECONDS):
                while len(worker.recorders) < len(urls):  # noqa: ASYNC110 - nothing tells of it
                    await asyncio.sleep(0.1)
                for recorder in worker.recorders:
                    await recorder.settled.wait()
            yield worker
        finally:
            worker.stop()
            await task


@asynccontextmanager
async def _crowd(url: str, rooms: Sequence[str]) -> AsyncIterator[None]:
    seed = secrets.randbelow(2**32)
    print(f"  seed {seed}", file=sys.stderr)
    arguments = (url, *rooms, "--people", str(PEOPLE), "--seed", str(seed))
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.stack.crowd", *arguments)
    try:
        yield
        if process.returncode is not None:
            raise RuntimeError("the crowd went away; it said why on standard error")
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _watched(seconds: float) -> list[Look]:
    began, looks = time.monotonic(), []
    for number in range(1, LOOKS + 1):
        await asyncio.sleep(max(0.0, began + seconds * number / LOOKS - time.monotonic()))
        gc.collect()
        looks.append(_look(time.monotonic() - began))
        print(f"  {looks[-1]}", file=sys.stderr)
    return looks


def _look(seconds: float) -> Look:
    memory = cost(os.getpid()).memory
    own = Path("/proc/self")
    return Look(
        seconds=seconds,
        python_mb=int((own / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20,
        chromium_mb=memory["browser"] / MEBIBYTE_KB,
        driver_mb=memory["driver"] / MEBIBYTE_KB,
        descriptors=len(list((own / "fd").iterdir())),
        tasks=len(asyncio.all_tasks()),
        processes=len(list(processes(os.getpid(), "python"))),
        threads=len(list((own / "task").iterdir())),
    )


def _table(looks: list[Look]) -> Table:
    warm = _warm(looks)
    rows = []
    for name, field, unit in (
        ("Python", "python_mb", "MB"),
        ("Chromium", "chromium_mb", "MB"),
        ("Playwright's driver", "driver_mb", "MB"),
        ("file descriptors", "descriptors", ""),
        ("asyncio tasks", "tasks", ""),
        ("processes", "processes", ""),
        ("threads", "threads", ""),
    ):
        values = [getattr(look, field) for look in warm]
        slope = _slope(warm, attrgetter(field))
        figures = (looks[0], warm[0], warm[-1])
        rows.append(
            (
                f"{name}, {unit}" if unit else name,
                *(f"{getattr(look, field):.0f}" for look in figures),
                f"{min(values):.0f} to {max(values):.0f}",
                f"{slope * 3600:+.1f}",
            )
        )
    columns = ("what", "first look", "after warm-up", "last look", "least to most after warm-up", "slope an hour")
    return Table("What the process had:", columns, rows)


def _targets(looks: list[Look]) -> list[Target]:
    warm = _warm(looks)
    found = []
    for name, pick in (("Python", attrgetter("python_mb")), ("Chromium", attrgetter("chromium_mb"))):
        slope = _slope(warm, pick) * (warm[-1].seconds - warm[0].seconds)
        level = sum(map(pick, warm)) / len(warm)
        measured = f"{slope:+.1f} MB in {(warm[-1].seconds - warm[0].seconds) / 60:.0f} min at {level:.0f} MB"
        found.append(Target(f"memory of {name} flat after warm-up: within 5 %", measured, slope <= 0.05 * level))
    for name in ("descriptors", "tasks", "processes"):
        half = len(warm) // 2
        before, after = (max(getattr(look, name) for look in part) for part in (warm[:half], warm[half:]))
        found.append(Target(f"no growth of {name}", f"most {before:g}, later {after:g}", after <= before * 1.05 + 1))
    return found


def _warm(looks: list[Look]) -> list[Look]:
    return looks[int(len(looks) * WARM_UP) :]


def _slope(looks: list[Look], pick: Callable[[Look], float]) -> float:
    """Return what is added in a second, by the least squares."""
    return linear_regression([look.seconds for look in looks], [pick(look) for look in looks]).slope


async def _people(url: str) -> int:
    """Return the number of those who came."""
    [row] = await fetch(url, "SELECT count(*) AS people FROM meeta.events WHERE type = 'participant.joined'")
    return int(row["people"])
