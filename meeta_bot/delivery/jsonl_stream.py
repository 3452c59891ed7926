"""The sink that writes JSON Lines to standard output."""

from __future__ import annotations

import asyncio
import os
import select
import threading
from collections import OrderedDict
from collections.abc import Sequence

from meeta_bot.delivery.jsonl_file import Line
from meeta_bot.delivery.jsonl_lines import Key, key_of, sort_out
from meeta_bot.delivery.sink import Delivery, SinkGone, SinkUnavailable
from meeta_bot.events import SealedEvent
from meeta_bot.settings import Settings

RECENT_EVENTS = 10_000  # whose digests a stream remembers; twice the largest batch that a writer makes ordinarily
_CANCEL_CHECK_MS = 200  # how soon a write to a pipe that nobody empties notices that it was cancelled


class JsonLinesStream:
    """A sink over a pipe, a terminal or whatever standard output is; it stays open.

    "Once" holds while this object lives: what was written can't be read back. There is no quarantine either, so
    an event that has no line is only named in the log; the line in its place shows that it is missing.
    """

    def __init__(self, descriptor: int, settings: Settings) -> None:
        """Write to `descriptor`, past all buffers."""
        self._descriptor = descriptor
        self._settings = settings
        self._turn = threading.Lock()
        self._last: dict[str, int] = {}
        self._recent: OrderedDict[Key, str] = OrderedDict()
        self._unwritten = bytearray()  # of the batch under way; the next write begins with it

    async def open(self) -> None:
        """Open nothing."""

    async def write(self, batch: Sequence[SealedEvent]) -> Delivery:
        """Write `batch`; see `sink.Sink.write`."""
        cancelled = threading.Event()
        try:
            return await asyncio.to_thread(self._write, batch, cancelled)
        except asyncio.CancelledError:
            cancelled.set()  # or the thread would wait for a reader for as long as the process lives
            raise

    async def close(self) -> None:
        """Close nothing: standard output stays open."""

    # --- in a thread, one at a time ---------------------------------------------------------------------------

    def _write(self, batch: Sequence[SealedEvent], cancelled: threading.Event) -> Delivery:
        with self._turn:
            sorted_out = sort_out(batch, self._digest, self._settings.jsonl_line_bytes)
            for line, text in sorted_out.lines:
                self._unwritten += text
                self._note(line)
            try:
                self._flush(cancelled)
            except OSError as error:
                reason = f"Can't write to standard output: {error.strerror}"
                is_gone = isinstance(error, BrokenPipeError) or not _is_open(self._descriptor)
                raise (SinkGone if is_gone else SinkUnavailable)(reason) from error
            return sorted_out.delivery

    def _flush(self, cancelled: threading.Event) -> None:
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        while self._unwritten and not cancelled.is_set():
            if poll.poll(_CANCEL_CHECK_MS):  # then this much does not block
                written = os.write(self._descriptor, self._unwritten[: select.PIPE_BUF])
                del self._unwritten[:written]

    def _note(self, line: Line) -> None:
        self._last[line.capture_id] = max(line.seq, self._last.get(line.capture_id, line.seq))
        self._recent[line.capture_id, line.seq] = line.digest
        if len(self._recent) > RECENT_EVENTS:
            self._recent.popitem(last=False)

    def _digest(self, event: SealedEvent) -> str | None:
        known = self._recent.get(key_of(event))
        is_old = event.seq <= self._last.get(event.capture_id, event.seq - 1)
        return known or (event.digest.hex() if is_old else None)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True
