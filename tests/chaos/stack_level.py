"""Level "stack": a real recorder in a real Chromium in a real conference; everything under it is killed in turn."""

from __future__ import annotations

import asyncio
import signal
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random

from tests.chaos import stage as stages
from tests.chaos import witness
from tests.chaos.options import Options
from tests.chaos.stage import Stage
from tests.chaos.talk import Message
from tests.chaos.witness import Account
from tests.stack.process_tree import Process, browser, renderers
from tests.stack.proxy import Way
from tests.stack.report import Section, Table

CALM = 2.0  # seconds at most between a fault and the next
FIND_TIMEOUT = 30.0  # seconds until a recorder has the process that is to be killed
LONGEST_STOP = 9.0  # seconds that a process is stopped or a connection stalled, at most
LONG_STOP = 7.0  # seconds after which a recorder has to notice that it was stopped: stall_tolerance, and some
COLUMNS = (
    "fault", "runs", "kills", "messages", "stored once", "sent late", "in a gap", "twice", "silent", "back after (s)"
)  # fmt: skip

Inject = Callable[[Stage, Random], Awaitable[None]]


async def _recorder_killed(stage: Stage, chance: Random) -> None:
    await stage.kill_recorder()


async def _find(stage: Stage, find: Callable[[int], int]) -> int:
    """The process of the recorder that `find` finds; it may come soon."""
    deadline = time.monotonic() + FIND_TIMEOUT
    while True:
        try:
            return find(stage.pid)
        except (OSError, StopIteration, IndexError):  # not there yet, or gone while it was looked at
            if time.monotonic() > deadline:
                raise AssertionError("the recorder has no such process") from None
            await asyncio.sleep(stages.LOOK_PAUSE)


async def _browser_killed(stage: Stage, chance: Random) -> None:
    Process(await _find(stage, browser)).send(signal.SIGKILL)


async def _renderer_killed(stage: Stage, chance: Random) -> None:
    Process(await _find(stage, lambda pid: renderers(pid)[0])).send(signal.SIGKILL)


async def _postgres_killed(stage: Stage, chance: Random) -> None:
    await stage.server.kill_all()


async def _stop(pid: int, chance: Random) -> None:
    process = Process(pid)
    process.send(signal.SIGSTOP)
    await asyncio.sleep(chance.uniform(0.2, LONGEST_STOP))
    process.send(signal.SIGCONT)


async def _recorder_stopped(stage: Stage, chance: Random) -> None:
    from_at = int(time.time() * 1000)
    await _stop(stage.pid, chance)
    to_at = int(time.time() * 1000)
    if to_at - from_at > LONG_STOP * 1000:
        stage.stood_still.append((from_at, to_at))


async def _renderer_stopped(stage: Stage, chance: Random) -> None:
    await _stop(await _find(stage, lambda pid: renderers(pid)[0]), chance)


async def _cut(stage: Stage, chance: Random) -> None:
    stage.proxy.cut()


async def _reset(stage: Stage, chance: Random) -> None:
    stage.proxy.reset()


async def _halve(stage: Stage, chance: Random) -> None:
    before = stage.proxy.faults
    stage.proxy.halve(chance.choice(list(Way)))
    deadline = time.monotonic() + FIND_TIMEOUT
    while stage.proxy.faults == before and time.monotonic() < deadline:  # noqa: ASYNC110 - nobody tells us
        await asyncio.sleep(stages.LOOK_PAUSE)


async def _stall(stage: Stage, chance: Random) -> None:
    stage.proxy.stall()
    await asyncio.sleep(chance.uniform(0.2, LONGEST_STOP))
    if chance.random() < 0.5:
        stage.proxy.reset()
    stage.proxy.restore()


def _gone_for(seconds: float) -> Inject:
    """No way to the server for so long: longer than it keeps a session, if that is what it takes."""

    async def gone(stage: Stage, chance: Random) -> None:
        stage.proxy.refusing = True
        stage.proxy.reset()
        await asyncio.sleep(seconds)
        stage.proxy.restore()

    return gone


@dataclass
class Fault:
    """A fault, how often it is injected in the short and in the long form, and what came of it."""

    name: str
    inject: Inject
    short: int
    long: int
    kills: bool
    seconds: list[float] = field(default_factory=list)
    account: Account = field(default_factory=Account)


