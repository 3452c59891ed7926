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
    BRIDGE_SETTLE_MS,
    PROPERTIES_LIMIT,
    SWITCH_LIMIT_MS,
    UNSAID_SWITCH_LIMIT_MS,
    Elsewhere,
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

_SWITCHES = "switch_room"  # what clients say since 2022 when they go to another room of the meeting
# What Prosody says of somebody whose connection it gave up, and no client says of itself. "Kicked" is its word for one
# that can't be reached; a kick by a person has status 307 and is told before (XEP-0045).
_LOST = re.compile(
    r"(kicked|disconnected): |.*\b(time[d ]*out|hibernating|connection (closed|lost|reset))\b", re.IGNORECASE
)
_TECHNICAL = 333  # the status code of an occupant removed because of an error (XEP-0045)

# Messages that a participant itself caused, and where they say who it is: signs of life.
_SIGNS_OF_LIFE = {
    "presence.media": 0,
    "conference.displayNameChanged": 0,
    "conference.participant_property_changed": 0,
    "conference.messageReceived": 0,
    "conference.privateMessageReceived": 0,
    "conference.endpoint_message_received": 0,
    "conference.dominantSpeaker": 0,
    "cq.remote_stats_updated": 0,
}


def heard(state: State, message: Message) -> State:
    """Remember when anything came from a participant. What the server or the bridge repeats is no sign of life."""
    index = _SIGNS_OF_LIFE.get(message.origin)
    if index is None:
        return state
    endpoint_id = endpoint_of(argument(message, index))
    participant = state.participants.get(endpoint_id or "")
    if participant is None or _is_repeated(state, message):
        return state
    late_ms = 0 if message.server_ms is None else max(0, message.wall_ms - message.server_ms)
    heard_ms = max(message.monotonic_ms - late_ms, participant.joined_ms)
    return with_participant(state, updated(participant, heard_ms=heard_ms))


def _is_repeated(state: State, message: Message) -> bool:
    if message.origin == "conference.messageReceived":
        return argument(message, 2) is not None  # with a stamp: history
    if message.origin == "conference.dominantSpeaker":
        opened_ms = state.bridge_opened_ms
        is_settling = opened_ms is not None and message.monotonic_ms - opened_ms < BRIDGE_SETTLE_MS
        return is_settling or argument(message, 0) == state.dominant_speaker
    return False


def user_joined(state: State, message: Message) -> tuple[State, list[Event]]:
    """USER_JOINED(id, JitsiParticipant, isHidden); for those already there it comes before CONFERENCE_JOINED."""
    endpoint_id = text(message, 0)
    who = participant_argument(message, 1)
    known = state.participants.get(endpoint_id)
    gone: list[Event] = []
    if endpoint_id in state.elsewhere:
        return _returned(state, message, endpoint_id, who)
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


def _returned(state: State, message: Message, endpoint_id: str, who: ParticipantArgument) -> tuple[State, list[Event]]:
    """Go on with the visit of a participant who was in a breakout room, or on the way to one."""
    back = state.elsewhere[endpoint_id]
    elsewhere = {key: one for key, one in state.elsewhere.items() if key != endpoint_id}
    payload = events.ParticipantReturned(breakout_id=back.breakout_id, away_ms=elapsed_ms(message, back.went_ms))
    participant = updated(back.participant, media_told=True, has_returned=True)
    state = with_participant(updated(state, elsewhere=elsewhere), participant)
    state, changes = _seen_again(state, message, participant, who)
    return state, [event(message, payload, endpoint_id), *changes]


def user_left(state: State, message: Message) -> tuple[State, list[Event]]:
    """USER_LEFT(id, JitsiParticipant, reason).

    The hook adds whether it only came with the bot's own departure, and what the presence says of the reason, which
    libraries of 2021 leave out, and all of them its status codes.
    """
    endpoint_id = text(message, 0)
    participant = state.participants.get(endpoint_id)
    flag = message.args[-1] if isinstance(message.args[-1], dict) else {}
    ours = flag.get("with_our_own") is True
    if participant is None or ours or state.leaving or (state.blind is not None and not state.in_conference):
        return state, []  # they stay; it is the bot who no longer sees them
    reason = optional_text(argument(message, 2)) or optional_text(flag.get("text"))
    cause = _cause(participant, reason, flag.get("codes"))
    if cause is events.LeftCause.LEFT and (reason == _SWITCHES or (state.breakouts and not reason)):
        limit_ms = SWITCH_LIMIT_MS if reason == _SWITCHES else UNSAID_SWITCH_LIMIT_MS
        return switches(state, message, participant, limit_ms, reason=reason)
    payload = events.ParticipantLeft(cause=cause, reason=reason, duration_ms=elapsed_ms(message, participant.joined_ms))
    if cause is events.LeftCause.LOST:
        heard_ms = participant.joined_ms if participant.heard_ms is None else participant.heard_ms
        payload.silent_ms = max(0, message.monotonic_ms - heard_ms)
        payload.last_heard_at = message.wall_ms - payload.silent_ms
    return departure(state, message, participant, payload)


def _cause(participant: Participant, reason: str | None, codes: object) -> events.LeftCause:
    if participant.kicked:
        return events.LeftCause.REPLACED if participant.replaced else events.LeftCause.KICKED
    is_technical = isinstance(codes, list) and _TECHNICAL in codes
    return events.LeftCause.LOST if is_technical or _LOST.match(reason or "") else events.LeftCause.LEFT


def switches(
    state: State,
    message: Message,
    participant: Participant,
    limit_ms: int,
    *,
    cause: events.LeftCause = events.LeftCause.LEFT,
    reason: str | None = None,
    found_by: Message | None = None,
) -> tuple[State, list[Event]]:
    """Take somebody out of the main room who may be on the way to a breakout room. What its media do there is unseen.

    If the server does not say within `limit_ms` that it arrived, it was a departure, with `cause` and `reason`. Of what
    was found after a gap, `message` is of the gap's beginning, and the limit counts from the message it was found by.
    """
    found: list[Event] = []
    if participant.sharing is not None:
        found.append(share_stopped(participant, message, events.MediaCause.LEFT))
    unseen = updated(
        participant, audio_open=None, video_open=None, sharing=None, sharing_since_ms=None, hand_raised_ms=None
    )
    away = Elsewhere(
        participant=updated(unseen, statistics_ms=None),
        went_ms=message.monotonic_ms,
        missing_at=message.wall_ms,
        missing_ms=message.monotonic_ms,
        waits_ms=(found_by or message).monotonic_ms,
        limit_ms=limit_ms,
        cause=cause,
        reason=reason,
        inferred=found_by is not None,
    )
    state = without_participant(state, participant.endpoint_id)
    return updated(state, elsewhere={**state.elsewhere, participant.endpoint_id: away}), found


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
    is_own = endpoint_id == state.own_endpoint_id and state.in_conference
    old = participant.role if participant else state.own_role if is_own else None
    if old == role:
        return state, []
    if participant is not None:
        state = with_participant(state, updated(participant, role=role))
    elif is_own:
        state = updated(state, own_role=role)
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
