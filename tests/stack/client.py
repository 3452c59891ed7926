"""`Stack`: start a local Jitsi from a test or a demo, and command it. Test equipment.

    async with Stack.start() as stack:
        await page.goto(stack.room_url("Standup"))
        await stack.set_dominant_speaker("standup", endpoint_id)

The stack runs in a process of its own and dies with this one, however this one dies (strictly: with the thread
that started it).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast
from urllib.parse import quote

from aiohttp import ClientSession, ClientTimeout

REPOSITORY = Path(__file__).resolve().parents[2]
READY_TIMEOUT_SECONDS = 150  # about a second; the first start ever fetches the library
STOP_TIMEOUT_SECONDS = 15
COMMAND_TIMEOUT = ClientTimeout(total=90)  # longer than any wait inside the stack

Shape = Literal["plain", "inlined", "nolibrary", "notjitsi", "tenant"]
ProsodyAction = Literal["start", "stop", "restart", "freeze", "thaw", "kill"]
BridgeAction = Literal["start", "terminate", "kill", "freeze", "thaw"]
BridgeChannel = Literal["websocket", "datachannel"]
FocusAction = Literal["start", "terminate"]
RecordingMode = Literal["file", "stream"]

_PATHS: dict[Shape, str] = {
    "plain": "",
    "inlined": "inlined/",
    "nolibrary": "nolibrary/",
    "notjitsi": "notjitsi/",
    "tenant": "some-tenant/",
}


class StackError(Exception):
    """The stack did not start or refused a command; the text says why."""


@dataclass(frozen=True)
class Member:
    """An occupant of a room as the focus sees it, the focus itself left out."""

    endpoint_id: str
    name: str
    role: str
    hidden: bool
    real_jid: str


class Stack:
    """A running stack. Room names in commands are those of the XMPP room: lower case, percent-encoded if need be."""

    def __init__(self, url: str, process: asyncio.subprocess.Process, session: ClientSession) -> None:
        self.url = url
        self.pid = process.pid
        self._process = process
        self._session = session

    @staticmethod
    @asynccontextmanager
    async def start(
        *,
        port: int = 0,
        hibernation_seconds: int = 5,
        members_for_media: int = 2,
        bridge_channel: BridgeChannel = "websocket",
        media_pace: float = 1.0,
        joins_per_second: float = 0,
        token_secret: str = "",
        verbose: bool = False,
    ) -> AsyncIterator[Stack]:
        """Start a stack, and stop it at the end. With a `token_secret`, logins need tokens signed with it (HS256)."""
        values: dict[str, float | str] = {
            "port": port,
            "hibernation-seconds": hibernation_seconds,
            "members-for-media": members_for_media,
            "bridge-channel": bridge_channel,
            "media-pace": media_pace,
            "joins-per-second": joins_per_second,
            "token-secret": token_secret,
        }
        process = await _launch(values, verbose)
        try:
            address = await _read_address(process)
            async with ClientSession(timeout=COMMAND_TIMEOUT) as session:
                yield Stack(address, process, session)
        finally:
            await _stop(process)

    def room_url(self, room: str, shape: Shape = "plain") -> str:
        """Address of a room's page; `shape` says how the deployment writes that page (see web.py)."""
        return f"{self.url}/{_PATHS[shape]}{quote(room, safe='')}"

    # Bridge ---------------------------------------------------------------------------------------------------------

    async def set_dominant_speaker(self, room: str, endpoint_id: str, silence: bool = False) -> None:
        """Somebody else speaks now; channels that open later are told, too."""
        await self._command("set_dominant_speaker", room=room, endpoint_id=endpoint_id, silence=silence)

    async def endpoint_stats(self, room: str, endpoint_id: str, stats: dict[str, Any]) -> None:
        """The others get EndpointStats (bitrate, connectionQuality, …) of that endpoint."""
        await self._command("endpoint_stats", room=room, endpoint_id=endpoint_id, stats=stats)

    async def bridge_channels(self, room: str) -> list[str]:
        """The endpoints whose bridge channel is open."""
        return cast("list[str]", await self._command("bridge_channels", room=room))

    async def close_bridge_channels(self, room: str, code: int = 1011) -> int:
        """Close them; returns how many there were. The library opens them again after about a second."""
        return cast("int", await self._command("close_bridge_channels", room=room, code=code))

    async def restart_media(self, room: str) -> None:
        """End every media session and offer new ones, as when a bridge fails."""
        await self._command("restart_media", room=room)

    async def move_media(self, room: str, endpoint_id: str) -> None:
        """End one endpoint's media session and begin another, as an operator who moves it."""
        await self._command("move_media", room=room, endpoint_id=endpoint_id)

    async def refuse_restarts(self, refuse: bool) -> None:
        """Answer requests for a new media session as those that come too early: the session is gone for good."""
        await self._command("refuse_restarts", refuse=refuse)

    async def bridge(self, action: BridgeAction) -> None:
        """Do that to the bridge's process."""
        await self._command("bridge", action=action)

    async def cut_bridge(self, cut: bool) -> None:
        """Drop all datagrams to and from the bridge from now on, or let them pass again; nobody is told."""
        await self._command("cut_bridge", cut=cut)

    async def deafen_bridge(self, deaf: bool) -> None:
        """Channels of the bridge are open, and open, but nothing passes on them, ever; or new ones are well again."""
        await self._command("deafen_bridge", deaf=deaf)

    async def refuse_bridge_channels(self, refuse: bool) -> None:
        """Refuse websockets to the bridge (403), or take them again."""
        await self._command("refuse_bridge_channels", refuse=refuse)

    async def speak(self, speakers: dict[str, str]) -> None:
        """Have somebody else speak in each of these rooms: endpoint ids by room, of anybody."""
        await self._command("speak", speakers=speakers)

    async def speaker_changes(self) -> list[dict[str, Any]]:
        """All that bridges ever said of speakers, whoever heard it: {room, endpoint_id, at_ms}, wall clock."""
        return cast("list[dict[str, Any]]", await self._command("speaker_changes"))

    # Recording and transcription ------------------------------------------------------------------------------------

    async def start_recording(
        self, room: str, initiator_endpoint_id: str, mode: RecordingMode = "file", *, names_session: bool = True
    ) -> str:
        """As if that moderator had asked for it; returns the session id once it is on.

        Some recorders don't name the session in their presence: then only the focus tells of it.
        """
        arguments = {"room": room, "initiator_endpoint_id": initiator_endpoint_id, "mode": mode}
        return cast("str", await self._command("start_recording", names_session=names_session, **arguments))

    async def stop_recording(self, room: str, session_id: str, terminator_endpoint_id: str) -> None:
        """As if that moderator had asked for it."""
        arguments = {"room": room, "session_id": session_id, "terminator_endpoint_id": terminator_endpoint_id}
        await self._command("stop_recording", **arguments)

    async def fail_recording(self, room: str, session_id: str, reason: str = "error") -> None:
        """It breaks: off, with jicofo's failure reason (`busy`, `error`)."""
        await self._command("fail_recording", room=room, session_id=session_id, reason=reason)

    async def start_transcription(self, room: str) -> None:
        """A transcriber comes in."""
        await self._command("start_transcription", room=room)

    async def stop_transcription(self, room: str) -> None:
        """It says OFF, and goes."""
        await self._command("stop_transcription", room=room)

    async def transcribe(
        self,
        room: str,
        endpoint_id: str,
        text: str,
        *,
        name: str,
        message_id: str,
        interim: bool = False,
        language: str = "en-US",
        over_bridge: bool = False,
    ) -> None:
        """A result about what that endpoint said: through the room as jigasi, or over the bridge from `transcriber`."""
        await self._command(
            "transcribe",
            room=room,
            endpoint_id=endpoint_id,
            text=text,
            name=name,
            message_id=message_id,
            interim=interim,
            language=language,
            over_bridge=over_bridge,
        )

    # Room -----------------------------------------------------------------------------------------------------------

    async def members(self, room: str) -> list[Member]:
        """Who is in the room, in the order of coming."""
        found = cast("list[dict[str, Any]]", await self._command("members", room=room))
        return [Member(**member) for member in found]

    async def destroy_room(self, room: str, reason: str = "The meeting has been terminated") -> None:
        """End the meeting for all."""
        await self._command("destroy_room", room=room, reason=reason)

    async def move_to_breakout(
        self, room: str, breakout_id: str, *, name: str | None = None, endpoint_id: str | None = None
    ) -> None:
        """Send somebody of the main room, or of another breakout room, to that one; nobody: it is only opened."""
        arguments = {"room": room, "breakout_id": breakout_id, "name": name, "endpoint_id": endpoint_id}
        await self._command("move_to_breakout", **arguments)

    async def leave_breakout(self, room: str, endpoint_id: str) -> None:
        """Take somebody out of the breakout room: gone, or on the way back, for the others that is the same."""
        await self._command("leave_breakout", room=room, endpoint_id=endpoint_id)

    async def close_breakouts(self, room: str) -> None:
        """End all breakout rooms."""
        await self._command("close_breakouts", room=room)

    async def set_password(self, room: str, password: str) -> None:
        """Lock the room, or unlock it with an empty password."""
        await self._command("set_password", room=room, password=password)

    async def set_lobby(self, room: str, enabled: bool) -> None:
        """Members only, with a lobby for the others; or open again."""
        await self._command("set_lobby", room=room, enabled=enabled)

    async def inject_conference_error(
        self, condition: str, *, room: str | None = None, times: int = 1, text: str = ""
    ) -> None:
        """How the next conference requests are answered: `not-authorized`, `reservation-error`, `graceful-shutdown`,
        `not-acceptable` or any other error condition, `not-ready` or `silence`."""
        await self._command("inject_conference_error", condition=condition, room=room, times=times, text=text)

    async def withdraw_conference_error(self, room: str | None = None) -> None:
        """Answer conference requests as ever, as for the guests of a secure domain once a host is there."""
        await self._command("withdraw_conference_error", room=room)

    async def focus(self, action: FocusAction) -> None:
        """Do that to the conference focus: `terminate` (it leaves its rooms at once; media run on), `start` (it does
        nothing until some client asks for a conference)."""
        await self._command("focus", action=action)

    # Faults ---------------------------------------------------------------------------------------------------------

    async def cut_signalling(self, refuse: bool = False) -> int:
        """Break every XMPP websocket without a goodbye; returns how many there were.

        With `refuse`, websockets and BOSH are kept out until `accept_signalling`.
        """
        return cast("int", await self._command("cut_signalling", refuse=refuse))

    async def accept_signalling(self) -> None:
        """Let clients connect again."""
        await self._command("accept_signalling")

    async def prosody(self, action: ProsodyAction) -> None:
        """Do that to the XMPP server; start and restart return when it and its components are up."""
        await self._command("prosody", action=action)

    async def set_token_clock(self, ahead_seconds: int) -> None:
        """Judge the tokens of logins from now on as in so many seconds; who is logged in stays so."""
        await self._command("set_token_clock", ahead_seconds=ahead_seconds)

    async def processes(self) -> dict[str, int]:
        """Process ids of what the stack has started."""
        return cast("dict[str, int]", await self._command("processes"))

    async def requested_paths(self) -> dict[str, int]:
        """How often each path was asked for, by anybody."""
        return cast("dict[str, int]", await self._command("requested_paths"))

    async def _command(self, command: str, /, **arguments: Any) -> Any:
        async with self._session.post(f"{self.url}/control/{command}", json=arguments) as answer:
            body = await answer.json()
        if "error" in body:
            raise StackError(f"{command}: {body['error']}")
        return body["result"]


async def _launch(values: dict[str, float | str], verbose: bool) -> asyncio.subprocess.Process:
    options = ["--json", "--with-parent", str(os.getpid())]
    options += [f"--{name}={value}" for name, value in values.items()]
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.stack",
        *options,
        *(["--verbose"] if verbose else []),
        cwd=REPOSITORY,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )


async def _read_address(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), READY_TIMEOUT_SECONDS)
    except TimeoutError:
        raise StackError(f"the stack was not ready in {READY_TIMEOUT_SECONDS} s") from None
    if not line:
        raise StackError("the stack did not start; it said why on standard error")
    return cast("str", json.loads(line)["url"])


async def _stop(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), STOP_TIMEOUT_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
