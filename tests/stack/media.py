"""Media sessions as jicofo keeps them: who has one, on which bridge, and what becomes of it when that fails. Test
equipment.

Times are a real jicofo's, in seconds; `pace` shortens those that only cost waiting. See docs/stack.md.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Protocol
from xml.etree.ElementTree import Element

from tests.stack.bridge_link import BridgeAway, BridgeLink
from tests.stack.jingle import (
    SOURCE_ACTIONS,
    accepted_transport,
    asks_for_restart,
    session_initiate,
    session_terminate,
    source_change,
)
from tests.stack.rooms import Room

logger = logging.getLogger(__name__)

RESTART_SECONDS = 0.1  # from a client's request for a new session to it
RESTART_INTERVAL_SECONDS, RESTARTS_A_MINUTE = 5, 5  # what one endpoint may ask for
DEATH_SECONDS = 16  # from the death of a bridge until jicofo gives it up
BACK_SOON_SECONDS = 2.7  # from its return before that until new sessions
BACK_LATE_SECONDS = 3.6  # … and after that
MOVE_SECONDS = 0.36  # from the end of a session to the next, when an endpoint is moved


@dataclass
class Restarts:
    """An endpoint's requests for new sessions."""

    at: deque[float] = field(default_factory=lambda: deque(maxlen=RESTARTS_A_MINUTE))

    def is_allowed(self, now: float) -> bool:
        """Count a request; False when it comes too early."""
        too_early = bool(self.at) and now - self.at[-1] < RESTART_INTERVAL_SECONDS
        too_many = len(self.at) == RESTARTS_A_MINUTE and now - self.at[0] < 60
        self.at.append(now)
        return not (too_early or too_many)


class Signalling(Protocol):
    """What media sessions need of the focus."""

    jid: str
    rooms: dict[str, Room]

    def send(self, stanza: str) -> None: ...
    def reply(self, iq: Element, payload: str = "") -> None: ...
    def reply_error(self, iq: Element, kind: str, condition: str, extra: str = "") -> None: ...
    def spawn(self, work: Coroutine[Any, Any, None]) -> None: ...


