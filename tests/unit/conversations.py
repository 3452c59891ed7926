"""Made-up conversations for the normalizer: what the library might say, and what it never would, in any order.

They come from a seed, since they are long: hypothesis chooses seed and length, and finds the shortest that fails.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any

from meeta_bot.capture.normalize import Message, known_origins
from meeta_bot.events import GapCause, Lost
from tests.unit.capture import BOT, JIBRI, JIGASI, START, TRANSCRIBER

ENDPOINTS = ["alice", "bob", "transcriber", BOT]
TEXTS = ["", "x", "alice", "true", "false", "0", "ON", "a\x00b", "é😀", str(START), "-1", "1e3", "9" * 25, "nan"]
NUMBERS = [0, 1, -1, 0.5, -0.0, START, 2**53, 2**53 + 1, -(2**63), 2**64, 10**30, 1e300, -1e300, 5e-324, 1.5e15]
AGO = [0, 5, 100, 5000, 90_000]
LONGEST = 60


def anything(random: Random, depth: int = 0) -> Any:
    """Any JSON value."""
    kind = random.randrange(8 if depth < 3 else 5)
    if kind >= 5:
        count = random.randrange(4)
        if random.random() < 0.5:
            return [anything(random, depth + 1) for _ in range(count)]
        return {random.choice([*TEXTS, "id", "type"]): anything(random, depth + 1) for _ in range(count)}
    return random.choice(
        [None, random.random() < 0.5, random.choice(NUMBERS), random.choice(TEXTS), random.choice(ENDPOINTS)]
    )


def fields(random: Random, **choices: list[Any]) -> dict[str, Any]:
    """Some of the fields, each with one of its values or, rarely, with anything."""
    chosen = {name: random.choice(values) for name, values in choices.items() if random.random() < 0.8}
    return {name: anything(random) if random.random() < 0.03 else value for name, value in chosen.items()}


def participant(random: Random, endpoint_id: str | None = None) -> dict[str, Any]:
    optional = fields(
        random,
        name=TEXTS,
        role=["moderator", "participant", "none"],
        hidden=[True, False],
        bot_type=[None, "poltergeist"],
        stats_id=TEXTS,
        is_replaced=[True, False],
        features=[[], [JIBRI], [JIGASI], [TRANSCRIBER]],
    )
    return {"$": "participant", **optional, "id": endpoint_id or random.choice(ENDPOINTS)}


def joined(random: Random) -> list[Any]:
    endpoint_id = random.choice(ENDPOINTS)
    return [endpoint_id, participant(random, endpoint_id), False]


def left(random: Random) -> list[Any]:
    endpoint_id = random.choice(ENDPOINTS)
    return [
        endpoint_id,
        participant(random, endpoint_id),
        random.choice(TEXTS),
        {"with_our_own": random.random() < 0.2},
    ]


def presence(random: Random) -> list[Any]:
    endpoint_id = random.choice(ENDPOINTS)
    names = [f"{endpoint_id}-{name}" for name in ("a0", "a1", "v0", "v1", "a0.fr")] + ["bob-v0", "x"]
    sources = {
        name: fields(random, muted=[True, False, None], videoType=["camera", "desktop", "desktop_high_fps"])
        for name in random.sample(names, random.randrange(5))
    }
    elements = fields(
        random,
        SourceInfo=[json.dumps(sources), json.dumps(sources), "", "{", "[]"],
        audiomuted=["true", "false"],
        videomuted=["true", "false"],
        videoType=["camera", "desktop"],
    )
    return [endpoint_id, elements]


def recorder_session(random: Random) -> list[Any]:
    optional = fields(random, mode=["file", "stream"], initiator=ENDPOINTS, terminator=ENDPOINTS)
    error = {"error": "busy"} if random.random() < 0.2 else {}
    return [
        {"id": random.choice(["s1", "s2"]), "status": random.choice(["", "pending", "on", "off"]), **optional, **error}
    ]


def statistics(random: Random) -> dict[str, Any]:
    return fields(
        random,
        connectionQuality=NUMBERS,
        packetLoss=[{"total": random.choice(NUMBERS), "upload": None}],
        bitrate=[{"download": random.choice(NUMBERS), "audio": {"x": 1}}],
        jvbRTT=NUMBERS,
    )


def client_message(random: Random) -> dict[str, Any]:
    return fields(
        random,
        type=["transcription-result", "transcription-result", "stats", "other"],
        name=["endpoint-reaction", "other"],
        transcript=[[{"text": "hm", "confidence": random.choice([*NUMBERS, "nan", "0.5"])}], [], [{}]],
        participant=[{"id": "alice", "name": "Alice"}, {}],
        timestamp=[*NUMBERS, *TEXTS],
        stability=[*NUMBERS, "inf"],
        reactions=[["like", "like", 5], [], "like"],
    )


def hand_or_property(random: Random) -> list[Any]:
    value = random.choice([*TEXTS, *NUMBERS, None, True])
    return [participant(random), random.choice(["raisedHand", "region", "e2ee.idKey"]), None, value]


def times(random: Random) -> dict[str, Any]:
    return {"from_at": random.choice([START, *NUMBERS]), "to_at": START, "missed": random.choice([1, *NUMBERS])}


def loss(random: Random) -> dict[str, Any]:
    return {
        "cause": random.choice(["page_crashed", "signalling_lost", "put_out"]),
        "attempt": random.choice([1, 2]),
        "detail": random.choice(TEXTS),
        "ago_ms": random.choice(AGO),
        "evidence": "from the last sign",
    }


LIKELY: dict[str, Callable[[Random], list[Any]]] = {
    "conference.joined": lambda r: [
        {"endpoint_id": r.choice([BOT, "b1b1b1b1"]), "roster_size": r.choice([0, 1, *NUMBERS])}
    ],
    "conference.userJoined": joined,
    "conference.userLeft": left,
    "conference.participant_kicked": lambda r: [participant(r), participant(r), r.choice(TEXTS)],
    "conference.displayNameChanged": lambda r: [r.choice(ENDPOINTS), r.choice([None, *TEXTS])],
    "conference.roleChanged": lambda r: [r.choice(ENDPOINTS), r.choice(["moderator", "none"])],
    "conference.participant_property_changed": hand_or_property,
    "presence.media": presence,
    "conference.dominantSpeaker": lambda r: [r.choice(ENDPOINTS), r.sample(ENDPOINTS, 2), r.random() < 0.3],
    "conference.dataChannelOpened": lambda _: [],
    "conference.dataChannelClosed": lambda r: [{"code": r.choice([True, 1001, *NUMBERS]), "reason": r.choice(TEXTS)}],
    "conference.recorderStateChanged": recorder_session,
    "conference.transcriptionStatusChanged": lambda r: [r.choice(["ON", "OFF"]), r.choice(ENDPOINTS), r.random() < 0.5],
    "conference.propertiesChanged": lambda r: [
        {"audio-recording-enabled": r.choice(["true", "false"]), r.choice(TEXTS): r.choice([*TEXTS, *NUMBERS])}
    ],
    "conference.endpoint_message_received": lambda r: [participant(r), client_message(r)],
    "conference.non_participant_message_received": lambda r: [r.choice(ENDPOINTS), client_message(r)],
    "conference.messageReceived": lambda r: [
        "alice",
        r.choice(TEXTS),
        r.choice([None, "2023-11-14T22:13:20Z", *TEXTS]),
        "Alice",
        False,
        r.choice([None, "m-1", "m-2"]),
    ],
    "conference.createdTimestamp": lambda r: [r.choice([str(START - 9), *TEXTS, *NUMBERS])],
    "conference.unique_id_set": lambda r: [r.choice(TEXTS)],
    "conference.subjectChanged": lambda r: [r.choice(TEXTS)],
    "conference.failed": lambda r: [
        r.choice(["conference.destroyed", "conference.connectionError.membersOnly", "x"]),
        r.choice(TEXTS),
    ],
    "conference.lock_state_changed": lambda r: [r.random() < 0.5],
    "conference.membersOnlyChanged": lambda r: [r.random() < 0.5],
    "conference.audio_unmute_permissions_changed": lambda r: [r.random() < 0.5],
    "conference.left": lambda _: [],
    "conference.kicked": lambda r: [participant(r), r.choice(TEXTS), r.random() < 0.5],
    "cq.remote_stats_updated": lambda r: [r.choice(ENDPOINTS), statistics(r)],
    "cq.local_stats_updated": lambda r: [statistics(r)],
    "hook.overflow": lambda r: [times(r)],
    "hook.signalling_lost": lambda r: [{"ago_ms": r.choice(AGO), "evidence": r.choice(["closed", "silent"])}],
    "hook.signalling_back": lambda _: [],
    "hook.bridge_heard": lambda r: [{"channel": r.choice(["new", "same"])}],
    "hook.bridge_lost": lambda r: [
        {"ago_ms": r.choice(AGO), "evidence": r.choice(["closed", "silent", "mute", "unopened"])}
    ],
    "hook.bridge_idle": lambda _: [],
    "hook.focus_back": lambda r: [{"away_ms": r.choice(NUMBERS), "asked": r.choice(NUMBERS)}],
    "hook.focus_refused": lambda r: [r.choice(TEXTS)],
    "hook.media_path": lambda r: [],
    "hook.media_restart": lambda r: [{"attempt": r.choice(NUMBERS)}],
    "hook.media_missing": lambda r: [r.choice(TEXTS)],
    "hook.media_received": lambda r: [{"seconds": r.choice(NUMBERS), "bytes": r.choice(NUMBERS)}],
    "hook.bridge_closed": lambda _: [],
    "hook.slept": lambda r: [{"from_at": r.choice([START, *NUMBERS]), "to_at": START, "ms": r.choice(AGO)}],
    "recorder.lost": lambda r: [loss(r)],
    "recorder.stood_still": lambda r: [
        {"ms": r.choice(AGO), "suspended_ms": 0, "lost": r.choice(["everything", "nothing"]), "evidence": "looked"}
    ],
    "recorder.clock_jumped": lambda r: [{"jump_ms": r.choice(NUMBERS)}],
    "recorder.damaged": lambda r: [{"missed": r.choice([1, *NUMBERS]), "evidence": "x", "ago_ms": r.choice(AGO)}],
    "recorder.telemetry": lambda r: [{"is_kept": r.random() < 0.8}],
    "recorder.gap": lambda r: [{**times(r), "cause": r.choice(list(GapCause)), "lost": r.choice(list(Lost))}],
    "recorder.meeting_over": lambda _: [],
    "recorder.heartbeat": lambda r: r.choice([[], [{"page_made": 5, "page_taken": r.choice(NUMBERS)}]]),
}
ALL = sorted(known_origins() - {"recorder.ended"})
RARE = {"conference.kicked", "recorder.heartbeat", "recorder.telemetry", "recorder.clock_jumped", "recorder.damaged"}
OFTEN = ["presence.media"] * 12 + ["conference.userJoined"] * 4 + ["conference.recorderStateChanged"] * 3
LOUD = sorted(LIKELY.keys() - RARE) + OFTEN


def message(random: Random, at: int) -> Message:
    """One message, mostly of a shape that makes sense."""
    origin = random.choice(LOUD) if random.random() < 0.8 else random.choice([*ALL, "conference.never_heard_of", ""])
    if random.random() < 0.005:
        origin = "recorder.ended"  # rare, since nothing happens after it
        args: list[Any] = [{"reason": "operator"}]
    elif origin in LIKELY and random.random() < 0.9:
        args = LIKELY[origin](random)
    else:
        args = [anything(random) for _ in range(random.randrange(5))]
    return Message(origin=origin, args=args, wall_ms=START + at, monotonic_ms=at)


def conversation(seed: int, length: int) -> list[Message]:
    """The first `length` messages of the conversation with that seed; time mostly goes on."""
    random = Random(seed)
    at, said = 0, []
    for _ in range(length):
        at += random.choice([0, 1, 100, 3000, 20_000, -50])
        said.append(message(random, at))
    return said
