"""The commands ``meeta-bot spool``: what waits on disk to be delivered."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from meeta_bot import logs, service
from meeta_bot.capture.spool.directory import spool_root
from meeta_bot.capture.spool.status import CaptureStatus, SpoolStatus, read_statuses
from meeta_bot.cli import console
from meeta_bot.delivery import owed
from meeta_bot.errors import EXIT_EVENTS_REMAIN, SpoolError, SpoolUnusable
from meeta_bot.service import FlushResult
from meeta_bot.settings import load
from meeta_bot.text import safe_name

_LONGEST_REASON = 1000  # characters
_WHAT_TO_DO = (
    "put that right and run `meeta-bot spool flush` again; what the database has already does no harm. "
    "To give up on files: `meeta-bot spool flush --database-only`"
)

app = typer.Typer(help="Events on disk that wait to be delivered.", no_args_is_help=True)


@app.callback()
def spool() -> None:
    """Events on disk that wait to be delivered."""


@app.command()
def status(config: console.ConfigFile = None, as_json: console.AsJson = False) -> None:
    """Show what lies in the spools: whose they are, and what waits in them.

    Every recorder writes into a spool of its own first and delivers from there.
    What waits in the spool of a running recorder is on its way. A spool that is
    free belonged to one that is gone: the next recorder delivers what it left,
    or `meeta-bot spool flush` does now.

    Only looks: nothing is delivered, no running recorder is held up, and no
    database is needed. For each capture: its last number, whether it has an
    end, and how many of its events wait.

    Examples:

      meeta-bot spool status

      meeta-bot spool status --json
    """
    settings = load({}, config)
    logs.configure(level="warning")
    root = spool_root(settings)
    found = read_statuses(root) if _is_there(root) else []
    if as_json:
        console.print_json([_as_data(spool) for spool in found])
        return
    screen = console.out()
    for one in found:
        screen.print(_line_of_spool(one), soft_wrap=True)
        for line in _lines_of_promises(one):
            screen.print(line, soft_wrap=True)
        for capture in one.captures:
            screen.print(_line_of_capture(capture), soft_wrap=True)
    if not found:
        screen.print(Text(f"There is no spool in {safe_name(str(root), 1000)}"), soft_wrap=True)


def _as_data(spool: SpoolStatus) -> dict[str, object]:
    promised = owed.read(spool.directory)
    return {
        "directory": str(spool.directory),
        "owned": spool.owner is not None,
        "process": spool.owner or None,
        "waiting": spool.waiting,
        "captures": [
            {
                "capture_id": capture.capture_id,
                "last_seq": capture.last_seq,
                "open": capture.is_open,
                "waiting": capture.waiting,
            }
            for capture in spool.captures
        ],
        "set_aside": spool.set_aside,
        "sinks": [*promised.destinations],
        "sinks_problem": "; ".join(promised.problems) or None,
        "problem": spool.problem,
    }


def _line_of_spool(spool: SpoolStatus) -> Text:
    owner = "free" if spool.owner is None else f"of process {spool.owner}" if spool.owner else "of another container"
    place = safe_name(str(spool.directory), 1000)
    if spool.problem is not None:
        return Text.assemble(f"{place}  {owner}  ", (f"can't be read: {safe_name(spool.problem, 500)}", "red"))
    line = Text(f"{place}  {owner}  {spool.waiting} event{'s' * (spool.waiting != 1)} waiting")
    if spool.set_aside:
        line.append(f"  damaged and set aside: {', '.join(spool.set_aside)}", "red")
    return line


def _lines_of_promises(spool: SpoolStatus) -> list[Text]:
    """Return a line for each sink beside the database that the spool owes its events."""
    promised = owed.read(spool.directory)
    targets = sorted(where.target for where in promised.destinations)
    return [
        *(Text(f"  for the database and {safe_name(target, _LONGEST_REASON)}") for target in targets),
        *(Text(f"  {safe_name(problem, _LONGEST_REASON)}", "red") for problem in promised.problems),
    ]


def _line_of_capture(capture: CaptureStatus) -> Text:
    state = "open" if capture.is_open else "ended"
    last = "last number unknown" if capture.last_seq is None else f"up to number {capture.last_seq}"
    return Text(f"  {safe_name(capture.capture_id, 100)}  {state}  {last}  {capture.waiting} waiting")


@app.command()
def flush(
    database_only: Annotated[
        bool,
        typer.Option(
            "--database-only",
            help="Deliver to the database alone: files that recorders wrote with --jsonl never get what they lack.",
        ),
    ] = False,
    database_url: console.DatabaseUrl = None,
    config: console.ConfigFile = None,
    as_json: console.AsJson = False,
) -> None:
    """Deliver what recorders that no longer run have left.

    Captures that were cut by a kill get their gap and their end. What was
    recorded with --jsonl FILE reaches that file as well. Spools of running
    recorders are left alone: those deliver themselves. Exits with 75 when
    events remain, such as for a file that can't be written any more, and with 6
    when a spool was damaged and has lost events that were in it: the rest is
    delivered all the same, what was damaged is kept beside it.

    Examples:

      meeta-bot spool flush

      meeta-bot spool flush --database-only
    """
    settings = load({"database_url": database_url}, config)
    logs.configure(level="warning")
    root = spool_root(settings)
    if not _is_there(root):
        console.talk().print(f"There is no spool {console.markup_free(str(root))}", soft_wrap=True)
    result = asyncio.run(service.flush(settings, database_only=database_only))
    _show(result, as_json=as_json)
    if result.damaged_captures:
        sys.exit(SpoolError.exit_code)
    sys.exit(EXIT_EVENTS_REMAIN if result.remaining else 0)


def _show(result: FlushResult, *, as_json: bool) -> None:
    if as_json:
        console.print_json(result)
    else:
        counted = f"{result.delivered} events delivered, {result.remaining} remain"
        console.talk().print(f"{counted}, {result.captures_ended} cut captures ended")
    for reason in result.waits_for:
        console.talk().print(Text(f"not delivered to {safe_name(reason, _LONGEST_REASON)}"), soft_wrap=True)
    if result.waits_for:
        console.talk().print(Text.assemble(("hint:  ", "dim"), _WHAT_TO_DO), soft_wrap=True)
    if result.damaged_captures:
        captures = ", ".join(result.damaged_captures)
        console.complain(
            SpoolError(
                f"The spool was damaged: {result.lost} acknowledged events are lost, of captures {captures}",
                hint="check the disk; `meeta-bot verify` shows what is missing of each; what could not be read is kept "
                f"as damaged-… in {', '.join(result.damaged_spools)}",
            )
        )


def _is_there(root: Path) -> bool:
    """Tell if there is a directory of spools. Without one nothing can remain; more often its place was named wrongly.

    :raises SpoolUnusable: nobody can tell.
    """
    try:
        return root.is_dir()
    except OSError as error:
        hint = "name the directory that the recorder had with MEETA_DATA_DIRECTORY"
        raise SpoolUnusable(f"Can't read the spool {root}: {error.strerror}", hint=hint) from None
