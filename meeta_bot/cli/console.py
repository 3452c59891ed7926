"""What all commands share: options, output for persons on two consoles, JSON for programs, texts made safe."""

from __future__ import annotations

import os
import re
import sys
import unicodedata
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console

from meeta_bot.errors import MeetaError, UsageError
from meeta_bot.logs import redact_text

DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        "--database-url",
        metavar="URL",
        help="PostgreSQL to use, postgresql://user@host/name; also MEETA_DATABASE_URL. Default: the embedded one. "
        "Put a password into the environment or ~/.pgpass.",
    ),
]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="TOML file with settings; also MEETA_CONFIG.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Which = Annotated[
    str,
    typer.Argument(
        metavar="[MEETING]",
        help="A meeting's id, the beginning of one, a room's name, or 'latest'.",
        show_default=False,
    ),
]

_LONGEST_NAME = 60
_WIDTH_ELSEWHERE = 160  # columns where there is no terminal that has a width
_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?:in)?)?(?:(\d+(?:\.\d+)?)s?)?")


def out() -> Console:
    """Where data goes: standard output."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH_ELSEWHERE)


def talk() -> Console:
    """Where talk goes: standard error."""
    return Console(stderr=True, highlight=False)


def complain(error: MeetaError) -> None:
    """One line that says what is wrong and one that says what to do."""
    console = talk()
    console.print(f"[bold red]error:[/] {markup_free(redact_text(str(error)))}", soft_wrap=True)
    if error.hint:
        console.print(f"[dim]hint:[/]  {markup_free(error.hint)}", soft_wrap=True)


def silence_stdout() -> None:
    """Keep the interpreter from complaining about a closed standard output when it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def print_json(value: Any) -> None:
    """`value` as one line of JSON on standard output."""
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")


def markup_free(text: str) -> str:
    """`text` in which brackets are not taken for rich's markup."""
    return text.replace("[", "\\[")


def safe_name(name: str | None, longest: int = _LONGEST_NAME) -> str:
    """A display name that can't harm a terminal: no control or direction characters, not endless."""
    kept = "".join(" " if unicodedata.category(char) in ("Cc", "Zl", "Zp") else char for char in name or "")
    kept = "".join(char for char in kept if unicodedata.category(char) not in ("Cf", "Cs", "Co", "Cn"))
    kept = " ".join(kept.split())
    return kept if len(kept) <= longest else f"{kept[: longest - 1]}…"


def local_time(moment: datetime | None, pattern: str = "%Y-%m-%d %H:%M:%S") -> str:
    """A point in time as the user's clock shows it."""
    return "" if moment is None else moment.astimezone().strftime(pattern)


def duration(milliseconds: float | None) -> str:
    """A duration such as ``1:02:03`` or ``0:07``."""
    if milliseconds is None:
        return ""
    minutes, seconds = divmod(int(milliseconds // 1000), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def parse_duration(text: str) -> float:
    """Seconds of ``90``, ``90s``, ``15m`` or ``1h30m``.

    :raises UsageError: it is something else.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None or not any(match.groups()):
        raise UsageError(f"{text!r} is no duration", hint="write it as 90s, 15m or 1h30m")
    hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds


def read_secret(source: str) -> str:
    """The first line of the file `source`, or of standard input for ``-``.

    :raises UsageError: it can't be read or is empty.
    """
    try:
        text = sys.stdin.readline() if source == "-" else Path(source).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"Can't read {source}: {getattr(error, 'strerror', None) or error}") from None
    secret = text.partition("\n")[0].rstrip("\r")
    if not secret:
        raise UsageError(f"{'Standard input' if source == '-' else source} holds no secret in its first line")
    return secret
