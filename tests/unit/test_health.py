"""The judge of browser and pages, on a clock that the test sets; e2e/test_browser.py has real ones."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from playwright.async_api import Browser, Page

from meeta_bot.capture.browser.health import BrowserHealth, PageLoss, loss_of
from meeta_bot.errors import BrowserError, PageError
from meeta_bot.events import GapCause
from tests.unit.builders import settings

CALL, DOUBT = 10.0, 2.0


@dataclass
class Clock:
    now: float = 1000.0

    def wall_ms(self) -> int:
        return 0

    def monotonic_ms(self) -> float:
        return self.now

    def boot_ms(self) -> float:
        return self.now


class Connected:
    """A browser as far as it is judged."""

    def __init__(self) -> None:
        self.lives = True

    def is_connected(self) -> bool:
        return self.lives


class Quiet:
    """A page with its context, of which nothing is asked but when it was heard."""

    def on(self, *_: Any) -> None: ...

    remove_listener = on

    @property
    def context(self) -> Quiet:
        return self

    async def new_cdp_session(self, _: Quiet) -> None:
        await asyncio.Event().wait()


@dataclass
class House:
    """Health, its browser, the losses, and the browsers that were given up."""

    stall_tolerance: float = 5.0
    clock: Clock = field(default_factory=Clock)
    losses: list[PageLoss] = field(default_factory=list)
    given_up: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        chosen = settings(
            page_heartbeat_ms=10,
            page_hung_timeout=20,
            browser_failures_limit=3,
            browser_doubt_timeout=DOUBT,
            page_call_timeout=CALL,
            stall_tolerance=self.stall_tolerance,
        )
        self.health = BrowserHealth(chosen, self.clock, self.given_up.append)
        self.browser = Connected()
        self.health.started(cast("Browser", self.browser))

    async def page(self) -> None:
        """One more page, heard now and never again."""
        heard_ms = self.clock.now
        page = self.health.add(self.losses.append)
        await page.load(cast("Page", Quiet()), asyncio.sleep(0), lambda: heard_ms)

    def fails(self, before: int, *, is_hung: bool = False, browser: Any = None) -> None:
        self.health.fail(browser or cast("Browser", self.browser), before, is_hung=is_hung)


@pytest.fixture
def house() -> House:
    return House()


def test_an_error_of_a_page_is_no_error_of_its_browser() -> None:
    assert loss_of(PageError("gone")) == (GapCause.PAGE_CRASHED, "gone")
    assert loss_of(BrowserError("gone")) == (GapCause.BROWSER_CRASHED, "gone")


async def test_patience_is_short_where_a_page_was_lost_and_none_lives(house: House) -> None:
    assert house.health.patience == CALL
    house.health.doubt()
    assert house.health.patience == DOUBT
    await house.page()
    assert house.health.patience == CALL
    house.health.doubt()
    assert house.health.patience == CALL
    house.clock.now += 21
    assert house.health.patience == DOUBT


def test_failures_in_a_row_cost_the_browser_and_those_together_count_once(house: House) -> None:
    for before in (0, 0, 0, 1, 1):
        house.fails(before)
    assert house.given_up == []
    house.fails(2)
    assert house.given_up == [house.browser]


def test_a_page_that_came_makes_failures_forgotten(house: House) -> None:
    house.fails(0)
    house.fails(1)
    house.health.page_came()
    house.fails(house.health.failures)
    assert (house.given_up, house.health.failures) == ([], 1)


async def test_the_first_that_hangs_is_enough_where_no_page_lives(house: House) -> None:
    await house.page()
    house.fails(0, is_hung=True)
    assert house.given_up == []
    house.clock.now += 21
    house.fails(0, is_hung=True)
    assert house.given_up == [house.browser]


def test_a_browser_that_is_gone_is_given_up_at_once_and_another_s_failures_are_its_own(house: House) -> None:
    house.fails(2, browser=Connected(), is_hung=True)
    assert house.given_up == []
    house.browser.lives = False
    house.fails(0)
    assert house.given_up == [house.browser]
    house.health.stopped()
    house.fails(0)
    assert house.given_up == [house.browser]


async def test_pages_go_with_their_browser_once(house: House) -> None:
    await house.page()
    house.health.gone()
    house.health.gone()
    assert house.losses == [(GapCause.BROWSER_CRASHED, "Chromium went away")]


async def test_a_page_that_says_nothing_is_given_up_and_its_browser_doubted() -> None:
    house = House(stall_tolerance=1000.0)
    await house.page()
    house.clock.now += 19_000
    watching = asyncio.create_task(house.health.watch())
    await asyncio.sleep(0)  # from now on it listens
    house.clock.now += 19_000
    await asyncio.sleep(0.05)
    assert house.losses == []
    house.clock.now += 2_000
    async with asyncio.timeout(10):
        while not house.losses:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)
    watching.cancel()
    assert house.losses == [(GapCause.PAGE_HUNG, "the page said nothing for 21 s")]
    assert house.health.patience == DOUBT


async def test_silence_in_which_nobody_listened_is_no_page_s_fault() -> None:
    house = House(stall_tolerance=5.0)
    await house.page()
    watching = asyncio.create_task(house.health.watch())
    await asyncio.sleep(0.03)
    house.clock.now += 60_000  # the process stood still
    await asyncio.sleep(0.05)
    watching.cancel()
    assert house.losses == []
