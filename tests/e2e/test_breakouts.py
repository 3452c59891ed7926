"""Breakout rooms, played by the local stack as by Jitsi's server: who is there is in the meeting, and the bot stays."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.conftest import People
from tests.e2e.recorder_process import folder_for_spool, recording, run
from tests.e2e.stored import assert_verified, names, payloads, rows
from tests.stack.client import Stack

pytestmark = pytest.mark.asyncio(loop_scope="session")

ROOM = "breakouts"


async def test_everybody_in_a_breakout_room_is_no_departure_and_no_end(
    stack: Stack, people: People, newest_database: str, tmp_path: Path
) -> None:
    ada = await people.participant(stack.room_url(ROOM))
    endpoint_id = await ada.join("Ada")
    environment = {"MEETA_LEFT_ALONE_GRACE": "1", "MEETA_HEARTBEAT_INTERVAL": "1", **folder_for_spool(tmp_path)}
    arguments = (stack.room_url(ROOM), "--database-url", newest_database, "--json")
    async with recording(*arguments, **environment) as recorder:
        await recorder.logged("in the room")
        await stack.move_to_breakout(ROOM, "b-1", name="First")
        await recorder.until_stored(newest_database, "breakout.changed")
        await stack.move_to_breakout(ROOM, "b-1", endpoint_id=endpoint_id)
        await recorder.until_stored(newest_database, "participant.moved_to_breakout")
        beats = len([row for row in await rows(newest_database) if row["type"] == "capture.heartbeat"])
        await recorder.until_stored(newest_database, "capture.heartbeat", beats + 4)  # longer than the grace
        await stack.leave_breakout(ROOM, endpoint_id)
        await ada.return_to_room()
        await recorder.until_stored(newest_database, "participant.returned")
        await stack.close_breakouts(ROOM)
        await recorder.until_stored(newest_database, "breakout.changed", 2)
        await ada.leave()
        assert await recorder.ended() == 0, recorder.talk
    assert json.loads(recorder.printed)["end_reason"] == "left_alone"
    found = await rows(newest_database)
    moved = [row for row in found if row["type"] in ("participant.moved_to_breakout", "participant.returned")]
    assert [(row["endpoint_id"], row["payload"]["breakout_id"]) for row in moved] == [(endpoint_id, "b-1")] * 2
    assert payloads(found, "breakout.changed")[0] == {"rooms": [{"breakout_id": "b-1", "name": "First"}]}
    assert names(found, "participant.joined") == ["Ada"]
    assert [payload["cause"] for payload in payloads(found, "participant.left")] == ["left"]
    assert len(payloads(found, "meeting.ended")) == 1
    assert "unknown" not in {row["type"] for row in found}
    assert "@" not in json.dumps(
        [row["payload"] for row in found if row["type"].startswith(("breakout", "participant"))]
    )
    code, told, err = await run("timeline", "latest", "--database-url", newest_database)
    assert code == 0, err
    assert "Ada went to the breakout room First" in told
    assert "Ada came back to the main room" in told
    await assert_verified(newest_database)
