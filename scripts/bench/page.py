"""Measure what the way from a page to the spool costs, beside the bare binding of the DevTools protocol."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.async_api import Page, async_playwright

import meeta_bot
from meeta_bot import settings
from meeta_bot.capture.browser import chromium
from scripts.bench.deployment import LIBRARY, Load, Played, WatchedRecorder, postgresql, recording
from tests.stack import report

BATCHES = (1, 10, 100)  # messages in one call
CPU_TARGET_US = 40.0  # an event, when calls carry ten or more
TOGETHER = 100  # events in one task of the page: more than any batch, so that batches are full
CALL_TIMEOUT = 60.0  # seconds: all calls of a round have arrived
HOOK = Path(meeta_bot.__file__).parent / "capture/browser/hook"
BARE = "bareBinding"

TEXT = """
A page emits conference events (650 bytes of JSON at the mean) as fast as it can, and the hook is told how many
messages one call of the binding may carry. Counted are the events that were on disk in the spool, and acknowledged, a
second; the path goes on to PostgreSQL meanwhile, and the CPU time is that of the whole recording process with all its
threads: from Playwright's receiving of a call over normalizer, digests and spool to the commit. Chromium,
Playwright's driver (a process of its own) and PostgreSQL are not in it. The yardstick is the bare binding: the same
texts, with a handler in Python that does nothing. Only Jitsi is not real: a synthetic library emits the events.
Rounds are interleaved, figures are medians.
"""

# Collects what the hook would send, so that the bare binding carries the same texts.
_COLLECT = """async ([ events, batch ]) => {
    const texts = globalThis.texts = [];
    const outbox = new meetaBot.Outbox('bare', 'load', text => texts.push(text));
    const conference = new JitsiMeetJS.JitsiConnection().initJitsiConference('bare');

    meetaBot.configure({ batch: 1e6, window: 1e6, messages: 1e6, bytes: 1e9, resend: 1e9, pause: 1e9 });
    meetaBot.listenToConference(JitsiMeetJS, conference, outbox);
    for (let n = 0; n < events; n += 1) {
        conference.next();
        await null;
    }
    await new Promise(resolve => setTimeout(resolve));
    texts.length = 0;
    meetaBot.configure({ batch });
    outbox.rewind();
    outbox.close();

    return texts.length;
}"""
_CALL = "name => globalThis.texts.forEach(text => globalThis[name](text))"


class BareBinding:
    """A page whose binding ends in a handler that does nothing."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._missing = 0
        self._all_here = asyncio.Event()

    async def prepare(self) -> None:
        """Put hook and library into the page, and the binding."""
        for path in (*(HOOK / name for name in ("serialize.js", "outbox.js", "listen.js")), LIBRARY):
            await self._page.evaluate(path.read_text(encoding="utf-8"))
        session = await self._page.context.new_cdp_session(self._page)
        session.on("Runtime.bindingCalled", self._called)
        await session.send("Runtime.enable")
        await session.send("Runtime.addBinding", {"name": BARE})

    def _called(self, _: dict[str, Any]) -> None:
        self._missing -= 1
        if self._missing == 0:
            self._all_here.set()

    async def play(self, events: int, batch: int) -> tuple[float, float]:
        """Seconds and seconds of CPU for so many events in calls of `batch`."""
        self._missing = await self._page.evaluate(_COLLECT, [events, batch])
        self._all_here.clear()
        began, cpu = time.perf_counter(), time.process_time()
        async with asyncio.timeout(CALL_TIMEOUT):
            await self._page.evaluate(_CALL, BARE)
            await self._all_here.wait()
        return time.perf_counter() - began, time.process_time() - cpu


@asynccontextmanager
async def bare_binding() -> AsyncIterator[BareBinding]:
    """A bare binding in a Chromium of its own."""
    async with async_playwright() as playwright:
        executable = chromium.find_chromium(settings.load({}), playwright.chromium.executable_path)
        browser = await playwright.chromium.launch(executable_path=executable, chromium_sandbox=os.geteuid() != 0)
        try:
            bare = BareBinding(await browser.new_page())
            await bare.prepare()
            yield bare
        finally:
            await browser.close()


@dataclass
class Contest:
    """Rounds of one batch size: events/s and µs of CPU an event."""

    batch: int
    events: int  # a round
    recorder: WatchedRecorder
    rates: list[float] = field(default_factory=list)
    bare_rates: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    bare_cpu: list[float] = field(default_factory=list)

    async def play(self, bare: BareBinding) -> None:
        [played] = await self.recorder.play(Load(self.events, TOGETHER))
        self.rates.append(self.events / (max(played.on_disk) - played.emitted[0]))
        self.cpu.append(_microseconds(played))
        seconds, cpu = await bare.play(self.events, self.batch)
        self.bare_rates.append(self.events / seconds)
        self.bare_cpu.append(cpu / self.events * 1e6)

    def row(self) -> tuple[str, ...]:
        ratio = report.median([ours / bare for ours, bare in zip(self.rates, self.bare_rates, strict=True)])
        rates = (f"{report.median(rates):,.0f}" for rates in (self.rates, self.bare_rates))
        return (
            str(self.batch),
            *rates,
            f"{ratio:.2f}",
            f"{report.median(self.cpu):.0f}",
            f"{report.median(self.bare_cpu):.0f}",
        )


async def run(*, quick: bool) -> report.Section:
    """Interleaved rounds of the batch sizes, then rates that meetings have."""
    rounds, events = (1, 1_000) if quick else (7, 10_000)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(postgresql())
        bare = await stack.enter_async_context(bare_binding())
        contests = []
        for batch in BATCHES:
            recorder = await stack.enter_async_context(recording(server, 1, page_batch_messages=batch))
            await recorder.play(Load(500, TOGETHER, 50))  # warm
            contests.append(Contest(batch, events // 4 if batch == 1 else events, recorder))
        for _ in range(rounds):
            for contest in contests:
                await contest.play(bare)
        # With the default settings, calls are as large as the rate makes them.
        paced = await _paced(contests[-1].recorder, seconds=1 if quick else 10)
    columns = ("messages a call", "events/s to the spool", "events/s bare", "ratio", "CPU, µs an event", "of it bare")
    contest_table = report.Table(
        f"Flat out, {rounds} rounds of {events:,} events (a quarter of that at one message a call).",
        columns,
        [contest.row() for contest in contests],
    )
    paced_table = report.Table(
        "At a rate, each event in a task of its own; the hook gathers what comes closer together than its pause.",
        ("events/s", "CPU, µs an event", "CPU, share of a core"),
        paced,
    )
    targets = [_target(contest) for contest in contests if contest.batch >= 10]
    return report.Section("From the page to the spool", TEXT, [contest_table, paced_table], targets)


async def _paced(recorder: WatchedRecorder, seconds: int) -> Sequence[Sequence[str]]:
    rows: list[tuple[str, ...]] = []
    for rate in (50, 1_000, 5_000):
        [played] = await recorder.play(Load(rate * seconds, 1, 1000 / rate))
        microseconds = _microseconds(played)
        rows.append((f"{rate:,}", f"{microseconds:.0f}", f"{microseconds * rate / 1e6:.1%}"))
    return rows


def _microseconds(played: Played) -> float:
    return played.cpu / len(played.emitted) * 1e6


def _target(contest: Contest) -> report.Target:
    measured = report.median(contest.cpu)
    promise = f"at most {CPU_TARGET_US:g} µs of CPU an event at {contest.batch} messages a call"
    return report.Target(promise, f"{measured:.0f} µs", measured <= CPU_TARGET_US)
