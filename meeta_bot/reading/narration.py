"""The narration of events for a person: one short sentence each, names instead of ids."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from meeta_bot.reading.lanes import Gap
from meeta_bot.text import duration, safe_name

Payload = dict[str, Any]
Who = Callable[[str | None], str]  # endpoint id → name

_SHORT_MS = 10_000  # gaps below it are written with a tenth of a second
_LONGEST_TEXT = 200  # characters of a message or a transcript; the whole is in `meeta-bot events`

# Events that a person reading a meeting does not ask for; `--all` shows them.
DETAILS = frozenset(
    {
        "capture.hook_installed",
        "capture.heartbeat",
        "capture.entering",
        "capture.join_in_progress",
        "conference.properties_changed",
        "conference.p2p_changed",
        "connection.established",
        "connection.disconnected",
        "connection.stats_updated",
        "bridge_channel.opened",
        "focus.refused",
        "media.connected",
        "media.session_requested",
        "media.sender_limit_changed",
        "meeting.identified",
        "message.endpoint",
        "participant.property_changed",
        "recording.pending",
        "track.added",
        "track.removed",
        "unknown",
    }
)


_SIGNS = {"closed": "the connection broke", "silent": "nothing arrives from the server any more"}

_NO_BRIDGE = {
    "closed": "its channel closed",
    "silent": "it does not answer",
    "mute": "its channel is open and nothing comes",
    "unopened": "no channel to it opens",
    "uninvited": "the bot was not invited to it",
}

_SENTENCES: dict[str, Callable[[Payload, str, Who], str]] = {
    "capture.started": lambda p, _who, _name: f"the bot starts for {p.get('room_url', '')}",
    "capture.lobby_waiting": lambda _p, _who, _name: "the bot waits in the lobby",
    "capture.lobby_denied": lambda _p, _who, _name: "the bot was refused in the lobby",
    "capture.kicked": lambda p, _who, name: f"the bot was removed by {name(p.get('actor_endpoint_id'))}",
    "capture.error": lambda p, _who, _name: f"the bot had a problem in {p.get('where')}: {p.get('message')}",
    "capture.gap": lambda p, _who, _name: f"COULD NOT SEE for an unknown time: {cause_words(p.get('cause'))}",
    "capture.reconnecting": lambda p, _who, _name: (
        f"the bot lost the room and tries to get back: {cause_words(p.get('cause'))}{_detail(p.get('detail'))}"
    ),
    "capture.clock_jumped": lambda p, _who, _name: _jump(p.get("jump_ms")),
    "capture.ended": lambda p, _who, _name: f"the bot ends: {_words(p.get('reason'))}{_detail(p.get('detail'))}",
    "conference.joined": lambda p, _who, _name: f"the bot is in the room, {p.get('roster_size')} there before",
    "conference.left": lambda _p, _who, _name: "the bot left the room",
    "conference.failed": lambda p, _who, _name: _failure(p),
    "conference.error": lambda p, _who, _name: (
        f"the server reported an error: {p.get('error')}{_detail(p.get('message'))}"
    ),
    "conference.subject_changed": lambda p, _who, _name: f"subject: {_quoted(p.get('subject'))}",
    "conference.lock_changed": lambda p, _who, _name: "room locked" if p.get("locked") else "room unlocked",
    "lobby.enabled": lambda _p, _who, _name: "lobby switched on",
    "lobby.disabled": lambda _p, _who, _name: "lobby switched off",
    "signalling.lost": lambda p, _who, _name: f"signalling lost: {_SIGNS.get(str(p.get('evidence')), 'no sign of it')}",
    "signalling.restored": lambda p, _who, _name: (
        f"signalling is back{_after(p.get('down_ms'))}: what was sent meanwhile comes late"
    ),
    "connection.failed": lambda p, _who, _name: f"signalling failed: {p.get('error')}",
    "connection.redirected": lambda p, _who, _name: (
        f"the server sends the bot to its node for visitors: {p.get('node')}"
    ),
    "connection.token_expired": lambda _p, _who, _name: "the token that the bot logged in with has expired",
    "connection.interrupted": lambda _p, _who, _name: "the bot's media path broke",
    "connection.restored": lambda p, _who, _name: f"the bot's media path is back after {duration(p.get('down_ms'))}",
    "bridge.lost": lambda p, _who, _name: f"the bridge can't be heard: {_NO_BRIDGE.get(str(p.get('evidence')), '?')}",
    "bridge.restored": lambda p, _who, _name: f"the bridge is heard again{_after(p.get('down_ms'))}",
    "focus.returned": lambda p, _who, _name: f"the conference focus is back{_after(p.get('away_ms'))}",
    "media.session_missing": lambda p, _who, _name: f"asking brought no bridge{_detail(p.get('evidence'))}",
    "media.received": lambda p, _who, _name: (
        f"the bot received media that it did not want: {p.get('bytes')} bytes in {p.get('seconds')} s"
    ),
    "bridge_channel.closed": lambda _p, _who, _name: "bridge channel closed: speakers can't be heard",
    "meeting.started": lambda _p, _who, _name: "meeting started",
    "meeting.ended": lambda p, _who, _name: f"meeting ended after {duration(p.get('duration_ms'))}",
    "participant.joined": lambda p, who, _name: f"{who} joined{_kind(p)}",
    "participant.left": lambda p, who, _name: f"{who} {_left(p)}",
    "participant.moved_to_breakout": lambda p, who, name: (
        f"{who} went to the breakout room {name(p.get('breakout_id'))}"
    ),
    "participant.returned": lambda p, who, _name: f"{who} came back to the main room{_after(p.get('away_ms'))}",
    "breakout.changed": lambda p, _who, _name: _breakouts(p.get("rooms")),
    "breakout.move_requested": lambda p, _who, name: (
        f"the bot was sent to the breakout room {name(p.get('breakout_id'))}; it stays in the main room"
    ),
    "participant.kicked": lambda p, who, name: f"{name(p.get('actor_endpoint_id'))} removed {who}{_reason(p)}",
    "participant.renamed": lambda p, _who, _name: f"{_name(p.get('old_name'))} is now {_name(p.get('new_name'))}",
    "participant.role_changed": lambda p, who, _name: f"{who} is {p.get('role')}",
    "hand.raised": lambda _p, who, _name: f"{who} raised a hand",
    "hand.lowered": lambda p, who, _name: f"{who} lowered the hand{_after(p.get('held_ms'))}",
    "audio.muted": lambda _p, who, _name: f"{who} muted",
    "audio.unmuted": lambda _p, who, _name: f"{who} unmuted",
    "video.muted": lambda _p, who, _name: f"{who} turned the camera off",
    "video.unmuted": lambda _p, who, _name: f"{who} turned the camera on",
    "screen_share.started": lambda _p, who, _name: f"{who} shares a screen",
    "screen_share.stopped": lambda p, who, _name: f"{who} stopped sharing{_after(p.get('duration_ms'))}",
    "dominant_speaker.changed": lambda p, who, _name: f"{who} fell silent" if p.get("silence") else f"{who} speaks",
    "recording.started": lambda p, _who, name: f"recording started{_by(p.get('initiator_endpoint_id'), name)}",
    "recording.stopped": lambda p, _who, name: f"recording stopped{_by(p.get('terminator_endpoint_id'), name)}",
    "recording.failed": lambda p, _who, _name: f"recording failed: {p.get('error')}",
    "stream.started": lambda p, _who, name: f"live stream started{_by(p.get('initiator_endpoint_id'), name)}",
    "stream.stopped": lambda p, _who, name: f"live stream stopped{_by(p.get('terminator_endpoint_id'), name)}",
    "transcription.started": lambda _p, _who, _name: "transcription started",
    "transcription.stopped": lambda _p, _who, _name: "transcription stopped",
    "transcript.chunk": lambda p, who, _name: f"{_speaker(p, who)} said {_quoted(p.get('text'))}",
    "chat.message": lambda p, who, _name: f"{_writer(p, who)}: {_quoted(p.get('text'))}",
    "chat.message_retracted": lambda _p, who, _name: f"{who} took a message back",
    "chat.private_message": lambda p, who, _name: f"{_writer(p, who)} to the bot: {_quoted(p.get('text'))}",
    "reaction.sent": lambda p, who, _name: f"{who} reacted: {', '.join(map(safe_name, p.get('reactions') or []))}",
}


# What happened to the bot, by lib-jitsi-meet's JitsiConferenceErrors of 2021 and since.
_FAILURES = {
    "conference.authenticationRequired": "the room is open to those only who log in",
    "conference.chatError": "a chat message could not be sent",
    "conference.connectionError": "the conference could not be reached",
    "conference.connectionError.accessDenied": "a moderator refused the bot",
    "conference.connectionError.membersOnly": "the room is open to members only; others wait in its lobby",
    "conference.connectionError.notAllowed": "the bot may not enter this room",
    "conference.destroyed": "the conference was ended for all",
    "conference.display_name_required": "the room asks for a name",
    "conference.focusDisconnected": "the conference focus does not answer",
    "conference.focusLeft": "the conference focus left the room",
    "conference.gracefulShutdown": "the server is about to shut down and takes no new conferences",
    "conference.iceFailed": "the bot's media path to the bridge failed",
    "conference.incompatible_server_versions": "parts of the server don't fit each other",
    "conference.max_users": "the room is full",
    "conference.offerAnswerFailed": "the bot and the bridge found no common media",
    "conference.passwordNotSupported": "the server takes no passwords of rooms",
    "conference.passwordRequired": "the room asks for a password",
    "conference.redirected": "the conference goes on at another place",
    "conference.reservationError": "the reservation system refused the conference",
    "conference.settingsError": "the server refused a setting",
    "conference.setup_failed": "the bot's media session could not be set up",
    "conference.videobridgeNotAvailable": "the server has no bridge to give",
}
_CAUSES = {
    "not_admitted": "the bot had not been let in",
    "late_join": "the bot came later than others",
    "signalling_lost": "signalling was lost",
    "signalling_resumed": "signalling was interrupted",
    "put_out": "the server put the bot out of the room",
    "page_crashed": "its page crashed",
    "page_hung": "its page hung",
    "browser_crashed": "its browser crashed",
    "process_killed": "its process was killed",
    "host_suspended": "the machine or the process was suspended",
    "bridge_channel_closed": "the bridge channel was closed",
    "bridge_unheard": "the bridge was not heard",
    "page_buffer_overflow": "more came than its page could hold",
    "spool_full": "the disk was full",
    "spool_damaged": "the disk or the spool on it was damaged",
}
_LOST = {
    "everything": ("COULD NOT SEE", "what happened then is unknown"),
    "bridge_only": ("COULD NOT HEAR", "who spoke then is unknown"),
    "nothing": ("WAS DELAYED", "nothing was lost"),
}


def cause_words(cause: Any) -> str:
    """Write the cause of a gap for a person."""
    return _CAUSES.get(str(cause)) or _words(cause)


def gap_sentence(gap: Gap, moment: Callable[[int], str]) -> str:
    """Write a gap for a person; `moment` writes milliseconds since the capture's start."""
    did, means = _LOST.get(str(gap.lost), _LOST["everything"])
    missed = f", {gap.missed} messages were lost" if gap.missed else ""
    evidence = f" ({safe_name(gap.evidence, _LONGEST_TEXT)})" if gap.evidence else ""
    bounds = f"since {moment(gap.start_ms)}" if gap.is_open else f"{moment(gap.start_ms)} to {moment(gap.end_ms)}"
    length_ms = gap.end_ms - gap.start_ms
    length = duration(length_ms) if length_ms >= _SHORT_MS else f"{length_ms / 1000:.1f} s"
    return f"{did} for {length}, {bounds}: {cause_words(gap.cause)}; {means}{missed}{evidence}"


