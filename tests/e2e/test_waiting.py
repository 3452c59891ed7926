"""What a bot waits for on its way in, and a focus that goes away while it is in: waiting is no end."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from meeta_bot.capture import admission
from tests.e2e import stored
from tests.e2e.conftest import Deployment, People
from tests.e2e.recorder_process import folder_for_spool, recording
from tests.stack.client import Stack

pytestmark = pytest.mark.asyncio(loop_scope="session")

GUESTS_ONLY = "not-authorized"  # what jicofo answers to guests of a secure domain before a host is there
# As the hook tells it, and as libraries of later years do.
WORDS = ("the conference focus answered not-authorized", "conference.authenticationRequired")
FOR_EVER = 1_000_000


async def test_every_answer_that_the_served_library_knows_has_a_meaning(deployment: Deployment, people: People) -> None:
    person = await people.participant(deployment.room_url(deployment.new_room()))
    for kind, known in (("conference", admission.CONFERENCE), ("connection", admission.CONNECTION)):
        names = await person.page.evaluate(f"Object.values(JitsiMeetJS.errors.{kind})")
        names = [name for name in names if isinstance(name, str)]  # enumerations of details lie beside them
        assert names
        assert set(names) <= known.keys()


async def test_a_guest_of_a_secure_domain_waits_for_the_host(
    stack: Stack, people: People, newest_database: str, tmp_path: Path
) -> None:
    url = stack.room_url("secured")
    await stack.inject_conference_error(GUESTS_ONLY, room="secured", times=FOR_EVER)
    environment = {"MEETA_ASK_PAUSE": "0.5", "MEETA_JOIN_TIMEOUT": "3", **folder_for_spool(tmp_path)}
    async with recording(url, "--database-url", newest_database, **environment) as recorder:
        line = await recorder.logged("waiting for the host")
        assert GUESTS_ONLY in line["said"]
        assert await stack.members("secured") == []
        await stack.withdraw_conference_error("secured")
        host = await people.participant(url)
        await host.join("Host")
        await recorder.logged("in the room")
        await recorder.until_stored(newest_database, "participant.joined")
        await recorder.stopped()
    rows = await stored.rows(newest_database)
    answers = [row["payload"]["answer"] for row in rows if row["type"] == "focus.refused"]
    assert answers == [GUESTS_ONLY]  # once, however often it was asked
    assert "capture.reconnecting" not in {row["type"] for row in rows}
    await stored.assert_verified(newest_database)
    await host.leave()


async def test_a_host_who_never_comes_is_an_end_that_says_so(
    stack: Stack, newest_database: str, tmp_path: Path
) -> None:
    await stack.inject_conference_error(GUESTS_ONLY, room="hostless", times=FOR_EVER)
    environment = {"MEETA_JOIN_TIMEOUT": "1", "MEETA_HOST_TIMEOUT": "2", **folder_for_spool(tmp_path)}
    url = stack.room_url("hostless")
    async with recording(url, "--database-url", newest_database, "--json", **environment) as recorder:
        assert await recorder.ended() == 7
    summary = json.loads(recorder.printed)
    assert summary["end_reason"] == "authentication_required"
    assert summary["end_detail"] in {f"waiting for the host for 2 s; the server's last word: {word}" for word in WORDS}


async def test_a_focus_that_is_only_just_starting_is_waited_for(
    own_stack: Stack, newest_database: str, tmp_path: Path
) -> None:
    await own_stack.focus("terminate")
    url = own_stack.room_url("before-the-focus")
    async with recording(url, "--database-url", newest_database, **folder_for_spool(tmp_path)) as recorder:
        await recorder.logged("the conference focus says no for now")
        await own_stack.focus("start")
        await recorder.logged("in the room")
        await recorder.stopped()
    rows = await stored.rows(newest_database)
    assert rows[-1]["payload"]["reason"] == "operator"
    await stored.assert_verified(newest_database)


async def test_a_queue_in_front_of_a_room_is_stood_in(people: People, newest_database: str, tmp_path: Path) -> None:
    async with Stack.start(joins_per_second=0.2) as stack:
        url = stack.room_url("rationed")
        ada, ben = await people.participant(url), await people.participant(url)
        joining = [asyncio.create_task(person.join(name)) for person, name in ((ada, "Ada"), (ben, "Ben"))]
        environment = {"MEETA_JOIN_TIMEOUT": "1", **folder_for_spool(tmp_path)}
        async with recording(url, "--database-url", newest_database, **environment) as recorder:
            await recorder.logged("waiting in the queue")
            await recorder.logged("in the room")
            await asyncio.gather(*joining)
            await recorder.stopped()
        for person in (ada, ben):
            await person.leave()
    rows = await stored.rows(newest_database)
    assert [row["type"] for row in rows].count("capture.entering") == 1  # entering anew is the end of the queue
    await stored.assert_verified(newest_database)


async def test_a_full_room_is_entered_when_somebody_leaves(
    stack: Stack, people: People, newest_database: str, tmp_path: Path
) -> None:
    url = stack.room_url("full-holds-3")  # the focus and two others
    ada, ben = await people.participant(url), await people.participant(url)
    await ada.join("Ada")
    await ben.join("Ben")
    environment = {"MEETA_ASK_PAUSE": "0.5", "MEETA_JOIN_TIMEOUT": "2", **folder_for_spool(tmp_path)}
    async with recording(url, "--database-url", newest_database, **environment) as recorder:
        await recorder.logged("waiting for room")
        await ben.leave()
        await recorder.logged("in the room")
        await recorder.stopped()
    rows = await stored.rows(newest_database)
    assert stored.names(rows, "participant.joined") == ["Ada"]
    await stored.assert_verified(newest_database)
    await ada.leave()


async def test_a_focus_that_goes_away_in_mid_meeting_is_asked_back_from_inside_the_room(
    own_stack: Stack, people: People, newest_database: str, tmp_path: Path
) -> None:
    """On a secure domain, it refuses guests until the host's client has asked again: that is no end either."""
    url = own_stack.room_url("focus-away")
    ada, ben = await people.participant(url), await people.participant(url)
    await ada.join("Ada")
    await ben.join("Ben")
    async with recording(url, "--database-url", newest_database, **folder_for_spool(tmp_path)) as recorder:
        await recorder.logged("in the room")
        before = [member.endpoint_id for member in await own_stack.members("focus-away")]
        await own_stack.focus("terminate")
        await recorder.until_stored(newest_database, "focus.refused")
        await ada.send_chat("without a focus")
        await recorder.until_stored(newest_database, "chat.message")
        await own_stack.inject_conference_error(GUESTS_ONLY, room="focus-away", times=FOR_EVER)
        await own_stack.focus("start")
        await recorder.until_stored(newest_database, "focus.refused", times=2)
        await own_stack.withdraw_conference_error("focus-away")
        await recorder.until_stored(newest_database, "focus.returned")
        await ben.leave()
        await recorder.until_stored(newest_database, "participant.left")  # the library still hears of departures
        after = [member.endpoint_id for member in await own_stack.members("focus-away")]
        await recorder.stopped()
    rows = await stored.rows(newest_database)
    assert sorted(after) == sorted(set(before) - {ben.endpoint_id})
    assert stored.texts(rows) == ["without a focus"]
    assert stored.names(rows, "participant.left") == ["Ben"]
    assert "capture.reconnecting" not in {row["type"] for row in rows}
    assert stored.gaps(rows) == []
    await stored.assert_verified(newest_database)
    await ada.leave()
