"""Gaps: intervals that could not be seen, and how that is known. Every one becomes a ``capture.gap``.

The state says what is out of view now: the whole room, or only what the bridge tells. The earliest beginning stays
when a second cause comes. Whatever is still out of view when the capture ends has its gap before the last event.
"""

from __future__ import annotations

import msgspec

from meeta_bot import events
from meeta_bot.capture.normalize.arguments import Ago, Whole, argument, event
from meeta_bot.capture.normalize.reports import DamageReport, GapReport, StandstillReport, report_of
from meeta_bot.capture.normalize.state import Blind, Message, Standstill, State, elapsed_ms, updated
from meeta_bot.events import CaptureGap, Event, GapCause, Lost
from meeta_bot.limits import LARGEST_NUMBER

# Page and process may both tell that they stood still, each as exactly as its timers: every 5 s, every second.
STANDSTILL_TOLERANCE_MS = 6000


class _Overflow(msgspec.Struct):
    missed: Whole
    from_at: Whole
    to_at: Whole


class _Slept(msgspec.Struct):
    from_at: Whole
    to_at: Whole
    ms: Ago


class _SignallingLost(msgspec.Struct):
    evidence: str
    ago_ms: Ago = 0


# --- what is out of view now --------------------------------------------------------------------------------------


def room_lost(state: State, message: Message, cause: GapCause, evidence: str | None, ago_ms: float = 0) -> State:
    """Lose the room from view, since `ago_ms` before `message` or since earlier if it already was."""
    blind = _since(message, cause, Lost.EVERYTHING, evidence, ago_ms)
    if state.blind is not None and state.blind.from_ms <= blind.from_ms:
        return state
    return updated(state, blind=blind)


def room_seen(state: State, message: Message, until: str) -> tuple[State, list[Event]]:
    """See the room again. A loss of the bridge channel ends for the log where the loss of all began."""
    blind, bridge = state.blind, state.bridge_blind
    if blind is None:
        return state, []
    if blind.cause is GapCause.NOT_ADMITTED and state.joined_ms is None:
        state = updated(state, waited=blind)
    found = []
    if bridge is not None and bridge.from_ms < blind.from_ms:
        end = Message(message.origin, message.args, blind.from_at, blind.from_ms)
        found.append(event(message, _gap(bridge, end, "the loss of the whole room")))
    found.append(event(message, _gap(blind, message, until)))
    return updated(state, blind=None, bridge_blind=None), found


def bridge_unheard(state: State, message: Message, cause: GapCause, evidence: str, ago_ms: float = 0) -> State:
    """Lose the bridge's messages; that adds nothing where the whole room was lost with its stay."""
    if state.blind is not None and not state.in_conference:
        return state
    blind = _since(message, cause, Lost.BRIDGE_ONLY, evidence, ago_ms)
    if state.bridge_blind is not None and state.bridge_blind.from_ms <= blind.from_ms:
        return state
    return updated(state, bridge_blind=blind)


def bridge_seen(state: State, message: Message, until: str = "it was heard again") -> tuple[State, list[Event]]:
    """Hear the bridge again."""
    if state.bridge_blind is None:
        return state, []
    found = event(message, _gap(state.bridge_blind, message, until))
    return updated(state, bridge_blind=None), [found]


def closed(state: State, message: Message, until: str) -> tuple[State, list[Event]]:
    """Close the gaps of all that is out of view: nothing more will be seen."""
    state, room = room_seen(state, message, until)
    state, bridge = bridge_seen(state, message, until)
    return state, [*room, *bridge]


def late_join(state: State, message: Message) -> list[Event]:
    """Return the gap from the room's creation to the bot's coming, once both are known and somebody was there.

    When the bot had to wait at the door, it came then: the rest has a gap of its own.
    """
    created_at, joined_ms = state.meeting.created_at, state.joined_ms
    is_first_stay = not state.former_ids and state.comparison is None
    if created_at is None or joined_ms is None or not is_first_stay or not state.meeting.people_were_here:
        return []
    came_ms = joined_ms if state.waited is None else min(joined_ms, state.waited.from_ms)
    came_at = message.wall_ms - (message.monotonic_ms - came_ms)
    if created_at >= came_at:
        return []
    until = "in the room" if state.waited is None else "at its door"
    payload = _bounded(
        GapCause.LATE_JOIN,
        Lost.EVERYTHING,
        began=(created_at, came_ms - (came_at - created_at)),
        ended=(came_at, came_ms),
        evidence=f"from the room's creation, by the server's clock; until the bot was {until}",
    )
    return [event(message, payload)]


