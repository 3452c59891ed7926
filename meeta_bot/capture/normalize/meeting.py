"""The meeting of a capture: its identity, its start and its end.

A meeting begins with the first human and ends when none was there for the grace period (the recorder's timer says
so) or when the room is destroyed. Its identity rests on the best that the server gives.
"""

from __future__ import annotations

import uuid

from meeta_bot import events
from meeta_bot.capture.normalize import bridge, gaps
from meeta_bot.capture.normalize.arguments import Malformed, argument, event, optional_milliseconds, text
from meeta_bot.capture.normalize.state import Message, State, has_settled, updated
from meeta_bot.events import Event, MeetingBasis

_NAMESPACE = uuid.UUID("6f6e5d1c-7a56-5a43-9d0b-6a6d65657461")
_STRENGTH = {basis: rank for rank, basis in enumerate(reversed(MeetingBasis))}


def meeting_id(deployment: str, room: str, basis: MeetingBasis, key: str) -> str:
    """Return an id that captures of one meeting share, and tomorrow's meeting in the same room does not."""
    place = uuid.uuid5(_NAMESPACE, f"{deployment}\n{room}")
    return str(uuid.uuid5(place, f"{basis.value}\n{key}"))


def identified_by(state: State, message: Message, basis: MeetingBasis, key: str) -> tuple[State, list[Event]]:
    """Identify the meeting by `key` from now on, unless a stronger basis is known."""
    known = state.meeting
    if known.basis is not None and _STRENGTH[basis] < _STRENGTH[known.basis]:
        return state, []
    identity = meeting_id(state.deployment, state.room, basis, key)
    if known.continues and basis is known.basis and known.meeting_id is not None:
        identity = known.meeting_id  # the server was begun anew, the meeting was not
    if identity == known.meeting_id:
        return state, []
    payload = events.MeetingIdentified(
        meeting_id=identity,
        basis=basis,
        server_meeting_id=known.server_meeting_id,
        created_at=known.created_at,
        previous_id=known.meeting_id,
    )
    after = updated(state, meeting=updated(known, meeting_id=identity, basis=basis))
    return after, [event(message, payload)]


def unique_id_set(state: State, message: Message) -> tuple[State, list[Event]]:
    """CONFERENCE_UNIQUE_ID_SET(meetingId), from the room's disco#info after the join."""
    server_id = text(message, 0)
    if not server_id:
        raise Malformed("an empty meeting id")
    before = state.meeting
    if server_id == before.server_meeting_id:
        return state, []
    state = updated(state, meeting=updated(before, server_meeting_id=server_id))
    state, found = identified_by(state, message, MeetingBasis.SERVER_ID, server_id)
    if found or before.meeting_id is None:
        return state, found
    return state, [_identified_still(state, message, before.meeting_id, MeetingBasis.SERVER_ID)]


def _identified_still(state: State, message: Message, identity: str, basis: MeetingBasis) -> Event:
    """Make the event that says more of a meeting whose id stays."""
    more = events.MeetingIdentified(
        meeting_id=identity,
        basis=basis,
        server_meeting_id=state.meeting.server_meeting_id,
        created_at=state.meeting.created_at,
    )
    return event(message, more)


def created_timestamp(state: State, message: Message) -> tuple[State, list[Event]]:
    """CONFERENCE_CREATED_TIMESTAMP(milliseconds as text); set when the first client, maybe the bot, came."""
    created_at = optional_milliseconds(argument(message, 0))
    if created_at is None:
        raise Malformed("no timestamp")
    first = state.meeting.created_at is None
    if created_at == state.meeting.created_at or (state.meeting.continues and not first):
        return state, []  # the server may be new, the meeting is not
    state = updated(state, meeting=updated(state.meeting, created_at=created_at))
    state, found = identified_by(state, message, MeetingBasis.CREATED_TIMESTAMP, str(created_at))
    meeting = state.meeting
    if not found and meeting.meeting_id is not None and meeting.basis is not None:
        found = [_identified_still(state, message, meeting.meeting_id, meeting.basis)]
    if meeting.people_were_here and meeting.started_at is not None and created_at < meeting.started_at:
        earlier_ms = meeting.started_at - created_at
        started_ms = None if meeting.started_ms is None else meeting.started_ms - earlier_ms
        state = updated(state, meeting=updated(meeting, started_at=created_at, started_ms=started_ms))
        payload = events.MeetingStarted(started_at=created_at, basis="created_timestamp")
        found = [*found, event(message, payload, initial=True)]
    return state, [*found, *(gaps.late_join(state, message) if first else [])]


def person_came(state: State, message: Message, *, initial: bool) -> tuple[State, list[Event]]:
    """Note that a human or a phone is in the room; `initial` when it was there before the bot."""
    meeting = updated(state.meeting, empty_since_at=None, empty_since_ms=None)
    state = bridge.somebody_came(state, message)
    if meeting.started_at is not None and not meeting.ended:
        return updated(state, meeting=meeting), []
    meeting = updated(
        meeting,
        started_at=message.wall_ms,
        started_ms=message.monotonic_ms,
        people_were_here=initial,
        ended=False,
    )
    payload = events.MeetingStarted(started_at=message.wall_ms, basis="first_human_observed")
    return updated(state, meeting=meeting), [event(message, payload, initial=initial)]


def person_went(state: State, message: Message) -> State:
    """Note that a human or a phone left; remember since when the room is empty."""
    if state.people_in_meeting:
        return state
    meeting = updated(state.meeting, empty_since_at=message.wall_ms, empty_since_ms=message.monotonic_ms)
    return updated(state, meeting=meeting)


def meeting_over(state: State, message: Message) -> tuple[State, list[Event]]:
    """``recorder.meeting_over``: nobody was there for the grace period."""
    return end_meeting(state, message, "last_left")


def end_meeting(state: State, message: Message, reason: str) -> tuple[State, list[Event]]:
    """End the meeting: when the last one left, or now."""
    meeting = state.meeting
    if meeting.started_at is None or meeting.ended:
        return state, []
    ended_at = message.wall_ms if meeting.empty_since_at is None else meeting.empty_since_at
    ended_ms = message.monotonic_ms if meeting.empty_since_ms is None else meeting.empty_since_ms
    since = meeting.started_ms
    payload = events.MeetingEnded(
        ended_at=ended_at, reason=reason, duration_ms=None if since is None else max(0, ended_ms - since)
    )
    return updated(state, meeting=updated(meeting, ended=True, continues=False)), [event(message, payload)]


def subject_changed(state: State, message: Message) -> tuple[State, list[Event]]:
    """SUBJECT_CHANGED(subject); empty when a room without subject is joined."""
    subject = text(message, 0)
    if subject == (state.subject or ""):
        return updated(state, subject=subject), []
    payload = events.ConferenceSubjectChanged(subject=subject)
    initial = state.subject is None and not has_settled(state, message)
    return updated(state, subject=subject), [event(message, payload, initial=initial)]


def lock_changed(state: State, message: Message) -> tuple[State, list[Event]]:
    """LOCK_STATE_CHANGED(locked), from the room's configuration."""
    locked = argument(message, 0) is True
    if locked == state.locked:
        return state, []
    payload = events.ConferenceLockChanged(locked=locked)
    initial = not has_settled(state, message)
    return updated(state, locked=locked), [event(message, payload, initial=initial)]


RULES = {
    "conference.unique_id_set": unique_id_set,
    "conference.createdTimestamp": created_timestamp,
    "recorder.meeting_over": meeting_over,
    "conference.subjectChanged": subject_changed,
    "conference.lock_state_changed": lock_changed,
}
