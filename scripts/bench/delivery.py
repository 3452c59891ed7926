"""Measure how fast events get from the spool into PostgreSQL, beside COPY of the same rows."""

from __future__ import annotations

import asyncio
import gc
import itertools
import random
import secrets
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import asyncpg
import msgspec
import uuid_utils

from meeta_bot import logs
from meeta_bot import settings as bot_settings
from meeta_bot.capture.normalize import State
from meeta_bot.capture.normalize.state import Participant
from meeta_bot.capture.spool import Append, Spool
from meeta_bot.delivery.postgres import PostgresSink
from meeta_bot.delivery.writer import Writer
from meeta_bot.events import (
    AudioMuted,
    AudioUnmuted,
    CaptureHeartbeat,
    CaptureStarted,
    ChatMessage,
    ConnectionStatsUpdated,
    DominantSpeakerChanged,
    Event,
    ParticipantJoined,
    ParticipantLeft,
    ParticipantRenamed,
    Payload,
    SealedEvent,
    VideoMuted,
    chain,
)
from tests.stack import report
from tests.stack.postgres import FORGET, Server

CAPTURES = 10
PARTICIPANTS = 10  # of each capture
SMALLEST_BYTES, LARGEST_BYTES = 600, 900  # of one event as JSON
EVENTS = {1: 500, 5: 2_500, 50: 10_000, 500: 20_000, 5000: 50_000}  # by size of batch
BACKLOG = 50_000  # events; an hour without a database in a busy meeting has fewer
ROUNDS = 5
LARGEST_PAGE_BATCH = 100  # events that one page hands over together, as in settings.page_batch_messages
COLUMNS = (*SealedEvent.__struct_fields__, "quarantine_reason")
BARE_TABLE = "bare_events"  # in public: the user is called meeta, so that its own schema would come first
PATIENCE_SECONDS = 300.0
TEXT = (
    f"Measured on {CAPTURES} captures of {PARTICIPANTS} participants each. The mix: 60 % connection statistics, "
    "21 % microphones and cameras, 6 % dominant speaker, 5 % chat, 6 % arrivals, departures and renamings, 2 % "
    f"heartbeats, each event {SMALLEST_BYTES} to {LARGEST_BYTES} bytes as JSON (short ones are padded). PostgreSQL "
    "18 on the same machine with fsync on, one connection. *COPY* is asyncpg's binary COPY of the same rows, made "
    "beforehand, into the same partitioned table with its indexes; *bare COPY* into an unlogged table without any. "
    "*Store* is insert and projections of events that were sealed beforehand. *Direct* seals (canonical form and "
    "digests) and stores, one after the other, without a spool. *Whole path* appends to the spool with an fsync for "
    "each group, reads, stores and forgets, from the first append until the last event is committed and forgotten. "
    "Rounds are interleaved and tables emptied between them; figures are medians, ratios are medians of the ratios "
    "within a round. On a shared machine only the ratios mean something."
)


# --- what is written --------------------------------------------------------------------------------------------------


def _words(chance: random.Random, length: int) -> str:
    """Text of `length` characters."""
    text = "".join(chance.choice("abcdefghijklmnop é") for _ in range(length))
    return text[:length]


def _statistics(chance: random.Random, filler: str) -> Payload:
    rates = {f"{name}.{way}": chance.randint(10, 3000) + 0.5 for name in ("audio", "video") for way in ("up", "down")}
    loss = {"total": round(chance.random(), 3), "download": round(chance.random(), 3), "upload": 0}
    return ConnectionStatsUpdated(
        connection_quality=chance.randint(1, 100), packet_loss=loss, bitrate={**rates, filler: 1}, jvb_rtt=31
    )


def _microphone(chance: random.Random, filler: str) -> Payload:
    return chance.choice([AudioMuted, AudioUnmuted, VideoMuted])(source_name=filler)


def _speaker(chance: random.Random, filler: str) -> Payload:
    return DominantSpeakerChanged(previous=[f"{chance.randrange(2**32):08x}" for _ in range(4)] + [filler])


def _chat(chance: random.Random, filler: str) -> Payload:
    return ChatMessage(text=filler, message_id=str(chance.randrange(10**12)), display_name="Ada Lovelace")


def _people(chance: random.Random, filler: str) -> Payload:
    arrival = ParticipantJoined(display_name=filler, role="participant", stats_id="Ada-x1Y", user_id=None)
    return chance.choice([arrival, ParticipantLeft(reason=filler), ParticipantRenamed(old_name="Ada", new_name=filler)])


def _heartbeat(chance: random.Random, filler: str) -> Payload:
    counted = {name: chance.randint(0, 10**5) for name in ("messages", "events", "absorbed", "sampled")}
    return CaptureHeartbeat(in_conference=True, participants=PARTICIPANTS, refused=0, unknown=0, **counted)


