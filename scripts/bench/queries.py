"""Reading at 10 million events: every hot query as the product runs it, its plan, and what people ask in psql."""

from __future__ import annotations

import random
import re
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from meeta_bot import settings
from meeta_bot.database.embedded.cluster import ClusterPaths, server_command
from meeta_bot.reading import queries
from meeta_bot.reading.queries import Filter, Reader
from scripts.bench import filling
from tests.stack import report
from tests.stack.postgres import Server, binaries

EVENTS, QUICK_EVENTS = 10_000_000, 200_000
_NEEDED_GIB, _QUICK_NEEDED_GIB = 25, 2  # free on the disk: data and indexes, the log ahead of them, and room to breathe
_PAGE = 200  # rows of a page
_LARGE = 1500  # events of a capture, at least, so that a page in the middle and one at the end are different ones
_SUBJECTS, _QUICK_SUBJECTS = 150, 20  # captures that each query is run for
_PLANS = 50  # of them explained
_FIRST = 15  # of them asked over a new connection
_QUESTION_MEETINGS = 5  # that each question of docs/queries.md is asked for
_MOST_MS, _MOST_BUFFERS = 5.0, 1.2  # promised for a page of 200 rows: execution, buffers a row
_VERSION = "18"
_LOADING = {
    "shared_buffers": "1GB",
    "max_wal_size": "8GB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "checkpoint_timeout": "1h",
    "maintenance_work_mem": "256MB",
}
_QUESTIONS = Path(__file__).resolve().parents[2] / "docs" / "queries.md"
_VIEWS = ("timeline", "speaking", "states", "counts", "visit_times", "participants")
_PARTITIONED_VIEWS = _VIEWS[:4]


@dataclass(frozen=True)
class Subject:
    """A capture that is asked about, with its meeting and one of its participants."""

    capture_id: str
    last_seq: int
    meeting_id: str
    capture_ids: list[str]
    endpoint_id: str
    name: str


_Ask = Callable[[Reader, Subject], Awaitable[int]]


@dataclass(frozen=True)
class Case:
    """A hot query: what it is called, how the product asks, and whether the promise for pages holds it."""

    title: str
    ask: _Ask
    is_page: bool = False


@dataclass(frozen=True)
class Cost:
    """The cost of one asking, all of its statements together."""

    rows: int
    planning_ms: float
    execution_ms: float
    buffers: int


@dataclass(frozen=True)
class Result:
    """A case and its figures; milliseconds, medians where nothing else is said."""

    case: Case
    p50: float
    p99: float
    first: float
    costs: list[Cost]

    def of(self, column: str) -> float:
        return report.median([getattr(cost, column) for cost in self.costs])

    @property
    def buffers_a_row(self) -> float:
        return report.median([cost.buffers / max(1, cost.rows) for cost in self.costs])


async def run(*, quick: bool) -> report.Section:
    """Fill a throwaway server, ask, explain; everything is removed at the end."""
    events = QUICK_EVENTS if quick else EVENTS
    _require_room(_QUICK_NEEDED_GIB if quick else _NEEDED_GIB)
    server = Server(_VERSION)
    try:
        server.start(**_LOADING)
        await server.execute("CREATE DATABASE bench")
        began = time.monotonic()
        stored = await filling.fill(server.url("bench"), events, datetime.now(UTC))
        filled = time.monotonic() - began
        return await measure(server, stored, filled, quick=quick)
    finally:
        server.destroy()


def _require_room(gibibytes: int) -> None:
    free = shutil.disk_usage(tempfile.gettempdir()).free / 2**30
    if free < gibibytes:
        sys.exit(
            f"This needs {gibibytes} GiB free under {tempfile.gettempdir()}, there are {free:.0f}: name another "
            "place with TMPDIR, or try --quick"
        )


async def measure(server: Server, stored: int, filled: float, *, quick: bool) -> report.Section:
    """All tables, from a server that is filled; it is restarted with the settings of the embedded one."""
    url = server.url("bench")
    await server.execute("CHECKPOINT", "bench")
    server.stop()
    server.start(**_as_embedded())
    chance = random.Random(3)
    fresh = await _subjects(url, _QUICK_SUBJECTS, chance, newest_first=True)
    before_vacuum = [await _measured(url, case, fresh) for case in _CASES_WITHOUT_VACUUM]
    await server.execute("VACUUM", "bench")
    subjects = await _subjects(url, _QUICK_SUBJECTS if quick else _SUBJECTS, chance)
    results = [await _measured(url, case, subjects) for case in _CASES]
    questions = await _asked(url, subjects[:_QUESTION_MEETINGS])
    views = await _pruning(url, subjects[0])
    size = await _size(url)
    return report.Section(
        title="Reading at ten million events",
        text=_text(stored, filled, size, len(subjects)),
        tables=[_hot_table(results), _fresh_table(before_vacuum), views, questions],
        targets=list(_targets(results)),
    )