def sentence(event_type: str, payload: Payload | None, endpoint_id: str | None, name: Who) -> str:
    """Write an event for a person. `name` gives a participant's name."""
    if payload is None:
        return f"{safe_name(event_type)} (erased or in quarantine)"
    write = _SENTENCES.get(event_type)
    if write is None:
        subject = f"{name(endpoint_id)}: " if endpoint_id else ""
        return f"{subject}{safe_name(event_type)} {_fields(payload)}".rstrip()
    return safe_name(write(payload, name(endpoint_id), name), 2 * _LONGEST_TEXT)


def _name(value: Any) -> str:
    return safe_name(value if isinstance(value, str) else None) or "somebody without a name"


def _quoted(value: Any) -> str:
    return f"“{safe_name(str(value or ''), _LONGEST_TEXT)}”"


def _words(value: Any) -> str:
    return str(value or "unknown").replace("_", " ")


def _detail(value: Any) -> str:
    return f" ({safe_name(str(value), _LONGEST_TEXT)})" if value else ""


def _kind(payload: Payload) -> str:
    kind = payload.get("kind")
    return "" if kind in (None, "human") else f" ({kind})"


def _failure(payload: Payload) -> str:
    error = str(payload.get("error"))
    if error not in _FAILURES:
        return f"the conference failed: {safe_name(error, _LONGEST_TEXT)}"
    texts = [item for item in payload.get("details") or [] if isinstance(item, str) and item]
    return _FAILURES[error] + _detail(", ".join(texts))


