"""``meeta-bot doctor``: would a recording work?"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable
from contextlib import aclosing
from typing import Annotated

import typer
from rich.status import Status as Spinner
from rich.text import Text

from meeta_bot import logs
from meeta_bot.cli import console
from meeta_bot.doctor import DEPLOYMENT, HERE, NOT_CHECKED, Check, Examination, Result, Status, examine
from meeta_bot.text import safe_name

_MARKS = {
    Status.OK: ("✓", "green"),
    Status.NOTE: ("·", "dim"),
    Status.WARNING: ("!", "bold yellow"),
    Status.FAILED: ("✗", "bold red"),
    Status.NOT_CHECKED: ("–", "dim"),
}
_NAME_WIDTH = 14  # columns: "data directory"
_INDENT = 1 + 1 + 1 + _NAME_WIDTH + 2
_NARROWEST = 20  # columns of text; narrower terminals break the lines themselves
_WIDEST = 120  # columns; longer lines are hard to follow
_LONGEST = 2000  # characters of one finding


def doctor(
    room: Annotated[
        str | None, typer.Argument(metavar="URL", help="A room whose deployment to look at.", show_default=False)
    ] = None,
    jwt_file: console.TokenFile = None,
    database_url: console.DatabaseUrl = None,
    config: console.ConfigFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON line per check.")] = False,
) -> None:
    """Check whether recording would work here, and say what to do where it would not.

    Looks at settings, disk, clock, Chromium and the database.

    With a room's address also at its deployment, without entering the room.

    Nothing is recorded, created or changed, and nobody in a meeting notices.

    Exits with 0 when nothing failed, else with the exit code that recording would
    fail with.
    """
    logs.configure(level="critical")  # every finding is told below
    checks = (*HERE, *(DEPLOYMENT if room is not None else ()))
    options = {"database_url": database_url, **console.token_settings(jwt_file)}
    examination = Examination(options, config, room)
    sys.exit(asyncio.run(_tell(examination, checks, as_json=as_json)))


async def _tell(examination: Examination, checks: tuple[Check, ...], *, as_json: bool) -> int:
    report = _JsonReport() if as_json else _Report()
    results = []
    with report:
        async with aclosing(examine(examination, checks, report.start)) as found:
            async for result in found:
                report.tell(result)
                results.append(result)
    report.end(results)
    return next((result.exit_code for result in results if result.status is Status.FAILED), 0)


class _Report:
    """Tells a person: a line for each check as soon as it is made, and what is being looked at meanwhile."""

    def __init__(self) -> None:
        self._out = console.out()
        self._out.width = min(self._out.width, _WIDEST)
        self._spinner = Spinner("", console=console.talk(), spinner="dots") if _is_watched() else None
        self._group: str | None = None
        self._skipped: list[Result] = []

    def __enter__(self) -> _Report:
        return self

    def __exit__(self, *_: object) -> None:
        self._pause()

    def start(self, check: Check) -> None:
        """Say what is being looked at."""
        self._tell_skipped()
        if self._spinner is not None:
            self._spinner.update(f"[dim]{check.group}: {check.name} …[/]")
            self._spinner.start()

    def tell(self, result: Result) -> None:
        """Say what was found. Checks that were not made are told together, when another follows."""
        if self._skipped and not _skipped_together(self._skipped[-1], result):
            self._tell_skipped()
        if result.status is Status.NOT_CHECKED:
            self._skipped.append(result)
        else:
            self._line(result, result.name, result.found)

    def end(self, results: list[Result]) -> None:
        """Sum up."""
        self._tell_skipped()
        counts = {status: sum(result.status is status for result in results) for status in Status}
        self._out.print()
        self._out.print(_summary(counts))

    def _pause(self) -> None:
        if self._spinner is not None:
            self._spinner.stop()

    def _tell_skipped(self) -> None:
        if self._skipped:
            first, names = self._skipped[0], ", ".join(result.name for result in self._skipped)
            self._skipped = []
            self._line(first, "not checked", f"{names}: {first.found.removeprefix(NOT_CHECKED)}")

    def _line(self, result: Result, name: str, found: str) -> None:
        self._pause()
        if result.group != self._group:
            if self._group is not None:
                self._out.print()
            self._out.print(Text(result.group.capitalize(), style="bold"))
            self._group = result.group
        mark, style = _MARKS[result.status]
        quiet = "dim" if result.status is Status.NOT_CHECKED else ""
        head = Text.assemble(" ", (mark, style), " ", (f"{name:<{_NAME_WIDTH}}", quiet), "  ")
        for line in self._wrapped(found, quiet):
            self._out.print(head + line)
            head = Text(" " * _INDENT)
        if result.hint:
            head = Text(" " * _INDENT) + Text("→ ", style=_hint_style(result.status))
            for line in self._wrapped(result.hint, _hint_style(result.status), indent=2):
                self._out.print(head + line)
                head = Text(" " * (_INDENT + 2))

    def _wrapped(self, text: str, style: str, indent: int = 0) -> Iterable[Text]:
        """`text` in lines that fit beside the names."""
        width = max(self._out.width - _INDENT - indent, _NARROWEST)
        lines = Text(safe_name(text, _LONGEST), style=style).wrap(self._out, width, overflow="fold")
        for line in lines:
            line.rstrip()
        return lines


class _JsonReport(_Report):
    """Tells a program: a JSON object for each check."""

    def __init__(self) -> None:
        super().__init__()
        self._spinner = None

    def start(self, check: Check) -> None:
        pass

    def tell(self, result: Result) -> None:
        console.print_json(
            {
                "name": result.name,
                "group": result.group,
                "status": result.status,
                "found": result.found,
                "hint": result.hint,
            }
        )
        sys.stdout.flush()

    def end(self, results: list[Result]) -> None:
        pass


def _is_watched() -> bool:
    return sys.stderr.isatty() and sys.stdout.isatty()


def _skipped_together(one: Result, other: Result) -> bool:
    return (one.group, one.status, one.found) == (other.group, other.status, other.found)


def _hint_style(status: Status) -> str:
    return {Status.FAILED: "red", Status.WARNING: "yellow"}.get(status, "dim")


def _summary(counts: dict[Status, int]) -> Text:
    failures, warnings = counts[Status.FAILED], counts[Status.WARNING]
    told = f", {warnings} warning{'s' if warnings != 1 else ''}" if warnings else ""
    if failures:
        return Text(f"{failures} check{'s' if failures != 1 else ''} failed{told}", style="bold red")
    return Text(f"Nothing failed{told}", style="bold" if warnings else "bold green")
