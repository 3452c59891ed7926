"""The bridge between a page and Python: one binding of the Chrome DevTools Protocol, and acknowledgements back.

The hook sends batches, each ``{"conference": key, "page_load": id, "messages": [[page_seq, wall clock in ms,
performance.now(), origin, args], …]}``. For each conference a channel hands them on in order and exactly once:
a batch at or below the high-water mark is acknowledged again and dropped, one behind a hole makes the page send
again from the hole.

In between the page says that it lives: ``{"page_load": id, "alive": performance.now(), "wall_ms": wall clock in ms,
"conferences": [[key, last page_seq, messages waiting, messages missed], …]}``, neither numbered nor sent again.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import math
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import msgspec
from playwright.async_api import CDPSession
from playwright.async_api import Error as PlaywrightError

from meeta_bot.capture.browser.evaluate import literal
from meeta_bot.clock import Clock
from meeta_bot.limits import LARGEST_NUMBER
from meeta_bot.logs import get_logger
from meeta_bot.settings import Settings
from meeta_bot.text import clean_text

_log = get_logger("bridge")

BINDING = "meetaDeliver"


_LARGEST_TIME = 8.64e15  # milliseconds: the range of JavaScript's Date
_Time = Annotated[float, msgspec.Meta(ge=-_LARGEST_TIME, le=_LARGEST_TIME)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=LARGEST_NUMBER)]


class PageMessage(msgspec.Struct, array_like=True, frozen=True):
    """One message as the hook writes it. ``now`` is ``performance.now()``, ``server_ms`` when the server had it."""

    page_seq: Annotated[int, msgspec.Meta(ge=1, le=LARGEST_NUMBER)]
    wall_ms: _Time
    now: _Time
    origin: str
    args: list[Any]
    server_ms: _Time | None = None


class PageBatch(msgspec.Struct, frozen=True):
    """One call of the binding."""

    conference: str
    page_load: str
    messages: list[PageMessage]


class PageBooks(msgspec.Struct, array_like=True, frozen=True):
    """The numbers of a conference's messages that were made, wait to be acknowledged, and found no room in the page."""

    conference: str
    made: _Count
    waiting: _Count
    missed: _Count


class PageHeartbeat(msgspec.Struct, frozen=True):
    """A sign of life of a page. ``alive`` is ``performance.now()``."""

    page_load: str
    alive: _Time
    wall_ms: _Time
    conferences: list[PageBooks]


_Kind = TypeVar("_Kind", PageBatch, PageHeartbeat)


class Channel:
    """The messages of one conference in one load of a page. Made by :meth:`PageBridge.open`."""

    def __init__(self, bridge: PageBridge, conference: str, queue_batches: int) -> None:
        self._bridge = bridge
        self._queue: asyncio.Queue[PageBatch] = asyncio.Queue(queue_batches)
        self._rewound_at: int | None = None
        self.conference = conference
        self.page_load: str | None = None
        self.page_seq = 0  # the last that was handed on
        self._now: float | None = None  # the page's clock at the last message that was handed on
        self._books: PageBooks | None = None
        self._books_now = 0.0  # the page's clock when it gave them
        self._batches = 0  # that were handed on, whole or in part
        self._durable = 0  # of them, those that are on disk
        self._told = 0  # of those, the ones that the page knows of

    @property
    def made(self) -> int | None:
        """Messages that the page had numbered when it last gave a sign of life; None before it did."""
        return None if self._books is None else max(self._books.made, self.page_seq)

    @property
    def missed(self) -> int | None:
        """Messages that found no room in the page; None before its first sign of life."""
        return None if self._books is None else self._books.missed

    @property
    def seen_until(self) -> float | None:
        """The page's ``performance.now()`` up to which all that it saw was handed on; None before anything was.

        That is the last message, or a later sign of life that tells of no further ones.
        """
        if self._books is not None and self._books.made <= self.page_seq:
            return max(self._books_now, self._now or 0.0)
        return self._now

    def note_books(self, heartbeat: PageHeartbeat, books: PageBooks) -> None:
        """Keep the books that the page has of this channel."""
        if self.page_load in (None, heartbeat.page_load):
            self._books, self._books_now = books, heartbeat.alive

    def offer(self, batch: PageBatch) -> None:
        """Take a batch from the page, unless there is no room: then the page sends it again."""
        if self._queue.full():
            _log.debug("batch refused, the page keeps it", conference=self.conference)
            return
        self._queue.put_nowait(batch)

    async def receive(self) -> list[PageMessage]:
        """Return the next messages that were not handed on yet, as many as have arrived; waits for at least one."""
        while True:
            fresh = self._fresh(await self._queue.get())
            while not self._queue.empty():
                fresh += self._fresh(self._queue.get_nowait())
            if fresh:
                return fresh

    def receive_nowait(self) -> list[PageMessage]:
        """Return the next messages as :meth:`receive` does, but an empty list when nothing has arrived."""
        fresh: list[PageMessage] = []
        while not self._queue.empty():
            fresh += self._fresh(self._queue.get_nowait())
        return fresh

    def _fresh(self, batch: PageBatch) -> list[PageMessage]:
        if self.page_load is None:
            self.page_load = batch.page_load
        if batch.page_load != self.page_load:
            return []  # from a page that was loaded before or after this one: not this channel's
        fresh = []
        for message in batch.messages:
            if message.page_seq <= self.page_seq:
                continue
            if message.page_seq != self.page_seq + 1:
                self._ask_again()
                break
            self.page_seq = message.page_seq
            self._now = message.now
            fresh.append(message)
        if fresh:
            self._batches += 1
        else:
            self._bridge.acknowledge_again(self.conference)
        return fresh

    def note_durable(self) -> int:
        """Note that all that was handed on is on disk; return how many batches the page waits to hear of."""
        self._durable = self._batches
        return self._durable - self._told

    def note_told(self) -> None:
        """Note that the page knows now what was on disk."""
        self._told = self._durable

    def _ask_again(self) -> None:
        """Ask once for each hole: the batches behind it that are on their way already show the same hole."""
        if self._rewound_at != self.page_seq:
            self._rewound_at = self.page_seq
            self._bridge.rewind(self.conference)