def _since(message: Message, cause: GapCause, lost: Lost, evidence: str | None, ago_ms: float = 0) -> Blind:
    ago = int(ago_ms)
    return Blind(
        cause=cause, lost=lost, from_at=message.wall_ms - ago, from_ms=message.monotonic_ms - ago, evidence=evidence
    )


def _gap(blind: Blind, end: Message, until: str) -> CaptureGap:
    evidence = f"until {until}" if blind.evidence is None else f"{blind.evidence}; until {until}"
    return _bounded(
        blind.cause,
        blind.lost,
        began=(blind.from_at, blind.from_ms),
        ended=(end.wall_ms, max(end.monotonic_ms, blind.from_ms)),
        evidence=evidence,
    )


def _bounded(
    cause: GapCause,
    lost: Lost,
    *,
    began: tuple[int, int],
    ended: tuple[int, int],
    evidence: str | None,
    missed: int | None = None,
) -> CaptureGap:
    """Return a gap between two moments, each by wall clock and by the monotonic one, which knows how long it was."""
    from_at, from_ms = began
    to_at, to_ms = ended
    from_ms = min(from_ms, to_ms)
    if from_at > to_at:  # the wall clock was set back in between
        from_at = to_at - (to_ms - from_ms)
    from_at, to_at, from_ms, to_ms = (
        max(-LARGEST_NUMBER, min(LARGEST_NUMBER, value)) for value in (from_at, to_at, from_ms, to_ms)
    )
    return CaptureGap(
        cause=cause,
        lost=lost,
        from_at=from_at,
        to_at=to_at,
        evidence=evidence,
        missed=missed,
        from_ms=from_ms,
        to_ms=to_ms,
    )


# --- what is reported ---------------------------------------------------------------------------------------------


def signalling_lost(state: State, message: Message) -> tuple[State, list[Event]]:
    """Note lost signalling: ``hook.signalling_lost({ago_ms, evidence})``, once for each loss."""
    given = msgspec.convert(argument(message, 0), _SignallingLost)
    if state.leaving or state.signalling_lost_ms is not None:
        return state, []
    since = _since(message, GapCause.SIGNALLING_LOST, Lost.EVERYTHING, None, given.ago_ms)
    state = room_lost(
        state,
        message,
        GapCause.SIGNALLING_LOST,
        f"from the last word of the server, whose connection is {given.evidence}",
        given.ago_ms,
    )
    payload = events.SignallingLost(since_at=since.from_at, evidence=given.evidence)
    return updated(state, signalling_lost_ms=since.from_ms), [event(message, payload)]


def signalling_back(state: State, message: Message) -> tuple[State, list[Event]]:
    """Note signalling that is back: ``hook.signalling_back()``. The session goes on, so that nothing is missed."""
    if state.signalling_lost_ms is None:
        return state, []
    restored = events.SignallingRestored(down_ms=elapsed_ms(message, state.signalling_lost_ms))
    found = [event(message, restored)]
    blind = state.blind
    state = updated(state, signalling_lost_ms=None)
    # Out of the room, only a new sight of it ends what was lost; in it, nothing but signalling can have been.
    if blind is not None and state.in_conference:
        late = updated(blind, cause=GapCause.SIGNALLING_RESUMED, lost=Lost.NOTHING)
        found.append(event(message, _gap(late, message, "the session went on")))
        state = updated(state, blind=None)
    return state, found


