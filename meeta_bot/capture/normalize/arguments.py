"""Arguments of messages: the shapes that hook/serialize.js gives to the library's objects."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec

from meeta_bot.capture.normalize.state import Message
from meeta_bot.events import Event, ParticipantKind, Payload
from meeta_bot.limits import LARGEST_NUMBER

JIGASI = "http://jitsi.org/protocol/jigasi"
JIBRI = "http://jitsi.org/protocol/jibri"
TRANSCRIBER = "http://jitsi.org/protocol/transcriber"
Whole = Annotated[int, msgspec.Meta(ge=-LARGEST_NUMBER, le=LARGEST_NUMBER)]
Number = Annotated[float, msgspec.Meta(ge=-LARGEST_NUMBER, le=LARGEST_NUMBER)]
Ago = Annotated[float, msgspec.Meta(ge=0, le=10**12)]  # milliseconds before the message, thirty years at most
LATEST_TIME = 253_402_300_799_000  # the end of the year 9999, in milliseconds since 1970


class Malformed(Exception):
    """A message that is not of the shape that its origin has; it is kept as unknown."""


class ParticipantArgument(msgspec.Struct):
    """A JitsiParticipant."""

    id: str
    name: str | None = None
    role: str | None = None
    hidden: bool = False
    bot_type: str | None = None
    stats_id: str | None = None
    user_id: str | None = None
    is_replacing: bool = False
    is_replaced: bool = False
    features: list[str] = []

    @property
    def kind(self) -> ParticipantKind:
        if JIBRI in self.features:
            return ParticipantKind.RECORDER
        if TRANSCRIBER in self.features or self.id == "transcriber":
            return ParticipantKind.TRANSCRIBER
        if JIGASI in self.features:
            return ParticipantKind.PHONE
        if self.bot_type:
            return ParticipantKind.BOT
        return ParticipantKind.HIDDEN if self.hidden else ParticipantKind.HUMAN


class RecorderSessionArgument(msgspec.Struct):
    """A JibriSession."""

    id: str | None = None
    status: str | None = None
    mode: str | None = None
    error: str | None = None
    initiator: str | None = None
    terminator: str | None = None


class TrackArgument(msgspec.Struct):
    """A JitsiTrack."""

    endpoint_id: str | None = None
    local: bool = False
    media_type: str | None = None
    video_type: str | None = None
    source_name: str | None = None
    muted: bool | None = None


def argument(message: Message, index: int) -> Any:
    """Return the argument at `index`, None where there is none."""
    return message.args[index] if index < len(message.args) else None


def text(message: Message, index: int) -> str:
    """Return a text argument.

    :raises Malformed: it is missing or not a text.
    """
    value = argument(message, index)
    if not isinstance(value, str):
        raise Malformed(f"argument {index} of {message.origin} is not a text")
    return value


def optional_text(value: Any) -> str | None:
    """Return `value` if it is a text, else None."""
    return value if isinstance(value, str) else None


def optional_milliseconds(value: Any) -> int | None:
    """Return a point in time, given as a number or as digits; None for anything else and for impossible times."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:20])
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if 0 < value <= LATEST_TIME else None


def iso_milliseconds(value: Any) -> int | None:
    """Return a point in time given as ISO 8601 (XEP-0203 stamps), else None."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:  # as XEP-0091 wrote it, in UTC
            moment = moment.replace(tzinfo=UTC)
        return optional_milliseconds(moment.timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        return None


def participant_argument(message: Message, index: int) -> ParticipantArgument:
    """Return a JitsiParticipant argument.

    :raises msgspec.ValidationError: it is something else.
    """
    return msgspec.convert(argument(message, index), ParticipantArgument)


def endpoint_of(value: Any) -> str | None:
    """Return the endpoint id of an argument that is a JitsiParticipant or an id."""
    if isinstance(value, dict):
        value = value.get("id")
    return optional_text(value)


def event(
    message: Message,
    payload: Payload,
    endpoint_id: str | None = None,
    *,
    origin: str | None = None,
    initial: bool = False,
    inferred: bool = False,
    server_at: int | None = None,
) -> Event:
    """Make an event that happened when `message` was seen."""
    return Event(
        payload=payload,
        origin=origin or message.origin,
        occurred_at=message.wall_ms,
        monotonic_ms=message.monotonic_ms,
        endpoint_id=endpoint_id,
        server_at=server_at,
        initial=initial,
        inferred=inferred,
    )
