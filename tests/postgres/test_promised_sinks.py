"""Spools that recorders left, and the sinks that they were promised to: whoever delivers them keeps the promise."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from meeta_bot import service, settings
from meeta_bot.capture.browser.chromium import Chromium
from meeta_bot.capture.normalize import State
from meeta_bot.capture.spool import Append
from meeta_bot.delivery import owed
from meeta_bot.delivery.jsonl import JsonLinesSink
from meeta_bot.delivery.registry import Destination, json_lines
from meeta_bot.settings import Settings
from meeta_bot.worker import Worker
from tests.postgres.samples import capture_id, joined, started
from tests.stack.postgres import fetch

EVENTS = 3  # of each capture; a flush adds a gap and an end
WHOLE = EVENTS + 2
PATIENCE_SECONDS = 30


@pytest.fixture
def chosen(database_url: str, tmp_path: Path) -> Settings:
    return settings.load(
        {"database_url": database_url, "data_directory": tmp_path / "data", "flush_timeout": PATIENCE_SECONDS}
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


async def append(worker: Worker) -> str:
    """A capture without an end."""
    name = capture_id()
    state = State(capture_id=name, deployment="https://meet.example.org", room="standup")
    events = [started(), *(joined(number, f"e{number}") for number in range(1, EVENTS))]
    await worker.spool.append(name, Append(state, events, 0))
    return name


async def killed(chosen: Settings, *sinks: Destination) -> str:
    """Leave what a recorder leaves that was killed before it delivered anything; the capture's id."""
    async with service.recording(chosen, sinks) as worker:
        return await append(worker)


async def in_database(chosen: Settings, name: str) -> int:
    assert chosen.database_url is not None
    query = f"SELECT seq FROM meeta.events WHERE capture_id = '{name}'"  # noqa: S608
    return len(await fetch(chosen.database_url.get_secret_value(), query))


def in_file(file: Path, name: str) -> list[int]:
    lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    return [line["seq"] for line in lines if line["capture_id"] == name]


def notes(chosen: Settings) -> list[Path]:
    return sorted((chosen.data_directory / "spool").glob(f"*/{owed.NAME}"))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 - files signal nobody
            await asyncio.sleep(0.01)


# --- flush --------------------------------------------------------------------------------------------------------


async def test_a_flush_delivers_to_the_file_that_a_killed_recorder_wrote(chosen: Settings, file: Path) -> None:
    name = await killed(chosen, json_lines(str(file)))
    result = await service.flush(chosen)
    assert (result.delivered, result.remaining, result.captures_ended, result.waits_for) == (WHOLE, 0, 1, [])
    assert await in_database(chosen, name) == WHOLE
    assert in_file(file, name) == list(range(1, WHOLE + 1))
    assert notes(chosen) == []


