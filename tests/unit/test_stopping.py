"""Whoever was told to leave starts nothing: every pair of a stop and a fault, in every order, at every place."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from meeta_bot import room_address
from meeta_bot.capture.browser.conference_page import PageNotLoaded
from meeta_bot.capture.browser.health import PageLoss
from meeta_bot.capture.browser.seats import Seats
from meeta_bot.capture.phases import Phase
from meeta_bot.capture.recorder import Recorder
from meeta_bot.capture.request import request_for
from meeta_bot.capture.spool import Spool
from meeta_bot.clock import SystemClock
from meeta_bot.errors import BrowserError
from meeta_bot.events import CaptureEnded, EndReason, GapCause
from tests.unit.builders import settings
from tests.unit.played_page import OWN, Page

ADDRESS = room_address.parse("https://meet.example.org/standup")
WAIT_SECONDS = 10
TURNS = range(8)  # of the event loop between the one and the other; a loss takes fewer to be acted upon


class Played(Page):
    """A page whose seat may be slow to come, and which says no goodbye once it is lost."""

    def __init__(self) -> None:
        super().__init__()
        self.is_lost = False
        self.asked = 0  # for a seat
        self.is_loading = asyncio.Event()
        self.may_load = asyncio.Event()
        self.may_load.set()

    async def take(self, address: Any, key: str, on_lost: Callable[[Any], None]) -> Page:
        self.asked += 1
        self.is_loading.set()
        await self.may_load.wait()
        if self.problem is not None:
            raise self.problem
        self.is_lost = False
        return await super().take(address, key, on_lost)

    async def leave(self) -> None:
        if not self.is_lost:
            await super().leave()

    def loses(self, cause: GapCause) -> None:
        self.is_lost = True
        if self.on_lost is not None:
            self.on_lost(PageLoss(cause, "the process died"))


def _browser_killed(page: Played) -> None:
    page.problem = BrowserError("the driver went away")
    page.loses(GapCause.BROWSER_CRASHED)


def _server_lost(page: Played) -> None:
    page.problem = PageNotLoaded("nothing listens", EndReason.ROOM_UNREACHABLE)
    page.say("connection.connectionFailed", "connection.droppedError")


FAULTS: dict[str, Callable[[Played], None]] = {
    "browser killed": lambda page: page.loses(GapCause.BROWSER_CRASHED),
    "driver killed": _browser_killed,
    "renderer killed": lambda page: page.loses(GapCause.PAGE_CRASHED),
    "page hangs": lambda page: page.loses(GapCause.PAGE_HUNG),
    "server lost": _server_lost,
}


PHASES = (Phase.LOADING, Phase.CONNECTING, Phase.IN_ROOM)
# Who never was in the room ends for these, whatever comes later.
FATAL = {(Phase.LOADING, "server lost"), (Phase.CONNECTING, "server lost")}


@pytest.fixture
async def spool(tmp_path: Path) -> AsyncIterator[Spool]:
    opened = Spool(tmp_path / "spool", settings())
    yield opened
    await opened.close()


class Recording:
    """A capture with a played page, and what it had begun when it was told to leave: seats and joins."""

    def __init__(self, spool: Spool, **changes: Any) -> None:
        chosen = settings(leave_timeout=0.2, **changes)
        self.page = Played()
        self.recorder = Recorder(request_for(ADDRESS, chosen), cast("Seats", self.page), spool, chosen, SystemClock())
        self.begun = (-1, -1)
        self.running = asyncio.create_task(self.recorder.run())

    async def until(self, phase: Phase) -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            while self.recorder.phase is not phase:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0)

    async def in_room(self) -> None:
        await asyncio.wait_for(self.page.has_joined.wait(), WAIT_SECONDS)
        self.page.say("connection.connectionEstablished", "bot@example.org")
        self.page.say("conference.joined", OWN)
        await self.until(Phase.IN_ROOM)

    def stop(self) -> None:
        self.recorder.stop(EndReason.OPERATOR)
        self.begun = self._begun()

    def _begun(self) -> tuple[int, int]:
        return self.page.asked, self.page.calls.count("join")

    async def ends_as_told(self, logged: list[Any]) -> None:
        """It ends, for the operator, and nothing was begun after the word to leave."""
        assert await asyncio.wait_for(self.running, WAIT_SECONDS) == (EndReason.OPERATOR, None)
        last = self.recorder.last_event
        assert last is not None
        assert isinstance(last.payload, CaptureEnded)
        assert last.payload.reason is EndReason.OPERATOR
        assert self._begun() == self.begun
        assert self.page.calls.count("vacate") == self.page.calls.count("take")
        assert [line for line in logged if line["log_level"] == "error"] == []
        assert self.recorder.phase is Phase.ENDED


async def _turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("turns", TURNS)
async def test_a_stop_and_then_a_fault(spool: Spool, phase: Phase, fault: str, turns: int) -> None:
    with capture_logs() as logged:
        one = Recording(spool)
        await _to(one, phase)
        one.stop()
        await _turns(turns)
        FAULTS[fault](one.page)
        await one.ends_as_told(logged)


@pytest.mark.parametrize(
    ("phase", "fault"), [place for place in itertools.product(PHASES, FAULTS) if place not in FATAL]
)
@pytest.mark.parametrize("turns", TURNS)
async def test_a_fault_and_then_a_stop(spool: Spool, phase: Phase, fault: str, turns: int) -> None:
    with capture_logs() as logged:
        one = Recording(spool)
        await _to(one, phase)
        FAULTS[fault](one.page)
        await _turns(turns)
        one.stop()
        await one.ends_as_told(logged)


@pytest.mark.parametrize(("first", "second"), list(itertools.permutations(FAULTS, 2)))
async def test_a_stop_between_two_faults(spool: Spool, first: str, second: str) -> None:
    with capture_logs() as logged:
        one = Recording(spool)
        await one.in_room()
        FAULTS[first](one.page)
        one.stop()
        FAULTS[second](one.page)
        await one.ends_as_told(logged)


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_stop_while_it_tries_to_get_back(spool: Spool, fault: str) -> None:
    with capture_logs() as logged:
        one = Recording(spool, reconnect_pause_initial=0.01)
        await one.in_room()
        one.page.may_load.clear()
        one.page.is_loading.clear()
        FAULTS[fault](one.page)
        await asyncio.wait_for(one.page.is_loading.wait(), WAIT_SECONDS)
        one.stop()
        one.page.may_load.set()
        await one.ends_as_told(logged)


async def test_a_stop_before_it_has_begun_starts_nothing(spool: Spool) -> None:
    with capture_logs() as logged:
        one = Recording(spool)
        one.stop()
        await one.ends_as_told(logged)
        assert one.page.calls == []


async def test_who_leaves_does_not_wait_for_the_goodbye_of_a_page_that_is_gone(spool: Spool) -> None:
    with capture_logs() as logged:
        one = Recording(spool)
        one.recorder._settings = settings(leave_timeout=10 * WAIT_SECONDS)
        await one.in_room()
        one.page.is_lost = True
        one.stop()
        await one.until(Phase.LEAVING)
        one.page.loses(GapCause.BROWSER_CRASHED)
        await one.ends_as_told(logged)


@pytest.mark.parametrize("order", [("stop", "fault"), ("fault", "stop")])
async def test_what_was_not_seen_on_the_way_out_is_a_gap(spool: Spool, order: tuple[str, str]) -> None:
    """The page may have known more than it had handed over, whichever came first."""
    one = Recording(spool)
    await one.in_room()
    for what in order:
        one.stop() if what == "stop" else one.page.loses(GapCause.BROWSER_CRASHED)
    await asyncio.wait_for(one.running, WAIT_SECONDS)
    found = [item.event for item in await spool.read(1000)]
    (gap,) = [event for event in found if event.type == "capture.gap"]
    assert json.loads(gap.payload)["cause"] == "browser_crashed"
    assert found[-1].type == "capture.ended"


async def test_an_error_of_our_own_on_the_way_out_is_no_other_capture_s_end(spool: Spool) -> None:
    one = Recording(spool)
    await one.in_room()

    async def fails() -> None:
        raise ZeroDivisionError

    one.page.leave = fails  # type: ignore[method-assign]
    one.stop()
    assert await asyncio.wait_for(one.running, WAIT_SECONDS) == (EndReason.OPERATOR, None)
    assert one.recorder.phase is Phase.ENDED


async def _to(one: Recording, phase: Phase) -> None:
    if phase is Phase.LOADING:
        one.page.may_load.clear()
        await asyncio.wait_for(one.page.is_loading.wait(), WAIT_SECONDS)
        one.page.may_load.set()
    elif phase is Phase.CONNECTING:
        await asyncio.wait_for(one.page.has_joined.wait(), WAIT_SECONDS)
    else:
        await one.in_room()
