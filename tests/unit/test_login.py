"""The door: the credentials that a bot logs in with, the end of a token's time, and what refusals mean."""

from __future__ import annotations

from pathlib import Path

import jwt
import pytest

from meeta_bot import events, room_address, settings
from meeta_bot.capture.admission import Action, Credentials, Refusal
from meeta_bot.capture.login import Login, has_expired
from meeta_bot.capture.phases import Phase
from meeta_bot.capture.request import request_for
from meeta_bot.events import EndReason, Payload
from meeta_bot.room_address import RoomAddress
from meeta_bot.settings import Settings

NOW = 1_700_000_000_000
LINK = room_address.parse("https://meet.example/room?jwt=from-the-link")
BARE = room_address.parse("https://meet.example/room")
KEY = "k" * 32


def token(address: RoomAddress, chosen: Settings) -> str | None:
    return Login(request_for(address, chosen)).credentials().token


def test_the_link_comes_first_then_the_file_then_what_was_given(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("from-the-file\nand a comment\n")
    both = settings.load({"jwt_file": file, "jwt": "given"})
    assert token(LINK, both) == "from-the-link"
    assert token(BARE, both) == "from-the-file"
    assert token(BARE, settings.load({"jwt": "given"})) == "given"
    assert token(BARE, settings.load()) is None


def test_a_file_is_read_anew_and_may_be_gone_for_a_moment(tmp_path: Path) -> None:
    file = tmp_path / "token"
    chosen = settings.load({"jwt_file": file})
    assert token(BARE, chosen) is None
    file.write_text("first")
    assert token(BARE, chosen) == "first"
    file.write_text("second")
    assert token(BARE, chosen) == "second"
    file.write_bytes(b"\xff\xfe\xff")
    assert token(BARE, chosen) is None
    file.write_bytes(b"\xef\xbb\xbfthird\r\n")  # as editors on Windows write it
    assert token(BARE, chosen) == "third"


@pytest.mark.parametrize(("seconds", "expired"), [(-1, True), (0, True), (1, False), (3600, False)])
def test_a_token_says_when_its_time_is_over(seconds: int, expired: bool) -> None:
    assert has_expired(jwt.encode({"exp": NOW // 1000 + seconds}, KEY), NOW) is expired


@pytest.mark.parametrize(
    "silent",
    [
        *("", "no token", "a.b.c"),
        *(jwt.encode(claims, KEY) for claims in ({}, {"room": "*"}, {"exp": "soon"}, {"exp": None}, {"exp": 10**400})),
    ],
    ids=["empty", "text", "three parts", "no claims", "no exp", "exp is text", "exp is null", "exp is endless"],
)
def test_a_token_that_does_not_say_has_not_expired(silent: str) -> None:
    assert not has_expired(silent, NOW)


def test_a_room_s_password_is_read_from_its_file_or_given(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("from-the-file\n")
    given = settings.load({"room_password": "given"})
    assert Login(request_for(BARE, given)).credentials().password == "given"
    assert Login(request_for(BARE, given, password_file=file)).credentials().password == "from-the-file"
    assert Login(request_for(BARE, settings.load())).credentials().password is None


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("Not acceptable by exp (121 sec since expired)", EndReason.TOKEN_EXPIRED),
        ("Not acceptable by exp", EndReason.TOKEN_EXPIRED),
        ("The token is expired.", EndReason.TOKEN_EXPIRED),
        ("exp must be number", EndReason.TOKEN_REJECTED),
        ("Not acceptable by nbf", EndReason.TOKEN_REJECTED),
        ("Invalid signature", EndReason.TOKEN_REJECTED),
        (None, EndReason.TOKEN_REJECTED),
    ],
)
def test_a_server_may_say_that_it_is_too_late(said: str | None, reason: EndReason) -> None:
    failed = events.ConnectionFailed(error="connection.passwordRequired", message=said)
    assert judged(failed, "a token", None) == Refusal(reason, said)
    assert judged(failed, None, None) == Refusal(EndReason.AUTHENTICATION_REQUIRED, said)


def refused(message: str) -> events.ConnectionFailed:
    return events.ConnectionFailed(error="connection.passwordRequired", message=message)


REJECTED = refused("Invalid signature")
EXPIRED = refused("Not acceptable by exp")
REQUIRED = refused("token required")  # to one that came without
REASONS = {
    REJECTED.message: EndReason.TOKEN_REJECTED,
    EXPIRED.message: EndReason.TOKEN_EXPIRED,
    REQUIRED.message: EndReason.AUTHENTICATION_REQUIRED,
}
VALID = jwt.encode({"exp": NOW // 1000 + 60}, KEY)
OVER = jwt.encode({"exp": NOW // 1000 - 60}, KEY)


def judged(payload: Payload, tried: str | None, file: Path | None, *, was_in_room: bool = True) -> Refusal:
    chosen = settings.load({} if file is None else {"jwt_file": file})
    login = Login(request_for(BARE, chosen))
    found = login.judge(payload, Credentials(token=tried), wall_ms=NOW, was_in_room=was_in_room)
    assert found is not None
    return found


@pytest.mark.parametrize("answer", [REJECTED, EXPIRED, REQUIRED], ids=lambda answer: REASONS[answer.message].value)
def test_one_that_was_in_its_room_tries_a_token_that_was_renewed_meanwhile(
    answer: events.ConnectionFailed, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text(VALID)
    tried = None if answer is REQUIRED else OVER
    assert judged(answer, tried, file).is_passing
    first = EndReason.TOKEN_EXPIRED if answer is REJECTED else REASONS[answer.message]
    assert judged(answer, tried, file, was_in_room=False).reason is first


@pytest.mark.parametrize("answer", [REJECTED, EXPIRED, REQUIRED], ids=lambda answer: REASONS[answer.message].value)
@pytest.mark.parametrize("content", [None, "", "\n"], ids=["gone", "empty", "first line empty"])
def test_one_that_was_in_its_room_waits_for_a_file_that_is_being_written(
    answer: events.ConnectionFailed, content: str | None, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content)
    tried = None if answer is REQUIRED else VALID
    assert judged(answer, tried, file).is_passing
    first = judged(answer, tried, file, was_in_room=False)
    assert first.reason is REASONS[answer.message]
    assert not first.is_passing
    assert "the file of the token holds none" in str(first.detail)


@pytest.mark.parametrize("was_in_room", [False, True])
def test_a_token_that_is_still_the_same_is_judged_by_what_it_says(tmp_path: Path, was_in_room: bool) -> None:
    file = tmp_path / "token"
    file.write_text(VALID)
    rejected, expired = Refusal(EndReason.TOKEN_REJECTED, REJECTED.message), EXPIRED.message
    assert judged(REJECTED, VALID, file, was_in_room=was_in_room) == rejected
    assert judged(EXPIRED, VALID, file, was_in_room=was_in_room) == Refusal(EndReason.TOKEN_EXPIRED, expired)
    file.write_text(OVER)
    over = judged(REJECTED, OVER, file, was_in_room=was_in_room)
    assert over == Refusal(EndReason.TOKEN_EXPIRED, REJECTED.message)


@pytest.mark.parametrize("was_in_room", [False, True])
def test_without_any_token_one_is_required(was_in_room: bool) -> None:
    required = Refusal(EndReason.AUTHENTICATION_REQUIRED, REQUIRED.message)
    assert judged(REQUIRED, None, None, was_in_room=was_in_room) == required


def test_an_account_that_a_conference_asks_for_is_not_an_expired_token(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(OVER)
    required = events.ConferenceFailed(error="conference.authenticationRequired")
    waits = Refusal(EndReason.AUTHENTICATION_REQUIRED, required.error, Action.ASK, Phase.HOST)
    assert judged(required, OVER, file) == waits


def test_a_link_s_token_can_t_be_renewed_by_a_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(VALID)
    login = Login(request_for(LINK, settings.load({"jwt_file": file})))
    found = login.judge(REJECTED, login.credentials(), wall_ms=NOW, was_in_room=True)
    assert found == Refusal(EndReason.TOKEN_REJECTED, REJECTED.message)


def test_what_is_not_about_tokens_is_told_as_it_is(tmp_path: Path) -> None:
    login = Login(request_for(BARE, settings.load({"jwt_file": tmp_path / "gone"})))
    kicked = events.CaptureKicked(reason="no bots")
    found = login.judge(kicked, Credentials(), wall_ms=NOW, was_in_room=True)
    assert found == Refusal(EndReason.KICKED, "no bots")
    assert login.judge(events.CaptureLobbyWaiting(), Credentials(), wall_ms=NOW, was_in_room=True) is None
