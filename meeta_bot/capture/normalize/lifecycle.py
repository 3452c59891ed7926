"""What the recorder and the hook say of themselves."""

from __future__ import annotations

import msgspec

from meeta_bot import events
from meeta_bot.capture.normalize import gaps
from meeta_bot.capture.normalize.arguments import Whole, argument, event, text
from meeta_bot.capture.normalize.state import Message, State, updated
from meeta_bot.events import Event


class _Installed(msgspec.Struct):
    page_load: str
    events: list[str]
    library_version: str | None = None


class _PageBooks(msgspec.Struct):
    page_made: Whole | None = None
    page_taken: Whole | None = None
    page_missed: Whole | None = None


class _Jump(msgspec.Struct):
    jump_ms: Whole


class _End(msgspec.Struct):
    reason: events.EndReason
    detail: str | None = None


def started(state: State, message: Message) -> tuple[State, list[Event]]:
    """``recorder.started(fields of CaptureStarted)``."""
    return state, [event(message, msgspec.convert(argument(message, 0), events.CaptureStarted))]


def installed(state: State, message: Message) -> tuple[State, list[Event]]:
    """``hook.installed({page_load, events, library_version})``."""
    from meeta_bot.capture.normalize import known_origins

    given = msgspec.convert(argument(message, 0), _Installed)
    payload = events.CaptureHookInstalled(
        page_load=given.page_load,
        library_version=given.library_version,
        listening=len(given.events),
        unknown_events=sorted(set(given.events) - known_origins()),
    )
    return state, [event(message, payload)]


def leaving(state: State, message: Message) -> tuple[State, list[Event]]:
    """``hook.leaving()``: from now on, departures are the bot's own view closing."""
    return updated(state, leaving=True), []


def page_is_empty(state: State, message: Message) -> tuple[State, list[Event]]:
    """``hook.left()``: the hook has told everything."""
    return state, []


def hook_error(state: State, message: Message) -> tuple[State, list[Event]]:
    """``hook.error(where, message)``: a listener failed; the event it was for is lost but for this."""
    return state, [event(message, events.CaptureError(where=text(message, 0), message=text(message, 1)))]


def join_failed(state: State, message: Message) -> tuple[State, list[Event]]:
    """``hook.join_failed(message)``: the library threw while the conference was built."""
    return state, [event(message, events.CaptureError(where="join", message=text(message, 0)))]


def recorder_error(state: State, message: Message) -> tuple[State, list[Event]]:
    """``recorder.error(where, message)``."""
    return state, [event(message, events.CaptureError(where=text(message, 0), message=text(message, 1)))]


def heartbeat(state: State, message: Message) -> tuple[State, list[Event]]:
    """``recorder.heartbeat({page_made, page_taken, page_missed})``: the books, this heartbeat not counted."""
    page = msgspec.convert(argument(message, 0) or {}, _PageBooks)
    counts = state.counts
    payload = events.CaptureHeartbeat(
        in_conference=state.in_conference,
        participants=len(state.participants),
        messages=counts.messages,
        events=counts.events,
        absorbed=counts.absorbed,
        sampled=counts.sampled,
        refused=counts.refused,
        unknown=counts.unknown,
        normalized=counts.normalized,
        page_made=page.page_made,
        page_taken=page.page_taken,
        page_missed=page.page_missed,
    )
    return updated(state, heartbeat_ms=message.monotonic_ms), [event(message, payload)]


def clock_jumped(state: State, message: Message) -> tuple[State, list[Event]]:
    """``recorder.clock_jumped({jump_ms})``."""
    given = msgspec.convert(argument(message, 0), _Jump)
    return state, [event(message, events.CaptureClockJumped(jump_ms=given.jump_ms))]


def telemetry(state: State, message: Message) -> tuple[State, list[Event]]:
    """``recorder.telemetry(on)``: whether statistics are kept; they are the first to go when the spool fills."""
    return updated(state, telemetry=argument(message, 0) is not False), []


def ended(state: State, message: Message) -> tuple[State, list[Event]]:
    """``recorder.ended(reason and detail of CaptureEnded)``: what is out of view stays so; nothing comes after it."""
    given = msgspec.convert(argument(message, 0), _End)
    state, found = gaps.closed(state, message, "the end of the capture")
    counts = state.counts
    payload = events.CaptureEnded(
        reason=given.reason,
        detail=given.detail,
        messages=counts.messages,
        events=counts.events + len(found),
        normalized=counts.normalized,
        absorbed=counts.absorbed,
        sampled=counts.sampled,
        refused=counts.refused,
        unknown=counts.unknown,
    )
    return updated(state, ended=True, in_conference=False), [*found, event(message, payload)]


RULES = {
    "recorder.started": started,
    "hook.installed": installed,
    "hook.leaving": leaving,
    "hook.left": page_is_empty,
    "hook.error": hook_error,
    "hook.join_failed": join_failed,
    "recorder.error": recorder_error,
    "recorder.heartbeat": heartbeat,
    "recorder.clock_jumped": clock_jumped,
    "recorder.telemetry": telemetry,
    "recorder.ended": ended,
}
