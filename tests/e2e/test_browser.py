"""Chromium as the recorder starts it, and what becomes of one whose pages can't be used."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from aiohttp import web

from meeta_bot import room_address, settings
from meeta_bot.capture.browser.chromium import Chromium
from meeta_bot.capture.browser.conference_page import PageNotLoaded
from meeta_bot.capture.browser.health import PageLoss
from meeta_bot.capture.browser.seats import Seat, Seats
from meeta_bot.clock import SystemClock
from meeta_bot.errors import BrowserError
from meeta_bot.events import EndReason, GapCause
from meeta_bot.room_address import RoomAddress
from tests.stack.process_tree import browsers, descendants, is_alive

LIBRARY = "var config = {}; var JitsiMeetJS = { init() {}, events: {} };"
TIMEOUT = 60.0  # seconds; bounds a wait, measures nothing


async def test_no_profile_gets_more_rooms_than_its_websockets_allow() -> None:
    chromium = Chromium(settings.load({"rooms_per_page": 10, "rooms_per_profile": 25}))
    await chromium.start()
    try:
        pages = await asyncio.gather(*(chromium.new_page() for _ in range(5)))
        assert sorted(Counter(page.context for page in pages).values()) == [1, 2, 2]
        await pages[0].close()
        another = await chromium.new_page()
        assert max(Counter(page.context for page in [*pages[1:], another]).values()) == 2
        assert len({page.context for page in [*pages, another]}) == 3
    finally:
        await chromium.stop()


class House:
    """A browser, its pages, and a web server whose rooms behave as they are called."""

    def __init__(self, chromium: Chromium, seats: Seats, origin: str, others: set[int]) -> None:
        self.lost: asyncio.Queue[PageLoss] = asyncio.Queue()
        self.chromium = chromium
        self._seats = seats
        self._origin = origin
        self._others = others
        self._taken = 0

    @property
    def process(self) -> int:
        """Chromium itself."""
        (found,) = browsers(os.getpid()) - self._others
        return found

    async def take(self, room: str) -> Seat:
        return await self.take_at(room_address.parse(f"{self._origin}/{room}"))

    async def take_at(self, address: RoomAddress) -> Seat:
        self._taken += 1
        return await self._seats.take(address, str(self._taken), self.lost.put_nowait)

    async def loses_its_page(self, room: str) -> PageLoss:
        """Take a seat in a page that does not live to have it."""
        taking = asyncio.create_task(self.take(room))
        async with asyncio.timeout(TIMEOUT):
            loss = await self.lost.get()
        taking.cancel()
        await asyncio.gather(taking, return_exceptions=True)
        return loss


class Site:
    """The web server. What a room's page does is its name."""

    def __init__(self, spared: set[int]) -> None:
        self.over = asyncio.Event()
        self._spared = spared  # renderers that are others'
        self._answers = {
            "silent": self._nothing,
            "half": self._half,
            "broken": _text("", 503),
            "busy": _text("<script>for (;;);</script>"),
            "deadly": self._death,
            "room": _text('<script src="/libs/lib-jitsi-meet.min.js"></script>'),
            "lib-jitsi-meet.min.js": _text(LIBRARY, kind="application/javascript"),
        }

    async def serve(self, request: web.Request) -> web.StreamResponse:
        return await self._answers[request.path.rpartition("/")[2]](request)

    async def _nothing(self, _: web.Request) -> web.StreamResponse:
        await self.over.wait()
        return web.Response()

    async def _half(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/html"})
        await response.prepare(request)
        await response.write(b"<!DOCTYPE html><html><head><title>")
        await self.over.wait()
        return response

    async def _death(self, _: web.Request) -> web.StreamResponse:
        for pid, line in descendants(os.getpid()):
            if "--type=renderer" in line and pid not in self._spared:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        return web.Response()


Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _text(text: str, status: int = 200, kind: str = "text/html") -> Answer:
    async def serve(_: web.Request) -> web.StreamResponse:
        return web.Response(text=text, status=status, content_type=kind)

    return serve


@asynccontextmanager
async def _house(**values: float) -> AsyncIterator[House]:
    others = browsers(os.getpid())
    site = Site({pid for other in others for pid, _ in descendants(other)})
    application = web.Application()
    application.router.add_get("/{path:.*}", site.serve)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    chosen = settings.load({"rooms_per_page": 1, **values})
    chromium = Chromium(chosen)
    seats = Seats(chromium, SystemClock(), chosen)
    try:
        await chromium.start()
        yield House(chromium, seats, f"http://127.0.0.1:{runner.addresses[0][1]}", others)
    finally:
        site.over.set()
        await seats.close()
        await chromium.stop()
        await runner.cleanup()


async def _dead(pid: int) -> None:
    async with asyncio.timeout(TIMEOUT):
        while is_alive(pid):  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)


