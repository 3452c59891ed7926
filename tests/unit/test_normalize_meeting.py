"""The meeting's identity, its begin and end; the bot's own way in and out; the conference and its statistics."""

from __future__ import annotations

from typing import Any

import pytest

from meeta_bot import events
from meeta_bot.capture.normalize.meeting import meeting_id
from meeta_bot.events import EndReason, Event, MeetingBasis, Unknown
from tests.unit.capture import BOT, JIBRI, JIGASI, START, Capture, only, participant, told, types

DEPLOYMENT, ROOM = "https://meet.example.org", "standup"


@pytest.fixture
def room() -> Capture:
    """The bot and alice, long since."""
    capture = Capture()
    capture.join("alice")
    capture.settle()
    return capture


# --- identity ------------------------------------------------------------------------------------------------------


def identified(found: list[Event]) -> list[tuple[MeetingBasis, str | None]]:
    payloads = [event.payload for event in found]
    return [(item.basis, item.previous_id) for item in payloads if isinstance(item, events.MeetingIdentified)]


def test_until_the_server_tells_more_the_meeting_is_what_this_capture_sees() -> None:
    capture = Capture()
    assert identified(capture.join()) == [(MeetingBasis.CAPTURE, None)]


def test_a_schedule_s_key_is_stronger_than_nothing() -> None:
    capture = Capture(schedule_key="weekly-2026-11-23")
    assert identified(capture.join()) == [(MeetingBasis.SCHEDULE, None)]
    assert capture.state.meeting.meeting_id == meeting_id(DEPLOYMENT, ROOM, MeetingBasis.SCHEDULE, "weekly-2026-11-23")


def test_each_stronger_basis_takes_the_place_of_the_weaker_one() -> None:
    capture = Capture(schedule_key="k")
    capture.join()
    by_schedule = capture.state.meeting.meeting_id
    found = capture.say("conference.createdTimestamp", str(START - 5))
    assert identified(found) == [(MeetingBasis.CREATED_TIMESTAMP, by_schedule)]
    by_time = capture.state.meeting.meeting_id
    assert identified(capture.say("conference.unique_id_set", "server-1")) == [(MeetingBasis.SERVER_ID, by_time)]


def test_a_weaker_basis_changes_nothing_but_is_remembered() -> None:
    capture = Capture()
    capture.join()
    capture.say("conference.unique_id_set", "server-1")
    still = only(capture.say("conference.createdTimestamp", str(START - 5)))
    assert isinstance(still.payload, events.MeetingIdentified)
    assert (still.payload.basis, still.payload.created_at) == (events.MeetingBasis.SERVER_ID, START - 5)
    assert (still.payload.server_meeting_id, still.payload.previous_id) == ("server-1", None)
    assert still.payload.meeting_id == capture.state.meeting.meeting_id
    assert capture.say("conference.createdTimestamp", str(START - 5)) == []
    assert identified(capture.join()) == []
    other = only(capture.say("conference.unique_id_set", "server-2"))
    assert isinstance(other.payload, events.MeetingIdentified)
    assert (other.payload.server_meeting_id, other.payload.created_at) == ("server-2", START - 5)


def test_the_same_identity_again_is_no_news() -> None:
    capture = Capture()
    capture.join()
    capture.say("conference.unique_id_set", "server-1")
    assert capture.say("conference.unique_id_set", "server-1") == []


def test_two_captures_of_one_meeting_find_the_same_identity_and_tomorrow_s_is_another() -> None:
    def found_by(server_id: str) -> str | None:
        capture = Capture()
        capture.join("alice")
        capture.say("conference.unique_id_set", server_id)
        return capture.state.meeting.meeting_id

    assert found_by("today") == found_by("today")
    assert found_by("today") != found_by("tomorrow")


def test_rooms_deployments_and_bases_do_not_collide() -> None:
    basis = MeetingBasis.SERVER_ID
    identities = {
        meeting_id(DEPLOYMENT, ROOM, basis, "k"),
        meeting_id("https://other.example", ROOM, basis, "k"),
        meeting_id(DEPLOYMENT, "retro", basis, "k"),
        meeting_id(DEPLOYMENT, ROOM, MeetingBasis.SCHEDULE, "k"),
        meeting_id(DEPLOYMENT, ROOM, basis, "l"),
    }
    assert len(identities) == 5


