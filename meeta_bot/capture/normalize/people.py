"""Participants: arrival, departure, names, roles, properties, hands. Their number makes and ends the meeting."""

from __future__ import annotations

import re
from collections.abc import Callable

from meeta_bot import events
from meeta_bot.capture.normalize.arguments import (
    ParticipantArgument,
    argument,
    endpoint_of,
    event,
    optional_milliseconds,
    optional_text,
    participant_argument,
    text,
)
from meeta_bot.capture.normalize.media import share_stopped
from meeta_bot.capture.normalize.meeting import person_came, person_went
from meeta_bot.capture.normalize.state import (
    PROPERTIES_LIMIT,
    Message,
    Participant,
    State,
    elapsed_ms,
    fingerprint,
    updated,
    with_participant,
    without_participant,
)
from meeta_bot.capture.normalize.transcription import transcriber_left
from meeta_bot.events import Event

_Rule = Callable[[State, Message], tuple[State, list[Event]]]

# Properties that are keys of end-to-end encryption, or that repeat what has an event of its own.
_NEVER_KEPT = re.compile(r"e2ee\.idKey|olm|key$", re.IGNORECASE)
_LOWERED = (None, "", "0", "false", 0, False)


def user_joined(state: State, message: Message) -> tuple[State, list[Event]]:
    """USER_JOINED(id, JitsiParticipant, isHidden); for those already there it comes before CONFERENCE_JOINED."""
    endpoint_id = text(message, 0)
    who = participant_argument(message, 1)
    known = state.participants.get(endpoint_id)
    gone: list[Event] = []
    if known is not None and state.comparison is not None and endpoint_id in state.comparison.people:
        return _seen_again(state, message, known, who)
    if known is not None:  # the library replaced the participant without telling of the departure
        state, gone = departure(
            state, message, known, events.ParticipantLeft(duration_ms=elapsed_ms(message, known.joined_ms))
        )
    participant = Participant(
        endpoint_id=endpoint_id, name=who.name, role=who.role, kind=who.kind, joined_ms=message.monotonic_ms
    )
    payload = events.ParticipantJoined(
        display_name=who.name,
        kind=who.kind,
        role=who.role,
        stats_id=who.stats_id,
        user_id=who.user_id,
        is_replacing=who.is_replacing,
    )
    initial = not state.in_conference and state.joined_ms is None
    joined = event(message, payload, endpoint_id, initial=initial)
    state = with_participant(state, participant)
    if not participant.counts:
        return state, [*gone, joined]
    state, started = person_came(state, message, initial=initial)
    return state, [*gone, joined, *started]


def _seen_again(
    state: State, message: Message, known: Participant, who: ParticipantArgument
) -> tuple[State, list[Event]]:
    """Go on with the visit of a participant that a gap did not end; events tell what differs."""
    changes: list[events.Payload] = []
    if who.name != known.name:
        changes.append(events.ParticipantRenamed(old_name=known.name, new_name=who.name))
    if who.role is not None and who.role != known.role:
        changes.append(events.ParticipantRoleChanged(role=who.role, old_role=known.role))
    after = updated(known, name=who.name, role=who.role or known.role)
    return with_participant(state, after), [event(message, change, known.endpoint_id) for change in changes]


def user_left(state: State, message: Message) -> tuple[State, list[Event]]:
    """USER_LEFT(id, JitsiParticipant, reason); the hook adds whether it only came with the bot's own departure."""
    endpoint_id = text(message, 0)
    participant = state.participants.get(endpoint_id)
    flag = message.args[-1]
    ours = isinstance(flag, dict) and flag.get("with_our_own") is True
    if participant is None or ours or state.leaving or (state.blind is not None and not state.in_conference):
        return state, []  # they stay; it is the bot who no longer sees them
    reason = argument(message, 2)
    cause = events.LeftCause.LEFT
    if participant.kicked:
        cause = events.LeftCause.REPLACED if participant.replaced else events.LeftCause.KICKED
    payload = events.ParticipantLeft(
        cause=cause, reason=optional_text(reason), duration_ms=elapsed_ms(message, participant.joined_ms)
    )
    return departure(state, message, participant, payload)


def departure(
    state: State, message: Message, participant: Participant, payload: events.ParticipantLeft
) -> tuple[State, list[Event]]:
    """Remove `participant`, with all that it did there."""
    found: list[Event] = []
    if participant.sharing is not None:
        found.append(share_stopped(participant, message, events.MediaCause.LEFT))
    found.append(event(message, payload, participant.endpoint_id, origin="conference.userLeft"))
    state = without_participant(state, participant.endpoint_id)
    if participant.kind is events.ParticipantKind.TRANSCRIBER:
        state, stopped = transcriber_left(state, message)
        found += stopped
    return person_went(state, message) if participant.counts else state, found


