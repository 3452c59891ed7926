"""An external component of an XMPP server (XEP-0114) over asyncio. Test equipment.

It reconnects for ever, because the tests stop and restart the server under it.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any, cast
from xml.etree.ElementTree import Element, ParseError, XMLPullParser

from tests.stack.stanzas import COMPONENT, MUC_USER, element, error, qualified, split_tag

logger = logging.getLogger(__name__)

RECONNECT_SECONDS = 0.1
IQ_TIMEOUT_SECONDS = 30
STREAM_OPENING = (
    "<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept'"
    " xmlns:stream='http://etherx.jabber.org/streams' to='{domain}'>"
)


class StanzaError(Exception):
    """The other side answered an IQ with an error; the text is its condition."""


class Component:
    """The connection of one component domain. Subclasses override `on_iq`, `on_presence` and `on_disconnected`."""

    def __init__(self, domain: str, secret: str, port: Callable[[], int]) -> None:
        self.domain = domain
        self.connected = asyncio.Event()
        self._secret = secret
        self._port = port  # asked on each connect: the server's port is known only once it runs
        self._writer: asyncio.StreamWriter | None = None
        self._answers: dict[str, asyncio.Future[Element]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._allowed = asyncio.Event()
        self._allowed.set()
        self._away = asyncio.Event()

    async def on_iq(self, iq: Element, payload: Element) -> None:
        """A request came: an IQ of type get or set, and its child."""
        self.reply_error(iq, "cancel", "service-unavailable")

    def on_presence(self, presence: Element) -> None:
        """A presence came."""

    def on_disconnected(self) -> None:
        """The server is gone, and with it every room."""

    async def run(self) -> None:
        """Connect, serve, and connect again, until cancelled."""
        while True:
            await self._allowed.wait()
            try:
                await self._serve_one_stream()
            except (OSError, EOFError, ParseError) as problem:
                logger.debug("%s: no connection: %r", self.domain, problem)
            if self.connected.is_set():
                self.connected.clear()
                self.on_disconnected()
            self._away.set()
            await asyncio.sleep(RECONNECT_SECONDS)

    def send(self, stanza: str) -> None:
        """Send markup; dropped while there is no connection, as a server that is down drops it."""
        if self._writer is not None and self.connected.is_set():
            self._writer.write(stanza.encode())

    async def request(self, kind: str, sender: str, to: str, payload: str) -> Element:
        """Send an IQ and wait for its result; `StanzaError` if it is an error."""
        identifier = secrets.token_hex(6)
        answer: asyncio.Future[Element] = asyncio.get_running_loop().create_future()
        self._answers[identifier] = answer
        try:
            self.send(element("iq", {"type": kind, "id": identifier, "from": sender, "to": to}, payload))
            result = await asyncio.wait_for(answer, IQ_TIMEOUT_SECONDS)
        except TimeoutError:
            raise StanzaError(f"{to} did not answer in {IQ_TIMEOUT_SECONDS} s") from None
        finally:
            self._answers.pop(identifier, None)
        if result.get("type") == "error":
            raise StanzaError(f"{to} answered {error_condition(result)}")
        return result

    def reply(self, iq: Element, payload: str = "") -> None:
        """Answer a request with a result."""
        self.send(element("iq", _answer_attributes(iq, "result"), payload))

    def reply_error(self, iq: Element, kind: str, condition: str, extra: str = "") -> None:
        """Answer a request with an error (RFC 6120, 8.3)."""
        self.send(element("iq", _answer_attributes(iq, "error"), error(kind, condition, extra)))

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something beside the stream's reading; what it raises is logged."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.error("%s: %r", self.domain, task.exception(), exc_info=task.exception())

    async def stop(self) -> None:
        """Close the stream, and don't come back until it is allowed; returns when it is closed."""
        self._allowed.clear()
        self._away.clear()
        if self._writer is not None:
            self._writer.write(b"</stream:stream>")  # just closed, the server might lose what was said before
            await wait_for(self._away.wait(), f"the end of {self.domain}'s stream")

    def allow(self) -> None:
        """Let it connect again."""
        self._allowed.set()

    async def _serve_one_stream(self) -> None:
        reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port())
        try:
            self._writer.write(STREAM_OPENING.format(domain=self.domain).encode())
            await self._read(reader)
        finally:
            self._writer.close()
            self._writer = None

    async def _read(self, reader: asyncio.StreamReader) -> None:
        parser: XMLPullParser[Any] = XMLPullParser(events=("start", "end"))
        stream: Element | None = None
        depth = 0
        while data := await reader.read(65536):
            parser.feed(data)
            for event, parsed in cast("Iterator[tuple[str, Element]]", parser.read_events()):
                depth += 1 if event == "start" else -1
                if event == "start" and depth == 1:
                    stream = parsed
                    self._shake_hands(parsed)
                elif event == "end" and depth == 1:
                    self._dispatch(parsed)
                    assert stream is not None
                    stream.clear()  # what was handled would otherwise stay in memory as the stream's child
        raise EOFError(f"{self.domain}: the server closed the stream")

    def _shake_hands(self, stream: Element) -> None:
        secret = f"{stream.get('id')}{self._secret}".encode()
        digest = hashlib.sha1(secret, usedforsecurity=False).hexdigest()  # the protocol fixes the function
        assert self._writer is not None
        self._writer.write(element("handshake", {}, digest).encode())

    def _dispatch(self, stanza: Element) -> None:
        _, name = split_tag(stanza)
        if name == "handshake":
            self.connected.set()
        elif name == "presence":
            self.on_presence(stanza)
        elif name == "iq" and stanza.get("type") in ("result", "error"):
            answer = self._answers.get(stanza.get("id", ""))
            if answer is not None and not answer.done():
                answer.set_result(stanza)
        elif name == "iq" and len(stanza):
            self.spawn(self.on_iq(stanza, stanza[0]))


def _answer_attributes(iq: Element, kind: str) -> dict[str, str | None]:
    return {"type": kind, "id": iq.get("id"), "from": iq.get("to"), "to": iq.get("from")}


def error_condition(stanza: Element) -> str:
    """The condition of an error stanza, such as `not-allowed`."""
    problem = stanza.find(qualified(COMPONENT, "error"))
    if problem is None or not len(problem):
        return "an error without a condition"
    return split_tag(problem[0])[1]


def muc_item(presence: Element) -> Element | None:
    """The <item/> with real address, role and affiliation in a room's presence (XEP-0045)."""
    return presence.find(f"{qualified(MUC_USER, 'x')}/{qualified(MUC_USER, 'item')}")


async def wait_for(condition: Awaitable[Any], what: str) -> None:
    """Wait for something the server must do; `StanzaError` says what did not happen."""
    try:
        await asyncio.wait_for(condition, IQ_TIMEOUT_SECONDS)
    except TimeoutError:
        raise StanzaError(f"{what} did not happen in {IQ_TIMEOUT_SECONDS} s") from None
