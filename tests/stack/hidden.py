"""The recorder and the transcriber: occupants from the hidden domain. Test equipment.

They stand in for jibri and jigasi as far as a room sees them: their presence, and the transcriber's results.
The deployment's `hiddenDomain` in config.js names their domain, so that clients don't show them as people.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element

from tests.stack.component import Component, StanzaError, wait_for
from tests.stack.stanzas import JITMEET, MUC, NICK, element, text

RECORDER_FEATURE = "http://jitsi.org/protocol/jibri"
TRANSCRIBER_FEATURE = "http://jitsi.org/protocol/transcriber"
TRANSCRIBER_NICK = "transcriber"
CONFIDENCE_OF_INTERIM = 0.5
CONFIDENCE_OF_FINAL = 0.93


@dataclass
class Transcript:
    """One result of the transcriber, interim or final."""

    endpoint_id: str
    name: str
    text: str
    message_id: str
    language: str = "en-US"
    interim: bool = False

    def payload(self) -> dict[str, Any]:
        """As jigasi writes it into a json-message, and the bridge into a message from `transcriber`."""
        return {
            "type": "transcription-result",
            "transcript": [
                {"text": self.text, "confidence": CONFIDENCE_OF_INTERIM if self.interim else CONFIDENCE_OF_FINAL}
            ],
            "is_interim": self.interim,
            "language": self.language,
            "message_id": self.message_id,
            "participant": {"id": self.endpoint_id, "name": self.name},
            "event": "SPEECH",
            "stability": 0.0,
            "timestamp": int(time.time() * 1000),
        }


class HiddenOccupants(Component):
    """Occupants whose real addresses are on the hidden domain."""

    def __init__(self, domain: str, secret: str, port: Callable[[], int]) -> None:
        super().__init__(domain, secret, port)
        self._recorders: dict[str, str] = {}  # room address → occupant address
        self._transcribers: dict[str, str] = {}
        self._joining: dict[str, asyncio.Event] = {}  # occupant address → its own presence came back

    async def join_recorder(self, room_jid: str, session_id: str | None, mode: str) -> None:
        """A recorder comes in; its session id, if it gives one, makes the recording's status `on` in the library."""
        occupant = f"{room_jid}/jibri-{secrets.token_hex(4)}"
        self._recorders[room_jid] = occupant
        identity = "" if session_id is None else element("session_id", {}, session_id) + element("mode", {}, mode)
        await self._join(occupant, "recorder", RECORDER_FEATURE, identity)

    def leave_recorder(self, room_jid: str) -> None:
        """The recorder goes, if there is one."""
        self._leave(self._recorders.pop(room_jid, None))

    async def start_transcription(self, room_jid: str) -> None:
        """The transcriber comes in and says that it is at work."""
        if room_jid in self._transcribers:
            raise StanzaError(f"{room_jid} has a transcriber already")
        occupant = self._transcribers[room_jid] = f"{room_jid}/{TRANSCRIBER_NICK}"
        await self._join(occupant, "Transcriber", TRANSCRIBER_FEATURE, _transcription_status("ON"))

    def stop_transcription(self, room_jid: str) -> None:
        """It says that it has stopped, then goes."""
        occupant = self._transcribers.pop(room_jid, None)
        if occupant is None:
            raise StanzaError(f"{room_jid} has no transcriber")
        self.send(self._presence(occupant, "Transcriber", TRANSCRIBER_FEATURE, _transcription_status("OFF")))
        self._leave(occupant)

    def transcribe(self, room_jid: str, transcript: Transcript) -> None:
        """A result, as a groupchat json-message."""
        if room_jid not in self._transcribers:
            raise StanzaError(f"{room_jid} has no transcriber")
        message = element("json-message", {"xmlns": JITMEET}, text(json.dumps(transcript.payload())))
        sender = _real_jid(self.domain, self._transcribers[room_jid])
        self.send(element("message", {"type": "groupchat", "from": sender, "to": room_jid}, message))

    def leave_room(self, room_jid: str) -> None:
        """Nobody is left: recorder and transcriber go, too."""
        self.leave_recorder(room_jid)
        self._leave(self._transcribers.pop(room_jid, None))

    def forget_room(self, room_jid: str) -> None:
        """The room is gone, and they with it."""
        self._recorders.pop(room_jid, None)
        self._transcribers.pop(room_jid, None)

    def on_presence(self, presence: Element) -> None:
        occupant = presence.get("from", "")
        if presence.get("type") is None and occupant in self._joining:
            self._joining[occupant].set()

    def on_disconnected(self) -> None:
        self._recorders.clear()
        self._transcribers.clear()

    async def _join(self, occupant: str, name: str, feature: str, more: str) -> None:
        joined = self._joining[occupant] = asyncio.Event()
        self.send(self._presence(occupant, name, feature, element("x", {"xmlns": MUC}) + more))
        try:
            await wait_for(joined.wait(), f"the entry of {occupant}")
        finally:
            del self._joining[occupant]

    def _presence(self, occupant: str, name: str, feature: str, more: str) -> str:
        return element(
            "presence",
            {"from": _real_jid(self.domain, occupant), "to": occupant},
            element("nick", {"xmlns": NICK}, name),
            element("features", {}, element("feature", {"var": feature})),
            more,
        )

    def _leave(self, occupant: str | None) -> None:
        if occupant is not None:
            sender = _real_jid(self.domain, occupant)
            self.send(element("presence", {"type": "unavailable", "from": sender, "to": occupant}))


def _real_jid(domain: str, occupant: str) -> str:
    """One account for each nick, one resource for each room."""
    room_jid, _, nick = occupant.partition("/")
    account = TRANSCRIBER_NICK if nick == TRANSCRIBER_NICK else "recorder"
    return f"{account}@{domain}/{room_jid.partition('@')[0]}"


def _transcription_status(status: str) -> str:
    return element("transcription-status", {"xmlns": "http://jitsi.org/protocol/transcriber", "status": status})
