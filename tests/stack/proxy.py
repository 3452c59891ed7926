"""A proxy on loopback that breaks what goes through it: cuts, stalls, halves, resets, refuses."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable
from enum import Enum

CHUNK_BYTES = 64 * 1024

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[], Awaitable[Stream]]


class Way(Enum):
    """Which way bytes go."""

    UP = "to the server"
    DOWN = "to the client"


class Proxy:
    """Passes on what comes to `port` of 127.0.0.1 to what `connect` connects to."""

    def __init__(self, connect: Connect) -> None:
        self.port = 0
        self.refusing = False  # new connections are closed at once
        self.faults = 0  # connections that were broken
        self._refused = asyncio.Semaphore(0)
        self._connect = connect
        self._server: asyncio.Server | None = None
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._halving: Way | None = None
        self._links: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Listen on a port of the system's choice."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening and break what is open. Safe to call twice."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def has_refused(self, connections: int) -> None:
        """Wait until so many connections were refused since the last time that this was waited for."""
        for _ in range(connections):
            await self._refused.acquire()

    def restore(self) -> None:
        """No fault any more; what was broken stays broken."""
        self.refusing = False
        self._halving = None
        self._flowing.set()

    def stall(self) -> None:
        """Nothing passes any more, and nobody is told; `restore` lets it flow again."""
        self._flowing.clear()

    def halve(self, way: Way) -> None:
        """Of the next piece that goes this way, pass on the first half; then break the connection."""
        self._halving = way

    def cut(self) -> None:
        """End all connections as one does that has nothing more to say (FIN)."""
        for link in list(self._links):
            self.faults += 1
            for writer in link:
                writer.close()

    def reset(self) -> None:
        """Break all connections (RST)."""
        for link in list(self._links):
            self._break(*link)

    def _break(self, *writers: asyncio.StreamWriter) -> None:
        self.faults += 1
        for writer in writers:
            found: socket.socket | None = writer.get_extra_info("socket")
            if found is not None and found.family == socket.AF_INET:
                with contextlib.suppress(OSError):  # closed meanwhile
                    found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            _abort(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if self.refusing:
                self._refused.release()
            else:
                with contextlib.suppress(OSError):
                    await self._pass_on((reader, writer), await self._connect())
        except asyncio.CancelledError:  # by `close`, which waits for this
            pass
        finally:
            _abort(writer)
            self._tasks.discard(task)

    async def _pass_on(self, client: Stream, server: Stream) -> None:
        link = (client[1], server[1])
        self._links.add(link)
        try:
            await asyncio.gather(
                self._copy(client[0], server[1], link, Way.UP), self._copy(server[0], client[1], link, Way.DOWN)
            )
        finally:
            self._links.discard(link)
            _abort(server[1])

    async def _copy(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        link: tuple[asyncio.StreamWriter, asyncio.StreamWriter],
        way: Way,
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                await self._flowing.wait()
                if writer.is_closing():
                    return
                if self._halving is way:
                    self._halving = None
                    writer.write(data[: len(data) // 2])
                    writer.close()  # no reset: that would take the half with it
                    self._break(*(other for other in link if other is not writer))
                    return
                writer.write(data)
                await writer.drain()
        with contextlib.suppress(OSError):
            writer.close()


def _abort(writer: asyncio.StreamWriter) -> None:
    # What asyncio (3.11) raises when the transport has closed just now, with something in its buffer until then.
    with contextlib.suppress(AttributeError):
        writer.transport.abort()