def test_an_identity_is_the_same_in_every_version_of_the_program() -> None:
    assert meeting_id(DEPLOYMENT, ROOM, MeetingBasis.SERVER_ID, "k") == "9ffa14a2-df16-508f-8caf-f754c63e3556"


@pytest.mark.parametrize(
    ("origin", "value"), [("conference.unique_id_set", ""), ("conference.createdTimestamp", "soon")]
)
def test_an_identity_that_is_none_is_kept_as_unknown(origin: str, value: str, room: Capture) -> None:
    assert isinstance(only(room.say(origin, value)).payload, Unknown)


# --- begin and end -------------------------------------------------------------------------------------------------


def test_a_meeting_begins_with_the_first_human(room: Capture) -> None:
    capture = Capture()
    assert "meeting.started" not in types(capture.join())
    _, started = capture.arrive("alice")
    assert started.payload == events.MeetingStarted(started_at=START + capture.now, basis="first_human_observed")
    assert not started.initial
    assert types(capture.arrive("bob")) == ["participant.joined"]


def test_a_phone_begins_a_meeting_and_a_recorder_does_not() -> None:
    capture = Capture()
    capture.join()
    assert types(capture.arrive("jibri", hidden=True, features=[JIBRI])) == ["participant.joined"]
    assert types(capture.arrive("phone", features=[JIGASI])) == ["participant.joined", "meeting.started"]


def test_a_meeting_that_runs_already_began_when_the_room_was_made() -> None:
    capture = Capture()
    capture.join("alice")
    _, started, gap = capture.say("conference.createdTimestamp", str(START - 60_000))
    assert started.payload == events.MeetingStarted(started_at=START - 60_000, basis="created_timestamp")
    assert gap.type == "capture.gap"
    assert started.initial


def test_the_length_of_a_meeting_that_runs_already_counts_from_when_the_room_was_made() -> None:
    capture = Capture()
    capture.join("alice")
    capture.say("conference.createdTimestamp", str(START - 60_000))
    capture.leave("alice")
    left_at = capture.now
    ended = only(capture.say("recorder.meeting_over"))
    assert ended.payload == events.MeetingEnded(
        ended_at=START + left_at, reason="last_left", duration_ms=60_000 + left_at
    )


def test_the_room_s_age_says_nothing_when_the_bot_was_there_first() -> None:
    capture = Capture()
    capture.join()
    capture.arrive("alice")
    assert types(capture.say("conference.createdTimestamp", str(START - 60_000))) == ["meeting.identified"]


def test_a_meeting_ends_when_the_last_human_left_and_the_grace_period_is_over(room: Capture) -> None:
    room.arrive("jibri", hidden=True, features=[JIBRI])
    began = room.state.meeting.started_ms or 0
    room.leave("alice")
    left_at = room.now
    room.now += 60_000
    ended = only(room.say("recorder.meeting_over"))
    assert ended.payload == events.MeetingEnded(
        ended_at=START + left_at, reason="last_left", duration_ms=left_at - began
    )
    assert room.say("recorder.meeting_over") == []


def test_one_who_comes_back_in_the_grace_period_continues_the_meeting(room: Capture) -> None:
    room.leave("alice")
    assert types(room.arrive("alice")) == ["participant.joined"]
    assert room.state.meeting.empty_since_ms is None


def test_a_meeting_that_ended_can_begin_again(room: Capture) -> None:
    room.leave("alice")
    room.say("recorder.meeting_over")
    _, started = room.arrive("bob")
    assert started.payload == events.MeetingStarted(started_at=START + room.now, basis="first_human_observed")
    room.leave("bob")
    assert types(room.say("recorder.meeting_over")) == ["meeting.ended"]


