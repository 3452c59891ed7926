"""Chromium: found, started, and asked for pages.

There is one for the whole process. One that died, or that its health judges to be of no use, is followed by another as
soon as somebody asks for a page.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import re
import shutil
import signal
from pathlib import Path

from playwright.async_api import Browser, BrowserContext, Page
from playwright.async_api import Error as PlaywrightError
from playwright.async_api import TimeoutError as PlaywrightTimeoutError

from meeta_bot.capture.browser.driver import Driver, too_late
from meeta_bot.capture.browser.health import BrowserHealth
from meeta_bot.capture.browser.last_words import how_to_get, missing_libraries, reason_in
from meeta_bot.clock import Clock, SystemClock
from meeta_bot.errors import BrowserError, BrowserNotFound
from meeta_bot.logs import get_logger
from meeta_bot.settings import Settings

_log = get_logger("browser")

# The headless shell first: it starts in a third of the time and of the work, and a page costs it less memory. Debian's
# own start script stays in front of it as a process of its own, so that the program is named.
_NAMES = (
    "/usr/lib/chromium/chromium-headless-shell",
    "chrome-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
)

_SAID = re.compile(r"\[pid=\d+\]\[err\] ?(.*\S)")  # a line of Chromium's standard error, as Playwright tells it

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
    """Return the Chromium to use: the one set, Playwright's own if it is there, one on PATH.

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
        "No Chromium on this machine",
        hint="apt-get install chromium-headless-shell, or name one with MEETA_BROWSER=/path/to/it",
    )


