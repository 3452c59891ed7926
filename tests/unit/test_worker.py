"""The process's own part in stopping: what a worker begins when it was told to stop. e2e tests have the rest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from meeta_bot import room_address
from meeta_bot.capture.browser.chromium import Chromium
from meeta_bot.capture.browser.health import PageLoss
from meeta_bot.capture.browser.seats import Seats
from meeta_bot.capture.recorder import End
from meeta_bot.capture.request import request_for
from meeta_bot.errors import BrowserError
from meeta_bot.events import EndReason, GapCause
from meeta_bot.worker import Worker
from tests.unit.builders import settings
from tests.unit.played_page import OWN, Page
from tests.unit.test_writer import MemorySink

WAIT_SECONDS = 10
ROOMS = [room_address.parse(f"https://meet.example.org/room-{number}") for number in range(3)]


class PlayedChromium:
    """A browser that starts when a test lets it."""

    def __init__(self, problem: Exception | None = None) -> None:
        self.problem = problem
        self.calls: list[str] = []
        self.is_starting = asyncio.Event()
        self.may_start = asyncio.Event()

    async def start(self) -> None:
        self.calls.append("start")
        self.is_starting.set()
        await self.may_start.wait()
        if self.problem is not None:
            raise self.problem
        self.calls.append("started")

    def start_no_more(self) -> None:
        self.calls.append("start no more")

    async def stop(self) -> None:
        self.calls.append("stop")


class PlayedSeats:
    """A page for every room."""

    def __init__(self) -> None:
        self.pages: list[Page] = []
        self.news = asyncio.Event()

    async def take(self, address: Any, key: str, on_lost: Any) -> Page:
        page = Page()
        self.pages.append(page)
        self.news.set()
        return await page.take(address, key, on_lost)

    async def watch(self) -> None:
        await asyncio.Event().wait()

    async def close(self) -> None:
        """Nothing is open."""


class Working:
    """A worker that runs in a played browser."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        chosen = settings(data_directory=folder, joins_per_second=1000, leave_timeout=0.2, **changes)
        self.worker = Worker(chosen, MemorySink, lambda: asyncio.sleep(0))
        self.browser, self.seats = PlayedChromium(), PlayedSeats()
        self.worker.chromium = cast("Chromium", self.browser)
        self.worker.seats = cast("Seats", self.seats)
        requests = [request_for(address, chosen) for address in ROOMS]
        self.running: asyncio.Task[list[End]] = asyncio.create_task(self.worker.run(requests))

    async def joined(self, rooms: int) -> None:
        """Wait until the bot is in so many rooms."""
        self.browser.may_start.set()
        async with asyncio.timeout(WAIT_SECONDS):
            while len(self.seats.pages) < rooms:
                await self.seats.news.wait()
                self.seats.news.clear()
            for page in self.seats.pages:
                await page.has_joined.wait()
                page.say("connection.connectionEstablished", "bot@example.org")
                page.say("conference.joined", OWN)
            for recorder in self.worker.recorders:
                await recorder.settled.wait()

    async def ends(self) -> list[End]:
        return await asyncio.wait_for(self.running, WAIT_SECONDS)


@pytest.fixture
async def working(tmp_path: Path) -> AsyncIterator[Working]:
    one = Working(tmp_path)
    yield one
    one.running.cancel()
    await asyncio.gather(one.running, return_exceptions=True)


async def test_a_stop_before_the_start_starts_nothing(working: Working) -> None:
    working.worker.stop()
    assert await working.ends() == []
    assert working.browser.calls == ["start no more", "stop"]
    assert working.seats.pages == []


@pytest.mark.parametrize("problem", [None, BrowserError("killed")])
async def test_a_stop_while_the_browser_starts_gives_it_up_whatever_becomes_of_it(
    working: Working, problem: Exception | None
) -> None:
    await asyncio.wait_for(working.browser.is_starting.wait(), WAIT_SECONDS)
    working.worker.stop()
    working.browser.problem = problem
    working.browser.may_start.set()
    assert await working.ends() == []
    assert working.browser.calls[-1] == "stop"
    assert working.seats.pages == []


async def test_a_browser_that_does_not_start_is_an_error_for_whoever_was_not_told_to_stop(working: Working) -> None:
    working.browser.problem = BrowserError("no")
    working.browser.may_start.set()
    with pytest.raises(BrowserError):
        await working.ends()


@pytest.mark.parametrize("order", [("stop", "fault"), ("fault", "stop")])
async def test_many_rooms_leave_together_and_none_goes_back(working: Working, order: tuple[str, str]) -> None:
    with capture_logs() as logged:
        await working.joined(len(ROOMS))
        for what in order:
            if what == "stop":
                working.worker.stop()
            else:
                for page in working.seats.pages:
                    assert page.on_lost is not None
                    page.on_lost(PageLoss(GapCause.BROWSER_CRASHED, "Chromium went away"))
        assert await working.ends() == [(EndReason.OPERATOR, None)] * len(ROOMS)
    assert len(working.seats.pages) == len(ROOMS)
    assert "start no more" in working.browser.calls
    assert [line for line in logged if line["log_level"] == "error"] == []
