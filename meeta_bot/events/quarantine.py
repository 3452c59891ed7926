"""Quarantine: events that a sink can't store, the placeholders in their place, and the bytes that wait.

A placeholder has the same ``capture_id``, ``seq``, ``commitment`` and ``digest``, so that there is no hole and the
chain holds; it has no payload and no salt. What waits is the whole event as a JSON array, whatever it holds.
"""

from __future__ import annotations

import base64
import json
from typing import Literal, NamedTuple

import msgspec

from meeta_bot.events.envelope import SealedEvent
from meeta_bot.limits import LARGEST_BIGINT
from meeta_bot.text import clean_text
from meeta_bot.timestamps import EARLIEST_MS, LATEST_MS

PLACEHOLDER_TEXT = 200  # characters of an envelope text in a placeholder; longer ones may be why it was refused


class HeldEvent(NamedTuple):
    """An event for the quarantine: its number is taken (``conflict``), or the sink can't hold it (``refused``)."""

    event: SealedEvent
    kind: Literal["conflict", "refused"]
    reason: str


def conflict_reason(stored_digest: str) -> str:
    """Return the reason of a conflict with an event whose digest, in hexadecimal, is stored."""
    return f"stored before with digest {stored_digest}"


def fitted(event: SealedEvent) -> SealedEvent:
    """Return `event` with an envelope that every sink can hold: texts clean and cut, numbers in range.

    Its payload and salt are those of the event; a placeholder leaves them out.
    """
    return msgspec.structs.replace(
        event,
        type=short(event.type),
        origin=short(event.origin),
        room=short(event.room),
        endpoint_id=None if event.endpoint_id is None else short(event.endpoint_id),
        occurred_at=within(event.occurred_at, EARLIEST_MS, LATEST_MS),
        monotonic_ms=within(event.monotonic_ms, -LARGEST_BIGINT, LARGEST_BIGINT),
        server_at=None if event.server_at is None else within(event.server_at, EARLIEST_MS, LATEST_MS),
    )


def short(text: str) -> str:
    """Return the beginning of a text, as a placeholder has it."""
    return clean_text(text)[:PLACEHOLDER_TEXT]


def within(number: int, smallest: int, largest: int) -> int:
    """Return the number of a range that is nearest to `number`."""
    return max(smallest, min(number, largest))


def sealed_json(event: SealedEvent) -> str:
    """Return the whole event as a JSON array, whatever it holds; bytes are base64."""
    # The standard library writes lone surrogates and numbers of any size, which msgspec refuses.
    values = msgspec.structs.astuple(event)
    return json.dumps(values, default=lambda raw: base64.b64encode(raw).decode())


def unsealed(sealed: bytes) -> SealedEvent:
    """Return the event that :func:`sealed_json` wrote.

    :raises ValueError: the bytes are not such an array.
    """
    values = json.loads(sealed)
    if not isinstance(values, list) or len(values) != len(SealedEvent.__struct_fields__):
        raise ValueError("not a sealed event")
    return SealedEvent(*values[:-3], *(base64.b64decode(value, validate=True) for value in values[-3:]))
