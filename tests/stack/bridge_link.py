"""What the stack knows of its bridge: the process, its commands, and its end. Test equipment."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout

from tests.stack.processes import die_with_parent

REPOSITORY = Path(__file__).resolve().parents[2]
START_TIMEOUT_SECONDS = 30  # a second or two: Python's imports
COMMAND_TIMEOUT = ClientTimeout(total=5)  # a frozen bridge does not answer


class BridgeAway(Exception):
    """The bridge does not run, or does not answer."""


class BridgeLink:
    """One bridge, which can be killed, frozen, and started again."""

    def __init__(self, expiry_seconds: float) -> None:
        """Prepare; an endpoint without working ICE is forgotten after `expiry_seconds`."""
        self.port = 0
        self._expiry_seconds = expiry_seconds
        self.changed = asyncio.Event()  # it began or ended; whoever waits clears it
        self._process: asyncio.subprocess.Process | None = None
        self._watching: asyncio.Task[None] | None = None
        self._session: ClientSession | None = None
        self._changes: list[dict[str, Any]] = []  # of bridges before this one

    @property
    def runs(self) -> bool:
        """Whether there is a process (a frozen one counts)."""
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int:
        """The process id; `BridgeAway` when there is none."""
        if self._process is None or not self.runs:
            raise BridgeAway("the bridge is not running")
        return self._process.pid

    async def start(self) -> None:
        """Start it, on a port of the system's choice."""
        if self.runs:
            raise BridgeAway("the bridge is running already")
        self._session = self._session or ClientSession(timeout=COMMAND_TIMEOUT)
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.stack.bridge_process",
            str(os.getpid()),
            str(self._expiry_seconds),
            cwd=REPOSITORY,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            preexec_fn=partial(die_with_parent, os.getpid()),
        )
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), START_TIMEOUT_SECONDS)
        self.port = json.loads(line)["port"]
        self._watching = asyncio.create_task(self._watch(self._process))
        self.changed.set()

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        await process.wait()
        self.changed.set()

    async def end(self, how: signal.Signals) -> None:
        """End it by SIGKILL or SIGTERM."""
        if self._process is None or not self.runs:
            return
        if how is signal.SIGKILL:
            await self._keep_changes()
        self._process.send_signal(how)
        await self._process.wait()

    async def _keep_changes(self) -> None:
        try:
            self._changes += await self.command("speaker_changes")
        except BridgeAway:  # frozen: what it said until then is not known
            return

    async def all_changes(self) -> list[dict[str, Any]]:
        """What this bridge and those before it have said of speakers."""
        present = await self.command("speaker_changes") if self.runs else []
        return [*self._changes, *present]

    def send(self, number: signal.Signals) -> None:
        """SIGSTOP or SIGCONT."""
        os.kill(self.pid, number)

    async def close(self) -> None:
        """End it for good."""
        if self._process is not None and self.runs:
            self._process.kill()
            await self._process.wait()
        if self._watching is not None:
            self._watching.cancel()
        if self._session is not None:
            await self._session.close()

    async def command(self, name: str, /, **arguments: Any) -> Any:
        """Have the bridge do something; `BridgeAway` when it can't."""
        if self._session is None or not self.runs:
            raise BridgeAway("the bridge is not running")
        try:
            async with self._session.post(f"http://127.0.0.1:{self.port}/command/{name}", json=arguments) as answer:
                if answer.status != 200:
                    raise BridgeAway(f"the bridge failed at {name}: {answer.status}")
                return (await answer.json())["result"]
        except (ClientError, TimeoutError, ConnectionError) as problem:
            raise BridgeAway(f"the bridge did not do {name}: {problem!r}") from None
