"""Health of the browser and its pages: the one judge of what is dead, hangs, or is of no use any more.

Others report what they notice: signs of life, crashes, answers, pages that did not come. From that a page is given up
that crashed, that went with its browser, or that says nothing for ``page_hung_timeout`` though it should. A browser
that lives and is of no use is known by its pages: they don't come, or they die or say nothing while they load, which
a page that waits for a server never does. Where no page lives, nobody loses anything, so the first that hangs is
enough to give the browser up; else it takes ``browser_failures_limit`` in a row.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from playwright.async_api import Browser, CDPSession, Page, Request, Response
from playwright.async_api import Error as PlaywrightError

from meeta_bot.clock import Clock
from meeta_bot.errors import BrowserError, PageError
from meeta_bot.events import GapCause
from meeta_bot.settings import Settings

_QUESTION_PAUSE = 0.5  # seconds between an answer of a page that loads and the next question


class PageLoss(NamedTuple):
    """The judgement that a page is lost, and how that is known."""

    cause: GapCause
    evidence: str


def loss_of(error: BrowserError) -> PageLoss:
    """Return the loss that an error in a call shows: of the page, or of its browser."""
    cause = GapCause.PAGE_CRASHED if isinstance(error, PageError) else GapCause.BROWSER_CRASHED
    return PageLoss(cause, str(error))


class PageHealth:
    """One page's health, from before it loads to its end. ``on_lost`` is called once, when it is given up."""

    def __init__(self, browser: BrowserHealth, on_lost: Callable[[PageLoss], None]) -> None:
        self.has_crashed = False
        self._browser = browser
        self._on_lost = on_lost
        self._is_lost = False
        self._loading: _Loading | None = None
        self._heard_ms: Callable[[], float] | None = None

    def attach(self, page: Page) -> None:
        """Hear of the crash of `page` from now on."""
        page.on("crash", lambda _: self._crashed())

    def _crashed(self) -> None:
        self.has_crashed = True
        self._browser.doubt()
        self.lose(PageLoss(GapCause.PAGE_CRASHED, "the page's process died"))
        if self._loading is not None:
            self._loading.fail(is_hung=False)

    def lose(self, loss: PageLoss) -> None:
        """Give the page up; the first loss counts."""
        if not self._is_lost:
            self._is_lost = True
            self._on_lost(loss)

    async def load(self, page: Page, work: Coroutine[Any, Any, None], heard_ms: Callable[[], float]) -> None:
        """Await `work`, which loads `page`, and tell a page that waits from one that does not live.

        :param heard_ms: the monotonic time of the page's last sign of life, once it has loaded.
        :raises BrowserError: the page crashed or hangs, which counts against the browser. Other errors are those of
            `work`; they don't.
        """
        loading = self._loading = _Loading(page, self, self._browser)
        try:
            await loading.run(work)
        finally:
            self._loading = None
        self._heard_ms = heard_ms

    def silent_ms(self, now_ms: float, since_ms: float) -> float | None:
        """Return for how long, from `since_ms` on, it has said nothing; None while it loads: that has a deadline."""
        return None if self._heard_ms is None else now_ms - max(self._heard_ms(), since_ms)


