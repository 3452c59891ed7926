"""Answers of a deployment: what each means for a capture that wants into its room, or is in it.

The names are those of lib-jitsi-meet's JitsiConferenceErrors, JitsiConnectionErrors and AUTH_ERROR_TYPES, of 2021 and
2026; :func:`answers_table` writes the table that ARCHITECTURE.md shows. Answers that are in no table don't end a
capture by themselves: the library goes on, and deadlines end what does not.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from meeta_bot import events
from meeta_bot.capture.phases import Phase
from meeta_bot.events import EndReason, Payload


class Action(StrEnum):
    """The thing that a capture does about an answer."""

    END = "ends"
    RETURN = "ends; one that was in the room enters anew"
    ENTER = "enters anew"
    ASK = "asks again in the same login"
    GO_ON = "goes on"


class Answer(NamedTuple):
    """The meaning of an answer; ``waits`` is the phase of a capture that asks again for longer than a join takes."""

    action: Action
    reason: EndReason | None = None
    waits: Phase | None = None


_GO_ON = Answer(Action.GO_ON)
_UNREACHABLE = EndReason.ROOM_UNREACHABLE

# By JitsiConferenceErrors. In the room, none of those that ask again or go on is an end.
CONFERENCE: dict[str, Answer] = {
    "conference.authenticationRequired": Answer(Action.ASK, EndReason.AUTHENTICATION_REQUIRED, Phase.HOST),
    "conference.chatError": _GO_ON,
    "conference.connectionError": Answer(Action.ASK, _UNREACHABLE),
    "conference.connectionError.accessDenied": Answer(Action.END, EndReason.LOBBY_DENIED),
    "conference.connectionError.membersOnly": Answer(Action.ASK, EndReason.LOBBY_TIMEOUT, Phase.LOBBY),
    "conference.connectionError.notAllowed": Answer(Action.RETURN, EndReason.NOT_ALLOWED),
    "conference.destroyed": Answer(Action.END, EndReason.DESTROYED),
    "conference.display_name_required": Answer(Action.END, EndReason.NOT_ALLOWED),
    "conference.focusDisconnected": _GO_ON,  # the library asks again by itself
    "conference.focusLeft": _GO_ON,  # the hook asks it back
    "conference.gracefulShutdown": Answer(Action.ASK, _UNREACHABLE),
    "conference.iceFailed": _GO_ON,  # the hook asks for a new media session
    "conference.incompatible_server_versions": Answer(Action.END, EndReason.NOT_ALLOWED),
    "conference.max_users": Answer(Action.ASK, EndReason.ROOM_FULL, Phase.FULL),
    "conference.offerAnswerFailed": _GO_ON,
    "conference.passwordNotSupported": Answer(Action.END, EndReason.NOT_ALLOWED),
    "conference.passwordRequired": Answer(Action.END, EndReason.PASSWORD_REQUIRED),
    "conference.reservationError": Answer(Action.RETURN, EndReason.NOT_ALLOWED),
    "conference.restarted": _GO_ON,  # with enableForcedReload only, of which the hook makes nothing
    "conference.settingsError": _GO_ON,
    "conference.videobridgeNotAvailable": _GO_ON,
}
# The first detail of conference.connectionError.notAllowed, since 2024.
NOT_ALLOWED: dict[str, Answer] = {
    "general": CONFERENCE["conference.connectionError.notAllowed"],
    "authentication-required": Answer(Action.END, EndReason.AUTHENTICATION_REQUIRED),
    "no-main-participants": Answer(Action.ASK, EndReason.JOIN_TIMEOUT, Phase.START),
    "no-visitors-lobby": Answer(Action.END, EndReason.NOT_ALLOWED),
    "promotion-not-allowed": Answer(Action.END, EndReason.NOT_ALLOWED),
    "room-creation-restriction": Answer(Action.ASK, EndReason.NOT_ALLOWED),  # its focus was about to leave
}
# By JitsiConnectionErrors, and the redirect to a node for visitors.
CONNECTION: dict[str, Answer] = {
    "connection.conferenceRequestFailed": Answer(Action.ASK, _UNREACHABLE),
    "connection.droppedError": Answer(Action.ENTER, _UNREACHABLE),
    "connection.notLiveError": Answer(Action.ASK, EndReason.JOIN_TIMEOUT, Phase.START),
    "connection.otherError": Answer(Action.ENTER, _UNREACHABLE),
    "connection.passwordRequired": Answer(Action.END, EndReason.AUTHENTICATION_REQUIRED),
    "connection.redirected": Answer(Action.END, EndReason.NOT_ALLOWED),
    "connection.serverError": Answer(Action.ENTER, _UNREACHABLE),
    "connection.shardChangedError": Answer(Action.ENTER, _UNREACHABLE),
}
# The conditions of a focus's answers (jicofo's ConferenceIqHandler, RFC 6120). Of the others, libraries say more.
FOCUS: dict[str, Answer] = {
    "graceful-shutdown": Answer(Action.ASK, _UNREACHABLE),
    "internal-server-error": _GO_ON,
    "no answer": _GO_ON,
    "not-acceptable": _GO_ON,  # the library asks anew, without its session id
    "not-authorized": Answer(Action.ASK, EndReason.AUTHENTICATION_REQUIRED, Phase.HOST),
    "remote-server-not-found": _GO_ON,
    "reservation-error": Answer(Action.RETURN, EndReason.NOT_ALLOWED),
    "service-unavailable": _GO_ON,
    "session-invalid": _GO_ON,
}
# The text of a refused login (SASL); the first that is found in it. Jitsi's token authentication says these.
LOGIN: dict[str, Answer] = {
    "token required": Answer(Action.END, EndReason.AUTHENTICATION_REQUIRED),
    "not acceptable by exp": Answer(Action.END, EndReason.TOKEN_EXPIRED),
    "expired": Answer(Action.END, EndReason.TOKEN_EXPIRED),
    "could not obtain public key": Answer(Action.ENTER, EndReason.TOKEN_REJECTED),  # the server of the keys is away
    "": Answer(Action.END, EndReason.TOKEN_REJECTED),
}
_TERMINATED = "The meeting has been terminated"  # Prosody's reason when a moderator ends the meeting for all


@dataclass(frozen=True)
class Credentials:
    """The secrets that one login is tried with; never shown."""

    token: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)


class Refusal(NamedTuple):
    """An answer that keeps the bot out of the room, and what is done about it.

    ``reason`` is why a capture ends for which nothing else helps, ``detail`` is for a person.
    """

    reason: EndReason
    detail: str | None = None
    action: Action = Action.END
    waits: Phase | None = None

    @property
    def is_passing(self) -> bool:
        """True when a capture that was in its room goes on."""
        return self.action is not Action.END


def refusal(payload: Payload, tried: Credentials) -> Refusal | None:
    """Return what `payload` refuses to a bot that came with the credentials `tried`; None when the capture goes on."""
    meaning = ANSWERS.get(type(payload))
    return None if meaning is None else meaning(payload, tried)


def last_word(payload: Payload) -> str | None:
    """Return what a failure says, for a person who asks why the bot did not get in; None for all that is no failure."""
    if isinstance(payload, events.ConferenceFailed):
        return _with(payload.error, _texts(payload))
    if isinstance(payload, events.FocusRefused):
        return f"the conference focus answered {payload.answer}"
    if isinstance(payload, events.ConferenceError | events.ConnectionFailed):
        return _with(payload.error, payload.message)
    return None


def _with(error: str, details: str | None) -> str:
    return f"{error} ({details})" if details else error


def _made(answer: Answer | None, detail: str | None) -> Refusal | None:
    if answer is None or answer.reason is None:
        return None
    return Refusal(answer.reason, detail, answer.action, answer.waits)


def _kicked(payload: events.CaptureKicked, _: Credentials) -> Refusal:
    return Refusal(EndReason.REPLACED if payload.is_replaced else EndReason.KICKED, payload.reason)


def _lobby_denied(_payload: events.CaptureLobbyDenied, _: Credentials) -> Refusal:
    return Refusal(EndReason.LOBBY_DENIED)


def _left(_payload: events.ConferenceLeft, _: Credentials) -> Refusal:
    """Judge a departure that nobody asked for: when the bot leaves, its answers are not judged any more."""
    return Refusal(EndReason.RECONNECT_EXHAUSTED, "the server put the bot out of the room", Action.RETURN)


def _token_expired(_payload: events.ConnectionTokenExpired, _: Credentials) -> Refusal:
    return Refusal(EndReason.TOKEN_EXPIRED)


def _failed_by_itself(payload: events.CaptureError, _: Credentials) -> Refusal | None:
    return Refusal(EndReason.NOT_JITSI, payload.message) if payload.where == "join" else None


def _focus_refused(payload: events.FocusRefused, _: Credentials) -> Refusal | None:
    """Judge an answer to who is on the way in; in the room, the hook asks again."""
    return _made(FOCUS.get(payload.answer), f"the conference focus answered {payload.answer}")


def _redirected(payload: events.ConnectionRedirected, _: Credentials) -> Refusal | None:
    where = f"the server sends the bot to its node for visitors ({payload.node}), where a recorder sees too little"
    return _made(CONNECTION["connection.redirected"], f"{where}: give it a token, or raise the limit of participants")


def _texts(payload: events.ConferenceFailed) -> str | None:
    return ", ".join(str(detail) for detail in payload.details if isinstance(detail, str)) or None


def _conference_failed(payload: events.ConferenceFailed, tried: Credentials) -> Refusal | None:
    details = _texts(payload)
    if payload.error == "conference.passwordRequired":
        return Refusal(EndReason.PASSWORD_REQUIRED if tried.password is None else EndReason.PASSWORD_INCORRECT)
    if payload.error == "conference.destroyed":
        is_terminated = details is not None and _TERMINATED in details
        return Refusal(EndReason.MEETING_ENDED if is_terminated else EndReason.DESTROYED, details)
    answer = CONFERENCE.get(payload.error)
    if payload.error == "conference.connectionError.notAllowed" and payload.details:
        answer = NOT_ALLOWED.get(str(payload.details[0]), answer)
    return _made(answer, details or payload.error)


def _connection_failed(payload: events.ConnectionFailed, tried: Credentials) -> Refusal | None:
    if payload.error != "connection.passwordRequired":
        answer = CONNECTION.get(payload.error, CONNECTION["connection.otherError"])
        return _made(answer, payload.message or payload.error)
    if tried.token is None:
        return _made(CONNECTION["connection.passwordRequired"], payload.message)
    said = (payload.message or "").lower()
    answer = next(answer for text, answer in LOGIN.items() if re.search(rf"(?:\b|^){re.escape(text)}", said))
    return _made(answer, payload.message)


# Payloads that can refuse something, and how each is judged; all others never do.
ANSWERS: dict[type[Payload], Callable[[Any, Credentials], Refusal | None]] = {
    events.CaptureKicked: _kicked,
    events.CaptureLobbyDenied: _lobby_denied,
    events.CaptureError: _failed_by_itself,
    events.ConferenceFailed: _conference_failed,
    events.ConferenceLeft: _left,
    events.ConnectionFailed: _connection_failed,
    events.ConnectionRedirected: _redirected,
    events.ConnectionTokenExpired: _token_expired,
    events.FocusRefused: _focus_refused,
}


def answers_table() -> str:
    """Return all answers and what a capture does about each, as a table in Markdown."""
    lines = ["| answer | a capture | waiting in phase | its reason, if nothing helps |", "| --- | --- | --- | --- |"]
    refined = {f"conference.connectionError.notAllowed: {name}": answer for name, answer in NOT_ALLOWED.items()}
    focus = {f"conference request: {name}": answer for name, answer in FOCUS.items()}
    logins = {f"login refused: {text or 'anything else'}": answer for text, answer in LOGIN.items()}
    for name, answer in sorted({**CONFERENCE, **refined, **CONNECTION, **focus}.items()) + list(logins.items()):
        reason = answer.reason.value if answer.reason is not None else ""
        lines.append(f"| `{name}` | {answer.action.value} | {answer.waits.value if answer.waits else ''} | {reason} |")
    return "\n".join(line.replace("|  |", "| |").replace("|  |", "| |") for line in lines)
