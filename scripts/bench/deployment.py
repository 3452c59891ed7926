"""A stand-in for a Jitsi deployment, and a recorder that is watched while it records it. Test equipment.

Only Jitsi is missing: rooms are pages on loopback whose ``lib-jitsi-meet.min.js`` is ``library.js`` beside this file,
which joins at once and emits events as it is told. From the hook's listeners on, everything is the real thing:
Chromium, hook, binding, bridge, normalizer, spool with its fsync, writer, and a throwaway PostgreSQL with its own.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from meeta_bot import logs, room_address, settings
from meeta_bot.capture.request import request_for
from meeta_bot.delivery.postgres import PostgresSink
from meeta_bot.delivery.sink import Delivery, Sink
from meeta_bot.events import SealedEvent
from meeta_bot.worker import Worker
from tests.stack.postgres import Server

LIBRARY = Path(__file__).parent / "library.js"
PAGE = """<!DOCTYPE html><html><head><title>Jitsi Meet</title><script src="/config.js"></script>
<script src="/libs/lib-jitsi-meet.min.js"></script></head><body></body></html>"""
CONFIG = "var config = { hosts: { domain: 'bench.example' }, bosh: '/http-bind' };"

POSTGRESQL = "18"
# Durable as an operator's server is; the tests' default is not.
DURABLE = {"fsync": "on", "full_page_writes": "on", "autovacuum": "on", "shared_buffers": "128MB"}
READY_TIMEOUT = 60.0  # seconds: all rooms have been joined
SETTLE = 1.0  # seconds: what a join leaves behind has been stored
LOAD_TIMEOUT = 180.0  # seconds: a load has been played and stored


@dataclass(frozen=True)
class Load:
    """The load of a room: `together` events in one task, a task every `every_ms`, 0: as fast as it can."""

    events: int
    together: int = 1
    every_ms: float = 0
    offset_ms: float = 0


@dataclass
class _Room:
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    control: web.WebSocketResponse | None = None
    played: asyncio.Queue[str] = field(default_factory=asyncio.Queue)


class Deployment:
    """The web server. :meth:`play` has a room emit a load."""

    def __init__(self) -> None:
        self._rooms: defaultdict[str, _Room] = defaultdict(_Room)
        self._runner: web.AppRunner | None = None
        self._origin = ""

    async def start(self) -> None:
        """Listen on loopback, on a port of the system's choice."""
        application = web.Application()
        application.router.add_get("/config.js", _script(CONFIG))
        application.router.add_get("/libs/lib-jitsi-meet.min.js", _script(LIBRARY.read_text(encoding="utf-8")))
        application.router.add_get("/control", self._control)
        application.router.add_get("/{room}", _page)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, shutdown_timeout=0.1)
        await site.start()
        self._origin = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def close(self) -> None:
        """Stop."""
        if self._runner is not None:
            await self._runner.cleanup()

    def address(self, room: str) -> room_address.RoomAddress:
        return room_address.parse(f"{self._origin}/{room}")

    async def arrived(self, room: str) -> None:
        """Wait until somebody has joined."""
        await self._rooms[room].arrived.wait()

    async def play(self, room: str, load: Load) -> str:
        """Have `room` emit a load; returns when it has: a JSON array of wall clock times in ms, one an event."""
        control = self._rooms[room].control
        assert control is not None, "nobody has joined"
        await control.send_json(vars(load))
        return await self._rooms[room].played.get()

    async def _control(self, request: web.Request) -> web.WebSocketResponse:
        room = self._rooms[request.query["room"]]
        room.control = web.WebSocketResponse(max_msg_size=0)
        await room.control.prepare(request)
        room.arrived.set()
        async for message in room.control:
            room.played.put_nowait(message.data)
        return room.control


def _script(text: str) -> Any:
    async def serve(_: web.Request) -> web.Response:
        return web.Response(text=text, content_type="application/javascript")

    return serve


async def _page(_: web.Request) -> web.Response:
    return web.Response(text=PAGE, content_type="text/html")


# --- a recorder that is watched ---------------------------------------------------------------------------------------


class Probe:
    """The moments at which events were on disk and were committed.

    Keeps numbers only, of which the collector knows nothing: thousands of events kept alive would lengthen its pauses.
    """

    def __init__(self) -> None:
        self.capture_of: dict[str, str] = {}  # room → capture
        # By capture: the last number, and the wall clock in s when everything up to it was there.
        self._on_disk: defaultdict[str, list[tuple[int, float]]] = defaultdict(list)
        self._committed: defaultdict[str, list[tuple[int, float]]] = defaultdict(list)
        self._news = asyncio.Event()

    def watch_spool(self, worker: Worker) -> None:
        """Note when appends to the worker's spool return: that is when the page is acknowledged."""
        append = worker.spool.append

        async def noted(capture_id: str, what: Any) -> Any:
            position = await append(capture_id, what)
            self._on_disk[capture_id].append((position.last_seq, time.time()))
            self.capture_of[what.state.room] = capture_id
            return position

        worker.spool.append = noted  # type: ignore[method-assign, assignment]

    def watch_sink(self, sink: Sink) -> Sink:
        """A sink that notes when `write` of `sink` returns: that is when other connections see the rows."""
        return _WatchedSink(sink, self)

    def note_write(self, batch: Sequence[SealedEvent]) -> None:
        """`batch` has been committed."""
        now = time.time()
        for capture_id, seq in {event.capture_id: event.seq for event in batch}.items():
            self._committed[capture_id].append((seq, now))
        self._news.set()

    def last_seq(self, room: str) -> int:
        """The last number that is on disk."""
        return self._on_disk[self.capture_of[room]][-1][0]

    async def stored(self, room: str, seq: int) -> None:
        """Wait until everything up to `seq` has been committed."""
        committed = self._committed[self.capture_of[room]]
        while not committed or committed[-1][0] < seq:
            self._news.clear()
            await self._news.wait()

    def on_disk(self, room: str, first: int, count: int) -> list[float]:
        """Return the moment when each of `count` events from `first` on was durable; wall clock in s."""
        return _times(self._on_disk[self.capture_of[room]], first, count)

    def committed(self, room: str, first: int, count: int) -> list[float]:
        """Return the moment when each of `count` events from `first` on was committed; wall clock in s."""
        return _times(self._committed[self.capture_of[room]], first, count)


