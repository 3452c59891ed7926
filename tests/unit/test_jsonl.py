"""JSON Lines: what a line holds, what kills and full disks leave, whose file it is, and readers that go away.

What every sink promises is in tests/postgres/test_sink_conformance.py.
"""
# ruff: noqa: ASYNC220, ASYNC240 (nothing else runs in the event loops of these tests)

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import resource
import select
import stat
import subprocess
import sys
import unicodedata
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from meeta_bot.delivery import jsonl, jsonl_stream, registry
from meeta_bot.delivery.jsonl import JsonLinesSink
from meeta_bot.delivery.jsonl_stream import JsonLinesStream
from meeta_bot.delivery.sink import Delivery, SinkGone, SinkUnavailable
from meeta_bot.errors import UsageError
from meeta_bot.events import ChatMessage, Event, SealedEvent, chain, json_schema
from meeta_bot.events.document import chained_document, event_document, json_line, sealed_row
from meeta_bot.text import clean_text
from meeta_bot.timestamps import milliseconds
from tests.postgres.samples import arbitrary_events
from tests.unit.builders import CAPTURE, event, sealed, settings

OTHER_CAPTURE = "01932c5e-8f00-7000-8000-00000000000b"
PATIENCE_SECONDS = 60
FULL_PIPE = b"." * select.PIPE_BUF


@asynccontextmanager
async def opened(path: Path, **changes: Any) -> AsyncIterator[JsonLinesSink]:
    """A sink on `path`, opened and closed."""
    sink = JsonLinesSink(path, settings(**changes))
    await sink.open()
    try:
        yield sink
    finally:
        await sink.close()


async def write(path: Path, *batches: Sequence[SealedEvent], **changes: Any) -> list[Delivery]:
    """What became of batches that one sink wrote."""
    async with opened(path, **changes) as sink:
        return [await sink.write(batch) for batch in batches]


def lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a file, whole JSON also for readers that know Unicode's line ends, without controls."""
    text = path.read_text(encoding="utf-8")
    assert text == "" or text.endswith("\n")
    assert text.split("\n")[:-1] == text.splitlines()
    assert not [one for one in text if unicodedata.category(one) == "Cc" and one != "\n"]
    return [json.loads(line) for line in text.splitlines()]


def numbers(path: Path) -> list[int]:
    return [line["seq"] for line in lines(path)]


def capture(size: int, name: str = CAPTURE) -> list[SealedEvent]:
    return sealed([event(number) for number in range(size)], name)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


# --- lines --------------------------------------------------------------------------------------------------------


async def test_a_line_is_the_event_as_export_prints_it_and_what_the_chain_needs(path: Path) -> None:
    batch = capture(3)
    await write(path, batch)
    for line, item in zip(lines(path), batch, strict=True):
        assert line == event_document(sealed_row(item)) | {"commitment": item.commitment.hex(), "salt": item.salt.hex()}
        assert list(line)[: len(json_schema()["properties"])] == list(event_document(sealed_row(item)))


def broken_in(documents: list[dict[str, Any]]) -> list[int]:
    """The numbers of the lines of one capture whose digest does not follow from the lines alone."""
    broken, previous = [], chain.GENESIS
    for line in documents:
        commitment = bytes.fromhex(line["commitment"])
        moments = [
            line[name] and milliseconds(datetime.fromisoformat(line[name])) for name in ("occurred_at", "server_at")
        ]
        names = ("capture_id", "seq", "type", "origin", "room", "endpoint_id")
        envelope = (
            *(line[name] for name in names),
            *(moments[0], line["monotonic_ms"], moments[1], line["initial"], line["inferred"]),
        )
        if line["salt"] is not None:
            kept = chain.commit(bytes.fromhex(line["salt"]), chain.canonical_json(line["payload"])) == commitment
            if not kept or chain.link(previous, envelope, commitment).hex() != line["digest"]:
                broken.append(line["seq"])
        previous = bytes.fromhex(line["digest"])
    return broken


@hypothesis_settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(events=st.lists(arbitrary_events(), min_size=1, max_size=8))
async def test_the_chain_can_be_recomputed_from_the_file_alone(tmp_path: Path, events: list[Event]) -> None:
    path = tmp_path / f"{os.urandom(8).hex()}.jsonl"
    batch = sealed(events)
    [delivery] = await write(path, batch)
    documents = lines(path)
    assert delivery.stored + delivery.quarantined == len(batch)
    assert [line["seq"] for line in documents] == [item.seq for item in batch]
    assert sum(line["salt"] is None for line in documents) == delivery.quarantined
    assert broken_in(documents) == []