_MIX: tuple[tuple[int, Callable[[random.Random, str], Payload]], ...] = (
    (60, _statistics),
    (21, _microphone),
    (6, _speaker),
    (5, _chat),
    (6, _people),
    (2, _heartbeat),
)


def _payload(chance: random.Random) -> Payload:
    (make,) = chance.choices([make for _, make in _MIX], [weight for weight, _ in _MIX])
    envelope = 330  # what the other columns take as JSON
    bare = len(chain.canonical_json(make(chance, "")))
    wanted = chance.randint(SMALLEST_BYTES, LARGEST_BYTES) - envelope
    return make(chance, _words(chance, max(0, int((wanted - bare) / 1.06))))  # é takes two bytes


def _capture_events(count: int, chance: random.Random) -> list[Event]:
    begin = int(time.time() * 1000)
    deployment = "https://meet.example.org"
    first = CaptureStarted(
        room_url=f"{deployment}/standup", deployment=deployment, room="standup", bot_name="Bot", program_version="0"
    )
    found = [Event(payload=first, origin="recorder.started", occurred_at=begin, monotonic_ms=0)]
    present: list[str] = []
    for number in range(1, count):
        payload = _payload(chance)
        found.append(
            Event(
                payload=payload,
                origin="conference.some_event",
                occurred_at=begin + number * 20,
                monotonic_ms=number * 20,
                endpoint_id=_endpoint(payload, present, chance),
            )
        )
    return found


def _endpoint(payload: Payload, present: list[str], chance: random.Random) -> str | None:
    """Return the endpoint that an event is about: who arrives is new, who leaves was there."""
    if isinstance(payload, CaptureHeartbeat):
        return None
    if isinstance(payload, ParticipantJoined) or not present:
        present.append(f"{chance.randrange(2**32):08x}")
        return present[-1]
    one = chance.randrange(len(present))
    return present.pop(one) if isinstance(payload, ParticipantLeft) else present[one]


@dataclass
class Load:
    """The same events in every form that is measured."""

    appends: dict[str, list[Append]]  # by capture, as the recorder appends them
    batches: list[list[tuple[str, Event]]]  # as the writer takes them, captures mixed
    sealed: list[list[SealedEvent]]
    rows: list[list[tuple[Any, ...]]]

    @property
    def size(self) -> int:
        return sum(map(len, self.batches))


