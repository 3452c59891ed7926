"""The bridge: batches from a page become messages in order and once, and the page is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from playwright.async_api import CDPSession
from playwright.async_api import Error as PlaywrightError

from meeta_bot.capture.browser.bridge import (
    BINDING,
    Channel,
    PageBatch,
    PageBooks,
    PageBridge,
    PageHeartbeat,
    PageMessage,
    decode_batch,
    decode_heartbeat,
)
from meeta_bot.clock import SystemClock
from tests.unit.builders import settings


class Page:
    """The page's end of the DevTools protocol: keeps what is evaluated in it."""

    def __init__(self) -> None:
        self.evaluated: list[str] = []
        self.tries = 0
        self.gone = False
        self._listeners: dict[str, Callable[[dict[str, Any]], None]] = {}
        self._news = asyncio.Condition()

    def on(self, name: str, listener: Callable[[dict[str, Any]], None]) -> None:
        self._listeners[name] = listener

    async def send(self, command: str, options: dict[str, Any] | None = None) -> None:
        if command != "Runtime.evaluate":
            return
        self.tries += 1
        if not self.gone:
            self.evaluated.append((options or {})["expression"])
        async with self._news:
            self._news.notify_all()
        if self.gone:
            raise PlaywrightError("Target closed")

    async def asked(self, times: int) -> None:
        """Wait until something was tried to be evaluated so often."""
        async with asyncio.timeout(5), self._news:
            await self._news.wait_for(lambda: self.tries >= times)

    async def heard(self, expression: str, times: int = 1) -> None:
        """Wait until that was evaluated so often."""
        async with asyncio.timeout(5), self._news:
            await self._news.wait_for(lambda: self.evaluated.count(expression) >= times)

    async def heard_all(self, bridge: PageBridge) -> list[str]:
        """What was evaluated by everything that is under way now."""
        bridge.call("the last")
        await self.heard("the last")
        self.evaluated.remove("the last")
        return self.evaluated

    def call(self, payload: str, name: str = BINDING) -> None:
        """The page calls the binding."""
        self._listeners["Runtime.bindingCalled"]({"name": name, "payload": payload})

    def deliver(self, *numbers: int, conference: str = "c", page_load: str = "load-1") -> None:
        messages = [[number, 1_700_000_000_000, number, "origin", [page_load]] for number in numbers]
        self.call(
            msgspec.json.encode({"conference": conference, "page_load": page_load, "messages": messages}).decode()
        )

    def beat(self, *conferences: list[Any], page_load: str = "load-1") -> None:
        beat = {"page_load": page_load, "alive": 5100.5, "wall_ms": 1_700_000_000_000, "conferences": conferences}
        self.call(msgspec.json.encode(beat).decode())


class SetClock(SystemClock):
    """A monotonic clock that the test sets."""

    def __init__(self) -> None:
        self.now_ms = 1000.0

    def monotonic_ms(self) -> float:
        return self.now_ms


@pytest.fixture
def page() -> Page:
    return Page()


@pytest.fixture
async def bridge(page: Page) -> AsyncIterator[PageBridge]:
    made = PageBridge(cast("CDPSession", page), SystemClock(), settings(bridge_queue_batches=3))
    await made.install()
    yield made
    await made.close()


@pytest.fixture
def channel(bridge: PageBridge) -> Channel:
    return bridge.open("c")


def numbers(messages: list[PageMessage]) -> list[int]:
    return [message.page_seq for message in messages]


# --- decoding -----------------------------------------------------------------------------------------------------

BATCH = '{"conference":"c","page_load":"l","messages":[[1,1700000000000,5.5,"o",[%s]]]}'


def test_a_batch_is_decoded() -> None:
    message = PageMessage(1, 1_700_000_000_000, 5.5, "o", [{"a": [1, None, "x"]}])
    assert decode_batch(BATCH % '{"a":[1,null,"x"]}') == PageBatch("c", "l", [message])


@pytest.mark.parametrize(
    ("text", "decoded"),
    [
        (r'"\ud800"', "�"),
        (r'"a\udc00b"', "a�b"),
        (r'"\ud83d\ude00"', "😀"),
        ('"\ud800"', "�"),
        (r'{"\udfff":1}', {"�": 1}),
        (r'["\ud800",{"a":"\ud800"}]', ["�", {"a": "�"}]),
    ],
)
def test_lone_surrogates_are_replaced_wherever_they_are(text: str, decoded: Any) -> None:
    assert decode_batch(BATCH % text).messages[0].args == [decoded]


