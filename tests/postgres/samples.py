"""Made-up captures: events, sealed into chains, and strategies for arbitrary ones."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from typing import Any, get_args, get_origin
from uuid import UUID

import msgspec
from hypothesis import strategies as st

from meeta_bot.events import (
    CATALOG,
    CaptureEnded,
    CaptureStarted,
    EndReason,
    Event,
    MeetingBasis,
    MeetingIdentified,
    ParticipantJoined,
    ParticipantLeft,
    Payload,
    SealedEvent,
    chain,
)

BEGAN_MS = int(time.time() * 1000) // 1000 * 1000
MEETING = "6f1c1e0a-5a55-5c1e-8a55-0123456789ab"
OTHER_MEETING = "7a2d2f1b-6b66-5d2f-9b66-abcdef012345"
_NUMBERS = itertools.count(1)  # no two captures, and no two salts, are the same
_MONTH_MS = 31 * 24 * 3600 * 1000


def capture_id(at_ms: int = BEGAN_MS) -> str:
    """A new UUIDv7 of a moment; of one moment, each is greater than the one before."""
    return str(UUID(int=at_ms << 80 | 7 << 76 | 2 << 62 | next(_NUMBERS)))


def happening(payload: Payload, ms: int, endpoint_id: str | None = None, **envelope: Any) -> Event:
    """An event `ms` milliseconds after the beginning."""
    values: dict[str, Any] = {"origin": "test", "occurred_at": BEGAN_MS + ms, "monotonic_ms": ms} | envelope
    return Event(payload=payload, endpoint_id=endpoint_id, **values)


def seal_all(events: Sequence[Event], capture: str | None = None) -> list[SealedEvent]:
    """`events` as one capture: numbered from 1 and chained."""
    name, previous, sealed = capture or capture_id(), chain.GENESIS, []
    for seq, event in enumerate(events, 1):
        sealed.append(chain.seal(name, seq, previous, event, next(_NUMBERS).to_bytes(chain.SALT_BYTES)))
        previous = sealed[-1].digest
    return sealed


def started(room: str = "standup", deployment: str = "https://meet.example.org") -> Event:
    """The first event of a capture."""
    url = f"{deployment}/{room}"
    payload = CaptureStarted(
        room_url=url, deployment=deployment, room=room, bot_name="Event recorder", program_version="1"
    )
    return happening(payload, 0)


def identified(ms: int, meeting_id: str = MEETING, basis: MeetingBasis = MeetingBasis.SERVER_ID) -> Event:
    """The moment in which a capture learns its meeting."""
    return happening(MeetingIdentified(meeting_id=meeting_id, basis=basis, created_at=BEGAN_MS), ms)


def joined(ms: int, endpoint_id: str, name: str | None = None, **envelope: Any) -> Event:
    """Somebody arrives; `role`, `user_id`, `stats_id` and `kind` go into the payload."""
    names = ("role", "user_id", "stats_id", "kind")
    fields = {key: envelope.pop(key) for key in names if key in envelope}
    return happening(ParticipantJoined(display_name=name, **fields), ms, endpoint_id, **envelope)


def left(ms: int, endpoint_id: str, **envelope: Any) -> Event:
    """Somebody leaves."""
    return happening(ParticipantLeft(), ms, endpoint_id, **envelope)


def ended(ms: int, reason: EndReason = EndReason.LEFT_ALONE) -> Event:
    """The last event of a capture."""
    return happening(CaptureEnded(reason=reason), ms)


def small_capture(size: int = 10) -> list[SealedEvent]:
    """A capture of `size` sealed events: a start, then arrivals."""
    return seal_all([started(), *(joined(n * 1000, f"endpoint{n}", f"Person {n}") for n in range(1, size))])


# --- arbitrary events -------------------------------------------------------------------------------------------

TEXTS = st.one_of(st.sampled_from(["", "moderator", "human", "main", MEETING, "not a uuid"]), st.text(max_size=20))
NUMBERS = st.one_of(st.integers(-5, 5), st.integers(-(2**70), 2**70), st.integers(0, 4 * 10**12))
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.floats() | st.text(alphabet=st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(alphabet=st.characters(), max_size=8), inner),
    max_leaves=12,
)
_TIMES = st.one_of(st.integers(BEGAN_MS - _MONTH_MS, BEGAN_MS + _MONTH_MS), st.integers(-(2**63), 2**63 - 1))
_PROJECTED = [
    name
    for name in CATALOG
    if name.split(".")[0] in ("meeting", "participant") or name in ("capture.gap", "capture.ended", "conference.joined")
]


def _values(kind: Any) -> st.SearchStrategy[Any]:
    simple: dict[Any, st.SearchStrategy[Any]] = {Any: JSON_VALUES, str: TEXTS, int: NUMBERS, type(None): st.none()}
    if kind in simple:
        return simple[kind]
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is list:
        return st.lists(_values(arguments[0]), max_size=3)
    if origin is dict:
        return st.dictionaries(_values(arguments[0]), _values(arguments[1]), max_size=3)
    # What is left: unions and enumerations.
    return st.one_of([_values(one) for one in arguments]) if arguments else st.from_type(kind)


def _payloads(name: str) -> st.SearchStrategy[Payload]:
    shape = CATALOG[name].payload
    return st.builds(shape, **{field.name: _values(field.type) for field in msgspec.structs.fields(shape)})


def arbitrary_events(times: st.SearchStrategy[int] = _TIMES) -> st.SearchStrategy[Event]:
    """Any event that the catalog's shapes allow, those that projections look at more often."""
    return st.builds(
        Event,
        payload=st.one_of(st.sampled_from(_PROJECTED), st.sampled_from(sorted(CATALOG))).flatmap(_payloads),
        origin=TEXTS,
        occurred_at=times,
        monotonic_ms=st.one_of(st.integers(0, 10**7), st.integers(-(2**63), 2**63 - 1)),
        room=st.sampled_from(["main", "", "breakout"]),
        endpoint_id=st.sampled_from([None, "a", "b", ""]),
        server_at=st.none() | times,
        initial=st.booleans(),
        inferred=st.booleans(),
    )
