"""Phases of a capture, how long it may stand in each, and how it goes on: one table.

No phase lasts for ever. A deadline is the name of a setting; when it is over, one of the phase's ends is the reason,
or the capture tries again. The diagram in ARCHITECTURE.md is what :func:`diagram` gives.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from meeta_bot.events import EndReason


class Phase(StrEnum):
    """A phase of a capture."""

    STARTING = "starting"
    LOADING = "loading"
    CONNECTING = "connecting"
    JOINING = "joining"
    LOBBY = "lobby"
    HOST = "waiting for the host"
    START = "waiting for the start"
    FULL = "waiting for room"
    QUEUE = "waiting in the queue"
    IN_ROOM = "in the room"
    RECONNECTING = "reconnecting"
    LEAVING = "leaving"
    ENDED = "ended"


class PhaseRule(NamedTuple):
    """The rule of a phase. ``deadlines`` are settings; ``ends`` the reasons for which a capture ends out of it."""

    deadlines: tuple[str, ...]
    following: frozenset[Phase]
    ends: frozenset[EndReason]


# Whatever the phase: the operator, the longest duration, a full disk, an error of our own, a process that was killed.
ANYWHERE = frozenset(
    {
        EndReason.OPERATOR,
        EndReason.MAX_DURATION,
        EndReason.DISK_FAILED,
        EndReason.INTERNAL_ERROR,
        EndReason.PROCESS_KILLED,
    }
)
_CRASHES = frozenset({EndReason.PAGE_CRASHED, EndReason.BROWSER_CRASHED})
_NO_PAGE = frozenset({EndReason.ROOM_UNREACHABLE, EndReason.NOT_JITSI, EndReason.CERTIFICATE_REJECTED})
_NO_LOGIN = frozenset(
    {
        EndReason.ROOM_UNREACHABLE,
        EndReason.AUTHENTICATION_REQUIRED,
        EndReason.TOKEN_REJECTED,
        EndReason.TOKEN_EXPIRED,
        EndReason.NOT_JITSI,
        EndReason.JOIN_TIMEOUT,
    }
)
_NO_ENTRY = frozenset(
    {
        EndReason.PASSWORD_REQUIRED,
        EndReason.PASSWORD_INCORRECT,
        EndReason.ROOM_FULL,
        EndReason.NOT_ALLOWED,
        EndReason.DESTROYED,
        EndReason.MEETING_ENDED,
        EndReason.KICKED,
        EndReason.REPLACED,
    }
)
_LOBBY = frozenset({EndReason.LOBBY_DENIED, EndReason.LOBBY_TIMEOUT})
_ON_THE_WAY_IN = _NO_LOGIN | _NO_ENTRY | _LOBBY | _CRASHES
_MEETING_OVER = frozenset(
    {
        EndReason.MEETING_ENDED,
        EndReason.DESTROYED,
        EndReason.LEFT_ALONE,
        EndReason.NOBODY_CAME,
        EndReason.ONLY_BOTS_LEFT,
        EndReason.KICKED,
        EndReason.REPLACED,
        EndReason.TOKEN_EXPIRED,
    }
)

_BACK = frozenset({Phase.RECONNECTING, Phase.LEAVING})

# The bot has done what it can, and somebody else has to do something: its deadline is the first of the phase's.
WAITING = frozenset({Phase.LOBBY, Phase.HOST, Phase.START, Phase.FULL, Phase.QUEUE})
_WAITS_OVER = _BACK | WAITING | {Phase.IN_ROOM}

TABLE: dict[Phase, PhaseRule] = {
    Phase.STARTING: PhaseRule(("browser_start_timeout",), frozenset({Phase.LOADING, Phase.LEAVING}), _CRASHES),
    Phase.LOADING: PhaseRule(
        ("browser_start_timeout", "page_load_timeout"), _BACK | {Phase.CONNECTING}, _NO_PAGE | _CRASHES
    ),
    Phase.CONNECTING: PhaseRule(("join_timeout",), _BACK | {Phase.JOINING}, _NO_LOGIN | _CRASHES),
    Phase.JOINING: PhaseRule(("join_timeout",), _BACK | WAITING | {Phase.IN_ROOM}, _ON_THE_WAY_IN),
    Phase.LOBBY: PhaseRule(("lobby_timeout",), _WAITS_OVER, _ON_THE_WAY_IN),
    Phase.HOST: PhaseRule(("host_timeout",), _WAITS_OVER, _ON_THE_WAY_IN),
    Phase.START: PhaseRule(("start_timeout",), _WAITS_OVER, _ON_THE_WAY_IN),
    Phase.FULL: PhaseRule(("full_timeout",), _WAITS_OVER, _ON_THE_WAY_IN),
    Phase.QUEUE: PhaseRule(("queue_timeout",), _WAITS_OVER, _ON_THE_WAY_IN),
    Phase.IN_ROOM: PhaseRule(
        ("max_duration", "left_alone_grace", "nobody_came_timeout", "signalling_timeout"), _BACK, _MEETING_OVER
    ),
    Phase.RECONNECTING: PhaseRule(
        ("reconnect_timeout",),
        WAITING | {Phase.IN_ROOM, Phase.LEAVING},
        frozenset({EndReason.RECONNECT_EXHAUSTED}) | _NO_PAGE | _ON_THE_WAY_IN,
    ),
    Phase.LEAVING: PhaseRule(("leave_timeout",), frozenset({Phase.ENDED}), frozenset()),
    Phase.ENDED: PhaseRule((), frozenset(), frozenset()),
}


def diagram() -> str:
    """Return the table as a Mermaid state diagram, in Markdown, followed by the reasons of each phase."""
    names = {phase: phase.name.lower() for phase in Phase}
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> starting"]
    for phase, rule in TABLE.items():
        lines += [f"    {names[phase]} --> {names[after]}" for after in Phase if after in rule.following]
    lines += [
        "    ended --> [*]",
        "```",
        "",
        "| phase | deadlines | a capture ends out of it because |",
        "| --- | --- | --- |",
    ]
    for phase, rule in TABLE.items():
        deadlines = ", ".join(f"`{name}`" for name in rule.deadlines) or "none"
        ends = ", ".join(reason.value for reason in EndReason if reason in rule.ends) or "nothing of its own"
        lines.append(f"| {phase} | {deadlines} | {ends} |")
    anywhere = ", ".join(reason.value for reason in EndReason if reason in ANYWHERE)
    return "\n".join([*lines, f"| any | | {anywhere} |"])