def test_nul_is_let_through_for_the_canonical_form_to_replace() -> None:
    assert decode_batch(BATCH % r'"a\u0000b"').messages[0].args == ["a\x00b"]


@pytest.mark.parametrize(
    "payload",
    [
        "",
        "null",
        "[]",
        "{}",
        "{",
        '{"conference":"c","page_load":"l"}',
        '{"conference":1,"page_load":"l","messages":[]}',
        '{"conference":"c","page_load":"l","messages":[[1,2,3,"o"]]}',
        '{"conference":"c","page_load":"l","messages":[["1",2,3,"o",[]]]}',
        '{"conference":"c","page_load":"l","messages":[[1,2,3,"o",{}]]}',
        '{"conference":"c","page_load":"l","messages":[[0,2,3,"o",[]]]}',
        '{"conference":"c","page_load":"l","messages":[[1.5,2,3,"o",[]]]}',
        '{"conference":"c","page_load":"l","messages":[[99999999999999999999,2,3,"o",[]]]}',
        '{"conference":"c","page_load":"l","messages":[[1,1e300,3,"o",[]]]}',
        '{"conference":"c","page_load":"l","messages":[[1,2,1e999,"o",[]]]}',
        '{"conference":"c","page_load":"l","messages":[[1,NaN,3,"o",[]]]}',
        '{"conference":"c","page_load":"l","messages":[[1,2,3,"o",[NaN]]]}',
        '{"conference":"c","page_load":"l","messages":[[1,2,3,"o",[Infinity]]]}',
        '{"conference":"c","page_load":"l","messages":[[1,2,3,"o",[' + "[" * 100_000,
        "[" * 100_000 + "]" * 100_000,
        BATCH % ("1" * 5000),
        "\x00",
        "\ud800",
    ],
)
def test_what_is_no_batch_is_a_decode_error(payload: str) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_batch(payload)


@given(st.text(st.characters(codec=None, categories=None)))
def test_any_text_is_a_batch_or_a_decode_error(payload: str) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_batch(payload)


HEARTBEAT = '{"page_load":"l","alive":5100.5,"wall_ms":1700000000000,"conferences":[["c.1",7,2,0],["%s",0,0,3]]}'


@pytest.mark.parametrize(("key", "decoded"), [("c.2", "c.2"), (r"\"", '"'), (r"\ud800", "�")])
def test_a_heartbeat_is_decoded(key: str, decoded: str) -> None:
    books = [PageBooks("c.1", 7, 2, 0), PageBooks(decoded, 0, 0, 3)]
    assert decode_heartbeat(HEARTBEAT % key) == PageHeartbeat("l", 5100.5, 1_700_000_000_000, books)


@pytest.mark.parametrize(
    "payload",
    [
        "",
        "{}",
        '{"page_load"',
        '{"page_load":"l","alive":1,"wall_ms":1}',
        '{"page_load":"l","alive":1,"wall_ms":1,"conferences":[["c",-1,0,0]]}',
        '{"page_load":"l","alive":1,"wall_ms":1,"conferences":[["c",1,0]]}',
        '{"page_load":"l","alive":1,"wall_ms":1,"conferences":[["c",1.5,0,0]]}',
        '{"page_load":"l","alive":1e999,"wall_ms":1,"conferences":[]}',
        '{"page_load":1,"alive":1,"wall_ms":1,"conferences":[]}',
        '{"page_load":"l","alive":1,"wall_ms":1,"conferences":' + "[" * 100_000,
        '{"page_load":"\ud800',
    ],
)
def test_what_is_no_heartbeat_is_a_decode_error(payload: str) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_heartbeat(payload)


# --- the channel --------------------------------------------------------------------------------------------------


async def test_messages_come_in_order_and_once(page: Page, channel: Channel) -> None:
    page.deliver(1, 2)
    page.deliver(2, 3)
    page.deliver(1, 2, 3)
    page.deliver(4)
    received = await channel.receive()
    assert numbers(received) == [1, 2, 3]  # the queue has room for three
    page.deliver(4, 5)
    assert numbers(await channel.receive()) == [4, 5]


