"""The witness of a spool: the position of every capture, in a file of its own (``heads``) beside the events.

SQLite drops the end of its log silently when a checksum in it fails, and its file can be deleted or put back from a
copy. What is written here after every commit shows it: a capture that is further here than there has lost its tail.

**Format.** Slots of 512 bytes: CRC-32 of what follows (4 bytes), length (2), MessagePack, zeros. The first slot says
up to which ordinal all events are delivered; each of the others holds the `WitnessedPosition` of one capture. A slot
of zeros is free. Slots of ended captures stay a while, since a lost tail can bring such a capture back as one without
an end.

Written with pwrite and not flushed: it outlives a killed process, as the kernel has it. After a power failure it may
be older than the events, which then shows nothing, but never newer: the events are flushed before.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable
from pathlib import Path

import msgspec

from meeta_bot.capture.normalize import State
from meeta_bot.capture.normalize.state import Counts
from meeta_bot.capture.spool.records import Position
from meeta_bot.logs import get_logger

SLOT_BYTES = 512  # a power of two, so that no slot lies across two pages of memory
GROWTH_SLOTS = 64  # the file grows by as many at once, so that a full disk is met rarely
ENDED_KEPT = 1000  # ended captures whose slots are kept for what a lost tail may bring back; half a MiB

_HEADER_BYTES = 6
_log = get_logger("spool")
_encoder = msgspec.msgpack.Encoder()


class WitnessedPosition(msgspec.Struct, frozen=True, array_like=True):
    """The position of a capture, with what is needed to end it if all else is lost.

    ``ordinal`` is that of its last event, ``touched_at`` wall clock in ms. ``last_ms`` and ``counts`` are those of its
    state; the latter is None where it is not known.
    """

    capture_id: str
    last_seq: int
    head: bytes
    ordinal: int
    touched_at: int
    last_ms: int
    ended: bool
    deployment: str
    room: str
    counts: Counts | None = None


def witnessed_position(state: State, position: Position, ordinal: int, touched_at: int) -> WitnessedPosition:
    """Make the witness's entry for a capture; `ordinal` is that of its last event."""
    return WitnessedPosition(
        state.capture_id,
        position.last_seq,
        position.head,
        ordinal,
        touched_at,
        state.last_ms,
        state.ended,
        state.deployment,
        state.room,
        state.counts,
    )


_decoder = msgspec.msgpack.Decoder(WitnessedPosition)
_passed_decoder = msgspec.msgpack.Decoder(int)


