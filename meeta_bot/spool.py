"""The spool: events on disk between being seen and being stored.

**Format.** A directory with ``lock`` (flock, held by the owning process) and ``events.sqlite3`` (WAL,
``synchronous=FULL``, format version in ``user_version``)::

    captures(capture_id, page_load, page_seq, last_seq, head, state, touched_at, ended)   one row per capture
    events(ordinal, sealed, count)       blocks of sealed events as MessagePack, in order of arrival; every event has an
                                         ordinal, a block is named by that of its last


**Promises.**

1. ``append`` returns after the events, the page's high-water mark and the normalizer's state are on disk together,
   in one transaction. If it raises, nothing of it is.
2. The spool alone gives ``seq`` and digests: without holes, once, in the order of appends of a capture.
3. Events stay until every open reader has forgotten them; without a reader they stay. Forgetting is neither flushed
   nor done at once, so a forgotten event may come back after a kill: sinks take the same event twice.
4. One process owns a spool. Locks vanish with their process: what a killed one left is adopted by the next.

What was appended lately is kept in memory too, up to a bound, so that readers that keep up read no disk: a copy, of
what is durable already.

All SQLite work happens in one thread. Appends that wait while the disk is busy share the next transaction. What was
forgotten is deleted together with the next append, or when nothing else waits, or when much of it has piled up.
"""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import fcntl
import os
import secrets
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from meeta_bot import chain
from meeta_bot.errors import SpoolBusy, SpoolError, SpoolFull, SpoolUnusable
from meeta_bot.events import Event, SealedEvent
from meeta_bot.logs import get_logger
from meeta_bot.normalize import State
from meeta_bot.settings import Settings

_T = TypeVar("_T")

_log = get_logger("spool")
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[SealedEvent])

FORMAT_VERSION = 2
PAGE_BYTES = 4096
WAL_PAGES = 8192  # 32 MiB beside the spool: an append that has to write them back waits, so that few may have to
BLOCK_EVENTS = 500  # one row holds no more: whoever reads decodes whole blocks
FORGOTTEN_EVENTS = 2000  # forgotten ones that may wait for an append to delete them; a few blocks of disk space
LARGEST_NUMBER_OF_SPOOLS = 1000  # of one data directory; each belongs to a process that runs or was killed

_SCHEMA = """
CREATE TABLE captures (
    capture_id TEXT PRIMARY KEY,
    page_load TEXT,
    page_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    head BLOB NOT NULL,
    state BLOB NOT NULL,
    touched_at INTEGER NOT NULL,
    ended INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE events (
    ordinal INTEGER PRIMARY KEY AUTOINCREMENT,
    sealed BLOB NOT NULL,
    count INTEGER NOT NULL DEFAULT 1
);
"""

# Version 1 had a row for each event, which is a block of one.
_FROM_VERSION_1 = "ALTER TABLE events ADD COLUMN count INTEGER NOT NULL DEFAULT 1"
_ARRAY = b"\xdd"  # MessagePack: an array follows, its length in four bytes

_SAVE_CAPTURE = """
INSERT INTO captures VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (capture_id) DO UPDATE SET
    page_load = excluded.page_load, page_seq = excluded.page_seq, last_seq = excluded.last_seq,
    head = excluded.head, state = excluded.state, touched_at = excluded.touched_at, ended = excluded.ended
"""


class Position(msgspec.Struct, frozen=True):
    """How far a capture has come: its last number and digest, and what its page has been acknowledged."""

    last_seq: int = 0
    head: bytes = chain.GENESIS
    page_load: str | None = None
    page_seq: int = 0


class Append(msgspec.Struct, frozen=True):
    """What one transaction adds to a capture. ``touched_at`` is the wall clock in ms."""

    state: State
    events: list[Event]
    touched_at: int
    page_load: str | None = None
    page_seq: int = 0


class OpenCapture(msgspec.Struct, frozen=True):
    """A capture in the spool that has no end yet."""

    state: State
    position: Position
    touched_at: int


class Spooled(msgspec.Struct, frozen=True):
    """A sealed event and its place in the spool."""

    ordinal: int
    event: SealedEvent


class _Block(NamedTuple):
    """Events of one row; `last` is the ordinal of the last of them."""

    last: int
    events: Sequence[SealedEvent]
    packed: bytes


