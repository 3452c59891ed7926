"""What several unit tests build: settings, events, appends, sealed chains."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from meeta_bot.capture.normalize import Message, State
from meeta_bot.capture.spool import Append
from meeta_bot.events import CaptureError, Event, Payload, SealedEvent, chain
from meeta_bot.settings import Settings, load

CAPTURE = "01932c5e-8f00-7000-8000-00000000000a"


def settings(**changes: Any) -> Settings:
    """The defaults, with what a test wants otherwise."""
    return load(changes)


def state(capture_id: str = CAPTURE, **changes: Any) -> State:
    return State(capture_id=capture_id, deployment="https://meet.example.org", room="standup", **changes)


def event(number: int = 1, payload: Payload | None = None, **changes: Any) -> Event:
    """An event that `number` tells from others."""
    given = payload or CaptureError(where="test", message=f"message {number}")
    fields: dict[str, Any] = {"origin": "test", "occurred_at": 1_700_000_000_000 + number, "monotonic_ms": number}
    return Event(payload=given, **{**fields, **changes})


def append(*numbers: int, capture_id: str = CAPTURE, ended: bool = False, **changes: Any) -> Append:
    """What adds those events to a capture."""
    found = [event(number) for number in numbers]
    fields: dict[str, Any] = {"state": state(capture_id, ended=ended), "events": found, "touched_at": 1_700_000_000_000}
    return Append(**{**fields, **changes})


def message(origin: str, *args: Any, at: int = 10_000) -> Message:
    """A message seen `at` milliseconds after the start of the capture."""
    return Message(origin=origin, args=list(args), wall_ms=1_700_000_000_000 + at, monotonic_ms=at)


def sealed(events: Sequence[Event], capture_id: str = CAPTURE) -> list[SealedEvent]:
    """The chain of `events` as the spool makes it."""
    chained, head = [], chain.GENESIS
    for seq, item in enumerate(events, start=1):
        chained.append(chain.seal(capture_id, seq, head, item, os.urandom(chain.SALT_BYTES)))
        head = chained[-1].digest
    return chained


def broken_links(events: Sequence[SealedEvent]) -> list[int]:
    """The numbers of the events whose digest does not follow from what they hold and from the event before."""
    broken, previous = [], chain.GENESIS
    for item in events:
        kept = not item.salt or chain.commit(item.salt, item.payload.encode()) == item.commitment
        linked = chain.link(previous, chain.envelope_of(item), item.commitment) == item.digest
        if not (kept and linked):
            broken.append(item.seq)
        previous = item.digest
    return broken
