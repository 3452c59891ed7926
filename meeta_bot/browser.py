"""Chromium: found, started, watched, and asked for pages. One for the whole process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from playwright.async_api import Browser, BrowserContext, Page, Playwright, async_playwright
from playwright.async_api import Error as PlaywrightError

from meeta_bot.errors import BrowserError, BrowserNotFound
from meeta_bot.logs import get_logger
from meeta_bot.settings import Settings

_log = get_logger("browser")

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

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
    """The running browser. ``on_disconnect`` is called once if it goes away by itself."""

    def __init__(self, settings: Settings, on_disconnect: Callable[[], None] | None = None) -> None:
        self._settings = settings
        self._on_disconnect = on_disconnect
        self._playwright: Playwright | None = None
        self._browser: Browser | None = None
        self._profiles: list[BrowserContext] = []
        self._opening = asyncio.Lock()
        self.version: str | None = None

    async def start(self) -> None:
        """Launch it.

        :raises BrowserNotFound: there is none on this machine.
        :raises BrowserError: it did not start.
        """
        self._playwright = await async_playwright().start()
        try:
            executable = find_chromium(self._settings, self._playwright.chromium.executable_path)
            sandbox = os.geteuid() != 0
            if not sandbox:
                _log.info("Chromium runs without its sandbox, which it can't have as root")
            self._browser = await self._playwright.chromium.launch(
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
            await self.stop()
            hint = f"try it by hand: {executable} --headless --dump-dom about:blank"
            problem = f"Chromium did not start: {self._why_it_did_not_start(str(error))}"
            raise BrowserError(problem, hint=hint) from error
        except BaseException:
            await self.stop()
            raise
        self.version = self._browser.version
        self._browser.on("disconnected", self._disconnected)
        _log.info("Chromium started", version=self.version, executable=str(executable))

    def _why_it_did_not_start(self, text: str) -> str:
        """The telling line of Playwright's many: what the program said itself, or what became of it."""
        if "Timeout" in text:
            seconds = self._settings.browser_start_timeout
            return f"no answer in {seconds:g} s (MEETA_BROWSER_START_TIMEOUT gives it longer)"
        if said := re.search(r"\[pid=\d+\]\[err\] (.*\S)", text):
            return said[1]
        if ended := re.search(r"<process did exit: exitCode=(\w+), signal=(\w+)>", text):
            return f"it ended at once, with exit code {ended[1]}" if ended[2] == "null" else f"it died of {ended[2]}"
        return text.partition("\n")[0].removeprefix("BrowserType.launch: ")

    def _disconnected(self, _browser: Browser) -> None:
        if self._browser is not None and self._on_disconnect is not None:
            self._on_disconnect()

    async def new_page(self) -> Page:
        """An empty page for ``rooms_per_page`` rooms.

        :raises BrowserError: the browser is gone.
        """
        if self._browser is None:
            raise BrowserError("Chromium is not running")
        try:
            async with asyncio.timeout(self._settings.page_call_timeout):
                async with self._opening:  # a page counts once it is there
                    profile = await self._profile_with_room(self._browser)
                    return await profile.new_page()
        except (PlaywrightError, TimeoutError) as error:
            raise BrowserError(f"Chromium gave no page: {_first_line(error)}") from error

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
        browser, self._browser, self._profiles = self._browser, None, []
        playwright, self._playwright = self._playwright, None
        for part in (browser.close() if browser else None, playwright.stop() if playwright else None):
            if part is not None:
                with contextlib.suppress(PlaywrightError, TimeoutError):
                    async with asyncio.timeout(self._settings.browser_stop_timeout):
                        await part


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
