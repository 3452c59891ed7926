"""The events of meeta_bot: one struct per type, their envelope, and the catalog that knows them all.

A type's name is stable; its struct may gain fields with defaults. ``origin`` says where a fact comes from: a
lib-jitsi-meet event by its string value (``conference.userJoined``), a presence element
(``presence.SourceInfo``), the hook (``hook.…``) or the recorder itself (``recorder.…``).
Times named ``…_at`` are milliseconds since 1970 in UTC, durations ``…_ms`` are milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any, ClassVar, TypeVar

import msgspec

MAIN_ROOM = "main"


class Privacy(StrEnum):
    """What a payload can say about people."""

    NEUTRAL = "neutral"
    PERSONAL = "personal"  # names, ids
    CONTENT = "content"  # what was said, written or shown


class Action(StrEnum):
    """What happens to events of a type."""

    KEEP = "keep"
    SAMPLE = "sample"  # at most one per participant and interval
    NEVER = "never"  # seen, counted, not stored


class GapCause(StrEnum):
    """Why a capture could not see."""

    NOT_ADMITTED = "not_admitted"
    LATE_JOIN = "late_join"
    SIGNALLING_LOST = "signalling_lost"
    SIGNALLING_RESUMED = "signalling_resumed"
    REJOINED = "rejoined"
    PAGE_CRASHED = "page_crashed"
    PAGE_HUNG = "page_hung"
    BROWSER_CRASHED = "browser_crashed"
    PROCESS_KILLED = "process_killed"
    HOST_SUSPENDED = "host_suspended"
    BRIDGE_CHANNEL_CLOSED = "bridge_channel_closed"
    PAGE_BUFFER_OVERFLOW = "page_buffer_overflow"
    SPOOL_FULL = "spool_full"
    SPOOL_DAMAGED = "spool_damaged"
    MOVED_WORKER = "moved_worker"


class Lost(StrEnum):
    """What a gap kept from us."""

    EVERYTHING = "everything"
    BRIDGE_ONLY = "bridge_only"
    NOTHING = "nothing"


class EndReason(StrEnum):
    """Why a capture ended. Each capture has exactly one."""

    MEETING_ENDED = "meeting_ended"
    LEFT_ALONE = "left_alone"
    NOBODY_CAME = "nobody_came"
    ONLY_BOTS_LEFT = "only_bots_left"
    MAX_DURATION = "max_duration"
    OPERATOR = "operator"
    KICKED = "kicked"
    REPLACED = "replaced"
    DESTROYED = "destroyed"
    OPTED_OUT = "opted_out"
    LOBBY_DENIED = "lobby_denied"
    LOBBY_TIMEOUT = "lobby_timeout"
    PASSWORD_REQUIRED = "password_required"  # noqa: S105 - a reason, not a password
    PASSWORD_INCORRECT = "password_incorrect"  # noqa: S105
    MEMBERS_ONLY = "members_only"
    AUTHENTICATION_REQUIRED = "authentication_required"
    TOKEN_REJECTED = "token_rejected"  # noqa: S105
    TOKEN_EXPIRED = "token_expired"  # noqa: S105
    ROOM_FULL = "room_full"
    NOT_ALLOWED = "not_allowed"
    ROOM_UNREACHABLE = "room_unreachable"
    NOT_JITSI = "not_jitsi"
    CERTIFICATE_REJECTED = "certificate_rejected"
    JOIN_TIMEOUT = "join_timeout"
    RECONNECT_EXHAUSTED = "reconnect_exhausted"
    PAGE_CRASHED = "page_crashed"
    BROWSER_CRASHED = "browser_crashed"
    PROCESS_KILLED = "process_killed"
    DISK_FAILED = "disk_failed"
    SUPERSEDED = "superseded"


# Ends that are how a recording should end; after the others its operator has something to look at.
ORDERLY_ENDS = frozenset(
    {
        EndReason.MEETING_ENDED,
        EndReason.LEFT_ALONE,
        EndReason.NOBODY_CAME,
        EndReason.ONLY_BOTS_LEFT,
        EndReason.MAX_DURATION,
        EndReason.OPERATOR,
        EndReason.DESTROYED,
        EndReason.SUPERSEDED,
    }
)


class Payload(msgspec.Struct, kw_only=True):
    """Base of all payloads."""

    event_type: ClassVar[str] = ""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A normalized event before the spool gives it a number and a digest.

    ``occurred_at`` is the wall clock where it was seen; ``monotonic_ms`` counts from the start of the capture;
    ``server_at`` is set when the server or the sender stamped it; ``initial`` says that it was so when we came,
    ``inferred`` that it was found by comparison after a gap.
    """

    payload: Payload
    origin: str
    occurred_at: int
    monotonic_ms: int
    room: str = MAIN_ROOM
    endpoint_id: str | None = None
    server_at: int | None = None
    initial: bool = False
    inferred: bool = False

    @property
    def type(self) -> str:
        return self.payload.event_type


