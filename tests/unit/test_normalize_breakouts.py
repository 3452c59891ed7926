"""Breakout rooms: who is there is in the meeting, wherever the server says that they are."""

from __future__ import annotations

from typing import Any

import pytest

from meeta_bot import events, room_address
from meeta_bot.capture.departure import next_departure
from meeta_bot.capture.normalize.state import SWITCH_LIMIT_MS, UNSAID_SWITCH_LIMIT_MS
from meeta_bot.capture.request import request_for
from meeta_bot.events import EndReason, Event, LeftCause
from tests.unit.builders import settings
from tests.unit.capture import BOT, Capture, inferred, only, told, types

SWITCHES = "switch_room"


@pytest.fixture
def room() -> Capture:
    capture = Capture()
    capture.join("alice", "bob")
    capture.settle()
    where(capture, first=[], main=["alice", "bob", BOT])
    return capture


def where(capture: Capture, *, main: list[str] | None = None, after: int = 300, **rooms: list[str]) -> list[Event]:
    """The server says who is where; a room is named as its id, with a capital."""

    def there(endpoints: list[str]) -> list[dict[str, Any]]:
        return [{"endpoint_id": one, "name": one.title(), "role": "participant"} for one in endpoints]

    listed = [
        {"id": key, "name": key.title(), "is_main": False, "participants": there(of)} for key, of in rooms.items()
    ]
    listed.append({"id": "standup", "name": None, "is_main": True, "participants": there(main or [BOT])})
    return capture.say("conference.breakout-rooms.updated", {"rooms": listed}, after=after)


def beat(capture: Capture, after: int) -> list[Event]:
    return [found for found in capture.say("recorder.heartbeat", {}, after=after) if found.type != "capture.heartbeat"]


def departure(capture: Capture) -> EndReason | None:
    request = request_for(room_address.parse("https://meet.example.org/standup"), settings(max_duration=None))
    due = next_departure(capture.state, capture.now, request)
    return None if due is None else due.reason


def test_rooms_that_are_opened_and_closed_are_told(room: Capture) -> None:
    opened = [item for item in room.events if item.type == "breakout.changed"]
    assert only(opened).payload == events.BreakoutChanged(rooms=[events.BreakoutRoom("first", "First")])
    assert where(room, first=[]) == []
    assert types(where(room)) == ["breakout.changed"]


def test_a_move_is_no_departure_and_everybody_s_no_end(room: Capture) -> None:
    assert room.leave("alice", SWITCHES) == []
    assert where(room, first=[], main=["bob"]) == []  # on the way: in no room
    moved = only(where(room, first=["alice"], main=["bob"]))
    assert (moved.payload, moved.endpoint_id) == (events.ParticipantMovedToBreakout(breakout_id="first"), "alice")
    assert room.leave("bob", SWITCHES) == []
    assert types(where(room, first=["alice", "bob"])) == ["participant.moved_to_breakout"]
    assert beat(room, 3_600_000) == []
    assert (room.state.people, room.state.people_in_meeting) == (0, 2)
    assert departure(room) is None


def test_who_comes_back_goes_on_with_the_visit(room: Capture) -> None:
    room.leave("alice", SWITCHES)
    where(room, first=["alice"], main=["bob"])
    room.now += 60_000
    back = only(room.arrive("alice"))
    assert back.payload == events.ParticipantReturned(breakout_id="first", away_ms=60_400)
    assert told(room.sources("alice", a0={"muted": False})) == [("audio.unmuted", "alice", False)]


def test_from_one_breakout_room_to_another(room: Capture) -> None:
    room.leave("alice", SWITCHES)
    where(room, first=["alice"], second=[], main=["bob"])
    assert where(room, first=[], second=[], main=["bob"]) == []
    moved = only(where(room, first=[], second=["alice"], main=["bob"]))
    assert moved.payload == events.ParticipantMovedToBreakout(breakout_id="second", from_breakout_id="first")


def test_who_is_in_no_room_for_long_left_when_last_in_one(room: Capture) -> None:
    room.leave("alice", SWITCHES)
    where(room, first=["alice"], main=["bob"])
    where(room, first=[], main=["bob"], after=5000)
    went = room.now
    assert beat(room, SWITCH_LIMIT_MS - 1) == []
    gone = only(beat(room, 1))
    assert (gone.type, gone.endpoint_id, gone.monotonic_ms) == ("participant.left", "alice", went)
    assert room.state.people_in_meeting == 1


def test_the_last_one_of_a_breakout_room_leaves_the_meeting(room: Capture) -> None:
    for who in ("alice", "bob"):
        room.leave(who, SWITCHES)
    where(room, first=["alice", "bob"])
    where(room, first=[])
    went = room.now
    assert types(beat(room, SWITCH_LIMIT_MS)) == ["participant.left", "participant.left"]
    assert room.state.meeting.empty_since_ms == went
    assert departure(room) is EndReason.LEFT_ALONE


