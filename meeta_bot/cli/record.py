"""The command ``meeta-bot record``: the main job."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Annotated, Any, NoReturn

import typer

from meeta_bot import logs, room_address, service
from meeta_bot.capture.recorder import Recorder
from meeta_bot.capture.request import CaptureRequest, request_for
from meeta_bot.cli import console
from meeta_bot.cli.progress import Progress
from meeta_bot.cli.rooms_file import RoomsFile
from meeta_bot.delivery.jsonl import STANDARD_OUTPUT
from meeta_bot.delivery.registry import json_lines
from meeta_bot.errors import EXIT_EVENTS_REMAIN, CaptureFailed, UsageError
from meeta_bot.events import ORDERLY_ENDS
from meeta_bot.settings import Settings, load
from meeta_bot.text import safe_name
from meeta_bot.worker import Worker

_log = logs.get_logger("record")

ROOMS_TOLD_AT_LENGTH = 10  # with more of them, each is one line at the end
_STOPPED_AT_ONCE = "stopped at once; the next run, or `meeta-bot spool flush`, ends the captures"


def record(
    urls: Annotated[
        list[str] | None, typer.Argument(metavar="URL...", help="Addresses of the rooms, as in a browser.")
    ] = None,
    rooms: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="File with an address a line; - is standard input. SIGHUP re-reads it: new rooms are joined, "
            "rooms that are gone from it are left, all others stay as they are.",
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="The bot's name in the room; default 'Event recorder'.", show_default=False)
    ] = None,
    password_file: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="File whose first line is the room's password; - is standard input."),
    ] = None,
    jwt_file: console.TokenFile = None,
    max_duration: Annotated[
        str | None, typer.Option(metavar="TIME", help="Leave after this long: 90s, 15m, 1h30m.")
    ] = None,
    jsonl: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Write every event as a line of JSON to FILE, too; - is standard output. What a killed recorder "
            "has not written to it, the next one writes, or `spool flush`.",
        ),
    ] = None,
    database_url: console.DatabaseUrl = None,
    config: console.ConfigFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON line per capture at the end.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log every batch.")] = False,
) -> None:
    """Record rooms until their meetings end.

    The bot joins under an honest name, sends and receives no media, and leaves
    when the last human has left. The first Ctrl-C makes it leave and deliver what
    it has; the second stops at once and loses nothing.

    Examples:

      meeta-bot record https://meet.example.org/WeeklyStandup

      meeta-bot record https://meet.example.org/A https://meet.example.org/B

      meeta-bot record https://meet.example.org/Locked --password-file secret.txt

      meeta-bot record --rooms rooms.txt --max-duration 2h

      meeta-bot record https://meet.example.org/WeeklyStandup --jsonl - | jq .type
    """
    if as_json and jsonl == STANDARD_OUTPUT:
        raise UsageError("--json and --jsonl - both write to standard output", hint="name a file: --jsonl FILE")
    listing = RoomsFile(rooms) if rooms is not None else None
    addresses = [room_address.parse(url) for url in urls or []]
    if listing is not None:
        addresses += listing.rooms.values()
    if not addresses:
        raise UsageError("No room is named", hint="meeta-bot record https://meet.example.org/WeeklyStandup")
    settings = load(
        {
            "bot_name": name,
            "room_password": console.read_secret(password_file) if password_file is not None else None,
            **console.token_settings(jwt_file),
            "max_duration": console.parse_duration(max_duration) if max_duration else None,
            "database_url": database_url,
        },
        config,
    )
    requests = [request_for(address, settings) for address in addresses]
    sys.exit(asyncio.run(_record(requests, listing, jsonl, settings, as_json=as_json, verbose=verbose)))


async def _record(
    requests: list[CaptureRequest],
    listing: RoomsFile | None,
    jsonl: str | None,
    settings: Settings,
    *,
    as_json: bool,
    verbose: bool,
) -> int:
    sinks = [] if jsonl is None else [json_lines(jsonl)]
    async with service.recording(settings, sinks) as worker:
        _handle_signals(worker, listing, settings)
        with _progress(worker, verbose=verbose):
            ends = await worker.run(requests)
    for recorder in worker.recorders:
        _report(recorder, as_json=as_json, brief=len(worker.recorders) > ROOMS_TOLD_AT_LENGTH)
    if worker.remaining:
        reason = console.markup_free(worker.unavailable or "the time was over")
        talk = console.talk()
        talk.print(f"{worker.remaining} events remain in the spool: {reason}", soft_wrap=True)
        talk.print("[dim]hint:[/]  they are delivered by the next run, or by `meeta-bot spool flush`", soft_wrap=True)
        return EXIT_EVENTS_REMAIN
    return 0 if all(end.reason in ORDERLY_ENDS for end in ends) else CaptureFailed.exit_code


def _progress(worker: Worker, *, verbose: bool) -> AbstractContextManager[Any]:
    """Return a live table for a terminal, and have JSON log lines elsewhere."""
    if sys.stderr.isatty() and not verbose:
        return Progress(worker)
    logs.configure(verbose=verbose)
    return nullcontext()


def _handle_signals(worker: Worker, listing: RoomsFile | None, settings: Settings) -> None:
    asked = False

    def leave() -> None:
        nonlocal asked
        if asked:
            _stop_at_once()
        asked = True
        worker.stop()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, leave)
    # Without a list of rooms it means what it always did: the terminal is gone.
    loop.add_signal_handler(signal.SIGHUP, leave if listing is None else lambda: _reread(worker, listing, settings))


def _stop_at_once() -> NoReturn:
    """End this process. What was acknowledged is on disk."""
    screen = console.talk()
    with contextlib.suppress(OSError):
        if select.select([], [screen.file], [], 0)[1]:  # never wait for a terminal that is held or a pipe that is full
            if screen.is_terminal:  # the live table hides its cursor and ends in the middle of a line
                screen.show_cursor()
                screen.print()
            screen.print(_STOPPED_AT_ONCE, soft_wrap=True)
    os._exit(EXIT_EVENTS_REMAIN)


def _reread(worker: Worker, listing: RoomsFile, settings: Settings) -> None:
    try:
        new, gone = listing.reread()
    except UsageError as error:
        _log.error("the list of rooms was not taken over", problem=str(error), hint=error.hint)
        return
    _log.info("list of rooms read again", new=len(new), gone=len(gone))
    for address in gone:
        worker.remove(request_for(address, settings))
    for address in new:
        worker.add(request_for(address, settings))


def _report(recorder: Recorder, *, as_json: bool, brief: bool) -> None:
    state, end = recorder.state, recorder.end
    if as_json:
        console.print_json(
            {
                "capture_id": recorder.capture_id,
                "meeting_id": state.meeting.meeting_id,
                "room": recorder.address.url,
                "end_reason": end.reason if end else None,
                "end_detail": end.detail if end else None,
                "events": recorder.position.last_seq,
                "head_digest": recorder.position.head.hex(),
            }
        )
        return
    talk = console.talk()
    reason = end.reason.value.replace("_", " ") if end else "unknown"
    detail = f": {console.markup_free(safe_name(end.detail, 200))}" if end and end.detail else ""
    talk.print(f"[bold]{console.markup_free(recorder.address.url)}[/]  {reason}{detail}", soft_wrap=True)
    if brief:
        return
    talk.print(f"  {recorder.position.last_seq} events, head {recorder.position.head.hex()}", soft_wrap=True)
    if state.meeting.meeting_id:
        talk.print(f"  see it with: meeta-bot timeline {state.meeting.meeting_id[:8]}")