def test_a_meeting_ends_at_once_when_the_room_is_destroyed(room: Capture) -> None:
    failed, ended = room.say("conference.failed", "conference.destroyed", "The meeting has been terminated")
    assert failed.payload == events.ConferenceFailed(
        error="conference.destroyed", details=["The meeting has been terminated"]
    )
    assert isinstance(ended.payload, events.MeetingEnded)
    assert (ended.payload.reason, ended.payload.ended_at) == ("destroyed", START + room.now)


def test_a_meeting_that_never_began_does_not_end() -> None:
    capture = Capture()
    capture.join()
    assert capture.say("recorder.meeting_over") == []


def test_an_empty_room_is_empty_since_the_bot_joined() -> None:
    capture = Capture()
    capture.join()
    assert capture.state.meeting.empty_since_ms == capture.now


# --- the bot's own way ---------------------------------------------------------------------------------------------


def test_joining_says_who_the_bot_is_and_how_many_are_there() -> None:
    capture = Capture()
    joined = capture.join("alice", "bob")[0]
    assert joined.endpoint_id == BOT
    assert joined.payload == events.ConferenceJoined(room=ROOM, role="none", roster_size=2)


def test_joined_without_knowing_who_we_are_is_kept_as_unknown() -> None:
    assert isinstance(only(Capture().say("conference.joined")).payload, Unknown)


@pytest.mark.parametrize(
    ("origin", "args", "payload"),
    [
        ("conference.join_in_progress", [], events.CaptureJoinInProgress()),
        (
            "conference.failed",
            ["conference.connectionError.membersOnly", "lobby@x", True],
            events.CaptureLobbyWaiting(waiting_for_host=True),
        ),
        ("conference.failed", ["conference.connectionError.membersOnly"], events.CaptureLobbyWaiting()),
        ("conference.failed", ["conference.connectionError.accessDenied"], events.CaptureLobbyDenied()),
        (
            "conference.failed",
            ["conference.max_users", 5],
            events.ConferenceFailed(error="conference.max_users", details=[5]),
        ),
        ("conference.error", ["x", "why"], events.ConferenceError(error="x", message="why")),
        ("conference.left", [], events.ConferenceLeft()),
        ("conference.p2pStatus", [{"$": "conference"}, True], events.ConferenceP2pChanged(p2p=True)),
        ("connection.connectionEstablished", ["id"], events.ConnectionEstablished()),
        ("connection.connectionDisconnected", ["bye"], events.ConnectionDisconnected(message="bye")),
        (
            "connection.connectionFailed",
            ["connection.otherError", None],
            events.ConnectionFailed(error="connection.otherError"),
        ),
        ("conference.connectionEstablished", [], events.MediaConnected()),
        (
            "conference.dataChannelClosed",
            [{"code": 1001, "reason": "x"}],
            events.BridgeChannelClosed(code=1001, reason="x"),
        ),
        ("conference.dataChannelClosed", [], events.BridgeChannelClosed()),
        ("hook.bridge_heard", [{"channel": "new"}], events.BridgeChannelOpened()),
        ("hook.focus_back", [{"away_ms": 17_000, "asked": 4}], events.FocusReturned(away_ms=17_000, asked=4)),
        ("hook.focus_refused", ["not-authorized"], events.FocusRefused(answer="not-authorized")),
        ("hook.media_restart", [{"attempt": 2}], events.MediaSessionRequested(attempt=2)),
        ("hook.media_missing", ["no media session"], events.MediaSessionMissing(evidence="no media session")),
        (
            "hook.media_received",
            [{"seconds": 60, "bytes": 540_000, "audio_bytes": 500_000, "video_bytes": 0}],
            events.MediaReceived(seconds=60, bytes=540_000, audio_bytes=500_000),
        ),
        ("conference.dataChannelClosed", [{"code": True, "reason": 5}], events.BridgeChannelClosed()),
        ("conference.dataChannelClosed", [{"code": 2**70}], events.BridgeChannelClosed()),
        ("conference.kicked", [], events.CaptureKicked()),
        (
            "conference.kicked",
            [participant("alice"), None, True],
            events.CaptureKicked(actor_endpoint_id="alice", is_replaced=True),
        ),
    ],
)
def test_what_the_library_says_of_the_bot_itself(origin: str, args: list[Any], payload: events.Payload) -> None:
    found = Capture().say(origin, *args)
    assert found[0].payload == payload
    assert len(found) == 1


