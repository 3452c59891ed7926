"""The writer: takes events out of the spool in order and gives them to a sink, again and again until it has them.

A batch leaves as soon as the one before has been stored, so a batch is small when there is little to do and large
when there is much; the linger only gives what one page sends together the time to arrive. When a backlog waits,
batches are larger still, and the next one is read while the sink writes. Order is the spool's. There is one batch under
way at a time. Every sink has a writer, a task and a cursor in the spool of its own, so none waits for another.

Nothing hangs in silence: a write that lasts longer than ``sink_write_timeout`` is cancelled, logged, and tried again.
The database is tried for as long as the process lives. A further sink that holds up more than ``sink_lag_share`` of the
spool is given up, since what it does not take would fill the spool and end the recording for all.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from meeta_bot.capture.spool import Spool, Spooled
from meeta_bot.delivery.sink import Delivery, Sink, SinkGone, SinkUnavailable
from meeta_bot.errors import MeetaError, SpoolError
from meeta_bot.events import SealedEvent
from meeta_bot.logs import get_logger
from meeta_bot.settings import Settings

_log = get_logger("writer")
_encoder = msgspec.msgpack.Encoder()

Prepare = Callable[[], Awaitable[object]]


async def _nothing() -> None:
    """Prepare nothing."""


class _SinkLags(SinkGone):
    """A sink that holds up too much of the spool."""


class Writer:
    """The delivery of one spool to one sink.

    ``prepare`` makes ready what the sink writes to, such as by starting and migrating a database; it runs before the
    first batch and again whenever the sink was unavailable. ``name`` is what the log calls the sink. One that
    ``may_be_given_up`` is gone for good when it holds up more than its share of the spool.
    """

    def __init__(
        self,
        spool: Spool,
        sink: Sink,
        settings: Settings,
        prepare: Prepare = _nothing,
        name: str = "database",
        *,
        may_be_given_up: bool = False,
    ) -> None:
        self._cursor = spool.cursor()
        self._sink = sink
        self._settings = settings
        self._prepare = prepare
        self._name = name
        self._may_be_given_up = may_be_given_up
        self._stopping = asyncio.Event()
        self._hurries = False  # to stop within a deadline
        self._task: asyncio.Task[None] | None = None
        self._ahead: asyncio.Task[list[Spooled]] | None = None  # the next batch, read while the sink writes
        self.ready = asyncio.Event()
        self.stored = 0
        self.quarantined = 0
        self.unavailable: str | None = None  # why the sink takes nothing at the moment
        self._unavailable_since = 0.0  # on the monotonic clock, as is the next
        self._last_logged = 0.0
        self.gone: str | None = None  # why the sink will never take anything again

    @property
    def waiting(self) -> int:
        """Number of events in the spool that this sink does not have yet; none once it is gone."""
        return self._cursor.waiting

    def start(self) -> None:
        """Begin to deliver. Safe to call twice."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"writer of {self._name}")

    async def stop(self, within: float | None) -> bool:
        """Deliver what is there for `within` seconds at most, then let go. What is left stays in the spool.

        None is for as long as it takes, through outages as well. Cancelled, it lets go at once.

        :returns: whether nothing is left.
        """
        self._hurries = within is not None
        self._stopping.set()
        self._cursor.appended.set()
        if self._task is not None:
            task = self._task
            try:
                await asyncio.wait([task], timeout=within)
            finally:
                task.cancel()  # does nothing when it is done
                await asyncio.gather(task, return_exceptions=True)
            self._task = None
            if not task.cancelled():
                task.result()
        return self.waiting == 0

    async def _run(self) -> None:
        try:
            await self._deliver()
        except SinkGone as error:
            self.gone = str(error)
            self.ready.clear()
            log = _log.error if isinstance(error, _SinkLags) else _log.warning
            log(f"{self._name} gone, no more is written to it", reason=self.gone, unwritten=self.waiting)
            with contextlib.suppress(SpoolError):  # what others have is forgotten later, then
                await self._cursor.close()
        finally:
            await self._drop_ahead()

    async def _deliver(self) -> None:
        pause = self._settings.database_retry_initial
        while not (self._stopping.is_set() and self.waiting == 0):
            try:
                if not self.ready.is_set():
                    await self._make_ready()
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
                if self._is_worth_logging():
                    _log.exception("delivery failed")
                self._note_unavailable(f"{type(error).__name__}: {error}")
            await self._drop_ahead()
            await self._pause(pause)
            pause = min(pause * 2, self._settings.database_retry_max)

    async def _make_ready(self) -> None:
        """Prepare the sink. What takes long is logged but not cancelled: a migration of much data may rightly do so."""
        limit = self._settings.sink_write_timeout
        loop = asyncio.get_running_loop()
        overdue = loop.call_later(limit, self._note_unavailable, f"not ready after {limit:g} s")
        try:
            await self._prepare()
        finally:
            overdue.cancel()
        self.ready.set()

    async def _deliver_batch(self) -> bool:
        """Deliver the next batch; False when there is nothing to deliver."""
        batch = await self._next_batch()
        if not batch:
            return False
        events = [spooled.event for spooled in batch]
        self._refuse_to_wait_for_ever(events)
        self._read_ahead(batch)
        began = time.monotonic()
        delivery = await self._write(events)
        await self._cursor.forget(batch[-1].ordinal)
        self._note_delivery(delivery, time.monotonic() - began)
        return True

    async def _write(self, events: Sequence[SealedEvent]) -> Delivery:
        """Have the sink write `events` within the deadline.

        :raises SinkUnavailable: it did not; the same events may be there all the same.
        """
        limit = self._settings.sink_write_timeout
        try:
            async with asyncio.timeout(limit) as deadline:
                return await self._sink.write(events)
        except TimeoutError as error:
            if not deadline.expired():
                raise
            raise SinkUnavailable(f"no answer within {limit:g} s") from error

    def _refuse_to_wait_for_ever(self, events: Sequence[SealedEvent]) -> None:
        """Give up on a sink that may be given up and holds up too much, judged by the `events` that are its next.

        :raises SinkGone: it does.
        """
        has_only_these = len(events) >= self.waiting
        if not self._may_be_given_up or (has_only_these and self.unavailable is None):
            return
        held_up = len(_encoder.encode(events)) * self.waiting // len(events)
        limit = int(self._settings.spool_max_bytes * self._settings.sink_lag_share)
        if held_up > limit:
            raise _SinkLags(
                f"it holds up {held_up / 2**20:,.1f} MiB of the spool, more than the {limit / 2**20:,.1f} that "
                "MEETA_SINK_LAG_SHARE allows; `meeta-bot export` gives what it lacks"
            )

    async def _next_batch(self) -> list[Spooled]:
        ahead, self._ahead = self._ahead, None
        if ahead is not None and (batch := await ahead):
            return batch
        return await self._cursor.read(self._limit(self.waiting))  # also moves the cursor over what is damaged

    def _limit(self, waiting: int) -> int:
        """Return the bound of the next batch, in events, while `waiting` wait."""
        has_backlog = waiting > self._settings.writer_bulk_backlog
        return self._settings.writer_bulk_events if has_backlog else self._settings.writer_batch_events

    def _read_ahead(self, batch: list[Spooled]) -> None:
        """Begin to read what follows `batch` if that fills a batch; less is better left to grow in the meantime."""
        left = self.waiting - len(batch)
        limit = self._limit(left)
        if left >= limit:
            self._ahead = asyncio.create_task(self._cursor.read(limit, after=batch[-1].ordinal), name="read ahead")

    async def _drop_ahead(self) -> None:
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            await asyncio.gather(ahead, return_exceptions=True)  # whatever it was: the same is read again

    async def _wait_for_events(self) -> None:
        await self._cursor.appended.wait()
        self._cursor.appended.clear()
        await asyncio.sleep(self._settings.writer_linger)

    async def _pause(self, seconds: float) -> None:
        """Wait before the next try; the way out tries at its own pace within its own deadline."""
        if self._stopping.is_set():
            await asyncio.sleep(self._settings.database_retry_initial if self._hurries else seconds)
            return
        with contextlib.suppress(TimeoutError):  # wait_for would swallow a cancellation that comes with the end
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    def _note_unavailable(self, reason: str, hint: str | None = None) -> None:
        self.ready.clear()
        now = time.monotonic()
        if self.unavailable is None:
            self._unavailable_since = self._last_logged = now
            _log.warning(f"{self._name} unavailable, recording into the spool", reason=reason, hint=hint)
        elif self._is_worth_logging():
            self._last_logged = now
            minutes = round((now - self._unavailable_since) / 60)
            _log.warning(
                f"{self._name} still unavailable", reason=reason, hint=hint, waiting=self.waiting, minutes=minutes
            )
        self.unavailable = reason

    def _is_worth_logging(self) -> bool:
        """Tell whether trouble is new, or was not logged for long."""
        silence = time.monotonic() - self._last_logged
        return self.unavailable is None or silence >= self._settings.outage_reminder_interval

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
