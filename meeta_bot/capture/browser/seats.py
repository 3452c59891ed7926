"""Seats of captures in pages, which rooms share.

Rooms of one deployment sit in one page, up to ``rooms_per_page``: a room then costs a connection instead of a
renderer. The price is that a renderer's crash takes all rooms of its page, so the setting weighs memory against
that (docs/performance.md has the measurements). A page closes when its last room has left. One that crashes, that
goes with its browser, or that says nothing any more is given up with all its seats; who sat there takes a new one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from meeta_bot.capture.browser.bridge import Channel
from meeta_bot.capture.browser.chromium import Chromium
from meeta_bot.capture.browser.conference_page import ConferencePage
from meeta_bot.capture.browser.health import PageHealth, PageLoss
from meeta_bot.clock import Clock
from meeta_bot.errors import PageError
from meeta_bot.logs import get_logger
from meeta_bot.room_address import RoomAddress
from meeta_bot.settings import Settings

_log = get_logger("pages")


OnLost = Callable[[PageLoss], None]


class Seat:
    """A capture's seat in a page. Made by :meth:`Seats.take`, given back by :meth:`vacate`."""

    def __init__(self, shared: _SharedPage, page: ConferencePage, conference: str) -> None:
        self._shared = shared
        self._page = page
        self._conference = conference

    async def join(self, room: str, *, name: str, token: str | None, password: str | None) -> Channel:
        """Start to join; what happens arrives on the channel.

        :raises PageError: the library threw, or the page is gone.
        """
        return await self._page.join(self._conference, room, name=name, token=token, password=password)

    def join_again(self, password: str | None) -> None:
        """Ask once more to be let in, in the same login."""
        self._page.join_again(self._conference, password)

    def knock(self, name: str) -> None:
        """Ask to be let in from the lobby; the answer arrives on the channel."""
        self._page.knock(self._conference, name)

    def acknowledge(self, page_seq: int) -> None:
        """Tell the page that everything up to `page_seq` is on disk."""
        self._page.bridge.acknowledge(self._conference, page_seq)

    def monotonic_ms(self, now: float) -> float:
        """Return the page's ``performance.now()`` on our monotonic clock, as near as is known."""
        return self._page.bridge.monotonic_ms(now)

    def earliest_ms(self, now: float) -> float:
        """Return the earliest that the page's ``performance.now()`` can have been on our monotonic clock."""
        return self._page.bridge.earliest_ms(now)

    async def leave(self) -> None:
        """Leave the room; returns when it has confirmed or the deadline is over."""
        await self._page.leave(self._conference)

    def forget(self) -> None:
        """Drop the room without a goodbye: its signalling is lost. The seat is kept until :meth:`vacate`."""
        self._page.forget(self._conference)

    def vacate(self) -> None:
        """Give the seat back; the page closes behind the last one. Safe after a crash."""
        self._page.forget(self._conference)
        self._shared.vacate(self._conference)


class _SharedPage:
    """One page, loaded once for all who sit in it."""

    def __init__(self, owner: Seats, address: RoomAddress) -> None:
        self.seats: dict[str, OnLost] = {}
        self._owner = owner
        self.health = owner.health.add(self._lost)
        self._is_gone = False
        self._loading = asyncio.create_task(owner.load(address, self.health), name=f"load {address.deployment}")

    async def loaded(self) -> ConferencePage:
        """Return the page, when it has loaded; as often as there are seats.

        :raises PageNotLoaded, BrowserError, PageError: it could not be; all who wait learn the same.
        """
        try:
            return await asyncio.shield(self._loading)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._is_gone and self._loading.cancelled() and not (task and task.cancelling()):
                raise PageError("the page was lost while it loaded") from None
            raise

    def vacate(self, conference: str) -> None:
        self.seats.pop(conference, None)
        if not self.seats and not self._is_gone:
            self._owner.retire(self)
            self._owner.in_background(self.close())

    async def close(self) -> None:
        self._is_gone = True
        self._loading.cancel()
        await asyncio.wait([self._loading])
        if (page := self._page) is not None:
            await page.close()

    @property
    def _page(self) -> ConferencePage | None:
        """The page once it has loaded."""
        done = self._loading.done() and not self._loading.cancelled() and self._loading.exception() is None
        return self._loading.result() if done else None

    def _lost(self, loss: PageLoss) -> None:
        """Tell everybody in it, once, that it is of no use any more, and close what is left of it."""
        if self._is_gone:
            return
        self._is_gone = True
        self._owner.retire(self)
        _log.warning("page lost", cause=loss.cause.value, rooms=len(self.seats))
        for on_lost in list(self.seats.values()):
            on_lost(loss)
        self._owner.in_background(self.close())


class Seats:
    """The seats of all captures, in pages that are opened and closed for them. One for the whole process."""

    def __init__(self, chromium: Chromium, clock: Clock, settings: Settings) -> None:
        self._chromium = chromium
        self._clock = clock
        self._settings = settings
        self._open: dict[tuple[object, ...], list[_SharedPage]] = {}  # key of a page → pages that may take rooms
        self._background: set[asyncio.Task[None]] = set()
        self.health = chromium.health

    async def take(self, address: RoomAddress, conference: str, on_lost: OnLost) -> Seat:
        """Return a seat for `conference` in a loaded page of its deployment; ``on_lost`` is called if it is lost.

        :raises PageNotLoaded: nothing answers, or what answers is no Jitsi Meet.
        :raises BrowserError: the browser is gone, or its pages can't be used.
        :raises PageError: the page was lost while it loaded.
        """
        shared = self._with_room(address)
        shared.seats[conference] = on_lost
        try:
            return Seat(shared, await shared.loaded(), conference)
        except BaseException as error:
            if isinstance(error, Exception):
                self.retire(shared)  # whoever asks next has another try, and not the same answer
            shared.vacate(conference)
            raise

    async def watch(self) -> None:
        """Give up pages that hang, until cancelled."""
        await self.health.watch()

    async def close(self) -> None:
        """Wait until pages that were given up are closed, which has a deadline."""
        await asyncio.gather(*self._background, return_exceptions=True)

    def in_background(self, work: Coroutine[Any, Any, None]) -> None:
        """Do `work` beside everything else; :meth:`close` waits for it."""
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _with_room(self, address: RoomAddress) -> _SharedPage:
        pages = self._open.setdefault(address.page_key, [])
        for shared in pages:
            if len(shared.seats) < self._settings.rooms_per_page:
                return shared
        pages.append(_SharedPage(self, address))
        return pages[-1]

    async def load(self, address: RoomAddress, health: PageHealth) -> ConferencePage:
        """Return a new page of the room's deployment, with the hook in it; errors as :meth:`take`."""
        empty = await self._chromium.new_page()
        page = ConferencePage(empty, self._clock, self._settings, health)
        try:
            await health.load(empty, page.load(address), lambda: page.bridge.heard_ms)
        except BaseException:
            self.in_background(page.close())  # one that hangs takes its time
            raise
        _log.info("page loaded", deployment=address.deployment)
        return page

    def retire(self, shared: _SharedPage) -> None:
        """Send nobody new to a page that closes or is lost. Safe to call twice."""
        self.health.dismiss(shared.health)
        for key, pages in list(self._open.items()):
            if shared in pages:
                pages.remove(shared)
                if not pages:
                    del self._open[key]
