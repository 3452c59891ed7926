"""Documents of events, as they are stored and as users get them: a row, a JSON document, a line of JSON Lines."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import msgspec

from meeta_bot.events.envelope import SealedEvent
from meeta_bot.timestamps import iso, milliseconds, moment

# Controls that JSON leaves as they are, and U+2028 and U+2029.
_UNPRINTABLE = re.compile(rb"\x7f|\xc2[\x80-\x9f]|\xe2\x80[\xa8\xa9]")


class EventRow(msgspec.Struct, frozen=True, kw_only=True):
    """A stored event; ``payload`` is JSON text as PostgreSQL writes it, None when erased or in quarantine."""

    capture_id: str
    seq: int
    type: str
    origin: str
    room: str
    endpoint_id: str | None
    occurred_at: datetime
    monotonic_ms: int
    server_at: datetime | None
    initial: bool
    inferred: bool
    payload: str | None
    salt: bytes | None
    commitment: bytes
    digest: bytes
    quarantine_reason: str | None


def sealed_row(event: SealedEvent) -> EventRow:
    """Return a sealed event as a row, as if it had been stored and read back.

    :raises OverflowError: one of its times is outside the years 1 to 9999.
    """
    columns = msgspec.structs.asdict(event)
    columns["occurred_at"] = moment(event.occurred_at)
    columns["server_at"] = None if event.server_at is None else moment(event.server_at)
    return EventRow(**columns, quarantine_reason=None)


def envelope(row: EventRow) -> tuple[Any, ...]:
    """Return the columns that a digest covers besides the payload, as `chain.link` takes them."""
    return (
        row.capture_id,
        row.seq,
        row.type,
        row.origin,
        row.room,
        row.endpoint_id,
        milliseconds(row.occurred_at),
        row.monotonic_ms,
        None if row.server_at is None else milliseconds(row.server_at),
        row.initial,
        row.inferred,
    )


def event_document(row: EventRow) -> dict[str, Any]:
    """Return an event as users get it in JSON: `events.json_schema` describes it."""
    return {
        "capture_id": row.capture_id,
        "seq": row.seq,
        "type": row.type,
        "origin": row.origin,
        "room": row.room,
        "endpoint_id": row.endpoint_id,
        "occurred_at": iso(row.occurred_at),
        "monotonic_ms": row.monotonic_ms,
        "server_at": iso(row.server_at),
        "initial": row.initial,
        "inferred": row.inferred,
        "payload": None if row.payload is None else msgspec.json.decode(row.payload),
        "digest": row.digest.hex(),
    }


def chained_document(row: EventRow) -> dict[str, Any]:
    """Return `event_document` with what it takes to recompute the chain from documents alone; bytes are hexadecimal."""
    salt = None if row.salt is None else row.salt.hex()
    return event_document(row) | {"commitment": row.commitment.hex(), "salt": salt}


def json_line(document: dict[str, Any]) -> bytes:
    """Encode `document` as one line of JSON Lines, also for readers that take Unicode's line ends for ends of lines.

    Nothing in it controls a terminal.

    :raises ValueError: it holds what JSON can't, such as a lone surrogate.
    """
    return _UNPRINTABLE.sub(_escaped, msgspec.json.encode(document)) + b"\n"


def _escaped(character: re.Match[bytes]) -> bytes:
    return rf"\u{ord(character[0].decode()):04x}".encode()