class PageBridge:
    """The binding of one page, shared by all conferences in it."""

    def __init__(self, session: CDPSession, clock: Clock, settings: Settings) -> None:
        self._session = session
        self._clock = clock
        self._settings = settings
        self._channels: dict[str, Channel] = {}
        self._acknowledged: dict[str, int] = {}
        self._due: set[str] = set()
        self._shut: set[str] = set()  # conferences whose last words may still be on their way
        self._wake = asyncio.Event()
        self._urgent = asyncio.Event()
        self._acknowledger: asyncio.Task[None] | None = None
        self._calls: set[asyncio.Task[Any]] = set()
        self._offset_ms = (-math.inf, math.inf)  # between the page's clock and ours: at least, at most
        self._heard_ms = clock.monotonic_ms()
        self.malformed = 0

    async def install(self) -> None:
        """Make the binding exist in every document of the page from now on."""
        self._session.on("Runtime.bindingCalled", _with_signature(self._called))
        await self._session.send("Runtime.enable")
        await self._session.send("Runtime.addBinding", {"name": BINDING})
        self._acknowledger = asyncio.create_task(self._acknowledge_due(), name="acknowledger")
        self._heard_ms = self._clock.monotonic_ms()

    @property
    def heard_ms(self) -> float:
        """The monotonic time of the page's last sign of life; at first of the bridge's installation."""
        return self._heard_ms

    async def settle(self) -> None:
        """Wait until the page has heard what it was called for, if it does within ``leave_timeout``."""
        if self._calls:
            await asyncio.wait(self._calls, timeout=self._settings.leave_timeout)

    async def close(self) -> None:
        """Stop answering the page."""
        tasks = [task for task in (self._acknowledger, *self._calls) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def open(self, conference: str) -> Channel:
        """Return the channel of a conference that this page is going to join."""
        channel = Channel(self, conference, self._settings.bridge_queue_batches)
        self._channels[conference] = channel
        return channel

    def shut(self, conference: str) -> None:
        """Take nothing more from a conference: its capture is over."""
        self._channels.pop(conference, None)
        self._acknowledged.pop(conference, None)
        self._shut.add(conference)

    def calibrate(self, now: float, before_ms: float, after_ms: float) -> None:
        """Learn how the page's ``performance.now()`` relates to our monotonic clock, read before and after it.

        Both clocks run alike, so every reading narrows what the difference between them can be.
        """
        least, most = self._offset_ms
        self._offset_ms = (max(least, before_ms - now), min(most, after_ms - now))

    def monotonic_ms(self, now: float) -> float:
        """Return a page's ``performance.now()`` on our monotonic clock, as near as is known."""
        return now + sum(self._offset_ms) / 2

    def earliest_ms(self, now: float) -> float:
        """Return the earliest that a page's ``performance.now()`` can have been on our monotonic clock."""
        return now + self._offset_ms[0]

    def acknowledge(self, conference: str, page_seq: int) -> None:
        """Tell the page that everything up to `page_seq`, all that was handed on, is on disk.

        Telling costs as much as receiving many events, so acknowledgements gather until the page could need one.
        """
        channel = self._channels.get(conference)
        if channel is None:
            return
        self._acknowledged[conference] = page_seq
        self._due.add(conference)
        self._wake.set()
        if 2 * channel.note_durable() >= self._settings.page_window_batches:
            self._urgent.set()

    def acknowledged(self, conference: str) -> int:
        """Return the number up to which all is on disk; 0 while nothing is, and once the conference is shut."""
        return self._acknowledged.get(conference, 0)

    def acknowledge_again(self, conference: str) -> None:
        """Repeat the last acknowledgement: the page sent what we have already."""
        if conference in self._acknowledged:
            self._due.add(conference)
            self._wake.set()
            self._urgent.set()

    def rewind(self, conference: str) -> None:
        """Have the page send everything again that it has no acknowledgement for."""
        self.call(f"meetaBot.rewind({literal(conference)})")

    def call(self, expression: str) -> None:
        """Evaluate `expression` in the page without waiting for it; a page that is gone does not mind."""
        task = asyncio.create_task(self._evaluate(expression))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    def _called(self, event: dict[str, Any]) -> None:
        if event.get("name") != BINDING:
            return
        try:
            payload = event["payload"]
            if payload.startswith(_HEARTBEAT):
                self._note_heartbeat(decode_heartbeat(payload))
            else:
                batch = decode_batch(payload)
                if batch.conference not in self._shut:
                    self._channels[batch.conference].offer(batch)
            self._heard_ms = self._clock.monotonic_ms()
        except (msgspec.DecodeError, KeyError) as error:
            self.malformed += 1
            _log.warning("a page sent what is no batch", problem=f"{type(error).__name__}: {error}"[:200])

    def _note_heartbeat(self, heartbeat: PageHeartbeat) -> None:
        for books in heartbeat.conferences:
            if (channel := self._channels.get(books.conference)) is not None:
                channel.note_books(heartbeat, books)

    async def _acknowledge_due(self) -> None:
        """Tell the page, in one call, of all conferences whose acknowledgement moved since the last call."""
        while True:
            await self._wake.wait()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.acknowledge_pause):
                    await self._urgent.wait()
            self._wake.clear()
            self._urgent.clear()
            due, self._due = self._due, set()
            known = [(key, self._acknowledged[key]) for key in due if key in self._acknowledged]
            for key, _ in known:
                self._channels[key].note_told()
            await self._evaluate(";".join(f"meetaBot.acknowledge({literal(key)}, {seq})" for key, seq in known))

    async def _evaluate(self, expression: str) -> None:
        # A page that is gone or hangs needs no acknowledgement; its recorder learns of it elsewhere.
        with contextlib.suppress(PlaywrightError, TimeoutError):
            async with asyncio.timeout(self._settings.page_call_timeout):
                await self._session.send("Runtime.evaluate", {"expression": expression, "silent": True})


