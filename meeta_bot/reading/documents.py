"""JSON documents of meetings and participants, as users get them."""

from __future__ import annotations

from typing import Any

from meeta_bot.reading.rows import MeetingRow, ParticipantRow
from meeta_bot.timestamps import iso


def meeting_document(row: MeetingRow) -> dict[str, Any]:
    """Return a meeting as users get it in JSON."""
    return {
        "meeting_id": row.meeting_id,
        "capture_ids": row.capture_ids,
        "state": row.state,
        "deployment": row.deployment,
        "room": row.room,
        "subject": row.subject,
        "started_at": iso(row.started_at),
        "ended_at": iso(row.ended_at),
        "duration_ms": row.duration_ms,
        "end_reason": row.end_reason,
        "left_reason": row.left_reason,
        "host_name": row.host_name,
        "host_endpoint_id": row.host_endpoint_id,
        "server_meeting_id": row.server_meeting_id,
        "created_at": iso(row.created_at),
        "people": row.people,
        "events": row.event_count,
    }


def participant_document(row: ParticipantRow) -> dict[str, Any]:
    """Return a participant as users get it in JSON."""
    return {
        "display_name": row.display_name,
        "kind": row.kind,
        "user_id": row.user_id,
        "endpoint_ids": row.endpoint_ids,
        "first_joined_at": iso(row.first_joined_at),
        "last_seen_at": iso(row.last_seen_at),
        "present": row.present,
        "visits": row.visits,
        "duration_ms": row.duration_ms,
        "duration_is_lower_bound": row.duration_is_lower_bound,
        "arrivals_seen": row.arrivals_seen,
        "departures_seen": row.departures_seen,
        "unseen_ms": row.unseen_ms,
        "known_by": row.known_by,
    }