def _as_embedded() -> dict[str, str]:
    """The options of the server that `meeta-bot` starts when it is told of none, without where it listens."""
    command = server_command(ClusterPaths.of(settings.load()), binaries(_VERSION))
    options = dict(option[2:].split("=", 1) for option in command if option.startswith("-c"))
    return {name: value for name, value in options.items() if not name.startswith(("unix_", "listen_"))}


async def _size(url: str) -> str:
    connection = await asyncpg.connect(url)
    try:
        size: str = await connection.fetchval("SELECT pg_size_pretty(pg_database_size(current_database()))")
        return size
    finally:
        await connection.close()


async def _subjects(url: str, number: int, chance: random.Random, *, newest_first: bool = False) -> list[Subject]:
    """Captures to ask about, drawn by chance; or of the newest month."""
    connection = await asyncpg.connect(url)
    try:
        large = await connection.fetch(
            "SELECT capture_id::text FROM meeta.captures WHERE last_seq >= $1 ORDER BY capture_id DESC", _LARGE
        )
        ids = [row["capture_id"] for row in large]
        chosen = ids[:number] if newest_first else chance.sample(ids, min(number, len(ids)))
        return [await _subject(connection, capture_id) for capture_id in chosen]
    finally:
        await connection.close()


async def _subject(connection: asyncpg.Connection[Any], capture_id: str) -> Subject:
    capture = await connection.fetchrow(
        "SELECT last_seq, meeting_id::text, array(SELECT other.capture_id::text FROM meeta.captures AS other"
        " WHERE other.meeting_id = captures.meeting_id ORDER BY 1) AS capture_ids"
        " FROM meeta.captures WHERE capture_id = $1::uuid",
        capture_id,
    )
    visit = await connection.fetchrow(
        "SELECT endpoint_id, display_name FROM meeta.visits WHERE capture_id = $1::uuid ORDER BY joined_seq LIMIT 1",
        capture_id,
    )
    assert capture is not None
    assert visit is not None
    return Subject(
        capture_id=capture_id,
        last_seq=capture["last_seq"],
        meeting_id=capture["meeting_id"],
        capture_ids=list(capture["capture_ids"]),
        endpoint_id=visit["endpoint_id"],
        name=visit["display_name"],
    )


# --- hot queries --------------------------------------------------------------------------------------------------


def _page(wanted: Filter = queries.EVERYTHING, begin: float | None = 0) -> _Ask:
    """A page of a capture's events that begins at a share of it; the last page for None."""

    async def ask(reader: Reader, subject: Subject) -> int:
        last = subject.last_seq
        after = last - _PAGE if begin is None else int(begin * last)
        rows = await reader.events([subject.capture_id], wanted, after=(subject.capture_id, after), limit=_PAGE)
        return len(rows)

    return ask


async def _of_endpoint(reader: Reader, subject: Subject) -> int:
    return len(await reader.events([subject.capture_id], Filter(participant=subject.endpoint_id), limit=_PAGE))


async def _of_name(reader: Reader, subject: Subject) -> int:
    return len(await reader.events([subject.capture_id], Filter(participant=subject.name), limit=_PAGE))


async def _participants(reader: Reader, subject: Subject) -> int:
    return len(await reader.participants(subject.capture_ids))


async def _counts(reader: Reader, subject: Subject) -> int:
    return len(await reader.counts(subject.capture_ids))


async def _quiet_tail(reader: Reader, subject: Subject) -> int:
    return len(await reader.progress_of_meeting([subject.capture_id]))


async def _tail(reader: Reader, subject: Subject) -> int:
    [head, *_] = [
        head for head in await reader.progress_of_meeting([subject.capture_id]) if head.capture_id == subject.capture_id
    ]
    return len(await reader.events([subject.capture_id], after=(subject.capture_id, head.last_seq - 10)))


async def _meetings(reader: Reader, _subject: Subject) -> int:
    return len(await reader.meetings(20))


async def _by_prefix(reader: Reader, subject: Subject) -> int:
    return len([await reader.find_meeting(subject.meeting_id[:8])])


