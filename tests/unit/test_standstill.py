"""The process stands still, the machine is suspended, somebody sets the clock: each is noticed as what it is."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from meeta_bot import settings
from meeta_bot.capture.standstill import Stall, StandstillWatch


@dataclass
class JumpingClock:
    """Clocks that a test sets, in milliseconds."""

    wall: int = 1_700_000_000_000
    monotonic: float = 5_000.0
    boot: float = 9_000.0

    def wall_ms(self) -> int:
        return self.wall

    def monotonic_ms(self) -> float:
        return self.monotonic

    def boot_ms(self) -> float:
        return self.boot

    def passes(self, ms: int, *, suspended: int = 0) -> None:
        self.wall += ms + suspended
        self.monotonic += ms
        self.boot += ms + suspended


@dataclass
class Watched:
    """A watch, its clock, and what it told."""

    clock: JumpingClock = field(default_factory=JumpingClock)
    stalls: list[Stall] = field(default_factory=list)
    jumps: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        chosen = settings.load({"watch_interval": 1, "stall_tolerance": 5, "clock_jump_tolerance": 1})
        self.watch = StandstillWatch(self.clock, chosen, self.stalls.append, self.jumps.append)


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_a_second_like_any_other_is_nothing(watched: Watched) -> None:
    for ms in (1000, 1003, 5999, 1000):
        watched.clock.passes(ms)
        watched.watch.compare()
    assert (watched.stalls, watched.jumps) == ([], [])


def test_a_process_that_was_stopped(watched: Watched) -> None:
    watched.clock.passes(61_000)
    watched.watch.compare()
    assert watched.stalls == [Stall(60_000, 0)]
    assert watched.jumps == []


def test_a_machine_that_was_suspended(watched: Watched) -> None:
    watched.clock.passes(1000, suspended=3_600_000)
    watched.watch.compare()
    assert watched.stalls == [Stall(3_600_000, 3_600_000)]
    assert watched.jumps == []


@pytest.mark.parametrize("jump", [3_600_000, -3_600_000, 1001, -1001])
def test_a_clock_that_was_set(watched: Watched, jump: int) -> None:
    watched.clock.passes(1000)
    watched.clock.wall += jump
    watched.watch.compare()
    assert watched.jumps == [jump]
    assert watched.stalls == []
    watched.clock.passes(1000)
    watched.watch.compare()
    assert watched.jumps == [jump]


def test_a_clock_that_is_slewed_is_no_jump(watched: Watched) -> None:
    for _ in range(10):
        watched.clock.passes(1000)
        watched.clock.wall += 500
        watched.watch.compare()
    assert watched.jumps == []


def test_a_clock_that_was_set_while_the_process_stood_still(watched: Watched) -> None:
    watched.clock.passes(31_000)
    watched.clock.wall -= 7_200_000
    watched.watch.compare()
    assert watched.stalls == [Stall(30_000, 0)]
    assert watched.jumps == [-7_200_000]
