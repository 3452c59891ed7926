"""Made-up captures as templates: events of the product's own structs in the proportions of ordinary meetings, sealed.

A template is one capture from start to end. What differs between the captures that are made from it stands in it as a
mark: `ENDPOINTS` (the beginning of every endpoint id), `MEETING` (the meeting's id), `ROOM`, and moments counted from
`BASE_MS`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias
from uuid import UUID

from meeta_bot.events import (
    CATALOG,
    AudioMuted,
    AudioUnmuted,
    BridgeChannelOpened,
    CaptureEnded,
    CaptureGap,
    CaptureHeartbeat,
    CaptureHookInstalled,
    CaptureStarted,
    ChatMessage,
    ConferenceJoined,
    ConferenceLeft,
    ConferencePropertiesChanged,
    ConnectionEstablished,
    ConnectionStatsUpdated,
    DominantSpeakerChanged,
    EndReason,
    Event,
    GapCause,
    HandLowered,
    HandRaised,
    Lost,
    MeetingBasis,
    MeetingEnded,
    MeetingIdentified,
    MeetingStarted,
    ParticipantJoined,
    ParticipantLeft,
    ParticipantPropertyChanged,
    ParticipantRenamed,
    Payload,
    ReactionSent,
    RecordingStarted,
    RecordingStopped,
    ScreenShareStarted,
    ScreenShareStopped,
    SealedEvent,
    TrackAdded,
    TrackRemoved,
    TranscriptChunk,
    VideoMuted,
    VideoUnmuted,
    chain,
)

ENDPOINTS = "e0d701"
MEETING = UUID("00000000-0000-5000-8000-0000000e0d70")
ROOM = "room-e0d701"
BASE_MS = 1_000_000_000_000
_DEPLOYMENT = "https://meet.example.org"
CAPTURE = "01932c5e-8f00-7000-8000-00000000000a"
_PERSON_MINUTES = 215  # in the middle; with statistics every 10 s it makes about 2,000 events a capture
_GIVEN = ("Ada", "Grace", "Linus", "Barbara", "Edsger", "Frances", "Ken", "Radia", "Donald", "Margaret", "Alan", "Jean")
_FAMILY = ("Lovelace", "Hopper", "Liskov", "Allen", "Perlman", "Knuth", "Hamilton", "Kay", "Bartik", "Thompson")
_SENTENCE = (
    "So the next release waits for one review, and then we look at what the numbers from last week say about it. "
)

_Make: TypeAlias = Callable[[], Payload]


def templates(number: int, seed: int) -> list[list[SealedEvent]]:
    """`number` captures; the same for the same `seed`."""
    chance = random.Random(seed)
    return [list(_sealed(_Story(random.Random(chance.random())).events(), chance)) for _ in range(number)]


def meeting(people: int, minutes: float, seed: int) -> list[SealedEvent]:
    """One capture of a meeting of that size; the same for the same `seed`."""
    chance = random.Random(seed)
    return list(_sealed(_Story(random.Random(chance.random())).events_of(people, minutes), chance))


def _sealed(events: list[Event], chance: random.Random) -> Iterator[SealedEvent]:
    previous = chain.GENESIS
    for seq, event in enumerate(events, 1):
        sealed = chain.seal(CAPTURE, seq, previous, event, chance.randbytes(chain.SALT_BYTES))
        previous = sealed.digest
        yield sealed


@dataclass
class _Story:
    """One meeting: who comes, and how often each of them does what, as rates a minute."""

    chance: random.Random
    told: list[Event] = field(default_factory=list)

    def events(self) -> list[Event]:
        """All events in the order of their times."""
        people = self.chance.randint(3, 20)
        return self.events_of(people, max(4.0, _PERSON_MINUTES / people * self.chance.lognormvariate(0, 0.5)))

    def events_of(self, people: int, minutes: float) -> list[Event]:
        """The same of a meeting of that size."""
        end = int(minutes * 60_000) + 5_000
        self._beginning(end)
        seats = [self._person(number, end) for number in range(people)]
        self._together(seats, end)
        self._ending(end)
        return sorted(self.told, key=lambda event: event.monotonic_ms)

    def _tell(self, ms: float, payload: Payload, endpoint_id: str | None = None) -> None:
        at = int(ms)
        origin = CATALOG[payload.event_type].origin
        event = Event(
            payload=payload, origin=origin, occurred_at=BASE_MS + at, monotonic_ms=at, endpoint_id=endpoint_id
        )
        self.told.append(event)

    def _again(self, rate: float, begin: float, end: float) -> Iterator[float]:
        """Moments between two others, `rate` a minute, at random."""
        at = begin + self.chance.expovariate(rate) * 60_000
        while at < end:
            yield at
            at += self.chance.expovariate(rate) * 60_000

    def _toggle(self, rate: float, span: tuple[float, float], endpoint_id: str, on: _Make, off: _Make) -> None:
        """One state and its opposite by turns, over now and then."""
        for number, at in enumerate(self._again(rate, *span)):
            self._tell(at, (off if number % 2 else on)(), endpoint_id)

    def _number(self, smallest: int, largest: int) -> float:
        return float(self.chance.randint(smallest, largest))

    def _text(self) -> str:
        return (_SENTENCE * 2)[self.chance.randrange(100) :][: self.chance.randint(10, 130)]

    def _beginning(self, end: int) -> None:
        begun = CaptureStarted(
            room_url=f"{_DEPLOYMENT}/{ROOM}",
            deployment=_DEPLOYMENT,
            room=ROOM,
            bot_name="Event recorder",
            program_version="0.1.0",
        )
        self._tell(0, begun)
        self._tell(900, CaptureHookInstalled(page_load=str(MEETING), library_version="7d34d5371e93", listening=85))
        self._tell(1000, ConnectionEstablished())
        known = MeetingIdentified(
            meeting_id=str(MEETING), basis=MeetingBasis.SERVER_ID, server_meeting_id=str(MEETING), created_at=BASE_MS
        )
        self._tell(1100, known)
        self._tell(1200, ConferenceJoined(room=ROOM, role="participant"), f"{ENDPOINTS}ff")
        self._tell(1500, BridgeChannelOpened())
        self._tell(1600, ConferencePropertiesChanged(properties={"bridge-count": "1"}, changed=["bridge-count"]))
        for number, at in enumerate(range(15_000, end, 15_000)):
            beat = CaptureHeartbeat(
                in_conference=True,
                participants=8,
                messages=number * 40,
                events=number * 20,
                absorbed=number * 12,
                sampled=number * 8,
                refused=0,
                unknown=0,
            )
            self._tell(at, beat)

    def _person(self, number: int, end: int) -> str:
        endpoint_id = f"{ENDPOINTS}{number:02x}"
        span = self._visit(number, endpoint_id, end)
        for at in range(int(span[0]) + self.chance.randrange(10_000), int(span[1]), 10_000):
            quality = ConnectionStatsUpdated(
                connection_quality=self._number(60, 100),
                packet_loss={"total": self._number(0, 4), "download": 0.0, "upload": 1.0},
                bitrate={"download": self._number(200, 3000), "upload": self._number(30, 1500)},
                jvb_rtt=self._number(8, 120),
            )
            self._tell(at, quality, endpoint_id)
        audio, video = f"{endpoint_id}-a0", f"{endpoint_id}-v0"
        self._toggle(
            0.5, span, endpoint_id, lambda: AudioUnmuted(source_name=audio), lambda: AudioMuted(source_name=audio)
        )
        self._toggle(
            0.1, span, endpoint_id, lambda: VideoUnmuted(source_name=video), lambda: VideoMuted(source_name=video)
        )
        self._toggle(0.02, span, endpoint_id, ScreenShareStarted, ScreenShareStopped)
        self._toggle(0.04, span, endpoint_id, HandRaised, HandLowered)
        for moment in self._again(0.06, *span):
            message = ChatMessage(text=self._text(), message_id=self.chance.randbytes(8).hex())
            self._tell(moment, message, endpoint_id)
        for moment in self._again(0.05, *span):
            self._tell(moment, ReactionSent(reactions=["like"]), endpoint_id)
        return endpoint_id

    def _visit(self, number: int, endpoint_id: str, end: int) -> tuple[float, float]:
        """Arrival and departure, now and then with a second visit; the span between the first and the last."""
        name = f"{_GIVEN[self.chance.randrange(len(_GIVEN))]} {_FAMILY[self.chance.randrange(len(_FAMILY))]}"
        person = ParticipantJoined(
            display_name=name,
            role="moderator" if number == 0 else "participant",
            stats_id=f"Browser-{self.chance.randrange(2000)}",
        )
        begin, gone = 1300 + self.chance.random() * min(end / 3, 300_000), end - 4_000 + number * 40
        self._tell(begin, person, endpoint_id)
        for media in ("audio", "video"):
            self._tell(begin + 300, TrackAdded(media_type=media, muted=False), endpoint_id)
            self._tell(gone, TrackRemoved(media_type=media), endpoint_id)
        self._tell(begin + 20, ParticipantPropertyChanged(name="codecType", value="vp8"), endpoint_id)
        if self.chance.random() < 0.1:
            middle = (begin + gone) / 2
            self._tell(middle, ParticipantLeft(duration_ms=int(middle - begin)), endpoint_id)
            self._tell(middle + 20_000, person, endpoint_id)
        if self.chance.random() < 0.1:
            self._tell(begin + 10_000, ParticipantRenamed(old_name=name, new_name=f"{name} (mobile)"), endpoint_id)
        self._tell(gone, ParticipantLeft(duration_ms=int(gone - begin)), endpoint_id)
        return begin + 500, gone - 1

    def _together(self, seats: list[str], end: int) -> None:
        self._tell(1400, MeetingStarted(started_at=BASE_MS + 1400, basis="seen"))
        span = (2_000, end - 4_500)
        for at in self._again(6, *span):
            speakers = self.chance.sample(seats, k=2)
            self._tell(at, DominantSpeakerChanged(previous=speakers[1:]), speakers[0])
        if self.chance.random() < 0.25:
            for at in self._again(12, *span):
                self._tell(at, TranscriptChunk(text=self._text(), language="en-US"), self.chance.choice(seats))
        if self.chance.random() < 0.25:
            session = self.chance.randbytes(8).hex()
            self._tell(20_000, RecordingStarted(session_id=session, mode="file", initiator_endpoint_id=seats[0]))
            self._tell(end - 10_000, RecordingStopped(session_id=session, mode="file", duration_ms=end - 30_000))
        if self.chance.random() < 0.3:
            blind = CaptureGap(
                cause=GapCause.SIGNALLING_RESUMED,
                lost=Lost.BRIDGE_ONLY,
                from_at=BASE_MS + 30_000,
                to_at=BASE_MS + 41_000,
            )
            self._tell(41_000, blind)

    def _ending(self, end: int) -> None:
        self._tell(end, MeetingEnded(ended_at=BASE_MS + end, reason="left", duration_ms=end - 1400))
        self._tell(end + 10, ConferenceLeft())
        self._tell(end + 20, CaptureEnded(reason=EndReason.MEETING_ENDED))