class SealedEvent(msgspec.Struct, frozen=True, array_like=True):
    """An event as the spool holds it and a sink stores it: numbered, in canonical form, chained by digest."""

    capture_id: str
    seq: int
    type: str
    origin: str
    room: str
    endpoint_id: str | None
    occurred_at: int
    monotonic_ms: int
    server_at: int | None
    initial: bool
    inferred: bool
    payload: str
    salt: bytes
    commitment: bytes
    digest: bytes


class EventType(msgspec.Struct, frozen=True):
    """One row of the catalog."""

    name: str
    payload: type[Payload]
    origin: str
    privacy: Privacy
    action: Action

    @property
    def description(self) -> str:
        return " ".join((self.payload.__doc__ or "").split())


CATALOG: dict[str, EventType] = {}

_P = TypeVar("_P", bound=type[Payload])


def _event(
    name: str, origin: str, privacy: Privacy = Privacy.NEUTRAL, action: Action = Action.KEEP
) -> Callable[[_P], _P]:
    def register(payload: _P) -> _P:
        payload.event_type = name
        CATALOG[name] = EventType(name, payload, origin, privacy, action)
        return payload

    return register


# --- the recorder's own life -----------------------------------------------------------------------------------


@_event("capture.started", "recorder.started")
class CaptureStarted(Payload):
    """A recorder begins; nothing has been seen yet. ``room_url`` carries no token."""

    room_url: str
    deployment: str
    room: str
    bot_name: str
    program_version: str


@_event("capture.hook_installed", "hook.installed")
class CaptureHookInstalled(Payload):
    """The library was found in the page and every event it can emit is listened to."""

    page_load: str
    library_version: str | None = None
    listening: int = 0
    unknown_events: list[str] = []


@_event("capture.join_in_progress", "conference.join_in_progress")
class CaptureJoinInProgress(Payload):
    """The first presence of the room came back."""


@_event("capture.lobby_waiting", "conference.failed")
class CaptureLobbyWaiting(Payload):
    """The room has a lobby and the bot waits in it."""

    waiting_for_host: bool = False


@_event("capture.lobby_denied", "conference.failed")
class CaptureLobbyDenied(Payload):
    """A moderator refused the bot in the lobby."""


@_event("capture.kicked", "conference.kicked", Privacy.PERSONAL)
class CaptureKicked(Payload):
    """A moderator removed the bot."""

    actor_endpoint_id: str | None = None
    reason: str | None = None
    is_replaced: bool = False


@_event("capture.heartbeat", "recorder.heartbeat")
class CaptureHeartbeat(Payload):
    """The recorder lives; its books so far. messages = absorbed + sampled + refused + those that gave events."""

    in_conference: bool
    participants: int
    messages: int
    events: int
    absorbed: int
    sampled: int
    refused: int
    unknown: int


@_event("capture.gap", "recorder.gap")
class CaptureGap(Payload):
    """Between two moments the capture could not see, or saw only part. ``evidence`` says how the bounds are known."""

    cause: GapCause
    lost: Lost
    from_at: int
    to_at: int
    evidence: str | None = None
    missed: int | None = None


