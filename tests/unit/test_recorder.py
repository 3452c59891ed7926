"""One capture from start to end, with a page that a test plays: its end reason, and what outlives a stay."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from meeta_bot import room_address
from meeta_bot.capture.browser.conference_page import PageNotLoaded
from meeta_bot.capture.browser.health import PageLoss
from meeta_bot.capture.browser.seats import Seats
from meeta_bot.capture.phases import Phase
from meeta_bot.capture.recorder import End, Recorder
from meeta_bot.capture.request import request_for
from meeta_bot.capture.spool import Spool
from meeta_bot.clock import SystemClock
from meeta_bot.events import CaptureEnded, EndReason, GapCause
from tests.unit.builders import settings
from tests.unit.played_page import OWN, Page

ADDRESS = room_address.parse("https://meet.example.org/standup")
WAIT_SECONDS = 10


@pytest.fixture
async def spool(tmp_path: Path) -> AsyncIterator[Spool]:
    opened = Spool(tmp_path / "spool", settings())
    yield opened
    await opened.close()


def recorder_of(spool: Spool, page: Page, **changes: Any) -> Recorder:
    chosen = settings(**changes)
    return Recorder(request_for(ADDRESS, chosen), cast("Seats", page), spool, chosen, SystemClock())


async def end_of(recording: asyncio.Task[End]) -> End:
    return await asyncio.wait_for(recording, WAIT_SECONDS)


async def until(recorder: Recorder, phase: Phase) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while recorder.phase is not phase:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)


async def test_an_error_of_our_own_ends_a_capture_as_such(spool: Spool) -> None:
    recorder = recorder_of(spool, Page(ZeroDivisionError("a secret may be in here")))
    end = await asyncio.wait_for(recorder.run(), WAIT_SECONDS)
    assert end == (EndReason.INTERNAL_ERROR, "ZeroDivisionError")
    assert recorder.last_event is not None
    assert isinstance(recorder.last_event.payload, CaptureEnded)
    assert recorder.last_event.payload.reason is EndReason.INTERNAL_ERROR
    assert recorder.phase is Phase.ENDED


async def test_one_that_never_was_in_its_room_ends_for_what_may_pass(spool: Spool) -> None:
    recorder = recorder_of(spool, Page(PageNotLoaded("nothing listens", EndReason.ROOM_UNREACHABLE)))
    end = await asyncio.wait_for(recorder.run(), WAIT_SECONDS)
    assert end == (EndReason.ROOM_UNREACHABLE, "nothing listens")


async def test_a_seat_is_given_back_once_the_next_stay_has_its_own(spool: Spool) -> None:
    page = Page()
    recorder = recorder_of(spool, page)
    recording = asyncio.create_task(recorder.run())
    await asyncio.wait_for(page.has_joined.wait(), WAIT_SECONDS)
    page.say("conference.joined", OWN)
    await until(recorder, Phase.IN_ROOM)
    page.has_joined.clear()
    assert page.on_lost is not None
    page.on_lost(PageLoss(GapCause.PAGE_CRASHED, "the page's process died"))
    await asyncio.wait_for(page.has_joined.wait(), WAIT_SECONDS)
    assert page.calls == ["take", "join", "forget", "take", "vacate", "join"]
    assert page.keys == [f"{recorder.capture_id}.1", f"{recorder.capture_id}.2"]
    assert recorder.phase is Phase.RECONNECTING
    recorder.stop(EndReason.OPERATOR)
    assert await end_of(recording) == (EndReason.OPERATOR, None)
    assert page.calls[6:] == ["forget", "vacate"]


async def test_one_that_was_in_its_room_tries_again_after_what_may_pass(spool: Spool) -> None:
    page = Page()
    recorder = recorder_of(spool, page, reconnect_timeout=1, reconnect_pause_initial=1)
    recording = asyncio.create_task(recorder.run())
    await asyncio.wait_for(page.has_joined.wait(), WAIT_SECONDS)
    page.say("conference.joined", OWN)
    await until(recorder, Phase.IN_ROOM)
    page.problem = PageNotLoaded("nothing listens", EndReason.ROOM_UNREACHABLE)
    page.say("connection.connectionFailed", "connection.droppedError")
    assert await end_of(recording) == (EndReason.RECONNECT_EXHAUSTED, "nothing listens")
