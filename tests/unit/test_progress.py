"""The live table, drawn for a worker whose rooms are full of people who want to harm a terminal."""

from __future__ import annotations

import io
import re
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console

from meeta_bot import room_address
from meeta_bot.capture.phases import Phase
from meeta_bot.cli.progress import Progress
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


def drawn(recorders: list[Any], columns: int, unavailable: str | None = None) -> list[str]:
    """The lines of the table on a terminal of that width, without colours."""
    writer = SimpleNamespace(stored=1, quarantined=0, unavailable=unavailable, gone=None, waiting=2)
    worker = SimpleNamespace(recorders=recorders, writer=writer, remaining=2, waiting_to_join=0, also={})
    screen = io.StringIO()
    terminal = Console(file=screen, width=columns, force_terminal=True)
    terminal.print(Progress(cast("Worker", worker))._table())
    return re.sub(r"\x1b\[[\d;]*m", "", screen.getvalue()).split("\n")


@pytest.mark.parametrize("columns", [20, 40, 160])
def test_the_live_table_shows_names_of_others_harmlessly(columns: int) -> None:
    lines = drawn([full_room(name) for name in NAMES], columns, "PostgreSQL says: [/nope] [bold]x")
    assert not set("".join(lines)) & set("\x07\x1b\x9b\u202e")
    assert sum(re.search(r" 1 +7\b", line) is not None for line in lines) == len(NAMES)


@pytest.mark.parametrize(
    ("columns", "shown"),
    [
        (40, "…Standup  reconnecting       3   12345"),
        (50, "…Standup  reconnecting       3   12345  partici…"),
        (80, "…mple.org/WeeklyStandup  reconnecting       3   12345  participant.joined  Gr…"),
        (110, "https://meet.example.org/WeeklyStandup  reconnecting       3   12345  participant.joined  Grace Hopper"),
    ],
)
def test_state_and_numbers_are_whole_and_rooms_keep_their_names_where_there_is_little_room(
    columns: int, shown: str
) -> None:
    recorder = full_room("Grace Hopper")
    recorder.address = room_address.parse("https://meet.example.org/WeeklyStandup")
    recorder.phase, recorder.state.people, recorder.position.last_seq = Phase.RECONNECTING, 3, 12345
    assert shown in [line.rstrip() for line in drawn([recorder], columns)]


def test_of_an_address_that_is_too_long_for_any_terminal_the_end_is_shown() -> None:
    recorder = full_room("Ada")
    recorder.address = room_address.parse(f"https://{'long.' * 20}example.org/WeeklyStandup")
    assert any(re.match(r"….*/WeeklyStandup ", line) for line in drawn([recorder], 100))
