"""What an answer of the deployment means for a capture: why it ends, or nothing.

The values are those of lib-jitsi-meet's JitsiConferenceErrors and JitsiConnectionErrors. Errors that are not in the
tables don't end a capture by themselves: the library goes on, and deadlines end what does not.
"""

from __future__ import annotations

from meeta_bot import events
from meeta_bot.events import EndReason, Payload

_CONFERENCE = {
    "conference.authenticationRequired": EndReason.AUTHENTICATION_REQUIRED,
    "conference.connectionError.notAllowed": EndReason.NOT_ALLOWED,
    "conference.max_users": EndReason.ROOM_FULL,
    "conference.reservationError": EndReason.NOT_ALLOWED,
    "conference.focusLeft": EndReason.RECONNECT_EXHAUSTED,
}
# Payloads that can end a capture; of all others there is no verdict.
DECISIVE = (
    events.CaptureKicked,
    events.CaptureLobbyDenied,
    events.CaptureError,
    events.ConferenceFailed,
    events.ConnectionFailed,
)
_TERMINATED = "The meeting has been terminated"  # Prosody's reason when a moderator ends the meeting for all


def verdict(payload: Payload, *, has_password: bool, has_token: bool) -> tuple[EndReason, str | None] | None:
    """Why `payload` ends the capture, with a detail for a person; None when it does not."""
    if isinstance(payload, events.CaptureKicked):
        return EndReason.REPLACED if payload.is_replaced else EndReason.KICKED, payload.reason
    if isinstance(payload, events.CaptureLobbyDenied):
        return EndReason.LOBBY_DENIED, None
    if isinstance(payload, events.ConferenceFailed):
        return _conference_failed(payload, has_password=has_password)
    if isinstance(payload, events.ConnectionFailed):
        return _connection_failed(payload, has_token=has_token)
    if isinstance(payload, events.CaptureError) and payload.where == "join":
        return EndReason.NOT_JITSI, payload.message
    return None


def _conference_failed(payload: events.ConferenceFailed, *, has_password: bool) -> tuple[EndReason, str | None] | None:
    details = ", ".join(str(detail) for detail in payload.details if isinstance(detail, str)) or None
    if payload.error == "conference.passwordRequired":
        return EndReason.PASSWORD_INCORRECT if has_password else EndReason.PASSWORD_REQUIRED, None
    if payload.error == "conference.destroyed":
        terminated = details is not None and _TERMINATED in details
        return EndReason.MEETING_ENDED if terminated else EndReason.DESTROYED, details
    reason = _CONFERENCE.get(payload.error)
    return None if reason is None else (reason, details or payload.error)


def _connection_failed(payload: events.ConnectionFailed, *, has_token: bool) -> tuple[EndReason, str | None]:
    if payload.error == "connection.passwordRequired":
        return EndReason.TOKEN_REJECTED if has_token else EndReason.AUTHENTICATION_REQUIRED, payload.message
    return EndReason.ROOM_UNREACHABLE, payload.message or payload.error
