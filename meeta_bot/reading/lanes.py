"""Lanes: the doings of each participant of a capture as intervals. Pure; made from stored events in order.

Times are milliseconds since the capture's start, by the monotonic clock. An interval that was still open when the
capture ended is closed there. Gaps are intervals like others: of such a time lanes show what was known before.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import msgspec


class LaneEvent(Protocol):
    """The part of a stored event that lanes are made from."""

    @property
    def type(self) -> str: ...
    @property
    def endpoint_id(self) -> str | None: ...
    @property
    def monotonic_ms(self) -> int: ...
    @property
    def payload(self) -> dict[str, Any] | None: ...


class Interval(msgspec.Struct, frozen=True, gc=False):
    """An interval from ``start_ms`` up to ``end_ms``."""

    start_ms: int
    end_ms: int


class Lane(msgspec.Struct):
    """The lane of one endpoint: presence, open microphone and camera, shared screen, dominant speaker, raised hand.

    ``breakout`` is the part of ``present`` that was spent in breakout rooms, where the bot sees nothing else.
    """

    endpoint_id: str
    name: str | None = None
    kind: str = "human"
    role: str | None = None
    kicked: bool = False
    present: list[Interval] = []
    audio: list[Interval] = []
    video: list[Interval] = []
    sharing: list[Interval] = []
    speaking: list[Interval] = []
    hand: list[Interval] = []
    breakout: list[Interval] = []


_CLOCKS_APART_MS = 1000  # the page's clock is put on the recorder's
_TRACKS = ("present", "audio", "video", "sharing", "speaking", "hand", "breakout")
_IN_SIGHT = ("audio", "video", "sharing", "speaking", "hand")

# Which interval of its endpoint's lane an event opens or closes.
_OPENS = {
    "participant.joined": "present",
    "audio.unmuted": "audio",
    "video.unmuted": "video",
    "screen_share.started": "sharing",
    "hand.raised": "hand",
}
_CLOSES = {
    "audio.muted": "audio",
    "video.muted": "video",
    "screen_share.stopped": "sharing",
    "hand.lowered": "hand",
    "participant.returned": "breakout",
}


# All events that lanes are made from.
LANE_TYPES = (
    *_OPENS,
    *_CLOSES,
    *("participant.left", "participant.renamed", "participant.role_changed", "participant.moved_to_breakout"),
    "dominant_speaker.changed",
)


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """An interval in which the capture did not see, or saw only part.

    ``cause`` and ``lost`` are values of `GapCause` and `Lost`. ``is_open``: it goes on, as far as the events reach.
    """

    start_ms: int
    end_ms: int
    cause: str | None
    lost: str | None
    evidence: str | None = None
    missed: int | None = None
    is_open: bool = False


class LaneBuilder:
    """A builder of the lanes of one capture, fed with its events in order of ``seq``; only `LANE_TYPES` are needed."""

    def __init__(self) -> None:
        self.lanes: dict[str, Lane] = {}
        self._open: dict[tuple[str, str], int] = {}  # (endpoint, track) → start
        self._speaker: str | None = None
        self._last_ms = 0

    def feed(self, event: LaneEvent) -> None:
        """Take the next event."""
        self._last_ms = max(self._last_ms, event.monotonic_ms)
        endpoint_id = event.endpoint_id
        if event.type == "participant.joined" and endpoint_id is not None:
            self._arrive(endpoint_id, event)
        lane = self.lanes.get(endpoint_id or "")
        if event.type == "dominant_speaker.changed":
            self._speak(endpoint_id, event)
        if lane is None:
            return
        if track := _OPENS.get(event.type):
            self._open.setdefault((lane.endpoint_id, track), event.monotonic_ms)
        elif track := _CLOSES.get(event.type):
            self._close(lane.endpoint_id, track, event.monotonic_ms)
        elif event.type == "participant.left":
            self._depart(lane, event, _TRACKS)
        elif event.type == "participant.moved_to_breakout":
            self._depart(lane, event, _IN_SIGHT)
            self._open.setdefault((lane.endpoint_id, "breakout"), event.monotonic_ms)
        else:
            _describe(lane, event)

    def _arrive(self, endpoint_id: str, event: LaneEvent) -> None:
        payload = event.payload or {}
        lane = self.lanes.setdefault(endpoint_id, Lane(endpoint_id))
        lane.name = payload.get("display_name") or lane.name
        lane.kind = payload.get("kind") or lane.kind
        lane.role = payload.get("role") or lane.role

    def _depart(self, lane: Lane, event: LaneEvent, tracks: tuple[str, ...]) -> None:
        lane.kicked = lane.kicked or (event.payload or {}).get("cause") == "kicked"
        for track in tracks:
            self._close(lane.endpoint_id, track, event.monotonic_ms)
        if self._speaker == lane.endpoint_id:
            self._speaker = None

    def _speak(self, endpoint_id: str | None, event: LaneEvent) -> None:
        if self._speaker is not None:
            self._close(self._speaker, "speaking", event.monotonic_ms)
        silence = (event.payload or {}).get("silence") is True
        self._speaker = None if silence or endpoint_id not in self.lanes else endpoint_id
        if self._speaker is not None:
            self._open[(self._speaker, "speaking")] = event.monotonic_ms

    def _close(self, endpoint_id: str, track: str, at_ms: int) -> None:
        start_ms = self._open.pop((endpoint_id, track), None)
        if start_ms is not None:
            intervals: list[Interval] = getattr(self.lanes[endpoint_id], track)
            intervals.append(Interval(start_ms, max(start_ms, at_ms)))

    def finish(self, end_ms: int = 0) -> list[Lane]:
        """Return the lanes in order of first arrival, what is open closed at `end_ms`, or later at the last event."""
        end_ms = max(end_ms, self._last_ms)
        for endpoint_id, track in list(self._open):
            self._close(endpoint_id, track, end_ms)
        return list(self.lanes.values())


def _describe(lane: Lane, event: LaneEvent) -> None:
    payload = event.payload or {}
    if event.type == "participant.renamed":
        lane.name = payload.get("new_name") or lane.name
    elif event.type == "participant.role_changed":
        lane.role = payload.get("role") or lane.role


def gap_of(event: LaneEvent, wall_ms: int) -> Gap | None:
    """Return the gap of a ``capture.gap``, whose wall clock is given; None when its bounds can't be known."""
    payload = event.payload or {}
    bounds = [payload.get("from_ms"), payload.get("to_ms")]
    if None in bounds:  # of an older recorder: only the wall clock, and the event has both
        bounds = [_elsewhere(event, wall_ms, payload.get(name)) for name in ("from_at", "to_at")]
    start_ms, end_ms = bounds
    if not isinstance(start_ms, int) or not isinstance(end_ms, int):
        return None
    return Gap(
        start_ms=start_ms,
        end_ms=max(start_ms, end_ms),
        cause=payload.get("cause"),
        lost=payload.get("lost"),
        evidence=payload.get("evidence"),
        missed=payload.get("missed"),
    )


