"""The spool: what `append` has promised is there, whatever happened to the process, the disk or the file."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from meeta_bot.capture import spool as spools
from meeta_bot.capture.normalize import State
from meeta_bot.capture.spool import Cursor, Position, Spool
from meeta_bot.errors import SpoolBusy, SpoolError, SpoolFull, SpoolUnusable
from meeta_bot.events import CaptureError, Unknown, chain
from tests.unit.builders import append, broken_links, event, sealed, settings, state
from tests.unit.spool_faults import as_a_kill_leaves_it

REPOSITORY = Path(__file__).resolve().parents[2]

# Appends without end and says which number is durable, after it is.
APPENDER = """
import asyncio, sys
from pathlib import Path
from tests.unit.builders import append, settings
from meeta_bot.capture.spool import Spool

async def main():
    spool = Spool(Path(sys.argv[1]), settings(spool_group_appends=int(sys.argv[2])))

    async def capture(name):
        number = 0
        while True:
            position = await spool.append(name, append(number + 1, number + 2, capture_id=name))
            number = position.last_seq
            print(name, number, flush=True)

    await asyncio.gather(*(capture(name) for name in sys.argv[3:]))

asyncio.run(main())
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture(params=[2**20, 0], ids=["read from memory", "read from disk"])
async def spool(directory: Path, request: pytest.FixtureRequest) -> AsyncIterator[Spool]:
    made = Spool(directory, settings(spool_recent_bytes=request.param))
    yield made
    await made.close()


async def stored(spool: Spool, capture_id: str | None = None) -> list[int]:
    """The numbers of the events in the spool, in its order."""
    return [item.event.seq for item in await spool.read(10_000) if capture_id in (None, item.event.capture_id)]


@contextmanager
def in_one_line(error: type[SpoolError] = SpoolError) -> Iterator[None]:
    with pytest.raises(error) as caught:
        yield
    assert "\n" not in str(caught.value)


# --- killed processes ----------------------------------------------------------------------------------------------