def _faults() -> list[Fault]:
    return [
        Fault("recorder killed", _recorder_killed, 1, 16, kills=True),
        Fault("Chromium killed", _browser_killed, 1, 16, kills=True),
        Fault("renderer killed", _renderer_killed, 1, 16, kills=True),
        Fault("PostgreSQL killed", _postgres_killed, 1, 8, kills=True),
        Fault("recorder stopped", _recorder_stopped, 1, 6, kills=False),
        Fault("renderer stopped", _renderer_stopped, 1, 6, kills=False),
        Fault("signalling cut", _cut, 1, 6, kills=False),
        Fault("signalling stalled", _stall, 1, 6, kills=False),
        Fault("signalling halved", _halve, 1, 6, kills=False),
        Fault("signalling reset", _reset, 1, 6, kills=False),
        Fault("network gone for 1 s", _gone_for(1), 1, 3, kills=False),
        Fault("network gone for 30 s", _gone_for(30), 0, 3, kills=False),
        Fault("network gone for 5 min", _gone_for(300), 0, 1, kills=False),
    ]


async def run(options: Options) -> tuple[Section, list[str]]:
    """Inject everything in an order drawn from the seed; the table, and what may not be."""
    chance = Random(f"{options.seed} stack")
    faults = _faults()
    order = [fault for fault in faults for _ in range(options.count(fault.name, fault.short, fault.long))]
    chance.shuffle(order)
    async with stages.set_up(chance, keep=options.keep) as stage:
        await stage.back()
        began: list[tuple[int, Fault]] = []
        told = 0  # violations
        calm_from = int(time.time() * 1000)
        for number, fault in enumerate(order, 1):
            await asyncio.sleep(chance.uniform(0.2, CALM))
            began.append((int(time.time() * 1000), fault))
            await fault.inject(stage, chance)
            fault.seconds.append(await stage.back())
            told = _progress(number, len(order), fault, stage, told)
        calm_until = int(time.time() * 1000)
        await stage.talkers.stop()
        await stage.finish()
        heard = await stage.heard()
    said = [message for message in stage.talkers.said if calm_from <= message.begun_at and message.had_at <= calm_until]
    for fault in faults:
        meanwhile = [message for message in said if _fault_of(message, began) is fault]
        fault.account, findings = witness.account(meanwhile, heard)
        stage.violations += [f"{fault.name}: {line}" for line in findings]
    stage.violations += witness.invented(stage.talkers.said, stage.talkers.unsure, heard)
    return _section(options, faults), stage.violations


def _fault_of(message: Message, began: list[tuple[int, Fault]]) -> Fault | None:
    """The last fault that was injected before a message was had."""
    return next((fault for at, fault in reversed(began) if at <= message.had_at), None)


def _progress(number: int, count: int, fault: Fault, stage: Stage, told: int) -> int:
    """Tell how it stands, with the violations behind the first `told`; how many are told then."""
    print(f"  {number} of {count}: {fault.name}, back after {fault.seconds[-1]:.1f} s", file=sys.stderr, flush=True)
    for line in stage.violations[told:]:
        print(f"    VIOLATION {line}", file=sys.stderr, flush=True)
    return len(stage.violations)


def _section(options: Options, faults: list[Fault]) -> Section:
    kills = sum(len(fault.seconds) for fault in faults if fault.kills)
    caption = (
        "Messages that were said from a fault until the next one: each is stored once, as it was said or as the "
        "server sent it later, or lies in a gap that says that everything was lost. *Back after*: from the end of "
        "the fault until something that was said after it is in the database, median and longest."
    )
    again = sum(fault.account.again for fault in faults)
    return Section(
        title=f"The whole stack, seed {options.seed}",
        text=f"{kills} kills; {len(stages.NAMES)} people talk without a pause, and come and go. {again} messages that "
        "were stored already came once more from the room's history, and are marked so.",
        tables=[Table(caption, COLUMNS, [_row(fault) for fault in faults if fault.seconds])],
    )


def _row(fault: Fault) -> list[str]:
    runs, account = len(fault.seconds), fault.account
    counted = (account.said, account.stored, account.late, account.in_gap, account.twice, account.silent)
    figures = (runs, runs * fault.kills, *counted)
    back = f"{statistics.median(fault.seconds):.1f}, {max(fault.seconds):.1f}"
    return [fault.name, *(f"{figure:,}" for figure in figures), back]
