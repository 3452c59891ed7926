"""What one process does of the work: looks at a capture, or at a part of its chain, over one connection.

Nothing is written and no row is locked. A capture is looked at in one snapshot (repeatable read): whoever writes it
stores events and what is derived of them in one transaction, so they agree in every snapshot.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec

from meeta_bot import database
from meeta_bot.database import sqlfiles
from meeta_bot.settings import Settings
from meeta_bot.timestamps import EPOCH_2000_MS
from meeta_bot.verify.ledger import LifeEvent
from meeta_bot.verify.life import Life
from meeta_bot.verify.links import Links, Span, StoredEvent
from meeta_bot.verify.verdict import (
    ALTERED_HINT,
    BOOKS,
    CHAIN,
    ENDS,
    GAPS,
    HEAD,
    NUMBERS,
    PROJECTIONS,
    REBUILD_HINT,
    Problem,
)

LARGE_PAYLOAD = 8192  # bytes as stored; what takes more is fetched one by one, so that a page stays small
MOST_DIFFERENCES = 20  # rows of derived tables that are told; one refutes
_BEFORE_ALL = -(2**63)  # smaller than any number, so that rows numbered 0 or less are found


class Look(msgspec.Struct, frozen=True):
    """Look at a capture; also at its chain, if it is no longer than `chunk_events`."""

    capture_id: str
    chunk_events: int
    page_events: int
    interval_ms: int
    expect: bytes | None = None


class Part(msgspec.Struct, frozen=True):
    """Check the chain of the events after `after` up to and including `through`."""

    capture_id: str
    after: int
    through: int
    page_events: int
    silence_ms: int


class Chain(msgspec.Struct, frozen=True):
    """What became of a part of a chain, or of several."""

    rows: int = 0
    erased: int = 0
    quarantined: int = 0
    hole: Problem | None = None
    break_: Problem | None = None
    spans: list[Span] = []


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What a look at a capture showed. `chain` is None when it is still to be checked in parts."""

    events: int
    last_seq: int
    head: bytes | None
    meeting_id: str | None
    room: str | None
    problems: dict[str, Problem | None]
    notes: list[str]
    life: Life | None
    alive_at: int | None
    chain: Chain | None


async def connect(url: str, settings: Settings) -> database.Connection:
    """A connection that is given times as they are stored: microseconds from the year 2000.

    :raises DatabaseError: as `database.connect` and `database.require_schema` do.
    """
    connection = await database.connect(url, settings, purpose="verify", read_only=True)
    try:
        await database.require_schema(connection)
        await connection.execute(sqlfiles.statement("verify/session"))
        await connection.set_type_codec(
            "timestamptz", schema="pg_catalog", format="tuple", encoder=_as_tuple, decoder=_first
        )
    except BaseException as error:
        connection.terminate()
        if isinstance(error, database.TROUBLE):
            raise database.trouble(error) from None
        raise
    return connection


def _as_tuple(value: int) -> tuple[int]:
    return (value,)


def _first(value: tuple[int]) -> int:
    return value[0]


async def look(connection: database.Connection, job: Look) -> Seen:
    """Everything about a capture, but for the chain of a long one."""
    if _uuid(job.capture_id) is None:
        return await _nowhere(connection, job)
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        head = await connection.fetchrow(sqlfiles.statement("verify/head"), job.capture_id)
        assert head is not None  # noqa: S101 (an aggregate is always one row)
        if not head["events"] and not head["is_known"]:
            return await _nowhere(connection, job)
        return await _look(connection, job, head)