def _elsewhere(event: LaneEvent, wall_ms: int, at_ms: Any) -> int | None:
    return event.monotonic_ms - (wall_ms - at_ms) if isinstance(at_ms, int) else None


# Events that begin a time without sight, before its gap is recorded: the cause, and what is lost then.
_BLINDS = {
    "signalling.lost": ("signalling_lost", "everything"),
    "capture.reconnecting": ("signalling_lost", "everything"),
    "bridge_channel.closed": ("bridge_channel_closed", "bridge_only"),
    "bridge.lost": ("bridge_unheard", "bridge_only"),
}
_ENDS_BLINDNESS = {
    "bridge_channel.opened": ("bridge_only",),
    "bridge.restored": ("bridge_only",),
    "capture.ended": ("everything", "bridge_only"),
}


# All events that gaps are made from.
GAP_TYPES = ("capture.gap", *_BLINDS, *_ENDS_BLINDNESS)


class GapBuilder:
    """A builder of the gaps of one capture, fed with its events in order of ``seq``; only `GAP_TYPES` are needed.

    The last gaps may be open: signalling, room or bridge channel are lost and not back yet.
    """

    def __init__(self) -> None:
        self._found: list[Gap] = []
        self._blind: dict[str, Gap] = {}  # by what is lost
        self._last_ms = 0

    def feed(self, event: LaneEvent, wall_ms: int) -> None:
        """Take the next event, with its wall clock in milliseconds."""
        self._last_ms = max(self._last_ms, event.monotonic_ms)
        if event.type == "capture.gap":
            gap = gap_of(event, wall_ms)
            if gap is not None:
                self._found.append(gap)
                self._blind = {lost: one for lost, one in self._blind.items() if not _explains(gap, one)}
        elif event.type in _BLINDS:
            self._begin(event, wall_ms)
        for lost in _ENDS_BLINDNESS.get(event.type, ()):
            self._blind.pop(lost, None)

    def _begin(self, event: LaneEvent, wall_ms: int) -> None:
        payload = event.payload or {}
        cause, lost = _BLINDS[event.type]
        since = _elsewhere(event, wall_ms, payload.get("since_at"))
        start_ms = min(event.monotonic_ms, since) if since is not None else event.monotonic_ms
        cause = payload.get("cause") or cause
        self._blind.setdefault(lost, Gap(start_ms=start_ms, end_ms=start_ms, cause=cause, lost=lost, is_open=True))

    def finish(self, end_ms: int = 0) -> list[Gap]:
        """Return the gaps, those that are open up to `end_ms`, or later to the last event."""
        end_ms = max(end_ms, self._last_ms)
        still = (msgspec.structs.replace(gap, end_ms=max(gap.start_ms, end_ms)) for gap in self._blind.values())
        return [*self._found, *still]


def _explains(gap: Gap, blindness: Gap) -> bool:
    """Tell whether `gap` is the record of a time without sight. Without the room the bridge channel is lost, too."""
    begins_before = gap.start_ms - _CLOCKS_APART_MS <= blindness.start_ms <= gap.end_ms
    return begins_before and (gap.lost != "bridge_only" or blindness.lost == "bridge_only")


def merged(intervals: Iterable[Interval | Gap]) -> list[Interval]:
    """Merge intervals into some that don't overlap, in order of time, with the same moments."""
    found: list[Interval] = []
    for one in sorted(intervals, key=lambda one: one.start_ms):
        if found and one.start_ms <= found[-1].end_ms:
            found[-1] = Interval(found[-1].start_ms, max(found[-1].end_ms, one.end_ms))
        else:
            found.append(Interval(one.start_ms, one.end_ms))
    return found


def total_ms(intervals: Iterable[Interval]) -> int:
    """Return the length of all intervals together."""
    return sum(interval.end_ms - interval.start_ms for interval in intervals)
