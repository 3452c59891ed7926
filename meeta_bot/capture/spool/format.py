"""The format of a spool's file: tables, statements, rows, and the checksums that show whether they are as written.

Format 4; see `spool` for the whole directory. A row's checksum is CRC-32 over all its columns. It shows what
happens by accident: a flipped bit, a row that was cut or mixed up. It shows nothing of what somebody does on purpose,
who can compute it as well: for that there are the digests, which hold from the spool to the reader of the log.
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from meeta_bot.capture.normalize import State
from meeta_bot.capture.spool.records import Position
from meeta_bot.events import SealedEvent

FORMAT_VERSION = 4
NAME = "events.sqlite3"
BLOCK_EVENTS = 500  # one row holds no more: whoever reads decodes whole blocks

# A NULL is damage like any other. Where it would keep a row from being read or copied, SQLite shall find it.
TABLES = """
CREATE TABLE captures (
    capture_id TEXT PRIMARY KEY,
    last_seq INTEGER NOT NULL,
    head BLOB NOT NULL,
    state BLOB NOT NULL,
    touched_at INTEGER NOT NULL,
    ended INTEGER NOT NULL,
    checksum INTEGER
) WITHOUT ROWID;
CREATE TABLE events (
    ordinal INTEGER PRIMARY KEY AUTOINCREMENT,
    count INTEGER NOT NULL,
    contents BLOB,
    checksum INTEGER,
    sealed BLOB NOT NULL
);
CREATE TABLE damage (
    number INTEGER PRIMARY KEY,
    capture_id TEXT NOT NULL,
    first_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    missed INTEGER NOT NULL,
    evidence TEXT NOT NULL,
    since_at INTEGER,
    reported INTEGER NOT NULL DEFAULT 0
);
"""

INSERT_BLOCK = "INSERT INTO events (ordinal, sealed, count, contents, checksum) VALUES (?, ?, ?, ?, ?)"
SELECT_BLOCKS = "SELECT ordinal, sealed, count, contents, checksum FROM events"
SAVE_CAPTURE = """
INSERT INTO captures (capture_id, last_seq, head, state, touched_at, ended, checksum) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (capture_id) DO UPDATE SET
    last_seq = excluded.last_seq, head = excluded.head, state = excluded.state, touched_at = excluded.touched_at,
    ended = excluded.ended, checksum = excluded.checksum