async def _look(connection: database.Connection, job: Look, head: Any) -> Seen:
    events, last_seq = head["events"], head["last_seq"] or 0
    life = Life(job.interval_ms, last_seq)
    async for row in connection.cursor(sqlfiles.statement("verify/life"), job.capture_id, prefetch=500):
        life.take(LifeEvent(*row))
    life.close()
    notes, misplaced = await _quarantine_notes(connection, job.capture_id)
    problems: dict[str, Problem | None] = {
        NUMBERS: _numbers_problem(head),
        CHAIN: misplaced or _head_problem(head),
        PROJECTIONS: await _projections_problem(connection, job.capture_id, head),
    }
    if job.expect is not None:
        problems[HEAD], note = await _expectation(connection, job, head, has_ended=life.has_ended)
        notes += [note] if note else []
    chain = None
    if events <= job.chunk_events:
        chain = await _chain(connection, Part(job.capture_id, 0, last_seq, job.page_events, life.silence_ms))
    alive_at = max((at for at in (life.alive_at, _wall_ms(head["last_at"])) if at is not None), default=None)
    return Seen(
        events=events,
        last_seq=last_seq,
        head=head["head"],
        meeting_id=head["meeting_id"],
        room=head["room"],
        problems=problems,
        notes=notes,
        life=life,
        alive_at=alive_at,
        chain=chain,
    )


async def part(connection: database.Connection, job: Part) -> Chain:
    """A part of a chain; events that are stored don't change, so it needs no snapshot."""
    async with connection.transaction(readonly=True):
        return await _chain(connection, job)


async def _chain(connection: database.Connection, job: Part) -> Chain:
    links = Links(job.capture_id, job.after, job.silence_ms)
    cursor = await connection.cursor(
        sqlfiles.statement("verify/events"),
        job.capture_id,
        job.after or _BEFORE_ALL,
        job.through,
        LARGE_PAYLOAD,
    )
    while page := await cursor.fetch(job.page_events):
        rows: list[StoredEvent] = []
        for row in page:
            stored, is_large = StoredEvent._make(row[:-1]), row[-1]
            if is_large or stored.quarantine_reason is not None:
                links.take(rows, {})
                rows = []
                await _take_apart(connection, job.capture_id, links, stored, is_large=is_large)
            else:
                rows.append(stored)
        links.take(rows, {})
    links.close(job.through)
    return Chain(links.rows, links.erased, links.quarantined, links.hole, links.break_, links.spans())


async def _take_apart(
    connection: database.Connection, capture_id: str, links: Links, row: StoredEvent, *, is_large: bool
) -> None:
    """A row that something large belongs to, alone."""
    sealed = {}
    if is_large:
        payload = await connection.fetchval(sqlfiles.statement("verify/payload"), capture_id, row.seq)
        row = row._replace(payload=payload)
    if row.quarantine_reason is not None:
        arguments = (capture_id, row.seq, row.digest)
        found = await connection.fetchrow(sqlfiles.statement("verify/sealed"), *arguments)
        sealed = {} if found is None else {row.seq: (found["reason"], found["sealed"])}
    links.take([row], sealed)


# --- the parts of a look ------------------------------------------------------------------------------------------


async def _nowhere(connection: database.Connection, job: Look) -> Seen:
    """A capture without any event and without a row in captures."""
    row = await _quarantined(connection, job.capture_id)
    if row["refused"]:
        said = f"no event is stored: {row['refused']} wait in quarantine ({row['a_reason']})"
        problem = Problem(said, hint="the events are in meeta.quarantine: remove the cause, and deliver them again")
    else:
        problem = Problem(
            "nothing is stored of it: removed as a whole, or never delivered",
            hint="if its recorder was cut short, deliver what waits: meeta-bot spool flush",
        )
    problems: dict[str, Problem | None] = {NUMBERS: problem, PROJECTIONS: None}
    if _uuid(job.capture_id) is not None:
        leftovers = await connection.fetch(sqlfiles.statement("verify/projections"), job.capture_id, MOST_DIFFERENCES)
        problems[PROJECTIONS] = _told_differences([_difference(row) for row in leftovers])
    if job.expect is not None:
        problems[HEAD] = Problem("there is no head")
    return Seen(
        events=0,
        last_seq=0,
        head=None,
        meeting_id=None,
        room=None,
        problems=problems,
        notes=[],
        life=None,
        alive_at=None,
        chain=Chain(),
    )


def _numbers_problem(head: Any) -> Problem | None:
    """Does captures agree with how many events there are? Holes are found with the chain."""
    events, last_seq = head["events"], head["last_seq"] or 0
    if not head["is_known"]:
        return None
    if head["told_last_seq"] > last_seq:
        told = f"captures knows {head['told_last_seq']} events, the last one stored is {last_seq}: others were removed"
        return Problem(told, last_seq + 1, ALTERED_HINT)
    if head["told_last_seq"] < last_seq:
        told = f"captures knows {head['told_last_seq']} events, the last one stored is {last_seq}: some were added"
        return Problem(told, head["told_last_seq"] + 1, ALTERED_HINT)
    if head["told_events"] != events:
        told = f"captures counts {head['told_events']} events, {events} are stored"
        return Problem(told, hint="if nothing else is wrong, captures was altered: `meeta-bot db rebuild`")
    return None


