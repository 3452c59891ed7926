"""Options that select events of a meeting: by type, participant and time."""

from __future__ import annotations

import difflib
import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec
import typer

from meeta_bot.cli import console
from meeta_bot.errors import UsageError
from meeta_bot.events import CATALOG
from meeta_bot.reading.queries import Filter

Types = Annotated[
    list[str] | None,
    typer.Option("--type", "-t", metavar="TYPE", help="Only this type, or 'participant.*'; may be repeated."),
]
Who = Annotated[
    str | None,
    typer.Option(
        "--who",
        "--participant",
        callback=console.as_text,
        metavar="NAME|ENDPOINT_ID",
        help="Only about participants who ever had this name, or about this endpoint.",
    ),
]
Since = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="Not before this moment: ISO 8601, 15m for 15 minutes ago, or 1:02:03 after the start.",
    ),
]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="Before this moment, in the same form.")]

_SUGGESTIONS = 4
_AFTER_START = re.compile(r"(?:(\d{1,4}):)?(\d{1,2}):(\d{2}(?:\.\d+)?)")


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """A selection of a meeting's events; a moment is a point in time, or how long after the recording's start."""

    types: list[str] | None = None
    who: str | None = None
    since: datetime | timedelta | None = None
    until: datetime | timedelta | None = None

    def filter(self, began: datetime, *, except_types: list[str] | None = None) -> Filter:
        """Return the filter of a recording that began at a moment; `except_types` holds where no type is selected.

        :raises UsageError: it begins after its end.
        """
        since, until = _resolved(self.since, began), _resolved(self.until, began)
        if since and until and since >= until:
            raise UsageError("--since is not before --until", hint="give the earlier moment to --since")
        left_out = None if self.types else except_types
        return Filter(types=self.types, except_types=left_out, participant=self.who, since=since, until=until)


def selection(types: list[str] | None, who: str | None, since: str | None, until: str | None) -> Selection:
    """Return the selection that options make.

    :raises UsageError: one of them names no type or no moment.
    """
    found = Selection(types=_types(types), who=who, since=_moment(since), until=_moment(until))
    if type(found.since) is type(found.until):
        found.filter(datetime.now(UTC))  # known without a meeting
    return found


def _resolved(moment: datetime | timedelta | None, began: datetime) -> datetime | None:
    return began + moment if isinstance(moment, timedelta) else moment


def _types(given: list[str] | None) -> list[str] | None:
    """List all types that the options name; None without options."""
    return [name for text in given for name in _types_named(text)] if given else None


def _types_named(text: str) -> list[str]:
    """List the types that `text` names: one, or all of a topic for ``topic.*``.

    :raises UsageError: it names none; the hint names similar ones.
    """
    found = [name for name in CATALOG if name == text or (text.endswith(".*") and name.startswith(text[:-1]))]
    if not found:
        raise UsageError(f"Unknown event type {text!r}", hint=_similar_types(text))
    return found


def _similar_types(text: str) -> str:
    if text == "*":
        return "without --type all types are shown; those of one topic are written like capture.*"
    known = [*CATALOG, *sorted({f"{name.partition('.')[0]}.*" for name in CATALOG})]
    close = difflib.get_close_matches(text.lower(), known, _SUGGESTIONS)
    close += [name for name in known if text and text.lower() in name and name not in close]
    if not close:
        return "`meeta-bot schema` describes every type"
    return f"did you mean {' or '.join(close[:_SUGGESTIONS])}?"


def _moment(text: str | None) -> datetime | timedelta | None:
    """Return the moment that an option names: ISO 8601, a duration up to now, or a time after the start.

    :raises UsageError: it is none of them.
    """
    if text is None:
        return None
    if after := _AFTER_START.fullmatch(text.strip()):
        hours, minutes, seconds = after.groups()
        return timedelta(hours=int(hours or 0), minutes=int(minutes), seconds=float(seconds))
    try:
        if any(mark in text for mark in "-:T"):
            return datetime.fromisoformat(text).astimezone(UTC)
        return datetime.now(UTC) - timedelta(seconds=console.parse_duration(text))
    except (ValueError, OverflowError, OSError, UsageError):
        raise UsageError(
            f"{text!r} is not a time",
            hint="write 2026-11-22T10:00:00Z, 15m for 15 minutes ago, or 1:02:03 after the start",
        ) from None
