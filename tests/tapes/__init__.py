"""Tapes: what the library really said in a conference, and the events that must come of it.

A tape is two files beside this one: ``NAME.messages.jsonl`` holds the raw messages as a recorder normalized them, one
a line, and ``NAME.events.jsonl`` the events expected of them. ``python -m tests.tapes.record NAME`` plays a scripted
conference on the local stack and writes the first; ``python -m tests.tapes.rewrite`` writes the second from the first:
read the difference before you keep it. The stack's library is of December 2021; ``library_of_2026`` is made by hand
and holds what only later libraries say, and so is ``rejoin``, in which the bridge, signalling and the room are lost.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from meeta_bot.capture.normalize import Message, State, normalize
from meeta_bot.events import Event

FOLDER = Path(__file__).parent
DEPLOYMENT = "https://meet.example.org"
CAPTURE_ID = "01932c5e-8f00-7000-8000-000000000001"
_MESSAGES = ".messages.jsonl"
_EVENTS = ".events.jsonl"


def names() -> list[str]:
    """The tapes that there are."""
    return sorted(path.name.removesuffix(_MESSAGES) for path in FOLDER.glob(f"*{_MESSAGES}"))


def messages_file(name: str) -> Path:
    return FOLDER / f"{name}{_MESSAGES}"


def events_file(name: str) -> Path:
    return FOLDER / f"{name}{_EVENTS}"


def read_messages(name: str) -> list[Message]:
    """The raw messages of a tape."""
    lines = messages_file(name).read_bytes().splitlines()
    return [msgspec.json.decode(line, type=Message) for line in lines]


def write_messages(name: str, messages: list[Message]) -> None:
    messages_file(name).write_bytes(b"".join(msgspec.json.encode(message) + b"\n" for message in messages))


def first_state(name: str) -> State:
    """What is known before the first message."""
    return State(capture_id=CAPTURE_ID, deployment=DEPLOYMENT, room=name)


def replay(name: str) -> tuple[State, list[Event]]:
    """What comes of a tape: the last state and all events."""
    state, found = first_state(name), []
    for message in read_messages(name):
        state, more = normalize(state, message)
        found += more
    return state, found


def as_line(event: Event) -> dict[str, Any]:
    """An event as a line of the expected file; what is at its default is left out."""
    shown = {"type": event.type, **msgspec.to_builtins(event)}
    return {
        name: value for name, value in shown.items() if value not in (None, False) and (name, value) != ("room", "main")
    }


def read_events(name: str) -> list[dict[str, Any]]:
    """The expected events of a tape."""
    lines = events_file(name).read_bytes().splitlines()
    return [msgspec.json.decode(line) for line in lines]


def write_events(name: str) -> int:
    """Write what comes of a tape as what is expected; returns how many events that are."""
    _, found = replay(name)
    events_file(name).write_bytes(b"".join(msgspec.json.encode(as_line(event)) + b"\n" for event in found))
    return len(found)