class Chromium:
    """The running browser, and the next one after it. ``health`` judges it and its pages."""

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self._settings = settings
        self.health = BrowserHealth(settings, clock or SystemClock(), self._give_up)
        self._driver: Driver | None = None
        self._browser: Browser | None = None
        self._profiles: list[BrowserContext] = []
        self._opening = asyncio.Lock()
        self._stopped = True
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

    def start_no_more(self) -> None:
        """Give no page and start no other browser from now on: whoever sits in this one leaves. Stop comes next."""
        self._stopped = True

    async def _begin(self) -> Browser:
        self._refuse_when_stopped()
        try:
            self._driver = await Driver.start(self._settings)
            return await self._launch(self._driver)
        except BaseException:
            await self._close()
            raise

    async def _launch(self, driver: Driver) -> Browser:
        playwright = driver.playwright
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
            is_cut = "has been closed" in str(error) and "<launch" not in str(error)  # and nothing told of Chromium
            if driver.has_ended or is_cut:
                raise BrowserError(f"Chromium did not start: {await driver.why_it_ended()}") from error
            raise await self._not_started(executable, error) from error
        self._browser, self._profiles = browser, []
        self.health.started(browser)
        self._pid = await self._process_id(browser)
        self.version = browser.version
        browser.on("disconnected", self._disconnected)
        driver.when_it_ends(lambda: self._driver_ended(browser))
        _log.info("Chromium started", version=self.version, executable=str(executable))
        return browser

    async def _not_started(self, executable: Path, error: PlaywrightError) -> BrowserError:
        """Return the error for Chromium that did not start: of all that was said about it, what helps."""
        said = _SAID.findall(str(error))
        libraries = await missing_libraries(said)
        hint = how_to_get(libraries) if libraries else f"try it by hand: {executable} --headless --dump-dom about:blank"
        reason = reason_in(said)
        if isinstance(error, PlaywrightTimeoutError):
            late = too_late(self._settings)
            reason = late if reason is None else f"{late}; it said: {reason}"
        return BrowserError(f"Chromium did not start: {reason or what_became_of_it(str(error))}", hint=hint)

    def _disconnected(self, browser: Browser) -> None:
        if browser is not self._browser:
            return  # one that we stopped or gave up ourselves
        self._browser, self._profiles = None, []
        _log.warning("Chromium went away")
        self.health.gone()

    def _driver_ended(self, browser: Browser) -> None:
        if browser is self._browser:
            _log.warning("Playwright's driver went away")
            self._replace(browser)

    async def new_page(self) -> Page:
        """Return an empty page for ``rooms_per_page`` rooms, of a new browser if the one before is gone.

        :raises BrowserError: the browser is gone and does not come back, or gives no page.
        """
        async with self._opening:  # a page counts once it is there, and one new browser is enough for all who wait
            browser = await self._running()
            before = self.health.failures
            try:
                async with asyncio.timeout(self.health.patience):
                    profile = await self._profile_with_room(browser)
                    return await profile.new_page()
            except (PlaywrightError, TimeoutError) as error:
                self.health.fail(browser, before, is_hung=isinstance(error, TimeoutError))
                raise BrowserError(f"Chromium gave no page: {_first_line(error)}") from error

    async def _running(self) -> Browser:
        """Return the browser; a new one, and if need be with a new driver, if it is gone."""
        self._refuse_when_stopped()
        if self._browser is None and self._driver is not None:
            try:
                await self._launch(self._driver)
            except BrowserError as error:  # with its driver, maybe
                _log.warning("Playwright's driver is started anew", problem=str(error))
                await self._close()
        return self._browser or await self._begin()

    def _refuse_when_stopped(self) -> None:
        if self._stopped:
            raise BrowserError("Chromium is not running")

    def _give_up(self, browser: Browser) -> None:
        _log.warning("Chromium is replaced: its pages can't be used", failures=self.health.failures)
        self._replace(browser)

    def _replace(self, browser: Browser) -> None:
        """Give it up with all who are in it; the next who asks gets another, and does not wait for the end of this."""
        driver, self._driver = self._driver, None
        if self._pid is not None and browser.is_connected():
            _kill_group(self._pid)  # what hangs does not close
        task = asyncio.create_task(self._end(browser, driver))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        self._disconnected(browser)

    async def _profile_with_room(self, browser: Browser) -> BrowserContext:
        """Return a profile for one more page: its pages share 255 websockets, and further ones would wait for ever."""
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
        self.health.stopped()
        browser, self._browser, self._profiles = self._browser, None, []
        driver, self._driver = self._driver, None
        await self._end(browser, driver)

    async def _end(self, browser: Browser | None, driver: Driver | None) -> None:
        if browser is not None:
            with contextlib.suppress(PlaywrightError, TimeoutError):
                async with asyncio.timeout(self._settings.browser_stop_timeout):
                    await browser.close()
        if driver is not None:
            await driver.stop()

    async def _process_id(self, browser: Browser) -> int | None:
        """Return Chromium's own process id; None when it gives none, and then it can only be closed."""
        try:
            async with asyncio.timeout(self._settings.page_call_timeout):
                session = await browser.new_browser_cdp_session()
                answer = await session.send("SystemInfo.getProcessInfo")
                await session.detach()
        except (PlaywrightError, TimeoutError):
            return None
        return next((int(one["id"]) for one in answer["processInfo"] if one["type"] == "browser"), None)


def _kill_group(pid: int) -> None:
    """Kill Chromium with all its processes: those that stand still don't notice that it is gone."""
    with contextlib.suppress(ProcessLookupError):
        if os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGKILL)
        else:
            os.kill(pid, signal.SIGKILL)


def what_became_of_it(text: str) -> str:
    """Return the reason for a browser that said nothing of use, from what Playwright tells of its process."""
    if (unable := re.search(r"spawn (\S+) (E[A-Z0-9]+)", text)) and hasattr(errno, unable[2]):
        return f"{unable[1]} can't be run: {os.strerror(getattr(errno, unable[2]))}"
    ended = re.search(r"<process did exit: exitCode=(\w+), signal=(\w+)>", text)
    if ended is None:
        return text.partition("\n")[0].removeprefix("BrowserType.launch: ")
    if ended[2] == "null":
        return f"it ended at once, with exit code {ended[1]}"
    return f"it died of {ended[2]}" + (", as for want of memory" if ended[2] == "SIGKILL" else "")


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
