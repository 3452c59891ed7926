"""A database in trouble while rooms are recorded: real spool, writer and sink, and an oracle that knows every event.

Whatever happens to PostgreSQL, appends go on, the writer says why it waits, and once the trouble is over everything is
stored once, in order, unaltered. That each trouble is told in one line is in test_unavailable.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import pwd
import re
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import msgspec
import pytest

from meeta_bot import logs, settings
from meeta_bot.capture.normalize import State
from meeta_bot.capture.spool import Append, Spool
from meeta_bot.database import migrations
from meeta_bot.delivery.postgres import COPY_EVENTS, PostgresSink
from meeta_bot.delivery.sink import Delivery, SinkUnavailable
from meeta_bot.delivery.writer import Writer
from meeta_bot.events import SealedEvent, chain
from tests.postgres.proxy import Proxy
from tests.postgres.samples import capture_id, joined, small_capture, started
from tests.stack.postgres import Server, fetch, ordinary_user
from tests.stack.process_tree import Process

PATIENCE_SECONDS = 30
LOOK_SECONDS = 0.005  # between two looks at what nobody signals: a field of the writer, another process
ROOMS = 3
BACKLOG = 400  # events of an outage; more than makes the writer store in bulk
OPTIONS: dict[str, Any] = {
    "database_connect_timeout": 1,
    "database_statement_timeout": 1,
    "database_retry_initial": 0.05,
    "database_retry_max": 0.1,
    "writer_batch_events": 100,
    "writer_bulk_backlog": 200,
    "writer_bulk_events": 2 * COPY_EVENTS,
}
Key = tuple[str, int]


@pytest.fixture(autouse=True)
def _no_line_for_each_batch() -> None:
    logs.configure(level="warning")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 - nobody signals what is waited for
            await asyncio.sleep(LOOK_SECONDS)


def name_of(url: str) -> str:
    """The database of an address."""
    return url.split("///")[1].split("?", maxsplit=1)[0]


# --- what is recorded, and what must come of it ----------------------------------------------------------------------


class Truth:
    """A second sink, which fails never: every event as it was sealed, in the order of the spool."""

    def __init__(self) -> None:
        self.events: list[SealedEvent] = []

    async def open(self) -> None:
        """Nothing is to be opened."""

    async def write(self, batch: Sequence[SealedEvent]) -> Delivery:
        self.events += batch
        return Delivery(len(batch), 0, 0)

    async def close(self) -> None:
        """Nothing is open."""


class Watched:
    """The sink under test, and the sizes of the batches that it stored."""

    def __init__(self, sink: PostgresSink) -> None:
        self._sink = sink
        self.sizes: list[int] = []
        self.duplicates = 0

    async def open(self) -> None:
        await self._sink.open()

    async def write(self, batch: Sequence[SealedEvent]) -> Delivery:
        delivery = await self._sink.write(batch)
        self.sizes.append(len(batch))
        self.duplicates += delivery.duplicates
        return delivery

    async def close(self) -> None:
        await self._sink.close()


class Recording:
    """Rooms that append one event after the other, and the delivery of their spool."""

    def __init__(self, directory: Path, url: str, **changes: Any) -> None:
        options = settings.load({**OPTIONS, **changes})
        self.url = url
        self.spool = Spool(directory / "spool", options)
        self.truth = Truth()
        self.sink = Watched(PostgresSink(url, options))
        self.writer = Writer(self.spool, self.sink, options)
        self._oracle = Writer(self.spool, self.truth, options, name="oracle")
        self._over = asyncio.Event()
        self._rooms: list[asyncio.Task[None]] = []
        self.appended = 0

    def begin(self) -> None:
        """Record."""
        self.deliver()
        self._rooms = [asyncio.create_task(self._room()) for _ in range(ROOMS)]

    def deliver(self) -> None:
        """Only deliver."""
        self.writer.start()
        self._oracle.start()

    async def append_at_once(self, count: int) -> None:
        """A capture of `count` events."""
        name = capture_id()
        events = [started(), *(joined(number, f"e{number % 9}") for number in range(1, count))]
        await self.spool.append(name, Append(_state(name), events, 0))
        self.appended += count

    async def more(self, count: int) -> None:
        """Wait until that many more events have been acknowledged."""
        goal = self.appended + count
        await until(lambda: self.appended >= goal)

    async def stored(self, count: int) -> None:
        """Wait until that many events have been delivered in all."""
        await until(lambda: self.writer.stored >= count)

    async def waits_because(self, pattern: str) -> None:
        """Wait until the writer says why it waits."""
        try:
            await until(lambda: re.search(pattern, self.writer.unavailable or "") is not None)
        except TimeoutError:
            pytest.fail(f"the writer says {self.writer.unavailable!r} instead of {pattern!r}")
        assert "\n" not in (self.writer.unavailable or "")

    async def finish(self) -> None:
        """The rooms end, everything is delivered."""
        self._over.set()
        await asyncio.gather(*self._rooms)
        assert await self.writer.stop(PATIENCE_SECONDS), self.writer.unavailable
        assert await self._oracle.stop(PATIENCE_SECONDS)
        assert self.writer.unavailable is None
        assert len(self.truth.events) == self.appended
        assert self.spool.waiting == 0

    async def close(self) -> None:
        """Let go of everything, whatever happened."""
        self._over.set()
        await asyncio.gather(*self._rooms, return_exceptions=True)
        for writer in (self.writer, self._oracle):
            await writer.stop(0)
        await self.sink.close()
        await self.spool.close()

    async def _room(self) -> None:
        name = capture_id()
        for number in itertools.count():
            event = joined(number, f"e{number % 9}") if number else started()
            await self.spool.append(name, Append(_state(name), [event], 0))
            self.appended += 1
            if self._over.is_set():
                return
            await asyncio.sleep(0.001)  # the pace of the load


def _state(name: str) -> State:
    return State(capture_id=name, deployment="https://meet.example.org", room="standup")


@asynccontextmanager
async def recording(directory: Path, url: str, **changes: Any) -> AsyncIterator[Recording]:
    made = Recording(directory, url, **changes)
    try:
        yield made
    finally:
        await made.close()


async def stored_events(url: str, condition: str = "true") -> dict[Key, tuple[bytes, str]]:
    """Digest and canonical payload of everything that is stored."""
    statement = "SELECT capture_id, seq, digest, payload FROM meeta.events WHERE "
    rows = await fetch(url, statement + condition)
    return {
        (str(row["capture_id"]), row["seq"]): (
            row["digest"],
            chain.canonical_json(msgspec.json.decode(row["payload"])).decode(),
        )
        for row in rows
    }


def expected(events: Sequence[SealedEvent]) -> dict[Key, tuple[bytes, str]]:
    """The same of what was sealed."""
    return {(event.capture_id, event.seq): (event.digest, event.payload) for event in events}


async def assert_stored_once(url: str, events: Sequence[SealedEvent]) -> None:
    """Everything is there, unaltered, counted once, and nothing else is."""
    assert await stored_events(url) == expected(events)
    last: dict[str, int] = {}
    for event in events:  # the spool's order: within each capture by number
        assert event.seq == last.get(event.capture_id, 0) + 1
        last[event.capture_id] = event.seq
    counted = await fetch(url, "SELECT capture_id, event_count, last_seq FROM meeta.captures")
    assert {str(row["capture_id"]): (row["event_count"], row["last_seq"]) for row in counted} == {
        name: (seq, seq) for name, seq in last.items()
    }
    assert await fetch(url, "SELECT * FROM meeta.quarantine") == []


# --- troubles ---------------------------------------------------------------------------------------------------------


def processes(server: Server) -> list[Process]:
    """The postmaster, then its children."""
    postmaster = int((server.directory / "data" / "postmaster.pid").read_text().split("\n", maxsplit=1)[0])
    numbers = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
    return [Process(number) for number in (postmaster, *map(int, numbers))]


async def end_sessions(server: Server, url: str) -> None:
    """Everybody has to connect anew."""
    sessions = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}' AND pid <> pg_backend_pid()"
    await server.execute(sessions.format(name_of(url)))


async def start(server: Server, **options: str) -> None:
    """Start it without holding up the recording."""
    await asyncio.to_thread(server.start, **options)


@asynccontextmanager
async def stopped(server: Server, how: signal.Signals) -> AsyncIterator[None]:
    await asyncio.to_thread(server.stop, how)
    yield
    await start(server)


@asynccontextmanager
async def smart(server: Server, _url: str) -> AsyncIterator[None]:
    """No new sessions; the server waits for those that are there, which an operator ends then."""
    postmaster, *children = processes(server)
    postmaster.send(signal.SIGTERM)
    for child in children:
        if "[local]" in child.command_line():
            child.send(signal.SIGTERM)
    async with stopped(server, signal.SIGTERM):
        yield


@asynccontextmanager
async def fast(server: Server, _url: str) -> AsyncIterator[None]:
    async with stopped(server, signal.SIGINT):
        yield


@asynccontextmanager
async def immediate(server: Server, _url: str) -> AsyncIterator[None]:
    async with stopped(server, signal.SIGQUIT):
        yield


async def kill(server: Server) -> None:
    """SIGKILL, and wait until the children have noticed that they are orphans."""
    all_of_it = processes(server)
    all_of_it[0].send(signal.SIGKILL)
    await asyncio.to_thread(server.stop)
    await until(lambda: not any(process.is_alive() for process in all_of_it))


@asynccontextmanager
async def killed(server: Server, _url: str) -> AsyncIterator[None]:
    await kill(server)
    yield
    await start(server)


@asynccontextmanager
async def restarted(server: Server, _url: str) -> AsyncIterator[None]:
    await asyncio.to_thread(server.stop)
    await start(server)
    yield


@asynccontextmanager
async def session_killed(server: Server, _url: str) -> AsyncIterator[None]:
    """SIGKILL for one session makes PostgreSQL end all of them and recover."""
    for child in processes(server)[1:]:
        if "[local]" in child.command_line():
            child.send(signal.SIGKILL)
    yield


@asynccontextmanager
async def without_connections(server: Server, url: str) -> AsyncIterator[None]:
    """Others hold all that there are."""
    await asyncio.to_thread(server.stop)
    await start(server, max_connections="5", superuser_reserved_connections="0")
    others = [await asyncpg.connect(server.url("postgres"))]
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(others) < 5:
                await others[0].fetch(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name_of(url)
                )
                with contextlib.suppress(asyncpg.TooManyConnectionsError):  # the writer was there first
                    others.append(await asyncpg.connect(server.url("postgres")))
        yield
    finally:
        for other in others:
            await other.close()


@asynccontextmanager
async def hot_standby(server: Server, _url: str) -> AsyncIterator[None]:
    """In recovery; it can be read."""
    mark = server.directory / "data" / "standby.signal"
    await asyncio.to_thread(server.stop)
    mark.touch()
    await start(server)
    yield
    await asyncio.to_thread(server.stop)
    mark.unlink()
    await start(server)


@asynccontextmanager
async def starting_up(server: Server, _url: str) -> AsyncIterator[None]:
    """In recovery from an archive that is slow to answer; nobody is let in."""
    mark, archive = server.directory / "data" / "recovery.signal", server.directory / "archive-answers"
    await asyncio.to_thread(server.stop)
    mark.touch()
    archive.unlink(missing_ok=True)
    command = f"while [ ! -e {archive} ]; do sleep 0.05; done; false"
    starting = asyncio.create_task(start(server, restore_command=command))
    yield
    archive.touch()
    await starting


@asynccontextmanager
async def newer(server: Server, url: str) -> AsyncIterator[None]:
    """Somebody has upgraded the schema."""
    await fetch(url, "INSERT INTO meeta.migrations (number, name, sha256) VALUES (9999, '9999_later', '')")
    await end_sessions(server, url)
    yield
    await fetch(url, "DELETE FROM meeta.migrations WHERE number = 9999")


@asynccontextmanager
async def without_schema(server: Server, url: str) -> AsyncIterator[None]:
    """The schema goes away under an open session, and comes back."""
    await fetch(url, "ALTER SCHEMA meeta RENAME TO elsewhere")
    yield
    await fetch(url, "ALTER SCHEMA elsewhere RENAME TO meeta")


@asynccontextmanager
async def read_only(server: Server, url: str) -> AsyncIterator[None]:
    """As an operator sets it, or a provider whose disk is nearly full."""
    await server.execute(f"ALTER DATABASE {name_of(url)} SET default_transaction_read_only = on")
    await end_sessions(server, url)
    yield
    await server.execute(f"ALTER DATABASE {name_of(url)} RESET default_transaction_read_only")


@asynccontextmanager
async def without_room_on_disk(server: Server, url: str) -> AsyncIterator[None]:
    """The table's file can't grow: a limit on the size of files, which PostgreSQL takes for the end of its disk.

    The limit must be above the 16 MiB of the write-ahead log's segments, so the table is made larger first, by rows
    that leave no room for others in their pages.
    """
    relation = "(SELECT tableoid::regclass FROM meeta.events LIMIT 1)"
    found = await fetch(url, f"SELECT {relation}::text AS name, pg_relation_filepath({relation}) AS path")
    padding = capture_id()
    await fetch(url, PAD.format(table=found[0]["name"]), padding)
    size = (server.directory / "data" / found[0]["path"]).stat().st_size
    assert size > 2**24
    limit_file_size(server, str(size + 4096))
    yield
    limit_file_size(server, "unlimited")
    await fetch(url, "DELETE FROM meeta.events WHERE capture_id = $1", padding)


PAD = """
    INSERT INTO {table} (capture_id, seq, type, origin, room, occurred_at, monotonic_ms, initial, inferred,
        payload, salt, commitment, digest)
    SELECT $1, n, 'padding', 'padding', repeat('x', 1820), occurred_at, 0, false, false, NULL, NULL, commitment, digest
    FROM (SELECT * FROM {table} LIMIT 1) AS one, generate_series(1, 10000) AS n
