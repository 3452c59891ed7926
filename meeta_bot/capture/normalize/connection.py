"""The bot's own connection to the conference: signalling, admission, media path, bridge channel, statistics."""

from __future__ import annotations

from typing import Any

import msgspec

from meeta_bot import events
from meeta_bot.capture.normalize import gaps, rejoin
from meeta_bot.capture.normalize.arguments import Number, Whole, argument, endpoint_of, event, optional_text, text
from meeta_bot.capture.normalize.meeting import end_meeting, identified_by
from meeta_bot.capture.normalize.state import (
    STATISTICS_TOLERANCE,
    Message,
    State,
    elapsed_ms,
    has_settled,
    noted_failure,
    updated,
    with_participant,
)
from meeta_bot.capture.normalize.transcription import ASYNC_PROPERTY, async_property
from meeta_bot.events import Event, GapCause, MeetingBasis
from meeta_bot.limits import LARGEST_NUMBER

MEMBERS_ONLY = "conference.connectionError.membersOnly"
ACCESS_DENIED = "conference.connectionError.accessDenied"
DESTROYED = "conference.destroyed"


class _Self(msgspec.Struct):
    endpoint_id: str
    role: str | None = None
    roster_size: Whole = 0


class _Statistics(msgspec.Struct, rename="camel"):
    connection_quality: Number | None = None
    packet_loss: dict[str, Any] | None = None
    bitrate: dict[str, Any] | None = None
    jvb_rtt: Number | None = msgspec.field(default=None, name="jvbRTT")


def joined(state: State, message: Message) -> tuple[State, list[Event]]:
    """Note the bot's arrival: CONFERENCE_JOINED(), to which the hook adds who we are."""
    own = msgspec.convert(argument(message, 0), _Self)
    # The library counts the bot's own ghosts, too.
    roster_size = len(state.participants) if state.former_ids else own.roster_size
    payload = events.ConferenceJoined(room=state.room, role=own.role, roster_size=roster_size)
    is_first = state.joined_ms is None
    meeting = state.meeting
    if not state.people_in_meeting and meeting.empty_since_ms is None:
        meeting = updated(meeting, empty_since_at=message.wall_ms, empty_since_ms=message.monotonic_ms)
    state = updated(
        state,
        elsewhere={
            endpoint_id: updated(one, waits_ms=message.monotonic_ms) for endpoint_id, one in state.elsewhere.items()
        },
        own_endpoint_id=own.endpoint_id,
        own_role=own.role,
        in_conference=True,
        failure=None,
        joined_ms=message.monotonic_ms,
        leaving=False,
        meeting=meeting,
        former_ids=[former for former in state.former_ids if former != own.endpoint_id],
        bridge_blind=state.bridge_blind if state.people else None,  # nobody is there who could be heard
    )
    found = [event(message, payload, own.endpoint_id)]
    # Until the server tells more, the meeting is what this capture sees.
    basis, key = MeetingBasis.CAPTURE, state.capture_id
    if state.schedule_key is not None:
        basis, key = MeetingBasis.SCHEDULE, state.schedule_key
    state, identified = identified_by(state, message, basis, key)
    return state, [*found, *identified, *(gaps.late_join(state, message) if is_first else [])]


def left(state: State, message: Message) -> tuple[State, list[Event]]:
    """Note the bot's departure: CONFERENCE_LEFT(). When the bot did not want to, the room is lost."""
    found = [event(message, events.ConferenceLeft(), state.own_endpoint_id)]
    if state.in_conference and not state.leaving:
        state = gaps.room_lost(state, message, GapCause.PUT_OUT, "the server put the bot out, as it does when it ends")
        return rejoin.away(state), found
    return updated(state, in_conference=False, leaving=state.leaving or state.comparison is None), found


def failed(state: State, message: Message) -> tuple[State, list[Event]]:
    """Note a failure: CONFERENCE_FAILED(error, …). The bot is refused, in the lobby, or thrown out."""
    error = text(message, 0)
    if error == MEMBERS_ONLY:
        waiting = events.CaptureLobbyWaiting(waiting_for_host=argument(message, 2) is True)
        if not state.in_conference:
            state = gaps.room_lost(state, message, GapCause.NOT_ADMITTED, "from the refusal of the room")
        return state, [event(message, waiting)]
    if error == ACCESS_DENIED:
        return state, [event(message, events.CaptureLobbyDenied())]
    details = [detail for detail in message.args[1:] if isinstance(detail, str)]
    state, is_news = noted_failure(state, " ".join([error, *details]))
    if not is_news:
        return state, []
    found = [event(message, events.ConferenceFailed(error=error, details=message.args[1:]))]
    if error == DESTROYED:
        state, ended = end_meeting(state, message, "destroyed")
        state = updated(state, leaving=True, in_conference=False)
        found += ended
    return state, found


