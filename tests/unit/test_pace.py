"""Rooms are joined at a bounded rate, few at once, in the order asked for."""

from __future__ import annotations

import asyncio

from meeta_bot import settings
from meeta_bot.capture.pace import JoinPace


async def test_no_more_than_so_many_are_on_their_way_at_once() -> None:
    pace = JoinPace(settings.load({"joins_at_once": 3, "joins_per_second": 10_000}))
    inside, most, order = 0, 0, []
    full, release = asyncio.Event(), asyncio.Event()

    async def join(number: int) -> None:
        nonlocal inside, most
        async with pace.turn():
            inside, most = inside + 1, max(most, inside + 1)
            order.append(number)
            if inside == 3:
                full.set()
            await release.wait()
            inside -= 1

    joins = [asyncio.create_task(join(number)) for number in range(10)]
    await asyncio.wait_for(full.wait(), 10)
    release.set()
    await asyncio.gather(*joins)
    assert most == 3
    assert order == list(range(10))


async def test_no_more_than_so_many_begin_in_a_second() -> None:
    pace = JoinPace(settings.load({"joins_at_once": 100, "joins_per_second": 50}))
    loop = asyncio.get_running_loop()
    began: list[float] = []

    async def join() -> None:
        async with pace.turn():
            began.append(loop.time())

    await asyncio.gather(*(join() for _ in range(10)))

    assert began[-1] - began[0] >= 9 / 50 - 0.001


async def test_who_gives_up_waiting_holds_nobody_up() -> None:
    pace = JoinPace(settings.load({"joins_at_once": 1, "joins_per_second": 10_000}))
    entered, release = asyncio.Event(), asyncio.Event()

    async def join() -> None:
        async with pace.turn():
            entered.set()
            await release.wait()

    first, second, third = (asyncio.create_task(join()) for _ in range(3))
    await asyncio.wait_for(entered.wait(), 10)
    second.cancel()
    release.set()
    await asyncio.wait_for(asyncio.gather(first, third), 10)