async def acknowledged_before_killing(directory: Path, group: int, captures: list[str], lines: int) -> dict[str, int]:
    """Run the appender, SIGKILL it in the middle of its work, and tell what it had said to be durable."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        APPENDER,
        str(directory),
        str(group),
        *captures,
        cwd=REPOSITORY,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    said = [await process.stdout.readline() for _ in range(lines)]
    process.kill()
    said += (await process.stdout.read()).splitlines(keepends=True)
    assert await process.wait() == -signal.SIGKILL
    durable: dict[str, int] = {}
    for line in said:
        if line.endswith(b"\n"):
            name, number = line.decode().split()
            durable[name] = int(number)
    return durable


@pytest.mark.parametrize(("group", "captures"), [(1, ["a"]), (256, ["a", "b", "c"])])
async def test_killed_in_the_middle_of_appends_everything_acknowledged_is_there_and_chained(
    directory: Path, group: int, captures: list[str]
) -> None:
    durable = await acknowledged_before_killing(directory, group, captures, lines=25)
    spool = Spool(directory, settings())
    found = [item.event for item in await spool.read(100_000)]
    left = {capture.state.capture_id: capture.position for capture in await spool.open_captures()}
    await spool.close()
    for name, number in durable.items():
        chained = [item for item in found if item.capture_id == name]
        assert [item.seq for item in chained] == list(range(1, len(chained) + 1))
        assert len(chained) >= number
        assert broken_links(chained) == []
        assert left[name] == Position(chained[-1].seq, chained[-1].digest)


async def test_killed_twice_the_numbers_go_on_without_a_hole(directory: Path) -> None:
    await acknowledged_before_killing(directory, 4, ["a"], lines=5)
    await acknowledged_before_killing(directory, 4, ["a"], lines=5)
    spool = Spool(directory, settings())
    found = [item.event for item in await spool.read(100_000)]
    await spool.close()
    assert [item.seq for item in found] == list(range(1, len(found) + 1))
    assert broken_links(found) == []


async def test_the_lock_of_a_killed_process_is_free(directory: Path) -> None:
    await acknowledged_before_killing(directory, 1, ["a"], lines=1)
    await Spool(directory, settings()).close()


# --- ownership -----------------------------------------------------------------------------------------------------


async def test_a_spool_that_is_in_use_is_busy(spool: Spool, directory: Path) -> None:
    with in_one_line(SpoolBusy):
        Spool(directory, settings())


async def test_a_closed_spool_can_be_opened_again_and_closing_twice_is_safe(directory: Path) -> None:
    spool = Spool(directory, settings())
    await spool.close()
    await spool.close()
    await Spool(directory, settings()).close()


async def test_a_second_process_takes_a_spool_of_its_own(tmp_path: Path) -> None:
    first, second = spools.acquire(tmp_path, settings()), spools.acquire(tmp_path, settings())
    assert (first.directory.name, second.directory.name) == ("1", "2")
    await first.close()
    again = spools.acquire(tmp_path, settings())
    assert again.directory.name == "1"
    await again.close()
    await second.close()


async def test_only_spools_whose_owner_is_gone_are_adopted(tmp_path: Path) -> None:
    owned, left = spools.acquire(tmp_path, settings()), spools.acquire(tmp_path, settings())
    await left.append("c", append(1, 2, capture_id="c"))
    await left.close()
    adopted = list(spools.adopt(tmp_path, settings()))
    assert [spool.directory for spool in adopted] == [left.directory]
    assert adopted[0].waiting == 2
    for spool in (*adopted, owned):
        await spool.close()


def test_there_is_nothing_to_adopt_where_no_spool_ever_was(tmp_path: Path) -> None:
    assert list(spools.adopt(tmp_path / "missing", settings())) == []


def test_a_file_in_place_of_the_directory_is_an_error(directory: Path) -> None:
    directory.write_text("")
    with in_one_line():
        Spool(directory, settings())


def test_a_file_in_place_of_a_parent_is_an_error(directory: Path) -> None:
    directory.write_text("")
    with in_one_line():
        spools.acquire(directory, settings())


# --- numbers, positions, states ------------------------------------------------------------------------------------


async def test_positions_tell_the_last_number_and_digest(spool: Spool) -> None:
    first = await spool.append("c", append(1, 2, capture_id="c"))
    second = await spool.append("c", append(3, capture_id="c"))
    found = [item.event for item in await spool.read(10)]
    assert first == Position(2, found[1].digest)
    assert second == Position(3, found[2].digest)
    assert broken_links(found) == []


async def test_appends_that_share_a_transaction_get_their_numbers_in_order(spool: Spool) -> None:
    appends = [spool.append(name, append(1, 2, capture_id=name)) for name in ("a", "b", "a", "b", "a")]
    positions = await asyncio.gather(*appends)
    assert [position.last_seq for position in positions] == [2, 2, 4, 4, 6]
    for name, count in (("a", 6), ("b", 4)):
        chained = [item.event for item in await spool.read(20) if item.event.capture_id == name]
        assert [item.seq for item in chained] == list(range(1, count + 1))
        assert broken_links(chained) == []


async def test_a_capture_goes_on_after_reopening_without_being_asked_for(directory: Path) -> None:
    first = Spool(directory, settings())
    before = await first.append("c", append(1, 2, capture_id="c"))
    await first.close()
    second = Spool(directory, settings())
    after = await second.append("c", append(3, capture_id="c"))
    found = [item.event for item in await second.read(10)]
    await second.close()
    assert after == Position(before.last_seq + 1, found[-1].digest)
    assert broken_links(found) == []


async def test_a_number_is_not_given_again_after_the_end_of_a_capture(spool: Spool) -> None:
    await spool.append("c", append(1, 2, capture_id="c", ended=True))
    assert (await spool.append("c", append(3, capture_id="c"))).last_seq == 3
    assert await stored(spool) == [1, 2, 3]


async def test_open_captures_come_back_with_state_and_position(directory: Path) -> None:
    first = Spool(directory, settings())
    kept = state("open", subject="Numbers", in_conference=True, properties={"a": "b"})
    position = await first.append("open", append(1, capture_id="open", state=kept, touched_at=123))
    await first.append("over", append(1, capture_id="over", ended=True))
    await first.close()
    second = Spool(directory, settings())
    (capture,) = await second.open_captures()
    await second.close()
    assert (capture.state, capture.position, capture.touched_at) == (kept, position, 123)


async def test_a_state_without_events_is_stored(spool: Spool) -> None:
    await spool.append("c", append(capture_id="c", state=state("c", subject="quiet")))
    assert (await spool.open_captures())[0].state.subject == "quiet"
    assert spool.waiting == 0


# --- all or nothing ------------------------------------------------------------------------------------------------


async def test_state_and_events_are_stored_together_or_not_at_all(spool: Spool) -> None:
    before = await spool.append("c", append(1, capture_id="c", state=state("c", subject="old")))
    unwritable = append(2, 3, capture_id="c", state=state("c", subject="new", last_ms=2**70))
    with pytest.raises(OverflowError):
        await spool.append("c", unwritable)
    assert await stored(spool) == [1]
    (capture,) = await spool.open_captures()
    assert (capture.state.subject, capture.position) == ("old", before)
    assert spool.waiting == 1


async def test_an_append_that_can_t_be_written_fails_alone(spool: Spool) -> None:
    bad = append(1, capture_id="bad", state=state("bad", last_ms=2**70))
    appends = [
        spool.append("a", append(1, capture_id="a")),
        spool.append("bad", bad),
        spool.append("b", append(1, capture_id="b")),
    ]
    first, failed, last = await asyncio.gather(*appends, return_exceptions=True)
    assert isinstance(failed, OverflowError)
    assert isinstance(first, Position)
    assert isinstance(last, Position)
    assert await stored(spool) == [1, 1]
    assert (await spool.append("bad", append(1, capture_id="bad"))).last_seq == 1


async def test_whoever_stops_waiting_does_not_stop_the_others(spool: Spool) -> None:
    waiting = [asyncio.ensure_future(spool.append(name, append(1, capture_id=name))) for name in "abc"]
    await asyncio.sleep(0)
    waiting[1].cancel()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(results[1], asyncio.CancelledError)
    assert [results[0], results[2]] == [Position(1, results[0].head), Position(1, results[2].head)]  # type: ignore[union-attr]
    assert (await spool.append("b", append(2, capture_id="b"))).last_seq == 2


async def test_closing_finishes_what_is_pending(directory: Path) -> None:
    spool = Spool(directory, settings())
    pending = [asyncio.ensure_future(spool.append("c", append(n, capture_id="c"))) for n in range(1, 6)]
    await asyncio.sleep(0)
    await spool.close()
    assert [(await one).last_seq for one in pending] == [1, 2, 3, 4, 5]
    again = Spool(directory, settings())
    assert await stored(again) == [1, 2, 3, 4, 5]
    await again.close()


# --- forgetting ----------------------------------------------------------------------------------------------------


async def test_forgetting_drops_the_oldest_and_keeps_the_order(spool: Spool) -> None:
    await spool.append("c", append(1, 2, 3, 4, capture_id="c"))
    second = (await spool.read(2))[-1]
    await spool.forget(second.ordinal)
    assert await stored(spool) == [3, 4]
    assert spool.waiting == 2
    await spool.forget(second.ordinal)
    assert await stored(spool) == [3, 4]
    await spool.append("c", append(5, capture_id="c"))
    assert await stored(spool) == [3, 4, 5]


async def test_reading_gives_no_more_than_asked_for(spool: Spool) -> None:
    await spool.append("c", append(1, 2, 3, capture_id="c"))
    assert [item.event.seq for item in await spool.read(2)] == [1, 2]


async def test_appending_while_forgetting_does_not_miscount_what_waits(spool: Spool) -> None:
    await spool.append("c", append(1, capture_id="c"))
    for number in range(2, 60):
        (oldest,) = await spool.read(1)
        adding = asyncio.ensure_future(spool.append("c", append(number, capture_id="c")))
        await asyncio.sleep(0)
        forgetting = asyncio.ensure_future(spool.forget(oldest.ordinal))
        await asyncio.gather(adding, forgetting)
        assert spool.waiting == len(await spool.read(10)) == 1


async def test_a_capture_that_ended_is_forgotten_with_its_last_event(spool: Spool) -> None:
    await spool.append("over", append(1, capture_id="over", ended=True))
    await spool.append("open", append(1, capture_id="open"))
    await spool.forget((await spool.read(10))[-1].ordinal)
    rows = sqlite3.connect(spool.directory / "events.sqlite3").execute("SELECT capture_id FROM captures").fetchall()
    assert rows == [("open",)]


async def test_a_forgotten_event_s_place_is_never_given_again(directory: Path) -> None:
    first = Spool(directory, settings())
    await first.append("c", append(1, 2, capture_id="c"))
    last = (await first.read(10))[-1].ordinal
    await first.forget(last)
    await first.close()
    second = Spool(directory, settings())
    await second.append("c", append(3, capture_id="c"))
    assert (await second.read(10))[0].ordinal > last
    await second.close()


# --- cursors -------------------------------------------------------------------------------------------------------


async def numbers(cursor: Cursor, limit: int = 10_000) -> list[int]:
    """The numbers of the events that a cursor has not passed."""
    return [item.event.seq for item in await cursor.read(limit)]


async def take(cursor: Cursor, count: int) -> None:
    """Read so many events and forget them."""
    await cursor.forget((await cursor.read(count))[-1].ordinal)


def rows_on_disk(spool: Spool) -> int:
    connection = sqlite3.connect(spool.directory / "events.sqlite3")
    try:
        return int(connection.execute("SELECT count(*) FROM events").fetchone()[0])
    finally:
        connection.close()


async def test_what_was_appended_lately_is_read_from_memory_and_the_rest_from_disk(directory: Path) -> None:
    one_block = len(msgspec.msgpack.encode(sealed([event(1)])))
    spool = Spool(directory, settings(spool_recent_bytes=3 * one_block))
    cursor = spool.cursor()
    for number in range(1, 7):
        await spool.append("c", append(number, capture_id="c"))
    assert [item.event.seq for item in await cursor.read(2)] == [1, 2]
    connection = sqlite3.connect(directory / "events.sqlite3")
    with connection:
        connection.execute("DELETE FROM events")
    connection.close()
    assert await numbers(cursor) == [4, 5, 6]  # in memory; on disk all are gone, which is told
    assert (spool.damaged, spool.damaged_captures) == (6, ["c"])
    newest = await cursor.read(10, after=4)
    assert [(item.ordinal, item.event.seq) for item in newest] == [(5, 5), (6, 6)]
    await spool.close()


async def test_a_batch_from_disk_is_no_larger_than_memory_may_bear(directory: Path) -> None:
    spool = Spool(directory, settings(spool_recent_bytes=0, spool_read_bytes=50_000))
    cursor = spool.cursor()
    for number in range(1, 8):
        await spool.append("c", big(number))
    batches, ordinal = [], 0
    while batch := await cursor.read(100, after=ordinal):
        batches.append([item.event.seq for item in batch])
        ordinal = batch[-1].ordinal
    assert [len(batch) for batch in batches[:-1]] == [3, 3]
    assert [seq for batch in batches for seq in batch] == list(range(1, 8))
    assert spool.damaged == 0
    await spool.close()


async def test_reading_in_parts_gives_each_event_once_wherever_it_lies(directory: Path) -> None:
    one_block = len(msgspec.msgpack.encode(sealed([event(1)])))
    spool = Spool(directory, settings(spool_recent_bytes=9 * one_block))
    cursor = spool.cursor()
    for first in range(1, 21, 2):
        await spool.append("c", append(first, first + 1, capture_id="c"))
    found: list[int] = []
    while part := await cursor.read(3):
        found += [item.event.seq for item in part]
        assert [item.ordinal for item in part] == [item.event.seq for item in part]
        await cursor.forget(part[-1].ordinal)
    assert found == list(range(1, 21))
    await spool.close()


async def test_every_cursor_has_a_place_of_its_own(spool: Spool) -> None:
    quick, slow = spool.cursor(), spool.cursor()
    await spool.append("c", append(1, 2, 3, capture_id="c"))
    await spool.append("c", append(4, capture_id="c"))
    await take(quick, 3)
    await take(slow, 1)
    assert (await numbers(quick), await numbers(slow)) == ([4], [2, 3, 4])
    assert (quick.waiting, slow.waiting, spool.waiting) == (1, 3, 3)
    await take(quick, 1)
    assert (await numbers(quick), await numbers(slow)) == ([], [2, 3, 4])
    assert rows_on_disk(spool) == 2


async def test_an_event_is_gone_when_every_cursor_has_passed_it(spool: Spool) -> None:
    cursors = [spool.cursor(), spool.cursor()]
    await spool.append("c", append(1, 2, capture_id="c", ended=True))
    for cursor in cursors:
        assert (spool.waiting, rows_on_disk(spool)) == (2, 1)
        await take(cursor, 2)
    assert (spool.waiting, rows_on_disk(spool)) == (0, 0)
    assert await spool.open_captures() == []


async def test_a_closed_cursor_holds_nothing_up(spool: Spool) -> None:
    going, staying = spool.cursor(), spool.cursor()
    await spool.append("c", append(1, 2, capture_id="c"))
    await take(staying, 2)
    assert spool.waiting == 2
    await going.close()
    await going.close()
    assert (going.waiting, spool.waiting, rows_on_disk(spool)) == (0, 0, 0)


async def test_without_a_cursor_everything_stays(spool: Spool) -> None:
    cursor = spool.cursor()
    await spool.append("c", append(1, 2, capture_id="c"))
    await cursor.close()
    await spool.append("c", append(3, capture_id="c"))
    assert (spool.waiting, await stored(spool)) == (3, [1, 2, 3])


async def test_a_later_cursor_begins_with_the_oldest_event_that_is_there(spool: Spool) -> None:
    first, second = spool.cursor(), spool.cursor()
    for number in (1, 2, 3):
        await spool.append("c", append(number, capture_id="c"))
    await take(first, 3)
    await take(second, 1)
    await spool.append("c", append(4, capture_id="c"))
    assert await numbers(spool.cursor()) == [2, 3, 4]


async def test_what_is_forgotten_goes_with_the_next_append_while_others_wait(spool: Spool) -> None:
    cursor = spool.cursor()
    for number in (1, 2, 3):
        await spool.append("c", append(number, capture_id="c"))
    await take(cursor, 2)
    assert rows_on_disk(spool) == 3
    await spool.append("c", append(4, capture_id="c"))
    assert rows_on_disk(spool) == 2
    assert await numbers(cursor) == [3, 4]


async def test_what_is_forgotten_goes_without_an_append_when_it_piles_up(spool: Spool) -> None:
    cursor = spool.cursor()
    await spool.append("c", append(*range(spools.FORGOTTEN_EVENTS + 2 * spools.BLOCK_EVENTS), capture_id="c"))
    before = rows_on_disk(spool)
    await take(cursor, spools.FORGOTTEN_EVENTS - 1)
    assert rows_on_disk(spool) == before
    await take(cursor, 1)
    assert rows_on_disk(spool) == 2


async def test_reading_goes_on_behind_an_event_and_through_the_middle_of_blocks(spool: Spool) -> None:
    count = 3 * spools.BLOCK_EVENTS + 7
    cursor = spool.cursor()
    await spool.append("c", append(*range(count), capture_id="c"))
    found: list[int] = []
    last = 0
    while batch := await cursor.read(311, after=last):
        found += [item.event.seq for item in batch]
        last = batch[-1].ordinal
    assert found == list(range(1, count + 1))
    assert cursor.waiting == count


async def test_what_is_forgotten_of_a_block_does_not_come_back_after_closing(directory: Path) -> None:
    first = Spool(directory, settings())
    cursor = first.cursor()
    await first.append("c", append(*range(20), capture_id="c"))
    await take(cursor, 13)
    await first.close()
    second = Spool(directory, settings())
    again = second.cursor()
    assert (second.waiting, await numbers(again)) == (7, list(range(14, 21)))
    assert broken_links([item.event for item in await again.read(7)]) == [14]  # its predecessor is gone, no other
    await take(again, 7)
    await second.close()
    assert Spool(directory, settings()).waiting == 0


async def test_a_full_spool_takes_again_when_its_cursor_has_moved(directory: Path) -> None:
    spool = Spool(directory, settings(spool_max_bytes=400_000))
    cursor = spool.cursor()
    count = await fill_up(spool)
    await take(cursor, 3)
    assert (await spool.append("c", big(count + 1))).last_seq == count + 1
    assert await numbers(cursor) == list(range(4, count + 2))
    await spool.close()


# --- full and damaged disks ----------------------------------------------------------------------------------------


def big(number: int, capture_id: str = "c") -> spools.Append:
    return append(capture_id=capture_id, events=[event(number, CaptureError(where="x", message="y" * 20_000))])


async def append_without_end(spool: Spool) -> None:
    for number in range(1, 1000):
        await spool.append("c", big(number))


async def fill_up(spool: Spool) -> int:
    """Append until the spool is full; returns how many events are in it."""
    with pytest.raises(SpoolFull) as full:
        await append_without_end(spool)
    assert "\n" not in str(full.value)
    assert full.value.hint
    return spool.waiting


async def test_a_full_spool_says_so_keeps_what_it_has_and_takes_again_after_forgetting(directory: Path) -> None:
    spool = Spool(directory, settings(spool_max_bytes=400_000))
    count = await fill_up(spool)
    assert count > 3
    assert await stored(spool) == list(range(1, count + 1))
    assert spool.waiting == count
    await spool.forget((await spool.read(3))[-1].ordinal)
    assert (await spool.append("c", big(count + 1))).last_seq == count + 1
    found = [item.event for item in await spool.read(1000)]
    await spool.close()
    assert [item.seq for item in found] == list(range(4, count + 2))
    assert chain.link(found[0].digest, chain.envelope_of(found[1]), found[1].commitment) == found[1].digest


async def test_a_full_spool_can_be_opened_and_emptied(directory: Path) -> None:
    first = Spool(directory, settings(spool_max_bytes=400_000))
    count = await fill_up(first)
    await first.close()
    second = Spool(directory, settings(spool_max_bytes=400_000))
    await second.forget((await second.read(1000))[-1].ordinal)
    assert (await second.append("c", big(count + 1))).last_seq == count + 1
    await second.close()


async def test_a_bound_too_small_for_anything_is_an_error_in_one_line(directory: Path) -> None:
    with in_one_line(SpoolFull):
        Spool(directory, settings(spool_max_bytes=8192))


async def make_spool(directory: Path, events: int = 50) -> Path:
    """A closed spool; returns its file."""
    spool = Spool(directory, settings())
    for number in range(1, events + 1):
        await spool.append("c", append(number, capture_id="c"))
    await spool.close()
    return directory / "events.sqlite3"


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.mark.parametrize("other", [spools.FORMAT_VERSION - 1, spools.FORMAT_VERSION + 1])
@pytest.mark.parametrize("killed", [False, True], ids=["closed", "killed"])
async def test_a_spool_of_another_format_is_refused_with_what_to_do_and_not_touched(
    directory: Path, tmp_path: Path, other: int, killed: bool
) -> None:
    spool = Spool(directory, settings())
    await spool.append("c", append(1, capture_id="c"))
    left = directory
    if killed:
        left = as_a_kill_leaves_it(spool, tmp_path / "left")
    await spool.close()
    put_format(left, other, is_log_kept=killed)
    before = contents(left)
    with pytest.raises(
        SpoolUnusable, match=rf"has format {other}, this program .* format {spools.FORMAT_VERSION}$"
    ) as no:
        Spool(left, settings())
    assert no.value.hint == "deliver it with the version of meeta-bot that wrote it, or move its directory away"
    after = contents(left)
    assert {name: after.pop(name) for name in before} == before
    assert set(after) <= {"events.sqlite3-shm", "events.sqlite3-wal"}  # SQLite's own, of reading
    assert not after.get("events.sqlite3-wal")


def put_format(directory: Path, other: int, *, is_log_kept: bool) -> None:
    """Have the file say that it has another format; with `is_log_kept`, in SQLite's log alone."""
    path = directory / "events.sqlite3"
    changing = sqlite3.connect(path, isolation_level=None)
    changing.execute(f"PRAGMA user_version = {other}")
    files = contents(directory) if is_log_kept else {}
    changing.close()
    for name, content in files.items():
        if not name.endswith("-shm"):
            (directory / name).write_bytes(content)