def overflow(state: State, message: Message) -> tuple[State, list[Event]]:
    """Note a full buffer of the page: ``hook.overflow({missed, from_at, to_at})``."""
    given = msgspec.convert(argument(message, 0), _Overflow)
    payload = _bounded(
        GapCause.PAGE_BUFFER_OVERFLOW,
        Lost.EVERYTHING,
        began=_moment(message, given.from_at, None),
        ended=_moment(message, given.to_at, None),
        evidence="counted by the page",
        missed=given.missed,
    )
    return state, [event(message, payload)]


def damaged(state: State, message: Message) -> tuple[State, list[Event]]:
    """Note a gap for what the spool has lost."""
    report = report_of(message, DamageReport)
    payload = _bounded(
        GapCause.SPOOL_DAMAGED,
        Lost.EVERYTHING,
        began=_moment(message, None, report.ago_ms),
        ended=_moment(message, None, None),
        evidence=report.evidence,
        missed=report.missed,
    )
    return state, [event(message, payload)]


def gap(state: State, message: Message) -> tuple[State, list[Event]]:
    """Note a gap as it was reported."""
    report = report_of(message, GapReport)
    payload = _bounded(
        report.cause,
        report.lost,
        began=_moment(message, report.from_at, report.ago_ms),
        ended=_moment(message, report.to_at, report.until_ago_ms),
        evidence=report.evidence,
        missed=report.missed,
    )
    return state, [event(message, payload)]


def _moment(message: Message, at: int | None, ago_ms: float | None) -> tuple[int, int]:
    """Return a moment by both clocks, given by wall clock or by its age at `message`; else that of `message`."""
    if ago_ms is None and at is not None:
        return at, message.monotonic_ms - (message.wall_ms - at)
    ago = int(ago_ms or 0)
    return message.wall_ms - ago, message.monotonic_ms - ago


def stood_still(state: State, message: Message) -> tuple[State, list[Event]]:
    """Note a gap for the time that the process did not get."""
    report = report_of(message, StandstillReport)
    payload = _bounded(
        GapCause.HOST_SUSPENDED,
        report.lost,
        began=_moment(message, None, report.ms),
        ended=(message.wall_ms, message.monotonic_ms),
        evidence=report.evidence,
    )
    return _standstill(state, message, payload)


def slept(state: State, message: Message) -> tuple[State, list[Event]]:
    """Note a page that got no time: ``hook.slept({from_at, to_at, ms})``. The host may not have stood still."""
    given = msgspec.convert(argument(message, 0), _Slept)
    from_ms, to_ms, beat_ms = message.monotonic_ms - int(given.ms), message.monotonic_ms, state.heartbeat_ms
    within = STANDSTILL_TOLERANCE_MS
    page_only = beat_ms is not None and from_ms + within < beat_ms < to_ms - within
    payload = _bounded(
        GapCause.PAGE_HUNG if page_only else GapCause.HOST_SUSPENDED,
        Lost.EVERYTHING if state.in_conference else Lost.NOTHING,
        began=(given.from_at, from_ms),
        ended=(given.to_at, to_ms),
        evidence="the page's own timers stood still",
    )
    return _standstill(state, message, payload)


def _standstill(state: State, message: Message, payload: CaptureGap) -> tuple[State, list[Event]]:
    """Note a standstill once, though page and process report it: none that lies within one that cost as much."""
    from_ms, to_ms = payload.from_ms or 0, payload.to_ms or 0
    before, now = state.stood_still, Standstill(from_ms, to_ms, payload.lost)
    if before is not None and _is_within(now, before):
        return state, []
    return updated(state, stood_still=now), [event(message, payload)]


def _is_within(now: Standstill, before: Standstill) -> bool:
    costs_as_much = before.lost is Lost.EVERYTHING or now.lost is Lost.NOTHING
    begins_within = before.from_ms - STANDSTILL_TOLERANCE_MS <= now.from_ms
    return costs_as_much and begins_within and now.to_ms <= before.to_ms + STANDSTILL_TOLERANCE_MS


RULES = {
    "hook.signalling_lost": signalling_lost,
    "hook.signalling_back": signalling_back,
    "hook.overflow": overflow,
    "hook.slept": slept,
    DamageReport.origin: damaged,
    GapReport.origin: gap,
    StandstillReport.origin: stood_still,
}