async def test_a_file_is_found_from_whatever_directory(
    chosen: Settings, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.chdir(file.parent)
        name = await killed(chosen, json_lines(file.name))
    await service.flush(chosen)
    assert len(in_file(file, name)) == WHOLE


async def test_a_name_in_no_encoding_is_kept(chosen: Settings, tmp_path: Path) -> None:
    file = Path(os.fsdecode(bytes(tmp_path) + b"/\xff \xc3\xa4.jsonl"))
    name = await killed(chosen, json_lines(str(file)))
    assert (await service.flush(chosen)).remaining == 0
    assert len(in_file(file, name)) == WHOLE


async def test_what_the_file_has_already_is_not_written_again(chosen: Settings, file: Path) -> None:
    name = await killed(chosen, json_lines(str(file)))
    (spool,) = (chosen.data_directory / "spool").iterdir()
    before = {path.name: path.read_bytes() for path in spool.iterdir() if path.is_file()}
    await service.flush(chosen)
    for path in spool.iterdir():
        path.unlink()
    for other, content in before.items():
        (spool / other).write_bytes(content)
    await service.flush(chosen)
    numbers = in_file(file, name)
    assert sorted(set(numbers)) == sorted(numbers)


async def test_a_file_that_can_t_be_written_keeps_its_events_and_the_database_gets_them(
    chosen: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "mounted"
    folder.mkdir()
    file = folder / "events.jsonl"
    name = await killed(chosen, json_lines(str(file)))
    file.unlink()
    folder.rmdir()
    for ended in (1, 0):
        result = await service.flush(chosen)
        assert (result.delivered, result.remaining, result.captures_ended) == (0, WHOLE, ended)
        (reason,) = result.waits_for
        assert str(file) in reason
        assert "No such file or directory" in reason
        assert await in_database(chosen, name) == WHOLE
    folder.mkdir()
    assert (await service.flush(chosen)).remaining == 0
    assert len(in_file(file, name)) == WHOLE


async def test_a_file_that_another_process_writes_keeps_its_events(chosen: Settings, file: Path) -> None:
    name = await killed(chosen, json_lines(str(file)))
    other = JsonLinesSink(file, chosen)
    await other.open()
    result = await service.flush(chosen)
    assert result.remaining == WHOLE
    assert "Another process writes" in result.waits_for[0]
    await other.close()
    assert (await service.flush(chosen)).remaining == 0
    assert len(in_file(file, name)) == WHOLE


async def test_an_operator_may_give_up_on_files(chosen: Settings, file: Path) -> None:
    name = await killed(chosen, json_lines(str(file)))
    assert (await service.flush(chosen, database_only=True)).remaining == 0
    assert await in_database(chosen, name) == WHOLE
    assert in_file(file, name) == []
    assert notes(chosen) == []


async def test_standard_output_is_owed_nothing(chosen: Settings) -> None:
    await killed(chosen, json_lines("-"))
    assert notes(chosen) == []
    assert (await service.flush(chosen)).remaining == 0


def spoiled(content: bytes, how: str) -> bytes:
    """What somebody or something made of a note."""
    document = json.loads(content)
    if how == "another file":
        document["sinks"][0]["target"] += "x"
    elif how == "newer":
        document |= {"version": 2, "sinks": {"something": "else"}}
    elif how in ("no kind", "the database", "a stream"):
        kind = {"no kind": "carrier-pigeon", "the database": "database", "a stream": "jsonl-stream"}[how]
        return owed._document([Destination(kind, "somewhere")])
    return json.dumps(document).encode()


@pytest.mark.parametrize("how", ["another file", "newer", "no kind", "the database", "a stream"])
async def test_a_note_that_is_not_understood_forgets_nothing(chosen: Settings, file: Path, how: str) -> None:
    name = await killed(chosen, json_lines(str(file)))
    (note,) = notes(chosen)
    note.write_bytes(spoiled(note.read_bytes(), how))
    await _is_held(chosen, name, note)


@pytest.mark.parametrize("content", [b"", b"{", b"null", b"[]", b"{}", b"\xff", b"[" * 2**18, b'{"version":1}'])
async def test_a_note_that_is_damaged_forgets_nothing(chosen: Settings, file: Path, content: bytes) -> None:
    name = await killed(chosen, json_lines(str(file)))
    (note,) = notes(chosen)
    note.write_bytes(content)
    await _is_held(chosen, name, note)


async def _is_held(chosen: Settings, name: str, note: Path) -> None:
    result = await service.flush(chosen)
    assert (result.delivered, result.remaining) == (0, WHOLE)
    assert str(note) in result.waits_for[0]
    assert await in_database(chosen, name) == WHOLE
    async with service.recording(chosen) as worker:  # nor does another recorder take that spool for its own
        assert worker.spool.directory != note.parent
    assert (await service.flush(chosen, database_only=True)).remaining == 0
    assert notes(chosen) == []


# --- the next recorder --------------------------------------------------------------------------------------------


@pytest.fixture
def _no_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(_: Any) -> None:
        """Nobody asks for a page."""

    monkeypatch.setattr(Chromium, "start", nothing)
    monkeypatch.setattr(Chromium, "stop", nothing)


@pytest.mark.usefixtures("_no_browser")
async def test_the_next_recorder_keeps_the_promise_and_writes_nothing_of_its_own_there(
    chosen: Settings, file: Path
) -> None:
    name = await killed(chosen, json_lines(str(file)))
    async with service.recording(chosen) as worker:
        own = await append(worker)
        running = asyncio.create_task(worker.run(stay=True))
        await until(lambda: len(in_file(file, name)) == WHOLE)
        worker.stop()
        await running
    assert await in_database(chosen, name) == WHOLE
    assert await in_database(chosen, own) >= EVENTS
    assert in_file(file, own) == []
    assert notes(chosen) == []


@pytest.mark.usefixtures("_no_browser")
async def test_a_recorder_for_the_same_file_goes_on_in_the_same_spool(chosen: Settings, file: Path) -> None:
    name = await killed(chosen, json_lines(str(file)))
    async with service.recording(chosen, [json_lines(str(file))]) as worker:
        running = asyncio.create_task(worker.run(stay=True))
        await until(lambda: len(in_file(file, name)) == WHOLE)
        worker.stop()
        await running
    assert [path.name for path in (chosen.data_directory / "spool").iterdir()] == ["1"]
    assert await in_database(chosen, name) == WHOLE
    assert notes(chosen) == []


@pytest.mark.usefixtures("_no_browser")
async def test_a_file_that_can_t_be_written_keeps_no_other_spool_from_the_database(
    chosen: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "mounted"
    folder.mkdir()
    file, other = folder / "events.jsonl", tmp_path / "other.jsonl"
    first = await killed(chosen, json_lines(str(file)))
    second = await killed(chosen, json_lines(str(other)))
    file.unlink()
    folder.rmdir()
    async with service.recording(chosen) as worker:
        running = asyncio.create_task(worker.run(stay=True))
        await until(lambda: len(in_file(other, second)) == WHOLE)
        folder.mkdir()
        await until(lambda: len(in_file(file, first)) == WHOLE)
        worker.stop()
        await running
    assert [await in_database(chosen, name) for name in (first, second)] == [WHOLE, WHOLE]
    assert notes(chosen) == []


@pytest.mark.usefixtures("_no_browser")
async def test_a_worker_without_a_room_goes_on_until_it_is_stopped(chosen: Settings) -> None:
    async with service.recording(chosen) as worker:
        running = asyncio.create_task(worker.run(stay=True))
        await asyncio.wait([running], timeout=0.2)
        assert not running.done()
        worker.stop()
        worker.stop()
        assert await running == []
    async with service.recording(chosen) as worker:
        assert await worker.run() == []


@pytest.mark.usefixtures("_no_browser")
async def test_a_note_that_is_damaged_is_told_once_by_the_next_recorder(
    chosen: Settings, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = await killed(chosen, json_lines(str(file)))
    (note,) = notes(chosen)
    note.write_bytes(b"{")
    async with service.recording(chosen) as worker:
        running = asyncio.create_task(worker.run(stay=True))
        await asyncio.wait_for(worker.writer.ready.wait(), PATIENCE_SECONDS)
        worker.stop()
        await running
    assert capsys.readouterr().out.count("events stay in the spool") == 1
    assert await in_database(chosen, name) == WHOLE
    assert (await service.flush(chosen, database_only=True)).remaining == 0


def test_the_database_s_address_stays_out_of_what_is_printed_of_a_destination() -> None:
    assert "secret" not in repr(Destination("database", "postgresql://user:secret@host/name"))


async def test_a_worker_that_never_runs_lets_go_of_its_spool(chosen: Settings) -> None:
    for _ in range(2):
        async with service.recording(chosen) as worker:
            assert worker.spool.directory.name == "1"