class _Recent:
    """The events appended last, without a hole, `limit_bytes` of them as they are on disk."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._bytes = 0
        self._lasts: list[int] = []  # beside the blocks, to be searched
        self._blocks: list[tuple[Sequence[SealedEvent], int]] = []

    def add(self, blocks: Sequence[_Block]) -> None:
        """Keep the blocks that were committed next; the oldest make room."""
        for block in blocks:
            self._lasts.append(block.last)
            self._blocks.append((block.events, len(block.packed)))
            self._bytes += len(block.packed)
        surplus, count = self._bytes - self._limit_bytes, 0
        while surplus > 0:
            surplus -= self._blocks[count][1]
            count += 1
        self._drop(count)

    def forget(self, ordinal: int) -> None:
        """Let go of the blocks up to and including `ordinal`."""
        self._drop(bisect.bisect_right(self._lasts, ordinal))

    def read(self, limit: int, after: int) -> list[Spooled]:
        """At most `limit` of the events that follow ordinal `after`; none when those aren't here."""
        found: list[Spooled] = []
        for index in range(bisect.bisect_right(self._lasts, after), len(self._lasts)):
            events = self._blocks[index][0]
            first = self._lasts[index] - len(events) + 1
            if first > after + 1 and not found:
                break  # what comes next is on disk only
            skipped = max(0, after + 1 - first)
            part = events[skipped : skipped + limit - len(found)]
            found += map(Spooled, range(first + skipped, first + skipped + len(part)), part)
            if len(found) >= limit:
                break
        return found

    def _drop(self, count: int) -> None:
        if count:
            self._bytes -= sum(size for _, size in self._blocks[:count])
            del self._lasts[:count], self._blocks[:count]


_Pending = tuple[str, Append, asyncio.Future[Position]]


class Reader:
    """One consumer's place in a spool. What all readers have forgotten is gone."""

    def __init__(self, spool: Spool, place: int) -> None:
        """Stand at ordinal `place`: it and all before are forgotten. Made by `Spool.reader`."""
        self._spool = spool
        self.place = place
        self.is_open = True
        self.appended = asyncio.Event()  # set with every append; whoever waits for it clears it

    @property
    def waiting(self) -> int:
        """Events in the spool that this reader has not forgotten; none once it is closed."""
        return self._spool.last_ordinal - self.place if self.is_open else 0

    async def read(self, limit: int, after: int = 0) -> list[Spooled]:
        """The oldest events that it has not forgotten, at most `limit`; only those behind ordinal `after`."""
        return await self._spool.read(limit, max(self.place, after))

    async def forget(self, ordinal: int) -> None:
        """Be done with the events up to and including `ordinal`."""
        self.place = max(self.place, min(ordinal, self._spool.last_ordinal))
        await self._spool.forget_passed()

    async def close(self) -> None:
        """Go for good, so that what it has not read holds up nobody. Safe to call twice."""
        self.is_open = False
        await self._spool.forget_passed()


