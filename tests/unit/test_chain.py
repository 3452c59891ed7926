"""The canonical form and the digest chain."""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meeta_bot.events import CaptureError, SealedEvent, Unknown, chain
from meeta_bot.limits import LARGEST_NUMBER
from tests.unit.builders import broken_links, event, sealed

# Also what no JSON text can hold: NUL, lone surrogates, NaN and infinities.
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None, categories=None)),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(codec=None, categories=None), max_size=5), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(anything)
def test_the_canonical_form_of_the_canonical_form_is_itself(value: Any) -> None:
    once = chain.canonical_json(value)
    assert chain.canonical_json(json.loads(once)) == once


@given(anything)
def test_the_canonical_form_survives_any_json_reader_and_writer(value: Any) -> None:
    once = chain.canonical_json(value)
    rewritten = json.dumps(json.loads(once), indent=2)
    assert chain.canonical_json(json.loads(rewritten)) == once
    assert chain.canonical_json(msgspec.json.decode(rewritten)) == once


@given(anything)
def test_the_canonical_form_holds_nothing_that_postgresql_refuses(value: Any) -> None:
    text = chain.canonical_json(value).decode("utf-8")
    assert "\\u0000" not in text.replace("\\\\", "")
    assert "\x00" not in text
    for number in numbers_in(json.loads(text)):
        assert math.isfinite(number)
        assert abs(number) <= LARGEST_NUMBER


def numbers_in(value: Any) -> list[float]:
    if isinstance(value, dict | list):
        items = value.values() if isinstance(value, dict) else value
        return [number for item in items for number in numbers_in(item)]
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else []


@pytest.mark.parametrize(
    ("value", "canonical"),
    [
        ({"b": 1, "a": 2}, b'{"a":2,"b":1}'),
        (1.0, b"1"),
        (-0.0, b"0"),
        (1e15, b"1000000000000000"),
        (0.1, b"0.1"),
        (1e-301, b"0"),
        (2**53, b"9007199254740992"),
        (2**53 + 1, b'"9007199254740993"'),
        (-(2**53) - 1, b'"-9007199254740993"'),
        (math.nan, b"null"),
        (-math.inf, b"null"),
        (True, b"true"),
        ("a\x00b", '"a�b"'.encode()),
        ("\ud800", '"�"'.encode()),
        ("\ud83d\ude00", '"😀"'.encode()),
        ({"k\x00": "\udfff"}, '{"k�":"�"}'.encode()),
    ],
)
def test_what_has_several_forms_gets_one(value: Any, canonical: bytes) -> None:
    assert chain.canonical_json(value) == canonical


def test_the_order_of_keys_does_not_matter_at_any_depth() -> None:
    assert chain.canonical_json([{"x": {"b": 1, "a": 2}}]) == chain.canonical_json([{"x": {"a": 2, "b": 1}}])


def test_what_is_nested_too_deeply_is_cut() -> None:
    deep: Any = "bottom"
    for _ in range(chain.DEEPEST + 1):
        deep = [deep]
    assert chain.canonical_json(deep) == b"[" * chain.DEEPEST + b"null" + b"]" * chain.DEEPEST
    assert chain.canonical_json(deep[0]) == b"[" * chain.DEEPEST + b'"bottom"' + b"]" * chain.DEEPEST


def test_a_chain_verifies() -> None:
    assert broken_links(sealed([event(number) for number in range(1, 6)])) == []


def test_an_empty_salt_is_never_made() -> None:
    assert all(len(item.salt) == chain.SALT_BYTES for item in sealed([event()]))


ALTERED: dict[str, Any] = {
    "capture_id": "another",
    "seq": 7,
    "type": "capture.ended",
    "origin": "another",
    "room": "breakout-1",
    "endpoint_id": "ab12cd34",
    "occurred_at": 1,
    "monotonic_ms": 99,
    "server_at": 1,
    "initial": True,
    "inferred": True,
    "payload": '{"message":"another","where":"test"}',
    "salt": b"another salt....",
    "commitment": bytes(32),
    "digest": bytes(32),
}


@pytest.mark.parametrize("column", SealedEvent.__struct_fields__)
def test_altering_a_column_breaks_the_chain_there(column: str) -> None:
    chained = sealed([event(number) for number in range(1, 4)])
    assert getattr(chained[1], column) != ALTERED[column]
    chained[1] = msgspec.structs.replace(chained[1], **{column: ALTERED[column]})
    assert chained[1].seq in broken_links(chained)


def test_a_sealed_event_has_every_column_of_the_event() -> None:
    facts: dict[str, Any] = {"endpoint_id": "e", "room": "r", "server_at": 5, "initial": True, "inferred": True}
    (item,) = sealed([event(3, **facts)])
    assert {name: getattr(item, name) for name in facts} == facts
    assert (item.type, item.origin, item.seq, item.monotonic_ms) == ("capture.error", "test", 1, 3)
    assert item.occurred_at == event(3).occurred_at


def test_taking_an_event_out_breaks_the_chain() -> None:
    chained = sealed([event(number) for number in range(1, 6)])
    del chained[2]
    assert broken_links(chained) == [4]


def test_exchanging_two_events_breaks_the_chain() -> None:
    chained = sealed([event(number) for number in range(1, 6)])
    chained[1], chained[2] = chained[2], chained[1]
    assert broken_links(chained) == [3, 2, 4]


def test_an_event_can_t_be_rewritten_with_a_fitting_commitment_of_its_own() -> None:
    chained = sealed([event(number) for number in range(1, 4)])
    forged = b'{"message":"forged","where":"test"}'
    chained[1] = msgspec.structs.replace(
        chained[1], payload=forged.decode(), commitment=chain.commit(chained[1].salt, forged)
    )
    assert broken_links(chained) == [2]


def test_erasing_payload_and_salt_leaves_the_chain_whole() -> None:
    chained = sealed([event(number) for number in range(1, 4)])
    chained[1] = msgspec.structs.replace(chained[1], payload="", salt=b"")
    assert broken_links(chained) == []


def test_the_same_payload_has_another_commitment_each_time_so_that_erased_words_can_t_be_guessed() -> None:
    first, second = sealed([event(1), event(1)])
    assert first.payload == second.payload
    assert first.commitment != second.commitment


def test_an_event_is_sealed_in_its_canonical_form() -> None:
    dirty = event(1, CaptureError(where="a\x00", message="\ud800"), origin="o\x00", endpoint_id="e\udc00", room="r\x00")
    (item,) = sealed([dirty])
    assert (item.origin, item.endpoint_id, item.room) == ("o�", "e�", "r�")
    assert json.loads(item.payload) == {"where": "a�", "message": "�"}
    assert broken_links([item]) == []


@given(st.lists(anything, max_size=3))
def test_a_sealed_event_survives_message_pack(arguments: list[Any]) -> None:
    (item,) = sealed([event(1, Unknown(arguments=arguments))])
    packed = msgspec.msgpack.encode(item)
    assert msgspec.msgpack.decode(packed, type=SealedEvent) == item
