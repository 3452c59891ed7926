"""The work of one process: the examination of a capture, or of a part of its chain, over one connection.

Nothing is written and no row is locked. A capture is examined in one snapshot (repeatable read): whoever writes it
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
from meeta_bot.verify.links import ChainRow, Links, Span
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

LARGE_PAYLOAD = 8192  # bytes as stored; what takes more is fetched one by one, so that a batch of rows stays small
MOST_DIFFERENCES = 20  # rows of derived tables that are reported; one refutes
_BEFORE_ALL = -(2**63)  # smaller than any number, so that rows numbered 0 or less are found


class CaptureJob(msgspec.Struct, frozen=True):
    """The job to examine a capture; also its chain, if it has no more than `chunk_events`."""

    capture_id: str
    chunk_events: int
    fetch_events: int
    interval_ms: int
    expect: bytes | None = None


class ChainJob(msgspec.Struct, frozen=True):
    """The job to check the chain of the events after `after` up to and including `through`."""

    capture_id: str
    after: int
    through: int
    fetch_events: int
    silence_ms: int


class ChainFindings(msgspec.Struct, frozen=True):
    """The findings on a part of a chain, or on several."""

    rows: int = 0
    erased: int = 0
    quarantined: int = 0
    hole: Problem | None = None
    break_: Problem | None = None
    spans: list[Span] = []


class Examined(msgspec.Struct, frozen=True, kw_only=True):
    """A capture as it was examined. `chain` is None when it is still to be checked in parts."""

    events: int
    last_seq: int
    head: bytes | None
    meeting_id: str | None
    room: str | None
    problems: dict[str, Problem | None]
    notes: list[str]
    life: Life | None
    alive_at: int | None
    chain: ChainFindings | None

    @property
    def all_problems(self) -> dict[str, Problem | None]:
        """The problems found so far; those of the chain are added by whoever checked its parts."""
        life = {BOOKS: None, GAPS: None, ENDS: None} if self.life is None else self.life.problems
        return {**self.problems, **life}


async def connect(url: str, settings: Settings) -> database.Connection:
    """Open a connection that returns times as they are stored: microseconds from the year 2000.

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


async def examine_capture(connection: database.Connection, job: CaptureJob) -> Examined:
    """Examine everything about a capture, but for the chain of a long one."""
    if _uuid(job.capture_id) is None:
        return await _examine_unknown(connection, job)
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        totals = await connection.fetchrow(sqlfiles.statement("verify/head"), job.capture_id)
        assert totals is not None  # noqa: S101 (an aggregate is always one row)
        if not totals["events"] and not totals["is_known"]:
            return await _examine_unknown(connection, job)
        return await _examine_known(connection, job, totals)


async def _examine_known(connection: database.Connection, job: CaptureJob, totals: Any) -> Examined:
    events, last_seq = totals["events"], totals["last_seq"] or 0
    life = Life(job.interval_ms, last_seq)
    async for row in connection.cursor(sqlfiles.statement("verify/life"), job.capture_id, prefetch=500):
        life.take(LifeEvent(*row))
    life.close()
    notes, misplaced = await _quarantine_notes(connection, job.capture_id)
    problems: dict[str, Problem | None] = {
        NUMBERS: _numbers_problem(totals),
        CHAIN: misplaced or _head_problem(totals),
        PROJECTIONS: await _projections_problem(connection, job.capture_id, totals),
    }
    if job.expect is not None:
        problems[HEAD], note = await _expectation(connection, job, totals, has_ended=life.has_ended)
        notes += [note] if note else []
    chain = None
    if events <= job.chunk_events:
        chain = await _chain(connection, ChainJob(job.capture_id, 0, last_seq, job.fetch_events, life.silence_ms))
    alive_at = max((at for at in (life.alive_at, _wall_ms(totals["last_at"])) if at is not None), default=None)
    return Examined(
        events=events,
        last_seq=last_seq,
        head=totals["head"],
        meeting_id=totals["meeting_id"],
        room=totals["room"],
        problems=problems,
        notes=notes,
        life=life,
        alive_at=alive_at,
        chain=chain,
    )


async def examine_chain(connection: database.Connection, job: ChainJob) -> ChainFindings:
    """Examine a part of a chain; events that are stored don't change, so it needs no snapshot."""
    async with connection.transaction(readonly=True):
        return await _chain(connection, job)


async def _chain(connection: database.Connection, job: ChainJob) -> ChainFindings:
    links = Links(job.capture_id, job.after, job.silence_ms)
    cursor = await connection.cursor(
        sqlfiles.statement("verify/events"),
        job.capture_id,
        job.after or _BEFORE_ALL,
        job.through,
        LARGE_PAYLOAD,
    )
    while fetched := await cursor.fetch(job.fetch_events):
        rows: list[ChainRow] = []
        for row in fetched:
            stored, is_large = ChainRow._make(row[:-1]), row[-1]
            if is_large or stored.quarantine_reason is not None:
                links.take(rows, {})
                rows = []
                await _take_alone(connection, job.capture_id, links, stored, is_large=is_large)
            else:
                rows.append(stored)
        links.take(rows, {})
    links.close(job.through)
    return ChainFindings(links.rows, links.erased, links.quarantined, links.hole, links.break_, links.spans())


