"""After the room was lost: what goes on, and what is told as found by comparison."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from meeta_bot import events
from meeta_bot.capture.normalize.state import CHAT_IDS_LIMIT, FORMER_IDS_LIMIT, PROPERTIES_LIMIT, SETTLE_MS
from meeta_bot.events import Event, LeftCause, MeetingBasis
from tests.unit.capture import BOT, JIBRI, START, TRANSCRIBER, Capture, gaps, inferred, only, participant, types

AGAIN = "b1b1b1b1"  # the bot's endpoint id in its second stay


@pytest.fixture
def room() -> Capture:
    """The bot, alice and bob, long since."""
    capture = Capture()
    capture.join("alice", "bob")
    capture.settle()
    return capture


def back(capture: Capture, *there: str, own: str = AGAIN) -> list[Event]:
    """The bot loses the room, is back in it, and finds those there; what comes of being back, without the gap."""
    capture.lose()
    capture.now += 1000
    before = len(capture.events)
    capture.join(*there, own=own)
    return [event for event in capture.events[before:] if event.type != "capture.gap"]


def settled(capture: Capture) -> list[Event]:
    """The server has told all that it tells; a heartbeat comes."""
    return capture.say("recorder.heartbeat", after=SETTLE_MS)[:-1]


# --- people --------------------------------------------------------------------------------------------------------


def test_those_who_are_there_as_before_give_no_event_and_their_visits_go_on(room: Capture) -> None:
    joined_ms = {who.endpoint_id: who.joined_ms for who in room.state.participants.values()}
    found = back(room, "bob", "alice")
    assert types(found) == ["conference.joined"]
    assert {who.endpoint_id: who.joined_ms for who in room.state.participants.values()} == joined_ms
    assert settled(room) == []
    assert room.state.comparison is None


def test_somebody_new_arrived_in_the_gap(room: Capture) -> None:
    found = back(room, "alice", "bob", "carol")
    assert inferred(found) == [("participant.joined", "carol")]
    assert found[0].monotonic_ms == room.now - 100  # when found


def test_somebody_who_is_not_there_any_more_left_when_the_gap_began_at_the_earliest(room: Capture) -> None:
    arrived_ms = room.state.participants["bob"].joined_ms
    room.lose(ago_ms=400)
    since = room.now - 400
    room.now += 9000
    found = room.join("alice", own=AGAIN)
    left, joined = found
    assert inferred(found) == [("participant.left", "bob")]
    assert left.payload == events.ParticipantLeft(cause=LeftCause.UNSEEN, duration_ms=since - arrived_ms)
    assert (left.occurred_at, left.monotonic_ms) == (START + since, since)
    assert (joined.type, joined.monotonic_ms) == ("conference.joined", room.now)


def test_somebody_who_arrived_after_the_last_certain_sign_did_not_leave_before(room: Capture) -> None:
    room.arrive("carol")
    arrived_ms = room.now
    room.lose(ago_ms=5000)
    left = room.join("alice", "bob", own=AGAIN)[0]
    assert (left.endpoint_id, left.monotonic_ms, left.occurred_at) == ("carol", arrived_ms, START + arrived_ms)
    assert isinstance(left.payload, events.ParticipantLeft)
    assert left.payload.duration_ms == 0


def test_the_same_person_with_another_endpoint_is_a_departure_and_an_arrival(room: Capture) -> None:
    found = back(room, "alice", "bob2")
    assert inferred(found) == [("participant.joined", "bob2"), ("participant.left", "bob")]


def test_a_shared_screen_ends_with_the_inferred_departure(room: Capture) -> None:
    room.sources("bob", v0={"muted": False, "videoType": "desktop"})
    found = back(room, "alice")
    since = gaps(room.events)[-1].from_ms
    assert inferred(found) == [("screen_share.stopped", "bob"), ("participant.left", "bob")]
    assert [event.monotonic_ms for event in found[:2]] == [since, since]


def test_an_empty_room_is_known_to_be_empty_since_the_bot_is_back(room: Capture) -> None:
    back(room)
    assert (room.state.meeting.empty_since_ms, room.state.meeting.empty_since_at) == (room.now, START + room.now)
    ended = only(room.say("recorder.meeting_over"))
    assert isinstance(ended.payload, events.MeetingEnded)
    assert ended.payload.ended_at == START + room.now - 100


def test_a_room_that_was_empty_before_is_empty_since_then(room: Capture) -> None:
    room.leave("alice")
    room.leave("bob")
    empty_ms = room.now
    back(room)
    assert room.state.meeting.empty_since_ms == empty_ms


def test_a_changed_name_and_role_are_found(room: Capture) -> None:
    room.lose()
    found = room.arrive("alice", name="Alicia", role="moderator")[1:]
    assert inferred(found) == [("participant.renamed", "alice"), ("participant.role_changed", "alice")]
    assert [event.payload for event in found] == [
        events.ParticipantRenamed(old_name="Alice", new_name="Alicia"),
        events.ParticipantRoleChanged(role="moderator", old_role="participant"),
    ]
    assert room.say("conference.roleChanged", "alice", "moderator") == []


def test_the_bot_s_own_role_is_no_difference(room: Capture) -> None:
    room.lose()
    found = room.say("conference.roleChanged", AGAIN, "none")
    assert (types(found), inferred(found)) == (["capture.gap", "participant.role_changed"], [])


def test_who_arrives_or_leaves_after_the_bot_is_back_was_seen_to(room: Capture) -> None:
    back(room, "alice", "bob")
    assert inferred(room.leave("bob") + room.arrive("carol") + room.sources("carol", a0={"muted": True})) == []


def test_who_leaves_while_the_bot_comes_back_was_seen_to(room: Capture) -> None:
    room.lose()
    room.arrive("alice")
    left = only(room.leave("alice"))
    assert (left.type, left.inferred, left.monotonic_ms) == ("participant.left", False, room.now)
    assert inferred(room.join(own=AGAIN)) == [("participant.left", "bob")]


def test_the_first_human_found_after_a_gap_begins_the_meeting() -> None:
    capture = Capture()
    capture.join()
    found = back(capture, "alice")
    assert inferred(found) == [("participant.joined", "alice"), ("meeting.started", None)]
    assert not capture.state.meeting.people_were_here


def test_a_gap_before_the_bot_was_ever_in_the_room_has_nothing_to_compare_with() -> None:
    capture = Capture()
    capture.lose()
    capture.join("alice")
    assert inferred(capture.events) == []
    assert capture.events[2].initial


def test_a_room_that_is_lost_again_on_the_way_back_is_compared_with_all_that_is_known(room: Capture) -> None:
    room.lose()
    since = room.now
    room.arrive("carol")
    room.lose(attempt=2)
    found = room.join("alice", own=AGAIN)
    gone = {event.endpoint_id: event.monotonic_ms for event in found if event.type == "participant.left"}
    first, second = [gap for gap in gaps(room.events) if gap.lost is events.Lost.EVERYTHING]
    assert first.from_ms == since
    assert gone == {"bob": first.from_ms, "carol": first.to_ms}  # when each was last in view
    assert second.to_ms == room.now - 100


# --- the bot's own ghosts ------------------------------------------------------------------------------------------


def test_the_bot_s_ghost_is_no_participant(room: Capture) -> None:
    found = back(room, "alice", "bob", BOT)
    assert types(found) == ["conference.joined"]
    assert isinstance(found[0].payload, events.ConferenceJoined)
    assert found[0].payload.roster_size == 2  # the library says three
    assert sorted(room.state.participants) == ["alice", "bob"]


@pytest.mark.parametrize(
    ("origin", "args"),
    [
        ("conference.userLeft", [BOT, participant(BOT), None, {"with_our_own": False}]),
        ("conference.participant_kicked", [participant("alice"), participant(BOT), None]),
        ("conference.displayNameChanged", [BOT, "x"]),
        ("conference.roleChanged", [BOT, "moderator"]),
        ("conference.participant_property_changed", [participant(BOT), "raisedHand", None, "1700000000123"]),
        ("presence.media", [BOT, {"audiomuted": "true"}]),
        ("cq.remote_stats_updated", [BOT, {"connectionQuality": 90}]),
    ],
)
def test_nothing_is_told_of_the_bot_s_ghost(origin: str, args: list[Any], room: Capture) -> None:
    back(room, "alice", "bob", BOT)
    assert room.say(origin, *args) == []


def test_an_endpoint_id_that_the_bot_gets_back_is_its_own(room: Capture) -> None:
    back(room, "alice", own=BOT)
    assert room.state.former_ids == []
    assert types(room.say("conference.roleChanged", BOT, "moderator")) == ["participant.role_changed"]


def test_as_many_former_ids_are_remembered_as_are_needed(room: Capture) -> None:
    for stay in range(FORMER_IDS_LIMIT + 5):
        back(room, "alice", own=f"own-{stay}")
    assert room.state.former_ids == [f"own-{stay}" for stay in range(4, FORMER_IDS_LIMIT + 4)]


# --- media, hands, properties --------------------------------------------------------------------------------------


def test_media_that_are_as_before_give_no_event_and_others_do(room: Capture) -> None:
    room.sources("alice", a0={"muted": True}, v0={"muted": False})
    room.lose()
    room.join("alice", "bob", own=AGAIN)
    assert room.sources("alice", a0={"muted": True}, v0={"muted": False}) == []
    found = room.sources("alice", a0={"muted": False}, v0={"muted": True})
    assert inferred(found) == [("audio.unmuted", "alice"), ("video.muted", "alice")]


def test_media_that_change_after_the_server_has_told_everything_are_changes(room: Capture) -> None:
    room.sources("alice", a0={"muted": True})
    back(room, "alice", "bob")
    settled(room)
    assert inferred(room.sources("alice", a0={"muted": False})) == []


def test_the_media_of_somebody_found_after_the_gap_are_found_too(room: Capture) -> None:
    back(room, "alice", "bob", "carol")
    found = room.sources("carol", a0={"muted": True})
    assert inferred(found) == [("audio.muted", "carol")]


def hand(capture: Capture, value: str = "1700000000123", endpoint_id: str = "alice") -> list[Event]:
    return capture.say("conference.participant_property_changed", participant(endpoint_id), "raisedHand", None, value)


def test_a_hand_that_is_still_up_gives_no_event(room: Capture) -> None:
    hand(room)
    room.lose()
    room.arrive("alice")
    assert hand(room) == []
    room.join("bob", own=AGAIN)
    assert settled(room) == []


def test_a_hand_that_the_server_does_not_tell_of_was_lowered(room: Capture) -> None:
    hand(room)
    back(room, "alice", "bob")
    assert inferred(settled(room)) == [("hand.lowered", "alice")]
    assert settled(room) == []


def test_the_hand_of_one_who_left_was_not_lowered(room: Capture) -> None:
    hand(room)
    back(room, "bob")
    assert settled(room) == []


def test_a_hand_that_was_raised_in_the_gap_is_found(room: Capture) -> None:
    room.lose()
    room.arrive("alice")
    assert inferred(hand(room)) == [("hand.raised", "alice")]


def test_a_property_that_is_as_before_gives_no_event_and_another_does(room: Capture) -> None:
    def say(name: str, value: Any) -> list[Event]:
        return room.say("conference.participant_property_changed", participant("alice"), name, None, value)

    say("region", "eu")
    room.lose()
    room.arrive("alice")
    assert say("region", "eu") == []
    assert inferred(say("region", "us")) == [("participant.property_changed", "alice")]
    assert inferred(say("codec", {"a": 2**70})) == [("participant.property_changed", "alice")]
    for number in range(2 * PROPERTIES_LIMIT):
        say(f"p{number}", 1)
    assert len(room.state.participants["alice"].properties) == PROPERTIES_LIMIT


# --- the room ------------------------------------------------------------------------------------------------------

SWITCHES = {
    "conference.lock_state_changed": "conference.lock_changed",
    "conference.audio_unmute_permissions_changed": "media.sender_limit_changed",
    "conference.video_unmute_permissions_changed": "media.sender_limit_changed",
    "conference.membersOnlyChanged": "lobby.disabled",
}


@pytest.mark.parametrize("origin", SWITCHES)
def test_a_switch_that_is_still_on_gives_no_event(origin: str, room: Capture) -> None:
    room.say(origin, True)
    back(room, "alice", "bob")
    assert room.say(origin, True) == []
    assert settled(room) == []


@pytest.mark.parametrize(("origin", "type_"), SWITCHES.items())
def test_a_switch_that_the_server_does_not_tell_of_is_off(origin: str, type_: str, room: Capture) -> None:
    room.say(origin, True)
    back(room, "alice", "bob")
    assert inferred(settled(room)) == [(type_, None)]
    assert settled(room) == []


@pytest.mark.parametrize("origin", SWITCHES)
def test_a_switch_that_was_turned_on_in_the_gap_is_found(origin: str, room: Capture) -> None:
    back(room, "alice", "bob")
    assert len(inferred(room.say(origin, True))) == 1


def test_a_lobby_that_the_bot_waited_in_on_its_way_back_is_on(room: Capture) -> None:
    room.say("conference.membersOnlyChanged", True)
    room.lose()
    room.say("conference.membersOnlyChanged", True)
    room.say("conference.failed", "conference.connectionError.membersOnly")
    room.join("alice", "bob", own=AGAIN)
    assert settled(room) == []
    assert [gap.cause.value for gap in gaps(room.events)] == ["page_crashed"]


def test_subject_and_properties_are_compared(room: Capture) -> None:
    room.say("conference.subjectChanged", "Numbers")
    room.say("conference.propertiesChanged", {"a": "1"})
    room.lose()
    assert types(room.say("conference.propertiesChanged", {"a": "1"})) == ["capture.gap"]
    room.join("alice", "bob", own=AGAIN)
    assert room.say("conference.subjectChanged", "Numbers") == []
    assert inferred(room.say("conference.subjectChanged", "")) == [("conference.subject_changed", None)]
    assert inferred(room.say("conference.propertiesChanged", {"a": "2"})) == [("conference.properties_changed", None)]


def record(capture: Capture, status: str, session: str = "s1", mode: str = "file") -> list[Event]:
    return capture.say("conference.recorderStateChanged", {"id": session, "status": status, "mode": mode})


def test_a_recording_that_goes_on_gives_no_event(room: Capture) -> None:
    record(room, "on")
    back(room, "alice", "bob")
    assert record(room, "on") == []
    assert settled(room) == []
    assert types(record(room, "off")) == ["recording.stopped"]


def test_a_recording_that_the_server_does_not_tell_of_was_stopped(room: Capture) -> None:
    record(room, "on")
    record(room, "on", "s2", "stream")
    back(room, "alice", "bob")
    assert inferred(settled(room)) == [("recording.stopped", None), ("stream.stopped", None)]


def test_a_recording_that_began_in_the_gap_is_found_with_its_recorder(room: Capture) -> None:
    room.lose()
    room.arrive("jibri", features=[JIBRI], hidden=True)
    assert inferred(record(room, "on")) == [("recording.started", None)]


def test_a_transcription_that_goes_on_gives_no_event_and_one_that_stopped_does(room: Capture) -> None:
    room.say("conference.transcriptionStatusChanged", "ON", "jigasi")
    back(room, "alice", "bob")
    assert room.say("conference.transcriptionStatusChanged", "ON", "jigasi") == []
    assert settled(room) == []
    back(room, "alice", "bob", own="b2")
    assert inferred(settled(room)) == [("transcription.stopped", None)]


def test_a_transcription_stops_with_a_transcriber_who_is_not_seen_again(room: Capture) -> None:
    room.arrive("writer", features=[TRANSCRIBER], hidden=True)
    room.say("conference.transcriptionStatusChanged", "ON", "writer")
    found = back(room, "alice", "bob")
    assert inferred(found) == [("participant.left", "writer"), ("transcription.stopped", None)]
    assert settled(room) == []


def test_a_transcription_by_the_backend_that_began_in_the_gap_is_found(room: Capture) -> None:
    room.lose()
    found = room.say("conference.propertiesChanged", {"audio-recording-enabled": "true"})
    assert inferred(found) == [("conference.properties_changed", None), ("transcription.started", None)]


def test_what_ends_the_comparison_comes_before_what_ends_it_and_the_books_know(room: Capture) -> None:
    room.say("conference.lock_state_changed", True)
    back(room, "alice", "bob")
    off, beat = room.say("recorder.heartbeat", after=SETTLE_MS)
    assert off.payload == events.ConferenceLockChanged(locked=False)
    assert isinstance(beat.payload, events.CaptureHeartbeat)
    assert beat.payload.events == len(room.events) - 1


def test_what_is_sampled_away_can_end_the_comparison(room: Capture) -> None:
    room.say("conference.lock_state_changed", True)
    back(room, "alice", "bob")
    room.say("cq.local_stats_updated", {})
    sampled = room.state.counts.sampled
    assert types(room.say("cq.local_stats_updated", {}, after=SETTLE_MS)) == ["conference.lock_changed"]
    assert room.state.counts.sampled == sampled


# --- what belongs to a stay ----------------------------------------------------------------------------------------


def test_nothing_of_a_lost_stay_is_left_in_the_next(room: Capture) -> None:
    room.say("hook.bridge_heard", {"channel": "new"})
    room.say("conference.dominantSpeaker", "alice", [], False)
    room.say("conference.connectionInterrupted")
    room.say("cq.local_stats_updated", {})
    room.say("cq.remote_stats_updated", "alice", {})
    room.say("conference.participant_kicked", None, participant("bob"))
    back(room, "alice", "bob")
    assert room.say("conference.connectionRestored") == []
    assert types(room.say("cq.local_stats_updated", {})) == ["connection.stats_updated"]
    assert types(room.say("cq.remote_stats_updated", "alice", {})) == ["connection.stats_updated"]
    left = only(room.leave("bob"))
    assert isinstance(left.payload, events.ParticipantLeft)
    assert left.payload.cause is LeftCause.LEFT


def test_who_speaks_when_the_new_channel_opens_is_found(room: Capture) -> None:
    room.say("hook.bridge_heard", {"channel": "new"})
    room.say("conference.dominantSpeaker", "alice", [], False)
    back(room, "alice", "bob")
    room.settle()
    room.say("hook.bridge_heard", {"channel": "new"})
    assert inferred(room.say("conference.dominantSpeaker", "bob", [], False)) == [("dominant_speaker.changed", "bob")]
    assert inferred(room.say("conference.dominantSpeaker", "alice", [], False)) == []


def test_who_speaks_when_a_broken_channel_opens_again_is_found_if_it_is_another(room: Capture) -> None:
    room.say("hook.bridge_heard", {"channel": "new"})
    room.say("conference.dominantSpeaker", "alice", [], False)
    room.say("conference.dataChannelClosed")
    room.say("hook.bridge_heard", {"channel": "new"})
    assert room.say("conference.dominantSpeaker", "alice", [], False) == []
    assert inferred(room.say("conference.dominantSpeaker", "bob", [], False)) == []
    room.say("conference.dataChannelClosed")
    room.say("hook.bridge_heard", {"channel": "new"})
    assert len(inferred(room.say("conference.dominantSpeaker", "alice", [], False))) == 1


# --- chat ----------------------------------------------------------------------------------------------------------


def chat(capture: Capture, message_id: str | None, stamp: str | None = None) -> list[Event]:
    return capture.say("conference.messageReceived", "alice", "hello", stamp, "Alice", False, message_id)


STAMP = "2023-11-14T22:13:20Z"


def test_messages_that_the_server_repeats_are_told_once(room: Capture) -> None:
    chat(room, "m-1")
    chat(room, "m-0", STAMP)
    back(room, "alice", "bob")
    assert chat(room, "m-1", STAMP) == chat(room, "m-0", STAMP) == []
    assert types(chat(room, "m-2", STAMP)) == ["chat.message"]  # said in the gap


def test_messages_that_only_look_the_same_are_all_told(room: Capture) -> None:
    assert (
        types(chat(room, "m-1") + chat(room, "m-1") + chat(room, None) + chat(room, None, STAMP))
        == ["chat.message"] * 4
    )


def test_messages_without_identity_are_known_by_what_they_say_and_when() -> None:
    capture = Capture()
    capture.join("alice")
    chat(capture, None)
    lost_at = START + capture.now
    capture.now += 10_000
    capture.lose(ago_ms=10_000)
    capture.join("alice", own=AGAIN)
    heard, missed = (datetime.fromtimestamp((lost_at + late) / 1000, UTC).isoformat() for late in (-50, 5000))
    assert chat(capture, None, heard) == []
    assert types(chat(capture, None, missed)) == ["chat.message"]  # the same words again, in the gap


def test_as_many_messages_are_remembered_as_servers_repeat(room: Capture) -> None:
    for number in range(CHAT_IDS_LIMIT + 1):
        chat(room, f"m-{number}")
    assert len(room.state.chat_ids) == CHAT_IDS_LIMIT
    assert chat(room, "m-1", STAMP) == []
    assert types(chat(room, "m-0", STAMP)) == ["chat.message"]


# --- the meeting ---------------------------------------------------------------------------------------------------


def identified(found: list[Event]) -> list[events.MeetingIdentified]:
    return [event.payload for event in found if isinstance(event.payload, events.MeetingIdentified)]


def test_a_server_that_was_begun_anew_does_not_make_another_meeting(room: Capture) -> None:
    room.say("conference.unique_id_set", "server-1")
    meeting_id = room.state.meeting.meeting_id
    assert meeting_id is not None
    back(room, "alice2")
    assert identified(room.say("conference.unique_id_set", "server-2")) == [
        events.MeetingIdentified(
            meeting_id=meeting_id, basis=MeetingBasis.SERVER_ID, server_meeting_id="server-2", created_at=None
        )
    ]
    assert room.say("conference.unique_id_set", "server-2") == []
    assert types(room.say("conference.createdTimestamp", str(START + room.now))) == ["meeting.identified"]
    assert room.state.meeting.meeting_id == meeting_id
    assert "meeting.started" not in types(room.events[5:])


def test_nor_does_another_creation_time(room: Capture) -> None:
    room.say("conference.createdTimestamp", str(START + 50))
    meeting_id = room.state.meeting.meeting_id
    back(room, "alice")
    assert room.say("conference.createdTimestamp", str(START + room.now)) == []
    assert room.state.meeting.meeting_id == meeting_id


def test_the_server_s_id_is_still_better_than_none(room: Capture) -> None:
    before = room.state.meeting.meeting_id
    back(room, "alice")
    (found,) = identified(room.say("conference.unique_id_set", "server-1"))
    assert (found.basis, found.previous_id) == (MeetingBasis.SERVER_ID, before)


def test_a_meeting_that_had_ended_before_the_gap_is_not_the_one_after_it(room: Capture) -> None:
    room.say("conference.unique_id_set", "server-1")
    before = room.state.meeting.meeting_id
    room.leave("alice")
    room.leave("bob")
    room.say("recorder.meeting_over")
    found = back(room, "carol")
    assert "meeting.started" in types(found)
    (other,) = identified(room.say("conference.unique_id_set", "server-2"))
    assert other.meeting_id != before
    assert other.previous_id == before


def test_a_meeting_that_ended_after_the_gap_is_not_the_next(room: Capture) -> None:
    room.say("conference.unique_id_set", "server-1")
    before = room.state.meeting.meeting_id
    back(room)
    room.say("recorder.meeting_over")
    (other,) = identified(room.say("conference.unique_id_set", "server-2"))
    assert other.meeting_id != before