def test_an_interruption_is_told_once_and_its_end_with_its_length(room: Capture) -> None:
    assert types(room.say("conference.connectionInterrupted")) == ["connection.interrupted"]
    assert room.say("conference.connectionInterrupted", after=400) == []
    assert only(room.say("conference.connectionRestored")).payload == events.ConnectionRestored(down_ms=500)
    assert room.say("conference.connectionRestored") == []


def test_a_media_path_that_stands_beside_the_broken_one_of_an_earlier_session_ends_the_interruption(
    room: Capture,
) -> None:
    assert room.say("hook.media_path") == []
    room.say("conference.connectionInterrupted")
    found = only(room.say("hook.media_path", after=900))
    assert (found.payload, found.origin) == (events.ConnectionRestored(down_ms=900), "hook.media_path")


# --- the conference ------------------------------------------------------------------------------------------------


def test_the_subject_is_initial_just_after_the_join_and_a_change_later() -> None:
    capture = Capture()
    capture.join()
    assert told(capture.say("conference.subjectChanged", "Numbers")) == [("conference.subject_changed", None, True)]
    assert capture.say("conference.subjectChanged", "Numbers") == []
    assert told(capture.say("conference.subjectChanged", "")) == [("conference.subject_changed", None, False)]


def test_a_room_without_subject_has_no_news_of_it(room: Capture) -> None:
    assert room.say("conference.subjectChanged", "") == []
    assert told(room.say("conference.subjectChanged", "Numbers")) == [("conference.subject_changed", None, False)]


@pytest.mark.parametrize(
    ("origin", "on", "off"),
    [
        (
            "conference.lock_state_changed",
            events.ConferenceLockChanged(locked=True),
            events.ConferenceLockChanged(locked=False),
        ),
        ("conference.membersOnlyChanged", events.LobbyEnabled(), events.LobbyDisabled()),
        (
            "conference.audio_unmute_permissions_changed",
            events.MediaSenderLimitChanged(media="audio", limit_reached=True),
            events.MediaSenderLimitChanged(media="audio", limit_reached=False),
        ),
        (
            "conference.video_unmute_permissions_changed",
            events.MediaSenderLimitChanged(media="video", limit_reached=True),
            events.MediaSenderLimitChanged(media="video", limit_reached=False),
        ),
    ],
)
def test_a_switch_of_the_room_is_told_when_it_changes(
    origin: str, on: events.Payload, off: events.Payload, room: Capture
) -> None:
    assert room.say(origin, False) == []
    switched = only(room.say(origin, True))
    assert (switched.payload, switched.initial) == (on, False)
    assert room.say(origin, True) == []
    assert only(room.say(origin, False)).payload == off


@pytest.mark.parametrize("origin", ["conference.lock_state_changed", "conference.membersOnlyChanged"])
def test_a_switch_that_was_on_before_is_initial(origin: str) -> None:
    capture = Capture()
    capture.join()
    assert only(capture.say(origin, True)).initial


def test_the_limits_of_microphones_and_cameras_do_not_mix(room: Capture) -> None:
    room.say("conference.audio_unmute_permissions_changed", True)
    room.say("conference.video_unmute_permissions_changed", True)
    room.say("conference.audio_unmute_permissions_changed", False)
    assert room.state.limits_reached == ["video"]


def test_properties_are_told_whole_with_the_names_of_those_that_changed() -> None:
    capture = Capture()
    first = only(capture.say("conference.propertiesChanged", {"a": "1", "b": 2}))
    assert first.payload == events.ConferencePropertiesChanged(properties={"a": "1", "b": "2"}, changed=["a", "b"])
    assert first.initial
    assert capture.say("conference.propertiesChanged", {"b": "2", "a": "1"}) == []
    second = only(capture.say("conference.propertiesChanged", {"a": "1", "c": "3"}))
    assert second.payload == events.ConferencePropertiesChanged(properties={"a": "1", "c": "3"}, changed=["b", "c"])
    assert not second.initial


# --- statistics ----------------------------------------------------------------------------------------------------

