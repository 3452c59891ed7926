"""A room's page without the room: opened as a recorder opens it, read, logged in from, and closed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec
from playwright.async_api import CDPSession, Page, Response
from playwright.async_api import Error as PlaywrightError

from meeta_bot.capture.browser.chromium import Chromium
from meeta_bot.capture.browser.conference_page import ConferencePage
from meeta_bot.capture.browser.evaluate import evaluate, literal
from meeta_bot.capture.browser.health import BrowserHealth, PageHealth
from meeta_bot.clock import SystemClock
from meeta_bot.errors import PageError
from meeta_bot.room_address import RoomAddress
from meeta_bot.settings import Settings

_T = TypeVar("_T")

ConfigValue = bool | int | float | str | None


class PageContents(msgspec.Struct, frozen=True):
    """The contents of a page. ``config`` has the asked keys only, None for those that it lacks; addresses no query."""

    config: dict[str, ConfigValue]
    config_script: str | None
    library_script: str | None
    library_version: str | None
    conference_events: list[str]


class Connected(msgspec.Struct, frozen=True):
    """The outcome of a login. ``error`` is lib-jitsi-meet's; ``announced`` are the types of the server's services."""

    service: str
    milliseconds: int
    error: str | None
    message: str | None
    announced: list[str] | None


class Document(msgspec.Struct, frozen=True):
    """The document of a page. ``host`` answered in the end; the last three are of its TLS."""

    status: int
    host: str
    issuer: str | None
    protocol: str | None
    expires: datetime | None


class ProbePage:
    """The page of one address. ``load`` first, ``close`` always."""

    def __init__(self, page: Page, settings: Settings, health: BrowserHealth) -> None:
        self._page = page
        self._settings = settings
        self._conference_page = ConferencePage(page, SystemClock(), settings, PageHealth(health, lambda _: None))
        self._devtools: CDPSession | None = None
        self._answer: Response | None = None
        page.on("response", self._response)

    @classmethod
    async def open(cls, chromium: Chromium, settings: Settings) -> ProbePage:
        """Open an empty one.

        :raises BrowserError: the browser is gone.
        """
        return cls(await chromium.new_page(), settings, chromium.health)

    def _response(self, response: Response) -> None:
        if response.frame == self._page.main_frame and response.request.is_navigation_request():
            self._answer = response

    async def load(self, address: RoomAddress) -> Document:
        """Open the room's page with the hook in it.

        :raises PageNotLoaded: nothing answers, or what answers is no Jitsi Meet.
        :raises PageError: the page crashed.
        """
        await self._conference_page.load(address)
        with _page_errors():
            self._devtools = await self._page.context.new_cdp_session(self._page)
            return await self._document()

    async def _document(self) -> Document:
        answer = self._answer
        details = await answer.security_details() if answer else None
        expires = details.get("validTo") if details else None
        return Document(
            status=answer.status if answer else 0,
            host=urlsplit(answer.url).netloc if answer else "",
            issuer=details.get("issuer") if details else None,
            protocol=details.get("protocol") if details else None,
            expires=datetime.fromtimestamp(expires, UTC) if expires else None,
        )

    async def contents(self, keys: tuple[str, ...]) -> PageContents:
        """Return the page's contents, and the configuration's values for `keys`.

        :raises PageError: the page is gone, or says something else.
        """
        await self._evaluate(_probe())
        return _convert(await self._evaluate(f"meetaBot.probe.look({literal(keys)})"), PageContents)

    async def connect(self, address: RoomAddress) -> Connected:
        """Log in, as the room's link says, and out again, without entering the room.

        :raises PageError: the page is gone, or the library threw.
        """
        call = f"meetaBot.probe.connect({literal(address.room)}, {literal(address.token)})"
        return _convert(await self._evaluate(call), Connected)

    async def _evaluate(self, expression: str) -> Any:
        if self._devtools is None:
            raise PageError("the page was not loaded")
        with _page_errors():
            return await evaluate(self._devtools, expression)

    async def close(self) -> None:
        """Close it. Safe after a crash."""
        await self._conference_page.close()


@contextlib.contextmanager
def _page_errors() -> Iterator[None]:
    try:
        yield
    except PlaywrightError as error:
        raise PageError(f"the page is gone: {str(error).partition(chr(10))[0]}") from error


def _convert(value: Any, kind: type[_T]) -> _T:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise PageError(f"the page said something else than was asked: {error}") from None


@cache
def _probe() -> str:
    return (Path(__file__).parent / "hook" / "probe.js").read_text(encoding="utf-8")
