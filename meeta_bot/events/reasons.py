"""Reasons: of the end of a capture, and of what it could not see."""

from __future__ import annotations

from enum import StrEnum


class GapCause(StrEnum):
    """The cause for which a capture could not see."""

    NOT_ADMITTED = "not_admitted"
    LATE_JOIN = "late_join"
    SIGNALLING_LOST = "signalling_lost"
    SIGNALLING_RESUMED = "signalling_resumed"
    PUT_OUT = "put_out"
    PAGE_CRASHED = "page_crashed"
    PAGE_HUNG = "page_hung"
    BROWSER_CRASHED = "browser_crashed"
    PROCESS_KILLED = "process_killed"
    HOST_SUSPENDED = "host_suspended"
    BRIDGE_CHANNEL_CLOSED = "bridge_channel_closed"
    BRIDGE_UNHEARD = "bridge_unheard"
    PAGE_BUFFER_OVERFLOW = "page_buffer_overflow"
    SPOOL_FULL = "spool_full"
    SPOOL_DAMAGED = "spool_damaged"


class Lost(StrEnum):
    """The part of everything that a gap kept from us."""

    EVERYTHING = "everything"
    BRIDGE_ONLY = "bridge_only"
    NOTHING = "nothing"


class EndReason(StrEnum):
    """The reason for which a capture ended. Each capture has exactly one."""

    MEETING_ENDED = "meeting_ended"
    LEFT_ALONE = "left_alone"
    NOBODY_CAME = "nobody_came"
    ONLY_BOTS_LEFT = "only_bots_left"
    MAX_DURATION = "max_duration"
    OPERATOR = "operator"
    KICKED = "kicked"
    REPLACED = "replaced"
    DESTROYED = "destroyed"
    LOBBY_DENIED = "lobby_denied"
    LOBBY_TIMEOUT = "lobby_timeout"
    PASSWORD_REQUIRED = "password_required"  # noqa: S105 - a reason, not a password
    PASSWORD_INCORRECT = "password_incorrect"  # noqa: S105
    AUTHENTICATION_REQUIRED = "authentication_required"
    TOKEN_REJECTED = "token_rejected"  # noqa: S105
    TOKEN_EXPIRED = "token_expired"  # noqa: S105
    ROOM_FULL = "room_full"
    NOT_ALLOWED = "not_allowed"
    ROOM_UNREACHABLE = "room_unreachable"
    NOT_JITSI = "not_jitsi"
    CERTIFICATE_REJECTED = "certificate_rejected"
    JOIN_TIMEOUT = "join_timeout"
    RECONNECT_EXHAUSTED = "reconnect_exhausted"
    PAGE_CRASHED = "page_crashed"
    BROWSER_CRASHED = "browser_crashed"
    PROCESS_KILLED = "process_killed"
    DISK_FAILED = "disk_failed"
    INTERNAL_ERROR = "internal_error"


# Ends that are how a recording should end; after the others its operator has something to look at.
ORDERLY_ENDS = frozenset(
    {
        EndReason.MEETING_ENDED,
        EndReason.LEFT_ALONE,
        EndReason.NOBODY_CAME,
        EndReason.ONLY_BOTS_LEFT,
        EndReason.MAX_DURATION,
        EndReason.OPERATOR,
        EndReason.DESTROYED,
    }
)
