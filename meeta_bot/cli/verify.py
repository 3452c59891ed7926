"""``meeta-bot verify``: proof or refutation that what is stored is complete and unaltered."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Iterator
from contextlib import aclosing
from typing import Annotated
from uuid import UUID

import msgspec
import typer
from rich.text import Text

from meeta_bot import logs
from meeta_bot.capture.spool.directory import spool_root
from meeta_bot.capture.spool.status import read_statuses
from meeta_bot.cli import console
from meeta_bot.cli.reader import find_meeting
from meeta_bot.database import migrations
from meeta_bot.database.access import DatabaseAccess
from meeta_bot.errors import EXIT_REFUTED, OutputError, SpoolError, UsageError
from meeta_bot.reading import queries
from meeta_bot.reading.queries import LATEST, Reader
from meeta_bot.settings import Settings, load
from meeta_bot.text import safe_name
from meeta_bot.verify import (
    AwaitingDelivery,
    CheckResult,
    Verdict,
    is_known,
    stored_captures,
    stray_meetings,
    verdicts,
)

MOST_PROCESSES = 8  # that are started unasked; each has a connection, and a server has a hundred
_CAPTURE_VERSION = 7  # ids of captures are UUIDv7, those of meetings UUIDv5
_DIGEST = re.compile("[0-9a-f]{64}")
_READ_ALL = "read all of them, or redirect them to a file: whether something is refuted is not known yet"


class _Scope(msgspec.Struct, frozen=True):
    """The captures to verify, and about how many events they have."""

    capture_ids: list[str]
    events: int


class _Options(msgspec.Struct, frozen=True):
    """The command line, parsed: `which` is None for everything."""

    which: str | None
    expect: bytes | None
    as_json: bool


class _Tally(msgspec.Struct):
    """The tally of all verdicts."""

    verdicts: int = 0
    refuted: int = 0
    events: int = 0


def verify(
    which: Annotated[
        str | None,
        typer.Argument(
            callback=console.as_text,
            metavar="[CAPTURE|MEETING]",
            help="A capture's or meeting's id, the beginning of one, a room's name, or 'latest'. Default: latest.",
            show_default=False,
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every capture that anything is stored of.")] = False,
    expect: Annotated[
        str | None,
        typer.Option(
            metavar="DIGEST",
            callback=console.as_text,
            help="The head digest that the capture must have, as it was printed when it ended and kept elsewhere.",
        ),
    ] = None,
    as_json: console.AsJsonLines = False,
    database_url: console.DatabaseUrl = None,
    config: console.ConfigFile = None,
) -> None:
    """Prove or refute that what is stored is complete and unaltered.

    Changes nothing. Exits with 1 when something is refuted. For each capture:
    numbers run from 1 without a hole; each payload fits its commitment and
    each digest follows from the one before, up to the head; the books in the
    recorder's heartbeats and in its end say of every message what became of it,
    and agree with what is stored; captures, meetings, visits and gaps are what
    the events give; silences, and whatever else the recorder says that it lost,
    are recorded as gaps; beginning and end are in place.

    Events that wait in a spool of this machine are not missing: their number is
    reported.

    A payload that was erased together with its salt leaves its commitment, so
    the chain still holds; the number of erased ones is reported. Events that
    PostgreSQL refused are checked in quarantine.

    What this can't show: that somebody who may write the database made all of
    a capture anew, chain included, or removed it whole. Keep the head that is
    printed when a recording ends somewhere else, and give it as --expect: then
    it shows both. For a capture that goes on, any digest that it has had will
    do.

    Examples:

      meeta-bot verify

      meeta-bot verify --all --json

      meeta-bot verify 01a20352-d073-7750-b0a3-09fd22160b9a --expect "$(cat head)"
    """
    if which is not None and everything:
        raise UsageError("CAPTURE and --all don't go together", hint="give one of them")
    options = _Options(None if everything else which or LATEST, _digest(expect), as_json)
    if options.which is None and options.expect is not None:
        raise UsageError("--expect is the head of one capture, --all names all", hint="name the capture")
    settings = load({"database_url": database_url}, config)
    logs.configure(level="warning")
    try:
        tally = asyncio.run(_run(settings, options))
    except (BrokenPipeError, SystemExit):  # the latter is rich's
        console.silence_stdout()
        raise OutputError("The reader of the verdicts has gone before the last one", hint=_READ_ALL) from None
    if tally.refuted:
        sys.exit(EXIT_REFUTED)


def _digest(text: str | None) -> bytes | None:
    """Return the 32 bytes of a digest.

    :raises UsageError: `text` is not a digest.
    """
    if text is None:
        return None
    if not _DIGEST.fullmatch(text.strip().lower()):
        raise UsageError("--expect takes a whole digest: 64 hexadecimal digits", hint="`export` prints head digests")
    return bytes.fromhex(text.strip())


async def _run(settings: Settings, options: _Options) -> _Tally:
    async with DatabaseAccess(settings) as access:
        if access.is_embedded:  # nobody else maintains its schema
            await migrations.upgrade(access.url, settings)
        scope = await _scope(access.url, settings, options)
        tally = _Tally()
        takes_long = scope.events >= settings.verify_chunk_events
        with console.progress_bar("verifying", scope.events, shown=takes_long) as advance:
            found = verdicts(
                access.url,
                settings,
                scope.capture_ids,
                processes=_processes(settings, scope.events),
                expect=options.expect,
                awaiting=_awaiting(settings),
                advance=advance,
            )
            async with aclosing(found):
                async for verdict in found:
                    _print_verdict(verdict, tally, as_json=options.as_json)
        if options.which is None:
            for verdict in await stray_meetings(access.url, settings):
                _print_verdict(verdict, tally, as_json=options.as_json)
    if not options.as_json:
        console.out().print(_summary(tally), soft_wrap=True)
    return tally


def _processes(settings: Settings, events: int) -> int:
    """Return the number of processes that verify so many events."""
    if events < settings.verify_parallel_events:
        return 1
    return settings.verify_processes or min(MOST_PROCESSES, max(1, (os.cpu_count() or 1) // 2))


def _awaiting(settings: Settings) -> dict[str, AwaitingDelivery]:
    """Return the captures in the spools of this machine, by id; none where the spools can't be read."""
    try:
        spools = read_statuses(spool_root(settings))
    except SpoolError:
        return {}
    captures = [capture for spool in spools for capture in spool.captures]
    return {
        capture.capture_id: AwaitingDelivery(capture.last_seq, capture.waiting)
        for capture in captures
        if capture.last_seq is not None
    }


