"""Answers of a deployment and what they mean for a capture."""

from __future__ import annotations

import pytest

from meeta_bot import events
from meeta_bot.capture.admission import Credentials, refusal
from meeta_bot.events import EndReason, Payload


def conference(error: str, *details: object) -> events.ConferenceFailed:
    return events.ConferenceFailed(error=error, details=list(details))


def connection(error: str, message: str | None = None) -> events.ConnectionFailed:
    return events.ConnectionFailed(error=error, message=message)


def judged(payload: Payload, *, password: bool = False, token: bool = False) -> tuple[EndReason, str | None] | None:
    tried = Credentials(token="a token" if token else None, password="a password" if password else None)
    found = refusal(payload, tried)
    return None if found is None else (found.reason, found.detail)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (events.CaptureKicked(reason="no bots"), (EndReason.KICKED, "no bots")),
        (events.CaptureKicked(is_replaced=True), (EndReason.REPLACED, None)),
        (events.CaptureLobbyDenied(), (EndReason.LOBBY_DENIED, None)),
        (conference("conference.passwordRequired"), (EndReason.PASSWORD_REQUIRED, None)),
        (
            conference("conference.authenticationRequired"),
            (EndReason.AUTHENTICATION_REQUIRED, "conference.authenticationRequired"),
        ),
        (
            conference("conference.connectionError.notAllowed"),
            (EndReason.NOT_ALLOWED, "conference.connectionError.notAllowed"),
        ),
        (conference("conference.reservationError", "room taken", 5), (EndReason.NOT_ALLOWED, "room taken")),
        (conference("conference.max_users"), (EndReason.ROOM_FULL, "conference.max_users")),
        (
            conference("conference.destroyed", "The meeting has been terminated"),
            (EndReason.MEETING_ENDED, "The meeting has been terminated"),
        ),
        (conference("conference.destroyed", "All occupants left."), (EndReason.DESTROYED, "All occupants left.")),
        (conference("conference.destroyed", None), (EndReason.DESTROYED, None)),
        (connection("connection.passwordRequired", "why"), (EndReason.AUTHENTICATION_REQUIRED, "why")),
        (connection("connection.droppedError"), (EndReason.ROOM_UNREACHABLE, "connection.droppedError")),
        (connection("connection.otherError", "why"), (EndReason.ROOM_UNREACHABLE, "why")),
        (events.CaptureError(where="join", message="threw"), (EndReason.NOT_JITSI, "threw")),
        (events.ConnectionTokenExpired(), (EndReason.TOKEN_EXPIRED, None)),
        (events.ConferenceLeft(), (EndReason.RECONNECT_EXHAUSTED, "the server put the bot out of the room")),
    ],
)
def test_what_ends_a_capture_and_why(payload: Payload, expected: tuple[EndReason, str | None]) -> None:
    assert judged(payload) == expected


@pytest.mark.parametrize(
    "payload",
    [
        conference("conference.videobridgeNotAvailable"),
        conference("conference.setup_failed"),
        conference("something new"),
        events.CaptureError(where="conference.joined", message="threw"),
        events.CaptureLobbyWaiting(),
        events.ConferenceError(error="x"),
        events.ConnectionDisconnected(),
        events.ParticipantKicked(),
    ],
)
def test_what_does_not_end_a_capture(payload: Payload) -> None:
    assert judged(payload, password=True, token=True) is None


def test_a_password_that_was_given_is_wrong_and_not_missing() -> None:
    assert judged(conference("conference.passwordRequired"), password=True) == (EndReason.PASSWORD_INCORRECT, None)


def test_a_token_that_was_given_is_rejected_and_not_missing() -> None:
    assert judged(connection("connection.passwordRequired"), token=True) == (EndReason.TOKEN_REJECTED, None)


@pytest.mark.parametrize(
    ("payload", "passes"),
    [
        (connection("connection.droppedError"), True),
        (conference("conference.connectionError.notAllowed"), True),
        (conference("conference.max_users"), True),
        (conference("conference.reservationError"), True),
        (events.ConferenceLeft(), True),
        (events.CaptureError(where="join", message="threw"), False),
        (events.ConnectionTokenExpired(), False),
        (conference("conference.authenticationRequired"), False),
        (connection("connection.passwordRequired"), False),
        (conference("conference.passwordRequired"), False),
        (conference("conference.destroyed"), False),
        (events.CaptureKicked(), False),
        (events.CaptureLobbyDenied(), False),
    ],
)
def test_what_may_pass_for_one_that_was_in_the_room(payload: Payload, passes: bool) -> None:
    found = refusal(payload, Credentials())
    assert found is not None
    assert found.is_passing is passes


def test_credentials_are_never_shown() -> None:
    assert "secret" not in repr(Credentials(token="secret", password="secret"))
