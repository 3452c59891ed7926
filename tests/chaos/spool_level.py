"""Level "spool": faults at spool, writer, connection and PostgreSQL; then what was stored is tampered with."""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from random import Random

from tests.chaos import tampering, world
from tests.chaos.faults import FAULTS, Fault
from tests.chaos.options import Options
from tests.chaos.postgres import Killable
from tests.chaos.world import Tally
from tests.stack.report import Section, Table

RUNS_OF_A_WORLD = 100  # then the oracle is asked, and a new database begins
MOST_HEARD = 3  # kinds of log lines that are told of each fault

COLUMNS = (
    "fault", "runs", "kills", "other faults", "captures", "acknowledged", "stored", "lost", "twice", "altered",
    "loss shown", "silent",
)  # fmt: skip


async def run(options: Options) -> tuple[Section, list[str]]:
    """Inject everything; the tables, and what may not be."""
    server = Killable()
    tallies: dict[str, Tally] = {}
    try:
        await asyncio.to_thread(server.start)
        for fault in [fault for fault in FAULTS if options.only in fault.name]:
            if not fault.is_possible():
                print(f"  {fault.name}: not possible as this user on this machine", file=sys.stderr, flush=True)
                continue
            began = time.monotonic()
            tallies[fault.name] = await _runs(server, fault, options)
            _progress(fault.name, tallies[fault.name], time.monotonic() - began)
        refutations, unsound = await tampering.run(server, Random(f"{options.seed} tampering"), options.rounds)
    finally:
        if options.keep:
            await asyncio.to_thread(server.stop)
            print(f"  the databases are in {server.directory}", file=sys.stderr, flush=True)
        else:
            await asyncio.to_thread(server.destroy)
    violations = [f"{name}: {line}" for name, tally in tallies.items() for line in tally.violations]
    violations += unsound
    violations += [f"{one.name}: not refuted" for one in refutations if one.refuted < one.times]
    return _section(options, tallies, refutations), violations


async def _runs(server: Killable, fault: Fault, options: Options) -> Tally:
    count = options.count(fault.name, fault.short, fault.long)
    tally = Tally()
    for first in range(0, count, RUNS_OF_A_WORLD):
        numbers = range(first, min(count, first + RUNS_OF_A_WORLD))
        async with world.made(server, keep=options.keep) as place:
            await _inject(place, fault, numbers, options.seed)
            await place.reckon(damages=fault.damages)
            tally.add(place.tally)
    return tally


async def _inject(place: world.World, fault: Fault, numbers: range, seed: int) -> None:
    following = iter(numbers)

    async def some() -> None:
        for number in following:
            try:
                await fault.inject(place, Random(f"{seed} {fault.name} {number}"))
            except TimeoutError:
                place.tally.violations.append(f"run {number}: a load came no further, or did not end")
                place.proxy.restore()
            place.tally.runs += 1

    await asyncio.gather(*itertools.starmap(some, [()] * fault.at_once))


def _progress(name: str, tally: Tally, seconds: float) -> None:
    said = f"{tally.runs} runs, {tally.kills} kills, {tally.acknowledged} events acknowledged"
    wrong = f", {len(tally.violations)} VIOLATIONS" if tally.violations else ""
    heard = "".join(f"; {count} × {line!r}" for line, count in tally.heard.most_common(MOST_HEARD))
    print(f"  {name}: {said}, {seconds:.0f} s{wrong}{heard}", file=sys.stderr, flush=True)


def _section(options: Options, tallies: dict[str, Tally], refutations: list[tampering.Refutation]) -> Section:
    total = Tally()
    for tally in tallies.values():
        total.add(tally)
    rows = [_row(name, tally) for name, tally in [*tallies.items(), ("all", total)]]
    phases = ", ".join(f"{count} while {phase}" for phase, count in total.phases.most_common())
    caption = (
        "Events that were acknowledged and events in PostgreSQL, which has some more: those of which a kill came "
        "before the word, and the ends and gaps that the next process wrote. *Loss shown*: of captures whose spool "
        "was damaged and that lack acknowledged events, how many say so by a refutation, a gap or a log line."
    )
    return Section(
        title=f"Spool and writer, seed {options.seed}",
        text=f"{total.kills} kills of the recording process: {phases}. {_ways(total)}".strip(),
        tables=[
            Table(caption, COLUMNS, rows),
            Table(
                "Tampering with a sound capture:",
                ("what was done", "times", "refuted"),
                [(one.name, str(one.times), str(one.refuted)) for one in refutations],
            ),
        ],
    )


def _ways(total: Tally) -> str:
    if not total.damaged + total.alarms:
        return ""
    ways = ", ".join(f"{count} by {way}" for way, count in total.shown_by.most_common()) or "none"
    told = f"{total.damaged} captures lack acknowledged events because their spool was damaged; shown: {ways}."
    return f"{told} {total.alarms} others that were open then tell of the damage too, and lack nothing acknowledged."


def _row(name: str, tally: Tally) -> list[str]:
    silent = tally.damaged - tally.shown
    figures = (tally.runs, tally.kills, tally.faults, tally.captures, tally.acknowledged, tally.stored)
    rest = (tally.lost, tally.twice, tally.altered)
    shown = f"{tally.shown} of {tally.damaged}" if tally.damaged else "–"
    return [name, *(f"{figure:,}" for figure in (*figures, *rest)), shown, str(silent)]
