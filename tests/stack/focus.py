"""The conference focus: stands in for jicofo. Test equipment.

On a conference request it makes the room by entering it, gives the first participant the moderator's rights
(and another one when he leaves), offers media sessions as soon as there are two members, relays sources and
mute requests, announces recordings in its presence, and leaves with the last person. Unlike jicofo it never
expires the session of a member who is left alone, keeps no conference in breakout rooms and has no AV moderation.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from xml.etree.ElementTree import Element

from tests.stack.bridge_link import BridgeLink
from tests.stack.component import Component, StanzaError, muc_item, wait_for
from tests.stack.hidden import HiddenOccupants
from tests.stack.media import MediaKeeper
from tests.stack.rooms import FOCUS_NICK, ConferenceFault, Member, Recording, Room
from tests.stack.stanzas import (
    DISCO_INFO,
    FOCUS,
    JIBRI,
    JINGLE,
    JITMEET,
    MUC_ADMIN,
    MUC_OWNER,
    NICK,
    STACK_BREAKOUTS,
    STANZAS,
    element,
    qualified,
    split_tag,
    text,
)

logger = logging.getLogger(__name__)

DEFAULT_MEMBERS_FOR_MEDIA = 2  # jicofo's min-participants
ENTRY_TRIES = 5  # of the focus, for one conference request
ENTRY_PAUSE_SECONDS = 0.1  # between them
MUTE_NAMESPACES = {f"{JITMEET}/{media}" for media in ("audio", "video", "desktop")}
SOURCE_REWRITING = "http://jitsi.org/ssrc-rewriting-1"
ROOM_CONFIG = "http://jabber.org/protocol/muc#roomconfig"


class ConferenceError(Exception):
    """A command that makes no sense now; the text says why."""


class Focus(Component):
    """focus@<domain>, in every room under the nick `focus`."""

    def __init__(
        self,
        domain: str,
        secret: str,
        port: Callable[[], int],
        hidden: HiddenOccupants,
        bridge: BridgeLink,
        bridge_url: Callable[[str, str], str],
        members_for_media: int = DEFAULT_MEMBERS_FOR_MEDIA,
        *,
        by_data_channel: bool = False,
        media_pace: float = 1.0,
    ) -> None:
        super().__init__(domain, secret, port)
        self.bare_jid = f"focus@{domain}"
        self.jid = f"{self.bare_jid}/local"
        self.rooms: dict[str, Room] = {}
        self._leaving: dict[str, asyncio.Event] = {}  # room → the server confirmed that the focus is out of it
        self.faults: dict[str | None, ConferenceFault] = {}  # by room; None is every room
        self.on_room_empty: Callable[[str], None] = lambda room_name: None
        self._hidden = hidden
        self._members_for_media = members_for_media
        self.media = MediaKeeper(
            self,
            bridge,
            bridge_url,
            by_data_channel=by_data_channel,
            pace=media_pace,
            tell=self._tell,
            rewrites_sources=self._rewrites_sources,
        )

    # Requests -------------------------------------------------------------------------------------------------------

    async def on_iq(self, iq: Element, payload: Element) -> None:
        namespace, name = split_tag(payload)
        if (namespace, name) == (FOCUS, "conference"):
            await self._on_conference_request(iq, payload)
        elif namespace == JINGLE:
            room, sender = self._room_and_nick(iq.get("from", ""))
            if room is None or sender not in room.members:
                self.reply(iq)
            else:
                self.media.on_jingle(iq, payload, room, sender)
        elif namespace == JIBRI:
            await self._on_recording_request(iq, payload)
        elif name == "mute" and namespace in MUTE_NAMESPACES:
            await self._on_mute_request(iq, payload)
        elif namespace == DISCO_INFO:
            identity = element("identity", {"category": "component", "type": "generic", "name": "focus"})
            self.reply(iq, element("query", {"xmlns": DISCO_INFO}, identity))
        elif name == "ping":
            self.reply(iq)
        else:
            self.reply_error(iq, "cancel", "service-unavailable")

    async def _on_conference_request(self, iq: Element, request: Element) -> None:
        room_jid = request.get("room", "")
        fault = self._take_fault(room_jid.partition("@")[0])
        if fault is not None and fault.condition == "silence":
            return
        if fault is not None and fault.condition != "not-ready":
            self._answer_with_fault(iq, fault)
            return
        try:
            await self._enter(room_jid)
        except StanzaError as problem:
            logger.error("%s", problem)
            self.reply_error(iq, "wait", "internal-server-error")
            return
        attributes = {
            "xmlns": FOCUS,
            "ready": "false" if fault else "true",
            "focusjid": self.bare_jid,
            "room": room_jid,
        }
        self.reply(
            iq, element("conference", attributes, element("property", {"name": "authentication", "value": "false"}))
        )

    def _take_fault(self, room: str) -> ConferenceFault | None:
        key = room if room in self.faults else None
        fault = self.faults.get(key)
        if fault is not None:
            fault.remaining -= 1
            if fault.remaining <= 0:
                del self.faults[key]
        return fault

    def _answer_with_fault(self, iq: Element, fault: ConferenceFault) -> None:
        explanation = element("text", {"xmlns": STANZAS}, text(fault.text)) if fault.text else ""
        if fault.condition == "reservation-error":
            refusal = element("reservation-error", {"xmlns": FOCUS, "error-code": "403"})
            self.reply_error(iq, "cancel", "service-unavailable", explanation + refusal)
        elif fault.condition == "graceful-shutdown":
            self.reply_error(iq, "cancel", "service-unavailable", element("graceful-shutdown", {"xmlns": FOCUS}))
        else:
            self.reply_error(iq, "auth", fault.condition, explanation)

    async def _enter(self, room_jid: str) -> Room:
        """Be in the room: a request is answered only then, as jicofo answers it.

        A room that the focus is just leaving is left first: the server's word that it is out would else be taken for
        the end of the next meeting.
        """
        for _ in range(ENTRY_TRIES):
            if (left := self._leaving.get(room_jid)) is not None:
                await wait_for(left.wait(), f"the focus's departure from {room_jid}")
            room = self.rooms.get(room_jid)
            if room is None:
                room = self.rooms[room_jid] = Room(room_jid)
                self.send(room.focus_presence(self.jid, joining=True))
            await wait_for(room.focus_joined.wait(), f"the focus's entry into {room_jid}")
            if self.rooms.get(room_jid) is room:
                return room
            await asyncio.sleep(ENTRY_PAUSE_SECONDS)
        raise StanzaError(f"the focus did not get into {room_jid}")

    async def _on_mute_request(self, iq: Element, mute: Element) -> None:
        """Pass it on to the one to be muted; only moderators may mute others (jicofo's MuteIqHandler)."""
        room, sender = self._room_and_nick(iq.get("from", ""))
        target = mute.get("jid", "")
        if room is None or (sender != target.rpartition("/")[2] and not room.is_moderator(sender)):
            self.reply_error(iq, "cancel", "not-allowed")
            return
        self.reply(iq)
        if sender != target.rpartition("/")[2]:
            attributes = {"xmlns": split_tag(mute)[0], "jid": target, "actor": iq.get("from")}
            await self.request("set", self.jid, target, element("mute", attributes, text(mute.text or "true")))

    async def _on_recording_request(self, iq: Element, request: Element) -> None:
        room, sender = self._room_and_nick(iq.get("from", ""))
        if room is None or not room.is_moderator(sender):
            self.reply_error(iq, "cancel", "not-allowed")
        elif request.get("action") == "start":
            recording = self._prepare_recording(room, request.get("recording_mode") or "file", sender)
            attributes = {"xmlns": JIBRI, "status": "pending", "session_id": recording.session_id}
            self.reply(iq, element("jibri", attributes | {"recording_mode": recording.mode}))
            await self._begin_recording(room, recording)
        elif room.recording is None or room.recording.status == "off":
            self.reply_error(iq, "cancel", "item-not-found")
        else:
            session_id = room.recording.session_id
            self.reply(iq, element("jibri", {"xmlns": JIBRI, "status": "off", "session_id": session_id}))
            self.stop_recording(room.name, session_id, sender)

    # Rooms ----------------------------------------------------------------------------------------------------------

    def on_presence(self, presence: Element) -> None:
        room, nick = self._room_and_nick(presence.get("from", ""))
        kind = presence.get("type")
        if nick == FOCUS_NICK and kind is not None:
            self._on_departed(presence.get("from", "").partition("/")[0])
        if room is None:
            return
        if nick == FOCUS_NICK:
            self._on_own_presence(room, kind)
        elif kind == "unavailable":
            self._on_member_left(room, nick)
        elif kind is None:
            self._on_member_present(room, nick, presence)

    def _on_own_presence(self, room: Room, kind: str | None) -> None:
        if kind is None:
            room.focus_joined.set()
            return
        if kind == "error":
            logger.error("the focus was refused in %s", room.jid)
        self.rooms.pop(room.jid, None)
        room.focus_joined.set()  # whoever waits for it sees that it is none of our rooms
        self._hidden.forget_room(room.jid)
        self.on_room_empty(room.name)

    def _on_departed(self, room_jid: str) -> None:
        if (left := self._leaving.pop(room_jid, None)) is not None:
            left.set()

    def _on_member_present(self, room: Room, nick: str, presence: Element) -> None:
        item = muc_item(presence)
        if item is None:
            return
        real_jid = item.get("jid", "")
        name = presence.findtext(qualified(NICK, "nick"), "")
        hidden = self._hidden.domain == real_jid.partition("/")[0].rpartition("@")[2]
        is_new = nick not in room.members
        room.members[nick] = Member(nick, real_jid, item.get("role", "none"), name, hidden)
        if not is_new:
            return
        if not hidden and room.moderator is None:
            self._appoint(room, room.members[nick])
        if len(room.members) >= self._members_for_media:
            self.media.offer_where_missing(room)

    def _on_member_left(self, room: Room, nick: str) -> None:
        room.members.pop(nick, None)
        room.media.forget(nick)
        room.media.lost.discard(nick)
        people = room.people()
        if not people:
            self._hidden.leave_room(room.jid)
            self.send(element("presence", {"type": "unavailable", "from": self.jid, "to": room.focus_occupant}))
            self.rooms.pop(room.jid, None)
            self._leaving[room.jid] = asyncio.Event()
            self.on_room_empty(room.name)
        elif room.moderator == nick:
            room.moderator = None
            if not any(member.role == "moderator" for member in people):
                self._appoint(room, people[0])

    def _appoint(self, room: Room, member: Member) -> None:
        """Owner affiliation makes a moderator; jicofo does so for the first one who comes."""
        room.moderator = member.endpoint_id
        self.spawn(self._set_affiliation(room, member.bare_jid, "owner"))

    async def _set_affiliation(self, room: Room, bare_jid: str, affiliation: str) -> None:
        item = element("item", {"affiliation": affiliation, "jid": bare_jid})
        await self.request("set", self.jid, room.jid, element("query", {"xmlns": MUC_ADMIN}, item))

    def on_disconnected(self) -> None:
        self.rooms.clear()
        for room_jid in list(self._leaving):
            self._on_departed(room_jid)

    # Media sessions -------------------------------------------------------------------------------------------------

    async def _rewrites_sources(self, room: Room, endpoint_id: str) -> bool:
        """Whether the bridge, not the focus, tells this one of the others' sources; libraries since 2022 say so."""
        try:
            answer = await self.request(
                "get", self.jid, room.occupant(endpoint_id), element("query", {"xmlns": DISCO_INFO})
            )
        except StanzaError:
            return False  # gone, or without service discovery
        features = answer.iter(qualified(DISCO_INFO, "feature"))
        return any(feature.get("var") == SOURCE_REWRITING for feature in features)

    async def _tell(self, occupant: str, jingle: str) -> None:
        """Send Jingle; one who is gone or refuses (a peer without Jingle) is no error of the focus."""
        try:
            await self.request("set", self.jid, occupant, jingle)
        except StanzaError as refusal:
            logger.debug("%s: %s", occupant, refusal)

    # Commands of the tests ------------------------------------------------------------------------------------------

    def room(self, name: str) -> Room:
        """The room of that name; an error when nobody is in it."""
        for room in self.rooms.values():
            if room.name == name:
                return room
        raise ConferenceError(f"nobody is in the room {name}")

    async def start_recording(self, room_name: str, initiator: str, mode: str, names_session: bool = True) -> str:
        """What a moderator's request does, without the request."""
        room = self.room(room_name)
        recording = self._prepare_recording(room, mode, initiator)
        await self._begin_recording(room, recording, names_session)
        return recording.session_id

    def _prepare_recording(self, room: Room, mode: str, initiator: str) -> Recording:
        recording = Recording(secrets.token_hex(8), mode, "pending", room.occupant(initiator))
        room.recording = recording
        self.send(room.focus_presence(self.jid))
        return recording

    async def _begin_recording(self, room: Room, recording: Recording, names_session: bool = True) -> None:
        """Announce `on` when the recorder is in the room, as jicofo does when jibri reports that it records."""
        named = recording.session_id if names_session else None
        await self._hidden.join_recorder(room.jid, named, recording.mode)
        recording.status = "on"
        self.send(room.focus_presence(self.jid))

    def stop_recording(
        self, room_name: str, session_id: str, terminator: str | None, failure: str | None = None
    ) -> None:
        """Announce `off`, with a failure reason if it broke, and let the recorder leave."""
        room = self.room(room_name)
        if room.recording is None or room.recording.session_id != session_id:
            raise ConferenceError(f"the room {room_name} has no recording {session_id}")
        room.recording.status = "off"
        room.recording.failure = failure
        room.recording.actor = room.occupant(terminator) if terminator else None
        self.send(room.focus_presence(self.jid))
        self._hidden.leave_recorder(room.jid)

    async def destroy_room(self, room_name: str, reason: str) -> None:
        """XEP-0045, 10.9: what the `end meeting for all` of a moderator comes to."""
        destroy = element("destroy", {}, element("reason", {}, text(reason)))
        await self.request("set", self.jid, self.room(room_name).jid, element("query", {"xmlns": MUC_OWNER}, destroy))

    async def breakouts(self, room_name: str, **command: str | None) -> None:
        """Command the server's breakout rooms: see plugins/mod_stack_breakouts.lua."""
        attributes = {"xmlns": STACK_BREAKOUTS, "room": room_name, **command}
        host = self.room(room_name).jid.partition("@")[2]
        await self.request("set", self.jid, host, element("breakouts", attributes))

    async def set_password(self, room_name: str, password: str) -> None:
        """Lock or, with an empty password, unlock."""
        protected = "1" if password else "0"
        fields = {"muc#roomconfig_roomsecret": password, "muc#roomconfig_passwordprotectedroom": protected}
        await self._configure(self.room(room_name), fields)

    async def set_lobby(self, room_name: str, enabled: bool) -> None:
        """Members only, after those who are in have been made members, as lib-jitsi-meet's moderator does it."""
        room = self.room(room_name)
        if enabled:
            for member in room.people():
                if member.role != "moderator":
                    await self._set_affiliation(room, member.bare_jid, "member")
        await self._configure(room, {"muc#roomconfig_membersonly": "1" if enabled else "0"})

    async def _configure(self, room: Room, fields: dict[str, str]) -> None:
        values = {"FORM_TYPE": ROOM_CONFIG, "muc#roomconfig_whois": "anyone"} | fields
        form = (element("field", {"var": name}, element("value", {}, text(value))) for name, value in values.items())
        data = element("x", {"xmlns": "jabber:x:data", "type": "submit"}, *form)
        await self.request("set", self.jid, room.jid, element("query", {"xmlns": MUC_OWNER}, data))

    async def terminate(self) -> None:
        """Go away as jicofo on SIGTERM: out of all rooms at once, without ending media sessions."""
        rooms, self.rooms = self.rooms, {}  # what the server says of the departure ends no meeting
        for room in rooms.values():
            self.send(element("presence", {"type": "unavailable", "from": self.jid, "to": room.focus_occupant}))
        await self.stop()

    async def restart_media(self, room_name: str) -> None:
        """Terminate every session and offer anew, as jicofo does when a bridge fails."""
        self.media.renew(self.room(room_name), "gone")

    async def move_media(self, room_name: str, endpoint_id: str) -> None:
        """Move one endpoint to another session, as an operator can."""
        self.media.move(self.room(room_name), endpoint_id)

    def _room_and_nick(self, occupant: str) -> tuple[Room | None, str]:
        room_jid, _, nick = occupant.partition("/")
        return self.rooms.get(room_jid), nick
