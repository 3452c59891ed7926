"""The writer: from a real spool to a sink that fails on command."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import structlog
import structlog.testing

from meeta_bot.capture.spool import Spool
from meeta_bot.delivery.sink import Delivery, SinkGone, SinkUnavailable
from meeta_bot.delivery.writer import Writer
from meeta_bot.errors import DatabaseNotMigrated, DatabaseUnreachable
from meeta_bot.events import SealedEvent
from tests.unit.builders import append, settings

QUICK: dict[str, Any] = {"database_retry_initial": 0.001, "database_retry_max": 0.004, "writer_linger": 0}
PATIENCE_SECONDS = 10


class MemorySink:
    """Keeps what it is given, once; before that it does what `before` says."""

    def __init__(self) -> None:
        self.stored: list[SealedEvent] = []
        self.batches: list[list[int]] = []
        self.tries = 0
        self.before: Callable[[], Any] = lambda: None
        self.after: Callable[[], None] = lambda: None
        self._news = asyncio.Condition()

    async def open(self) -> None:
        """Nothing is to be opened."""

    async def write(self, batch: Sequence[SealedEvent]) -> Delivery:
        self.tries += 1
        async with self._news:
            self._news.notify_all()
        waits = self.before()
        if waits is not None:
            await waits
        known = {(event.capture_id, event.seq) for event in self.stored}
        fresh = [event for event in batch if (event.capture_id, event.seq) not in known]
        self.stored += fresh
        self.batches.append([event.seq for event in batch])
        async with self._news:
            self._news.notify_all()
        self.after()
        return Delivery(len(fresh), len(batch) - len(fresh), 0)

    async def close(self) -> None:
        """Nothing is open."""

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS), self._news:
            await self._news.wait_for(condition)

    def numbers(self, capture_id: str | None = None) -> list[int]:
        return [event.seq for event in self.stored if capture_id in (None, event.capture_id)]


@pytest.fixture(autouse=True)
def _quiet() -> None:
    structlog.configure(
        processors=[structlog.processors.KeyValueRenderer()], logger_factory=structlog.ReturnLoggerFactory()
    )


@pytest.fixture
async def spool(tmp_path: Path) -> AsyncIterator[Spool]:
    made = Spool(tmp_path / "spool", settings())
    yield made
    await made.close()


@pytest.fixture
def sink() -> MemorySink:
    return MemorySink()


def failing(times: int, error: Exception) -> Callable[[], None]:
    """Raise `error` so often, then no more."""
    left = [times]

    def fail() -> None:
        if left[0] > 0:
            left[0] -= 1
            raise error

    return fail


async def fill(spool: Spool, count: int, *, each: int = 1) -> None:
    for first in range(1, count + 1, each):
        await spool.append("c", append(*range(first, first + each), capture_id="c"))


async def test_what_is_appended_is_stored_in_order_and_forgotten(spool: Spool, sink: MemorySink) -> None:
    writer = Writer(spool, sink, settings(**QUICK))
    writer.start()
    await fill(spool, 30)
    assert await writer.stop(PATIENCE_SECONDS)
    assert sink.numbers() == list(range(1, 31))
    assert spool.waiting == 0
    assert await spool.read(10) == []
    assert (writer.stored, writer.quarantined, writer.unavailable) == (30, 0, None)


async def test_what_was_in_the_spool_before_is_delivered(spool: Spool, sink: MemorySink) -> None:
    await fill(spool, 10, each=5)
    writer = Writer(spool, sink, settings(**QUICK))
    writer.start()
    writer.start()
    assert await writer.stop(PATIENCE_SECONDS)
    assert sink.numbers() == list(range(1, 11))


async def test_an_event_appended_to_an_idle_writer_is_delivered_without_stopping(
    spool: Spool, sink: MemorySink
) -> None:
    writer = Writer(spool, sink, settings(**QUICK))
    writer.start()
    for number in (1, 2, 3):
        await spool.append("c", append(number, capture_id="c"))
        await sink.until(lambda expected=number: sink.numbers() == list(range(1, expected + 1)))  # type: ignore[misc]
    assert await writer.stop(PATIENCE_SECONDS)


async def test_no_batch_is_larger_than_the_limit(spool: Spool, sink: MemorySink) -> None:
    await fill(spool, 10, each=10)
    writer = Writer(spool, sink, settings(**QUICK, writer_batch_events=4))
    writer.start()
    assert await writer.stop(PATIENCE_SECONDS)
    assert sink.batches == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10]]


@pytest.mark.parametrize("error", [SinkUnavailable("no route"), RuntimeError("a bug"), OSError("disk"), KeyError("x")])
async def test_a_batch_that_fails_comes_again_and_nothing_behind_it_overtakes(
    error: Exception, spool: Spool, sink: MemorySink
) -> None:
    await fill(spool, 6, each=6)
    sink.before = failing(5, error)
    writer = Writer(spool, sink, settings(**QUICK, writer_batch_events=2))
    writer.start()
    await sink.until(lambda: sink.tries == 3)
    assert spool.waiting == 6
    assert isinstance(writer.unavailable, str)
    await sink.until(lambda: len(sink.stored) == 6)
    assert await writer.stop(PATIENCE_SECONDS)
    assert sink.batches == [[1, 2], [3, 4], [5, 6]]
    assert (sink.tries, writer.stored) == (8, 6)
    assert not writer.unavailable


class Preparation:
    """Fails so often, then succeeds; counts how often it was wanted."""

    def __init__(self, failures: int = 0, error: Exception | None = None) -> None:
        self.wanted = 0
        self._failures = failures
        self._error = error or DatabaseUnreachable("nothing answers")

    async def __call__(self) -> None:
        self.wanted += 1
        if self.wanted <= self._failures:
            raise self._error


@pytest.mark.parametrize(
    "error", [DatabaseUnreachable("nothing answers"), DatabaseNotMigrated("old"), RuntimeError("bug")]
)
async def test_nothing_is_written_before_the_sink_is_prepared(error: Exception, spool: Spool, sink: MemorySink) -> None:
    await fill(spool, 3)
    prepare = Preparation(3, error)
    writer = Writer(spool, sink, settings(**QUICK), prepare)
    prepared: list[bool] = []
    sink.before = lambda: prepared.append(writer.ready.is_set())
    writer.start()
    await asyncio.wait_for(writer.ready.wait(), PATIENCE_SECONDS)
    assert await writer.stop(PATIENCE_SECONDS)
    assert prepare.wanted == 4
    assert set(prepared) == {True}
    assert sink.numbers() == [1, 2, 3]


async def test_a_sink_that_was_unavailable_is_prepared_again(spool: Spool, sink: MemorySink) -> None:
    await fill(spool, 3)
    prepare = Preparation()
    sink.before = failing(2, SinkUnavailable("restarting"))
    writer = Writer(spool, sink, settings(**QUICK), prepare)
    writer.start()
    await sink.until(lambda: len(sink.stored) == 3)
    assert await writer.stop(PATIENCE_SECONDS)
    assert prepare.wanted == 3


async def test_what_was_stored_before_the_sink_failed_is_known_when_it_comes_again(
    spool: Spool, sink: MemorySink
) -> None:
    await fill(spool, 4, each=4)
    sink.after = failing(1, SinkUnavailable("the answer was lost"))
    writer = Writer(spool, sink, settings(**QUICK))
    writer.start()
    assert await writer.stop(PATIENCE_SECONDS)
    assert sink.batches == [[1, 2, 3, 4], [1, 2, 3, 4]]
    assert sink.numbers() == [1, 2, 3, 4]
    assert writer.stored == 4


async def test_nothing_is_forgotten_while_the_sink_still_writes(spool: Spool, sink: MemorySink) -> None:
    await fill(spool, 3, each=3)
    written = asyncio.Event()
    sink.before = written.wait
    writer = Writer(spool, sink, settings(**QUICK))
    writer.start()
    await sink.until(lambda: sink.tries == 1)
    assert [spooled.event.seq for spooled in await spool.read(10)] == [1, 2, 3]
    assert spool.waiting == 3
    written.set()
    assert await writer.stop(PATIENCE_SECONDS)


async def test_events_that_arrive_while_the_sink_writes_are_not_lost(spool: Spool, sink: MemorySink) -> None:
    written = asyncio.Event()
    sink.before = written.wait
    writer = Writer(spool, sink, settings(**QUICK))
    writer.start()
    await fill(spool, 1)
    await sink.until(lambda: sink.tries == 1)
    await asyncio.gather(*(spool.append(f"c{n}", append(1, 2, capture_id=f"c{n}")) for n in range(20)))
    written.set()
    assert await writer.stop(PATIENCE_SECONDS)
    assert spool.waiting == 0
    assert len(sink.stored) == 41


async def test_each_capture_keeps_its_order_among_others(spool: Spool, sink: MemorySink) -> None:
    writer = Writer(spool, sink, settings(**QUICK, writer_batch_events=3))
    sink.before = failing(4, SinkUnavailable("now and then"))
    writer.start()

    async def capture(name: str) -> None:
        for number in range(1, 21):
            await spool.append(name, append(number, capture_id=name))

    await asyncio.gather(*(capture(name) for name in "abc"))
    await sink.until(lambda: len(sink.stored) == 60)
    assert await writer.stop(PATIENCE_SECONDS)
    assert {name: sink.numbers(name) for name in "abc"} == {name: list(range(1, 21)) for name in "abc"}


async def test_stopping_delivers_what_is_there_also_after_a_failure(spool: Spool, sink: MemorySink) -> None:
    await fill(spool, 5)
    sink.before = failing(2, SinkUnavailable("starting up"))
    writer = Writer(spool, sink, settings(**QUICK))
    writer.start()
    assert await writer.stop(PATIENCE_SECONDS)
    assert sink.numbers() == [1, 2, 3, 4, 5]


async def test_stopping_does_not_sit_out_a_long_pause(spool: Spool, sink: MemorySink) -> None:
    await fill(spool, 1)
    sink.before = failing(1, SinkUnavailable("down"))
    patient = {**QUICK, "database_retry_initial": 10 * PATIENCE_SECONDS}
    writer = Writer(spool, sink, settings(**patient))
    writer.start()
    await sink.until(lambda: sink.tries == 1)
    assert await writer.stop(PATIENCE_SECONDS)
    assert sink.numbers() == [1]


async def test_stopping_gives_up_at_its_deadline_and_says_so(spool: Spool, sink: MemorySink) -> None:
    await fill(spool, 3, each=3)
    sink.before = failing(10**9, SinkUnavailable("down for good"))
    writer = Writer(spool, sink, settings(**QUICK))
    writer.start()
    assert not await writer.stop(0.05)
    assert sink.tries > 1
    assert spool.waiting == 3
    assert [spooled.event.seq for spooled in await spool.read(10)] == [1, 2, 3]


async def test_stopping_without_any_time_gives_up_in_the_middle_of_a_pause(spool: Spool, sink: MemorySink) -> None:
    await fill(spool, 1)
    sink.before = failing(10**9, SinkUnavailable("down for good"))
    writer = Writer(spool, sink, settings(**{**QUICK, "database_retry_initial": 0.05}))
    writer.start()
    await sink.until(lambda: sink.tries == 1)
    await asyncio.sleep(0)  # into the pause
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert not await writer.stop(0)


async def test_stopping_without_a_deadline_sits_out_an_outage(spool: Spool, sink: MemorySink) -> None:
    await fill(spool, 5)
    sink.before = failing(20, SinkUnavailable("down for long"))
    writer = Writer(spool, sink, settings(**QUICK))
    writer.start()
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert await writer.stop(None)
    assert sink.numbers() == [1, 2, 3, 4, 5]


async def test_stopping_that_is_cancelled_lets_go_at_once(spool: Spool, sink: MemorySink) -> None:
    await fill(spool, 3, each=3)
    ended = asyncio.Event()

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    sink.before = hang
    writer = Writer(spool, sink, settings(**QUICK))
    writer.start()
    await sink.until(lambda: sink.tries == 1)
    stopping = asyncio.create_task(writer.stop(None))
    await asyncio.sleep(0)  # into the waiting
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    assert ended.is_set()
    assert spool.waiting == 3


async def test_stopping_gives_up_on_a_sink_that_never_answers(spool: Spool, sink: MemorySink) -> None:
    await fill(spool, 3, each=3)
    sink.before = asyncio.Event().wait
    writer = Writer(spool, sink, settings(**QUICK))
    writer.start()
    await sink.until(lambda: sink.tries == 1)
    assert not await writer.stop(0.05)
    assert spool.waiting == 3


async def test_another_writer_finishes_what_one_left(spool: Spool, sink: MemorySink) -> None:
    await fill(spool, 3, each=3)
    sink.before = asyncio.Event().wait
    first = Writer(spool, sink, settings(**QUICK))
    first.start()
    await sink.until(lambda: sink.tries == 1)
    assert not await first.stop(0.01)
    sink.before = lambda: None
    second = Writer(spool, sink, settings(**QUICK))
    second.start()
    assert await second.stop(PATIENCE_SECONDS)
    assert sink.numbers() == [1, 2, 3]


async def test_stopping_one_that_was_never_started_says_whether_the_spool_is_empty(
    spool: Spool, sink: MemorySink
) -> None:
    assert await Writer(spool, sink, settings(**QUICK)).stop(1)
    await fill(spool, 1)
    assert not await Writer(spool, sink, settings(**QUICK)).stop(1)


async def test_quarantined_events_are_counted_and_leave_the_spool(spool: Spool, sink: MemorySink) -> None:
    class Quarantine(MemorySink):
        async def write(self, batch: Sequence[SealedEvent]) -> Delivery:
            await super().write(batch)
            return Delivery(len(batch) - 1, 0, 1)

    await fill(spool, 4, each=4)
    writer = Writer(spool, Quarantine(), settings(**QUICK))
    writer.start()
    assert await writer.stop(PATIENCE_SECONDS)
    assert (writer.stored, writer.quarantined, spool.waiting) == (3, 1, 0)


# --- outages -------------------------------------------------------------------------------------------------------


def said(logged: Sequence[Any]) -> list[str]:
    """What an operator sees in the log."""
    return [line["event"] for line in logged if line["log_level"] != "debug"]


async def fail_often_then_deliver(spool: Spool, sink: MemorySink, error: Exception, **changes: Any) -> list[str]:
    """An outage of 20 tries; what the log said of it."""
    sink.before = failing(20, error)
    with structlog.testing.capture_logs() as logged:
        writer = Writer(spool, sink, settings(**QUICK, **changes))
        writer.start()
        await fill(spool, 1)
        await sink.until(lambda: len(sink.stored) == 1)
        assert await writer.stop(PATIENCE_SECONDS)
    assert sink.tries == 21
    return said(logged)


async def test_a_long_outage_is_said_once(spool: Spool, sink: MemorySink) -> None:
    lines = await fail_often_then_deliver(spool, sink, SinkUnavailable("down"))
    assert lines == ["database unavailable, recording into the spool", "database available again"]


async def test_a_bug_in_a_sink_shows_its_traceback_once(spool: Spool, sink: MemorySink) -> None:
    lines = await fail_often_then_deliver(spool, sink, RuntimeError("a bug"))
    first, *rest = lines
    assert first == "delivery failed"
    assert rest == ["database unavailable, recording into the spool", "database available again"]


async def test_an_outage_that_lasts_is_said_again_with_what_waits(spool: Spool, sink: MemorySink) -> None:
    await fill(spool, 3)
    sink.before = failing(10**9, SinkUnavailable("down"))
    with structlog.testing.capture_logs() as logged:
        writer = Writer(spool, sink, settings(**QUICK, outage_reminder_interval=0.002))
        writer.start()
        await sink.until(lambda: sink.tries == 20)
        assert not await writer.stop(0.01)
    first, *reminders = [line for line in logged if line["log_level"] != "debug"]
    assert first["event"] == "database unavailable, recording into the spool"
    assert {(line["event"], line["reason"], line["waiting"]) for line in reminders} == {
        ("database still unavailable", "down", 3)
    }


async def test_a_sink_that_hangs_is_said_and_tried_again(spool: Spool, sink: MemorySink) -> None:
    await fill(spool, 3, each=3)
    hangs = iter([asyncio.Event().wait, asyncio.Event().wait])
    sink.before = lambda: next(hangs, lambda: None)()
    with structlog.testing.capture_logs() as logged:
        writer = Writer(spool, sink, settings(**QUICK, sink_write_timeout=0.02))
        writer.start()
        await sink.until(lambda: len(sink.stored) == 3)
        assert await writer.stop(PATIENCE_SECONDS)
    assert sink.tries == 3
    assert [line.get("reason") for line in logged if line["log_level"] == "warning"] == ["no answer within 0.02 s"]


async def test_a_timeout_of_the_sink_itself_is_not_taken_for_the_deadline(spool: Spool, sink: MemorySink) -> None:
    sink.before = failing(1, TimeoutError("its own"))
    with structlog.testing.capture_logs() as logged:
        writer = Writer(spool, sink, settings(**QUICK))
        writer.start()
        await fill(spool, 1)
        assert await writer.stop(PATIENCE_SECONDS)
    assert [line["reason"] for line in logged if line["log_level"] == "warning"] == ["TimeoutError: its own"]


async def test_a_preparation_that_lasts_is_said_and_not_cancelled(spool: Spool, sink: MemorySink) -> None:
    await fill(spool, 1)
    released, begun = asyncio.Event(), 0

    async def prepare() -> None:
        nonlocal begun
        begun += 1
        await released.wait()

    said_so = asyncio.Event()

    def note(_logger: object, _method: str, line: Any) -> Any:
        if line.get("reason") == "not ready after 0.01 s":
            said_so.set()
        raise structlog.DropEvent

    structlog.configure(processors=[note])
    writer = Writer(spool, sink, settings(**QUICK, sink_write_timeout=0.01), prepare)
    writer.start()
    await asyncio.wait_for(said_so.wait(), PATIENCE_SECONDS)
    released.set()
    assert await writer.stop(PATIENCE_SECONDS)
    assert (begun, sink.numbers(), writer.unavailable) == (1, [1], None)


# --- several sinks -------------------------------------------------------------------------------------------------


async def test_a_sink_that_hangs_delays_no_other(spool: Spool, sink: MemorySink) -> None:
    slow, released = MemorySink(), asyncio.Event()
    slow.before = released.wait
    writers = [Writer(spool, slow, settings(**QUICK)), Writer(spool, sink, settings(**QUICK))]
    for writer in writers:
        writer.start()
    await fill(spool, 20)
    await sink.until(lambda: len(sink.stored) == 20)
    assert await writers[1].stop(PATIENCE_SECONDS)
    assert slow.stored == []
    assert (writers[0].waiting, writers[1].waiting, spool.waiting) == (20, 0, 20)
    released.set()
    assert await writers[0].stop(PATIENCE_SECONDS)
    assert slow.numbers() == list(range(1, 21))
    assert spool.waiting == 0


async def test_a_sink_that_fails_keeps_its_events_in_the_spool(spool: Spool, sink: MemorySink) -> None:
    broken = MemorySink()
    broken.before = failing(10**9, SinkUnavailable("down for good"))
    writers = [Writer(spool, broken, settings(**QUICK)), Writer(spool, sink, settings(**QUICK))]
    for writer in writers:
        writer.start()
    await fill(spool, 3)
    await broken.until(lambda: broken.tries > 2)
    assert await writers[1].stop(PATIENCE_SECONDS)
    assert not await writers[0].stop(0.01)
    assert [spooled.event.seq for spooled in await spool.read(10)] == [1, 2, 3]
    assert spool.waiting == 3


async def test_a_sink_that_is_gone_ends_its_writer_with_one_line_and_holds_nothing_up(
    spool: Spool, sink: MemorySink
) -> None:
    pipe = MemorySink()
    pipe.before = failing(1, SinkGone("nobody reads the pipe any more"))
    with structlog.testing.capture_logs() as logged:
        writers = [Writer(spool, pipe, settings(**QUICK), name="pipe"), Writer(spool, sink, settings(**QUICK))]
        for writer in writers:
            writer.start()
        await fill(spool, 3)
        await pipe.until(lambda: pipe.tries == 1)
        await fill(spool, 3)
        await sink.until(lambda: len(sink.stored) == 6)
        assert await writers[1].stop(PATIENCE_SECONDS)
        assert await writers[0].stop(PATIENCE_SECONDS)
    assert [line["event"] for line in logged if line["log_level"] != "debug"] == ["pipe gone, no more is written to it"]
    assert (pipe.tries, pipe.stored, writers[0].gone) == (1, [], "nobody reads the pipe any more")
    assert not writers[0].ready.is_set()
    assert (spool.waiting, await spool.read(10)) == (0, [])


SMALL: dict[str, Any] = {"spool_max_bytes": 2**20, "sink_lag_share": 0.01}  # so 10 KiB may be held up


@pytest.mark.parametrize("trouble", [lambda: failing(10**9, SinkUnavailable("full")), lambda: asyncio.Event().wait])
async def test_a_further_sink_that_holds_up_too_much_is_given_up_and_the_database_gets_all(
    trouble: Callable[[], Any], spool: Spool, sink: MemorySink
) -> None:
    pipe, options = MemorySink(), settings(**QUICK, **SMALL, sink_write_timeout=0.02)
    pipe.before = trouble()
    with structlog.testing.capture_logs() as logged:
        lagging = Writer(spool, pipe, options, name="pipe", may_be_given_up=True)
        writer = Writer(spool, sink, options)
        for one in (lagging, writer):
            one.start()
        await fill(spool, 200, each=10)
        await sink.until(lambda: len(sink.stored) == 200)
        assert await writer.stop(PATIENCE_SECONDS)
        assert await lagging.stop(PATIENCE_SECONDS)
    assert "MEETA_SINK_LAG_SHARE" in str(lagging.gone)
    assert [line["event"] for line in logged if line["log_level"] == "error"] == ["pipe gone, no more is written to it"]
    assert sink.numbers() == list(range(1, 201))
    assert (writer.gone, spool.waiting, await spool.read(10)) == (None, 0, [])


async def test_a_further_sink_that_holds_up_little_is_waited_for(spool: Spool, sink: MemorySink) -> None:
    sink.before = failing(20, SinkUnavailable("full"))
    writer = Writer(spool, sink, settings(**QUICK, **SMALL), name="pipe", may_be_given_up=True)
    await fill(spool, 10, each=10)
    writer.start()
    await sink.until(lambda: len(sink.stored) == 10)
    assert await writer.stop(PATIENCE_SECONDS)
    assert writer.gone is None


async def test_a_further_sink_that_keeps_up_may_be_given_more_than_its_share_at_once(
    spool: Spool, sink: MemorySink
) -> None:
    writer = Writer(spool, sink, settings(**QUICK, **SMALL), name="pipe", may_be_given_up=True)
    await fill(spool, 200, each=200)
    writer.start()
    assert await writer.stop(PATIENCE_SECONDS)
    assert (writer.gone, len(sink.stored)) == (None, 200)


async def test_the_database_is_never_given_up(spool: Spool, sink: MemorySink) -> None:
    await fill(spool, 200, each=10)
    sink.before = failing(20, SinkUnavailable("down"))
    writer = Writer(spool, sink, settings(**QUICK, **SMALL))
    writer.start()
    await sink.until(lambda: len(sink.stored) == 200)
    assert await writer.stop(PATIENCE_SECONDS)
    assert writer.gone is None


# --- backlogs ------------------------------------------------------------------------------------------------------

BULK: dict[str, Any] = {**QUICK, "writer_batch_events": 3, "writer_bulk_backlog": 8, "writer_bulk_events": 10}


async def test_a_backlog_leaves_in_larger_batches_and_what_remains_in_ordinary_ones(
    spool: Spool, sink: MemorySink
) -> None:
    await fill(spool, 35, each=5)
    writer = Writer(spool, sink, settings(**BULK))
    writer.start()
    assert await writer.stop(PATIENCE_SECONDS)
    assert [len(batch) for batch in sink.batches] == [10, 10, 10, 3, 2]
    assert sink.numbers() == list(range(1, 36))
    assert (writer.stored, spool.waiting) == (35, 0)


async def test_a_backlog_comes_in_order_though_batches_fail_while_the_next_is_read(
    spool: Spool, sink: MemorySink
) -> None:
    await fill(spool, 35, each=5)
    failures = iter([None, SinkUnavailable("once"), None, RuntimeError("twice"), SinkUnavailable("thrice")])

    def fail_sometimes() -> None:
        if (error := next(failures, None)) is not None:
            raise error

    sink.before = fail_sometimes
    writer = Writer(spool, sink, settings(**BULK))
    writer.start()
    assert await writer.stop(PATIENCE_SECONDS)
    assert [len(batch) for batch in sink.batches] == [10, 10, 10, 3, 2]
    assert sink.numbers() == list(range(1, 36))


async def test_events_that_arrive_behind_a_backlog_wait_for_their_turn(spool: Spool, sink: MemorySink) -> None:
    await fill(spool, 20, each=5)
    written = asyncio.Event()
    sink.before = written.wait
    writer = Writer(spool, sink, settings(**BULK))
    writer.start()
    await sink.until(lambda: sink.tries == 1)
    await spool.append("c", append(21, capture_id="c"))
    written.set()
    assert await writer.stop(PATIENCE_SECONDS)
    assert sink.numbers() == list(range(1, 22))