async def test_a_page_that_hangs_while_it_loads_costs_a_browser_in_which_nobody_sits() -> None:
    async with _house(page_call_timeout=8) as house:
        before = house.process
        with pytest.raises(BrowserError, match="a page hung while it loaded"):
            await house.take("busy")
        assert (await house.lost.get()).cause is GapCause.BROWSER_CRASHED
        await _dead(before)
        await house.take("room")
        assert house.process != before


async def test_a_page_that_lives_is_not_given_up_for_one_that_hangs_but_for_several_in_a_row() -> None:
    async with _house(page_call_timeout=8, page_heartbeat_ms=300_000, browser_failures_limit=2) as house:
        before = house.process
        for _ in range(2):
            await house.take("room")
            with pytest.raises(BrowserError):
                await house.take("busy")
            assert house.process == before
        assert house.lost.empty()
        with pytest.raises(BrowserError):
            await house.take("busy")
        assert (await house.lost.get()).cause is GapCause.BROWSER_CRASHED
        await _dead(before)


async def test_pages_that_crash_while_they_load_cost_the_browser_in_the_end() -> None:
    async with _house(browser_failures_limit=2, browser_doubt_timeout=30) as house:
        before = house.process
        assert (await house.loses_its_page("deadly")).cause is GapCause.PAGE_CRASHED
        assert house.process == before
        await house.loses_its_page("deadly")
        await _dead(before)
        await house.take("room")
        assert house.process != before


@pytest.mark.parametrize("room", ["silent", "half", "broken"])
async def test_a_server_that_does_not_answer_is_not_the_browsers_fault(room: str) -> None:
    async with _house(browser_doubt_timeout=4, page_load_timeout=9) as house:
        before = house.process
        house.chromium.health.doubt()
        with pytest.raises(PageNotLoaded) as refusal:
            await house.take(room)
        assert refusal.value.reason is EndReason.ROOM_UNREACHABLE
        assert house.process == before
        assert house.lost.empty()


@pytest.mark.parametrize("address", ["http://nowhere.invalid/room", "http://127.0.0.1:9/room"])
async def test_an_address_that_leads_nowhere_is_not_the_browsers_fault(address: str) -> None:
    async with _house(browser_failures_limit=2, browser_doubt_timeout=30) as house:
        before = house.process
        house.chromium.health.doubt()
        for _ in range(3):
            with pytest.raises(PageNotLoaded):
                await house.take_at(room_address.parse(address))
        assert house.process == before


async def test_a_driver_that_dies_is_noticed_at_once_and_followed_by_another() -> None:
    async with _house(page_hung_timeout=600) as house:
        before = house.process
        await house.take("room")
        others = {pid for pid, line in descendants(os.getpid()) if "run-driver" in line}
        (driver,) = [pid for pid in others if before in {child for child, _ in descendants(pid)}]
        os.kill(driver, signal.SIGKILL)
        loss = await asyncio.wait_for(house.lost.get(), TIMEOUT)
        assert loss.cause is GapCause.BROWSER_CRASHED
        await _dead(before)
        await house.take("room")
        assert house.process != before


async def test_a_browser_that_stands_still_is_killed_and_followed_by_another() -> None:
    async with _house() as house:
        before = house.process
        await house.take("room")
        os.kill(before, signal.SIGSTOP)
        with pytest.raises(BrowserError):
            await house.take("room")
        await _dead(before)
        await house.take("room")
        assert house.process != before
