"""The sink that stores events in PostgreSQL: one transaction a batch, idempotent, projections included.

A large batch is written by COPY in the hope that all of it is new, as what comes from a spool nearly always is. If one
row is not, or is refused, nothing has happened, and the batch goes the way of small ones: a single statement that
leaves out what is there already and says so.

What PostgreSQL refuses is found by bisection and replaced by a placeholder (same seq, commitment and digest, no
payload); the whole event waits in quarantine. A row that is there already under another digest is no duplicate:
it goes to quarantine too, and the log says so; by then the rest of the batch is committed. Everything that is not the
fault of one row makes the batch wait in the spool.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import msgspec

from meeta_bot import database, logs
from meeta_bot.database import sqlfiles
from meeta_bot.delivery.quarantine_log import log_quarantined
from meeta_bot.delivery.sink import Delivery, SinkUnavailable
from meeta_bot.errors import DatabaseError, DatabaseUnreachable
from meeta_bot.events import SealedEvent
from meeta_bot.events.quarantine import HeldEvent, conflict_reason, fitted, sealed_json, short, within
from meeta_bot.limits import LARGEST_BIGINT
from meeta_bot.settings import Settings
from meeta_bot.text import clean_text
from meeta_bot.timestamps import EARLIEST_MS, EPOCH_2000_MS, LATEST_MS

COPY_EVENTS = 100  # from here on COPY pays: it takes half the time for a row, but four round trips for one
# After these a session can be rolled back: the server said no, or was never asked.
_SERVER_IS_THERE = (database.ServerError, ValueError, OverflowError, SinkUnavailable)
_NO_PARTITION = "its capture id has no partition: not a UUIDv7 between 2020 and two years from now, or taken out"

_COPIED_COLUMNS = SealedEvent.__struct_fields__

Row = tuple[Any, ...]
Key = tuple[str, int]

_log = logs.get_logger("postgres")


class PostgresSink:
    """A sink over one connection that is opened when needed and dropped after any trouble.

    One task at a time may call `write`; order within a capture is the caller's.
    """

    def __init__(self, url: str, settings: Settings) -> None:
        self._url = url
        self._settings = settings
        self._connection: database.Connection | None = None
        self._placed: set[str] = set()

    async def open(self) -> None:
        """Connect, and check the schema.

        :raises DatabaseError: the database can't be reached, or has another schema.
        """
        try:
            await self._ready()
        except database.TROUBLE as error:
            self._drop()
            raise database.trouble(error) from error
        except BaseException:
            self._drop()
            raise

    async def write(self, batch: Sequence[SealedEvent]) -> Delivery:
        """Store `batch`; see `sink.Sink.write`."""
        if not batch:
            return Delivery(0, 0, 0)
        try:
            connection = await self._ready()
            return await self._deliver(connection, batch)
        except DatabaseError as error:
            self._drop()
            hint = f"; {error.hint}" if error.hint else ""
            raise SinkUnavailable(f"{error}{hint}") from error
        except database.TROUBLE as error:
            self._drop()
            refusal = database.trouble(error)
            hint = "" if isinstance(refusal, DatabaseUnreachable) else f"; {refusal.hint}"
            raise SinkUnavailable(f"{refusal}{hint}") from error
        except BaseException:
            self._drop()  # cancelled in the middle: what the session was doing is unknown
            raise

    async def close(self) -> None:
        """Let go of the connection. Safe to call twice."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                await connection.close(timeout=self._settings.database_connect_timeout)
            except database.TROUBLE:
                connection.terminate()

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None
        self._placed.clear()

    async def _ready(self) -> database.Connection:
        if self._connection is None or self._connection.is_closed():
            self._drop()
            self._connection = await database.connect(self._url, self._settings, purpose="writer")
            await database.require_schema(self._connection)
            await self._connection.set_type_codec(
                "timestamptz", schema="pg_catalog", encoder=_timestamp, decoder=_milliseconds, format="tuple"
            )
        return self._connection

    async def _deliver(self, connection: database.Connection, batch: Sequence[SealedEvent]) -> Delivery:
        events = _without_repetition(batch)
        repeated = len(batch) - len(events)
        sound, refused = await self._sort_out(connection, events)
        if not refused and len(sound) >= COPY_EVENTS and await _copy(connection, sound):
            return Delivery(len(sound), repeated, 0)
        try:
            if refused:
                async with _transaction(connection):
                    outcome = await _store(connection, sound)
                    outcome = _add(outcome, await _store_placeholders(connection, refused))
            else:
                outcome = await _store(connection, sound)
        except database.TROUBLE as error:
            if not database.is_fault_of_a_row(error):
                raise
            # Perhaps a partition was dropped behind our back: look again before rows are blamed.
            self._placed.clear()
            sound, refused = await self._sort_out(connection, events)
            async with _transaction(connection):
                outcome = await _salvage(connection, sound)
                outcome = _add(outcome, await _store_placeholders(connection, refused))
        return _add(outcome, Delivery(0, repeated, 0))

    async def _sort_out(
        self, connection: database.Connection, events: Iterable[SealedEvent]
    ) -> tuple[list[SealedEvent], list[HeldEvent]]:
        """Sort out the events whose envelope PostgreSQL can't hold; makes partitions on the way."""
        sound: list[SealedEvent] = []
        refused: list[HeldEvent] = []
        for event in events:
            reason = _unfit(event)
            if reason is None and event.capture_id not in self._placed:
                reason = await self._unplaceable(connection, event.capture_id)
            if reason is None:
                sound.append(event)
            else:
                refused.append(HeldEvent(event, "refused", reason))
        return sound, refused

    async def _unplaceable(self, connection: database.Connection, capture_id: str) -> str | None:
        """Return the reason why a capture has no partition; None when it has one, which is remembered."""
        if not _is_uuid(capture_id):
            return "capture_id is not a UUID"
        if not await connection.fetchval(sqlfiles.statement("delivery/ensure_partition_of"), capture_id):
            return _NO_PARTITION
        self._placed.add(capture_id)
        return None


