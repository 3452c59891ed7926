"""The spool: events on disk between being seen and being stored.

**Format.** A directory with ``lock`` (flock, held by the owning process) and ``events.sqlite3`` (WAL,
``synchronous=FULL``, format version in ``user_version``)::

    captures(capture_id, page_load, page_seq, last_seq, head, state, touched_at, ended)   one row per capture
    events(ordinal, sealed)                                       sealed events as MessagePack, in order of arrival

**Promises.**

1. ``append`` returns after the events, the page's high-water mark and the normalizer's state are on disk together,
   in one transaction. If it raises, nothing of it is.
2. The spool alone gives ``seq`` and digests: without holes, once, in the order of appends of a capture.
3. Events stay until ``forget``. A forgotten event may come back after a power failure, since forgetting is not
   flushed; sinks take the same event twice.
4. One process owns a spool. Locks vanish with their process: what a killed one left is adopted by the next.

All SQLite work happens in one thread. Appends that wait while the disk is busy share the next transaction.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import secrets
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import msgspec

from meeta_bot import chain
from meeta_bot.errors import SpoolBusy, SpoolError, SpoolFull, SpoolUnusable
from meeta_bot.events import Event, SealedEvent
from meeta_bot.logs import get_logger
from meeta_bot.normalize import State
from meeta_bot.settings import Settings

_T = TypeVar("_T")

_log = get_logger("spool")

FORMAT_VERSION = 1
PAGE_BYTES = 4096
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
CREATE TABLE events (ordinal INTEGER PRIMARY KEY AUTOINCREMENT, sealed BLOB NOT NULL);
"""

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


_Pending = tuple[str, Append, asyncio.Future[Position]]


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
            self._database, self.waiting = _open_database(directory / "events.sqlite3", settings)
        except BaseException:
            os.close(self._lock)
            raise
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spool")
        self._positions: dict[str, Position] = {}
        self._pending: list[_Pending] = []
        self._committer: asyncio.Task[None] | None = None
        self.appended = asyncio.Event()

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

    async def read(self, limit: int) -> list[Spooled]:
        """The oldest events, at most `limit`."""
        return await self._in_thread(self._read, limit)

    async def forget(self, ordinal: int) -> None:
        """Drop the events up to and including `ordinal`: they are stored elsewhere."""
        gone = await self._in_thread(self._forget, ordinal)
        self.waiting -= gone

    async def open_captures(self) -> list[OpenCapture]:
        """The captures without an end; right after opening, those that a killed process left."""
        return await self._in_thread(self._open_captures)

    async def close(self) -> None:
        """Finish what is pending and let go of the directory. Safe to call twice."""
        if self._committer is not None:
            await self._committer
        if self._lock >= 0:
            await self._in_thread(self._database.close)
            self._thread.shutdown()
            os.close(self._lock)
            self._lock = -1

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
            positions = await self._in_thread(self._commit, [(key, append) for key, append, _ in group])
        except Exception as error:
            if len(group) > 1 and not isinstance(error, SpoolError):  # one that can't be written fails alone
                for pending in group:
                    await self._commit_group([pending])
                return
            for _, _, future in group:
                if not future.done():
                    future.set_exception(error)
            return
        self.waiting += sum(len(append.events) for _, append, _ in group)
        self.appended.set()
        for (_, _, future), position in zip(group, positions, strict=True):
            if not future.done():
                future.set_result(position)

    # --- in the spool's own thread ------------------------------------------------------------------------------

    def _commit(self, group: Sequence[tuple[str, Append]]) -> list[Position]:
        positions = dict(self._positions)
        reached = []
        with _transaction(self._database):
            for capture_id, append in group:
                before = positions.get(capture_id) or self._stored_position(capture_id)
                position = self._write(capture_id, before, append)
                positions[capture_id] = position
                reached.append(position)
        self._positions = {key: value for key, value in positions.items() if not _ends(key, group)}
        return reached

    def _write(self, capture_id: str, before: Position, append: Append) -> Position:
        seq, head = before.last_seq, before.head
        rows = []
        for event in append.events:
            seq += 1
            sealed = chain.seal(capture_id, seq, head, event, secrets.token_bytes(chain.SALT_BYTES))
            head = sealed.digest
            rows.append((msgspec.msgpack.encode(sealed),))
        page_load = append.page_load or before.page_load
        page_seq = append.page_seq if append.page_load else before.page_seq
        self._database.executemany("INSERT INTO events (sealed) VALUES (?)", rows)
        state = msgspec.msgpack.encode(append.state)
        ended = int(append.state.ended)
        values = (capture_id, page_load, page_seq, seq, head, state, append.touched_at, ended)
        self._database.execute(_SAVE_CAPTURE, values)
        return Position(seq, head, page_load, page_seq)

    def _stored_position(self, capture_id: str) -> Position:
        """Where a capture stands that this process has not written to yet."""
        row = self._database.execute(
            "SELECT last_seq, head, page_load, page_seq FROM captures WHERE capture_id = ?", (capture_id,)
        ).fetchone()
        return Position(*row) if row else Position()

    def _read(self, limit: int) -> list[Spooled]:
        rows = self._database.execute("SELECT ordinal, sealed FROM events ORDER BY ordinal LIMIT ?", (limit,))
        decode = msgspec.msgpack.Decoder(SealedEvent).decode
        return [Spooled(ordinal, decode(sealed)) for ordinal, sealed in rows]

    def _forget(self, ordinal: int) -> int:
        self._database.execute("PRAGMA synchronous = NORMAL")  # no flush: see promise 3
        try:
            with _transaction(self._database):
                gone = self._database.execute("DELETE FROM events WHERE ordinal <= ?", (ordinal,)).rowcount
                self._database.execute(
                    "DELETE FROM captures WHERE ended = 1 AND NOT EXISTS (SELECT 1 FROM events LIMIT 1)"
                )
        finally:
            self._database.execute("PRAGMA synchronous = FULL")
        return gone

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


def _open_database(path: Path, settings: Settings) -> tuple[sqlite3.Connection, int]:
    """The database, and how many events it holds."""
    database = None
    try:
        database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        version = database.execute("PRAGMA user_version").fetchone()[0]
        if version > FORMAT_VERSION:
            raise SpoolUnusable(f"The spool {path} was written by a newer version of this program")
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute(f"PRAGMA max_page_count = {settings.spool_max_bytes // PAGE_BYTES}")
        if version == 0:
            with _transaction(database):
                for sql in _SCHEMA.split(";"):
                    database.execute(sql)
                database.execute(f"PRAGMA user_version = {FORMAT_VERSION}")
        waiting: int = database.execute("SELECT count(*) FROM events").fetchone()[0]
    except (sqlite3.Error, SpoolError) as error:
        if database is not None:
            database.close()
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
            raise SpoolUnusable(f"The spool {path.parent} is damaged: {error}") from error
        raise error if isinstance(error, SpoolError) else _spool_error(error, path.parent) from error
    return database, waiting


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


def _ends(capture_id: str, group: Sequence[tuple[str, Append]]) -> bool:
    return any(key == capture_id and append.state.ended for key, append in group)


def _spool_error(error: Exception, directory: Path) -> SpoolError:
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
        hint = "deliver it with `meeta-bot spool flush`, free disk space, or raise MEETA_SPOOL_MAX_BYTES"
        return SpoolFull(f"The spool {directory} is full", hint=hint)
    return SpoolError(f"The spool {directory} failed: {error}")
