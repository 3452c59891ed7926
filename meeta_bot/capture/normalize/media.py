"""Microphones, cameras, shared screens and the dominant speaker.

Media states come from presence, never from tracks: ``SourceInfo`` names every source and whether it is muted;
older clients send ``audiomuted``, ``videomuted`` and ``videoType`` instead (XEP-0045 presence extensions).
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from meeta_bot import events
from meeta_bot.capture.normalize.arguments import (
    Malformed,
    TrackArgument,
    argument,
    event,
    optional_text,
    text,
)
from meeta_bot.capture.normalize.state import (
    BRIDGE_SETTLE_MS,
    Message,
    Participant,
    State,
    elapsed_ms,
    updated,
    with_participant,
)
from meeta_bot.events import Event, Evidence

_SOURCE_NAME = re.compile(r"-(?P<kind>[av])(?P<index>\d{1,3})")
_DESKTOP = ("desktop", "desktop_high_fps")


class _SourceInfo(msgspec.Struct, rename={"video_type": "videoType"}):
    muted: bool | None = False
    video_type: str | None = None


_source_infos = msgspec.json.Decoder(dict[str, _SourceInfo])


class _MediaState(msgspec.Struct, frozen=True):
    """The media states in a presence: None where it says nothing."""

    evidence: Evidence
    audio_open: bool | None
    video_open: bool | None
    sharing: str | None
    audio_source: str | None = None
    video_source: str | None = None


def media_presence(state: State, message: Message) -> tuple[State, list[Event]]:
    """Compare the media in a participant's presence with what is known of them."""
    endpoint_id = text(message, 0)
    before = state.participants.get(endpoint_id)
    if before is None:
        return state, []  # the conference focus, or somebody the library hides
    elements = argument(message, 1)
    if not isinstance(elements, dict):
        raise Malformed("no presence elements")
    seen = _read_presence(endpoint_id, elements)
    after = updated(
        before,
        audio_open=_now(before.audio_open, seen.audio_open, seen.evidence),
        video_open=_now(before.video_open, seen.video_open, seen.evidence),
        media_told=True,
        sharing=seen.sharing,
        sharing_since_ms=_sharing_since(before, seen, message),
    )
    return with_participant(state, after), _changes(before, after, seen, message)


def _now(before: bool | None, seen: bool | None, evidence: Evidence) -> bool | None:
    """Return whether a device is on now. A source that is not announced any more is off; one that never was, unknown.

    A list of sources is all of them; older clients leave out what they have nothing to say about.
    """
    if seen is None and before is not None:
        return False if evidence is Evidence.SOURCE_INFO else before
    return seen


def _sharing_since(before: Participant, seen: _MediaState, message: Message) -> int | None:
    if seen.sharing is None:
        return None
    return message.monotonic_ms if before.sharing is None else before.sharing_since_ms


def _read_presence(endpoint_id: str, elements: dict[str, Any]) -> _MediaState:
    is_legacy = "audiomuted" in elements or "videomuted" in elements
    if elements.get("SourceInfo") and not (is_legacy and elements["SourceInfo"] == "{}"):
        return _read_source_info(endpoint_id, elements["SourceInfo"])
    audio_muted = elements.get("audiomuted")
    video_muted = elements.get("videomuted")
    desktop = elements.get("videoType") in _DESKTOP
    video_open = None if video_muted is None else video_muted == "false"
    return _MediaState(
        Evidence.LEGACY_PRESENCE,
        audio_open=None if audio_muted is None else audio_muted == "false",
        video_open=None if video_open is None else video_open and not desktop,
        sharing="" if video_open and desktop else None,
    )


def _read_source_info(endpoint_id: str, source_info: Any) -> _MediaState:
    try:
        sources = _source_infos.decode(source_info)
    except (msgspec.DecodeError, TypeError) as error:
        raise Malformed(f"SourceInfo: {error}") from None
    audio_open = video_open = None
    audio_source = video_source = sharing = None
    for name, source in sorted(sources.items()):
        # A participant speaks for its own sources only; names with a dot are translations made by the server.
        match = _SOURCE_NAME.fullmatch(name.removeprefix(endpoint_id)) if name.startswith(endpoint_id) else None
        if match is None:
            continue
        if match["kind"] == "a":
            if int(match["index"]) == 0:  # higher ones carry the sound of a shared tab
                audio_open, audio_source = not source.muted, name
        elif source.video_type in _DESKTOP:
            sharing = sharing if source.muted else name
        elif not video_open:
            video_open, video_source = not source.muted, name
    return _MediaState(Evidence.SOURCE_INFO, audio_open, video_open, sharing, audio_source, video_source)


