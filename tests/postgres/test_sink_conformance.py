"""What every sink promises (`meeta_bot.delivery.sink.Sink`), held against each of them."""

from __future__ import annotations

import abc
import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meeta_bot.delivery import registry
from meeta_bot.delivery.jsonl import JsonLinesSink
from meeta_bot.delivery.registry import DATABASE, FILE, KINDS, STREAM, Destination
from meeta_bot.delivery.sink import Delivery, Sink, SinkUnavailable
from meeta_bot.errors import MeetaError
from meeta_bot.events import SealedEvent
from meeta_bot.settings import load
from tests.postgres.samples import joined, seal_all, small_capture, started
from tests.stack.postgres import fetch

RELAXED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.differing_executors]
NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"
LONGEST_STEPS = 2**20  # of the event loop; no write takes that many
Stored = dict[str, list[tuple[int, str]]]  # of each capture numbers and digests, in the order of the store


class Store(abc.ABC):
    """Something that sinks write to, and what is in it."""

    def __init__(self, kind: str, target: str) -> None:
        self.destination = Destination(kind, target)

    def new_sink(self) -> Sink:
        """A sink as another process would make it."""
        return registry.make(self.destination, load())

    def sink_of_nothing(self) -> Sink:
        """A sink of the kind whose store can't be there."""
        raise NotImplementedError

    @abc.abstractmethod
    async def stored(self) -> Stored:
        """All that is stored."""

    @abc.abstractmethod
    async def quarantined(self) -> list[tuple[str, int, str]]:
        """Kind, number and digest of what is in quarantine."""

    @asynccontextmanager
    async def sink(self) -> AsyncIterator[Sink]:
        """A new sink, closed at the end."""
        instance = self.new_sink()
        try:
            yield instance
        finally:
            await instance.close()


class Database(Store):
    """PostgreSQL."""

    def __init__(self, url: str) -> None:
        super().__init__(DATABASE, url)
        self._url = url

    def sink_of_nothing(self) -> Sink:
        return registry.make(Destination(DATABASE, NOWHERE), load())

    async def stored(self) -> Stored:
        rows = await fetch(self._url, "SELECT capture_id, seq, digest FROM meeta.events ORDER BY capture_id, seq")
        return by_capture((str(row["capture_id"]), row["seq"], row["digest"].hex()) for row in rows)

    async def quarantined(self) -> list[tuple[str, int, str]]:
        rows = await fetch(self._url, "SELECT kind, seq, digest FROM meeta.quarantine ORDER BY capture_id, seq")
        return [(row["kind"], row["seq"], row["digest"].hex()) for row in rows]


class File(Store):
    """JSON Lines in a file."""

    def __init__(self, path: Path, kind: str = FILE) -> None:
        super().__init__(kind, str(path))
        self.path = path

    def sink_of_nothing(self) -> Sink:
        return registry.make(Destination(FILE, str(self.path.parent / "gone" / self.path.name)), load())

    async def stored(self) -> Stored:
        return by_capture((line["capture_id"], line["seq"], line["digest"]) for line in lines_of(self.path))

    async def quarantined(self) -> list[tuple[str, int, str]]:
        lines = lines_of(JsonLinesSink(self.path, load()).quarantine_path)
        return [(line["kind"], line["seq"], line["digest"]) for line in lines]


class Stream(File):
    """JSON Lines on standard output that leads to a file, where a test can read them. It can't be opened again."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, STREAM)
        self._output = path.open("w", encoding="utf-8")
        with contextlib.redirect_stdout(self._output):
            self._sink = super().new_sink()

    def new_sink(self) -> Sink:
        return self._sink

    def close(self) -> None:
        self._output.close()


def by_capture(rows: Any) -> Stored:
    """(capture_id, seq, digest) as each capture's numbers and digests."""
    found: Stored = {}
    for capture_id, seq, digest in rows:
        found.setdefault(capture_id, []).append((seq, digest))
    return found


def lines_of(path: Path) -> list[dict[str, Any]]:
    """The lines of a file; each must be JSON."""
    if not path.exists():
        return []
    *lines, rest = path.read_bytes().split(b"\n")
    assert rest == b"", "the last line is not finished"
    return [json.loads(line) for line in lines]


