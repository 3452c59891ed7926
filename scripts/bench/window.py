"""Measure what is lost when a page dies: the milliseconds before its death that it had not handed over."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import sys
import time
from random import Random

from scripts.bench.deployment import Load, WatchedRecorder, postgresql, recording
from tests.stack.postgres import fetch
from tests.stack.process_tree import descendants
from tests.stack.report import Section, Table, Target, percentile

FULL, QUICK = 30, 5  # kills at each pace
PACES = ((1000, 1), (50, 20))  # events/s, and the milliseconds between two
LIVE_SECONDS = (0.3, 1.5)
BACK_SECONDS = 180  # a Chromium that hangs is given up after minutes; the table says so then
TARGET_MS = 50

TEXT = """
A page emits an event every so many milliseconds, and at a random moment its renderer is killed. What was handed over
before is stored; the window is the time between the last event that was stored and the kill, so it holds the pace of
the events, too. All of it lay inside the gap that the log has for the crash: {covered} of {kills} times. Back in the
room is the time from the kill to the room's next word: Chromium notices, a page is loaded, the room is joined.
"""


async def run(*, quick: bool) -> Section:
    """Kill a renderer again and again."""
    seed = secrets.randbelow(2**32)
    print(f"  seed {seed}", file=sys.stderr)
    random, rows, windows, backs, covered = Random(seed), [], [], [], 0
    async with postgresql() as server:
        for pace, every_ms in PACES:
            found = []
            async with recording(server, 1, crashes_limit=10_000) as recorder:
                for number in range(1, (QUICK if quick else FULL) + 1):
                    found.append(await _killed(recorder, random, every_ms, number))
            mine = [window for window, _, _ in found]
            back = [seconds for _, seconds, _ in found]
            covered += sum(is_covered for _, _, is_covered in found)
            windows += mine
            backs += back
            figures = (percentile(mine, 0.5), percentile(mine, 0.95), max(mine))
            rows.append(
                (f"{pace:,}", str(len(mine)), *(f"{figure:.0f}" for figure in figures), f"{percentile(back, 0.5):.1f}")
            )
    columns = ("events/s", "kills", "window ms, p50", "p95", "longest", "back in the room s, p50")
    targets = [
        Target(
            f"what a dying page takes with it: at most {TARGET_MS} ms",
            f"{max(windows):.0f} ms",
            max(windows) <= TARGET_MS,
        ),
        Target("back in the room within 5 s", f"{max(backs):.1f} s at most", max(backs) <= 5),
        Target("all of it inside a gap", f"{covered} of {len(windows)}", covered == len(windows)),
    ]
    text = TEXT.format(covered=covered, kills=len(windows))
    return Section("When a page dies", text, [Table("A renderer, killed:", columns, rows)], targets)


async def _killed(recorder: WatchedRecorder, random: Random, every_ms: float, number: int) -> tuple[float, float, bool]:
    """One kill: the window in ms, how long the bot was away in s, and whether the gap covers it."""
    [room] = recorder.rooms
    playing = asyncio.create_task(recorder.play(Load(100_000, 1, every_ms)))
    await asyncio.sleep(random.uniform(*LIVE_SECONDS))
    for pid, line in list(descendants(os.getpid())):
        if "--type=renderer" in line:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    killed_ms = time.time() * 1000
    playing.cancel()
    await asyncio.gather(playing, return_exceptions=True)
    capture_id = recorder.probe.capture_of[room]
    gap = await _gap(recorder.database_url, number)
    [last] = await fetch(
        recorder.database_url,
        """SELECT extract(epoch FROM max(occurred_at)) * 1000 AS at, max(monotonic_ms) AS ms FROM meeta.events
           WHERE capture_id = $1 AND origin NOT LIKE 'recorder.%' AND seq < (
               SELECT max(seq) FROM meeta.events
               WHERE capture_id = $1 AND type = 'capture.reconnecting' AND seq < $2)""",
        capture_id,
        gap["seq"],
    )
    window = killed_ms - float(last["at"])
    # By the clock that both have from one reading: a page on a busy machine may lose milliseconds between two clocks.
    return window, (gap["to_at"] - killed_ms) / 1000, gap["from_ms"] <= last["ms"] + every_ms


async def _gap(url: str, number: int) -> dict[str, int]:
    """The gap of the kill with that number, once it is stored."""
    query = """SELECT seq, from_ms, extract(epoch FROM to_at) * 1000 AS to_at FROM meeta.gaps
               WHERE cause = 'page_crashed' ORDER BY seq"""
    async with asyncio.timeout(BACK_SECONDS):
        while len(found := await fetch(url, query)) < number:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.05)
    return {name: int(found[-1][name]) for name in ("seq", "from_ms", "to_at")}
