"""What only the server's own words tell: ends of recordings, connections that are lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.conftest import People
from tests.e2e.recorder_process import folder_for_spool, recording
from tests.e2e.stored import assert_verified, payloads, rows
from tests.stack.client import Stack

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_recorder_that_does_not_name_its_session_and_a_network_that_dies(
    stack: Stack, people: People, newest_database: str, tmp_path: Path
) -> None:
    url = stack.room_url("told-once")
    ada, bob = await people.participant(url), await people.participant(url)
    ada_id = await ada.join("Ada")
    async with recording(url, "--database-url", newest_database, "--json", **folder_for_spool(tmp_path)) as recorder:
        await recorder.logged("in the room")
        bob_id = await bob.join("Bob")
        session = await stack.start_recording("told-once", ada_id, names_session=False)
        await recorder.until_stored(newest_database, "recording.started")
        await stack.stop_recording("told-once", session, ada_id)
        await recorder.until_stored(newest_database, "recording.stopped")
        failing = await stack.start_recording("told-once", ada_id, names_session=False)
        await recorder.until_stored(newest_database, "recording.started", 2)
        await stack.fail_recording("told-once", failing)
        await recorder.until_stored(newest_database, "recording.failed")
        await bob.crash()
        await ada.send_chat("are you there?")
        await recorder.until_stored(newest_database, "participant.left", 3)  # two recorders, and Bob
        await recorder.stopped()
    found = await rows(newest_database)
    assert [one["session_id"] for one in payloads(found, "recording.stopped")] == [session, failing]
    assert payloads(found, "recording.stopped")[0]["terminator_endpoint_id"] == ada_id
    assert [one["error"] for one in payloads(found, "recording.failed")] == ["error"]
    [lost] = [row for row in found if row["type"] == "participant.left" and row["endpoint_id"] == bob_id]
    assert lost["payload"]["cause"] == "lost", lost
    assert lost["payload"]["silent_ms"] > 0
    await assert_verified(newest_database)
