"""The bridge half of what a capture hears, and what the bot does to get it back: bridge, media session, focus.

The hook says when the bridge is heard and when it is not (hook/bridge.js). A gap of this half begins with its last
word and ends with the next one; it is one only while somebody is there to be heard.
"""

from __future__ import annotations

import msgspec

from meeta_bot import events
from meeta_bot.capture.normalize import gaps
from meeta_bot.capture.normalize.arguments import Ago, Whole, argument, event, optional_text, text
from meeta_bot.capture.normalize.state import BridgeLoss, Message, State, elapsed_ms, noted_failure, updated
from meeta_bot.events import Event, GapCause
from meeta_bot.limits import LARGEST_NUMBER

_UNHEARD = {
    "closed": "from its last word, its channel is closed",
    "silent": "from its last word, its channel is open and a question was not answered",
    "mute": "its channel is open and nothing was ever heard on it",
    "unopened": "no channel opened, though the bot was invited",
    "uninvited": "the bot was not invited to it",
}


class _Lost(msgspec.Struct):
    evidence: str
    ago_ms: Ago = 0


class _Heard(msgspec.Struct):
    channel: str = "new"


class _FocusBack(msgspec.Struct):
    away_ms: Whole
    asked: Whole = 0


class _MediaRestart(msgspec.Struct):
    attempt: Whole = 1


class _MediaReceived(msgspec.Struct):
    seconds: Whole
    bytes: Whole
    audio_bytes: Whole = 0
    video_bytes: Whole = 0


def bridge_awaited(state: State, message: Message) -> State:
    """Wait for the bridge's first word after a return: its half of what was lost is not back with the room's."""
    return gaps.bridge_unheard(state, message, GapCause.BRIDGE_UNHEARD, "from the return into the room")


def somebody_came(state: State, message: Message) -> State:
    """Note that somebody is there to be heard, though the bridge is not."""
    loss = state.bridge_loss
    if loss is None or state.bridge_blind is not None or not state.in_conference:
        return state
    return gaps.bridge_unheard(state, message, loss.cause, f"from when somebody was there: {loss.evidence}")


def bridge_lost(state: State, message: Message) -> tuple[State, list[Event]]:
    """Note a bridge that is not heard: ``hook.bridge_lost({ago_ms, evidence})``, once for each loss."""
    given = msgspec.convert(argument(message, 0), _Lost)
    if state.leaving:
        return state, []
    cause = GapCause.BRIDGE_CHANNEL_CLOSED if given.evidence == "closed" else GapCause.BRIDGE_UNHEARD
    evidence = _UNHEARD.get(given.evidence, given.evidence)
    is_told = state.people > 0
    ago = int(given.ago_ms)
    state = updated(state, bridge_loss=BridgeLoss(cause, evidence, is_told, message.monotonic_ms - ago))
    if not is_told:
        return state, []
    state = gaps.bridge_unheard(state, message, cause, evidence, given.ago_ms)
    return state, [event(message, events.BridgeLost(since_at=message.wall_ms - ago, evidence=given.evidence))]


def bridge_heard(state: State, message: Message) -> tuple[State, list[Event]]:
    """Note a bridge that is heard: ``hook.bridge_heard({channel})``, before the dominant speaker, which it repeats."""
    given = msgspec.convert(argument(message, 0), _Heard)
    loss = state.bridge_loss
    state, found = gaps.bridge_seen(updated(state, bridge_loss=None), message)
    if loss is not None and loss.is_told:
        found.append(event(message, events.BridgeRestored(down_ms=elapsed_ms(message, loss.from_ms))))
    if given.channel == "new":
        found.append(event(message, events.BridgeChannelOpened()))
    # Speakers that changed meanwhile were not heard of: what is repeated now is later than the change.
    return updated(state, bridge_open=True, bridge_opened_ms=message.monotonic_ms), found


def bridge_idle(state: State, message: Message) -> tuple[State, list[Event]]:
    """Note that nobody is there any more who could be heard: ``hook.bridge_idle()``."""
    return gaps.bridge_seen(updated(state, bridge_loss=None), message, "nobody was there any more")


def bridge_channel_closed(state: State, message: Message) -> tuple[State, list[Event]]:
    """Note a closed channel: DATA_CHANNEL_CLOSED({code, reason}), or the hook saw it. It matters to people only."""
    if state.bridge_open is False:
        return state, []
    given = argument(message, 0)
    details = given if isinstance(given, dict) else {}
    code = details.get("code")
    known_code = code if type(code) is int and 0 <= code <= LARGEST_NUMBER else None
    payload = events.BridgeChannelClosed(code=known_code, reason=optional_text(details.get("reason")))
    if state.bridge_open and state.people and not state.leaving:  # where the hook does not hear the bridge itself
        state = gaps.bridge_unheard(state, message, GapCause.BRIDGE_CHANNEL_CLOSED, "from the closing of its channel")
    return updated(state, bridge_open=False, bridge_opened_ms=None), [event(message, payload)]


def focus_back(state: State, message: Message) -> tuple[State, list[Event]]:
    """Note a conference focus that returned: ``hook.focus_back({away_ms, asked})``."""
    given = msgspec.convert(argument(message, 0), _FocusBack)
    return state, [event(message, events.FocusReturned(away_ms=given.away_ms, asked=given.asked))]


def focus_refused(state: State, message: Message) -> tuple[State, list[Event]]:
    """Note a conference request that failed: ``hook.focus_refused(answer)``."""
    answer = text(message, 0)
    state, is_news = noted_failure(state, f"focus {answer}")
    return state, [event(message, events.FocusRefused(answer=answer))] if is_news else []


def media_restart(state: State, message: Message) -> tuple[State, list[Event]]:
    """Note that a media session was asked for: ``hook.media_restart({attempt})``."""
    given = msgspec.convert(argument(message, 0), _MediaRestart)
    return state, [event(message, events.MediaSessionRequested(attempt=given.attempt))]


def media_missing(state: State, message: Message) -> tuple[State, list[Event]]:
    """Note that no media session is to be had: ``hook.media_missing(evidence)``."""
    return state, [event(message, events.MediaSessionMissing(evidence=optional_text(argument(message, 0))))]


def media_received(state: State, message: Message) -> tuple[State, list[Event]]:
    """Note received media: ``hook.media_received({seconds, bytes, audio_bytes, video_bytes})``."""
    given = msgspec.convert(argument(message, 0), _MediaReceived)
    return state, [event(message, events.MediaReceived(**msgspec.structs.asdict(given)))]


RULES = {
    "hook.bridge_lost": bridge_lost,
    "hook.bridge_heard": bridge_heard,
    "hook.bridge_idle": bridge_idle,
    "hook.bridge_closed": bridge_channel_closed,
    "conference.dataChannelClosed": bridge_channel_closed,
    "hook.focus_back": focus_back,
    "hook.focus_refused": focus_refused,
    "hook.media_restart": media_restart,
    "hook.media_missing": media_missing,
    "hook.media_received": media_received,
}
