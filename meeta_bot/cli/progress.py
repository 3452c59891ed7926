"""The live table that ``record`` shows on a terminal."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from types import TracebackType

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from meeta_bot import logs
from meeta_bot.capture.phases import Phase
from meeta_bot.capture.recorder import Recorder
from meeta_bot.cli import console
from meeta_bot.text import safe_name
from meeta_bot.worker import Worker

REFRESHES_PER_SECOND = 4  # as often as a person can follow

_ROOM_COLUMNS = 8  # the least that a room is shown in; where that is all it gets, "last event" gets nothing
FRAME_LINES = 5  # of a terminal, besides the rooms: heading, what is hidden, two lines below, the cursor

# What is shown first when there are more rooms than lines.
_ATTENTION = {Phase.LOBBY: 0, Phase.LEAVING: 0, Phase.ENDED: 2}
_COLOURS = {Phase.IN_ROOM: "green", Phase.LOBBY: "yellow", Phase.LEAVING: "yellow", Phase.ENDED: "dim"}


class Progress:
    """The state of every room, shown until the block is left; log lines scroll above it."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._screen = console.talk()
        self._live = Live(
            get_renderable=self._table, console=self._screen, refresh_per_second=REFRESHES_PER_SECOND, transient=True
        )
        self._task: asyncio.Task[None] | None = None

    def __enter__(self) -> Progress:
        self._live.start()
        # Inside the live display standard error is rich's: lines printed there appear above the table.
        logs.configure(json_lines=False, level="warning")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._live.stop()

    def _table(self) -> RenderableType:
        shown, hidden = self._choose(self._screen.size.height - FRAME_LINES)
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        # Columns without no_wrap give way where there is no room for all; their cells are cut instead of wrapped.
        table.add_column("room", min_width=_ROOM_COLUMNS)
        table.add_column("state", no_wrap=True)
        table.add_column("people", no_wrap=True, justify="right")
        table.add_column("events", no_wrap=True, justify="right")
        table.add_column(Text("last event", no_wrap=True, overflow="ellipsis"))
        for recorder in shown:
            table.add_row(*_row(recorder))
        return Group(table, *([Text(f"… and {hidden} more rooms", style="dim")] if hidden else ()), self._footer())

    def _choose(self, most: int) -> tuple[list[Recorder], int]:
        """Return the rooms to show, and how many are not shown: those that want a look first, then the full ones."""
        recorders = self._worker.recorders
        if len(recorders) <= most:
            return recorders, 0
        ordered = sorted(recorders, key=lambda one: (_ATTENTION.get(one.phase, 1), -one.state.people))
        shown = ordered[: max(1, most - 1)]
        return shown, len(recorders) - len(shown)

    def _footer(self) -> Text:
        worker = self._worker
        footer = Text(style="dim")
        if len(worker.recorders) + worker.waiting_to_join > 1:
            footer.append(f"{self._census()}\n")
        footer.append(f"spooled {worker.remaining}   stored {worker.writer.stored}")
        if worker.writer.quarantined:
            footer.append(f"   quarantined {worker.writer.quarantined}", style="bold red")
        if worker.writer.unavailable:
            footer.append(f"   database: {worker.writer.unavailable}", style="yellow")
        footer.append("   Ctrl-C leaves", style="dim")
        return footer

    def _census(self) -> str:
        """Return the rooms in each state, such as ``12 rooms: 8 in the room, 1 waiting to join; 40 people``."""
        phases = Counter(recorder.phase.value for recorder in self._worker.recorders)
        if self._worker.waiting_to_join:
            phases["waiting to join"] = self._worker.waiting_to_join
        people = sum(recorder.state.people for recorder in self._worker.recorders)
        states = ", ".join(f"{count} {phase}" for phase, count in phases.most_common())
        return f"{phases.total()} rooms: {states}; {people} people"


class _Tail:
    """A text that loses its beginning where there is no room for it: addresses end with the room's name."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __rich_measure__(self, _console: Console, _options: ConsoleOptions) -> Measurement:
        return Measurement(1, cell_len(self._text))

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        is_whole = cell_len(self._text) <= options.max_width
        yield Text(self._text if is_whole else f"…{set_cell_size(self._text[::-1], options.max_width - 1)[::-1]}")


def _row(recorder: Recorder) -> tuple[RenderableType, ...]:
    last = recorder.last_event
    shown = "" if last is None else last.type
    if last is not None and last.endpoint_id in recorder.state.participants:
        shown = f"{shown}  {safe_name(recorder.state.participants[last.endpoint_id].name, 20)}"
    return (
        _Tail(safe_name(recorder.address.url, 200)),
        Text(recorder.phase.value, style=_COLOURS.get(recorder.phase, "cyan")),
        Text(str(recorder.state.people)),
        Text(str(recorder.position.last_seq)),
        Text(shown, no_wrap=True, overflow="ellipsis"),
    )
