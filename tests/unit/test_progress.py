"""The live table, drawn for a worker whose rooms are full of people who want to harm a terminal."""

from __future__ import annotations

import io
import re
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console

from meeta_bot import room_address
from meeta_bot.cli.progress import Progress
from meeta_bot.phases import Phase
from meeta_bot.worker import Worker

NAMES = ["\x1b[2J\x1b]0;t\x07", "[/nope]", "C1\x9b31m", "\u202eadA", "a\nb", "Z" + "\u0301" * 500, "x" * 100_000]


def full_room(name: str) -> Any:
    """What the table reads of a recorder."""
    return SimpleNamespace(
        address=room_address.parse("https://meet.example.org/\u202eRoom"),
        phase=Phase.IN_ROOM,
        end=None,
        state=SimpleNamespace(people=1, participants={"a": SimpleNamespace(name=name)}),
        position=SimpleNamespace(last_seq=7),
        last_event=SimpleNamespace(type="participant.joined", endpoint_id="a"),
    )


@pytest.mark.parametrize("columns", [20, 40, 160])
def test_the_live_table_shows_names_of_others_harmlessly(columns: int) -> None:
    trouble = "PostgreSQL says: [/nope] [bold]x"
    writer = SimpleNamespace(stored=1, quarantined=0, unavailable=trouble, gone=None, waiting=2)
    worker = SimpleNamespace(
        recorders=[full_room(name) for name in NAMES], writer=writer, remaining=2, waiting_to_join=0, also={}
    )
    drawn = io.StringIO()
    terminal = Console(file=drawn, width=columns, force_terminal=True)
    terminal.print(Progress(cast("Worker", worker))._table())
    lines = re.sub(r"\x1b\[[\d;]*m", "", drawn.getvalue()).split("\n")
    assert not set("".join(lines)) & set("\x07\x1b\x9b\u202e")
    assert sum("https" in line for line in lines) == len(NAMES)
