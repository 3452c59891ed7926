"""Log lines: JSON that can be read, and no secret in them."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from meeta_bot import logs


@pytest.fixture(autouse=True)
def _default_logging_afterwards() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def line(message: str = "hello", **values: Any) -> str:
    """Return the JSON that one log call writes."""
    stream = io.StringIO()
    logs.configure(json_lines=True, stream=stream)
    logs.get_logger("test").warning(message, **values)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("https://h/Room?jwt=aa.bb.cc", "https://h/Room?jwt=[hidden]"),
        ("https://h/Room?jwt=aa.bb&lang=de", "https://h/Room?jwt=[hidden]&lang=de"),
        ("https://h/Room#jwt=aa", "https://h/Room#jwt=[hidden]"),
        (
            "wss://h/xmpp-websocket?room=r&token=aa&previd=bb",
            "wss://h/xmpp-websocket?room=r&token=[hidden]&previd=[hidden]",
        ),
        ("https://h/?access_token=aa", "https://h/?access_token=[hidden]"),
        ("https://h/?JWT=aa", "https://h/?JWT=[hidden]"),
        ("postgresql://u:hush@h:5432/d", "postgresql://[hidden]@h:5432/d"),
        ("postgresql://u:hu@sh@h/d", "postgresql://[hidden]@h/d"),
        ("postgresql://u:hu/sh@h/d", "postgresql://[hidden]@h/d"),
        ("postgresql://:hush@h/d", "postgresql://[hidden]@h/d"),
        (
            "could not connect to postgresql://u:hush@h/d: refused",
            "could not connect to postgresql://[hidden]@h/d: refused",
        ),
        ("host=h password=hush dbname=d", "host=h password=[hidden] dbname=d"),
        ("host=h password='hu sh' dbname=d", "host=h password=[hidden] dbname=d"),
        ('Password="hu sh"', "Password=[hidden]"),
    ],
)
def test_a_text_loses_its_secrets_and_nothing_else(text: str, redacted: str) -> None:
    assert logs.redact_text(text) == redacted


@pytest.mark.parametrize(
    "text", ["https://meet.example.org:8443/Room", "3 events stored", "alice@example.org", "a=b", ""]
)
def test_a_text_without_secrets_stays_as_it_is(text: str) -> None:
    assert logs.redact_text(text) == text


@pytest.mark.parametrize(
    "name", ["password", "room_password", "jwt", "token", "client_secret", "Authorization", "salt"]
)
def test_a_value_whose_name_says_that_it_is_secret_is_hidden(name: str) -> None:
    assert json.loads(line(**{name: "hush"}))[name] == "[hidden]"


class Address:
    """Something whose text holds a secret."""

    def __str__(self) -> str:
        return "https://h/Room?jwt=hush"

    __repr__ = __str__


@pytest.mark.parametrize(
    "value",
    [
        ["https://h/?jwt=hush"],
        {"url": "https://h/?jwt=hush"},
        {"password": "hush"},
        [{"deep": ("postgresql://u:hush@h/d",)}],
        ValueError("postgresql://u:hush@h/d"),
        Address(),
        {Address(): 1},
    ],
)
def test_a_secret_inside_a_value_is_hidden(value: Any) -> None:
    assert "hush" not in line(value=value)


def test_a_secret_in_the_message_is_hidden() -> None:
    assert "hush" not in line("opened https://h/?jwt=hush")


def test_a_secret_in_an_exception_is_hidden() -> None:
    stream = io.StringIO()
    logs.configure(json_lines=True, stream=stream)
    try:
        raise ValueError("postgresql://u:hush@h/d")
    except ValueError:
        logs.get_logger("test").exception("failed")
    assert "ValueError" in json.loads(stream.getvalue())["exception"]
    assert "hush" not in stream.getvalue()


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3) | st.sets(st.text()),
    max_leaves=8,
)


@given(values)
def test_a_line_is_one_line_of_json_whatever_the_values(value: Any) -> None:
    written = line("a\nmessage", value=value)
    assert written.count("\n") == 1
    read = json.loads(written)
    assert read["event"] == "a\nmessage"
    assert {"part", "level", "timestamp", "value"} <= read.keys()


def test_numbers_and_lists_stay_numbers_and_lists() -> None:
    read = json.loads(line(count=3, share=0.5, there=True, names=["a", "b"]))
    assert (read["count"], read["share"], read["there"], read["names"]) == (3, 0.5, True, ["a", "b"])


def test_details_are_written_when_asked_for_only() -> None:
    stream = io.StringIO()
    logs.configure(json_lines=True, stream=stream)
    logs.get_logger("test").debug("detail")
    assert stream.getvalue() == ""
    logs.configure(json_lines=True, stream=stream, verbose=True)
    logs.get_logger("test").debug("detail")
    assert json.loads(stream.getvalue())["event"] == "detail"


def test_what_is_no_terminal_gets_json() -> None:
    stream = io.StringIO()
    logs.configure(stream=stream)
    logs.get_logger("test").info("hello")
    assert json.loads(stream.getvalue())["part"] == "test"


def test_a_terminal_gets_text_without_secrets() -> None:
    stream = io.StringIO()
    logs.configure(json_lines=False, stream=stream)
    logs.get_logger("test").info("hello", url="https://h/?jwt=hush")
    assert "hello" in stream.getvalue()
    assert "hush" not in stream.getvalue()
