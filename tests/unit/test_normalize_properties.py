"""What holds for the normalizer whatever the library says, in whatever order."""

from __future__ import annotations

import copy
import json
from functools import cache
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from meeta_bot import events
from meeta_bot.events import Event
from meeta_bot.normalize import Message, State, known_origins, normalize
from tests import tapes
from tests.unit.builders import sealed, state
from tests.unit.capture import Capture
from tests.unit.conversations import LONGEST, conversation

conversations = st.builds(conversation, st.integers(0, 2**32), st.integers(0, LONGEST))

# What JSON has, at any place: no NaN, no infinity; no lone surrogates, which the bridge replaces.
texts = st.text(st.characters(codec="utf-8"), max_size=8)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=6
)


def played(said: list[Message]) -> tuple[State, list[Event]]:
    current, found = state(), []
    for message in said:
        current, more = normalize(current, message)
        found += more
    return current, found


@cache
def payload_validator(event_type: str) -> Draft202012Validator:
    """The part of the published schema that is about the payload of one type."""
    schema = events.json_schema()
    (branch,) = [branch for branch in schema["oneOf"] if branch["properties"]["type"]["const"] == event_type]
    return Draft202012Validator({**branch["properties"]["payload"], "$defs": schema["$defs"]})


def assert_publishable(found: list[Event]) -> None:
    for item in sealed(found):
        payload = json.loads(item.payload)
        payload_validator(item.type).validate(payload)
        assert events.payload_from_json(item.type, item.payload).event_type == item.type


@effort(max_examples=60, deadline=None)
@given(conversations)
def test_the_books_balance(said: list[Message]) -> None:
    current, found = played(said)
    counts = current.counts
    assert counts.messages == len(said)
    assert counts.messages == counts.normalized + counts.absorbed + counts.sampled + counts.refused
    assert counts.events == len(found)
    assert counts.unknown == sum(isinstance(event.payload, events.Unknown) for event in found)


@effort(max_examples=60, deadline=None)
@given(conversations)
def test_every_event_is_as_the_published_schema_says_and_can_be_read_back(said: list[Message]) -> None:
    assert_publishable(played(said)[1])


@effort(max_examples=50, deadline=None)
@given(conversations)
def test_the_state_survives_message_pack_after_every_message(said: list[Message]) -> None:
    current = state()
    for message in said:
        current, _ = normalize(current, message)
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(current), type=State) == current


@effort(max_examples=50, deadline=None)
@given(conversations)
def test_the_same_message_has_the_same_meaning_and_changes_neither_state_nor_message(said: list[Message]) -> None:
    current = state()
    for message in said:
        state_before, message_before = copy.deepcopy(current), copy.deepcopy(message)
        first = normalize(current, message)
        assert normalize(current, message) == first
        assert (current, message) == (state_before, message_before)
        current = first[0]


@effort(max_examples=50, deadline=None)
@given(conversations, st.integers(0, LONGEST))
def test_a_stored_state_goes_on_as_the_one_in_memory(said: list[Message], at: int) -> None:
    before, rest = said[:at], said[at:]
    current, _ = played(before)
    restored = msgspec.msgpack.decode(msgspec.msgpack.encode(current), type=State)
    for message in rest:
        current, found = normalize(current, message)
        restored, again = normalize(restored, message)
        assert again == found
    assert restored == current


@effort(max_examples=50, deadline=None)
@given(conversations)
def test_events_are_where_and_when_their_message_was(said: list[Message]) -> None:
    current = state()
    for message in said:
        current, found = normalize(current, message)
        for event in found:
            assert (event.occurred_at, event.monotonic_ms) == (message.wall_ms, message.monotonic_ms)


@pytest.mark.parametrize("origin", sorted(known_origins()))
@effort(max_examples=10, deadline=None)
@given(st.lists(anything, max_size=4))
def test_no_origin_minds_what_its_arguments_are(origin: str, args: list[Any]) -> None:
    capture = Capture()
    capture.join("alice")
    found = capture.say(origin, *args)
    assert_publishable(found)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(capture.state), type=State) == capture.state


@given(texts, st.lists(anything, max_size=4))
def test_an_origin_nobody_knows_is_kept_raw_with_whatever_it_has(origin: str, args: list[Any]) -> None:
    found = Capture().say(f"unknown.{origin}", *args)
    assert [event.payload for event in found] == [events.Unknown(arguments=args)]
    assert_publishable(found)


def test_the_made_up_conversations_are_about_nearly_everything() -> None:
    """Else the tests above would say little."""
    seen = {event.type for seed in range(60) for event in played(conversation(seed, LONGEST))[1]}
    assert len(seen) > 0.75 * len(events.CATALOG)
    assert {"screen_share.stopped", "participant.left", "recording.stopped", "transcript.chunk", "capture.gap"} <= seen


def pairs_of(found: list[Event], opening: str, closing: str) -> dict[str | None, list[str]]:
    """For each endpoint, the opening and closing events in their order."""
    seen: dict[str | None, list[str]] = {}
    for event in found:
        if event.type in (opening, closing):
            seen.setdefault(event.endpoint_id, []).append(event.type)
    return seen


@effort(max_examples=50, deadline=None)
@given(conversations)
def test_shares_and_visits_begin_before_they_end_and_alternate(said: list[Message]) -> None:
    _, found = played(said)
    for opening, closing in (
        ("screen_share.started", "screen_share.stopped"),
        ("participant.joined", "participant.left"),
    ):
        for order in pairs_of(found, opening, closing).values():
            assert order == [opening, closing] * (len(order) // 2) + [opening] * (len(order) % 2)


def test_every_type_of_the_catalog_has_one_branch_in_a_valid_schema() -> None:
    schema = events.json_schema()
    Draft202012Validator.check_schema(schema)
    assert [branch["properties"]["type"]["const"] for branch in schema["oneOf"]] == list(events.CATALOG)


def test_the_events_of_all_tapes_are_as_the_whole_published_schema_says() -> None:
    validator = Draft202012Validator(events.json_schema())
    shown: dict[str, dict[str, Any]] = {}
    for tape in tapes.names():
        for item in sealed(tapes.replay(tape)[1]):
            columns = msgspec.to_builtins(msgspec.structs.asdict(item))
            kept = {name: columns[name] for name in ("capture_id", "seq", "type", "origin", "room", "monotonic_ms")}
            shown[item.type] = {**kept, "occurred_at": "2026-01-01T00:00:00Z", "payload": json.loads(item.payload)}
    assert len(shown) > 20
    for event in shown.values():
        validator.validate(event)
