"""Stored events with their payloads decoded, as lanes and stories take them."""

from __future__ import annotations

from typing import Any

import msgspec

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
    """Decode the payload of `row`."""
    return DecodedEvent(row, None if row.payload is None else msgspec.json.decode(row.payload))
