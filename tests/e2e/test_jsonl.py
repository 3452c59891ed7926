"""``record --jsonl``: the same events in a file or a pipe, whatever becomes of the database."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from meeta_bot.events import chain
from tests.e2e.conftest import Deployment
from tests.e2e.recorder_process import folder_for_spool, recording, run

pytestmark = pytest.mark.asyncio(loop_scope="session")

NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"


def _events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


async def test_a_file_holds_what_the_database_holds(
    deployment: Deployment, newest_database: str, tmp_path: Path
) -> None:
    file = tmp_path / "events.jsonl"
    url = deployment.room_url(deployment.new_room())
    options = ("--database-url", newest_database, "--json", "--jsonl", str(file))
    async with recording(url, *options, **folder_for_spool(tmp_path)) as recorder:
        await recorder.logged("in the room")
        recorder.send(signal.SIGTERM)
        assert await recorder.ended() == 0
    summary = json.loads(recorder.printed)
    code, out, err = await run("events", summary["capture_id"], "--json", "--database-url", newest_database)
    assert code == 0, err
    lines = _events(file.read_text(encoding="utf-8"))
    assert lines[-1]["digest"] == summary["head_digest"]
    for line in lines:
        salt, commitment = bytes.fromhex(line.pop("salt")), bytes.fromhex(line.pop("commitment"))
        assert chain.commit(salt, chain.canonical_json(line["payload"])) == commitment
    assert lines == _events(out)


async def test_a_file_does_not_wait_for_the_database_nor_the_other_way_round(
    deployment: Deployment, newest_database: str, tmp_path: Path
) -> None:
    file = tmp_path / "events.jsonl"
    url = deployment.room_url(deployment.new_room())
    environment = {"MEETA_FLUSH_TIMEOUT": "1", **folder_for_spool(tmp_path)}
    async with recording(url, "--database-url", NOWHERE, "--json", "--jsonl", str(file), **environment) as recorder:
        await recorder.logged("in the room")
        recorder.send(signal.SIGTERM)
        assert await recorder.ended() == 75
    summary = json.loads(recorder.printed)
    assert [line["seq"] for line in _events(file.read_text())] == list(range(1, summary["events"] + 1))
    code, _, err = await run("spool", "flush", "--database-url", newest_database, **environment)
    assert code == 0, err
    code, out, err = await run("events", summary["capture_id"], "--json", "--database-url", newest_database)
    assert code == 0, err
    assert len(_events(out)) == summary["events"]


async def test_a_file_gets_from_a_flush_what_its_killed_recorder_owes_it(
    deployment: Deployment, newest_database: str, tmp_path: Path
) -> None:
    folder, away = tmp_path / "mounted", tmp_path / "away"
    folder.mkdir()
    file = folder / "events.jsonl"
    url = deployment.room_url(deployment.new_room())
    environment = folder_for_spool(tmp_path)
    async with recording(url, "--database-url", newest_database, "--jsonl", str(file), **environment) as recorder:
        capture_id = (await recorder.logged("in the room"))["capture"]
        recorder.send(signal.SIGKILL)
        assert await recorder.ended() == -signal.SIGKILL
    folder.rename(away)
    code, out, err = await run("spool", "flush", "--json", "--database-url", newest_database, **environment)
    assert code == 75, err
    assert str(file) in json.loads(out)["waits_for"][0]
    assert f"not delivered to JSON Lines ({file})" in err
    assert "--database-only" in err
    code, out, err = await run("spool", "status", **environment)
    assert f"for the database and {file}" in out, err
    away.rename(folder)
    code, _, err = await run("spool", "flush", "--database-url", newest_database, **environment)
    assert code == 0, err
    code, out, err = await run("events", capture_id, "--json", "--database-url", newest_database)
    assert code == 0, err
    lines = _events(file.read_text(encoding="utf-8"))
    assert [line["digest"] for line in lines] == [row["digest"] for row in _events(out)]
    assert lines[-1]["payload"]["reason"] == "process_killed"


async def test_a_pipe_whose_reader_has_seen_enough_ends_no_recording(
    deployment: Deployment, newest_database: str, tmp_path: Path
) -> None:
    url = deployment.room_url(deployment.new_room())
    options = ("--jsonl", "-", "--database-url", newest_database)
    async with recording(url, *options, **folder_for_spool(tmp_path)) as recorder:
        first = json.loads(await recorder.prints())
        assert (first["type"], first["seq"]) == ("capture.started", 1)
        recorder.look_away()
        await recorder.logged("JSON Lines gone, no more is written to it")
        await recorder.logged("in the room")
        recorder.send(signal.SIGTERM)
        assert await recorder.ended() == 0
    code, out, err = await run("events", first["capture_id"], "--json", "--database-url", newest_database)
    assert code == 0, err
    assert _events(out)[-1]["type"] == "capture.ended"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--jsonl", "-", "--json"), "both write to standard output"),
        (("--jsonl", "/"), "/"),
        (("--jsonl", "/no/such/folder/events.jsonl"), "/no/such/folder"),
    ],
    ids=["twice standard output", "a folder", "no folder"],
)
async def test_a_file_that_cannot_be_written_is_told_before_anything_is_recorded(
    arguments: tuple[str, ...], says: str
) -> None:
    code, out, err = await run("record", "https://meet.example.org/room", *arguments)
    assert (code, out) == (2, "")
    assert says in err
    assert len([line for line in err.splitlines() if line.startswith("error:")]) == 1