async def test_what_was_handed_on_before_is_acknowledged_again(
    page: Page, bridge: PageBridge, channel: Channel
) -> None:
    page.deliver(1, 2)
    assert numbers(await channel.receive()) == [1, 2]
    bridge.acknowledge("c", 2)
    await page.heard('meetaBot.acknowledge("c", 2)')
    page.deliver(1, 2)
    assert channel.receive_nowait() == []
    await page.heard('meetaBot.acknowledge("c", 2)', times=2)


async def test_what_is_handed_on_but_not_on_disk_is_not_acknowledged(
    page: Page, bridge: PageBridge, channel: Channel
) -> None:
    page.deliver(1)
    await channel.receive()
    page.deliver(1)
    assert channel.receive_nowait() == []
    assert await page.heard_all(bridge) == []


async def test_behind_a_hole_the_page_is_asked_once_to_send_again(
    page: Page, bridge: PageBridge, channel: Channel
) -> None:
    page.deliver(1)
    page.deliver(3)
    page.deliver(4)
    assert numbers(channel.receive_nowait()) == [1]
    assert await page.heard_all(bridge) == ['meetaBot.rewind("c")']
    page.deliver(2, 3, 4)
    page.deliver(6)
    assert numbers(channel.receive_nowait()) == [2, 3, 4]
    assert await page.heard_all(bridge) == ['meetaBot.rewind("c")'] * 2


async def test_a_hole_inside_a_batch_hands_on_what_is_before_it(page: Page, channel: Channel) -> None:
    page.deliver(1, 2, 4)
    assert numbers(await channel.receive()) == [1, 2]
    await page.heard('meetaBot.rewind("c")')


async def test_a_first_batch_that_does_not_begin_at_one_is_behind_a_hole(page: Page, channel: Channel) -> None:
    page.deliver(2)
    assert channel.receive_nowait() == []
    await page.heard('meetaBot.rewind("c")')


async def test_batches_of_another_load_of_the_page_are_ignored(page: Page, channel: Channel) -> None:
    page.deliver(1)
    page.deliver(2, page_load="load-2")
    page.deliver(2)
    received = await channel.receive()
    assert [(message.page_seq, message.args) for message in received] == [(1, ["load-1"]), (2, ["load-1"])]
    assert channel.page_load == "load-1"


async def test_a_full_queue_refuses_and_what_was_refused_can_come_again(page: Page, channel: Channel) -> None:
    for number in (1, 2, 3, 4):
        page.deliver(number)
    assert numbers(channel.receive_nowait()) == [1, 2, 3]
    page.deliver(4)
    assert numbers(channel.receive_nowait()) == [4]


async def test_receive_waits_for_something_new(page: Page, channel: Channel) -> None:
    waiting = asyncio.ensure_future(channel.receive())
    page.deliver(1)
    assert numbers(await waiting) == [1]
    again = asyncio.ensure_future(channel.receive())
    page.deliver(1)
    page.deliver(2)
    assert numbers(await asyncio.wait_for(again, 5)) == [2]


async def test_two_conferences_of_a_page_do_not_mix(page: Page, bridge: PageBridge) -> None:
    first, second = bridge.open("a"), bridge.open('b"')
    page.deliver(1, conference='b"')
    page.deliver(1, 2, conference="a")
    assert numbers(first.receive_nowait()) == [1, 2]
    assert numbers(second.receive_nowait()) == [1]
    bridge.acknowledge('b"', 1)
    await page.heard('meetaBot.acknowledge("b\\"", 1)')


@given(st.lists(st.lists(st.integers(1, 12), min_size=1, max_size=4), max_size=20))
def test_whatever_arrives_only_the_next_number_is_handed_on(batches: list[list[int]]) -> None:
    class Silent:
        def rewind(self, _conference: str) -> None: ...

        def acknowledge_again(self, _conference: str) -> None: ...

    channel = Channel(cast("PageBridge", Silent()), "c", 4)
    received: list[int] = []
    for batch in batches:
        channel.offer(PageBatch("c", "l", [PageMessage(number, 0, 0, "o", []) for number in batch]))
        received += numbers(channel.receive_nowait())
    assert received == list(range(1, len(received) + 1))
    assert channel.page_seq == len(received)


