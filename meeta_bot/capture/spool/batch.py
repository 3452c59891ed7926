"""A batch of a spool's file: the events that are read at once, and the damage on the way to them."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import NamedTuple

from meeta_bot.capture.spool.format import SELECT_BLOCKS, BlockDamaged, BlockRow
from meeta_bot.capture.spool.records import Spooled


class EventBatch(NamedTuple):
    """Events that were read at once, up to ordinal ``reached``; ``is_last`` when no sound block follows.

    ``damaged``: blocks that can't be read, and why. ``has_hole``: ordinals between sound blocks have no block.
    """

    events: list[Spooled]
    damaged: list[tuple[BlockRow, str]]
    has_hole: bool
    reached: int
    is_last: bool


def read_batch(connection: sqlite3.Connection, limit: int, after: int, max_bytes: int) -> EventBatch:
    """Read the oldest events behind ordinal `after`, at most `limit`, of blocks of `max_bytes` and a block more."""
    reached, room, has_hole = after, max_bytes, False
    found: list[Spooled] = []
    damaged: list[tuple[BlockRow, str]] = []
    rows = connection.execute(f"{SELECT_BLOCKS} WHERE ordinal > ? ORDER BY ordinal", (after,))
    with contextlib.closing(rows):
        for row in map(BlockRow._make, rows):
            try:
                events = row.events()
            except BlockDamaged as error:
                damaged.append((row, str(error)))
                continue
            first = row.ordinal - row.size + 1
            has_hole |= first > reached + 1
            reached = row.ordinal
            skipped = max(0, after + 1 - first)
            part = events[skipped : skipped + limit - len(found)]
            found += map(Spooled, range(first + skipped, row.ordinal + 1), part)
            room -= len(row.sealed)
            if len(found) >= limit or room <= 0:
                return EventBatch(found, damaged, has_hole, reached, is_last=False)
    return EventBatch(found, damaged, has_hole, reached, is_last=True)
