"""The command ``meeta-bot record``: the main job."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Annotated, Any, NoReturn

import typer
from rich.text import Text

from meeta_bot import logs, room_address, service
from meeta_bot.capture.recorder import Recorder
from meeta_bot.capture.request import CaptureRequest, request_for
from meeta_bot.cli import console
from meeta_bot.cli.progress import Progress
from meeta_bot.cli.room_values import ListedRoom
from meeta_bot.cli.rooms_file import RoomsFile
from meeta_bot.cli.stop_signals import StopSignals
from meeta_bot.delivery.jsonl import STANDARD_OUTPUT
from meeta_bot.delivery.registry import json_lines
from meeta_bot.errors import EXIT_EVENTS_REMAIN, CaptureFailed, UsageError
from meeta_bot.events import ORDERLY_ENDS
from meeta_bot.settings import Settings, load
from meeta_bot.text import safe_name
from meeta_bot.worker import Worker

_log = logs.get_logger("record")

ROOMS_TOLD_AT_LENGTH = 10  # with more of them, each is one line at the end
_LONGEST_WARNING = 1000  # characters
_STOPPED_AT_ONCE = "stopped at once; the next run, or `meeta-bot spool flush`, ends the captures"


def record(
    urls: Annotated[
        list[str] | None, typer.Argument(metavar="URL...", help="Addresses of the rooms, as in a browser.")
    ] = None,
    rooms: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="File with an address a line, or with values for each room as TOML or JSON Lines (see above); "
            "- is standard input. SIGHUP re-reads it: new rooms are joined, rooms that are gone from it are left, "
            "all others stay as they are, also when their values have changed.",
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

    A list of rooms (--rooms FILE) has an address a line:

      https://meet.example.org/Standup  # comments are allowed

    Or, where rooms need values of their own, a table for each in TOML:

      \\[\\[room]]

      url = "https://meet.example.org/Board"

      name = "Minutes"

      password_file = "board.txt"

      max_duration = "1h30m"

      labels = { team = "board" }

    Or the same as an object a line (JSON Lines):

      {"url": "https://meet.example.org/Board", "left_alone_grace": 120}

    Keys: url, name, password_file or password, token_file or token,
    max_duration, nobody_came_timeout, left_alone_grace (seconds, or texts such
    as "15m"), schedule_key, labels. What a room does not say is as the options
    and settings say for all. Files are looked for beside the list.
    """
    if as_json and jsonl == STANDARD_OUTPUT:
        raise UsageError("--json and --jsonl - both write to standard output", hint="name a file: --jsonl FILE")
    addresses = [room_address.parse(url) for url in urls or []]
    listing = RoomsFile(rooms) if rooms is not None else None
    listed = listing.rooms if listing is not None else {}
    found = [ListedRoom(address) for address in addresses if address.key not in listed] + [*listed.values()]
    if not found:
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
    _warn_of_exposed_secrets(listing)
    _warn_of_other_names(found)
    requests = [request_for(room.address, settings, **room.own) for room in found]
    sys.exit(asyncio.run(_record(requests, listing, jsonl, settings, as_json=as_json, verbose=verbose)))


def _warn_of_exposed_secrets(listing: RoomsFile | None) -> None:
    warning = listing.warning() if listing is not None else None
    if warning is not None:
        text = f"{safe_name(warning, _LONGEST_WARNING)}; chmod 600 it, or name files with password_file and token_file"
        _warn(text)


def _warn_of_other_names(rooms: Iterable[ListedRoom]) -> None:
    """Say which rooms are called otherwise than their addresses read, before anybody waits in one of them."""
    for room in rooms:
        if room.address.other_name is not None:
            _warn(safe_name(room.address.other_name, _LONGEST_WARNING))


def _warn(text: str) -> None:
    console.talk().print(Text.assemble(("warning: ", "yellow"), text), soft_wrap=True)


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
    loop = asyncio.get_running_loop()
    stopping = StopSignals(worker.stop, _stop_at_once, settings.stop_signals_window)
    stopping.handle(loop)
    # Without a list of rooms it means what it always did: the terminal is gone.
    hang_up = stopping.asked if listing is None else lambda: _reread(worker, listing, settings)
    loop.add_signal_handler(signal.SIGHUP, hang_up)


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
        changes = listing.reread()
    except UsageError as error:
        _log.error("the list of rooms was not taken over", problem=str(error), hint=error.hint)
        return
    _log.info("list of rooms read again", new=len(changes.new), gone=len(changes.gone), changed=len(changes.changed))
    _warn_of_exposed_secrets(listing)
    _warn_of_other_names(changes.new)
    for room in changes.changed:
        _log.warning("room stays as it is, though its values have changed", room=room.address.url)
    for room in changes.gone:
        worker.remove(request_for(room.address, settings, **room.own))
    for room in changes.new:
        worker.add(request_for(room.address, settings, **room.own))


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
