"""The spool on disks that forget and alter: what was acknowledged is there, or its loss is shown."""

from __future__ import annotations

import asyncio
import logging
import shutil
import sqlite3
import stat
import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from meeta_bot.capture import spool as spools
from meeta_bot.capture.normalize.state import Counts
from meeta_bot.capture.spool import Position, Spool
from meeta_bot.capture.spool.format import Block, pack
from meeta_bot.capture.spool.repair import inspection
from meeta_bot.errors import SpoolUnusable
from meeta_bot.events import SealedEvent, chain
from tests.unit.builders import append, settings, state
from tests.unit.spool_faults import LOG, SPOOL_FILE, as_a_kill_leaves_it, flip, found_in, without_counts

BLOCKS = 40
PAGE, LEAF = 4096, 13  # bytes of a page; what the first byte of one says that holds rows of a table
INDEX_LEAF = 10  # the same of an index, or of a table without rowid
FORMAT_BYTES = (60, 64)  # of the file's header, where SQLite keeps user_version


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "spool"


async def make(directory: Path, blocks: int = BLOCKS, capture_id: str = "c", recent: int = 0) -> Spool:
    """A spool with so many blocks of one event of one capture."""
    spool = Spool(directory, settings(spool_recent_bytes=recent))
    for number in range(1, blocks + 1):
        await spool.append(capture_id, append(number, capture_id=capture_id))
    return spool


async def events_of(spool: Spool) -> list[SealedEvent]:
    return [item.event for item in await spool.read(100_000)]


def files_set_aside(directory: Path) -> int:
    return len(list(directory.glob("damaged-*")))


def execute(directory: Path, sql: str, *values: object) -> None:
    connection = sqlite3.connect(directory / SPOOL_FILE)
    with connection:
        assert connection.execute(sql, values).rowcount == 1
    connection.close()


# --- torn tails ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", [0.3, 0.6, 0.95])
async def test_a_tail_that_sqlite_drops_silently_is_told_and_its_numbers_are_not_given_again(
    directory: Path, tmp_path: Path, part: float
) -> None:
    spool = await make(directory)
    acknowledged = await events_of(spool)
    left = as_a_kill_leaves_it(spool, tmp_path / "left")
    await spool.close()
    log = left / LOG
    flip(log, int(log.stat().st_size * part))
    torn = log.read_bytes()
    found, (capture,), again = await found_in(left)
    assert 0 < len(found) < BLOCKS
    assert found == acknowledged[: len(found)]
    assert capture.damage is not None
    assert capture.damage.missed == again.damaged == BLOCKS - len(found)
    assert capture.damage.since_at is not None
    assert capture.position == Position(BLOCKS, acknowledged[-1].digest)
    assert again.waiting == len(found)
    position = await again.append("c", append(BLOCKS + 1, capture_id="c"))
    assert position.last_seq == BLOCKS + 1
    newest = (await events_of(again))[-1]
    assert chain.link(acknowledged[-1].digest, chain.envelope_of(newest), newest.commitment) == newest.digest
    assert [file.read_bytes() for file in left.glob("damaged-*-log")] == [torn]
    await again.close()


async def test_a_capture_of_which_the_database_knows_nothing_any_more_is_found(directory: Path, tmp_path: Path) -> None:
    spool = await make(directory, 3)
    head = (await events_of(spool))[-1].digest
    left = as_a_kill_leaves_it(spool, tmp_path / "left")
    await spool.close()
    (left / SPOOL_FILE).unlink()
    (left / LOG).unlink()
    found, (capture,), again = await found_in(left)
    assert found == []
    expected = state("c")
    assert (capture.state.capture_id, capture.state.room) == ("c", expected.room)
    assert (capture.state.deployment, capture.state.ended) == (expected.deployment, False)
    assert capture.position == Position(3, head)
    assert capture.damage is not None
    assert capture.damage.missed == 3
    await again.append("c", append(4, capture_id="c", ended=True))
    assert [item.seq for item in await events_of(again)] == [4]
    await again.close()


