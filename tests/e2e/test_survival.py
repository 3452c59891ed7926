"""What a recording survives, and what its log says of the moments in which it could not see.

Faults of signalling are made by a proxy that only the bot goes through, so that the people in the room notice nothing.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest

from tests.e2e import stored
from tests.e2e.breakable import breakable_way, through
from tests.e2e.conftest import People
from tests.e2e.recorder_process import LOG_TIMEOUT, folder_for_spool, recording
from tests.stack.client import Stack
from tests.stack.process_tree import AS_SUBREAPER, browser, renderers, zombies

pytestmark = pytest.mark.asyncio(loop_scope="session")


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
        await recorder.stopped()
    rows = await stored.rows(newest_database)
    (gap,) = stored.gaps(rows)
    assert (gap["cause"], gap["lost"]) == ("page_crashed", "everything")
    assert gap["from_at"] <= gap["to_at"]
    (bridge,) = stored.bridge_gaps(rows)  # its half of the return ends with its first word
    assert (bridge["cause"], bridge["from_ms"]) == ("bridge_unheard", gap["to_ms"])
    assert sorted(stored.names(rows, "participant.joined")) == ["Ada", "Ben"]
    assert stored.names(rows, "participant.left") == ["Ben"]
    assert stored.texts(rows) == ["after the crash"]
    await stored.assert_verified(newest_database)
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
        await recorder.stopped()
    for number in range(3):
        (gap,) = stored.gaps(await stored.rows(newest_database, f"browser-crash-{number}"))
        assert (gap["cause"], gap["lost"]) == ("browser_crashed", "everything")
    rows = await stored.rows(newest_database, "browser-crash-0")
    assert stored.names(rows, "participant.joined") == ["Ada"]
    assert stored.texts(rows) == ["after the crash"]
    await stored.assert_verified(newest_database)
    await ada.leave()


async def test_a_browser_that_is_killed_leaves_no_zombies_where_orphans_come_to_the_recorder(
    stack: Stack, newest_database: str, tmp_path: Path
) -> None:
    arguments = (stack.room_url("orphans"), "--database-url", newest_database)
    async with recording(*arguments, below=AS_SUBREAPER, **folder_for_spool(tmp_path)) as recorder:
        await recorder.logged("in the room")
        for number in (1, 2):
            os.kill(browser(recorder.pid), signal.SIGKILL)
            await recorder.logged("back in the room", times=number)
        async with asyncio.timeout(LOG_TIMEOUT):
            while zombies(recorder.pid):  # noqa: ASYNC110 - one may have ended this moment
                await asyncio.sleep(0.05)
        await recorder.stopped()


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
        await recorder.stopped()
    rows = await stored.rows(newest_database)
    (gap,) = stored.gaps(rows)
    assert (gap["cause"], gap["lost"]) == ("page_hung", "everything")
    assert gap["to_ms"] - gap["from_ms"] >= 2000
    await stored.assert_verified(newest_database)
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
        await recorder.stopped()
    rows = await stored.rows(newest_database)
    (gap,) = stored.gaps(rows)
    assert (gap["cause"], gap["lost"]) == ("host_suspended", "nothing")
    assert stored.texts(rows) == ["while nobody listens"]
    await stored.assert_verified(newest_database)
    await ada.leave()


async def test_a_short_cut_is_resumed_and_nothing_is_lost(
    stack: Stack, people: People, newest_database: str, tmp_path: Path
) -> None:
    url = stack.room_url("short-cut-of-the-bot")
    ada = await people.participant(url)
    await ada.join("Ada")
    async with (
        breakable_way(stack) as proxy,
        recording(through(proxy, url), "--database-url", newest_database, **folder_for_spool(tmp_path)) as recorder,
    ):
        await recorder.logged("in the room")
        proxy.reset()
        await ada.rename("Ada King")
        await ada.send_chat("meanwhile")
        await recorder.until_stored(newest_database, "signalling.restored")
        await recorder.until_stored(newest_database, "chat.message")
        await recorder.until_stored(newest_database, "participant.renamed")
        await recorder.stopped()
    rows = await stored.rows(newest_database)
    (gap,) = stored.gaps(rows)
    assert (gap["cause"], gap["lost"]) == ("signalling_resumed", "nothing")
    types = [row["type"] for row in rows]
    assert types.index("signalling.lost") < types.index("signalling.restored")
    assert stored.names(rows, "participant.joined") == ["Ada"]
    assert stored.texts(rows) == ["meanwhile"]
    for late in [row for row in rows if row["type"] in ("chat.message", "participant.renamed")]:
        assert late["server_at"] is not None, late
        assert late["server_at"] <= late["occurred_at"]
    await stored.assert_verified(newest_database)
    await ada.leave()


async def test_a_session_that_the_server_keeps_is_resumed_however_often_that_fails(
    people: People, newest_database: str, tmp_path: Path
) -> None:
    """A server keeps a session for a minute; nobody sees that the bot was away, and nothing is missed."""
    async with Stack.start(hibernation_seconds=60) as stack, breakable_way(stack) as proxy:
        url = stack.room_url("refused-for-a-while")
        ada, ben = await people.participant(url), await people.participant(url)
        await ada.join("Ada")
        way = through(proxy, url)
        async with recording(way, "--database-url", newest_database, **folder_for_spool(tmp_path)) as recorder:
            await recorder.logged("in the room")
            before = {member.endpoint_id for member in await stack.members("refused-for-a-while")}
            proxy.refusing = True
            proxy.reset()
            await ben.join("Ben")
            await proxy.has_refused(5)
            await ada.send_chat("meanwhile")
            proxy.restore()
            await recorder.until_stored(newest_database, "chat.message")
            after = {member.endpoint_id for member in await stack.members("refused-for-a-while")}
            await recorder.stopped()
        for person in (ada, ben):
            await person.leave()
    rows = await stored.rows(newest_database)
    assert [(gap["cause"], gap["lost"]) for gap in stored.gaps(rows)] == [("signalling_resumed", "nothing")]
    assert "capture.reconnecting" not in {row["type"] for row in rows}
    assert len(after) == len(before) + 1  # Ben, and no second recorder
    assert after > before
    assert stored.names(rows, "participant.joined", inferred=False) == ["Ada", "Ben"]
    await stored.assert_verified(newest_database)


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
        breakable_way(stack) as proxy,
        recording(through(proxy, url), "--database-url", newest_database, **environment) as recorder,
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
        await recorder.stopped()
    rows = await stored.rows(newest_database)
    (gap,) = stored.gaps(rows)
    assert (gap["cause"], gap["lost"]) == ("signalling_lost", "everything")
    assert sorted(stored.names(rows, "participant.joined", inferred=False)) == ["Ada", "Ben"]
    assert stored.names(rows, "participant.joined", inferred=True) == ["Eve"]
    assert stored.names(rows, "participant.left", inferred=True) == ["Ben"]
    assert stored.names(rows, "participant.left", inferred=False) == []
    assert [row["payload"]["new_name"] for row in rows if row["type"] == "participant.renamed" and row["inferred"]] == [
        "Ada Lovelace"
    ]
    stored.assert_same_meeting_after_the_gap(rows)
    await stored.assert_verified(newest_database)
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
        await recorder.stopped()
    rows = await stored.rows(newest_database)
    assert {gap["lost"] for gap in stored.gaps(rows)} == {"everything"}
    assert stored.names(rows, "participant.joined") == ["Ada"]
    await stored.assert_verified(newest_database)
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
        await recorder.stopped()
    rows = await stored.rows(newest_database)
    (gap,) = stored.gaps(rows)
    assert (gap["cause"], gap["lost"]) == ("signalling_resumed", "nothing")
    assert stored.names(rows, "participant.joined") == ["Ada"]
    await stored.assert_verified(newest_database)
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
        breakable_way(stack) as proxy,
        recording(through(proxy, url), "--database-url", newest_database, "--json", **environment) as recorder,
    ):
        await recorder.logged("in the room")
        proxy.refusing = True
        proxy.reset()
        assert await recorder.ended() == 7
        assert json.loads(recorder.printed)["end_reason"] == "reconnect_exhausted"
    rows = await stored.rows(newest_database)
    assert [row["type"] for row in rows[-2:]] == ["capture.gap", "capture.ended"]
    assert rows[-2]["payload"]["cause"] == "signalling_lost"
    await stored.assert_verified(newest_database)
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
    await stored.assert_verified(newest_database)
