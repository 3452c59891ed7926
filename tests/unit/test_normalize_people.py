"""Participants: arrival, departure, kinds, names, roles, properties, hands."""

from __future__ import annotations

from typing import Any

import pytest

from meeta_bot import events
from meeta_bot.capture.normalize import Message, normalize
from meeta_bot.events import LeftCause, ParticipantKind, Unknown
from tests.unit.capture import BOT, JIBRI, JIGASI, START, TRANSCRIBER, Capture, only, participant, told, types


@pytest.fixture
def room() -> Capture:
    """The bot and alice, long since."""
    capture = Capture()
    capture.join("alice")
    capture.settle()
    return capture


def test_those_already_there_are_told_as_initial_before_the_bot_is_in() -> None:
    capture = Capture()
    assert told(capture.arrive("alice"))[0] == ("participant.joined", "alice", True)
    capture.join()
    assert told(capture.arrive("bob")) == [("participant.joined", "bob", False)]


def test_an_arrival_says_who_it_is() -> None:
    capture = Capture()
    joined = capture.arrive("alice", role="moderator", stats_id="Gerda-dD2", user_id="u-1", is_replacing=True)[0]
    assert joined.payload == events.ParticipantJoined(
        display_name="Alice", role="moderator", stats_id="Gerda-dD2", user_id="u-1", is_replacing=True
    )


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({}, ParticipantKind.HUMAN),
        ({"features": [JIBRI], "hidden": True}, ParticipantKind.RECORDER),
        ({"features": [TRANSCRIBER, JIGASI], "hidden": True}, ParticipantKind.TRANSCRIBER),
        ({"features": [JIGASI]}, ParticipantKind.PHONE),
        ({"bot_type": "poltergeist"}, ParticipantKind.BOT),
        ({"hidden": True}, ParticipantKind.HIDDEN),
    ],
)
def test_who_counts_as_what(fields: dict[str, Any], kind: ParticipantKind) -> None:
    capture = Capture()
    joined = capture.arrive("alice", **fields)[0]
    assert isinstance(joined.payload, events.ParticipantJoined)
    assert joined.payload.kind is kind


def test_the_bridge_s_own_transcriber_is_known_by_its_id() -> None:
    joined = Capture().arrive("transcriber")[0]
    assert isinstance(joined.payload, events.ParticipantJoined)
    assert joined.payload.kind is ParticipantKind.TRANSCRIBER


def test_a_departure_is_told_with_its_reason_and_how_long_the_stay_was(room: Capture) -> None:
    room.arrive("bob")
    room.now += 1000
    left = only(room.leave("bob", "tired"))
    assert left.payload == events.ParticipantLeft(reason="tired", duration_ms=1100)


def test_the_departure_of_2021_has_no_reason(room: Capture) -> None:
    left = only(room.say("conference.userLeft", "alice", participant("alice"), {"with_our_own": False}))
    assert left.payload == events.ParticipantLeft(duration_ms=room.now - 100)


def test_a_departure_of_somebody_unknown_is_no_news(room: Capture) -> None:
    assert room.leave("nobody") == []


def test_an_arrival_of_somebody_who_is_there_ends_the_visit_before(room: Capture) -> None:
    assert types(room.arrive("alice")) == ["participant.left", "participant.joined"]


# --- the bot's own departure ---------------------------------------------------------------------------------------


def test_departures_that_the_hook_flags_as_the_bot_s_own_are_none(room: Capture) -> None:
    assert room.leave("alice", with_our_own=True) == []
    assert "alice" in room.state.participants


def test_departures_after_the_bot_began_to_leave_are_none(room: Capture) -> None:
    assert room.say("hook.leaving") == []
    assert room.leave("alice") == []


def test_departures_after_the_bot_was_kicked_are_none(room: Capture) -> None:
    kicked = only(room.say("conference.kicked", participant("alice"), "no bots", False))
    assert kicked.payload == events.CaptureKicked(actor_endpoint_id="alice", reason="no bots")
    assert kicked.endpoint_id == BOT
    assert room.leave("alice") == []
    assert not room.state.in_conference


def test_departures_after_the_room_was_destroyed_are_none(room: Capture) -> None:
    room.say("conference.failed", "conference.destroyed", "The meeting has been terminated")
    assert room.leave("alice") == []


def test_departures_after_another_failure_are_departures(room: Capture) -> None:
    room.say("conference.failed", "conference.videobridgeNotAvailable")
    assert types(room.leave("alice")) == ["participant.left"]


def test_departures_after_the_bot_came_back_are_departures_again(room: Capture) -> None:
    room.say("conference.left")
    room.join("alice")
    assert types(room.leave("alice")) == ["participant.left"]


# --- kicks ---------------------------------------------------------------------------------------------------------


def test_one_who_was_kicked_leaves_as_kicked(room: Capture) -> None:
    room.arrive("bob")
    kicked = only(room.say("conference.participant_kicked", participant("alice"), participant("bob"), "not now"))
    assert kicked.endpoint_id == "bob"
    assert kicked.payload == events.ParticipantKicked(actor_endpoint_id="alice", reason="not now")
    left = only(room.leave("bob"))
    assert isinstance(left.payload, events.ParticipantLeft)
    assert left.payload.cause is LeftCause.KICKED