async def _scope(url: str, settings: Settings, options: _Options) -> _Scope:
    async with queries.reading(url, settings) as reader:
        if options.which is None:
            capture_ids = await stored_captures(url, settings)
        else:
            capture_ids = await _captures(reader, url, settings, options.which)
        if options.expect is not None and len(capture_ids) != 1:
            named = ", ".join(capture_ids)
            raise UsageError(
                f"--expect is the head of one capture; {len(capture_ids)} are named", hint=f"name one of {named}"
            )
        wanted = None if options.which is None else capture_ids  # ids in quarantine may not be UUIDs
        known = {one.capture_id: one.event_count for one in await reader.progress(wanted)}
        return _Scope(capture_ids, sum(known.get(capture_id, 0) for capture_id in capture_ids))


async def _captures(reader: Reader, url: str, settings: Settings, which: str) -> list[str]:
    """List the ids of the captures that `which` names: one capture, or all of a meeting.

    :raises NotFound: it names none.
    """
    whole = _uuid(which)
    # A whole id of a capture was once given to somebody: if nothing is stored of it, that is to be reported.
    if whole is not None and (whole.version == _CAPTURE_VERSION or await is_known(url, settings, whole)):
        return [str(whole)]
    found = await find_meeting(reader, which)
    prefix = which.replace("-", "").lower()
    named = [one for one in found.capture_ids if one.replace("-", "").startswith(prefix)]
    is_of_meeting = found.meeting_id is not None and found.meeting_id.replace("-", "").startswith(prefix)
    return named if named and not is_of_meeting and found.room != which else found.capture_ids


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


# --- output -------------------------------------------------------------------------------------------------------


def _print_verdict(verdict: Verdict, tally: _Tally, *, as_json: bool) -> None:
    tally.verdicts += 1
    tally.events += verdict.events
    tally.refuted += not verdict.verified
    if as_json:
        console.print_json(verdict)
        sys.stdout.flush()
        return
    screen = console.out()
    for line in _lines(verdict):
        screen.print(line, soft_wrap=True)


def _lines(verdict: Verdict) -> Iterator[Text]:
    mark = ("✓", "green") if verdict.verified else ("✗", "bold red")
    yield Text.assemble(mark, " ", "  ".join(_facts(verdict)), (f"  {_result(verdict)}", "dim" * verdict.verified))
    for name, check in verdict.checks.items():
        if not check.ok:
            yield Text.assemble((f"    {name}: ", "red"), _problem(check))
            if check.hint is not None:
                yield Text(f"      {check.hint}", style="dim")
    for note in verdict.notes:
        yield Text.assemble(("    · ", "yellow"), safe_name(note, 1000))


def _facts(verdict: Verdict) -> Iterator[str]:
    """Yield the facts of a capture: its id and room, and the numbers of its events."""
    yield f"{(verdict.capture_id or f'meeting {verdict.meeting_id}')[:36]}"
    yield safe_name(verdict.room) or "?"
    yield f"{verdict.events} events"
    if verdict.erased:
        yield f"{verdict.erased} erased"
    if verdict.quarantined:
        yield f"{verdict.quarantined} in quarantine"
    if verdict.head is not None:
        yield f"head {verdict.head[:8]}…"
    if verdict.state == "recording":
        yield "still recording"


def _result(verdict: Verdict) -> str:
    if verdict.verified:
        return ", ".join(verdict.checks)
    bad = [name for name, check in verdict.checks.items() if not check.ok]
    return f"refuted: {', '.join(bad)}"


def _problem(check: CheckResult) -> str:
    position = "" if check.seq is None else f"seq {check.seq}: "
    return safe_name(f"{position}{check.problem}", 1000)


def _summary(tally: _Tally) -> Text:
    what = f"{tally.verdicts} capture{'s' * (tally.verdicts != 1)}, {tally.events} events"
    if not tally.verdicts:
        return Text("Nothing is stored")
    if tally.refuted:
        return Text(f"{what}: {tally.refuted} refuted", style="bold red")
    return Text(f"{what}: complete and unaltered", style="green")
