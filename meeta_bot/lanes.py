"""Lanes: what each participant of a capture did when, as intervals. Pure; made from stored events in order.

Times are milliseconds since the capture's start, by the monotonic clock. An interval that was still open when the
capture ended is closed there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import msgspec


class StoredEvent(Protocol):
    """The part of a stored event that lanes are made from."""

    @property
    def type(self) -> str: ...
    @property
    def endpoint_id(self) -> str | None: ...
    @property
    def monotonic_ms(self) -> int: ...
    @property
    def payload(self) -> dict[str, Any] | None: ...


class Interval(msgspec.Struct, frozen=True):
    """From ``start_ms`` up to ``end_ms``."""

    start_ms: int
    end_ms: int


class Lane(msgspec.Struct):
    """One endpoint: presence, open microphone, open camera, shared screen, dominant speaker, raised hand."""

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


_TRACKS = ("present", "audio", "video", "sharing", "speaking", "hand")

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
}


class _Builder:
    def __init__(self) -> None:
        self.lanes: dict[str, Lane] = {}
        self._open: dict[tuple[str, str], int] = {}  # (endpoint, track) → start
        self._speaker: str | None = None

    def feed(self, event: StoredEvent) -> None:
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
            self._depart(lane, event)
        else:
            _describe(lane, event)

    def _arrive(self, endpoint_id: str, event: StoredEvent) -> None:
        payload = event.payload or {}
        lane = self.lanes.setdefault(endpoint_id, Lane(endpoint_id))
        lane.name = payload.get("display_name") or lane.name
        lane.kind = payload.get("kind") or lane.kind
        lane.role = payload.get("role") or lane.role

    def _depart(self, lane: Lane, event: StoredEvent) -> None:
        lane.kicked = lane.kicked or (event.payload or {}).get("cause") == "kicked"
        for track in _TRACKS:
            self._close(lane.endpoint_id, track, event.monotonic_ms)
        if self._speaker == lane.endpoint_id:
            self._speaker = None

    def _speak(self, endpoint_id: str | None, event: StoredEvent) -> None:
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

    def finish(self, end_ms: int) -> list[Lane]:
        for endpoint_id, track in list(self._open):
            self._close(endpoint_id, track, end_ms)
        return list(self.lanes.values())


def _describe(lane: Lane, event: StoredEvent) -> None:
    payload = event.payload or {}
    if event.type == "participant.renamed":
        lane.name = payload.get("new_name") or lane.name
    elif event.type == "participant.role_changed":
        lane.role = payload.get("role") or lane.role


def lanes(events: Iterable[StoredEvent]) -> list[Lane]:
    """The lanes of one capture's events, given in order of ``seq``; in order of first arrival."""
    builder = _Builder()
    end_ms = 0
    for event in events:
        end_ms = max(end_ms, event.monotonic_ms)
        builder.feed(event)
    return builder.finish(end_ms)


def total_ms(intervals: Iterable[Interval]) -> int:
    """The length of all intervals together."""
    return sum(interval.end_ms - interval.start_ms for interval in intervals)
