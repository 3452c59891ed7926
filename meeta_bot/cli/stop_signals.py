"""Signals that ask a recording to stop: the first one leaves the rooms, a second one ends the process at once."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from typing import NoReturn

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopSignals:
    """The signals of one recording.

    A terminal sends Ctrl-C to everybody in front, and whoever started the program may pass it on, as the same signal or
    another. So all that come within ``window`` seconds of the first are one request.
    """

    def __init__(
        self,
        leave: Callable[[], None],
        stop_at_once: Callable[[], NoReturn],
        window: float,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._leave = leave
        self._stop_at_once = stop_at_once
        self._window = window
        self._now = now
        self._asked_at: float | None = None

    def handle(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take the signals that mean nothing else from now on."""
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, self.asked)

    def asked(self) -> None:
        """Note that a signal came."""
        if self._asked_at is None:
            self._asked_at = self._now()
            self._leave()
        elif self._now() - self._asked_at > self._window:
            self._stop_at_once()