"""


def limit_file_size(server: Server, size: str) -> None:
    """Of every file that the server writes, as the server's user: that takes no privilege."""
    account = pwd.getpwnam(user) if (user := ordinary_user()) else None
    identity: dict[str, Any] = {"user": account.pw_uid, "group": account.pw_gid} if account else {}
    postmaster = processes(server)[0]
    _limit(postmaster, size, identity)
    for child in processes(server)[1:]:  # those that come later inherit it
        with contextlib.suppress(subprocess.CalledProcessError):  # it is gone already
            _limit(child, size, identity)


def _limit(process: Process, size: str, identity: dict[str, Any]) -> None:
    command = ["prlimit", "--pid", str(process.number), f"--fsize={size}:"]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL, **identity)


@asynccontextmanager
async def frozen(server: Server, _url: str) -> AsyncIterator[None]:
    """SIGSTOP for all its processes: connections stand, nothing answers."""
    for process in processes(server):
        process.send(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes(server):
            process.send(signal.SIGCONT)


class Trouble(NamedTuple):
    make: Callable[[Server, str], AbstractAsyncContextManager[None]]
    says: str  # what the writer says of it
    is_over_by_itself: bool = False


GONE = "Nothing listens|shutting down|connection was closed|hangs up"
TROUBLES = [
    Trouble(smart, GONE),
    Trouble(fast, GONE),
    Trouble(immediate, GONE),
    Trouble(killed, GONE),
    Trouble(restarted, ".", is_over_by_itself=True),
    Trouble(session_killed, ".", is_over_by_itself=True),
    Trouble(without_connections, "too many clients"),
    Trouble(hot_standby, r"cannot execute .* \(25006\); it is a standby or set to read-only"),
    Trouble(starting_up, r"the database system is (starting up|not yet accepting connections)"),
    Trouble(newer, "The schema is at migration 9999"),
    Trouble(without_schema, "no meeta schema yet; run `meeta-bot db upgrade`"),
    Trouble(read_only, r"cannot execute .* \(25006\); it is a standby or set to read-only"),
    Trouble(without_room_on_disk, "could not extend file"),
    Trouble(frozen, "(no|No) answer .*in time"),
]


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: trouble.make.__name__.replace("_", "-"))
async def test_recording_goes_on_and_everything_arrives_once_and_in_order(
    trouble: Trouble, fragile: Server, tmp_path: Path
) -> None:
    url = await fragile.migrated_database()
    try:
        async with recording(tmp_path, url) as made:
            made.begin()
            await made.stored(30)
            async with trouble.make(fragile, url):
                await made.waits_because(trouble.says)
                if not trouble.is_over_by_itself:
                    await made.more(BACKLOG)
            await until(lambda: made.writer.unavailable is None)
            await made.stored(made.appended)
            await made.finish()
            await assert_stored_once(url, made.truth.events)
            assert trouble.is_over_by_itself or max(made.sink.sizes) == OPTIONS["writer_bulk_events"]
    finally:
        fragile.restore()


