"""The log line of an event that goes to quarantine, the same for every sink."""

from __future__ import annotations

from structlog.typing import FilteringBoundLogger

from meeta_bot.events.quarantine import HeldEvent
from meeta_bot.text import clean_text


def log_quarantined(log: FilteringBoundLogger, held: HeldEvent) -> None:
    """Say in a sink's log that an event went to quarantine, and why."""
    capture_id = clean_text(held.event.capture_id)
    log.error("event quarantined", kind=held.kind, capture_id=capture_id, seq=held.event.seq, reason=held.reason)