_STATISTICS = Filter(types=["connection.stats_updated"])
_SPEAKERS = Filter(types=["dominant_speaker.changed"])
_MICROPHONES = Filter(types=["audio.muted", "audio.unmuted"])
_COUNTS = Case("counts by type", _counts)
_CASES = (
    Case("timeline, first page", _page(), is_page=True),
    Case("timeline, middle page", _page(begin=0.5), is_page=True),
    Case("timeline, last page", _page(begin=None), is_page=True),
    Case("one type, frequent", _page(_STATISTICS), is_page=True),
    Case("one type, rare", _page(_SPEAKERS), is_page=True),
    Case("two types", _page(_MICROPHONES), is_page=True),
    Case("history of an endpoint", _of_endpoint, is_page=True),
    Case("history by name", _of_name),
    Case("participants of a meeting", _participants),
    _COUNTS,
    Case("follow, nothing new", _quiet_tail),
    Case("follow, ten new", _tail),
    Case("latest 20 meetings", _meetings),
    Case("find by prefix of id", _by_prefix),
)
_CASES_WITHOUT_VACUUM = tuple(
    case
    for case in _CASES
    if case is _COUNTS or case.title.startswith(("one type", "two types", "history", "timeline, f"))
)


class _Noting:
    """A connection that notes what is fetched over it."""

    def __init__(self, connection: asyncpg.Connection[Any]) -> None:
        self.connection = connection
        self.noted: list[tuple[str, tuple[Any, ...]]] = []

    async def fetch(self, statement: str, *arguments: Any) -> list[Any]:
        self.noted.append((statement, arguments))
        return await self.connection.fetch(statement, *arguments)


@asynccontextmanager
async def _noting(url: str) -> AsyncIterator[tuple[Reader, _Noting]]:
    """A reader as the product has it, and what it fetches."""
    async with queries.reading(url, settings.load()) as reader:
        noting = _Noting(reader._connection)
        reader._connection = noting  # type: ignore[assignment]
        yield reader, noting


async def _measured(url: str, case: Case, subjects: Sequence[Subject]) -> Result:
    print(f"  {case.title}", file=sys.stderr)
    first = [await _asked_first(url, case, subject) for subject in subjects[:_FIRST]]
    async with queries.reading(url, settings.load()) as reader:
        for subject in subjects:
            await case.ask(reader, subject)
        times = [await _timed(case, reader, subject) for subject in subjects]
    costs = [await _explained(url, case, subject) for subject in subjects[:_PLANS]]
    return Result(case, report.median(times), report.percentile(times, 0.99), report.median(first), costs)


async def _timed(case: Case, reader: Reader, subject: Subject) -> float:
    began = time.perf_counter()
    await case.ask(reader, subject)
    return (time.perf_counter() - began) * 1000


async def _asked_first(url: str, case: Case, subject: Subject) -> float:
    """Over a new connection: the server's caches of the schema are empty, and the statement is not prepared."""
    async with queries.reading(url, settings.load()) as reader:
        return await _timed(case, reader, subject)


async def _explained(url: str, case: Case, subject: Subject) -> Cost:
    """Plans of all statements of one asking, by a session that has planned them before."""
    planning, execution, buffers = 0.0, 0.0, 0
    async with _noting(url) as (reader, noting):
        rows = await case.ask(reader, subject)
        for statement, arguments in noting.noted:
            plan = await _plan(noting.connection, statement, *arguments)
            planning += plan["Planning Time"]
            execution += plan["Execution Time"]
            buffers += plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"]
    return Cost(rows, planning, execution, buffers)


async def _plan(connection: asyncpg.Connection[Any], statement: str, *arguments: Any) -> dict[str, Any]:
    text = await connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", *arguments)
    [plan] = msgspec.json.decode(text)
    return dict(plan)


# --- views and questions ------------------------------------------------------------------------------------------


async def _pruning(url: str, subject: Subject) -> report.Table:
    """Measure how many partitions a view reads under a condition, and how long it takes with planning."""
    connection = await asyncpg.connect(url, server_settings={"jit": "off"})
    rows = []
    try:
        for view in _PARTITIONED_VIEWS:
            for column, value in (("capture_id", subject.capture_id), ("meeting_id", subject.meeting_id)):
                statement = f"SELECT * FROM meeta.{view} WHERE {column} = '{UUID(value)}'"  # noqa: S608 - names from above
                await connection.fetch(statement)
                plan = await _plan(connection, statement)
                read = len(_partitions(plan["Plan"]))
                times = (plan["Planning Time"], plan["Execution Time"])
                rows.append(
                    (f"meeta.{view}", column, str(plan["Plan"]["Actual Rows"]), str(read), *map(_figure, times))
                )
    finally:
        await connection.close()
    columns = ("view", "condition on", "rows", "partitions read", "planning ms", "execution ms")
    return report.Table(f"Views, of {filling.PARTITIONS} partitions:", columns, rows)


def _partitions(plan: dict[str, Any]) -> set[str]:
    """Partitions of meeta.events that were really read; what was pruned while the query ran has no loops."""
    name = str(plan.get("Relation Name", ""))
    read = {name} if re.fullmatch(r"events_\d{4}_\d\d", name) and plan["Actual Loops"] else set()
    return read.union(*(_partitions(part) for part in plan.get("Plans", [])))


