"""The table of damage: numbers that were found missing, and their report to the captures.

Whatever was acknowledged and is gone gets a row in the table ``damage``, in the transaction in which that is found, so
that it is reported even if this process is killed as well. The row stays, marked as reported, while events of the
capture are in the spool, so that the same hole is not reported twice.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Mapping
from typing import NamedTuple

from meeta_bot.capture.spool.format import INSERT_DAMAGE
from meeta_bot.capture.spool.records import Damage
from meeta_bot.logs import get_logger

_PIECES_OF_EVIDENCE = 3  # that are reported to one capture; all of them are logged

_log = get_logger("spool")


class DamagedRange(NamedTuple):
    """Numbers of a capture that are missing, or not as they were written if `missed` is 0."""

    capture_id: str
    first_seq: int
    last_seq: int
    missed: int
    evidence: str
    since_at: int | None = None


def record(connection: sqlite3.Connection, ranges: list[DamagedRange]) -> list[DamagedRange]:
    """Write down those of `ranges` that are not known yet, within the caller's transaction; return them."""
    new = []
    for damaged in ranges:
        known = connection.execute(
            "SELECT 1 FROM damage WHERE capture_id = ? AND first_seq = ? AND last_seq = ? AND missed = ?", damaged[:4]
        ).fetchone()
        if known is None:
            connection.execute(INSERT_DAMAGE, damaged)
            new.append(damaged)
    for damaged in new:
        _log.error("events in the spool are damaged", **damaged._asdict())
    return new


def mark_reported(connection: sqlite3.Connection, capture_id: str, number: int) -> None:
    """Mark the damage of a capture up to row `number` as reported, within the caller's transaction."""
    connection.execute("UPDATE damage SET reported = 1 WHERE capture_id = ? AND number <= ?", (capture_id, number))


def forget(connection: sqlite3.Connection) -> None:
    """Drop the damage that nobody can ask for any more, within the caller's transaction."""
    connection.execute(
        "DELETE FROM damage WHERE NOT EXISTS (SELECT 1 FROM events LIMIT 1)"
        " AND (reported = 1 OR capture_id NOT IN (SELECT capture_id FROM captures WHERE ended = 0))"
    )


# --- the report ---------------------------------------------------------------------------------------------------


class UnreportedDamage:
    """The damage that open captures were not told yet. To be asked from any thread."""

    def __init__(self) -> None:
        self._damage: dict[str, tuple[Damage, int]] = {}
        self._taken: dict[str, int] = {}  # by capture, the row of the table up to which damage was taken
        self._turn = threading.Lock()

    def load(self, connection: sqlite3.Connection) -> dict[str, Damage]:
        """Load what the table has by now, by capture; only of captures without an end."""
        with self._turn:
            self._damage = _unreported(connection, self._taken)
            return {capture_id: damage for capture_id, (damage, _) in self._damage.items()}

    def take(self, capture_id: str) -> tuple[Damage, int] | None:
        """Take the damage of a capture, once; with it the row of the table up to which it goes."""
        with self._turn:
            found = self._damage.pop(capture_id, None)
            if found is not None:
                self._taken[capture_id] = found[1]
            return found


def _unreported(connection: sqlite3.Connection, taken: Mapping[str, int]) -> dict[str, tuple[Damage, int]]:
    """Return by capture the damage behind the rows that are `taken`, and the number of its last row."""
    rows = connection.execute(
        "SELECT number, capture_id, missed, evidence, since_at FROM damage WHERE reported = 0 AND capture_id IN"
        " (SELECT capture_id FROM captures WHERE ended = 0) ORDER BY number"
    ).fetchall()
    found: dict[str, list[tuple[int, str, int, str, int | None]]] = {}
    for row in rows:
        if row[0] > taken.get(row[1], 0):
            found.setdefault(row[1], []).append(row)
    return {capture_id: (_summed(of_one), of_one[-1][0]) for capture_id, of_one in found.items()}


def _summed(rows: list[tuple[int, str, int, str, int | None]]) -> Damage:
    evidence = [row[3] for row in rows]
    text = "; ".join(evidence[:_PIECES_OF_EVIDENCE])
    if len(evidence) > _PIECES_OF_EVIDENCE:
        text += f"; and {len(evidence) - _PIECES_OF_EVIDENCE} more"
    moments = [row[4] for row in rows if row[4] is not None]
    return Damage(sum(row[2] for row in rows), text, min(moments, default=None))
