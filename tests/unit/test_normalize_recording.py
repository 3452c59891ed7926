"""Jitsi's own recordings and streams, transcription, transcripts."""

from __future__ import annotations

from typing import Any

import pytest

from meeta_bot import events
from meeta_bot.events import Event, TranscriptionMode, Unknown
from tests.unit.capture import START, TRANSCRIBER, Capture, only, participant, told, types

PROPERTY = "audio-recording-enabled"


@pytest.fixture
def room() -> Capture:
    capture = Capture()
    capture.join("alice", "bob")
    capture.settle()
    return capture


def session(capture: Capture, status: str, **fields: Any) -> list[Event]:
    given = {"$": "recorder_session", "id": "s-1", "status": status, "mode": "file", **fields}
    return capture.say("conference.recorderStateChanged", given)


# --- recordings ----------------------------------------------------------------------------------------------------


def test_a_recording_goes_through_its_states_once_each(room: Capture) -> None:
    assert session(room, "") == []
    assert only(session(room, "pending")).payload == events.RecordingPending(session_id="s-1", mode="file")
    assert session(room, "pending") == []
    started = only(session(room, "on", initiator="alice"))
    assert started.payload == events.RecordingStarted(session_id="s-1", mode="file", initiator_endpoint_id="alice")
    assert session(room, "on") == []
    stopped = only(session(room, "off", terminator="bob"))
    assert stopped.payload == events.RecordingStopped(
        session_id="s-1", mode="file", terminator_endpoint_id="bob", duration_ms=200
    )


def test_a_recorder_that_does_not_name_its_session_records_by_the_focus_s_word(room: Capture) -> None:
    """Libraries since 2022 call such a session pending until it is over."""
    session(room, "pending")
    said = {"session_id": "s-1", "status": "on", "mode": "file", "initiator": "alice"}
    started = only(room.say("presence.recording", said))
    assert started.payload == events.RecordingStarted(session_id="s-1", mode="file", initiator_endpoint_id="alice")
    assert room.say("presence.recording", said) == session(room, "pending") == session(room, "on") == []
    over = only(room.say("presence.recording", {**said, "status": "off", "initiator": "bob"}))
    assert isinstance(over.payload, events.RecordingStopped)
    assert over.payload.terminator_endpoint_id == "bob"


def test_a_recording_that_runs_already_is_initial() -> None:
    capture = Capture()
    assert told(session(capture, "on")) == [("recording.started", None, True)]


def test_a_recording_that_ended_before_the_bot_came_is_no_news(room: Capture) -> None:
    assert session(room, "off") == []


def test_the_first_initiator_stays_the_initiator(room: Capture) -> None:
    session(room, "pending", initiator="alice")
    started = only(session(room, "on", initiator="bob"))
    assert isinstance(started.payload, events.RecordingStarted)
    assert started.payload.initiator_endpoint_id == "alice"


def test_a_changed_initiator_just_before_the_end_is_the_terminator(room: Capture) -> None:
    session(room, "on", initiator="alice")
    assert session(room, "on", initiator="bob") == []
    stopped = only(session(room, "off"))
    assert isinstance(stopped.payload, events.RecordingStopped)
    assert stopped.payload.terminator_endpoint_id == "bob"


def focus_says(capture: Capture, status: str, initiator: str | None) -> list[Event]:
    said = {"session_id": "s-1", "status": status, "initiator": initiator}
    return capture.say("presence.recording", said)


def test_the_focus_tells_the_initiator_before_a_library_that_forgets_it_says_on(room: Capture) -> None:
    session(room, "pending")
    assert focus_says(room, "pending", "alice") == []
    started = only(session(room, "on"))
    assert isinstance(started.payload, events.RecordingStarted)
    assert started.payload.initiator_endpoint_id == "alice"


def test_the_focus_tells_who_stopped_even_if_it_is_who_started(room: Capture) -> None:
    session(room, "on", initiator="alice")
    stopped = only(focus_says(room, "off", "alice"))
    assert isinstance(stopped.payload, events.RecordingStopped)
    assert stopped.payload.terminator_endpoint_id == "alice"
    assert session(room, "off") == []


def test_the_focus_s_word_is_the_end_though_the_recorder_is_still_on_its_way_out(room: Capture) -> None:
    session(room, "on", initiator="alice")
    stopped = only(focus_says(room, "off", None))
    assert stopped.payload == events.RecordingStopped(session_id="s-1", mode="file", duration_ms=100)
    assert (session(room, "on"), focus_says(room, "off", None), session(room, "off")) == ([], [], [])
    assert types(session(room, "on", id="s-2")) == ["recording.started"]


