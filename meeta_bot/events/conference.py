"""The conference, the meeting, and the bot's own connection to it."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from msgspec import Struct

from meeta_bot.events.catalog import Payload, Privacy, event_type


@event_type("conference.joined", "conference.joined")
class ConferenceJoined(Payload):
    """The bot is in the room. ``roster_size`` counts those already there."""

    room: str
    role: str | None = None
    roster_size: int = 0


@event_type("conference.left", "conference.left")
class ConferenceLeft(Payload):
    """The bot is out of the room by its own presence."""


@event_type("conference.failed", "conference.failed")
class ConferenceFailed(Payload):
    """The room refused, or threw us out. ``error`` is a lib-jitsi-meet JitsiConferenceErrors value."""

    error: str
    details: list[Any] = []


@event_type("conference.error", "conference.error")
class ConferenceError(Payload):
    """An error stanza that does not end the conference."""

    error: str
    message: str | None = None


@event_type("conference.subject_changed", "conference.subjectChanged", Privacy.CONTENT)
class ConferenceSubjectChanged(Payload):
    """The room's subject."""

    subject: str


@event_type("conference.lock_changed", "conference.lock_state_changed")
class ConferenceLockChanged(Payload):
    """The room got a password or lost it."""

    locked: bool


@event_type("lobby.enabled", "conference.membersOnlyChanged")
class LobbyEnabled(Payload):
    """A lobby was set up: newcomers must wait for a moderator from now on."""


@event_type("lobby.disabled", "conference.membersOnlyChanged")
class LobbyDisabled(Payload):
    """The lobby is gone: everybody may come in."""


@event_type("conference.properties_changed", "conference.propertiesChanged")
class ConferencePropertiesChanged(Payload):
    """The conference focus told properties of the conference: all of them, and the names of those that changed."""

    properties: dict[str, str]
    changed: list[str]


@event_type("conference.p2p_changed", "conference.p2pStatus")
class ConferenceP2pChanged(Payload):
    """The bot's own media path moved between peer to peer and bridge."""

    p2p: bool


class BreakoutRoom(Struct, frozen=True):
    """A breakout room: its id, and its name for people."""

    breakout_id: str
    name: str | None = None


@event_type("breakout.changed", "conference.breakout-rooms.updated", Privacy.CONTENT)
class BreakoutChanged(Payload):
    """Breakout rooms were opened, named or closed: all that there are now."""

    rooms: list[BreakoutRoom]


@event_type("breakout.move_requested", "conference.breakout-rooms.move-to-room")
class BreakoutMoveRequested(Payload):
    """A moderator sends the bot to a breakout room. It stays in the main room."""

    breakout_id: str


class MeetingBasis(StrEnum):
    """The facts that a meeting's identity can rest on, the strongest first."""

    SERVER_ID = "server_id"
    CREATED_TIMESTAMP = "created_timestamp"
    SCHEDULE = "schedule"
    CAPTURE = "capture"


@event_type("meeting.identified", "conference.unique_id_set")
class MeetingIdentified(Payload):
    """The meeting of this capture is known, or more of it; a later one takes the place of an earlier one.

    ``created_at`` is the server's word, which comes by itself: in the first event that is made after it.
    """

    meeting_id: str
    basis: MeetingBasis
    server_meeting_id: str | None = None
    created_at: int | None = None
    previous_id: str | None = None


@event_type("meeting.started", "conference.userJoined")
class MeetingStarted(Payload):
    """The first human is there. ``basis`` says whether the server told the start or we saw it."""

    started_at: int
    basis: str


@event_type("meeting.ended", "conference.userLeft")
class MeetingEnded(Payload):
    """No human is left for the grace period, or the room was destroyed."""

    ended_at: int
    reason: str
    duration_ms: int | None = None


@event_type("connection.established", "connection.connectionEstablished")
class ConnectionEstablished(Payload):
    """Signalling (XMPP) is up."""


@event_type("connection.disconnected", "connection.connectionDisconnected")
class ConnectionDisconnected(Payload):
    """Signalling was closed on purpose."""

    message: str | None = None


@event_type("connection.failed", "connection.connectionFailed")
class ConnectionFailed(Payload):
    """Signalling failed. ``error`` is a lib-jitsi-meet JitsiConnectionErrors value; credentials are not kept."""

    error: str
    message: str | None = None


