"""What queries return, and an event as users see it. Times are aware datetimes in UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from meeta_bot.events import SealedEvent

EARLIEST_MS = -62_135_596_800_000  # year 1 and year 9999: what ISO 8601 with four digits can show
LATEST_MS = 253_402_300_799_999
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
# Controls that JSON leaves as they are, and U+2028 and U+2029.
_UNPRINTABLE = re.compile(rb"\x7f|\xc2[\x80-\x9f]|\xe2\x80[\xa8\xa9]")


class MeetingRow(msgspec.Struct, frozen=True, kw_only=True):
    """A meeting, or a capture that belongs to none (then ``meeting_id`` is None).

    ``state`` is ``recording`` while any capture of it runs, ``ended``, or ``lost`` when no capture ended and none
    shows life. ``people`` counts humans and phones. Without a meeting ``end_reason`` is that of the capture.
    """

    meeting_id: str | None
    capture_ids: list[str]
    state: str
    event_count: int
    deployment: str | None
    room: str | None
    server_meeting_id: str | None
    created_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    end_reason: str | None
    subject: str | None
    host_endpoint_id: str | None
    host_name: str | None
    captured_at: datetime
    people: int

    @property
    def id(self) -> str:
        """What names it: the meeting's id, else the capture's."""
        return self.meeting_id or self.capture_ids[0]


class CaptureRow(msgspec.Struct, frozen=True, kw_only=True):
    """A capture; ``state`` is ``recording``, ``ended`` or ``lost`` (no end and no sign of life for long)."""

    capture_id: str
    meeting_id: str | None
    state: str
    deployment: str | None
    room: str | None
    room_url: str | None
    bot_name: str | None
    program_version: str | None
    library_version: str | None
    started_at: datetime | None
    joined_at: datetime | None
    endpoint_id: str | None
    ended_at: datetime | None
    end_reason: str | None
    end_detail: str | None
    meeting_basis: str | None
    server_meeting_id: str | None
    meeting_created_at: datetime | None
    meeting_started_at: datetime | None
    meeting_ended_at: datetime | None
    meeting_end_reason: str | None
    subject: str | None
    host_endpoint_id: str | None
    host_name: str | None
    heartbeat_at: datetime | None
    last_at: datetime
    last_seq: int
    event_count: int
    head_digest: bytes


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


class ParticipantRow(msgspec.Struct, frozen=True, kw_only=True):
    """A person in a meeting, all visits together; ``duration_ms`` counts simultaneous visits once.

    It is a lower bound unless every arrival and every departure was seen by some capture. ``unseen_ms`` of it lie in
    gaps of all captures that tell of it.
    """

    person: str
    display_name: str | None
    kind: str | None
    user_id: str | None
    endpoint_ids: list[str]
    first_joined_at: datetime | None
    last_seen_at: datetime
    present: bool
    visits: int
    duration_ms: int
    duration_is_lower_bound: bool
    arrivals_seen: bool
    departures_seen: bool
    unseen_ms: int


class VisitRow(msgspec.Struct, frozen=True, kw_only=True):
    """One participant from join to leave; an open visit counts until its capture last saw anything.

    ``duration_ms`` is a lower bound unless both ends were seen; ``unseen_ms`` of it lie in gaps of the capture.
    """

    capture_id: str
    joined_seq: int
    room: str
    endpoint_id: str
    person: str
    display_name: str | None
    kind: str | None
    role: str | None
    user_id: str | None
    stats_id: str | None
    joined_at: datetime | None
    initial: bool
    inferred: bool
    left_at: datetime | None
    left_cause: str | None
    left_reason: str | None
    seen_until: datetime
    present: bool
    duration_ms: int
    duration_is_lower_bound: bool
    arrival_seen: bool
    departure_seen: bool
    unseen_ms: int


class GapRow(msgspec.Struct, frozen=True, kw_only=True):
    """An interval in which a capture could not see, or saw only part.

    ``from_ms`` and ``to_ms`` are its bounds on the capture's monotonic clock; None from older recorders.
    """

    capture_id: str
    seq: int
    cause: str | None
    lost: str | None
    from_at: datetime | None
    to_at: datetime | None
    evidence: str | None
    missed: int | None
    from_ms: int | None
    to_ms: int | None


class QuarantineRow(msgspec.Struct, frozen=True, kw_only=True):
    """An event that could not be stored as it came; ``sealed`` is all of it as a JSON array."""

    capture_id: str
    seq: int
    kind: str
    digest: bytes
    reason: str
    sealed: bytes


def sealed_row(event: SealedEvent) -> EventRow:
    """A sealed event as a row, as if it had been stored and read back.

    :raises OverflowError: one of its times is outside the years 1 to 9999.
    """
    columns = msgspec.structs.asdict(event)
    columns["occurred_at"] = moment(event.occurred_at)
    columns["server_at"] = None if event.server_at is None else moment(event.server_at)
    return EventRow(**columns, quarantine_reason=None)


def moment(ms: int) -> datetime:
    """The time that is `ms` milliseconds after 1970.

    :raises OverflowError: it is outside the years 1 to 9999.
    """
    return _EPOCH + ms * _MILLISECOND


def milliseconds(moment: datetime) -> int:
    """Whole milliseconds since 1970; the exact value that was stored."""
    return (moment - _EPOCH) // _MILLISECOND


def iso(moment: datetime | None) -> str | None:
    """ISO 8601 in UTC with milliseconds, such as 2026-11-22T10:00:00.000Z."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def envelope(row: EventRow) -> tuple[Any, ...]:
    """The columns that a digest covers besides the payload, as `chain.link` takes them."""
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
    """An event as users get it in JSON: `events.json_schema` describes it."""
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
    """`event_document`, and what it takes to recompute the chain from the documents alone; bytes are hexadecimal."""
    salt = None if row.salt is None else row.salt.hex()
    return event_document(row) | {"commitment": row.commitment.hex(), "salt": salt}


def json_line(document: dict[str, Any]) -> bytes:
    """`document` as one line of JSON Lines, also for readers that take Unicode's line ends for ends of lines.

    Nothing in it controls a terminal.

    :raises ValueError: it holds what JSON can't, such as a lone surrogate.
    """
    return _UNPRINTABLE.sub(_escaped, msgspec.json.encode(document)) + b"\n"


def _escaped(character: re.Match[bytes]) -> bytes:
    return rf"\u{ord(character[0].decode()):04x}".encode()
