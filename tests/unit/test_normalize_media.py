"""Microphones, cameras, screens, dominant speaker, tracks."""

from __future__ import annotations

import json
from typing import Any

import pytest

from meeta_bot import events
from meeta_bot.events import Evidence, MediaCause, Unknown
from tests.unit.capture import Capture, only, told, types

OPEN: dict[str, Any] = {"muted": False}
MUTED: dict[str, Any] = {"muted": True}
SCREEN: dict[str, Any] = {"muted": False, "videoType": "desktop"}
NO_SCREEN: dict[str, Any] = {"muted": True, "videoType": "desktop"}


@pytest.fixture
def room() -> Capture:
    """The bot and alice, of whom no presence was seen yet."""
    capture = Capture()
    capture.join("alice")
    return capture


@pytest.fixture
def seen(room: Capture) -> Capture:
    """The same after a first presence: microphone and camera off."""
    room.sources("alice", a0=MUTED, v0=MUTED)
    return room


# --- SourceInfo ----------------------------------------------------------------------------------------------------


def test_a_first_presence_tells_how_things_are(room: Capture) -> None:
    found = room.sources("alice", a0=OPEN, v0=MUTED)
    assert told(found) == [("audio.unmuted", "alice", True), ("video.muted", "alice", True)]
    assert [event.payload.source_name for event in found] == ["alice-a0", "alice-v0"]  # type: ignore[attr-defined]
    assert {event.origin for event in found} == {"presence.SourceInfo"}


def test_who_has_announced_nothing_yet_is_not_muted(room: Capture) -> None:
    assert room.sources("alice") == []
    assert told(room.sources("alice", a0=OPEN)) == [("audio.unmuted", "alice", False)]
    assert told(room.sources("alice", a0=OPEN, v0=MUTED)) == [("video.muted", "alice", True)]


def test_who_starts_muted_announces_that(room: Capture) -> None:
    found = told(room.sources("alice", a0=MUTED, v0=MUTED))
    assert found == [("audio.muted", "alice", True), ("video.muted", "alice", True)]


def test_a_source_that_is_not_announced_any_more_is_off(seen: Capture) -> None:
    seen.sources("alice", a0=OPEN, v0=OPEN)
    assert told(seen.sources("alice", v0=OPEN)) == [("audio.muted", "alice", False)]
    assert told(seen.sources("alice")) == [("video.muted", "alice", False)]
    assert seen.sources("alice") == []


def test_an_empty_list_of_sources_beside_the_older_elements_leaves_them_the_word(room: Capture) -> None:
    assert told(room.legacy("alice", SourceInfo="{}", audiomuted="false")) == [("audio.unmuted", "alice", True)]


def test_a_first_presence_with_a_shared_screen_tells_it_as_initial(room: Capture) -> None:
    found = room.sources("alice", a0=MUTED, v0=OPEN, v1=SCREEN)
    assert told(found)[-1] == ("screen_share.started", "alice", True)


def test_only_what_changes_is_told(seen: Capture) -> None:
    assert told(seen.sources("alice", a0=OPEN, v0=MUTED)) == [("audio.unmuted", "alice", False)]
    assert seen.sources("alice", a0=OPEN, v0=MUTED) == []
    assert told(seen.sources("alice", a0=OPEN, v0=OPEN)) == [("video.unmuted", "alice", False)]
    assert told(seen.sources("alice", a0=MUTED, v0=MUTED)) == [
        ("audio.muted", "alice", False),
        ("video.muted", "alice", False),
    ]


def test_a_source_that_does_not_say_whether_it_is_muted_is_open(seen: Capture) -> None:
    assert types(seen.sources("alice", a0={}, v0={"muted": None})) == ["audio.unmuted", "video.unmuted"]


def test_a_source_that_is_gone_from_the_list_is_muted(seen: Capture) -> None:
    seen.sources("alice", a0=OPEN, v0=OPEN, v1=SCREEN)
    found = seen.sources("alice", a0=OPEN)
    assert types(found) == ["screen_share.stopped", "video.muted"]
    assert types(seen.sources("alice")) == ["audio.muted"]


def test_a_screen_beside_the_camera_is_shared_and_the_camera_stays(seen: Capture) -> None:
    seen.sources("alice", a0=MUTED, v0=OPEN)
    started = only(seen.sources("alice", a0=MUTED, v0=OPEN, v1=SCREEN))
    assert started.payload == events.ScreenShareStarted(source_name="alice-v1")
    stopped = only(seen.sources("alice", a0=MUTED, v0=OPEN, v1=NO_SCREEN))
    assert stopped.payload == events.ScreenShareStopped(source_name="alice-v1", duration_ms=100)


@pytest.mark.parametrize("video_type", ["desktop", "desktop_high_fps"])
def test_both_kinds_of_screens_are_screens(video_type: str, seen: Capture) -> None:
    found = seen.sources("alice", a0=MUTED, v1={"muted": False, "videoType": video_type})
    assert types(found) == ["screen_share.started"]