class MediaKeeper:
    """The media sessions of all rooms, on one bridge."""

    def __init__(
        self,
        focus: Signalling,
        bridge: BridgeLink,
        bridge_url: Callable[[str, str], str],
        *,
        by_data_channel: bool,
        pace: float,
        tell: Callable[[str, str], Awaitable[None]],
        rewrites_sources: Callable[[Room, str], Awaitable[bool]],
    ) -> None:
        self._focus = focus
        self._bridge = bridge
        self._bridge_url = bridge_url
        self._by_data_channel = by_data_channel
        self._pace = pace
        self._tell = tell
        self._rewrites_sources = rewrites_sources
        self._restarts: dict[str, Restarts] = {}  # by occupant
        self._is_given_up = False
        self.is_refusing = False  # requests for new sessions, as if one had come just before

    # Sessions -------------------------------------------------------------------------------------------------------

    async def offer(self, room: Room, endpoint_id: str, after: float = 0.0) -> None:
        """Invite a member, unless there is no bridge or it has lost its session for good."""
        sid = room.media.sid_by_endpoint[endpoint_id] = secrets.token_hex(6)
        await asyncio.sleep(after)
        room.media.rewriting.add(endpoint_id)  # until the offer, which holds the sources, nothing is said of them
        if not await self._rewrites_sources(room, endpoint_id):
            room.media.rewriting.discard(endpoint_id)
        try:
            transport = await self._transport(room, endpoint_id)
        except BridgeAway:
            room.media.forget(endpoint_id)
            return
        if room.media.sid_by_endpoint.get(endpoint_id) != sid:
            return  # gone meanwhile
        url = None if transport else self._bridge_url(room.name, endpoint_id)
        offer = session_initiate(sid, self._focus.jid, url, room.media.sources_for(endpoint_id), transport)
        await self._tell(room.occupant(endpoint_id), offer)

    async def _transport(self, room: Room, endpoint_id: str) -> dict[str, Any] | None:
        if not self._bridge.runs:
            raise BridgeAway("no bridge")
        if not self._by_data_channel:
            return None
        found: dict[str, Any] = await self._bridge.command("allocate", room=room.name, endpoint_id=endpoint_id)
        return found

    def offer_where_missing(self, room: Room, after: float = 0.0) -> None:
        """Invite all who have no session."""
        for member in room.people():
            if member.endpoint_id not in room.media.sid_by_endpoint and member.endpoint_id not in room.media.lost:
                self._focus.spawn(self.offer(room, member.endpoint_id, after))

    def renew(self, room: Room, reason: str, after: float = 0.0) -> None:
        """End every session of a room and invite anew."""
        for endpoint_id in list(room.media.sid_by_endpoint):
            self.end(room, endpoint_id, reason)
        self.offer_where_missing(room, after)

    def end(self, room: Room, endpoint_id: str, reason: str) -> None:
        """End a session; its endpoint may never answer."""
        sid = room.media.sid_by_endpoint.get(endpoint_id)
        if sid is None:
            return  # it has ended meanwhile
        room.media.forget(endpoint_id)
        self._focus.spawn(self._told(room.occupant(endpoint_id), session_terminate(sid, self._focus.jid, reason)))

    def move(self, room: Room, endpoint_id: str) -> None:
        """Move an endpoint, as an operator does: its session ends and the next begins."""
        self.end(room, endpoint_id, "moving")
        self._focus.spawn(self.offer(room, endpoint_id, MOVE_SECONDS * self._pace))

    # What clients say -----------------------------------------------------------------------------------------------

    def on_jingle(self, iq: Element, jingle: Element, room: Room, sender: str) -> None:
        """Do what a member's Jingle asks for."""
        action = jingle.get("action", "")
        if action == "session-terminate":
            self._on_terminate(iq, jingle, room, sender)
            return
        self._focus.reply(iq)
        if action == "session-accept" and self._by_data_channel:
            self._focus.spawn(self._connect(room, sender, jingle))
        if action in SOURCE_ACTIONS:
            changed = room.media.announced(sender, jingle, room.occupant(sender))
            if changed:
                self._tell_others(room, sender, "source-remove" if action == "source-remove" else "source-add", changed)

    def _on_terminate(self, iq: Element, jingle: Element, room: Room, sender: str) -> None:
        room.media.forget(sender)
        if not asks_for_restart(jingle):
            self._focus.reply(iq)
        elif self._may_restart(room.occupant(sender)):
            self._focus.reply(iq)
            self._focus.spawn(self.offer(room, sender, RESTART_SECONDS))
        else:
            room.media.lost.add(sender)
            self._focus.reply_error(iq, "wait", "resource-constraint")

    def _may_restart(self, occupant: str) -> bool:
        in_time = self._restarts.setdefault(occupant, Restarts()).is_allowed(time.monotonic())
        return in_time and not self.is_refusing

    async def _connect(self, room: Room, sender: str, jingle: Element) -> None:
        found = accepted_transport(jingle)
        if found is None:
            return
        try:
            await self._bridge.command("connect", room=room.name, endpoint_id=sender, **found)
        except BridgeAway as problem:
            logger.debug("%s", problem)

    def _tell_others(self, room: Room, sender: str, action: str, changed: dict[str, list[Element]]) -> None:
        for endpoint_id, sid in room.media.sid_by_endpoint.items():
            if endpoint_id != sender and endpoint_id not in room.media.rewriting:
                change = source_change(action, sid, self._focus.jid, changed)
                self._focus.spawn(self._told(room.occupant(endpoint_id), change))

    async def _told(self, occupant: str, jingle: str) -> None:
        await self._tell(occupant, jingle)

    # What becomes of the bridge -------------------------------------------------------------------------------------

    async def watch(self) -> None:
        """Give up a bridge that died, and invite anew when there is one; until cancelled."""
        while True:
            await self._bridge.changed.wait()
            self._bridge.changed.clear()
            if self._bridge.runs:
                self._is_back()
            else:
                self._focus.spawn(self._give_up())

    async def _give_up(self) -> None:
        await asyncio.sleep(DEATH_SECONDS * self._pace)
        if self._bridge.runs:
            return
        self._is_given_up = True
        for room in list(self._focus.rooms.values()):
            room.bridges = 0
            self._focus.send(room.focus_presence(self._focus.jid))
            for endpoint_id in list(room.media.sid_by_endpoint):
                self.end(room, endpoint_id, "moving")

    def _is_back(self) -> None:
        after = (BACK_LATE_SECONDS if self._is_given_up else BACK_SOON_SECONDS) * self._pace
        self._is_given_up = False
        for room in self._focus.rooms.values():
            if room.bridges == 0:
                room.bridges = 1
                self._focus.send(room.focus_presence(self._focus.jid))
            self._focus.spawn(self._renewed(room, after))

    async def _renewed(self, room: Room, after: float) -> None:
        await asyncio.sleep(after)
        self.renew(room, "moving")
