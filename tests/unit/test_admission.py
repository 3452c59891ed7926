"""Answers of a deployment and what they mean for a capture."""

from __future__ import annotations

from pathlib import Path

import pytest

from meeta_bot import events
from meeta_bot.capture import admission
from meeta_bot.capture.admission import Action, Credentials, refusal
from meeta_bot.capture.phases import WAITING, Phase
from meeta_bot.events import EndReason, Payload

REPOSITORY = Path(__file__).resolve().parents[2]


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
        (conference("conference.authenticationRequired"), True),
        (connection("connection.notLiveError"), True),
        (connection("connection.conferenceRequestFailed"), True),
        (events.ConnectionRedirected(node="v1.meet.example.org"), False),
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


# The library's enumerations: of 16 December 2021 (733cc286) and of 20 August 2026 (01daa07c), whichever has a name.
OF_CONFERENCES = """
conference.authenticationRequired conference.chatError conference.connectionError
conference.connectionError.accessDenied conference.connectionError.membersOnly conference.connectionError.notAllowed
conference.destroyed conference.display_name_required conference.focusDisconnected conference.focusLeft
conference.gracefulShutdown conference.iceFailed conference.incompatible_server_versions conference.max_users
conference.offerAnswerFailed conference.passwordNotSupported conference.passwordRequired conference.reservationError
conference.restarted conference.settingsError conference.videobridgeNotAvailable
"""
OF_CONNECTIONS = """
connection.conferenceRequestFailed connection.droppedError connection.notLiveError connection.otherError
connection.passwordRequired connection.redirected connection.serverError connection.shardChangedError
"""
OF_ENTERING = """
authentication-required general no-main-participants no-visitors-lobby promotion-not-allowed room-creation-restriction
"""


def test_every_answer_of_both_generations_of_the_library_has_a_meaning() -> None:
    assert set(admission.CONFERENCE) == set(OF_CONFERENCES.split())
    assert set(admission.CONNECTION) == set(OF_CONNECTIONS.split())
    assert set(admission.NOT_ALLOWED) == set(OF_ENTERING.split())


def test_what_asks_again_ends_with_a_reason_and_waits_in_a_phase_that_is_bounded() -> None:
    answers = [*admission.CONFERENCE.values(), *admission.CONNECTION.values(), *admission.NOT_ALLOWED.values()]
    for answer in answers:
        assert (answer.reason is None) is (answer.action is Action.GO_ON)
        assert answer.waits is None or (answer.action is Action.ASK and answer.waits in WAITING)
    assert WAITING - {answer.waits for answer in answers} == {Phase.QUEUE}  # in which nobody answers


@pytest.mark.parametrize(
    ("details", "action"),
    [
        (["room-creation-restriction", "Room creation is restricted"], Action.ASK),
        (["authentication-required"], Action.END),
        (["no-main-participants"], Action.ASK),
        (["something new"], Action.RETURN),
        ([], Action.RETURN),
    ],
)
def test_why_one_is_not_allowed_makes_a_difference(details: list[str], action: Action) -> None:
    found = refusal(conference("conference.connectionError.notAllowed", *details), Credentials())
    assert found is not None
    assert found.action is action


@pytest.mark.parametrize(
    ("said", "reason", "action"),
    [
        ("Not acceptable by exp check", EndReason.TOKEN_EXPIRED, Action.END),
        ("The token has expired", EndReason.TOKEN_EXPIRED, Action.END),
        ("token required", EndReason.AUTHENTICATION_REQUIRED, Action.END),
        ("could not obtain public key", EndReason.TOKEN_REJECTED, Action.ENTER),
        ("unexpired nonsense", EndReason.TOKEN_REJECTED, Action.END),
        (None, EndReason.TOKEN_REJECTED, Action.END),
    ],
)
def test_a_refused_login_is_judged_by_its_text(said: str | None, reason: EndReason, action: Action) -> None:
    found = refusal(connection("connection.passwordRequired", said), Credentials(token="a token"))
    assert found is not None
    assert (found.reason, found.action) == (reason, action)


def test_the_last_word_of_a_server_is_kept_for_a_person() -> None:
    assert admission.last_word(conference("conference.max_users")) == "conference.max_users"
    assert (
        admission.last_word(conference("conference.reservationError", "taken", 5))
        == "conference.reservationError (taken)"
    )
    assert admission.last_word(connection("connection.otherError", "why")) == "connection.otherError (why)"
    assert admission.last_word(events.ConnectionEstablished()) is None


def test_the_architecture_shows_the_answers() -> None:
    text = (REPOSITORY / "ARCHITECTURE.md").read_text(encoding="utf-8")
    assert admission.answers_table() in text
