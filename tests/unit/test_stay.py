"""One stay in a room, with a page that a test plays: its news, its losses, and nothing that goes on in the next."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from meeta_bot import events, room_address
from meeta_bot.capture.admission import Action, Refusal
from meeta_bot.capture.browser.conference_page import PageNotLoaded
from meeta_bot.capture.browser.seats import Seats
from meeta_bot.capture.log import CaptureLog
from meeta_bot.capture.phases import Phase
from meeta_bot.capture.request import request_for
from meeta_bot.capture.spool import Spool
from meeta_bot.capture.stay import News, Queued, RoomLoss, Seated, Stay
from meeta_bot.clock import SystemClock
from meeta_bot.errors import BrowserError, PageError
from meeta_bot.events import EndReason, GapCause
from tests.unit.builders import settings, state
from tests.unit.played_page import OWN, Page

ADDRESS = room_address.parse("https://meet.example.org/Standup?jwt=a-token")
WAIT_SECONDS = 10


class Staying:
    """A stay that runs, and its news."""

    def __init__(self, spool: Spool, page: Page, **changes: Any) -> None:
        chosen, clock = settings(**changes), SystemClock()
        self.page = page
        self.log = CaptureLog(state(), spool, chosen, clock, asyncio.Event())
        self.news: asyncio.Queue[News] = asyncio.Queue()
        request = request_for(ADDRESS, chosen)
        self.stay = Stay("key", request, cast("Seats", page), self.log, chosen, clock, self.news.put_nowait)
        self.running = asyncio.create_task(self.stay.run())

    async def next(self) -> News:
        return await asyncio.wait_for(self.news.get(), WAIT_SECONDS)

    async def seated(self) -> None:
        """Wait until the bot has begun to join."""
        assert isinstance(await self.next(), Seated)
        await asyncio.wait_for(self.page.has_joined.wait(), WAIT_SECONDS)

    async def over(self) -> RoomLoss | None:
        return await asyncio.wait_for(self.running, WAIT_SECONDS)


@pytest.fixture
async def spool(tmp_path: Path) -> AsyncIterator[Spool]:
    opened = Spool(tmp_path / "spool", settings())
    yield opened
    await opened.close()


async def test_news_come_once_they_are_on_disk_and_then_the_page_hears_of_it(spool: Spool) -> None:
    one = Staying(spool, Page())
    await one.seated()
    one.page.say("conference.joined", OWN)
    assert isinstance(await one.next(), events.ConferenceJoined)
    assert one.page.joined == {"room": "standup", "name": "Event recorder", "token": "a-token", "password": None}
    assert one.log.position.last_seq == one.log.state.counts.events
    assert one.page.acknowledged == 1
    one.stay.lose(RoomLoss(GapCause.PAGE_CRASHED, "first"))
    one.stay.lose(RoomLoss(GapCause.PAGE_HUNG, "second"))
    assert await one.over() == RoomLoss(GapCause.PAGE_CRASHED, "first")


async def test_what_the_page_handed_over_before_it_was_lost_is_taken(spool: Spool) -> None:
    one = Staying(spool, Page())
    one.page.is_slow = True
    await one.seated()
    one.stay.lose(RoomLoss(GapCause.PAGE_CRASHED, "gone"))
    one.page.say("conference.joined", OWN)
    await one.over()
    assert isinstance(await one.next(), events.ConferenceJoined)
    assert one.page.acknowledged == 1
    assert one.page.calls == ["take", "join", "forget"]


async def test_a_page_can_t_speak_in_the_recorder_s_name(spool: Spool) -> None:
    one = Staying(spool, Page())
    await one.seated()
    one.page.say("recorder.ended", {"reason": "operator"})
    assert isinstance(await one.next(), events.Unknown)
    assert not one.log.state.ended
    one.running.cancel()


@pytest.mark.parametrize(
    ("problem", "cause"),
    [(PageError("gone"), GapCause.PAGE_CRASHED), (BrowserError("gone"), GapCause.BROWSER_CRASHED)],
)
async def test_a_page_or_browser_that_is_dead_is_a_loss(spool: Spool, problem: Exception, cause: GapCause) -> None:
    one = Staying(spool, Page(problem))
    assert await one.over() == RoomLoss(cause, "gone")


async def test_a_page_that_is_none_of_jitsi_is_a_refusal_that_may_pass(spool: Spool) -> None:
    one = Staying(spool, Page(PageNotLoaded("no Jitsi", EndReason.NOT_JITSI)))
    assert await one.over() is None
    assert await one.next() == Refusal(EndReason.NOT_JITSI, "no Jitsi", Action.RETURN)


async def test_a_deadline_refuses_and_the_stay_goes_on_until_its_owner_says_so(spool: Spool) -> None:
    one = Staying(spool, Page(), join_timeout=0.05)
    await one.seated()
    assert await one.next() == Refusal(EndReason.JOIN_TIMEOUT, "not in the room after 0.05 s", Action.RETURN)
    await asyncio.wait_for(one.stay.leave(), WAIT_SECONDS)
    assert not one.running.done()
    one.running.cancel()


async def test_a_lobby_has_a_longer_time_of_its_own(spool: Spool) -> None:
    one = Staying(spool, Page(), join_timeout=0.05, lobby_timeout=0.1)
    await one.seated()
    one.stay.knock()
    assert await one.next() == Refusal(EndReason.LOBBY_TIMEOUT, "not let in after 0.1 s")
    assert one.page.calls == ["take", "join", "knock Event recorder"]
    one.running.cancel()


HOST = Refusal(EndReason.AUTHENTICATION_REQUIRED, "why", Action.ASK, Phase.HOST)
FOCUS = Refusal(EndReason.ROOM_UNREACHABLE, "why", Action.ASK)


async def test_who_waits_for_the_host_asks_again_and_has_a_longer_time_of_its_own(spool: Spool) -> None:
    one = Staying(spool, Page(), join_timeout=0.05, host_timeout=0.3, ask_pause=0.02)
    await one.seated()
    one.stay.ask_again(HOST)
    assert await one.next() == Refusal(EndReason.AUTHENTICATION_REQUIRED, "waiting for the host for 0.3 s")
    assert one.page.calls.count("join_again") > 2
    one.running.cancel()


async def test_who_is_asked_in_asks_no_more(spool: Spool) -> None:
    one = Staying(spool, Page(), ask_pause=0.01)
    await one.seated()
    one.stay.ask_again(HOST)
    await one.page.until_called("join_again")
    one.stay.note_asked_in()
    asked = one.page.calls.count("join_again")
    one.page.say("conference.joined", OWN)
    await one.next()
    assert one.page.calls.count("join_again") == asked
    one.running.cancel()


async def test_what_may_pass_is_asked_again_within_the_join_s_time_with_the_last_word_at_its_end(spool: Spool) -> None:
    one = Staying(spool, Page(), join_timeout=0.2, reconnect_pause_initial=0.01, ask_pause=0.02)
    await one.seated()
    failed = events.ConnectionFailed(error="connection.conferenceRequestFailed")
    assert one.stay.judge(failed, was_in_room=False) == FOCUS._replace(detail=failed.error)
    one.stay.ask_again(FOCUS)
    detail = "not in the room after 0.2 s; the server's last word: connection.conferenceRequestFailed"
    assert await one.next() == Refusal(EndReason.ROOM_UNREACHABLE, detail, Action.RETURN)
    assert one.page.calls.count("join_again") > 2
    one.running.cancel()


async def test_who_asked_the_room_and_hears_nothing_stands_in_a_queue(spool: Spool) -> None:
    one = Staying(spool, Page(), join_timeout=0.05, queue_timeout=0.1)
    await one.seated()
    one.stay.note_asked_in()
    assert isinstance(await one.next(), Queued)
    assert await one.next() == Refusal(EndReason.JOIN_TIMEOUT, "waiting in the queue for 0.1 s")
    assert one.page.calls == ["take", "join"]  # asking again would be the end of the queue
    one.running.cancel()


async def test_a_host_may_come_and_a_lobby_be_behind_the_door(spool: Spool) -> None:
    one = Staying(
        spool, Page(), join_timeout=0.02, host_timeout=WAIT_SECONDS, lobby_timeout=0.1, ask_pause=WAIT_SECONDS
    )
    await one.seated()
    one.stay.ask_again(HOST)
    asyncio.get_running_loop().call_later(0.05, one.stay.knock)
    assert await one.next() == Refusal(EndReason.LOBBY_TIMEOUT, "not let in after 0.1 s")
    one.running.cancel()


async def test_signalling_has_its_time_to_come_back(spool: Spool) -> None:
    one = Staying(spool, Page(), signalling_timeout=0.05)
    await one.seated()
    one.stay.give_signalling_time()
    one.stay.signalling_is_back()
    await asyncio.sleep(0.1)
    assert not one.running.done()
    one.stay.give_signalling_time()
    assert await one.over() == RoomLoss(GapCause.SIGNALLING_LOST, "signalling was gone for 0.05 s")


async def test_a_stay_that_is_over_leaves_no_deadline_behind(spool: Spool) -> None:
    one = Staying(spool, Page(), signalling_timeout=0.05, join_timeout=0.1)
    await one.seated()
    one.stay.give_signalling_time()
    one.stay.lose(RoomLoss(GapCause.PAGE_CRASHED, "gone"))
    await one.over()
    await asyncio.sleep(0.15)
    assert one.news.empty()
    assert await one.over() == RoomLoss(GapCause.PAGE_CRASHED, "gone")