def entering(state: State, message: Message) -> tuple[State, list[Event]]:
    """Note that the room was asked to let the bot in: ``hook.entering()``."""
    return updated(state, failure=None), [event(message, events.CaptureEntering())]


def redirected(state: State, message: Message) -> tuple[State, list[Event]]:
    """Note a redirect: CONNECTION_REDIRECTED(vnode, focusJid)."""
    return state, [event(message, events.ConnectionRedirected(node=optional_text(argument(message, 0))))]


def conference_error(state: State, message: Message) -> tuple[State, list[Event]]:
    """Note an error: CONFERENCE_ERROR(error, message)."""
    payload = events.ConferenceError(error=text(message, 0), message=optional_text(argument(message, 1)))
    return state, [event(message, payload)]


def kicked(state: State, message: Message) -> tuple[State, list[Event]]:
    """Note the bot's removal: KICKED(actor, reason, isReplaced). Everybody's USER_LEFT follows and means nothing."""
    payload = events.CaptureKicked(
        actor_endpoint_id=endpoint_of(argument(message, 0)),
        reason=optional_text(argument(message, 1)),
        is_replaced=argument(message, 2) is True,
    )
    after = updated(state, leaving=True, in_conference=False)
    return after, [event(message, payload, state.own_endpoint_id)]


def join_in_progress(state: State, message: Message) -> tuple[State, list[Event]]:
    """Note that the bot is coming in: CONFERENCE_JOIN_IN_PROGRESS()."""
    return state, [event(message, events.CaptureJoinInProgress())]


def properties_changed(state: State, message: Message) -> tuple[State, list[Event]]:
    """Note properties: PROPERTIES_CHANGED({name: value}), from the presence of the conference focus."""
    given = argument(message, 0)
    fields = given if isinstance(given, dict) else {}
    properties = {name: value if isinstance(value, str) else str(value) for name, value in fields.items()}
    names = properties.keys() | state.properties.keys()
    changed = sorted(name for name in names if properties.get(name) != state.properties.get(name))
    if not changed:
        return state, []
    payload = events.ConferencePropertiesChanged(properties=properties, changed=changed)
    found = [event(message, payload, initial=not state.properties)]
    state, transcription = async_property(state, message, properties.get(ASYNC_PROPERTY))
    return updated(state, properties=properties), found + transcription


def p2p_changed(state: State, message: Message) -> tuple[State, list[Event]]:
    """Note the media's way: P2P_STATUS(JitsiConference, p2p)."""
    return state, [event(message, events.ConferenceP2pChanged(p2p=argument(message, 1) is True))]


def lobby_changed(state: State, message: Message) -> tuple[State, list[Event]]:
    """Note the lobby's opening or closing: MEMBERS_ONLY_CHANGED(enabled), from the room's configuration."""
    enabled = argument(message, 0) is True
    if enabled == state.lobby:
        return state, []
    payload = events.LobbyEnabled() if enabled else events.LobbyDisabled()
    return updated(state, lobby=enabled), [event(message, payload, initial=not has_settled(state, message))]


def sender_limit_changed(state: State, message: Message) -> tuple[State, list[Event]]:
    """Note a limit of senders: AUDIO_UNMUTE_PERMISSIONS_CHANGED(reached) and VIDEO_…, from the focus's properties."""
    media = "audio" if message.origin.startswith("conference.audio") else "video"
    reached = argument(message, 0) is True
    if reached == (media in state.limits_reached):
        return state, []
    rest = [other for other in state.limits_reached if other != media]
    after = updated(state, limits_reached=[*rest, media] if reached else rest)
    payload = events.MediaSenderLimitChanged(media=media, limit_reached=reached)
    return after, [event(message, payload, initial=not state.in_conference)]


def signalling_established(state: State, message: Message) -> tuple[State, list[Event]]:
    """Note a login: CONNECTION_ESTABLISHED(…) of the connection."""
    return state, [event(message, events.ConnectionEstablished())]


def signalling_closed(state: State, message: Message) -> tuple[State, list[Event]]:
    """Note a closed connection: CONNECTION_DISCONNECTED(message)."""
    return state, [event(message, events.ConnectionDisconnected(message=optional_text(argument(message, 0))))]


def signalling_failed(state: State, message: Message) -> tuple[State, list[Event]]:
    """Note a failed connection: CONNECTION_FAILED(error, message, …). The hook keeps the login data in the page."""
    error, said = text(message, 0), optional_text(argument(message, 1))
    state, is_news = noted_failure(state, f"{error} {said}")
    return state, [event(message, events.ConnectionFailed(error=error, message=said))] if is_news else []


