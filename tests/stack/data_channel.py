"""Data channels to endpoints, by ICE, DTLS and SCTP as in WebRTC (aiortc). Test equipment.

The bridge offers, as the real one by way of jicofo: it controls ICE, gives one candidate on loopback, and takes what
the endpoint answers. Datagrams can be dropped both ways, without any word to either side.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

import aioice.ice
from aiortc import (
    RTCCertificate,
    RTCDtlsFingerprint,
    RTCDtlsParameters,
    RTCDtlsTransport,
    RTCIceGatherer,
    RTCIceParameters,
    RTCIceTransport,
    RTCSctpCapabilities,
    RTCSctpTransport,
)
from aiortc.rtcdatachannel import RTCDataChannel

from tests.stack.bridge import Bridge, Message

logger = logging.getLogger(__name__)

SCTP_PORT = 5000
MESSAGE_BYTES = 262_144

aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]  # nothing leaves this machine


class Network:
    """The way of all datagrams, which can be cut."""

    def __init__(self) -> None:
        self.is_cut = False

    def stand_between(self, connection: aioice.Connection) -> None:
        """Pass on what a connection sends and gets, while the network is not cut."""
        for protocol in connection._protocols:
            between: Any = protocol
            between.transport = _Gate(self, protocol.transport)
            between.datagram_received = self._gated(protocol.datagram_received)

    def _gated(self, receive: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
        def received(data: Any, address: Any) -> None:
            if not self.is_cut:
                receive(data, address)

        return received


class _Gate:
    """A datagram transport that sends nothing while the network is cut."""

    def __init__(self, network: Network, transport: Any) -> None:
        self._network = network
        self._transport = transport

    def sendto(self, data: Any, address: Any = None) -> None:
        if not self._network.is_cut:
            self._transport.sendto(data, address)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class Endpoint:
    """The transports of one endpoint's session."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._gatherer = RTCIceGatherer(iceServers=[])
        self._ice = RTCIceTransport(self._gatherer)
        self._dtls = RTCDtlsTransport(self._ice, [RTCCertificate.generateCertificate()])
        self._sctp = RTCSctpTransport(self._dtls, SCTP_PORT)
        self.is_started = False

    async def offer(self) -> Message:
        """Return what a session-initiate says of the transport: ufrag, pwd, fingerprint, ip, port."""
        self._ice._connection.ice_controlling = True
        await self._gatherer.gather()
        self._network.stand_between(self._ice._connection)
        local, (candidate,) = self._gatherer.getLocalParameters(), self._gatherer.getLocalCandidates()
        fingerprint = next(one for one in self._dtls.getLocalParameters().fingerprints if one.algorithm == "sha-256")
        return {
            "ufrag": local.usernameFragment,
            "pwd": local.password,
            "fingerprint": fingerprint.value,
            "ip": candidate.ip,
            "port": candidate.port,
        }

    async def start(self, ufrag: str, pwd: str, fingerprints: list[tuple[str, str]]) -> None:
        """Connect with what a session-accept said. The endpoint's own candidate shows itself by its first check."""
        self.is_started = True
        await self._ice.start(RTCIceParameters(ufrag, pwd))
        if self._ice.state != "completed":
            return
        known = [RTCDtlsFingerprint(algorithm, value) for algorithm, value in fingerprints]
        await self._dtls.start(RTCDtlsParameters(known, "client"))
        if self._dtls.state == "connected":
            await self._sctp.start(RTCSctpCapabilities(MESSAGE_BYTES), SCTP_PORT)

    @property
    def has_ice(self) -> bool:
        """Whether ICE works, by its own consent checks."""
        return self._ice.state == "completed"

    def on_channel(self, opened: Callable[[RTCDataChannel], None]) -> None:
        """Call `opened` with the channel that the endpoint opens."""
        self._sctp.on("datachannel", opened)

    async def stop(self) -> None:
        """End everything, with the words that the protocols have for it."""
        await self._sctp.stop()
        await self._dtls.stop()
        await self._ice.stop()


class DataChannel:
    """A data channel as the bridge knows it."""

    def __init__(self, channel: RTCDataChannel) -> None:
        self._channel = channel

    async def send(self, message: Message) -> None:
        if self._channel.readyState == "open":
            self._channel.send(json.dumps(message))

    async def close(self, code: int) -> None:
        self._channel.close()


class DataChannels:
    """All endpoints' sessions. The public coroutines are commands."""

    def __init__(self, bridge: Bridge, expiry_seconds: float) -> None:
        """Prepare; an endpoint that has been without working ICE for so long is forgotten."""
        self._bridge = bridge
        self._expiry_seconds = expiry_seconds
        self._network = Network()
        self._endpoints: dict[tuple[str, str], Endpoint] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def allocate(self, room: str, endpoint_id: str) -> Message:
        """Make a session for an endpoint, in place of any former one; returns its transport."""
        await self.release(room, endpoint_id)
        endpoint = Endpoint(self._network)
        endpoint.on_channel(lambda channel: self._opened(room, endpoint_id, channel))
        self._endpoints[room, endpoint_id] = endpoint
        self._spawn(self._expire(room, endpoint_id, endpoint))
        return await endpoint.offer()

    async def _expire(self, room: str, endpoint_id: str, endpoint: Endpoint) -> None:
        """Forget an endpoint whose ICE does not work for too long, as the real bridge: nobody is told."""
        await asyncio.sleep(self._expiry_seconds)
        while endpoint.has_ice:  # noqa: ASYNC110 - no state to wait for: it has to last
            await asyncio.sleep(self._expiry_seconds)
        if self._endpoints.get((room, endpoint_id)) is endpoint:
            await self.release(room, endpoint_id)

    async def connect(
        self, room: str, endpoint_id: str, ufrag: str, pwd: str, fingerprints: list[tuple[str, str]]
    ) -> None:
        """Connect a session with what its endpoint accepted."""
        endpoint = self._endpoints.get((room, endpoint_id))
        if endpoint is not None and not endpoint.is_started:
            self._spawn(endpoint.start(ufrag, pwd, fingerprints))

    async def release(self, room: str, endpoint_id: str) -> None:
        """Forget an endpoint; nobody is told."""
        endpoint = self._endpoints.pop((room, endpoint_id), None)
        if endpoint is not None:
            self._spawn(endpoint.stop())

    async def cut_network(self, cut: bool) -> None:
        """Drop every datagram from now on, both ways; or let them pass again."""
        self._network.is_cut = cut

    def _opened(self, room: str, endpoint_id: str, channel: RTCDataChannel) -> None:
        way = DataChannel(channel)
        channel.on("message", lambda text: self._spawn(self._bridge.heard(room, endpoint_id, json.loads(text))))
        channel.on("close", lambda: self._bridge.closed(room, endpoint_id, way))
        self._spawn(self._bridge.opened(room, endpoint_id, way))

    def _spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.warning("a session: %r", task.exception())