def test_a_changed_line_breaks_the_recomputed_chain() -> None:
    documents = [chained_document(sealed_row(item)) for item in capture(3)]
    documents[1]["payload"]["message"] = "another"
    assert broken_in(documents) == [2]


@pytest.mark.parametrize(
    "text", ["a\0b", "\ud800", "line\u2028line\u2029line\x85line\r\nline\x0bline\x0c", "x" * 2**20]
)
async def test_whatever_is_said_is_one_line(path: Path, text: str) -> None:
    said = event(1, ChatMessage(text=text))
    assert await write(path, sealed([said])) == [Delivery(1, 0, 0)]
    assert [line["payload"]["text"] for line in lines(path)] == [clean_text(text)]


async def test_a_line_that_is_too_long_leaves_one_in_its_place(path: Path) -> None:
    batch = sealed([event(1), event(2, ChatMessage(text="x" * 2000)), event(3)])
    assert await write(path, batch, batch, jsonl_line_bytes=1000) == [Delivery(2, 0, 1), Delivery(0, 3, 0)]
    assert [line["payload"] is None for line in lines(path)] == [False, True, False]
    assert await write(path, batch, jsonl_line_bytes=1000) == [Delivery(0, 3, 0)]


# --- quarantine ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "poison",
    [
        {"payload": '{"text":"hunter2\\ud800"}'},
        {"payload": '{"number":1e999,"text":"hunter2"}'},
        {"payload": '{"number":NaN,"text":"hunter2"}'},
        {"room": "hunter2\ud800"},
        {"type": "\udfff", "occurred_at": -(2**70), "server_at": 2**70, "seq": 2**80, "monotonic_ms": -(2**80)},
        {"capture_id": "hunter2\ud800"},
    ],
)
async def test_the_whole_event_is_in_quarantine_once(
    path: Path, poison: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    item = msgspec.structs.replace(capture(1)[0], **poison)
    for _ in range(2):
        for delivery in await write(path, [item], [item]):
            assert delivery.stored == 0
    quarantine = JsonLinesSink(path, settings()).quarantine_path
    [held] = lines(quarantine)
    assert (held["kind"], held["digest"]) == ("refused", item.digest.hex())
    restored = json.loads(held["sealed"])
    assert restored[:12] == list(msgspec.structs.astuple(item)[:12])
    assert stat.S_IMODE(quarantine.stat().st_mode) == 0o600
    assert "hunter2" not in held["reason"]
    if "capture_id" not in poison:
        assert "hunter2" not in capsys.readouterr().out


async def test_a_capture_that_has_no_name_in_json_keeps_nobody_waiting(path: Path) -> None:
    strange = [msgspec.structs.replace(item, capture_id="\ud800") for item in capture(2)]
    good = capture(3)
    batch = [strange[0], *good, strange[1]]
    assert await write(path, batch, batch) == [Delivery(3, 0, 2), Delivery(0, 3, 2)]
    assert [(line["capture_id"], line["seq"]) for line in lines(path)] == [(CAPTURE, 1), (CAPTURE, 2), (CAPTURE, 3)]


async def test_a_quarantine_torn_by_a_kill_is_repaired(path: Path) -> None:
    item = msgspec.structs.replace(capture(1)[0], payload="no json")
    await write(path, [item])
    quarantine = JsonLinesSink(path, settings()).quarantine_path
    whole = quarantine.read_bytes()
    path.unlink()
    for cut in (1, len(whole) // 2, len(whole) - 2):
        quarantine.write_bytes(whole[:cut])
        assert await write(path, [item]) == [Delivery(0, 0, 1)]
        assert quarantine.read_bytes() == whole
        path.unlink()


# --- kills --------------------------------------------------------------------------------------------------------


async def test_wherever_a_kill_tears_the_file_the_batch_again_makes_it_whole(path: Path) -> None:
    batch = capture(4)
    await write(path, batch[:2])
    durable = path.stat().st_size
    await write(path, batch[2:])
    whole = path.read_bytes()
    second = whole.index(b"\n", durable) + 1  # of the two lines of the batch
    cuts = {durable, durable + 1, second - 2, second - 1, second, second + 1, len(whole) - 1, len(whole)}
    for cut in sorted(cuts.union(range(durable, len(whole), 17))):
        path.write_bytes(whole[:cut])
        [delivery] = await write(path, batch[2:])
        assert delivery.stored + delivery.duplicates == 2
        assert path.read_bytes() == whole


async def test_a_first_line_that_a_kill_tore_is_begun_anew(path: Path) -> None:
    batch = capture(1)
    await write(path, batch)
    whole = path.read_bytes()
    for cut in [*range(20), len(whole) // 2, len(whole) - 2]:
        path.write_bytes(whole[:cut])
        assert await write(path, batch) == [Delivery(1, 0, 0)]
        assert path.read_bytes() == whole


async def test_a_whole_last_line_without_newline_is_kept(path: Path) -> None:
    batch = capture(2)
    await write(path, batch)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert await write(path, batch[:1]) == [Delivery(0, 1, 0)]
    assert path.read_bytes() == whole


WRITE_UNTIL_KILLED = """
import asyncio, sys
from pathlib import Path
from meeta_bot.delivery.jsonl import JsonLinesSink
from tests.unit.test_jsonl import events_until_killed, settings

async def main():
    sink = JsonLinesSink(Path(sys.argv[1]), settings())
    for batch in events_until_killed():
        await sink.write(batch)
        print(batch[-1].seq, flush=True)

asyncio.run(main())
"""
KILLED_AFTER = 20  # batches that the process says are stored


def events_until_killed() -> Iterator[list[SealedEvent]]:
    """The same batches in every process: 7 events each, with a salt that is the same too."""
    previous = chain.GENESIS
    for first in range(1, 100_000, 7):
        batch = []
        for seq in range(first, first + 7):
            batch.append(chain.seal(CAPTURE, seq, previous, event(seq), bytes(chain.SALT_BYTES)))
            previous = batch[-1].digest
        yield batch


async def test_a_killed_process_has_stored_what_it_said_and_the_rest_comes_again(path: Path) -> None:
    command = [sys.executable, "-c", WRITE_UNTIL_KILLED, str(path)]
    for _ in range(3):
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            said = [int(process.stdout.readline()) for _ in range(KILLED_AFTER)]
            process.kill()
        async with opened(path) as sink:  # as soon as the lock is free, nobody else writes
            found = numbers(path)
            assert found == list(range(1, len(found) + 1))
            assert len(found) >= said[-1]
            batches = events_until_killed()
            for _ in range(KILLED_AFTER):
                assert (await sink.write(next(batches))).quarantined == 0
            assert numbers(path) == found


# --- whose file it is ---------------------------------------------------------------------------------------------


async def test_a_new_file_is_for_its_owner_only(path: Path) -> None:
    await write(path, capture(1))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_permissions_that_somebody_gave_stay(path: Path) -> None:
    path.touch()
    path.chmod(0o644)
    await write(path, capture(1))
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


async def test_what_export_wrote_is_continued(path: Path) -> None:
    batch = capture(3)
    exported = [msgspec.json.encode(event_document(sealed_row(item))) + b"\n" for item in batch[:2]]
    path.write_bytes(b"".join(exported))
    assert await write(path, batch) == [Delivery(1, 2, 0)]
    assert numbers(path) == [1, 2, 3]


def link_into_a_file(path: Path) -> None:
    path.with_name("file").touch()
    path.symlink_to(path.with_name("file") / "a")


NO_FILES: list[tuple[Callable[[Path], object], str]] = [
    (Path.mkdir, "is not an ordinary file"),
    (os.mkfifo, "is not an ordinary file"),
    (link_into_a_file, "Not a directory"),
    (lambda path: path.symlink_to(path.with_name("missing") / "a"), "No such file or directory"),
    (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
]


@pytest.mark.parametrize(("make", "problem"), NO_FILES)
async def test_a_file_that_can_t_be_is_refused_at_once(
    path: Path, make: Callable[[Path], object], problem: str
) -> None:
    make(path)
    with pytest.raises(UsageError, match=problem) as caught:
        await JsonLinesSink(path, settings()).open()
    assert caught.value.hint
    assert str(path) in str(caught.value)


LINE = json_line(chained_document(sealed_row(capture(1)[0])))
NOT_OURS = {
    "text": b"Dear diary,\n",
    "text-without-newline": b"Dear diary",
    "text-and-events": b"Dear diary,\n" + LINE,
    "other-json": b'{"capture_id":"a"}\n{"a":1}\n',
    "json-array": b"[1,2]\n",
    "blank-line": b"\n",
    "no-text": bytes(100),
    "too-long-a-line": b"x" * 5000,
    "damage-in-the-middle": LINE + bytes(100) + b"\n" + LINE,
    "two-torn-lines": LINE + LINE[:-9] + b"\n" + LINE[:-20],
}


@pytest.mark.parametrize("content", NOT_OURS.values(), ids=NOT_OURS)
async def test_a_file_with_something_else_is_refused_and_stays_as_it_is(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    sink = JsonLinesSink(path, settings(jsonl_line_bytes=4000))
    with pytest.raises(UsageError, match="holds something else") as caught:
        await sink.open()
    assert caught.value.hint
    with pytest.raises(SinkUnavailable):
        await sink.write(capture(1))
    assert path.read_bytes() == content


async def test_two_sinks_don_t_write_to_one_file(path: Path) -> None:
    batch = capture(2)
    second = JsonLinesSink(path, settings())
    async with opened(path) as first:
        await first.write(batch[:1])
        with pytest.raises(UsageError, match="Another process writes to"):
            await second.open()
        with pytest.raises(SinkUnavailable, match="Another process writes to"):
            await second.write(batch)
    assert await second.write(batch) == Delivery(1, 1, 0)
    await second.close()


async def test_tasks_may_share_a_sink(path: Path) -> None:
    captures = [capture(30, f"01932c5e-8f00-7000-8000-0000000000{number:02x}") for number in range(12)]
    async with opened(path) as sink:

        async def deliver(events: list[SealedEvent]) -> None:
            for first in range(0, 30, 5):
                assert await sink.write(events[first : first + 5]) == Delivery(5, 0, 0)
            await sink.close()

        await asyncio.gather(*(deliver(events) for events in captures))
    found = [(line["capture_id"], line["seq"]) for line in lines(path)]
    assert len(found) == 12 * 30
    assert sorted(found, key=lambda one: one[0]) == [(one.capture_id, one.seq) for one in itertools.chain(*captures)]


@pytest.mark.parametrize("change", [Path.unlink, lambda path: path.rename(path.with_suffix(".old")), os.truncate])
async def test_a_file_that_is_moved_or_emptied_is_begun_anew(path: Path, change: Callable[..., object]) -> None:
    batch = capture(4)
    async with opened(path) as sink:
        await sink.write(batch[:2])
        change(path, 0) if change is os.truncate else change(path)
        assert await sink.write(batch[2:]) == Delivery(2, 0, 0)
        assert numbers(path) == [3, 4]


# --- what is there already ----------------------------------------------------------------------------------------


async def test_old_numbers_are_found_among_many_captures(path: Path) -> None:
    captures = [capture(3 * jsonl.MARK_EVERY, name) for name in (CAPTURE, OTHER_CAPTURE)]
    mixed = [item for pair in zip(*captures, strict=True) for item in pair]
    other = msgspec.structs.replace(mixed[700], digest=bytes(32))
    async with opened(path) as sink:
        await sink.write(mixed)
    async with opened(path) as sink:
        for first in range(0, len(mixed), 97):
            part = mixed[first : first + 97]
            assert await sink.write(part) == Delivery(0, len(part), 0)
        assert await sink.write([mixed[3], other, mixed[1300]]) == Delivery(0, 2, 1)


async def test_numbers_that_the_file_lacks_below_the_last_are_stored_once(path: Path) -> None:
    batch = capture(10)
    assert await write(path, batch[5:], batch, batch) == [Delivery(5, 0, 0), Delivery(5, 5, 0), Delivery(0, 10, 0)]
    assert await write(path, batch[::-1]) == [Delivery(0, 10, 0)]
    assert numbers(path) == [6, 7, 8, 9, 10, 1, 2, 3, 4, 5]


# --- disks --------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """The kernel refuses to let this process write beyond `size` bytes of any file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("room", [0, 1, 700])
async def test_a_disk_that_is_full_leaves_nothing_of_the_batch(path: Path, room: int) -> None:
    batch = capture(5)
    async with opened(path) as sink:
        await sink.write(batch[:2])
        before = path.read_bytes()
        with files_no_larger_than(len(before) + room), pytest.raises(SinkUnavailable, match="File too large"):
            await sink.write(batch)
        assert path.read_bytes() == before
        assert await sink.write(batch) == Delivery(3, 2, 0)
    assert numbers(path) == [1, 2, 3, 4, 5]


async def test_a_full_disk_keeps_what_is_refused_out_of_the_file_until_quarantine_has_it(path: Path) -> None:
    item = msgspec.structs.replace(capture(1)[0], payload="no json")
    async with opened(path) as sink:
        with files_no_larger_than(0), pytest.raises(SinkUnavailable):
            await sink.write([item])
        assert path.read_bytes() == b""
        assert await sink.write([item]) == Delivery(0, 0, 1)
    assert len(lines(sink.quarantine_path)) == len(lines(path)) == 1


# --- standard output ----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    """The ends of a pipe to read from and to write to, both closed in the end."""
    ends = os.pipe()
    try:
        yield ends
    finally:
        for end in ends:
            with contextlib.suppress(OSError):
                os.close(end)


def test_a_dash_is_standard_output_and_anything_else_a_file() -> None:
    assert registry.json_lines("-") == registry.Destination(registry.STREAM, "-")
    named = registry.json_lines("events.jsonl")
    assert named == registry.Destination(registry.FILE, str(Path.cwd() / "events.jsonl"))
    sink = registry.make(named, settings())
    assert isinstance(sink, JsonLinesSink)
    assert sink.quarantine_path == Path.cwd() / "events.jsonl.quarantine.jsonl"


def test_nothing_but_lines_goes_to_standard_output() -> None:
    program = (
        "import asyncio; from meeta_bot.delivery import jsonl; from tests.unit.test_jsonl import capture, settings;"
        "asyncio.run(jsonl.standard_output(settings()).write(capture(3)))"
    )
    printed = subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.PIPE).stdout
    assert [json.loads(line)["seq"] for line in printed.splitlines()] == [1, 2, 3]
    closed = subprocess.run(
        ["sh", "-c", '"$0" -c "$1" >&-', sys.executable, program], check=False, stderr=subprocess.PIPE
    )
    assert b"There is no standard output" in closed.stderr


async def test_a_reader_that_has_left_is_told_as_final() -> None:
    with pipe() as (reading, writing):
        sink = JsonLinesStream(writing, settings())
        batch = capture(2)
        assert await sink.write(batch[:1]) == Delivery(1, 0, 0)
        os.close(reading)
        for _ in range(2):
            with pytest.raises(SinkGone):
                await sink.write(batch)


async def test_a_descriptor_that_is_closed_is_told_as_final() -> None:
    with pipe() as (_, writing):
        os.close(writing)
        with pytest.raises(SinkGone):
            await JsonLinesStream(writing, settings()).write(capture(1))


async def test_a_full_disk_behind_standard_output_is_waited_for() -> None:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    try:
        with pytest.raises(SinkUnavailable, match="No space left"):
            await JsonLinesStream(descriptor, settings()).write(capture(1))
    finally:
        os.close(descriptor)


async def test_a_write_to_a_pipe_that_nobody_empties_can_be_cancelled_and_goes_on_later() -> None:
    with pipe() as (reading, writing):
        os.set_blocking(writing, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writing, FULL_PIPE)
        os.set_blocking(writing, True)
        filler = os.read(reading, select.PIPE_BUF)  # so that a part of the batch fits in
        sink, batch = JsonLinesStream(writing, settings()), capture(100)
        for _ in range(2):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(sink.write(batch), 0.05)
        again = asyncio.create_task(sink.write(batch))
        received = filler + await asyncio.to_thread(read_until, reading, b'"seq":100,')
        assert await again == Delivery(0, 100, 0)
        os.close(writing)
        received += await asyncio.to_thread(read_until, reading, None)
    found = [json.loads(line)["seq"] for line in received.lstrip(b".").splitlines()]
    assert found == list(range(1, 101))


def test_a_process_ends_although_nobody_empties_its_standard_output() -> None:
    program = (
        "import asyncio; from meeta_bot.delivery import jsonl; from tests.unit.test_jsonl import capture, settings;"
        "asyncio.run(asyncio.wait_for(jsonl.standard_output(settings()).write(capture(1000)), 0.05))"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            assert process.wait(PATIENCE_SECONDS) == 1
            assert process.stderr is not None
            assert b"TimeoutError" in process.stderr.read()
        finally:
            process.kill()


def read_until(descriptor: int, ending: bytes | None) -> bytes:
    """What comes out of a pipe until `ending` was in it; None is its end."""
    received = b""
    while ending is None or ending not in received:
        chunk = os.read(descriptor, 2**16)
        if not chunk:
            break
        received += chunk
    return received


async def test_a_stream_remembers_conflicts_for_a_while_and_numbers_for_good(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jsonl_stream, "RECENT_EVENTS", 3)
    batch = capture(6)
    changed = [msgspec.structs.replace(item, digest=bytes(32)) for item in batch]
    with path.open("wb") as file:
        sink = JsonLinesStream(file.fileno(), settings())
        assert await sink.write(batch) == Delivery(6, 0, 0)
        assert await sink.write(changed) == Delivery(0, 3, 3)
    assert numbers(path) == [1, 2, 3, 4, 5, 6]
