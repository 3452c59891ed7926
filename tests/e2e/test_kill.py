"""Kill the recorder whenever you like: what it had on disk is stored once, in order, and the log says where it ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from meeta_bot.capture.spool import unpack
from meeta_bot.events import SealedEvent
from meeta_bot.events.document import EventRow
from tests.e2e.conftest import Deployment, People
from tests.e2e.recorder_process import LOG_TIMEOUT, folder_for_spool, reading, recording, run
from tests.stack.client import Stack
from tests.stack.participant import Participant
from tests.stack.process_tree import descendants, is_alive

pytestmark = pytest.mark.asyncio(loop_scope="session")

BURST = 400  # chat messages; the kill comes somewhere among them
SEEN_BEFORE_KILL = 40  # of them in the database, so that some are stored, some spooled, some on their way
ORPHANS_TIMEOUT = 10  # seconds; bounds a wait
WINDOW = 0.2  # seconds; a second signal within it would be taken for the first
NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"


async def _burst(person: Participant, count: int) -> None:
    """Send many messages as fast as the page can."""
    await asyncio.gather(*(person.send_chat(f"burst {number}") for number in range(count)))


async def _until_gone(pids: list[int]) -> None:
    """A killed recorder leaves no Chromium behind, nor the driver between them."""
    assert pids
    async with asyncio.timeout(ORPHANS_TIMEOUT):
        while any(is_alive(pid) for pid in pids):  # noqa: ASYNC110 - they are nobody's children any more
            await asyncio.sleep(0.05)


async def _texts(database_url: str, capture_id: str) -> list[str]:
    rows = await _rows(database_url, capture_id)
    payloads = [json.loads(row.payload) for row in rows if row.type == "chat.message" and row.payload]
    return [payload["text"] for payload in payloads]


async def _rows(database_url: str, capture_id: str) -> list[EventRow]:
    async with reading(database_url) as reader:
        return [row async for row in reader.all_events([capture_id])]


async def _until_stored(database_url: str, capture_id: str, messages: int) -> None:
    async with reading(database_url) as reader, asyncio.timeout(LOG_TIMEOUT):
        while (await reader.counts([capture_id])).get("chat.message", 0) < messages:  # noqa: ASYNC110
            await asyncio.sleep(0.01)  # another process fills the table


def _spooled(data_directory: Path) -> tuple[dict[str, int], list[SealedEvent]]:
    """Last acknowledged number of each open capture, and the events, as the killed process left them on disk."""
    (spool,) = (data_directory / "spool").glob("*/events.sqlite3")
    with sqlite3.connect(spool) as database:
        last = dict(database.execute("SELECT capture_id, last_seq FROM captures WHERE ended = 0").fetchall())
        blocks = database.execute("SELECT sealed, count FROM events ORDER BY ordinal").fetchall()
    return last, [event for sealed, count in blocks for event in unpack(sealed, count)]


async def test_a_recorder_that_is_killed_in_a_burst_loses_nothing_that_was_on_disk(
    deployment: Deployment, people: People, newest_database: str, tmp_path: Path
) -> None:
    url = deployment.room_url(deployment.new_room())
    person = await people.participant(url)
    await person.join("Ada")
    environment = folder_for_spool(tmp_path)
    async with recording(url, "--database-url", newest_database, **environment) as recorder:
        capture_id = (await recorder.logged("in the room"))["capture"]
        burst = asyncio.create_task(_burst(person, BURST))
        await _until_stored(newest_database, capture_id, SEEN_BEFORE_KILL)
        started = [pid for pid, _ in descendants(recorder.pid)]
        recorder.send(signal.SIGKILL)
        assert await recorder.ended() == -signal.SIGKILL
        await _until_gone(started)
    await burst
    last, spooled = _spooled(tmp_path / "data")
    stored_before = await _rows(newest_database, capture_id)
    on_disk = {row.seq for row in stored_before} | {event.seq for event in spooled}
    assert on_disk == set(range(1, last[capture_id] + 1))

    code, out, err = await run("spool", "flush", "--json", "--database-url", newest_database, **environment)
    assert code == 0, err
    assert json.loads(out)["captures_ended"] == 1
    rows = await _rows(newest_database, capture_id)
    assert [row.seq for row in rows] == list(range(1, last[capture_id] + 3))
    assert [row.type for row in rows[-2:]] == ["capture.gap", "capture.ended"]
    assert json.loads(rows[-1].payload or "")["reason"] == "process_killed"
    texts = await _texts(newest_database, capture_id)
    assert texts == [f"burst {number}" for number in range(len(texts))]
    assert len(texts) >= SEEN_BEFORE_KILL
    await _same_meeting_again(person, url, newest_database, environment)


async def _same_meeting_again(person: Participant, url: str, database_url: str, environment: dict[str, str]) -> None:
    """A recorder that is started again is another capture of the same meeting."""
    async with recording(url, "--database-url", database_url, **environment) as recorder:
        await recorder.logged("in the room")
        recorder.send(signal.SIGTERM)
        assert await recorder.ended() == 0, recorder.talk
    code, out, err = await run("meetings", "--json", "--database-url", database_url)
    assert code == 0, err
    (meeting,) = map(json.loads, out.splitlines())
    assert len(meeting["capture_ids"]) == 2
    await person.leave()


async def test_a_database_that_is_away_is_said_and_waited_for(
    deployment: Deployment, people: People, newest_database: str, tmp_path: Path
) -> None:
    url = deployment.room_url(deployment.new_room())
    person = await people.participant(url)
    await person.join("Ada")
    environment = {"MEETA_FLUSH_TIMEOUT": "1", **folder_for_spool(tmp_path)}
    async with recording(url, "--database-url", NOWHERE, **environment) as recorder:
        await recorder.logged("database unavailable, recording into the spool")
        await recorder.logged("in the room")
        await person.send_chat("nobody stores this yet")
        await person.leave()
        recorder.send(signal.SIGINT)
        assert await recorder.ended() == 75
    assert any("remain in the spool" in line for line in recorder.talk)

    code, _, err = await run("spool", "flush", "--database-url", newest_database, **folder_for_spool(tmp_path))
    assert code == 0, err
    code, out, err = await run("events", "latest", "--json", "--database-url", newest_database)
    assert code == 0, err
    types = [json.loads(line)["type"] for line in out.splitlines()]
    assert types[0] == "capture.started"
    assert types[-1] == "capture.ended"
    assert "chat.message" in types


async def test_the_second_signal_stops_at_once_and_loses_nothing(
    stack: Stack, people: People, newest_database: str, tmp_path: Path
) -> None:
    url = stack.room_url("twice")
    person = await people.participant(url)
    await person.join("Ada")
    environment = {
        "MEETA_FLUSH_TIMEOUT": "600",
        "MEETA_LEAVE_TIMEOUT": "60",
        "MEETA_STOP_SIGNALS_WINDOW": str(WINDOW),
        **folder_for_spool(tmp_path),
    }
    async with recording(url, "--database-url", newest_database, **environment) as recorder:
        await recorder.logged("in the room")
        await stack.prosody("freeze")  # so that leaving takes its time
        try:
            recorder.send(signal.SIGINT)
            await recorder.logged("leaving")
            await asyncio.sleep(2 * WINDOW)  # what comes at once is the same signal, passed on
            recorder.send(signal.SIGINT)
            assert await recorder.ended() == 75
        finally:
            await stack.prosody("thaw")
    code, _, err = await run("spool", "flush", "--database-url", newest_database, **environment)
    assert code == 0, err
    code, out, _ = await run("events", "latest", "--json", "--database-url", newest_database)
    rows: list[dict[str, Any]] = [json.loads(line) for line in out.splitlines()]
    assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
    assert rows[-1]["payload"]["reason"] == "process_killed"
    await person.leave()


async def test_the_embedded_database_that_is_killed_comes_back_while_the_recording_goes_on(
    deployment: Deployment, people: People, data: dict[str, str]
) -> None:
    url = deployment.room_url(deployment.new_room())
    person = await people.participant(url)
    await person.join("Ada")
    pid_file = Path(data["MEETA_DATA_DIRECTORY"]) / "postgres/data/postmaster.pid"
    async with recording(url, "--verbose", **data) as recorder:
        await recorder.logged("in the room")
        await recorder.logged("batch stored")
        os.kill(int(pid_file.read_text().split()[0]), signal.SIGKILL)
        await person.send_chat("stored in the end")
        await recorder.logged("database available again")
        recorder.send(signal.SIGINT)
        assert await recorder.ended() == 0, recorder.talk
    code, out, err = await run("events", "latest", "--type", "chat.message", "--json", **data)
    assert code == 0, err
    (message,) = map(json.loads, out.splitlines())
    assert message["payload"]["text"] == "stored in the end"
    await person.leave()


async def test_one_process_records_many_rooms_and_keeps_them_apart(
    deployment: Deployment, people: People, newest_database: str, tmp_path: Path
) -> None:
    rooms = [deployment.new_room() for _ in range(3)]
    urls = [deployment.room_url(room) for room in rooms]
    async with recording(*urls, "--database-url", newest_database, "--json", **folder_for_spool(tmp_path)) as recorder:
        await recorder.logged("in the room", times=len(rooms))
        talkers = [await people.participant(url) for url in urls]
        for room, talker in zip(rooms, talkers, strict=True):
            await talker.join(f"Talker of {room}")
        await asyncio.gather(*(talker.send_chat(room) for room, talker in zip(rooms, talkers, strict=True)))
        for talker in talkers:
            await talker.leave()
        recorder.send(signal.SIGINT)
        assert await recorder.ended() == 0, recorder.talk
    captures = [json.loads(line) for line in recorder.printed.splitlines()]
    assert [await _texts(newest_database, capture["capture_id"]) for capture in captures] == [[room] for room in rooms]
    assert len({capture["meeting_id"] for capture in captures}) == len(rooms)
