"""The check of the digest chain: each stored row is the one that was sealed, and follows the one before.

Rows are taken as PostgreSQL has them, not as a reader would like to see them: a time that is no whole millisecond, a
number with a digit that no double has, or a text where a number was are alterations. So what the digests cover is
compared bit by bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from meeta_bot.events import SealedEvent
from meeta_bot.events.chain import ENVELOPE_COLUMNS, GENESIS, commit, link
from meeta_bot.events.quarantine import fitted, unsealed
from meeta_bot.limits import LARGEST_NUMBER
from meeta_bot.timestamps import EPOCH_2000_MS
from meeta_bot.verify.verdict import ALTERED_HINT, Problem

MOST_SPANS = 1000  # of one chunk; no recorder falls silent more often than this within so many events
REMOVED = ": removed, or given another number"
_UNREADABLE = "\0"  # in no text that was sealed, so that the commitment is another

_encoder = msgspec.json.Encoder(order="sorted")


class ChainRow(NamedTuple):
    """A row of meeta.events in the order of the statement verify/events; times are microseconds from the year 2000."""

    seq: int
    type: str
    origin: str
    room: str
    endpoint_id: str | None
    occurred_at: int
    monotonic_ms: int
    server_at: int | None
    initial: bool
    inferred: bool
    payload: str | None
    salt: bytes | None
    commitment: bytes
    digest: bytes
    quarantine_reason: str | None


class Span(NamedTuple):
    """An interval of the monotonic clock (ms) without a long silence, and the event at its beginning."""

    begin: int
    end: int
    seq: int


class Links:
    """The links of a part of a chain: takes its rows, in order, and remembers the first problem.

    `after` is the number before the part. A part that does not begin with 1 is given the row before it first, whose
    digest alone counts. `silence_ms` is how far apart on the monotonic clock events of one span may be.
    """

    def __init__(self, capture_id: str, after: int, silence_ms: int) -> None:
        self.rows = self.erased = self.quarantined = 0
        self.hole: Problem | None = None
        self.break_: Problem | None = None
        self._capture_id = capture_id
        self._after = after
        self._expected = after + 1
        self._previous = GENESIS if after == 0 else None
        self._moments: list[tuple[int, int]] = []
        self._silence_ms = silence_ms

    def take(self, rows: Iterable[ChainRow], sealed: Mapping[int, tuple[str, bytes]]) -> None:
        """Take the next rows; `sealed` has reason and bytes in quarantine of the placeholders among them."""
        for row in rows:
            if row.seq == self._after and self._after > 0:
                self._previous = row.digest
                continue
            self.rows += 1
            if row.seq != self._expected and self.hole is None:
                self.hole = _hole(row.seq, self._expected)
            # Behind a hole nothing is known of the digest before; the hole itself is reported.
            previous = self._previous if row.seq == self._expected else None
            problem = self._problem(row, previous, sealed.get(row.seq))
            if problem is not None and self.break_ is None:
                self.break_ = Problem(problem, row.seq, ALTERED_HINT)
            if row.seq >= self._expected:
                self._expected = row.seq + 1
                self._previous = row.digest

    def close(self, through: int) -> None:
        """End the part: no rows follow up to `through`."""
        if self._expected <= through and self.hole is None:
            self.hole = _hole(through + 1, self._expected)

    def spans(self) -> list[Span]:
        """Return the intervals in which events happened, by the monotonic clock."""
        found: list[list[int]] = []  # begin, end, seq: a span for each event would take a tenth of all the time
        for moment, seq in sorted(self._moments):
            if found and moment - found[-1][1] <= self._silence_ms:
                found[-1][1] = moment
            else:
                found.append([moment, moment, seq])
        return [Span(*one) for one in found[:MOST_SPANS]]

    def _problem(self, row: ChainRow, previous: bytes | None, held: tuple[str, bytes] | None) -> str | None:
        if row.quarantine_reason is not None:
            self.quarantined += 1
            if abs(row.monotonic_ms) < LARGEST_NUMBER:
                self._moments.append((row.monotonic_ms, row.seq))
            return _placeholder_problem(self._capture_id, row, previous, held)
        self._moments.append((row.monotonic_ms, row.seq))
        if row.payload is None and row.salt is None:
            self.erased += 1
        return _payload_problem(row) or _link_problem(envelope(self._capture_id, row), row, previous)


def merged_spans(spans: Sequence[Span], silence_ms: int) -> list[Span]:
    """Merge `spans` in order of time: those that are no more than `silence_ms` apart become one."""
    found: list[Span] = []
    for span in sorted(spans):
        if found and span.begin - found[-1].end <= silence_ms:
            if span.end > found[-1].end:
                found[-1] = found[-1]._replace(end=span.end)
        else:
            found.append(span)
    return found


def envelope(capture_id: str, row: ChainRow) -> tuple[Any, ...]:
    """Return the columns that the digest of a row covers besides its payload, as `chain.link` takes them."""
    return (
        capture_id,
        *row[:5],
        _milliseconds(row.occurred_at),
        row.monotonic_ms,
        None if row.server_at is None else _milliseconds(row.server_at),
        row.initial,
        row.inferred,
    )


def _milliseconds(microseconds: int) -> int | str:
    """Return milliseconds since 1970; for a fraction of one a text, which no digest was made of."""
    whole, rest = divmod(microseconds, 1000)
    return whole + EPOCH_2000_MS if rest == 0 else f"{microseconds} µs"


def _hole(found: int, expected: int) -> Problem:
    if found < expected:
        return Problem(f"event {found} exists, though numbers begin with 1: it was added", found, ALTERED_HINT)
    many = f"events {expected} to {found - 1} are" if found - 1 > expected else f"event {expected} is"
    return Problem(f"{many} missing{REMOVED}", expected, ALTERED_HINT)


def _payload_problem(row: ChainRow) -> str | None:
    if row.payload is None or row.salt is None:
        if row.payload is None and row.salt is None:
            return None
        missing = "payload" if row.payload is None else "salt"
        return f"the {missing} is gone, and erasing takes payload and salt: it was removed"
    if commit(row.salt, _as_sealed(row.payload)) != row.commitment:
        return "payload does not fit its commitment: payload, salt or commitment was altered"
    return None


def _link_problem(what: tuple[Any, ...], row: ChainRow, previous: bytes | None) -> str | None:
    if previous is None:
        return None
    try:
        digest = link(previous, what, row.commitment)
    except (ValueError, OverflowError, TypeError):  # a number or a text that nothing could have been sealed with
        digest = b""
    return None if digest == row.digest else "digest does not follow: this event was altered, or one before it removed"


def _as_sealed(payload: str) -> bytes:
    """Return the bytes that were sealed, if PostgreSQL made `payload` from them; others if it did not."""
    try:
        return _encoder.encode(_decoder.decode(payload))
    except (ValueError, RecursionError):  # msgspec's errors are ValueErrors
        return b""


def _number(text: str) -> float | str:
    """Parse a number with a point, if it is written as PostgreSQL writes a double that was sealed."""
    number = float(text)
    try:
        is_exact = format(Decimal(repr(number)), "f") == text
    except ArithmeticError:
        is_exact = False
    return number if is_exact else _UNREADABLE


_decoder = msgspec.json.Decoder(float_hook=_number)


# --- events in quarantine -----------------------------------------------------------------------------------------


def _placeholder_problem(
    capture_id: str, row: ChainRow, previous: bytes | None, held: tuple[str, bytes] | None
) -> str | None:
    if held is None:
        return "this row says that its event waits in quarantine, and it doesn't: it was removed or altered there"
    reason, sealed = held
    try:
        event = unsealed(sealed)
        fits = commit(event.salt, event.payload.encode("utf-8", "surrogatepass")) == row.commitment
        placeholder = _placeholder(event)
    except (ValueError, TypeError, AttributeError):
        return "the entry in quarantine is not a sealed event: it was altered there"
    if not fits:
        return "payload in quarantine does not fit its commitment: it was altered there, or this row was"
    if capture_id != event.capture_id or row != (*placeholder, reason):
        return "this placeholder is not that of the event in quarantine: one of them was altered"
    return _link_problem(msgspec.structs.astuple(event)[:ENVELOPE_COLUMNS], row, previous)


def _placeholder(event: SealedEvent) -> tuple[Any, ...]:
    """Return the row that the sink stores instead of `event`, but for the reason."""

    def moment(ms: int) -> int:
        return (ms - EPOCH_2000_MS) * 1000

    fit = fitted(event)
    return (
        fit.seq,
        fit.type,
        fit.origin,
        fit.room,
        fit.endpoint_id,
        moment(fit.occurred_at),
        fit.monotonic_ms,
        None if fit.server_at is None else moment(fit.server_at),
        fit.initial,
        fit.inferred,
        None,
        None,
        fit.commitment,
        fit.digest,
    )