def test_two_screens_are_one_share_until_the_last_is_gone(seen: Capture) -> None:
    assert types(seen.sources("alice", v1=SCREEN)) == ["screen_share.started"]
    assert seen.sources("alice", v1=SCREEN, v2=SCREEN) == []
    assert seen.sources("alice", v2=SCREEN) == []
    assert types(seen.sources("alice", v2=NO_SCREEN)) == ["screen_share.stopped"]


def test_of_two_cameras_one_that_is_on_counts(seen: Capture) -> None:
    assert types(seen.sources("alice", v0=MUTED, v1=OPEN)) == ["video.unmuted"]
    assert seen.sources("alice", v0=OPEN, v1=MUTED) == []


def test_a_muted_screen_is_not_shared(room: Capture) -> None:
    assert types(room.sources("alice", v1=NO_SCREEN)) == []


def test_in_2021_the_screen_takes_the_camera_s_place_and_gives_it_back(seen: Capture) -> None:
    seen.sources("alice", a0=MUTED, v0={"muted": False, "videoType": "camera"})
    to_screen = seen.sources("alice", a0=MUTED, v0=SCREEN)
    assert types(to_screen) == ["video.muted", "screen_share.started"]
    to_camera = seen.sources("alice", a0=MUTED, v0={"muted": False, "videoType": "camera"})
    assert types(to_camera) == ["screen_share.stopped", "video.unmuted"]


def test_the_sound_of_a_shared_tab_is_no_microphone(seen: Capture) -> None:
    assert types(seen.sources("alice", a0=MUTED, a1=OPEN, v1=SCREEN)) == ["screen_share.started"]


@pytest.mark.parametrize(
    "name", ["bob-a0", "alicebob-a0", "ali-a0", "a0", "alice-x0", "alice-a", "alice-a0-b", "ALICE-a0"]
)
def test_a_source_that_is_not_the_sender_s_own_is_ignored(name: str, seen: Capture) -> None:
    assert seen.say("presence.media", "alice", {"SourceInfo": json.dumps({name: OPEN})}) == []


@pytest.mark.parametrize("name", ["alice-a0.fr", "alice-a0.translated", "alice.a0"])
def test_a_translation_made_by_the_server_is_ignored(name: str, seen: Capture) -> None:
    assert seen.say("presence.media", "alice", {"SourceInfo": json.dumps({name: OPEN})}) == []


@pytest.mark.parametrize("text", ["{", "[]", "null", '{"alice-a0":1}', '{"alice-a0":{"muted":"no"}}', "\x00"])
def test_a_source_list_that_can_t_be_read_is_kept_as_unknown_and_changes_nothing(text: str, seen: Capture) -> None:
    before = seen.state.participants
    found = only(seen.say("presence.media", "alice", {"SourceInfo": text}))
    assert isinstance(found.payload, Unknown)
    assert "SourceInfo" in (found.payload.problem or "")
    assert seen.state.participants == before


def test_the_presence_of_somebody_who_is_not_in_the_room_is_ignored(room: Capture) -> None:
    assert room.sources("focus", a0=OPEN) == []


# --- older clients -------------------------------------------------------------------------------------------------


def test_an_older_client_says_what_is_muted_without_naming_sources(room: Capture) -> None:
    found = room.legacy("alice", audiomuted="false", videomuted="true")
    assert told(found) == [("audio.unmuted", "alice", True), ("video.muted", "alice", True)]
    assert {event.origin for event in found} == {"presence.legacy"}
    assert {event.payload.evidence for event in found} == {Evidence.LEGACY_PRESENCE}  # type: ignore[attr-defined]


def test_what_an_older_client_does_not_say_is_not_told(room: Capture) -> None:
    assert types(room.legacy("alice", audiomuted="true")) == ["audio.muted"]
    assert types(room.legacy("alice", audiomuted="true", videomuted="false")) == ["video.unmuted"]


def test_an_older_client_shows_a_screen_in_place_of_the_camera(room: Capture) -> None:
    room.legacy("alice", audiomuted="true", videomuted="false", videoType="camera")
    started = room.legacy("alice", audiomuted="true", videomuted="false", videoType="desktop")
    assert types(started) == ["video.muted", "screen_share.started"]
    stopped = room.legacy("alice", audiomuted="true", videomuted="false", videoType="camera")
    assert types(stopped) == ["screen_share.stopped", "video.unmuted"]


def test_an_older_client_that_mutes_its_screen_shares_no_more(room: Capture) -> None:
    room.legacy("alice", videomuted="false", videoType="desktop")
    assert types(room.legacy("alice", videomuted="true", videoType="desktop")) == ["screen_share.stopped"]


