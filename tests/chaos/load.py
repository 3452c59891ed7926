"""The load: a process with a real spool and a real writer, whose every event is known beforehand.

It tells the harness through a pipe what was acknowledged, after `CaptureLog.record` has returned: whatever becomes of
this process, the harness knows what it may ask for. It starts and stops as a recording process does: spool, what
killed ones left, writer, captures; then captures, writer, spool. Only the browser is missing.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import random
import signal
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec
import uuid_utils

from meeta_bot import logs
from meeta_bot import settings as bot_settings
from meeta_bot.capture import spool as spools
from meeta_bot.capture.log import CaptureLog, end_cut_captures
from meeta_bot.capture.normalize import Message, State
from meeta_bot.capture.spool import Spool
from meeta_bot.capture.spool.directory import spool_root
from meeta_bot.clock import SystemClock
from meeta_bot.delivery.outlets import deliver_and_close
from meeta_bot.delivery.postgres import PostgresSink
from meeta_bot.delivery.writer import Writer
from meeta_bot.errors import SpoolError
from meeta_bot.events import CaptureEnded, CaptureStarted, EndReason
from meeta_bot.settings import Settings

CAPTURES_AT_ONCE = 4
MOST_MESSAGES = 300  # of a capture; then the next one begins
MOST_AT_ONCE = 20  # messages of one append
LONGEST_PAUSE = 0.01  # seconds between the appends of a capture
LONG_TEXT = 4000  # characters of a few messages; the others have at most SHORT_TEXT
SHORT_TEXT = 300
_DEPLOYMENT = "https://meet.example.org"


class Order(msgspec.Struct, frozen=True):
    """What a load is to do: `settings` are those of the product, by name."""

    url: str
    seed: int
    settings: dict[str, Any]


class Said(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line to the harness. `phase`: how far the process is. Otherwise of a capture: `seq` 0 says that it begins,
    else its last event that is acknowledged, with the digest and how many chat messages there are up to it."""

    phase: str | None = None
    capture_id: str = ""
    seq: int = 0
    head: str = ""
    messages: int = 0


def text_of(capture_id: str, number: int) -> str:
    """What message `number` (from 1) of a capture says."""
    filler = hashlib.sha256(f"{capture_id} {number}".encode()).hexdigest()
    size = int(filler[:8], 16)
    length = LONG_TEXT if size % 50 == 0 else size % SHORT_TEXT
    return f"{number} of {capture_id} {(filler * (length // 64 + 1))[:length]}"


