"""Jitsi's own recordings and live streams (jibri): edges of each session's status."""

from __future__ import annotations

import msgspec

from meeta_bot import events
from meeta_bot.capture.normalize.arguments import RecorderSessionArgument, argument, event
from meeta_bot.capture.normalize.state import (
    ENDED_RECORDINGS_LIMIT,
    Message,
    Recording,
    State,
    elapsed_ms,
    updated,
)
from meeta_bot.events import Event


class _FocusPresence(msgspec.Struct):
    session_id: str
    status: str | None = None
    initiator: str | None = None
    mode: str | None = None
    error: str | None = None


def recorder_state_changed(state: State, message: Message) -> tuple[State, list[Event]]:
    """RECORDER_STATE_CHANGED(JibriSession); comes with each presence of the focus and of the recorder itself."""
    session = msgspec.convert(argument(message, 0), RecorderSessionArgument)
    key = session.id or ""
    if key in state.ended_recordings:
        return state, []  # its recorder is still on its way out
    state, found = _moved_on(state, session, message)
    initial = not state.in_conference
    return state, [updated(item, initial=initial) for item in found]


def _moved_on(state: State, session: RecorderSessionArgument, message: Message) -> tuple[State, list[Event]]:
    key = session.id or ""
    before = state.recordings.get(key) or Recording(status="none", mode=session.mode or "file")
    after = _advanced(before, session, message)
    found = _edges(key, before, after, session, message)
    recordings = {**state.recordings, key: after}
    if after.status == "off":
        del recordings[key]
    return updated(state, recordings=recordings), found


def focus_presence(state: State, message: Message) -> tuple[State, list[Event]]:
    """Take from the focus who started a session, that it is on, off or failed; RECORDER_STATE_CHANGED came before.

    The library calls a session on when its recorder is there, since 2022 one that names its session; and off when that
    one has left as well.
    """
    said = msgspec.convert(argument(message, 0), _FocusPresence)
    known = state.recordings.get(said.session_id)
    if known is None:
        return state, []
    if said.status == "off":
        return _called_off(state, said, message)
    if said.status == "on" and known.status != "on":
        session = RecorderSessionArgument(id=said.session_id, status="on", mode=said.mode, initiator=said.initiator)
        return _moved_on(state, session, message)
    if said.initiator is None:
        return state, []
    if known.initiator is None:
        known = updated(known, initiator=said.initiator, last_initiator=said.initiator)
    return updated(state, recordings={**state.recordings, said.session_id: known}), []


def _called_off(state: State, said: _FocusPresence, message: Message) -> tuple[State, list[Event]]:
    over = [*state.ended_recordings, said.session_id][-ENDED_RECORDINGS_LIMIT:]
    session = RecorderSessionArgument(
        id=said.session_id, status="off", mode=said.mode, error=said.error, terminator=said.initiator
    )
    return _moved_on(updated(state, ended_recordings=over), session, message)


def _advanced(before: Recording, session: RecorderSessionArgument, message: Message) -> Recording:
    status = session.status or before.status
    if before.status == "on" and status == "pending":
        status = "on"  # by the focus's word; the library waits for a recorder that names its session
    starts = status == "on" and before.status != "on"
    return updated(
        before,
        status=status,
        mode=session.mode or before.mode,
        initiator=before.initiator or session.initiator,
        last_initiator=session.initiator or before.last_initiator,
        started_ms=message.monotonic_ms if starts else before.started_ms,
        failed=before.failed or session.error is not None,
    )


def _edges(
    key: str, before: Recording, after: Recording, session: RecorderSessionArgument, message: Message
) -> list[Event]:
    found: list[events.Payload] = []
    stream = after.mode == "stream"
    if after.failed and not before.failed:
        found.append(events.RecordingFailed(session_id=key, mode=after.mode, error=session.error or "error"))
    if after.status == "pending" and before.status == "none":
        found.append(events.RecordingPending(session_id=key, mode=after.mode))
    if after.status == "on" and before.status != "on":
        started = events.StreamStarted if stream else events.RecordingStarted
        found.append(started(session_id=key, mode=after.mode, initiator_endpoint_id=after.initiator))
    if after.status == "off" and before.status == "on":
        stopped = events.StreamStopped if stream else events.RecordingStopped
        found.append(
            stopped(
                session_id=key,
                mode=after.mode,
                terminator_endpoint_id=_terminator(after, session),
                duration_ms=elapsed_ms(message, after.started_ms),
            )
        )
    return [event(message, payload) for payload in found]


def _terminator(recording: Recording, session: RecorderSessionArgument) -> str | None:
    """Return the terminator of a session. The focus sends it as a changed initiator while the recorder still runs."""
    if session.terminator or recording.terminator:
        return session.terminator or recording.terminator
    return recording.last_initiator if recording.last_initiator != recording.initiator else None


RULES = {
    "conference.recorderStateChanged": recorder_state_changed,
    "presence.recording": focus_presence,
}
