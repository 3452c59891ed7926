"""A page of a deployment and the conferences that the bot sits in there: load, join, leave.

The lean join: the room's own address is opened so that document, configuration and lib-jitsi-meet come as the
deployment serves them; the web application's bundle, styles, images, fonts and media are answered with nothing,
everything else (websocket, BOSH, conference request) is not touched. The hook then joins by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
from playwright.async_api import CDPSession, Page
from playwright.async_api import Error as PlaywrightError

from meeta_bot.capture.browser.bridge import BINDING, Channel, PageBridge
from meeta_bot.capture.browser.evaluate import evaluate, literal
from meeta_bot.capture.browser.health import PageHealth
from meeta_bot.capture.browser.http_login import HttpLogin
from meeta_bot.clock import Clock
from meeta_bot.errors import PageError
from meeta_bot.events import EndReason
from meeta_bot.logs import get_logger
from meeta_bot.room_address import RoomAddress
from meeta_bot.settings import Settings

_log = get_logger("conference")

CLOCK_READINGS = 5  # of the page's clock; the quickest answer counts most

# In the order in which they build on each other.
HOOK_FILES = ("serialize.js", "outbox.js", "listen.js", "bridge.js", "revive.js", "received.js", "watch.js", "join.js")

# Scripts that the lean join needs; jQuery is wanted by libraries of 2021. All others are the web application's.
_NEEDED_SCRIPT = re.compile(r"(^|[/.-])(config|lib-jitsi-meet|jquery)([.-][\w.-]*)?\.js$")
_NOT_NEEDED = ("Stylesheet", "Image", "Font", "Media")
_CONTENT_TYPES = {"Script": "application/javascript", "Stylesheet": "text/css"}


class PageNotLoaded(PageError):
    """An address whose page can't be used; ``reason`` is how a capture ends for it."""

    def __init__(self, message: str, reason: EndReason) -> None:
        super().__init__(message)
        self.reason = reason


class _PageParts(msgspec.Struct):
    config: bool
    library: bool


