"""``meeta-bot export``: a file of events, for other programs and for keeping."""

from __future__ import annotations

import contextlib
import csv
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import msgspec
import typer

from meeta_bot.cli import console
from meeta_bot.cli.reader import find_meeting, run_with_reader
from meeta_bot.errors import UsageError
from meeta_bot.events.document import EventRow, event_document, json_line
from meeta_bot.reading.queries import LATEST, CaptureProgress, Reader
from meeta_bot.text import safe_name
from meeta_bot.timestamps import iso

STDOUT = "-"
COLUMNS = (
    *("capture_id", "seq", "type", "origin", "room", "endpoint_id", "occurred_at", "monotonic_ms", "server_at"),
    *("initial", "inferred", "payload", "digest"),
)
_ACTIVE = ("=", "+", "-", "@", "\t", "\r")  # what makes a spreadsheet take a cell for a formula
_SHOWN_HEADS = 20  # head digests in the line at the end
_PROGRESS_STEP = 250  # events between two moves of the bar


class Format(StrEnum):
    """A format of exported events."""

    JSONL = "jsonl"
    CSV = "csv"


class Summary(msgspec.Struct):
    """The summary of an export: its number of events, and the digest of each capture's last one."""

    events: int = 0
    heads: dict[str, str] = {}


def export(
    meeting: Annotated[
        str | None,
        typer.Argument(
            callback=console.as_text,
            metavar="[MEETING]",
            help="A meeting's id, the beginning of one, a room's name, or 'latest'. Default: latest.",
            show_default=False,
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All meetings, and captures that belong to none.")] = False,
    output_format: Annotated[
        Format, typer.Option("--format", help="JSON Lines as from `events --json`, or CSV.")
    ] = Format.JSONL,
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", help="File to write; - is standard output.")
    ] = STDOUT,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
    database_url: console.DatabaseUrl = None,
    config: console.ConfigFile = None,
) -> None:
    """Export the events of a meeting, or of all, as JSON Lines or CSV.

    A capture that still runs is exported as far as it is stored when the export
    begins. A file appears when it is complete, or not at all.

    CSV has the columns of the envelope, the payload as JSON text, and the digest;
    a null is an empty cell. So that no spreadsheet takes a text for a formula, a
    single quote is put before a text that begins with = + - @, a tab or a
    carriage return, and before one that begins with a single quote: drop one and
    you have what was stored.

    Examples:

      meeta-bot export weeklystandup --output standup.jsonl

      meeta-bot export --all --format csv | gzip > everything.csv.gz
    """
    if meeting is not None and everything:
        raise UsageError("MEETING and --all don't go together", hint="give one of them")
    target = None if output == STDOUT else _target(output, force=force)

    async def work(reader: Reader) -> Summary:
        progress = await _progress(reader, None if everything else meeting or LATEST)
        with _destination(target, force=force) as file:
            return await _write(reader, progress, output_format, file)

    summary = run_with_reader(work, database_url=database_url, config=config)
    console.talk().print(console.markup_free(_summary_line(summary, target)), soft_wrap=True)


async def _progress(reader: Reader, meeting: str | None) -> list[CaptureProgress]:
    """Return the progress of a meeting's captures; of all captures for None."""
    return await reader.progress(None if meeting is None else (await find_meeting(reader, meeting)).capture_ids)


async def _write(reader: Reader, progress: list[CaptureProgress], output_format: Format, file: BinaryIO) -> Summary:
    """Write all events of captures as far as their `progress`, one capture after the other."""
    encode, summary = _ENCODERS[output_format], Summary()
    if file is sys.stdout.buffer and sys.stdout.isatty():
        encode = _for_terminal(encode)
    if output_format is Format.CSV:
        file.write(_csv_line(COLUMNS))
    # No bar where the events themselves go to the terminal.
    is_quiet = not (file is sys.stdout.buffer and sys.stdout.isatty())
    total = sum(one.event_count for one in progress)
    with console.progress_bar("exporting", total, shown=is_quiet) as advance:
        for one in progress:
            async for row in reader.all_events([one.capture_id], through=one.last_seq):
                file.write(encode(row))
                summary.events += 1
                summary.heads[row.capture_id] = row.digest.hex()
                if summary.events % _PROGRESS_STEP == 0:
                    advance(_PROGRESS_STEP)
        file.flush()
    return summary


def _summary_line(summary: Summary, target: Path | None) -> str:
    """Write one line: how many events went where, and the head digest of each capture."""
    heads = [f"{capture_id} {digest}" for capture_id, digest in summary.heads.items()]
    more = f", and {len(heads) - _SHOWN_HEADS} more" if len(heads) > _SHOWN_HEADS else ""
    where = f" to {safe_name(str(target), 1000)}" if target else ""
    digests = f"; head of {', '.join(heads[:_SHOWN_HEADS])}{more}" if heads else ""
    return f"{summary.events} events exported{where}{digests}"


# --- formats ------------------------------------------------------------------------------------------------------


class _Echo:
    """A file for `csv.writer` that makes it return its lines: ``writerow`` passes on what ``write`` returns."""

    @staticmethod
    def write(text: str) -> str:
        return text


_csv_writer = csv.writer(_Echo())


def _csv_line(cells: tuple[str | int | None, ...]) -> bytes:
    line: Any = _csv_writer.writerow(cells)
    return str(line).encode()


def _csv(row: EventRow) -> bytes:
    return _csv_line(
        (
            row.capture_id,
            row.seq,
            _harmless(row.type),
            _harmless(row.origin),
            _harmless(row.room),
            _harmless(row.endpoint_id),
            iso(row.occurred_at),
            row.monotonic_ms,
            iso(row.server_at),
            "true" if row.initial else "false",
            "true" if row.inferred else "false",
            _harmless(row.payload),
            row.digest.hex(),
        )
    )


def _for_terminal(encode: Callable[[EventRow], bytes]) -> Callable[[EventRow], bytes]:
    """Make `encode` escape the characters that control terminals."""
    return lambda row: console.escape_controls(encode(row).decode()).encode()


def _harmless(text: str | None) -> str | None:
    """Make `text` a cell that no spreadsheet computes. One that begins with a quote gets one too: nothing is lost."""
    return f"'{text}" if text is not None and text.startswith((*_ACTIVE, "'")) else text


def _jsonl(row: EventRow) -> bytes:
    return json_line(event_document(row))


_ENCODERS: dict[Format, Callable[[EventRow], bytes]] = {Format.JSONL: _jsonl, Format.CSV: _csv}


# --- files --------------------------------------------------------------------------------------------------------


def _target(output: str, *, force: bool) -> Path:
    """Return the file that the option names, where symbolic links lead.

    :raises UsageError: it may not or can't be written there.
    """
    if not output:
        raise UsageError("--output names no file", hint="use - for standard output")
    try:
        target = Path(output).resolve()
        _refuse_to_overwrite(target, force=force)
        if target.exists() and not target.is_file():
            raise UsageError(f"{output} is not a regular file", hint="use `--output -` and redirect it")
        if not target.parent.is_dir():
            raise UsageError(f"Directory {target.parent} not found", hint="create it, or name another file")
    except (OSError, RuntimeError) as error:
        raise _cant_write(output, error) from None
    return target


def _refuse_to_overwrite(target: Path, *, force: bool) -> None:
    if target.exists() and not force:
        raise UsageError(f"{target} exists", hint="name another, or replace it with --force")


def _cant_write(target: Path | str, error: Exception) -> UsageError:
    return UsageError(f"Can't write {target}: {getattr(error, 'strerror', None) or error}", hint="name another file")


@contextmanager
def _destination(target: Path | None, *, force: bool) -> Iterator[BinaryIO]:
    """Yield a file to write to, which becomes `target` when the block ends well; standard output for None.

    :raises UsageError: it can't be written, or `target` has come into being meanwhile.
    """
    if target is None:
        yield sys.stdout.buffer
        return
    unfinished = target.with_name(f".meeta-bot-{os.getpid()}.part")
    try:
        with unfinished.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _refuse_to_overwrite(target, force=force)
        unfinished.replace(target)
    except OSError as error:
        raise _cant_write(target, error) from None
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