# --- the binding --------------------------------------------------------------------------------------------------


async def test_what_is_no_batch_is_counted_and_the_next_batch_is_heard(
    page: Page, bridge: PageBridge, channel: Channel
) -> None:
    page.call("not JSON")
    page.call("[" * 100_000)
    page.deliver(1, conference="nobody's")
    assert bridge.malformed == 3
    page.deliver(1)
    assert numbers(channel.receive_nowait()) == [1]


async def test_what_is_no_heartbeat_is_counted_as_well(page: Page, bridge: PageBridge, channel: Channel) -> None:
    page.call('{"page_load":"load-1"}')
    page.call('{"page_load')
    assert bridge.malformed == 2
    assert channel.made is None


async def test_calls_of_other_bindings_are_not_ours(page: Page, bridge: PageBridge, channel: Channel) -> None:
    page.call("not JSON", name="somebodyElse")
    assert bridge.malformed == 0


async def test_of_several_acknowledgements_the_last_is_told(page: Page, bridge: PageBridge, channel: Channel) -> None:
    for number in (1, 2, 3):
        bridge.acknowledge("c", number)
    await page.heard('meetaBot.acknowledge("c", 3)')
    assert page.evaluated == ['meetaBot.acknowledge("c", 3)']


# The pauses here never end by themselves: what is heard was told because it was due.

PATIENT = {"acknowledge_pause": 3600, "page_window_batches": 4}


async def opened(page: Page, **changes: Any) -> tuple[PageBridge, Channel]:
    bridge = PageBridge(cast("CDPSession", page), SystemClock(), settings(**changes))
    await bridge.install()
    return bridge, bridge.open("c")


async def test_acknowledgements_gather_until_half_the_window_is_used(page: Page) -> None:
    bridge, channel = await opened(page, **PATIENT)
    for number in (1, 2):
        page.deliver(number)
        await channel.receive()
        bridge.acknowledge("c", number)
        assert (await page.heard_all(bridge) == []) is (number == 1)
    await page.heard('meetaBot.acknowledge("c", 2)')
    page.deliver(3)
    await channel.receive()
    bridge.acknowledge("c", 3)
    assert await page.heard_all(bridge) == ['meetaBot.acknowledge("c", 2)']
    await bridge.close()


async def test_batches_that_arrive_while_others_are_written_count_for_the_next_acknowledgement(page: Page) -> None:
    bridge, channel = await opened(page, **PATIENT)
    page.deliver(1)
    await channel.receive()
    bridge.acknowledge("c", 1)
    page.deliver(2)
    page.deliver(3)
    await channel.receive()
    assert await page.heard_all(bridge) == []
    bridge.acknowledge("c", 3)
    await page.heard('meetaBot.acknowledge("c", 3)')
    await bridge.close()


async def test_what_came_twice_is_acknowledged_without_a_pause(page: Page) -> None:
    bridge, channel = await opened(page, **PATIENT)
    page.deliver(1)
    await channel.receive()
    bridge.acknowledge("c", 1)
    page.deliver(1)
    assert channel.receive_nowait() == []
    await page.heard('meetaBot.acknowledge("c", 1)')
    await bridge.close()


async def test_a_pause_ends(page: Page) -> None:
    bridge, channel = await opened(page, acknowledge_pause=0.001, page_window_batches=1000)
    page.deliver(1)
    await channel.receive()
    bridge.acknowledge("c", 1)
    await page.heard('meetaBot.acknowledge("c", 1)')
    await bridge.close()


async def test_an_acknowledgement_after_the_end_is_nobody_s(page: Page) -> None:
    bridge, _ = await opened(page, page_window_batches=1)
    bridge.shut("c")
    bridge.acknowledge("c", 1)
    other = bridge.open("d")
    page.deliver(1, conference="d")
    await other.receive()
    bridge.acknowledge("d", 1)
    await page.heard('meetaBot.acknowledge("d", 1)')
    assert page.evaluated == ['meetaBot.acknowledge("d", 1)']
    await bridge.close()


