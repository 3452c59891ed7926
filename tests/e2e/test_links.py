"""What a room's link carries beside the room: user and password of the deployment, values of its configuration."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio
from aiohttp import hdrs, web

from meeta_bot import room_address, settings
from meeta_bot.capture.browser.chromium import Chromium
from meeta_bot.capture.browser.conference_page import PageNotLoaded
from meeta_bot.capture.browser.probe_page import PageContents, ProbePage
from meeta_bot.events import EndReason

pytestmark = pytest.mark.asyncio(loop_scope="session")

PAGE = '<script src="/config.js"></script><script src="/libs/lib-jitsi-meet.min.js"></script>'
SCRIPTS = {
    "config.js": "var config = { bridgeChannel: { preferSctp: true }, bosh: '//here/http-bind' };",
    "lib-jitsi-meet.min.js": "var JitsiMeetJS = { init() {}, events: {} };",
}
USER = "Ärztin:p@ss:word/§"
IN_A_LINK = "%C3%84rztin:p%40ss%3Aword%2F%C2%A7"


class Site:
    """A web server that wants to know who asks, and remembers how it was told."""

    def __init__(self) -> None:
        self.told: list[str | None] = []
        self.host = ""
        self.elsewhere = ""

    async def serve(self, request: web.Request) -> web.StreamResponse:
        self.told.append(request.headers.get(hdrs.AUTHORIZATION))
        name = request.path.rpartition("/")[2]
        if name == "moved":
            raise web.HTTPFound(self.elsewhere)
        if self.told[-1] != f"Basic {b64encode(USER.encode()).decode()}":
            return web.Response(status=401, headers={hdrs.WWW_AUTHENTICATE: 'Basic realm="meetings", charset="UTF-8"'})
        if name in SCRIPTS:
            return web.Response(text=SCRIPTS[name], content_type="application/javascript")
        return web.Response(text=PAGE, content_type="text/html")


@asynccontextmanager
async def _serving(site: Site) -> AsyncIterator[Site]:
    application = web.Application()
    application.router.add_get("/{path:.*}", site.serve)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    site.host = f"127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield site
    finally:
        await runner.cleanup()


@pytest_asyncio.fixture(loop_scope="session")
async def site() -> AsyncIterator[Site]:
    async with _serving(Site()) as site:
        yield site


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def chromium() -> AsyncIterator[Chromium]:
    browser = Chromium(settings.load())
    await browser.start()
    yield browser
    await browser.stop()


async def _contents(chromium: Chromium, link: str, *keys: str) -> PageContents:
    page = await ProbePage.open(chromium, settings.load())
    try:
        await page.load(room_address.parse(link))
        return await page.contents(keys)
    finally:
        await page.close()


async def test_a_deployment_that_asks_for_a_password_gets_that_of_the_link(chromium: Chromium, site: Site) -> None:
    link = f"http://{IN_A_LINK}@{site.host}/Room"
    found = await _contents(
        chromium, f"{link}#config.bridgeChannel.preferSctp=false&config.preferBosh=true", "preferBosh"
    )
    assert found.library_script == f"http://{site.host}/libs/lib-jitsi-meet.min.js"
    assert found.config == {"preferBosh": True}


@pytest.mark.parametrize("user", ["", "other@", "%C3%84rztin:wrong@"])
async def test_a_password_that_is_missing_or_wrong_is_asked_for_once(chromium: Chromium, site: Site, user: str) -> None:
    with pytest.raises(PageNotLoaded, match="401") as refusal:
        await _contents(chromium, f"http://{user}{site.host}/Room")
    assert refusal.value.reason is EndReason.ROOM_UNREACHABLE
    assert len(site.told) == (2 if user else 1)


async def test_nobody_else_is_told_the_password(chromium: Chromium, site: Site) -> None:
    async with _serving(Site()) as other:
        site.elsewhere = f"http://{other.host}/Room"
        with pytest.raises(PageNotLoaded):
            await _contents(chromium, f"http://{IN_A_LINK}@{site.host}/moved")
        assert other.told == [None]
