"""The file of a spool: opening it, and queries of what it holds."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from meeta_bot.capture.spool.failures import damaged_file_error
from meeta_bot.capture.spool.format import (
    BLOCK_EVENTS,
    FORMAT_VERSION,
    SELECT_BLOCKS,
    SELECT_CAPTURES,
    STATEMENTS,
    TABLES,
    BlockDamaged,
    BlockRow,
    SavedCapture,
    contents_of,
)
from meeta_bot.errors import SpoolUnusable

SQLITE_PAGE_BYTES = 4096
LOG_SQLITE_PAGES = 8192  # 32 MiB beside the spool: an append that has to write them back waits, so that few may have to


def open_file(path: Path, max_bytes: int) -> sqlite3.Connection:
    """Open or create the file, which may grow to `max_bytes`.

    :raises SpoolUnusable: it has another format.
    :raises OSError: it may only be read, which SQLite would notice at the first append.
    :raises sqlite3.Error: it is damaged, or can't be written.
    """
    _refuse_unwritable(path)
    connection = open_unchecked(path)
    try:
        is_new = _format_of(connection, path) == 0
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {LOG_SQLITE_PAGES}")
        bound(connection, max_bytes)
        if is_new:
            _make_tables(connection)
        for sql, values in STATEMENTS:
            connection.execute(f"EXPLAIN {sql}", (None,) * values)
        _refuse_disorder(connection)
    except UnicodeDecodeError:  # SQLite quotes what it does not understand
        connection.close()
        raise damaged_file_error() from None
    except BaseException:
        connection.close()
        raise
    return connection


def open_unchecked(path: Path) -> sqlite3.Connection:
    """Open a file as it is, which may be damaged."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.text_factory = _text
    return connection


def open_read_only(path: Path, timeout: float) -> sqlite3.Connection:
    """Open the file of a spool that another process may own, only to read it.

    :param timeout: seconds to wait for a lock of that process.
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


def refuse_other_formats(path: Path) -> None:
    """Refuse a file of another format before anything is done to it.

    :raises SpoolUnusable: it has another format.
    """
    with contextlib.suppress(sqlite3.Error):  # missing, or damaged: for those that open it
        open_read_only(path, timeout=0).close()


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
        for sql in TABLES.split(";"):
            connection.execute(sql)
        connection.execute(f"PRAGMA user_version = {FORMAT_VERSION}")


def _refuse_unwritable(path: Path) -> None:
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


def _refuse_disorder(connection: sqlite3.Connection) -> None:
    """Refuse a file in which rows may be read but not found: a bit of a key has flipped, and order is lost."""
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise damaged_file_error(found.replace("\n", " "))
    (newest,) = connection.execute("SELECT max(ordinal) FROM events").fetchone()
    if newest is not None and newest > ordinals(connection)[1]:
        raise damaged_file_error(f"ordinal {newest} was not given yet")


def _text(value: bytes) -> str:
    """Decode a text that may be damaged; then the checksum of its row shows it."""
    return value.decode(errors="replace")


# --- size ---------------------------------------------------------------------------------------------------------


def bound(connection: sqlite3.Connection, max_bytes: int) -> None:
    """Let the file grow no larger; one that is larger already takes what finds room in it."""
    connection.execute(f"PRAGMA max_page_count = {max_bytes // SQLITE_PAGE_BYTES}")


def used_bytes(connection: sqlite3.Connection) -> int:
    """Return the bytes of the file that hold something."""
    all_of_it: int = connection.execute("PRAGMA page_count").fetchone()[0]
    free: int = connection.execute("PRAGMA freelist_count").fetchone()[0]
    return (all_of_it - free) * SQLITE_PAGE_BYTES


# --- queries ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit all of the block or nothing; it is on disk then, unless ``synchronous`` says otherwise."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def ordinals(connection: sqlite3.Connection) -> tuple[int, int]:
    """Return the ordinal before the first event, and the last that was given."""
    given = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
    first = connection.execute("SELECT ordinal - count FROM events ORDER BY ordinal LIMIT 1").fetchone()
    last = given[0] if given else 0
    return (first[0] if first else last), last


def block_at(connection: sqlite3.Connection, ordinal: int) -> BlockRow:
    """Return the block whose last event has `ordinal`; there must be one."""
    return BlockRow(*connection.execute(f"{SELECT_BLOCKS} WHERE ordinal = ?", (ordinal,)).fetchone())


def captures(connection: sqlite3.Connection) -> list[SavedCapture]:
    """Return the rows of all captures, damaged or not."""
    return [SavedCapture(*values) for values in connection.execute(SELECT_CAPTURES).fetchall()]


def capture_of(connection: sqlite3.Connection, capture_id: str) -> SavedCapture | None:
    """Return the row of one capture, damaged or not."""
    values = connection.execute(f"{SELECT_CAPTURES} WHERE capture_id = ?", (capture_id,)).fetchone()
    return None if values is None else SavedCapture(*values)


def missing_ordinals(connection: sqlite3.Connection, first: int, last: int) -> list[tuple[int, int]]:
    """Return the ordinals behind `first` and up to `last` that no block has, as ranges: first and last of each."""
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
    """Count the events of each capture behind ordinal `passed`; damaged blocks are not counted.

    Of each row it reads whose events it holds, not the events, but for the one that `passed` lies in.
    """
    rows = connection.execute(
        "SELECT ordinal, count, contents FROM events WHERE ordinal > ? ORDER BY ordinal", (passed,)
    )
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
