"""Breakout rooms: who is there is in the meeting, though not in the main room, which the bot never leaves.

The server tells everybody who is where, a moment after each change. Somebody who switches rooms leaves one and enters
the other, and is in none in between.
"""

from __future__ import annotations

from typing import Any

import msgspec

from meeta_bot import events
from meeta_bot.capture.normalize.arguments import Malformed, argument, event, text
from meeta_bot.capture.normalize.meeting import person_came
from meeta_bot.capture.normalize.people import departure
from meeta_bot.capture.normalize.state import (
    SWITCH_LIMIT_MS,
    Elsewhere,
    Message,
    Participant,
    State,
    elapsed_ms,
    has_settled,
    updated,
)
from meeta_bot.events import BreakoutRoom, Event


class _Occupant(msgspec.Struct):
    endpoint_id: str | None = None
    name: str | None = None
    role: str | None = None


class _Room(msgspec.Struct):
    id: str
    name: str | None = None
    is_main: bool = False
    participants: list[_Occupant] = []


def rooms_updated(state: State, message: Message) -> tuple[State, list[Event]]:
    """BREAKOUT_ROOMS_UPDATED, of which the hook keeps rooms, endpoints and names, and no addresses."""
    given = argument(message, 0)
    if not isinstance(given, dict):
        raise Malformed("no rooms")
    rooms = [room for room in msgspec.convert(given.get("rooms"), list[_Room]) if not room.is_main]
    breakouts = {room.id: room.name for room in rooms}
    found: list[Event] = []
    is_initial = not has_settled(state, message)
    if breakouts != state.breakouts:
        payload = events.BreakoutChanged(rooms=[BreakoutRoom(key, name) for key, name in breakouts.items()])
        found.append(event(message, payload, initial=is_initial))
        state = updated(state, breakouts=breakouts)
    seen = set[str]()
    for room in rooms:
        for occupant in room.participants:
            endpoint_id = _endpoint_of(state, occupant)
            if endpoint_id is not None and endpoint_id not in state.participants:
                seen.add(endpoint_id)
                state, more = _seen_in(state, message, room.id, endpoint_id, occupant)
                found += more
    return _missed(state, message, seen), found


def _endpoint_of(state: State, occupant: _Occupant) -> str | None:
    """Return whose entry that is: of the one with that name, where the server gives no endpoint; None of the bot."""
    endpoint_id = occupant.endpoint_id
    if endpoint_id is None:
        named = [key for key, one in state.elsewhere.items() if one.participant.name == occupant.name]
        endpoint_id = named[0] if len(named) == 1 else None
    return None if endpoint_id == state.own_endpoint_id or endpoint_id in state.former_ids else endpoint_id


def _seen_in(
    state: State, message: Message, breakout_id: str, endpoint_id: str, occupant: _Occupant
) -> tuple[State, list[Event]]:
    """Note that somebody is in a breakout room now; who was never seen came there before the bot, or went straight."""
    before = state.elsewhere.get(endpoint_id)
    found: list[Event] = []
    is_initial = before is None and not has_settled(state, message)
    if before is None:
        state, before, found = _found_there(state, message, endpoint_id, occupant, initial=is_initial)
    moved = before.breakout_id != breakout_id
    is_inferred = before.inferred or (state.comparison is not None and not is_initial)
    after = updated(before, breakout_id=breakout_id, missing_at=None, missing_ms=None, limit_ms=SWITCH_LIMIT_MS)
    after = updated(after, inferred=False, cause=events.LeftCause.LEFT, reason=None)
    if moved:
        payload = events.ParticipantMovedToBreakout(breakout_id=breakout_id, from_breakout_id=before.breakout_id)
        found.append(event(message, payload, endpoint_id, initial=is_initial, inferred=is_inferred))
    return updated(state, elsewhere={**state.elsewhere, endpoint_id: after}), found


def _found_there(
    state: State, message: Message, endpoint_id: str, occupant: _Occupant, *, initial: bool
) -> tuple[State, Elsewhere, list[Event]]:
    participant = Participant(
        endpoint_id=endpoint_id, name=occupant.name, role=occupant.role, joined_ms=message.monotonic_ms
    )
    payload = events.ParticipantJoined(display_name=occupant.name, role=occupant.role)
    found = [event(message, payload, endpoint_id, initial=initial)]
    state, started = person_came(state, message, initial=initial)
    return state, Elsewhere(participant=participant, went_ms=None), [*found, *started]


def _missed(state: State, message: Message, seen: set[str]) -> State:
    """Note since when the server names no room for somebody: on the way to another one, or gone."""
    missing: dict[str, Any] = {"missing_at": message.wall_ms, "missing_ms": message.monotonic_ms}
    comparison = state.comparison
    if comparison is not None and comparison.from_at is not None:  # gone in the gap, at its beginning for all we know
        missing = {"missing_at": comparison.from_at, "missing_ms": comparison.from_ms, "inferred": True}
        missing["cause"] = events.LeftCause.UNSEEN
    elsewhere = {
        endpoint_id: one
        if endpoint_id in seen or one.missing_ms is not None
        else updated(one, **missing, waits_ms=message.monotonic_ms)
        for endpoint_id, one in state.elsewhere.items()
    }
    return updated(state, elsewhere=elsewhere) if elsewhere != state.elsewhere else state


def gone(state: State, message: Message) -> tuple[State, list[Event]]:
    """Let those go who have been in no room for too long: they left when they were last in one."""
    found: list[Event] = []
    for endpoint_id, one in state.elsewhere.items():
        if one.missing_ms is None or one.missing_at is None:
            continue
        if message.monotonic_ms - one.waits_ms < one.limit_ms or not state.in_conference:
            continue
        then = Message("conference.breakout-rooms.updated", [], one.missing_at, one.missing_ms)
        left = {key: other for key, other in state.elsewhere.items() if key != endpoint_id}
        payload = events.ParticipantLeft(
            cause=one.cause, reason=one.reason, duration_ms=elapsed_ms(then, one.participant.joined_ms)
        )
        state, more = departure(updated(state, elsewhere=left), then, one.participant, payload)
        found += [updated(item, inferred=one.inferred) for item in more]
    return state, found


def move_requested(state: State, message: Message) -> tuple[State, list[Event]]:
    """BREAKOUT_ROOMS_MOVE_TO_ROOM, of which the hook keeps the room's id."""
    return state, [event(message, events.BreakoutMoveRequested(breakout_id=text(message, 0)))]


RULES = {
    "conference.breakout-rooms.updated": rooms_updated,
    "conference.breakout-rooms.move-to-room": move_requested,
}