def _with_signature(listener: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, Any]], None]:
    """Return `listener` with its signature at hand.

    Playwright asks for it at every call, and to work it out takes twice as long as the rest of the call.
    """

    def called(event: dict[str, Any]) -> None:
        listener(event)

    called.__signature__ = inspect.signature(called)  # type: ignore[attr-defined]
    return called


def decode_batch(payload: str) -> PageBatch:
    """Return the batch in the text of a binding call.

    :raises msgspec.DecodeError: it is none. Lone surrogates, which JSON can escape and UTF-8 can't hold, are
        replaced on the way.
    """
    try:
        return _batch_decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return _decode_patiently(payload, PageBatch)


def decode_heartbeat(payload: str) -> PageHeartbeat:
    """Return the sign of life in the text of a binding call; errors as :func:`decode_batch`."""
    try:
        return _heartbeat_decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return _decode_patiently(payload, PageHeartbeat)


_batch_decoder = msgspec.json.Decoder(PageBatch)
_heartbeat_decoder = msgspec.json.Decoder(PageHeartbeat)
_HEARTBEAT = '{"page_load"'  # how the hook begins it; batches begin with their conference


def _decode_patiently(payload: str, kind: type[_Kind]) -> _Kind:
    """Decode text that the fast decoder refuses though it is JSON: the standard library takes lone surrogates."""
    import json

    try:
        return msgspec.convert(_cleaned(json.loads(payload, parse_constant=_refused)), kind)
    except (ValueError, RecursionError) as error:
        raise msgspec.DecodeError(str(error)) from None


def _refused(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, list):
        return [_cleaned(item) for item in value]
    if isinstance(value, dict):
        return {clean_text(key): _cleaned(item) for key, item in value.items()}
    return value
