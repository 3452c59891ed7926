"""What the focus knows of a conference room: members, moderator, recording, media sessions. Test equipment."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from tests.stack.jingle import MediaSessions
from tests.stack.stanzas import FOCUS, JIBRI, JITMEET, MUC, NICK, element

FOCUS_NICK = "focus"  # lib-jitsi-meet takes a Jingle sender with any other nick for a P2P peer


@dataclass
class Member:
    """An occupant beside the focus. Its nick in the room is its endpoint id."""

    endpoint_id: str
    real_jid: str
    role: str
    name: str
    hidden: bool

    @property
    def bare_jid(self) -> str:
        return self.real_jid.partition("/")[0]


@dataclass
class Recording:
    """A jibri session as jicofo announces it."""

    session_id: str
    mode: str
    status: str
    actor: str | None  # who started it, or who stopped it: the attribute is called initiator in both cases
    failure: str | None = None

    def announcement(self) -> str:
        attributes = {
            "xmlns": JIBRI,
            "status": self.status,
            "initiator": self.actor,
            "failure_reason": self.failure,
            "recording_mode": self.mode,
            "session_id": self.session_id,
        }
        return element("jibri-recording-status", attributes)


@dataclass
class Room:
    """One room the focus is in. Members are in the order of their coming."""

    jid: str
    focus_joined: asyncio.Event = field(default_factory=asyncio.Event)  # or it was refused, and the room is forgotten
    members: dict[str, Member] = field(default_factory=dict)
    moderator: str | None = None  # the one whom the focus appointed; others may have been appointed by him
    recording: Recording | None = None
    media: MediaSessions = field(default_factory=MediaSessions)
    bridges: int = 1  # that the focus knows
    created_ms: int = field(default_factory=lambda: int(time.time() * 1000))

    @property
    def name(self) -> str:
        return self.jid.partition("@")[0]

    @property
    def focus_occupant(self) -> str:
        return f"{self.jid}/{FOCUS_NICK}"

    def occupant(self, endpoint_id: str) -> str:
        """The member's address in the room."""
        return f"{self.jid}/{endpoint_id}"

    def people(self) -> list[Member]:
        """Members who are neither recorder nor transcriber."""
        return [member for member in self.members.values() if not member.hidden]

    def is_moderator(self, endpoint_id: str) -> bool:
        member = self.members.get(endpoint_id)
        return member is not None and member.role == "moderator"

    def focus_presence(self, focus_jid: str, joining: bool = False) -> str:
        """The focus's presence: versions and conference properties as jicofo's, and the recording if there is one."""
        properties = {
            "support-terminate-restart": "true",
            "created-ms": str(self.created_ms),
            "bridge-count": str(self.bridges),
        }
        return element(
            "presence",
            {"from": focus_jid, "to": self.focus_occupant},
            element("x", {"xmlns": MUC}) if joining else "",
            element("nick", {"xmlns": NICK}, FOCUS_NICK),
            element("versions", {"xmlns": JITMEET}, element("component", {"name": "focus"}, "local test stack")),
            element(
                "conference-properties",
                {"xmlns": FOCUS},
                *(element("property", {"key": key, "value": value}) for key, value in properties.items()),
            ),
            element("bridgeNotAvailable", {"xmlns": JITMEET}) if self.bridges == 0 else "",
            self.recording.announcement() if self.recording else "",
        )


@dataclass
class ConferenceFault:
    """How the next conference requests are answered: `not-ready`, `silence`, or the condition of an error."""

    condition: str
    remaining: int
    text: str = ""