def token_expired(state: State, message: Message) -> tuple[State, list[Event]]:
    """Note an expired token: CONNECTION_TOKEN_EXPIRED(), when the session could be resumed but for the token."""
    return state, [event(message, events.ConnectionTokenExpired())]


def media_connected(state: State, message: Message) -> tuple[State, list[Event]]:
    """Note the media path: CONNECTION_ESTABLISHED() of the conference, which is about ICE."""
    return state, [event(message, events.MediaConnected())]


def interrupted(state: State, message: Message) -> tuple[State, list[Event]]:
    """Note an interruption: CONNECTION_INTERRUPTED(), repeated after a change of the media path."""
    if state.interrupted_ms is not None:
        return state, []
    after = updated(state, interrupted_ms=message.monotonic_ms)
    return after, [event(message, events.ConnectionInterrupted())]


def restored(state: State, message: Message) -> tuple[State, list[Event]]:
    """Note its end: CONNECTION_RESTORED(), no news without an interruption; or ``hook.media_path()``."""
    if state.interrupted_ms is None:
        return state, []
    down_ms = elapsed_ms(message, state.interrupted_ms)
    return updated(state, interrupted_ms=None), [event(message, events.ConnectionRestored(down_ms=down_ms))]


def remote_statistics(state: State, message: Message) -> tuple[State, list[Event]] | None:
    """Note somebody's statistics: REMOTE_STATS_UPDATED(id, statistics). None: sampled away."""
    endpoint_id = text(message, 0)
    given = msgspec.convert(argument(message, 1), _Statistics)
    participant = state.participants.get(endpoint_id)
    if participant is None:
        return state, []
    slot_ms = _slot(state, message, participant.statistics_ms) if state.telemetry else None
    if slot_ms is None:
        return None
    after = with_participant(state, updated(participant, statistics_ms=slot_ms))
    return after, [event(message, _statistics(given), endpoint_id)]


def own_statistics(state: State, message: Message) -> tuple[State, list[Event]] | None:
    """Note the bot's statistics: LOCAL_STATS_UPDATED(statistics). None: sampled away."""
    given = msgspec.convert(argument(message, 0), _Statistics)
    slot_ms = _slot(state, message, state.own_statistics_ms) if state.telemetry else None
    if slot_ms is None:
        return None
    return updated(state, own_statistics_ms=slot_ms), [event(message, _statistics(given))]


def _slot(state: State, message: Message, last_ms: int | None) -> int | None:
    """Return when the slot began in which statistics come, None when that of the last ones is not over.

    Slots follow each other without a break, so that what comes late costs the next one nothing; they begin anew with
    what comes early, so that a clock that is ahead loses nothing.
    """
    interval_ms = state.statistics_interval_ms
    if last_ms is None or interval_ms <= 0:
        return message.monotonic_ms
    slots = int(message.monotonic_ms - last_ms + interval_ms * STATISTICS_TOLERANCE) // interval_ms
    return min(last_ms + slots * interval_ms, message.monotonic_ms) if slots > 0 else None


def _statistics(given: _Statistics) -> events.ConnectionStatsUpdated:
    return events.ConnectionStatsUpdated(
        connection_quality=given.connection_quality,
        packet_loss=_numbers(given.packet_loss),
        bitrate=_numbers(given.bitrate),
        jvb_rtt=given.jvb_rtt,
    )


def _numbers(values: dict[str, Any] | None) -> dict[str, float]:
    """Return the numbers among `values`, which come from JSON: exact types are enough, and leave booleans out."""
    if not values:
        return {}
    return {
        name: value
        for name, value in values.items()
        if (type(value) is int or type(value) is float) and -LARGEST_NUMBER <= value <= LARGEST_NUMBER
    }


RULES = {
    "conference.joined": joined,
    "conference.left": left,
    "conference.failed": failed,
    "conference.error": conference_error,
    "hook.entering": entering,
    "connection.redirected": redirected,
    "conference.kicked": kicked,
    "conference.join_in_progress": join_in_progress,
    "conference.propertiesChanged": properties_changed,
    "conference.p2pStatus": p2p_changed,
    "conference.membersOnlyChanged": lobby_changed,
    "conference.audio_unmute_permissions_changed": sender_limit_changed,
    "conference.video_unmute_permissions_changed": sender_limit_changed,
    "connection.connectionEstablished": signalling_established,
    "connection.connectionDisconnected": signalling_closed,
    "connection.connectionFailed": signalling_failed,
    "connection.token_expired": token_expired,
    "conference.connectionEstablished": media_connected,
    "conference.connectionInterrupted": interrupted,
    "conference.connectionRestored": restored,
    "hook.media_path": restored,
    "cq.remote_stats_updated": remote_statistics,
    "cq.local_stats_updated": own_statistics,
}
