"""``meeta-bot timeline``: a meeting that a person can read."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Annotated

import typer
from rich.cells import cell_len, set_cell_size
from rich.color import ColorSystem
from rich.console import Console
from rich.style import Style
from rich.text import Text

from meeta_bot.cli import console, selection
from meeta_bot.cli.meetings import styled_state
from meeta_bot.cli.pager import paged
from meeta_bot.cli.reader import find_meeting, run_with_reader
from meeta_bot.events.document import event_document
from meeta_bot.reading import narration
from meeta_bot.reading.decoded import decoded
from meeta_bot.reading.documents import meeting_document
from meeta_bot.reading.lanes import Interval, Lane
from meeta_bot.reading.queries import Filter, Reader
from meeta_bot.reading.rows import CaptureRow, MeetingRow
from meeta_bot.reading.story import Entry, Story, fullest_capture, moment_text, read_story
from meeta_bot.text import duration, safe_name
from meeta_bot.timestamps import milliseconds

_NAME_WIDTH = 18
_TICK_WIDTH = 10  # columns between two times on the scale; "1:02:03" fits with room
_STEPS_MS = [seconds * 1000 for seconds in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)]
_LOUD = {"capture.gap": "bold yellow", "capture.reconnecting": "yellow", "capture.clock_jumped": "yellow"}
# By topic of an event's type.
_STYLES = {
    "capture": "dim",
    "signalling": "yellow",
    "conference": "magenta",
    "meeting": "bold magenta",
    "participant": "cyan",
    "breakout": "magenta",
    "hand": "yellow",
    "audio": "green",
    "video": "green",
    "dominant_speaker": "bold green",
    "screen_share": "blue",
    "recording": "red",
    "stream": "red",
    "transcription": "red",
    "transcript": "white",
    "chat": "white",
    "reaction": "yellow",
}


def timeline(
    meeting: console.Which = "latest",
    everything: Annotated[bool, typer.Option("--all", help="Also the details that only operators need.")] = False,
    types: selection.Types = None,
    who: selection.Who = None,
    since: selection.Since = None,
    until: selection.Until = None,
    as_json: console.AsJson = False,
    database_url: console.DatabaseUrl = None,
    config: console.ConfigFile = None,
) -> None:
    """Tell a meeting: a lane for each participant, then what happened when.

    Times count from the start of the capture. Where several captures saw the
    meeting, the fullest one is shown. Times when the bot could not see are shown,
    too: what changed meanwhile has the bounds of the gap. On a terminal it comes
    in a pager, $PAGER or less.

    Examples:

      meeta-bot timeline

      meeta-bot timeline weeklystandup --all

      meeta-bot timeline weeklystandup --who "Ada Lovelace" --since 1:00:00
    """
    selected = selection.selection(types, who, since, until)

    async def work(reader: Reader) -> None:
        found = await find_meeting(reader, meeting)
        capture = await fullest_capture(reader, found)
        # A type that is asked for by its name is no detail; all of them are, in a document for programs.
        is_all = everything or as_json or bool(types)
        details = None if is_all else sorted(narration.DETAILS)
        wanted = selected.filter(capture.started_at or found.captured_at, except_types=details)
        if as_json:
            await _print_document(reader, found, capture, wanted)
        else:
            await _print_timeline(reader, found, capture, wanted, everything=is_all)

    with paged(wanted=not as_json):
        run_with_reader(work, database_url=database_url, config=config)


async def _print_timeline(
    reader: Reader, meeting: MeetingRow, capture: CaptureRow, wanted: Filter, *, everything: bool
) -> None:
    """Print the heading at once, the lanes when they are known, and every entry as it is read."""
    out = console.out()
    _print_heading(out, meeting, capture)
    sys.stdout.flush()
    story = await read_story(reader, meeting, capture)
    if gaps := " · ".join(story.summarize_gaps()):
        out.print(Text(gaps, style="bold yellow"))
    out.print()
    if wanted.types is None:
        _print_lanes(out, story, _window(story, wanted), await _people(reader, story, wanted))
    teller = story.teller(everything=everything)
    async for row in reader.all_events([capture.capture_id], wanted):
        if entry := teller(decoded(row)):
            _print_entry(out, entry)


async def _people(reader: Reader, story: Story, wanted: Filter) -> list[Lane]:
    """List the lanes of those who are wanted, people first."""
    if wanted.participant is None:
        return story.people_first
    endpoint_ids = set(await reader.endpoint_ids([story.capture.capture_id], wanted.participant))
    return [lane for lane in story.people_first if lane.endpoint_id in endpoint_ids]


def _window(story: Story, wanted: Filter) -> Interval | None:
    """Return the time in which people were there, as far as it is wanted; None when there is none."""
    shown, began = story.presence, story.capture.started_at
    if shown is None or began is None:
        return shown
    start_ms, end_ms = shown.start_ms, shown.end_ms
    if wanted.since is not None:
        start_ms = max(start_ms, milliseconds(wanted.since) - milliseconds(began))
    if wanted.until is not None:
        end_ms = min(end_ms, milliseconds(wanted.until) - milliseconds(began))
    return Interval(start_ms, end_ms) if start_ms < end_ms else None


async def _print_document(reader: Reader, meeting: MeetingRow, capture: CaptureRow, wanted: Filter) -> None:
    """Print one JSON document as it is read, a lane, gap or event a line."""
    write = sys.stdout.write
    write(f'{{"meeting":{console.json_text(meeting_document(meeting))},')
    write(f'"capture_id":{console.json_text(capture.capture_id)},\n')
    sys.stdout.flush()
    story = await read_story(reader, meeting, capture)
    for name, rows in (("lanes", await _people(reader, story, wanted)), ("gaps", story.gaps)):
        lines = ",\n".join(map(console.json_text, rows))
        write(f'"{name}":[\n{lines}],\n')
    write('"events":[')
    separator = "\n"
    async for row in reader.all_events([capture.capture_id], wanted):
        write(f"{separator}{console.json_text(event_document(row))}")
        separator = ",\n"
    write("]}\n")


def _print_heading(out: Console, meeting: MeetingRow, capture: CaptureRow) -> None:
    title = Text(safe_name(meeting.subject) or safe_name(meeting.room), style="bold")
    title.append(f"   {safe_name(f'{meeting.deployment}/{meeting.room}', 100)}", style="dim")
    out.print(title)
    out.print(Text(" · ".join(_facts(meeting)), style="dim").append(" · ").append_text(styled_state(meeting)))
    if len(meeting.capture_ids) > 1:
        count = len(meeting.capture_ids)
        out.print(Text(f"seen by {count} captures; this is {capture.capture_id}", style="dim"))


def _facts(meeting: MeetingRow) -> Iterator[str]:
    yield console.local_time(meeting.started_at or meeting.captured_at)
    if meeting.duration_ms is not None:
        yield f"{duration(meeting.duration_ms)} long"
    yield f"{meeting.people} people"
    yield f"{meeting.event_count} events"
    yield f"meeting {meeting.id[:8]}"


def _print_entry(out: Console, entry: Entry) -> None:
    """Print an entry; as it is but where a terminal wraps it by words, since a meeting has hundreds of thousands."""
    parts = list(_parts(entry))
    if out.is_terminal and sum(cell_len(text) for text, _ in parts) > out.width:
        out.print(Text.assemble(*parts))
        return
    system = getattr(ColorSystem, (out.color_system or "").upper(), None)
    painted = (_style(style).render(text, color_system=system) if system else text for text, style in parts)
    sys.stdout.write(f"{''.join(painted)}\n")


_style = cache(Style.parse)


def _parts(entry: Entry) -> Iterator[tuple[str, str]]:
    """Yield the texts of an entry with the names of their styles."""
    yield f"{moment_text(entry.at_ms):>10}  ", "dim"
    yield entry.sentence, _LOUD.get(entry.event_type) or _STYLES.get(entry.event_type.split(".")[0], "")
    if entry.is_initial:
        yield "  (from the start)", "dim"
    if entry.inferred is not None:
        yield f"  ({entry.inferred})", "yellow"


# --- lanes --------------------------------------------------------------------------------------------------------


def _print_lanes(out: Console, story: Story, shown: Interval | None, people: list[Lane]) -> None:
    if shown is None or not people:
        return
    scale = _Scale(shown, max(20, min(out.width, 160) - _NAME_WIDTH - 2))
    out.print(scale.heading(), no_wrap=True)
    blind, deaf = scale.columns(story.blind), scale.columns(story.deaf)
    for lane in people:
        name = set_cell_size(safe_name(lane.name) or safe_name(lane.endpoint_id), _NAME_WIDTH)
        row = Text(f"{name} ", style="bold" if lane.kind == "human" else "dim")
        out.print(row.append_text(_bar(lane, blind, deaf, scale)), no_wrap=True)
    has_breakouts = any(lane.breakout for lane in people)
    out.print(_legend(is_blind=any(blind), is_deaf=any(deaf), has_breakouts=has_breakouts), no_wrap=True)
    out.print()


def _legend(*, is_blind: bool, is_deaf: bool, has_breakouts: bool) -> Text:
    legend = Text(" " * (_NAME_WIDTH + 1))
    for sign, style, meaning in (
        ("█", "bold green", "speaks"),
        ("━", "green", "microphone open"),
        ("─", "dim", "muted"),
        ("▓", "blue", "shares a screen"),
        *([("┄", "cyan", "in a breakout room")] if has_breakouts else []),
        *([("░", "yellow", "could not see")] if is_blind else []),
        *([("╌", "yellow", "could not hear who spoke")] if is_deaf else []),
    ):
        legend.append(sign * 2, style=style).append(f" {meaning}   ", style="dim")
    return legend


class _Scale:
    """A time on so many columns."""

    def __init__(self, shown: Interval, width: int) -> None:
        self.width = width
        self._begin, self._end = shown.start_ms, shown.end_ms
        self._span = shown.end_ms - shown.start_ms

    def heading(self) -> Text:
        """Write times above the lanes, at round moments that are far enough apart."""
        least = -(-_TICK_WIDTH * self._span // self.width)
        step = next((step for step in _STEPS_MS if step >= least), least)
        scale = [" "] * self.width
        for moment in range(-(-self._begin // step) * step, self._end, step):
            column = (moment - self._begin) * self.width // self._span
            label = duration(moment)
            if column + len(label) <= self.width:
                scale[column : column + len(label)] = label
        return Text(" " * (_NAME_WIDTH + 1) + "".join(scale).rstrip(), style="dim")

    def columns(self, intervals: Iterable[Interval]) -> bytearray:
        """Return a 1 for each column in which one of the intervals has a part."""
        found = bytearray(self.width)
        for interval in intervals:
            first = (interval.start_ms - self._begin) * self.width // self._span
            last = max(first + 1, -(-(interval.end_ms - self._begin) * self.width // self._span))
            shown = range(max(0, first), min(self.width, last))
            if shown:
                found[shown.start : shown.stop] = b"\1" * len(shown)
        return found


def _bar(lane: Lane, blind: bytearray, deaf: bytearray, scale: _Scale) -> Text:
    tracks = [scale.columns(track) for track in (lane.breakout, lane.present, lane.sharing, lane.speaking, lane.audio)]
    bar = Text()
    for column in zip(blind, deaf, *tracks, strict=True):
        bar.append_text(_cell(*map(bool, column)))
    return bar


def _cell(
    is_blind: bool, is_deaf: bool, is_away: bool, is_there: bool, is_sharing: bool, speaks: bool, is_open: bool
) -> Text:
    if is_blind:  # in every lane: who was not there before and after may have been in between
        return Text("░", style="yellow")
    if is_away or not is_there:
        return Text("┄" if is_there else " ", style="cyan")
    if speaks and not is_deaf:
        return Text("█", style="bold blue" if is_sharing else "bold green")
    if is_sharing:
        return Text("▓", style="blue")
    if is_deaf:
        return Text("╍" if is_open else "╌", style="yellow")
    return Text("━", style="green") if is_open else Text("─", style="dim")
