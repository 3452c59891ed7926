"""Waiting for somebody, shown with its age: a host, a start, room, a turn, a moderator at the lobby."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from structlog.typing import FilteringBoundLogger

from meeta_bot.capture.phases import WAITING, Phase
from meeta_bot.clock import Clock
from meeta_bot.settings import Settings


class Waiting:
    """The waits of one capture, as its log tells them."""

    def __init__(self, settings: Settings, clock: Clock, log: FilteringBoundLogger) -> None:
        self._settings = settings
        self._clock = clock
        self._log = log
        self._phase: Phase | None = None
        self._since_ms = 0.0

    def begin(self, phase: Phase, why: str | None) -> None:
        """Say that the bot waits in `phase`, unless it does already."""
        if self._phase is not phase:
            self._phase, self._since_ms = phase, self._clock.monotonic_ms()
            self._log.info("waiting in the lobby" if phase is Phase.LOBBY else phase.value, said=why)

    async def remind(self, phase: Callable[[], Phase]) -> None:
        """Say now and then that the bot still waits, and since when; until cancelled."""
        while True:
            await asyncio.sleep(self._settings.waiting_reminder)
            if phase() in WAITING:
                seconds = round((self._clock.monotonic_ms() - self._since_ms) / 1000)
                self._log.info("still waiting", phase=phase().value, seconds=seconds)
            else:
                self._phase = None