def _changes(before: Participant, after: Participant, seen: _MediaState, message: Message) -> list[Event]:
    origin = "presence.SourceInfo" if seen.evidence is Evidence.SOURCE_INFO else "presence.legacy"
    changes: list[Event] = []

    def add(payload: events.Payload, initial: bool) -> None:
        changes.append(event(message, payload, after.endpoint_id, origin=origin, initial=initial))

    if after.audio_open is not None and after.audio_open != before.audio_open:
        kind = events.AudioUnmuted if after.audio_open else events.AudioMuted
        initial = _was_so(before, before.audio_open, after.audio_open)
        add(kind(source_name=seen.audio_source, evidence=seen.evidence), initial)
    if after.sharing is None and before.sharing is not None:
        changes.append(share_stopped(before, message, events.MediaCause.PRESENCE, seen.evidence, origin))
    if after.video_open is not None and after.video_open != before.video_open:
        video = events.VideoUnmuted if after.video_open else events.VideoMuted
        initial = _was_so(before, before.video_open, after.video_open)
        add(video(source_name=seen.video_source, evidence=seen.evidence), initial)
    if after.sharing is not None and before.sharing is None:
        started = events.ScreenShareStarted(source_name=after.sharing or None, evidence=seen.evidence)
        add(started, not before.media_told)
    return changes


def _was_so(before: Participant, known: bool | None, is_open: bool) -> bool:
    """Tell whether a device is told of for the first time as it was all along.

    One that is open now, and was not announced before, was opened; one that is announced as muted was never open.
    """
    return known is None and not before.has_returned and not (is_open and before.media_told)


def share_stopped(
    participant: Participant,
    message: Message,
    cause: events.MediaCause,
    evidence: Evidence | None = None,
    origin: str | None = None,
) -> Event:
    """Make the event that ends a participant's screen share."""
    payload = events.ScreenShareStopped(
        source_name=participant.sharing or None,
        evidence=evidence or (Evidence.SOURCE_INFO if participant.sharing else Evidence.LEGACY_PRESENCE),
        cause=cause,
        duration_ms=elapsed_ms(message, participant.sharing_since_ms),
    )
    return event(message, payload, participant.endpoint_id, origin=origin)


def dominant_speaker(state: State, message: Message) -> tuple[State, list[Event]]:
    """DOMINANT_SPEAKER_CHANGED(id, previous, silence); the bridge repeats the last one when its channel opens."""
    endpoint_id = text(message, 0)
    silence = argument(message, 2) is True
    opened_ms = state.bridge_opened_ms
    if (endpoint_id, silence) == (state.dominant_speaker, state.silence):
        return state if opened_ms is None else updated(state, bridge_opened_ms=None), []
    previous = argument(message, 1)
    names = [name for name in previous if isinstance(name, str)] if isinstance(previous, list) else []
    repeated = opened_ms is not None and message.monotonic_ms - opened_ms < BRIDGE_SETTLE_MS
    initial = repeated and state.dominant_speaker is None and not state.former_ids
    changed = event(
        message,
        events.DominantSpeakerChanged(previous=names, silence=silence),
        endpoint_id,
        initial=initial,
        inferred=repeated and not initial,
    )
    return updated(state, dominant_speaker=endpoint_id, silence=silence, bridge_opened_ms=None), [changed]


def track_added(state: State, message: Message) -> tuple[State, list[Event]]:
    """TRACK_ADDED(JitsiTrack)."""
    track = msgspec.convert(argument(message, 0), TrackArgument)
    payload = events.TrackAdded(
        media_type=track.media_type,
        video_type=track.video_type,
        source_name=track.source_name,
        muted=track.muted,
    )
    return state, [] if track.local else [event(message, payload, optional_text(track.endpoint_id))]


def track_removed(state: State, message: Message) -> tuple[State, list[Event]]:
    """TRACK_REMOVED(JitsiTrack)."""
    track = msgspec.convert(argument(message, 0), TrackArgument)
    payload = events.TrackRemoved(
        media_type=track.media_type, video_type=track.video_type, source_name=track.source_name
    )
    return state, [] if track.local else [event(message, payload, optional_text(track.endpoint_id))]


RULES = {
    "presence.media": media_presence,
    "conference.dominantSpeaker": dominant_speaker,
    "conference.trackAdded": track_added,
    "conference.trackRemoved": track_removed,
}
