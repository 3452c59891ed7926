"""The bridge's side of its channels: stands in for jitsi-videobridge. Test equipment.

It greets, answers ClientHello at any time, relays endpoint messages and stats, and says who the dominant speaker is; as
the real bridge, it says so again to each channel that opens. A channel is a websocket (web_channel) or a data channel
(data_channel.py); what is said on it is the same. No media is received or sent, so who speaks is a command of the
tests.
"""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass, field
from typing import Any, Protocol

from aiohttp import WSCloseCode, WSMsgType, web

logger = logging.getLogger(__name__)

PREVIOUS_SPEAKERS = 3  # the real bridge names up to ten
TRANSCRIBER = "transcriber"
HELLO = {"colibriClass": "ServerHello", "version": "local test stack"}

Message = dict[str, Any]


class Channel(Protocol):
    """The way to one endpoint."""

    async def send(self, message: Message) -> None:
        """Send a message; one that is closed takes it to nobody."""

    async def close(self, code: int) -> None:
        """Close it, by a websocket's close code where it is one."""


@dataclass
class RoomChannels:
    """The open channels of one room by endpoint id, and its speakers, the newest first."""

    channels: dict[str, Channel] = field(default_factory=dict)
    speakers: list[str] = field(default_factory=list)
    silence: bool = False

    def dominant_speaker_message(self) -> Message:
        """DominantSpeakerEndpointChangeEvent as the bridge sends it since 2022; older libraries skip `silence`."""
        return {
            "colibriClass": "DominantSpeakerEndpointChangeEvent",
            "dominantSpeakerEndpoint": self.speakers[0],
            "previousSpeakers": self.speakers[1 : PREVIOUS_SPEAKERS + 1],
            "silence": self.silence,
        }


