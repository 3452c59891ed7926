"""The catalog of event types: their payloads, their origins, and what they can say about people."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import ClassVar, TypeVar

import msgspec


class Privacy(StrEnum):
    """The kinds of statements about people that a payload can make."""

    NEUTRAL = "neutral"
    PERSONAL = "personal"  # names, ids
    CONTENT = "content"  # what was said, written or shown


class Payload(msgspec.Struct, kw_only=True):
    """The base of all payloads."""

    event_type: ClassVar[str] = ""


class EventType(msgspec.Struct, frozen=True):
    """A row of the catalog."""

    name: str
    payload: type[Payload]
    origin: str
    privacy: Privacy

    @property
    def description(self) -> str:
        return " ".join((self.payload.__doc__ or "").split())


CATALOG: dict[str, EventType] = {}

_P = TypeVar("_P", bound=type[Payload])


def event_type(name: str, origin: str, privacy: Privacy = Privacy.NEUTRAL) -> Callable[[_P], _P]:
    def register(payload: _P) -> _P:
        payload.event_type = name
        CATALOG[name] = EventType(name, payload, origin, privacy)
        return payload

    return register
