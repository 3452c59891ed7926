"""``meeta-bot timeline``: a meeting that a person can read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer
from rich.cells import set_cell_size
from rich.console import Console
from rich.text import Text

from meeta_bot.cli import console
from meeta_bot.cli.meetings import styled_state
from meeta_bot.cli.reader import find_meeting, run_with_reader
from meeta_bot.reading.documents import story_document
from meeta_bot.reading.lanes import Interval, Lane
from meeta_bot.reading.queries import Reader
from meeta_bot.reading.story import Entry, Story, moment_text, read_story
from meeta_bot.text import duration, safe_name

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
    as_json: console.AsJson = False,
    database_url: console.DatabaseUrl = None,
    config: console.ConfigFile = None,
) -> None:
    """Tell a meeting: a lane for each participant, then what happened when.

    Times count from the start of the capture. Where several captures saw the
    meeting, the fullest one is shown. Times when the bot could not see are shown,
    too: what changed meanwhile has the bounds of the gap.

    Examples:

      meeta-bot timeline

      meeta-bot timeline weeklystandup --all
    """

    async def work(reader: Reader) -> Story:
        return await read_story(reader, await find_meeting(reader, meeting))

    story = run_with_reader(work, database_url=database_url, config=config)
    if as_json:
        console.print_json(story_document(story))
        return
    out = console.out()
    _print_heading(out, story)
    _print_lanes(out, story)
    for entry in story.entries(everything=everything):
        out.print(_line(entry))


def _print_heading(out: Console, story: Story) -> None:
    meeting = story.meeting
    title = Text(safe_name(meeting.subject) or safe_name(meeting.room), style="bold")
    title.append(f"   {safe_name(f'{meeting.deployment}/{meeting.room}', 100)}", style="dim")
    out.print(title)
    out.print(Text(" · ".join(_facts(story)), style="dim").append(" · ").append_text(styled_state(meeting)))
    if len(meeting.capture_ids) > 1:
        count = len(meeting.capture_ids)
        out.print(Text(f"seen by {count} captures; this is {story.capture.capture_id}", style="dim"))
    if gaps := " · ".join(story.summarize_gaps()):
        out.print(Text(gaps, style="bold yellow"))
    out.print()


def _facts(story: Story) -> Iterator[str]:
    meeting = story.meeting
    yield console.local_time(meeting.started_at or meeting.captured_at)
    if meeting.duration_ms is not None:
        yield f"{duration(meeting.duration_ms)} long"
    yield f"{meeting.people} people"
    yield f"{meeting.event_count} events"
    yield f"meeting {meeting.id[:8]}"


def _line(entry: Entry) -> Text:
    style = _LOUD.get(entry.event_type) or _STYLES.get(entry.event_type.split(".")[0], "")
    line = Text(f"{moment_text(entry.at_ms):>10}  ", style="dim").append(entry.sentence, style=style)
    if entry.is_initial:
        line.append("  (from the start)", style="dim")
    if entry.inferred is not None:
        line.append(f"  ({entry.inferred})", style="yellow")
    return line


# --- lanes --------------------------------------------------------------------------------------------------------


def _print_lanes(out: Console, story: Story) -> None:
    shown = story.presence
    if shown is None:
        return
    columns = max(20, min(out.width, 160) - _NAME_WIDTH - 2)
    out.print(_scale(shown, columns), no_wrap=True)
    blind, deaf = story.blind, story.deaf
    for lane in story.people_first:
        name = set_cell_size(safe_name(lane.name) or safe_name(lane.endpoint_id), _NAME_WIDTH)
        row = Text(f"{name} ", style="bold" if lane.kind == "human" else "dim")
        out.print(row.append_text(_bar(lane, blind, deaf, shown, columns)), no_wrap=True)
    has_breakouts = any(lane.breakout for lane in story.lanes)
    out.print(_legend(is_blind=bool(blind), is_deaf=bool(deaf), has_breakouts=has_breakouts), no_wrap=True)
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


def _scale(shown: Interval, columns: int) -> Text:
    """Write times above the lanes, at round moments that are far enough apart."""
    begin, end = shown.start_ms, shown.end_ms
    span = end - begin
    step = next((step for step in _STEPS_MS if step * columns >= _TICK_WIDTH * span), _STEPS_MS[-1])
    scale = [" "] * columns
    for moment in range(-(-begin // step) * step, end, step):
        column = (moment - begin) * columns // span
        label = duration(moment)
        if column + len(label) <= columns:
            scale[column : column + len(label)] = label
    return Text(" " * (_NAME_WIDTH + 1) + "".join(scale).rstrip(), style="dim")


def _bar(lane: Lane, blind: list[Interval], deaf: list[Interval], shown: Interval, columns: int) -> Text:
    begin, span = shown.start_ms, shown.end_ms - shown.start_ms
    bar = Text()
    for column in range(columns):
        start = begin + span * column / columns
        stop = begin + span * (column + 1) / columns
        bar.append_text(_cell(lane, blind, deaf, start, stop))
    return bar


def _cell(lane: Lane, blind: list[Interval], deaf: list[Interval], start: float, stop: float) -> Text:
    def within(intervals: list[Interval]) -> bool:
        return any(interval.start_ms < stop and interval.end_ms > start for interval in intervals)

    if within(blind):  # in every lane: who was not there before and after may have been in between
        return Text("░", style="yellow")
    if within(lane.breakout) or not within(lane.present):
        return Text("┄" if within(lane.present) else " ", style="cyan")
    sharing = within(lane.sharing)
    is_deaf = within(deaf)
    if within(lane.speaking) and not is_deaf:
        return Text("█", style="bold blue" if sharing else "bold green")
    if sharing:
        return Text("▓", style="blue")
    if is_deaf:
        return Text("╍" if within(lane.audio) else "╌", style="yellow")
    return Text("━", style="green") if within(lane.audio) else Text("─", style="dim")
