"""The database file of a spool: tables, versions, blocks of events, and what shows that they are as they were written.

Format 4; see `spool` for the whole directory. A row's checksum is CRC-32 over all its columns. It shows what
happens by accident: a flipped bit, a row that was cut or mixed up. It shows nothing of what somebody does on purpose,
who can compute it as well: for that there are the digests, which hold from the spool to the reader of the log.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from meeta_bot.capture.normalize import State
from meeta_bot.capture.spool.records import Position
from meeta_bot.capture.spool.reserve import is_out_of_room
from meeta_bot.errors import SpoolError, SpoolFull, SpoolUnusable
from meeta_bot.events import SealedEvent

FORMAT_VERSION = 4
NAME = "events.sqlite3"
SQLITE_PAGE_BYTES = 4096
WAL_SQLITE_PAGES = 8192  # 32 MiB beside the spool: an append that has to write them back waits, so that few may have to
BLOCK_EVENTS = 500  # one row holds no more: whoever reads decodes whole blocks

_TABLES = """
CREATE TABLE captures (
    capture_id TEXT PRIMARY KEY,
    last_seq INTEGER NOT NULL,
    head BLOB NOT NULL,
    state BLOB NOT NULL,
    touched_at INTEGER NOT NULL,
    ended INTEGER NOT NULL,
    checksum INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE events (
    ordinal INTEGER PRIMARY KEY AUTOINCREMENT,
    count INTEGER NOT NULL,
    contents BLOB NOT NULL,
    checksum INTEGER NOT NULL,
    sealed BLOB NOT NULL
);
CREATE TABLE damage (
    number INTEGER PRIMARY KEY,
    capture_id TEXT NOT NULL,
    first_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    missed INTEGER NOT NULL,
    evidence TEXT NOT NULL,
    since_at INTEGER,
    reported INTEGER NOT NULL DEFAULT 0
);
"""

INSERT_BLOCK = "INSERT INTO events (ordinal, sealed, count, contents, checksum) VALUES (?, ?, ?, ?, ?)"
SAVE_CAPTURE = """
INSERT INTO captures (capture_id, last_seq, head, state, touched_at, ended, checksum) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (capture_id) DO UPDATE SET
    last_seq = excluded.last_seq, head = excluded.head, state = excluded.state, touched_at = excluded.touched_at,
    ended = excluded.ended, checksum = excluded.checksum
"""
SELECT_CAPTURES = "SELECT capture_id, last_seq, head, state, touched_at, ended, checksum FROM captures"
SELECT_BLOCKS = "SELECT ordinal, sealed, count, contents, checksum FROM events"

SELECT_DAMAGE = "SELECT number, capture_id, first_seq, last_seq, missed, evidence, since_at, reported FROM damage"
INSERT_DAMAGE = """
INSERT INTO damage (capture_id, first_seq, last_seq, missed, evidence, since_at, reported) VALUES (?, ?, ?, ?, ?, ?, 0)
"""
# What must be understood by a sound file, with how many parameters: a bit may have flipped in a column's name.
_TRIALS = (
    (INSERT_BLOCK, 5),
    (SAVE_CAPTURE, 7),
    (SELECT_CAPTURES, 0),
    (SELECT_BLOCKS, 0),
    (SELECT_DAMAGE, 0),
    (INSERT_DAMAGE, 6),
)

_ARRAY = b"\xdd"  # MessagePack: an array follows, its length in four bytes
_CRC_BYTES = 4

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[SealedEvent])
_contents_decoder = msgspec.msgpack.Decoder(list[tuple[str, int, int]])
_state_decoder = msgspec.msgpack.Decoder(State)

Contents = list[tuple[str, int, int]]  # whose events: capture, its first and last number here; without holes


class Block(NamedTuple):
    """Events of one row; `last` is the ordinal of the last of them."""

    last: int
    events: Sequence[SealedEvent]
    packed: bytes

    def row(self) -> tuple[object, ...]:
        """What `INSERT_BLOCK` takes."""
        contents = _encoder.encode(contents_of(self.events))
        contents += zlib.crc32(contents).to_bytes(_CRC_BYTES)
        count = len(self.events)
        return self.last, self.packed, count, contents, _block_checksum(self.last, self.packed, count, contents)


class BlockRow(NamedTuple):
    """A row of ``events`` as it is on disk, which may be damaged."""

    ordinal: int
    sealed: bytes
    size: int  # in events
    contents: bytes
    checksum: int

    def events(self) -> list[SealedEvent]:
        """What it holds.

        :raises BlockDamaged: it is not as it was written.
        """
        try:
            if _block_checksum(self.ordinal, self.sealed, self.size, self.contents) != self.checksum:
                raise BlockDamaged("its checksum does not fit")
            return unpack(self.sealed, self.size)
        except (msgspec.DecodeError, TypeError, ValueError, OverflowError) as error:
            raise BlockDamaged(f"it can't be decoded: {error}") from None

    def whose(self) -> Contents | None:
        """Whose events it holds, as far as that part of it is whole; None if nobody can tell."""
        if isinstance(self.contents, bytes):
            contents, checksum = self.contents[:-_CRC_BYTES], self.contents[-_CRC_BYTES:]
            if zlib.crc32(contents).to_bytes(_CRC_BYTES) == checksum:
                return _contents_decoder.decode(contents)
        with contextlib.suppress(BlockDamaged):
            return contents_of(self.events())
        return None


class BlockDamaged(Exception):
    """A block is not as it was written."""


class SavedCapture(NamedTuple):
    """A row of ``captures`` as it is on disk, which may be damaged."""

    capture_id: str
    last_seq: int
    head: bytes
    state: bytes
    touched_at: int
    ended: int
    checksum: int

    @property
    def position(self) -> Position:
        """How far it has come."""
        return Position(self.last_seq, self.head)

    def decoded(self) -> State | None:
        """The state; None when the row is not as it was written."""
        if _capture_checksum(self[:-1]) != self.checksum:
            return None
        try:
            return _state_decoder.decode(self.state)
        except (msgspec.DecodeError, TypeError):
            return None


def saved_capture(position: Position, state: State, touched_at: int) -> SavedCapture:
    """What `SAVE_CAPTURE` takes."""
    reached = (position.last_seq, position.head)
    values = (state.capture_id, *reached, _encoder.encode(state), touched_at, int(state.ended))
    return SavedCapture(*values, _capture_checksum(values))


def blocks(sealed: Sequence[SealedEvent], last_ordinal: int) -> list[Block]:
    """The rows that hold `sealed`, behind `last_ordinal`."""
    found = []
    for first in range(0, len(sealed), BLOCK_EVENTS):
        part = sealed[first : first + BLOCK_EVENTS]
        found.append(Block(last_ordinal + first + len(part), part, pack(part)))
    return found


def pack(events: Sequence[SealedEvent]) -> bytes:
    """Events one after the other, without their count before them, which the row has."""
    header_bytes = 1 if len(events) < 16 else 3  # of a MessagePack array; blocks are smaller than 65,536 events
    return _encoder.encode(events)[header_bytes:]


def unpack(packed: bytes, count: int) -> list[SealedEvent]:
    """The `count` events of a block, the column ``sealed`` of a row of ``events``.

    :raises msgspec.DecodeError: it is damaged.
    """
    return _decoder.decode(_ARRAY + count.to_bytes(4) + packed)


def contents_of(events: Sequence[SealedEvent]) -> Contents:
    """Whose `events` are; the numbers of a capture follow each other within a block."""
    found: dict[str, tuple[int, int]] = {}
    for event in events:
        first = found.get(event.capture_id)
        found[event.capture_id] = (event.seq if first is None else first[0], event.seq)
    return [(capture_id, first, last) for capture_id, (first, last) in found.items()]


def _block_checksum(ordinal: int, sealed: bytes, count: int, contents: bytes) -> int:
    return zlib.crc32(sealed, zlib.crc32(contents, zlib.crc32(b"%d %d" % (ordinal, count))))


def _capture_checksum(values: tuple[object, ...]) -> int:
    return zlib.crc32(_encoder.encode(values))


# --- the database -------------------------------------------------------------------------------------------------


def open_file(path: Path, max_bytes: int) -> sqlite3.Connection:
    """Open or create it, `max_bytes` large at most.

    :raises SpoolUnusable: it has another format.
    :raises OSError: it may only be read, which SQLite would notice at the first append.
    :raises sqlite3.Error: it is damaged, or can't be written.
    """
    _try_to_write(path)
    connection = open_unchecked(path)
    try:
        is_new = _format_of(connection, path) == 0
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_SQLITE_PAGES}")
        bound(connection, max_bytes)
        if is_new:
            _make_tables(connection)
        for sql, values in _TRIALS:
            connection.execute(f"EXPLAIN {sql}", (None,) * values)
        _refuse_disorder(connection)
    except UnicodeDecodeError:  # SQLite quotes what it does not understand
        connection.close()
        raise damaged_file_error() from None
    except BaseException:
        connection.close()
        raise
    return connection


def _refuse_disorder(connection: sqlite3.Connection) -> None:
    """Refuse a file in which rows may be read but not found: a bit of a key has flipped, and order is lost."""
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise damaged_file_error(found.replace("\n", " "))
    (newest,) = connection.execute("SELECT max(ordinal) FROM events").fetchone()
    if newest is not None and newest > ordinals(connection)[1]:
        raise damaged_file_error(f"ordinal {newest} was not given yet")


def damaged_file_error(problem: str = "file is not a database") -> sqlite3.DatabaseError:
    """What SQLite says of a file that is none of its own, or no longer."""
    error = sqlite3.DatabaseError(problem)
    error.sqlite_errorcode = sqlite3.SQLITE_NOTADB
    return error


def _try_to_write(path: Path) -> None:
    """Refuse what SQLite would open, to fail at the first append: a file that may only be read, by right or header.

    :raises OSError: it may not be written.
    :raises sqlite3.DatabaseError: a bit has flipped in the versions of its header.
    """
    if not path.exists():
        return
    file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        versions = os.pread(file, 2, 18)
    finally:
        os.close(file)
    if versions not in (b"", b"\1\1", b"\2\2"):
        raise damaged_file_error()


def open_unchecked(path: Path) -> sqlite3.Connection:
    """Open a file as it is, which may be damaged."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.text_factory = _text
    return connection


def refuse_other_formats(path: Path) -> None:
    """Refuse a file of another format before anything is done to it.

    :raises SpoolUnusable: it is one.
    """
    with contextlib.suppress(sqlite3.Error):  # missing, or damaged: for those that open it
        open_read_only(path, timeout=0).close()


def open_read_only(path: Path, timeout: float) -> sqlite3.Connection:
    """Open the file of a spool that another process may own, only to read it.

    :raises SpoolUnusable: it has another format.
    :raises sqlite3.Error: it can't be read.
    """
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=timeout)
    connection.text_factory = _text
    try:
        _format_of(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _text(value: bytes) -> str:
    """A text that may be damaged; then the checksum of its row says so."""
    return value.decode(errors="replace")


def bound(connection: sqlite3.Connection, max_bytes: int) -> None:
    """Let the database grow no larger; one that is larger already takes what finds room in it."""
    connection.execute(f"PRAGMA max_page_count = {max_bytes // SQLITE_PAGE_BYTES}")


def used_bytes(connection: sqlite3.Connection) -> int:
    """How much of the file holds something."""
    sqlite_pages: int = connection.execute("PRAGMA page_count").fetchone()[0]
    free: int = connection.execute("PRAGMA freelist_count").fetchone()[0]
    return (sqlite_pages - free) * SQLITE_PAGE_BYTES


def _format_of(connection: sqlite3.Connection, path: Path) -> int:
    """Return the format of the file: the present one, or 0 for a file in which nothing was written yet.

    :raises SpoolUnusable: it has another one.
    """
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version not in (0, FORMAT_VERSION):
        raise SpoolUnusable(
            f"The spool {path} has format {version}, this program reads and writes format {FORMAT_VERSION}",
            hint="deliver it with the version of meeta-bot that wrote it, or move its directory away",
        )
    return version


def _make_tables(connection: sqlite3.Connection) -> None:
    with transaction(connection):
        for sql in _TABLES.split(";"):
            connection.execute(sql)
        connection.execute(f"PRAGMA user_version = {FORMAT_VERSION}")


def ordinals(connection: sqlite3.Connection) -> tuple[int, int]:
    """The ordinal before the first event, and the last that was given."""
    given = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
    first = connection.execute("SELECT ordinal - count FROM events ORDER BY ordinal LIMIT 1").fetchone()
    last = given[0] if given else 0
    return (first[0] if first else last), last


def block_at(connection: sqlite3.Connection, ordinal: int) -> BlockRow:
    """The block that is there under `ordinal`."""
    return BlockRow(*connection.execute(f"{SELECT_BLOCKS} WHERE ordinal = ?", (ordinal,)).fetchone())


def captures(connection: sqlite3.Connection) -> list[SavedCapture]:
    """What is known of all captures, damaged or not."""
    return [SavedCapture(*values) for values in connection.execute(SELECT_CAPTURES).fetchall()]


def capture_of(connection: sqlite3.Connection, capture_id: str) -> SavedCapture | None:
    """What is known of one capture, damaged or not."""
    values = connection.execute(f"{SELECT_CAPTURES} WHERE capture_id = ?", (capture_id,)).fetchone()
    return None if values is None else SavedCapture(*values)


def missing_ordinals(connection: sqlite3.Connection, first: int, last: int) -> list[tuple[int, int]]:
    """The places between ordinals `first` and `last` that no row has, as ranges: first and last of each."""
    held: int = connection.execute("SELECT coalesce(sum(count), 0) FROM events").fetchone()[0]
    if held == last - first:
        return []
    found, reached = [], first
    for ordinal, size in connection.execute("SELECT ordinal, count FROM events ORDER BY ordinal").fetchall():
        begin = ordinal - size if isinstance(size, int) and 0 < size <= BLOCK_EVENTS else reached
        if begin > reached:
            found.append((reached + 1, begin))
        reached = max(reached, ordinal)
    if last > reached:
        found.append((reached + 1, last))
    return found


def waiting_of(connection: sqlite3.Connection, passed: int) -> dict[str, int]:
    """How many events of each capture lie behind ordinal `passed`; damaged blocks not.

    Of each row it reads whose events it holds, not the events, but for the one that `passed` lies in.
    """
    rows = connection.execute(
        "SELECT ordinal, count, contents FROM events WHERE ordinal > ? ORDER BY ordinal", (passed,)
    ).fetchall()
    found: Counter[str] = Counter()
    for ordinal, events, whose in rows:
        held = BlockRow(ordinal, b"", events, whose, 0).whose() if ordinal - events >= passed else None
        if held is None:
            with contextlib.suppress(BlockDamaged):
                part = block_at(connection, ordinal).events()
                held = contents_of(part[max(0, events - (ordinal - passed)) :])
        for capture_id, first, last in held or ():
            found[capture_id] += last - first + 1
    return dict(found)


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing, on disk when it is left, unless ``synchronous`` says otherwise."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


# --- errors -------------------------------------------------------------------------------------------------------

_CODE = 0xFF  # SQLite's extended codes have the plain one in their last byte
_HINT_FULL = "deliver it with `meeta-bot spool flush`, free disk space, or raise MEETA_SPOOL_MAX_BYTES"
_HINT_READ_ONLY = "give its owner's rights back, or name a directory that you may write to with MEETA_DATA_DIRECTORY"


def code_of(error: BaseException) -> int:
    """SQLite's code of an error; 0 for what did not come from it."""
    return getattr(error, "sqlite_errorcode", 0) or 0


def is_damaged(error: BaseException) -> bool:
    """Whether an error says that the file is not what SQLite has written."""
    return code_of(error) & _CODE in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def spool_full(directory: Path) -> SpoolFull:
    """Nothing more finds room."""
    return SpoolFull(f"The spool {directory} is full", hint=_HINT_FULL)


def spool_error(error: Exception, directory: Path) -> SpoolError:
    """What SQLite or the system said, as an error of the spool in `directory`."""
    if isinstance(error, SpoolError):
        return error
    code = code_of(error) & _CODE
    if code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and _is_out_of_room(directory)):
        return spool_full(directory)
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return SpoolError(f"Can't write the spool {directory}: {error}", hint=_HINT_READ_ONLY)
    if isinstance(error, OSError):
        return SpoolError(f"Can't write the spool {directory}: {error.strerror}", hint=_HINT_READ_ONLY)
    return SpoolError(f"The spool {directory} failed: {error}")


def _is_out_of_room(directory: Path) -> bool:
    sizes = [0]
    for name in (NAME, f"{NAME}-wal"):
        with contextlib.suppress(OSError):
            sizes.append((directory / name).stat().st_size)
    return is_out_of_room(directory, max(sizes))
