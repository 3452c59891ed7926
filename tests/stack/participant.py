"""Real people for end-to-end tests: pages with the deployment's own lib-jitsi-meet, driven by command. Test
equipment.

    async with ParticipantBrowser.start() as browser:
        alice = await browser.participant(stack.room_url("Standup"))
        await alice.join("Alice")
        await alice.mute_audio()
        assert alice.kinds() == ["joined", "role_changed", "tracks_added", "audio_muted"]

It needs nothing of the local stack: any deployment's room address will do. A participant's `log` holds what it
did, each entry written when the thing had taken effect: what a recorder wrote is compared with it.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Literal, TypeVar, cast

from playwright.async_api import Browser, BrowserContext, Page, async_playwright
from playwright.async_api import Error as PlaywrightError

from meeta_bot import settings
from meeta_bot.capture.browser.chromium import find_chromium
from tests.stack.participant_log import Action, Peer, SeenEvent
from tests.stack.participant_page import CHROMIUM_ARGUMENTS, let_through_what_is_needed, page_script

__all__ = ["Action", "JoinFailedError", "Participant", "ParticipantBrowser", "ParticipantError", "Peer", "SeenEvent"]

COMMAND_TIMEOUT_SECONDS = 60
EVENT_TIMEOUT_SECONDS = 45
CRASH_TIMEOUT_SECONDS = 10
JOIN_FAILED = "JOIN FAILED "

Media = Literal["audio", "video"]
Transport = Literal["websocket", "bosh"]
Found = TypeVar("Found")


class ParticipantError(Exception):
    """A command failed; the text says why."""


class JoinFailedError(ParticipantError):
    """The room or the server refused; `error` is lib-jitsi-meet's, such as `conference.passwordRequired`."""

    def __init__(self, error: str) -> None:
        super().__init__(f"the join failed: {error}")
        self.error = error


class ParticipantBrowser:
    """One headless Chromium with fake camera, microphone and screen."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser

    @staticmethod
    @asynccontextmanager
    async def start(executable: str | None = None) -> AsyncIterator[ParticipantBrowser]:
        """Start Chromium (by default the one on PATH), and close it with all its participants at the end."""
        as_root = os.geteuid() == 0
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(
                executable_path=executable or find_chromium(settings.load(), playwright.chromium.executable_path),
                headless=True,
                chromium_sandbox=not as_root,
                args=CHROMIUM_ARGUMENTS,
            )
            try:
                yield ParticipantBrowser(browser)
            finally:
                await browser.close()

    async def participant(self, room_url: str) -> Participant:
        """Somebody who has opened the room's page and not joined yet; each has a storage and stats id of his own."""
        context = await self._browser.new_context(ignore_https_errors=True)
        page = await context.new_page()
        participant = Participant(context, page)
        await page.expose_binding("reportFromParticipant", lambda _, report: participant._take_report(report))
        await page.add_init_script(script=page_script())
        await page.route("**/*", let_through_what_is_needed)
        await page.goto(room_url, wait_until="load")
        return participant


