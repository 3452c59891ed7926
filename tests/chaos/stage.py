"""The stage of level "stack": a local Jitsi, a proxy before it, a database, people who talk, and a real recorder."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlsplit

import asyncpg

from meeta_bot import settings as bot_settings
from meeta_bot import verify
from meeta_bot.events import GapCause, Lost
from tests.chaos.postgres import Killable
from tests.chaos.talk import Talkers
from tests.chaos.witness import Blind, Heard
from tests.e2e.recorder_process import RecorderProcess, recording, run
from tests.stack.client import Stack
from tests.stack.participant import ParticipantBrowser
from tests.stack.process_tree import Process, descendants
from tests.stack.proxy import Proxy

ROOM = "chaos"
NAMES = ["Ada", "Grace", "Radia"]
IN_ROOM_TIMEOUT = 60.0  # seconds
BACK_TIMEOUT = 120.0  # seconds after a fault until the recorder has something new in the database
ORPHANS_TIMEOUT = 10.0  # seconds in which Chromium is gone after its recorder was killed
LOOK_PAUSE = 0.05  # seconds between looks at what another process does
# Patience is short, so that a run has many faults; crashes are forgiven, since here they are the rule.
SETTINGS = {"MEETA_CRASHES_LIMIT": "1000", "MEETA_DATABASE_RETRY_MAX": "0.5", "MEETA_LEFT_ALONE_GRACE": "600"}
_TEXTS = (
    "SELECT payload->>'text' AS text, (payload->>'history')::boolean AS history FROM meeta.events"
    " WHERE type = 'chat.message' ORDER BY capture_id, seq"
)
_GAPS = "SELECT payload FROM meeta.events WHERE type = 'capture.gap'"
_NEWEST = (
    "SELECT count(*) FROM meeta.events WHERE type = 'chat.message' AND occurred_at > to_timestamp($1 / 1000.0)"
    " AND NOT coalesce((payload->>'history')::boolean, false)"
)
_ENDS = (
    "SELECT DISTINCT ON (capture_id) capture_id::text, type, payload->>'reason' AS reason FROM meeta.events"
    " ORDER BY capture_id, seq DESC"
)


class Stage:
    """Everything that faults can hit. `violations` are what may not be, one line each."""

    def __init__(self, stack: Stack, proxy: Proxy, server: Killable, url: str, data: Path, talkers: Talkers) -> None:
        self.stack = stack
        self.proxy = proxy
        self.server = server
        self.url = url
        self.talkers = talkers
        self.violations: list[str] = []
        self.stood_still: list[tuple[int, int]] = []  # when the recorder was stopped for long (wall clock, ms)
        self._data = data
        self._recording = AsyncExitStack()
        self.recorder: RecorderProcess | None = None

    @property
    def pid(self) -> int:
        """The recorder's."""
        assert self.recorder is not None
        return self.recorder.pid

    async def start_recorder(self) -> None:
        """``meeta-bot record``; it may take a while until it is in the room."""
        room = f"http://127.0.0.1:{self.proxy.port}/{ROOM}"
        arguments = (room, "--database-url", self.url, "--json")
        self.recorder = await self._recording.enter_async_context(
            recording(*arguments, MEETA_DATA_DIRECTORY=str(self._data), **SETTINGS)
        )

    async def kill_recorder(self) -> None:
        """SIGKILL it, see that Chromium follows, and start it again."""
        assert self.recorder is not None
        family = [pid for pid, _ in descendants(self.pid)]
        self.recorder.send(signal.SIGKILL)
        await self.recorder.ended()
        await self.start_recorder()
        orphans = await _not_gone(family)
        if orphans:
            self.violations.append(f"{ORPHANS_TIMEOUT:g} s after its recorder was killed there is still {orphans}")

    async def back(self) -> float:
        """Until the recorder has stored something that was said after this moment; how many seconds that took."""
        began = time.monotonic()
        since = time.time() * 1000
        while time.monotonic() - began < BACK_TIMEOUT:
            await self._see_that_it_records()
            with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                if await self._count_since(since):
                    return time.monotonic() - began
            await asyncio.sleep(LOOK_PAUSE)
        self.violations.append(f"not back in the room after {BACK_TIMEOUT:g} s: {self._last_words()}")
        await self.kill_recorder()
        return time.monotonic() - began

    async def _see_that_it_records(self) -> None:
        """A recorder that gave up is found, and started again."""
        assert self.recorder is not None
        if Process(self.pid).is_alive():
            return
        self.violations.append(f"the recorder ended by itself: {self._last_words()}")
        await self.recorder.ended()
        await self.start_recorder()

    def _last_words(self) -> str:
        assert self.recorder is not None
        return f"{self.recorder.log[-3:]} {self.recorder.talk[-10:]}"[-1500:]

    async def _count_since(self, since: float) -> int:
        connection = await asyncpg.connect(self.url)
        try:
            return int(await connection.fetchval(_NEWEST, since))
        finally:
            await connection.close()

    async def finish(self) -> None:
        """The recorder leaves in order; what is left in spools is delivered."""
        assert self.recorder is not None
        self.recorder.send(signal.SIGTERM)
        await self.recorder.ended()
        await self._recording.aclose()
        code, out, err = await run(
            "spool", "flush", "--json", "--database-url", self.url, MEETA_DATA_DIRECTORY=str(self._data)
        )
        if code != 0:
            self.violations.append(f"spool flush: exit {code}, {out} {err}")

    async def heard(self) -> Heard:
        """What the log has; complains of captures without an end and of those that are refuted."""
        connection = await asyncpg.connect(self.url)
        try:
            texts = await connection.fetch(_TEXTS)
            gaps = [json.loads(row["payload"]) for row in await connection.fetch(_GAPS)]
            ends = await connection.fetch(_ENDS)
            quarantined = await connection.fetchval("SELECT count(*) FROM meeta.quarantine")
        finally:
            await connection.close()
        self._look_for_stops([gap for gap in gaps if gap["cause"] == GapCause.HOST_SUSPENDED])
        if quarantined:
            self.violations.append(f"{quarantined} events in quarantine")
        self.violations += [
            f"{end['capture_id']} has no end, its last event is {end['type']}"
            for end in ends
            if end["type"] != "capture.ended"
        ]
        settings = bot_settings.load()
        async for verdict in verify.verdicts(self.url, settings, await verify.stored_captures(self.url, settings)):
            problems = [f"{name}: {check.problem}" for name, check in verdict.checks.items() if not check.ok]
            self.violations += [f"verify refutes {verdict.capture_id}: {', '.join(problems)}"] if problems else []
        return Heard(
            live=[row["text"] for row in texts if not row["history"]],
            late=[row["text"] for row in texts if row["history"]],
            blind=[Blind(gap["from_at"], gap["to_at"], gap["cause"]) for gap in gaps if gap["lost"] == Lost.EVERYTHING],
        )

    def _look_for_stops(self, gaps: list[dict[str, Any]]) -> None:
        """A process that stood still for long has to say so, whether anything was lost by it or not."""
        for from_at, to_at in self.stood_still:
            if not any(gap["from_at"] <= to_at and gap["to_at"] >= from_at for gap in gaps):
                self.violations.append(f"stopped for {to_at - from_at} ms, and no gap says so")

    async def close(self) -> None:
        """Kill what runs."""
        await self._recording.aclose()


