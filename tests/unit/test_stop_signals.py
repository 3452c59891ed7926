"""Signals to stop: which of them are one request."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import NoReturn

import pytest

from meeta_bot.cli.stop_signals import StopSignals
from tests.unit.builders import settings

WINDOW = 0.5
WAIT_SECONDS = 10


class AtOnce(Exception):
    """Stands for the end of the process."""


class Asked:
    """The handler, on a clock that the test sets."""

    def __init__(self) -> None:
        self.now = 100.0
        self.left = 0
        self.signals = StopSignals(self._leave, self._at_once, WINDOW, lambda: self.now)

    def _leave(self) -> None:
        self.left += 1

    def _at_once(self) -> NoReturn:
        raise AtOnce


@pytest.mark.parametrize("delays", [(0.0,), (0.01,), (0.1, 0.2), (WINDOW,)])
def test_what_comes_together_is_one_request(delays: tuple[float, ...]) -> None:
    one = Asked()
    one.signals.asked()
    for delay in delays:
        one.now = 100.0 + delay
        one.signals.asked()
    assert one.left == 1


def test_a_second_request_stops_at_once_though_the_first_came_twice() -> None:
    one = Asked()
    one.signals.asked()
    one.now += 0.01
    one.signals.asked()
    one.now += WINDOW
    with pytest.raises(AtOnce):
        one.signals.asked()
    assert one.left == 1


async def test_a_terminal_s_signal_and_another_that_passes_it_on_are_one_request() -> None:
    loop, asked = asyncio.get_running_loop(), asyncio.Event()
    stopped: list[AtOnce] = []

    def at_once() -> NoReturn:
        stopped.append(AtOnce())
        raise stopped[-1]

    signals = StopSignals(asked.set, at_once, settings().stop_signals_window)
    signals.handle(loop)
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
            os.kill(os.getpid(), number)
            await asyncio.wait_for(asked.wait(), WAIT_SECONDS)
            await asyncio.sleep(0.01)  # the loop hears of signals in turns
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
    assert stopped == []
