"""Measure what an idle room costs: memory and CPU of the whole recorder, by number of rooms and rooms per page."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from meeta_bot import settings
from meeta_bot.capture.browser.chromium import Chromium
from tests.stack.client import Stack
from tests.stack.postgres import VERSIONS, Server
from tests.stack.report import Section, Table, Target

FULL = ((1, 1), (10, 1), (50, 1), (1, 20), (10, 20), (50, 20), (200, 20), (200, 10), (200, 50))
QUICK = ((1, 20), (5, 1), (5, 20))
SETTLE_SECONDS = 10  # after the last join: media sessions, garbage
MEASURE_SECONDS = 20
JOIN_TIMEOUT_SECONDS = 180
TICKS = os.sysconf("SC_CLK_TCK")
MEBIBYTE_KB = 1024

Parts = dict[str, float]  # by part of the process group: python, driver, browser

TEXT = """
`meeta-bot record --rooms -` in idle rooms of the local stack (the real library of December 2021, Prosody, a bridge
session for every room: an accepted media session with a bridge channel, no media). Memory is the proportional set size
(PSS) of all of Chromium's processes over that of a Chromium with one empty page, per room; the driver is Playwright's
own process. CPU is that of one core, per room, over {measure} s in which nothing happens in the rooms but heartbeats,
XMPP pings and bridge channels. "Joined" is the time from the first page to the last room.

One renderer crash takes all rooms of its page, so the default is the smallest number at which most of the saving is
reached, {default} rooms.
"""


@dataclass(frozen=True)
class Cost:
    """The resources that a process group has used: PSS in KiB, CPU in seconds."""

    memory: Parts
    cpu: Parts


@dataclass(frozen=True)
class Run:
    """One measurement, in totals of the process group; `memory` is without the empty browser's."""

    rooms: int
    per_page: int
    joined_seconds: float
    memory_mb: Parts
    cpu_percent: Parts

    def per_room(self, part: str) -> tuple[float, float]:
        """MB and percent of a core a room."""
        return self.memory_mb[part] / self.rooms, self.cpu_percent[part] / self.rooms


async def run(*, quick: bool) -> Section:
    """Every number of rooms, in a process of its own."""
    server = Server(VERSIONS[-1])
    await asyncio.to_thread(server.start)
    try:
        empty = await _empty_browser()
        found = []
        for rooms, per_page in QUICK if quick else FULL:
            print(f"  {rooms} rooms, {per_page} a page …", file=sys.stderr)
            found.append(await _measure(rooms, per_page, await server.migrated_database(), empty))
    finally:
        await asyncio.to_thread(server.destroy)
    default = settings.Settings.model_fields["rooms_per_page"].default
    text = TEXT.format(measure=MEASURE_SECONDS, default=default)
    return Section("Idle rooms", text, [_table(found, empty)], list(_targets(found, default)))


def _table(found: list[Run], empty: float) -> Table:
    columns = (
        *("rooms", "a page", "joined s", "browser MB/room", "Python MB", "driver MB"),
        *("browser CPU %/room", "Python CPU %/room", "driver CPU %/room"),
    )
    rows = []
    for one in found:
        memory, cpu = one.per_room("browser")
        rest = [one.per_room(part)[1] for part in ("python", "driver")]
        rows.append(
            (
                *(str(one.rooms), str(one.per_page), f"{one.joined_seconds:.1f}", f"{memory:.1f}"),
                *(f"{one.memory_mb[part]:.0f}" for part in ("python", "driver")),
                *(f"{share:.2f}" for share in (cpu, *rest)),
            )
        )
    return Table(f"Per idle room; an empty Chromium has {empty:.0f} MB:", columns, rows)


def _targets(found: list[Run], default: int) -> Iterator[Target]:
    for one in found:
        memory, cpu = one.per_room("browser")
        measured = f"{memory:.1f} MB, {cpu:.2f} %"
        if one.rooms >= 50 and one.per_page == default:
            promise = f"{one.rooms} rooms in shared pages: at most 5 MB and 0.25 % of a core each"
            yield Target(promise, measured, memory <= 5 and cpu <= 0.25)
        if one.rooms >= 10 and one.per_page == 1:
            yield Target(f"{one.rooms} rooms, a page each: at most 30 MB each", measured, memory <= 30)
        if one.rooms == 200 and one.per_page == default:
            yield Target("200 rooms joined within 40 s", f"{one.joined_seconds:.1f} s", one.joined_seconds <= 40)