def test_a_failure_that_only_the_focus_tells(room: Capture) -> None:
    session(room, "on")
    said = {"session_id": "s-1", "status": "off", "mode": "file", "error": "error"}
    failed, stopped = room.say("presence.recording", said)
    assert failed.payload == events.RecordingFailed(session_id="s-1", mode="file", error="error")
    assert stopped.type == "recording.stopped"


def test_a_recording_that_only_the_focus_knows_never_to_have_begun(room: Capture) -> None:
    session(room, "pending", mode="stream")
    failed = only(room.say("presence.recording", {"session_id": "s-1", "status": "off", "error": "busy"}))
    assert failed.payload == events.RecordingFailed(session_id="s-1", mode="stream", error="busy")


def test_what_the_focus_says_of_an_unknown_session_changes_nothing(room: Capture) -> None:
    assert focus_says(room, "on", "alice") == []
    assert only(session(room, "on")).payload == events.RecordingStarted(session_id="s-1", mode="file")


def test_without_a_changed_initiator_the_terminator_is_unknown(room: Capture) -> None:
    session(room, "on", initiator="alice")
    stopped = only(session(room, "off", initiator="alice"))
    assert isinstance(stopped.payload, events.RecordingStopped)
    assert stopped.payload.terminator_endpoint_id is None


def test_a_recorder_s_presence_without_initiator_does_not_take_the_initiator_away(room: Capture) -> None:
    session(room, "on", initiator="alice")
    session(room, "on")
    stopped = only(session(room, "off"))
    assert isinstance(stopped.payload, events.RecordingStopped)
    assert stopped.payload.terminator_endpoint_id is None


def test_a_stream_is_a_stream(room: Capture) -> None:
    pending = only(session(room, "pending", mode="stream"))
    assert pending.payload == events.RecordingPending(session_id="s-1", mode="stream")
    started = only(session(room, "on", mode="stream", initiator="alice"))
    assert started.payload == events.StreamStarted(session_id="s-1", mode="stream", initiator_endpoint_id="alice")
    stopped = only(session(room, "off", mode="stream"))
    assert stopped.payload == events.StreamStopped(session_id="s-1", mode="stream", duration_ms=100)


def test_a_recording_that_fails_while_it_runs_fails_and_stops(room: Capture) -> None:
    session(room, "on")
    assert types(session(room, "off", error="error")) == ["recording.failed", "recording.stopped"]


def test_a_recording_that_never_ran_only_fails(room: Capture) -> None:
    session(room, "pending")
    failed = only(session(room, "off", error="busy"))
    assert failed.payload == events.RecordingFailed(session_id="s-1", mode="file", error="busy")


def test_two_sessions_do_not_mix(room: Capture) -> None:
    session(room, "on", initiator="alice")
    started = only(session(room, "on", id="s-2", mode="stream", initiator="bob"))
    assert started.type == "stream.started"
    assert types(session(room, "off", id="s-2", mode="stream")) == ["stream.stopped"]
    assert types(session(room, "off")) == ["recording.stopped"]


def test_a_session_without_an_id_is_a_session() -> None:
    capture = Capture()
    capture.join()
    assert types(session(capture, "on", id=None)) == ["recording.started"]


def test_the_recorder_itself_is_no_person(room: Capture) -> None:
    assert types(room.arrive("jibri-1", hidden=True, features=["http://jitsi.org/protocol/jibri"])) == [
        "participant.joined"
    ]
    assert room.state.people == 2


# --- transcription -------------------------------------------------------------------------------------------------


def test_a_transcriber_in_the_room_says_on_and_off(room: Capture) -> None:
    started = only(room.say("conference.transcriptionStatusChanged", "ON", "transcriber"))
    assert started.payload == events.TranscriptionStarted(
        mode=TranscriptionMode.JIGASI, transcriber_endpoint_id="transcriber"
    )
    assert room.say("conference.transcriptionStatusChanged", "ON", "transcriber") == []
    stopped = only(room.say("conference.transcriptionStatusChanged", "OFF", "transcriber", True))
    assert stopped.payload == events.TranscriptionStopped(mode=TranscriptionMode.JIGASI, abrupt=True)
    assert room.say("conference.transcriptionStatusChanged", "OFF") == []


def test_transcription_that_runs_already_is_initial() -> None:
    capture = Capture()
    assert told(capture.say("conference.transcriptionStatusChanged", "ON")) == [("transcription.started", None, True)]


