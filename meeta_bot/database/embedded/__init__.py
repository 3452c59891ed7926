"""The zero-setup PostgreSQL: one server for a data directory, there while a command uses it.

Every command that uses it holds a shared lock (`running`). The first one starts a small keeper process
(`keeper`), which starts the server and stops it once no lock is held, however its holders ended. So a
killed recorder leaves no server behind, a killed server leaves no lie (commands attach by connecting, never by a
process id), and a server whose starter is gone serves the others on. If server or keeper is killed, the next
command, or a writer that calls `ensure` when the database went away, starts it again; PostgreSQL recovers.

`start` leaves a mark that makes the keeper keep it without users; `stop` removes the mark.
The server listens on a unix socket in a private directory and on nothing else.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import asyncpg

from meeta_bot.database import sqlfiles
from meeta_bot.database.embedded import keeper
from meeta_bot.database.embedded.cluster import (
    ROLE,
    ClusterPaths,
    account,
    drop_stale_pid_file,
    make_home,
    prepare,
    server_command,
)
from meeta_bot.errors import EmbeddedDatabaseError
from meeta_bot.logs import get_logger
from meeta_bot.settings import Settings

DATABASE_NAME = "meeta"
_POLL = 0.02  # seconds between two tries of a lock or of a starting server
_CERTAIN = 3  # tries in a row that found other users; a single one may have met somebody's try
_PROBE_TIMEOUT = 2.0  # seconds for one attempt to connect
_LOG_TAIL = 4096  # bytes of the server's log that are searched for the reason of a failure
_PASSING_TROUBLE = ("pre-existing shared memory", "lock file")  # the server before is still on its way out

_TROUBLE = (TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)

_log = get_logger("embedded")


def url(settings: Settings) -> str:
    """Return the address of the embedded server's database, for asyncpg and psql alike; it need not run."""
    return _url(ClusterPaths.of(settings), DATABASE_NAME)


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[str]:
    """Yield the address of a server that stays up inside the block. The last one to leave waits until it is down.

    :raises EmbeddedDatabaseError: it can't be prepared or doesn't answer in time.
    """
    paths = ClusterPaths.of(settings)
    _make_home(paths)
    lock = await _share(paths, settings)
    try:
        yield await ensure(settings)
    finally:
        os.close(lock)
        if not paths.keep.exists():
            await _wait_until_down(paths)


async def ensure(settings: Settings) -> str:
    """Start the server unless it answers; return its address. For those inside `running` whose database went away.

    :raises EmbeddedDatabaseError: it can't be prepared or doesn't answer in time.
    """
    paths = ClusterPaths.of(settings)
    if not await _answers(paths, DATABASE_NAME):
        starting = await _locked(paths.starting, fcntl.LOCK_EX, settings.embedded_start_timeout)
        try:
            if not await _answers(paths, DATABASE_NAME):
                await _start(paths, settings)
        finally:
            os.close(starting)
    return url(settings)


async def start(settings: Settings) -> str:
    """Start the server and keep it up until `stop`; return its address.

    :raises EmbeddedDatabaseError: it can't be prepared or doesn't answer in time.
    """
    paths = ClusterPaths.of(settings)
    _make_home(paths)
    try:
        paths.keep.touch()
    except OSError as error:
        raise _not_ours(paths.keep, error) from None
    lock = await _share(paths, settings)
    try:
        return await ensure(settings)
    except EmbeddedDatabaseError:
        paths.keep.unlink(missing_ok=True)
        raise
    finally:
        os.close(lock)


async def stop(settings: Settings) -> bool:
    """End the keeping of the server. True when it is down, False when other commands still use it.

    :raises EmbeddedDatabaseError: its directory can't be used.
    """
    paths = ClusterPaths.of(settings)
    try:
        if not paths.home.is_dir():
            return True
        paths.keep.unlink(missing_ok=True)
    except OSError as error:
        raise _not_ours(paths.keep, error) from None
    return await _wait_until_down(paths)


async def is_running(settings: Settings) -> bool:
    """Tell whether the server answers."""
    return await _answers(ClusterPaths.of(settings), DATABASE_NAME)


def _make_home(paths: ClusterPaths) -> None:
    try:
        make_home(paths)
    except OSError as error:
        raise EmbeddedDatabaseError(
            f"Can't create {paths.home}: {error.strerror or error}",
            hint="name another directory with MEETA_DATA_DIRECTORY",
        ) from None


def _not_ours(path: Path, error: OSError) -> EmbeddedDatabaseError:
    """Return the error for a file that was made by another user, or lies on a disk that takes nothing."""
    return EmbeddedDatabaseError(
        f"Can't use {path}: {error.strerror or error}",
        hint="run as the user who owns it, or name another directory with MEETA_DATA_DIRECTORY",
    )


async def _start(paths: ClusterPaths, settings: Settings) -> None:
    """Start a keeper and wait for its server; again while the server before is still on its way out."""
    deadline = time.monotonic() + settings.embedded_start_timeout
    binaries = await asyncio.to_thread(prepare, settings)
    order = _order(paths, server_command(paths, binaries))
    while True:
        log_start = paths.log.stat().st_size if paths.log.exists() else 0
        await _spawn_keeper(order)
        if await _comes_up(paths, deadline):
            break
        reason = _reason(paths, log_start)
        if time.monotonic() > deadline or not any(trouble in reason for trouble in _PASSING_TROUBLE):
            raise EmbeddedDatabaseError(f"The embedded PostgreSQL does not start: {reason}", hint=f"see {paths.log}")
        if drop_stale_pid_file(paths):
            _log.warning("removed a pid file that a crash left behind", directory=str(paths.data))
        await asyncio.sleep(_POLL)
    await _create_database(paths)


