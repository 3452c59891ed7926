"""This machine: program, settings, directories, clock, disk, limits. Nothing is created."""

from __future__ import annotations

import asyncio
import os
import platform
import resource
import shutil
import subprocess
from pathlib import Path

import meeta_bot
from meeta_bot import settings as settings_module
from meeta_bot.doctor.checks import Examination, Finding, failed, ok, warning
from meeta_bot.settings import Settings

# Chromium's busiest process took 3 for each of 40 rooms that were logged in; the bridge's channel and media transport
# come on top. A browser without rooms held 88, and its eight pages 68 more.
DESCRIPTORS_OF_A_ROOM = 8
DESCRIPTORS_OF_A_PROCESS = 256
FEW_ROOMS, MANY_ROOMS = 20, 500

_TIMESYNCD_MARK = Path("/run/systemd/timesync/synchronized")
_TIME_MEANING = "occurred_at is this clock's time; order and durations don't depend on it"


async def program(_: Examination) -> Finding:
    """Which program this is and what it runs on."""
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    return ok(f"meeta-bot {meeta_bot.__version__} · Python {platform.python_version()} · {system}")


async def settings(examination: Examination) -> Finding:
    """Where the settings come from; values are not told, since some are secrets."""
    sources = settings_module.sources(examination.config_file)
    examination.settings = settings_module.load(examination.options, examination.config_file)
    parts = [f"from {sources.file}: {_names(sources.in_file)}" if sources.file else "no configuration file"]
    if sources.in_environment:
        parts.append(f"from the environment: {_names(sources.in_environment)}")
    given = [name for name, value in examination.options.items() if value is not None]
    if given:
        parts.append(f"from options: {_names(given)}")
    found = "; ".join(parts)
    if sources.unknown:
        return warning(
            f"{found}; {', '.join(sources.unknown)} in the environment is no setting", "correct the name, or unset it"
        )
    return ok(found)


def _names(names: list[str]) -> str:
    return ", ".join(names) or "nothing"


async def data_directory(examination: Examination) -> Finding:
    """Can spool and embedded PostgreSQL live where they should?"""
    return await asyncio.to_thread(_data_directory, examination.settings.data_directory.absolute())


def _data_directory(directory: Path) -> Finding:
    standing = what_stands(directory)
    hint = "name a directory that you may write to with MEETA_DATA_DIRECTORY"
    if not standing.is_dir():
        return failed(f"{directory} can't be a directory: {standing} is a file", hint)
    if not os.access(standing, os.W_OK | os.X_OK):
        return failed(f"{standing} is not writable", hint)
    if standing != directory:
        return ok(f"{directory}, will be created at first use")
    return ok(f"{directory}, writable")


def what_stands(path: Path) -> Path:
    """`path`, or what exists of the way to it."""
    return next(one for one in (path, *path.parents) if os.path.lexists(one))


async def clock(_: Examination) -> Finding:
    """Does anything keep this machine's clock right?"""
    found = await asyncio.to_thread(_synchronized)
    if found is None:
        return warning(
            f"nothing here says whether it is synchronized, as in containers; {_TIME_MEANING}",
            "a container has its host's clock: look there with timedatectl",
        )
    source, synchronized = found
    if synchronized:
        return ok(f"synchronized, says {source}")
    return warning(
        f"not synchronized, says {source}; {_TIME_MEANING}", "start systemd-timesyncd, chrony or another NTP client"
    )


def _synchronized() -> tuple[str, bool] | None:
    """Who knows, and what it says."""
    answer = _output("timedatectl", "show", "--property=NTPSynchronized", "--value")
    if answer in ("yes", "no"):
        return "timedatectl", answer == "yes"
    if _TIMESYNCD_MARK.exists():
        return "systemd-timesyncd", True
    for line in _output("chronyc", "-n", "tracking").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "Leap status":
            return "chronyc", value.strip() != "Not synchronised"
    return None


def _output(*command: str) -> str:
    """What a program prints; nothing when it isn't there, fails or hangs."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            text=True,
            timeout=Settings.model_fields["doctor_timeout"].default / 2,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


async def disk(examination: Examination) -> Finding:
    """Is there room for a spool as large as it may become?"""
    chosen = examination.settings
    free = (await asyncio.to_thread(lambda: shutil.disk_usage(what_stands(chosen.data_directory.absolute())))).free
    found = f"{size(free)} free; a spool may take {size(chosen.spool_max_bytes)} (spool_max_bytes)"
    if free < chosen.page_buffer_bytes:  # what a single page may hand over at once
        return failed(found, "free disk space, or name another place with MEETA_DATA_DIRECTORY")
    if free < chosen.spool_max_bytes:
        return warning(
            found, "free disk space, or lower MEETA_SPOOL_MAX_BYTES: a full spool is told, a full disk harms others"
        )
    return ok(found)


async def open_files(_: Examination) -> Finding:
    """For how many rooms are there descriptors?"""
    return judge_open_files(*resource.getrlimit(resource.RLIMIT_NOFILE))


def judge_open_files(soft: int, hard: int) -> Finding:
    """What the two limits (`resource.RLIMIT_NOFILE`) allow."""
    if soft == resource.RLIM_INFINITY:
        return ok("unlimited")
    rooms = max(0, soft - DESCRIPTORS_OF_A_PROCESS) // DESCRIPTORS_OF_A_ROOM
    found = f"{soft:,} a process, which is enough for about {rooms:,} rooms"
    if rooms >= MANY_ROOMS:
        return ok(found)
    needed = DESCRIPTORS_OF_A_PROCESS + MANY_ROOMS * DESCRIPTORS_OF_A_ROOM
    unit = f"LimitNOFILE={needed} in a systemd unit"
    more = f"for {MANY_ROOMS} rooms: ulimit -n {needed}, {unit} (hard limit: {_limit(hard)})"
    return ok(found, more) if rooms >= FEW_ROOMS else warning(found, more)


def _limit(value: int) -> str:
    return "unlimited" if value == resource.RLIM_INFINITY else f"{value:,}"


def size(count: int) -> str:
    """Bytes as a person reads them."""
    value = float(count)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if value >= 10 or value == int(value) else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"