@event_type("connection.token_expired", "connection.token_expired")
class ConnectionTokenExpired(Payload):
    """Signalling could come back, but the token that the bot logged in with has run out."""


@event_type("connection.redirected", "connection.redirected")
class ConnectionRedirected(Payload):
    """The server sends the bot to a node for visitors, whose name ``node`` is; the bot does not go."""

    node: str | None = None


@event_type("signalling.lost", "hook.signalling_lost")
class SignallingLost(Payload):
    """Nothing arrives from the server any more; ``since_at`` is the last moment of which we know that it did.

    ``evidence``: ``closed`` (the connection broke), ``silent`` (it stands and nothing comes).
    """

    since_at: int
    evidence: str


@event_type("signalling.restored", "hook.signalling_back")
class SignallingRestored(Payload):
    """The same session goes on (XEP-0198), or the server answers again: what was sent meanwhile comes late."""

    down_ms: int | None = None


@event_type("media.connected", "conference.connectionEstablished")
class MediaConnected(Payload):
    """The bot's media path (ICE) is up."""


@event_type("connection.interrupted", "conference.connectionInterrupted")
class ConnectionInterrupted(Payload):
    """The bot's media path (ICE) broke."""


@event_type("connection.restored", "conference.connectionRestored")
class ConnectionRestored(Payload):
    """The bot's media path (ICE) is back, or that of a newer session stands (origin ``hook.media_path``)."""

    down_ms: int | None = None


@event_type("bridge_channel.opened", "hook.bridge_heard")
class BridgeChannelOpened(Payload):
    """The bridge said its first word on a channel: dominant speaker, statistics and reactions can be heard."""


@event_type("bridge_channel.closed", "conference.dataChannelClosed")
class BridgeChannelClosed(Payload):
    """The bridge channel closed."""

    code: int | None = None
    reason: str | None = None


@event_type("bridge.lost", "hook.bridge_lost")
class BridgeLost(Payload):
    """People are there and the bridge is not heard; ``since_at`` is its last word, or since when it should be heard.

    ``evidence``: ``closed`` (its channel closed), ``silent`` (open, and a question was not answered), ``mute`` (open,
    and nothing was ever heard), ``unopened`` (invited, and no channel opened), ``uninvited`` (no invitation came).
    """

    since_at: int
    evidence: str


@event_type("bridge.restored", "hook.bridge_heard")
class BridgeRestored(Payload):
    """The bridge is heard again, or for the first time."""

    down_ms: int | None = None


@event_type("focus.returned", "hook.focus_back")
class FocusReturned(Payload):
    """The conference focus is in the room again; the bot asked for it ``asked`` times."""

    away_ms: int
    asked: int = 0


@event_type("focus.refused", "hook.focus_refused")
class FocusRefused(Payload):
    """The focus refused a conference request. ``answer``: the stanza error's condition, or ``no answer``."""

    answer: str


@event_type("media.session_requested", "hook.media_restart")
class MediaSessionRequested(Payload):
    """The bridge was not heard, and the bot asked the focus for a new media session; ``attempt`` counts from 1."""

    attempt: int = 1


@event_type("media.session_missing", "hook.media_missing")
class MediaSessionMissing(Payload):
    """Asking brought no media session in which the bridge is heard."""

    evidence: str | None = None


@event_type("media.received", "hook.media_received")
class MediaReceived(Payload):
    """The bot received media, which it does not want: bytes in so many seconds, beside the bridge channel's.

    Audio and video are those parts of which the browser knows what they are (RTCInboundRtpStreamStats).
    """

    seconds: int
    bytes: int
    audio_bytes: int = 0
    video_bytes: int = 0


@event_type("connection.stats_updated", "cq.remote_stats_updated")
class ConnectionStatsUpdated(Payload):
    """Connection quality (0 to 100), packet loss in per cent, bitrates in kbit/s, round trip to the bridge in ms.

    Without an endpoint it is the bot's own.
    """

    connection_quality: float | None = None
    packet_loss: dict[str, float] = {}
    bitrate: dict[str, float] = {}
    jvb_rtt: float | None = None