async def _not_gone(pids: list[int]) -> list[str]:
    """Command lines of those that are there after a while."""
    deadline = time.monotonic() + ORPHANS_TIMEOUT
    processes = [Process(pid) for pid in pids]
    while any(process.is_alive() for process in processes) and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(LOOK_PAUSE)  # nobody tells us
    return [process.command_line()[:100] for process in processes if process.is_alive()]


@asynccontextmanager
async def set_up(chance: Random, *, keep: bool = False) -> AsyncIterator[Stage]:
    """A stage on which people talk and a recorder is in the room."""
    directory = Path(tempfile.mkdtemp(prefix="chaos-"))
    server = Killable()
    async with AsyncExitStack() as cleanup:
        cleanup.callback(server.destroy)
        if not keep:
            cleanup.callback(shutil.rmtree, directory, ignore_errors=True)
        await asyncio.to_thread(server.start)
        stack = await cleanup.enter_async_context(Stack.start(hibernation_seconds=2))
        place = urlsplit(stack.url)
        proxy = Proxy(lambda: asyncio.open_connection(place.hostname, place.port))
        await proxy.open()
        cleanup.push_async_callback(proxy.close)
        browser = await cleanup.enter_async_context(ParticipantBrowser.start())
        talkers = Talkers(browser, stack.room_url(ROOM), NAMES, chance)
        stage = Stage(stack, proxy, server, await server.migrated_database(), directory / "data", talkers)
        cleanup.push_async_callback(stage.close)
        await stage.start_recorder()
        async with talkers.talking():
            yield stage
