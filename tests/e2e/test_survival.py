"""What a recording survives, and what its log says of the moments in which it could not see.

Faults of signalling are made by a proxy that only the bot goes through, so that the people in the room notice nothing.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from scripts.chaos.proxy import Proxy
from tests.e2e.conftest import People
from tests.e2e.processes import browser, renderers
from tests.e2e.recorder_process import RecorderProcess, folder_for_spool, recording, run
from tests.stack.client import Stack

pytestmark = pytest.mark.asyncio(loop_scope="session")

Row = dict[str, Any]


async def _rows(database_url: str, room: str = "latest") -> list[Row]:
    code, out, err = await run("events", room, "--json", "--database-url", database_url)
    assert code == 0, err
    return [json.loads(line) for line in out.splitlines()]


def _payloads(rows: list[Row], event_type: str) -> list[Row]:
    return [row["payload"] for row in rows if row["type"] == event_type]


def _gaps(rows: list[Row]) -> list[Row]:
    """What could not be seen since the bot was first in the room."""
    return [gap for gap in _payloads(rows, "capture.gap") if gap["cause"] != "late_join"]


def _names(rows: list[Row], event_type: str, **fields: Any) -> list[str]:
    """The names of those that events of a type are about, if their envelope has these fields."""
    names = {row["endpoint_id"]: row["payload"]["display_name"] for row in rows if row["type"] == "participant.joined"}
    chosen = [row for row in rows if row["type"] == event_type and fields.items() <= row.items()]
    return [names[row["endpoint_id"]] for row in chosen]


def _texts(rows: list[Row]) -> list[str]:
    return [payload["text"] for payload in _payloads(rows, "chat.message")]


async def _verified(database_url: str) -> None:
    code, out, err = await run("verify", "--all", "--database-url", database_url)
    assert code == 0, out + err


async def _stopped(recorder: RecorderProcess) -> None:
    """End the recording as an operator does; what remains to be read is in the database then."""
    recorder.send(signal.SIGTERM)
    assert await recorder.ended() == 0, (recorder.log, recorder.talk)


@asynccontextmanager
async def _proxy(stack: Stack) -> AsyncIterator[Proxy]:
    """A way to the stack that can be broken."""
    place = urlsplit(stack.url)
    proxy = Proxy(lambda: asyncio.open_connection(place.hostname, place.port))
    await proxy.open()
    try:
        yield proxy
    finally:
        await proxy.close()


def _through(proxy: Proxy, room_url: str) -> str:
    return urlsplit(room_url)._replace(netloc=f"127.0.0.1:{proxy.port}").geturl()


async def test_a_renderer_that_crashes_is_replaced_and_visits_go_on(
    stack: Stack, people: People, newest_database: str, tmp_path: Path
) -> None:
    url = stack.room_url("renderer-crash")
    ada, ben = await people.participant(url), await people.participant(url)
    await ada.join("Ada")
    await ben.join("Ben")
    async with recording(url, "--database-url", newest_database, **folder_for_spool(tmp_path)) as recorder:
        await recorder.logged("in the room")
        os.kill(renderers(recorder.pid)[0], signal.SIGKILL)
        await recorder.logged("room lost")
        await recorder.logged("back in the room")
        await ada.send_chat("after the crash")
        await ben.leave()
        await recorder.until_stored(newest_database, "participant.left")
        await _stopped(recorder)
    rows = await _rows(newest_database)
    (gap,) = _gaps(rows)
    assert (gap["cause"], gap["lost"]) == ("page_crashed", "everything")
    assert gap["from_at"] <= gap["to_at"]
    assert sorted(_names(rows, "participant.joined")) == ["Ada", "Ben"]
    assert _names(rows, "participant.left") == ["Ben"]
    assert _texts(rows) == ["after the crash"]
    await _verified(newest_database)
    await ada.leave()


async def test_a_browser_that_is_killed_is_replaced_and_all_its_rooms_are_back(
    stack: Stack, people: People, newest_database: str, tmp_path: Path
) -> None:
    urls = [stack.room_url(f"browser-crash-{number}") for number in range(3)]
    ada = await people.participant(urls[0])
    await ada.join("Ada")
    environment = {"MEETA_ROOMS_PER_PAGE": "2", **folder_for_spool(tmp_path)}
    async with recording(*urls, "--database-url", newest_database, **environment) as recorder:
        await recorder.logged("in the room", times=3)
        os.kill(browser(recorder.pid), signal.SIGKILL)
        await recorder.logged("back in the room", times=3)
        await ada.send_chat("after the crash")
        await recorder.until_stored(newest_database, "chat.message")
        await _stopped(recorder)
    for number in range(3):
        (gap,) = _gaps(await _rows(newest_database, f"browser-crash-{number}"))
        assert (gap["cause"], gap["lost"]) == ("browser_crashed", "everything")
    rows = await _rows(newest_database, "browser-crash-0")
    assert _names(rows, "participant.joined") == ["Ada"]
    assert _texts(rows) == ["after the crash"]
    await _verified(newest_database)
    await ada.leave()


async def test_a_page_that_hangs_counts_as_crashed(
    stack: Stack, people: People, newest_database: str, tmp_path: Path
) -> None:
    url = stack.room_url("hung")
    ada = await people.participant(url)
    await ada.join("Ada")
    environment = {"MEETA_PAGE_HEARTBEAT_MS": "200", "MEETA_PAGE_HUNG_TIMEOUT": "2", **folder_for_spool(tmp_path)}
    async with recording(url, "--database-url", newest_database, **environment) as recorder:
        await recorder.logged("in the room")
        os.kill(renderers(recorder.pid)[0], signal.SIGSTOP)
        assert (await recorder.logged("room lost"))["cause"] == "page_hung"
        await recorder.logged("back in the room")
        await ada.send_chat("after the hang")
        await recorder.until_stored(newest_database, "chat.message")
        await _stopped(recorder)
    rows = await _rows(newest_database)
    (gap,) = _gaps(rows)
    assert (gap["cause"], gap["lost"]) == ("page_hung", "everything")
    assert gap["to_ms"] - gap["from_ms"] >= 2000
    await _verified(newest_database)
    await ada.leave()


async def test_a_recorder_that_was_stopped_for_a_while_says_so_and_loses_nothing(
    stack: Stack, people: People, newest_database: str, tmp_path: Path
) -> None:
    url = stack.room_url("suspended")
    ada = await people.participant(url)
    await ada.join("Ada")
    environment = {"MEETA_STALL_TOLERANCE": "1", **folder_for_spool(tmp_path)}
    async with recording(url, "--database-url", newest_database, **environment) as recorder:
        await recorder.logged("in the room")
        recorder.send(signal.SIGSTOP)
        await ada.send_chat("while nobody listens")
        await asyncio.sleep(4)  # what is tested is that so much time passes
        recorder.send(signal.SIGCONT)
        await recorder.logged("the process stood still")
        await recorder.until_stored(newest_database, "capture.gap", times=2)  # the first: it came late
        await recorder.until_stored(newest_database, "chat.message")
        await _stopped(recorder)
    rows = await _rows(newest_database)
    (gap,) = _gaps(rows)
    assert (gap["cause"], gap["lost"]) == ("host_suspended", "nothing")
    assert _texts(rows) == ["while nobody listens"]
    await _verified(newest_database)
    await ada.leave()


async def test_a_short_cut_is_resumed_and_nothing_is_lost(
    stack: Stack, people: People, newest_database: str, tmp_path: Path
) -> None:
    url = stack.room_url("short-cut-of-the-bot")
    ada = await people.participant(url)
    await ada.join("Ada")
    async with (
        _proxy(stack) as proxy,
        recording(_through(proxy, url), "--database-url", newest_database, **folder_for_spool(tmp_path)) as recorder,
    ):
        await recorder.logged("in the room")
        proxy.reset()
        await ada.send_chat("meanwhile")
        await recorder.until_stored(newest_database, "signalling.restored")
        await recorder.until_stored(newest_database, "chat.message")
        await _stopped(recorder)
    rows = await _rows(newest_database)
    (gap,) = _gaps(rows)
    assert (gap["cause"], gap["lost"]) == ("signalling_resumed", "nothing")
    types = [row["type"] for row in rows]
    assert types.index("signalling.lost") < types.index("signalling.restored")
    assert _names(rows, "participant.joined") == ["Ada"]
    assert _texts(rows) == ["meanwhile"]
    await _verified(newest_database)
    await ada.leave()


async def test_after_a_long_cut_the_log_says_what_changed_meanwhile(
    stack: Stack, people: People, newest_database: str, tmp_path: Path
) -> None:
    """The cut lasts until the server has given the bot's session up, and the bot its connection."""
    url = stack.room_url("long-cut-of-the-bot")
    environment = {"MEETA_SIGNALLING_TIMEOUT": "5", **folder_for_spool(tmp_path)}
    ada, ben, eve = [await people.participant(url) for _ in range(3)]
    await ada.join("Ada")
    await ben.join("Ben")
    async with (
        _proxy(stack) as proxy,
        recording(_through(proxy, url), "--database-url", newest_database, **environment) as recorder,
    ):
        await recorder.logged("in the room")
        await recorder.until_named(newest_database)
        proxy.refusing = True
        proxy.reset()
        await recorder.until_stored(newest_database, "signalling.lost")
        await ben.leave()
        await eve.join("Eve")
        await ada.rename("Ada Lovelace")
        await recorder.logged("room lost")
        proxy.restore()
        await recorder.logged("back in the room")
        await ada.send_chat("welcome back")
        await recorder.until_stored(newest_database, "chat.message")
        await _stopped(recorder)
    rows = await _rows(newest_database)
    (gap,) = _gaps(rows)
    assert (gap["cause"], gap["lost"]) == ("signalling_lost", "everything")
    assert sorted(_names(rows, "participant.joined", inferred=False)) == ["Ada", "Ben"]
    assert _names(rows, "participant.joined", inferred=True) == ["Eve"]
    assert _names(rows, "participant.left", inferred=True) == ["Ben"]
    assert _names(rows, "participant.left", inferred=False) == []
    assert [row["payload"]["new_name"] for row in rows if row["type"] == "participant.renamed" and row["inferred"]] == [
        "Ada Lovelace"
    ]
    lost = next(row["seq"] for row in rows if row["type"] == "capture.reconnecting")
    before = _payloads([row for row in rows if row["seq"] < lost], "meeting.identified")
    assert _payloads(rows, "meeting.identified")[-1]["meeting_id"] == before[-1]["meeting_id"]
    await _verified(newest_database)
    for person in (ada, eve):
        await person.leave()