@asynccontextmanager
async def _transaction(connection: database.Connection) -> AsyncIterator[None]:
    """Commit all of the block or nothing. A server without an answer, or a block that is cancelled, costs the session.

    asyncpg's own would roll back, and with that wait for the same server once more.
    """
    transaction = connection.transaction()
    await transaction.start()
    try:
        yield
    except BaseException as error:
        if isinstance(error, _SERVER_IS_THERE) and not connection.is_closed():
            await transaction.rollback()
        else:
            connection.terminate()
        raise
    await transaction.commit()


def _without_repetition(batch: Sequence[SealedEvent]) -> Sequence[SealedEvent]:
    """Return each event once. Digests tell quickly that there is nothing to look for."""
    if len({event.digest for event in batch}) == len(batch):
        return batch
    return list({(event.capture_id, event.seq, event.digest): event for event in batch}.values())


def _add(one: Delivery, other: Delivery) -> Delivery:
    return Delivery(one.stored + other.stored, one.duplicates + other.duplicates, one.quarantined + other.quarantined)


def _unfit(event: SealedEvent) -> str | None:
    """Return the reason why no column can hold the numbers of this envelope; None when they can."""
    if not EARLIEST_MS <= event.occurred_at <= LATEST_MS:
        return "occurred_at is outside the years 1 to 9999"
    if event.server_at is not None and not EARLIEST_MS <= event.server_at <= LATEST_MS:
        return "server_at is outside the years 1 to 9999"
    if abs(event.monotonic_ms) > LARGEST_BIGINT or not 0 <= event.seq <= LARGEST_BIGINT:
        return "monotonic_ms or seq is larger than 64 bits"
    return None


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


async def _copy(connection: database.Connection, events: Sequence[SealedEvent]) -> bool:
    """Store and project `events` if each of them is new and can be stored; False when nothing was stored."""
    try:
        async with _transaction(connection):
            await connection.copy_records_to_table(
                "events", schema_name="meeta", columns=_COPIED_COLUMNS, records=map(msgspec.structs.astuple, events)
            )
            await connection.execute(
                sqlfiles.statement("delivery/project"),
                [event.capture_id for event in events],
                [event.seq for event in events],
                [event.type for event in events],
            )
    except (ValueError, OverflowError):  # what can't be encoded; asyncpg has cancelled the COPY
        return False
    except database.TROUBLE as error:
        if not database.is_fault_of_a_row(error):
            raise
        return False
    return True


def _timestamp(milliseconds: int) -> tuple[int]:
    """Encode a moment for PostgreSQL. Making a datetime of each first would cost as much as all the rest of a row."""
    return ((milliseconds - EPOCH_2000_MS) * 1000,)