class ConferencePage:
    """One page with the hook in it, for any number of rooms of one deployment. ``health`` hears if it crashes."""

    def __init__(self, page: Page, clock: Clock, settings: Settings, health: PageHealth) -> None:
        self._page = page
        self._clock = clock
        self._settings = settings
        self._devtools: CDPSession | None = None
        self._bridge: PageBridge | None = None
        self._health = health
        health.attach(page)

    async def load(self, address: RoomAddress) -> None:
        """Open the room's page and put the hook into it.

        :raises PageNotLoaded: nothing answers, or what answers is no Jitsi Meet.
        """
        try:
            async with asyncio.timeout(self._settings.page_load_timeout):
                await self._prepare(HttpLogin(address))
                response = await self._page.goto(
                    address.url, wait_until="domcontentloaded", timeout=self._settings.page_load_timeout * 1000
                )
                status = response.status if response else 0
                await self._install_hook(address, status)
        except PlaywrightError as error:
            raise _not_loaded(address, str(error)) from error
        except TimeoutError:
            host = urlsplit(address.url).netloc
            raise PageNotLoaded(f"{host} did not answer in time", EndReason.ROOM_UNREACHABLE) from None

    async def _prepare(self, http_login: HttpLogin) -> None:
        self._devtools = await self._page.context.new_cdp_session(self._page)
        self._bridge = PageBridge(self._session, self._clock, self._settings)
        await self._bridge.install()
        self._session.on("Fetch.requestPaused", lambda event: self._send_soon(*_answer_to_request(event)))
        kinds = [*_NOT_NEEDED, "Script"]
        if http_login.is_wanted:
            kinds.append("Document")
            self._session.on("Fetch.authRequired", lambda event: self._send_soon(*http_login.answer(event)))
        patterns = [{"resourceType": kind} for kind in kinds]
        await self._session.send("Fetch.enable", {"patterns": patterns, "handleAuthRequests": http_login.is_wanted})

    def _send_soon(self, command: str, parameters: dict[str, Any]) -> None:
        task = asyncio.ensure_future(self._send(command, parameters))
        task.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def _send(self, command: str, parameters: dict[str, Any]) -> None:
        with contextlib.suppress(PlaywrightError, TimeoutError):  # a page that is gone or hangs needs no answer
            async with asyncio.timeout(self._settings.page_call_timeout):
                await self._session.send(command, parameters)

    async def _install_hook(self, address: RoomAddress, status: int) -> None:
        for text in _hook_texts():
            await evaluate(self._session, text)
        limits = _limits(self._settings)
        parts = msgspec.convert(await self._call("meetaBot.look()"), _PageParts)
        if not parts.library:
            raise _no_library(address, status, parts)
        for name, value in address.overrides:
            await self._call(f"meetaBot.override({literal(name)}, {value})")
        await self._read_its_clock()
        await self._call(f"meetaBot.configure({literal(limits)}); meetaBot.live({literal(BINDING)})")

    async def _read_its_clock(self) -> None:
        """Read the page's clock more than once: on a busy machine an answer may take so long that it means little."""
        for _ in range(CLOCK_READINGS):
            before_ms = self._clock.monotonic_ms()
            now = await self._call("performance.now()")
            self.bridge.calibrate(now, before_ms, self._clock.monotonic_ms())

    @property
    def _session(self) -> CDPSession:
        if self._devtools is None:
            raise PageError("the page was not loaded")
        return self._devtools

    @property
    def bridge(self) -> PageBridge:
        """The page's bridge; there from :meth:`load` on."""
        if self._bridge is None:
            raise PageError("the page was not loaded")
        return self._bridge

    async def join(self, conference: str, room: str, *, name: str, token: str | None, password: str | None) -> Channel:
        """Start to join `room` under the key `conference`; what happens arrives on the channel.

        :raises PageError: the library threw, or the page is gone.
        """
        channel = self.bridge.open(conference)
        request = {
            "conference": conference,
            "room": room,
            "display_name": name,
            "password": password,
            "token": token,
        }
        await self._call(f"meetaBot.join({literal(request)}, {literal(BINDING)})")
        return channel

    def join_again(self, conference: str, password: str | None) -> None:
        """Ask once more to be let in, in the same login; the answer arrives on the channel."""
        self.bridge.call(f"meetaBot.joinAgain({literal(conference)}, {literal(password)})")

    def knock(self, conference: str, name: str) -> None:
        """Ask to be let in from the lobby; the answer arrives on the channel."""
        self.bridge.call(f"meetaBot.knock({literal(conference)}, {literal(name)})")

    async def leave(self, conference: str) -> None:
        """Leave; returns when the room has confirmed or the deadline is over."""
        with contextlib.suppress(PageError):
            await self._call(f"meetaBot.leave({literal(conference)})", within=self._settings.leave_timeout)

    def forget(self, conference: str) -> None:
        """Drop a conference, left or lost: a goodbye is said without waiting, and nothing more is heard of it."""
        self.bridge.call(f"meetaBot.forget({literal(conference)})")
        self.bridge.shut(conference)

    async def close(self) -> None:
        """Close the page. Safe to call twice and after a crash."""
        if self._bridge is not None:
            if not self._health.has_crashed:
                await self._bridge.settle()  # goodbyes: without them the bot stays in its rooms for a minute
            await self._bridge.close()
        with contextlib.suppress(PlaywrightError, TimeoutError):
            async with asyncio.timeout(self._settings.page_call_timeout):
                await self._page.close()

    async def _call(self, expression: str, within: float | None = None) -> Any:
        """Return the value of a JavaScript expression, or of the promise that it is.

        :raises PageError: it threw, the page is gone, or the deadline is over.
        """
        try:
            async with asyncio.timeout(within or self._settings.page_call_timeout):
                return await evaluate(self._session, expression)
        except PlaywrightError as error:
            raise PageError(f"the page is gone: {str(error).partition(chr(10))[0]}") from error
        except TimeoutError:
            raise PageError("the page does not answer") from None