STATISTICS = {
    "connectionQuality": 90,
    "packetLoss": {"total": 1, "download": None},
    "bitrate": {"audio": {"x": 1}, "download": 64.5},
}


def remote(capture: Capture, after: int = 100, **changes: Any) -> list[Event]:
    return capture.say("cq.remote_stats_updated", "alice", {**STATISTICS, **changes}, after=after)


def test_statistics_are_sampled_per_participant(room: Capture) -> None:
    room.arrive("bob")
    found = only(remote(room))
    assert found.endpoint_id == "alice"
    assert found.payload == events.ConnectionStatsUpdated(
        connection_quality=90, packet_loss={"total": 1}, bitrate={"download": 64.5}
    )
    assert remote(room, after=8_999) == []
    assert types(room.say("cq.remote_stats_updated", "bob", STATISTICS, after=0)) == ["connection.stats_updated"]
    assert types(remote(room, after=1)) == ["connection.stats_updated"]
    assert room.state.counts.sampled == 1


@pytest.mark.parametrize("delays", [[-10, 10, 0, -5, 5], [0, 3000, 0, 3000, 0], [-10] * 5, [10] * 5])
def test_statistics_that_come_once_an_interval_are_all_kept(room: Capture, delays: list[int]) -> None:
    due, now = room.now, room.now
    for delay in delays * 40:
        due += 10_000 + delay if len(set(delays)) == 1 else 10_000
        at = due + (delay if len(set(delays)) > 1 else 0)
        assert types(remote(room, after=at - now)) == ["connection.stats_updated"]
        now = at


def test_of_more_frequent_statistics_one_an_interval_is_kept(room: Capture) -> None:
    kept = [found for _ in range(100) if (found := remote(room, after=1000))]
    assert len(kept) in (10, 11, 12)


def test_the_bot_s_own_statistics_have_no_endpoint_and_a_measure_of_their_own(room: Capture) -> None:
    remote(room)
    own = only(room.say("cq.local_stats_updated", {"connectionQuality": 100, "jvbRTT": 12}))
    assert (own.endpoint_id, own.payload) == (None, events.ConnectionStatsUpdated(connection_quality=100, jvb_rtt=12))
    assert room.say("cq.local_stats_updated", {}) == []


def test_the_interval_of_the_samples_is_the_configured_one() -> None:
    capture = Capture(statistics_interval_ms=500)
    capture.join("alice")
    assert [types(remote(capture, after=250)) for _ in range(4)] == [
        ["connection.stats_updated"],
        [],
        ["connection.stats_updated"],
        [],
    ]


def test_of_statistics_the_numbers_are_kept_that_fit(room: Capture) -> None:
    loss = {"total": 0, "upload": True, "download": 2**60, "text": "1", "deep": {"x": 1}, "small": -0.5}
    payload = only(remote(room, packetLoss=loss, bitrate=None)).payload
    assert payload == events.ConnectionStatsUpdated(
        connection_quality=90, packet_loss={"total": 0, "small": -0.5}, bitrate={}
    )


def test_statistics_of_somebody_who_is_not_there_are_no_news(room: Capture) -> None:
    assert room.say("cq.remote_stats_updated", "nobody", STATISTICS) == []


@pytest.mark.parametrize("changes", [{"connectionQuality": "good"}, {"packetLoss": []}, {"jvbRTT": 1e300}])
def test_statistics_of_the_wrong_shape_are_kept_as_unknown(changes: dict[str, Any], room: Capture) -> None:
    assert isinstance(only(remote(room, **changes)).payload, Unknown)
    remote(room)
    assert isinstance(only(remote(room, after=1, **changes)).payload, Unknown)  # not sampled away either


# --- what recorder and hook say of themselves ----------------------------------------------------------------------


def test_the_hook_says_which_events_have_no_type_here() -> None:
    listening = ["conference.joined", "conference.new_in_2030", "conference.trackMuteChanged", "conference.brandNew"]
    found = only(Capture().say("hook.installed", {"page_load": "l", "events": listening, "library_version": "1"}))
    assert found.payload == events.CaptureHookInstalled(
        page_load="l",
        library_version="1",
        listening=4,
        unknown_events=["conference.brandNew", "conference.new_in_2030"],
    )


