"""The clocks of this machine; no other module reads them, so that tests can make time jump."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """The clocks that a recorder reads. All values are whole milliseconds."""

    def wall_ms(self) -> int:
        """Read the wall clock: milliseconds since 1970-01-01T00:00:00Z. May jump in both directions."""
        ...

    def monotonic_ms(self) -> float:
        """Read CLOCK_MONOTONIC. Never goes back; stands still while the machine is suspended."""
        ...

    def boot_ms(self) -> float:
        """Read CLOCK_BOOTTIME. Never goes back and counts the time that the machine was suspended."""
        ...


class SystemClock:
    """The clocks of this machine."""

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_ms(self) -> float:
        return time.monotonic_ns() / 1_000_000

    def boot_ms(self) -> float:
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) / 1_000_000
