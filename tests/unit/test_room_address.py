"""Addresses of rooms, as people paste them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meeta_bot import room_address
from meeta_bot.errors import InvalidRoomUrl


@pytest.mark.parametrize(
    ("given_text", "url", "room"),
    [
        ("https://meet.example.org/WeeklyStandup", "https://meet.example.org/WeeklyStandup", "weeklystandup"),
        ("  https://meet.example.org/Standup \n", "https://meet.example.org/Standup", "standup"),
        ("meet.example.org/Standup", "https://meet.example.org/Standup", "standup"),
        ("http://127.0.0.1:8080/Standup", "http://127.0.0.1:8080/Standup", "standup"),
        ("https://MEET.Example.ORG/Standup/", "https://meet.example.org/Standup", "standup"),
        ("https://[2001:db8::1]:8443/Standup", "https://[2001:db8::1]:8443/Standup", "standup"),
        ("https://meet.example.org/tenant/Standup", "https://meet.example.org/tenant/Standup", "standup"),
        ("https://meet.example.org/Standup?lang=de#config.x=1", "https://meet.example.org/Standup", "standup"),
        ("https://meet.example.org/Two%20Words", "https://meet.example.org/Two%20Words", "two%20words"),
        ("https://meet.example.org/Two Words", "https://meet.example.org/Two%20Words", "two%20words"),
        ("https://meet.example.org/Stra%C3%9Fe", "https://meet.example.org/Stra%C3%9Fe", "stra%c3%9fe"),
        ("https://meet.example.org/Straße", "https://meet.example.org/Stra%C3%9Fe", "stra%c3%9fe"),
        ("https://meet.example.org/a%2Fb", "https://meet.example.org/a%2Fb", "a%2fb"),
        ("https://meet.example.org/a+b", "https://meet.example.org/a%2Bb", "a%2bb"),
        (
            "https://meet.example.org/it's(a)~room*!",
            "https://meet.example.org/it%27s%28a%29~room%2A%21",
            "it's(a)~room*!",
        ),
        ("https://alice@meet.example.org/Standup", "https://meet.example.org/Standup", "standup"),
    ],
)
def test_an_address_is_taken_apart_as_the_web_application_does(given_text: str, url: str, room: str) -> None:
    address = room_address.parse(given_text)
    assert (address.url, address.room, address.token) == (url, room, None)
    assert address.url.startswith(f"{address.deployment}/")


@pytest.mark.parametrize(
    ("last", "room"),
    [
        ("Фокус", "%d1%84%d0%be%d0%ba%d1%83%d1%81"),
        ("🙂", "%f0%9f%99%82"),
        ("%F0%9F%99%82", "%f0%9f%99%82"),
        ("100%", "100%25"),
        ("%zz", "%25zz"),
        ("a%2", "a%252"),
        ("%FF", "%ef%bf%bd"),
        ("\u202eadA", "%e2%80%aeada"),
        ("Room?a=b#c/d", "room"),
        ("a%3Fb%23c", "a%3fb%23c"),
    ],
)
def test_whatever_a_room_is_called_its_address_is_plain_and_names_it_again(last: str, room: str) -> None:
    address = room_address.parse(f"https://meet.example.org/{last}")
    assert address.room == room
    assert address.url.isascii()
    assert address.url.isprintable()
    assert room_address.parse(address.url) == address


def test_the_deployment_is_the_address_without_the_room() -> None:
    assert room_address.parse("https://h.example/t/Room").deployment == "https://h.example/t"
    assert room_address.parse("https://h.example:1234/Room").deployment == "https://h.example:1234"


def test_the_same_name_composed_and_decomposed_is_one_room() -> None:
    composed = room_address.parse("https://meet.example.org/Caf%C3%A9")
    assert room_address.parse("https://meet.example.org/Cafe%CC%81").room == composed.room


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=30))
def test_the_name_of_a_room_is_the_same_when_it_is_normalized_again(text: str) -> None:
    once = room_address.room_name(text.replace("%", ""))
    assert room_address.room_name(once) == once
    assert once.isascii()


def test_a_token_is_taken_out_of_the_address_and_does_not_show() -> None:
    address = room_address.parse("https://meet.example.org/Standup?jwt=aa.bb.cc&lang=de")
    assert address.token == "aa.bb.cc"
    assert "aa.bb" not in address.url
    assert "aa.bb" not in repr(address)


def test_an_empty_token_is_none() -> None:
    assert room_address.parse("https://meet.example.org/Standup?jwt=").token is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "https://",
        "https:///Room",
        "//meet.example.org/Room",
        "meet.example.org",
        "https://meet.example.org",
        "https://meet.example.org/",
        "https://meet.example.org//",
        "https://meet.example.org/?jwt=x",
        "https://meet.example.org/#Room",
        "https://meet.example.org/..",
        "https://meet.example.org/tenant/.",
        "https://meet.example.org/%2e%2E",
        "https://meet.example.org:port/Room",
        "https://meet.example.org:99999/Room",
        "https://[::1/Room",
        "https://exa mple.org/Room",
        "https://meet.example.org\\@other.example/Room",
        "https://meet.example.org%2F@/Room",
        "ftp://meet.example.org/Room",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "data:text/html,Room",
        "https://meet.example.org/\udcff",
        "https://\udcff/Room",
        "\x00",
    ],
)
def test_what_is_no_room_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(InvalidRoomUrl) as refusal:
        room_address.parse(text)
    assert "\n" not in str(refusal.value)
    assert refusal.value.hint


@given(st.text(st.characters(codec=None, categories=None), max_size=60))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidRoomUrl):
        address = room_address.parse(text)
        assert room_address.parse(address.url).room == address.room
        assert address.url.startswith(("https://", "http://"))


@pytest.mark.parametrize(
    "text",
    [
        "ftp://meet.example.org/Room?jwt=hush",
        "https://meet.example.org/?jwt=hush",
        "https://meet.example.org/#jwt=hush",
        "https://alice:hush@meet.example.org/",
        "https://alice:hush@meet.example.org:port/Room",
        "https://alice:hush@[::1/Room",
    ],
)
def test_a_refusal_shows_no_secret(text: str) -> None:
    with pytest.raises(InvalidRoomUrl) as refusal:
        room_address.parse(text)
    assert "hush" not in str(refusal.value)


def test_a_refusal_shows_no_control_characters_and_is_not_endless() -> None:
    with pytest.raises(InvalidRoomUrl) as refusal:
        room_address.parse("ftp://\x1b[31m" + "x" * 100_000)
    assert "\x1b" not in str(refusal.value)
    assert len(str(refusal.value)) < 300