def test_a_heartbeat_has_what_the_page_has_numbered_and_the_recorder_taken(room: Capture) -> None:
    beat = only(room.say("recorder.heartbeat", {"page_made": 9, "page_taken": 8, "page_missed": None})).payload
    assert isinstance(beat, events.CaptureHeartbeat)
    assert (beat.page_made, beat.page_taken, beat.page_missed) == (9, 8, None)


def test_a_jump_of_the_wall_clock_is_told(room: Capture) -> None:
    assert only(room.say("recorder.clock_jumped", {"jump_ms": -5000})).payload == events.CaptureClockJumped(
        jump_ms=-5000
    )


def test_statistics_are_sampled_away_while_the_spool_is_nearly_full(room: Capture) -> None:
    assert room.say("recorder.telemetry", {"is_kept": False}) == []
    assert remote(room) == room.say("cq.local_stats_updated", {"connectionQuality": 100}) == []
    assert room.state.counts.sampled == 2
    room.say("recorder.telemetry", {"is_kept": True})
    assert types(remote(room)) == ["connection.stats_updated"]


@pytest.mark.parametrize(
    ("origin", "args", "error"),
    [
        ("hook.error", ["conference.joined", "no id"], events.CaptureError(where="conference.joined", message="no id")),
        ("hook.join_failed", ["threw"], events.CaptureError(where="join", message="threw")),
        ("recorder.error", [{"where": "spool", "message": "slow"}], events.CaptureError(where="spool", message="slow")),
    ],
)
def test_what_failed_is_told(origin: str, args: list[str], error: events.CaptureError) -> None:
    assert only(Capture().say(origin, *args)).payload == error


def test_a_heartbeat_has_the_books_of_all_before_it(room: Capture) -> None:
    room.say("conference.trackMuteChanged", {})
    room.say("conference.never_heard_of", 1)
    remote(room)
    remote(room)
    counts = room.state.counts
    beat = only(room.say("recorder.heartbeat"))
    assert beat.payload == events.CaptureHeartbeat(
        in_conference=True,
        participants=1,
        messages=counts.messages,
        events=counts.events,
        absorbed=counts.absorbed,
        sampled=1,
        refused=0,
        unknown=1,
        normalized=counts.normalized,
    )
    assert counts.messages == counts.normalized + counts.absorbed + counts.sampled + counts.refused == 6


def test_after_the_end_everything_is_refused_and_counted(room: Capture) -> None:
    counts = room.state.counts
    ended = only(room.say("recorder.ended", {"reason": "operator", "detail": "Ctrl-C"}))
    assert ended.payload == events.CaptureEnded(
        reason=EndReason.OPERATOR,
        detail="Ctrl-C",
        messages=counts.messages,
        events=counts.events,
        normalized=counts.normalized,
        absorbed=counts.absorbed,
        sampled=0,
        refused=0,
        unknown=0,
    )
    assert room.say("conference.subjectChanged", "too late") == []
    assert room.say("recorder.ended", {"reason": "operator"}) == []
    assert room.state.counts.refused == 2


def test_an_end_without_a_known_reason_is_no_end(room: Capture) -> None:
    assert isinstance(only(room.say("recorder.ended", {"reason": "boredom"})).payload, Unknown)
    assert not room.state.ended


def test_an_event_nobody_knows_is_kept_raw(room: Capture) -> None:
    unknown = only(room.say("conference.never_heard_of", 1, {"a": [None]}))
    assert (unknown.origin, unknown.payload) == ("conference.never_heard_of", Unknown(arguments=[1, {"a": [None]}]))
    assert room.state.counts.unknown == 1


def test_the_start_of_a_capture_is_told_as_it_was_given() -> None:
    started = events.CaptureStarted(room_url="u", deployment="d", room="r", bot_name="b", program_version="v")
    given = {"room_url": "u", "deployment": "d", "room": "r", "bot_name": "b", "program_version": "v"}
    assert only(Capture().say("recorder.started", given)).payload == started
