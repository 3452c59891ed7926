"""Batches of events sorted into JSON Lines.

A line is the event as ``meeta-bot export`` prints it, with commitment and salt, so that the digest chain can be
recomputed from the lines alone. An event that has no line (a time outside the years 1 to 9999, a payload that is not
JSON) becomes a placeholder with the same seq, commitment and digest and no payload, and goes to quarantine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from meeta_bot.delivery.jsonl_file import Line
from meeta_bot.delivery.quarantine_log import log_quarantined
from meeta_bot.delivery.sink import Delivery
from meeta_bot.events import SealedEvent
from meeta_bot.events.document import EventRow, chained_document, json_line, sealed_row
from meeta_bot.events.quarantine import HeldEvent, conflict_reason, fitted, sealed_json
from meeta_bot.logs import get_logger
from meeta_bot.text import clean_text

Key = tuple[str, int]
_HAS_NO_LINE = (ValueError, OverflowError, RecursionError, msgspec.MsgspecError)  # what an event holds can't be JSON

_log = get_logger("jsonl")


class SortedBatch(msgspec.Struct):
    """A batch sorted out: new lines in order, placeholders among them, and events for quarantine."""

    lines: list[tuple[Line, bytes]]
    held: list[HeldEvent]
    delivery: Delivery


def sort_out(
    batch: Sequence[SealedEvent], digest_of: Callable[[SealedEvent], str | None], longest_line: int
) -> SortedBatch:
    """Tell new events from duplicates, conflicts, and those that have no line.

    :param digest_of: the digest in hexadecimal under which an event's number is there; None when it is not.
    """
    lines: list[tuple[Line, bytes]] = []
    held: dict[tuple[Key, str], HeldEvent] = {}
    seen: dict[Key, str] = {}
    duplicates = 0
    for event in batch:
        key, digest = key_of(event), event.digest.hex()
        there = seen.get(key) or digest_of(event)
        if there == digest or (key, digest) in held:
            duplicates += 1
        elif there is not None:
            held[key, digest] = HeldEvent(event, "conflict", conflict_reason(there))
        else:
            seen[key] = digest
            text, refusal = _line_of(event, longest_line)
            if text is not None:
                lines.append((Line(event.capture_id, event.seq, digest), text))
            if refusal is not None:
                held[key, digest] = HeldEvent(event, "refused", refusal)
    for one in held.values():
        log_quarantined(_log, one)
    stored = len(batch) - duplicates - len(held)
    return SortedBatch(lines, list(held.values()), Delivery(stored, duplicates, len(held)))


def key_of(event: SealedEvent) -> Key:
    """Return the name of an event: its capture and its number."""
    return event.capture_id, event.seq


def _line_of(event: SealedEvent, longest: int) -> tuple[bytes | None, str | None]:
    """Make the line of `event`; or the one in its place, None if there can't be one either, and the reason."""
    try:
        return _encode(sealed_row(event), longest), None
    except _HAS_NO_LINE as error:
        reason = clean_text(f"{type(error).__name__}: {error}")
    try:
        return _encode(_placeholder(event, reason), longest), reason
    except _HAS_NO_LINE:
        return None, reason


def _encode(row: EventRow, longest: int) -> bytes:
    line = json_line(chained_document(row))
    if len(line) > longest:
        raise ValueError(f"{len(line)} bytes are too long for a line, of which {longest} are allowed")
    return line


def _placeholder(event: SealedEvent, reason: str) -> EventRow:
    """Make the row that can be written in place of `event`."""
    return msgspec.structs.replace(sealed_row(fitted(event)), payload=None, salt=None, quarantine_reason=reason)


def quarantine_line(held: HeldEvent) -> bytes:
    """Make the line of the whole event; ``sealed`` is a text: JSON as in ``meeta.quarantine``."""
    document = {
        "capture_id": clean_text(held.event.capture_id),
        "seq": held.event.seq,
        "digest": held.event.digest.hex(),
        "kind": held.kind,
        "reason": held.reason,
        "sealed": sealed_json(held.event),
    }
    return json_line(document)
