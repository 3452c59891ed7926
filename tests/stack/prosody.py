"""A real Prosody of one stack: its own directory, loopback, free ports, killed with its parent. Test equipment."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import secrets
import shutil
import signal
import socket
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.stack.processes import die_with_parent

logger = logging.getLogger(__name__)

HERE = Path(__file__).resolve().parent
START_TIMEOUT_SECONDS = 20  # 0.3 s on an idle machine
STOP_TIMEOUT_SECONDS = 10  # Prosody closes its sessions on SIGTERM
START_ATTEMPTS = 5  # somebody else can take a port between choosing and binding it
KEPT_LOG_LINES = 200

_OPENED = re.compile(r"Activated service '(?P<service>component|http)' on \[127\.0\.0\.1\]:(?P<port>\d+)")
_ERROR = re.compile(r"\terror\t")
_REFUSED = re.compile(r"Failed to open server port")


class ProsodyError(Exception):
    """Prosody does not run; the text says why."""


@dataclass
class Prosody:
    """One server process that can be stopped, killed, frozen and started again on the same ports."""

    directory: Path
    domain: str
    hibernation_seconds: int
    token_secret: str = ""  # of the tokens that logins need; empty: anybody may log in
    joins_per_second: float = 0  # that a room lets in, silently and in order; 0: as they come
    component_secret: str = field(default_factory=lambda: secrets.token_hex(16))
    http_port: int = 0
    component_port: int = 0
    _process: asyncio.subprocess.Process | None = None
    _log: deque[str] = field(default_factory=lambda: deque(maxlen=KEPT_LOG_LINES))
    _reader: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        """The process id; an error when it does not run."""
        if self._process is None or self._process.returncode is not None:
            raise ProsodyError("Prosody is not running")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether there is a process (a frozen one counts)."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start on free ports the first time, on the same ports later; returns when both are open."""
        if self.running:
            raise ProsodyError("Prosody is already running")
        if self.http_port:
            if not await self._launch():
                raise ProsodyError(f"Prosody did not get its ports back:\n{self._log_tail()}")
            return
        for _ in range(START_ATTEMPTS):
            self.http_port, self.component_port = _free_ports()
            if await self._launch():
                return
        raise ProsodyError(f"Prosody found no free ports in {START_ATTEMPTS} attempts:\n{self._log_tail()}")

    async def stop(self) -> None:
        """SIGTERM: sessions are closed with a stream error, as when an administrator restarts the server."""
        await self._end(signal.SIGTERM)

    async def kill(self) -> None:
        """SIGKILL: connections just break."""
        await self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT: go on where it was frozen."""
        os.kill(self.pid, signal.SIGCONT)

    def set_token_clock(self, ahead_seconds: int) -> None:
        """Judge the tokens of logins from now on as in so many seconds."""
        (self.directory / "token_clock").write_text(str(ahead_seconds))

    async def _end(self, how: signal.Signals) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.send_signal(how)
        process.send_signal(signal.SIGCONT)  # a frozen process would keep SIGTERM waiting
        try:
            await asyncio.wait_for(process.wait(), STOP_TIMEOUT_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()
        if self._reader is not None:
            await self._reader

    async def _launch(self) -> bool:
        """Whether the process got both ports; if not, it is gone again."""
        self._process = await asyncio.create_subprocess_exec(
            *_command(self.directory),
            env=os.environ | self._environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            preexec_fn=partial(die_with_parent, os.getpid()),
        )
        opened: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._reader = asyncio.create_task(self._read_log(self._process, opened))
        try:
            got_ports = await asyncio.wait_for(opened, START_TIMEOUT_SECONDS)
        except TimeoutError:
            await self.kill()
            raise ProsodyError(f"Prosody did not start in {START_TIMEOUT_SECONDS} s:\n{self._log_tail()}") from None
        if not got_ports:
            await self.kill()
        return got_ports

    async def _read_log(self, process: asyncio.subprocess.Process, opened: asyncio.Future[bool]) -> None:
        """Keep the newest lines, and settle `opened`: whether both ports are open; an error on an early end."""
        assert process.stdout is not None
        services: set[str] = set()
        async for raw in process.stdout:
            line = raw.decode(errors="replace").rstrip()
            self._log.append(line)
            logger.log(logging.WARNING if _ERROR.search(line) else logging.DEBUG, "prosody: %s", line)
            if opened.done():
                continue
            if match := _OPENED.search(line):
                services.add(match["service"])
            if _REFUSED.search(line):
                opened.set_result(False)
            elif services == {"component", "http"}:
                opened.set_result(True)
        await process.wait()
        if not opened.done():
            opened.set_exception(ProsodyError(f"Prosody ended at once:\n{self._log_tail()}"))

    def _environment(self) -> dict[str, str]:
        """What prosody.cfg.lua reads as ENV_STACK_…"""
        return {
            "STACK_DIRECTORY": str(self.directory),
            "STACK_DOMAIN": self.domain,
            "STACK_PLUGINS": str(HERE / "plugins"),
            "STACK_HTTP_PORT": str(self.http_port),
            "STACK_COMPONENT_PORT": str(self.component_port),
            "STACK_COMPONENT_SECRET": self.component_secret,
            "STACK_HIBERNATION_SECONDS": str(self.hibernation_seconds),
            "STACK_JOINS_PER_SECOND": f"{self.joins_per_second:g}",
            "STACK_TOKEN_SECRET": self.token_secret,
        }

    def _log_tail(self) -> str:
        return "\n".join(list(self._log)[-20:])


def _command(directory: Path) -> list[str]:
    executable = shutil.which("prosody")
    if executable is None:
        raise ProsodyError(
            "prosody is not installed: on Debian and Ubuntu, apt-get install --no-install-recommends prosody"
        )
    (directory / "data").mkdir(exist_ok=True)
    return [executable, "--config", str(HERE / "prosody.cfg.lua"), "-F"]


def _free_ports() -> tuple[int, int]:
    """Two different ports that were free a moment ago."""
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        second.bind(("127.0.0.1", 0))
        return first.getsockname()[1], second.getsockname()[1]
