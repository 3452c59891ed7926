"""Standstills of the process (suspended laptop, SIGSTOP, starved machine), and jumps of the wall clock.

CLOCK_MONOTONIC goes on while a process is stopped and stands still while the machine is suspended; CLOCK_BOOTTIME goes
on in both cases; the wall clock goes with CLOCK_BOOTTIME unless somebody sets it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from meeta_bot.clock import Clock
from meeta_bot.settings import Settings


class Stall(NamedTuple):
    """A standstill of ``ms`` up to now; for ``suspended_ms`` of them the whole machine stood still."""

    ms: int
    suspended_ms: int


class StandstillWatch:
    """A comparison of the clocks, again and again. ``on_jump`` gets milliseconds, negative for a clock set back."""

    def __init__(
        self, clock: Clock, settings: Settings, on_stall: Callable[[Stall], None], on_jump: Callable[[int], None]
    ) -> None:
        self._clock = clock
        self._settings = settings
        self._on_stall = on_stall
        self._on_jump = on_jump
        self._last = self._read()

    async def run(self) -> None:
        """Compare until cancelled."""
        while True:
            await asyncio.sleep(self._settings.watch_interval)
            self.compare()

    def compare(self) -> None:
        """Compare the clocks with the last reading, which should have been ``watch_interval`` ago."""
        wall, monotonic, boot = self._read()
        wall_before, monotonic_before, boot_before = self._last
        self._last = (wall, monotonic, boot)
        passed = boot - boot_before
        late = passed - self._settings.watch_interval * 1000
        if late > self._settings.stall_tolerance * 1000:
            suspended = passed - (monotonic - monotonic_before)
            self._on_stall(Stall(int(late), max(0, int(suspended))))
        jump = (wall - wall_before) - passed
        if abs(jump) > self._settings.clock_jump_tolerance * 1000:
            self._on_jump(int(jump))

    def _read(self) -> tuple[float, float, float]:
        return self._clock.wall_ms(), self._clock.monotonic_ms(), self._clock.boot_ms()