def run(order: Order, pipe: Connection, log: Connection) -> None:
    """The process, from start to end: SIGTERM asks it to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the harness, which sees to it that this one ends
    with os.fdopen(os.dup(log.fileno()), "w", buffering=1) as stream:
        logs.configure(level="warning", json_lines=True, stream=stream)
        try:
            asyncio.run(_Load(order, pipe.fileno()).run())
        except Exception:  # whatever it is: the harness shows it as a finding
            logs.get_logger("load").exception("the load failed")
            sys.exit(1)


class _Load:
    def __init__(self, order: Order, pipe: int) -> None:
        self._order = order
        self._pipe = pipe
        self._chance = random.Random(order.seed)
        self._clock = SystemClock()
        self._stopping = asyncio.Event()
        self._settings = bot_settings.load(order.settings)

    async def run(self) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._stopping.set)
        self._say(Said(phase="starting"))
        spool = spools.acquire(spool_root(self._settings), self._settings)
        self._say(Said(phase="adopting"))
        await end_cut_captures(spool, self._clock)
        sink = PostgresSink(self._order.url, self._settings)
        writer = Writer(spool, sink, self._settings)
        writer.start()
        adoption = asyncio.create_task(self._adopt(writer))
        self._say(Said(phase="recording"))
        await asyncio.gather(*(self._captures(spool) for _ in range(CAPTURES_AT_ONCE)))
        self._say(Said(phase="stopping"))
        await writer.stop(self._settings.flush_timeout)
        adoption.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await adoption
        await sink.close()
        await spool.close()

    async def _adopt(self, writer: Writer) -> None:
        await writer.ready.wait()
        for spool in spools.adopt(spool_root(self._settings), self._settings):
            await end_cut_captures(spool, self._clock)
            await deliver_and_close(spool, PostgresSink(self._order.url, self._settings), self._settings, within=None)

    async def _captures(self, spool: Spool) -> None:
        while not self._stopping.is_set():
            try:
                await _Capture(spool, self._settings, self._clock, self._chance, self._say, self._stopping).run()
            except SpoolError as error:  # stopping while the disk is full: the next process writes the end
                logs.get_logger("load").warning("capture given up", problem=str(error))

    def _say(self, said: Said) -> None:
        os.write(self._pipe, msgspec.json.encode(said) + b"\n")


class _Capture:
    def __init__(
        self,
        spool: Spool,
        settings: Settings,
        clock: SystemClock,
        chance: random.Random,
        say: Any,
        stopping: asyncio.Event,
    ) -> None:
        self._clock = clock
        self._chance = chance
        self._say = say
        self._stopping = stopping
        self._sent = 0  # messages
        self._interval_ms = int(settings.heartbeat_interval * 1000)
        self._id = str(uuid_utils.uuid7())
        self._room = f"room-{chance.randrange(1000)}"
        state = State(capture_id=self._id, deployment=_DEPLOYMENT, room=self._room)
        self._log = CaptureLog(state, spool, settings, clock, asyncio.Event())

    async def run(self) -> None:
        """From start to end; its end says whether it was asked to stop."""
        self._say(Said(capture_id=self._id))
        begun = CaptureStarted(
            room_url=f"{_DEPLOYMENT}/{self._room}",
            deployment=_DEPLOYMENT,
            room=self._room,
            bot_name="Load",
            program_version="0",
            heartbeat_interval_ms=self._interval_ms,
        )
        await self._append([self._message("recorder.started", msgspec.to_builtins(begun))])
        for _ in range(self._chance.randint(1, MOST_MESSAGES // MOST_AT_ONCE)):
            if self._stopping.is_set():
                break
            batch = [self._chat() for _ in range(self._chance.randint(1, MOST_AT_ONCE))]
            if self._chance.random() < 0.2:
                batch.append(self._message("recorder.heartbeat"))
            await self._append(batch)
            await asyncio.sleep(self._chance.random() * LONGEST_PAUSE)
        end = CaptureEnded(reason=EndReason.OPERATOR if self._stopping.is_set() else EndReason.MEETING_ENDED)
        await self._append([self._message("recorder.ended", msgspec.to_builtins(end))])

    def _chat(self) -> Message:
        self._sent += 1
        return self._message("conference.messageReceived", "ada", text_of(self._id, self._sent), None)

    def _message(self, origin: str, *args: Any) -> Message:
        return Message(origin, list(args), self._clock.wall_ms(), self._log.elapsed_ms())

    async def _append(self, messages: list[Message]) -> None:
        """Record as a recorder does; then, and only then, say so."""
        self._log.is_patient = not self._stopping.is_set()
        await self._log.record(messages)
        position = self._log.position
        said = Said(capture_id=self._id, seq=position.last_seq, head=position.head.hex(), messages=self._sent)
        self._say(said)


def settings_for(directory: Path, **changes: Any) -> dict[str, Any]:
    """Settings of a load whose spools lie under `directory`: patience is short, so that a run has many faults."""
    patience = {"database_retry_initial": 0.02, "database_retry_max": 0.2, "flush_timeout": 2.0}
    deadlines = {"database_connect_timeout": 2.0, "database_statement_timeout": 2.0}
    spool = {"spool_retry_pause": 0.02, "spool_retry_timeout": 1.0}
    return {"data_directory": directory, **patience, **deadlines, **spool, **changes}