def _answer_to_request(event: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the command that answers a ``Fetch.requestPaused`` of the browser's, and its parameters."""
    request, kind = event["requestId"], event["resourceType"]
    is_needed = kind not in _NOT_NEEDED and kind != "Script"
    if is_needed or (kind == "Script" and _NEEDED_SCRIPT.search(urlsplit(event["request"]["url"]).path)):
        return "Fetch.continueRequest", {"requestId": request}
    headers = [{"name": "Content-Type", "value": _CONTENT_TYPES.get(kind, "application/octet-stream")}]
    # Empty and successful: aborted requests would make pages retry and log.
    return "Fetch.fulfillRequest", {"requestId": request, "responseCode": 200, "responseHeaders": headers}


def _no_library(address: RoomAddress, status: int, parts: _PageParts) -> PageNotLoaded:
    host = urlsplit(address.url).netloc
    if status >= 400:
        return PageNotLoaded(f"{host} answered with HTTP status {status}", EndReason.ROOM_UNREACHABLE)
    if parts.config:
        return PageNotLoaded(f"{host} serves no lib-jitsi-meet with its page", EndReason.NOT_JITSI)
    return PageNotLoaded(f"there is no Jitsi Meet behind {address.url}", EndReason.NOT_JITSI)


def _not_loaded(address: RoomAddress, error: str) -> PageNotLoaded:
    host = urlsplit(address.url).netloc
    known = {
        "ERR_NAME_NOT_RESOLVED": f"there is no host {host}",
        "ERR_CONNECTION_REFUSED": f"nothing listens at {host}",
        "ERR_UNSAFE_PORT": f"browsers refuse the port of {host}",
        "ERR_EMPTY_RESPONSE": f"what answers at {host} is not a web server",
        "ERR_INVALID_HTTP_RESPONSE": f"what answers at {host} is not a web server",
        "ERR_HTTP_RESPONSE_CODE_FAILURE": f"{host} answered with an error and nothing else",
        "ERR_SSL_PROTOCOL_ERROR": f"what answers at {host} does not speak https",
        "ERR_INTERNET_DISCONNECTED": "this machine has no network",
        "Timeout": f"{host} did not answer in time",
    }
    for part, message in known.items():
        if part in error:
            return PageNotLoaded(message, EndReason.ROOM_UNREACHABLE)
    if "ERR_CERT" in error or "ERR_SSL" in error:
        return PageNotLoaded(f"the certificate of {host} is not trusted", EndReason.CERTIFICATE_REJECTED)
    code = re.search(r"net::(ERR_\w+)", error)
    detail = code[1] if code else error.partition("\n")[0][:200]
    return PageNotLoaded(f"{host} can't be reached: {detail}", EndReason.ROOM_UNREACHABLE)


@cache
def _hook_texts() -> tuple[str, ...]:
    folder = Path(__file__).parent / "hook"
    return tuple((folder / name).read_text(encoding="utf-8") for name in HOOK_FILES)


def _limits(settings: Settings) -> dict[str, float]:
    """Return the hook's limits by the names that it knows them by; milliseconds, but for counts and bytes."""
    return {
        "batch": settings.page_batch_messages,
        "window": settings.page_window_batches,
        "messages": settings.page_buffer_messages,
        "bytes": settings.page_buffer_bytes,
        "pause": settings.page_pause_ms,
        "resend": settings.page_resend_ms,
        "text": settings.page_text_limit,
        "silence": settings.signalling_silence_ms,
        "heartbeat": settings.page_heartbeat_ms,
        "stall": settings.stall_tolerance * 1000,
        "bridgeAsk": settings.bridge_ask_ms,
        "bridgeSilence": settings.bridge_silence_ms,
        "bridgeFirstWord": settings.bridge_first_word_ms,
        "bridgeOpen": settings.bridge_open_ms,
        "bridgeInvitation": settings.bridge_invitation_ms,
        "focusAsk": settings.focus_ask_ms,
        "focusAskLongest": settings.focus_ask_longest_ms,
        "mediaRestart": settings.media_restart_ms,
        "mediaRestartLongest": settings.media_restart_longest_ms,
        "mediaInvitation": settings.media_invitation_ms,
        "libraryGivesUp": settings.library_gives_up_ms,
        "mediaGiveUp": settings.media_give_up_ms,
        "receivedInterval": settings.received_interval_ms,
        "receivedBytes": settings.received_bytes,
    }
