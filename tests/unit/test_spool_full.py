"""The spool without room, without rights, without its directory: it says so, and what it has promised stays."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from meeta_bot.capture.spool import Spool
from meeta_bot.capture.spool import directory as spool_directory
from meeta_bot.errors import SpoolBusy, SpoolError, SpoolFull
from tests.unit.builders import append, settings
from tests.unit.spool_faults import LOG, SPOOL_FILE, big, fill_up, found_in

REPOSITORY = Path(__file__).resolve().parents[2]
BOUND = 400_000
NOBODY = 65_534

# Fills a spool until it is full, whyever, then writes last words and prints: taken, its last words' number, and how
# many of all that are found again when the next process opens it.
FILLER = """
import asyncio, resource, sys
from pathlib import Path
from meeta_bot.errors import SpoolFull
from meeta_bot.capture.spool import Spool
from tests.unit.builders import append, settings
from tests.unit.spool_faults import big, fill_up, found_in

async def main():
    spool = Spool(Path(sys.argv[1]), settings())
    if sys.argv[2] == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))
    taken = await fill_up(spool)
    was_nearly_full = spool.is_nearly_full
    if sys.argv[2] == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    last = await spool.append("c", append(1, capture_id="c", ended=True, urgent=True))
    try:
        await spool.append("d", append(1, capture_id="d"))
        ordinary = "taken"
    except SpoolFull:
        ordinary = "refused"
    await spool.close()
    found, captures, again = await found_in(Path(sys.argv[1]))
    of_c = [event for event in found if event.capture_id == "c"]
    print(taken, last.last_seq, len(of_c), again.damaged, was_nearly_full, ordinary)
    await again.close()

