"""HTTP authentication: to whom the user and password of a link are told."""

from __future__ import annotations

from typing import Any

from meeta_bot import room_address
from meeta_bot.capture.browser.http_login import HttpLogin

LINK = room_address.parse("https://alice:hush@meet.example.org:8443/Standup")


def answer(login: HttpLogin, request: str = "1", **challenge: Any) -> dict[str, Any]:
    event = {"requestId": request, "authChallenge": {"origin": "https://meet.example.org:8443", **challenge}}
    command, parameters = login.answer(event)
    assert (command, parameters["requestId"]) == ("Fetch.continueWithAuth", request)
    return dict(parameters["authChallengeResponse"])


def test_the_deployment_is_told_once_for_each_request() -> None:
    login = HttpLogin(LINK)
    told = {"response": "ProvideCredentials", "username": "alice", "password": "hush"}
    assert login.is_wanted
    assert answer(login, "1") == told
    assert answer(login, "1") == {"response": "CancelAuth"}
    assert answer(login, "2", source="Server") == told


def test_others_are_told_nothing() -> None:
    login = HttpLogin(LINK)
    for origin in ("https://meet.example.org", "http://meet.example.org:8443", "https://evil.example"):
        assert answer(login, origin=origin) == {"response": "CancelAuth"}
    assert answer(login, source="Proxy") == {"response": "Default"}


def test_without_user_and_password_nothing_is_answered() -> None:
    login = HttpLogin(room_address.parse("https://meet.example.org/Standup"))
    assert not login.is_wanted
    assert answer(login, origin="https://meet.example.org") == {"response": "CancelAuth"}