def test_a_transcriber_that_vanishes_stops_abruptly(room: Capture) -> None:
    room.arrive("t", hidden=True, features=[TRANSCRIBER])
    room.say("conference.transcriptionStatusChanged", "ON", "t")
    left, stopped = room.leave("t")
    assert left.type == "participant.left"
    assert stopped.payload == events.TranscriptionStopped(mode=TranscriptionMode.JIGASI, abrupt=True)
    assert room.say("conference.transcriptionStatusChanged", "OFF") == []


def test_the_asynchronous_backend_is_told_by_a_property_of_the_conference(room: Capture) -> None:
    changed, started = room.say("conference.propertiesChanged", {PROPERTY: "true"})
    assert changed.type == "conference.properties_changed"
    assert started.payload == events.TranscriptionStarted(mode=TranscriptionMode.ASYNC)
    assert room.say("conference.propertiesChanged", {PROPERTY: "true"}) == []
    _, stopped = room.say("conference.propertiesChanged", {PROPERTY: "false"})
    assert stopped.payload == events.TranscriptionStopped(mode=TranscriptionMode.ASYNC)


def test_the_asynchronous_backend_ends_when_its_property_is_gone(room: Capture) -> None:
    room.say("conference.propertiesChanged", {PROPERTY: "true"})
    assert types(room.say("conference.propertiesChanged", {})) == [
        "conference.properties_changed",
        "transcription.stopped",
    ]


def test_both_kinds_of_transcription_are_told_apart(room: Capture) -> None:
    room.say("conference.transcriptionStatusChanged", "ON")
    room.say("conference.propertiesChanged", {PROPERTY: "true"})
    stopped = only(room.say("conference.transcriptionStatusChanged", "OFF"))
    assert stopped.payload == events.TranscriptionStopped(mode=TranscriptionMode.JIGASI)
    assert room.state.transcribing == [TranscriptionMode.ASYNC]


# --- transcripts ---------------------------------------------------------------------------------------------------

RESULT: dict[str, Any] = {
    "type": "transcription-result",
    "transcript": [{"text": "good morning", "confidence": 0.9}, {"text": "would mourning"}],
    "participant": {"id": "alice", "name": "Alice", "avatar_url": "x"},
    "message_id": "m-1",
    "is_interim": False,
    "language": "en-US",
    "stability": 0.5,
    "timestamp": START,
}


def test_what_a_transcriber_in_the_room_writes_is_a_transcript(room: Capture) -> None:
    chunk = only(room.say("conference.endpoint_message_received", participant("t", hidden=True), RESULT))
    assert (chunk.endpoint_id, chunk.server_at) == ("alice", START)
    assert chunk.payload == events.TranscriptChunk(
        text="good morning",
        message_id="m-1",
        language="en-US",
        confidence=0.9,
        stability=0.5,
        speaker_name="Alice",
        transport="jigasi",
    )


def test_what_the_bridge_s_transcriber_writes_is_a_transcript(room: Capture) -> None:
    sparse = {"type": "transcription-result", "transcript": [{"text": "hm"}], "participant": {"id": "bob", "tag": "7"}}
    chunk = only(room.say("conference.non_participant_message_received", "transcriber", {**sparse, "is_interim": True}))
    assert (chunk.endpoint_id, chunk.server_at) == ("bob", None)
    assert chunk.payload == events.TranscriptChunk(text="hm", is_interim=True, transport="bridge")


@pytest.mark.parametrize("sender", [participant("mallory"), participant("mallory", hidden="true"), "mallory", None])
def test_what_somebody_else_writes_is_no_transcript(sender: Any, room: Capture) -> None:
    message = only(room.say("conference.endpoint_message_received", sender, RESULT))
    assert message.payload == events.MessageEndpoint(kind="transcription-result", keys=sorted(RESULT))


def test_what_a_component_that_is_no_transcriber_writes_is_no_transcript(room: Capture) -> None:
    message = only(room.say("conference.non_participant_message_received", "mallory", RESULT))
    assert message.type == "message.endpoint"


def test_a_transcript_without_alternatives_is_empty(room: Capture) -> None:
    chunk = only(room.say("conference.non_participant_message_received", "transcriber", {**RESULT, "transcript": []}))
    assert isinstance(chunk.payload, events.TranscriptChunk)
    assert chunk.payload.text == ""


@pytest.mark.parametrize("broken", [{"transcript": "good morning"}, {"transcript": [{}]}, {"participant": "alice"}])
def test_a_transcript_of_the_wrong_shape_is_kept_as_unknown(broken: dict[str, Any], room: Capture) -> None:
    unknown = only(room.say("conference.non_participant_message_received", "transcriber", {**RESULT, **broken}))
    assert isinstance(unknown.payload, Unknown)
    assert unknown.payload.problem
