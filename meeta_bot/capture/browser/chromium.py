"""Chromium: found, started, watched, and asked for pages. One for the whole process; one that died is followed by
another as soon as somebody asks for a page.

One that lives and is of no use is replaced, too. It is known by its pages: they don't come, or they die or say nothing
while they load, which a page that waits for a server never does. Where no page lives, nobody loses anything, so the
first that hangs is enough; else it takes ``browser_failures_limit`` in a row.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from playwright.async_api import (
    Browser,
    BrowserContext,
    CDPSession,
    Page,
    Playwright,
    Request,
    Response,
    async_playwright,
)
from playwright.async_api import Error as PlaywrightError

from meeta_bot.errors import BrowserError, BrowserNotFound
from meeta_bot.logs import get_logger
from meeta_bot.settings import Settings

_log = get_logger("browser")

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

_LOOK_PAUSE = 0.5  # seconds between an answer of a page that loads and the next question

_ARGUMENTS = (
    # A recorder's pages are never in front: none of them may be slowed down for that.
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    # Nothing is looked up or sent that the meeting does not need.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    # Nothing is drawn, played or captured.
    "--disable-gpu",
    "--mute-audio",
    # Containers give /dev/shm 64 MB; /tmp has no such bound.
    "--disable-dev-shm-usage",
)


def find_chromium(settings: Settings, bundled: str | None = None) -> Path:
    """The Chromium to use: the one set, Playwright's own if it is there, one on PATH.

    :raises BrowserNotFound: there is none.
    """
    if settings.browser is not None:
        if not (settings.browser.is_file() and os.access(settings.browser, os.X_OK)):
            raise BrowserNotFound(
                f"{settings.browser} is no program that can be run",
                hint="give MEETA_BROWSER the full path of Chromium, such as /usr/bin/chromium",
            )
        return settings.browser
    if bundled and Path(bundled).exists():
        return Path(bundled)
    for name in _NAMES:
        if found := shutil.which(name):
            return Path(found)
    raise BrowserNotFound(
        "No Chromium on this machine", hint="apt-get install chromium, or name one with MEETA_BROWSER=/path/to/it"
    )


class Chromium:
    """The running browser. ``on_disconnect`` is called when it goes away with all its pages, unless by :meth:`stop`.

    ``is_in_use`` says whether a page in it lives, which would be lost with a browser that is replaced.
    """

    def __init__(self, settings: Settings, on_disconnect: Callable[[], None] | None = None) -> None:
        self._settings = settings
        self.on_disconnect = on_disconnect
        self.is_in_use: Callable[[], bool] = lambda: False
        self._playwright: Playwright | None = None
        self._browser: Browser | None = None
        self._profiles: list[BrowserContext] = []
        self._opening = asyncio.Lock()
        self._stopped = True
        self._failures = 0  # to give a page that can be used, one after the other
        self._is_doubted = False  # a page was lost, and none has loaded since
        self._pid: int | None = None
        self._ending: set[asyncio.Task[None]] = set()  # browsers that were replaced
        self.version: str | None = None

    async def start(self) -> None:
        """Launch it.

        :raises BrowserNotFound: there is none on this machine.
        :raises BrowserError: it did not start.
        """
        self._stopped = False
        await self._begin()

    async def _begin(self) -> Browser:
        try:
            async with asyncio.timeout(self._settings.browser_start_timeout):
                self._playwright = await async_playwright().start()
            return await self._launch(self._playwright)
        except TimeoutError:
            await self._close()
            raise BrowserError(f"Playwright's driver did not start: {self._too_late()}") from None
        except BaseException:
            await self._close()
            raise

    async def _launch(self, playwright: Playwright) -> Browser:
        executable = find_chromium(self._settings, playwright.chromium.executable_path)
        sandbox = os.geteuid() != 0
        if not sandbox:
            _log.info("Chromium runs without its sandbox, which it can't have as root")
        try:
            browser = await playwright.chromium.launch(
                executable_path=executable,
                headless=True,
                chromium_sandbox=sandbox,
                args=list(_ARGUMENTS),
                # Signals are the recorder's to handle: it leaves the rooms first.
                handle_sigint=False,
                handle_sigterm=False,
                handle_sighup=False,
                timeout=self._settings.browser_start_timeout * 1000,
            )
        except PlaywrightError as error:
            hint = f"try it by hand: {executable} --headless --dump-dom about:blank"
            problem = f"Chromium did not start: {self._why_it_did_not_start(str(error))}"
            raise BrowserError(problem, hint=hint) from error
        self._browser, self._profiles = browser, []
        self._failures, self._is_doubted = 0, False
        self._pid = await self._process_id(browser)
        self.version = browser.version
        browser.on("disconnected", self._disconnected)
        _log.info("Chromium started", version=self.version, executable=str(executable))
        return browser

    def _why_it_did_not_start(self, text: str) -> str:
        """The telling line of Playwright's many: what the program said itself, or what became of it."""
        if "Timeout" in text:
            return self._too_late()
        if said := re.search(r"\[pid=\d+\]\[err\] (.*\S)", text):
            return said[1]
        if ended := re.search(r"<process did exit: exitCode=(\w+), signal=(\w+)>", text):
            return f"it ended at once, with exit code {ended[1]}" if ended[2] == "null" else f"it died of {ended[2]}"
        return text.partition("\n")[0].removeprefix("BrowserType.launch: ")

    def _too_late(self) -> str:
        seconds = self._settings.browser_start_timeout
        return f"no answer in {seconds:g} s (MEETA_BROWSER_START_TIMEOUT gives it longer)"

    def _disconnected(self, browser: Browser) -> None:
        if browser is not self._browser:
            return  # one that we stopped or gave up ourselves
        self._browser, self._profiles = None, []
        _log.warning("Chromium went away")
        if self.on_disconnect is not None:
            self.on_disconnect()

    async def new_page(self) -> Page:
        """An empty page for ``rooms_per_page`` rooms, of a new browser if the one before is gone.

        :raises BrowserError: the browser is gone and does not come back, or gives no page.
        """
        async with self._opening:  # a page counts once it is there, and one new browser is enough for all who wait
            browser = await self._running()
            before = self._failures
            try:
                async with asyncio.timeout(self._patience()):
                    profile = await self._profile_with_room(browser)
                    page = await profile.new_page()
            except (PlaywrightError, TimeoutError) as error:
                self._note_failure(browser, before, is_hung=isinstance(error, TimeoutError))
                raise BrowserError(f"Chromium gave no page: {_first_line(error)}") from error
            page.on("crash", lambda _: self.doubt())
            return page

    def doubt(self) -> None:
        """A page was lost, so the browser may be of no use; it has ``browser_doubt_timeout`` to disprove it."""
        self._is_doubted = True

    def _patience(self) -> float:
        """Seconds for an answer. Not asked for again where pages live: a machine that is busy with them is no fault."""
        is_lost = self._is_doubted and not self.is_in_use()
        return self._settings.browser_doubt_timeout if is_lost else self._settings.page_call_timeout

    async def load(self, page: Page, loading: Coroutine[Any, Any, None]) -> None:
        """Await `loading`, which loads `page`, and tell a page that waits from one that does not live.

        :raises BrowserError: the page crashed or hangs, which counts against the browser. Other errors are those of
            `loading`; they don't.
        """
        browser, before = page.context.browser, self._failures
        life = _Life(page, self._patience)
        page.on("crash", lambda _: self._note_failure(browser, before, is_hung=False) if life.is_watched else None)
        tasks = [asyncio.ensure_future(loading), asyncio.create_task(life.watch())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            is_usable = _succeeded(tasks[0]) or (not tasks[1].done() and await life.has_answered())
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            life.end()
        if life.has_crashed:
            raise BrowserError("a page crashed while it loaded")
        if not is_usable:
            self._note_failure(browser, before, is_hung=True)
            raise BrowserError("a page hung while it loaded")
        self._failures, self._is_doubted = 0, False
        tasks[0].result()

    async def _running(self) -> Browser:
        """The browser; a new one, and if need be with a new driver, in place of one that is gone."""
        if self._stopped:
            raise BrowserError("Chromium is not running")
        if self._browser is None and self._playwright is not None:
            try:
                await self._launch(self._playwright)
            except BrowserError as error:  # with its driver, maybe
                _log.warning("Playwright's driver is started anew", problem=str(error))
                await self._close()
        return self._browser or await self._begin()

    def _note_failure(self, browser: Browser | None, before: int, *, is_hung: bool) -> None:
        """A page that did not come or did not live, asked for when there had been `before` failures in a row.

        Those that fail together count once.
        """
        if browser is None or browser is not self._browser:
            return
        self._failures = max(self._failures, before + 1)
        is_over = self._failures >= self._settings.browser_failures_limit or not browser.is_connected()
        if is_over or (is_hung and not self.is_in_use()):
            self._replace(browser)

    def _replace(self, browser: Browser) -> None:
        """Give it up with all who are in it; the next who asks gets another, and does not wait for the end of this."""
        _log.warning("Chromium is replaced: its pages can't be used", failures=self._failures)
        playwright, self._playwright = self._playwright, None
        if self._pid is not None and browser.is_connected():
            _kill_group(self._pid)  # what hangs does not close
        task = asyncio.create_task(self._end(browser, playwright))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        self._disconnected(browser)

    async def _profile_with_room(self, browser: Browser) -> BrowserContext:
        """Pages of one profile share caches, and 255 websockets: further ones would wait for ever, in silence."""
        most = max(1, self._settings.rooms_per_profile // self._settings.rooms_per_page)
        for profile in self._profiles:
            if len(profile.pages) < most:
                return profile
        self._profiles.append(await browser.new_context(service_workers="block"))
        return self._profiles[-1]

    async def stop(self) -> None:
        """Close it; what does not close in time is killed with Playwright's driver. Safe to call twice."""
        self._stopped = True
        await self._close()
        await asyncio.gather(*self._ending)

    async def _close(self) -> None:
        browser, self._browser, self._profiles = self._browser, None, []
        playwright, self._playwright = self._playwright, None
        await self._end(browser, playwright)

    async def _end(self, browser: Browser | None, playwright: Playwright | None) -> None:
        for part in (browser.close() if browser else None, playwright.stop() if playwright else None):
            if part is not None:
                with contextlib.suppress(PlaywrightError, TimeoutError):
                    async with asyncio.timeout(self._settings.browser_stop_timeout):
                        await part

    async def _process_id(self, browser: Browser) -> int | None:
        """Chromium's own; None when it does not tell, and then it can only be closed."""
        try:
            async with asyncio.timeout(self._settings.page_call_timeout):
                session = await browser.new_browser_cdp_session()
                told = await session.send("SystemInfo.getProcessInfo")
                await session.detach()
        except (PlaywrightError, TimeoutError):
            return None
        return next((int(one["id"]) for one in told["processInfo"] if one["type"] == "browser"), None)


class _Life:
    """Whether browser and page do anything while the page loads, which no server can keep them from."""

    def __init__(self, page: Page, patience: Callable[[], float]) -> None:
        self._page = page
        self._patience = patience
        self._session: CDPSession | None = None
        self._awaits_server = False  # for the document; until it is here, Chromium passes no question on to the page
        self._turns = 0  # how often that changed
        self.is_watched = True
        self.has_crashed = False
        page.on("crash", self._crashed)
        page.on("request", self._requested)
        page.on("response", self._answered)
        page.on("requestfailed", self._failed)

    def end(self) -> None:
        """Watch no longer: what goes over the network later is nobody's business, and is told for a price."""
        self.is_watched = False
        self._page.remove_listener("request", self._requested)
        self._page.remove_listener("response", self._answered)
        self._page.remove_listener("requestfailed", self._failed)

    def _crashed(self, _: Page) -> None:
        self.has_crashed = True

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

    async def watch(self) -> None:
        """Until an answer fails to come."""
        while True:
            if not await self.has_answered():
                return
            await asyncio.sleep(_LOOK_PAUSE)

    async def has_answered(self) -> bool:
        """Ask, and wait for as long as patience lasts."""
        turns = self._turns
        try:
            async with asyncio.timeout(self._patience()):
                if self._session is None:
                    self._session = await self._page.context.new_cdp_session(self._page)
                await self._session.send("Browser.getVersion")
                if not self._awaits_server:
                    await self._session.send("Runtime.evaluate", {"expression": "1"})
        except TimeoutError:
            return turns != self._turns  # the question may have been lost on the way to another document
        except PlaywrightError:  # such as: the page went elsewhere meanwhile
            return not self.has_crashed and not self._page.is_closed()
        return not self.has_crashed


def _succeeded(task: asyncio.Future[None]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None


def _kill_group(pid: int) -> None:
    """Chromium with all its processes: those that stand still don't notice that it is gone."""
    with contextlib.suppress(ProcessLookupError):
        if os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGKILL)
        else:
            os.kill(pid, signal.SIGKILL)


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
