"""Chat, reactions, and what clients send one another."""

from __future__ import annotations

from typing import Any

import pytest

from meeta_bot import events
from meeta_bot.capture.normalize.state import SETTLE_MS
from meeta_bot.events import Unknown
from tests.unit.capture import START, Capture, only, participant


@pytest.fixture
def room() -> Capture:
    capture = Capture()
    capture.join("alice")
    capture.settle()
    return capture


def test_a_message_of_2021_has_sender_text_and_no_more(room: Capture) -> None:
    found = only(room.say("conference.messageReceived", "alice", "hello", None))
    assert (found.endpoint_id, found.initial, found.server_at) == ("alice", False, None)
    assert found.payload == events.ChatMessage(text="hello", display_name="Alice")


def test_a_message_of_2026_has_name_identity_and_what_it_answers(room: Capture) -> None:
    args = ["alice", "hello", None, "Boss", True, "m-1", None, "m-0"]
    assert only(room.say("conference.messageReceived", *args)).payload == events.ChatMessage(
        text="hello", display_name="Alice", claimed_name="Boss", is_visitor=True, message_id="m-1", reply_to="m-0"
    )


@pytest.mark.parametrize(
    ("stamp", "at"),
    [
        ("2023-11-14T22:13:20Z", START),
        ("2023-11-14T22:13:20.250Z", START + 250),
        ("2023-11-15T00:13:20+02:00", START),
        ("20231114T22:13:20", START),
    ],
)
def test_a_message_with_a_stamp_that_comes_with_the_join_is_history(stamp: str, at: int) -> None:
    capture = Capture()
    capture.join("alice")
    found = only(capture.say("conference.messageReceived", "alice", "hello", stamp))
    assert (found.initial, found.server_at) == (True, at)
    assert found.payload == events.ChatMessage(text="hello", display_name="Alice", history=True)


def test_a_message_with_a_stamp_that_comes_later_was_only_delayed() -> None:
    capture = Capture()
    capture.join("alice")
    found = only(capture.say("conference.messageReceived", "alice", "hello", "2023-11-14T22:13:20Z", after=SETTLE_MS))
    assert (found.initial, found.server_at) == (False, START)
    assert found.payload == events.ChatMessage(text="hello", display_name="Alice")


def test_the_time_zone_of_this_machine_has_no_say_in_a_stamp(room: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "Pacific/Auckland")
    time.tzset()
    try:
        found = only(room.say("conference.messageReceived", "alice", "hello", "2023-11-14T22:13:20"))
    finally:
        monkeypatch.undo()
        time.tzset()
    assert found.server_at == START


@pytest.mark.parametrize("stamp", ["yesterday", "", 5, None, "9999-99-99T00:00:00Z", "0001-01-01T00:00:00+14:00", {}])
def test_a_stamp_that_is_none_makes_no_history(stamp: Any, room: Capture) -> None:
    found = only(room.say("conference.messageReceived", "alice", "hello", stamp))
    assert found.payload == events.ChatMessage(text="hello", display_name="Alice")


def test_an_empty_message_is_a_message(room: Capture) -> None:
    assert only(room.say("conference.messageReceived", "alice", "", None)).payload == events.ChatMessage(
        text="", display_name="Alice"
    )


def test_a_message_without_text_is_kept_as_unknown(room: Capture) -> None:
    assert isinstance(only(room.say("conference.messageReceived", "alice", None, None)).payload, Unknown)


def test_a_message_from_the_room_itself_has_no_sender(room: Capture) -> None:
    assert only(room.say("conference.messageReceived", None, "moved", None)).endpoint_id is None


def test_a_private_message_to_the_bot_is_told_as_such(room: Capture) -> None:
    found = only(room.say("conference.privateMessageReceived", "alice", "psst", None, "m-2", "Alice"))
    assert found.endpoint_id == "alice"
    assert found.payload == events.ChatPrivateMessage(
        text="psst", message_id="m-2", display_name="Alice", claimed_name="Alice"
    )


def test_of_who_is_not_in_the_room_there_is_only_what_the_message_claims(room: Capture) -> None:
    found = only(room.say("conference.messageReceived", "visitor", "hello", None, "Vera", True, "m-1"))
    assert isinstance(found.payload, events.ChatMessage)
    assert (found.payload.display_name, found.payload.claimed_name) == ("Vera", "Vera")
    found = only(room.say("conference.messageReceived", "stranger", "hello", None))
    assert isinstance(found.payload, events.ChatMessage)
    assert (found.payload.display_name, found.payload.claimed_name) == (None, None)


def test_a_message_that_is_taken_back(room: Capture) -> None:
    room.say("conference.messageReceived", "alice", "oops", None, None, False, "m-1")
    found = only(room.say("conference.messageRetracted", "alice", "m-1"))
    assert (found.endpoint_id, found.payload) == ("alice", events.ChatMessageRetracted(message_id="m-1"))


# --- between clients -----------------------------------------------------------------------------------------------


def endpoint(capture: Capture, payload: Any, sender: Any = None) -> list[events.Event]:
    return capture.say("conference.endpoint_message_received", sender or participant("alice"), payload)


def test_a_reaction_has_the_sender_s_time(room: Capture) -> None:
    found = only(endpoint(room, {"name": "endpoint-reaction", "reactions": ["like", "clap"], "timestamp": START}))
    assert (found.endpoint_id, found.server_at) == ("alice", START)
    assert found.payload == events.ReactionSent(reactions=["like", "clap"], sent_at=START)


def test_a_flood_of_reactions_is_cut_to_three_kinds(room: Capture) -> None:
    flood = ["like", "like", "clap", 7, "laugh", "boo", "silence"] * 100
    found = only(endpoint(room, {"name": "endpoint-reaction", "reactions": flood}))
    assert found.payload == events.ReactionSent(reactions=["like", "clap", "laugh"])


@pytest.mark.parametrize("reactions", [None, "like", {}])
def test_a_reaction_without_a_list_is_empty(reactions: Any, room: Capture) -> None:
    found = only(endpoint(room, {"name": "endpoint-reaction", "reactions": reactions, "timestamp": "soon"}))
    assert found.payload == events.ReactionSent(reactions=[])


@pytest.mark.parametrize(
    "kind", ["stats", "e2e-ping-request", "e2e-ping-response", "olm", "face-landmarks", "face-box", "remote-control"]
)
def test_pings_keys_faces_and_remote_control_are_not_kept(kind: str, room: Capture) -> None:
    assert endpoint(room, {"type": kind, "data": "x"}) == []
    assert endpoint(room, {"name": kind, "data": "x"}) == []
    assert room.state.counts.absorbed == 2


def test_of_another_message_only_kind_and_names_of_fields_are_kept(room: Capture) -> None:
    found = only(endpoint(room, {"type": "whiteboard", "content": "a drawing", "b": {"c": 1}}))
    assert found.endpoint_id == "alice"
    assert found.payload == events.MessageEndpoint(kind="whiteboard", keys=["b", "content", "type"])


@pytest.mark.parametrize("payload", ["text", 5, None, ["stats"], {}, {"type": 5}])
def test_a_message_without_a_kind_is_told_without_one(payload: Any, room: Capture) -> None:
    found = only(endpoint(room, payload))
    assert found.payload == events.MessageEndpoint(kind=None, keys=["type"] if payload == {"type": 5} else [])


def test_a_message_from_a_component_names_its_sender(room: Capture) -> None:
    found = only(room.say("conference.non_participant_message_received", "component.example.org", {"type": "x"}))
    assert (found.endpoint_id, found.type) == ("component.example.org", "message.endpoint")