class Bridge:
    """Every room's channels. The public coroutines are commands of the tests."""

    def __init__(self) -> None:
        self._rooms: dict[str, RoomChannels] = {}
        self._refusing = False  # websockets
        self._deaf = False  # channels open, and nothing passes on them either way, then or ever
        self._dead: list[Channel] = []
        self._changes: list[Message] = []

    async def opened(self, room_name: str, endpoint_id: str, channel: Channel) -> None:
        """Greet an endpoint whose channel has opened."""
        room = self._rooms.setdefault(room_name, RoomChannels())
        room.channels[endpoint_id] = channel
        if self._deaf:
            self._dead.append(channel)
        await self._send(room, endpoint_id, HELLO)
        await self._send(room, endpoint_id, {"colibriClass": "ForwardedSources", "forwardedSources": []})
        if room.speakers:
            await self._send(room, endpoint_id, room.dominant_speaker_message())

    def closed(self, room_name: str, endpoint_id: str, channel: Channel) -> None:
        """Forget a channel, unless the endpoint has another by now."""
        room = self._rooms.get(room_name)
        self._dead = [one for one in self._dead if one is not channel]
        if room is not None and room.channels.get(endpoint_id) is channel:
            del room.channels[endpoint_id]

    async def heard(self, room_name: str, sender: str, message: Message) -> None:
        """Do what a message of an endpoint asks for."""
        room, kind = self._rooms.get(room_name), message.get("colibriClass")
        if room is None or room.channels.get(sender) in self._dead:
            return
        if kind == "EndpointMessage":
            relayed = {"colibriClass": kind, "from": sender, "to": message.get("to", "")}
            await self._relay(room, sender, relayed | {"msgPayload": message.get("msgPayload")})
        elif kind == "EndpointStats":
            await self._relay(room, sender, message | {"from": sender})
        elif kind == "ClientHello":
            await self._send(room, sender, HELLO)
        # Constraints, video types and the like steer media, which there is none of.

    async def _relay(self, room: RoomChannels, sender: str, message: Message) -> None:
        """To one endpoint, or to everybody else when `to` is empty."""
        to = message.get("to", "")
        for endpoint_id in list(room.channels):
            if endpoint_id != sender and to in ("", endpoint_id):
                await self._send(room, endpoint_id, message)

    async def _send(self, room: RoomChannels, endpoint_id: str, message: Message) -> None:
        channel = room.channels.get(endpoint_id)
        if channel is None or channel in self._dead:
            return
        try:
            await channel.send(message)
        except ConnectionError:
            logger.debug("the channel of %s broke while it was written to", endpoint_id)

    async def web_channel(self, request: web.Request) -> web.StreamResponse:
        """Handler of /colibri-ws/{room}/{endpoint_id}."""
        room_name, endpoint_id = request.match_info["room"], request.match_info["endpoint_id"]
        if self._refusing:
            return web.Response(status=403)  # what the real one answers to endpoints that it does not know
        socket = web.WebSocketResponse(heartbeat=None)
        await socket.prepare(request)
        channel = _WebChannel(socket)
        await self.opened(room_name, endpoint_id, channel)
        try:
            async for frame in socket:
                if frame.type is WSMsgType.TEXT:
                    await self.heard(room_name, endpoint_id, json.loads(frame.data))
        finally:
            self.closed(room_name, endpoint_id, channel)
        return socket

    # Commands of the tests ------------------------------------------------------------------------------------------

    async def open_channels(self, room: str) -> list[str]:
        """The endpoints that have a channel now."""
        return sorted(self._rooms.get(room, RoomChannels()).channels)

    async def set_dominant_speaker(self, room: str, endpoint_id: str, silence: bool) -> None:
        """Somebody else speaks; it is kept for channels that open later."""
        found = self._rooms.setdefault(room, RoomChannels())
        found.speakers = [endpoint_id, *(speaker for speaker in found.speakers if speaker != endpoint_id)]
        found.silence = silence
        self._changes.append({"room": room, "endpoint_id": endpoint_id, "at_ms": time.time_ns() // 1_000_000})
        for channel in list(found.channels):
            await self._send(found, channel, found.dominant_speaker_message())

    async def speak(self, speakers: dict[str, str]) -> None:
        """Have somebody else speak in each of these rooms: endpoint ids by room."""
        for room, endpoint_id in speakers.items():
            await self.set_dominant_speaker(room, endpoint_id, silence=False)

    async def speaker_changes(self) -> list[Message]:
        """All that this bridge has ever said of speakers: {room, endpoint_id, at_ms}, whoever heard it."""
        return self._changes

    async def send_stats(self, room: str, endpoint_id: str, stats: Message) -> None:
        """EndpointStats as if that endpoint had sent them."""
        message = {"colibriClass": "EndpointStats", "from": endpoint_id} | stats
        await self._relay(self._rooms.get(room, RoomChannels()), endpoint_id, message)

    async def send_transcript(self, room: str, payload: Message) -> None:
        """A transcription result by the bridge, not the room: its sender is no occupant but `transcriber`."""
        message = {"colibriClass": "EndpointMessage", "from": TRANSCRIBER, "to": "", "msgPayload": payload}
        await self._relay(self._rooms.get(room, RoomChannels()), TRANSCRIBER, message)

    async def close_channels(self, room: str, code: int) -> int:
        """Close the room's channels with a websocket close code; returns how many. Libraries open them again."""
        channels = list(self._rooms.get(room, RoomChannels()).channels.values())
        for channel in channels:
            await channel.close(code)
        return len(channels)

    async def refuse_channels(self, refuse: bool) -> None:
        """Refuse websockets from now on, or take them again."""
        self._refusing = refuse

    async def be_deaf(self, deaf: bool) -> None:
        """Let nothing pass any more on channels that are open or will be; those that open after it are well again.

        A channel that lost a message never passes another one: websockets and data channels keep the order.
        """
        self._deaf = deaf
        if deaf:
            self._dead += [channel for room in self._rooms.values() for channel in room.channels.values()]

    async def forget_room(self, room: str) -> None:
        """The meeting is over: the next one in this room begins without a speaker."""
        self._rooms.pop(room, None)


class _WebChannel:
    """A websocket."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket

    async def send(self, message: Message) -> None:
        if not self._socket.closed:
            await self._socket.send_json(message)

    async def close(self, code: int = WSCloseCode.OK) -> None:
        await self._socket.close(code=code)