@pytest.mark.parametrize("action", ["restart", "kill"])
async def test_a_server_that_is_started_again_is_joined_again(
    own_stack: Stack, people: People, newest_database: str, tmp_path: Path, action: str
) -> None:
    url = own_stack.room_url(f"server-{action}")
    environment = {"MEETA_SIGNALLING_TIMEOUT": "5", **folder_for_spool(tmp_path)}
    async with recording(url, "--database-url", newest_database, **environment) as recorder:
        await recorder.logged("in the room")
        if action == "kill":
            await own_stack.prosody("kill")
            await recorder.logged("room lost")
            await own_stack.prosody("start")
        else:
            await own_stack.prosody("restart")
        await recorder.logged("back in the room")
        ada = await people.participant(url)
        await ada.join("Ada")
        await recorder.until_stored(newest_database, "participant.joined")
        await _stopped(recorder)
    rows = await _rows(newest_database)
    assert {gap["lost"] for gap in _gaps(rows)} == {"everything"}
    assert _names(rows, "participant.joined") == ["Ada"]
    await _verified(newest_database)
    await ada.leave()


async def test_a_server_that_freezes_is_noticed_and_goes_on_as_before(
    own_stack: Stack, people: People, newest_database: str, tmp_path: Path
) -> None:
    url = own_stack.room_url("frozen")
    ada = await people.participant(url)
    await ada.join("Ada")
    environment = {"MEETA_SIGNALLING_SILENCE_MS": "12000", **folder_for_spool(tmp_path)}
    async with recording(url, "--database-url", newest_database, **environment) as recorder:
        await recorder.logged("in the room")
        await own_stack.prosody("freeze")
        await recorder.logged("signalling lost")
        await own_stack.prosody("thaw")
        await recorder.until_stored(newest_database, "signalling.restored")
        await ada.send_chat("thawed")
        await recorder.until_stored(newest_database, "chat.message")
        await _stopped(recorder)
    rows = await _rows(newest_database)
    (gap,) = _gaps(rows)
    assert (gap["cause"], gap["lost"]) == ("signalling_resumed", "nothing")
    assert _names(rows, "participant.joined") == ["Ada"]
    await _verified(newest_database)
    await ada.leave()


