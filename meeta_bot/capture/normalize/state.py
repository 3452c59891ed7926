"""The state of the normalizer for one capture, and the messages that it takes.

All values are immutable: a rule returns a new state, and the old one stays valid until the spool has committed.
"""

from __future__ import annotations

import zlib
from typing import Any

import msgspec

from meeta_bot.events import GapCause, LeftCause, Lost, MeetingBasis, ParticipantKind, TranscriptionMode

# What the server tells of a room within this time after the join was so before; it answers in well under a second.
SETTLE_MS = 2000
# The same for the dominant speaker after the bridge channel opened: the bridge sends it with the channel's first words.
BRIDGE_SETTLE_MS = 300
# Clients send statistics in every interval, and the network delivers them sooner or later: by so much of an interval.
STATISTICS_TOLERANCE = 0.1
# Own endpoint ids that are remembered: the server forgets a lost stay after minutes, in which few others begin.
FORMER_IDS_LIMIT = 20
# How long somebody who said so may be on the way between rooms of the meeting: joins are rationed to 3 a second a room.
SWITCH_LIMIT_MS = 60_000
# The same for somebody who just left while there are breakout rooms: clients of 2021 don't say that they switch. The
# server tells who is where 0.3 s after each change.
UNSAID_SWITCH_LIMIT_MS = 5000
# Recording sessions that are known to be over when their recorder, on its way out, is still heard of.
ENDED_RECORDINGS_LIMIT = 20
# Chat messages that are known again when the server repeats them; servers repeat 20 by default.
CHAT_IDS_LIMIT = 100
# Properties of a participant that are compared after a gap; clients send fewer than ten.
PROPERTIES_LIMIT = 16


class Message(msgspec.Struct, frozen=True):
    """A statement of the library, of a presence element, of the hook or of the recorder.

    ``args`` holds plain JSON values as the hook made them; ``monotonic_ms`` counts from the capture's start;
    ``server_ms`` is when the server had it, of what came late (XEP-0203).
    """

    origin: str
    args: list[Any]
    wall_ms: int
    monotonic_ms: int
    server_ms: int | None = None


