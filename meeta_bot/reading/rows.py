"""The rows that queries return. Times are aware datetimes in UTC."""

from __future__ import annotations

from datetime import datetime

import msgspec

from meeta_bot.timestamps import milliseconds


class MeetingRow(msgspec.Struct, frozen=True, kw_only=True):
    """A meeting, or a capture that belongs to none (then ``meeting_id`` is None).

    ``state`` is ``recording`` while any capture of it runs, ``ended``, ``left`` when captures ended but none of them
    saw the meeting's end (``left_reason`` says why the last one did), or ``lost`` when no capture ended and none shows
    life. ``people`` counts humans and phones. Without a meeting ``end_reason`` is that of the capture.
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
    left_reason: str | None = None

    @property
    def id(self) -> str:
        """The id that names it: the meeting's, else the capture's."""
        return self.meeting_id or self.capture_ids[0]

    @property
    def duration_ms(self) -> int | None:
        """The duration of the meeting; None while it runs, and where its end was not seen."""
        if self.started_at is None or self.ended_at is None:
            return None
        return milliseconds(self.ended_at) - milliseconds(self.started_at)

    @property
    def state_text(self) -> str:
        """The state, for a person; of what ended otherwise than the meeting itself with the reason."""
        if self.state == "left":
            why = f" ({self.left_reason.replace('_', ' ')})" if self.left_reason else ""
            return f"we left{why}, end unknown"
        if self.meeting_id is None and self.end_reason:
            return f"{self.state} ({self.end_reason.replace('_', ' ')})"
        return self.state


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
    last_monotonic_ms: int
    last_seq: int
    event_count: int
    head_digest: bytes


class ParticipantRow(msgspec.Struct, frozen=True, kw_only=True):
    """A person in a meeting, all visits together; ``duration_ms`` counts simultaneous visits once.

    It is a lower bound unless every arrival and every departure was seen by some capture. ``unseen_ms`` of it lie in
    gaps of all captures that saw some of it. ``known_by`` is the evidence that puts the visits together: ``user id``,
    ``browser and name`` or ``endpoint``; people who share a user id at once are not known by it.
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
    known_by: str


class VisitRow(msgspec.Struct, frozen=True, kw_only=True):
    """A visit of one participant, from join to leave; an open visit counts until its capture last saw anything.

    ``duration_ms`` is a lower bound unless both ends were seen; ``unseen_ms`` of it lie in gaps of the capture.
    Somebody whose connection was lost went between ``left_after`` and ``left_at``, which are the same for others.
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
    left_after: datetime | None
    left_cause: str | None
    left_reason: str | None
    seen_until: datetime
    present: bool
    duration_ms: int
    duration_is_lower_bound: bool
    arrival_seen: bool
    departure_seen: bool
    unseen_ms: int
    known_by: str


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
