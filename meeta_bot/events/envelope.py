"""The envelope of events, before and after the spool: all that they have besides the payload."""

from __future__ import annotations

import msgspec

from meeta_bot.events.catalog import Payload

MAIN_ROOM = "main"


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A normalized event before the spool gives it a number and a digest.

    ``occurred_at`` is the wall clock where it was seen; ``monotonic_ms`` counts from the start of the capture;
    ``server_at`` is set when the server or the sender stamped it; ``initial`` says that it was so when we came,
    ``inferred`` that it was found by comparison after a gap.
    """

    payload: Payload
    origin: str
    occurred_at: int
    monotonic_ms: int
    room: str = MAIN_ROOM
    endpoint_id: str | None = None
    server_at: int | None = None
    initial: bool = False
    inferred: bool = False

    @property
    def type(self) -> str:
        return self.payload.event_type


class SealedEvent(msgspec.Struct, frozen=True, array_like=True):
    """An event as the spool holds it and a sink stores it: numbered, in canonical form, chained by digest."""

    capture_id: str
    seq: int
    type: str
    origin: str
    room: str
    endpoint_id: str | None
    occurred_at: int
    monotonic_ms: int
    server_at: int | None
    initial: bool
    inferred: bool
    payload: str
    salt: bytes
    commitment: bytes
    digest: bytes