@_event("capture.error", "recorder.error")
class CaptureError(Payload):
    """Something in the recorder failed and it went on."""

    where: str
    message: str


@_event("capture.ended", "recorder.ended")
class CaptureEnded(Payload):
    """The last event of every capture."""

    reason: EndReason
    detail: str | None = None


# --- the conference ---------------------------------------------------------------------------------------------


@_event("conference.joined", "conference.joined")
class ConferenceJoined(Payload):
    """The bot is in the room. ``roster_size`` counts those already there."""

    room: str
    role: str | None = None
    roster_size: int = 0


@_event("conference.left", "conference.left")
class ConferenceLeft(Payload):
    """The bot is out of the room by its own presence."""


@_event("conference.failed", "conference.failed")
class ConferenceFailed(Payload):
    """The room refused, or threw us out. ``error`` is a lib-jitsi-meet JitsiConferenceErrors value."""

    error: str
    details: list[Any] = []


@_event("conference.error", "conference.error")
class ConferenceError(Payload):
    """An error stanza that does not end the conference."""

    error: str
    message: str | None = None


@_event("conference.subject_changed", "conference.subjectChanged", Privacy.CONTENT)
class ConferenceSubjectChanged(Payload):
    """The room's subject."""

    subject: str


@_event("conference.lock_changed", "conference.lock_state_changed")
class ConferenceLockChanged(Payload):
    """The room got a password or lost it."""

    locked: bool


@_event("lobby.enabled", "conference.membersOnlyChanged")
class LobbyEnabled(Payload):
    """Who wants in must wait for a moderator from now on."""


@_event("lobby.disabled", "conference.membersOnlyChanged")
class LobbyDisabled(Payload):
    """Everybody may come in."""


@_event("conference.properties_changed", "conference.propertiesChanged")
class ConferencePropertiesChanged(Payload):
    """What the conference focus says of the conference: all properties, and the names of those that changed."""

    properties: dict[str, str]
    changed: list[str]


@_event("conference.p2p_changed", "conference.p2pStatus")
class ConferenceP2pChanged(Payload):
    """The bot's own media path moved between peer to peer and bridge."""

    p2p: bool


# --- the meeting ------------------------------------------------------------------------------------------------


class MeetingBasis(StrEnum):
    """What a meeting's identity rests on, the strongest first."""

    SERVER_ID = "server_id"
    CREATED_TIMESTAMP = "created_timestamp"
    SCHEDULE = "schedule"
    CAPTURE = "capture"


@_event("meeting.identified", "conference.unique_id_set")
class MeetingIdentified(Payload):
    """Which meeting this capture belongs to; a later one with a stronger basis takes the place of an earlier one."""

    meeting_id: str
    basis: MeetingBasis
    server_meeting_id: str | None = None
    created_at: int | None = None
    previous_id: str | None = None


@_event("meeting.started", "conference.userJoined")
class MeetingStarted(Payload):
    """The first human is there. ``basis`` says whether the server told the start or we saw it."""

    started_at: int
    basis: str


@_event("meeting.ended", "conference.userLeft")
class MeetingEnded(Payload):
    """No human is left for the grace period, or the room was destroyed."""

    ended_at: int
    reason: str
    duration_ms: int | None = None


# --- participants -----------------------------------------------------------------------------------------------


class ParticipantKind(StrEnum):
    """Who sits there. Only humans and phones make a meeting."""

    HUMAN = "human"
    PHONE = "phone"
    RECORDER = "recorder"
    TRANSCRIBER = "transcriber"
    BOT = "bot"
    HIDDEN = "hidden"


@_event("participant.joined", "conference.userJoined", Privacy.PERSONAL)
class ParticipantJoined(Payload):
    """Somebody is in the room."""

    display_name: str | None = None
    kind: ParticipantKind = ParticipantKind.HUMAN
    role: str | None = None
    stats_id: str | None = None
    user_id: str | None = None
    is_replacing: bool = False


