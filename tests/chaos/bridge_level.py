"""Level "bridge": a real recorder hears rooms over a bridge that dies, freezes, is cut off, moved and made deaf.

Every change of the dominant speaker that the bridge made is stored, or lies in a gap of what the bridge tells.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import aiohttp
import asyncpg

from meeta_bot.events import Lost
from tests.chaos import witness
from tests.chaos.options import Options
from tests.chaos.postgres import Killable
from tests.chaos.talk import Message
from tests.chaos.witness import Account, Blind, Heard
from tests.e2e.recorder_process import RecorderProcess, recording
from tests.stack.client import BridgeChannel, Stack, StackError
from tests.stack.crowd import standing_by
from tests.stack.report import Section, Table

ROOMS = 10  # a fault of the bridge is one of each
SPEECH = (0.05, 0.4)  # seconds between two changes of the speaker
CALM = (0.2, 1.5)  # … between a room that is heard again and the next fault
LONGEST = 8.0  # … that a bridge is away, at most
BACK_TIMEOUT = 120.0  # … until every room is heard again
LOOK_PAUSE = 0.1
MEDIA_PACE = 0.1  # of what a focus takes to notice a bridge that failed
COLUMNS = (
    "fault", "rooms", "outage (s)", "heard again after (s)", "deaf (s)", "left the room", "changes", "stored",
    "found late", "in a gap", "silent",
)  # fmt: skip
SETTINGS = {"MEETA_LEFT_ALONE_GRACE": "600", "MEETA_ROOMS_PER_PAGE": str(ROOMS)}
_SPEAKERS = (
    "SELECT capture.room, event.endpoint_id, event.inferred OR event.initial AS late"
    " FROM meeta.events AS event JOIN meeta.captures AS capture USING (capture_id)"
    " WHERE event.type = 'dominant_speaker.changed' ORDER BY event.capture_id, event.seq"
)
_GAPS = (
    "SELECT capture.room, event.payload FROM meeta.events AS event JOIN meeta.captures AS capture USING (capture_id)"
    " WHERE event.type = 'capture.gap'"
)
_LEFT = "SELECT extract(epoch FROM occurred_at) * 1000 FROM meeta.events WHERE type = 'capture.reconnecting'"
_HEARD_SINCE = (
    "SELECT count(DISTINCT capture_id) FROM meeta.events"
    " WHERE type = 'dominant_speaker.changed' AND occurred_at > to_timestamp($1 / 1000.0)"
)


@dataclass
class Stage:
    """The rooms, what is said in them, and who records it."""

    stack: Stack
    recorder: RecorderProcess
    database_url: str
    rooms: list[str]
    said: list[tuple[str, Message]] = field(default_factory=list)  # by room
    left: list[float] = field(default_factory=list)  # when the bot left a room, wall clock in milliseconds

    async def talk(self, chance: Random) -> None:
        """Have somebody else speak in every room again and again; what a bridge may not have done is not counted."""
        number = 0
        while True:
            await asyncio.sleep(chance.uniform(*SPEECH))
            number += 1
            speakers = {room: f"{room}n{number}" for room in self.rooms}
            begun_at = time.time_ns() // 1_000_000
            with contextlib.suppress(StackError):
                await self.stack.speak(speakers)
                had_at = time.time_ns() // 1_000_000
                self.said += [(room, Message(who, begun_at, had_at)) for room, who in speakers.items()]

    async def heard_again(self) -> float:
        """Wait until every room has a change that came after this moment; how many seconds that took."""
        began, since = time.monotonic(), time.time() * 1000
        connection = await asyncpg.connect(self.database_url)
        try:
            while await connection.fetchval(_HEARD_SINCE, since) < len(self.rooms):
                if time.monotonic() - began > BACK_TIMEOUT:
                    raise AssertionError(f"not heard again after {BACK_TIMEOUT:g} s: {self.recorder.log[-3:]}")
                await asyncio.sleep(LOOK_PAUSE)
        finally:
            await connection.close()
        return time.monotonic() - began

    async def heard(self) -> dict[str, Heard]:
        """What the log has of each room."""
        connection = await asyncpg.connect(self.database_url)
        try:
            speakers = await connection.fetch(_SPEAKERS)
            self.left = [float(row[0]) for row in await connection.fetch(_LEFT)]
            gaps = [(row["room"], json.loads(row["payload"])) for row in await connection.fetch(_GAPS)]
        finally:
            await connection.close()
        blind = (Lost.BRIDGE_ONLY, Lost.EVERYTHING)
        return {
            room: Heard(
                live=[row["endpoint_id"] for row in speakers if row["room"] == room and not row["late"]],
                late=[row["endpoint_id"] for row in speakers if row["room"] == room and row["late"]],
                blind=[
                    Blind(gap["from_at"], gap["to_at"], gap["cause"])
                    for where, gap in gaps
                    if where == room and gap["lost"] in blind
                ],
            )
            for room in self.rooms
        }


async def _killed(stage: Stage, chance: Random) -> None:
    await stage.stack.bridge("kill")
    await asyncio.sleep(chance.uniform(0, LONGEST / 2))
    await stage.stack.bridge("start")


async def _frozen(stage: Stage, chance: Random) -> None:
    await stage.stack.bridge("freeze")
    await asyncio.sleep(chance.uniform(0.2, LONGEST))
    await stage.stack.bridge("thaw")


async def _cut_off(stage: Stage, chance: Random) -> None:
    await stage.stack.cut_bridge(True)
    await asyncio.sleep(chance.uniform(0.2, LONGEST))
    await stage.stack.cut_bridge(False)


async def _half_open(stage: Stage, chance: Random) -> None:
    await stage.stack.deafen_bridge(True)
    await asyncio.sleep(chance.uniform(0.2, LONGEST))
    await stage.stack.deafen_bridge(False)
    await _moved(stage, chance)


async def _moved(stage: Stage, chance: Random) -> None:
    await asyncio.gather(*(stage.stack.restart_media(room) for room in stage.rooms))


async def _focus_away(stage: Stage, chance: Random) -> None:
    await stage.stack.focus("terminate")
    await asyncio.sleep(chance.uniform(0.2, LONGEST))
    await stage.stack.focus("start")
    async with asyncio.timeout(BACK_TIMEOUT):  # recorders ask it back
        while not all([await stage.stack.members(room) for room in stage.rooms]):  # noqa: ASYNC110 - another process
            await asyncio.sleep(LOOK_PAUSE)


async def _server_frozen(stage: Stage, chance: Random) -> None:
    await stage.stack.prosody("freeze")
    await asyncio.sleep(chance.uniform(0.2, LONGEST))
    await stage.stack.prosody("thaw")


async def _closed(stage: Stage, chance: Random) -> None:
    for room in stage.rooms:
        await stage.stack.close_bridge_channels(room)


@dataclass
class Fault:
    """A fault, how often it is injected in the short and in the long form, and what came of it."""

    name: str
    inject: Callable[[Stage, Random], Awaitable[None]]
    short: int
    long: int
    seconds: list[float] = field(default_factory=list)
    outages: list[float] = field(default_factory=list)  # in seconds, as long as the fault lasted
    deaf: list[float] = field(default_factory=list)  # in seconds, of each room: the gaps from the fault until the next
    left: int = 0  # how often the bot left a room
    account: Account = field(default_factory=Account)


def _faults(channel: BridgeChannel) -> list[Fault]:
    if channel == "websocket":
        return [
            Fault("bridge killed (websocket)", _killed, 1, 10),
            Fault("half open (websocket)", _half_open, 1, 10),
            Fault("channel closed (websocket)", _closed, 1, 10),
        ]
    return [
        Fault("bridge killed", _killed, 1, 25),
        Fault("bridge frozen", _frozen, 1, 15),
        Fault("bridge cut off", _cut_off, 1, 15),
        Fault("half open", _half_open, 1, 15),
        Fault("moved", _moved, 1, 10),
        Fault("focus away", _focus_away, 1, 10),
        Fault("XMPP server frozen", _server_frozen, 1, 10),
    ]


async def run(options: Options) -> tuple[Section, list[str]]:
    """Inject everything, over data channels and over websockets; the table, and what may not be."""
    violations: list[str] = []
    faults: list[Fault] = []
    for channel in ("datachannel", "websocket"):
        found, more = await _run(options, channel)
        faults += found
        violations += more
    return _section(options, faults), violations


async def _run(options: Options, channel: BridgeChannel) -> tuple[list[Fault], list[str]]:
    chance = Random(f"{options.seed} {channel}")
    faults = _faults(channel)
    order = [fault for fault in faults for _ in range(options.count(fault.name, fault.short, fault.long))]
    chance.shuffle(order)
    if not order:
        return [], []
    async with _set_up(channel, chance) as stage:
        began: list[tuple[int, Fault]] = []
        for number, fault in enumerate(order, 1):
            await asyncio.sleep(chance.uniform(*CALM))
            began.append((time.time_ns() // 1_000_000, fault))
            moment = time.monotonic()
            await fault.inject(stage, chance)
            fault.outages.append(time.monotonic() - moment)
            fault.seconds.append(await stage.heard_again())
            seconds = fault.seconds[-1]
            told = f"  {number} of {len(order)}: {fault.name}, heard again after {seconds:.1f} s"
            print(told, file=sys.stderr, flush=True)
        calm_until = time.time_ns() // 1_000_000
        await stage.heard_again()
        await stage.recorder.stopped()
        heard = await stage.heard()
        said = [(room, message) for room, message in stage.said if began[0][0] <= message.begun_at <= calm_until]
    _measure(began, heard, stage.left)
    return faults, _judge(faults, began, said, heard)


def _measure(began: list[tuple[int, Fault]], heard: dict[str, Heard], left: list[float]) -> None:
    """Count for each fault how long each room was not heard, and how often the bot left one, until the next fault."""
    ends = [at for at, _ in began[1:]] + [2**62]
    for (at, fault), end in zip(began, ends, strict=True):
        fault.left += sum(at <= moment < end for moment in left)
        for log in heard.values():
            lengths = [gap.to_at - gap.from_at for gap in log.blind if at <= gap.to_at < end]
            fault.deaf.append(sum(lengths) / 1000)


def _judge(
    faults: list[Fault], began: list[tuple[int, Fault]], said: list[tuple[str, Message]], heard: dict[str, Heard]
) -> list[str]:
    violations = []
    for fault in faults:
        for room, log in heard.items():
            meanwhile = [
                message
                for where, message in said
                if where == room and next(one for at, one in reversed(began) if at <= message.begun_at) is fault
            ]
            account, findings = witness.account(meanwhile, log)
            violations += [f"{fault.name}: {line}" for line in findings]
            for name in ("said", "stored", "late", "in_gap", "silent"):
                setattr(fault.account, name, getattr(fault.account, name) + getattr(account, name))
    return violations


def _section(options: Options, faults: list[Fault]) -> Section:
    rooms = sum(len(fault.seconds) for fault in faults) * ROOMS
    caption = (
        "Changes of the dominant speaker that the bridge made from a fault until the next: each is stored when it was "
        "made, found when the bridge was heard again, or lies in a gap. *Outage*: how long the fault lasted. *Heard "
        "again after*: from its end until every room had a change that came after it. *Deaf*: the gaps of a room. "
        "Median and longest of each."
    )
    rows = [
        [
            fault.name,
            f"{len(fault.seconds) * ROOMS:,}",
            *(f"{statistics.median(one):.1f}, {max(one):.1f}" for one in (fault.outages, fault.seconds, fault.deaf)),
            *(f"{figure:,}" for figure in (fault.left, account.said, account.stored, account.late)),
            *(f"{figure:,}" for figure in (account.in_gap, account.silent)),
        ]
        for fault in faults
        if fault.seconds
        for account in (fault.account,)
    ]
    return Section(
        title=f"The bridge, seed {options.seed}",
        text=f"{rooms:,} faults, each of a bridge that {ROOMS} rooms are heard over.",
        tables=[Table(caption, COLUMNS, rows)],
    )


@asynccontextmanager
async def _set_up(channel: BridgeChannel, chance: Random) -> AsyncIterator[Stage]:
    """A recorder in rooms with two people each, in which somebody else speaks all the time."""
    server = Killable()
    async with AsyncExitStack() as cleanup:
        cleanup.callback(server.destroy)
        await asyncio.to_thread(server.start)
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="chaos-")))
        stack = await cleanup.enter_async_context(
            Stack.start(hibernation_seconds=2, bridge_channel=channel, media_pace=MEDIA_PACE)
        )
        rooms = [f"bridge{number}" for number in range(ROOMS)]
        session = await cleanup.enter_async_context(aiohttp.ClientSession())
        for room in rooms:
            for _ in range(2):
                await cleanup.enter_async_context(standing_by(session, stack.url, room))
        database_url = await server.migrated_database()
        urls = [stack.room_url(room) for room in rooms]
        arguments = (*urls, "--database-url", database_url)
        recorder = await cleanup.enter_async_context(
            recording(*arguments, MEETA_DATA_DIRECTORY=str(folder / "data"), **SETTINGS)
        )
        await recorder.logged("in the room", times=ROOMS)
        await recorder.until_stored(database_url, "bridge_channel.opened", times=ROOMS)
        stage = Stage(stack, recorder, database_url, rooms)
        talking = asyncio.create_task(stage.talk(chance))
        try:
            await stage.heard_again()
            yield stage
        finally:
            talking.cancel()
            await asyncio.gather(talking, return_exceptions=True)