def _times(reached: Sequence[tuple[int, float]], first: int, count: int) -> list[float]:
    return [reached[bisect_left(reached, (seq, 0.0))][1] for seq in range(first, first + count)]


class _WatchedSink:
    def __init__(self, sink: Sink, probe: Probe) -> None:
        self._sink = sink
        self._probe = probe

    async def open(self) -> None:
        await self._sink.open()

    async def write(self, batch: Sequence[SealedEvent]) -> Delivery:
        delivery = await self._sink.write(batch)
        self._probe.note_write(batch)
        return delivery

    async def close(self) -> None:
        await self._sink.close()


@dataclass(frozen=True)
class Played:
    """A load that was played and stored. Times are wall clock in s, one an event, in the order of emission."""

    room: str
    first_seq: int
    emitted: list[float]
    on_disk: list[float]
    committed: list[float]
    cpu: float  # seconds of CPU of this process, all threads, from the order to the last commit

    @property
    def to_disk_ms(self) -> list[float]:
        return [(after - before) * 1000 for before, after in zip(self.emitted, self.on_disk, strict=True)]

    @property
    def to_commit_ms(self) -> list[float]:
        return [(after - before) * 1000 for before, after in zip(self.emitted, self.committed, strict=True)]


class WatchedRecorder:
    """A worker with captures in rooms of a :class:`Deployment`. Made by :func:`recording`."""

    def __init__(self, deployment: Deployment, probe: Probe, rooms: Sequence[str], database_url: str) -> None:
        self.probe = probe
        self.rooms = rooms
        self.database_url = database_url
        self._deployment = deployment

    async def play(self, *loads: Load) -> list[Played]:
        """One load for each room, at once; returns when every event has been committed."""
        async with asyncio.timeout(LOAD_TIMEOUT):
            firsts = [self.probe.last_seq(room) + 1 for room in self.rooms]
            cpu = time.process_time()
            pairs = zip(self.rooms, loads, strict=True)
            answers = await asyncio.gather(*(self._deployment.play(room, load) for room, load in pairs))
            for room, first, load in zip(self.rooms, firsts, loads, strict=True):
                await self.probe.stored(room, first + load.events - 1)
            cpu = time.process_time() - cpu
        return [
            self._played(room, first, answer, cpu)
            for room, first, answer in zip(self.rooms, firsts, answers, strict=True)
        ]

    def _played(self, room: str, first: int, answer: str, cpu: float) -> Played:
        emitted = [at / 1000 for at in json.loads(answer)]
        count = len(emitted)
        on_disk, committed = self.probe.on_disk(room, first, count), self.probe.committed(room, first, count)
        return Played(room, first, emitted, on_disk, committed, cpu)


@asynccontextmanager
async def postgresql() -> AsyncIterator[Server]:
    """A throwaway PostgreSQL that keeps what it has committed."""
    server = Server(POSTGRESQL)
    try:
        server.start(**DURABLE)
        yield server
    finally:
        server.destroy()


@asynccontextmanager
async def recording(server: Server, rooms: int, **changes: Any) -> AsyncIterator[WatchedRecorder]:
    """A worker that sits in so many rooms; with the defaults of the settings except for `changes`."""
    logs.configure(level="warning")
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    deployment, probe = Deployment(), Probe()
    try:
        await deployment.start()
        url = await server.migrated_database()
        # One event of a load shall be one event of the log, and no others shall come: no sampling, no heartbeats.
        quiet = {"data_directory": folder, "statistics_interval": 0.0001, "heartbeat_interval": 3600}
        chosen = settings.load({**quiet, **changes})
        worker = Worker(chosen, lambda: probe.watch_sink(PostgresSink(url, chosen)), _nothing)
        probe.watch_spool(worker)
        names = [f"room{number}" for number in range(1, rooms + 1)]
        running = asyncio.create_task(worker.run([request_for(deployment.address(name), chosen) for name in names]))
        try:
            async with asyncio.timeout(READY_TIMEOUT):
                for name in names:
                    await _before_it_ends(deployment.arrived(name), running)
            await asyncio.sleep(SETTLE)
            yield WatchedRecorder(deployment, probe, names, url)
        finally:
            worker.stop()
            await running
    finally:
        await deployment.close()
        shutil.rmtree(folder, ignore_errors=True)


async def _nothing() -> None:
    """The database is migrated already."""


async def _before_it_ends(wanted: Any, running: asyncio.Task[Any]) -> None:
    waiting = asyncio.ensure_future(wanted)
    await asyncio.wait({waiting, running}, return_when=asyncio.FIRST_COMPLETED)
    if not waiting.done():
        waiting.cancel()
        raise RuntimeError(f"the recorder ended before it was in the room: {running.result()}")
