"""People by the dozen for load tests: occupants that speak XMPP over websocket (RFC 7395) and have no browser.

``python -m tests.stack.crowd URL ROOM… --people N --seed N`` has N people at a time in every room, who come, mute and
unmute, rename themselves, chat and go, until it is terminated. To the server and to everybody in the room they are
occupants like any other; what they can't do is media. Test equipment.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from xml.sax.saxutils import escape, quoteattr

import aiohttp

DOMAIN = "meet.jitsi"
ANSWER_TIMEOUT = 30.0  # seconds: the server answers
STEP_SECONDS = (0.3, 3.0)  # between two acts of a person
ACTS = (5, 40)  # of a person before it goes
TEXTS = ("hello", "can you hear me?", "\U0001f44b", "see you <tomorrow> & later", "x" * 400)


class Guest:
    """One occupant of one room."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, room: str) -> None:
        self._socket = socket
        self._room = f"{room}@muc.{DOMAIN}"
        self._nick = secrets.token_hex(4)
        self._name = f"Guest {self._nick}"
        self._muted = True

    async def login(self) -> None:
        """SASL ANONYMOUS and resource binding (RFC 6120)."""
        opening = f"<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='{DOMAIN}' version='1.0'/>"
        await self._socket.send_str(opening)
        await self._until("features")
        await self._socket.send_str("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='ANONYMOUS'/>")
        await self._until("<success")
        await self._socket.send_str(opening)
        await self._until("features")
        bind = "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>"
        await self._socket.send_str(f"<iq xmlns='jabber:client' type='set' id='bind'>{bind}</iq>")
        await self._until("result")

    async def ask_for_conference(self) -> None:
        """Have the focus make the room, which nobody else may (jicofo's conference request)."""
        request = f"<conference xmlns='http://jitsi.org/protocol/focus' room={quoteattr(self._room)}/>"
        iq = f"<iq xmlns='jabber:client' type='set' id='conference' to='focus.{DOMAIN}'>{request}</iq>"
        await self._socket.send_str(iq)
        await self._until("focusjid")

    async def enter(self) -> None:
        """Join the room (XEP-0045); who is there says so with this presence."""
        await self._present("<x xmlns='http://jabber.org/protocol/muc'/>")
        await self._until("code='110'", 'code="110"')

    async def act(self, random: Random) -> None:
        """Do one of the things that people do."""
        match random.choice(("mute", "mute", "mute", "chat", "rename", "nothing")):
            case "mute":
                self._muted = not self._muted
                await self._present()
            case "rename":
                self._name = f"Guest {random.randrange(1000)}"
                await self._present()
            case "chat":
                body = f"<body>{escape(random.choice(TEXTS))}</body>"
                address = f"to={quoteattr(self._room)} type='groupchat' id='{secrets.token_hex(8)}'"
                await self._socket.send_str(f"<message xmlns='jabber:client' {address}>{body}</message>")

    async def leave(self) -> None:
        """Say goodbye and go."""
        address = f"to={quoteattr(f'{self._room}/{self._nick}')}"
        await self._socket.send_str(f"<presence xmlns='jabber:client' type='unavailable' {address}/>")
        await self._socket.send_str("<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>")
        await self._socket.close()

    async def _present(self, more: str = "") -> None:
        sources = json.dumps({f"{self._nick}-a0": {"muted": self._muted}, f"{self._nick}-v0": {"muted": True}})
        nick = f"<nick xmlns='http://jabber.org/protocol/nick'>{escape(self._name)}</nick>"
        address = f"to={quoteattr(f'{self._room}/{self._nick}')}"
        told = f"{more}{nick}<SourceInfo>{escape(sources)}</SourceInfo>"
        await self._socket.send_str(f"<presence xmlns='jabber:client' {address}>{told}</presence>")

    async def _until(self, *marks: str) -> None:
        async with asyncio.timeout(ANSWER_TIMEOUT):
            async for message in self._socket:
                if any(mark in str(message.data) for mark in marks):
                    return
        raise RuntimeError(f"the server closed before it said {marks[0]}")


async def _listen(socket: aiohttp.ClientWebSocketResponse) -> None:
    """Take what comes, so that the server can go on sending."""
    async for _ in socket:
        pass


@asynccontextmanager
async def standing_by(session: aiohttp.ClientSession, url: str, room: str) -> AsyncIterator[Guest]:
    """Somebody who is in a room for as long as this lasts, and does nothing."""
    async with session.ws_connect(f"{url}/xmpp-websocket", protocols=("xmpp",), max_msg_size=0) as socket:
        guest = Guest(socket, room)
        await guest.login()
        await guest.ask_for_conference()
        await guest.enter()
        listening = asyncio.create_task(_listen(socket))
        try:
            yield guest
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            await guest.leave()


async def _one_after_the_other(session: aiohttp.ClientSession, url: str, room: str, random: Random) -> None:
    while True:
        async with session.ws_connect(f"{url}/xmpp-websocket", protocols=("xmpp",), max_msg_size=0) as socket:
            guest = Guest(socket, room)
            await guest.login()
            await guest.enter()
            listening = asyncio.create_task(_listen(socket))
            try:
                for _ in range(random.randint(*ACTS)):
                    await guest.act(random)
                    await asyncio.sleep(random.uniform(*STEP_SECONDS))
                await guest.leave()
            finally:
                listening.cancel()
                await asyncio.gather(listening, return_exceptions=True)


async def crowd(url: str, rooms: list[str], people: int, seed: int) -> None:
    """Have `people` at a time in each of `rooms`, until cancelled."""
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
        for number, room in enumerate(room for room in rooms for _ in range(people)):
            group.create_task(_one_after_the_other(session, url, room, Random(f"{seed} {number}")))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.stack.crowd", description=__doc__)
    parser.add_argument("url", help="where the stack is, such as http://127.0.0.1:8000")
    parser.add_argument("rooms", nargs="+", metavar="ROOM")
    parser.add_argument("--people", type=int, default=3, help="at a time in each room")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(crowd(options.url.rstrip("/"), options.rooms, options.people, options.seed))


if __name__ == "__main__":
    main()
