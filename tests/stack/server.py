"""Puts the stack together: Prosody, focus, bridge, hidden occupants, web server and front door. Test equipment."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from aiohttp import web

from tests.stack.bridge_link import BridgeAway, BridgeLink
from tests.stack.component import Component
from tests.stack.control import Control, control_handler
from tests.stack.focus import DEFAULT_MEMBERS_FOR_MEDIA, Focus
from tests.stack.front import FrontDoor
from tests.stack.hidden import HiddenOccupants
from tests.stack.processes import temporary_directory
from tests.stack.prosody import Prosody, ProsodyError
from tests.stack.web import WebServer

DOMAIN = "meet.jitsi"  # what docker-jitsi-meet calls it; it is a name inside XMPP and needs no DNS
COMPONENT_TIMEOUT_SECONDS = 10
DEFAULT_HIBERNATION_SECONDS = 5
EXPIRY_SECONDS = 120  # of an endpoint without working ICE (jitsi-videobridge)


@dataclass(frozen=True)
class Settings:
    """What can be chosen when a stack is started."""

    port: int = 0  # of the web front; 0: a free one
    hibernation_seconds: int = DEFAULT_HIBERNATION_SECONDS  # a crashed page stays in its rooms that long
    members_for_media: int = DEFAULT_MEMBERS_FOR_MEDIA  # with 1, a bot that is alone gets a bridge session
    bridge_channel: str = "websocket"  # or "datachannel"
    media_pace: float = 1.0  # of what jicofo does about a bridge that failed; less is quicker
    joins_per_second: float = 0  # that a room lets in, silently and in order; 0: as they come
    token_secret: str = ""  # logins then need a JSON Web Token signed with it (HS256); empty: anybody may log in


@asynccontextmanager
async def running_stack(settings: Settings) -> AsyncIterator[str]:
    """A stack that is ready; yields its address, and takes everything down at the end."""
    async with AsyncExitStack() as exits:
        directory = exits.enter_context(temporary_directory())
        prosody = Prosody(
            directory, DOMAIN, settings.hibernation_seconds, settings.token_secret, settings.joins_per_second
        )
        exits.push_async_callback(prosody.stop)
        await prosody.start()
        bridge = BridgeLink(EXPIRY_SECONDS * settings.media_pace)
        exits.push_async_callback(bridge.close)
        await bridge.start()
        front = FrontDoor(directory / "web.sock", lambda: prosody.http_port, lambda: bridge.port)
        application, components = _assemble(prosody, bridge, front, settings)
        for component in components:
            task = asyncio.create_task(component.run())
            exits.callback(task.cancel)
        exits.push_async_callback(front.close)
        await front.open(settings.port)
        exits.push_async_callback((await _serve(application, directory / "web.sock")).cleanup)
        await _wait_for(components)
        yield f"http://127.0.0.1:{front.port}"


def _assemble(
    prosody: Prosody, bridge: BridgeLink, front: FrontDoor, settings: Settings
) -> tuple[web.Application, list[Component]]:
    def component_port() -> int:
        return prosody.component_port

    def bridge_url(room: str, endpoint_id: str) -> str:
        return f"ws://127.0.0.1:{front.port}/colibri-ws/{quote(room)}/{endpoint_id}"

    hidden = HiddenOccupants(f"hidden.{DOMAIN}", prosody.component_secret, component_port)
    secret = prosody.component_secret
    focus = Focus(
        f"focus.{DOMAIN}",
        secret,
        component_port,
        hidden,
        bridge,
        bridge_url,
        settings.members_for_media,
        by_data_channel=settings.bridge_channel == "datachannel",
        media_pace=settings.media_pace,
    )
    focus.on_room_empty = lambda room_name: focus.spawn(_forget_room(bridge, room_name))
    focus.spawn(focus.media.watch())
    components: list[Component] = [focus, hidden]
    web_server = WebServer(DOMAIN, lambda: prosody.http_port)
    control = Control(
        prosody=prosody,
        focus=focus,
        hidden=hidden,
        bridge=bridge,
        front=front,
        web_server=web_server,
        wait_for_components=lambda: _wait_for(components),
    )
    application = web_server.application()
    application.router.add_post("/control/{command}", control_handler(control))
    return application, components


async def _forget_room(bridge: BridgeLink, room_name: str) -> None:
    with contextlib.suppress(BridgeAway):
        await bridge.command("forget_room", room=room_name)


async def _serve(application: web.Application, path: Path) -> web.AppRunner:
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.UnixSite(runner, str(path)).start()
    return runner


async def _wait_for(components: list[Component]) -> None:
    connected = asyncio.gather(*(component.connected.wait() for component in components))
    try:
        await asyncio.wait_for(connected, COMPONENT_TIMEOUT_SECONDS)
    except TimeoutError:
        raise ProsodyError(f"focus and recorder did not connect in {COMPONENT_TIMEOUT_SECONDS} s") from None