class LeftCause(StrEnum):
    """How somebody left."""

    LEFT = "left"
    KICKED = "kicked"
    REPLACED = "replaced"


@_event("participant.left", "conference.userLeft", Privacy.PERSONAL)
class ParticipantLeft(Payload):
    """Somebody is gone. ``duration_ms`` is null when we did not see the arrival."""

    cause: LeftCause = LeftCause.LEFT
    reason: str | None = None
    duration_ms: int | None = None


@_event("participant.kicked", "conference.participant_kicked", Privacy.PERSONAL)
class ParticipantKicked(Payload):
    """A moderator removed somebody; participant.left follows."""

    actor_endpoint_id: str | None = None
    reason: str | None = None


@_event("participant.renamed", "conference.displayNameChanged", Privacy.PERSONAL)
class ParticipantRenamed(Payload):
    """Somebody changed the display name."""

    old_name: str | None
    new_name: str | None


@_event("participant.role_changed", "conference.roleChanged")
class ParticipantRoleChanged(Payload):
    """Somebody's role: moderator, participant, visitor or none."""

    role: str
    old_role: str | None = None


@_event("participant.property_changed", "conference.participant_property_changed", Privacy.PERSONAL)
class ParticipantPropertyChanged(Payload):
    """A ``jitsi_participant_…`` value in somebody's presence that has no type of its own."""

    name: str
    value: Any = None
    old: Any = None


@_event("hand.raised", "conference.participant_property_changed")
class HandRaised(Payload):
    """Somebody raised a hand; ``raised_at`` is the sender's clock."""

    raised_at: int | None = None


@_event("hand.lowered", "conference.participant_property_changed")
class HandLowered(Payload):
    """Somebody lowered the hand, or somebody did it for them."""

    held_ms: int | None = None


# --- media ------------------------------------------------------------------------------------------------------


class Evidence(StrEnum):
    """Which presence element told a media state."""

    SOURCE_INFO = "source_info"
    LEGACY_PRESENCE = "legacy_presence"


class MediaCause(StrEnum):
    """Why a media state changed."""

    PRESENCE = "presence"
    LEFT = "left"


class _Media(Payload):
    source_name: str | None = None
    evidence: Evidence = Evidence.SOURCE_INFO


@_event("audio.muted", "presence.SourceInfo")
class AudioMuted(_Media):
    """No microphone of this participant is open any more."""


@_event("audio.unmuted", "presence.SourceInfo")
class AudioUnmuted(_Media):
    """A microphone of this participant is open."""


@_event("video.muted", "presence.SourceInfo")
class VideoMuted(_Media):
    """No camera of this participant is on any more."""


@_event("video.unmuted", "presence.SourceInfo")
class VideoUnmuted(_Media):
    """A camera of this participant is on."""


@_event("screen_share.started", "presence.SourceInfo")
class ScreenShareStarted(_Media):
    """This participant shows a screen."""


@_event("screen_share.stopped", "presence.SourceInfo")
class ScreenShareStopped(_Media):
    """This participant shows no screen any more."""

    cause: MediaCause = MediaCause.PRESENCE
    duration_ms: int | None = None


@_event("dominant_speaker.changed", "conference.dominantSpeaker")
class DominantSpeakerChanged(Payload):
    """The bridge names another dominant speaker, or says that the last one fell silent."""

    previous: list[str] = []
    silence: bool = False


@_event("media.sender_limit_changed", "conference.audio_unmute_permissions_changed")
class MediaSenderLimitChanged(Payload):
    """The conference reached the number of senders that it allows, or is below it again."""

    media: str
    limit_reached: bool


@_event("track.added", "conference.trackAdded")
class TrackAdded(Payload):
    """A remote track reached the bot. No evidence of mute: tracks come and go with the media path."""

    media_type: str | None = None
    video_type: str | None = None
    source_name: str | None = None
    muted: bool | None = None