async def test_a_room_that_can_t_be_found_again_ends_the_capture_with_its_gap(
    stack: Stack, people: People, newest_database: str, tmp_path: Path
) -> None:
    url = stack.room_url("never-back")
    ada = await people.participant(url)
    await ada.join("Ada")
    environment = {
        "MEETA_RECONNECT_TIMEOUT": "3",
        "MEETA_SIGNALLING_TIMEOUT": "1",
        **folder_for_spool(tmp_path),
    }
    async with (
        _proxy(stack) as proxy,
        recording(_through(proxy, url), "--database-url", newest_database, "--json", **environment) as recorder,
    ):
        await recorder.logged("in the room")
        proxy.refusing = True
        proxy.reset()
        assert await recorder.ended() == 7
        assert json.loads(recorder.printed)["end_reason"] == "reconnect_exhausted"
    rows = await _rows(newest_database)
    assert [row["type"] for row in rows[-2:]] == ["capture.gap", "capture.ended"]
    assert rows[-2]["payload"]["cause"] == "signalling_lost"
    await _verified(newest_database)
    await ada.leave()


async def test_two_recorders_don_t_keep_each_other_in_the_room(
    stack: Stack, people: People, newest_database: str, tmp_path: Path
) -> None:
    url = stack.room_url("two-witnesses")
    ada = await people.participant(url)
    await ada.join("Ada")
    environment = {"MEETA_LEFT_ALONE_GRACE": "1"}
    one, two = ({**environment, **folder_for_spool(tmp_path / name)} for name in ("one", "two"))
    async with (
        recording(url, "--database-url", newest_database, "--json", **one) as first,
        recording(url, "--database-url", newest_database, "--json", **two) as second,
    ):
        await first.logged("in the room")
        await second.logged("in the room")
        await ada.leave()
        reasons = set()
        for recorder in (first, second):
            assert await recorder.ended() == 0
            reasons.add(json.loads(recorder.printed)["end_reason"])
    assert reasons <= {"only_bots_left", "left_alone"}
    await _verified(newest_database)
