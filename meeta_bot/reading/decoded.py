"""Stored events with their payloads decoded, as lanes and stories take them."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from meeta_bot.events import CATALOG, Payload
from meeta_bot.events.document import EventRow


class DecodedEvent(msgspec.Struct, frozen=True):
    """A stored event with its payload decoded."""

    row: EventRow
    payload: dict[str, Any] | None

    @property
    def type(self) -> str:
        return self.row.type

    @property
    def endpoint_id(self) -> str | None:
        return self.row.endpoint_id

    @property
    def monotonic_ms(self) -> int:
        return self.row.monotonic_ms


def decoded(row: EventRow) -> DecodedEvent:
    """Decode the payload of `row`, without what is not of the kind that its field has: of that nothing is known."""
    if row.payload is None:
        return DecodedEvent(row, None)
    payload = msgspec.json.decode(row.payload)
    return DecodedEvent(row, _fitting(row.type, payload) if isinstance(payload, dict) else {})


def _fitting(event_type: str, payload: dict[str, Any]) -> dict[str, Any]:
    known = CATALOG.get(event_type)
    if known is None or _fits(payload, known.payload):
        return payload
    kinds = _kinds(known.payload)
    return {name: value for name, value in payload.items() if name not in kinds or _fits(value, kinds[name])}


def _fits(value: Any, kind: Any) -> bool:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        return str(error).startswith("Invalid enum value")  # a newer recorder's
    return True


@cache
def _kinds(payload: type[Payload]) -> dict[str, Any]:
    return {field.encode_name: field.type for field in msgspec.structs.fields(payload)}
