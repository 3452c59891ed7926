"""Every capture ends, for the reason that it has: deadlines, crashes, and cuts that are no end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Deployment, People
from tests.e2e.recorder_process import EXIT_TIMEOUT, RecorderProcess, folder_for_spool, recording, run
from tests.stack.client import Stack
from tests.stack.process_tree import browser, descendants, driver, is_alive, renderers

pytestmark = pytest.mark.asyncio(loop_scope="session")


_PROCESSES = {"renderer": lambda pid: renderers(pid)[0], "browser": browser}


async def _end(recorder: RecorderProcess) -> dict[str, Any]:
    await recorder.ended()
    summary: dict[str, Any] = json.loads(recorder.printed)
    return summary


@pytest.mark.parametrize(
    ("setting", "reason"),
    [("MEETA_MAX_DURATION", "max_duration"), ("MEETA_NOBODY_CAME_TIMEOUT", "nobody_came")],
)
async def test_a_bot_that_waits_in_vain_leaves(
    deployment: Deployment, newest_database: str, tmp_path: Path, setting: str, reason: str
) -> None:
    arguments = (deployment.room_url(deployment.new_room()), "--database-url", newest_database, "--json")
    async with recording(*arguments, **{setting: "3"}, **folder_for_spool(tmp_path)) as recorder:
        assert (await _end(recorder))["end_reason"] == reason
        assert await recorder.ended() == 0


async def test_a_focus_that_never_answers_ends_at_the_join_deadline(
    stack: Stack, newest_database: str, tmp_path: Path
) -> None:
    await stack.inject_conference_error("silence", room="silent-focus", times=100)
    arguments = (stack.room_url("silent-focus"), "--database-url", newest_database, "--json")
    async with recording(*arguments, MEETA_JOIN_TIMEOUT="3", **folder_for_spool(tmp_path)) as recorder:
        assert (await _end(recorder))["end_reason"] == "join_timeout"
        assert await recorder.ended() == 7


@pytest.mark.parametrize(("process", "reason"), [("renderer", "page_crashed"), ("browser", "browser_crashed")])
async def test_one_crash_too_many_ends_the_capture_and_keeps_what_was_seen(
    deployment: Deployment, people: People, newest_database: str, tmp_path: Path, process: str, reason: str
) -> None:
    url = deployment.room_url(deployment.new_room())
    ada = await people.participant(url)
    await ada.join("Ada")
    environment = {"MEETA_CRASHES_LIMIT": "2", **folder_for_spool(tmp_path)}
    async with recording(url, "--database-url", newest_database, "--json", **environment) as recorder:
        await recorder.logged("in the room")
        os.kill(_PROCESSES[process](recorder.pid), signal.SIGKILL)
        await recorder.logged("back in the room")
        os.kill(_PROCESSES[process](recorder.pid), signal.SIGKILL)
        assert (await _end(recorder))["end_reason"] == reason
        assert await recorder.ended() == 7
    code, out, err = await run("participants", "latest", "--json", "--database-url", newest_database)
    assert code == 0, err
    assert [json.loads(line)["display_name"] for line in out.splitlines()] == ["Ada"]
    await ada.leave()


async def _until_gone(pids: list[int]) -> None:
    async with asyncio.timeout(EXIT_TIMEOUT):
        while any(is_alive(pid) for pid in pids):  # noqa: ASYNC110 - they are nobody's children any more
            await asyncio.sleep(0.05)


def _all_of(pid: int) -> list[int]:
    return [pid, *(child for child, _ in descendants(pid))]


_STOPS: dict[str, Callable[[int], list[tuple[int, signal.Signals]]]] = {
    "SIGTERM": lambda pid: [(pid, signal.SIGTERM)],
    "SIGINT to all": lambda pid: [(one, signal.SIGINT) for one in _all_of(pid)],
    "SIGTERM to all": lambda pid: [(one, signal.SIGTERM) for one in _all_of(pid)],
    "SIGINT and SIGTERM": lambda pid: [(pid, signal.SIGINT), (pid, signal.SIGTERM)],
}
_FAULTS: dict[str, Callable[[int], list[tuple[int, signal.Signals]]]] = {
    "nothing": lambda _: [],
    "browser": lambda pid: [(browser(pid), signal.SIGKILL)],
    "renderer": lambda pid: [(renderers(pid)[0], signal.SIGKILL)],
    "driver": lambda pid: [(driver(pid), signal.SIGKILL)],
}


@pytest.mark.parametrize(
    ("stop", "fault", "order"),
    [
        ("SIGTERM", "browser", "stop first"),
        ("SIGTERM", "browser", "fault first"),
        ("SIGTERM", "renderer", "stop first"),
        ("SIGTERM", "driver", "fault first"),
        ("SIGTERM to all", "nothing", "stop first"),
        ("SIGINT to all", "browser", "stop first"),
        ("SIGINT and SIGTERM", "driver", "stop first"),
    ],
)
async def test_who_is_told_to_leave_starts_nothing_whatever_dies_at_that_moment(
    deployment: Deployment, newest_database: str, tmp_path: Path, stop: str, fault: str, order: str
) -> None:
    url = deployment.room_url(deployment.new_room())
    async with recording(url, "--database-url", newest_database, "--json", **folder_for_spool(tmp_path)) as recorder:
        await recorder.logged("in the room")
        started = [pid for pid, _ in descendants(recorder.pid)]
        signals = [_STOPS[stop](recorder.pid), _FAULTS[fault](recorder.pid)]
        for pid, number in [one for part in (signals if order == "stop first" else signals[::-1]) for one in part]:
            os.kill(pid, number)
        assert (await _end(recorder))["end_reason"] == "operator"
        assert await recorder.ended() == 0, (recorder.log, recorder.talk)
        await _until_gone(started)
    events = [line["event"] for line in recorder.log]
    assert events.count("Chromium started") == 1
    assert events.count("in the room") == 1
    assert "back in the room" not in events
    assert [line for line in recorder.log if line["level"] == "error"] == []
    assert [line for line in recorder.talk if "Traceback" in line or "never" in line] == []


async def test_a_short_cut_of_signalling_is_no_end_and_loses_nothing(
    stack: Stack, people: People, newest_database: str, tmp_path: Path
) -> None:
    url = stack.room_url("short-cut")
    ada = await people.participant(url)
    await ada.join("Ada")
    environment = {"MEETA_LEFT_ALONE_GRACE": "1", **folder_for_spool(tmp_path)}
    async with recording(url, "--database-url", newest_database, "--json", **environment) as recorder:
        await recorder.logged("in the room")
        seen = len(ada.events)
        assert await stack.cut_signalling() >= 2  # hers and the bot's; others may still be on their way out
        await ada.wait_for_event("connection.connectionEstablished", after=seen)
        await ada.send_chat("after the cut")
        await ada.leave()
        assert (await _end(recorder))["end_reason"] == "left_alone"
    code, out, err = await run("events", "latest", "--json", "--database-url", newest_database)
    assert code == 0, err
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["payload"]["text"] for row in rows if row["type"] == "chat.message"] == ["after the cut"]
    assert [row["type"] for row in rows].count("participant.joined") == 1
    assert [row["payload"]["cause"] for row in rows if row["type"] == "participant.left"] == ["left"]
