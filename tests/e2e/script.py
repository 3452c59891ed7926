"""Conferences drawn from a seed, and what a complete log of them must hold.

The expectation comes from the participants' own logs, written in their pages when an act took effect, never from
what was asked of them.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.e2e.conftest import People
from tests.stack.client import Stack
from tests.stack.participant import Action, Participant

NAMES = ("Ada", "Grace \u202e<b>", "Linus 🎈", "Katherine")

Fact = tuple[str, Any]  # event type, and the part of the payload that the participant knows


@dataclass
class Person:
    """A participant, and what it can sensibly do next."""

    participant: Participant
    audio: bool = True
    video: bool = True
    sharing: bool = False
    hand: bool = False


@dataclass
class Script:
    """One conference: people, and what the stack made happen to the room."""

    seed: int
    room: str
    people: list[Person] = field(default_factory=list)
    speakers: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    async def open(self, browser: People, url: str) -> None:
        """The first one comes, and is the moderator."""
        await self._arrive(browser, url, NAMES[:1])

    async def fill(self, browser: People, url: str) -> None:
        """The others come."""
        await self._arrive(browser, url, NAMES[1:])

    async def _arrive(self, browser: People, url: str, names: Sequence[str]) -> None:
        """Every other one as clients of 2021 did."""
        for number, name in enumerate(names, start=len(self.people)):
            participant = await browser.participant(url)
            await participant.join(name, source_names=number % 2 == 0)
            self.people.append(Person(participant))

    async def act(self, times: int, stack: Stack | None) -> None:
        """Random people do random things that are possible now."""
        for _ in range(times):
            person = self.random.choice(self.people)
            await self.random.choice(self._possible(person, stack))(person)

    def _possible(self, person: Person, stack: Stack | None) -> list[Callable[[Person], Awaitable[None]]]:
        acts: list[Callable[[Person], Awaitable[None]]] = [self._audio, self._rename, self._hand, self._chat]
        acts.append(self._share if person.video else self._video)
        if not person.sharing:
            acts.append(self._video)
        if person.video and not person.sharing:
            acts.append(self._switch_camera)
        if stack is not None:
            acts.append(lambda who: self._speak(who, stack))
        return acts

    async def _audio(self, person: Person) -> None:
        person.audio = not person.audio
        await (person.participant.unmute_audio() if person.audio else person.participant.mute_audio())

    async def _video(self, person: Person) -> None:
        person.video = not person.video
        await (person.participant.unmute_video() if person.video else person.participant.mute_video())

    async def _share(self, person: Person) -> None:
        person.sharing = not person.sharing
        act = person.participant.start_screen_share if person.sharing else person.participant.stop_screen_share
        await act()

    async def _switch_camera(self, person: Person) -> None:
        await person.participant.switch_camera()

    async def _rename(self, person: Person) -> None:
        await person.participant.rename(f"{self.random.choice(NAMES)} {self.random.randrange(10**9)}")

    async def _hand(self, person: Person) -> None:
        person.hand = not person.hand
        await (person.participant.raise_hand() if person.hand else person.participant.lower_hand())

    async def _chat(self, person: Person) -> None:
        words = ["hello", "ünïcödé 🎉", "</script>", "'; DROP TABLE meeta.events; --", "\u202ereversed"]
        await person.participant.send_chat(f"{self.random.choice(words)} {self.random.randrange(10**9)}")

    async def _speak(self, person: Person, stack: Stack) -> None:
        endpoint_id = person.participant.endpoint_id
        await stack.set_dominant_speaker(self.room, endpoint_id)
        if not self.speakers or self.speakers[-1] != endpoint_id:
            self.speakers.append(endpoint_id)

    async def end(self) -> None:
        """The moderator throws one out; the others leave, the moderator last."""
        first, victim, *others = (person.participant for person in self.people)
        # What the victim did last must have reached the server before the kick does, over another connection.
        await victim.send_chat("my last words")
        await first.kick(victim.endpoint_id, "the script says so")
        for participant in (*others, first):
            await participant.leave()


def _camera(event_type: str, action: Action) -> list[Fact]:
    return [] if action.details["beside_camera"] else [(event_type, None)]


# What an act in a participant's log must be in the log of the meeting.
_FACTS: dict[str, Callable[[Action], list[Fact]]] = {
    "joined": lambda action: [("participant.joined", action.details["name"])],
    "tracks_added": lambda action: [(f"{media}.unmuted", None) for media in sorted(action.details["media"])],
    "audio_muted": lambda _: [("audio.muted", None)],
    "audio_unmuted": lambda _: [("audio.unmuted", None)],
    "video_muted": lambda _: [("video.muted", None)],
    "video_unmuted": lambda _: [("video.unmuted", None)],
    # In December 2021 the screen takes the camera's place.
    "screen_share_started": lambda action: [*_camera("video.muted", action), ("screen_share.started", None)],
    "screen_share_stopped": lambda action: [("screen_share.stopped", "presence"), *_camera("video.unmuted", action)],
    "renamed": lambda action: [("participant.renamed", action.details["name"])],
    "hand_raised": lambda action: [("hand.raised", action.details["raised_at_ms"])],
    "hand_lowered": lambda _: [("hand.lowered", None)],
    "chat_sent": lambda action: [("chat.message", action.details["text"])],
    "left": lambda _: [("participant.left", "left")],
    "kicked": lambda action: [("participant.kicked", action.details["reason"]), ("participant.left", "kicked")],
}

_DETAILS: dict[str, str] = {
    "participant.joined": "display_name",
    "participant.renamed": "new_name",
    "participant.kicked": "reason",
    "participant.left": "cause",
    "screen_share.stopped": "cause",
    "hand.raised": "raised_at",
    "chat.message": "text",
}

# Presence, messages and media of one person travel in one stream each, so each keeps its order.
_STREAMS = {"audio": "audio", "video": "video", "screen_share": "video", "chat": "chat"}


def expected_facts(log: list[Action]) -> dict[str, list[Fact]]:
    """What the meeting's log must hold of one person, by stream."""
    streams: dict[str, list[Fact]] = defaultdict(list)
    sharing = False
    for action in log:
        for fact in _FACTS[action.kind](action) if action.kind in _FACTS else []:
            streams[_stream(fact[0])].append(fact)
        sharing = {"screen_share_started": True, "screen_share_stopped": False}.get(action.kind, sharing)
        if action.kind in ("left", "kicked") and sharing:
            streams["video"].append(("screen_share.stopped", "left"))
    return dict(streams)


def recorded_facts(events: list[dict[str, Any]], endpoint_id: str) -> dict[str, list[Fact]]:
    """What the meeting's log holds of one person, by stream; how microphone and camera were at first left out."""
    streams: dict[str, list[Fact]] = defaultdict(list)
    for event in events:
        known = event["type"] in _DETAILS or event["type"] in {fact[0] for fact in _ALL_FACTS}
        if event["endpoint_id"] != endpoint_id or not known:
            continue
        if event["initial"] and event["type"] in ("audio.muted", "video.muted"):
            continue
        detail = _DETAILS.get(event["type"])
        fact = (event["type"], event["payload"][detail] if detail else None)
        streams[_stream(event["type"])].append(fact)
    return dict(streams)


_ALL_FACTS: list[Fact] = [
    ("audio.muted", None),
    ("audio.unmuted", None),
    ("video.muted", None),
    ("video.unmuted", None),
    ("screen_share.started", None),
    ("hand.lowered", None),
]


def _stream(event_type: str) -> str:
    return _STREAMS.get(event_type.split(".", maxsplit=1)[0], "presence")