class Spool:
    """One spool directory, owned by this process until ``close``."""

    def __init__(self, directory: Path, settings: Settings) -> None:
        """Open or create the spool in `directory`.

        :raises SpoolBusy: another process owns it.
        :raises SpoolError: it can't be written, is damaged, or is of a newer version.
        """
        self.directory = directory
        self._settings = settings
        self._lock = _take_lock(directory)
        try:
            self._database, self._first, self.last_ordinal = _open_database(directory / "events.sqlite3", settings)
        except BaseException:
            os.close(self._lock)
            raise
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spool")
        self._positions: dict[str, Position] = {}
        self._pending: list[_Pending] = []
        self._committer: asyncio.Task[None] | None = None
        self._readers: list[Reader] = []
        self._recent = _Recent(settings.spool_recent_bytes)
        self.appended = asyncio.Event()

    @property
    def waiting(self) -> int:
        """Events that are not everywhere yet."""
        return self.last_ordinal - self._passed()

    def reader(self) -> Reader:
        """A new reader; it begins with the oldest event that is still there."""
        reader = Reader(self, self._first)
        self._readers.append(reader)
        return reader

    async def append(self, capture_id: str, append: Append) -> Position:
        """Make `append` durable.

        :raises SpoolFull: the bound or the disk's end is reached; nothing of it is stored.
        :raises SpoolError: SQLite failed otherwise; nothing of it is stored.
        """
        future: asyncio.Future[Position] = asyncio.get_running_loop().create_future()
        self._pending.append((capture_id, append, future))
        if self._committer is None:
            self._committer = asyncio.create_task(self._commit_pending())
        return await future

    async def read(self, limit: int, after: int = 0) -> list[Spooled]:
        """The oldest events behind ordinal `after`, at most `limit`, whoever has read them."""
        recent = self._recent.read(limit, max(after, self._first))
        if recent:
            await asyncio.sleep(0)  # whoever reads and reads shall not keep others from running
            return recent
        return await self._in_thread(self._read, limit, after)

    async def forget(self, ordinal: int) -> None:
        """Delete the events up to and including `ordinal`, whoever has read them."""
        await self._in_thread(self._forget, ordinal)

    async def forget_passed(self) -> None:
        """Delete what all open readers have forgotten, if it is time for that."""
        passed = self._passed()
        self._recent.forget(passed)
        is_idle = passed == self.last_ordinal and not self._pending
        if passed > self._first and (is_idle or passed - self._first >= FORGOTTEN_EVENTS):
            await self.forget(passed)

    async def open_captures(self) -> list[OpenCapture]:
        """The captures without an end; right after opening, those that a killed process left."""
        return await self._in_thread(self._open_captures)

    async def close(self) -> None:
        """Finish what is pending and let go of the directory. Safe to call twice."""
        if self._committer is not None:
            await self._committer
        if self._lock >= 0:
            lock, self._lock = self._lock, -1
            try:
                await self._in_thread(self._close)
            except SpoolError as error:  # nothing is lost by it: what was forgotten comes again
                _log.warning("spool closed before everything was forgotten", problem=str(error))
            finally:
                self._thread.shutdown()
                os.close(lock)

    async def _in_thread(self, work: Callable[..., _T], *args: object) -> _T:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, work, *args)
        except (sqlite3.Error, msgspec.DecodeError) as error:
            raise _spool_error(error, self.directory) from error

    async def _commit_pending(self) -> None:
        while self._pending:
            group = self._pending[: self._settings.spool_group_appends]
            del self._pending[: len(group)]
            await self._commit_group(group)
        self._committer = None

    async def _commit_group(self, group: list[_Pending]) -> None:
        try:
            positions, blocks = await self._in_thread(self._commit, [(key, append) for key, append, _ in group])
        except Exception as error:
            if len(group) > 1 and not isinstance(error, SpoolError):  # one that can't be written fails alone
                for pending in group:
                    await self._commit_group([pending])
                return
            for _, _, future in group:
                if not future.done():
                    future.set_exception(error)
            return
        self._recent.add(blocks)
        self.appended.set()
        for reader in self._readers:
            reader.appended.set()
        for (_, _, future), position in zip(group, positions, strict=True):
            if not future.done():
                future.set_result(position)

    def _passed(self) -> int:
        """The ordinal that all open readers have passed."""
        places = [reader.place for reader in self._readers if reader.is_open]
        return max(self._first, min(places, default=0))

    # --- in the spool's own thread ------------------------------------------------------------------------------

    def _commit(self, group: Sequence[tuple[str, Append]]) -> tuple[list[Position], list[_Block]]:
        positions = dict(self._positions)
        reached = []
        sealed: list[SealedEvent] = []
        saved: dict[str, Append] = {}
        for capture_id, append in group:
            before = positions.get(capture_id) or self._stored_position(capture_id)
            position = _seal(capture_id, before, append, sealed)
            positions[capture_id] = position
            reached.append(position)
            saved[capture_id] = append
        passed = self._passed()
        blocks = _blocks(sealed, self.last_ordinal)
        rows = [(block.last, block.packed, len(block.events)) for block in blocks]
        captures = [_capture_row(name, positions[name], append) for name, append in saved.items()]
        with _transaction(self._database):
            if passed > self._first:  # first, so that a full spool has room
                self._delete(passed)
            self._database.executemany("INSERT INTO events (ordinal, sealed, count) VALUES (?, ?, ?)", rows)
            self._database.executemany(_SAVE_CAPTURE, captures)
        self._first = max(self._first, passed)
        self.last_ordinal += len(sealed)
        for capture_id in {key for key, append in group if append.state.ended}:
            del positions[capture_id]
        self._positions = positions
        return reached, blocks

    def _stored_position(self, capture_id: str) -> Position:
        """Where a capture stands that this process has not written to yet."""
        row = self._database.execute(
            "SELECT last_seq, head, page_load, page_seq FROM captures WHERE capture_id = ?", (capture_id,)
        ).fetchone()
        return Position(*row) if row else Position()

    def _read(self, limit: int, after: int) -> list[Spooled]:
        blocks = self._database.execute(
            "SELECT ordinal, count, sealed FROM events WHERE ordinal > ? ORDER BY ordinal", (max(after, self._first),)
        )
        found: list[Spooled] = []
        for last, count, sealed in blocks:
            first = last - count + 1
            skipped = max(0, max(after, self._first) + 1 - first)
            events = unpack(sealed, count)[skipped : skipped + limit - len(found)]
            found += map(Spooled, range(first + skipped, last + 1), events)
            if len(found) >= limit:
                break
        blocks.close()
        return found

    def _forget(self, ordinal: int) -> None:
        self._database.execute("PRAGMA synchronous = NORMAL")  # no flush: see promise 3
        try:
            with _transaction(self._database):
                self._delete(ordinal)
        finally:
            self._database.execute("PRAGMA synchronous = FULL")
        self._first = max(self._first, min(ordinal, self.last_ordinal))

    def _delete(self, ordinal: int) -> None:
        """Delete the blocks up to `ordinal`; one that it lies in stays on disk as it is."""
        self._database.execute("DELETE FROM events WHERE ordinal <= ?", (ordinal,))
        self._database.execute("DELETE FROM captures WHERE ended = 1 AND NOT EXISTS (SELECT 1 FROM events LIMIT 1)")

    def _close(self) -> None:
        try:
            if self._passed() > self._first:
                self._forget(self._passed())
            self._cut_block()
        finally:
            self._database.close()

    def _cut_block(self) -> None:
        """Delete what is forgotten of the first block, so that it does not come back when the spool is opened again."""
        row = self._database.execute("SELECT ordinal, count, sealed FROM events ORDER BY ordinal LIMIT 1").fetchone()
        if row is not None and (remaining := row[0] - self._first) < row[1]:
            rest = _pack(unpack(row[2], row[1])[-remaining:])
            values = (remaining, rest, row[0])
            self._database.execute("UPDATE events SET count = ?, sealed = ? WHERE ordinal = ?", values)

    def _open_captures(self) -> list[OpenCapture]:
        rows = self._database.execute(
            "SELECT capture_id, state, last_seq, head, page_load, page_seq, touched_at FROM captures WHERE ended = 0"
        )
        found = []
        for capture_id, state, last_seq, head, page_load, page_seq, touched_at in rows:
            position = Position(last_seq, head, page_load, page_seq)
            self._positions.setdefault(capture_id, position)
            found.append(OpenCapture(msgspec.msgpack.decode(state, type=State), position, touched_at))
        return found