async def _asked(url: str, subjects: Sequence[Subject]) -> report.Table:
    """The questions of docs/queries.md for one meeting, the median of several; some look at all meetings anyway."""
    text = _QUESTIONS.read_text(encoding="utf-8")
    found = re.findall(r"^## (\d+\. .+?)$.*?^```sql\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    connection = await asyncpg.connect(url, server_settings={"jit": "off"})
    rows = []
    try:
        for title, statement in found:
            print(f"  {title}", file=sys.stderr)
            narrowed = [_of_meeting(statement, subject.meeting_id) for subject in subjects]
            is_narrow = narrowed[0] != statement
            plans = [await _plan(connection, one.rstrip().rstrip(";")) for one in narrowed[: None if is_narrow else 1]]
            figures = (report.median([plan[name] for plan in plans]) for name in ("Planning Time", "Execution Time"))
            returned = report.median([plan["Plan"]["Actual Rows"] for plan in plans])
            rows.append((title, "one meeting" if is_narrow else "all", f"{returned:.0f}", *map(_figure, figures)))
    finally:
        await connection.close()
    columns = ("question", "asked of", "rows", "planning ms", "execution ms")
    return report.Table("The questions of docs/queries.md:", columns, rows)


def _of_meeting(statement: str, meeting_id: str) -> str:
    """`statement` with a condition on the meeting for every view in it."""
    views = "|".join(_VIEWS)

    def narrowed(match: re.Match[str]) -> str:
        view, alias = match.group(1), match.group(2) or match.group(1)
        return f"(SELECT * FROM meeta.{view} WHERE meeting_id = '{UUID(meeting_id)}') AS {alias}"  # noqa: S608

    return re.sub(rf"meeta\.({views})\b(?: AS (\w+))?", narrowed, statement)


# --- what is said -------------------------------------------------------------------------------------------------


def _text(stored: int, filled: float, size: str, subjects: int) -> str:
    return f"""
{stored:,} made-up events: the product's own structs in the proportions of ordinary meetings, sealed once and then
varied in SQL, so that digests don't chain. {filling.MONTHS} months of them in {filling.PARTITIONS} monthly partitions,
about {filling.AT_ONCE} captures at a time, written in the order of time, so that the events of a capture lie apart:
{size} with all indexes, filled in {filled:.0f} s. Asked is a PostgreSQL {_VERSION} with the settings of the
embedded one, after VACUUM and ANALYZE, which autovacuum does.

Each query ran as `reading.queries.Reader` runs it, for {subjects} captures of {_LARGE} events and more. p50 and p99
are warm, with everything from planning to Python objects; "first" is over a new connection, without the connecting.
Planning and execution come from EXPLAIN (ANALYZE, BUFFERS) and are medians; buffers, hit or read, are those of all
statements that the query takes, so that looking up a participant's name is in them."""


def _figure(value: float) -> str:
    return f"{value:.2f}" if value < 100 else f"{value:.0f}"


def _rows_of(results: Sequence[Result]) -> list[list[str]]:
    return [
        [
            result.case.title,
            f"{result.of('rows'):.0f}",
            *map(_figure, (result.p50, result.p99, result.first, result.of("planning_ms"), result.of("execution_ms"))),
            f"{result.of('buffers'):.0f}",
            _figure(result.buffers_a_row),
        ]
        for result in results
    ]


_COLUMNS = (
    "query", "rows", "p50 ms", "p99 ms", "first ms", "planning ms", "execution ms", "buffers", "buffers/rows"
)  # fmt: skip


def _hot_table(results: Sequence[Result]) -> report.Table:
    return report.Table("Hot queries:", _COLUMNS, _rows_of(results))


def _fresh_table(results: Sequence[Result]) -> report.Table:
    caption = (
        "The same in the newest month before any VACUUM, when no index can answer alone (for 2,000 events at most):"
    )
    return report.Table(caption, _COLUMNS, _rows_of(results))


def _targets(results: Sequence[Result]) -> list[report.Target]:
    pages = [result for result in results if result.case.is_page]
    slowest = max(pages, key=lambda result: result.of("execution_ms"))
    widest = max(pages, key=lambda result: result.buffers_a_row)
    return [
        report.Target(
            f"pages of {_PAGE} rows: execution at most {_MOST_MS:.0f} ms",
            f"{slowest.of('execution_ms'):.2f} ms ({slowest.case.title})",
            slowest.of("execution_ms") <= _MOST_MS,
        ),
        report.Target(
            f"pages of {_PAGE} rows: at most {_MOST_BUFFERS} buffers a row",
            f"{widest.buffers_a_row:.2f} ({widest.case.title})",
            widest.buffers_a_row <= _MOST_BUFFERS,
        ),
    ]
