"""Answers of a deployment: why one refuses the bot, or puts it out, and whether that may pass.

The values are those of lib-jitsi-meet's JitsiConferenceErrors and JitsiConnectionErrors. Errors that are not in the
tables don't end a capture by themselves: the library goes on, and deadlines end what does not.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from meeta_bot import events
from meeta_bot.events import EndReason, Payload

# Errors of conferences: the reason, and whether it may pass.
_CONFERENCE = {
    "conference.authenticationRequired": (EndReason.AUTHENTICATION_REQUIRED, False),
    "conference.connectionError.notAllowed": (EndReason.NOT_ALLOWED, True),
    "conference.reservationError": (EndReason.NOT_ALLOWED, True),
    "conference.max_users": (EndReason.ROOM_FULL, True),
}
_TERMINATED = "The meeting has been terminated"  # Prosody's reason when a moderator ends the meeting for all
# By its own clock, which may be ahead of ours. The first is what Jitsi's token authentication says.
_EXPIRED = re.compile(r"not acceptable by exp|\bexpired\b", re.IGNORECASE)


@dataclass(frozen=True)
class Credentials:
    """The secrets that one login is tried with; never shown."""

    token: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)


class Refusal(NamedTuple):
    """An answer that keeps the bot out of the room.

    ``reason`` is why a capture ends that was never in its room, ``detail`` is for a person. ``is_passing``: a server
    that has just come back may say so, and stop saying so, so that one that was in the room tries again.
    """

    reason: EndReason
    detail: str | None = None
    is_passing: bool = False


def refusal(payload: Payload, tried: Credentials) -> Refusal | None:
    """Return what `payload` refuses to a bot that came with the credentials `tried`; None when the capture goes on."""
    meaning = ANSWERS.get(type(payload))
    return None if meaning is None else meaning(payload, tried)


def _kicked(payload: events.CaptureKicked, _: Credentials) -> Refusal:
    return Refusal(EndReason.REPLACED if payload.is_replaced else EndReason.KICKED, payload.reason)


def _lobby_denied(_payload: events.CaptureLobbyDenied, _: Credentials) -> Refusal:
    return Refusal(EndReason.LOBBY_DENIED)


def _left(_payload: events.ConferenceLeft, _: Credentials) -> Refusal:
    """Judge a departure that nobody asked for: when the bot leaves, its answers are not judged any more."""
    return Refusal(EndReason.RECONNECT_EXHAUSTED, "the server put the bot out of the room", is_passing=True)


def _token_expired(_payload: events.ConnectionTokenExpired, _: Credentials) -> Refusal:
    return Refusal(EndReason.TOKEN_EXPIRED)


def _failed_by_itself(payload: events.CaptureError, _: Credentials) -> Refusal | None:
    return Refusal(EndReason.NOT_JITSI, payload.message) if payload.where == "join" else None


def _conference_failed(payload: events.ConferenceFailed, tried: Credentials) -> Refusal | None:
    details = ", ".join(str(detail) for detail in payload.details if isinstance(detail, str)) or None
    if payload.error == "conference.passwordRequired":
        return Refusal(EndReason.PASSWORD_REQUIRED if tried.password is None else EndReason.PASSWORD_INCORRECT)
    if payload.error == "conference.destroyed":
        is_terminated = details is not None and _TERMINATED in details
        return Refusal(EndReason.MEETING_ENDED if is_terminated else EndReason.DESTROYED, details)
    if payload.error not in _CONFERENCE:
        return None
    reason, is_passing = _CONFERENCE[payload.error]
    return Refusal(reason, details or payload.error, is_passing)


def _connection_failed(payload: events.ConnectionFailed, tried: Credentials) -> Refusal:
    if payload.error != "connection.passwordRequired":
        return Refusal(EndReason.ROOM_UNREACHABLE, payload.message or payload.error, is_passing=True)
    if tried.token is None:
        return Refusal(EndReason.AUTHENTICATION_REQUIRED, payload.message)
    has_expired = payload.message is not None and _EXPIRED.search(payload.message) is not None
    return Refusal(EndReason.TOKEN_EXPIRED if has_expired else EndReason.TOKEN_REJECTED, payload.message)


# Payloads that can refuse something, and how each is judged; all others never do.
ANSWERS: dict[type[Payload], Callable[[Any, Credentials], Refusal | None]] = {
    events.CaptureKicked: _kicked,
    events.CaptureLobbyDenied: _lobby_denied,
    events.CaptureError: _failed_by_itself,
    events.ConferenceFailed: _conference_failed,
    events.ConferenceLeft: _left,
    events.ConnectionFailed: _connection_failed,
    events.ConnectionTokenExpired: _token_expired,
}
