"""The focus answers a conference request when it is in the room, whatever the room has just gone through."""

from __future__ import annotations

import asyncio

import aiohttp

from tests.stack.client import Stack
from tests.stack.crowd import DOMAIN, Guest

TIMEOUT = 60.0  # seconds; bounds a wait, measures nothing
ROOM = f"revolving-door@muc.{DOMAIN}"


async def _read_until(socket: aiohttp.ClientWebSocketResponse, *marks: str) -> str:
    """The next stanza with all these texts in it."""
    async with asyncio.timeout(TIMEOUT):
        async for message in socket:
            if all(mark in str(message.data) for mark in marks):
                return str(message.data)
    raise AssertionError(f"the server closed before it said {marks}")


async def _ask(socket: aiohttp.ClientWebSocketResponse, identifier: str) -> None:
    request = f"<conference xmlns='http://jitsi.org/protocol/focus' room='{ROOM}'/>"
    address = f"to='focus.{DOMAIN}' type='set' id='{identifier}'"
    await socket.send_str(f"<iq xmlns='jabber:client' {address}>{request}</iq>")


async def test_a_request_for_a_room_that_is_just_emptying_is_answered_from_within_it() -> None:
    async with (
        Stack.start() as stack,
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{stack.url}/xmpp-websocket", protocols=("xmpp",)) as socket,
    ):
        await Guest(socket, "revolving-door").login()
        await _ask(socket, "ask-0")
        await _read_until(socket, "ask-0", "ready='true'")
        occupant = f"to='{ROOM}/guest'"
        for number in range(1, 6):
            entry = "<x xmlns='http://jabber.org/protocol/muc'/>"
            await socket.send_str(f"<presence xmlns='jabber:client' {occupant}>{entry}</presence>")
            await _read_until(socket, f"from='{ROOM}/focus'")  # those who are there come first
            await _read_until(socket, "code='110'")
            await socket.send_str(f"<presence xmlns='jabber:client' type='unavailable' {occupant}/>")
            await _ask(socket, f"ask-{number}")  # in one breath: the focus has not left yet
            await _read_until(socket, f"ask-{number}", "ready='true'")