def participant_kicked(state: State, message: Message) -> tuple[State, list[Event]]:
    """PARTICIPANT_KICKED(actor, kicked, reason); USER_LEFT follows."""
    who = participant_argument(message, 1)
    participant = state.participants.get(who.id)
    if participant is not None:
        state = with_participant(state, updated(participant, kicked=True, replaced=who.is_replaced))
    payload = events.ParticipantKicked(
        actor_endpoint_id=endpoint_of(argument(message, 0)), reason=optional_text(argument(message, 2))
    )
    return state, [event(message, payload, who.id)]


def renamed(state: State, message: Message) -> tuple[State, list[Event]]:
    """DISPLAY_NAME_CHANGED(id, name)."""
    endpoint_id = text(message, 0)
    name = optional_text(argument(message, 1))
    participant = state.participants.get(endpoint_id)
    old = participant.name if participant else None
    if participant is not None:
        if name == old:
            return state, []
        state = with_participant(state, updated(participant, name=name))
    return state, [event(message, events.ParticipantRenamed(old_name=old, new_name=name), endpoint_id)]


def role_changed(state: State, message: Message) -> tuple[State, list[Event]]:
    """USER_ROLE_CHANGED(id, role), the bot's own role included."""
    endpoint_id, role = text(message, 0), text(message, 1)
    participant = state.participants.get(endpoint_id)
    old = participant.role if participant else None
    if participant is not None:
        if role == old:
            return state, []
        state = with_participant(state, updated(participant, role=role))
    payload = events.ParticipantRoleChanged(role=role, old_role=old)
    return state, [event(message, payload, endpoint_id, initial=not state.in_conference)]


def property_changed(state: State, message: Message) -> tuple[State, list[Event]]:
    """PARTICIPANT_PROPERTY_CHANGED(JitsiParticipant, name, old, new)."""
    endpoint_id = participant_argument(message, 0).id
    name, old, value = text(message, 1), argument(message, 2), argument(message, 3)
    if name == "raisedHand":
        return _hand(state, message, endpoint_id, value)
    if _NEVER_KEPT.search(name):
        return state, []
    participant = state.participants.get(endpoint_id)
    if participant is not None:
        known, now = participant.properties, fingerprint(value)
        if state.comparison is not None and known.get(name) == now:
            return state, []  # as before the gap
        if name in known or len(known) < PROPERTIES_LIMIT:
            state = with_participant(state, updated(participant, properties={**known, name: now}))
    payload = events.ParticipantPropertyChanged(name=name, old=old, value=value)
    return state, [event(message, payload, endpoint_id, initial=not state.in_conference)]


def _hand(state: State, message: Message, endpoint_id: str, value: object) -> tuple[State, list[Event]]:
    participant = state.participants.get(endpoint_id)
    since = participant.hand_raised_ms if participant else None
    if value in _LOWERED:
        if participant is not None and since is None:
            return state, []  # down it was
        after = participant and updated(participant, hand_raised_ms=None)
        lowered = events.HandLowered(held_ms=elapsed_ms(message, since))
        return _with(state, after), [event(message, lowered, endpoint_id)]
    if since is not None and state.comparison is not None:
        return state, []  # still up after the gap
    raised_at = optional_milliseconds(value)
    after = participant and updated(participant, hand_raised_ms=message.monotonic_ms)
    raised = event(
        message,
        events.HandRaised(raised_at=raised_at),
        endpoint_id,
        initial=not state.in_conference,
        server_at=raised_at,
    )
    return _with(state, after), [raised]


def _with(state: State, participant: Participant | None) -> State:
    return state if participant is None else with_participant(state, participant)


def _not_of_ghosts(rule: _Rule, index: int = 0) -> _Rule:
    """Return `rule` without messages about the bot's own former selves, whom the server has not timed out yet."""

    def but_for_ghosts(state: State, message: Message) -> tuple[State, list[Event]]:
        if state.former_ids and endpoint_of(argument(message, index)) in state.former_ids:
            return state, []
        return rule(state, message)

    return but_for_ghosts


RULES = {
    "conference.userJoined": _not_of_ghosts(user_joined),
    "conference.userLeft": _not_of_ghosts(user_left),
    "conference.participant_kicked": _not_of_ghosts(participant_kicked, 1),
    "conference.displayNameChanged": _not_of_ghosts(renamed),
    "conference.roleChanged": _not_of_ghosts(role_changed),
    "conference.participant_property_changed": _not_of_ghosts(property_changed),
}