def _order(paths: ClusterPaths, command: list[str]) -> keeper.Order:
    owner = account()
    return {
        "command": command,
        "users": str(paths.users),
        "alive": str(paths.alive),
        "keep": str(paths.keep),
        "log": str(paths.log),
        "user": None if owner.is_ourselves else owner.user_id,
        "group": None if owner.is_ourselves else owner.group_id,
    }


async def _spawn_keeper(order: keeper.Order) -> None:
    """Start a keeper, which detaches; one that runs already is as good."""
    program = [sys.executable, "-I", "-S", str(Path(keeper.__file__)), json.dumps(order)]
    process = await asyncio.create_subprocess_exec(
        *program,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
    )
    await process.wait()


async def _comes_up(paths: ClusterPaths, deadline: float) -> bool:
    """Wait until the server answers; False when its keeper gave up or time is over."""
    while time.monotonic() < deadline:
        keeper_lives = not _can_lock(paths.alive, fcntl.LOCK_SH)
        if await _answers(paths, "postgres"):
            return True
        if not keeper_lives:
            return False
        await asyncio.sleep(_POLL)
    return False


async def _create_database(paths: ClusterPaths) -> None:
    if await _answers(paths, DATABASE_NAME):
        return
    try:
        connection = await _connect(paths, "postgres")
        try:
            await connection.execute(sqlfiles.statement("embedded/create_database"))
        finally:
            connection.terminate()
    except _TROUBLE as error:
        raise EmbeddedDatabaseError(
            f"The embedded PostgreSQL broke the connection: {error}", hint=f"see {paths.log}"
        ) from None


async def _answers(paths: ClusterPaths, database_name: str) -> bool:
    try:
        connection = await _connect(paths, database_name)
    except _TROUBLE:
        return False
    connection.terminate()
    return True


async def _connect(paths: ClusterPaths, database_name: str) -> asyncpg.Connection[asyncpg.Record]:
    return await asyncpg.connect(_url(paths, database_name), timeout=_PROBE_TIMEOUT)


def _url(paths: ClusterPaths, database_name: str) -> str:
    return f"postgresql:///{database_name}?host={quote(str(paths.socket), safe='/')}&user={ROLE}"


def _reason(paths: ClusterPaths, log_start: int) -> str:
    """Return the line of the server's log, from a position on, that says why it did not start."""
    try:
        with paths.log.open("rb") as log:
            log.seek(max(log_start, paths.log.stat().st_size - _LOG_TAIL))
            lines = log.read().decode(errors="replace").splitlines()
    except OSError:
        lines = []
    failures = [line for line in lines if "FATAL" in line or "PANIC" in line or "error" in line.lower()]
    return (failures or lines or ["no answer in time and nothing in its log"])[-1].strip()


# --- locks ------------------------------------------------------------------------------------------------------


async def _share(paths: ClusterPaths, settings: Settings) -> int:
    """Take the lock of a user. Waits while a keeper, which found no users, is stopping the server."""
    return await _locked(paths.users, fcntl.LOCK_SH, settings.embedded_start_timeout + keeper.STOP_TIMEOUT)


async def _locked(path: Path, how: int, timeout: float) -> int:  # noqa: ASYNC109 - a lock file has no cancel scope
    deadline = time.monotonic() + timeout
    while (descriptor := _try_lock(path, how)) is None:
        if time.monotonic() > deadline:
            raise EmbeddedDatabaseError(f"{path} stays locked by another process", hint="is another meeta-bot stuck?")
        await asyncio.sleep(_POLL)
    return descriptor


def _try_lock(path: Path, how: int) -> int | None:
    """Return a descriptor that holds a lock; None when somebody else holds it.

    :raises EmbeddedDatabaseError: the file is another user's, or can't be made.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _not_ours(path, error) from None
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _can_lock(path: Path, how: int) -> bool:
    """Tell whether a lock is free; it is released at once."""
    descriptor = _try_lock(path, how)
    if descriptor is None:
        return False
    os.close(descriptor)
    return True


async def _wait_until_down(paths: ClusterPaths) -> bool:
    """Wait until the keeper has stopped the server. False when somebody else uses it, or time is over."""
    deadline = time.monotonic() + keeper.STOP_TIMEOUT + 1
    seen_others = 0
    while paths.home.exists() and time.monotonic() < deadline:
        # A user's shared lock lets us share but not exclude; a keeper that is stopping lets us do neither.
        others = not _can_lock(paths.users, fcntl.LOCK_EX) and _can_lock(paths.users, fcntl.LOCK_SH)
        seen_others = seen_others + 1 if others else 0
        if _can_lock(paths.alive, fcntl.LOCK_SH):
            return True
        if seen_others >= _CERTAIN:
            return False
        await asyncio.sleep(_POLL)
    return not paths.home.exists()
