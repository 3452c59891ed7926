"""Checks of this machine: program, settings, directories, clock, disk, limits. Nothing is created."""

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
    """Report the program's version and the system that it runs on."""
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    return ok(f"meeta-bot {meeta_bot.__version__} · Python {platform.python_version()} · {system}")


async def settings(examination: Examination) -> Finding:
    """Check the settings and report their sources; not their values, since some are secrets."""
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
            f"{found}; unknown settings in the environment: {', '.join(sources.unknown)}",
            "correct the names, or unset them",
        )
    return ok(found)


def _names(names: list[str]) -> str:
    return ", ".join(names) or "nothing"


async def data_directory(examination: Examination) -> Finding:
    """Check that the directory of spool and embedded PostgreSQL can be used."""
    return await asyncio.to_thread(_data_directory, examination.settings.data_directory.absolute())


def _data_directory(directory: Path) -> Finding:
    standing = nearest_existing(directory)
    hint = "name a directory that you may write to with MEETA_DATA_DIRECTORY"
    if not standing.is_dir():
        return failed(f"{directory} can't be a directory: {standing} is a file", hint)
    if not os.access(standing, os.W_OK | os.X_OK):
        return failed(f"{standing} is not writable", hint)
    if standing != directory:
        return ok(f"{directory}, will be created at first use")
    return ok(f"{directory}, writable")


def nearest_existing(path: Path) -> Path:
    """Return `path`, or the nearest directory above it that exists."""
    return next(one for one in (path, *path.parents) if os.path.lexists(one))


async def clock(_: Examination) -> Finding:
    """Check that something synchronizes this machine's clock."""
    found = await asyncio.to_thread(_synchronization)
    if found is None:
        return warning(
            f"no tool here tells whether it is synchronized, as in containers; {_TIME_MEANING}",
            "a container has its host's clock: run timedatectl on the host",
        )
    source, synchronized = found
    if synchronized:
        return ok(f"synchronized, according to {source}")
    return warning(
        f"not synchronized, according to {source}; {_TIME_MEANING}",
        "start systemd-timesyncd, chrony or another NTP client",
    )


def _synchronization() -> tuple[str, bool] | None:
    """Return who synchronizes this machine's clock, and whether it is synchronized; None when no tool knows."""
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
    """Return the output of a program; nothing when it is missing, fails or hangs."""
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
    """Check that a spool as large as it may become has room on the disk."""
    chosen = examination.settings
    free = (await asyncio.to_thread(lambda: shutil.disk_usage(nearest_existing(chosen.data_directory.absolute())))).free
    found = f"{size(free)} free; a spool may take {size(chosen.spool_max_bytes)} (spool_max_bytes)"
    if free < chosen.page_buffer_bytes:  # what a single page may hand over at once
        return failed(found, "free disk space, or name another directory with MEETA_DATA_DIRECTORY")
    if free < chosen.spool_max_bytes:
        return warning(
            found,
            "free disk space, or lower MEETA_SPOOL_MAX_BYTES: a full spool is reported, a full disk harms others",
        )
    return ok(found)


async def open_files(_: Examination) -> Finding:
    """Check the limit of file descriptors, in rooms."""
    return judge_open_files(*resource.getrlimit(resource.RLIMIT_NOFILE))


def judge_open_files(soft: int, hard: int) -> Finding:
    """Judge the two limits (`resource.RLIMIT_NOFILE`) by the rooms that they allow."""
    if soft == resource.RLIM_INFINITY:
        return ok("unlimited")
    rooms = max(0, soft - DESCRIPTORS_OF_A_PROCESS) // DESCRIPTORS_OF_A_ROOM
    found = f"{soft:,} per process, enough for about {rooms:,} rooms"
    if rooms >= MANY_ROOMS:
        return ok(found)
    needed = DESCRIPTORS_OF_A_PROCESS + MANY_ROOMS * DESCRIPTORS_OF_A_ROOM
    unit = f"LimitNOFILE={needed} in a systemd unit"
    more = f"for {MANY_ROOMS} rooms: ulimit -n {needed}, {unit} (hard limit: {_limit(hard)})"
    return ok(found, more) if rooms >= FEW_ROOMS else warning(found, more)


def _limit(value: int) -> str:
    return "unlimited" if value == resource.RLIM_INFINITY else f"{value:,}"


def size(count: int) -> str:
    """Write a number of bytes as a person reads it."""
    value = float(count)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if value >= 10 or value == int(value) else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"