"""
SELECT_CAPTURES = "SELECT capture_id, last_seq, head, state, touched_at, ended, checksum FROM captures"
SELECT_DAMAGE = "SELECT number, capture_id, first_seq, last_seq, missed, evidence, since_at, reported FROM damage"
INSERT_DAMAGE = """
INSERT INTO damage (capture_id, first_seq, last_seq, missed, evidence, since_at, reported) VALUES (?, ?, ?, ?, ?, ?, 0)
"""

# What a sound file understands, each with its number of parameters: a bit may have flipped in a column's name.
STATEMENTS = (
    (INSERT_BLOCK, 5),
    (SAVE_CAPTURE, 7),
    (SELECT_CAPTURES, 0),
    (SELECT_BLOCKS, 0),
    (SELECT_DAMAGE, 0),
    (INSERT_DAMAGE, 6),
)

_ARRAY = b"\xdd"  # MessagePack: an array follows, its length in four bytes
_CRC_BYTES = 4

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[SealedEvent])
_contents_decoder = msgspec.msgpack.Decoder(list[tuple[str, int, int]])
_state_decoder = msgspec.msgpack.Decoder(State)

Contents = list[tuple[str, int, int]]  # of a block: each capture with its first and last number there; without holes


# --- blocks of events ---------------------------------------------------------------------------------------------


class Block(NamedTuple):
    """Events of one row; `last` is the ordinal of the last of them."""

    last: int
    events: Sequence[SealedEvent]
    packed: bytes

    def row(self) -> tuple[object, ...]:
        """Return the values for `INSERT_BLOCK`."""
        contents = _encoder.encode(contents_of(self.events))
        contents += zlib.crc32(contents).to_bytes(_CRC_BYTES)
        count = len(self.events)
        return self.last, self.packed, count, contents, _block_checksum(self.last, self.packed, count, contents)


class BlockRow(NamedTuple):
    """A row of ``events`` as it is on disk, which may be damaged."""

    ordinal: int
    sealed: bytes
    size: int  # in events
    contents: bytes
    checksum: int

    def events(self) -> list[SealedEvent]:
        """Return the events of the block.

        :raises BlockDamaged: the row is not as it was written.
        """
        try:
            if _block_checksum(self.ordinal, self.sealed, self.size, self.contents) != self.checksum:
                raise BlockDamaged("its checksum does not fit")
            return unpack(self.sealed, self.size)
        except (msgspec.DecodeError, TypeError, ValueError, OverflowError) as error:
            raise BlockDamaged(f"it can't be decoded: {error}") from None

    def whose(self) -> Contents | None:
        """Return the captures of the events, as far as that part of the row is whole; None if nobody can tell."""
        if isinstance(self.contents, bytes):
            contents, checksum = self.contents[:-_CRC_BYTES], self.contents[-_CRC_BYTES:]
            if zlib.crc32(contents).to_bytes(_CRC_BYTES) == checksum:
                return _contents_decoder.decode(contents)
        with contextlib.suppress(BlockDamaged):
            return contents_of(self.events())
        return None


class BlockDamaged(Exception):
    """A block that is not as it was written."""


def blocks(sealed: Sequence[SealedEvent], last_ordinal: int) -> list[Block]:
    """Return the blocks that hold `sealed`, behind `last_ordinal`."""
    found = []
    for first in range(0, len(sealed), BLOCK_EVENTS):
        part = sealed[first : first + BLOCK_EVENTS]
        found.append(Block(last_ordinal + first + len(part), part, pack(part)))
    return found


def pack(events: Sequence[SealedEvent]) -> bytes:
    """Encode events one after the other, without their count before them, which the row has."""
    header_bytes = 1 if len(events) < 16 else 3  # of a MessagePack array; blocks are smaller than 65,536 events
    return _encoder.encode(events)[header_bytes:]


def unpack(packed: bytes, count: int) -> list[SealedEvent]:
    """Decode the `count` events of a block, the column ``sealed`` of a row of ``events``.

    :raises msgspec.DecodeError: it is damaged.
    """
    return _decoder.decode(_ARRAY + count.to_bytes(4) + packed)


def contents_of(events: Sequence[SealedEvent]) -> Contents:
    """Return the captures of `events`; the numbers of a capture follow each other within a block."""
    found: dict[str, tuple[int, int]] = {}
    for event in events:
        first = found.get(event.capture_id)
        found[event.capture_id] = (event.seq if first is None else first[0], event.seq)
    return [(capture_id, first, last) for capture_id, (first, last) in found.items()]


def _block_checksum(ordinal: int, sealed: bytes, count: int, contents: bytes) -> int:
    return zlib.crc32(sealed, zlib.crc32(contents, zlib.crc32(b"%d %d" % (ordinal, count))))


# --- captures -----------------------------------------------------------------------------------------------------


class SavedCapture(NamedTuple):
    """A row of ``captures`` as it is on disk, which may be damaged."""

    capture_id: str
    last_seq: int
    head: bytes
    state: bytes
    touched_at: int
    ended: int
    checksum: int

    @property
    def position(self) -> Position:
        """Last number and head digest."""
        return Position(self.last_seq, self.head)

    def decoded(self) -> State | None:
        """Decode the state; None when the row is not as it was written."""
        if _capture_checksum(self[:-1]) != self.checksum:
            return None
        try:
            return _state_decoder.decode(self.state)
        except (msgspec.DecodeError, TypeError):
            return None


def saved_capture(position: Position, state: State, touched_at: int) -> SavedCapture:
    """Make the row for `SAVE_CAPTURE`."""
    reached = (position.last_seq, position.head)
    values = (state.capture_id, *reached, _encoder.encode(state), touched_at, int(state.ended))
    return SavedCapture(*values, _capture_checksum(values))


def _capture_checksum(values: tuple[object, ...]) -> int:
    return zlib.crc32(_encoder.encode(values))
