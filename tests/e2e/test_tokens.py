"""Deployments that let in by JSON Web Token: who has none, who has a wrong one, and whose token expires in a cut.

The server's clock is put ahead where a token has to expire: then no machine is too slow for the login before.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import jwt
import pytest
import pytest_asyncio

from tests.e2e import stored
from tests.e2e.breakable import breakable_way, through
from tests.e2e.conftest import People
from tests.e2e.recorder_process import RecorderProcess, folder_for_spool, recording, run
from tests.stack.client import Stack
from tests.stack.postgres import fetch
from tests.stack.proxy import Proxy

pytestmark = pytest.mark.asyncio(loop_scope="session")

SECRET = "a secret of the issuer and of the server"
CAPTURE_FAILED = 7
HOUR = 3600
DAY = 24 * HOUR


def token(room: str = "*", *, seconds: int = HOUR, secret: str = SECRET) -> str:
    """A token for a room that is valid for so long from now on."""
    return jwt.encode({"room": room, "exp": int(time.time()) + seconds}, secret, algorithm="HS256")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def running_stack() -> AsyncIterator[Stack]:
    async with Stack.start(hibernation_seconds=2, token_secret=SECRET) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def guarded_stack(running_stack: Stack) -> AsyncIterator[Stack]:
    """A stack that lets in by token only; its clock is right."""
    yield running_stack
    await running_stack.set_token_clock(0)


def _secret_parts(*texts: str) -> list[bytes]:
    """What may be found nowhere: claims and signature of each; the header is the same for all the world."""
    return [part.encode() for text in texts for part in text.split(".")[1:]]


async def _everything_in(database_url: str) -> bytes:
    """Everything in every table of the database, as text."""
    tables = await fetch(
        database_url,
        "SELECT table_name FROM information_schema.tables WHERE table_schema = 'meeta' AND table_type = 'BASE TABLE'",
    )
    assert tables
    texts = []
    for table in tables:
        rows = await fetch(database_url, f'SELECT t::text AS row FROM meeta."{table["table_name"]}" t')  # noqa: S608
        texts += [row["row"] for row in rows]
    return "\n".join(texts).encode()


def _files(folder: Path) -> bytes:
    """Everything in every file below; a recorder that runs may remove one just now."""
    texts = []
    for path in sorted(folder.rglob("*")):
        with contextlib.suppress(FileNotFoundError):
            texts += [path.read_bytes()] if path.is_file() else []
    return b"\n".join(texts)


def _said(recorder: RecorderProcess) -> bytes:
    """What it wrote to standard output and standard error."""
    return "\n".join([recorder.printed, *recorder.talk, *map(json.dumps, recorder.log)]).encode()


def _none_in(text: bytes, parts: list[bytes]) -> None:
    assert [part for part in parts if part in text] == []


@pytest.mark.parametrize(
    ("held", "reason", "said"),
    [
        (None, "authentication_required", "token required"),
        (token(secret="another secret than that of the server"), "token_rejected", "Invalid signature"),
        ("no token at all", "token_rejected", "Invalid token"),
        (token(seconds=-HOUR), "token_expired", "Not acceptable by exp"),
        (token("another-room", seconds=DAY), "not_allowed", "conference.connectionError.notAllowed"),
    ],
    ids=["none", "wrong signature", "no token", "expired", "for another room"],
)
async def test_who_has_no_good_token_is_told_so_in_one_line(
    guarded_stack: Stack, newest_database: str, tmp_path: Path, held: str | None, reason: str, said: str
) -> None:
    url = guarded_stack.room_url("admission")
    events = tmp_path / "events.jsonl"
    options = ["--jsonl", str(events)]
    if held is not None:
        file = tmp_path / "jwt"
        file.write_text(f"{held}\n")
        options += ["--jwt-file", str(file)]
    async with recording(url, "--database-url", newest_database, *options, **folder_for_spool(tmp_path)) as recorder:
        assert await recorder.ended() == CAPTURE_FAILED
    line, *summary = recorder.talk
    assert line.startswith(f"{url}  {reason.replace('_', ' ')}: {said}")
    assert [text.split()[1] for text in summary] == ["events,"]  # how many; no traceback
    last = json.loads(events.read_text().splitlines()[-1])
    assert (last["type"], last["payload"]["reason"]) == ("capture.ended", reason)
    if held is not None:
        parts = [held.encode(), *_secret_parts(held)]
        for text in (
            _said(recorder),
            events.read_bytes(),
            await _everything_in(newest_database),
            _files(tmp_path / "data"),
        ):
            _none_in(text, parts)


async def test_a_good_token_lets_in_and_is_found_nowhere_afterwards(
    guarded_stack: Stack, people: People, newest_database: str, tmp_path: Path
) -> None:
    room = "found-nowhere"
    url = guarded_stack.room_url(room)
    ada = await people.participant(url)
    await ada.join("Ada", jwt=token())
    file, events = tmp_path / "jwt", tmp_path / "events.jsonl"
    held = token(room)
    file.write_text(f"{held}\n")
    options = ("--jwt-file", str(file), "--jsonl", str(events), "--verbose")
    async with recording(url, "--database-url", newest_database, *options, **folder_for_spool(tmp_path)) as recorder:
        await recorder.logged("in the room")
        await ada.send_chat("hello")
        await recorder.until_stored(newest_database, "chat.message")
        while_it_runs = _files(tmp_path / "data")
        assert while_it_runs
        await recorder.stopped()
    kept = await _everything_in(newest_database)
    assert b"hello" in kept
    assert b"hello" in events.read_bytes()
    parts = _secret_parts(held)
    for text in (_said(recorder), events.read_bytes(), kept, while_it_runs, _files(tmp_path / "data")):
        _none_in(text, parts)
    assert stored.names(await stored.rows(newest_database), "participant.joined") == ["Ada"]
    await stored.assert_verified(newest_database)
    await ada.leave()


@asynccontextmanager
async def _cut_off(
    stack: Stack, people: People, database_url: str, tmp_path: Path, room: str, **environment: str
) -> AsyncIterator[tuple[RecorderProcess, Proxy, Path]]:
    """A recording whose signalling is cut until the server has given its session up, and its token has expired.

    Ada is in the room all the time, and Ben goes meanwhile. The proxy still refuses.
    """
    url = stack.room_url(room)
    ada, ben = await people.participant(url), await people.participant(url)
    await ada.join("Ada", jwt=token(seconds=DAY))
    await ben.join("Ben", jwt=token(seconds=DAY))
    file = tmp_path / "jwt"
    file.write_text(token())
    options = ("--database-url", database_url, "--jwt-file", str(file), "--json")
    environment = {**environment, **folder_for_spool(tmp_path)}
    async with breakable_way(stack) as proxy, recording(through(proxy, url), *options, **environment) as recorder:
        await recorder.logged("in the room")
        await recorder.until_named(database_url)
        (bot,) = [member for member in await stack.members(room) if member.name == "Event recorder"]
        proxy.refusing = True
        proxy.reset()
        await recorder.until_stored(database_url, "signalling.lost")
        await ada.wait_for_event("conference.userLeft", lambda who, *_: who == bot.endpoint_id)
        await ben.leave()
        await stack.set_token_clock(2 * HOUR)
        yield recorder, proxy, file
    await ada.leave()


# Seconds that lost signalling is given: the library itself then comes back first with the token that it has, or the
# bot has long given up that session when the server can be reached again.
BY_THE_LIBRARY, BY_A_NEW_LOGIN = "90", "1"
both_ways_back = pytest.mark.parametrize(
    "patience", [BY_THE_LIBRARY, BY_A_NEW_LOGIN], ids=["by the library", "by a new login"]
)


@both_ways_back
async def test_a_token_that_is_renewed_while_signalling_is_cut_lets_the_bot_back_in(
    guarded_stack: Stack, people: People, newest_database: str, tmp_path: Path, patience: str
) -> None:
    cut_off = _cut_off(
        guarded_stack, people, newest_database, tmp_path, f"renewed-{patience}", MEETA_SIGNALLING_TIMEOUT=patience
    )
    async with cut_off as (recorder, proxy, file):
        if patience == BY_A_NEW_LOGIN:
            await recorder.logged("room lost")
        renewed = token(seconds=DAY)
        file.write_text(renewed)
        proxy.restore()
        await recorder.logged("back in the room")
        await recorder.stopped()
    _none_in(_said(recorder), _secret_parts(renewed))
    rows = await _was_one_meeting_with_one_gap(newest_database)
    failures = stored.payloads(rows, "connection.failed")
    refused = [failure for failure in failures if "by exp" in (failure["message"] or "")]
    assert bool(refused) is (patience == BY_THE_LIBRARY)


async def test_a_token_that_is_being_written_is_waited_for(
    guarded_stack: Stack, people: People, newest_database: str, tmp_path: Path
) -> None:
    cut_off = _cut_off(guarded_stack, people, newest_database, tmp_path, "written")
    async with cut_off as (recorder, proxy, file):
        file.write_text("")
        proxy.restore()
        lost = await recorder.logged("room lost", times=2)  # by what the library had, and by a login without any
        assert lost["detail"] == "the file of the token holds none that can be read"
        file.write_text(token(seconds=DAY))
        await recorder.logged("back in the room")
        await recorder.stopped()
    await _was_one_meeting_with_one_gap(newest_database)


async def _was_one_meeting_with_one_gap(database_url: str) -> list[stored.Row]:
    """Ada's visit went on, and Ben's ended where nobody saw it; the events."""
    rows = await stored.rows(database_url)
    (gap,) = stored.gaps(rows)
    assert (gap["cause"], gap["lost"]) == ("signalling_lost", "everything")
    assert sorted(stored.names(rows, "participant.joined")) == ["Ada", "Ben"]
    assert stored.names(rows, "participant.left") == stored.names(rows, "participant.left", inferred=True) == ["Ben"]
    stored.assert_same_meeting_after_the_gap(rows)
    assert stored.payloads(rows, "capture.ended")[0]["reason"] == "operator"
    await stored.assert_verified(database_url)
    return rows


@both_ways_back
async def test_a_token_that_is_not_renewed_ends_the_capture_with_its_gap(
    guarded_stack: Stack, people: People, newest_database: str, tmp_path: Path, patience: str
) -> None:
    cut_off = _cut_off(
        guarded_stack, people, newest_database, tmp_path, f"not-renewed-{patience}", MEETA_SIGNALLING_TIMEOUT=patience
    )
    async with cut_off as (recorder, proxy, _):
        if patience == BY_A_NEW_LOGIN:
            await recorder.logged("room lost")
        proxy.restore()
        assert await recorder.ended() == CAPTURE_FAILED
    summary = json.loads(recorder.printed)
    assert summary["end_reason"] == "token_expired"
    assert summary["end_detail"].startswith("Not acceptable by exp")
    rows = await stored.rows(newest_database)
    assert [row["type"] for row in rows[-2:]] == ["capture.gap", "capture.ended"]
    (gap,) = stored.gaps(rows)
    assert (gap["cause"], gap["lost"]) == ("signalling_lost", "everything")
    assert stored.names(rows, "participant.left") == []
    await stored.assert_verified(newest_database)


async def test_the_doctor_logs_in_with_the_token_that_a_recording_would_use(
    guarded_stack: Stack, tmp_path: Path
) -> None:
    file = tmp_path / "jwt"
    file.write_text(token())
    url = guarded_stack.room_url("examined")
    database = {"MEETA_DATABASE_URL": "postgresql://127.0.0.1:1/none", **folder_for_spool(tmp_path)}
    for options, expected in (((), "failed"), (("--jwt-file", str(file)), "ok")):
        _, out, _ = await run("doctor", url, "--json", *options, **database)
        found = {line["name"]: line for line in map(json.loads, out.splitlines())}
        assert found["login"]["status"] == expected, found["login"]
        _none_in(out.encode(), _secret_parts(file.read_text()))