async def _empty_browser() -> float:
    """PSS in MB of a Chromium with an empty page."""
    before = cost(os.getpid()).memory["browser"]
    chromium = Chromium(settings.load())
    await chromium.start()
    try:
        await chromium.new_page()
        await asyncio.sleep(SETTLE_SECONDS)
        return (cost(os.getpid()).memory["browser"] - before) / MEBIBYTE_KB
    finally:
        await chromium.stop()


async def _measure(rooms: int, per_page: int, database_url: str, empty: float) -> Run:
    async with Stack.start(members_for_media=1) as stack:
        names = [f"idle-{number}" for number in range(rooms)]
        addresses = [stack.room_url(name) for name in names]
        async with _recorder(addresses, per_page, database_url) as (pid, joined_seconds):
            await _until_served(stack, names)
            await asyncio.sleep(SETTLE_SECONDS)
            before, began = cost(pid), time.monotonic()
            await asyncio.sleep(MEASURE_SECONDS)
            after, seconds = cost(pid), time.monotonic() - began
    memory = {part: kib / MEBIBYTE_KB for part, kib in after.memory.items()}
    memory["browser"] -= empty
    cpu = {part: 100 * (used - before.cpu[part]) / seconds for part, used in after.cpu.items()}
    return Run(rooms, per_page, joined_seconds, memory, cpu)


@asynccontextmanager
async def _recorder(addresses: list[str], per_page: int, database_url: str) -> AsyncIterator[tuple[int, float]]:
    """A recorder that sits in all rooms; its process id, and how long the joins took."""
    environment = {"MEETA_ROOMS_PER_PAGE": str(per_page), "MEETA_NOBODY_CAME_TIMEOUT": "86400"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "meeta_bot", "record", "--rooms", "-", "--database-url", database_url),
        env={**os.environ, **environment},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdin is not None
        process.stdin.write("\n".join(addresses).encode())
        process.stdin.close()
        began = await _logged(process, "Chromium started", 1)
        joined = await _logged(process, "in the room", len(addresses))
        reader = asyncio.create_task(_discard(process))
        yield process.pid, joined - began
        process.terminate()
        await reader
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _logged(process: asyncio.subprocess.Process, event: str, times: int) -> float:
    """Wait until a line was logged so many times; the moment of the last, in seconds."""
    assert process.stderr is not None
    seen = 0
    async with asyncio.timeout(JOIN_TIMEOUT_SECONDS):
        while line := await process.stderr.readline():
            found = json.loads(line)
            if found["event"] == "leaving":
                raise RuntimeError(f"a room was not joined: {found}")
            seen += found["event"] == event
            if seen == times:
                return time.monotonic()
    raise RuntimeError(f"the recorder ended before it logged {event!r} {times} times")


async def _discard(process: asyncio.subprocess.Process) -> None:
    assert process.stderr is not None
    while await process.stderr.readline():
        pass


async def _until_served(stack: Stack, names: list[str]) -> None:
    """Wait until the bridge channel of every room is open."""
    async with asyncio.timeout(JOIN_TIMEOUT_SECONDS):
        for name in names:
            while not await stack.bridge_channels(name):  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.2)


def cost(pid: int) -> Cost:
    """Of a process and everything that it started."""
    memory: Parts = defaultdict(float)
    cpu: Parts = defaultdict(float)
    for process, part in processes(pid, "python"):
        try:
            memory[part] += _pss_kib(process)
            cpu[part] += _cpu_seconds(process)
        except OSError:
            continue  # ended meanwhile
    return Cost(memory, cpu)


def processes(pid: int, part: str) -> Iterator[tuple[int, str]]:
    yield pid, part
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            line = Path(f"/proc/{child}/cmdline").read_bytes()
            chromium = b"--type=" in line or b"--headless" in line
            yield from processes(int(child), "browser" if chromium else "driver" if part == "python" else part)


def _pss_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS
