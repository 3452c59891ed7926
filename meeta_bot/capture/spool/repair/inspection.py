"""Inspection of a spool: blocks that can't be read, numbers that are missing, chains that are broken.

A damaged block is set aside, into a file, so that what is behind it goes on.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from meeta_bot.capture.spool.file import block_at, captures, missing_ordinals, transaction
from meeta_bot.capture.spool.format import BlockDamaged, BlockRow, Contents
from meeta_bot.capture.spool.repair.damage import DamagedRange, record
from meeta_bot.events import SealedEvent, chain
from meeta_bot.logs import get_logger

DAMAGED_FILES = 100  # blocks and logs that are set aside; more of them would show nothing new
DAMAGED_BYTES = 64 * 2**20  # of them together: more than the log of SQLite and some hundred blocks
VANISHED = "no longer in the spool, though they were never delivered"

_SELECT_CONTENTS_BACKWARDS = "SELECT ordinal, count, contents FROM events ORDER BY ordinal DESC"

_log = get_logger("spool")


class Standing(NamedTuple):
    """The knowledge about a spool beside its file: ``passed``, the ordinal up to which all is delivered, and the last.

    ``undelivered``: last numbers of the captures whose last event is not delivered, so that it should be there.
    """

    passed: int
    last_ordinal: int
    undelivered: Mapping[str, int]


# --- blocks that can't be read ------------------------------------------------------------------------------------


def set_aside(
    connection: sqlite3.Connection, directory: Path, row: BlockRow, why: str, standing: Standing
) -> list[DamagedRange]:
    """Put a damaged block out of the way, into a file, and record the numbers that are missing with it.

    :returns: those that were not known to be missing.
    """
    kept = keep(directory, f"damaged-{row.ordinal}", row.sealed) if isinstance(row.sealed, bytes) else None
    outcome = f"set aside as {kept}" if kept else "not kept"
    whose = row.whose()
    _log.error("a block of the spool is damaged", ordinal=row.ordinal, events=row.size, problem=why, outcome=outcome)
    with transaction(connection):
        connection.execute("DELETE FROM events WHERE ordinal = ?", (row.ordinal,))
        evidence = f"a block of the spool was damaged: {why}; {outcome}"
        if row.ordinal <= standing.passed:
            ranges = []  # it had been delivered, and came back with a lost tail
        elif whose is None:
            ranges = holes(connection, standing, evidence)
        else:
            ranges = [
                _missing_range(connection, capture_id, first, last, evidence) for capture_id, first, last in whose
            ]
        return record(connection, ranges)


def _missing_range(
    connection: sqlite3.Connection, capture_id: str, first: int, last: int, evidence: str
) -> DamagedRange:
    before = last_event(connection, capture_id, first)
    since_at = None if before is None else before[1].occurred_at
    return DamagedRange(capture_id, first, last, last - first + 1, f"{numbers_text(first, last)}: {evidence}", since_at)


def numbers_text(first: int, last: int) -> str:
    """Write numbers of a capture in words."""
    return f"number {first}" if first == last else f"numbers {first} to {last}"


def keep(directory: Path, name: str, content: bytes) -> str | None:
    """Write damaged content to a file of that name.

    :returns: the name; None where there is too much of it already, or no room.
    """
    sizes = [file.stat().st_size for file in directory.glob("damaged-[0-9]*")]
    if len(sizes) >= DAMAGED_FILES or sum(sizes) + len(content) > DAMAGED_BYTES:
        return None
    try:
        file = os.open(directory / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(file, "wb") as opened:
            opened.write(content)
    except FileExistsError:
        return name  # it was kept before, and its row came back with a lost tail
    except OSError:
        return None
    return name


def holes(connection: sqlite3.Connection, standing: Standing, evidence: str) -> list[DamagedRange]:
    """Return the numbers that are missing between those that are there, and behind them, and not known to be missing.

    What is missing before the first event of a capture that is there can't be told from what is delivered. How many
    events are missing at all is known by their ordinals, so that it can be told of a single capture.
    """
    there = _ranges(connection, standing.passed)
    known: dict[str, list[tuple[int, int]]] = {}
    known_count = 0
    for capture_id, first, last, missed in connection.execute(
        "SELECT capture_id, first_seq, last_seq, missed FROM damage"
    ):
        known.setdefault(capture_id, []).append((first, last))
        known_count += missed
    lasts: dict[str, int] = dict(connection.execute("SELECT capture_id, last_seq FROM captures").fetchall())
    found = []
    for capture_id in there.keys() | standing.undelivered.keys():
        ranges = there.get(capture_id, [])
        last = lasts.get(capture_id, standing.undelivered.get(capture_id, 0))
        begin = min((first for first, _ in ranges), default=last)
        found += [(capture_id, *hole) for hole in _between([*ranges, *known.get(capture_id, [])], begin, last)]
    missing = missing_ordinals(connection, standing.passed, standing.last_ordinal)
    unexplained = sum(last - first + 1 for first, last in missing) - known_count
    unexplained -= sum(last - first + 1 for _, first, last in found)
    found += _before_the_first(unexplained, standing, there, found)
    return [_missing_range(connection, capture_id, first, last, evidence) for capture_id, first, last in found]


def _before_the_first(
    unexplained: int,
    standing: Standing,
    there: Mapping[str, list[tuple[int, int]]],
    found: list[tuple[str, int, int]],
) -> list[tuple[str, int, int]]:
    """Return so many `unexplained` numbers before the first that is there, or `found` missing, of a single capture."""
    if unexplained > 0 and len(standing.undelivered) == 1:
        (capture_id,) = standing.undelivered
        begin = min((first for first, _ in there.get(capture_id, [])), default=0)
        begin = begin or min((first for _, first, _ in found), default=standing.undelivered[capture_id] + 1)
        if begin > 1:
            return [(capture_id, max(1, begin - unexplained), begin - 1)]
    elif unexplained > 0:
        _log.error("events in the spool are missing, nobody knows of which captures", events=unexplained)
    return []


def _between(ranges: list[tuple[int, int]], begin: int, last: int) -> Iterator[tuple[int, int]]:
    """Yield the ranges that `ranges` leave uncovered of the numbers from `begin` to `last`."""
    reached = begin - 1
    for first, end in sorted(ranges):
        if first > reached + 1 and reached < last:
            yield reached + 1, min(first - 1, last)
        reached = max(reached, end)
    if reached < last:
        yield reached + 1, last


def last_event(
    connection: sqlite3.Connection, capture_id: str, before: int | None = None
) -> tuple[int, SealedEvent] | None:
    """Return the last event of a capture in the spool, with its ordinal; only of those before number `before`."""
    for ordinal, count, contents in connection.execute(_SELECT_CONTENTS_BACKWARDS).fetchall():
        held = _whose(connection, ordinal, count, contents)
        if any(name == capture_id and (before is None or first < before) for name, first, _ in held):
            with contextlib.suppress(BlockDamaged):
                events = block_at(connection, ordinal).events()
                return max(
                    (ordinal - len(events) + 1 + index, event)
                    for index, event in enumerate(events)
                    if event.capture_id == capture_id and (before is None or event.seq < before)
                )
    return None


def last_ordinals(connection: sqlite3.Connection) -> dict[str, int]:
    """Return by capture the ordinal of the last block that holds events of it."""
    found: dict[str, int] = {}
    for ordinal, count, contents in connection.execute(_SELECT_CONTENTS_BACKWARDS).fetchall():
        for capture_id, _, _ in _whose(connection, ordinal, count, contents):
            found.setdefault(capture_id, ordinal)
    return found


def _ranges(connection: sqlite3.Connection, passed: int) -> dict[str, list[tuple[int, int]]]:
    """Return by capture the numbers of the events that are there; of damaged blocks, those that they should hold."""
    found: dict[str, list[tuple[int, int]]] = {}
    rows = connection.execute("SELECT ordinal, count, contents FROM events WHERE ordinal > ?", (passed,)).fetchall()
    for ordinal, count, contents in rows:
        for capture_id, first, last in _whose(connection, ordinal, count, contents):
            found.setdefault(capture_id, []).append((first, last))
    return found


def _whose(connection: sqlite3.Connection, ordinal: int, count: int, contents: bytes) -> Contents:
    held = BlockRow(ordinal, b"", count, contents, 0).whose()
    if held is None:
        held = block_at(connection, ordinal).whose()
    return held or []


# --- chains -------------------------------------------------------------------------------------------------------


def check(connection: sqlite3.Connection, directory: Path, last_ordinal: int, standing: Standing) -> list[DamagedRange]:
    """Check all blocks up to `last_ordinal`: each as it was written, numbers without holes, chains unbroken.

    Damaged blocks are set aside. An event in a sound block whose digest does not follow stays where it is and is
    delivered, for the readers of the log to see; it counts as altered, not as missing.

    :returns: the numbers that are missing or altered and were not known to be.
    """
    found: list[DamagedRange] = []
    ends: dict[str, SealedEvent] = {}
    altered: list[DamagedRange] = []
    numbers = connection.execute("SELECT ordinal FROM events WHERE ordinal <= ? ORDER BY ordinal", (last_ordinal,))
    for (ordinal,) in numbers.fetchall():
        row = block_at(connection, ordinal)
        try:
            events = row.events()
        except BlockDamaged as error:
            found += set_aside(connection, directory, row, str(error), standing)
            continue
        altered += _altered(events, ends)
    for capture in captures(connection):
        end = ends.get(capture.capture_id)
        if end is not None and end.seq == capture.last_seq and end.digest != capture.head:
            altered.append(_not_following(capture.capture_id, end.seq, "is not the head of the capture"))
    with transaction(connection):
        missing = holes(connection, standing, VANISHED)
        return found + record(connection, altered + missing)


def _altered(events: list[SealedEvent], ends: dict[str, SealedEvent]) -> Iterator[DamagedRange]:
    """Yield the events that are not what was sealed; `ends`, the last one of each capture, is brought forward."""
    for event in events:
        before = ends.get(event.capture_id)
        ends[event.capture_id] = event
        if event.salt and chain.commit(event.salt, event.payload.encode()) != event.commitment:
            yield _not_following(event.capture_id, event.seq, "does not fit its commitment")
        elif before is not None and before.seq + 1 == event.seq:
            digest = chain.link(before.digest, chain.envelope_of(event), event.commitment)
            if digest != event.digest:
                yield _not_following(event.capture_id, event.seq, "does not follow from the one before")


def _not_following(capture_id: str, seq: int, how: str) -> DamagedRange:
    return DamagedRange(capture_id, seq, seq, 0, f"number {seq} {how}: one of the two was altered in the spool")
