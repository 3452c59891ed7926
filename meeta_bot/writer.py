"""The writer: takes events out of the spool in order and gives them to a sink, again and again until it has them.

A batch leaves as soon as the one before has been stored, so a batch is small when there is little to do and large
when there is much; the linger only gives what one page sends together the time to arrive. When a backlog waits,
batches are larger still, and the next one is read while the sink writes. Order is the spool's. There is one batch under
way at a time. Every sink has a writer, a task and a place in the spool of its own, so none waits for another.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

from meeta_bot.errors import MeetaError, SpoolError
from meeta_bot.logs import get_logger
from meeta_bot.settings import Settings
from meeta_bot.sinks import Delivery, Sink, SinkGone, SinkUnavailable
from meeta_bot.spool import Spool, Spooled

_log = get_logger("writer")


Prepare = Callable[[], Awaitable[object]]


async def _nothing() -> None:
    """There is nothing to prepare."""


class Writer:
    """Delivers one spool to one sink.

    ``prepare`` makes ready what the sink writes to, such as by starting and migrating a database; it runs before the
    first batch and again whenever the sink was unavailable. ``name`` is what the log calls the sink.
    """

    def __init__(
        self, spool: Spool, sink: Sink, settings: Settings, prepare: Prepare = _nothing, name: str = "database"
    ) -> None:
        self._reader = spool.reader()
        self._sink = sink
        self._settings = settings
        self._prepare = prepare
        self._name = name
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._ahead: asyncio.Task[list[Spooled]] | None = None  # the next batch, read while the sink writes
        self.ready = asyncio.Event()
        self.stored = 0
        self.quarantined = 0
        self.unavailable: str | None = None  # why the sink takes nothing at the moment
        self.gone: str | None = None  # why the sink will never take anything again

    @property
    def waiting(self) -> int:
        """Events in the spool that this sink does not have yet; none once it is gone."""
        return self._reader.waiting

    def start(self) -> None:
        """Begin to deliver. Safe to call twice."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"writer of {self._name}")

    async def stop(self, within: float) -> bool:
        """Deliver what is there for `within` seconds at most, then let go. What is left stays in the spool.

        :returns: whether nothing is left.
        """
        self._stopping.set()
        self._reader.appended.set()
        if self._task is not None:
            done, _ = await asyncio.wait([self._task], timeout=within)
            if not done:
                self._task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await self._task
            else:
                self._task.result()
            self._task = None
        return self.waiting == 0

    async def _run(self) -> None:
        try:
            await self._deliver()
        except SinkGone as error:
            self.gone = str(error)
            self.ready.clear()
            _log.warning(f"{self._name} gone, no more is written to it", reason=self.gone, unwritten=self.waiting)
            with contextlib.suppress(SpoolError):  # what others have is forgotten later, then
                await self._reader.close()
        finally:
            await self._drop_ahead()

    async def _deliver(self) -> None:
        pause = self._settings.database_retry_initial
        while not (self._stopping.is_set() and self.waiting == 0):
            try:
                if not self.ready.is_set():
                    await self._prepare()
                    self.ready.set()
                delivered = await self._deliver_batch()
                self._note_available()  # not before: one that can only be read is prepared without complaint
                if delivered:
                    continue
                pause = self._settings.database_retry_initial
                await self._wait_for_events()
                continue
            except SinkGone:
                raise
            except (SinkUnavailable, MeetaError) as error:  # after a SpoolError, what was stored comes again
                self._note_unavailable(str(error), getattr(error, "hint", None))
            except Exception as error:  # a bug in a sink must not end the delivery of everything behind it
                _log.exception("delivery failed")
                self._note_unavailable(f"{type(error).__name__}: {error}")
            await self._drop_ahead()
            await self._pause(pause)
            pause = min(pause * 2, self._settings.database_retry_max)

    async def _deliver_batch(self) -> bool:
        """Deliver the next batch; False when there is nothing to deliver."""
        batch = await self._next_batch()
        if not batch:
            return False
        self._read_ahead(batch)
        began = time.monotonic()
        delivery = await self._sink.write([spooled.event for spooled in batch])
        await self._reader.forget(batch[-1].ordinal)
        self._note_delivery(delivery, time.monotonic() - began)
        return True

    async def _next_batch(self) -> list[Spooled]:
        ahead, self._ahead = self._ahead, None
        return await (ahead or self._reader.read(self._limit(self.waiting)))

    def _limit(self, waiting: int) -> int:
        """How many events the next batch may have when so many wait."""
        has_backlog = waiting > self._settings.writer_bulk_backlog
        return self._settings.writer_bulk_events if has_backlog else self._settings.writer_batch_events

    def _read_ahead(self, batch: list[Spooled]) -> None:
        """Begin to read what follows `batch` if that fills a batch; less is better left to grow in the meantime."""
        left = self.waiting - len(batch)
        limit = self._limit(left)
        if left >= limit:
            self._ahead = asyncio.create_task(self._reader.read(limit, after=batch[-1].ordinal), name="read ahead")

    async def _drop_ahead(self) -> None:
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            await asyncio.gather(ahead, return_exceptions=True)  # whatever it was: the same is read again

    async def _wait_for_events(self) -> None:
        await self._reader.appended.wait()
        self._reader.appended.clear()
        await asyncio.sleep(self._settings.writer_linger)

    async def _pause(self, seconds: float) -> None:
        """Wait before the next try; the way out tries at its own pace within its own deadline."""
        if self._stopping.is_set():
            await asyncio.sleep(self._settings.database_retry_initial)
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    def _note_unavailable(self, reason: str, hint: str | None = None) -> None:
        self.ready.clear()
        if self.unavailable is None:
            _log.warning(f"{self._name} unavailable, recording into the spool", reason=reason, hint=hint)
        self.unavailable = reason

    def _note_available(self) -> None:
        if self.unavailable is not None:
            _log.info(f"{self._name} available again", waiting=self.waiting)
            self.unavailable = None

    def _note_delivery(self, delivery: Delivery, seconds: float) -> None:
        self.stored += delivery.stored + delivery.duplicates
        self.quarantined += delivery.quarantined
        _log.debug(
            "batch stored",
            stored=delivery.stored,
            duplicates=delivery.duplicates,
            quarantined=delivery.quarantined,
            milliseconds=round(seconds * 1000, 1),
        )
        if delivery.quarantined:
            _log.error("events in quarantine", events=delivery.quarantined)