def test_a_list_of_sources_is_believed_rather_than_the_older_elements(room: Capture) -> None:
    elements = {"SourceInfo": json.dumps({"alice-a0": OPEN}), "audiomuted": "true", "videomuted": "false"}
    assert types(room.say("presence.media", "alice", elements)) == ["audio.unmuted"]


def test_an_empty_source_info_leaves_the_word_to_the_older_elements(room: Capture) -> None:
    assert types(room.legacy("alice", SourceInfo="", audiomuted="false")) == ["audio.unmuted"]


# --- what ends a share ---------------------------------------------------------------------------------------------


def test_a_share_ends_when_its_owner_leaves(seen: Capture) -> None:
    seen.sources("alice", v1=SCREEN)
    stopped, left = seen.leave("alice")
    assert stopped.payload == events.ScreenShareStopped(source_name="alice-v1", cause=MediaCause.LEFT, duration_ms=100)
    assert left.type == "participant.left"


def test_a_share_of_an_older_client_ends_with_the_evidence_it_began_with(room: Capture) -> None:
    room.legacy("alice", videomuted="false", videoType="desktop")
    stopped = room.leave("alice")[0]
    assert stopped.payload == events.ScreenShareStopped(
        evidence=Evidence.LEGACY_PRESENCE, cause=MediaCause.LEFT, duration_ms=100
    )


def test_after_a_return_everything_is_initial_again(seen: Capture) -> None:
    seen.sources("alice", a0=OPEN)
    seen.leave("alice")
    seen.arrive("alice")
    assert told(seen.sources("alice", a0=OPEN, v0=MUTED)) == [
        ("audio.unmuted", "alice", True),
        ("video.muted", "alice", True),
    ]


# --- dominant speaker ----------------------------------------------------------------------------------------------


def test_the_speaker_that_the_bridge_repeats_when_its_channel_opens_is_initial(room: Capture) -> None:
    room.say("hook.bridge_heard", {"channel": "new"})
    assert told(room.say("conference.dominantSpeaker", "alice", ["bob"], False)) == [
        ("dominant_speaker.changed", "alice", True)
    ]


def test_a_first_speaker_long_after_the_channel_opened_is_a_change(room: Capture) -> None:
    room.say("hook.bridge_heard", {"channel": "new"})
    room.settle()
    assert told(room.say("conference.dominantSpeaker", "alice")) == [("dominant_speaker.changed", "alice", False)]


def test_a_speaker_that_is_repeated_is_no_news(room: Capture) -> None:
    room.say("conference.dominantSpeaker", "alice", [], False)
    assert room.say("conference.dominantSpeaker", "alice", [], False) == []
    room.say("hook.bridge_heard", {"channel": "new"})
    assert room.say("conference.dominantSpeaker", "alice") == []


def test_another_speaker_is_told_with_those_before(room: Capture) -> None:
    room.say("conference.dominantSpeaker", "alice")
    found = only(room.say("conference.dominantSpeaker", "bob", ["alice", 5, None, "carol"], False))
    assert found.endpoint_id == "bob"
    assert found.payload == events.DominantSpeakerChanged(previous=["alice", "carol"])


def test_silence_and_speech_after_it_are_changes(room: Capture) -> None:
    room.say("conference.dominantSpeaker", "alice", [], False)
    assert only(room.say("conference.dominantSpeaker", "alice", [], True)).payload == events.DominantSpeakerChanged(
        silence=True
    )
    assert room.say("conference.dominantSpeaker", "alice", [], True) == []
    assert only(room.say("conference.dominantSpeaker", "alice", [], False)).payload == events.DominantSpeakerChanged()


# --- tracks --------------------------------------------------------------------------------------------------------


def test_remote_tracks_are_told_and_local_ones_are_not(room: Capture) -> None:
    track = {"$": "track", "endpoint_id": "alice", "local": False, "media_type": "video", "muted": True}
    added = only(room.say("conference.trackAdded", {**track, "video_type": "camera", "source_name": "alice-v0"}))
    assert added.endpoint_id == "alice"
    assert added.payload == events.TrackAdded(
        media_type="video", video_type="camera", source_name="alice-v0", muted=True
    )
    removed = only(room.say("conference.trackRemoved", track))
    assert removed.payload == events.TrackRemoved(media_type="video")
    assert room.say("conference.trackAdded", {**track, "local": True}) == []
    assert room.say("conference.trackRemoved", {**track, "local": True}) == []


def test_tracks_say_nothing_about_muted_microphones(room: Capture) -> None:
    room.say("conference.trackAdded", {"$": "track", "endpoint_id": "alice", "media_type": "audio", "muted": False})
    room.say(
        "conference.trackMuteChanged", {"$": "track", "endpoint_id": "alice", "media_type": "audio", "muted": True}
    )
    assert room.state.participants["alice"].audio_open is None
    assert not {"audio.muted", "audio.unmuted"} & set(types(room.events))
