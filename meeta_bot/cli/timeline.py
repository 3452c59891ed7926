"""``meeta-bot timeline``: a meeting that a person can read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import msgspec
import typer
from rich.cells import set_cell_size
from rich.console import Console
from rich.text import Text

from meeta_bot.cli import console, reading_command
from meeta_bot.cli.meetings import document as meeting_document
from meeta_bot.cli.meetings import length_ms, state_text
from meeta_bot.events.document import event_document
from meeta_bot.reading import narration
from meeta_bot.reading.lanes import Gap, Interval, Lane, gap_of, gaps, lanes, merged, total_ms
from meeta_bot.reading.queries import Reader
from meeta_bot.reading.rows import CaptureRow, MeetingRow
from meeta_bot.reading.told import ToldEvent, told
from meeta_bot.text import duration, safe_name
from meeta_bot.timestamps import milliseconds

_NAME_WIDTH = 18
_TICK_WIDTH = 10  # columns between two times on the scale; "1:02:03" fits with room
_LOUD = {"capture.gap": "bold yellow", "capture.reconnecting": "yellow", "capture.clock_jumped": "yellow"}
_STEPS_MS = [seconds * 1000 for seconds in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)]
# Gaps before the bot saw anybody: no lane has begun.
_BEFORE_ALL = ("late_join", "not_admitted")


class _Story(msgspec.Struct, frozen=True):
    meeting: MeetingRow
    capture: CaptureRow
    events: list[ToldEvent]
    lanes: list[Lane]
    gaps: list[Gap]


def timeline(
    meeting: console.Which = "latest",
    everything: Annotated[bool, typer.Option("--all", help="Also what only operators ask for.")] = False,
    as_json: console.AsJson = False,
    database_url: console.DatabaseUrl = None,
    config: console.ConfigFile = None,
) -> None:
    """Tell a meeting: a lane for each participant, then what happened when.

    Times count from the start of the capture. Where several captures saw the
    meeting, the fullest one is told. When the bot could not see is told, too:
    what changed meanwhile has the bounds of the gap.

    Examples:

      meeta-bot timeline

      meeta-bot timeline weeklystandup --all
    """
    story = reading_command.read(lambda reader: _story(reader, meeting), database_url=database_url, config=config)
    if as_json:
        _print_json(story)
        return
    out = console.out()
    _print_head(out, story)
    _print_lanes(out, story)
    _print_events(out, story, everything=everything)


async def _story(reader: Reader, which: str) -> _Story:
    meeting = await reading_command.find_meeting(reader, which)
    captures = await reader.captures(meeting.capture_ids)
    capture = max(captures, key=lambda row: row.event_count)
    events = [told(row) async for row in reader.all_events([capture.capture_id])]
    found = gaps((event, milliseconds(event.row.occurred_at)) for event in events)
    return _Story(meeting, capture, events, lanes(events), found)


def _print_json(story: _Story) -> None:
    console.print_json(
        {
            "meeting": meeting_document(story.meeting),
            "capture_id": story.capture.capture_id,
            "lanes": msgspec.to_builtins(story.lanes),
            "gaps": msgspec.to_builtins(story.gaps),
            "events": [event_document(event.row) for event in story.events],
        }
    )


def _print_head(out: Console, story: _Story) -> None:
    meeting = story.meeting
    title = Text(safe_name(meeting.subject) or safe_name(meeting.room), style="bold")
    title.append(f"   {safe_name(f'{meeting.deployment}/{meeting.room}', 100)}", style="dim")
    out.print(title)
    length = length_ms(meeting)
    facts = [
        console.local_time(meeting.started_at or meeting.captured_at),
        *([f"{duration(length)} long"] if length is not None else []),
        f"{meeting.people} people",
        f"{meeting.event_count} events",
        f"meeting {meeting.id[:8]}",
    ]
    line = Text(" · ".join(facts), style="dim").append(" · ")
    out.print(line.append_text(state_text(meeting)))
    if len(meeting.capture_ids) > 1:
        count = len(meeting.capture_ids)
        out.print(Text(f"seen by {count} captures; this is {story.capture.capture_id}", style="dim"))
    if blindness := " · ".join(_blindness(story.gaps)):
        out.print(Text(blindness, style="bold yellow"))
    out.print()


def _blindness(found: list[Gap]) -> Iterator[str]:
    """How long the bot did not see, and how long it did not hear."""
    for lost, what in (("everything", "could not see"), ("bridge_only", "could not hear who spoke")):
        some = [gap for gap in found if gap.lost == lost and gap.cause not in _BEFORE_ALL]
        if some:
            still = ", and still can't" if any(gap.is_open for gap in some) else ""
            many = f"in {len(some)} gap{'s' * (len(some) != 1)}"
            yield f"{what} for {duration(total_ms(merged(some)))} {many}{still}"


# --- lanes --------------------------------------------------------------------------------------------------------


def _print_lanes(out: Console, story: _Story) -> None:
    if not story.lanes:
        return
    begin = min(interval.start_ms for lane in story.lanes for interval in lane.present)
    end = max(begin + 1, *(interval.end_ms for lane in story.lanes for interval in lane.present))
    columns = max(20, min(out.width, 160) - _NAME_WIDTH - 2)
    out.print(_scale(begin, end, columns), no_wrap=True)
    dark = _Dark(_hidden(story.gaps, "everything"), _hidden(story.gaps, "bridge_only"))
    for lane in sorted(story.lanes, key=lambda lane: lane.kind not in ("human", "phone")):
        name = set_cell_size(safe_name(lane.name) or safe_name(lane.endpoint_id), _NAME_WIDTH)
        row = Text(f"{name} ", style="bold" if lane.kind == "human" else "dim")
        out.print(row.append_text(_bar(lane, dark, begin, end, columns)), no_wrap=True)
    legend = Text(" " * (_NAME_WIDTH + 1))
    for sign, style, meaning in (
        ("█", "bold green", "speaks"),
        ("━", "green", "microphone open"),
        ("─", "dim", "muted"),
        ("▓", "blue", "shares a screen"),
        *([("░", "yellow", "could not see")] if dark.blind else []),
        *([("╌", "yellow", "could not hear who spoke")] if dark.deaf else []),
    ):
        legend.append(sign * 2, style=style).append(f" {meaning}   ", style="dim")
    out.print(legend, no_wrap=True)
    out.print()


def _scale(begin: int, end: int, columns: int) -> Text:
    """Times above the lanes, at round moments that are far enough apart."""
    span = end - begin
    step = next((step for step in _STEPS_MS if step * columns >= _TICK_WIDTH * span), _STEPS_MS[-1])
    scale = [" "] * columns
    for moment in range(-(-begin // step) * step, end, step):
        column = (moment - begin) * columns // span
        label = duration(moment)
        if column + len(label) <= columns:
            scale[column : column + len(label)] = label
    return Text(" " * (_NAME_WIDTH + 1) + "".join(scale).rstrip(), style="dim")


class _Dark(msgspec.Struct, frozen=True):
    """When the bot saw nothing, and when it did not hear who spoke."""

    blind: list[Interval]
    deaf: list[Interval]


def _hidden(found: list[Gap], lost: str) -> list[Interval]:
    return merged(gap for gap in found if gap.lost == lost and gap.cause not in _BEFORE_ALL)


def _bar(lane: Lane, dark: _Dark, begin: int, end: int, columns: int) -> Text:
    bar = Text()
    for column in range(columns):
        start = begin + (end - begin) * column / columns
        stop = begin + (end - begin) * (column + 1) / columns
        bar.append_text(_cell(lane, dark, start, stop))
    return bar


def _cell(lane: Lane, dark: _Dark, start: float, stop: float) -> Text:
    def within(intervals: list[Interval]) -> bool:
        return any(interval.start_ms < stop and interval.end_ms > start for interval in intervals)

    if within(dark.blind):  # in every lane: who was not there before and after may have been in between
        return Text("░", style="yellow")
    if not within(lane.present):
        return Text(" ")
    sharing = within(lane.sharing)
    is_deaf = within(dark.deaf)
    if within(lane.speaking) and not is_deaf:
        return Text("█", style="bold blue" if sharing else "bold green")
    if sharing:
        return Text("▓", style="blue")
    if is_deaf:
        return Text("╍" if within(lane.audio) else "╌", style="yellow")
    return Text("━", style="green") if within(lane.audio) else Text("─", style="dim")


# --- events -------------------------------------------------------------------------------------------------------


def _print_events(out: Console, story: _Story, *, everything: bool) -> None:
    own = story.capture.endpoint_id
    for line in _lines(story.events, own, everything=everything):
        out.print(line)


def _lines(events: list[ToldEvent], own: str | None, *, everything: bool) -> Iterator[Text]:
    names: dict[str, str] = {}
    last_gap: Gap | None = None
    for event in events:
        _learn_name(names, event)
        gap = gap_of(event, milliseconds(event.row.occurred_at)) if event.type == "capture.gap" else None
        if gap is not None and gap.lost == "everything":
            last_gap = gap
        if not everything and _is_detail(event, own):
            continue
        words = narration.sentence(event.type, event.payload, event.endpoint_id, lambda who: _name(names, who, own))
        if gap is not None:
            words = narration.gap_sentence(gap, _moment)
        style = _LOUD.get(event.type) or narration.STYLES.get(event.type.split(".")[0], "")
        line = Text(f"{_moment(event.monotonic_ms):>10}  ", style="dim").append(words, style=style)
        if event.row.initial and event.type != "chat.message":
            line.append("  (from the start)", style="dim")
        if event.row.inferred:
            line.append(f"  ({_bounds(last_gap)})", style="yellow")
        yield line


def _bounds(gap: Gap | None) -> str:
    """When something happened that was found after a gap."""
    return "inferred" if gap is None else f"between {_moment(gap.start_ms)} and {_moment(gap.end_ms)}"


def _is_detail(event: ToldEvent, own: str | None) -> bool:
    payload = event.payload or {}
    if event.type in narration.DETAILS or payload.get("is_interim"):
        return True
    if event.type == "capture.reconnecting":
        return bool(payload.get("attempt", 1) != 1)  # one line an outage
    if event.type in ("audio.muted", "video.muted"):
        return event.row.initial  # everybody comes in like that, then opens what is wanted
    if event.type == "meeting.started":
        return payload.get("basis") == "created_timestamp"  # corrects the one before
    return event.type == "participant.role_changed" and (event.endpoint_id == own or payload.get("role") == "none")


def _learn_name(names: dict[str, str], event: ToldEvent) -> None:
    key = {"participant.joined": "display_name", "participant.renamed": "new_name"}.get(event.type)
    if key and event.endpoint_id and event.payload:
        names[event.endpoint_id] = safe_name(event.payload.get(key))


def _name(names: dict[str, str], endpoint_id: str | None, own: str | None) -> str:
    if endpoint_id is None:
        return "somebody"
    return "the bot" if endpoint_id == own else names.get(endpoint_id) or safe_name(endpoint_id)


def _moment(milliseconds: int) -> str:
    sign, away = ("-", -milliseconds) if milliseconds < 0 else ("", milliseconds)
    return f"{sign}{duration(away)}.{away % 1000 // 100}"
