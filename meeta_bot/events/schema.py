"""Stored events for programs: JSON Schema, and payloads decoded from JSON."""

from __future__ import annotations

from typing import Any

import msgspec

from meeta_bot.events.catalog import CATALOG, Payload


def payload_from_json(event_type: str, payload: str | bytes) -> Payload:
    """Decode the typed payload of a stored event.

    :raises KeyError: no such type in the catalog.
    :raises msgspec.ValidationError: it is not of the type's shape.
    """
    return msgspec.json.decode(payload, type=CATALOG[event_type].payload)


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of an event as ``meeta-bot events --json`` prints it: one branch per type."""
    types = [entry.payload for entry in CATALOG.values()]
    references, definitions = msgspec.json.schema_components(types, ref_template="#/$defs/{name}")
    branches = [
        {
            "title": entry.name,
            "description": entry.description,
            "properties": {"type": {"const": entry.name}, "payload": reference},
            "x-origin": entry.origin,
            "x-privacy": entry.privacy.value,
        }
        for entry, reference in zip(CATALOG.values(), references, strict=True)
    ]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "meeta_bot event",
        "type": "object",
        "required": ["capture_id", "seq", "type", "origin", "room", "occurred_at", "monotonic_ms", "payload"],
        "properties": _ENVELOPE_SCHEMA,
        "oneOf": branches,
        "$defs": definitions,
    }


_ENVELOPE_SCHEMA: dict[str, Any] = {
    "capture_id": {"type": "string", "format": "uuid"},
    "seq": {"type": "integer", "minimum": 1, "description": "without holes within a capture"},
    "type": {"type": "string"},
    "origin": {"type": "string", "description": "the lib-jitsi-meet event or presence element it came from"},
    "room": {"type": "string", "description": "main, or the id of a breakout room"},
    "endpoint_id": {"type": ["string", "null"]},
    "occurred_at": {"type": "string", "format": "date-time"},
    "monotonic_ms": {"type": "integer", "description": "since the start of the capture"},
    "server_at": {"type": ["string", "null"], "format": "date-time"},
    "initial": {"type": "boolean", "description": "it was so when we came"},
    "inferred": {"type": "boolean", "description": "found by comparison after a gap"},
    "payload": {"type": ["object", "null"], "description": "null when it was erased or is in quarantine"},
    "digest": {"type": "string", "description": "hexadecimal; chains this event to the one before"},
}
