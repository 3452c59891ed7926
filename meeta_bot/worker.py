"""A recording process: one Chromium, one spool, its writers, many captures that come and go.

Order of the start: spool first (nothing is promised without it), then what killed processes left in it, then the
browser and the captures; the database may come whenever it comes. Order of the stop: captures leave, the writers
deliver, spool and browser close.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from pathlib import Path

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
from meeta_bot.delivery import outlets, owed
from meeta_bot.delivery.outlets import LeftSpool
from meeta_bot.delivery.registry import Destination, Sinks, can_be_owed
from meeta_bot.delivery.sink import Sink
from meeta_bot.delivery.writer import Prepare
from meeta_bot.errors import SpoolError
from meeta_bot.events import EndReason
from meeta_bot.logs import get_logger
from meeta_bot.settings import Settings

_log = get_logger("worker")

MakeSink = Callable[[], Sink]


class Worker:
    """A process's captures, from the first room to the last. ``prepare`` is the database writer's."""

    def __init__(
        self,
        settings: Settings,
        make_sink: MakeSink,
        prepare: Prepare,
        *,
        also: Sequence[Destination] = (),
        sinks: Sinks | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Take a spool.

        :param make_sink: a sink for the database; every spool that is delivered gets one of its own.
        :param also: further destinations; they get what the database gets.
        :param sinks: of this process, for those destinations and for those that left spools were promised to.
        :raises SpoolError: there is none to be had.
        :raises UsageError: there can't be a sink for one of the destinations.
        """
        self._settings = settings
        self._make_sink = make_sink
        self._sink = make_sink()
        self._clock = clock or SystemClock()
        self._asked_to_stop = asyncio.Event()
        self._is_closed = False
        self._also = tuple(also)
        self._sinks = sinks or Sinks(settings)
        others = {where: self._sinks.get(where) for where in also}
        self.spool, self._set_aside = _take_spool(settings, self._also)
        self._outlets = outlets.of_recorder(self.spool, self._sink, others, settings, prepare)
        self.writer = self._outlets.database
        self._left: list[asyncio.Task[int]] = []  # spools of others that are being delivered
        self.chromium = Chromium(settings)
        self.seats = Seats(self.chromium, self._clock, settings)
        self.recorders: list[Recorder] = []  # in the order in which they began, those that have ended too
        self._rooms: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._is_up = asyncio.Event()  # there is a browser
        self._news = asyncio.Event()  # a room came or ended, or nothing more is to come
        self._pace = JoinPace(settings)
        self._watch = StandstillWatch(self._clock, settings, self._stood_still, self._clock_jumped)

    async def run(self, requests: Iterable[CaptureRequest] = (), *, stay: bool = False) -> list[End]:
        """Serve every request, and those added meanwhile, until all captures have ended.

        :param stay: go on without a room, so that more can be added, until `stop`.
        :returns: the ends, in the order in which the captures began.
        :raises BrowserError: Chromium can't be started.
        """
        await self._end_what_was_cut(self.spool)
        self._outlets.start()
        adoption = asyncio.create_task(self._adopt(), name="adoption")
        watches = [asyncio.create_task(self._watch.run()), asyncio.create_task(self.seats.watch())]
        try:
            if await self._start_browser():
                gc.freeze()  # what was imported and started stays: no need to look through it again and again
                self._is_up.set()
            for request in requests:
                self.add(request)
            await self._all_over(stay=stay)
            return [recorder.end for recorder in self.recorders if recorder.end is not None]
        finally:
            await self._give_up_rooms()
            for watch in watches:
                watch.cancel()
            await asyncio.gather(*watches, return_exceptions=True)
            await self.seats.close()
            await self.chromium.stop()
            await self._stop_delivery(adoption)

    async def _start_browser(self) -> bool:
        """Start Chromium; False when the word to stop came meanwhile: then it is given up, whatever it does.

        :raises BrowserError: it can't be started.
        """
        if self._asked_to_stop.is_set():
            return False
        starting = asyncio.create_task(self.chromium.start())
        asked = asyncio.create_task(self._asked_to_stop.wait())
        try:
            await asyncio.wait((starting, asked), return_when=asyncio.FIRST_COMPLETED)
            if self._asked_to_stop.is_set():
                return False
            starting.result()
            return True
        finally:
            for task in (starting, asked):
                task.cancel()
            await asyncio.gather(starting, asked, return_exceptions=True)

    def add(self, request: CaptureRequest) -> None:
        """Record one more room, once there is a browser and its turn to join has come.

        A room that is being recorded stays as it is.
        """
        if self._asked_to_stop.is_set() or request.key in self._rooms:
            return
        if len(self._rooms) >= self._settings.rooms_limit:
            _log.error("room not recorded: this process has as many as MEETA_ROOMS_LIMIT", room=request.address.url)
            return
        recording = asyncio.create_task(self._record(request), name=f"record {request.address.url}")
        recording.add_done_callback(lambda _: self._news.set())
        self._rooms[request.key] = recording
        self._news.set()

    def remove(self, request: CaptureRequest) -> None:
        """Have the bot leave a room because the operator wants so."""
        self._leave({request.key})

    def stop(self) -> None:
        """Have every capture leave for the operator, and begin nothing more. Safe at any time, and again."""
        self._asked_to_stop.set()
        self.chromium.start_no_more()
        self._news.set()
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
        """Return how many rooms' turn to join has not come."""
        return len(self._rooms) - sum(recorder.phase is not Phase.ENDED for recorder in self.recorders)

    async def _all_over(self, *, stay: bool) -> None:
        """Wait until no room is left and none is to come; rooms may be added meanwhile."""
        while self._rooms or (stay and not self._asked_to_stop.is_set()):
            await self._news.wait()
            self._news.clear()
            for key, task in list(self._rooms.items()):
                if task.done():
                    del self._rooms[key]
                    if not task.cancelled():
                        task.result()

    async def _give_up_rooms(self) -> None:
        """Cancel what is left of rooms after an error; else there is none."""
        for task in self._rooms.values():
            task.cancel()
        await asyncio.gather(*self._rooms.values(), return_exceptions=True)

    async def _record(self, request: CaptureRequest) -> None:
        await self._is_up.wait()
        async with self._pace.turn():
            recorder = Recorder(request, self.seats, self.spool, self._settings, self._clock)
            self.recorders.append(recorder)
            recording = asyncio.create_task(recorder.run(), name=f"capture {recorder.capture_id}")
            settled = asyncio.create_task(recorder.settled.wait())
            await asyncio.wait([recording, settled], return_when=asyncio.FIRST_COMPLETED)
            settled.cancel()
        await recording

    @property
    def remaining(self) -> int:
        """Return how many events are in the spool and not stored yet."""
        return self.spool.waiting

    @property
    def unavailable(self) -> str | None:
        """Return why a sink takes nothing at the moment; None when all do."""
        return self._outlets.unavailable

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
        """Once the database takes events, deliver the spools of processes that died as well.

        One after the other to the database; what another sink does not take yet waits beside that.
        """
        await self.writer.ready.wait()
        seen: set[Path] = set()
        for spool in itertools.chain(self._set_asides(), spools.adopt(spool_root(self._settings), self._settings)):
            if spool.directory in seen:  # it was set aside, and what is left in it stays there
                await spool.close()
                continue
            seen.add(spool.directory)
            await self._deliver_left(spool)
        for outcome in await asyncio.gather(*self._left, return_exceptions=True):
            if isinstance(outcome, Exception):
                _log.error("spool not delivered", problem=str(outcome))

    async def _deliver_left(self, spool: Spool) -> None:
        """Begin to deliver a spool, and wait until the database has all of it."""
        try:
            await self._end_what_was_cut(spool)
        except BaseException as error:
            await spool.close()
            if not isinstance(error, SpoolError):
                raise
            _log.error("spool not adopted", spool=str(spool.directory), problem=str(error))
            return
        left = LeftSpool(spool, self._make_sink(), self._sinks, self._settings, also=self._also)
        self._left.append(asyncio.create_task(left.deliver_and_close(within=None), name="left spool"))
        await left.stored.wait()

    def _set_asides(self) -> Iterator[Spool]:
        while self._set_aside:
            yield self._set_aside.pop(0)

    async def _stop_delivery(self, adoption: asyncio.Task[None]) -> None:
        await self._outlets.stop(self._settings.flush_timeout)
        if self.writer.ready.is_set():
            await asyncio.wait([adoption], timeout=self._settings.flush_timeout)
        for task in (adoption, *self._left):
            task.cancel()
        await asyncio.gather(adoption, *self._left, return_exceptions=True)
        await self.close()

    async def close(self) -> None:
        """Let go of spools and sinks; `run` does so at its end. Safe to call twice."""
        if self._is_closed:
            return
        self._is_closed = True
        await self._sink.close()
        await self._sinks.close()
        await outlets.forget_kept_promises(self.spool)
        for spool in (self.spool, *self._set_asides()):
            await spool.close()


def _take_spool(settings: Settings, destinations: Sequence[Destination]) -> tuple[Spool, list[Spool]]:
    """Take a spool for events that go to these `destinations`, and to no others.

    :returns: the spool, and those that were free but owe their events to others: they are left to be delivered.
    :raises SpoolError: there is none to be had.
    """
    wanted = {where for where in destinations if can_be_owed(where)}
    set_aside: list[Spool] = []
    while True:
        spool = spools.acquire(spool_root(settings), settings)
        promised = owed.read(spool.directory)
        if not promised.problems and promised.destinations <= wanted:
            break
        set_aside.append(spool)
    try:
        owed.note(spool.directory, wanted)
    except SpoolError as error:  # rooms are recorded all the same; the sinks get everything unless we are killed
        _log.error("a recorder that is killed will leave nothing for other sinks", problem=str(error), hint=error.hint)
    return spool, set_aside
