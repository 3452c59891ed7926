"""A group of appends that share a transaction: their events with numbers and digests, and how far captures come."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from meeta_bot.capture.spool.file import Block, SavedCapture, blocks, saved_capture
from meeta_bot.capture.spool.records import Append, Position
from meeta_bot.capture.spool.witness import WitnessedPosition, witnessed_position
from meeta_bot.events import SealedEvent, chain


class Addition(NamedTuple):
    """One append of a group: whose, what, and up to which row of ``damage`` the capture has been told."""

    capture_id: str
    append: Append
    reported: int | None = None


class Save(NamedTuple):
    """How far a capture comes with a group, whose last event of it has `ordinal`; None where there is none of it."""

    capture_id: str
    append: Append
    position: Position
    ordinal: int | None

    def row(self) -> SavedCapture:
        """For the database."""
        return saved_capture(self.position, self.append.state, self.append.touched_at)

    def head(self, known: Mapping[str, WitnessedPosition]) -> WitnessedPosition:
        """For the witness, which has `known` before."""
        before = known.get(self.capture_id)
        ordinal = (before.ordinal if before else 0) if self.ordinal is None else self.ordinal
        return witnessed_position(self.append.state, self.position, ordinal, self.append.touched_at)


class SealedGroup(NamedTuple):
    """What is to be written: blocks of events, each capture once. ``reached``: the position after each append."""

    blocks: list[Block]
    saves: list[Save]
    reached: list[Position]
    last_ordinal: int


def seal(group: Sequence[Addition], position_of: Callable[[str], Position], last_ordinal: int) -> SealedGroup:
    """Give the events of `group` their numbers and digests, behind `last_ordinal` and where each capture stands."""
    sealed: list[SealedEvent] = []
    saves: dict[str, Save] = {}
    reached = []
    for capture_id, append, _ in group:
        earlier = saves.get(capture_id)
        position = _seal(capture_id, earlier.position if earlier else position_of(capture_id), append, sealed)
        ordinal = earlier.ordinal if earlier else None
        if append.events:
            ordinal = last_ordinal + len(sealed)
        saves[capture_id] = Save(capture_id, append, position, ordinal)
        reached.append(position)
    return SealedGroup(blocks(sealed, last_ordinal), list(saves.values()), reached, last_ordinal + len(sealed))


def _seal(capture_id: str, before: Position, append: Append, sealed: list[SealedEvent]) -> Position:
    """Seal the events of `append`, add them to `sealed`, and tell how far the capture has come with them."""
    seq, head = before.last_seq, before.head
    salts = secrets.token_bytes(chain.SALT_BYTES * len(append.events))  # in one call, which costs as much as one salt
    for number, event in enumerate(append.events):
        seq += 1
        salt = salts[number * chain.SALT_BYTES : (number + 1) * chain.SALT_BYTES]
        one = chain.seal(capture_id, seq, head, event, salt)
        head = one.digest
        sealed.append(one)
    return Position(seq, head)
