"""What a log says of a room against what was said in it. Pure: it is fed, and tells what is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tests.chaos.talk import Message

TOLERANCE_MS = 20  # between the wall clocks of two processes' events on one machine, rounding included


@dataclass(frozen=True)
class Blind:
    """An interval in which a log says that it could not see."""

    from_at: int
    to_at: int
    cause: str


@dataclass(frozen=True)
class Heard:
    """What a log has of a room: texts as they were said, those that the server sent later, and its gaps."""

    live: Sequence[str]
    late: Sequence[str]
    blind: Sequence[Blind]


@dataclass
class Account:
    """What became of some messages. `silent` are those that are neither stored nor in a gap.

    `again` are texts that were stored when they were said, and once more from the room's history, and marked so.
    """

    said: int = 0
    stored: int = 0
    late: int = 0
    in_gap: int = 0
    twice: int = 0
    again: int = 0
    silent: int = 0


def account(messages: Iterable[Message], heard: Heard) -> tuple[Account, list[str]]:
    """Count, and tell what may not be."""
    live, late = Counter(heard.live), Counter(heard.late)
    found, findings = Account(), []
    for message in messages:
        found.said += 1
        times = live[message.text]
        found.again += bool(times and late[message.text])
        if times > 1:
            found.twice += 1
            findings.append(f"{message.text!r} is stored {times} times")
        elif times == 1:
            found.stored += 1
        elif late[message.text]:
            found.late += 1
        elif _is_covered(message, heard.blind):
            found.in_gap += 1
        else:
            found.silent += 1
            findings.append(f"{message.text!r}, said at {message.had_at}, is not stored and lies in no gap")
    return found, findings


def invented(messages: Iterable[Message], unsure: Iterable[str], heard: Heard) -> list[str]:
    """Texts that are stored and that nobody said."""
    known = {message.text for message in messages} | set(unsure)
    return [f"{text!r} is stored, and nobody said it" for text in {*heard.live, *heard.late} if text not in known]


def _is_covered(message: Message, blind: Iterable[Blind]) -> bool:
    return any(
        gap.from_at - TOLERANCE_MS <= message.had_at and message.begun_at <= gap.to_at + TOLERANCE_MS for gap in blind
    )