async def test_a_schema_that_is_dropped_takes_only_what_it_held(fragile: Server, tmp_path: Path) -> None:
    url = await fragile.migrated_database()
    async with recording(tmp_path, url) as made:
        made.begin()
        await made.stored(30)
        await fetch(url, "DROP SCHEMA meeta CASCADE")
        await made.waits_because("no meeta schema yet; run `meeta-bot db upgrade`")
        dropped_at_most = made.writer.stored
        await made.more(BACKLOG)
        await migrations.upgrade(url, settings.load())
        await made.finish()
        found = await stored_events(url)
        dropped = len(made.truth.events) - len(found)
        assert 0 < dropped <= dropped_at_most
        assert found == expected(made.truth.events[dropped:])


async def test_a_row_that_is_refused_leaves_a_placeholder_and_holds_up_nothing(fragile: Server, tmp_path: Path) -> None:
    url = await fragile.migrated_database()
    await fetch(url, "ALTER TABLE meeta.events ADD CONSTRAINT refusal CHECK (payload IS NULL OR seq <> 7)")
    async with recording(tmp_path, url) as made:
        await made.append_at_once(2 * BACKLOG)  # in bulk
        made.begin()
        await made.more(BACKLOG)
        await made.finish()
        found = await stored_events(url, "payload IS NOT NULL")
        assert found == expected([event for event in made.truth.events if event.seq != 7])
        refused = expected([event for event in made.truth.events if event.seq == 7])
        held = await fetch(url, "SELECT capture_id, seq, kind, digest FROM meeta.quarantine")
        assert {(row["capture_id"], row["seq"], row["digest"]) for row in held} == {
            (*key, digest) for key, (digest, _) in refused.items()
        }
        placeholders = await fetch(url, "SELECT digest FROM meeta.events WHERE quarantine_reason IS NOT NULL")
        assert {row["digest"] for row in placeholders} == {digest for digest, _ in refused.values()}
        assert made.writer.quarantined == len(refused) == ROOMS + 1


