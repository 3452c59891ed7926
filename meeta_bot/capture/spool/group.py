"""A group of appends that share a transaction: their events with numbers and digests, and the captures' positions."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from meeta_bot.capture.spool.format import Block, SavedCapture, blocks, saved_capture
from meeta_bot.capture.spool.records import Append, Position
from meeta_bot.capture.spool.witness import WitnessedPosition, witnessed_position
from meeta_bot.events import SealedEvent, chain


class Addition(NamedTuple):
    """An append of a group, with the row of ``damage`` up to which it reports damage to its capture."""

    capture_id: str
    append: Append
    reported: int | None = None


class Save(NamedTuple):
    """The position of a capture after a group, whose last event of it has `ordinal`; None where there is none of it."""

    capture_id: str
    append: Append
    position: Position
    ordinal: int | None

    def row(self) -> SavedCapture:
        """Make the row for `SAVE_CAPTURE`."""
        return saved_capture(self.position, self.append.state, self.append.touched_at)

    def witnessed(self, known: Mapping[str, WitnessedPosition]) -> WitnessedPosition:
        """Make the entry for the witness, which has `known` before."""
        before = known.get(self.capture_id)
        ordinal = (before.ordinal if before else 0) if self.ordinal is None else self.ordinal
        return witnessed_position(self.append.state, self.position, ordinal, self.append.touched_at)


class SealedGroup(NamedTuple):
    """A group ready to be written: blocks of events, each capture once. ``reached``: the position after each append."""

    blocks: list[Block]
    saves: list[Save]
    reached: list[Position]
    last_ordinal: int


def seal(group: Sequence[Addition], position_of: Callable[[str], Position], last_ordinal: int) -> SealedGroup:
    """Give the events of `group` their numbers and digests, behind `last_ordinal` and the position of each capture."""
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
    """Seal the events of `append`, add them to `sealed`, and return the position of the capture after them."""
    seq, head = before.last_seq, before.head
    salts = secrets.token_bytes(chain.SALT_BYTES * len(append.events))  # in one call, which costs as much as one salt
    for number, event in enumerate(append.events):
        seq += 1
        salt = salts[number * chain.SALT_BYTES : (number + 1) * chain.SALT_BYTES]
        one = chain.seal(capture_id, seq, head, event, salt)
        head = one.digest
        sealed.append(one)
    return Position(seq, head)