async def test_starters_pass_over_a_spool_of_another_format(tmp_path: Path) -> None:
    await make_spool(tmp_path / "1", 1)
    put_format(tmp_path / "1", 3, is_log_kept=False)
    assert list(spools.adopt(tmp_path, settings())) == []
    spool = spools.acquire(tmp_path, settings())
    assert spool.directory == tmp_path / "2"
    await spool.close()


# --- against a model -----------------------------------------------------------------------------------------------

deeds = st.lists(
    st.tuples(st.just("append"), st.sampled_from("ab"), st.integers(0, 3))
    | st.tuples(st.just("forget"), st.just(""), st.integers(0, 5))
    | st.tuples(st.just("reopen"), st.just(""), st.just(0)),
    max_size=15,
)


async def play(directory: Path, chosen: list[tuple[str, str, int]]) -> None:
    spool = Spool(directory, settings())
    expected: list[tuple[str, int]] = []
    last = {"a": 0, "b": 0}
    for deed, name, count in chosen:
        if deed == "append":
            position = await spool.append(name, append(*range(count), capture_id=name))
            expected += [(name, last[name] + number) for number in range(1, count + 1)]
            last[name] += count
            assert position.last_seq == last[name]
        elif deed == "forget" and (oldest := await spool.read(count)):
            await spool.forget(oldest[-1].ordinal)
            del expected[: len(oldest)]
        elif deed == "reopen":
            await spool.close()
            spool = Spool(directory, settings())
        found = [(item.event.capture_id, item.event.seq) for item in await spool.read(1000)]
        assert found == expected
        assert spool.waiting == len(expected)
    await spool.close()