def test_one_who_was_replaced_by_another_device_leaves_as_replaced(room: Capture) -> None:
    room.say("conference.participant_kicked", participant("alice"), participant("alice", is_replaced=True))
    left = only(room.leave("alice"))
    assert isinstance(left.payload, events.ParticipantLeft)
    assert left.payload.cause is LeftCause.REPLACED


def test_a_kick_is_forgotten_when_the_kicked_one_comes_back(room: Capture) -> None:
    room.say("conference.participant_kicked", None, participant("alice"))
    room.leave("alice")
    room.arrive("alice")
    left = only(room.leave("alice"))
    assert isinstance(left.payload, events.ParticipantLeft)
    assert left.payload.cause is LeftCause.LEFT


# --- names, roles, properties --------------------------------------------------------------------------------------


def test_a_new_name_is_told_once_with_the_old_one(room: Capture) -> None:
    renamed = only(room.say("conference.displayNameChanged", "alice", "Alicia"))
    assert renamed.payload == events.ParticipantRenamed(old_name="Alice", new_name="Alicia")
    assert room.say("conference.displayNameChanged", "alice", "Alicia") == []
    taken_away = only(room.say("conference.displayNameChanged", "alice", None))
    assert taken_away.payload == events.ParticipantRenamed(old_name="Alicia", new_name=None)


def test_a_new_role_is_told_once_with_the_old_one(room: Capture) -> None:
    changed = only(room.say("conference.roleChanged", "alice", "moderator"))
    assert changed.payload == events.ParticipantRoleChanged(role="moderator", old_role="participant")
    assert room.say("conference.roleChanged", "alice", "moderator") == []


def test_the_bot_s_own_role_is_told_and_initial_until_it_is_in() -> None:
    capture = Capture()
    assert told(capture.say("conference.roleChanged", BOT, "none")) == [("participant.role_changed", BOT, True)]
    capture.join()
    assert told(capture.say("conference.roleChanged", BOT, "moderator")) == [("participant.role_changed", BOT, False)]


def test_a_property_without_a_type_of_its_own_is_told_with_old_and_new_value(room: Capture) -> None:
    changed = only(room.say("conference.participant_property_changed", participant("alice"), "region", None, "eu"))
    assert changed.payload == events.ParticipantPropertyChanged(name="region", value="eu")
    assert (changed.endpoint_id, changed.initial) == ("alice", False)


@pytest.mark.parametrize("name", ["e2ee.idKey.ed25519", "e2ee.idKey.curve25519", "olmSession", "publicKey", "KEY"])
def test_keys_of_encryption_are_not_kept(name: str, room: Capture) -> None:
    assert room.say("conference.participant_property_changed", participant("alice"), name, None, "AAAA") == []


# --- hands ---------------------------------------------------------------------------------------------------------


def hand(capture: Capture, value: Any) -> list[events.Event]:
    return capture.say("conference.participant_property_changed", participant("alice"), "raisedHand", None, value)


@pytest.mark.parametrize("value", ["1700000000123", 1_700_000_000_123])
def test_a_raised_hand_has_the_sender_s_time(value: Any, room: Capture) -> None:
    raised = only(hand(room, value))
    assert raised.payload == events.HandRaised(raised_at=1_700_000_000_123)
    assert (raised.server_at, raised.initial) == (1_700_000_000_123, False)


@pytest.mark.parametrize("value", ["true", True])
def test_a_very_old_client_raises_a_hand_without_a_time(value: Any, room: Capture) -> None:
    assert only(hand(room, value)).payload == events.HandRaised()


@pytest.mark.parametrize("value", ["0", "", "false", None, 0, False])
def test_a_hand_is_lowered_in_many_ways(value: Any, room: Capture) -> None:
    hand(room, "1700000000123")
    room.now += 900
    assert only(hand(room, value)).payload == events.HandLowered(held_ms=1000)
    assert hand(room, value) == []


def test_a_hand_that_was_never_raised_is_not_lowered(room: Capture) -> None:
    assert hand(room, "0") == []


def test_a_hand_raised_before_the_bot_came_is_initial() -> None:
    capture = Capture()
    capture.arrive("alice")
    assert told(hand(capture, "1700000000123")) == [("hand.raised", "alice", True)]


@pytest.mark.parametrize("value", ["-5", "99999999999999999999999", "1e3", 1e300, [1]])
def test_a_raised_hand_with_an_impossible_time_is_raised_without_one(value: Any, room: Capture) -> None:
    assert only(hand(room, value)).payload == events.HandRaised()


# --- what makes no sense -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("origin", "args"),
    [
        ("conference.userJoined", []),
        ("conference.userJoined", [None, participant("alice")]),
        ("conference.userJoined", ["alice", "alice"]),
        ("conference.userJoined", ["alice", {"id": 5}]),
        ("conference.userLeft", []),
        ("conference.roleChanged", ["alice"]),
        ("conference.participant_kicked", [participant("alice")]),
        ("conference.participant_property_changed", [participant("alice"), None]),
    ],
)
def test_a_message_of_the_wrong_shape_is_kept_as_unknown_with_its_problem(
    origin: str, args: list[Any], room: Capture
) -> None:
    unknown = only(room.say(origin, *args))
    assert isinstance(unknown.payload, Unknown)
    assert unknown.payload.arguments == args
    assert unknown.payload.problem
    assert unknown.origin == origin


