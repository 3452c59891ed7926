"""A capture for tests of the normalizer: says messages one after the other and keeps the state."""

from __future__ import annotations

import json
from typing import Any

from meeta_bot.capture.normalize import Message, State, normalize
from meeta_bot.events import CaptureGap, Event
from tests.unit.builders import CAPTURE, state

START = 1_700_000_000_000
BOT = "b0b0b0b0"
JIBRI = "http://jitsi.org/protocol/jibri"
JIGASI = "http://jitsi.org/protocol/jigasi"
TRANSCRIBER = "http://jitsi.org/protocol/transcriber"


def participant(endpoint_id: str, **fields: Any) -> dict[str, Any]:
    """A JitsiParticipant as the hook serializes it."""
    named = {"$": "participant", "id": endpoint_id, "name": endpoint_id.title(), "role": "participant", "hidden": False}
    return {**named, "is_replacing": False, "is_replaced": False, "features": [], **fields}


class Capture:
    """`say` is one message; its events come back and are kept in `events`. Time goes on by 100 ms each."""

    def __init__(self, **fields: Any) -> None:
        self.state: State = state(CAPTURE, **fields)
        self.now = 0
        self.events: list[Event] = []

    def say(self, origin: str, *args: Any, after: int = 100) -> list[Event]:
        self.now += after
        message = Message(origin, list(args), START + self.now, self.now)
        self.state, found = normalize(self.state, message)
        self.events += found
        return found

    # What is said often.

    def join(self, *there: str, own: str = BOT) -> list[Event]:
        """The bot comes into a room where those are already."""
        for endpoint_id in there:
            self.arrive(endpoint_id)
        return self.say("conference.joined", {"endpoint_id": own, "role": "none", "roster_size": len(there)})

    def lose(self, cause: str = "page_crashed", *, ago_ms: int = 0, attempt: int = 1) -> list[Event]:
        """The recorder lost its stay in the room."""
        loss = {"cause": cause, "attempt": attempt, "detail": "d", "ago_ms": ago_ms, "evidence": "from the last sign"}
        return self.say("recorder.lost", loss)

    def settle(self) -> None:
        """Let the time pass in which what the server says was so before."""
        self.now += 5000

    def arrive(self, endpoint_id: str, **fields: Any) -> list[Event]:
        who = participant(endpoint_id, **fields)
        return self.say("conference.userJoined", endpoint_id, who, who["hidden"])

    def leave(self, endpoint_id: str, reason: str | None = None, *, with_our_own: bool = False) -> list[Event]:
        flag = {"with_our_own": with_our_own}
        return self.say("conference.userLeft", endpoint_id, participant(endpoint_id), reason, flag)

    def sources(self, endpoint_id: str, **sources: dict[str, Any]) -> list[Event]:
        """A presence with SourceInfo; `a0={"muted": True}` is the source ENDPOINT-a0."""
        named = {f"{endpoint_id}-{name}": source for name, source in sources.items()}
        return self.say("presence.media", endpoint_id, {"SourceInfo": json.dumps(named)})

    def legacy(self, endpoint_id: str, **elements: str) -> list[Event]:
        """A presence as old clients send it."""
        return self.say("presence.media", endpoint_id, elements)


def types(events: list[Event]) -> list[str]:
    return [event.type for event in events]


def only(events: list[Event]) -> Event:
    """The only event."""
    assert len(events) == 1, types(events)
    return events[0]


def gaps(events: list[Event]) -> list[CaptureGap]:
    """What could not be seen."""
    return [event.payload for event in events if isinstance(event.payload, CaptureGap)]


def inferred(events: list[Event]) -> list[tuple[str, str | None]]:
    """Type and endpoint of those that were found by comparison; none of them is initial."""
    assert not [event for event in events if event.inferred and event.initial]
    return [(event.type, event.endpoint_id) for event in events if event.inferred]


def told(events: list[Event]) -> list[tuple[str, str | None, bool]]:
    """Type, endpoint and whether it was so before, of each."""
    return [(event.type, event.endpoint_id, event.initial) for event in events]