def test_a_client_that_does_not_say_that_it_switches_is_waited_for_while_there_are_breakout_rooms(
    room: Capture,
) -> None:
    assert room.leave("alice") == []
    assert types(where(room, first=["alice"], main=["bob"])) == ["participant.moved_to_breakout"]
    assert room.leave("bob") == []
    went = room.now
    gone = only(beat(room, UNSAID_SWITCH_LIMIT_MS))
    assert (gone.type, gone.endpoint_id, gone.monotonic_ms) == ("participant.left", "bob", went)


def test_who_says_to_switch_and_is_never_seen_again_left(room: Capture) -> None:
    room.leave("alice", SWITCHES)
    gone = only(beat(room, SWITCH_LIMIT_MS))
    assert isinstance(gone.payload, events.ParticipantLeft)
    assert (gone.payload.cause, gone.payload.reason) == (LeftCause.LEFT, SWITCHES)


def test_who_was_in_a_breakout_room_before_the_bot_came_is_in_the_meeting() -> None:
    capture = Capture()
    capture.join()
    found = where(capture, first=["alice"])
    assert told(found) == [
        ("breakout.changed", None, True),
        ("participant.joined", "alice", True),
        ("meeting.started", None, True),
        ("participant.moved_to_breakout", "alice", True),
    ]
    assert departure(capture) is None


def test_a_kick_and_a_lost_connection_are_no_moves(room: Capture) -> None:
    assert types(room.leave("alice", "Kicked: recipient unavailable")) == ["participant.left"]


def test_a_shared_screen_ends_with_the_move(room: Capture) -> None:
    room.sources("alice", v0={"muted": False, "videoType": "desktop"})
    assert types(room.leave("alice", SWITCHES)) == ["screen_share.stopped"]


def test_who_moved_while_the_bot_was_away_is_found_in_the_breakout_room(room: Capture) -> None:
    room.lose()
    room.now += 600_000
    room.arrive("bob")
    joined = room.say("conference.joined", {"endpoint_id": "b1b1b1b1", "role": "none", "roster_size": 1})
    assert "participant.left" not in types(joined)
    found = where(room, first=["alice"], main=["bob"])
    assert inferred(found) == [("participant.moved_to_breakout", "alice")]


def test_who_left_while_the_bot_was_away_is_found_gone_at_the_beginning_of_the_gap(room: Capture) -> None:
    room.lose()
    began = room.now
    room.now += 600_000
    room.arrive("bob")
    room.say("conference.joined", {"endpoint_id": "b1b1b1b1", "role": "none", "roster_size": 1})
    where(room, first=[], main=["bob"])
    [gone] = [item for item in beat(room, 30_000) if item.type == "participant.left"]
    assert (gone.endpoint_id, gone.monotonic_ms, gone.inferred) == ("alice", began, True)
    assert isinstance(gone.payload, events.ParticipantLeft)
    assert gone.payload.cause is LeftCause.UNSEEN


def test_without_endpoints_a_name_tells_who_it_is(room: Capture) -> None:
    room.leave("alice", SWITCHES)
    listed = [{"id": "first", "name": "First", "participants": [{"endpoint_id": None, "name": "Alice"}]}]
    moved = only(room.say("conference.breakout-rooms.updated", {"rooms": listed}))
    assert (moved.type, moved.endpoint_id) == ("participant.moved_to_breakout", "alice")


def test_the_bot_itself_is_sent_and_stays(room: Capture) -> None:
    asked = only(room.say("conference.breakout-rooms.move-to-room", "first"))
    assert asked.payload == events.BreakoutMoveRequested(breakout_id="first")


def test_what_is_no_list_of_rooms_is_kept_as_unknown(room: Capture) -> None:
    for given in (None, {}, {"rooms": 5}, {"rooms": [{"name": "x"}]}):
        assert types(room.say("conference.breakout-rooms.updated", given)) == ["unknown"]


def test_a_message_of_somebody_in_a_breakout_room_has_its_name(room: Capture) -> None:
    room.leave("alice", SWITCHES)
    where(room, first=["alice"], main=["bob"])
    found = only(room.say("conference.messageReceived", "alice", "late", None))
    assert isinstance(found.payload, events.ChatMessage)
    assert found.payload.display_name == "Alice"


def test_who_left_a_breakout_room_while_the_bot_was_away_is_found_gone_at_the_beginning_of_the_gap(
    room: Capture,
) -> None:
    for who in ("alice", "bob"):
        room.leave(who, SWITCHES)
    where(room, first=["alice", "bob"])
    room.lose()
    began = room.now
    room.now += 600_000
    room.say("conference.joined", {"endpoint_id": "b1b1b1b1", "role": "none", "roster_size": 0})
    assert where(room, first=["bob"]) == []
    [gone] = [item for item in beat(room, SWITCH_LIMIT_MS) if item.type == "participant.left"]
    assert (gone.endpoint_id, gone.monotonic_ms, gone.inferred) == ("alice", began, True)
    assert departure(room) is None
