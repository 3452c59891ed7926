"""The log of one capture: what is on disk, what a killed process leaves, clocks that jump, spools that take nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from meeta_bot.capture.log import CaptureLog, end_cut_captures
from meeta_bot.capture.normalize import Message
from meeta_bot.capture.normalize.reports import ClockReport, EndReport, ErrorReport, HeartbeatReport
from meeta_bot.capture.spool import Spool
from meeta_bot.errors import SpoolFull
from meeta_bot.events import EndReason
from tests.unit.builders import CAPTURE, settings, state
from tests.unit.spool_faults import as_a_kill_leaves_it, fill_up

START = 1_700_000_000_000
WAIT_SECONDS = 10
HOUR_MS = 3_600_000


@dataclass
class Clock:
    """Clocks that a test sets, in milliseconds."""

    wall: int = START
    monotonic: float = 50_000.0

    def wall_ms(self) -> int:
        return self.wall

    def monotonic_ms(self) -> float:
        return self.monotonic

    def boot_ms(self) -> float:
        return self.monotonic

    def passes(self, ms: int) -> None:
        self.wall += ms
        self.monotonic += ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def spool(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Spool]:
    opened = Spool(tmp_path / "spool", settings(**getattr(request, "param", {})))
    yield opened
    await opened.close()


def log_of(spool: Spool, clock: Clock, **changes: Any) -> CaptureLog:
    chosen = settings(spool_retry_pause=0.01, **changes)
    return CaptureLog(state(), spool, chosen, clock, asyncio.Event())


def from_page(log: CaptureLog, clock: Clock, origin: str, *args: Any) -> Message:
    return Message(origin, list(args), clock.wall, log.elapsed_ms())


def joined(endpoint_id: str) -> list[Any]:
    return [endpoint_id, {"id": endpoint_id, "name": endpoint_id.title(), "role": "participant"}]


async def events_of(spool: Spool) -> list[Any]:
    found = [item.event for item in await spool.read(10_000) if item.event.capture_id == CAPTURE]
    assert [event.seq for event in found] == list(range(1, len(found) + 1))
    return [(event, msgspec.json.decode(event.payload)) for event in found]


async def test_durations_and_order_hold_while_the_wall_clock_is_set_back(spool: Spool, clock: Clock) -> None:
    log = log_of(spool, clock)
    own = {"endpoint_id": "bot", "role": "none", "roster_size": 0}
    await log.record([from_page(log, clock, "conference.joined", own)])
    clock.passes(1000)
    await log.record([from_page(log, clock, "conference.userJoined", *joined("ada"))])
    clock.wall -= HOUR_MS
    await log.report(ClockReport(jump_ms=-HOUR_MS))
    clock.passes(60_000)
    await log.record([from_page(log, clock, "conference.userLeft", *joined("ada"))])
    found = await events_of(spool)
    left = next(payload for event, payload in found if event.type == "participant.left")
    assert left["duration_ms"] == 60_000
    jump = next(payload for event, payload in found if event.type == "capture.clock_jumped")
    assert jump == {"jump_ms": -HOUR_MS}
    assert [event.monotonic_ms for event, _ in found] == sorted(event.monotonic_ms for event, _ in found)


@pytest.mark.parametrize("jump", [0, HOUR_MS, -HOUR_MS])
async def test_a_killed_process_has_a_gap_from_when_all_that_was_seen_is_on_disk(
    spool: Spool, clock: Clock, tmp_path: Path, jump: int
) -> None:
    log = log_of(spool, clock)
    clock.passes(10_000)
    # A heartbeat at 10 s; the page had last handed over at 9.2 s all that it had seen.
    await log.report(HeartbeatReport(), seen_ms=clock.monotonic - 800)
    left_over = as_a_kill_leaves_it(spool, tmp_path / "killed")
    clock.passes(300_000)
    clock.wall += jump
    adopted = Spool(left_over, settings())
    assert await end_cut_captures(adopted, clock) == 1
    found = await events_of(adopted)
    assert [event.type for event, _ in found[-2:]] == ["capture.gap", "capture.ended"]
    gap, ended = found[-2][1], found[-1][1]
    assert (gap["cause"], gap["from_at"]) == ("process_killed", START + 9_200)
    assert gap["to_at"] == max(clock.wall, START + 9_200)
    assert ended["reason"] == "process_killed"
    assert ended["events"] == found[-1][0].seq - 1
    assert await end_cut_captures(adopted, clock) == 0
    await adopted.close()


async def test_what_was_seen_is_as_old_as_the_last_message_until_more_is_known(
    spool: Spool, clock: Clock, tmp_path: Path
) -> None:
    log = log_of(spool, clock)
    await log.record([from_page(log, clock, "conference.userJoined", *joined("ada"))], seen_ms=clock.monotonic - 30)
    clock.passes(5_000)
    await log.report(ClockReport(jump_ms=0))  # knows nothing of the page
    adopted = Spool(as_a_kill_leaves_it(spool, tmp_path / "killed"), settings())
    [capture] = await adopted.open_captures()
    assert capture.touched_at == START - 30
    await adopted.close()


FULL = pytest.mark.parametrize("spool", [{"spool_max_bytes": 400_000}], indirect=True)


@FULL
async def test_a_spool_that_takes_nothing_for_a_while_is_a_gap_in_which_nothing_is_lost(
    spool: Spool, clock: Clock
) -> None:
    log = log_of(spool, clock)
    await log.report(HeartbeatReport())
    cursor = spool.cursor()
    await fill_up(spool)
    waiting = asyncio.create_task(log.report(ErrorReport(where="test", message="y" * 20_000)))
    done, _ = await asyncio.wait([waiting], timeout=0.1)  # a few tries, which all fail
    assert not done
    clock.passes(7_000)
    await cursor.forget(spool.last_ordinal)
    async with asyncio.timeout(WAIT_SECONDS):
        await waiting
        while log.state.counts.events < 3:  # noqa: ASYNC110 - the gap is told aside
            await asyncio.sleep(0.01)
    found = {item.event.type: item.event for item in await spool.read(10_000) if item.event.capture_id == CAPTURE}
    assert {"capture.error", "capture.gap"} <= found.keys()
    assert '"spool_full"' in found["capture.gap"].payload
    assert '"nothing"' in found["capture.gap"].payload


@FULL
async def test_what_a_full_spool_refused_on_the_way_out_lies_in_a_gap_before_the_end(
    spool: Spool, clock: Clock
) -> None:
    log = log_of(spool, clock)
    await log.report(HeartbeatReport(), seen_ms=clock.monotonic)
    await fill_up(spool)
    log.is_patient = False
    clock.passes(4_000)
    with pytest.raises(SpoolFull):
        await log.record([from_page(log, clock, "conference.userJoined", *joined("ada"))] * 300)
    await log.report_what_was_refused()
    await log.report(EndReport(reason=EndReason.OPERATOR), urgent=True)
    found = await events_of(spool)
    assert [event.type for event, _ in found] == ["capture.heartbeat", "capture.gap", "capture.ended"]
    gap = found[1][1]
    assert (gap["cause"], gap["lost"], gap["to_ms"] - gap["from_ms"]) == ("spool_full", "everything", 4_000)


async def test_where_nothing_was_refused_nothing_is_said(spool: Spool, clock: Clock) -> None:
    log = log_of(spool, clock)
    await log.report_what_was_refused()
    assert log.position.last_seq == 0
