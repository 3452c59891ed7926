"""What a participant did, was told, and sees: plain records. Test equipment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Action:
    """Something a participant did or that was done to it, at the page's wall clock when it took effect."""

    kind: str
    endpoint_id: str
    at_ms: int
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SeenEvent:
    """Something the library told a participant: the event's string value, and its arguments made JSON."""

    name: str
    args: list[Any]
    at_ms: int


@dataclass(frozen=True)
class Peer:
    """Another occupant as lib-jitsi-meet shows it."""

    endpoint_id: str
    name: str
    role: str
    hidden: bool
