"""Pages and the rooms that share them.

Rooms of one deployment sit in one page, up to ``rooms_per_page``: a room then costs a connection instead of a
renderer. The price is that a renderer's crash takes all rooms of its page, so the setting weighs memory against
that (docs/performance.md has the measurements). A page closes when its last room has left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from meeta_bot.bridge import Channel
from meeta_bot.browser import Chromium
from meeta_bot.clock import Clock
from meeta_bot.conference import ConferencePage
from meeta_bot.logs import get_logger
from meeta_bot.room_address import RoomAddress
from meeta_bot.settings import Settings

_log = get_logger("pages")

OnGone = Callable[[], None]


class Seat:
    """A capture's place in a page. Made by :meth:`Pages.take`, given back by :meth:`vacate`."""

    def __init__(self, shared: _SharedPage, page: ConferencePage, conference: str) -> None:
        self._shared = shared
        self._page = page
        self._conference = conference

    async def join(self, address: RoomAddress, *, name: str, password: str | None) -> Channel:
        """Start to join; what happens arrives on the channel.

        :raises PageError: the library threw, or the page is gone.
        """
        return await self._page.join(self._conference, address, name=name, password=password)

    def knock(self, name: str) -> None:
        """Ask to be let in from the lobby; the answer arrives on the channel."""
        self._page.knock(self._conference, name)

    def acknowledge(self, page_seq: int) -> None:
        """Tell the page that everything up to `page_seq` is on disk."""
        self._page.bridge.acknowledge(self._conference, page_seq)

    def monotonic_ms(self, now: float) -> float:
        """The page's ``performance.now()`` on our monotonic clock."""
        return self._page.bridge.monotonic_ms(now)

    async def leave(self) -> None:
        """Leave the room; returns when it has confirmed or the deadline is over."""
        await self._page.leave(self._conference)

    async def vacate(self) -> None:
        """Give the place back; the page closes behind the last one. Safe after a crash."""
        self._page.forget(self._conference)
        await self._shared.vacate(self._conference)


class _SharedPage:
    """One page, loaded once for all who sit in it."""

    def __init__(self, pages: Pages, address: RoomAddress) -> None:
        self.seats: dict[str, OnGone] = {}
        self._pages = pages
        self._loading = asyncio.create_task(pages.load(address, self._gone), name=f"load {address.deployment}")

    async def loaded(self) -> ConferencePage:
        """The page, when it has loaded; as often as there are seats.

        :raises PageNotLoaded, BrowserError, PageError: it could not be; all who wait learn the same.
        """
        return await asyncio.shield(self._loading)

    async def vacate(self, conference: str) -> None:
        self.seats.pop(conference, None)
        if self.seats:
            return
        self._pages.retire(self)
        self._loading.cancel()
        await asyncio.wait([self._loading])
        if not self._loading.cancelled() and self._loading.exception() is None:
            await self._loading.result().close()

    def _gone(self) -> None:
        self._pages.retire(self)
        _log.warning("a page crashed", rooms=len(self.seats))
        for on_gone in list(self.seats.values()):
            on_gone()


class Pages:
    """Gives captures their places. One for the whole process."""

    def __init__(self, chromium: Chromium, clock: Clock, settings: Settings) -> None:
        self._chromium = chromium
        self._clock = clock
        self._settings = settings
        self._open: dict[str, list[_SharedPage]] = {}  # deployment → pages that may take rooms

    async def take(self, address: RoomAddress, conference: str, on_gone: OnGone) -> Seat:
        """A place for `conference` in a loaded page of its deployment; ``on_gone`` is called if that crashes.

        :raises PageNotLoaded: nothing answers, or what answers is no Jitsi Meet.
        :raises BrowserError: the browser is gone.
        """
        shared = self._with_room(address)
        shared.seats[conference] = on_gone
        try:
            return Seat(shared, await shared.loaded(), conference)
        except BaseException:
            await shared.vacate(conference)
            raise

    def _with_room(self, address: RoomAddress) -> _SharedPage:
        pages = self._open.setdefault(address.deployment, [])
        for shared in pages:
            if len(shared.seats) < self._settings.rooms_per_page:
                return shared
        pages.append(_SharedPage(self, address))
        return pages[-1]

    async def load(self, address: RoomAddress, on_gone: OnGone) -> ConferencePage:
        """A new page of the room's deployment, with the hook in it; errors as :meth:`take`."""
        page = ConferencePage(await self._chromium.new_page(), self._clock, self._settings, on_gone)
        try:
            await page.load(address)
        except BaseException:
            await page.close()
            raise
        _log.info("page loaded", deployment=address.deployment)
        return page

    def retire(self, shared: _SharedPage) -> None:
        """Nobody new is sent to a page that closes or crashed. Safe to call twice."""
        for deployment, pages in list(self._open.items()):
            if shared in pages:
                pages.remove(shared)
                if not pages:
                    del self._open[deployment]