@_event("track.removed", "conference.trackRemoved")
class TrackRemoved(Payload):
    """A remote track is gone from the bot."""

    media_type: str | None = None
    video_type: str | None = None
    source_name: str | None = None


# --- recording and transcription --------------------------------------------------------------------------------


class _Recording(Payload):
    session_id: str
    mode: str | None = None


@_event("recording.pending", "conference.recorderStateChanged")
class RecordingPending(_Recording):
    """A recording or a stream was asked for."""


@_event("recording.started", "conference.recorderStateChanged")
class RecordingStarted(_Recording):
    """Jitsi's own recorder records to a file."""

    initiator_endpoint_id: str | None = None


@_event("recording.stopped", "conference.recorderStateChanged")
class RecordingStopped(_Recording):
    """Jitsi's own recorder stopped."""

    terminator_endpoint_id: str | None = None
    duration_ms: int | None = None


@_event("recording.failed", "conference.recorderStateChanged")
class RecordingFailed(_Recording, kw_only=True):
    """Jitsi's own recorder could not."""

    error: str


@_event("stream.started", "conference.recorderStateChanged")
class StreamStarted(_Recording):
    """A live stream runs."""

    initiator_endpoint_id: str | None = None


@_event("stream.stopped", "conference.recorderStateChanged")
class StreamStopped(_Recording):
    """The live stream stopped."""

    terminator_endpoint_id: str | None = None
    duration_ms: int | None = None


class TranscriptionMode(StrEnum):
    """Who transcribes: jigasi as a hidden occupant, or the bridge's asynchronous backend."""

    JIGASI = "jigasi"
    ASYNC = "async"


@_event("transcription.started", "conference.transcriptionStatusChanged")
class TranscriptionStarted(Payload):
    """A transcriber listens."""

    mode: TranscriptionMode
    transcriber_endpoint_id: str | None = None


@_event("transcription.stopped", "conference.transcriptionStatusChanged")
class TranscriptionStopped(Payload):
    """No transcriber listens any more; ``abrupt`` when it vanished."""

    mode: TranscriptionMode
    abrupt: bool = False


@_event("transcript.chunk", "conference.endpoint_message_received", Privacy.CONTENT)
class TranscriptChunk(Payload):
    """What somebody said, as a transcriber wrote it. The event's endpoint is the speaker."""

    text: str
    message_id: str | None = None
    is_interim: bool = False
    language: str | None = None
    confidence: float | None = None
    stability: float | None = None
    speaker_name: str | None = None
    transport: str = "jigasi"


# --- chat and messages ------------------------------------------------------------------------------------------


@_event("chat.message", "conference.messageReceived", Privacy.CONTENT)
class ChatMessage(Payload):
    """A message to all. ``history`` when the server replayed it to us."""

    text: str
    message_id: str | None = None
    display_name: str | None = None
    history: bool = False
    is_visitor: bool = False
    reply_to: str | None = None


@_event("chat.private_message", "conference.privateMessageReceived", Privacy.CONTENT)
class ChatPrivateMessage(Payload):
    """A private message to the bot."""

    text: str
    message_id: str | None = None
    display_name: str | None = None


@_event("reaction.sent", "conference.endpoint_message_received")
class ReactionSent(Payload):
    """Somebody reacted; ``sent_at`` is the sender's clock."""

    reactions: list[str]
    sent_at: int | None = None


@_event("message.endpoint", "conference.endpoint_message_received", Privacy.CONTENT)
class MessageEndpoint(Payload):
    """A message between clients without a type of its own: its kind and the names of its fields, not its content."""

    kind: str | None
    keys: list[str]


# --- connection -------------------------------------------------------------------------------------------------


@_event("connection.established", "connection.connectionEstablished")
class ConnectionEstablished(Payload):
    """Signalling (XMPP) is up."""


@_event("connection.disconnected", "connection.connectionDisconnected")
class ConnectionDisconnected(Payload):
    """Signalling was closed on purpose."""

    message: str | None = None


