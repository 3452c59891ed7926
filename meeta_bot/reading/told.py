"""Stored events with their payloads decoded, as everything that tells a meeting takes them."""

from __future__ import annotations

from typing import Any

import msgspec

from meeta_bot.events.document import EventRow


class ToldEvent(msgspec.Struct, frozen=True):
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


def told(row: EventRow) -> ToldEvent:
    """`row` with its payload decoded."""
    return ToldEvent(row, None if row.payload is None else msgspec.json.decode(row.payload))
