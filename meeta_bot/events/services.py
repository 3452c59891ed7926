"""Recordings, transcription, chat and messages."""

from __future__ import annotations

from enum import StrEnum

from meeta_bot.events.catalog import Payload, Privacy, event_type


class _Recording(Payload):
    session_id: str
    mode: str | None = None


@event_type("recording.pending", "conference.recorderStateChanged")
class RecordingPending(_Recording):
    """A recording or a stream was asked for."""


@event_type("recording.started", "conference.recorderStateChanged")
class RecordingStarted(_Recording):
    """Jitsi's own recorder records to a file."""

    initiator_endpoint_id: str | None = None


@event_type("recording.stopped", "conference.recorderStateChanged")
class RecordingStopped(_Recording):
    """Jitsi's own recorder stopped."""

    terminator_endpoint_id: str | None = None
    duration_ms: int | None = None


@event_type("recording.failed", "conference.recorderStateChanged")
class RecordingFailed(_Recording, kw_only=True):
    """Jitsi's own recorder could not."""

    error: str


@event_type("stream.started", "conference.recorderStateChanged")
class StreamStarted(_Recording):
    """A live stream runs."""

    initiator_endpoint_id: str | None = None


@event_type("stream.stopped", "conference.recorderStateChanged")
class StreamStopped(_Recording):
    """The live stream stopped."""

    terminator_endpoint_id: str | None = None
    duration_ms: int | None = None


class TranscriptionMode(StrEnum):
    """The kinds of transcribers: jigasi as a hidden occupant, or the bridge's asynchronous backend."""

    JIGASI = "jigasi"
    ASYNC = "async"


@event_type("transcription.started", "conference.transcriptionStatusChanged")
class TranscriptionStarted(Payload):
    """A transcriber listens."""

    mode: TranscriptionMode
    transcriber_endpoint_id: str | None = None


@event_type("transcription.stopped", "conference.transcriptionStatusChanged")
class TranscriptionStopped(Payload):
    """No transcriber listens any more; ``abrupt`` when it vanished."""

    mode: TranscriptionMode
    abrupt: bool = False


@event_type("transcript.chunk", "conference.endpoint_message_received", Privacy.CONTENT)
class TranscriptChunk(Payload):
    """Somebody said something, as a transcriber wrote it. The event's endpoint is the speaker."""

    text: str
    message_id: str | None = None
    is_interim: bool = False
    language: str | None = None
    confidence: float | None = None
    stability: float | None = None
    speaker_name: str | None = None
    transport: str = "jigasi"


@event_type("chat.message", "conference.messageReceived", Privacy.CONTENT)
class ChatMessage(Payload):
    """A message to all. ``history`` when the server replayed it to us.

    ``display_name`` is the writer's in the room, ``claimed_name`` what the message itself says; where the writer is not
    known, both are the latter.
    """

    text: str
    message_id: str | None = None
    display_name: str | None = None
    claimed_name: str | None = None
    history: bool = False
    is_visitor: bool = False
    reply_to: str | None = None


@event_type("chat.private_message", "conference.privateMessageReceived", Privacy.CONTENT)
class ChatPrivateMessage(Payload):
    """A private message to the bot; its names as in ``chat.message``."""

    text: str
    message_id: str | None = None
    display_name: str | None = None
    claimed_name: str | None = None


@event_type("chat.message_retracted", "conference.messageRetracted")
class ChatMessageRetracted(Payload):
    """Somebody took a message to all back (XEP-0424). What it said stays where it is recorded."""

    message_id: str


@event_type("reaction.sent", "conference.endpoint_message_received")
class ReactionSent(Payload):
    """Somebody reacted; ``sent_at`` is the sender's clock."""

    reactions: list[str]
    sent_at: int | None = None


@event_type("message.endpoint", "conference.endpoint_message_received", Privacy.CONTENT)
class MessageEndpoint(Payload):
    """A message between clients without a type of its own: its kind and the names of its fields, not its content."""

    kind: str | None
    keys: list[str]
