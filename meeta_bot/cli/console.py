"""Options and output of all commands: two consoles for persons, JSON for programs, texts made safe."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from meeta_bot.errors import MeetaError, UsageError
from meeta_bot.logs import redact_text
from meeta_bot.text import safe_name

DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        "--database-url",
        metavar="URL",
        help="PostgreSQL to use, postgresql://user@host/name; also MEETA_DATABASE_URL. Default: the embedded one. "
        "Put a password into the environment or ~/.pgpass.",
    ),
]
TokenFile = Annotated[
    str | None,
    typer.Option(
        "--jwt-file",
        metavar="FILE",
        help="File whose first line is the JSON Web Token to log in with; - is standard input. A file is read again "
        "for every login, so that a token can be renewed while a capture runs.",
    ),
]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="TOML file with settings; also MEETA_CONFIG.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs: one document.")]
AsJsonLines = Annotated[bool, typer.Option("--json", help="Print JSON for programs: one object per line.")]


def as_text(value: str | None) -> str | None:
    """Return an argument of the command line that PostgreSQL can take.

    :raises UsageError: it is not valid UTF-8.
    """
    try:
        (value or "").encode()
    except UnicodeEncodeError:
        raise UsageError(f"{value!r} is not valid UTF-8", hint="type it on a terminal that writes UTF-8") from None
    return value


Which = Annotated[
    str,
    typer.Argument(
        callback=as_text,
        metavar="[MEETING]",
        help="A meeting's id, the beginning of one, a room's name, or 'latest'.",
        show_default=False,
    ),
]

_LONGEST_LINE = 2000  # characters of an error or a hint
# Controls except ends of lines and tabs, C1 among them, which terminals obey in UTF-8 too; direction; line separators.
_CONTROLS = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|\r(?!\n)"
)
_WIDTH_ELSEWHERE = 160  # columns where no terminal has a width
_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?:in)?)?(?:(\d+(?:\.\d+)?)s?)?")


def out() -> Console:
    """Return the console for data: standard output."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH_ELSEWHERE)


def talk() -> Console:
    """Return the console for talk: standard error."""
    return Console(stderr=True, highlight=False)


def print_table(table: Table) -> None:
    """Print a table; on a terminal that is too narrow its lines wrap, since a cut id or time would be of no use."""
    console = out()
    console.width = max(console.width, _WIDTH_ELSEWHERE)
    console.print(table)


def complain(error: MeetaError) -> None:
    """Print an error: one line that says what is wrong and one that says what to do."""
    console = talk()
    with contextlib.suppress(OSError):  # where nobody can read it, the exit code still says it
        for heading, style, text in (("error: ", "bold red", str(error)), ("hint:  ", "dim", error.hint)):
            if text:
                line = safe_name(redact_text(text), _LONGEST_LINE)
                console.print(Text.assemble((heading, style), line), soft_wrap=True)


def prepare_streams() -> None:
    """Make streams take every character: pipes and files get UTF-8, a terminal that can't show one a question mark.

    Output to a stream that a parent has closed is dropped.
    """
    sys.stdout = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115 — for as long as the process lives
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding=None if stream.isatty() else "utf-8", errors="replace")


def silence_stdout() -> None:
    """Redirect standard output to nowhere, so that the interpreter doesn't complain when it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def print_json(value: Any) -> None:
    """Print `value` as one line of JSON on standard output."""
    sys.stdout.write(f"{json_text(value)}\n")


def json_text(value: Any) -> str:
    """Return `value` as JSON, fit for standard output: a terminal gets no characters that control it."""
    text = msgspec.json.encode(value).decode()
    return escape_controls(text) if sys.stdout.isatty() else text


def escape_controls(text: str) -> str:
    """Write the controls of terminals in `text` as in JSON, such as ``\\u001b``."""
    return _CONTROLS.sub(lambda found: json.dumps(found[0])[1:-1], text)


def markup_free(text: str) -> str:
    """Escape brackets in `text`, so that they are not taken for rich's markup."""
    return escape(text)


@contextlib.contextmanager
def progress_bar(label: str, total: int, *, shown: bool = True) -> Iterator[Callable[[int], None]]:
    """Show a bar on standard error if that is a terminal; yield a function that advances it by a number of steps."""
    if not shown or not sys.stderr.isatty():
        yield lambda _: None
        return
    columns = (TextColumn(label), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=talk(), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda count: bar.advance(task, count)


def local_time(moment: datetime | None, pattern: str = "%Y-%m-%d %H:%M:%S") -> str:
    """Write a point in time as the user's clock shows it."""
    return "" if moment is None else moment.astimezone().strftime(pattern)


def parse_duration(text: str) -> float:
    """Return the seconds of a duration such as ``90``, ``90s``, ``15m`` or ``1h30m``.

    :raises UsageError: `text` is something else.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None or not any(match.groups()):
        raise UsageError(f"{text!r} is not a duration", hint="write it as 90s, 15m or 1h30m")
    hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds


_HOW_TO_GIVE_ONE = "write the secret into the first line of a file that only you can read, or pipe it in with `-`"


def read_secret(source: str) -> str:
    """Read the first line of the file `source`, or of standard input for ``-``.

    :raises UsageError: it can't be read or is empty.
    """
    shown = {"-": "Standard input", "": "''"}.get(source, source)
    try:
        text = _typed_secret() if source == "-" else Path(source).read_text(encoding="utf-8")
    except UnicodeDecodeError:  # its own words quote a byte of the secret
        raise UsageError(f"{shown} is not valid UTF-8", hint=_HOW_TO_GIVE_ONE) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"Can't read {shown}: {reason}", hint=_HOW_TO_GIVE_ONE) from None
    secret = text.removeprefix("\ufeff").partition("\n")[0].rstrip("\r")
    if not secret:
        raise UsageError(f"{shown} has an empty first line", hint=_HOW_TO_GIVE_ONE)
    return secret


def token_settings(jwt_file: str | None) -> dict[str, Any]:
    """Return the settings for a token: the file itself, once it could be read, or the text of standard input."""
    if jwt_file is None:
        return {}
    token = read_secret(jwt_file)
    return {"jwt": token} if jwt_file == "-" else {"jwt_file": jwt_file}


def _typed_secret() -> str:
    """Read the first line of standard input, which a parent may have closed."""
    if sys.stdin is None:
        raise OSError(errno.EBADF, "it is closed")
    return sys.stdin.buffer.readline().decode()
