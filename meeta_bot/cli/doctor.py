"""``meeta-bot doctor``: the report whether a recording would work."""

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
from meeta_bot.doctor import DEPLOYMENT, HERE, NOT_CHECKED, Check, Examination, Level, Result, examine
from meeta_bot.text import safe_name

_MARKS = {
    Level.OK: ("✓", "green"),
    Level.NOTE: ("·", "dim"),
    Level.WARNING: ("!", "bold yellow"),
    Level.FAILED: ("✗", "bold red"),
    Level.NOT_CHECKED: ("–", "dim"),
}
_NAME_WIDTH = 14  # columns: "data directory"
_INDENT = 1 + 1 + 1 + _NAME_WIDTH + 2
_NARROWEST = 20  # columns of text; narrower terminals break the lines themselves
_WIDEST = 120  # columns; longer lines are hard to follow
_LONGEST = 2000  # characters of one finding


def doctor(
    room: Annotated[
        str | None, typer.Argument(metavar="URL", help="A room whose deployment to check.", show_default=False)
    ] = None,
    jwt_file: console.TokenFile = None,
    database_url: console.DatabaseUrl = None,
    config: console.ConfigFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON line per check.")] = False,
) -> None:
    """Check whether recording would work here, and say what to do where it would not.

    Checks settings, disk, clock, Chromium and the database.

    With a room's address also its deployment, without entering the room.

    Nothing is recorded, created or changed, and nobody in a meeting notices.

    Exits with 0 when nothing failed, else with the exit code that recording would
    fail with.
    """
    logs.configure(level="critical")  # every finding is reported below
    checks = (*HERE, *(DEPLOYMENT if room is not None else ()))
    options = {"database_url": database_url, **console.token_settings(jwt_file)}
    examination = Examination(options, config, room)
    sys.exit(asyncio.run(_report(examination, checks, as_json=as_json)))


async def _report(examination: Examination, checks: tuple[Check, ...], *, as_json: bool) -> int:
    report = _JsonReport() if as_json else _Report()
    results = []
    with report:
        async with aclosing(examine(examination, checks, report.start)) as found:
            async for result in found:
                report.add(result)
                results.append(result)
    report.end(results)
    return next((result.exit_code for result in results if result.level is Level.FAILED), 0)


class _Report:
    """The report for a person: a line for each check as soon as it is made, and meanwhile the check under way."""

    def __init__(self) -> None:
        self._out = console.out()
        self._out.width = min(self._out.width, _WIDEST)
        self._spinner = Spinner("", console=console.talk(), spinner="dots") if _is_interactive() else None
        self._group: str | None = None
        self._skipped: list[Result] = []

    def __enter__(self) -> _Report:
        return self

    def __exit__(self, *_: object) -> None:
        self._pause()

    def start(self, check: Check) -> None:
        """Show the check that is under way."""
        self._print_skipped()
        if self._spinner is not None:
            self._spinner.update(f"[dim]{check.group}: {check.name} …[/]")
            self._spinner.start()

    def add(self, result: Result) -> None:
        """Print a result. Checks that were not made are printed together, when another follows."""
        if self._skipped and not _skipped_together(self._skipped[-1], result):
            self._print_skipped()
        if result.level is Level.NOT_CHECKED:
            self._skipped.append(result)
        else:
            self._print_line(result, result.name, result.found)

    def end(self, results: list[Result]) -> None:
        """Print the summary."""
        self._print_skipped()
        counts = {level: sum(result.level is level for result in results) for level in Level}
        self._out.print()
        self._out.print(_summary(counts))

    def _pause(self) -> None:
        if self._spinner is not None:
            self._spinner.stop()

    def _print_skipped(self) -> None:
        if self._skipped:
            first, names = self._skipped[0], ", ".join(result.name for result in self._skipped)
            self._skipped = []
            self._print_line(first, "not checked", f"{names}: {first.found.removeprefix(NOT_CHECKED)}")

    def _print_line(self, result: Result, name: str, found: str) -> None:
        self._pause()
        if result.group != self._group:
            if self._group is not None:
                self._out.print()
            self._out.print(Text(result.group.capitalize(), style="bold"))
            self._group = result.group
        mark, style = _MARKS[result.level]
        quiet = "dim" if result.level is Level.NOT_CHECKED else ""
        margin = Text.assemble(" ", (mark, style), " ", (f"{name:<{_NAME_WIDTH}}", quiet), "  ")
        for line in self._wrapped(found, quiet):
            self._out.print(margin + line)
            margin = Text(" " * _INDENT)
        if result.hint:
            margin = Text(" " * _INDENT) + Text("→ ", style=_hint_style(result.level))
            for line in self._wrapped(result.hint, _hint_style(result.level), indent=2):
                self._out.print(margin + line)
                margin = Text(" " * (_INDENT + 2))

    def _wrapped(self, text: str, style: str, indent: int = 0) -> Iterable[Text]:
        """Break `text` into lines that fit beside the names."""
        width = max(self._out.width - _INDENT - indent, _NARROWEST)
        lines = Text(safe_name(text, _LONGEST), style=style).wrap(self._out, width, overflow="fold")
        for line in lines:
            line.rstrip()
        return lines


class _JsonReport(_Report):
    """The report for a program: a JSON object for each check."""

    def __init__(self) -> None:
        super().__init__()
        self._spinner = None

    def start(self, check: Check) -> None:
        pass

    def add(self, result: Result) -> None:
        console.print_json(
            {
                "name": result.name,
                "group": result.group,
                "status": result.level,
                "found": result.found,
                "hint": result.hint,
            }
        )
        sys.stdout.flush()

    def end(self, results: list[Result]) -> None:
        pass


def _is_interactive() -> bool:
    return sys.stderr.isatty() and sys.stdout.isatty()


def _skipped_together(one: Result, other: Result) -> bool:
    return (one.group, one.level, one.found) == (other.group, other.level, other.found)


def _hint_style(level: Level) -> str:
    return {Level.FAILED: "red", Level.WARNING: "yellow"}.get(level, "dim")


def _summary(counts: dict[Level, int]) -> Text:
    failures, warnings = counts[Level.FAILED], counts[Level.WARNING]
    and_warnings = f", {warnings} warning{'s' if warnings != 1 else ''}" if warnings else ""
    if failures:
        return Text(f"{failures} check{'s' if failures != 1 else ''} failed{and_warnings}", style="bold red")
    return Text(f"Nothing failed{and_warnings}", style="bold" if warnings else "bold green")
