"""The protocol of sinks, which consume sealed events. Every sink passes the same conformance tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from meeta_bot.events import SealedEvent


class Delivery(msgspec.Struct, frozen=True):
    """The outcome of a batch. The three add up to its size."""

    stored: int
    duplicates: int
    quarantined: int


class SinkUnavailable(Exception):
    """A batch that is not stored, or whose answer was lost. Trying the same batch again later can succeed."""


class SinkGone(Exception):
    """A sink whose events nobody will ever take again, such as a pipe whose reader has left. Don't retry."""


class Sink(Protocol):
    """A consumer of batches, in the order of ``seq`` within each capture; the same batch may come again."""

    async def open(self) -> None:
        """Open what the sink writes to, and check that it can be written. Safe to call twice, and after `close`.

        Nobody must call it: `write` opens what it needs. It is for those who want to know before there are events.

        :raises MeetaError: it can't be written; in one line, and what to do.
        """
        ...

    async def write(self, batch: Sequence[SealedEvent]) -> Delivery:
        """Store the batch durably, all or nothing, each event at most once.

        Cancelled, it has stored the batch or not; the same batch again finds out.

        :raises SinkGone: give up on this sink.
        :raises SinkUnavailable: try again later. No other error is raised for what an event holds: an event
            that can't be stored is quarantined, so that nothing behind it waits.
        """
        ...

    async def close(self) -> None:
        """Let go of connections and files. Safe to call twice."""
        ...
