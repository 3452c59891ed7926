"""Microphones, cameras, screens, the dominant speaker, and tracks."""

from __future__ import annotations

from enum import StrEnum

from meeta_bot.events.catalog import Payload, event_type


class Evidence(StrEnum):
    """The presence element that told a media state."""

    SOURCE_INFO = "source_info"
    LEGACY_PRESENCE = "legacy_presence"


class MediaCause(StrEnum):
    """The reason why a media state changed."""

    PRESENCE = "presence"
    LEFT = "left"


class _Media(Payload):
    source_name: str | None = None
    evidence: Evidence = Evidence.SOURCE_INFO


@event_type("audio.muted", "presence.SourceInfo")
class AudioMuted(_Media):
    """No microphone of this participant is open any more."""


@event_type("audio.unmuted", "presence.SourceInfo")
class AudioUnmuted(_Media):
    """A microphone of this participant is open."""


@event_type("video.muted", "presence.SourceInfo")
class VideoMuted(_Media):
    """No camera of this participant is on any more."""


@event_type("video.unmuted", "presence.SourceInfo")
class VideoUnmuted(_Media):
    """A camera of this participant is on."""


@event_type("screen_share.started", "presence.SourceInfo")
class ScreenShareStarted(_Media):
    """A participant shows a screen."""


@event_type("screen_share.stopped", "presence.SourceInfo")
class ScreenShareStopped(_Media):
    """A participant shows no screen any more."""

    cause: MediaCause = MediaCause.PRESENCE
    duration_ms: int | None = None


@event_type("dominant_speaker.changed", "conference.dominantSpeaker")
class DominantSpeakerChanged(Payload):
    """The bridge names another dominant speaker, or says that the last one fell silent."""

    previous: list[str] = []
    silence: bool = False


@event_type("media.sender_limit_changed", "conference.audio_unmute_permissions_changed")
class MediaSenderLimitChanged(Payload):
    """The conference reached the number of senders that it allows, or is below it again."""

    media: str
    limit_reached: bool


@event_type("track.added", "conference.trackAdded")
class TrackAdded(Payload):
    """A remote track reached the bot. No evidence of mute: tracks come and go with the media path."""

    media_type: str | None = None
    video_type: str | None = None
    source_name: str | None = None
    muted: bool | None = None


@event_type("track.removed", "conference.trackRemoved")
class TrackRemoved(Payload):
    """A remote track is gone from the bot."""

    media_type: str | None = None
    video_type: str | None = None
    source_name: str | None = None
