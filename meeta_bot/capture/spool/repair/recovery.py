"""Recovery of captures whose witness knows more than the spool's file, or whose row in it is damaged.

A capture goes on from the furthest that is known of it, by its witness or by its events, so that no number is given
twice. Numbers that the file does not have are damage, unless they were delivered before. An end that is lost and was
not delivered is no end: the capture is open again, so that whoever owns the spool now writes one.
"""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

import msgspec

from meeta_bot.capture.normalize import State
from meeta_bot.capture.spool.file import capture_of, captures
from meeta_bot.capture.spool.format import SavedCapture, saved_capture
from meeta_bot.capture.spool.records import Position
from meeta_bot.capture.spool.repair import inspection
from meeta_bot.capture.spool.repair.damage import DamagedRange
from meeta_bot.capture.spool.witness import Witness, WitnessedPosition, witnessed_position
from meeta_bot.logs import get_logger

_log = get_logger("spool")


class RecoveredCapture(NamedTuple):
    """A capture's row as it is from now on, and the damage to report to it."""

    row: SavedCapture
    ranges: list[DamagedRange]


def refresh(connection: sqlite3.Connection, witness: Witness) -> None:
    """Bring the witness up to what the file knows: a process may be killed between the two."""
    fresh: list[WitnessedPosition] = []
    ordinals: dict[str, int] | None = None
    for row in captures(connection):
        known = witness.known.get(row.capture_id)
        state = row.decoded()
        is_same = known is not None and known.last_seq == row.last_seq and known.ended == bool(row.ended)
        if state is not None and not is_same:
            ordinals = inspection.last_ordinals(connection) if ordinals is None else ordinals
            ordinal = max(ordinals.get(row.capture_id, 0), known.ordinal if known else 0)
            fresh.append(witnessed_position(state, row.position, ordinal, row.touched_at))
    witness.note(fresh)


# --- a tail that is lost ------------------------------------------------------------------------------------------


def behind(connection: sqlite3.Connection, witness: Witness) -> list[WitnessedPosition]:
    """Return the captures of which the file knows less than their witness, as the witness has them."""
    return [known for known in witness.known.values() if _is_behind(connection, known, witness.passed)]


def _is_behind(connection: sqlite3.Connection, known: WitnessedPosition, passed: int) -> bool:
    row = capture_of(connection, known.capture_id)
    if row is None:
        return not (known.ended and known.ordinal <= passed)  # such a one was forgotten
    return row.decoded() is None or row.last_seq < known.last_seq


def put_forward(connection: sqlite3.Connection, witness: Witness, witnessed: WitnessedPosition) -> RecoveredCapture:
    """Put a capture forward to where its witness saw it, as `witnessed`, with the damage that this is."""
    row = capture_of(connection, witnessed.capture_id)
    state = None if row is None else row.decoded()
    known = _last_known(connection, witness, witnessed.capture_id) or witnessed
    is_delivered = known.ordinal <= witness.passed
    if known.ended and is_delivered:  # it came back without its end, which is delivered
        return RecoveredCapture(_row(known), [])
    there = inspection.last_event(connection, known.capture_id)
    in_state = row.last_seq if row is not None and state is not None else 0
    reached = max(in_state, there[1].seq if there else 0)
    if reached < known.last_seq:
        known = msgspec.structs.replace(known, ended=False)
    if row is None or state is None:
        return RecoveredCapture(_row(known), [_lost_tail(known, reached, is_delivered=is_delivered, since_at=None)])
    lost = _lost_tail(known, reached, is_delivered=is_delivered, since_at=row.touched_at)
    newest = msgspec.structs.replace(known, touched_at=max(row.touched_at, known.touched_at))
    return RecoveredCapture(_row(newest, state), [lost])


def _lost_tail(known: WitnessedPosition, reached: int, *, is_delivered: bool, since_at: int | None) -> DamagedRange:
    missed = 0 if is_delivered else known.last_seq - reached
    evidence = f"the spool has lost its tail: its witness had seen number {known.last_seq}, its file has {reached}"
    if is_delivered:
        evidence += "; all of them had been delivered"
    elif missed:
        evidence += f"; missing, at most: {inspection.numbers_text(reached + 1, known.last_seq)}"
    else:
        evidence = f"what the spool knew of the capture was damaged; it goes on behind number {known.last_seq}"
    return DamagedRange(known.capture_id, min(reached + 1, known.last_seq), known.last_seq, missed, evidence, since_at)


# --- a row that is damaged ----------------------------------------------------------------------------------------


def mended(connection: sqlite3.Connection, witness: Witness, row: SavedCapture) -> RecoveredCapture | None:
    """Return the replacement of a capture's row that is damaged, from its witness or from its events.

    None when nothing is known of such a capture: then it is its name that is damaged.
    """
    known = _last_known(connection, witness, row.capture_id)
    _log.error("a capture's row in the spool is damaged", capture=row.capture_id, known=known is not None)
    if known is None and (witness.known or not isinstance(row.head, bytes)):
        return None
    if known is None:
        known = WitnessedPosition(
            row.capture_id, _whole(row.last_seq), row.head, 0, _whole(row.touched_at), 0, row.ended == 1, "", ""
        )
    evidence = "what was known of the capture was damaged"
    return RecoveredCapture(_row(known), [DamagedRange(known.capture_id, known.last_seq, known.last_seq, 0, evidence)])


def _last_known(connection: sqlite3.Connection, witness: Witness, capture_id: str) -> WitnessedPosition | None:
    """Return the position of a capture by its witness or by its events in the spool, whichever is further."""
    known = witness.known.get(capture_id)
    found = inspection.last_event(connection, capture_id)
    if found is None or (known is not None and known.last_seq >= found[1].seq):
        return known
    ordinal, event = found
    deployment, room = (known.deployment, known.room) if known else ("", "")
    ended = event.type == "capture.ended"
    return WitnessedPosition(
        capture_id, event.seq, event.digest, ordinal, event.occurred_at, event.monotonic_ms, ended, deployment, room
    )


def _row(known: WitnessedPosition, state: State | None = None) -> SavedCapture:
    """Make the row of a capture as `known`, and else as it was in `state`, if that is left."""
    state = state or State(capture_id=known.capture_id, deployment=known.deployment, room=known.room)
    last_ms, counts = max(state.last_ms, known.last_ms), known.counts or state.counts
    state = msgspec.structs.replace(state, last_ms=last_ms, ended=known.ended, counts=counts)
    return saved_capture(Position(known.last_seq, known.head), state, known.touched_at)


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0
