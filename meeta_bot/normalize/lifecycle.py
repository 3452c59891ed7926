"""What the recorder and the hook say of themselves."""

from __future__ import annotations

import msgspec

from meeta_bot import events
from meeta_bot.events import Event
from meeta_bot.normalize.arguments import Whole, argument, event, text
from meeta_bot.normalize.state import Message, State, updated


class _Installed(msgspec.Struct):
    page_load: str
    events: list[str]
    library_version: str | None = None


class _Bounds(msgspec.Struct):
    from_at: Whole
    to_at: Whole
    missed: Whole | None = None


class _Overflow(_Bounds, kw_only=True):
    missed: Whole


def started(state: State, message: Message) -> tuple[State, list[Event]]:
    """``recorder.started(fields of CaptureStarted)``."""
    return state, [event(message, msgspec.convert(argument(message, 0), events.CaptureStarted))]


def installed(state: State, message: Message) -> tuple[State, list[Event]]:
    """``hook.installed({page_load, events, library_version})``."""
    from meeta_bot.normalize import known_origins

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


def overflow(state: State, message: Message) -> tuple[State, list[Event]]:
    """``hook.overflow({missed, from_at, to_at})``: the page's buffer was full."""
    given = msgspec.convert(argument(message, 0), _Overflow)
    payload = events.CaptureGap(
        cause=events.GapCause.PAGE_BUFFER_OVERFLOW,
        lost=events.Lost.EVERYTHING,
        from_at=given.from_at,
        to_at=given.to_at,
        evidence="counted by the page",
        missed=given.missed,
    )
    return state, [event(message, payload)]


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
    """``recorder.heartbeat()``: the books, this heartbeat not counted."""
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
    )
    return state, [event(message, payload)]


def gap(state: State, message: Message) -> tuple[State, list[Event]]:
    """``recorder.gap(fields of CaptureGap)``."""
    msgspec.convert(argument(message, 0), _Bounds)
    return state, [event(message, msgspec.convert(argument(message, 0), events.CaptureGap))]


def ended(state: State, message: Message) -> tuple[State, list[Event]]:
    """``recorder.ended(fields of CaptureEnded)``: nothing comes after it."""
    payload = msgspec.convert(argument(message, 0), events.CaptureEnded)
    return updated(state, ended=True, in_conference=False), [event(message, payload)]


RULES = {
    "recorder.started": started,
    "hook.installed": installed,
    "hook.leaving": leaving,
    "hook.left": page_is_empty,
    "hook.overflow": overflow,
    "hook.error": hook_error,
    "hook.join_failed": join_failed,
    "recorder.error": recorder_error,
    "recorder.heartbeat": heartbeat,
    "recorder.gap": gap,
    "recorder.ended": ended,
}
