"""The lives of recorder and hook, by their own reports."""

from __future__ import annotations

import msgspec

from meeta_bot import events
from meeta_bot.capture.normalize import gaps
from meeta_bot.capture.normalize.arguments import argument, event, text
from meeta_bot.capture.normalize.reports import (
    ClockReport,
    EndReport,
    ErrorReport,
    HeartbeatReport,
    StartReport,
    TelemetryReport,
    report_of,
)
from meeta_bot.capture.normalize.state import Message, State, updated
from meeta_bot.events import Event


class _Installed(msgspec.Struct):
    page_load: str
    events: list[str]
    library_version: str | None = None


def started(state: State, message: Message) -> tuple[State, list[Event]]:
    """Note the capture's beginning."""
    report = report_of(message, StartReport)
    return state, [event(message, events.CaptureStarted(**msgspec.structs.asdict(report)))]


def installed(state: State, message: Message) -> tuple[State, list[Event]]:
    """Note the hook: ``hook.installed({page_load, events, library_version})``."""
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
    """Note that the bot leaves: ``hook.leaving()``. From now on, departures are its own view closing."""
    return updated(state, leaving=True), []


def page_is_empty(state: State, message: Message) -> tuple[State, list[Event]]:
    """Note nothing: ``hook.left()`` says that the hook has handed over everything."""
    return state, []


def hook_error(state: State, message: Message) -> tuple[State, list[Event]]:
    """Note a failed listener: ``hook.error(where, message)``. The event it was for is lost but for this."""
    return state, [event(message, events.CaptureError(where=text(message, 0), message=text(message, 1)))]


def join_failed(state: State, message: Message) -> tuple[State, list[Event]]:
    """Note a failed join: ``hook.join_failed(message)``. The library threw while the conference was built."""
    return state, [event(message, events.CaptureError(where="join", message=text(message, 0)))]


def recorder_error(state: State, message: Message) -> tuple[State, list[Event]]:
    """Note an error in the recorder."""
    report = report_of(message, ErrorReport)
    return state, [event(message, events.CaptureError(where=report.where, message=report.message))]


def heartbeat(state: State, message: Message) -> tuple[State, list[Event]]:
    """Note the books, this heartbeat not counted."""
    report = report_of(message, HeartbeatReport)
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
        page_made=report.page_made,
        page_taken=report.page_taken,
        page_missed=report.page_missed,
    )
    return updated(state, heartbeat_ms=message.monotonic_ms), [event(message, payload)]


def clock_jumped(state: State, message: Message) -> tuple[State, list[Event]]:
    """Note a wall clock that was set."""
    return state, [event(message, events.CaptureClockJumped(jump_ms=report_of(message, ClockReport).jump_ms))]


def telemetry(state: State, message: Message) -> tuple[State, list[Event]]:
    """Keep statistics from now on, or sample them away."""
    return updated(state, telemetry=report_of(message, TelemetryReport).is_kept), []


def ended(state: State, message: Message) -> tuple[State, list[Event]]:
    """Note the end, and before it the gaps of what is out of view and stays so."""
    report = report_of(message, EndReport)
    state, found = gaps.closed(state, message, "the end of the capture")
    counts = state.counts
    payload = events.CaptureEnded(
        reason=report.reason,
        detail=report.detail,
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
    StartReport.origin: started,
    "hook.installed": installed,
    "hook.leaving": leaving,
    "hook.left": page_is_empty,
    "hook.error": hook_error,
    "hook.join_failed": join_failed,
    ErrorReport.origin: recorder_error,
    HeartbeatReport.origin: heartbeat,
    ClockReport.origin: clock_jumped,
    TelemetryReport.origin: telemetry,
    EndReport.origin: ended,
}