def expected(*captures: Sequence[SealedEvent]) -> Stored:
    """What is stored when exactly these are."""
    return by_capture((event.capture_id, event.seq, event.digest.hex()) for event in itertools.chain(*captures))


def interleaved(*captures: Sequence[SealedEvent]) -> list[SealedEvent]:
    """One event of each in turn, as a spool has those of several rooms."""
    turns = itertools.zip_longest(*captures)
    return [event for turn in turns for event in turn if event is not None]


POISON = [
    pytest.param({"payload": "no json"}, id="no-json"),
    pytest.param({"payload": "[" * 100_000 + "]" * 100_000}, id="too-deep"),
    pytest.param({"payload": '{"text":"\\ud800"}'}, id="lone-surrogate"),
    pytest.param({"room": "\ud800"}, id="lone-surrogate-in-text"),
    pytest.param({"occurred_at": 2**62}, id="time-out-of-range"),
    pytest.param({"server_at": -(2**62)}, id="stamp-out-of-range"),
]


class SinkPromises:
    """The tests; a subclass names the kind and gives the store."""

    kind: ClassVar[str]

    async def test_an_empty_batch_stores_nothing(self, store: Store) -> None:
        """The counts of a delivery add up to the size of the batch, also when that is none."""
        async with store.sink() as sink:
            assert await sink.write([]) == Delivery(0, 0, 0)
        assert await store.stored() == {}

    async def test_a_batch_is_stored_in_order(self, store: Store) -> None:
        """What `write` returned for is stored, as it was sealed and in order."""
        batch = small_capture(10)
        async with store.sink() as sink:
            assert await sink.write(batch) == Delivery(10, 0, 0)
            assert await store.stored() == expected(batch)

    async def test_the_same_batch_again_is_only_duplicates(self, store: Store) -> None:
        """The same batch may come again, and each event is stored at most once."""
        batch = small_capture(5)
        async with store.sink() as sink:
            assert [await sink.write(batch) for _ in range(3)] == [Delivery(5, 0, 0), *[Delivery(0, 5, 0)] * 2]
        assert await store.stored() == expected(batch)

    async def test_of_overlapping_batches_only_what_is_new_is_stored(self, store: Store) -> None:
        """Each event at most once, however batches are cut when they come again."""
        batch = small_capture(10)
        async with store.sink() as sink:
            deliveries = [await sink.write(part) for part in (batch[:6], batch[3:8], batch[:2], batch[1:])]
        assert deliveries == [Delivery(6, 0, 0), Delivery(2, 3, 0), Delivery(0, 2, 0), Delivery(2, 7, 0)]
        assert await store.stored() == expected(batch)

    async def test_a_number_twice_in_a_batch_is_stored_once(self, store: Store) -> None:
        """Each event at most once, also within a batch."""
        batch = small_capture(3)
        async with store.sink() as sink:
            assert await sink.write([*batch, batch[1], batch[2]]) == Delivery(3, 2, 0)
        assert await store.stored() == expected(batch)

    async def test_a_large_batch_and_its_reverse(self, store: Store) -> None:
        """The size of a batch is the caller's business, and duplicates need no order."""
        batch = small_capture(3000)
        async with store.sink() as sink:
            assert await sink.write(batch) == Delivery(3000, 0, 0)
            assert await sink.write(batch[::-1]) == Delivery(0, 3000, 0)
        assert await store.stored() == expected(batch)

    @pytest.mark.parametrize("number", [1, 2, 3])
    async def test_of_two_events_with_one_number_the_first_stays(
        self, store: Store, number: int, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A conflict is no duplicate: it is counted as quarantined, and told, each time it comes."""
        batch = small_capture(3)
        other = msgspec.structs.replace(batch[number - 1], digest=bytes(32))
        both = [*batch[:number], other, *batch[number:]]
        async with store.sink() as sink:
            deliveries = [await sink.write(part) for part in (both, both, [other], [other, other])]
        again = [Delivery(0, 3, 1), Delivery(0, 0, 1), Delivery(0, 1, 1)]
        assert deliveries == [Delivery(3, 0, 1), *again]
        assert await store.stored() == expected(batch)
        assert capsys.readouterr().out.count("event quarantined") == len(deliveries)

    @pytest.mark.parametrize("poison", POISON)
    async def test_nothing_waits_behind_what_can_t_be_stored(self, store: Store, poison: dict[str, Any]) -> None:
        """No error is raised for what an event holds; its number and digest stay in the order of the others."""
        batch = small_capture(8)
        batch[4] = msgspec.structs.replace(batch[4], **poison)
        async with store.sink() as sink:
            assert await sink.write(batch) == Delivery(7, 0, 1)
            again = await sink.write(batch)
        assert again in (Delivery(0, 7, 1), Delivery(0, 8, 0))
        assert await store.stored() == expected(batch)

    async def test_many_that_can_t_be_stored_in_a_batch(self, store: Store) -> None:
        """As above, at both ends of a batch and side by side."""
        bad = {0, 1, 17, 38, 39}
        batch = [
            msgspec.structs.replace(event, payload="no json") if index in bad else event
            for index, event in enumerate(small_capture(40))
        ]
        async with store.sink() as sink:
            assert await sink.write(batch) == Delivery(35, 0, 5)
        assert await store.stored() == expected(batch)

    async def test_captures_don_t_get_in_each_other_s_way(self, store: Store) -> None:
        """Order is promised within each capture, however many are mixed."""
        captures = [small_capture(size) for size in range(1, 40)]
        mixed = interleaved(*captures)
        async with store.sink() as sink:
            deliveries = [await sink.write(mixed[at : at + 50]) for at in range(0, len(mixed), 40)]
        assert sum(delivery.stored for delivery in deliveries) == len(mixed)
        assert await store.stored() == expected(*captures)

    async def test_closing_is_safe_at_any_time(self, store: Store) -> None:
        """`close` may come before the first write, and twice."""
        sink = store.new_sink()
        await sink.close()
        await sink.close()

    async def test_opening_is_safe_at_any_time(self, store: Store) -> None:
        """`open` may come before the first write, twice, and after `close`; it stores nothing."""
        batch = small_capture(4)
        async with store.sink() as sink:
            await sink.open()
            await sink.open()
            assert await store.stored() == {}
            assert await sink.write(batch[:2]) == Delivery(2, 0, 0)
            await sink.open()
            assert await sink.write(batch) == Delivery(2, 2, 0)
        await sink.open()
        await sink.close()
        assert await store.stored() == expected(batch)

    async def test_cancelling_loses_and_repeats_nothing(self, store: Store) -> None:
        """A cancelled write has stored its batch or not, and the same batch again finds out."""
        events, position = small_capture(400), 0
        async with store.sink() as sink:
            for steps in [2**power for power in range(LONGEST_STEPS.bit_length())]:
                batch = events[position : position + 10]
                position += 10
                was_over = await cancelled_after(steps, sink, batch)
                delivery = await sink.write(batch)
                assert (delivery.stored + delivery.duplicates, delivery.quarantined) == (len(batch), 0)
                assert await store.stored() == expected(events[:position])
                if was_over:
                    break
        assert was_over, "no write came to its end, so perhaps none was cancelled late"

    @settings(max_examples=25, suppress_health_check=RELAXED)
    @given(
        sizes=st.lists(st.integers(1, 8), min_size=1, max_size=4),
        steps=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12), st.booleans()), max_size=10),
    )
    async def test_any_overlapping_batches_are_stored_as_their_union(
        self, store: Store, sizes: list[int], steps: list[tuple[int, int, bool]]
    ) -> None:
        """Each event once and in order, wherever batches begin and end, and whenever they come again.

        A step is how many events of the spool come again, how many new ones, and whether another sink gets them.
        """
        captures = [small_capture(size) for size in sizes]
        spooled = interleaved(*captures)
        reached = 0
        async with contextlib.AsyncExitStack() as stack:
            sink = await stack.enter_async_context(store.sink())
            for back, forward, is_another in [*steps, (0, len(spooled), False)]:
                if is_another:
                    await stack.aclose()
                    sink = await stack.enter_async_context(store.sink())
                first, last = max(reached - back, 0), min(reached + forward, len(spooled))
                assert await sink.write(spooled[first:last]) == Delivery(last - reached, reached - first, 0)
                reached = last
        found = await store.stored()
        assert {name: found[name] for name in expected(spooled)} == expected(*captures)


async def cancelled_after(steps: int, sink: Sink, batch: Sequence[SealedEvent]) -> bool:
    """Write `batch`, cancel that after `steps` turns of the event loop, and tell whether it had ended before."""
    task = asyncio.create_task(sink.write(batch))
    for _ in range(steps):
        if task.done():
            break
        await asyncio.sleep(0)
    was_over = task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return was_over


class LastingSinkPromises(SinkPromises):
    """What only holds where a sink can read what another one wrote."""

    async def test_another_sink_knows_what_is_stored(self, store: Store) -> None:
        """At most once, and conflicts are told from duplicates, also after a restart."""
        batch = small_capture(700)
        other = msgspec.structs.replace(batch[100], digest=bytes(32))
        async with store.sink() as sink:
            await sink.write(batch[:600])
        async with store.sink() as sink:
            assert await sink.write([*batch[90:600], other]) == Delivery(0, 510, 1)
            assert await sink.write(batch[400:]) == Delivery(100, 200, 0)
        assert await store.stored() == expected(batch)

    async def test_opening_says_in_a_line_what_can_t_be_written(self, store: Store) -> None:
        """`open` raises an error of the tree where `write` would wait, as often as it is asked."""
        sink = store.sink_of_nothing()
        for _ in range(2):
            with pytest.raises(MeetaError) as caught:
                await sink.open()
            assert "\n" not in f"{caught.value}{caught.value.hint}"
        with pytest.raises(SinkUnavailable):
            await sink.write(small_capture(1))
        await sink.close()

    async def test_a_sink_that_was_closed_writes_again(self, store: Store) -> None:
        """`close` lets go of connections and files; the next write gets them anew."""
        batch, other = small_capture(6), small_capture(4)
        sink = store.new_sink()
        assert await sink.write(batch[:4]) == Delivery(4, 0, 0)
        await sink.close()
        assert await sink.write([*batch, *other]) == Delivery(6, 4, 0)
        await sink.close()
        assert await store.stored() == expected(batch, other)

    async def test_what_is_quarantined_is_kept_once(self, store: Store) -> None:
        """Quarantine keeps the event itself, however often and to however many sinks it comes."""
        batch = seal_all([started(), *(joined(number, f"endpoint{number}") for number in range(4))])
        batch[1] = msgspec.structs.replace(batch[1], payload="no json")
        other = msgspec.structs.replace(batch[3], digest=bytes(32))
        for _ in range(2):
            async with store.sink() as sink:
                for part in ([*batch[:4], other], [other, batch[4]], [batch[1], other]):
                    await sink.write(part)
        assert sorted(await store.quarantined()) == [
            ("conflict", 4, bytes(32).hex()),
            ("refused", 2, batch[1].digest.hex()),
        ]
        assert await store.stored() == expected(batch)


class TestPostgres(LastingSinkPromises):
    """PostgreSQL, each supported version."""

    kind = DATABASE

    @pytest.fixture
    async def store(self, database_url: str) -> Store:
        return Database(database_url)


class TestJsonLinesFile(LastingSinkPromises):
    """JSON Lines in a file."""

    kind = FILE

    @pytest.fixture
    async def store(self, tmp_path: Path) -> Store:
        return File(tmp_path / "events.jsonl")


class TestJsonLinesStream(SinkPromises):
    """JSON Lines on a descriptor."""

    kind = STREAM

    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[Store]:
        store = Stream(tmp_path / "events.jsonl")
        yield store
        store.close()


def test_every_kind_of_sink_that_is_registered_is_held_to_the_promises() -> None:
    """Whoever registers a sink is told here what else it takes: a class of tests above, which gives a store."""
    assert set(KINDS) == {tests.kind for tests in _classes_of_tests(SinkPromises)}


def test_what_a_spool_may_owe_is_held_to_what_a_sink_of_another_process_knows() -> None:
    lasting = {tests.kind for tests in _classes_of_tests(LastingSinkPromises)}
    assert {name for name, kind in KINDS.items() if kind.can_be_owed} <= lasting


def _classes_of_tests(base: type[SinkPromises]) -> list[type[SinkPromises]]:
    below = [found for subclass in base.__subclasses__() for found in _classes_of_tests(subclass)]
    return [base, *below] if base.__name__.startswith("Test") else below
