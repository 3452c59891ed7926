"""Chat, and messages between clients: transcripts, reactions, and what applications send."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

from meeta_bot import events
from meeta_bot.capture.normalize.arguments import (
    argument,
    endpoint_of,
    event,
    iso_milliseconds,
    optional_milliseconds,
    optional_text,
    text,
)
from meeta_bot.capture.normalize.state import CHAT_IDS_LIMIT, Message, State, has_settled, updated
from meeta_bot.capture.normalize.transcription import transcript_chunk
from meeta_bot.events import Event

TRANSCRIBER_ID = "transcriber"  # the bridge's own name for the asynchronous backend
# Between clients only: statistics with an event of their own, pings, keys, biometrics, remote control.
_NEVER = {
    "stats",
    "e2e-ping-request",
    "e2e-ping-response",
    "olm",
    "face-landmarks",
    "face-box",
    "remote-control",
}
_CLOCKS_DIFFER_MS = 1000  # of server and recorder, as they usually do
_MOST_REACTIONS = 3  # of one message; the web application shows no more either


def chat_message(state: State, message: Message) -> tuple[State, list[Event]]:
    """MESSAGE_RECEIVED(id, text, stamp, name, isVisitor, messageId, source, replyToId); the first three in 2021."""
    sender, words = optional_text(argument(message, 0)), text(message, 1)
    stamp = iso_milliseconds(argument(message, 2))
    claimed = optional_text(argument(message, 3)) or None
    message_id = optional_text(argument(message, 5))
    state, known = _remembered(state, message_id or f"{sender} {words}")
    if known and stamp is not None and (message_id or _was_in_view(state, stamp)):
        return state, []  # the server repeats what was heard before a gap
    # Right after a join the server tells what was said before; later, a stamp says that it comes late (XEP-0198).
    history = stamp is not None and not has_settled(state, message)
    payload = events.ChatMessage(
        text=words,
        message_id=message_id,
        display_name=_name(state, sender, claimed),
        claimed_name=claimed,
        history=history,
        is_visitor=argument(message, 4) is True,
        reply_to=optional_text(argument(message, 7)),
    )
    return state, [event(message, payload, sender, initial=history, server_at=stamp)]


def _was_in_view(state: State, at: int) -> bool:
    """Tell whether the room was in view at a moment of the server's clock, before the gap that is compared."""
    lost_at = state.comparison.from_at if state.comparison is not None else None
    return lost_at is not None and at <= lost_at + _CLOCKS_DIFFER_MS


def _remembered(state: State, identity: str) -> tuple[State, bool]:
    """Return `state` that knows a message from now on, and whether it knew it before."""
    mark = int.from_bytes(blake2b(identity.encode("utf-8", "surrogatepass"), digest_size=7).digest())
    if mark in state.chat_ids:
        return state, True
    return updated(state, chat_ids=[*state.chat_ids, mark][-CHAT_IDS_LIMIT:]), False


def private_message(state: State, message: Message) -> tuple[State, list[Event]]:
    """PRIVATE_MESSAGE_RECEIVED(id, text, stamp, messageId, name)."""
    sender, claimed = optional_text(argument(message, 0)), optional_text(argument(message, 4)) or None
    payload = events.ChatPrivateMessage(
        text=text(message, 1),
        message_id=optional_text(argument(message, 3)),
        display_name=_name(state, sender, claimed),
        claimed_name=claimed,
    )
    return state, [event(message, payload, sender)]


def _name(state: State, sender: str | None, claimed: str | None) -> str | None:
    """Return the name that the writer has in the room: anybody can claim another one in a message."""
    away = state.elsewhere.get(sender or "")
    writer = state.participants.get(sender or "") if away is None else away.participant
    return writer.name or claimed if writer is not None else claimed


def message_retracted(state: State, message: Message) -> tuple[State, list[Event]]:
    """MESSAGE_RETRACTED(id, messageId), since 2025; before, retractions come as messages."""
    payload = events.ChatMessageRetracted(message_id=text(message, 1))
    return state, [event(message, payload, text(message, 0))]


def endpoint_message(state: State, message: Message) -> tuple[State, list[Event]]:
    """ENDPOINT_MESSAGE_RECEIVED(JitsiParticipant, payload): over the bridge channel or as a MUC json-message."""
    sender = argument(message, 0)
    sender_id = endpoint_of(sender)
    trusted = isinstance(sender, dict) and sender.get("hidden") is True
    return state, _demultiplexed(message, sender_id, argument(message, 1), "jigasi", trusted=trusted)


def non_participant_message(state: State, message: Message) -> tuple[State, list[Event]]:
    """NON_PARTICIPANT_MESSAGE_RECEIVED(sender's id, payload)."""
    sender_id = optional_text(argument(message, 0))
    trusted = sender_id == TRANSCRIBER_ID
    return state, _demultiplexed(message, sender_id, argument(message, 1), "bridge", trusted=trusted)


def _demultiplexed(
    message: Message, sender_id: str | None, payload: Any, transport: str, *, trusted: bool
) -> list[Event]:
    fields = payload if isinstance(payload, dict) else {}
    kind = optional_text(fields.get("type")) or optional_text(fields.get("name"))
    if kind in _NEVER:
        return []
    # Any member can send a json-message: words are put into mouths by transcribers only.
    if kind == "transcription-result" and trusted:
        return [transcript_chunk(message, fields, transport)]
    if kind == "endpoint-reaction":
        return [_reaction(message, sender_id, fields)]
    unmapped = events.MessageEndpoint(kind=kind, keys=sorted(str(key) for key in fields))
    return [event(message, unmapped, sender_id)]


def _reaction(message: Message, sender_id: str | None, fields: dict[str, Any]) -> Event:
    given = fields.get("reactions")
    names = [name for name in given if isinstance(name, str)] if isinstance(given, list) else []
    sent_at = optional_milliseconds(fields.get("timestamp"))
    payload = events.ReactionSent(reactions=list(dict.fromkeys(names))[:_MOST_REACTIONS], sent_at=sent_at)
    return event(message, payload, sender_id, server_at=sent_at)


RULES = {
    "conference.messageReceived": chat_message,
    "conference.privateMessageReceived": private_message,
    "conference.messageRetracted": message_retracted,
    "conference.endpoint_message_received": endpoint_message,
    "conference.non_participant_message_received": non_participant_message,
}
