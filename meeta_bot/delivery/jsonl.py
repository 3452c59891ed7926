"""The sinks that write JSON Lines: to a file, durably and once over restarts, or to standard output.

A line is the event as ``meeta-bot export`` prints it, with commitment and salt, so that the digest chain can be
recomputed from the lines alone. What has no line (a time outside the years 1 to 9999, a payload that is no JSON)
becomes a placeholder with the same seq, commitment and digest and no payload. The whole event, and one whose number
is taken under another digest, goes to ``FILE.quarantine.jsonl``, and the log says so.

How a file tells what it has: in memory are the last number and digest of each capture, and where every 256th line of
it begins. Order within a capture makes what is above the last number new; anything else is looked up in the file,
from the nearest known place on. So memory grows with captures and hardly with events, and an old event that comes
again is compared by its digest like a recent one.
"""

from __future__ import annotations

import asyncio
import bisect
import os
import select
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from meeta_bot.delivery.jsonl_file import EventFile, Line
from meeta_bot.delivery.sink import Delivery, SinkGone, SinkUnavailable
from meeta_bot.errors import UsageError
from meeta_bot.events import SealedEvent
from meeta_bot.events.document import EventRow, chained_document, json_line, sealed_row
from meeta_bot.events.quarantine import fitted, sealed_json
from meeta_bot.logs import get_logger
from meeta_bot.settings import Settings
from meeta_bot.text import clean_text

STANDARD_OUTPUT = "-"
MARK_EVERY = 256  # lines of a capture between two known places: 500 repeated events cost a look at about as many
RECENT_EVENTS = 10_000  # whose digests a stream remembers; twice the largest batch that a writer makes ordinarily
_LOOK_UP_MS = 200  # how soon a write to a pipe that nobody empties notices that it was cancelled

Key = tuple[str, int]
_T = TypeVar("_T")
_HAS_NO_LINE = (ValueError, OverflowError, RecursionError, msgspec.MsgspecError)  # what an event holds can't be JSON

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
    """A `sink.Sink` over a file. Tasks may share one; it opens the file when needed, also after `close`."""

    def __init__(self, path: Path, settings: Settings) -> None:
        self._path = path
        self._settings = settings
        # One thread, of its own: a cancelled write still ends in it, and the next waits for that; whoever else needs a
        # thread, such as for looking up a host, does not wait for a disk that hangs.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="jsonl")
        self._file: EventFile | None = None
        self._quarantine: EventFile | None = None
        self._stored = _Stored()
        self._held: set[str] = set()  # digests in quarantine

    @property
    def quarantine_path(self) -> Path:
        """Where events go that can't be stored as they are; there is none before the first of them."""
        return self._path.with_name(f"{self._path.name}.quarantine.jsonl")

    async def open(self) -> None:
        """Open the file, find out what it holds, and repair what a killed process left unfinished.

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
        self._stored = _Stored()
        self._held = set()

    def _write(self, batch: Sequence[SealedEvent]) -> Delivery:
        file = self._open()
        there = self._stored.look_up(batch, file)
        sorted_out = _sort_out(batch, lambda event: there.get(_key(event)), self._settings.jsonl_line_bytes)
        self._put_into_quarantine(sorted_out.held)
        if sorted_out.lines:
            offset = file.length
            file.append(b"".join(text for _, text in sorted_out.lines))
            for line, text in sorted_out.lines:
                self._stored.note(line, offset)
                offset += len(text)
        return sorted_out.delivery

    def _put_into_quarantine(self, held: Iterable[_Held]) -> None:
        """First, so that a placeholder never stands for an event that is nowhere."""
        new = {one.event.digest.hex(): one for one in held if one.event.digest.hex() not in self._held}
        if new:
            self._open_quarantine().append(b"".join(_quarantine_line(one) for one in new.values()))
            self._held.update(new)


class JsonLinesStream:
    """A `sink.Sink` over a pipe, a terminal or whatever standard output is; it stays open.

    "Once" holds while this object lives: what was written can't be read back. There is no quarantine either, so
    what has no line is only told in the log; the line in its place says that it is missing.
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
        """Do nothing: standard output is open."""

    async def write(self, batch: Sequence[SealedEvent]) -> Delivery:
        """Write `batch`; see `sink.Sink.write`."""
        cancelled = threading.Event()
        try:
            return await asyncio.to_thread(self._write, batch, cancelled)
        except asyncio.CancelledError:
            cancelled.set()  # or the thread would wait for a reader for as long as the process lives
            raise

    async def close(self) -> None:
        """Do nothing: standard output stays open."""

    # --- in a thread, one at a time ---------------------------------------------------------------------------

    def _write(self, batch: Sequence[SealedEvent], cancelled: threading.Event) -> Delivery:
        with self._turn:
            sorted_out = _sort_out(batch, self._digest, self._settings.jsonl_line_bytes)
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
            if poll.poll(_LOOK_UP_MS):  # then this much does not block
                written = os.write(self._descriptor, self._unwritten[: select.PIPE_BUF])
                del self._unwritten[:written]

    def _note(self, line: Line) -> None:
        self._last[line.capture_id] = max(line.seq, self._last.get(line.capture_id, line.seq))
        self._recent[line.capture_id, line.seq] = line.digest
        if len(self._recent) > RECENT_EVENTS:
            self._recent.popitem(last=False)

    def _digest(self, event: SealedEvent) -> str | None:
        known = self._recent.get(_key(event))
        is_old = event.seq <= self._last.get(event.capture_id, event.seq - 1)
        return known or (event.digest.hex() if is_old else None)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


