"""Checks of Chromium: found, started, in its sandbox."""

from __future__ import annotations

import os

from meeta_bot.capture.browser.chromium import Chromium, find_chromium
from meeta_bot.doctor.checks import Examination, Finding, ok, warning
from meeta_bot.settings import Settings


def deadline(settings: Settings) -> float:
    """Return the seconds for starting Chromium, and for closing it if that fails."""
    return settings.browser_start_timeout + 2 * settings.browser_stop_timeout + settings.page_call_timeout


async def starts(examination: Examination) -> Finding:
    """Find Chromium and start it; it runs until all checks are made."""
    chromium = Chromium(examination.settings)
    await chromium.start()
    examination.exits.push_async_callback(chromium.stop)
    examination.chromium = chromium
    page = await chromium.new_page()
    browser = page.context.browser
    bundled = browser.browser_type.executable_path if browser else None
    await page.close()
    return ok(f"Chromium {chromium.version} starts, {find_chromium(examination.settings, bundled)}")


async def sandbox(_: Examination) -> Finding:
    """Check whether Chromium keeps its pages from the rest of the machine."""
    if os.geteuid() == 0:
        return warning("off: Chromium has no sandbox when root starts it", "run meeta-bot as an ordinary user")
    return ok("on")