class Witness:
    """The witness file of a spool that this process owns."""

    def __init__(self, path: Path) -> None:
        """Open or create the file, and read what is there.

        :raises OSError: it can't be opened or read.
        """
        self.known: dict[str, WitnessedPosition] = {}
        self.passed = 0  # all events up to this ordinal are delivered
        self.knows_passed = False  # it may be the first of this spool, or be damaged
        self._slots: dict[str, int] = {}
        self._free: list[int] = []
        self._ended: dict[str, WitnessedPosition] = {}  # in the order in which they ended
        self._dirty: dict[str, WitnessedPosition] = {}  # what could not be written yet
        self._passed_is_dirty = True
        self._size = 0  # slots in the file
        self._has_failed = False
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._read(path)
        except BaseException:
            os.close(self._file)
            raise

    @property
    def last_ordinal(self) -> int:
        """Highest ordinal that was given as far as the witness knows."""
        return max((one.ordinal for one in self.known.values()), default=0)

    def note(self, positions: Iterable[WitnessedPosition]) -> None:
        """Write down the positions of captures. A disk that is full is tried again with the next note."""
        for known in positions:
            self.known[known.capture_id] = known
            self._dirty[known.capture_id] = known
            if known.ended:
                self._ended[known.capture_id] = known
            else:
                self._ended.pop(known.capture_id, None)  # its end was lost
        self._write_dirty()

    def note_passed(self, ordinal: int) -> None:
        """Write down that all events up to `ordinal` are delivered; to be called before they are deleted."""
        self.knows_passed = True
        if ordinal > self.passed:
            self.passed = ordinal
            self._passed_is_dirty = True
            self._write_dirty()

    def forget_ended(self) -> None:
        """Free the slots of captures that have ended and are delivered; right when the file is whole on disk."""
        for known in list(self._ended.values()):
            if known.ordinal <= self.passed:
                self._release(known.capture_id)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)

    # --- slots ----------------------------------------------------------------------------------------------------

    def _read(self, path: Path) -> None:
        content = os.pread(self._file, os.fstat(self._file).st_size, 0)
        self._size = len(content) // SLOT_BYTES
        damaged = 0
        for number in range(self._size):
            slot = content[number * SLOT_BYTES : (number + 1) * SLOT_BYTES]
            try:
                self._take_slot(number, _body(slot))
            except msgspec.DecodeError:
                damaged += slot.count(0) < SLOT_BYTES
                if number > 0:
                    self._free.append(number)
        if damaged:
            _log.error("the witness of a spool is damaged", file=str(path), slots=damaged)

    def _take_slot(self, number: int, body: bytes | None) -> None:
        """Remember the content of a slot that was read.

        :raises msgspec.DecodeError: it is free or damaged.
        """
        if body is None:
            raise msgspec.DecodeError
        if number == 0:
            self.passed = _passed_decoder.decode(body)
            self.knows_passed = True
            self._passed_is_dirty = False
            return
        known = _decoder.decode(body)
        self.known[known.capture_id] = known
        self._slots[known.capture_id] = number
        if known.ended:
            self._ended[known.capture_id] = known

    def _write_dirty(self) -> None:
        try:
            if self._passed_is_dirty:
                self._write(0, _encoder.encode(self.passed))
                self._passed_is_dirty = False
            slots = sorted((self._slot(capture_id), _slot(_encode(known))) for capture_id, known in self._dirty.items())
            begin = 0
            for end in range(1, len(slots) + 1):  # slots side by side in one call
                if end == len(slots) or slots[end][0] != slots[end - 1][0] + 1:
                    run = b"".join(slot for _, slot in slots[begin:end])
                    os.pwrite(self._file, run, slots[begin][0] * SLOT_BYTES)
                    begin = end
            self._dirty.clear()
        except OSError as error:
            if not self._has_failed:
                _log.warning("the witness of a spool can't be written", problem=error.strerror)
            self._has_failed = True
        else:
            self._has_failed = False

    def _slot(self, capture_id: str) -> int:
        number = self._slots.get(capture_id)
        if number is None:
            if not self._free:
                self._make_room()
            number = self._slots[capture_id] = self._free.pop()
        return number

    def _make_room(self) -> None:
        oldest = next(iter(self._ended.values()), None)
        if oldest is not None and len(self._ended) > ENDED_KEPT and oldest.ordinal <= self.passed:
            self._release(oldest.capture_id)
            return
        os.pwrite(self._file, bytes(GROWTH_SLOTS * SLOT_BYTES), self._size * SLOT_BYTES)
        self._free += range(max(1, self._size), self._size + GROWTH_SLOTS)
        self._size += GROWTH_SLOTS

    def _release(self, capture_id: str) -> None:
        del self._ended[capture_id]
        self.known.pop(capture_id, None)
        self._dirty.pop(capture_id, None)
        number = self._slots.pop(capture_id, None)
        if number is not None:
            os.pwrite(self._file, bytes(SLOT_BYTES), number * SLOT_BYTES)
            self._free.append(number)

    def _write(self, number: int, body: bytes) -> None:
        os.pwrite(self._file, _slot(body), number * SLOT_BYTES)
        self._size = max(self._size, number + 1)


def passed_ordinal(path: Path) -> int:
    """Read the ordinal up to which all events are delivered from a witness that may be in use; 0 if unknown."""
    try:
        with path.open("rb") as file:
            body = _body(file.read(SLOT_BYTES))
        return 0 if body is None else _passed_decoder.decode(body)
    except (OSError, msgspec.DecodeError):
        return 0


def _encode(known: WitnessedPosition) -> bytes:
    """Encode an entry for its slot: all of it, but for a room with a very long name."""
    body = _encoder.encode(known)
    for less in ({"counts": None}, {"deployment": "", "room": ""}):
        if len(body) > SLOT_BYTES - _HEADER_BYTES:
            body = _encoder.encode(msgspec.structs.replace(known, **less))
    return body


def _slot(body: bytes) -> bytes:
    content = len(body).to_bytes(2) + body
    return (zlib.crc32(content).to_bytes(4) + content).ljust(SLOT_BYTES, b"\0")


def _body(slot: bytes) -> bytes | None:
    """Return the content of a slot; None if it is free or damaged."""
    length = int.from_bytes(slot[4:_HEADER_BYTES])
    content = slot[4 : _HEADER_BYTES + length]
    if not length or zlib.crc32(content) != int.from_bytes(slot[:4]):
        return None
    return content[2:]
