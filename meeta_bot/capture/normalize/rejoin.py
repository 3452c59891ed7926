"""Comparison of a room that was lost and is seen again: differences from what was known are events, inferred.

When a stay in the room is over, everything that was on is written down: people, hands, recordings, and so on. In the
next stay the server tells of each anew, the people before ``conference.joined``, the rest within ``SETTLE_MS`` after
it. What it tells again goes on and gives no event. Who was not told of by ``conference.joined`` left when the gap
began, at the earliest; what was not told of when the time is over is off.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from meeta_bot import events
from meeta_bot.capture.normalize import bridge, gaps
from meeta_bot.capture.normalize.arguments import argument, endpoint_of, event
from meeta_bot.capture.normalize.meeting import person_went
from meeta_bot.capture.normalize.people import departure, switches
from meeta_bot.capture.normalize.reports import LossReport, report_of
from meeta_bot.capture.normalize.state import (
    FORMER_IDS_LIMIT,
    UNSAID_SWITCH_LIMIT_MS,
    Comparison,
    Message,
    Participant,
    State,
    Unsaid,
    has_settled,
    updated,
)
from meeta_bot.events import Event, TranscriptionMode

Rule = Callable[[State, Message], tuple[State, list[Event]] | None]

_JOINED = "conference.joined"
_ARRIVED = "conference.userJoined"
_HAND = "conference.participant_property_changed"
_RECORDING = "conference.recorderStateChanged"
_TRANSCRIPTION = "conference.transcriptionStatusChanged"
_LOCK = "conference.lock_state_changed"
_LOBBY = "conference.membersOnlyChanged"

# What only somebody who is in the room, or just coming in, is told.
_SIGNS = frozenset(
    {
        _ARRIVED,
        _RECORDING,
        _TRANSCRIPTION,
        "conference.propertiesChanged",
        "conference.roleChanged",
        "presence.media",
        "presence.recording",
    }
)

# What the arguments would be if the server said what its silence means.
_SILENCE: dict[str, Callable[[str], list[Any]]] = {
    _HAND: lambda endpoint_id: [{"id": endpoint_id}, "raisedHand", None, "0"],
    _RECORDING: lambda session_id: [{"id": session_id, "status": "off"}],
    _TRANSCRIPTION: lambda _: ["OFF"],
    _LOCK: lambda _: [False],
    _LOBBY: lambda _: [False],
    "conference.audio_unmute_permissions_changed": lambda _: [False],
    "conference.video_unmute_permissions_changed": lambda _: [False],
}

# Found by comparison as long as those are told of who are there …
_OF_PEOPLE = frozenset(
    {
        events.HandLowered,
        events.HandRaised,
        events.MeetingStarted,
        events.ParticipantJoined,
        events.ParticipantPropertyChanged,
        events.ParticipantRenamed,
        events.ParticipantReturned,
        events.ParticipantRoleChanged,
    }
)
# … and until the server has told everything.
_OF_ROOM = frozenset(
    {
        events.AudioMuted,
        events.AudioUnmuted,
        events.VideoMuted,
        events.VideoUnmuted,
        events.ScreenShareStarted,
        events.ScreenShareStopped,
        events.ConferenceLockChanged,
        events.ConferencePropertiesChanged,
        events.ConferenceSubjectChanged,
        events.LobbyDisabled,
        events.LobbyEnabled,
        events.MediaSenderLimitChanged,
        events.RecordingFailed,
        events.RecordingPending,
        events.RecordingStarted,
        events.RecordingStopped,
        events.StreamStarted,
        events.StreamStopped,
        events.TranscriptionStarted,
        events.TranscriptionStopped,
    }
)


def lost(state: State, message: Message) -> tuple[State, list[Event]]:
    """Note that the stay is over, or that a try to get back was."""
    report = report_of(message, LossReport)
    state = gaps.room_lost(state, message, report.cause, report.evidence, report.ago_ms)
    payload = events.CaptureReconnecting(cause=report.cause, attempt=report.attempt, detail=report.detail)
    return away(state), [event(message, payload)]


def away(state: State) -> State:
    """Take the bot out of the room. What it last knew stays, to be compared with what it finds."""
    own, meeting = state.own_endpoint_id, state.meeting
    if own is not None and own not in state.former_ids:
        state = updated(state, former_ids=[*state.former_ids, own][-FORMER_IDS_LIMIT:])
    if state.in_conference:
        meeting = updated(meeting, continues=meeting.meeting_id is not None and not meeting.ended)
    return updated(
        state,
        in_conference=False,
        leaving=False,
        meeting=meeting,
        participants={key: _of_before(participant) for key, participant in state.participants.items()},
        comparison=_to_compare(state),
        # What belongs to a seat: the next one has its own bridge channel, media path and statistics.
        signalling_lost_ms=None,
        interrupted_ms=None,
        bridge_open=None,
        bridge_loss=None,
        failure=None,
        bridge_opened_ms=None,
        dominant_speaker=None,
        silence=False,
        own_statistics_ms=None,
    )


def _of_before(participant: Participant) -> Participant:
    return updated(participant, kicked=False, replaced=False, statistics_ms=None)


def _to_compare(state: State) -> Comparison | None:
    if state.joined_ms is None and not state.participants:
        return None  # nothing was known: whatever is found is how it was when we came
    hands = [who.endpoint_id for who in state.participants.values() if who.hand_raised_ms is not None]
    unsaid = [Unsaid(_HAND, endpoint_id) for endpoint_id in hands]
    unsaid += [Unsaid(_RECORDING, session_id) for session_id in state.recordings]
    unsaid += [Unsaid(f"conference.{media}_unmute_permissions_changed") for media in state.limits_reached]
    if TranscriptionMode.JIGASI in state.transcribing:
        unsaid.append(Unsaid(_TRANSCRIPTION))
    if state.locked:
        unsaid.append(Unsaid(_LOCK))
    if state.lobby:
        unsaid.append(Unsaid(_LOBBY))
    before = state.comparison
    if before is None or not before.people:
        return Comparison(people=list(state.participants), unsaid=unsaid)
    # Lost again on the way back: some were last in view before the gap that was the first.
    return Comparison(people=list(state.participants), unsaid=unsaid, from_at=before.from_at, from_ms=before.from_ms)


def across_a_gap(state: State, message: Message, rule: Rule) -> tuple[State, list[Event]] | None:
    """Apply `rule` to `message` while the room is out of view or is compared with what was known of it."""
    counts = state.counts
    state, found = _before_it(state, message, rule)
    if found:  # a rule that tells of the books has those before it in them
        state = updated(state, counts=updated(counts, events=counts.events + len(found)))
    outcome = rule(state, message)
    if outcome is None:
        return (state, found) if found else None
    after, more = outcome
    return _heard(after, message), [*found, *_marked(after, more)]


def _before_it(state: State, message: Message, rule: Rule) -> tuple[State, list[Event]]:
    """Note what `message` shows by coming at all: the room is seen again; what has not shown itself by now is gone."""
    found: list[Event] = []
    is_joined = message.origin == _JOINED
    blind = state.blind
    if blind is not None and (is_joined or (not state.in_conference and message.origin in _SIGNS)):
        state, found = gaps.room_seen(state, message, "the first sign of the room")
        comparison = state.comparison
        if state.former_ids:
            state = bridge.bridge_awaited(state, message)
        if comparison is not None and (comparison.from_ms is None or blind.from_ms < comparison.from_ms):
            state = updated(state, comparison=updated(comparison, from_at=blind.from_at, from_ms=blind.from_ms))
    more: list[Event] = []
    if state.comparison is not None and is_joined:
        state, more = _departures(state, state.comparison, message)
    elif state.comparison is not None and state.in_conference and has_settled(state, message):
        state, more = _switched_off(state, state.comparison, message, rule)
    return state, [*found, *more]


def _departures(state: State, comparison: Comparison, message: Message) -> tuple[State, list[Event]]:
    """Note the departures of all who are not there any more: in the gap, at its beginning for all that is known."""
    people_before, found = state.people_in_meeting, list[Event]()
    from_at = message.wall_ms if comparison.from_at is None else comparison.from_at
    from_ms = message.monotonic_ms if comparison.from_ms is None else comparison.from_ms
    for endpoint_id in comparison.people:
        participant = state.participants.get(endpoint_id)
        if participant is None:
            continue
        left_ms = max(from_ms, participant.joined_ms)
        then = Message("conference.userLeft", message.args, from_at + left_ms - from_ms, left_ms)
        if state.breakouts:  # the server is about to say who is in them
            unseen = events.LeftCause.UNSEEN
            state, gone = switches(state, then, participant, UNSAID_SWITCH_LIMIT_MS, cause=unseen, found_by=message)
            found += gone
            continue
        payload = events.ParticipantLeft(
            cause=events.LeftCause.UNSEEN, duration_ms=max(0, left_ms - participant.joined_ms)
        )
        state, gone = departure(state, then, participant, payload)
        found += gone
    if people_before and not state.people_in_meeting:
        state = person_went(state, message)  # known to be empty since now: the bot waits its grace from here
    return updated(state, comparison=updated(comparison, people=[])), _inferred(found)


def _switched_off(state: State, comparison: Comparison, message: Message, rule: Rule) -> tuple[State, list[Event]]:
    """Switch off what the server kept silent about when it told all that it tells. The comparison is over."""
    found: list[Event] = []
    for unsaid in comparison.unsaid:
        if unsaid.origin == _HAND and unsaid.about not in state.participants:
            continue
        silence = Message(unsaid.origin, _SILENCE[unsaid.origin](unsaid.about), message.wall_ms, message.monotonic_ms)
        outcome = rule(state, silence)
        if outcome is not None:
            state, more = outcome
            found += more
    return updated(state, comparison=None), _inferred(found)


def _heard(state: State, message: Message) -> State:
    """Wait no longer for what `message` tells of."""
    comparison = state.comparison
    if comparison is None:
        return state
    if message.origin == _ARRIVED:
        people = [endpoint_id for endpoint_id in comparison.people if endpoint_id != argument(message, 0)]
        return updated(state, comparison=updated(comparison, people=people))
    if message.origin not in _SILENCE:
        return state
    about = _about(message)
    unsaid = [item for item in comparison.unsaid if (item.origin, item.about) != (message.origin, about)]
    return updated(state, comparison=updated(comparison, unsaid=unsaid))


def _about(message: Message) -> str | None:
    """Return the one that a message is about that may come for several."""
    if message.origin == _HAND:
        return endpoint_of(argument(message, 0)) if argument(message, 1) == "raisedHand" else None
    if message.origin == _RECORDING:
        return endpoint_of(argument(message, 0)) or ""  # a session has its id in the same place
    return ""


def _marked(state: State, found: list[Event]) -> list[Event]:
    """Mark what comes of comparing as inferred."""
    if state.comparison is None:
        return found
    return [_inferred([item])[0] if _is_compared(state, item) else item for item in found]


def _is_compared(state: State, item: Event) -> bool:
    if type(item.payload) not in _OF_ROOM and (state.in_conference or type(item.payload) not in _OF_PEOPLE):
        return False
    if item.endpoint_id is None:
        return True
    if isinstance(item.payload, events.ScreenShareStopped) and item.payload.cause is events.MediaCause.LEFT:
        return False  # as the departure that it came with
    who = state.participants.get(item.endpoint_id)
    # The bot's own role is no difference, and who arrives or leaves after the bot is back was seen to.
    came_later = who is not None and state.in_conference and who.joined_ms >= (state.joined_ms or 0)
    return who is not None and not came_later


def _inferred(found: Sequence[Event]) -> list[Event]:
    return [updated(item, inferred=True, initial=False) for item in found]


RULES = {LossReport.origin: lost}