# --- connections that are lost -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "flag"),
    [
        ("Kicked: recipient unavailable", {}),
        ("Kicked: service unavailable", {}),
        ("Disconnected: closed", {}),
        ("Disconnected: Replaced by new connection", {}),
        ("Disconnected: Hibernating too long", {}),
        ("Disconnected: connection-timeout", {}),
        ("Disconnected", {"codes": [333]}),
        ("Read timeout", {}),
        ("Ping timed out", {}),
        (None, {"codes": [333], "text": "Kicked: recipient unavailable"}),
        (None, {"codes": [], "text": "Disconnected: closed"}),
    ],
)
def test_who_the_server_gave_up_was_lost_between_the_last_sign_of_life_and_now(
    reason: str | None, flag: dict[str, Any]
) -> None:
    capture = Capture()
    capture.join("alice")
    capture.say("cq.remote_stats_updated", "alice", {"connectionQuality": 90}, after=30_000)
    heard_ms = capture.now
    capture.say("conference.roleChanged", "alice", "moderator", after=30_000)  # the server's word, not hers
    args = ["alice", participant("alice"), reason, {"with_our_own": False, **flag}]
    lost = only(capture.say("conference.userLeft", *args, after=31_000))
    assert isinstance(lost.payload, events.ParticipantLeft)
    assert (lost.payload.cause, lost.payload.silent_ms) == (LeftCause.LOST, 61_000)
    assert lost.payload.last_heard_at == START + heard_ms
    assert lost.payload.reason == (reason or flag["text"])


@pytest.mark.parametrize("reason", [None, "", "bye", "unrecoverable_error", "I was kicked: really", "closed"])
def test_what_a_client_says_itself_is_no_lost_connection(reason: str | None) -> None:
    capture = Capture()
    capture.join("alice")
    left = only(capture.leave("alice", reason))
    assert isinstance(left.payload, events.ParticipantLeft)
    assert (left.payload.cause, left.payload.last_heard_at, left.payload.silent_ms) == (LeftCause.LEFT, None, None)


def test_a_kick_by_a_person_is_a_kick_whatever_the_server_says_besides() -> None:
    capture = Capture()
    capture.join("alice", "bob")
    capture.say("conference.participant_kicked", participant("bob"), participant("alice"), "go")
    left = only(capture.leave("alice", "Kicked: go"))
    assert isinstance(left.payload, events.ParticipantLeft)
    assert left.payload.cause is LeftCause.KICKED


@pytest.mark.parametrize(
    ("origin", "args"),
    [
        ("presence.media", ["alice", {"audiomuted": "false"}]),
        ("conference.displayNameChanged", ["alice", "Al"]),
        ("conference.participant_property_changed", [participant("alice"), "x", None, "1"]),
        ("conference.messageReceived", ["alice", "hello", None]),
        ("conference.endpoint_message_received", [participant("alice"), {"type": "x"}]),
        ("conference.dominantSpeaker", ["alice", [], False]),
        ("cq.remote_stats_updated", ["alice", {}]),
    ],
)
def test_signs_of_life(origin: str, args: list[Any]) -> None:
    capture = Capture()
    capture.join("alice")
    capture.say(origin, *args, after=50_000)
    lost = only(capture.leave("alice", "Kicked: recipient unavailable"))
    assert isinstance(lost.payload, events.ParticipantLeft)
    assert lost.payload.silent_ms == 100


def test_history_is_no_sign_of_life_and_what_comes_late_is_one_of_then() -> None:
    capture = Capture()
    capture.join("alice")
    capture.say("conference.messageReceived", "alice", "before", "2023-11-14T22:13:20Z")
    capture.now += 60_000
    late = Message("conference.displayNameChanged", ["alice", "Al"], START + capture.now, capture.now, START + 30_000)
    capture.state, [renamed] = normalize(capture.state, late)
    assert renamed.server_at == START + 30_000
    lost = only(capture.leave("alice", "Kicked: recipient unavailable", with_our_own=False))
    assert isinstance(lost.payload, events.ParticipantLeft)
    assert lost.payload.last_heard_at == START + 30_000


# --- the bot's own role --------------------------------------------------------------------------------------------


def test_the_bot_s_own_promotion_names_the_role_it_had() -> None:
    capture = Capture()
    capture.say("conference.joined", {"endpoint_id": BOT, "role": "participant", "roster_size": 0})
    promoted = only(capture.say("conference.roleChanged", BOT, "moderator"))
    assert promoted.payload == events.ParticipantRoleChanged(role="moderator", old_role="participant")
    assert capture.say("conference.roleChanged", BOT, "moderator") == []
    demoted = only(capture.say("conference.roleChanged", BOT, "participant"))
    assert demoted.payload == events.ParticipantRoleChanged(role="participant", old_role="moderator")
