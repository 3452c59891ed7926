"""Which JSON Web Token the bot logs in with, and whether its time is over."""

from __future__ import annotations

from pathlib import Path

import jwt
import pytest

from meeta_bot import room_address, settings, tokens

NOW = 1_700_000_000_000
LINK = room_address.parse("https://meet.example/room?jwt=from-the-link")
BARE = room_address.parse("https://meet.example/room")
KEY = "k" * 32


def test_the_link_comes_first_then_the_file_then_what_was_given(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("from-the-file\nand a comment\n")
    both = settings.load({"jwt_file": file, "jwt": "given"})
    assert tokens.current(LINK, both) == "from-the-link"
    assert tokens.current(BARE, both) == "from-the-file"
    assert tokens.current(BARE, settings.load({"jwt": "given"})) == "given"
    assert tokens.current(BARE, settings.load()) is None


def test_a_file_is_read_anew_and_may_be_gone_for_a_moment(tmp_path: Path) -> None:
    file = tmp_path / "token"
    chosen = settings.load({"jwt_file": file})
    assert tokens.current(BARE, chosen) is None
    file.write_text("first")
    assert tokens.current(BARE, chosen) == "first"
    file.write_text("second")
    assert tokens.current(BARE, chosen) == "second"
    file.write_bytes(b"\xff\xfe\xff")
    assert tokens.current(BARE, chosen) is None


@pytest.mark.parametrize(("seconds", "expired"), [(-1, True), (0, True), (1, False), (3600, False)])
def test_a_token_says_when_its_time_is_over(seconds: int, expired: bool) -> None:
    token = jwt.encode({"exp": NOW // 1000 + seconds}, KEY)
    assert tokens.has_expired(token, NOW) is expired


@pytest.mark.parametrize(
    "token",
    ["", "no token", "a.b.c", jwt.encode({}, KEY), jwt.encode({"room": "*"}, KEY)],
    ids=["empty", "text", "three parts", "no claims", "no exp"],
)
def test_a_token_that_does_not_say_has_not_expired(token: str) -> None:
    assert not tokens.has_expired(token, NOW)
