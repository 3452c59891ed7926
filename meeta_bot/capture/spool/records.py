"""Values that go into a spool and come out of it."""

from __future__ import annotations

import msgspec

from meeta_bot.capture.normalize import State
from meeta_bot.events import Event, SealedEvent, chain


class Position(msgspec.Struct, frozen=True):
    """The last number and the head digest of a capture."""

    last_seq: int = 0
    head: bytes = chain.GENESIS


class Append(msgspec.Struct, frozen=True):
    """The addition of one transaction to a capture. ``touched_at``: wall clock in ms until when all seen is on disk.

    ``urgent`` are a capture's last words, its gap and its end: they may use the reserve of a spool that is full.
    """

    state: State
    events: list[Event]
    touched_at: int
    urgent: bool = False


class Damage(msgspec.Struct, frozen=True):
    """The loss of a capture in the spool, after it was acknowledged.

    ``missed``: events that are gone; where the evidence says "at most", some of them may have been delivered before.
    0: nothing is missing, but something is not as it was written (an event, or what was known of the capture).
    ``since_at``: wall clock in ms of the last sign of the capture before what is missing, None where there is none.
    """

    missed: int
    evidence: str
    since_at: int | None = None


class OpenCapture(msgspec.Struct, frozen=True):
    """A capture in the spool that has no end yet.

    With ``damage``, ``state`` may be older than ``position``, or hold nothing but what the witness knew: whose it is.
    """

    state: State
    position: Position
    touched_at: int
    damage: Damage | None = None


class Spooled(msgspec.Struct, frozen=True):
    """A sealed event and its ordinal in the spool."""

    ordinal: int
    event: SealedEvent
