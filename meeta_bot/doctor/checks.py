"""Checks and their order: one after the other, each within its deadline, none twice.

A check is a record with one function. It inspects one thing and returns a `Finding`, or raises an error of the
tree, which is a finding as well. A connection or a page that later checks need it leaves in the `Examination`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from meeta_bot.errors import MeetaError
from meeta_bot.logs import redact_text
from meeta_bot.settings import Settings

if TYPE_CHECKING:
    from meeta_bot.capture.browser.chromium import Chromium
    from meeta_bot.capture.browser.probe_page import Connected, PageContents, ProbePage
    from meeta_bot.database import Connection
    from meeta_bot.room_address import RoomAddress


NOT_CHECKED = "not checked: "  # how the finding of a check that was not made begins


class Level(StrEnum):
    """The level of a finding. ``note`` is a fact that is neither good nor bad."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    FAILED = "failed"
    NOT_CHECKED = "not_checked"


class Finding(msgspec.Struct, frozen=True):
    """The finding of a check, as one line, and what to do about it.

    ``stops`` says why the checks that need this one make no sense; a failure always does. ``exit_code`` is that of the
    check unless the check itself failed.
    """

    level: Level
    found: str
    hint: str | None = None
    stops: str | None = None
    exit_code: int | None = None


def ok(found: str, hint: str | None = None) -> Finding:
    """Return the finding that all is well."""
    return Finding(Level.OK, found, hint)


def note(found: str, *, stops: str | None = None) -> Finding:
    """Return a fact, which may leave nothing to inspect for other checks."""
    return Finding(Level.NOTE, found, None, stops)


def warning(found: str, hint: str | None) -> Finding:
    """Return the finding that recording works, with something that its operator should know."""
    return Finding(Level.WARNING, found, hint)


def failed(found: str, hint: str | None) -> Finding:
    """Return the finding that recording would not work."""
    return Finding(Level.FAILED, found, hint)


class Examination:
    """The subject of all checks, and their results for each other. Holds what must be closed at the end."""

    def __init__(self, options: dict[str, Any], config_file: Path | None, room: str | None) -> None:
        self.options = options
        self.config_file = config_file
        self.room = room
        self.exits = AsyncExitStack()
        self._settings: Settings | None = None
        # Each is there once the check that makes it has not failed; those that need it say so by `needs`.
        self.chromium: Chromium
        self.connection: Connection
        self.database_url: str
        self.address: RoomAddress
        self.page: ProbePage
        self.seen: PageContents
        self.connected: Connected

    @property
    def settings(self) -> Settings:
        """The settings; available once "settings" was checked."""
        if self._settings is None:
            raise LookupError("the settings were not read")
        return self._settings

    @settings.setter
    def settings(self, value: Settings) -> None:
        self._settings = value

    def deadline(self, check: Check) -> float:
        """Return the seconds that a check may take."""
        if self._settings is None:
            return float(Settings.model_fields["doctor_timeout"].default)
        return check.deadline(self._settings)


Inspection = Callable[[Examination], Awaitable[Finding]]


class Check(msgspec.Struct, frozen=True):
    """One thing to inspect. ``needs`` names checks without whose success it makes no sense.

    ``exit_code`` is that of `meeta_bot.errors` for what would fail when recording.
    """

    name: str
    group: str
    inspect: Inspection
    exit_code: int
    needs: tuple[str, ...] = ()
    deadline: Callable[[Settings], float] = lambda settings: settings.doctor_timeout


class Result(msgspec.Struct, frozen=True):
    """The result of one check, as it is reported."""

    name: str
    group: str
    level: Level
    found: str
    hint: str | None
    exit_code: int


async def examine(
    examination: Examination, checks: Sequence[Check], on_start: Callable[[Check], None] = lambda _check: None
) -> AsyncGenerator[Result, None]:
    """Make `checks` one after the other and close at the end what they opened; `on_start` gets each before."""
    stopped: dict[str, str] = {}  # by name of a check: why those that need it make no sense
    async with examination.exits:
        for check in checks:
            reason = next((stopped[name] for name in check.needs if name in stopped), None)
            if reason is None:
                on_start(check)
                finding = await _inspect(examination, check)
            else:
                finding = Finding(Level.NOT_CHECKED, f"{NOT_CHECKED}{reason}", stops=reason)
            if finding.stops is not None:
                stopped[check.name] = finding.stops
            elif finding.level is Level.FAILED:
                stopped[check.name] = f"{check.name} failed"
            yield _result(check, finding)


async def _inspect(examination: Examination, check: Check) -> Finding:
    seconds = examination.deadline(check)
    try:
        async with asyncio.timeout(seconds):
            return await check.inspect(examination)
    except TimeoutError:
        return failed(f"no answer within {seconds:g} s", "a disk, a network or another program hangs")
    except MeetaError as error:
        return failed(str(error), error.hint)
    except Exception as error:  # whatever it is, the other checks are worth making
        what = f"{type(error).__name__}: {error}".partition("\n")[0]
        found = f"the check itself failed: {what}"
        return Finding(Level.FAILED, found, "please report it", exit_code=MeetaError.exit_code)


def _result(check: Check, finding: Finding) -> Result:
    hint = None if finding.hint is None else redact_text(finding.hint)
    exit_code = check.exit_code if finding.exit_code is None else finding.exit_code
    return Result(check.name, check.group, finding.level, redact_text(finding.found), hint, exit_code)