async def test_a_page_that_is_gone_does_not_mind(page: Page, bridge: PageBridge, channel: Channel) -> None:
    page.gone = True
    bridge.rewind("c")
    bridge.acknowledge("c", 1)
    await page.asked(2)
    page.gone = False
    bridge.acknowledge("c", 2)
    await page.heard('meetaBot.acknowledge("c", 2)')


async def test_what_the_page_says_of_its_conferences_is_on_their_channels(
    page: Page, bridge: PageBridge, channel: Channel
) -> None:
    other = bridge.open("c.2")
    page.deliver(1, 2)
    await channel.receive()
    assert (channel.made, channel.missed) == (None, None)
    page.beat(["c", 5, 3, 4], ["nobody's", 1, 0, 0])
    assert (channel.made, channel.missed, channel.page_seq) == (5, 4, 2)
    assert (other.made, other.missed) == (None, None)
    page.deliver(3, 4, 5, 6)
    await channel.receive()
    assert channel.made == 6  # it has made what it has told since
    assert bridge.malformed == 0


async def test_what_another_load_of_the_page_says_is_not_this_channel_s(page: Page, channel: Channel) -> None:
    page.deliver(1)
    await channel.receive()
    page.beat(["c", 99, 0, 0], page_load="load-2")
    assert channel.made is None


async def test_batches_and_heartbeats_are_signs_of_life_and_nothing_else_is(page: Page) -> None:
    clock = SetClock()
    bridge = PageBridge(cast("CDPSession", page), clock, settings())
    clock.now_ms = 2000.0
    await bridge.install()
    bridge.open("c")
    heard = [bridge.heard_ms]
    calls: list[Callable[[], None]] = [
        lambda: page.deliver(1),
        lambda: page.beat(),
        lambda: page.call("no batch"),
        lambda: page.call("{}", name="somebodyElse"),
        lambda: page.deliver(1),
    ]
    for call in calls:
        clock.now_ms += 1000.0
        call()
        heard.append(bridge.heard_ms)
    assert heard == [2000.0, 3000.0, 4000.0, 4000.0, 4000.0, 7000.0]
    await bridge.close()


async def test_the_last_acknowledgement_of_a_conference_can_be_asked_for(
    page: Page, bridge: PageBridge, channel: Channel
) -> None:
    assert bridge.acknowledged("c") == 0
    bridge.acknowledge("c", 7)
    assert bridge.acknowledged("c") == 7
    bridge.shut("c")
    assert bridge.acknowledged("c") == 0


async def test_what_the_page_is_called_for_is_said_before_it_closes(page: Page, bridge: PageBridge) -> None:
    bridge.call("goodbye")
    await bridge.settle()
    assert page.evaluated == ["goodbye"]
    await bridge.settle()


async def test_a_page_that_does_not_answer_does_not_hold_up_its_closing() -> None:
    class Hanging(Page):
        async def send(self, command: str, options: dict[str, Any] | None = None) -> None:
            if command == "Runtime.evaluate":
                await asyncio.Event().wait()

    bridge = PageBridge(cast("CDPSession", Hanging()), SystemClock(), settings(leave_timeout=0.01))
    await bridge.install()
    bridge.call("goodbye")
    async with asyncio.timeout(5):
        await bridge.settle()
        await bridge.close()


async def test_the_page_s_clock_is_put_onto_ours(bridge: PageBridge) -> None:
    bridge.calibrate(now=100.0, before_ms=5000.0, after_ms=5010.0)
    assert bridge.monotonic_ms(100.0) == 5005.0
    assert bridge.monotonic_ms(160.5) == 5065.5
    assert bridge.earliest_ms(160.5) == 5060.5


async def test_every_reading_of_the_page_s_clock_narrows_what_it_can_be(bridge: PageBridge) -> None:
    bridge.calibrate(now=100.0, before_ms=5000.0, after_ms=5040.0)
    bridge.calibrate(now=200.0, before_ms=5102.0, after_ms=5150.0)
    bridge.calibrate(now=300.0, before_ms=5160.0, after_ms=5210.0)
    assert bridge.earliest_ms(0.0) == 4902.0
    assert bridge.monotonic_ms(0.0) == 4906.0


async def test_closing_is_safe_without_installing_and_twice(page: Page) -> None:
    made = PageBridge(cast("CDPSession", page), SystemClock(), settings())
    await made.close()
    await made.install()
    await made.close()
    await made.close()