class Participant(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A participant in the room. Media states are null until a first presence told them."""

    endpoint_id: str
    name: str | None = None
    role: str | None = None
    kind: ParticipantKind = ParticipantKind.HUMAN
    joined_ms: int = 0
    heard_ms: int | None = None  # when anything last came from them; null: not since they joined
    audio_open: bool | None = None
    video_open: bool | None = None
    sharing: str | None = None  # the shared source's name, "" when it has none
    sharing_since_ms: int | None = None
    media_told: bool = False  # some presence told of microphone and camera, if only that nothing is announced
    has_returned: bool = False  # from a breakout room: what is told now came about there
    hand_raised_ms: int | None = None
    kicked: bool = False
    replaced: bool = False
    statistics_ms: int | None = None  # the slot of the latest statistics that were kept
    properties: dict[str, int] = {}  # name → fingerprint of the value, to compare after a gap

    @property
    def counts(self) -> bool:
        """True for a participant that makes a meeting."""
        return self.kind in (ParticipantKind.HUMAN, ParticipantKind.PHONE)


class Elsewhere(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A participant of the meeting who is not in the main room: in a breakout room, or between two rooms.

    ``breakout_id`` is null until the server said where; ``missing_…`` is since when it says nowhere. If that lasts for
    ``limit_ms`` from ``waits_ms`` on, it was a departure, with ``cause`` and ``reason``.
    """

    participant: Participant
    went_ms: int | None
    breakout_id: str | None = None
    missing_at: int | None = None
    missing_ms: int | None = None
    waits_ms: int = 0
    limit_ms: int = SWITCH_LIMIT_MS
    cause: LeftCause = LeftCause.LEFT
    reason: str | None = None
    inferred: bool = False


class Meeting(msgspec.Struct, frozen=True, kw_only=True):
    """The meeting as far as its capture knows it."""

    meeting_id: str | None = None
    basis: MeetingBasis | None = None
    server_meeting_id: str | None = None
    created_at: int | None = None
    started_at: int | None = None
    started_ms: int | None = None
    people_were_here: bool = False
    ended: bool = False
    empty_since_at: int | None = None
    empty_since_ms: int | None = None
    continues: bool = False  # the capture was away and came back to it: another key does not make it another meeting


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    """A session of Jitsi's own recorder."""

    status: str
    mode: str
    initiator: str | None = None
    last_initiator: str | None = None
    terminator: str | None = None
    started_ms: int | None = None
    failed: bool = False


class Blind(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the room that can't be seen now, and since when. ``evidence`` says how that is known."""

    cause: GapCause
    lost: Lost
    from_at: int
    from_ms: int
    evidence: str | None = None


class BridgeLoss(msgspec.Struct, frozen=True):
    """The hook's word that the bridge is not heard, whoever is there to be heard; ``is_told``: an event says so."""

    cause: GapCause
    evidence: str
    is_told: bool
    from_ms: int


class Unsaid(msgspec.Struct, frozen=True):
    """Something that was on before a gap, and that a message of this origin, about this one, would tell again."""

    origin: str
    about: str = ""


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """The things known before a gap that have not shown themselves again; ``from_…`` is when they were last in view.

    The latter is known once the gap is over.
    """

    people: list[str] = []
    unsaid: list[Unsaid] = []
    from_at: int | None = None
    from_ms: int | None = None


class Standstill(msgspec.Struct, frozen=True):
    """The latest time that process or page stood still, as it was told."""

    from_ms: int
    to_ms: int
    lost: Lost


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """The books: messages = absorbed + sampled + refused + normalized."""

    messages: int = 0
    normalized: int = 0
    absorbed: int = 0
    sampled: int = 0
    refused: int = 0
    unknown: int = 0
    events: int = 0


class State(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The knowledge of the normalizer about a capture; it is stored with each append to the spool.

    Every field that is added has a default that fits a capture begun by an older version, which did not store it.
    """

    capture_id: str
    deployment: str
    room: str
    statistics_interval_ms: int = 10_000
    schedule_key: str | None = None
    own_endpoint_id: str | None = None
    own_role: str | None = None
    in_conference: bool = False
    joined_ms: int | None = None
    leaving: bool = False
    ended: bool = False
    last_ms: int = 0  # when the last message was seen
    participants: dict[str, Participant] = {}
    breakouts: dict[str, str | None] = {}  # id → name of each breakout room
    elsewhere: dict[str, Elsewhere] = {}
    meeting: Meeting = Meeting()
    recordings: dict[str, Recording] = {}
    ended_recordings: list[str] = []  # the latest sessions that the focus called off
    transcribing: list[TranscriptionMode] = []
    dominant_speaker: str | None = None
    silence: bool = False
    bridge_open: bool | None = None  # null until something was heard of the bridge channel
    bridge_opened_ms: int | None = None  # until the bridge has repeated who speaks
    properties: dict[str, str] = {}
    subject: str | None = None
    locked: bool = False
    lobby: bool = False
    limits_reached: list[str] = []  # audio, video: nobody more may send
    interrupted_ms: int | None = None
    own_statistics_ms: int | None = None
    telemetry: bool = True  # false: statistics are sampled away, since the spool is nearly full
    blind: Blind | None = None  # the room is out of view
    bridge_blind: Blind | None = None  # the room is in view, what the bridge tells is not
    bridge_loss: BridgeLoss | None = None
    comparison: Comparison | None = None  # the room was lost and is not compared yet
    failure: str | None = None  # the last failure on the way in, which is told once however often it comes
    former_ids: list[str] = []  # the bot's own in stays before this one; it lingers there until the server times it out
    waited: Blind | None = None  # before the first stay: since when the bot stood at the door and was not let in
    signalling_lost_ms: int | None = None
    stood_still: Standstill | None = None
    heartbeat_ms: int | None = None  # when the recorder last said that it lives
    chat_ids: list[int] = []  # fingerprints of the latest messages, which the server repeats to who comes back
    counts: Counts = Counts()

    @property
    def people(self) -> int:
        """Number of participants in the room that make a meeting."""
        return sum(participant.counts for participant in self.participants.values())

    @property
    def people_in_meeting(self) -> int:
        """The same with those who are in breakout rooms."""
        return self.people + sum(one.participant.counts for one in self.elsewhere.values())


updated = msgspec.structs.replace  # a struct with some fields changed; itself, since a call more would be felt


def with_participant(state: State, participant: Participant) -> State:
    """Return `state` with `participant` as given."""
    return updated(state, participants={**state.participants, participant.endpoint_id: participant})


def without_participant(state: State, endpoint_id: str) -> State:
    """Return `state` without the participant that has `endpoint_id`."""
    return updated(state, participants={key: value for key, value in state.participants.items() if key != endpoint_id})


def elapsed_ms(message: Message, since_ms: int | None) -> int | None:
    """Return the milliseconds from a moment to `message`; never negative, None where that is unknown."""
    return None if since_ms is None else max(0, message.monotonic_ms - since_ms)


def has_settled(state: State, message: Message) -> bool:
    """Tell whether a message of the server is a change, and not the state of things when the bot came."""
    return state.joined_ms is not None and message.monotonic_ms - state.joined_ms >= SETTLE_MS


def noted_failure(state: State, failure: str) -> tuple[State, bool]:
    """Return `state` that knows a failure, and whether it is news: who waits to get in asks again and again."""
    return updated(state, failure=failure), state.in_conference or failure != state.failure


def fingerprint(value: object) -> int:
    """Return a small number by which an equal value is known again; it is not meant to withstand anybody."""
    return zlib.crc32(repr(value).encode("utf-8", "surrogatepass"))
