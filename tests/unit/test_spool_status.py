"""Looking into spools from outside: what waits, whose it is; nothing is touched."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner

from meeta_bot.capture.spool import Spool
from meeta_bot.capture.spool.directory import spool_root
from meeta_bot.capture.spool.status import CaptureStatus, read_statuses
from meeta_bot.cli import app
from meeta_bot.settings import load
from tests.unit.builders import append, settings
from tests.unit.spool_faults import SPOOL_FILE


async def fill(directory: Path) -> Spool:
    """Two captures, of which one has ended; two of five events are delivered."""
    spool = Spool(directory, settings())
    await spool.append("a", append(1, 2, 3, capture_id="a"))
    await spool.append("b", append(1, 2, capture_id="b", ended=True))
    return spool


async def test_what_waits_is_counted_by_capture_also_in_the_middle_of_a_block(tmp_path: Path) -> None:
    spool = await fill(tmp_path / "1")
    cursor = spool.cursor()
    assert await spool.waiting_of() == {"a": 3, "b": 2}
    await cursor.forget((await cursor.read(2))[-1].ordinal)
    await spool.forget(2)
    assert await spool.waiting_of() == {"a": 1, "b": 2}
    (found,) = read_statuses(tmp_path)
    assert found.captures == [CaptureStatus("a", 3, True, 1), CaptureStatus("b", 2, False, 2)]
    assert (found.waiting, found.open_captures, found.owner) == (3, 1, os.getpid())
    await spool.close()


async def test_looking_takes_nothing_and_keeps_nobody_out(tmp_path: Path) -> None:
    spool = await fill(tmp_path / "1")
    before = sorted(path.name for path in (tmp_path / "1").iterdir())
    (found,) = read_statuses(tmp_path)
    assert sorted(path.name for path in (tmp_path / "1").iterdir()) == before
    await spool.append("a", append(4, capture_id="a"))
    assert read_statuses(tmp_path)[0].waiting == found.waiting + 1
    await spool.close()
    (found,) = read_statuses(tmp_path)
    assert (found.owner, found.waiting) == (None, 6)
    again = Spool(tmp_path / "1", settings())
    assert again.waiting == 6
    await again.close()


async def test_a_spool_that_can_t_be_read_hides_no_other(tmp_path: Path) -> None:
    for name in ("1", "2", "10"):
        await (await fill(tmp_path / name)).close()
    (tmp_path / "2" / SPOOL_FILE).write_bytes(b"no database " * 100)
    found = read_statuses(tmp_path)
    assert [spool.directory.name for spool in found] == ["1", "2", "10"]
    assert [spool.problem is None for spool in found] == [True, False, True]
    assert [spool.waiting for spool in found] == [5, 0, 5]


async def test_of_a_spool_of_another_format_it_is_told_what_to_do(tmp_path: Path) -> None:
    await (await fill(tmp_path / "1")).close()
    connection = sqlite3.connect(tmp_path / "1" / SPOOL_FILE)
    connection.execute("PRAGMA user_version = 3")
    connection.close()
    (found,) = read_statuses(tmp_path)
    assert (found.captures, found.waiting) == ([], 0)
    assert found.problem is not None
    assert "has format 3" in found.problem
    assert found.problem.endswith("deliver it with the version of meeta-bot that wrote it, or move its directory away")


def test_there_is_nothing_to_see_where_no_spool_is(tmp_path: Path) -> None:
    assert read_statuses(tmp_path / "nowhere") == []


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MEETA_DATA_DIRECTORY", str(tmp_path))
    return spool_root(load())


def test_the_command_shows_every_spool_and_every_capture(data: Path) -> None:
    async def with_a_running_one() -> None:
        running = await fill(data / "1")
        await (await fill(data / "2")).close()
        said = await asyncio.to_thread(CliRunner().invoke, app, ["spool", "status"])
        lines = [line.split() for line in said.stdout.splitlines()]
        assert said.exit_code == 0
        assert lines[0] == [str(data / "1"), "of", "process", str(os.getpid()), "5", "events", "waiting"]
        assert lines[1] == ["a", "open", "up", "to", "number", "3", "3", "waiting"]
        assert lines[2] == ["b", "ended", "up", "to", "number", "2", "2", "waiting"]
        assert lines[3] == [str(data / "2"), "free", "5", "events", "waiting"]
        answer = json.loads((await asyncio.to_thread(CliRunner().invoke, app, ["spool", "status", "--json"])).stdout)
        assert [(one["owned"], one["waiting"], len(one["captures"])) for one in answer] == [(True, 5, 2), (False, 5, 2)]
        assert answer[1]["captures"][0] == {"capture_id": "a", "last_seq": 3, "open": True, "waiting": 3}
        await running.close()

    asyncio.run(with_a_running_one())


def test_the_command_tells_that_there_is_no_spool(data: Path) -> None:
    said = CliRunner().invoke(app, ["spool", "status"])
    assert (said.exit_code, said.stdout) == (0, f"There is no spool in {data}\n")
