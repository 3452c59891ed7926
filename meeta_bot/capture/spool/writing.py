"""Changes of a spool's file within one transaction: groups of appends, and blocks that are delivered."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence

from meeta_bot.capture.spool.format import INSERT_BLOCK, SAVE_CAPTURE, SELECT_BLOCKS, BlockDamaged, BlockRow, blocks
from meeta_bot.capture.spool.group import Addition, SealedGroup
from meeta_bot.capture.spool.repair import damage


def write_group(connection: sqlite3.Connection, group: Sequence[Addition], sealed: SealedGroup) -> None:
    """Write a group of appends as it was sealed, and mark the damage that they report."""
    connection.executemany(INSERT_BLOCK, [block.row() for block in sealed.blocks])
    connection.executemany(SAVE_CAPTURE, [save.row() for save in sealed.saves])
    for addition in group:
        if addition.reported is not None:
            damage.mark_reported(connection, addition.capture_id, addition.reported)


def delete_blocks(connection: sqlite3.Connection, ordinal: int) -> None:
    """Delete the blocks up to `ordinal`, and what nobody can ask for without them.

    A block that `ordinal` lies in stays on disk as it is.
    """
    connection.execute("DELETE FROM events WHERE ordinal <= ?", (ordinal,))
    connection.execute("DELETE FROM captures WHERE ended = 1 AND NOT EXISTS (SELECT 1 FROM events LIMIT 1)")
    damage.forget(connection)


def cut_first_block(connection: sqlite3.Connection, ordinal: int) -> None:
    """Delete the events up to `ordinal` from the first block, so that they don't come back with the next opening."""
    values = connection.execute(f"{SELECT_BLOCKS} ORDER BY ordinal LIMIT 1").fetchone()
    if values is None:
        return
    row = BlockRow(*values)
    with contextlib.suppress(BlockDamaged):  # it stays as it is, for the next that opens the spool
        events = row.events()
        remaining = row.ordinal - ordinal
        if 0 < remaining < row.size:
            (rest,) = blocks(events[-remaining:], ordinal)
            connection.execute(f"REPLACE {INSERT_BLOCK.removeprefix('INSERT ')}", rest.row())
