"""A proxy in front of a server's unix socket that loses what a test wants lost."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType

from tests.stack.postgres import Server

_SOCKET = ".s.PGSQL.5432"
_CHUNK = 4096  # bytes; smaller than a batch, so that one can be cut in its middle


class Proxy:
    """Passes everything on until it is told otherwise; `url(database)` is how to reach the server through it."""

    def __init__(self, server: Server) -> None:
        self._target = server.directory / _SOCKET
        self._folder = Path(tempfile.mkdtemp(prefix="proxy-"))
        self._server: asyncio.Server | None = None
        self._pairs: set[asyncio.Task[None]] = set()
        self._mute_at: bytes | None = None
        self._cut_at: bytes | None = None
        self._cut_bytes = 0
        self._is_mute = False
        self.muted = asyncio.Event()
        self.cut = asyncio.Event()

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_unix_server(self._serve, self._folder / _SOCKET)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for pair in self._pairs:
            pair.cancel()
        await asyncio.gather(*self._pairs, return_exceptions=True)
        shutil.rmtree(self._folder)

    def url(self, database: str) -> str:
        """The address of a database of the server, through this."""
        return f"postgresql:///{database}?host={self._folder}&user=meeta"

    def mute(self, at: bytes = b"") -> None:
        """From the next request on that has `at` in it, pass requests on and answers no more, until `speak`."""
        self._mute_at = at
        self.muted.clear()

    def speak(self) -> None:
        """Pass on everything again. Connections that have missed something stay mute until their client leaves."""
        self._mute_at, self._is_mute = None, False

    def cut_once(self, at: bytes, after_bytes: int) -> None:
        """Break the next connection that asks for something with `at` in it, so many bytes later."""
        self._cut_at, self._cut_bytes = at, after_bytes
        self.cut.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._pairs.add(task)
        try:
            with contextlib.suppress(OSError):
                above, below = await asyncio.open_unix_connection(self._target)
                async with _closing(below):
                    await self._pass_on(reader, writer, above, below)
        finally:
            writer.transport.abort()
            self._pairs.discard(task)

    async def _pass_on(
        self,
        requests: asyncio.StreamReader,
        to_client: asyncio.StreamWriter,
        answers: asyncio.StreamReader,
        to_server: asyncio.StreamWriter,
    ) -> None:
        """Until either side leaves."""
        missed = asyncio.Event()  # this connection's client has missed an answer
        pumps = [
            asyncio.create_task(self._pump_requests(requests, to_server)),
            asyncio.create_task(self._pump_answers(answers, to_client, missed)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _pump_requests(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        left: int | None = None  # bytes until the cut
        while data := await source.read(_CHUNK):
            if self._mute_at is not None and self._mute_at in data:
                self._is_mute = True
                self.muted.set()
            if self._cut_at is not None and self._cut_at in data:
                left, self._cut_at = self._cut_bytes, None
            elif left is not None:
                left -= len(data)
                if left <= 0:
                    self.cut.set()
                    return
            target.write(data)
            await target.drain()

    async def _pump_answers(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, missed: asyncio.Event
    ) -> None:
        while data := await source.read(_CHUNK):
            if self._is_mute or missed.is_set():
                missed.set()
                continue
            target.write(data)
            await target.drain()


@contextlib.asynccontextmanager
async def _closing(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
    try:
        yield
    finally:
        writer.transport.abort()
