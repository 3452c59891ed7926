"""The front door: one TCP port, a byte-transparent tunnel behind it. Test equipment.

A real deployment's nginx passes the XMPP websocket through byte by byte, and so does this: it reads the head of
a connection's first request, then copies. `/xmpp-websocket` goes to Prosody, `/colibri-ws` to the bridge, everything
else to the web server.
Chromium never uses a connection again for a websocket, so the first request decides. Because nothing in between
understands the websocket, cutting it looks like a broken network to both sides, and stream resumption
(XEP-0198) is put to the test.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from pathlib import Path

logger = logging.getLogger(__name__)

SIGNALLING_PATH = b"GET /xmpp-websocket"
BRIDGE_PATH = b"GET /colibri-ws/"
HEAD_LIMIT_BYTES = 64 * 1024
HEAD_TIMEOUT_SECONDS = 60
CHUNK_BYTES = 64 * 1024
REFUSAL = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class FrontDoor:
    """The public port of a stack."""

    def __init__(self, web_socket_path: Path, prosody_port: Callable[[], int], bridge_port: Callable[[], int]) -> None:
        self.refusing = False
        self.port = 0
        self._web_socket_path = web_socket_path
        self._prosody_port = prosody_port
        self._bridge_port = bridge_port
        self._server: asyncio.Server | None = None
        self._signalling: set[asyncio.StreamWriter] = set()
        self._connections: set[asyncio.StreamWriter] = set()

    async def open(self, port: int = 0) -> None:
        """Listen on 127.0.0.1, on a port of the system's choice unless one is given."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port, limit=HEAD_LIMIT_BYTES)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening, and break what is open."""
        if self._server is not None:
            self._server.close()
        for writer in list(self._connections):
            writer.transport.abort()

    def cut_signalling(self, refuse: bool) -> int:
        """Break every XMPP websocket without a goodbye, and refuse new ones if told to; returns how many broke."""
        self.refusing = refuse
        cut = [writer for writer in self._signalling if not writer.transport.is_closing()]
        for writer in cut:
            writer.transport.abort()
        return len(cut) // 2  # each websocket is a browser's end and Prosody's end

    def accept_signalling(self) -> None:
        """Let websockets in again."""
        self.refusing = False

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        try:
            await self._pass_on(reader, writer)
        except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError) as problem:
            logger.debug("a connection ended: %r", problem)
        finally:
            self._connections.discard(writer)
            writer.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), HEAD_TIMEOUT_SECONDS)
        signalling = head.startswith(SIGNALLING_PATH)
        if signalling and self.refusing:
            writer.write(REFUSAL)
            await writer.drain()
            writer.close()
            return
        upstream = await self._connect(writer, head)
        if upstream is None:
            return
        upstream[1].write(head)
        await self._tunnel((reader, writer), upstream, signalling)

    async def _connect(self, writer: asyncio.StreamWriter, head: bytes) -> Stream | None:
        try:
            if head.startswith(SIGNALLING_PATH):
                return await asyncio.open_connection("127.0.0.1", self._prosody_port())
            if head.startswith(BRIDGE_PATH):
                return await asyncio.open_connection("127.0.0.1", self._bridge_port())
            return await asyncio.open_unix_connection(self._web_socket_path)
        except OSError:
            writer.write(REFUSAL)
            await writer.drain()
            writer.close()
            return None

    async def _tunnel(self, browser: Stream, upstream: Stream, signalling: bool) -> None:
        ends = {browser[1], upstream[1]}
        if signalling:
            self._signalling |= ends
        try:
            await asyncio.gather(_copy(browser[0], upstream[1]), _copy(upstream[0], browser[1]))
        finally:
            self._signalling -= ends
            upstream[1].transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until the end of one side, then end the other side, too."""
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(ConnectionError):
        writer.close()