# --- what is lost on the way ------------------------------------------------------------------------------------------


@pytest.fixture
async def proxy(fragile: Server) -> AsyncIterator[Proxy]:
    async with Proxy(fragile) as made:
        yield made
    fragile.restore()


async def test_a_copy_that_breaks_in_the_middle_comes_again(fragile: Server, proxy: Proxy, tmp_path: Path) -> None:
    url = await fragile.migrated_database()
    proxy.cut_once(b"COPY", after_bytes=20_000)
    async with recording(tmp_path, proxy.url(name_of(url))) as made:
        await made.append_at_once(2 * BACKLOG)
        made.deliver()
        await made.waits_because("connection was closed in the middle")
        assert proxy.cut.is_set()
        await made.finish()
        assert made.sink.duplicates == 0
        await assert_stored_once(url, made.truth.events)


async def test_what_was_committed_by_a_server_that_died_before_it_could_say_so_is_not_stored_again(
    fragile: Server, proxy: Proxy, tmp_path: Path
) -> None:
    url = await fragile.migrated_database()
    proxy.mute(at=b"COMMIT")
    async with recording(tmp_path, proxy.url(name_of(url))) as made:
        await made.append_at_once(2 * BACKLOG)
        made.deliver()
        await asyncio.wait_for(proxy.muted.wait(), PATIENCE_SECONDS)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await stored_events(url):  # noqa: ASYNC110 - another process commits
                await asyncio.sleep(LOOK_SECONDS)
        assert made.writer.stored == 0
        await kill(fragile)
        await made.waits_because(GONE)
        proxy.speak()
        await start(fragile)
        await made.finish()
        assert made.sink.duplicates == OPTIONS["writer_bulk_events"]
        await assert_stored_once(url, made.truth.events)


