"""Transcription: transcribers that come and go, and their transcripts."""

from __future__ import annotations

from typing import Any

import msgspec

from meeta_bot import events
from meeta_bot.capture.normalize.arguments import Number, argument, event, optional_milliseconds, optional_text
from meeta_bot.capture.normalize.state import Message, State, updated
from meeta_bot.events import Event, TranscriptionMode

ASYNC_PROPERTY = "audio-recording-enabled"  # the focus says with it that the asynchronous backend transcribes


class _Speaker(msgspec.Struct):
    id: str | None = None
    name: str | None = None


class _Alternative(msgspec.Struct):
    text: str
    confidence: Number | None = None


class _Result(msgspec.Struct):
    transcript: list[_Alternative]
    participant: _Speaker = msgspec.field(default_factory=_Speaker)
    message_id: str | None = None
    is_interim: bool = False
    language: str | None = None
    stability: Number | None = None
    timestamp: Any = None


def status_changed(state: State, message: Message) -> tuple[State, list[Event]]:
    """TRANSCRIPTION_STATUS_CHANGED(status, transcriber's id, left abruptly); libraries of 2021 give the first only."""
    on = argument(message, 0) == "ON"
    if on:
        return _switch(state, message, TranscriptionMode.JIGASI, transcriber=optional_text(argument(message, 1)))
    return _switch_off(state, message, TranscriptionMode.JIGASI, abrupt=argument(message, 2) is True)


def async_property(state: State, message: Message, value: str | None) -> tuple[State, list[Event]]:
    """Take the value of the conference property of the asynchronous backend."""
    if value == "true":
        return _switch(state, message, TranscriptionMode.ASYNC)
    return _switch_off(state, message, TranscriptionMode.ASYNC)


def transcriber_left(state: State, message: Message) -> tuple[State, list[Event]]:
    """Stop the transcription of a transcriber that left the room without a word."""
    return _switch_off(state, message, TranscriptionMode.JIGASI, abrupt=True)


def _switch(
    state: State, message: Message, mode: TranscriptionMode, transcriber: str | None = None
) -> tuple[State, list[Event]]:
    if mode in state.transcribing:
        return state, []
    payload = events.TranscriptionStarted(mode=mode, transcriber_endpoint_id=transcriber)
    started = event(message, payload, initial=not state.in_conference)
    return updated(state, transcribing=[*state.transcribing, mode]), [started]


def _switch_off(
    state: State, message: Message, mode: TranscriptionMode, *, abrupt: bool = False
) -> tuple[State, list[Event]]:
    if mode not in state.transcribing:
        return state, []
    rest = [other for other in state.transcribing if other is not mode]
    stopped = event(message, events.TranscriptionStopped(mode=mode, abrupt=abrupt))
    return updated(state, transcribing=rest), [stopped]


def transcript_chunk(message: Message, payload: dict[str, Any], transport: str) -> Event:
    """Take a ``transcription-result`` from a sender that is trusted to transcribe.

    :raises msgspec.ValidationError: it is not of that shape.
    """
    result = msgspec.convert(payload, _Result, strict=False)
    best = result.transcript[0] if result.transcript else _Alternative("")
    chunk = events.TranscriptChunk(
        text=best.text,
        message_id=result.message_id,
        is_interim=result.is_interim,
        language=result.language,
        confidence=best.confidence,
        stability=result.stability,
        speaker_name=result.participant.name,
        transport=transport,
    )
    server_at = optional_milliseconds(result.timestamp)
    return event(message, chunk, result.participant.id, server_at=server_at)


RULES = {"conference.transcriptionStatusChanged": status_changed}
