"""The embedded server: there while it is used, gone afterwards, back after every kind of sudden death."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from meeta_bot import directories, settings
from meeta_bot.database import embedded, migrations
from meeta_bot.database.embedded import cluster, keeper
from meeta_bot.database.embedded.cluster import ClusterPaths
from meeta_bot.errors import EmbeddedDatabaseError
from meeta_bot.settings import Settings
from tests.postgres.samples import small_capture
from tests.postgres.tables import write
from tests.stack.postgres import fetch
from tests.stack.process_tree import Process, processes_about


@contextlib.contextmanager
def directory_of_ones_own() -> Iterator[Settings]:
    """Settings with a new data directory that an ordinary user can pass through; nothing of it stays."""
    directory = Path(tempfile.mkdtemp(prefix="meeta"))
    directory.chmod(0o755)
    chosen = settings.load({"data_directory": str(directory)})
    try:
        yield chosen
    finally:
        for process in processes(chosen):
            process.send(signal.SIGKILL)
        shutil.rmtree(directory, ignore_errors=True)
        shutil.rmtree(ClusterPaths.of(chosen).socket, ignore_errors=True)


@pytest.fixture
def bare() -> Iterator[Settings]:
    """A data directory with nothing in it."""
    with directory_of_ones_own() as chosen:
        yield chosen


@pytest.fixture(scope="module")
def prepared() -> Iterator[Path]:
    """A cluster that was made once, to be copied: initdb takes seconds where disks are slow."""
    with directory_of_ones_own() as chosen:
        cluster.prepare(chosen)
        yield ClusterPaths.of(chosen).data


@pytest.fixture
def options(bare: Settings, prepared: Path) -> Settings:
    """A data directory whose cluster is made."""
    paths = ClusterPaths.of(bare)
    cluster.make_home(paths)
    subprocess.run(["cp", "-a", prepared, paths.data], check=True)
    return bare


def processes(chosen: Settings) -> list[Process]:
    """Keeper and server of a data directory, as far as they live."""
    return processes_about(str(chosen.data_directory))


def server_of(chosen: Settings) -> Process:
    """The server's first process."""
    return Process(int((ClusterPaths.of(chosen).data / "postmaster.pid").read_text().split()[0]))


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something holds."""
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.02)
    pytest.fail("it never happened")


async def test_whole_life(bare: Settings) -> None:
    batch = small_capture(3)
    async with embedded.running(bare) as url:
        assert url == embedded.url(bare)
        await migrations.upgrade(url, bare)
        await write(url, batch)
        assert server_of(bare).user_id() != 0
    assert not await embedded.is_running(bare)
    assert processes(bare) == []
    async with embedded.running(bare) as url:
        assert len(await fetch(url, "SELECT FROM meeta.events")) == 3


async def test_listens_on_a_private_socket_only(options: Settings) -> None:
    async with embedded.running(options) as url:
        assert (await fetch(url, "SHOW listen_addresses"))[0]["listen_addresses"] == ""
        assert ClusterPaths.of(options).socket.stat().st_mode & 0o077 == 0
        assert ClusterPaths.of(options).data.stat().st_mode & 0o077 == 0
        encoding = await fetch(url, "SELECT pg_encoding_to_char(encoding) AS e, datcollate AS c FROM pg_database")
        assert {tuple(row.values()) for row in encoding} == {("UTF8", "C")}
        assert (await fetch(url, "SHOW fsync"))[0]["fsync"] == "on"


async def test_second_user_attaches_and_the_last_one_stops_it(options: Settings) -> None:
    first, second = embedded.running(options), embedded.running(options)
    await first.__aenter__()
    started = server_of(options).number
    await second.__aenter__()
    await first.__aexit__(None, None, None)
    assert server_of(options).number == started
    assert await embedded.is_running(options)
    await second.__aexit__(None, None, None)
    assert processes(options) == []


async def test_many_start_at_once(bare: Settings) -> None:
    async def use() -> int:
        async with embedded.running(bare) as url:
            return len(await fetch(url, "SELECT 1"))

    assert await asyncio.gather(*(use() for _ in range(4))) == [1] * 4
    await until(lambda: processes(bare) == [])


async def test_killed_server_is_started_again_and_recovers(options: Settings) -> None:
    batch = small_capture(3)
    async with embedded.running(options) as url:
        await migrations.upgrade(url, options)
        await write(url, batch)
        server_of(options).send(signal.SIGKILL)
        assert await embedded.ensure(options) == url
        assert len(await fetch(url, "SELECT FROM meeta.events")) == 3


async def test_killed_keeper_takes_the_server_with_it_and_ensure_starts_both(options: Settings) -> None:
    async with embedded.running(options) as url:
        server = server_of(options)
        keeper = server.parent()
        keeper.send(signal.SIGKILL)
        await until(lambda: not server.is_alive())
        assert await embedded.ensure(options) == url
        assert len(await fetch(url, "SELECT 1")) == 1
    assert processes(options) == []


async def test_crash_of_everything_at_once(options: Settings) -> None:
    """As if the machine had lost power: nobody cleans up, a stranger has the old process id."""
    async with embedded.running(options) as url:
        await migrations.upgrade(url, options)
        await write(url, small_capture(3))
        server = server_of(options)
        keeper = server.parent()
        for process in (keeper, server):
            process.send(signal.SIGSTOP)
        for process in (server, keeper):
            process.send(signal.SIGKILL)
        await until(lambda: processes(options) == [])
        user = cluster.account()
        stranger = await asyncio.create_subprocess_exec("sleep", "60", **user.identity)
        try:
            pid_file = ClusterPaths.of(options).data / "postmaster.pid"
            lines = pid_file.read_text().split("\n")
            pid_file.write_text("\n".join([str(stranger.pid), *lines[1:]]))
            await embedded.ensure(options)
            assert len(await fetch(url, "SELECT FROM meeta.events")) == 3
        finally:
            stranger.kill()
            await stranger.wait()


USER = """
import asyncio, sys
from meeta_bot import settings
from meeta_bot.database import embedded
async def main():
    async with embedded.running(settings.load({"data_directory": sys.argv[1]})):
        print("up", flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""


async def using_command(chosen: Settings) -> asyncio.subprocess.Process:
    """Another process that uses the server, once it does."""
    arguments = (sys.executable, "-c", USER, str(chosen.data_directory))
    command = await asyncio.create_subprocess_exec(*arguments, stdout=asyncio.subprocess.PIPE)
    assert command.stdout is not None
    assert await command.stdout.readline() == b"up\n"
    return command


async def test_server_of_a_killed_command_goes_away(options: Settings) -> None:
    command = await using_command(options)
    command.kill()
    await command.wait()
    await until(lambda: processes(options) == [])


async def test_server_outlives_its_starter_while_somebody_uses_it(options: Settings) -> None:
    command = await using_command(options)
    async with embedded.running(options) as url:
        server = server_of(options).number
        command.kill()
        await command.wait()
        await asyncio.sleep(keeper.POLL * 1.5)
        assert len(await fetch(url, "SELECT 1")) == 1
        assert server_of(options).number == server
    assert processes(options) == []


async def test_signals_meant_for_commands_do_not_stop_it(options: Settings) -> None:
    async with embedded.running(options) as url:
        keeper = server_of(options).parent()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            keeper.send(number)
        assert len(await fetch(url, "SELECT 1")) == 1
    assert processes(options) == []


async def test_start_and_stop(options: Settings) -> None:
    url = await embedded.start(options)
    async with embedded.running(options):
        pass
    assert len(await fetch(url, "SELECT 1")) == 1
    assert await embedded.start(options) == url
    async with embedded.running(options):
        assert not await embedded.stop(options)
        assert await embedded.is_running(options)
    assert processes(options) == []
    await embedded.start(options)
    assert await embedded.stop(options)
    assert await embedded.stop(options)
    assert processes(options) == []


async def test_stop_where_nothing_ever_was(bare: Settings) -> None:
    assert await embedded.stop(bare)
    assert not await embedded.is_running(bare)


async def test_long_data_directory_gets_a_short_socket(options: Settings) -> None:
    long = options.data_directory / ("deep" * 30)
    chosen = settings.load({"data_directory": str(long)})
    socket = ClusterPaths.of(chosen).socket
    assert len(str(socket)) <= cluster.LONGEST_SOCKET_DIRECTORY
    try:
        async with embedded.running(chosen) as url:
            assert len(await fetch(url, "SELECT 1")) == 1
    finally:
        shutil.rmtree(socket, ignore_errors=True)


@pytest.mark.parametrize("trap", ["link", "open", "file"])
async def test_socket_directory_that_somebody_else_made_is_refused(bare: Settings, trap: str) -> None:
    paths = ClusterPaths.of(bare)
    cluster.make_home(paths)
    if trap == "link":
        (bare.data_directory / "elsewhere").mkdir()
        paths.socket.symlink_to(bare.data_directory / "elsewhere")
    elif trap == "open":
        paths.socket.mkdir()
        paths.socket.chmod(0o777)
    else:
        paths.socket.touch()
    with pytest.raises(EmbeddedDatabaseError, match="not a private directory"):
        async with embedded.running(bare):
            pass
    assert processes(bare) == []


async def test_reason_of_a_failing_start_is_in_the_error(options: Settings) -> None:
    async with embedded.running(options):
        pass
    (ClusterPaths.of(options).data / "postgresql.conf").write_text("no_such_setting = 1\n")
    with pytest.raises(EmbeddedDatabaseError, match=r"no_such_setting|configuration file"):
        async with embedded.running(options):
            pass
    assert processes(options) == []


async def test_data_of_another_version_is_not_touched(bare: Settings) -> None:
    data = ClusterPaths.of(bare).data
    cluster.make_home(ClusterPaths.of(bare))
    data.mkdir()
    (data / "PG_VERSION").write_text("9\n")
    with pytest.raises(EmbeddedDatabaseError, match="PostgreSQL 9"):
        async with embedded.running(bare):
            pass


async def test_interrupted_initdb_is_begun_again(bare: Settings) -> None:
    paths = ClusterPaths.of(bare)
    cluster.make_home(paths)
    half = paths.home / "data.new"
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")
    async with embedded.running(bare) as url:
        assert len(await fetch(url, "SELECT 1")) == 1


@pytest.mark.as_root
async def test_binaries_that_the_server_user_cannot_reach_are_copied(
    options: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = cluster._can_enter
    monkeypatch.setattr(
        cluster, "_can_enter", lambda path, owner: "site-packages" not in str(path) and real(path, owner)
    )
    async with embedded.running(options) as url:
        assert str(options.data_directory) in server_of(options).program()
        assert len(await fetch(url, "SELECT 1")) == 1


@pytest.mark.as_root
async def test_whatever_the_umask_the_server_user_passes_through_directories_of_ours(bare: Settings) -> None:
    own = bare.data_directory / "made" / "by-us"
    chosen = settings.load({"data_directory": str(own)})
    before = os.umask(0o077)
    try:
        directories.make(own / "spool")  # as a recorder does before the server starts
        async with embedded.running(chosen) as url:
            assert len(await fetch(url, "SELECT 1")) == 1
    finally:
        os.umask(before)
    assert (own / "spool").stat().st_mode & 0o077 == 0
    assert own.stat().st_mode & 0o066 == 0


@pytest.mark.as_root
async def test_data_directory_that_the_server_user_cannot_enter(bare: Settings) -> None:
    bare.data_directory.chmod(0o700)
    with pytest.raises(EmbeddedDatabaseError, match="can't enter"):
        async with embedded.running(bare):
            pass


@pytest.mark.as_root
def test_as_an_ordinary_user(bare: Settings) -> None:
    """The same for somebody who is not root, and may not even read this interpreter."""
    nobody = pwd.getpwnam("nobody")
    os.chown(bare.data_directory, nobody.pw_uid, nobody.pw_gid)
    python = embedded_interpreter(nobody.pw_uid)
    identity: dict[str, Any] = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    script = USER.replace("await asyncio.sleep(60)", "pass")
    paths = os.pathsep.join([str(Path(embedded.__file__).parents[3]), *filter(None, sys.path)])
    done = subprocess.run(
        [python, "-c", script, str(bare.data_directory)],
        env={"PYTHONPATH": paths, "PATH": os.defpath, "HOME": str(bare.data_directory)},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **identity,
    )
    assert done.stdout == "up\n", done.stderr
    assert ClusterPaths.of(bare).data.stat().st_uid == nobody.pw_uid
    assert processes(bare) == []


def embedded_interpreter(user_id: int) -> str:
    """A Python of our version that a user may run."""
    for python in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        try:
            subprocess.run([python, "-c", ""], user=user_id, check=True, cwd="/")
        except (OSError, subprocess.SubprocessError):
            continue
        return python
    raise AssertionError("no Python that an ordinary user can run")
