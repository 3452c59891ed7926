"""The check of the spools of all processes with these settings. It reads them and touches nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

from meeta_bot.capture.spool.directory import spool_root
from meeta_bot.capture.spool.status import read_statuses
from meeta_bot.doctor.checks import Examination, Finding, ok, warning


async def waiting(examination: Examination) -> Finding:
    """Check whether events wait in spools that no running process delivers."""
    return await asyncio.to_thread(_waiting, spool_root(examination.settings))


def _waiting(root: Path) -> Finding:
    found = read_statuses(root)
    problems = [f"{spool.directory} can't be read: {spool.problem}" for spool in found if spool.problem is not None]
    if problems:
        return warning("; ".join(problems), "its events can't be delivered; keep the directory and ask for help")
    running = [spool for spool in found if spool.owner is not None]
    left = [spool for spool in found if spool.owner is None and (spool.waiting or spool.open_captures)]
    parts = [
        f"{spool.waiting:,} events in the spool of {_process(spool.owner)}, which delivers them" for spool in running
    ]
    if left:
        cut = sum(spool.open_captures for spool in left)
        parts.append(
            f"{sum(spool.waiting for spool in left):,} events left by processes that are gone"
            + (f", {cut} of their captures without an end" if cut else "")
        )
        return warning("; ".join(parts), "the next `meeta-bot record` delivers them; now: `meeta-bot spool flush`")
    return ok("; ".join(parts) or "nothing waits")


def _process(number: int | None) -> str:
    return f"process {number}" if number else "a process outside this container"