def acquire(root: Path, settings: Settings) -> Spool:
    """A spool under `root` that no running process owns: the first free one, or a new one.

    :raises SpoolError: `root` can't be written, or too many spools are in use.
    """
    for number in range(1, LARGEST_NUMBER_OF_SPOOLS):
        with _passing_over_others():
            return Spool(root / str(number), settings)
    raise SpoolError(f"{LARGEST_NUMBER_OF_SPOOLS} spools are in use under {root}")


def adopt(root: Path, settings: Settings) -> Iterator[Spool]:
    """The existing spools under `root` whose process is gone, each to be closed by the caller."""
    for directory in sorted(root.glob("*/events.sqlite3")):
        with _passing_over_others():
            yield Spool(directory.parent, settings)


@contextlib.contextmanager
def _passing_over_others() -> Iterator[None]:
    """A spool that another process owns is none of ours; one that can't be read keeps nobody from recording."""
    try:
        yield
    except SpoolBusy:
        pass
    except SpoolUnusable as error:
        _log.error("spool passed over", problem=str(error))


def _take_lock(directory: Path) -> int:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        hint = "name a directory that you may write to with MEETA_DATA_DIRECTORY"
        raise SpoolError(f"Can't write the spool {directory}: {error.strerror}", hint=hint) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise SpoolBusy(f"The spool {directory} belongs to another process") from None
    return lock


