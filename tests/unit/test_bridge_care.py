"""What a recorder does about a bridge that is not heard: warns once, and leaves and enters the room at the latest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from meeta_bot import room_address
from meeta_bot.capture.bridge_care import BridgeCare
from meeta_bot.capture.browser.seats import Seats
from meeta_bot.capture.phases import Phase
from meeta_bot.capture.recorder import Recorder
from meeta_bot.capture.request import request_for
from meeta_bot.capture.spool import Spool
from meeta_bot.clock import SystemClock
from meeta_bot.events import BridgeLost, EndReason
from meeta_bot.logs import get_logger
from tests.unit.builders import settings
from tests.unit.played_page import OWN, Page

ADDRESS = room_address.parse("https://meet.example.org/standup")
WAIT_SECONDS = 10
WARNING = "the bridge can't be heard"
ALICE: dict[str, Any] = {"id": "alice", "name": "Alice", "role": "participant"}


@pytest.fixture
async def spool(tmp_path: Path) -> AsyncIterator[Spool]:
    opened = Spool(tmp_path / "spool", settings())
    yield opened
    await opened.close()


async def in_the_room(spool: Spool, **changes: Any) -> tuple[Recorder, Page, asyncio.Task[Any]]:
    chosen, page = settings(**changes), Page()
    recorder = Recorder(request_for(ADDRESS, chosen), cast("Seats", page), spool, chosen, SystemClock())
    recording = asyncio.create_task(recorder.run())
    await asyncio.wait_for(page.has_joined.wait(), WAIT_SECONDS)
    page.say("conference.userJoined", "alice", ALICE, False)
    page.say("conference.joined", OWN)
    await until(lambda: recorder.phase is Phase.IN_ROOM)
    return recorder, page, recording


async def until(is_so: Any) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while not is_so():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)


async def ended(recorder: Recorder, recording: asyncio.Task[Any]) -> list[str]:
    recorder.stop(EndReason.OPERATOR)
    await asyncio.wait_for(recording, WAIT_SECONDS)
    return cast("Page", recorder._seats).calls


async def test_a_bridge_that_is_not_heard_is_warned_of_once_with_what_it_costs(spool: Spool) -> None:
    recorder, page, recording = await in_the_room(spool)
    with capture_logs() as lines:
        for _ in range(3):
            page.say("hook.bridge_lost", {"ago_ms": 5000, "evidence": "unopened"})
        await until(lambda: any(line["event"] == WARNING for line in lines))
        page.say("hook.bridge_heard", {"channel": "new"})
        await until(lambda: any(line["event"] == "the bridge is heard again" for line in lines))
        await ended(recorder, recording)
    (warning,) = [line for line in lines if line["event"] == WARNING]
    assert (warning["log_level"], warning["evidence"]) == ("warning", "unopened")
    assert "speakers" in warning["costs"]


async def test_a_channel_that_is_soon_back_is_no_reason_to_warn(spool: Spool) -> None:
    recorder, page, recording = await in_the_room(spool)
    with capture_logs() as lines:
        page.say("hook.bridge_lost", {"ago_ms": 400, "evidence": "closed"})
        page.say("hook.bridge_heard", {"channel": "new"})
        await until(lambda: recorder.state.bridge_open)
        await ended(recorder, recording)
    assert WARNING not in [line["event"] for line in lines]


async def test_a_media_session_that_is_gone_for_good_is_a_reason_to_leave_and_enter_once(spool: Spool) -> None:
    recorder, page, recording = await in_the_room(spool)
    page.has_joined.clear()
    page.say("hook.bridge_lost", {"ago_ms": 400, "evidence": "closed"})
    page.say("hook.media_missing", "no media session")
    await asyncio.wait_for(page.has_joined.wait(), WAIT_SECONDS)
    page.say("conference.userJoined", "alice", ALICE, False)
    page.say("conference.joined", {**OWN, "endpoint_id": "bot2"})
    await until(lambda: recorder.phase is Phase.IN_ROOM)
    page.say("hook.bridge_lost", {"ago_ms": 5000, "evidence": "unopened"})
    page.say("hook.media_missing", "no media session")
    page.say("hook.media_missing", "no media session")
    await until(lambda: recorder.state.counts.messages >= 9)
    assert (await ended(recorder, recording)).count("join") == 2  # the third would come after two minutes


async def test_a_focus_without_a_bridge_invites_by_itself_when_one_comes(spool: Spool) -> None:
    recorder, page, recording = await in_the_room(spool)
    page.say("conference.propertiesChanged", {"bridge-count": "0"})
    page.say("hook.bridge_lost", {"ago_ms": 400, "evidence": "closed"})
    page.say("hook.media_missing", "no media session")
    page.say("hook.focus_refused", "not-authorized")
    await until(lambda: recorder.state.counts.messages >= 7)
    assert (await ended(recorder, recording)).count("join") == 1


async def test_a_focus_that_leaves_is_no_reason_to_leave(spool: Spool) -> None:
    recorder, page, recording = await in_the_room(spool)
    page.say("conference.failed", "conference.focusLeft")
    page.say("hook.focus_back", {"away_ms": 17_000, "asked": 4})
    await until(lambda: recorder.state.counts.messages >= 5)
    assert recorder.phase is Phase.IN_ROOM
    assert (await ended(recorder, recording)).count("join") == 1


async def test_pauses_between_returns_double_and_long_ago_is_forgiven() -> None:
    care = BridgeCare(settings(media_rejoin_pause_initial=100, media_rejoin_pause_max=300), get_logger("test"))
    left: asyncio.Queue[float] = asyncio.Queue()

    async def pause_at(now_ms: float) -> float:
        with capture_logs() as lines:
            care.missing(now_ms, bridges=None, leave=lambda: left.put_nowait(now_ms))
        seconds = float(lines[0]["in_seconds"])
        if seconds == 0:
            async with asyncio.timeout(WAIT_SECONDS):
                assert await left.get() == now_ms
        care.stay_is_over()
        return seconds

    assert await pause_at(0) == 0
    assert await pause_at(40_000) == 60
    assert await pause_at(100_000) == 0
    assert await pause_at(100_000) == 200
    assert await pause_at(900_000) == 0
    assert await pause_at(900_000) == 100


async def test_a_stay_that_is_over_warns_of_nothing() -> None:
    care = BridgeCare(settings(bridge_open_ms=1), get_logger("test"))
    with capture_logs() as lines:
        care.lost(BridgeLost(since_at=0, evidence="closed"))
        care.stay_is_over()
        later = asyncio.Event()
        asyncio.get_running_loop().call_later(0.02, later.set)  # timers come in order
        await later.wait()
    assert lines == []
