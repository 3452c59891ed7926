"""The canonical form of a payload, and the digest chain that makes a log's completeness provable.

``commitment = SHA-256(salt ‖ canonical payload)`` and
``digest = SHA-256(digest before ‖ envelope ‖ commitment)``, where the first digest before is 32 zero bytes and
the envelope is a canonical JSON array of the other columns. Erasing a payload and its salt leaves the
commitment, so the chain still holds and the erased words can't be guessed.

The canonical form survives a round trip through PostgreSQL's jsonb unchanged: keys sorted, no NUL, no lone
surrogates, numbers finite and at most 2^53 in size, whole numbers written as integers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from hashlib import sha256
from typing import Any

import msgspec

from meeta_bot.events import Event, SealedEvent
from meeta_bot.limits import LARGEST_NUMBER
from meeta_bot.text import clean_text

GENESIS = bytes(32)
SALT_BYTES = 16
ENVELOPE_COLUMNS = SealedEvent.__struct_fields__.index("payload")
SMALLEST_NUMBER = 1e-300  # below it doubles lose precision on the way through decimal notation
DEEPEST = 64  # levels of nesting; deeper values are cut, jsonb and every JSON reader have limits of their own

_encoder = msgspec.json.Encoder(order="sorted")
_TEXT = frozenset({str})
_CANONICAL = frozenset({str, bool, type(None)})
_NUL = b"\\u0000"  # as JSON writes it


def canonical_value(value: Any, depth: int = 0) -> Any:
    """Return `value` (plain JSON types) in the form that survives jsonb."""
    if isinstance(value, str):
        return clean_text(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return _canonical_number(value)
    if depth >= DEEPEST:
        return None
    if isinstance(value, dict):
        return {clean_text(str(key)): canonical_value(item, depth + 1) for key, item in value.items()}
    return [canonical_value(item, depth + 1) for item in value]


def _canonical_number(number: float) -> int | float | str | None:
    if isinstance(number, float):
        if not math.isfinite(number):
            return None
        if number.is_integer():
            number = int(number)
        elif abs(number) < SMALLEST_NUMBER:
            return 0
    return number if abs(number) <= LARGEST_NUMBER else str(number)


def _are_canonical(items: Iterable[Any], depth: int) -> bool:
    """Check that values, `depth` levels deep, are in canonical form already, but for what texts hold; nearly all are.

    Done for every event, and a third of the work of making the form. False is always a right answer.
    """
    for item in items:
        kind = type(item)
        if kind in _CANONICAL:
            continue
        if kind is float:
            if item.is_integer() or not SMALLEST_NUMBER <= abs(item) <= LARGEST_NUMBER:
                return False
        elif kind is int:
            if not -LARGEST_NUMBER <= item <= LARGEST_NUMBER:
                return False
        elif not _is_canonical_container(item, depth):
            return False
    return True


def _is_canonical_container(value: Any, depth: int) -> bool:
    """Check the same of one dict or list; False of anything else."""
    kind = type(value)
    if depth >= DEEPEST:
        return False
    if kind is dict:
        return _TEXT.issuperset(map(type, value)) and _are_canonical(value.values(), depth + 1)
    return kind is list and _are_canonical(value, depth + 1)


def canonical_json(payload: Any) -> bytes:
    """Return the canonical bytes of a payload: a struct, or what was decoded from JSON."""
    # A struct is encoded as it is: making a dict of it first would cost as much again.
    is_struct = isinstance(payload, msgspec.Struct)
    if _are_canonical(msgspec.structs.astuple(payload), 1) if is_struct else _are_canonical((payload,), 0):
        try:
            encoded = _encoder.encode(payload)
        except UnicodeEncodeError:  # a lone surrogate
            encoded = _NUL
        if _NUL not in encoded:
            return encoded
    return _encoder.encode(canonical_value(msgspec.to_builtins(payload)))


def commit(salt: bytes, payload: bytes) -> bytes:
    """Return the commitment to a canonical payload; 32 bytes."""
    return sha256(salt + payload).digest()


def link(previous: bytes, envelope: tuple[Any, ...], commitment: bytes) -> bytes:
    """Return the digest of an event with this `envelope`, after one whose digest is `previous`; 32 bytes."""
    return sha256(previous + msgspec.json.encode(envelope) + commitment).digest()


def envelope_of(event: SealedEvent) -> tuple[Any, ...]:
    """Return the columns that a digest covers besides the payload, in their fixed order."""
    return msgspec.structs.astuple(event)[:ENVELOPE_COLUMNS]


def seal(capture_id: str, seq: int, previous: bytes, event: Event, salt: bytes) -> SealedEvent:
    """Number `event` as `seq` of its capture and chain it to the digest of the one before."""
    payload = canonical_json(event.payload)
    commitment = commit(salt, payload)
    envelope = (
        capture_id,
        seq,
        event.type,
        clean_text(event.origin),
        clean_text(event.room),
        None if event.endpoint_id is None else clean_text(event.endpoint_id),
        event.occurred_at,
        event.monotonic_ms,
        event.server_at,
        event.initial,
        event.inferred,
    )
    return SealedEvent(*envelope, payload.decode(), salt, commitment, link(previous, envelope, commitment))