async def test_a_commit_that_is_not_answered_is_given_up_and_found_to_be_there(fragile: Server, proxy: Proxy) -> None:
    url = await fragile.migrated_database()
    batch = small_capture(COPY_EVENTS)
    target = PostgresSink(proxy.url(name_of(url)), settings.load(OPTIONS))
    proxy.mute(at=b"COMMIT")
    with pytest.raises(SinkUnavailable, match="no answer in time"):
        await asyncio.wait_for(target.write(batch), PATIENCE_SECONDS)
    proxy.speak()
    assert await target.write(batch) == Delivery(0, len(batch), 0)
    await target.close()


@pytest.mark.parametrize("silent_from", [b"COPY", b"COMMIT"])
async def test_a_writer_that_is_stopped_does_not_wait_for_a_server_that_hangs(
    silent_from: bytes, fragile: Server, proxy: Proxy, tmp_path: Path
) -> None:
    url = await fragile.migrated_database()
    patient = {"database_statement_timeout": 100 * PATIENCE_SECONDS, "database_connect_timeout": 0.1}
    proxy.mute(at=silent_from)
    async with recording(tmp_path, proxy.url(name_of(url)), **patient) as made:
        await made.append_at_once(2 * BACKLOG)
        made.deliver()
        await asyncio.wait_for(proxy.muted.wait(), PATIENCE_SECONDS)
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert not await made.writer.stop(0)
            await made.sink.close()
        assert made.writer.waiting == 2 * BACKLOG


async def test_closing_does_not_wait_for_a_server_that_hangs(fragile: Server, proxy: Proxy) -> None:
    url = await fragile.migrated_database()
    target = PostgresSink(proxy.url(name_of(url)), settings.load({**OPTIONS, "database_connect_timeout": 0.5}))
    await target.write(small_capture(2))
    proxy.mute()
    for process in processes(fragile):
        process.send(signal.SIGSTOP)
    try:
        await asyncio.wait_for(target.close(), PATIENCE_SECONDS)
    finally:
        for process in processes(fragile):
            process.send(signal.SIGCONT)
