"""The live table that ``record`` shows on a terminal."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType

from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from meeta_bot import logs
from meeta_bot.cli import console
from meeta_bot.recorder import Phase, Recorder
from meeta_bot.worker import Worker

REFRESHES_PER_SECOND = 4  # as often as a person can follow

_COLOURS = {Phase.IN_ROOM: "green", Phase.LOBBY: "yellow", Phase.LEAVING: "yellow", Phase.ENDED: "dim"}


class Progress:
    """Shows the state of every room until the block is left; log lines scroll above it."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._live = Live(
            get_renderable=self._table, console=console.talk(), refresh_per_second=REFRESHES_PER_SECOND, transient=True
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
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        for heading in ("room", "state", "people", "events", "last event"):
            table.add_column(heading, justify="right" if heading in ("people", "events") else "left", no_wrap=True)
        for recorder in self._worker.recorders:
            table.add_row(*_row(recorder))
        return Group(table, self._footer())

    def _footer(self) -> Text:
        worker = self._worker
        footer = Text(f"spooled {worker.remaining}   stored {worker.writer.stored}", style="dim")
        if worker.writer.quarantined:
            footer.append(f"   quarantined {worker.writer.quarantined}", style="bold red")
        if worker.writer.unavailable:
            footer.append(f"   database: {worker.writer.unavailable}", style="yellow")
        footer.append("   Ctrl-C leaves", style="dim")
        return footer


def _row(recorder: Recorder) -> tuple[Text, Text, Text, Text, Text]:
    last = recorder.last_event
    shown = "" if last is None else last.type
    if last is not None and last.endpoint_id in recorder.state.participants:
        shown = f"{shown}  {console.safe_name(recorder.state.participants[last.endpoint_id].name, 20)}"
    return (
        Text(console.safe_name(recorder.address.url)),
        Text(recorder.phase.value, style=_COLOURS.get(recorder.phase, "cyan")),
        Text(str(recorder.state.people)),
        Text(str(recorder.position.last_seq)),
        Text(shown),
    )
