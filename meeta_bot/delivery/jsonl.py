"""The sink that writes JSON Lines to a file, durably and once over restarts.

In memory are the last number and digest of each capture, and where every 256th line of it begins. Order within a
capture makes what is above the last number new; anything else is searched for in the file, from the nearest known mark
on. So memory grows with captures and hardly with events, and an old event that comes again is compared by its digest
like a recent one.

What has no line of its own, and an event whose number is taken under another digest, goes to
``FILE.quarantine.jsonl``, and the log says so; see `jsonl_lines`.
"""

from __future__ import annotations

import asyncio
import bisect
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import msgspec

from meeta_bot.delivery.jsonl_file import EventFile, Line
from meeta_bot.delivery.jsonl_lines import Key, key_of, quarantine_line, sort_out
from meeta_bot.delivery.jsonl_stream import JsonLinesStream
from meeta_bot.delivery.sink import Delivery, SinkUnavailable
from meeta_bot.errors import UsageError
from meeta_bot.events import SealedEvent
from meeta_bot.events.quarantine import HeldEvent
from meeta_bot.logs import get_logger
from meeta_bot.settings import Settings

STANDARD_OUTPUT = "-"
MARK_EVERY = 256  # lines of a capture between two marks: 500 repeated events cost a search of about as many

_T = TypeVar("_T")

_log = get_logger("jsonl")


def standard_output(settings: Settings) -> JsonLinesStream:
    """Return the sink of this process's standard output.

    :raises UsageError: there is no standard output.
    """
    try:
        return JsonLinesStream(sys.stdout.fileno(), settings)
    except (AttributeError, OSError, ValueError):
        raise UsageError("There is no standard output", hint="name a file instead of -") from None


class JsonLinesSink:
    """A sink over a file. Tasks may share one; it opens the file when needed, also after `close`."""

    def __init__(self, path: Path, settings: Settings) -> None:
        self._path = path
        self._settings = settings
        # One thread, of its own: a cancelled write still ends in it, and the next waits for that; whoever else needs a
        # thread, such as for looking up a host, does not wait for a disk that hangs.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="jsonl")
        self._file: EventFile | None = None
        self._quarantine: EventFile | None = None
        self._stored = _StoredEvents()
        self._held: set[str] = set()  # digests in quarantine

    @property
    def quarantine_path(self) -> Path:
        """File of the events that can't be stored as they are; there is none before the first of them."""
        return self._path.with_name(f"{self._path.name}.quarantine.jsonl")

    async def open(self) -> None:
        """Open the file, read its events, and repair what a killed process left unfinished.

        :raises UsageError: there can't be such a file, it holds something else, or another process writes to it.
        """
        try:
            await self._in_thread(self._open)
        except OSError as error:
            raise UsageError(f"Can't read {self._path}: {error.strerror}", hint="name another file") from error

    async def write(self, batch: Sequence[SealedEvent]) -> Delivery:
        """Store `batch`; see `sink.Sink.write`."""
        if not batch:
            return Delivery(0, 0, 0)
        try:
            return await self._in_thread(lambda: self._write(batch))
        except UsageError as error:
            raise SinkUnavailable(f"{error}; {error.hint}") from error
        except OSError as error:
            raise SinkUnavailable(f"Can't write {self._path}: {error.strerror}") from error

    async def close(self) -> None:
        """Let go of the file. Safe to call twice."""
        await self._in_thread(self._close)

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    # --- in a thread, one at a time ---------------------------------------------------------------------------

    def _open(self) -> EventFile:
        if self._file is not None and self._file.is_current():
            return self._file
        if self._file is not None:
            _log.warning("file was moved or changed, opening it anew", file=str(self._path))
        self._close()
        try:
            file = self._file = EventFile(self._path, self._settings.jsonl_line_bytes)
            file.recover(self._stored.note)
            if self.quarantine_path.exists():
                self._open_quarantine()
        except BaseException as error:
            self._close()
            if isinstance(error, OSError):
                raise UsageError(f"Can't read {self._path}: {error.strerror}", hint="name another file") from error
            raise
        return file

    def _open_quarantine(self) -> EventFile:
        if self._quarantine is None:
            self._quarantine = EventFile(self.quarantine_path, longest_line=-1)
            self._quarantine.recover(lambda line, _: self._held.add(line.digest))
        return self._quarantine

    def _close(self) -> None:
        for file in (self._file, self._quarantine):
            if file is not None:
                file.close()
        self._file = self._quarantine = None
        self._stored = _StoredEvents()
        self._held = set()

    def _write(self, batch: Sequence[SealedEvent]) -> Delivery:
        file = self._open()
        there = self._stored.digests(batch, file)
        sorted_out = sort_out(batch, lambda event: there.get(key_of(event)), self._settings.jsonl_line_bytes)
        self._put_into_quarantine(sorted_out.held)
        if sorted_out.lines:
            offset = file.length
            file.append(b"".join(text for _, text in sorted_out.lines))
            for line, text in sorted_out.lines:
                self._stored.note(line, offset)
                offset += len(text)
        return sorted_out.delivery

    def _put_into_quarantine(self, held: Iterable[HeldEvent]) -> None:
        """Store events in quarantine: first, so that a placeholder never stands for an event that is nowhere."""
        new = {one.event.digest.hex(): one for one in held if one.event.digest.hex() not in self._held}
        if new:
            self._open_quarantine().append(b"".join(quarantine_line(one) for one in new.values()))
            self._held.update(new)


# --- what a file holds --------------------------------------------------------------------------------------------


class _StoredCapture(msgspec.Struct):
    """The last event of a capture in a file, and where every `MARK_EVERY`th of its lines begins."""

    last_seq: int
    last_digest: str
    lines: int = 0
    mark_seqs: list[int] = msgspec.field(default_factory=list)
    mark_offsets: list[int] = msgspec.field(default_factory=list)


class _StoredEvents:
    """The events that a file holds."""

    def __init__(self) -> None:
        self._captures: dict[str, _StoredCapture] = {}

    def note(self, line: Line, offset: int) -> None:
        """Remember that the file has `line` after `offset` bytes."""
        capture = self._captures.get(line.capture_id)
        if capture is None:
            capture = self._captures[line.capture_id] = _StoredCapture(line.seq, line.digest)
        if line.seq >= capture.last_seq:
            if capture.lines % MARK_EVERY == 0:
                capture.mark_seqs.append(line.seq)
                capture.mark_offsets.append(offset)
            capture.lines += 1
            capture.last_seq, capture.last_digest = line.seq, line.digest

    def digests(self, batch: Iterable[SealedEvent], file: EventFile) -> dict[Key, str]:
        """Return the digests under which `file` has the numbers of those of `batch` whose number it has.

        A number that came late, behind larger ones, is behind its mark as well: marks only grow.
        """
        found: dict[Key, str] = {}
        earlier: set[Key] = set()
        start = file.length
        for event in batch:
            capture = self._captures.get(event.capture_id)
            if capture is None or event.seq > capture.last_seq:
                continue
            if event.seq == capture.last_seq:
                found[key_of(event)] = capture.last_digest
            else:
                earlier.add(key_of(event))
                mark = bisect.bisect_right(capture.mark_seqs, event.seq) - 1
                start = min(start, capture.mark_offsets[max(mark, 0)])
        if earlier:
            self._search(file, start, earlier, found)
        return found

    @staticmethod
    def _search(file: EventFile, start: int, wanted: set[Key], found: dict[Key, str]) -> None:
        for line in file.read(start):
            key = (line.capture_id, line.seq)
            if key in wanted:
                found[key] = line.digest
                wanted.remove(key)
                if not wanted:
                    return
