"""The faults at spool and writer. Each function is one run: a load, something bad at a random moment, and its kill."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.chaos import damage
from tests.chaos.children import Child
from tests.chaos.world import World, can_mount
from tests.stack.proxy import Proxy, Way

Inject = Callable[[World, Random], Awaitable[None]]

LIFE = 0.6  # seconds a load lives at most before it is killed; it needs a tenth of that to begin
BIRTH = 0.04  # the same from a point in its start, for those that are to be killed there
DEATH = 0.06  # the same for those that are asked to stop before
MANY = 400  # acknowledged events after which something happens, at most
SMALL_DISK = 8_000_000  # bytes; a spool keeps one million of them in reserve
SMALL_SPOOL = 600_000  # bytes; full after a moment


@dataclass(frozen=True)
class Fault:
    """A fault and how often it is injected in the short and in the long form; `at_once` runs share a world."""

    name: str
    inject: Inject
    short: int
    long: int
    at_once: int = 1
    damages: bool = False  # acknowledged events may be lost, but never in silence
    is_possible: Callable[[], bool] = lambda: True  # on this machine


async def _some(child: Child, chance: Random) -> None:
    """Until the load has got somewhere."""
    await child.until_acknowledged(chance.randint(1, MANY))


async def killed(world: World, chance: Random) -> None:
    child = world.start(chance)
    await asyncio.sleep(chance.uniform(0, LIFE))
    await world.kill(child)


async def killed_starting(world: World, chance: Random) -> None:
    child = world.start(chance)
    phase = chance.choice(["forked", "starting", "adopting"])
    await child.until(phase)
    await asyncio.sleep(chance.uniform(0, BIRTH) * chance.random())  # short ones more often than long ones
    await world.kill(child)


async def killed_stopping(world: World, chance: Random) -> None:
    child = world.start(chance)
    await _some(child, chance)
    world.ask_to_stop(child)
    await asyncio.sleep(chance.uniform(0, DEATH))
    await world.kill(child)


async def stopped(world: World, chance: Random) -> None:
    child = world.start(chance)
    await _some(child, chance)
    child.send(signal.SIGSTOP)
    world.tally.faults += 1
    await asyncio.sleep(chance.uniform(0.02, 0.4))
    if chance.random() < 0.7:
        child.send(signal.SIGCONT)
        await asyncio.sleep(chance.uniform(0, 0.2))
    await world.kill(child)


async def postgres_killed(world: World, chance: Random) -> None:
    child = world.start(chance)
    await _some(child, chance)
    await world.server.kill_all()
    world.tally.faults += 1
    await asyncio.sleep(chance.uniform(0, 0.4))
    await world.kill(child)


async def backend_killed(world: World, chance: Random) -> None:
    child = world.start(chance)
    await _some(child, chance)
    await asyncio.sleep(chance.uniform(0, 0.1))
    world.tally.faults += world.server.kill_backend(chance)
    await asyncio.sleep(chance.uniform(0, 0.4))
    await world.kill(child)


def through_proxy(fault: Callable[[Proxy, Random], Awaitable[None]]) -> Inject:
    """Runs in which the connection to PostgreSQL is broken several times."""

    async def inject(world: World, chance: Random) -> None:
        child = world.start(chance, proxied=True)
        await child.until("recording")
        before = world.proxy.faults
        for _ in range(chance.randint(2, 6)):
            await asyncio.sleep(chance.uniform(0, 0.12))
            await fault(world.proxy, chance)
        await world.kill(child)
        world.tally.faults += world.proxy.faults - before
        world.proxy.restore()

    return inject


async def _cut(proxy: Proxy, chance: Random) -> None:
    proxy.cut()


async def _reset(proxy: Proxy, chance: Random) -> None:
    proxy.reset()


async def _halve(proxy: Proxy, chance: Random) -> None:
    proxy.halve(chance.choice(list(Way)))


async def _stall(proxy: Proxy, chance: Random) -> None:
    proxy.stall()
    proxy.faults += 1
    await asyncio.sleep(chance.uniform(0.02, 0.3))
    if chance.random() < 0.5:
        proxy.reset()
    proxy.restore()


async def full_disk(world: World, chance: Random) -> None:
    """No file of the load may grow beyond a random size; in half of the runs it may again before the kill."""
    child = world.start(chance)
    await _some(child, chance)
    log = max((_size(file) for file in world.home.glob(f"spool/*/{damage.LOG}")), default=0)
    world.tally.faults += _limit_files(child, chance.randrange(log + 50_000))
    await asyncio.sleep(chance.uniform(0.05, 0.3))
    if chance.random() < 0.5:
        _limit_files(child, resource.RLIM_INFINITY)
        await asyncio.sleep(chance.uniform(0, 0.2))
    await world.kill(child)


def _limit_files(child: Child, size: int) -> bool:
    if not child.is_alive:
        return False
    try:
        resource.prlimit(child.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    except ProcessLookupError:
        return False
    return True


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:  # deleted by who closed it last
        return 0


async def small_disk(world: World, chance: Random) -> None:
    """A small filesystem fills up; in half of the runs there is room again before the kill."""
    home = world.new_home()
    world.mount(home, SMALL_DISK)
    world.proxy.refusing = chance.random() < 0.7
    child = world.start(chance, home=home, proxied=True)
    await _some(child, chance)
    ballast = home / "ballast"
    _fill(ballast, leave=chance.randrange(300_000))
    world.tally.faults += 1
    await asyncio.sleep(chance.uniform(0.05, 0.5))
    if chance.random() < 0.5:
        ballast.unlink()
        await asyncio.sleep(chance.uniform(0, 0.2))
    world.proxy.restore()
    await asyncio.sleep(chance.uniform(0, 0.2))
    await world.kill(child)
    ballast.unlink(missing_ok=True)


def _fill(ballast: Path, leave: int) -> None:
    """Take all the room of a filesystem but some bytes; a child that takes some at the same time may have it."""
    with ballast.open("wb") as file, contextlib.suppress(OSError):  # ENOSPC: full it is
        found = os.statvfs(ballast.parent)
        size = found.f_bavail * found.f_frsize - leave
        if size > 0:
            os.posix_fallocate(file.fileno(), 0, size)


async def full_spool(world: World, chance: Random) -> None:
    """The database is away until the spool has reached its bound."""
    world.proxy.refusing = True
    child = world.start(chance, home=world.new_home(), proxied=True, spool_max_bytes=SMALL_SPOOL)
    await child.until("recording")
    await asyncio.sleep(chance.uniform(0.2, 0.7))
    world.proxy.restore()
    world.tally.faults += 1
    await asyncio.sleep(chance.uniform(0, 0.4))
    await world.kill(child)


def damaged(harm: Callable[[Path, Random], str | None], *, in_order: float) -> Inject:
    """Runs in which the bytes of a spool that nobody has open are damaged, and the next load finds it so.

    In half of them all that was recorded is still in the spool. A share `in_order` of the loads stops in order.
    """

    async def inject(world: World, chance: Random) -> None:
        home = world.new_home()
        world.proxy.refusing = chance.random() < 0.5
        child = world.start(chance, home=home, proxied=True, flush_timeout=0.1)
        await _some(child, chance)
        if chance.random() < in_order:
            world.ask_to_stop(child)
            await child.ended()
        await world.kill(child)
        done = [harm(spool, chance) for spool in sorted(home.glob("spool/*"))]
        world.tally.faults += sum(one is not None for one in done)
        world.harmed[home] = ", ".join(one for one in done if one is not None)
        world.proxy.restore()
        child = world.start(chance, home=home, proxied=True)
        await child.until("recording")
        await asyncio.sleep(chance.uniform(0, 0.2))
        await world.kill(child)

    return inject


async def mixed(world: World, chance: Random) -> None:
    """Any of those that may lose nothing."""
    others = [fault for fault in FAULTS if fault.inject is not mixed and not fault.damages and fault.is_possible()]
    await chance.choice(others).inject(world, chance)


FAULTS = (
    Fault("SIGKILL at any moment", killed, 16, 400, at_once=2),
    Fault("SIGKILL while it starts", killed_starting, 12, 200, at_once=2),
    Fault("SIGKILL while it stops", killed_stopping, 6, 100, at_once=2),
    Fault("SIGSTOP, then SIGKILL", stopped, 4, 60, at_once=2),
    Fault("PostgreSQL killed", postgres_killed, 2, 40),
    Fault("backend of PostgreSQL killed", backend_killed, 3, 40),
    Fault("connection cut", through_proxy(_cut), 3, 40),
    Fault("connection stalled", through_proxy(_stall), 3, 40),
    Fault("connection halved", through_proxy(_halve), 3, 40),
    Fault("connection reset", through_proxy(_reset), 3, 40),
    Fault("disk full", full_disk, 4, 50),
    Fault("small filesystem full", small_disk, 2, 30, is_possible=can_mount),
    Fault("spool full", full_spool, 2, 30),
    Fault("log of the spool torn", damaged(damage.tear, in_order=0), 4, 60, damages=True),
    Fault("bit in the spool flipped", damaged(damage.flip, in_order=0.4), 4, 60, damages=True),
    Fault("any of the above but damage", mixed, 2, 100),
)
