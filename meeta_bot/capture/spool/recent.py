"""The newest events of a spool, in memory: a copy of what is durable, so that cursors that keep up read no disk."""

from __future__ import annotations

import bisect
from collections.abc import Sequence

from meeta_bot.capture.spool.format import Block
from meeta_bot.capture.spool.records import Spooled
from meeta_bot.events import SealedEvent


class RecentEvents:
    """The events appended last, without a hole, `limit_bytes` of them as they are on disk."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._bytes = 0
        self._lasts: list[int] = []  # beside the blocks, to be searched
        self._blocks: list[tuple[Sequence[SealedEvent], int]] = []

    def add(self, blocks: Sequence[Block]) -> None:
        """Keep the blocks that were committed next; the oldest make room."""
        for block in blocks:
            self._lasts.append(block.last)
            self._blocks.append((block.events, len(block.packed)))
            self._bytes += len(block.packed)
        surplus, count = self._bytes - self._limit_bytes, 0
        while surplus > 0:
            surplus -= self._blocks[count][1]
            count += 1
        self._drop(count)

    def forget(self, ordinal: int) -> None:
        """Let go of the blocks up to and including `ordinal`."""
        self._drop(bisect.bisect_right(self._lasts, ordinal))

    def read(self, limit: int, after: int, *, over_holes: bool = False) -> list[Spooled]:
        """Return at most `limit` of the events that follow ordinal `after`; none when those aren't here.

        :param over_holes: those that are here, even if some are not.
        """
        found: list[Spooled] = []
        for index in range(bisect.bisect_right(self._lasts, after), len(self._lasts)):
            events = self._blocks[index][0]
            first = self._lasts[index] - len(events) + 1
            if first > after + 1 and not (found or over_holes):
                break  # what comes next is on disk only
            skipped = max(0, after + 1 - first)
            part = events[skipped : skipped + limit - len(found)]
            found += map(Spooled, range(first + skipped, first + skipped + len(part)), part)
            if len(found) >= limit:
                break
        return found

    def _drop(self, count: int) -> None:
        if count:
            self._bytes -= sum(size for _, size in self._blocks[:count])
            del self._lasts[:count], self._blocks[:count]