asyncio.run(main())
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def run_filler(*command: str) -> list[str]:
    done = subprocess.run([*command], cwd=REPOSITORY, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")[-2].split()


async def say_last_words(spool: Spool, count: int) -> None:
    for number in range(count):
        await spool.append("c", big(number, urgent=True))


@pytest.fixture
def watchful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at the files before every append, not only now and then."""
    monkeypatch.setattr(spool_directory, "FILES_CHECK_SECONDS", 0)


# --- the bound ----------------------------------------------------------------------------------------------------


async def test_last_words_go_into_a_spool_that_is_full_and_nothing_else_does(directory: Path) -> None:
    spool = Spool(directory, settings(spool_max_bytes=BOUND))
    taken = await fill_up(spool)
    assert (await spool.append("c", big(taken + 1, urgent=True))).last_seq == taken + 1
    with pytest.raises(SpoolFull):
        await spool.append("d", big(1, "d"))
    assert (await spool.append("d", big(1, "d", urgent=True))).last_seq == 1
    assert spool.waiting == taken + 2
    await spool.close()


async def test_last_words_have_a_bound_of_their_own(directory: Path) -> None:
    spool = Spool(directory, settings(spool_max_bytes=BOUND, spool_reserve_bytes=100_000))
    taken = await fill_up(spool)
    with pytest.raises(SpoolFull):
        await say_last_words(spool, 100)
    assert taken < spool.waiting < taken + 8
    await spool.close()


async def test_last_words_that_come_together_with_others_are_not_refused_with_them(directory: Path) -> None:
    spool = Spool(directory, settings(spool_max_bytes=BOUND))
    taken = await fill_up(spool)
    results = await asyncio.gather(
        spool.append("a", big(1, "a")),
        spool.append("c", big(1, urgent=True)),
        spool.append("b", big(1, "b")),
        return_exceptions=True,
    )
    assert [isinstance(result, SpoolFull) for result in results] == [True, False, True]
    assert spool.waiting == taken + 1
    await spool.close()


async def test_a_spool_says_that_it_is_nearly_full_before_it_is_and_no_more_when_there_is_room(directory: Path) -> None:
    spool = Spool(directory, settings(spool_max_bytes=4_000_000))
    cursor = spool.cursor()
    number = 0
    while not spool.is_nearly_full:
        number += 1
        await spool.append("c", big(number))
    assert 3_500_000 < 20_000 * number < 4_000_000
    await spool.append("c", big(number + 1))
    await cursor.forget(spool.last_ordinal)
    assert not spool.is_nearly_full
    await spool.close()


# --- the disk -----------------------------------------------------------------------------------------------------


def test_files_that_may_grow_no_further_are_a_full_spool_that_goes_on_when_they_may(directory: Path) -> None:
    taken, last, found, damaged, nearly, ordinary = run_filler(sys.executable, "-c", FILLER, str(directory), "limit")
    assert (int(last), int(found), damaged) == (int(taken) + 1, int(taken) + 1, "0")
    assert int(taken) > 10
    assert (nearly, ordinary) == ("True", "taken")


@pytest.mark.as_root
def test_on_a_disk_that_is_full_last_words_get_the_reserve_and_nothing_else_does(tmp_path: Path) -> None:
    mount = f'mount -t tmpfs -o size=12m none {tmp_path} && exec "$@"'
    command = ["unshare", "-m", "sh", "-c", mount, "sh", sys.executable, "-c", FILLER, f"{tmp_path}/spool", "disk"]
    taken, last, found, damaged, nearly, ordinary = run_filler(*command)
    assert (int(last), int(found), damaged) == (int(taken) + 1, int(taken) + 1, "0")
    assert int(taken) > 10
    assert (nearly, ordinary) == ("True", "refused")


async def test_the_reserve_is_there_while_a_spool_is_open_and_only_then(directory: Path) -> None:
    spool = Spool(directory, settings(spool_reserve_bytes=50_000))
    reserve = directory / "reserve"
    assert reserve.stat().st_size == 50_000
    assert reserve.stat().st_blocks * 512 >= 50_000
    await spool.close()
    assert not reserve.exists()


# --- rights and places --------------------------------------------------------------------------------------------


@contextmanager
def as_ordinary_user() -> Iterator[Path]:
    """Be nobody in particular, whoever runs the tests; gives a directory of one's own."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        if os.geteuid() != 0:
            yield folder
            return
        os.chown(folder, NOBODY, NOBODY)
        os.seteuid(NOBODY)
        try:
            yield folder
        finally:
            os.seteuid(0)


def said(error: SpoolError) -> str:
    assert "\n" not in str(error)
    assert error.hint
    return str(error)


async def test_a_directory_that_may_only_be_read_is_told() -> None:
    with as_ordinary_user() as folder:
        folder.chmod(0o500)
        with pytest.raises(SpoolError) as caught:
            Spool(folder / "1", settings())
        folder.chmod(0o700)
    assert said(caught.value).startswith("Can't write the spool")


async def test_files_that_may_only_be_read_are_told() -> None:
    with as_ordinary_user() as folder:
        spool = Spool(folder / "1", settings())
        await spool.append("c", append(1, capture_id="c"))
        await spool.close()
        (folder / "1" / SPOOL_FILE).chmod(0o400)
        with pytest.raises(SpoolError) as caught:
            Spool(folder / "1", settings())
    assert said(caught.value).startswith("Can't write the spool")


async def test_who_loses_the_rights_to_an_open_spool_goes_on_with_it() -> None:
    with as_ordinary_user() as folder:
        spool = Spool(folder / "1", settings())
        await spool.append("c", append(1, capture_id="c"))
        (folder / "1").chmod(0)
        assert (await spool.append("c", append(2, capture_id="c"))).last_seq == 2
        (folder / "1").chmod(0o700)
        await spool.close()
        found, _, again = await found_in(folder / "1")
        assert ([item.seq for item in found], again.damaged) == ([1, 2], 0)
        await again.close()


@pytest.mark.usefixtures("watchful")
@pytest.mark.parametrize("gone", [[SPOOL_FILE], [LOG], [SPOOL_FILE, LOG, "heads"], ["."]], ids=",".join)
async def test_files_that_are_deleted_while_they_are_in_use_are_made_again(directory: Path, gone: list[str]) -> None:
    spool = Spool(directory, settings(spool_recent_bytes=0))
    for number in range(1, 4):
        await spool.append("c", append(number, capture_id="c"))
    for name in gone:
        shutil.rmtree(directory) if name == "." else (directory / name).unlink()
    assert (await spool.append("c", append(4, capture_id="c"))).last_seq == 4
    assert [item.event.seq for item in await spool.read(10)] == [1, 2, 3, 4]
    with pytest.raises(SpoolBusy):
        Spool(directory, settings())
    await spool.close()
    found, (capture,), again = await found_in(directory)
    assert ([item.seq for item in found], capture.damage) == ([1, 2, 3, 4], None)
    await again.close()


def put_in_the_way(directory: Path) -> None:
    directory.rename(directory.with_name("moved"))
    directory.write_text("in the way")


def put_back(directory: Path) -> None:
    directory.unlink()
    directory.with_name("moved").rename(directory)


@pytest.mark.usefixtures("watchful")
async def test_a_directory_that_can_t_be_made_again_is_told(directory: Path) -> None:
    spool = Spool(directory, settings())
    put_in_the_way(directory)
    with pytest.raises(SpoolError) as caught:
        await spool.append("c", append(1, capture_id="c"))
    assert said(caught.value)
    put_back(directory)
    assert (await spool.append("c", append(1, capture_id="c"))).last_seq == 1
    await spool.close()


def put_another_file(directory: Path) -> None:
    other = directory / "other"
    other.write_bytes(b"somebody's")
    other.replace(directory / SPOOL_FILE)


@pytest.mark.usefixtures("watchful")
async def test_a_file_that_was_put_in_the_place_of_ours_is_kept_and_ours_goes_on(directory: Path) -> None:
    spool = Spool(directory, settings(spool_recent_bytes=0))
    await spool.append("c", append(1, capture_id="c"))
    put_another_file(directory)
    assert (await spool.append("c", append(2, capture_id="c"))).last_seq == 2
    assert [item.event.seq for item in await spool.read(10)] == [1, 2]
    assert (directory / "damaged-file-1").read_bytes() == b"somebody's"
    await spool.close()


async def test_files_that_are_deleted_at_the_end_are_made_again_as_well(directory: Path) -> None:
    spool = Spool(directory, settings())
    await spool.append("c", append(1, capture_id="c"))
    shutil.rmtree(directory)
    await spool.close()
    found, (capture,), again = await found_in(directory)
    assert ([item.seq for item in found], capture.damage) == ([1], None)
    await again.close()
