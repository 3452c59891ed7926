"""The command line: one module per noun; parse, build settings, call one function, map errors to exit codes."""

from __future__ import annotations

import errno
import sys
from typing import Annotated

import typer
from typer.exceptions import TyperException

from meeta_bot import __version__, crash_report
from meeta_bot.cli import (
    console,
    db,
    doctor,
    events,
    export,
    meetings,
    participants,
    record,
    schema,
    spool,
    timeline,
    verify,
)
from meeta_bot.errors import EXIT_INTERRUPTED, MeetaError, OutputError, UsageError

app = typer.Typer(
    name="meeta-bot",
    help="The flight recorder for Jitsi: records who came, spoke, muted, shared and left into your PostgreSQL.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 refuted by verify, 2 wrong usage or setting, 3 not found, 4 database, 5 browser, "
    "6 spool, 7 the bot could not get in or stay in, 8 the output could not be written, 70 an error of the program "
    "itself, 75 events remain in the spool and will be delivered by the next run or `meeta-bot spool flush`, "
    "130 interrupted while reading.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"meeta-bot {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Take the options before the command."""


app.command()(record.record)
app.command()(meetings.meetings)
app.command()(timeline.timeline)
app.command()(participants.participants)
app.command()(events.events)
app.command()(export.export)
app.command()(verify.verify)
app.command()(schema.schema)
app.command()(doctor.doctor)
app.add_typer(db.app, name="db")
app.add_typer(spool.app, name="spool")

# With which a full disk, a limit or a terminal that is gone refuses output. Files that a command opens by itself, and
# networks, have errors of the tree.
_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def main() -> None:
    """Run the command line; every error becomes one line and its exit code, those that nobody expected too."""
    try:
        _run()
    except MeetaError as error:
        console.complain(error)
        sys.exit(error.exit_code)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        console.silence_stdout()
        sys.exit(0)
    except KeyboardInterrupt:  # between the moments in which typer sees it
        sys.exit(EXIT_INTERRUPTED)
    except Exception as error:
        problem = _unexpected(error)
        console.complain(problem)
        sys.exit(problem.exit_code)


def _unexpected(error: Exception) -> MeetaError:
    """Return what to say of an error that is not of the tree: output that can't be written, or a fault of ours."""
    if isinstance(error, OSError) and error.errno in _UNWRITABLE:
        console.silence_stdout()
        return OutputError(f"Can't write the output: {error.strerror}", hint="make room, or redirect it")
    return crash_report.report(error)


def _run() -> None:
    """Run the command that the arguments name.

    :raises UsageError: the arguments name no command, or options that it doesn't have.
    :raises BrokenPipeError: whoever reads standard output has gone. typer would make that exit code 1, and what is
        still buffered would only be missed when the interpreter is gone.
    """
    console.prepare_streams()
    try:
        code = app(prog_name="meeta-bot", standalone_mode=False)
        sys.stdout.flush()
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):
            raise end.__context__ from None
        sys.stdout.flush()
        raise
    except TyperException as problem:
        raise _usage_error(problem) from None
    sys.exit(code or 0)  # 130 after Ctrl-C


def _usage_error(problem: TyperException) -> UsageError:
    """Make typer's message about wrong arguments one line like every other error."""
    context = getattr(problem, "ctx", None)
    if context is not None and type(problem).__name__ == "NoArgsIsHelpError":  # a group alone: has printed its help
        raise SystemExit(UsageError.exit_code)
    command = context.command_path if context is not None else "meeta-bot"
    return UsageError(" ".join(problem.format_message().split()), hint=f"see `{command} --help`")