def _head_problem(head: Any) -> Problem | None:
    is_as_far = head["is_known"] and head["told_last_seq"] == (head["last_seq"] or 0)  # else the numbers tell it
    if is_as_far and head["told_head"] != head["head"]:
        told = "the digest of the last event is not the head that captures has: one of them was altered or removed"
        return Problem(told, head["last_seq"], "if nothing else is wrong, captures was altered: `meeta-bot db rebuild`")
    return None


async def _expectation(
    connection: database.Connection, job: Look, head: Any, *, has_ended: bool
) -> tuple[Problem | None, str | None]:
    """Is the head the expected one? One that still grows may have passed it, which is told."""
    if job.expect == head["head"]:
        return None, None
    found = await connection.fetchval(sqlfiles.statement("verify/digest_seq"), job.capture_id, job.expect)
    if found is not None and not has_ended:
        return None, f"the expected head is that of event {found}; {head['last_seq'] - found} have been added since"
    if found is not None:
        return Problem(f"the expected head is that of event {found}, and others follow it", found + 1), None
    return Problem(
        "no event has the expected head: the last ones were removed, all were written anew, or it is another capture",
        hint="if its recorder was cut short, deliver what waits: meeta-bot spool flush",
    ), None


async def _quarantined(connection: database.Connection, capture_id: str) -> Any:
    statement = sqlfiles.statement("verify/quarantine")
    return await connection.fetchrow(statement, capture_id, _uuid(capture_id))


async def _quarantine_notes(connection: database.Connection, capture_id: str) -> tuple[list[str], Problem | None]:
    row = await _quarantined(connection, capture_id)
    notes = []
    if row["conflicts"]:
        notes.append(f"{row['conflicts']} other events wait in quarantine under numbers that were taken")
    if row["unmarked_seq"] is None:
        return notes, None
    told = "this event waits in quarantine, and its place in events does not say so: it was removed or altered"
    return notes, Problem(told, row["unmarked_seq"], ALTERED_HINT)


async def _projections_problem(connection: database.Connection, capture_id: str, head: Any) -> Problem | None:
    found = await connection.fetch(sqlfiles.statement("verify/projections"), capture_id, MOST_DIFFERENCES)
    differences = [_difference(row) for row in found]
    if head["is_known"]:
        last = [name for name in ("last_at", "last_monotonic_ms") if head[f"told_{name}"] != head[name]]
        if last:
            differences.append(("captures", None, f"the row of captures differs: {', '.join(last)}"))
    return _told_differences(differences)


_Difference = tuple[str, int | None, str]


def _difference(row: Any) -> _Difference:
    relation, seq = row["relation"], row["seq"]
    number = "" if seq is None else f" {seq}"
    match row["problem"]:
        case "missing":
            text = f"the row{number} of {relation} is missing"
        case "surplus":
            text = f"the row{number} of {relation} comes from no event"
        case _:
            text = f"the row{number} of {relation} differs: {', '.join(row['columns'])}"
    return relation, seq, text


def _told_differences(differences: list[_Difference]) -> Problem | None:
    if not differences:
        return None
    more = len(differences) - 1
    many = f", and {more}{' or more' if more + 1 >= MOST_DIFFERENCES else ''} other rows" if more else ""
    return Problem(f"{differences[0][2]}{many}", differences[0][1], REBUILD_HINT)


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _wall_ms(microseconds: int | None) -> int | None:
    return None if microseconds is None else microseconds // 1000 + EPOCH_2000_MS


def unfinished(seen: Seen) -> dict[str, Problem | None]:
    """What a look alone says; the chain is added by whoever checked its parts."""
    life = {BOOKS: None, GAPS: None, ENDS: None} if seen.life is None else seen.life.problems
    return {**seen.problems, **life}
