"""What an answer of the deployment means for a capture: why it ends, whether that may pass, or nothing.

The values are those of lib-jitsi-meet's JitsiConferenceErrors and JitsiConnectionErrors. Errors that are not in the
tables don't end a capture by themselves: the library goes on, and deadlines end what does not.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from meeta_bot import events
from meeta_bot.events import EndReason, Payload

_CONFERENCE = {
    "conference.authenticationRequired": EndReason.AUTHENTICATION_REQUIRED,
    "conference.connectionError.notAllowed": EndReason.NOT_ALLOWED,
    "conference.max_users": EndReason.ROOM_FULL,
    "conference.reservationError": EndReason.NOT_ALLOWED,
    "conference.focusLeft": EndReason.RECONNECT_EXHAUSTED,
}
# A server that has just come back may say these, and stop saying them: who was in the room tries again.
_PASSING = frozenset(
    {
        EndReason.ROOM_UNREACHABLE,
        EndReason.RECONNECT_EXHAUSTED,
        EndReason.ROOM_FULL,
        EndReason.NOT_ALLOWED,
    }
)
# Payloads that can end a capture; of all others there is no verdict.
DECISIVE = (
    events.CaptureKicked,
    events.CaptureLobbyDenied,
    events.CaptureError,
    events.ConferenceFailed,
    events.ConferenceLeft,
    events.ConnectionFailed,
    events.ConnectionTokenExpired,
)
# By its own clock, which may be ahead of ours. The first is what Jitsi's token authentication says.
_EXPIRED = re.compile(r"not acceptable by exp|\bexpired\b", re.IGNORECASE)
_TERMINATED = "The meeting has been terminated"  # Prosody's reason when a moderator ends the meeting for all


class Verdict(NamedTuple):
    """Why a capture ends, with a detail for a person. ``is_passing``: one that was in the room may get back in."""

    reason: EndReason
    detail: str | None = None

    @property
    def is_passing(self) -> bool:
        return self.reason in _PASSING


def verdict(payload: Payload, *, has_password: bool, has_token: bool) -> Verdict | None:
    """What `payload` means for the capture; None when it goes on."""
    match payload:
        case events.CaptureKicked():
            found = Verdict(EndReason.REPLACED if payload.is_replaced else EndReason.KICKED, payload.reason)
        case events.CaptureLobbyDenied():
            found = Verdict(EndReason.LOBBY_DENIED)
        case events.ConferenceFailed():
            return _conference_failed(payload, has_password=has_password)
        case events.ConferenceLeft():  # unasked: when the bot leaves, nobody asks what it means
            found = Verdict(EndReason.RECONNECT_EXHAUSTED, "the server put the bot out of the room")
        case events.ConnectionFailed():
            found = _connection_failed(payload, has_token=has_token)
        case events.ConnectionTokenExpired():
            found = Verdict(EndReason.TOKEN_EXPIRED)
        case events.CaptureError(where="join"):
            found = Verdict(EndReason.NOT_JITSI, payload.message)
        case _:
            return None
    return found


def _conference_failed(payload: events.ConferenceFailed, *, has_password: bool) -> Verdict | None:
    details = ", ".join(str(detail) for detail in payload.details if isinstance(detail, str)) or None
    if payload.error == "conference.passwordRequired":
        return Verdict(EndReason.PASSWORD_INCORRECT if has_password else EndReason.PASSWORD_REQUIRED)
    if payload.error == "conference.destroyed":
        terminated = details is not None and _TERMINATED in details
        return Verdict(EndReason.MEETING_ENDED if terminated else EndReason.DESTROYED, details)
    reason = _CONFERENCE.get(payload.error)
    return None if reason is None else Verdict(reason, details or payload.error)


def _connection_failed(payload: events.ConnectionFailed, *, has_token: bool) -> Verdict:
    if payload.error == "connection.passwordRequired":
        if not has_token:
            return Verdict(EndReason.AUTHENTICATION_REQUIRED, payload.message)
        has_expired = payload.message is not None and _EXPIRED.search(payload.message) is not None
        return Verdict(EndReason.TOKEN_EXPIRED if has_expired else EndReason.TOKEN_REJECTED, payload.message)
    return Verdict(EndReason.ROOM_UNREACHABLE, payload.message or payload.error)