class Participant:
    """One person. A method returns when what it does has taken effect, and raises `ParticipantError` if not."""

    def __init__(self, context: BrowserContext, page: Page) -> None:
        self.page = page
        self.endpoint_id = ""
        self.log: list[Action] = []
        self.events: list[SeenEvent] = []
        self._context = context
        self._news = asyncio.Condition()
        self._crashed = asyncio.Event()
        page.on("crash", lambda _: self._crashed.set())

    def kinds(self) -> list[str]:
        """The kinds of the logged actions, in their order."""
        return [action.kind for action in self.log]

    # Coming and going -----------------------------------------------------------------------------------------------

    async def join(
        self,
        name: str,
        *,
        source_names: bool = True,
        audio: bool = True,
        video: bool = True,
        password: str | None = None,
        transport: Transport = "websocket",
        p2p: bool = False,
        jwt: str | None = None,
    ) -> str:
        """Connect and join, then add tracks; returns the endpoint id. After a `JoinFailedError` it can be called again.

        `source_names` is the flag of December 2021 that adds SourceInfo to the presence; without it there are only
        audiomuted, videomuted and videoType. Later libraries always send SourceInfo.
        """
        options = {
            "name": name,
            "sourceNames": source_names,
            "devices": _devices(audio, video),
            "password": password,
            "transport": transport,
            "p2p": p2p,
            "jwt": jwt,
        }
        self.endpoint_id = cast("str", await self._run("join", **options))
        return self.endpoint_id

    async def return_to_room(self) -> None:
        """For one who was sent to a breakout room: come back to the main room, by the same connection and endpoint.

        Without devices: this equipment announces tracks once a connection.
        """
        await self._run("returnToRoom", transport="websocket", p2p=False, sourceNames=True)

    async def wait_joined(self, *, audio: bool = True, video: bool = True) -> str:
        """For one in the lobby: until he has been let in."""
        self.endpoint_id = cast("str", await self._run("waitJoined", devices=_devices(audio, video)))
        return self.endpoint_id

    async def leave(self) -> None:
        """Leave the room and disconnect, as by the red button."""
        await self._run("leave")

    async def crash(self) -> None:
        """Crash the page's renderer: nobody is told, and the seat stays taken until the server gives up."""
        session = await self._context.new_cdp_session(self.page)
        crash = asyncio.ensure_future(session.send("Page.crash"))
        crash.add_done_callback(lambda done: done.cancelled() or done.exception())  # it never answers
        await asyncio.wait_for(self._crashed.wait(), CRASH_TIMEOUT_SECONDS)
        crash.cancel()
        self._log_from_outside("crashed")

    async def close(self) -> None:
        """Close the page, as by closing the tab."""
        self._log_from_outside("closed")
        await self._context.close()

    # Media ----------------------------------------------------------------------------------------------------------

    async def mute_audio(self) -> None:
        await self._run("setMuted", use="microphone", muted=True)

    async def unmute_audio(self) -> None:
        await self._run("setMuted", use="microphone", muted=False)

    async def mute_video(self) -> None:
        await self._run("setMuted", use="camera", muted=True)

    async def unmute_video(self) -> None:
        await self._run("setMuted", use="camera", muted=False)

    async def start_screen_share(self) -> None:
        """In December 2021 the screen takes the camera's place; later it is sent beside it."""
        await self._run("startScreenShare")

    async def stop_screen_share(self) -> None:
        await self._run("stopScreenShare")

    async def switch_camera(self) -> None:
        """Take the other fake camera."""
        await self._run("switchCamera")

    # Being present --------------------------------------------------------------------------------------------------

    async def rename(self, name: str) -> None:
        await self._run("rename", name=name)

    async def raise_hand(self) -> None:
        await self._run("raiseHand")

    async def lower_hand(self) -> None:
        await self._run("lowerHand")

    async def set_property(self, name: str, value: Any) -> None:
        """Any other `jitsi_participant_…` property."""
        await self._run("setProperty", name=name, value=value)

    async def send_chat(self, text: str) -> None:
        await self._run("sendChat", text=text)

    async def send_private_chat(self, endpoint_id: str, text: str) -> None:
        await self._run("sendPrivateChat", endpointId=endpoint_id, text=text)

    async def react(self, *reactions: str) -> None:
        """`like`, `clap`, … as the web application sends them, over the bridge."""
        await self._run("react", reactions=list(reactions))

    async def send_endpoint_message(self, payload: dict[str, Any], to: str = "") -> None:
        """Over the bridge, to one endpoint or to all."""
        await self._run("sendEndpointMessage", to=to, payload=payload)

    # Moderating (each waits until this participant is a moderator) ----------------------------------------------------

    async def set_subject(self, subject: str) -> None:
        await self._run("setSubject", subject=subject)

    async def lock(self, password: str) -> None:
        await self._run("lock", password=password)

    async def unlock(self) -> None:
        await self._run("unlock")

    async def kick(self, endpoint_id: str, reason: str = "You have been kicked.") -> None:
        await self._run("kick", endpointId=endpoint_id, reason=reason)

    async def grant_moderator(self, endpoint_id: str) -> None:
        await self._run("grantModerator", endpointId=endpoint_id)

    async def mute_other(self, endpoint_id: str, media: Media = "audio") -> None:
        """Ask for it; whether it took effect is in the other one's log."""
        await self._run("muteOther", endpointId=endpoint_id, media=media)

    async def start_recording(self, mode: str = "file") -> str:
        """Returns the session id when the recording is on."""
        return cast("str", await self._run("startRecording", mode=mode))

    async def stop_recording(self, session_id: str) -> None:
        await self._run("stopRecording", sessionId=session_id)

    async def enable_lobby(self) -> None:
        await self._run("enableLobby")

    async def disable_lobby(self) -> None:
        await self._run("disableLobby")

    async def join_lobby(self, name: str) -> None:
        """Knock, after `join` has failed with `conference.connectionError.membersOnly`."""
        await self._run("joinLobby", name=name)

    async def lobby_approve(self, endpoint_id: str) -> None:
        await self._run("lobbyApprove", endpointId=endpoint_id)

    async def lobby_deny(self, endpoint_id: str) -> None:
        await self._run("lobbyDeny", endpointId=endpoint_id)

    # Looking --------------------------------------------------------------------------------------------------------

    async def peers(self) -> list[Peer]:
        """Who else is here, as the library shows it."""
        found = cast("list[dict[str, Any]]", await self._run("peers"))
        return [Peer(peer["endpointId"], peer["name"], peer["role"], peer["hidden"]) for peer in found]

    async def wait_until_moderator(self) -> None:
        await self._run("untilModerator")

    async def wait_for_bridge_channel(self) -> None:
        await self._run("untilBridgeChannel")

    async def wait_for_event(
        self,
        name: str,
        matches: Callable[..., bool] = lambda *args: True,
        *,
        after: int = 0,
        within_seconds: float = EVENT_TIMEOUT_SECONDS,
    ) -> SeenEvent:
        """The first event of that name, from `events[after]` on, whose arguments match; waits for it if need be."""

        def find() -> SeenEvent | None:
            candidates = (event for event in self.events[after:] if event.name == name)
            return next((event for event in candidates if matches(*event.args)), None)

        return await self._wait(find, f"the event {name}", within_seconds)

    async def wait_for_action(self, kind: str, *, within_seconds: float = EVENT_TIMEOUT_SECONDS) -> Action:
        """The last logged action of that kind; waits for one if there is none."""

        def find() -> Action | None:
            return next((action for action in reversed(self.log) if action.kind == kind), None)

        return await self._wait(find, f"the action {kind}", within_seconds)

    async def _wait(self, find: Callable[[], Found | None], what: str, within_seconds: float) -> Found:
        async with self._news:
            try:
                await asyncio.wait_for(self._news.wait_for(lambda: find() is not None), within_seconds)
            except TimeoutError:
                raise ParticipantError(f"{what} did not come in {within_seconds} s") from None
        found = find()
        assert found is not None
        return found

    # The page -------------------------------------------------------------------------------------------------------

    async def _run(self, command: str, **options: Any) -> Any:
        call = self.page.evaluate("command => window.stackParticipant.run(command)", [command, options])
        try:
            return await asyncio.wait_for(call, COMMAND_TIMEOUT_SECONDS)
        except TimeoutError:
            raise ParticipantError(f"{command} took longer than {COMMAND_TIMEOUT_SECONDS} s") from None
        except PlaywrightError as problem:
            message = problem.message.splitlines()[0]
            if JOIN_FAILED in message:
                raise JoinFailedError(message.rpartition(JOIN_FAILED)[2]) from None
            raise ParticipantError(f"{command}: {message}") from None

    async def _take_report(self, report: dict[str, Any]) -> None:
        """Called by the page, in order."""
        if report["type"] == "action":
            self.log.append(Action(report["kind"], report["endpointId"], report["at"], report["details"]))
        else:
            self.events.append(SeenEvent(report["name"], report["args"], report["at"]))
        async with self._news:
            self._news.notify_all()

    def _log_from_outside(self, kind: str) -> None:
        """For what a page can't report itself; page and test share the machine's clock."""
        self.log.append(Action(kind, self.endpoint_id, int(time.time() * 1000)))


def _devices(audio: bool, video: bool) -> list[str]:
    return [device for device, wanted in (("audio", audio), ("video", video)) if wanted]