@_event("connection.failed", "connection.connectionFailed")
class ConnectionFailed(Payload):
    """Signalling failed. ``error`` is a lib-jitsi-meet JitsiConnectionErrors value; credentials are not kept."""

    error: str
    message: str | None = None


@_event("media.connected", "conference.connectionEstablished")
class MediaConnected(Payload):
    """The bot's media path (ICE) is up."""


@_event("connection.interrupted", "conference.connectionInterrupted")
class ConnectionInterrupted(Payload):
    """The bot's media path (ICE) broke."""


@_event("connection.restored", "conference.connectionRestored")
class ConnectionRestored(Payload):
    """The bot's media path (ICE) is back."""

    down_ms: int | None = None


@_event("bridge_channel.opened", "conference.dataChannelOpened")
class BridgeChannelOpened(Payload):
    """The bridge channel is open: dominant speaker, statistics and reactions can be heard."""


@_event("bridge_channel.closed", "conference.dataChannelClosed")
class BridgeChannelClosed(Payload):
    """The bridge channel closed."""

    code: int | None = None
    reason: str | None = None


@_event("connection.stats_updated", "cq.remote_stats_updated", Privacy.NEUTRAL, Action.SAMPLE)
class ConnectionStatsUpdated(Payload):
    """Connection quality (0 to 100), packet loss in per cent, bitrates in kbit/s, round trip to the bridge in ms.

    Without an endpoint it is the bot's own.
    """

    connection_quality: float | None = None
    packet_loss: dict[str, float] = {}
    bitrate: dict[str, float] = {}
    jvb_rtt: float | None = None


# --- what the catalog doesn't know ------------------------------------------------------------------------------


@_event("unknown", "*", Privacy.CONTENT)
class Unknown(Payload):
    """An event without a type here, or one whose arguments made no sense: kept raw, without what looks secret."""

    arguments: list[Any] = []
    problem: str | None = None


def payload_from_json(event_type: str, payload: str | bytes) -> Payload:
    """The typed payload of a stored event.

    :raises KeyError: no such type in the catalog.
    :raises msgspec.ValidationError: it is not of the type's shape.
    """
    return msgspec.json.decode(payload, type=CATALOG[event_type].payload)


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a stored event as ``meeta-bot events --json`` prints it: one branch per type."""
    types = [entry.payload for entry in CATALOG.values()]
    references, definitions = msgspec.json.schema_components(types, ref_template="#/$defs/{name}")
    branches = [
        {
            "title": entry.name,
            "description": entry.description,
            "properties": {"type": {"const": entry.name}, "payload": reference},
            "x-origin": entry.origin,
            "x-privacy": entry.privacy.value,
            "x-action": entry.action.value,
        }
        for entry, reference in zip(CATALOG.values(), references, strict=True)
    ]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "meeta_bot event",
        "type": "object",
        "required": ["capture_id", "seq", "type", "origin", "room", "occurred_at", "monotonic_ms", "payload"],
        "properties": _ENVELOPE_SCHEMA,
        "oneOf": branches,
        "$defs": definitions,
    }


_ENVELOPE_SCHEMA: dict[str, Any] = {
    "capture_id": {"type": "string", "format": "uuid"},
    "seq": {"type": "integer", "minimum": 1, "description": "without holes within a capture"},
    "type": {"type": "string"},
    "origin": {"type": "string", "description": "the lib-jitsi-meet event or presence element it came from"},
    "room": {"type": "string", "description": "main, or the id of a breakout room"},
    "endpoint_id": {"type": ["string", "null"]},
    "occurred_at": {"type": "string", "format": "date-time"},
    "monotonic_ms": {"type": "integer", "description": "since the start of the capture"},
    "server_at": {"type": ["string", "null"], "format": "date-time"},
    "initial": {"type": "boolean", "description": "it was so when we came"},
    "inferred": {"type": "boolean", "description": "found by comparison after a gap"},
    "payload": {"type": ["object", "null"], "description": "null when it was erased or is in quarantine"},
    "digest": {"type": "string", "description": "hexadecimal; chains this event to the one before"},
}
