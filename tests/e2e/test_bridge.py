"""A bridge that dies, is cut off or says nothing: what could not be heard lies in a gap, and the bot gets it back.

The bridge is heard by a data channel, as on most deployments, which stays open whatever becomes of its bridge.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.e2e import stored
from tests.e2e.conftest import People
from tests.e2e.recorder_process import folder_for_spool, recording
from tests.stack.client import Stack

pytestmark = pytest.mark.asyncio(loop_scope="session")

QUICK = {"MEETA_BRIDGE_ASK_MS": "500", "MEETA_BRIDGE_SILENCE_MS": "1500", "MEETA_BRIDGE_OPEN_MS": "2000"}
# The local bridge has no media path (ICE) beside websockets, which the library is given time to get back.
WITHOUT_MEDIA = {"MEETA_LIBRARY_GIVES_UP_MS": "3000"}
WARNING = "the bridge can't be heard"
PACE = 0.1  # of what a focus takes to do about a bridge that failed


@pytest_asyncio.fixture(loop_scope="session")
async def by_data_channel() -> AsyncIterator[Stack]:
    async with Stack.start(hibernation_seconds=2, bridge_channel="datachannel", media_pace=PACE) as running:
        yield running


def speakers(rows: list[stored.Row]) -> list[str]:
    return [row["endpoint_id"] for row in rows if row["type"] == "dominant_speaker.changed"]


async def assert_stayed(database_url: str, rows: list[stored.Row]) -> None:
    """Nobody saw the bot stumble: it was in the room all the time, and saw it."""
    types = [row["type"] for row in rows]
    assert types.count("conference.joined") == 1
    assert "capture.reconnecting" not in types
    assert stored.gaps(rows) == []
    await stored.assert_verified(database_url)


async def test_a_bridge_that_is_killed_is_missed_from_its_last_word_until_the_next_one_is_heard(
    by_data_channel: Stack, people: People, newest_database: str, tmp_path: Path
) -> None:
    stack, url = by_data_channel, by_data_channel.room_url("killed-bridge")
    ada, ben = await people.participant(url), await people.participant(url)
    await ada.join("Ada")
    await ben.join("Ben")
    async with recording(url, "--database-url", newest_database, **QUICK, **folder_for_spool(tmp_path)) as recorder:
        await recorder.logged("in the room")
        await recorder.until_stored(newest_database, "bridge_channel.opened")
        await stack.set_dominant_speaker("killed-bridge", ada.endpoint_id)
        await recorder.until_stored(newest_database, "dominant_speaker.changed")
        await stack.bridge("kill")
        await recorder.until_stored(newest_database, "bridge.lost")
        await stack.bridge("start")
        await stack.set_dominant_speaker("killed-bridge", ben.endpoint_id)
        await recorder.until_stored(newest_database, "bridge_channel.opened", times=2)
        await recorder.until_stored(newest_database, "dominant_speaker.changed", times=2)
        await recorder.stopped()
    rows = await stored.rows(newest_database)
    (gap,) = stored.bridge_gaps(rows)
    first, second = await stack.speaker_changes()
    assert first["at_ms"] <= gap["from_at"] <= second["at_ms"] <= gap["to_at"]
    assert speakers(rows) == [ada.endpoint_id, ben.endpoint_id]
    await assert_stayed(newest_database, rows)
    for person in (ada, ben):
        await person.leave()


async def test_without_any_bridge_the_bot_waits_for_the_invitation_and_warns_once(
    by_data_channel: Stack, people: People, newest_database: str, tmp_path: Path
) -> None:
    stack, url = by_data_channel, by_data_channel.room_url("no-bridge")
    ada = await people.participant(url)
    await ada.join("Ada")
    async with recording(url, "--database-url", newest_database, **QUICK, **folder_for_spool(tmp_path)) as recorder:
        await recorder.logged("in the room")
        await recorder.until_stored(newest_database, "bridge_channel.opened")
        await stack.bridge("kill")
        await recorder.logged(WARNING)
        await recorder.until_stored(newest_database, "conference.properties_changed", times=2)  # no bridge left
        await stack.bridge("start")
        await recorder.logged("the bridge is heard again")
        await recorder.stopped()
        assert len([line for line in recorder.log if line["event"] == WARNING]) == 1
    rows = await stored.rows(newest_database)
    assert len(stored.bridge_gaps(rows)) == 1
    await assert_stayed(newest_database, rows)
    await ada.leave()


@pytest.mark.parametrize("fault", ["cut", "frozen"])
async def test_a_bridge_out_of_reach_is_missed_and_heard_again_on_the_same_channel(
    by_data_channel: Stack, people: People, newest_database: str, tmp_path: Path, fault: str
) -> None:
    stack, url = by_data_channel, by_data_channel.room_url(f"{fault}-bridge")
    ada = await people.participant(url)
    await ada.join("Ada")
    async with recording(url, "--database-url", newest_database, **QUICK, **folder_for_spool(tmp_path)) as recorder:
        await recorder.logged("in the room")
        await recorder.until_stored(newest_database, "bridge_channel.opened")
        await (stack.cut_bridge(True) if fault == "cut" else stack.bridge("freeze"))
        await recorder.until_stored(newest_database, "bridge.lost")
        await (stack.cut_bridge(False) if fault == "cut" else stack.bridge("thaw"))
        await recorder.until_stored(newest_database, "bridge.restored")
        await recorder.stopped()
    rows = await stored.rows(newest_database)
    (gap,) = stored.bridge_gaps(rows)
    assert gap["cause"] == "bridge_unheard"
    assert [row["type"] for row in rows].count("bridge_channel.opened") == 1
    await assert_stayed(newest_database, rows)
    await ada.leave()


@pytest.mark.parametrize("fault", ["cut", "deaf"])
async def test_a_bridge_that_was_never_heard_is_missed_from_the_join_to_the_end(
    by_data_channel: Stack, people: People, newest_database: str, tmp_path: Path, fault: str
) -> None:
    stack, url = by_data_channel, by_data_channel.room_url(f"{fault}-from-the-start")
    await (stack.cut_bridge(True) if fault == "cut" else stack.deafen_bridge(True))
    ada = await people.participant(url)
    await ada.join("Ada")
    async with recording(url, "--database-url", newest_database, **QUICK, **folder_for_spool(tmp_path)) as recorder:
        await recorder.logged("in the room")
        line = await recorder.logged(WARNING)
        assert line["evidence"] == ("unopened" if fault == "cut" else "mute")
        await recorder.stopped()
    rows = await stored.rows(newest_database)
    (gap,) = stored.bridge_gaps(rows)
    (joined,) = [row for row in rows if row["type"] == "conference.joined"]
    (ended,) = [row for row in rows if row["type"] == "capture.ended"]
    assert abs(gap["from_ms"] - joined["monotonic_ms"]) < 1000
    assert gap["to_ms"] == ended["monotonic_ms"]
    assert "bridge_channel.opened" not in {row["type"] for row in rows}
    await assert_stayed(newest_database, rows)
    await ada.leave()


@pytest.mark.parametrize("fault", ["half-open", "refused"])
async def test_a_websocket_that_carries_nothing_or_is_refused_is_as_deaf(
    own_stack: Stack, people: People, newest_database: str, tmp_path: Path, fault: str
) -> None:
    url = own_stack.room_url(f"{fault}-websocket")
    if fault == "refused":
        await own_stack.refuse_bridge_channels(True)
    ada = await people.participant(url)
    await ada.join("Ada")
    async with recording(
        url, "--database-url", newest_database, **QUICK, **WITHOUT_MEDIA, **folder_for_spool(tmp_path)
    ) as recorder:
        await recorder.logged("in the room")
        if fault == "half-open":
            await recorder.until_stored(newest_database, "bridge_channel.opened")
            await own_stack.deafen_bridge(True)
        line = await recorder.logged(WARNING)
        assert line["evidence"] == ("unopened" if fault == "refused" else "silent")
        await own_stack.refuse_bridge_channels(False)
        await own_stack.deafen_bridge(False)
        await recorder.logged("the bridge is heard again")
        await recorder.stopped()
    rows = await stored.rows(newest_database)
    assert len(stored.bridge_gaps(rows)) == 1
    await assert_stayed(newest_database, rows)
    await ada.leave()


async def test_an_endpoint_that_is_moved_stays_in_the_room_and_hears_the_next_bridge(
    by_data_channel: Stack, people: People, newest_database: str, tmp_path: Path
) -> None:
    stack, url = by_data_channel, by_data_channel.room_url("moved")
    ada = await people.participant(url)
    await ada.join("Ada")
    async with recording(url, "--database-url", newest_database, **QUICK, **folder_for_spool(tmp_path)) as recorder:
        await recorder.logged("in the room")
        await recorder.until_stored(newest_database, "bridge_channel.opened")
        (bot,) = [member for member in await stack.members("moved") if member.name == "Event recorder"]
        await stack.move_media("moved", bot.endpoint_id)
        await recorder.until_stored(newest_database, "bridge_channel.opened", times=2)
        await recorder.stopped()
        assert WARNING not in [line["event"] for line in recorder.log]  # it was not for long
    rows = await stored.rows(newest_database)
    assert [gap["cause"] for gap in stored.bridge_gaps(rows)] == ["bridge_channel_closed"]
    await assert_stayed(newest_database, rows)
    await ada.leave()


async def test_a_bridge_that_has_forgotten_the_bot_is_heard_in_the_next_session(
    by_data_channel: Stack, people: People, newest_database: str, tmp_path: Path
) -> None:
    """Without ICE for long, a bridge forgets an endpoint and tells nobody: the old session never comes back."""
    stack, url = by_data_channel, by_data_channel.room_url("forgotten")
    await stack.cut_bridge(True)
    ada = await people.participant(url)
    await ada.join("Ada")
    environment = {**QUICK, "MEETA_MEDIA_RESTART_MS": "5001", **folder_for_spool(tmp_path)}
    async with recording(url, "--database-url", newest_database, **environment) as recorder:
        await recorder.logged("in the room")
        await recorder.logged(WARNING)
        await recorder.until_stored(newest_database, "conference.failed")  # the library gives up: conference.iceFailed
        await stack.cut_bridge(False)
        await recorder.logged("the bridge is heard again")
        await recorder.stopped()
    rows = await stored.rows(newest_database)
    assert "media.session_requested" in {row["type"] for row in rows}
    assert len(stored.bridge_gaps(rows)) == 1
    await assert_stayed(newest_database, rows)
    await ada.leave()


async def test_a_session_that_brings_nothing_is_asked_for_anew_and_the_room_is_left_only_when_that_is_refused(
    by_data_channel: Stack, people: People, newest_database: str, tmp_path: Path
) -> None:
    stack, url = by_data_channel, by_data_channel.room_url("deaf-for-long")
    ada = await people.participant(url)
    await ada.join("Ada")
    environment = {**QUICK, "MEETA_MEDIA_RESTART_MS": "5001", **folder_for_spool(tmp_path)}
    async with recording(url, "--database-url", newest_database, **environment) as recorder:
        await recorder.logged("in the room")
        await recorder.until_stored(newest_database, "bridge_channel.opened")
        await stack.deafen_bridge(True)
        await recorder.until_stored(newest_database, "media.session_requested")
        await stack.deafen_bridge(False)
        await recorder.until_stored(newest_database, "bridge_channel.opened", times=2)
        before = {member.endpoint_id for member in await stack.members("deaf-for-long")}
        await stack.deafen_bridge(True)
        await stack.refuse_restarts(True)
        await recorder.until_stored(newest_database, "media.session_missing")
        await stack.deafen_bridge(False)
        await recorder.logged("back in the room")
        await recorder.until_stored(newest_database, "bridge_channel.opened", times=3)
        after = {member.endpoint_id for member in await stack.members("deaf-for-long")}
        await recorder.stopped()
    rows = await stored.rows(newest_database)
    types = [row["type"] for row in rows]
    assert types.count("capture.reconnecting") == 1
    assert len(before - after) == len(after - before) == 1  # the bot, in another stay
    await stored.assert_verified(newest_database)
    await ada.leave()