class BrowserHealth:
    """The health of the browser of this process, and of the pages in it that are used.

    ``give_up`` is called with a browser that is of no use.
    """

    def __init__(self, settings: Settings, clock: Clock, give_up: Callable[[Browser], None]) -> None:
        self.failures = 0  # to give a page that can be used, one after the other
        self._settings = settings
        self._clock = clock
        self._give_up = give_up
        self._browser: Browser | None = None
        self._is_doubted = False  # a page was lost, and none has loaded since
        self._pages: list[PageHealth] = []
        self._fair_from_ms = clock.monotonic_ms()  # silence before this was ours: we did not listen

    # --- what is reported -------------------------------------------------------------------------------------------

    def started(self, browser: Browser) -> None:
        """Judge `browser` from now on."""
        self._browser = browser
        self.page_came()

    def stopped(self) -> None:
        """Judge no browser: this one is stopped on purpose."""
        self._browser = None

    def gone(self) -> None:
        """Give up all pages: they went with their browser."""
        self._browser = None
        for page in list(self._pages):
            page.lose(PageLoss(GapCause.BROWSER_CRASHED, "Chromium went away"))

    def add(self, on_lost: Callable[[PageLoss], None]) -> PageHealth:
        """Return the health of one more page, which is judged until it is dismissed."""
        page = PageHealth(self, on_lost)
        self._pages.append(page)
        return page

    def dismiss(self, page: PageHealth) -> None:
        """Judge `page` no longer: nobody new is sent to it. Safe to call twice."""
        if page in self._pages:
            self._pages.remove(page)

    def doubt(self) -> None:
        """Note that a page was lost: the browser may be of no use, and has ``browser_doubt_timeout`` to disprove it."""
        self._is_doubted = True

    def page_came(self) -> None:
        """Note that there is a page that can be used."""
        self.failures, self._is_doubted = 0, False

    def fail(self, browser: Browser | None, before: int, *, is_hung: bool) -> None:
        """Note a page that did not come or did not live, asked for when there had been `before` failures in a row.

        Those that fail together count once.
        """
        if browser is None or browser is not self._browser:
            return
        self.failures = max(self.failures, before + 1)
        is_over = self.failures >= self._settings.browser_failures_limit or not browser.is_connected()
        if is_over or (is_hung and not self.is_in_use):
            self._give_up(browser)

    # --- what is asked ----------------------------------------------------------------------------------------------

    @property
    def patience(self) -> float:
        """Seconds for an answer. Not shortened where pages live: a machine that is busy with them is no fault."""
        is_lost = self._is_doubted and not self.is_in_use
        return self._settings.browser_doubt_timeout if is_lost else self._settings.page_call_timeout

    @property
    def is_in_use(self) -> bool:
        """True when a page said lately that it lives: one sign of life may be late, two don't fail by chance."""
        return any(silent_ms <= 2 * self._settings.page_heartbeat_ms for _, silent_ms in self._silences())

    async def watch(self) -> None:
        """Give up pages that hang, until cancelled: the hook says every ``page_heartbeat_ms`` that it lives."""
        interval = self._settings.page_heartbeat_ms / 1000
        before_ms = self._fair_from_ms = self._clock.monotonic_ms()
        while True:
            await asyncio.sleep(interval)
            now_ms = self._clock.monotonic_ms()
            if now_ms - before_ms > (interval + self._settings.stall_tolerance) * 1000:
                self._fair_from_ms = now_ms
            before_ms = now_ms
            for page, silent_ms in self._silences():
                if silent_ms > self._settings.page_hung_timeout * 1000:
                    self.doubt()
                    page.lose(PageLoss(GapCause.PAGE_HUNG, f"the page said nothing for {silent_ms / 1000:.0f} s"))

    def _silences(self) -> list[tuple[PageHealth, float]]:
        """Return for how many milliseconds each page that has loaded has said nothing."""
        now_ms = self._clock.monotonic_ms()
        every = [(page, page.silent_ms(now_ms, self._fair_from_ms)) for page in self._pages]
        return [(page, silent_ms) for page, silent_ms in every if silent_ms is not None]


class _Loading:
    """The time in which a page loads: browser and page must do something, which no server can keep them from."""

    def __init__(self, page: Page, health: PageHealth, browser: BrowserHealth) -> None:
        self._page = page
        self._health = health
        self._browser = browser
        self._failures_before = browser.failures
        self._session: CDPSession | None = None
        self._awaits_server = False  # for the document; until it is here, Chromium passes no question on to the page
        self._turns = 0  # how often that changed

    async def run(self, work: Coroutine[Any, Any, None]) -> None:
        self._listen()
        tasks = [asyncio.ensure_future(work), asyncio.create_task(self._question())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            is_usable = _succeeded(tasks[0]) or (not tasks[1].done() and await self._has_answered())
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._listen_no_longer()
        if self._health.has_crashed:
            raise BrowserError("a page crashed while it loaded")
        if not is_usable:
            self.fail(is_hung=True)
            raise BrowserError("a page hung while it loaded")
        self._browser.page_came()
        tasks[0].result()

    def fail(self, *, is_hung: bool) -> None:
        """Count it against the browser."""
        self._browser.fail(self._page.context.browser, self._failures_before, is_hung=is_hung)

    def _listen(self) -> None:
        self._page.on("request", self._requested)
        self._page.on("response", self._answered)
        self._page.on("requestfailed", self._failed)

    def _listen_no_longer(self) -> None:
        """Drop the listeners: what goes over the network later is nobody's business, and is passed on for a price."""
        self._page.remove_listener("request", self._requested)
        self._page.remove_listener("response", self._answered)
        self._page.remove_listener("requestfailed", self._failed)

    def _requested(self, request: Request) -> None:
        self._document(request, is_awaited=True)

    def _answered(self, response: Response) -> None:
        self._document(response.request, is_awaited=False)

    def _failed(self, request: Request) -> None:
        self._document(request, is_awaited=False)

    def _document(self, request: Request, *, is_awaited: bool) -> None:
        if request.is_navigation_request():
            self._awaits_server = is_awaited
            self._turns += 1

    async def _question(self) -> None:
        """Ask again and again, until an answer fails to come."""
        while True:
            if not await self._has_answered():
                return
            await asyncio.sleep(_QUESTION_PAUSE)

    async def _has_answered(self) -> bool:
        """Ask, and wait for as long as patience lasts."""
        turns = self._turns
        try:
            async with asyncio.timeout(self._browser.patience):
                if self._session is None:
                    self._session = await self._page.context.new_cdp_session(self._page)
                await self._session.send("Browser.getVersion")
                if not self._awaits_server:
                    await self._session.send("Runtime.evaluate", {"expression": "1"})
        except TimeoutError:
            return turns != self._turns  # the question may have been lost on the way to another document
        except PlaywrightError:  # such as: the page went elsewhere meanwhile
            return not self._health.has_crashed and not self._page.is_closed()
        return not self._health.has_crashed


def _succeeded(task: asyncio.Future[None]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None
