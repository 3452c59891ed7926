"""Many rooms in one process: they share pages, come and go, and nothing of one gets into another."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from meeta_bot import room_address, service, settings
from meeta_bot.capture.phases import Phase
from meeta_bot.capture.request import request_for
from meeta_bot.events import EndReason
from tests.e2e.conftest import Deployment, People
from tests.e2e.recorder_process import LOG_TIMEOUT, RecorderProcess, folder_for_spool, recording, run
from tests.e2e.terminal import on_terminal
from tests.stack.client import Stack
from tests.stack.process_tree import renderers

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def _ends(recorder: RecorderProcess) -> dict[str, dict[str, Any]]:
    """The closing lines of all captures, by the last part of the room's address."""
    await recorder.ended()
    lines = [json.loads(line) for line in recorder.printed.splitlines()]
    return {line["room"].rpartition("/")[2]: line for line in lines}


async def _names(capture_id: str, database_url: str) -> list[str]:
    code, out, err = await run("participants", capture_id, "--json", "--database-url", database_url)
    assert code == 0, err
    return [json.loads(line)["display_name"] for line in out.splitlines()]


async def test_rooms_in_one_page_are_recorded_apart(
    deployment: Deployment, people: People, newest_database: str, tmp_path: Path
) -> None:
    rooms = [deployment.new_room() for _ in range(3)]
    urls = [deployment.room_url(room) for room in rooms]
    members = []
    for url, name in zip(urls, ("Ada", "Bea", "Cleo"), strict=True):
        member = await people.participant(url)
        await member.join(name)
        members.append(member)
    options = ("--database-url", newest_database, "--json")
    environment = {"MEETA_ROOMS_PER_PAGE": "2", "MEETA_LEFT_ALONE_GRACE": "1", **folder_for_spool(tmp_path)}
    async with recording(*urls, *options, **environment) as recorder:
        await recorder.logged("in the room", times=3)
        assert len([line for line in recorder.log if line["event"] == "page loaded"]) == 2
        await members[0].leave()
        await recorder.logged("ended")
        # The room beside it in the page goes on.
        await members[1].rename("Bea II")
        await members[1].leave()
        await members[2].leave()
        ends = await _ends(recorder)
        assert await recorder.ended() == 0
    assert [ends[room]["end_reason"] for room in rooms] == ["left_alone"] * 3
    assert [await _names(ends[room]["capture_id"], newest_database) for room in rooms] == [
        ["Ada"],
        ["Bea II"],
        ["Cleo"],
    ]


async def test_the_crash_of_a_page_costs_its_rooms_a_gap_and_no_others(
    stack: Stack, newest_database: str, tmp_path: Path
) -> None:
    urls = [stack.room_url(f"shared-{number}") for number in range(3)]
    options = ("--database-url", newest_database, "--json")
    environment = {"MEETA_ROOMS_PER_PAGE": "2", "MEETA_JOINS_AT_ONCE": "1", **folder_for_spool(tmp_path)}
    async with recording(*urls, *options, **environment) as recorder:
        await recorder.logged("in the room", times=3)
        first, _ = renderers(recorder.pid)
        os.kill(first, signal.SIGKILL)
        crashed = (await recorder.logged("page lost"))["rooms"]
        await recorder.logged("back in the room", times=crashed)
        recorder.send(signal.SIGTERM)
        ends = await _ends(recorder)
    assert {end["end_reason"] for end in ends.values()} == {"operator"}
    lost = [line["room"].rpartition("/")[2] for line in recorder.log if line["event"] == "room lost"]
    # Which of the two it was is not to be seen from outside.
    assert sorted(lost) == {2: ["shared-0", "shared-1"], 1: ["shared-2"]}[crashed]


async def test_a_list_of_rooms_is_followed(stack: Stack, newest_database: str, tmp_path: Path) -> None:
    listing = tmp_path / "rooms.txt"
    one, two, three = (stack.room_url(f"listed-{number}") for number in range(3))
    listing.write_text(f"# mornings\n{one}\n\n{two}  # the board\n{one}\n", encoding="utf-8")
    options = ("--rooms", str(listing), "--database-url", newest_database, "--json")
    async with recording(*options, **folder_for_spool(tmp_path)) as recorder:
        await recorder.logged("in the room", times=2)

        listing.write_text(f"{two}\nftp://nonsense/room\n", encoding="utf-8")
        recorder.send(signal.SIGHUP)
        refused = await recorder.logged("the list of rooms was not taken over")
        assert "line 2" in refused["problem"]

        listing.write_text(f"{two}\n{three}\n", encoding="utf-8")
        recorder.send(signal.SIGHUP)
        await recorder.logged("ended")
        joined = await recorder.logged("in the room", times=3)
        assert joined["room"] == three
        recorder.send(signal.SIGTERM)
        ends = await _ends(recorder)
        assert await recorder.ended() == 0
    assert {room: end["end_reason"] for room, end in ends.items()} == dict.fromkeys(
        ("listed-0", "listed-1", "listed-2"), "operator"
    )
    assert next(line["room"] for line in recorder.log if line["event"] == "ended") == one


