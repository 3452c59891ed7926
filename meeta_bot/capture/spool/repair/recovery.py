"""What becomes of captures whose witness knows more than the database, or whose row in it is damaged.

A capture goes on from the furthest that is known of it, by its witness or by its events, so that no number is given
twice. What the database does not have of it is a loss, unless it was delivered before. An end that is lost and was not
delivered is no end: the capture is open again, so that whoever owns the spool now writes one.
"""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

import msgspec

from meeta_bot.capture.normalize import State
from meeta_bot.capture.spool.file import SavedCapture, capture_of, captures, saved_capture
from meeta_bot.capture.spool.records import Position
from meeta_bot.capture.spool.repair import inspection
from meeta_bot.capture.spool.repair.damage import DamagedRange
from meeta_bot.capture.spool.witness import Witness, WitnessedPosition, witnessed_position
from meeta_bot.logs import get_logger

_log = get_logger("spool")


class Recovered(NamedTuple):
    """A capture's row as it is from now on, and what there is to tell of it."""

    row: SavedCapture
    ranges: list[DamagedRange]


def refresh(connection: sqlite3.Connection, witness: Witness) -> None:
    """Have the witness know what the database knows: a process may be killed between the two."""
    fresh: list[WitnessedPosition] = []
    ordinals: dict[str, int] | None = None
    for row in captures(connection):
        head = witness.known.get(row.capture_id)
        state = row.decoded()
        is_same = head is not None and head.last_seq == row.last_seq and head.ended == bool(row.ended)
        if state is not None and not is_same:
            ordinals = inspection.last_ordinals(connection) if ordinals is None else ordinals
            ordinal = max(ordinals.get(row.capture_id, 0), head.ordinal if head else 0)
            fresh.append(witnessed_position(state, row.position, ordinal, row.touched_at))
    witness.note(fresh)


# --- a tail that is lost ------------------------------------------------------------------------------------------


def behind(connection: sqlite3.Connection, witness: Witness) -> list[WitnessedPosition]:
    """The captures of which the database knows less than their witness, as that has them."""
    return [head for head in witness.known.values() if _is_behind(connection, head, witness.passed)]


def _is_behind(connection: sqlite3.Connection, head: WitnessedPosition, passed: int) -> bool:
    row = capture_of(connection, head.capture_id)
    if row is None:
        return not (head.ended and head.ordinal <= passed)  # such a one was forgotten
    return row.decoded() is None or row.last_seq < head.last_seq


def put_forward(connection: sqlite3.Connection, witness: Witness, known: WitnessedPosition) -> Recovered:
    """Have a capture go on from where its witness saw it, as `known`, and tell the damage."""
    row = capture_of(connection, known.capture_id)
    state = None if row is None else row.decoded()
    head = _last_known(connection, witness, known.capture_id) or known
    is_delivered = head.ordinal <= witness.passed
    if head.ended and is_delivered:  # it came back without its end, which is delivered
        return Recovered(_row(head), [])
    there = inspection.last_event(connection, head.capture_id)
    in_state = row.last_seq if row is not None and state is not None else 0
    reached = max(in_state, there[1].seq if there else 0)
    if reached < head.last_seq:
        head = msgspec.structs.replace(head, ended=False)
    if row is None or state is None:
        return Recovered(_row(head), [_tail_loss(head, reached, is_delivered=is_delivered, since_at=None)])
    loss = _tail_loss(head, reached, is_delivered=is_delivered, since_at=row.touched_at)
    newest = msgspec.structs.replace(head, touched_at=max(row.touched_at, head.touched_at))
    return Recovered(_row(newest, state), [loss])


def _tail_loss(head: WitnessedPosition, reached: int, *, is_delivered: bool, since_at: int | None) -> DamagedRange:
    missed = 0 if is_delivered else head.last_seq - reached
    evidence = f"the spool has lost its tail: its witness had seen number {head.last_seq}, the database has {reached}"
    if is_delivered:
        evidence += "; all of them had been delivered"
    elif missed:
        evidence += f"; missing, at most: {inspection.numbers_text(reached + 1, head.last_seq)}"
    else:
        evidence = f"what the spool knew of the capture was damaged; it goes on behind number {head.last_seq}"
    return DamagedRange(head.capture_id, min(reached + 1, head.last_seq), head.last_seq, missed, evidence, since_at)


# --- a row that is damaged ----------------------------------------------------------------------------------------


def mended(connection: sqlite3.Connection, witness: Witness, row: SavedCapture) -> Recovered | None:
    """In place of a capture's row that is damaged: what the witness, or the capture's events, tell of it.

    None when nothing is known of such a capture: then it is its name that is damaged.
    """
    head = _last_known(connection, witness, row.capture_id)
    _log.error("a capture's row in the spool is damaged", capture=row.capture_id, known=head is not None)
    if head is None and (witness.known or not isinstance(row.head, bytes)):
        return None
    if head is None:
        head = WitnessedPosition(
            row.capture_id, _whole(row.last_seq), row.head, 0, _whole(row.touched_at), 0, row.ended == 1, "", ""
        )
    loss = DamagedRange(head.capture_id, head.last_seq, head.last_seq, 0, "what was known of the capture was damaged")
    return Recovered(_row(head), [loss])


def _last_known(connection: sqlite3.Connection, witness: Witness, capture_id: str) -> WitnessedPosition | None:
    """How far a capture has come by its witness or by its events in the spool, whichever tells more."""
    head = witness.known.get(capture_id)
    found = inspection.last_event(connection, capture_id)
    if found is None or (head is not None and head.last_seq >= found[1].seq):
        return head
    ordinal, event = found
    deployment, room = (head.deployment, head.room) if head else ("", "")
    ended = event.type == "capture.ended"
    return WitnessedPosition(
        capture_id, event.seq, event.digest, ordinal, event.occurred_at, event.monotonic_ms, ended, deployment, room
    )


def _row(head: WitnessedPosition, state: State | None = None) -> SavedCapture:
    """A capture as far as `head` knows it, and else as it was in `state`, if that is left."""
    state = state or State(capture_id=head.capture_id, deployment=head.deployment, room=head.room)
    last_ms, counts = max(state.last_ms, head.last_ms), head.counts or state.counts
    state = msgspec.structs.replace(state, last_ms=last_ms, ended=head.ended, counts=counts)
    return saved_capture(Position(head.last_seq, head.head), state, head.touched_at)


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0