@effort(max_examples=15)
@given(deeds)
def test_a_spool_behaves_as_a_list_with_numbers(chosen: list[tuple[str, str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(play(Path(folder), chosen))


cursor_deeds = st.lists(
    st.tuples(st.just("append"), st.integers(0, 1), st.integers(0, 3))
    | st.tuples(st.just("take"), st.integers(0, 1), st.integers(1, 4))
    | st.tuples(st.just("reopen"), st.just(0), st.just(0)),
    max_size=20,
)


async def play_with_cursors(directory: Path, chosen: list[tuple[str, int, int]]) -> None:
    spool = Spool(directory, settings())
    cursors = [spool.cursor(), spool.cursor()]
    expected: list[list[int]] = [[], []]
    last = 0
    for deed, who, count in chosen:
        if deed == "append":
            last = (await spool.append("c", append(*range(count), capture_id="c"))).last_seq
            expected = [[*waiting, *range(last - count + 1, last + 1)] for waiting in expected]
        elif deed == "take" and expected[who]:
            await take(cursors[who], count)
            del expected[who][:count]
        elif deed == "reopen":
            await spool.close()
            spool = Spool(directory, settings())
            cursors = [spool.cursor(), spool.cursor()]
            oldest = max(expected, key=len)
            expected = [list(oldest), list(oldest)]
        assert [await numbers(cursor) for cursor in cursors] == expected
        assert [cursor.waiting for cursor in cursors] == [len(waiting) for waiting in expected]
        assert spool.waiting == max(map(len, expected))
    await spool.close()


@effort(max_examples=15)
@given(cursor_deeds)
def test_cursors_behave_as_lists_that_begin_again_at_the_oldest_event(chosen: list[tuple[str, int, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(play_with_cursors(Path(folder), chosen))


@effort(max_examples=15)
@given(st.lists(st.recursive(st.none() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))))
def test_whatever_an_event_holds_it_comes_back_as_it_was_sealed(arguments: list[object]) -> None:
    async def there_and_back(directory: Path) -> None:
        spool = Spool(directory, settings())
        await spool.append("c", append(capture_id="c", events=[event(1, Unknown(arguments=arguments))]))
        (item,) = await spool.read(1)
        await spool.close()
        assert item.event.payload.encode() == chain.canonical_json(Unknown(arguments=arguments))
        assert broken_links([item.event]) == []

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(there_and_back(Path(folder)))


def test_the_state_of_a_capture_survives_message_pack() -> None:
    full = state("c", properties={"a": "b"}, transcribing=[], statistics_interval_ms=5)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(full), type=State) == full
