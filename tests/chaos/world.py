"""A world: one database, one proxy before it, spools, and the loads that come and go in it; and the reckoning."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import asyncpg

from meeta_bot import logs, verify
from meeta_bot import settings as bot_settings
from meeta_bot.capture import spool as spools
from meeta_bot.capture.log import end_cut_captures
from meeta_bot.capture.spool.directory import spool_root
from meeta_bot.clock import SystemClock
from meeta_bot.delivery.outlets import deliver_and_close
from meeta_bot.delivery.postgres import PostgresSink
from meeta_bot.verify import Verdict
from tests.chaos import load, oracle
from tests.chaos.children import Child
from tests.chaos.oracle import Judgement, Known, Stored
from tests.chaos.postgres import Killable
from tests.stack.proxy import Proxy

FLUSH_TIMEOUT = 120.0  # seconds for all that is left in a spool
_ROWS = (
    "SELECT seq, type, payload, encode(digest, 'hex') AS digest FROM meeta.events"
    " WHERE capture_id = $1::uuid ORDER BY seq"
)


@dataclass
class Tally:
    """What came out of some runs of a fault. `violations` are what may not be, one line each."""

    runs: int = 0
    kills: int = 0
    faults: int = 0  # besides kills of the loads: connections broken, servers killed, bytes damaged …
    captures: int = 0
    acknowledged: int = 0
    stored: int = 0
    lost: int = 0
    twice: int = 0
    altered: int = 0
    damaged: int = 0  # captures that are not whole
    alarms: int = 0  # those that lack nothing that was acknowledged, and tell of damage all the same
    shown_by: Counter[str] = field(default_factory=Counter)  # of these: those that say so, by what says it
    phases: Counter[str] = field(default_factory=Counter)  # in which the loads were when they were killed
    heard: Counter[str] = field(default_factory=Counter)  # warnings and errors that the loads logged
    violations: list[str] = field(default_factory=list)

    @property
    def shown(self) -> int:
        """Captures that are not whole and say so."""
        return self.shown_by.total()

    def add(self, other: Tally) -> None:
        """Count another one in."""
        for name, value in vars(other).items():
            mine = getattr(self, name)
            if isinstance(mine, list):
                mine.extend(value)
            elif isinstance(mine, Counter):
                mine.update(value)
            else:
                setattr(self, name, mine + value)


class World:
    """Where faults happen. `tally` counts."""

    def __init__(self, server: Killable, url: str, proxy: Proxy, directory: Path) -> None:
        self.server = server
        self.url = url
        self.proxy = proxy
        self.tally = Tally()
        self.harmed: dict[Path, str] = {}  # what was done to the spools of a home
        self._directory = directory
        self._mounted: list[Path] = []
        self._homes: list[Path] = []
        self._children: dict[int, tuple[Child, Path]] = {}
        self._asked: set[int] = set()
        self.home = self.new_home()

    def new_home(self) -> Path:
        """Another data directory, without spools."""
        self._homes.append(self._directory / f"home-{len(self._homes)}")
        return self._homes[-1]

    def mount(self, home: Path, size: int) -> None:
        """Give a home a filesystem of its own, `size` bytes large, in memory."""
        home.mkdir(parents=True)
        _mount(home, size)
        self._mounted.append(home)

    def unmount(self) -> None:
        """Forget those filesystems, with what is in them."""
        while self._mounted:
            subprocess.run(["umount", "--lazy", self._mounted.pop()], check=True)

    def start(self, chance: Random, *, home: Path | None = None, proxied: bool = False, **settings: Any) -> Child:
        """A load on the spools of `home`, the present one by default."""
        place = home or self.home
        url = self._proxied_url() if proxied else self.url
        child = Child(load.Order(url, chance.randrange(2**32), load.settings_for(place, **settings)))
        self._children[id(child)] = (child, place)
        return child

    def ask_to_stop(self, child: Child) -> None:
        """Have it stop in order; a kill may come in between."""
        self._asked.add(id(child))
        child.send(signal.SIGTERM)

    async def kill(self, child: Child) -> None:
        """SIGKILL a load."""
        if child.is_alive:
            self.tally.kills += 1
            self.tally.phases[child.phase] += 1
        elif id(child) not in self._asked:
            self.tally.violations.append(f"a load ended by itself while {child.phase}")
        await child.kill()
        self.tally.heard.update(line.get("event", "?") for line in child.log)
        self.tally.violations += [
            f"a load failed while {child.phase}: {line.get('exception', line)}"[-600:]
            for line in child.log
            if line.get("event") == "the load failed"
        ]

    def _proxied_url(self) -> str:
        return f"postgresql://meeta@127.0.0.1:{self.proxy.port}/{self.server.name_of(self.url)}"

    def known(self) -> dict[str, Known]:
        """What is known of every capture that began here, by its id."""
        return {name: known for child, _ in self._children.values() for name, known in child.known.items()}

    # --- the reckoning ----------------------------------------------------------------------------------------------

    async def reckon(self, *, damages: bool = False) -> None:
        """Deliver what the spools hold, and ask the oracle. With `damages`, events may be lost if that is shown."""
        said = [await self._flush(home, damages=damages) for home in self._homes]
        spoken = dict(zip(self._homes, said, strict=True))
        homes = {known: home for child, home in self._children.values() for known in child.known}
        for child, home in self._children.values():
            spoken[home] |= any("damage" in json.dumps(line) for line in child.log)
        known = self.known()
        settings = bot_settings.load()
        stored = await verify.stored_captures(self.url, settings)
        self.tally.violations += [f"{name} is stored, and nobody recorded it" for name in stored if name not in known]
        names = [name for name in known if name in set(stored) or known[name].last_seq]
        connection = await asyncpg.connect(self.url)
        try:
            async for verdict in verify.verdicts(self.url, settings, names):
                assert verdict.capture_id is not None
                rows = await _rows(connection, verdict.capture_id)
                if not damages:
                    self._judge(known[verdict.capture_id], rows, verdict)
                else:
                    home = homes[verdict.capture_id]
                    self._judge_damaged(
                        known[verdict.capture_id], rows, verdict, is_told=spoken[home], harm=self.harmed.get(home, "")
                    )
            await self._look_at_quarantine(connection, damages=damages)
        finally:
            await connection.close()

    def _judge(self, known: Known, rows: list[Stored], verdict: Verdict) -> Judgement:
        found = oracle.judge(known, rows, is_verified=verdict.verified)
        self._add(found)
        if not verdict.verified:
            problems = [f"{name}: {check.problem}" for name, check in verdict.checks.items() if not check.ok]
            found.findings.append(", ".join(problems))
        if found.findings:
            self.tally.violations.append(oracle.told(found))
        return found

    def _judge_damaged(self, known: Known, rows: list[Stored], verdict: Verdict, *, is_told: bool, harm: str) -> None:
        """The same for one whose spool was damaged: what it lacks is to be shown."""
        before = len(self.tally.violations)
        found = self._judge(known, rows, verdict)
        is_shown = found.has_gap or not verdict.verified
        if found.is_whole and not is_shown:
            return
        del self.tally.violations[before:]
        if found.is_whole:  # what was torn away had not been acknowledged, or is stored already
            self.tally.alarms += 1
            return
        self.tally.damaged += 1
        # Of a capture of which nothing is left, only who knows its name can ask verify: that is not shown by itself.
        if found.has_gap:
            self.tally.shown_by["a gap"] += 1
        elif rows and not verdict.verified:
            self.tally.shown_by["a refutation"] += 1
        elif is_told:
            self.tally.shown_by["the log alone"] += 1
        else:
            self.tally.violations.append(f"silent: {oracle.told(found)} ({harm})")

    def _add(self, found: Judgement) -> None:
        tally = self.tally
        tally.captures += 1
        tally.acknowledged += found.acknowledged
        tally.stored += found.stored
        tally.lost += found.lost
        tally.twice += found.twice
        tally.altered += found.altered

    async def _flush(self, home: Path, *, damages: bool) -> bool:
        """As `meeta-bot spool flush` does it.

        :returns: whether it said that a spool is damaged.
        """
        heard = io.StringIO()
        logs.configure(level="warning", json_lines=True, stream=heard)
        settings = bot_settings.load(load.settings_for(home))
        remaining = 0
        try:
            for spool in spools.adopt(spool_root(settings), settings):
                await end_cut_captures(spool, SystemClock())
                sink = PostgresSink(self.url, settings)
                remaining += await deliver_and_close(spool, sink, settings, within=FLUSH_TIMEOUT)
        except Exception as error:  # a finding, whatever it is; in a damaged spool one that is aloud
            self.tally.violations.append(f"flush failed: {error!r}")
            return True
        is_told = remaining > 0 or "damage" in heard.getvalue()
        if is_told and not damages:
            self.tally.violations.append(f"{remaining} events can't be delivered: {heard.getvalue()[-600:]}")
        return is_told

    async def _look_at_quarantine(self, connection: Any, *, damages: bool) -> None:
        refused = await connection.fetch("SELECT capture_id, seq, kind, reason FROM meeta.quarantine")
        if refused and not damages:
            self.tally.violations.append(f"{len(refused)} events in quarantine, the first is {dict(refused[0])}")


def _mount(directory: Path, size: int) -> None:
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "chaos", directory], check=True, stderr=subprocess.DEVNULL
    )


@cache
def can_mount() -> bool:
    """May this user make filesystems? As a rule only root may, outside of containers."""
    with tempfile.TemporaryDirectory(prefix="chaos-") as directory:
        try:
            _mount(Path(directory), 4096)
        except (OSError, subprocess.CalledProcessError):
            return False
        subprocess.run(["umount", "--lazy", directory], check=True)
        return True


async def _rows(connection: Any, capture_id: str) -> list[Stored]:
    rows = await connection.fetch(_ROWS, capture_id)
    return [Stored(row["seq"], row["type"], json.loads(row["payload"] or "{}"), row["digest"]) for row in rows]


@asynccontextmanager
async def made(server: Killable, *, keep: bool = False) -> AsyncIterator[World]:
    """A new world with a database of its own; what it leaves on disk is removed unless it is to be kept."""
    directory = Path(tempfile.mkdtemp(prefix="chaos-"))
    proxy = Proxy(server.connect_to_socket)
    await proxy.open()
    world = World(server, await server.migrated_database(), proxy, directory)
    try:
        yield world
    finally:
        await proxy.close()
        for child, _ in world._children.values():
            with contextlib.suppress(TimeoutError):
                await child.kill()
        world.unmount()
        if not keep:
            shutil.rmtree(directory, ignore_errors=True)
            await server.execute(f"DROP DATABASE {server.name_of(world.url)} WITH (FORCE)")