def _milliseconds(timestamp: tuple[int]) -> int:
    return timestamp[0] // 1000 + EPOCH_2000_MS


async def _store(connection: database.Connection, events: Sequence[SealedEvent]) -> Delivery:
    """Insert and project `events`; tell duplicates from conflicts."""
    fresh = await _insert(connection, [_row(event) for event in events])
    if fresh is None:
        return Delivery(len(events), 0, 0)
    known, rest = set(fresh), []
    for event in events:
        key = (event.capture_id, event.seq)
        if key in known:
            known.remove(key)  # the same number twice in one batch: only the first was inserted
        else:
            rest.append(event)
    conflicts = await _quarantine_conflicts(connection, rest)
    return Delivery(len(fresh), len(rest) - conflicts, conflicts)


async def _insert(connection: database.Connection, rows: Sequence[Row]) -> list[Key] | None:
    """Insert `rows` and bring the projections up to date with those that were new.

    :returns: the keys of those that were new; None when all were.
    """
    if not rows:
        return None
    answer = await connection.fetchrow(sqlfiles.statement("delivery/store"), rows)
    assert answer is not None  # noqa: S101 (a function that returns one row)
    if answer["stored"] == len(rows):
        return None
    return list(zip(answer["fresh_capture_ids"] or (), answer["fresh_seqs"] or (), strict=True))


async def _quarantine_conflicts(connection: database.Connection, events: Sequence[SealedEvent]) -> int:
    """Put those of `events`, whose numbers are taken, into quarantine that differ from what is stored."""
    rows = await connection.fetch(
        sqlfiles.statement("delivery/stored_digests"),
        [event.capture_id for event in events],
        [event.seq for event in events],
    )
    stored = {(str(row["capture_id"]), row["seq"]): row["digest"] for row in rows}
    conflicts = 0
    for event in events:
        digest = stored.get((event.capture_id, event.seq))
        if digest is None:
            raise SinkUnavailable("rows vanished while they were compared; is a partition being dropped?")
        if digest != event.digest:
            conflicts += 1
            await _quarantine(connection, HeldEvent(event, "conflict", conflict_reason(digest.hex())))
    return conflicts


async def _salvage(connection: database.Connection, events: Sequence[SealedEvent]) -> Delivery:
    """Store all of `events` that PostgreSQL takes, halving until those that it refuses stand alone."""
    if not events:
        return Delivery(0, 0, 0)
    try:
        async with _transaction(connection):
            return await _store(connection, events)
    except database.TROUBLE as error:
        if not database.is_fault_of_a_row(error):
            raise
        if len(events) == 1:
            return await _store_placeholders(connection, [HeldEvent(events[0], "refused", database.explain(error))])
    middle = len(events) // 2
    first = await _salvage(connection, events[:middle])
    return _add(first, await _salvage(connection, events[middle:]))


async def _store_placeholders(connection: database.Connection, refused: Iterable[HeldEvent]) -> Delivery:
    """Put events into quarantine and placeholders into their place, where one is possible."""
    count = 0
    for held in refused:
        await _quarantine(connection, held)
        count += 1
        if held.reason == _NO_PARTITION or not _is_uuid(held.event.capture_id):
            continue
        try:
            async with _transaction(connection):
                await _insert(connection, [_placeholder(held)])
        except database.TROUBLE as error:
            if not database.is_fault_of_a_row(error):
                raise
    return Delivery(0, 0, count)


async def _quarantine(connection: database.Connection, held: HeldEvent) -> None:
    event, kind, reason = held
    log_quarantined(_log, held)
    await connection.execute(
        sqlfiles.statement("delivery/quarantine"),
        short(event.capture_id),
        within(event.seq, -LARGEST_BIGINT, LARGEST_BIGINT),
        kind,
        event.digest,
        clean_text(reason),
        sealed_json(event).encode(),
    )


def _row(event: SealedEvent) -> Row:
    """Return the values of one meeta.incoming."""
    return (*msgspec.structs.astuple(event), None)


def _placeholder(held: HeldEvent) -> Row:
    """Make the row that PostgreSQL can hold in place of an event."""
    fit = fitted(held.event)
    return (*msgspec.structs.astuple(fit)[:-4], None, None, fit.commitment, fit.digest, clean_text(held.reason))