# --- what a file holds --------------------------------------------------------------------------------------------


class _Capture(msgspec.Struct):
    """The last event of a capture in a file, and where every `MARK_EVERY`th of its lines begins."""

    last_seq: int
    last_digest: str
    lines: int = 0
    mark_seqs: list[int] = msgspec.field(default_factory=list)
    mark_offsets: list[int] = msgspec.field(default_factory=list)


class _Stored:
    """Which events a file holds."""

    def __init__(self) -> None:
        self._captures: dict[str, _Capture] = {}

    def note(self, line: Line, offset: int) -> None:
        """The file has `line` after `offset` bytes."""
        capture = self._captures.get(line.capture_id)
        if capture is None:
            capture = self._captures[line.capture_id] = _Capture(line.seq, line.digest)
        if line.seq >= capture.last_seq:
            if capture.lines % MARK_EVERY == 0:
                capture.mark_seqs.append(line.seq)
                capture.mark_offsets.append(offset)
            capture.lines += 1
            capture.last_seq, capture.last_digest = line.seq, line.digest

    def look_up(self, batch: Iterable[SealedEvent], file: EventFile) -> dict[Key, str]:
        """The digests under which `file` has the numbers of those of `batch` whose number it has.

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
                found[_key(event)] = capture.last_digest
            else:
                earlier.add(_key(event))
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


# --- batches ------------------------------------------------------------------------------------------------------


class _Held(NamedTuple):
    """An event that goes to quarantine: ``kind`` is ``conflict`` or ``refused``."""

    event: SealedEvent
    kind: str
    reason: str


class _SortedOut(msgspec.Struct):
    """What becomes of a batch: new lines in order, placeholders among them, and events for quarantine."""

    lines: list[tuple[Line, bytes]]
    held: list[_Held]
    delivery: Delivery


def _sort_out(
    batch: Sequence[SealedEvent], digest_of: Callable[[SealedEvent], str | None], longest_line: int
) -> _SortedOut:
    """Tell new events from duplicates, conflicts, and those that have no line.

    :param digest_of: the digest in hexadecimal under which an event's number is there; None when it is not.
    """
    lines: list[tuple[Line, bytes]] = []
    held: dict[tuple[Key, str], _Held] = {}
    seen: dict[Key, str] = {}
    duplicates = 0
    for event in batch:
        key, digest = _key(event), event.digest.hex()
        there = seen.get(key) or digest_of(event)
        if there == digest or (key, digest) in held:
            duplicates += 1
        elif there is not None:
            held[key, digest] = _Held(event, "conflict", f"stored before with digest {there}")
        else:
            seen[key] = digest
            text, refusal = _line_of(event, longest_line)
            if text is not None:
                lines.append((Line(event.capture_id, event.seq, digest), text))
            if refusal is not None:
                held[key, digest] = _Held(event, "refused", refusal)
    for one in held.values():
        _tell(one)
    stored = len(batch) - duplicates - len(held)
    return _SortedOut(lines, list(held.values()), Delivery(stored, duplicates, len(held)))


def _tell(held: _Held) -> None:
    capture_id = clean_text(held.event.capture_id)
    _log.error("event quarantined", kind=held.kind, capture_id=capture_id, seq=held.event.seq, reason=held.reason)


def _key(event: SealedEvent) -> Key:
    return event.capture_id, event.seq


def _line_of(event: SealedEvent, longest: int) -> tuple[bytes | None, str | None]:
    """The line of `event`; or the one in its place, None if there can't be one either, and the reason."""
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
    """What can be written in place of `event`."""
    return msgspec.structs.replace(sealed_row(fitted(event)), payload=None, salt=None, quarantine_reason=reason)


def _quarantine_line(held: _Held) -> bytes:
    """The whole event; ``sealed`` is a text: JSON as in ``meeta.quarantine``, whatever the event holds."""
    document = {
        "capture_id": clean_text(held.event.capture_id),
        "seq": held.event.seq,
        "digest": held.event.digest.hex(),
        "kind": held.kind,
        "reason": held.reason,
        "sealed": sealed_json(held.event),
    }
    return json_line(document)