def make_load(count: int, batch: int, chance: random.Random) -> Load:
    """`count` events over all captures, for batches of `batch`."""
    captures = {str(uuid_utils.uuid7()): _capture_events(count // CAPTURES, chance) for _ in range(CAPTURES)}
    page_batch = min(max(1, batch // CAPTURES), LARGEST_PAGE_BATCH)
    appends = {
        name: [
            Append(_state(name), events[first : first + page_batch], first)
            for first in range(0, len(events), page_batch)
        ]
        for name, events in captures.items()
    }
    mixed = [
        (name, event)
        for turn in itertools.zip_longest(*appends.values())
        for name, append in zip(appends, turn, strict=True)
        for event in (append.events if append else ())
    ]
    batches = [mixed[first : first + batch] for first in range(0, len(mixed), batch)]
    sealer = Sealer()
    sealed = [sealer.seal(part) for part in batches]
    return Load(appends, batches, sealed, [[_row(event) for event in part] for part in sealed])


def _state(capture_id: str) -> State:
    people = {
        f"endpoint{number}": Participant(endpoint_id=f"endpoint{number}", name="Ada Lovelace")
        for number in range(PARTICIPANTS)
    }
    return State(capture_id=capture_id, deployment="https://meet.example.org", room="standup", participants=people)


class Sealer:
    """Seals events as the spool does, in memory."""

    def __init__(self) -> None:
        self._heads: dict[str, tuple[int, bytes]] = {}

    def seal(self, batch: Sequence[tuple[str, Event]]) -> list[SealedEvent]:
        sealed = []
        salt = secrets.token_bytes(chain.SALT_BYTES)  # one will do, as the spool draws many at once
        for name, event in batch:
            seq, head = self._heads.get(name, (0, chain.GENESIS))
            one = chain.seal(name, seq + 1, head, event, salt)
            self._heads[name] = (seq + 1, one.digest)
            sealed.append(one)
        return sealed


def _row(event: SealedEvent) -> tuple[Any, ...]:
    """Return the values that COPY needs for a row."""
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    values = dict(zip(COLUMNS, (*msgspec.structs.astuple(event), None), strict=True))
    values["occurred_at"] = epoch + timedelta(milliseconds=event.occurred_at)
    return tuple(values.values())


@contextmanager
def _without_digests() -> Iterator[None]:
    """Seal without hashing anything; all else stays."""
    nothing = bytes(32)
    with (
        patch.object(chain, "commit", lambda _salt, _payload: nothing),
        patch.object(chain, "link", lambda _previous, _envelope, _commitment: nothing),
    ):
        yield


# --- ways to write it -------------------------------------------------------------------------------------------------


@dataclass
class Bench:
    """One server, one connection for COPY and one sink."""

    server: Server
    url: str
    connection: asyncpg.Connection[asyncpg.Record]
    sink: PostgresSink
    folder: Path
    numbers: Iterator[int] = field(default_factory=itertools.count)

    async def copy(self, load: Load, table: str, schema: str) -> None:
        for rows in load.rows:
            await self.connection.copy_records_to_table(table, schema_name=schema, columns=COLUMNS, records=rows)

    async def store(self, load: Load) -> None:
        for batch in load.sealed:
            await self.sink.write(batch)

    async def direct(self, load: Load) -> None:
        sealer = Sealer()
        for batch in load.batches:
            await self.sink.write(sealer.seal(batch))

    async def whole(self, load: Load, batch: int) -> None:
        bulk = batch > 500
        settings = bot_settings.load(
            {"writer_bulk_events": batch} if bulk else {"writer_batch_events": batch, "writer_bulk_backlog": 10**9}
        )
        spool = Spool(self.folder / str(next(self.numbers)), settings)
        writer = Writer(spool, self.sink, settings)
        writer.start()

        async def capture(name: str, appends: Sequence[Append]) -> None:
            for append in appends:
                await spool.append(name, append)

        await asyncio.gather(*(capture(name, appends) for name, appends in load.appends.items()))
        delivered = await writer.stop(PATIENCE_SECONDS)
        await spool.close()
        assert delivered
        assert writer.stored == load.size

    async def drain(self, load: Load, *, in_bulk: bool) -> float:
        """Seconds until an event that was appended behind a backlog is stored."""
        settings = bot_settings.load({} if in_bulk else {"writer_bulk_backlog": 10**9})
        spool = Spool(self.folder / str(next(self.numbers)), settings)
        for name, appends in load.appends.items():
            for append in appends:
                await spool.append(name, append)
        await self.connection.execute(FORGET)
        writer = Writer(spool, self.sink, settings)
        writer.start()
        began = time.perf_counter()
        name, appends = next(iter(load.appends.items()))
        await spool.append(name, msgspec.structs.replace(appends[-1], events=appends[-1].events[-1:]))
        delivered = await writer.stop(PATIENCE_SECONDS)
        seconds = time.perf_counter() - began
        await spool.close()
        assert delivered
        assert writer.stored == load.size + 1
        return seconds


Way = Callable[[], Awaitable[None]]
NAMES = ("bare COPY", "COPY", "store", "direct", "whole path", "whole path without digests")


def _ways(bench: Bench, load: Load, batch: int) -> dict[str, Way]:
    async def without_digests() -> None:
        with _without_digests():
            await bench.whole(load, batch)

    ways: tuple[Way, ...] = (
        lambda: bench.copy(load, BARE_TABLE, "public"),
        lambda: bench.copy(load, "events", "meeta"),
        lambda: bench.store(load),
        lambda: bench.direct(load),
        lambda: bench.whole(load, batch),
        without_digests,
    )
    return dict(zip(NAMES, ways, strict=True))


@dataclass(frozen=True)
class Taken:
    """One way in one round."""

    rate: float  # events/s
    cpu: float  # µs of this process an event, all threads, kernel included


async def _take(bench: Bench, way: Way, count: int) -> Taken:
    await bench.connection.execute(f"{FORGET}, public.{BARE_TABLE}")
    began, used = time.perf_counter(), time.process_time()
    await way()
    seconds, used = time.perf_counter() - began, time.process_time() - used
    stored = await bench.connection.fetchval(
        f"SELECT (SELECT count(*) FROM meeta.events) + (SELECT count(*) FROM public.{BARE_TABLE})"  # noqa: S608
    )
    assert stored == count, f"{stored} rows of {count} arrived"
    return Taken(count / seconds, used / count * 1e6)


Rounds = dict[str, list[Taken]]


async def _measure(bench: Bench, batch: int, count: int, rounds: int) -> Rounds:
    load = make_load(count, batch, random.Random(batch))
    gc.collect()
    gc.freeze()  # what is measured shall not pay for looking through what is only there to be written
    ways = _ways(bench, load, batch)
    taken: Rounds = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            taken[name].append(await _take(bench, way, load.size))
    gc.unfreeze()
    return taken


async def _measure_backlog(bench: Bench, count: int, rounds: int) -> tuple[int, float, float]:
    """Size of a backlog, and how long a live event waits behind it: stored in bulk, and in ordinary batches."""
    load = make_load(count, 500, random.Random(count))
    waits: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(rounds):
        for in_bulk, taken in waits.items():
            taken.append(await bench.drain(load, in_bulk=in_bulk))
    return load.size, report.median(waits[True]), report.median(waits[False])


async def _open(stack: AsyncExitStack) -> Bench:
    server = Server("18")
    stack.callback(server.destroy)
    server.start(fsync="on", full_page_writes="on", autovacuum="on", shared_buffers="128MB")
    url = await server.migrated_database()
    connection = await asyncpg.connect(url)
    stack.push_async_callback(connection.close)
    await connection.execute("SELECT meeta.ensure_partitions(now(), 3)")
    await connection.execute(f"CREATE UNLOGGED TABLE public.{BARE_TABLE} AS SELECT * FROM meeta.events")  # noqa: S608
    sink = PostgresSink(url, bot_settings.load({}))
    stack.push_async_callback(sink.close)
    folder = Path(tempfile.mkdtemp(prefix="bench-spool-"))
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    return Bench(server, url, connection, sink, folder)


async def run(*, quick: bool) -> report.Section:
    """Measure all sizes of batches; `quick` takes a tenth of the events in two rounds."""
    logs.configure(level="error")
    async with AsyncExitStack() as stack:
        bench = await _open(stack)
        await _measure(bench, 50, 500, 1)  # warms caches and plans up
        sizes = {batch: max(count // (10 if quick else 1), CAPTURES) for batch, count in EVENTS.items()}
        taken = {batch: await _measure(bench, batch, count, 2 if quick else ROUNDS) for batch, count in sizes.items()}
        backlog = await _measure_backlog(bench, BACKLOG // (10 if quick else 1), 2 if quick else ROUNDS)
    return _section(taken, *backlog)


# --- what came out ----------------------------------------------------------------------------------------------------


def _rate(rounds: Rounds, name: str) -> float:
    return report.median([one.rate for one in rounds[name]])


def _cpu(rounds: Rounds, name: str) -> float:
    return report.median([one.cpu for one in rounds[name]])


def _ratio(rounds: Rounds, name: str, yardstick: str) -> float:
    pairs = zip(rounds[name], rounds[yardstick], strict=True)
    return report.median([one.rate / other.rate for one, other in pairs])


def _section(taken: dict[int, Rounds], backlog: int, in_bulk: float, in_batches: float) -> report.Section:
    rates = [(str(batch), *(f"{_rate(rounds, name):,.0f}" for name in NAMES)) for batch, rounds in taken.items()]
    ratios = [
        (
            str(batch),
            f"{_ratio(rounds, 'store', 'COPY'):.2f}",
            f"{_ratio(rounds, 'whole path', 'COPY'):.2f}",
            f"{_ratio(rounds, 'whole path', 'bare COPY'):.2f}",
            f"{_ratio(rounds, 'whole path', 'direct'):.2f}",
            f"{_ratio(rounds, 'whole path', 'whole path without digests'):.2f}",
            f"{_cpu(rounds, 'whole path'):.0f}",
        )
        for batch, rounds in taken.items()
    ]
    columns = (
        "batch",
        "store / COPY",
        "whole / COPY",
        "whole / bare COPY",
        "with / without spool",
        "with / without digests",
        "CPU of the whole path",
    )
    return report.Section(
        "From the spool to PostgreSQL",
        TEXT,
        [
            report.Table("Events per second:", ("batch", *NAMES), rates),
            report.Table("Ratios, and the program's own CPU in µs an event:", columns, ratios),
            report.Table(
                "How long a live event waits behind a backlog, with larger batches for backlogs and without them:",
                ("backlog", "bulk", "batches of 500"),
                [(f"{backlog:,} events", f"{in_bulk:.1f} s", f"{in_batches:.1f} s")],
            ),
        ],
        _targets(taken[500]),
    )


def _targets(rounds: Rounds) -> list[report.Target]:
    whole = _ratio(rounds, "whole path", "COPY")
    spool = 1 - _ratio(rounds, "whole path", "direct")
    digests = 1 - _ratio(rounds, "whole path", "whole path without digests")
    cpu = _cpu(rounds, "whole path")
    return [
        report.Target("whole path at least 0.5 of COPY, batches of 500", f"{whole:.2f}", whole >= 0.5),
        report.Target("the spool costs at most 15 %", f"{spool:.0%}", spool <= 0.15),
        report.Target("digests cost at most 10 %", f"{digests:.0%}", digests <= 0.10),
        report.Target("at most 40 µs of CPU an event, spool to commit", f"{cpu:.0f} µs", cpu <= 40),
    ]
