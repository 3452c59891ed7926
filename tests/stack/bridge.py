"""The bridge's signalling channel: stands in for the colibri websocket of jitsi-videobridge. Test equipment.

It greets, relays endpoint messages and stats, and says who the dominant speaker is; as the real bridge, it says
so again to each channel that opens. No media is received or sent, so who speaks is a command of the tests.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web

logger = logging.getLogger(__name__)

PREVIOUS_SPEAKERS = 3  # how many the real bridge names
TRANSCRIBER = "transcriber"

Message = dict[str, Any]


@dataclass
class RoomChannels:
    """The open channels of one room by endpoint id, and its speakers, the newest first."""

    channels: dict[str, web.WebSocketResponse] = field(default_factory=dict)
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
    """Every room's channels."""

    def __init__(self) -> None:
        self._rooms: dict[str, RoomChannels] = {}

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """Handler of /colibri-ws/{room}/{endpoint_id}."""
        room_name, endpoint_id = request.match_info["room"], request.match_info["endpoint_id"]
        channel = web.WebSocketResponse(heartbeat=None)
        await channel.prepare(request)
        room = self._rooms.setdefault(room_name, RoomChannels())
        room.channels[endpoint_id] = channel
        await channel.send_json({"colibriClass": "ServerHello", "version": "local test stack"})
        if room.speakers:
            await channel.send_json(room.dominant_speaker_message())
        try:
            async for frame in channel:
                if frame.type is WSMsgType.TEXT:
                    await self._on_message(room, endpoint_id, json.loads(frame.data))
        finally:
            self._closed(room_name, endpoint_id, channel)
        return channel

    def _closed(self, room_name: str, endpoint_id: str, channel: web.WebSocketResponse) -> None:
        room = self._rooms.get(room_name)
        if room is not None and room.channels.get(endpoint_id) is channel:
            del room.channels[endpoint_id]

    async def _on_message(self, room: RoomChannels, sender: str, message: Message) -> None:
        kind = message.get("colibriClass")
        if kind == "EndpointMessage":
            relayed = {"colibriClass": kind, "from": sender, "to": message.get("to", "")}
            await self._relay(room, sender, relayed | {"msgPayload": message.get("msgPayload")})
        elif kind == "EndpointStats":
            await self._relay(room, sender, message | {"from": sender})
        elif kind == "ClientHello":
            await room.channels[sender].send_json({"colibriClass": "ServerHello", "version": "local test stack"})
        # Constraints, video types and the like steer media, which there is none of.

    async def _relay(self, room: RoomChannels, sender: str, message: Message) -> None:
        """To one endpoint, or to everybody else when `to` is empty."""
        to = message.get("to", "")
        for endpoint_id in list(room.channels):
            if endpoint_id != sender and to in ("", endpoint_id):
                await self._send(room, endpoint_id, message)

    async def _send(self, room: RoomChannels, endpoint_id: str, message: Message) -> None:
        channel = room.channels.get(endpoint_id)
        if channel is None or channel.closed:
            return
        try:
            await channel.send_json(message)
        except ConnectionError:
            logger.debug("the channel of %s broke while it was written to", endpoint_id)

    # Commands of the tests ------------------------------------------------------------------------------------------

    def open_channels(self, room_name: str) -> list[str]:
        """The endpoints that have a channel now."""
        return sorted(self._rooms.get(room_name, RoomChannels()).channels)

    async def set_dominant_speaker(self, room_name: str, endpoint_id: str, silence: bool) -> None:
        """Somebody else speaks; it is kept for channels that open later."""
        room = self._rooms.setdefault(room_name, RoomChannels())
        room.speakers = [endpoint_id, *(speaker for speaker in room.speakers if speaker != endpoint_id)]
        room.silence = silence
        for channel in list(room.channels):
            await self._send(room, channel, room.dominant_speaker_message())

    async def send_stats(self, room_name: str, endpoint_id: str, stats: Message) -> None:
        """EndpointStats as if that endpoint had sent them."""
        message = {"colibriClass": "EndpointStats", "from": endpoint_id} | stats
        await self._relay(self._rooms.get(room_name, RoomChannels()), endpoint_id, message)

    async def send_transcript(self, room_name: str, payload: Message) -> None:
        """A transcription result by the bridge, not the room: its sender is no occupant but `transcriber`."""
        message = {"colibriClass": "EndpointMessage", "from": TRANSCRIBER, "to": "", "msgPayload": payload}
        await self._relay(self._rooms.get(room_name, RoomChannels()), TRANSCRIBER, message)

    async def close_channels(self, room_name: str, code: int) -> int:
        """Close the room's channels with a websocket close code; returns how many. Libraries open them again."""
        channels = list(self._rooms.get(room_name, RoomChannels()).channels.values())
        for channel in channels:
            await channel.close(code=code)
        return len(channels)

    def forget_room(self, room_name: str) -> None:
        """The meeting is over: the next one in this room begins without a speaker."""
        self._rooms.pop(room_name, None)
