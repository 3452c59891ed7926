"""Proof or refutation that stored captures are complete and unaltered. Reads PostgreSQL and changes nothing.

For each capture: numbers without a hole, the digest chain over what is stored bit by bit, the recorder's books,
derived tables against the events, gaps against the signs of life, beginning and end. The database alone can't show
that somebody who may write it made all of a capture anew: a head that was kept elsewhere shows that.

Memory: `verify_page_events` rows a process, whose payloads take at most `examine.LARGE_PAYLOAD` bytes each as
stored (larger ones come one at a time); number and time of each event of a chunk of `verify_chunk_events`; at most
`links.MOST_SPANS` intervals for each chunk, and the times of heartbeats and the bounds of gaps, of the
`CAPTURES_AT_ONCE` captures a process that are under way.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from meeta_bot import database
from meeta_bot.database import sqlfiles
from meeta_bot.limits import MISSED_HEARTBEATS
from meeta_bot.settings import Settings
from meeta_bot.timestamps import milliseconds
from meeta_bot.verify import examine, workers
from meeta_bot.verify.examine import CaptureJob, ChainFindings, ChainJob, Examined
from meeta_bot.verify.links import REMOVED, Span
from meeta_bot.verify.verdict import (
    CHAIN,
    CHECKS,
    DAMAGED_HINT,
    NUMBERS,
    PROJECTIONS,
    REBUILD_HINT,
    AwaitingDelivery,
    CheckResult,
    Problem,
    Verdict,
    checks_of,
    first_bad_seq,
)
from meeta_bot.verify.workers import Workers

__all__ = [
    "CHECKS",
    "AwaitingDelivery",
    "CheckResult",
    "Verdict",
    "is_known",
    "stored_captures",
    "stray_meetings",
    "verdicts",
]

CAPTURES_AT_ONCE = 2  # under way for each process: one that is worked on, one that waits

Advance = Callable[[int], None]


async def stored_captures(url: str, settings: Settings) -> list[str]:
    """List the ids of all captures that anything is stored of, in the order in which they began.

    :raises DatabaseError: PostgreSQL refused, or does not answer.
    """
    return [row["capture_id"] for row in await _fetch(url, settings, "verify/capture_ids")]


async def is_known(url: str, settings: Settings, capture_id: UUID) -> bool:
    """Tell whether anything is stored of a capture.

    :raises DatabaseError: PostgreSQL refused, or does not answer.
    """
    [row] = await _fetch(url, settings, "verify/knows", capture_id)
    return bool(row[0])


async def stray_meetings(url: str, settings: Settings) -> list[Verdict]:
    """Refute the meetings that no capture names.

    :raises DatabaseError: PostgreSQL refused, or does not answer.
    """
    problem = Problem("no capture names this meeting: it was added, or its captures were removed", None, REBUILD_HINT)
    return [
        Verdict(
            capture_id=None,
            meeting_id=row["meeting_id"],
            room=row["room"],
            state="missing",
            events=0,
            head=None,
            erased=0,
            quarantined=0,
            verified=False,
            first_bad_seq=None,
            checks=checks_of({PROJECTIONS: problem}),
        )
        for row in await _fetch(url, settings, "verify/meetings")
    ]


async def verdicts(
    url: str,
    settings: Settings,
    capture_ids: Iterable[str],
    *,
    processes: int = 1,
    expect: bytes | None = None,
    now: datetime | None = None,
    awaiting: Mapping[str, AwaitingDelivery] | None = None,
    advance: Advance = lambda _: None,
) -> AsyncGenerator[Verdict, None]:
    """Yield verdicts on captures, in the order in which they are named.

    `processes` do the work; for 1 this one does. `expect` is the digest (32 bytes) that each must have as its head.
    `now` (None: this moment) decides between ``recording`` and ``lost``. `awaiting` are captures with events in spools,
    as those were before: what has not been delivered is not missing. `advance` gets the number of events done.

    :raises DatabaseError: PostgreSQL refused, or does not answer.
    """
    moment = milliseconds(now or datetime.now(UTC))
    access = workers.alone(url, settings) if processes == 1 else workers.processes(url, settings, processes)
    async with access as crew:
        under_way: deque[asyncio.Task[Verdict]] = deque()
        try:
            for capture_id in capture_ids:
                if len(under_way) >= CAPTURES_AT_ONCE * processes:
                    yield _with_spool(await under_way.popleft(), awaiting or {})
                work = _capture(crew, settings, capture_id, expect, moment, advance)
                under_way.append(asyncio.create_task(work))
            while under_way:
                yield _with_spool(await under_way.popleft(), awaiting or {})
        finally:
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)


async def _capture(
    crew: Workers, settings: Settings, capture_id: str, expect: bytes | None, now: int, advance: Advance
) -> Verdict:
    interval_ms = int(settings.heartbeat_interval * 1000)
    chunk, fetched = settings.verify_chunk_events, settings.verify_page_events
    examined = await crew.do(CaptureJob(capture_id, chunk, fetched, interval_ms, expect))
    chain = examined.chain
    if chain is None:
        chain = await _in_parts(crew, capture_id, examined, chunk, fetched, advance)
    else:
        advance(chain.rows)
    return _verdict(capture_id, examined, chain, now, interval_ms)


async def _in_parts(
    crew: Workers, capture_id: str, examined: Examined, chunk: int, fetched: int, advance: Advance
) -> ChainFindings:
    """Check a long chain in parts at once: each row has its own digest, so a part needs only the row before it."""
    silence_ms = examined.life.silence_ms if examined.life is not None else 0
    # As many parts as there are events for: were a row given a number of its own, the last part has it.
    ends = [min(after + chunk, examined.last_seq) for after in range(0, examined.events, chunk)]
    ends[-1] = examined.last_seq

    async def work(after: int, through: int) -> ChainFindings:
        done = await crew.do(ChainJob(capture_id, after, through, fetched, silence_ms))
        advance(done.rows)
        return done

    parts = await asyncio.gather(*(work(after, through) for after, through in zip([0, *ends], ends, strict=False)))
    return _joined(parts)


def _joined(parts: list[ChainFindings]) -> ChainFindings:
    spans: list[Span] = [span for part in parts for span in part.spans]
    return ChainFindings(
        rows=sum(part.rows for part in parts),
        erased=sum(part.erased for part in parts),
        quarantined=sum(part.quarantined for part in parts),
        hole=next((part.hole for part in parts if part.hole is not None), None),
        break_=next((part.break_ for part in parts if part.break_ is not None), None),
        spans=spans,
    )


def _verdict(capture_id: str, examined: Examined, chain: ChainFindings, now: int, interval_ms: int) -> Verdict:
    if examined.life is not None:
        examined.life.check_silences(chain.spans)
    problems = examined.all_problems
    problems[NUMBERS] = _first(_explained_hole(examined, chain.hole), problems[NUMBERS])
    problems[CHAIN] = _first(chain.break_, problems.get(CHAIN))
    state = _state(examined, now, interval_ms)
    notes = [*examined.notes, *(examined.life.notes if examined.life is not None else ())]
    if state == "lost":
        notes.append(
            "lost and without an end: the next recorder, or `meeta-bot spool flush`, on its machine writes the end"
        )
    checks = checks_of(problems)
    return Verdict(
        capture_id=capture_id,
        meeting_id=examined.meeting_id,
        room=examined.room,
        state=state,
        events=examined.events,
        head=None if examined.head is None else examined.head.hex(),
        erased=chain.erased,
        quarantined=chain.quarantined,
        verified=all(check.ok for check in checks.values()),
        first_bad_seq=first_bad_seq(checks),
        checks=checks,
        notes=notes,
    )


def _with_spool(verdict: Verdict, awaiting: Mapping[str, AwaitingDelivery]) -> Verdict:
    """Add to `verdict` what is known of events that wait to be delivered."""
    waits = awaiting.get(verdict.capture_id or "")
    if waits is None or not waits.waiting or waits.last_seq <= verdict.events:
        return verdict
    many = f"{waits.waiting} events wait" if waits.waiting != 1 else "1 event waits"
    note = f"{many} in the spool of this machine: its recorder delivers them, or `meeta-bot spool flush`"
    changes: dict[str, Any] = {"notes": [*verdict.notes, note]}
    if verdict.state == "missing" and waits.waiting == waits.last_seq:
        checks = {**verdict.checks, NUMBERS: CheckResult(ok=True)}
        changes |= {"state": "spooled", "checks": checks, "first_bad_seq": first_bad_seq(checks)}
        changes["verified"] = all(check.ok for check in checks.values())
    return msgspec.structs.replace(verdict, **changes)


def _explained_hole(examined: Examined, hole: Problem | None) -> Problem | None:
    """Add the cause to a hole where a damaged spool explains it; a hole it stays."""
    damage = None if hole is None or hole.seq is None or examined.life is None else examined.life.damage_after(hole.seq)
    if hole is None or damage is None:
        return hole
    seq, missed = damage
    many = f"up to {missed} events were" if missed != 1 else "1 event was"
    return Problem(
        f"{hole.text.removesuffix(REMOVED)}: {many} lost with a damaged spool, according to event {seq}",
        hole.seq,
        DAMAGED_HINT,
    )


def _first(one: Problem | None, other: Problem | None) -> Problem | None:
    """Return the problem with the smaller number."""
    if one is None or other is None:
        return one or other
    return other if other.seq is not None and one.seq is not None and other.seq < one.seq else one


def _state(examined: Examined, now: int, interval_ms: int) -> str:
    if examined.life is None or not examined.events:
        return "missing"
    if examined.life.has_ended:
        return "ended"
    interval_ms = examined.life.declared_interval_ms or interval_ms
    is_lost = examined.alive_at is not None and examined.alive_at < now - MISSED_HEARTBEATS * interval_ms
    return "lost" if is_lost else "recording"


async def _fetch(url: str, settings: Settings, name: str, *arguments: Any) -> list[Any]:
    connection = await examine.connect(url, settings)
    try:
        return list(await connection.fetch(sqlfiles.statement(name), *arguments))
    except database.TROUBLE as error:
        raise database.trouble(error) from None
    finally:
        connection.terminate()
