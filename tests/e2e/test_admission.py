"""What the bot does where it can't get in, and where it is thrown out: one line, the right exit code, a typed end."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Deployment, People
from tests.e2e.recorder_process import RecorderProcess, folder_for_spool, recording
from tests.stack.client import Shape, Stack

pytestmark = pytest.mark.asyncio(loop_scope="session")

CAPTURE_FAILED = 7


@asynccontextmanager
async def _bot(url: str, database_url: str, tmp_path: Path, *options: str) -> AsyncIterator[RecorderProcess]:
    arguments = (url, "--database-url", database_url, "--json", *options)
    async with recording(*arguments, **folder_for_spool(tmp_path)) as recorder:
        yield recorder


async def _summary(recorder: RecorderProcess) -> dict[str, Any]:
    await recorder.ended()
    summary: dict[str, Any] = json.loads(recorder.printed)
    return summary


@pytest.mark.parametrize(("shape", "reason"), [("nolibrary", "not_jitsi"), ("notjitsi", "not_jitsi")])
async def test_a_page_that_is_no_jitsi_is_told_apart(
    stack: Stack, newest_database: str, tmp_path: Path, shape: Shape, reason: str
) -> None:
    async with _bot(stack.room_url("anywhere", shape), newest_database, tmp_path) as recorder:
        assert await recorder.ended() == CAPTURE_FAILED
    assert json.loads(recorder.printed)["end_reason"] == reason


async def test_the_inlined_page_of_docker_deployments_is_joined_and_its_application_does_not_run(
    stack: Stack, newest_database: str, tmp_path: Path
) -> None:
    async with _bot(stack.room_url("inlined-room", "inlined"), newest_database, tmp_path) as recorder:
        await recorder.logged("in the room")
        members = await stack.members("inlined-room")
        recorder.send(signal.SIGTERM)
        assert await recorder.ended() == 0
    assert [member.name for member in members] == ["Event recorder"]


async def test_a_locked_room_is_entered_with_the_password_only(
    deployment: Deployment, people: People, newest_database: str, tmp_path: Path
) -> None:
    url = deployment.room_url(deployment.new_room())
    ada = await people.participant(url)
    await ada.join("Ada")
    await ada.lock("open sesame")
    async with _bot(url, newest_database, tmp_path) as recorder:
        assert (await _summary(recorder))["end_reason"] == "password_required"
    secret = tmp_path / "password"
    secret.write_text("wrong\n")
    async with _bot(url, newest_database, tmp_path, "--password-file", str(secret)) as recorder:
        assert (await _summary(recorder))["end_reason"] == "password_incorrect"
    secret.write_text("open sesame\n")
    async with _bot(url, newest_database, tmp_path, "--password-file", str(secret)) as recorder:
        await recorder.logged("in the room")
        recorder.send(signal.SIGTERM)
        assert (await _summary(recorder))["end_reason"] == "operator"
    assert "open sesame" not in json.dumps(recorder.log)
    await ada.leave()


async def test_the_bot_waits_in_a_lobby_until_it_is_let_in(
    deployment: Deployment, people: People, newest_database: str, tmp_path: Path
) -> None:
    url = deployment.room_url(deployment.new_room())
    ada = await people.participant(url)
    await ada.join("Ada")
    await ada.enable_lobby()
    async with _bot(url, newest_database, tmp_path) as recorder:
        await recorder.logged("waiting in the lobby")
        knock = await ada.wait_for_event("conference.lobby.userJoined")
        await ada.lobby_approve(knock.args[0])
        await recorder.logged("in the room")
        recorder.send(signal.SIGTERM)
        assert await recorder.ended() == 0
    await ada.leave()


async def test_a_bot_that_is_removed_says_so_and_ends(
    deployment: Deployment, people: People, newest_database: str, tmp_path: Path
) -> None:
    url = deployment.room_url(deployment.new_room())
    ada = await people.participant(url)
    await ada.join("Ada")
    async with _bot(url, newest_database, tmp_path) as recorder:
        await recorder.logged("in the room")
        bot = await ada.wait_for_event("conference.userJoined")
        await ada.kick(bot.args[0], "no bots")
        summary = await _summary(recorder)
    assert (summary["end_reason"], summary["end_detail"]) == ("kicked", "no bots")
    await ada.leave()


async def test_the_end_of_a_meeting_ends_the_capture(
    stack: Stack, people: People, newest_database: str, tmp_path: Path
) -> None:
    url = stack.room_url("ended-room")
    ada = await people.participant(url)
    await ada.join("Ada")
    async with _bot(url, newest_database, tmp_path) as recorder:
        await recorder.logged("in the room")
        await stack.destroy_room("ended-room")
        assert await recorder.ended() == 0
    assert json.loads(recorder.printed)["end_reason"] == "meeting_ended"
