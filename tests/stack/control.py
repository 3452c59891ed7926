"""The commands of the tests, over HTTP on the stack's own port: POST /control/<command> with a JSON object.
Test equipment.

An answer is `{"result": …}`, or `{"error": "text"}` with status 400. Only requests of type application/json are
taken: a page of another site, open in a person's browser, can't send that.
"""

from __future__ import annotations

import inspect
import logging
import signal
from collections.abc import Awaitable, Callable
from typing import Any, cast

from aiohttp import web

from tests.stack.bridge_link import BridgeAway, BridgeLink
from tests.stack.component import StanzaError
from tests.stack.focus import ConferenceError, Focus
from tests.stack.front import FrontDoor
from tests.stack.hidden import HiddenOccupants, Transcript
from tests.stack.prosody import Prosody, ProsodyError
from tests.stack.rooms import ConferenceFault
from tests.stack.web import WebServer

logger = logging.getLogger(__name__)

REFUSALS = (BridgeAway, ConferenceError, StanzaError, ProsodyError)


class Control:
    """Every public coroutine is a command; its keyword arguments are the command's."""

    def __init__(
        self,
        *,
        prosody: Prosody,
        focus: Focus,
        hidden: HiddenOccupants,
        bridge: BridgeLink,
        front: FrontDoor,
        web_server: WebServer,
        wait_for_components: Callable[[], Awaitable[None]],
    ) -> None:
        self._prosody = prosody
        self._focus = focus
        self._hidden = hidden
        self._bridge = bridge
        self._front = front
        self._web_server = web_server
        self._wait_for_components = wait_for_components

    async def members(self, room: str) -> list[dict[str, Any]]:
        """Who is in the room, in the order of coming; nobody in an unknown room."""
        try:
            found = self._focus.room(room).members.values()
        except ConferenceError:
            return []
        return [
            {
                "endpoint_id": member.endpoint_id,
                "name": member.name,
                "role": member.role,
                "hidden": member.hidden,
                "real_jid": member.real_jid,
            }
            for member in found
        ]

    async def set_dominant_speaker(self, room: str, endpoint_id: str, silence: bool = False) -> None:
        await self._bridge.command("set_dominant_speaker", room=room, endpoint_id=endpoint_id, silence=silence)

    async def endpoint_stats(self, room: str, endpoint_id: str, stats: dict[str, Any]) -> None:
        await self._bridge.command("send_stats", room=room, endpoint_id=endpoint_id, stats=stats)

    async def bridge_channels(self, room: str) -> list[str]:
        return cast("list[str]", await self._bridge.command("open_channels", room=room))

    async def close_bridge_channels(self, room: str, code: int) -> int:
        return cast("int", await self._bridge.command("close_channels", room=room, code=code))

    async def restart_media(self, room: str) -> None:
        await self._focus.restart_media(room)

    async def move_media(self, room: str, endpoint_id: str) -> None:
        await self._focus.move_media(room, endpoint_id)

    async def refuse_restarts(self, refuse: bool) -> None:
        self._focus.media.is_refusing = refuse

    async def bridge(self, action: str) -> None:
        """start, terminate, kill, freeze, thaw."""
        if action == "start":
            await self._bridge.start()
        elif action in ("kill", "terminate"):
            await self._bridge.end(signal.SIGKILL if action == "kill" else signal.SIGTERM)
        elif action in ("freeze", "thaw"):
            self._bridge.send(signal.SIGSTOP if action == "freeze" else signal.SIGCONT)
        else:
            raise BridgeAway(f"no such action: {action}")

    async def cut_bridge(self, cut: bool) -> None:
        await self._bridge.command("cut_network", cut=cut)

    async def deafen_bridge(self, deaf: bool) -> None:
        await self._bridge.command("be_deaf", deaf=deaf)

    async def refuse_bridge_channels(self, refuse: bool) -> None:
        await self._bridge.command("refuse_channels", refuse=refuse)

    async def speak(self, speakers: dict[str, str]) -> None:
        await self._bridge.command("speak", speakers=speakers)

    async def speaker_changes(self) -> list[dict[str, Any]]:
        return await self._bridge.all_changes()

    async def start_recording(
        self, room: str, initiator_endpoint_id: str, mode: str = "file", names_session: bool = True
    ) -> str:
        return await self._focus.start_recording(room, initiator_endpoint_id, mode, names_session)

    async def stop_recording(self, room: str, session_id: str, terminator_endpoint_id: str) -> None:
        self._focus.stop_recording(room, session_id, terminator_endpoint_id)

    async def fail_recording(self, room: str, session_id: str, reason: str) -> None:
        self._focus.stop_recording(room, session_id, None, reason)

    async def start_transcription(self, room: str) -> None:
        await self._hidden.start_transcription(self._focus.room(room).jid)

    async def stop_transcription(self, room: str) -> None:
        self._hidden.stop_transcription(self._focus.room(room).jid)

    async def transcribe(
        self,
        room: str,
        endpoint_id: str,
        text: str,
        name: str,
        message_id: str,
        interim: bool = False,
        language: str = "en-US",
        over_bridge: bool = False,
    ) -> None:
        transcript = Transcript(endpoint_id, name, text, message_id, language, interim)
        if over_bridge:
            await self._bridge.command("send_transcript", room=room, payload=transcript.payload())
        else:
            self._hidden.transcribe(self._focus.room(room).jid, transcript)

    async def destroy_room(self, room: str, reason: str) -> None:
        await self._focus.destroy_room(room, reason)

    async def move_to_breakout(
        self, room: str, breakout_id: str, name: str | None = None, endpoint_id: str | None = None
    ) -> None:
        await self._focus.breakouts(room, action="move", id=breakout_id, name=name, nick=endpoint_id)

    async def leave_breakout(self, room: str, endpoint_id: str) -> None:
        await self._focus.breakouts(room, action="go", nick=endpoint_id)

    async def close_breakouts(self, room: str) -> None:
        await self._focus.breakouts(room, action="move")

    async def set_password(self, room: str, password: str) -> None:
        await self._focus.set_password(room, password)

    async def set_lobby(self, room: str, enabled: bool) -> None:
        await self._focus.set_lobby(room, enabled)

    async def inject_conference_error(
        self, condition: str, room: str | None = None, times: int = 1, text: str = ""
    ) -> None:
        self._focus.faults[room] = ConferenceFault(condition, times, text)

    async def withdraw_conference_error(self, room: str | None = None) -> None:
        self._focus.faults.pop(room, None)

    async def focus(self, action: str) -> None:
        """terminate, start; returns when its stream to the server is closed, or stands."""
        if action == "terminate":
            await self._focus.terminate()
        elif action == "start":
            self._focus.allow()
            await self._wait_for_components()
        else:
            raise ConferenceError(f"no such action: {action}")

    async def cut_signalling(self, refuse: bool = False) -> int:
        self._web_server.refusing_bosh = refuse
        return self._front.cut_signalling(refuse)

    async def accept_signalling(self) -> None:
        self._web_server.refusing_bosh = False
        self._front.accept_signalling()

    async def prosody(self, action: str) -> None:
        """start, stop, restart, freeze, thaw, kill; start and restart return when the components are back."""
        if action in ("stop", "restart"):
            await self._prosody.stop()
        elif action == "kill":
            await self._prosody.kill()
        elif action == "freeze":
            self._prosody.freeze()
        elif action == "thaw":
            self._prosody.thaw()
        elif action != "start":
            raise ProsodyError(f"no such action: {action}")
        if action in ("start", "restart"):
            await self._prosody.start()
            await self._wait_for_components()

    async def set_token_clock(self, ahead_seconds: int) -> None:
        self._prosody.set_token_clock(ahead_seconds)

    async def processes(self) -> dict[str, int]:
        return {"prosody": self._prosody.pid}

    async def requested_paths(self) -> dict[str, int]:
        """How often each path was asked for: shows which requests a client blocks."""
        return dict(self._web_server.requested)


def control_handler(control: Control) -> Callable[[web.Request], Awaitable[web.Response]]:
    """The handler of POST /control/{command}."""

    async def handle(request: web.Request) -> web.Response:
        if request.content_type != "application/json":
            return web.json_response({"error": "the body must be application/json"}, status=415)
        command = getattr(control, request.match_info["command"], None)
        if command is None or not inspect.iscoroutinefunction(command):
            return web.json_response({"error": f"no such command: {request.match_info['command']}"}, status=404)
        arguments = await request.json()
        try:
            inspect.signature(command).bind(**arguments)
            return web.json_response({"result": await command(**arguments)})
        except (TypeError, *REFUSALS) as refusal:
            return web.json_response({"error": str(refusal)}, status=400)
        except Exception as problem:
            logger.exception("the command %s failed", command.__name__)
            return web.json_response({"error": repr(problem)}, status=500)

    return handle