def _breakouts(rooms: Any) -> str:
    names = [_quoted(room.get("name") or room.get("breakout_id")) for room in rooms or [] if isinstance(room, dict)]
    return f"breakout rooms: {', '.join(names)}" if names else "the breakout rooms were closed"


def _left(payload: Payload) -> str:
    if payload.get("cause") == "lost":
        silent_ms = payload.get("silent_ms")
        heard = f", last heard of {duration(silent_ms)} before" if isinstance(silent_ms, int | float) else ""
        return f"lost the connection{_after(payload.get('duration_ms'))}{heard}"
    if payload.get("cause") == "unseen":
        known = payload.get("duration_ms")
        return "was gone" + (f" after {duration(known)} or more" if isinstance(known, int | float) else "")
    words = {"kicked": "was removed", "replaced": "was replaced by another device"}
    return words.get(payload.get("cause", ""), "left") + _after(payload.get("duration_ms"))


def _after(milliseconds: Any) -> str:
    return f" after {duration(milliseconds)}" if isinstance(milliseconds, int | float) else ""


def _reason(payload: Payload) -> str:
    return f": {_quoted(payload['reason'])}" if payload.get("reason") else ""


def _by(endpoint_id: Any, name: Who) -> str:
    return f" by {name(endpoint_id)}" if endpoint_id else ""


def _speaker(payload: Payload, who: str) -> str:
    return safe_name(payload.get("speaker_name")) or who


def _writer(payload: Payload, who: str) -> str:
    return safe_name(payload.get("display_name")) or who


def _jump(milliseconds: Any) -> str:
    if not isinstance(milliseconds, int | float):
        return "this machine's clock was set"
    return f"this machine's clock was set {'back' if milliseconds < 0 else 'forward'} by {duration(abs(milliseconds))}"


def _fields(payload: Payload) -> str:
    filled = {key: value for key, value in payload.items() if value not in (None, [], {})}
    return " ".join(f"{safe_name(key)}={safe_name(str(value), 40)}" for key, value in filled.items())
