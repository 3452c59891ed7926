"""The rebuild of a spool's file from what can still be read of it; the file in its place is set aside."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from meeta_bot.capture.spool.file import open_file
from meeta_bot.capture.spool.format import (
    INSERT_BLOCK,
    NAME,
    SAVE_CAPTURE,
    SELECT_BLOCKS,
    SELECT_CAPTURES,
    SELECT_DAMAGE,
    BlockDamaged,
    BlockRow,
)

DAMAGED_WHOLE_FILES = 3  # whole files that are set aside, each up to spool_max_bytes large
_INSERT_NEW_BLOCK = INSERT_BLOCK.replace("INSERT", "INSERT OR IGNORE", 1)
_UNREADABLE = (sqlite3.DatabaseError, UnicodeDecodeError)  # the latter when SQLite quotes what it does not understand
DAMAGED_BLOCKS = 100  # that are copied; more of them would show nothing new
_LARGEST_ORDINAL = 2**60  # none is given that is larger; it bounds the search behind damaged parts


def rebuild(old: sqlite3.Connection, directory: Path, max_bytes: int) -> int:
    """Put a new file in the place of the spool's in `directory`, with all that can be read of the open `old`.

    `old` is closed then. What lies in its place, which may be another file, is kept beside it.

    :param max_bytes: bound of the new file.
    :returns: the number of events that were copied.
    :raises sqlite3.Error: the new file can't be written; the old one is still open and in its place.
    :raises OSError: likewise, or files can't be moved.
    """
    path, fresh = directory / NAME, directory / f"{NAME}.new"
    for ending in ("", "-wal", "-shm"):
        fresh.with_name(fresh.name + ending).unlink(missing_ok=True)
    new = open_file(fresh, max_bytes)
    try:
        copied = _salvage(old, new)
    finally:
        new.close()
    _flush(fresh)
    with contextlib.suppress(sqlite3.Error):
        old.close()
    _set_aside(path)
    fresh.replace(path)
    _flush(directory)
    return copied


def _set_aside(path: Path) -> None:
    """Keep the file that lies where the spool's is to be; its log goes, so that no other file is taken for its."""
    log = path.with_name(f"{NAME}-wal")
    for number in range(1, DAMAGED_WHOLE_FILES + 1):
        with contextlib.suppress(FileExistsError, FileNotFoundError):
            os.link(path, path.with_name(f"damaged-file-{number}"))
            with contextlib.suppress(OSError):
                os.link(log, path.with_name(f"damaged-file-{number}-wal"))
            break
    for gone in (log, path.with_name(f"{NAME}-shm")):
        gone.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


# --- what can be read ---------------------------------------------------------------------------------------------


def _salvage(old: sqlite3.Connection, new: sqlite3.Connection) -> int:
    """Copy into the empty spool `new` all that can be read of `old`; damaged parts are stepped over.

    Nothing is flushed, which is left to the caller, who uses `new` only when all of it is there.

    :returns: the number of events that were copied.
    :raises sqlite3.Error: `new` can't be written.
    """
    new.execute("PRAGMA synchronous = OFF")
    for values in _readable(old, SELECT_CAPTURES):
        with contextlib.suppress(sqlite3.IntegrityError):  # a NULL: the witness knows the capture
            new.execute(SAVE_CAPTURE, values)
    for values in _readable(old, SELECT_DAMAGE):
        with contextlib.suppress(sqlite3.IntegrityError):
            new.execute("INSERT INTO damage VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
    return _copy_blocks(old, new)


def _copy_blocks(old: sqlite3.Connection, new: sqlite3.Connection) -> int:
    """Copy the blocks, whatever order they are in; of several with one ordinal, the one that is as it was written.

    Damaged blocks are copied, too, since they may tell whose events are lost, but no ordinal behind the last that is
    sound is believed.
    """
    count, last = 0, 0
    damaged: list[BlockRow] = []
    for row in chain(_all_blocks(old), _findable_blocks(old)):
        try:
            row.events()
        except BlockDamaged:
            damaged = [*damaged, row][:DAMAGED_BLOCKS]
            continue
        last = max(last, row.ordinal)
        count += row.size * new.execute(_INSERT_NEW_BLOCK, row).rowcount
    for row in damaged:
        if 0 < row.ordinal < last:
            count += row.size * new.execute(_INSERT_NEW_BLOCK, row).rowcount
    return count


def _readable(old: sqlite3.Connection, select: str) -> Iterator[tuple[object, ...]]:
    """Yield the rows of a small table up to the first that can't be read."""
    with contextlib.suppress(*_UNREADABLE):
        yield from old.execute(select).fetchall()


def _all_blocks(old: sqlite3.Connection) -> Iterator[BlockRow]:
    """Yield the blocks as they lie in the file, up to the first that can't be read."""
    with contextlib.suppress(*_UNREADABLE):
        for values in old.execute(SELECT_BLOCKS):
            if isinstance(values[2], int):
                yield BlockRow(*values)


def _findable_blocks(old: sqlite3.Connection) -> Iterator[BlockRow]:
    """Yield the blocks that are found by their ordinals, those behind damaged parts, too."""
    after = 0
    while after < _LARGEST_ORDINAL:
        try:
            found = old.execute("SELECT ordinal FROM events WHERE ordinal > ? ORDER BY ordinal", (after,)).fetchone()
        except _UNREADABLE:
            after = _behind_damage(old, after)
            continue
        if found is None or found[0] <= after:  # out of order, and nothing would come of it for ever
            return
        after = found[0]
        with contextlib.suppress(*_UNREADABLE):
            values = old.execute(f"{SELECT_BLOCKS} WHERE ordinal = ?", (after,)).fetchone()
            if values is not None and isinstance(values[2], int):
                yield BlockRow(*values)


def _behind_damage(old: sqlite3.Connection, after: int) -> int:
    """Find the first ordinal behind which rows can be found again: in ever larger steps, then by halves."""

    def fails(ordinal: int) -> bool:
        try:
            old.execute("SELECT ordinal FROM events WHERE ordinal > ? ORDER BY ordinal", (ordinal,)).fetchone()
        except _UNREADABLE:
            return True
        return False

    bad, step = after, 1
    while fails(after + step):
        bad, step = after + step, step * 2
        if bad >= _LARGEST_ORDINAL:
            return bad
    good = after + step
    while good - bad > 1:
        middle = (good + bad) // 2
        bad, good = (middle, good) if fails(middle) else (bad, middle)
    return good
