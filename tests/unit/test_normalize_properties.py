"""What holds for the normalizer whatever the library says, in whatever order."""

from __future__ import annotations

import copy
import json
from functools import cache
from typing import Any, TypeVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from meeta_bot import events
from meeta_bot.capture.normalize import Message, State, known_origins, normalize
from meeta_bot.events import Event
from tests import tapes
from tests.unit.builders import CAPTURE, sealed, state
from tests.unit.capture import BOT, START, Capture
from tests.unit.conversations import LONGEST, conversation

_P = TypeVar("_P", bound=events.Payload)
ANY_TIME = 10**9  # later than any conversation
PART_OF_A_DEPARTURE = {"participant.left", "screen_share.stopped", "transcription.stopped"}
# What can show the room again, or end the capture.
SIGHTS = {
    "conference.joined",
    "conference.userJoined",
    "conference.propertiesChanged",
    "conference.roleChanged",
    "conference.recorderStateChanged",
    "conference.transcriptionStatusChanged",
    "presence.media",
    "presence.recording",
    "hook.signalling_back",
    "recorder.ended",
}

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


@effort(max_examples=60)
@given(conversations)
def test_the_books_balance(said: list[Message]) -> None:
    current, found = played(said)
    counts = current.counts
    assert counts.messages == len(said)
    assert counts.messages == counts.normalized + counts.absorbed + counts.sampled + counts.refused
    assert counts.events == len(found)
    assert counts.unknown == sum(isinstance(event.payload, events.Unknown) for event in found)


@effort(max_examples=60)
@given(conversations)
def test_every_event_is_as_the_published_schema_says_and_can_be_read_back(said: list[Message]) -> None:
    assert_publishable(played(said)[1])


@effort(max_examples=50)
@given(conversations)
def test_the_state_survives_message_pack_after_every_message(said: list[Message]) -> None:
    current = state()
    for message in said:
        current, _ = normalize(current, message)
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(current), type=State) == current


@effort(max_examples=50)
@given(conversations)
def test_the_same_message_has_the_same_meaning_and_changes_neither_state_nor_message(said: list[Message]) -> None:
    current = state()
    for message in said:
        state_before, message_before = copy.deepcopy(current), copy.deepcopy(message)
        first = normalize(current, message)
        assert normalize(current, message) == first
        assert (current, message) == (state_before, message_before)
        current = first[0]


@effort(max_examples=50)
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


@effort(max_examples=50)
@given(conversations)
def test_events_are_where_and_when_their_message_was_but_for_departures_in_a_gap(said: list[Message]) -> None:
    current, begins = state(), list[int]()
    for message in said:
        current, found = normalize(current, message)
        begins += [gap.from_ms for gap in payloads(found, events.CaptureGap) if gap.from_ms is not None]
        for event in found:
            if (event.occurred_at, event.monotonic_ms) != (message.wall_ms, message.monotonic_ms):
                assert event.type in PART_OF_A_DEPARTURE
                assert event.inferred
                assert event.monotonic_ms >= min(begins)


@effort(max_examples=100)
@given(conversations)
def test_who_is_there_is_who_arrived_and_did_not_leave(said: list[Message]) -> None:
    current, roster = state(), set[str | None]()
    for message in said:
        current, found = normalize(current, message)
        for event in found:
            if event.type == "participant.joined":
                roster.add(event.endpoint_id)
            elif event.type == "participant.left":
                roster.remove(event.endpoint_id)
        assert roster == set(current.participants)


@effort(max_examples=100)
@given(conversations)
def test_an_event_is_not_both_from_before_the_bot_came_and_found_after_a_gap(said: list[Message]) -> None:
    assert [event for event in played(said)[1] if event.initial and event.inferred] == []


@effort(max_examples=100)
@given(conversations)
def test_every_gap_ends_after_it_begins(said: list[Message]) -> None:
    for gap in payloads(played(said)[1], events.CaptureGap):
        assert gap.from_ms is not None
        assert gap.to_ms is not None
        assert gap.from_ms <= gap.to_ms
        assert gap.from_at <= gap.to_at


@effort(max_examples=150)
@given(conversations)
def test_a_capture_that_ended_has_a_gap_from_every_loss_of_the_room_to_its_next_sign(said: list[Message]) -> None:
    said = [*said, Message("recorder.ended", [{"reason": "operator"}], START + ANY_TIME, ANY_TIME)]
    current, found = state(), list[Event]()
    losses: list[tuple[int, int, set[events.Lost]]] = []
    for at, message in enumerate(said):
        current, more = normalize(current, message)
        found += more
        if any(event.type in ("capture.reconnecting", "signalling.lost") for event in more):
            is_over = message.origin == "recorder.lost"
            kinds = {events.Lost.EVERYTHING} if is_over else {events.Lost.EVERYTHING, events.Lost.NOTHING}
            losses.append((at, message.monotonic_ms - int(message.args[0].get("ago_ms", 0)), kinds))
        if current.ended:
            break
    for at, since, kinds in losses:
        # The earliest that could have shown the room again; time may go back in these conversations.
        until = min(message.monotonic_ms for message in said[at + 1 :] if message.origin in SIGHTS)
        assert any(
            gap.lost in kinds and (gap.from_ms or 0) <= since and (gap.to_ms or 0) >= until
            for gap in payloads(found, events.CaptureGap)
        ), (at, since, until)


def payloads(found: list[Event], kind: type[_P]) -> list[_P]:
    """The payloads of one type."""
    return [event.payload for event in found if isinstance(event.payload, kind)]


@pytest.mark.parametrize("origin", sorted(known_origins()))
@effort(max_examples=10)
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


@effort(max_examples=50)
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


def test_a_state_of_the_first_version_can_be_continued() -> None:
    """It had every field, those added since excepted, and stored defaults, too."""
    people = {"alice": {"endpoint_id": "alice", "name": "Alice", "kind": "human", "joined_ms": 5, "sharing": None}}
    meeting = {"meeting_id": "m", "basis": "server_id", "started_at": START, "started_ms": 5, "ended": False}
    stored = {"capture_id": CAPTURE, "deployment": "d", "room": "r", "own_endpoint_id": BOT, "in_conference": True}
    more = {"joined_ms": 7, "participants": people, "meeting": meeting, "transcribing": [], "bridge_opened_ms": 9}
    current = msgspec.msgpack.decode(msgspec.msgpack.encode({**stored, **more}), type=State)
    lost = {"cause": "process_killed", "attempt": 1, "detail": None, "ago_ms": 10, "evidence": "e"}
    current, _ = normalize(current, Message("recorder.lost", [lost], START + 100, 100))
    _, found = normalize(current, Message("conference.joined", [{"endpoint_id": "b1"}], START + 200, 200))
    assert [(event.type, event.inferred) for event in found] == [
        ("capture.gap", False),
        ("participant.left", True),
        ("conference.joined", False),
    ]