def _open_database(path: Path, settings: Settings) -> tuple[sqlite3.Connection, int, int]:
    """The database, the ordinal before its first event, and the last that it gave."""
    database = None
    try:
        database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        version = database.execute("PRAGMA user_version").fetchone()[0]
        if version > FORMAT_VERSION:
            raise SpoolUnusable(f"The spool {path} was written by a newer version of this program")
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
        database.execute(f"PRAGMA max_page_count = {settings.spool_max_bytes // PAGE_BYTES}")
        if version < FORMAT_VERSION:
            with _transaction(database):
                for sql in (_SCHEMA if version == 0 else _FROM_VERSION_1).split(";"):
                    database.execute(sql)
                database.execute(f"PRAGMA user_version = {FORMAT_VERSION}")
        first, last = _ordinals(database)
    except (sqlite3.Error, SpoolError) as error:
        if database is not None:
            database.close()
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
            raise SpoolUnusable(f"The spool {path.parent} is damaged: {error}") from error
        raise error if isinstance(error, SpoolError) else _spool_error(error, path.parent) from error
    return database, first, last


def _ordinals(database: sqlite3.Connection) -> tuple[int, int]:
    """The ordinal before the first event, and the last that was given."""
    given = database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
    first = database.execute("SELECT ordinal - count FROM events ORDER BY ordinal LIMIT 1").fetchone()
    last = given[0] if given else 0
    return (first[0] if first else last), last


@contextlib.contextmanager
def _transaction(database: sqlite3.Connection) -> Iterator[None]:
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise


def _seal(capture_id: str, before: Position, append: Append, sealed: list[SealedEvent]) -> Position:
    """Seal the events of `append`, add them to `sealed`, and tell how far the capture has come with them."""
    seq, head = before.last_seq, before.head
    salts = secrets.token_bytes(chain.SALT_BYTES * len(append.events))  # in one call, which costs as much as one salt
    for number, event in enumerate(append.events):
        seq += 1
        salt = salts[number * chain.SALT_BYTES : (number + 1) * chain.SALT_BYTES]
        one = chain.seal(capture_id, seq, head, event, salt)
        head = one.digest
        sealed.append(one)
    page_load = append.page_load or before.page_load
    return Position(seq, head, page_load, append.page_seq if append.page_load else before.page_seq)


def _capture_row(capture_id: str, position: Position, append: Append) -> tuple[object, ...]:
    state = msgspec.msgpack.encode(append.state)
    reached = (position.page_load, position.page_seq, position.last_seq, position.head)
    return (capture_id, *reached, state, append.touched_at, int(append.state.ended))


def _blocks(sealed: Sequence[SealedEvent], last_ordinal: int) -> list[_Block]:
    """The rows that hold `sealed`, behind `last_ordinal`."""
    blocks = []
    for first in range(0, len(sealed), BLOCK_EVENTS):
        part = sealed[first : first + BLOCK_EVENTS]
        blocks.append(_Block(last_ordinal + first + len(part), part, _pack(part)))
    return blocks


def _pack(events: Sequence[SealedEvent]) -> bytes:
    """Events one after the other, without their count before them: so version 1 wrote its single ones."""
    header_bytes = 1 if len(events) < 16 else 3  # of a MessagePack array; blocks are smaller than 65,536 events
    return _encoder.encode(events)[header_bytes:]


def unpack(packed: bytes, count: int) -> list[SealedEvent]:
    """The `count` events of a block, the column ``sealed`` of a row of ``events``.

    :raises msgspec.DecodeError: it is damaged.
    """
    return _decoder.decode(_ARRAY + count.to_bytes(4) + packed)


def _spool_error(error: Exception, directory: Path) -> SpoolError:
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
        hint = "deliver it with `meeta-bot spool flush`, free disk space, or raise MEETA_SPOOL_MAX_BYTES"
        return SpoolFull(f"The spool {directory} is full", hint=hint)
    return SpoolError(f"The spool {directory} failed: {error}")
