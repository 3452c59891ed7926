"""Normalization: from what lib-jitsi-meet says to the events of the catalog. Pure; no clock, no I/O.

``normalize(state, message)`` never raises and never loses: what a rule can't read is kept as ``unknown`` with the
problem named, what no rule knows is kept as ``unknown``, and every message is counted once.
"""

from __future__ import annotations

from functools import cache

import msgspec

from meeta_bot.capture.normalize import (
    breakouts,
    bridge,
    connection,
    gaps,
    lifecycle,
    media,
    meeting,
    messages,
    people,
    recording,
    rejoin,
    transcription,
)
from meeta_bot.capture.normalize.arguments import Malformed, event
from meeta_bot.capture.normalize.state import Counts, Message, State, updated
from meeta_bot.events import Event, Unknown

__all__ = ["Message", "State", "known_origins", "normalize"]

_RULES: dict[str, rejoin.Rule] = {
    **lifecycle.RULES,
    **gaps.RULES,
    **rejoin.RULES,
    **connection.RULES,
    **bridge.RULES,
    **meeting.RULES,
    **people.RULES,
    **breakouts.RULES,
    **media.RULES,
    **recording.RULES,
    **transcription.RULES,
    **messages.RULES,
}

# Known, and told by another event already, or about media that the bot neither sends nor receives.
_ABSORBED = frozenset(
    {
        "conference.beforeStatisticsDisposed",
        "conference.dataChannelOpened",  # open is not heard: hook.bridge_heard
        "conference.endpoint_stats_received",  # as cq.remote_stats_updated
        "conference.forwardedSourcesChanged",
        "conference.lastNEndpointsChanged",
        "conference.participant_source_updated",  # as presence.SourceInfo
        "conference.trackMuteChanged",  # as presence
        "conference.audio_input_state_changed",
        "conference.jvb121Status",  # as conference.p2pStatus
        "conference.media_session.active_changed",  # the bot's own media session
        "conference.media_session.started",
        "conference.started_muted",
        "conference.no_audio_input",
        "conference.noisy_mic",
        "conference.talk_while_muted",
        "conference.silentStatusChanged",
        "conference.partcipant_features_changed",
        "conference.server_region_changed",
        "conference.dtmfSupportChanged",
        "conference.bridgeBweStatsReceived",
        "conference.visitor_codecs_changed",
        "conference.visitorsSupported",  # whether the deployment could take visitors
        "conference.auth_status_changed",  # whether it could ask for a login; with the bot's own login name
        "e2eping.e2e_rtt_changed",
    }
)


@cache
def known_origins() -> frozenset[str]:
    """Return every origin that has a rule or is absorbed on purpose."""
    return frozenset(_RULES) | _ABSORBED


def normalize(state: State, message: Message) -> tuple[State, list[Event]]:
    """Interpret `message` after all that led to `state`: return the next state, and the events in order.

    :returns: a state whose counters include this message, and no, one or several events.
    """
    counts = state.counts
    if state.ended:
        return _counted(state, counts, message, refused=1), []
    state, before = _before(state, message)
    alive = people.heard(state, message)
    try:
        # Hardly any message comes while something is out of view or is being compared.
        if state.blind is None and state.comparison is None:
            outcome = _apply(alive, message)
        else:
            outcome = rejoin.across_a_gap(alive, message, _apply)
    except (Malformed, msgspec.ValidationError) as error:
        unknown = event(message, Unknown(arguments=message.args, problem=str(error)))
        after = _counted(state, counts, message, events=1 + len(before), unknown=1)
        return after, _stamped([*before, unknown], message)
    if outcome is None and not before:
        return _counted(alive, counts, message, sampled=1), []
    after, found = outcome or (alive, [])
    found = _stamped([*before, *found], message)
    unknown_events = len([1 for item in found if type(item.payload) is Unknown])
    return _counted(after, counts, message, events=len(found), unknown=unknown_events), found


def _before(state: State, message: Message) -> tuple[State, list[Event]]:
    """Note what `message` shows by coming at all: that time has passed for those who are on the way."""
    if not state.elsewhere:
        return state, []
    counts = state.counts
    state, found = breakouts.gone(state, message)
    # A rule that tells of the books has those before it in them.
    return updated(state, counts=updated(counts, events=counts.events + len(found))), found


def _stamped(found: list[Event], message: Message) -> list[Event]:
    """Give events of what came late the time at which the server had it."""
    if message.server_ms is None:
        return found
    return [item if item.server_at is not None else updated(item, server_at=message.server_ms) for item in found]


def _apply(state: State, message: Message) -> tuple[State, list[Event]] | None:
    rule = _RULES.get(message.origin)
    if rule is not None:
        return rule(state, message)
    if message.origin in _ABSORBED:
        return state, []
    return state, [event(message, Unknown(arguments=message.args))]


def _counted(
    state: State,
    counts: Counts,
    message: Message,
    *,
    events: int = 0,
    unknown: int = 0,
    sampled: int = 0,
    refused: int = 0,
) -> State:
    """Return `state` after `message`, whose books were `counts`. One copy a message: it is the largest cost of many."""
    return updated(
        state,
        last_ms=message.monotonic_ms,
        counts=Counts(
            messages=counts.messages + 1,
            normalized=counts.normalized + (events > 0),
            absorbed=counts.absorbed + (not events and not sampled and not refused),
            sampled=counts.sampled + sampled,
            refused=counts.refused + refused,
            unknown=counts.unknown + unknown,
            events=counts.events + events,
        ),
    )
