"""A recording process: one Chromium, one spool, one writer, many captures that come and go.

Order of the start: spool first (nothing is promised without it), then what killed processes left in it, then the
browser and the captures; the database may come whenever it comes. Order of the stop: captures leave, the writer
delivers, spool and browser close.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterable, Mapping, Set

from meeta_bot.capture import spool as spools
from meeta_bot.capture.browser.chromium import Chromium
from meeta_bot.capture.browser.seats import Seats
from meeta_bot.capture.log import end_cut_captures
from meeta_bot.capture.pace import JoinPace
from meeta_bot.capture.phases import Phase
from meeta_bot.capture.recorder import End, Recorder
from meeta_bot.capture.request import CaptureRequest
from meeta_bot.capture.spool import Spool
from meeta_bot.capture.spool.directory import spool_root
from meeta_bot.capture.standstill import Stall, StandstillWatch
from meeta_bot.clock import Clock, SystemClock
from meeta_bot.delivery.sink import Sink
from meeta_bot.delivery.writer import Prepare, Writer
from meeta_bot.events import EndReason
from meeta_bot.logs import get_logger
from meeta_bot.settings import Settings

_log = get_logger("worker")

MakeSink = Callable[[], Sink]


class Worker:
    """Runs captures until all have ended. ``prepare`` is the writer's."""

    def __init__(
        self,
        settings: Settings,
        make_sink: MakeSink,
        prepare: Prepare,
        *,
        also: Mapping[str, Sink] | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Take a spool.

        :param make_sink: a sink for the database; every spool that is delivered gets one of its own.
        :param also: further sinks by the name that the log calls them; they get what the database gets.
        :raises SpoolError: there is none to be had.
        """
        self._settings = settings
        self._make_sink = make_sink
        self._sink = make_sink()
        self._clock = clock or SystemClock()
        self._stopping = False
        self.spool = spools.acquire(spool_root(settings), settings)
        self._also = dict(also or {})
        self.writer = Writer(self.spool, self._sink, settings, prepare)
        self._writers = [self.writer, *_writers(self.spool, self._also, settings)]
        self.chromium = Chromium(settings)
        self.pages = Seats(self.chromium, self._clock, settings)
        self.recorders: list[Recorder] = []  # in the order in which they began, those that have ended too
        self._rooms: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._pace = JoinPace(settings)
        self._watch = StandstillWatch(self._clock, settings, self._stood_still, self._clock_jumped)

    async def run(self, requests: Iterable[CaptureRequest]) -> list[End]:
        """Serve every request, and those added meanwhile, until all captures have ended.

        :returns: the ends, in the order in which the captures began.
        :raises BrowserError: Chromium can't be started.
        """
        await self._end_what_was_cut(self.spool)
        for writer in self._writers:
            writer.start()
        adoption = asyncio.create_task(self._adopt(), name="adoption")
        watches = [asyncio.create_task(self._watch.run()), asyncio.create_task(self.pages.watch())]
        try:
            await self.chromium.start()
            gc.freeze()  # what was imported and started stays: no need to look through it again and again
            for request in requests:
                self.add(request)
            await self._all_over()
            return [recorder.end for recorder in self.recorders if recorder.end is not None]
        finally:
            for watch in watches:
                watch.cancel()
            await asyncio.gather(*watches, return_exceptions=True)
            await self.pages.close()
            await self.chromium.stop()
            await self._stop_delivery(adoption)

    def add(self, request: CaptureRequest) -> None:
        """Record one more room, when its turn to join has come. A room that is being recorded stays as it is."""
        if self._stopping or request.key in self._rooms:
            return
        if len(self._rooms) >= self._settings.rooms_limit:
            _log.error("room not recorded: this process has as many as MEETA_ROOMS_LIMIT", room=request.address.url)
            return
        recording = self._record(request)
        self._rooms[request.key] = asyncio.create_task(recording, name=f"record {request.address.url}")

    def remove(self, request: CaptureRequest) -> None:
        """Have the bot leave a room because the operator wants so."""
        self._leave({request.key})

    def stop(self) -> None:
        """Have every capture leave because the operator wants so. Safe at any time, and again."""
        self._stopping = True
        self._leave(set(self._rooms))

    def _leave(self, keys: Set[tuple[str, str]]) -> None:
        """End the captures of these rooms; those whose turn to join has not come have none and are forgotten."""
        captures = {recorder.request.key: recorder for recorder in self.recorders if recorder.phase is not Phase.ENDED}
        for key in keys & self._rooms.keys():
            if key in captures:
                captures[key].stop(EndReason.OPERATOR)
            else:
                self._rooms[key].cancel()

    @property
    def waiting_to_join(self) -> int:
        """Rooms whose turn to join has not come."""
        return len(self._rooms) - sum(recorder.phase is not Phase.ENDED for recorder in self.recorders)

    async def _all_over(self) -> None:
        """Until no room is left; rooms may be added meanwhile."""
        try:
            while self._rooms:
                await asyncio.wait(self._rooms.values(), return_when=asyncio.FIRST_COMPLETED)
                for key, task in list(self._rooms.items()):
                    if task.done():
                        del self._rooms[key]
                        if not task.cancelled():
                            task.result()
        finally:
            for task in self._rooms.values():
                task.cancel()
            await asyncio.gather(*self._rooms.values(), return_exceptions=True)

    async def _record(self, request: CaptureRequest) -> None:
        async with self._pace.turn():
            recorder = Recorder(request, self.pages, self.spool, self._settings, self._clock)
            self.recorders.append(recorder)
            recording = asyncio.create_task(recorder.run(), name=f"capture {recorder.capture_id}")
            settled = asyncio.create_task(recorder.settled.wait())
            await asyncio.wait([recording, settled], return_when=asyncio.FIRST_COMPLETED)
            settled.cancel()
        await recording

    @property
    def remaining(self) -> int:
        """Events that are in the spool and not stored yet."""
        return self.spool.waiting

    @property
    def unavailable(self) -> str | None:
        """Why a sink takes nothing at the moment; None when all do."""
        return next((writer.unavailable for writer in self._writers if writer.unavailable), None)

    def _stood_still(self, stall: Stall) -> None:
        _log.warning("the process stood still", milliseconds=stall.ms, suspended_milliseconds=stall.suspended_ms)
        for recorder in self._running():
            recorder.stood_still(stall)

    def _clock_jumped(self, jump_ms: int) -> None:
        _log.warning("the wall clock was set", milliseconds=jump_ms)
        for recorder in self._running():
            recorder.clock_jumped(jump_ms)

    def _running(self) -> list[Recorder]:
        return [recorder for recorder in self.recorders if recorder.phase not in (Phase.LEAVING, Phase.ENDED)]

    async def _end_what_was_cut(self, spool: Spool) -> None:
        cut = await end_cut_captures(spool, self._clock)
        if cut or spool.waiting:
            _log.info("adopted what an earlier recorder left", captures=cut, events=spool.waiting)

    async def _adopt(self) -> None:
        """Once the sink takes events, deliver the spools of processes that died as well."""
        await self.writer.ready.wait()
        for spool in spools.adopt(spool_root(self._settings), self._settings):
            await self._end_what_was_cut(spool)
            await deliver_and_close(spool, self._make_sink(), self._settings, also=self._also, within=None)

    async def _stop_delivery(self, adoption: asyncio.Task[None]) -> None:
        await _stop(self._writers, self._settings.flush_timeout)
        if self.writer.ready.is_set():
            await asyncio.wait([adoption], timeout=self._settings.flush_timeout)
        adoption.cancel()
        await asyncio.gather(adoption, return_exceptions=True)
        for sink in (self._sink, *self._also.values()):
            await sink.close()
        await self.spool.close()


def _writers(spool: Spool, sinks: Mapping[str, Sink], settings: Settings) -> list[Writer]:
    """Sinks beside the database: one that hangs must not fill the spool for it."""
    return [Writer(spool, sink, settings, name=name, may_be_given_up=True) for name, sink in sinks.items()]


async def _stop(writers: Iterable[Writer], within: float | None) -> None:
    """Within so many seconds, for all together."""
    await asyncio.gather(*(writer.stop(within) for writer in writers))


async def deliver_and_close(
    spool: Spool,
    sink: Sink,
    settings: Settings,
    *,
    also: Mapping[str, Sink] | None = None,
    within: float | None,
) -> int:
    """Deliver a spool that nobody appends to, and close spool and sink.

    :param also: further sinks by name; they stay open.
    :param within: seconds that it may take; None: as long as it takes.
    :returns: how many events remain in it.
    """
    writers = [Writer(spool, sink, settings), *_writers(spool, also or {}, settings)]
    for writer in writers:
        writer.start()
    try:
        await _stop(writers, within)
        return spool.waiting
    finally:
        await sink.close()
        await spool.close()
