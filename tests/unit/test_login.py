"""Which JSON Web Token the bot logs in with, whether its time is over, and what it means that one was refused."""

from __future__ import annotations

from pathlib import Path

import jwt
import pytest

from meeta_bot import events, room_address, settings
from meeta_bot.capture import admission, login
from meeta_bot.capture.admission import Verdict
from meeta_bot.capture.request import request_for
from meeta_bot.events import EndReason

NOW = 1_700_000_000_000
LINK = room_address.parse("https://meet.example/room?jwt=from-the-link")
BARE = room_address.parse("https://meet.example/room")
KEY = "k" * 32


def test_the_link_comes_first_then_the_file_then_what_was_given(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("from-the-file\nand a comment\n")
    both = settings.load({"jwt_file": file, "jwt": "given"})
    assert login.current(request_for(LINK, both)) == "from-the-link"
    assert login.current(request_for(BARE, both)) == "from-the-file"
    assert login.current(request_for(BARE, settings.load({"jwt": "given"}))) == "given"
    assert login.current(request_for(BARE, settings.load())) is None


def test_a_file_is_read_anew_and_may_be_gone_for_a_moment(tmp_path: Path) -> None:
    file = tmp_path / "token"
    chosen = settings.load({"jwt_file": file})
    assert login.current(request_for(BARE, chosen)) is None
    file.write_text("first")
    assert login.current(request_for(BARE, chosen)) == "first"
    file.write_text("second")
    assert login.current(request_for(BARE, chosen)) == "second"
    file.write_bytes(b"\xff\xfe\xff")
    assert login.current(request_for(BARE, chosen)) is None
    file.write_bytes(b"\xef\xbb\xbfthird\r\n")  # as editors on Windows write it
    assert login.current(request_for(BARE, chosen)) == "third"


@pytest.mark.parametrize(("seconds", "expired"), [(-1, True), (0, True), (1, False), (3600, False)])
def test_a_token_says_when_its_time_is_over(seconds: int, expired: bool) -> None:
    token = jwt.encode({"exp": NOW // 1000 + seconds}, KEY)
    assert login.has_expired(token, NOW) is expired


@pytest.mark.parametrize(
    "token",
    [
        *("", "no token", "a.b.c"),
        *(jwt.encode(claims, KEY) for claims in ({}, {"room": "*"}, {"exp": "soon"}, {"exp": None}, {"exp": 10**400})),
    ],
    ids=["empty", "text", "three parts", "no claims", "no exp", "exp is text", "exp is null", "exp is endless"],
)
def test_a_token_that_does_not_say_has_not_expired(token: str) -> None:
    assert not login.has_expired(token, NOW)


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
    assert admission.verdict(failed, has_password=False, has_token=True) == (reason, said)
    assert admission.verdict(failed, has_password=False, has_token=False) == (EndReason.AUTHENTICATION_REQUIRED, said)


REJECTED = Verdict(EndReason.TOKEN_REJECTED, "Invalid signature")
EXPIRED = Verdict(EndReason.TOKEN_EXPIRED, "Not acceptable by exp")
REQUIRED = Verdict(EndReason.AUTHENTICATION_REQUIRED, "token required")
VALID = jwt.encode({"exp": NOW // 1000 + 60}, KEY)
OVER = jwt.encode({"exp": NOW // 1000 - 60}, KEY)


def judged(refusal: Verdict, tried: str | None, file: Path | None, *, was_in_room: bool = True) -> Verdict:
    chosen = settings.load({} if file is None else {"jwt_file": file})
    return login.judged(refusal, tried, request_for(BARE, chosen), wall_ms=NOW, was_in_room=was_in_room)


@pytest.mark.parametrize("refusal", [REJECTED, EXPIRED, REQUIRED], ids=lambda refusal: refusal.reason.value)
def test_one_that_was_in_its_room_tries_a_token_that_was_renewed_meanwhile(refusal: Verdict, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(VALID)
    tried = None if refusal is REQUIRED else OVER
    assert judged(refusal, tried, file).is_passing
    first = EndReason.TOKEN_EXPIRED if refusal is REJECTED else refusal.reason
    assert judged(refusal, tried, file, was_in_room=False).reason is first


@pytest.mark.parametrize("refusal", [REJECTED, EXPIRED, REQUIRED], ids=lambda refusal: refusal.reason.value)
@pytest.mark.parametrize("content", [None, "", "\n"], ids=["gone", "empty", "first line empty"])
def test_one_that_was_in_its_room_waits_for_a_file_that_is_being_written(
    refusal: Verdict, content: str | None, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content)
    tried = None if refusal is REQUIRED else VALID
    assert judged(refusal, tried, file).is_passing
    first = judged(refusal, tried, file, was_in_room=False)
    assert first.reason is refusal.reason
    assert "the file of the token holds none" in str(first.detail)


@pytest.mark.parametrize("was_in_room", [False, True])
def test_a_token_that_is_still_the_same_is_judged_by_what_it_says(tmp_path: Path, was_in_room: bool) -> None:
    file = tmp_path / "token"
    file.write_text(VALID)
    assert judged(REJECTED, VALID, file, was_in_room=was_in_room) == REJECTED
    assert judged(EXPIRED, VALID, file, was_in_room=was_in_room) == EXPIRED
    file.write_text(OVER)
    over = judged(REJECTED, OVER, file, was_in_room=was_in_room)
    assert over == (EndReason.TOKEN_EXPIRED, REJECTED.detail)


@pytest.mark.parametrize("was_in_room", [False, True])
def test_without_any_token_one_is_required(was_in_room: bool) -> None:
    assert judged(REQUIRED, None, None, was_in_room=was_in_room) == REQUIRED


def test_an_account_that_a_conference_asks_for_is_not_an_expired_token(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(OVER)
    assert judged(REQUIRED, OVER, file) == REQUIRED


def test_a_link_s_token_can_t_be_renewed_by_a_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(VALID)
    chosen = settings.load({"jwt_file": file})
    found = login.judged(REJECTED, "from-the-link", request_for(LINK, chosen), wall_ms=NOW, was_in_room=True)
    assert found == REJECTED
