"""Departures: the bot leaves because of who is in the room, or because its time is over. Pure.

People count, not sound: whoever listens in silence is company, and another bot is none.
"""

from __future__ import annotations

from typing import NamedTuple

from meeta_bot.capture.normalize import State
from meeta_bot.capture.request import CaptureRequest
from meeta_bot.events import EndReason


class Departure(NamedTuple):
    """A departure in so many seconds (0 or less: now) if nothing changes until then, and its reason."""

    seconds: float
    reason: EndReason


def next_departure(state: State, elapsed_ms: float, request: CaptureRequest) -> Departure | None:
    """Return the first that is due, `elapsed_ms` after the capture's start; None while the bot may stay for ever."""
    found: list[Departure] = []
    if request.max_duration is not None:
        found.append(Departure(request.max_duration - elapsed_ms / 1000, EndReason.MAX_DURATION))
    meeting = state.meeting
    if state.in_conference and meeting.empty_since_ms is not None:
        alone = (elapsed_ms - meeting.empty_since_ms) / 1000
        if meeting.started_at is None:
            found.append(Departure(request.nobody_came_timeout - alone, EndReason.NOBODY_CAME))
        else:
            reason = EndReason.ONLY_BOTS_LEFT if state.participants else EndReason.LEFT_ALONE
            found.append(Departure(request.left_alone_grace - alone, reason))
    return min(found, default=None)