async def test_a_lost_tail_that_was_delivered_is_not_missing(directory: Path, tmp_path: Path) -> None:
    spool = await make(directory)
    cursor = spool.cursor()
    await cursor.forget((await cursor.read(BLOCKS))[-1].ordinal)
    left = as_a_kill_leaves_it(spool, tmp_path / "left")
    await spool.close()
    flip(left / LOG, (left / LOG).stat().st_size // 2)
    _, (capture,), again = await found_in(left)
    assert (capture.position.last_seq, again.damaged) == (BLOCKS, 0)
    assert capture.damage is not None
    assert capture.damage.missed == 0
    await again.close()


async def test_a_capture_whose_end_was_delivered_does_not_come_back_with_a_lost_tail(
    directory: Path, tmp_path: Path
) -> None:
    spool = await make(directory)
    await spool.append("c", append(BLOCKS + 1, capture_id="c", ended=True))
    cursor = spool.cursor()
    await cursor.forget((await cursor.read(BLOCKS + 1))[-1].ordinal)
    left = as_a_kill_leaves_it(spool, tmp_path / "left")
    await spool.close()
    flip(left / LOG, (left / LOG).stat().st_size // 2)
    found, captures, again = await found_in(left)
    assert (captures, again.damaged) == ([], 0)
    assert len(found) > 0  # they come again, and are known where they were delivered to
    await again.close()


async def left_with_its_end(directory: Path, tmp_path: Path) -> Path:
    """What a kill leaves of a capture of three events and its end, none of them delivered."""
    spool = await make(directory, 3)
    await spool.append("c", append(4, capture_id="c", ended=True))
    left = as_a_kill_leaves_it(spool, tmp_path / "left")
    await spool.close()
    return left


async def test_an_end_that_was_lost_before_it_was_delivered_is_to_be_written_again(
    directory: Path, tmp_path: Path
) -> None:
    left = await left_with_its_end(directory, tmp_path)
    flip(left / LOG, -1)
    found, (capture,), again = await found_in(left)
    assert (len(found), capture.position.last_seq, capture.state.ended) == (3, 4, False)
    assert capture.damage is not None
    assert capture.damage.missed == 1
    await again.close()


@pytest.mark.parametrize("gone", [False, True], ids=["torn", "all of it"])
async def test_books_come_from_the_witness_when_the_state_that_had_them_is_lost(
    directory: Path, tmp_path: Path, gone: bool
) -> None:
    spool = await make(directory, 3)
    counts = Counts(messages=9, normalized=4, absorbed=5, events=4)
    await spool.append("c", append(4, capture_id="c", state=state("c", counts=counts)))
    left = as_a_kill_leaves_it(spool, tmp_path / "left")
    await spool.close()
    if gone:
        (left / SPOOL_FILE).unlink()
        (left / LOG).unlink()
    else:
        flip(left / LOG, -1)
    bare = Path(shutil.copytree(left, tmp_path / "bare"))
    without_counts(bare / "heads")
    _, (capture,), again = await found_in(left)
    assert (capture.position.last_seq, capture.state.counts) == (4, counts)
    await again.close()
    _, (capture,), again = await found_in(bare)
    assert (capture.position.last_seq, capture.state.counts) == (4, Counts())
    await again.close()


async def test_a_room_with_a_long_name_keeps_it_rather_than_its_books(directory: Path, tmp_path: Path) -> None:
    spool = Spool(directory, settings())
    rooms = {"both": "r" * 200, "room": "r" * 380, "books": "r" * 600}
    for name, room in rooms.items():
        of_room = msgspec.structs.replace(state(name, counts=Counts(messages=1, normalized=1, events=1)), room=room)
        await spool.append(name, append(1, capture_id=name, state=of_room))
    left = as_a_kill_leaves_it(spool, tmp_path / "left")
    await spool.close()
    (left / SPOOL_FILE).unlink()
    (left / LOG).unlink()
    _, captures, again = await found_in(left)
    known = {one.state.capture_id: (one.state.room, one.state.counts.events) for one in captures}
    assert known == {"both": (rooms["both"], 1), "room": (rooms["room"], 0), "books": ("", 1)}
    await again.close()


async def test_an_end_that_was_lost_with_all_that_was_known_of_its_capture_is_to_be_written_again(
    directory: Path, tmp_path: Path
) -> None:
    left = await left_with_its_end(directory, tmp_path)
    (left / SPOOL_FILE).unlink()
    (left / LOG).unlink()
    for _ in range(2):  # the first process is killed before it writes the end
        _, (capture,), again = await found_in(left)
        assert (capture.position.last_seq, capture.state.ended) == (4, False)
        assert capture.damage is not None
        assert capture.damage.missed == 4
        await again.close()


async def test_a_capture_that_is_to_be_ended_again_is_not_forgotten_as_one_that_has_ended(
    directory: Path, tmp_path: Path
) -> None:
    left = await left_with_its_end(directory, tmp_path)
    flip(left / LOG, -1)
    _, captures, again = await found_in(left)
    cursor = again.cursor()
    await cursor.forget(again.last_ordinal)
    await again.close()
    (left / SPOOL_FILE).unlink()
    _, captures, again = await found_in(left)
    assert [(one.state.capture_id, one.position.last_seq) for one in captures] == [("c", 4)]
    await again.close()


async def test_a_witness_that_is_behind_or_gone_says_nothing(directory: Path, tmp_path: Path) -> None:
    spool = await make(directory, 3)
    behind = (directory / "heads").read_bytes()
    await spool.append("c", append(4, capture_id="c"))
    left = as_a_kill_leaves_it(spool, tmp_path / "left")
    gone = as_a_kill_leaves_it(spool, tmp_path / "gone")
    await spool.close()
    (left / "heads").write_bytes(behind)
    (gone / "heads").unlink()
    for folder in (left, gone):
        for _ in range(2):  # and the second time it knows
            found, (capture,), again = await found_in(folder)
            assert (len(found), capture.position.last_seq, capture.damage) == (4, 4, None)
            await again.close()


async def test_a_witness_that_is_damaged_itself_accuses_nobody(directory: Path) -> None:
    await (await make(directory, 3)).close()
    flip(directory / "heads", 512 + 20)
    found, (capture,), again = await found_in(directory)
    assert (len(found), capture.damage) == (3, None)
    await again.close()


async def test_damage_is_told_until_the_capture_has_written_something_after_it(directory: Path, tmp_path: Path) -> None:
    spool = await make(directory, 5)
    left = as_a_kill_leaves_it(spool, tmp_path / "left")
    await spool.close()
    flip(left / LOG, -1)
    told = []
    for _ in range(2):  # the first process is killed before it writes the gap
        _, (capture,), again = await found_in(left)
        told.append(capture.damage)
        assert again.take_damage("c") is None  # once in a process
        assert again.damaged == 1
        await again.close()
    assert told[0] == told[1] != None  # noqa: E711
    _, _, again = await found_in(left)
    await again.append("c", append(6, capture_id="c"))
    await again.close()
    _, (capture,), again = await found_in(left)
    assert (capture.damage, again.damaged) == (None, 0)
    await again.close()


async def test_hundreds_of_captures_that_come_and_go_keep_the_witness_small(directory: Path) -> None:
    spool = Spool(directory, settings())
    cursor = spool.cursor()
    for turn in range(30):
        names = [f"{turn}-{number}" for number in range(100)]
        await asyncio.gather(*(spool.append(name, append(1, capture_id=name, ended=True)) for name in names))
        await cursor.forget(spool.last_ordinal)
    assert (directory / "heads").stat().st_size <= 512 * 1200
    await spool.append("c", append(1, capture_id="c"))
    await spool.close()
    _, (capture,), again = await found_in(directory)
    assert (capture.state.capture_id, capture.damage, again.damaged) == ("c", None, 0)
    await again.close()


# --- flipped bits -------------------------------------------------------------------------------------------------


async def test_a_damaged_block_is_set_aside_and_what_is_behind_it_goes_on(directory: Path) -> None:
    spool = await make(directory, 5)
    acknowledged = await events_of(spool)
    content = bytes(acknowledged[2].salt)
    path = directory / SPOOL_FILE
    await spool.close()
    flip(path, path.read_bytes().index(content))
    found, (capture,), again = await found_in(directory)
    assert found == [*acknowledged[:2], *acknowledged[3:]]
    assert capture.damage is not None
    assert (capture.damage.missed, capture.damage.since_at) == (1, acknowledged[1].occurred_at)
    assert "number 3" in capture.damage.evidence
    assert (again.damaged, again.damaged_captures, again.waiting) == (1, ["c"], 4)
    kept = directory / "damaged-3"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert bytes(acknowledged[2].payload, "utf-8") in kept.read_bytes()
    await again.close()


async def test_a_block_that_is_damaged_while_the_spool_is_open_is_told_to_its_capture(directory: Path) -> None:
    spool = await make(directory, 5)
    cursor = spool.cursor()
    execute(directory, "UPDATE events SET sealed = zeroblob(length(sealed)) WHERE ordinal = 5")
    assert [item.event.seq for item in await cursor.read(10)] == [1, 2, 3, 4]
    assert spool.take_damage("other") is None
    damage = spool.take_damage("c")
    assert damage is not None
    assert damage.missed == 1
    assert spool.take_damage("c") is None
    assert cursor.waiting == 4
    await cursor.forget((await cursor.read(10))[-1].ordinal)
    assert await cursor.read(10) == []
    assert (cursor.waiting, spool.waiting) == (0, 0)
    await spool.append("c", append(6, capture_id="c"))
    assert [item.event.seq for item in await cursor.read(10)] == [6]
    await spool.close()


async def test_a_block_that_does_not_even_say_whose_it_was_is_told_by_its_neighbours(directory: Path) -> None:
    spool = Spool(directory, settings())
    for number in range(1, 4):
        await asyncio.gather(*(spool.append(name, append(number, capture_id=name)) for name in ("a", "b")))
    await spool.close()
    execute(directory, "UPDATE events SET sealed = x'c1', contents = x'00', checksum = 1 WHERE ordinal = 4")
    found, captures, again = await found_in(directory)
    assert [(item.capture_id, item.seq) for item in found] == [("a", 1), ("b", 1), ("a", 3), ("b", 3)]
    assert [(capture.state.capture_id, capture.damage and capture.damage.missed) for capture in captures] == [
        ("a", 1),
        ("b", 1),
    ]
    await again.close()


async def test_rows_that_have_vanished_are_told(directory: Path) -> None:
    await (await make(directory, 6)).close()
    execute(directory, "DELETE FROM events WHERE ordinal = 3")
    execute(directory, "DELETE FROM events WHERE ordinal = 6")
    found, (capture,), again = await found_in(directory)
    assert [item.seq for item in found] == [1, 2, 4, 5]
    assert capture.damage is not None
    assert (capture.damage.missed, again.waiting) == (2, 4)
    await again.close()


async def test_an_event_that_was_altered_with_its_checksum_is_told_by_the_digests_and_delivered(
    directory: Path,
) -> None:
    spool = await make(directory, 3)
    acknowledged = await events_of(spool)
    await spool.close()
    altered = msgspec.structs.replace(acknowledged[1], occurred_at=1)
    _, packed, _, _, checksum = Block(2, [altered], pack([altered])).row()
    execute(directory, "UPDATE events SET sealed = ?, checksum = ? WHERE ordinal = 2", packed, checksum)
    found, (capture,), again = await found_in(directory)
    assert found == [acknowledged[0], altered, acknowledged[2]]
    assert capture.damage is not None
    assert (capture.damage.missed, "number 2" in capture.damage.evidence) == (0, True)
    assert (again.damaged, again.damaged_captures) == (0, ["c"])
    await again.close()


@pytest.mark.parametrize("column", ["state", "head", "last_seq"])
async def test_what_is_damaged_of_a_capture_is_replaced_by_what_its_witness_knows(directory: Path, column: str) -> None:
    spool = await make(directory, 3)
    head = (await events_of(spool))[-1].digest
    await spool.close()
    value = {"state": b"\xc1", "head": bytes(32), "last_seq": 1}[column]
    execute(directory, f"UPDATE captures SET {column} = ?", value)  # noqa: S608
    found, (capture,), again = await found_in(directory)
    assert (len(found), capture.position) == (3, Position(3, head))
    assert (capture.state.room, capture.state.ended) == (state("c").room, False)
    assert capture.damage is not None
    assert capture.damage.missed == 0
    await again.close()


async def test_without_a_witness_the_events_tell_how_far_a_damaged_capture_had_come(directory: Path) -> None:
    spool = await make(directory, 3)
    head = (await events_of(spool))[-1].digest
    await spool.close()
    (directory / "heads").unlink()
    execute(directory, "UPDATE captures SET state = x'c1', last_seq = 1")
    _, (capture,), again = await found_in(directory)
    assert capture.position == Position(3, head)
    await again.close()


async def test_no_more_is_set_aside_than_has_a_bound(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection, "DAMAGED_FILES", 2)
    await (await make(directory, 5)).close()
    connection = sqlite3.connect(directory / SPOOL_FILE)
    with connection:
        connection.execute("UPDATE events SET sealed = x'c1' WHERE ordinal > 1")
    connection.close()
    found, (capture,), again = await found_in(directory)
    assert (len(found), files_set_aside(directory)) == (1, 2)
    assert capture.damage is not None
    assert capture.damage.missed == 4
    await again.close()


async def flip_and_open(folder: Path, original: Path, acknowledged: list[SealedEvent], offset: int, bit: int) -> None:
    """Whatever bit is flipped: nothing altered comes out, and what does not come out is told."""
    directory = folder / "spool"
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(original, directory)
    flip(directory / SPOOL_FILE, offset, bit)
    try:
        found, captures, spool = await found_in(directory)
    except SpoolUnusable:  # a bit of the format, so that it seems to have another: it is left as it is, and said so
        assert FORMAT_BYTES[0] <= offset < FORMAT_BYTES[1]
        return
    kept = {item.seq: item for item in acknowledged}
    assert all(kept[item.seq] == item for item in found)
    (capture,) = captures
    missing = len(acknowledged) - len(found)
    assert (capture.damage.missed if capture.damage else 0) == spool.damaged == missing
    assert capture.position.last_seq == len(acknowledged)
    await spool.append("c", append(1, capture_id="c"))
    newest = (await events_of(spool))[-1]
    assert newest.seq == len(acknowledged) + 1
    assert chain.link(acknowledged[-1].digest, chain.envelope_of(newest), newest.commitment) == newest.digest
    await spool.close()


def keys(content: bytes) -> list[int]:
    """Where a table's rows have their keys: the last byte of each, in pages of SQLite's format for leaves."""
    found = []
    for page in range(PAGE, len(content), PAGE):
        if content[page] != LEAF:
            continue
        for cell in range(int.from_bytes(content[page + 3 : page + 5])):
            offset = page + int.from_bytes(content[page + 8 + 2 * cell : page + 10 + 2 * cell])
            for _ in ("length of the row", "key"):
                while content[offset] & 0x80:
                    offset += 1
                offset += 1
            found.append(offset - 1)
    return found


@pytest.mark.parametrize("bit", range(8))
def test_a_key_that_is_altered_so_that_rows_are_out_of_order_hides_none_of_them(tmp_path: Path, bit: int) -> None:
    async def prepare() -> list[SealedEvent]:
        spool = await make(tmp_path / "original")
        acknowledged = await events_of(spool)
        await spool.close()
        return acknowledged

    acknowledged = asyncio.run(prepare())
    offsets = keys((tmp_path / "original" / SPOOL_FILE).read_bytes())
    assert len(offsets) >= BLOCKS
    for offset in offsets[:: len(offsets) // 8]:
        asyncio.run(flip_and_open(tmp_path, tmp_path / "original", acknowledged, offset, bit))


def headers_of_captures(content: bytes) -> list[int]:
    """Where the first capture's row has its length, its header's length and the types of its columns."""
    for page in range(PAGE, len(content), PAGE):
        if content[page] == INDEX_LEAF and content[page + 3 : page + 5] != bytes(2):
            begin = page + int.from_bytes(content[page + 8 : page + 10])
            return list(range(begin, begin + 12))
    return []


@pytest.mark.parametrize("bit", range(8))
def test_a_type_that_is_altered_so_that_a_capture_has_none_hides_nothing(tmp_path: Path, bit: int) -> None:
    async def prepare() -> list[SealedEvent]:
        spool = await make(tmp_path / "original", 5)
        acknowledged = await events_of(spool)
        await spool.close()
        return acknowledged

    acknowledged = asyncio.run(prepare())
    offsets = headers_of_captures((tmp_path / "original" / SPOOL_FILE).read_bytes())
    assert offsets
    for offset in offsets:
        asyncio.run(flip_and_open(tmp_path, tmp_path / "original", acknowledged, offset, bit))


def test_whichever_bit_of_the_file_is_flipped_nothing_is_altered_and_nothing_missing_is_hidden() -> None:
    logging.disable()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        async def prepare() -> list[SealedEvent]:
            spool = await make(folder / "original")
            acknowledged = await events_of(spool)
            await spool.close()
            return acknowledged

        acknowledged = asyncio.run(prepare())
        size = (folder / "original" / SPOOL_FILE).stat().st_size

        @effort(max_examples=60)
        @given(st.integers(0, size - 1) | st.integers(0, 200), st.integers(0, 7))
        def try_one(offset: int, bit: int) -> None:
            asyncio.run(flip_and_open(folder, folder / "original", acknowledged, offset, bit))

        try_one()


# --- files that are no spool any more -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content", [b"this is no database, but quite long " * 200, b"SQLite format 3\x00" + bytes(5000)]
)
async def test_a_file_that_is_no_database_is_set_aside_and_its_captures_are_known_by_their_witness(
    tmp_path: Path, content: bytes
) -> None:
    await (await make(tmp_path / "1", 3)).close()
    (tmp_path / "1" / SPOOL_FILE).write_bytes(content)
    (spool,) = spools.adopt(tmp_path, settings())
    (capture,) = await spool.open_captures()
    assert capture.damage is not None
    assert (capture.position.last_seq, capture.damage.missed) == (3, 3)
    assert (spool.directory / "damaged-file-1").read_bytes() == content
    await spool.append("c", append(4, capture_id="c", ended=True))
    assert spool.waiting == 1
    await spool.close()


async def test_what_can_be_read_of_a_file_with_damaged_pages_is_read(directory: Path) -> None:
    spool = await make(directory)
    acknowledged = await events_of(spool)
    await spool.close()
    path = directory / SPOOL_FILE
    content = bytearray(path.read_bytes())
    pages = len(content) // 4096
    content[4096 * (pages - 2) : 4096 * (pages - 1)] = b"\xa5" * 4096
    path.write_bytes(content)
    found, (capture,), again = await found_in(directory)
    assert 0 < len(found) < BLOCKS
    assert {item.seq for item in found} < {item.seq for item in acknowledged}
    assert capture.damage is not None
    assert capture.damage.missed == BLOCKS - len(found)
    await again.close()


async def test_a_file_that_is_damaged_while_it_is_open_is_made_again_and_nothing_unknown_happens(
    directory: Path,
) -> None:
    spool = await make(directory)
    connection = sqlite3.connect(directory / SPOOL_FILE)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    (root,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'events'").fetchone()
    connection.close()
    with (directory / SPOOL_FILE).open("r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(b"\xa5" * 4096)
    execute(directory, "UPDATE captures SET touched_at = touched_at")  # another connection wrote: caches are stale
    position = await spool.append("c", append(1, capture_id="c"))
    assert position.last_seq == BLOCKS + 1
    found = await events_of(spool)
    assert found[-1].seq == BLOCKS + 1
    damage = spool.take_damage("c")
    assert damage is not None
    assert damage.missed == spool.damaged == BLOCKS + 1 - len(found)
    assert (directory / "damaged-file-1").exists()
    await spool.close()


async def test_a_file_without_its_tables_is_made_again(directory: Path) -> None:
    await (await make(directory, 2)).close()
    connection = sqlite3.connect(directory / SPOOL_FILE)
    connection.execute("DROP TABLE events")
    connection.commit()
    connection.close()
    found, (capture,), again = await found_in(directory)
    assert (found, again.damaged, capture.position.last_seq) == ([], 2, 2)
    await again.close()


async def test_a_damaged_spool_keeps_nobody_from_recording(tmp_path: Path) -> None:
    await (await make(tmp_path / "1", 1)).close()
    path = tmp_path / "1" / SPOOL_FILE
    path.write_bytes(b"damaged " * 1000)
    spool = spools.acquire(tmp_path, settings())
    assert (spool.directory, spool.damaged) == (tmp_path / "1", 1)
    await spool.append("d", append(1, capture_id="d"))
    await spool.close()