async def test_rooms_of_a_list_have_values_of_their_own(stack: Stack, newest_database: str, tmp_path: Path) -> None:
    listing = tmp_path / "rooms.toml"
    short, long = (stack.room_url(f"valued-{number}") for number in range(2))
    labelled = f'[[room]]\nurl = "{short}"\nmax_duration = "3s"\nlabels = {{ team = "board" }}\n'
    listing.write_text(f'{labelled}\n[[room]]\nurl = "{long}"\n', encoding="utf-8")
    options = ("--rooms", str(listing), "--database-url", newest_database, "--json")
    async with recording(*options, **folder_for_spool(tmp_path)) as recorder:
        assert (await recorder.logged("ended"))["room"] == short
        listing.write_text(f'[[room]]\nurl = "{long}"\nmax_duration = "1s"\n', encoding="utf-8")
        recorder.send(signal.SIGHUP)
        read = await recorder.logged("list of rooms read again")
        assert (read["new"], read["gone"], read["changed"]) == (0, 1, 1)
        assert (await recorder.logged("room stays as it is, though its values have changed"))["room"] == long
        recorder.send(signal.SIGTERM)
        ends = await _ends(recorder)
    assert {room: end["end_reason"] for room, end in ends.items()} == {
        "valued-0": "max_duration",
        "valued-1": "operator",
    }
    labels = {}
    for room, end in ends.items():
        code, out, err = await run("events", end["capture_id"], "--json", "--database-url", newest_database)
        assert code == 0, err
        labels[room] = json.loads(out.splitlines()[0])["payload"].get("labels")
    assert labels["valued-0"] == {"team": "board"}
    assert not labels["valued-1"]


async def test_who_stops_while_rooms_wait_for_their_turn_waits_for_none_of_them(
    stack: Stack, newest_database: str, tmp_path: Path
) -> None:
    urls = [stack.room_url(f"queue-{number}") for number in range(20)]
    options = ("--database-url", newest_database, "--json")
    environment = {"MEETA_JOINS_PER_SECOND": "0.01", **folder_for_spool(tmp_path)}
    async with recording(*urls, *options, **environment) as recorder:
        await recorder.logged("in the room")
        recorder.send(signal.SIGTERM)
        ends = await _ends(recorder)
        assert await recorder.ended() == 0
    assert {room: end["end_reason"] for room, end in ends.items()} == {"queue-0": "operator"}


async def test_a_worker_that_has_no_room_yet_waits_for_one(stack: Stack, newest_database: str, tmp_path: Path) -> None:
    chosen = settings.load({"database_url": newest_database, "data_directory": tmp_path / "data"})
    one, two = (request_for(room_address.parse(stack.room_url(f"later-{number}")), chosen) for number in range(2))
    async with service.recording(chosen) as worker:
        running = asyncio.create_task(worker.run(stay=True))
        for number, request in enumerate((one, two)):
            async with asyncio.timeout(LOG_TIMEOUT):
                worker.add(request)
                while len(worker.recorders) <= number:  # noqa: ASYNC110 - nothing tells of it
                    await asyncio.sleep(0.05)
                await worker.recorders[number].settled.wait()
            worker.remove(request)
            async with asyncio.timeout(LOG_TIMEOUT):
                while worker.recorders[number].phase is not Phase.ENDED:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            assert not running.done()
        worker.stop()
        ends = await running
    assert [end.reason for end in ends] == [EndReason.OPERATOR] * 2
    assert worker.remaining == 0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "names no room"),
        (b"# nothing\n\n", "names no room"),
        (b"https://meet.example.org/a\nhttps://meet.example.org/\n", "line 2"),
        (b"\xff\xfe\x00", "not valid UTF-8"),
        (b"x" * (2**22 + 1), "larger than"),
    ],
    ids=["empty", "comments", "no room", "binary", "huge"],
)
async def test_a_list_that_is_none_is_refused(tmp_path: Path, text: bytes, says: str) -> None:
    listing = tmp_path / "rooms.txt"
    listing.write_bytes(text)
    code, out, err = await run("record", "--rooms", str(listing))
    assert (code, out) == (2, "")
    assert says in err
    assert len([line for line in err.splitlines() if line.startswith("error:")]) == 1


@pytest.mark.parametrize(("name", "says"), [("/no/such/list", "Can't read"), ("/", "Can't read"), ("-", "names no")])
async def test_a_list_that_cannot_be_read_is_refused(name: str, says: str) -> None:
    code, _, err = await run("record", "--rooms", name)
    assert code == 2
    assert says in err


async def test_more_rooms_than_lines_are_counted(stack: Stack, newest_database: str, tmp_path: Path) -> None:
    urls = [stack.room_url(f"table-{number}") for number in range(7)]
    options = ("--database-url", newest_database)
    environment = folder_for_spool(tmp_path)
    async with on_terminal("record", *urls, *options, columns=100, lines=10, **environment) as terminal:
        await terminal.shows(r"7 rooms: 7 in the room; 0 people")
        await terminal.shows(r"… and 3 more rooms")
        terminal.send(signal.SIGTERM)
        assert await terminal.ended() == 0
    for url in urls:
        assert re.search(rf"{url} +operator", terminal.shown)