async def _take_alone(
    connection: database.Connection, capture_id: str, links: Links, row: ChainRow, *, is_large: bool
) -> None:
    """Take a row with a large payload or a row in quarantine, alone."""
    sealed = {}
    if is_large:
        payload = await connection.fetchval(sqlfiles.statement("verify/payload"), capture_id, row.seq)
        row = row._replace(payload=payload)
    if row.quarantine_reason is not None:
        arguments = (capture_id, row.seq, row.digest)
        found = await connection.fetchrow(sqlfiles.statement("verify/sealed"), *arguments)
        sealed = {} if found is None else {row.seq: (found["reason"], found["sealed"])}
    links.take([row], sealed)


# --- the parts of an examination ----------------------------------------------------------------------------------


async def _examine_unknown(connection: database.Connection, job: CaptureJob) -> Examined:
    """Examine a capture without any event and without a row in captures."""
    row = await _quarantined(connection, job.capture_id)
    if row["refused"]:
        text = f"no event is stored: {row['refused']} wait in quarantine ({row['a_reason']})"
        problem = Problem(text, hint="the events are in meeta.quarantine: remove the cause, and deliver them again")
    else:
        problem = Problem(
            "nothing of it is stored: removed as a whole, or never delivered",
            hint="if its recorder was cut short, deliver what waits: meeta-bot spool flush",
        )
    problems: dict[str, Problem | None] = {NUMBERS: problem, PROJECTIONS: None}
    if _uuid(job.capture_id) is not None:
        leftovers = await connection.fetch(sqlfiles.statement("verify/projections"), job.capture_id, MOST_DIFFERENCES)
        problems[PROJECTIONS] = _differences_problem([_difference(row) for row in leftovers])
    if job.expect is not None:
        problems[HEAD] = Problem("no head is stored")
    return Examined(
        events=0,
        last_seq=0,
        head=None,
        meeting_id=None,
        room=None,
        problems=problems,
        notes=[],
        life=None,
        alive_at=None,
        chain=ChainFindings(),
    )


def _numbers_problem(totals: Any) -> Problem | None:
    """Compare the row of captures with the number of its events. Holes are found with the chain."""
    events, last_seq = totals["events"], totals["last_seq"] or 0
    if not totals["is_known"]:
        return None
    if totals["told_last_seq"] > last_seq:
        text = f"captures has {totals['told_last_seq']} events, the last one stored is {last_seq}: others were removed"
        return Problem(text, last_seq + 1, ALTERED_HINT)
    if totals["told_last_seq"] < last_seq:
        text = f"captures has {totals['told_last_seq']} events, the last one stored is {last_seq}: some were added"
        return Problem(text, totals["told_last_seq"] + 1, ALTERED_HINT)
    if totals["told_events"] != events:
        text = f"captures counts {totals['told_events']} events, {events} are stored"
        return Problem(text, hint="if nothing else is wrong, captures was altered: `meeta-bot db rebuild`")
    return None


def _head_problem(totals: Any) -> Problem | None:
    is_as_far = totals["is_known"] and totals["told_last_seq"] == (totals["last_seq"] or 0)  # else the numbers show it
    if is_as_far and totals["told_head"] != totals["head"]:
        text = "the digest of the last event is not the head that captures has: one of them was altered or removed"
        return Problem(
            text, totals["last_seq"], "if nothing else is wrong, captures was altered: `meeta-bot db rebuild`"
        )
    return None


async def _expectation(
    connection: database.Connection, job: CaptureJob, totals: Any, *, has_ended: bool
) -> tuple[Problem | None, str | None]:
    """Compare the head with the expected one. A capture that goes on may have passed it, which is noted."""
    if job.expect == totals["head"]:
        return None, None
    found = await connection.fetchval(sqlfiles.statement("verify/digest_seq"), job.capture_id, job.expect)
    if found is not None and not has_ended:
        return None, f"the expected head is that of event {found}; {totals['last_seq'] - found} have been added since"
    if found is not None:
        return Problem(f"the expected head is that of event {found}, and others follow it", found + 1), None
    return Problem(
        "no event has the expected head: the last ones were removed, all were rewritten, or it is another capture",
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
    text = "this event waits in quarantine, and its row in events does not say so: it was removed or altered"
    return notes, Problem(text, row["unmarked_seq"], ALTERED_HINT)


async def _projections_problem(connection: database.Connection, capture_id: str, totals: Any) -> Problem | None:
    found = await connection.fetch(sqlfiles.statement("verify/projections"), capture_id, MOST_DIFFERENCES)
    differences = [_difference(row) for row in found]
    if totals["is_known"]:
        last = [name for name in ("last_at", "last_monotonic_ms") if totals[f"told_{name}"] != totals[name]]
        if last:
            differences.append(("captures", None, f"the row of captures differs: {', '.join(last)}"))
    return _differences_problem(differences)


_Difference = tuple[str, int | None, str]


def _difference(row: Any) -> _Difference:
    relation, seq = row["relation"], row["seq"]
    number = "" if seq is None else f" {seq}"
    match row["problem"]:
        case "missing":
            text = f"the row{number} of {relation} is missing"
        case "surplus":
            text = f"no event accounts for the row{number} of {relation}"
        case _:
            text = f"the row{number} of {relation} differs: {', '.join(row['columns'])}"
    return relation, seq, text


def _differences_problem(differences: list[_Difference]) -> Problem | None:
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
