"""The local stack does what the tests of the recorder rely on: real clients meet in it, and its faults look
like faults."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.stack.client import REPOSITORY, Shape, Stack, StackError
from tests.stack.participant import JoinFailedError, Participant, ParticipantBrowser

pytestmark = pytest.mark.asyncio(loop_scope="module")

Open = Callable[..., Awaitable[Participant]]


@dataclass
class Meeting:
    """Alice announces sources by name over a websocket, and is the moderator.

    Bob announces them in the old way over BOSH, and came by the page with the inlined configuration.
    """

    room: str
    alice: Participant
    bob: Participant


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack() -> AsyncIterator[Stack]:
    async with Stack.start(hibernation_seconds=2) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[ParticipantBrowser]:
    async with ParticipantBrowser.start() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def meeting(stack: Stack, browser: ParticipantBrowser) -> Meeting:
    alice, bob = await asyncio.gather(
        browser.participant(stack.room_url("Meeting")), browser.participant(stack.room_url("Meeting", "inlined"))
    )
    await alice.join("Alice")
    await bob.join("Bob", source_names=False, transport="bosh")
    await alice.wait_for_bridge_channel()
    await bob.wait_for_bridge_channel()
    return Meeting("meeting", alice, bob)


@pytest_asyncio.fixture(loop_scope="module")
async def open_page(stack: Stack, browser: ParticipantBrowser) -> AsyncIterator[Open]:
    """Opens room pages and closes them after the test."""
    opened: list[Participant] = []

    async def open_one(room: str, shape: Shape = "plain") -> Participant:
        participant = await browser.participant(stack.room_url(room, shape))
        opened.append(participant)
        return participant

    yield open_one
    await asyncio.gather(*(participant.close() for participant in opened))


def sources_of(value: str) -> dict[str, dict[str, Any]]:
    """SourceInfo without the endpoint id in its keys: `a0`, `v0`."""
    return {name.rpartition("-")[2]: state for name, state in json.loads(value).items()}


async def test_participants_see_each_other(stack: Stack, meeting: Meeting) -> None:
    [bob] = await meeting.alice.peers()
    [alice] = await meeting.bob.peers()
    assert (alice.name, alice.endpoint_id) == ("Alice", meeting.alice.endpoint_id)
    assert (bob.name, bob.endpoint_id, bob.hidden) == ("Bob", meeting.bob.endpoint_id, False)
    assert [member.name for member in await stack.members("meeting")] == ["Alice", "Bob"]


async def test_first_participant_becomes_moderator(meeting: Meeting) -> None:
    await meeting.alice.wait_until_moderator()
    [alice] = await meeting.bob.peers()
    assert alice.role == "moderator"


async def test_meeting_id_and_creation_time_are_the_same_for_all(meeting: Meeting) -> None:
    for name in ("conference.unique_id_set", "conference.createdTimestamp"):
        seen_by_alice = await meeting.alice.wait_for_event(name)
        seen_by_bob = await meeting.bob.wait_for_event(name)
        assert seen_by_alice.args == seen_by_bob.args
        assert seen_by_alice.args[0]


async def test_web_application_never_ran(stack: Stack, meeting: Meeting) -> None:
    assert await meeting.alice.page.evaluate("window.APP_BUNDLE_RAN") is None
    paths = await stack.requested_paths()
    assert paths["/libs/lib-jitsi-meet.min.js"] >= 1
    assert not {"/libs/app.bundle.min.js", "/css/all.css", "/manifest.json", "/images/favicon.ico"} & set(paths)


async def test_dominant_speaker_reaches_peers(stack: Stack, meeting: Meeting) -> None:
    await stack.set_dominant_speaker("meeting", meeting.bob.endpoint_id)
    await stack.set_dominant_speaker("meeting", meeting.alice.endpoint_id)
    speakers = {"alice": meeting.alice.endpoint_id, "bob": meeting.bob.endpoint_id}
    for listener in (meeting.alice, meeting.bob):
        event = await listener.wait_for_event(
            "conference.dominantSpeaker", lambda speaker, *_: speaker == speakers["alice"]
        )
        assert event.args[1] == [speakers["bob"]]


async def test_speaker_is_said_again_when_a_bridge_channel_opens(stack: Stack, meeting: Meeting) -> None:
    seen = len(meeting.alice.events)
    assert await stack.close_bridge_channels("meeting", 1011) == 2
    await stack.set_dominant_speaker("meeting", meeting.bob.endpoint_id)  # nobody hears it now
    await meeting.alice.wait_for_event("conference.dataChannelOpened", after=seen)
    event = await meeting.alice.wait_for_event("conference.dominantSpeaker", after=seen)
    assert event.args[0] == meeting.bob.endpoint_id
    await meeting.bob.wait_for_bridge_channel()


async def test_media_sessions_can_be_restarted(stack: Stack, meeting: Meeting) -> None:
    seen = len(meeting.bob.events)
    await stack.restart_media("meeting")
    await meeting.bob.wait_for_event("conference.dataChannelOpened", after=seen)
    await meeting.alice.wait_for_bridge_channel()


async def test_mute_is_in_source_info(meeting: Meeting) -> None:
    seen = len(meeting.bob.events)
    await meeting.alice.mute_audio()
    await meeting.alice.mute_video()

    def muted(_: str, value: str) -> bool:
        sources = sources_of(value)
        return all(sources.get(name, {}).get("muted") for name in ("a0", "v0"))

    await meeting.bob.wait_for_event("presence.SourceInfo", muted, after=seen)
    await meeting.alice.unmute_audio()
    await meeting.alice.unmute_video()
    assert meeting.alice.kinds()[-4:] == ["audio_muted", "video_muted", "audio_unmuted", "video_unmuted"]


async def test_mute_of_an_older_client_is_in_its_own_elements(meeting: Meeting) -> None:
    bob = meeting.bob.endpoint_id
    await meeting.alice.wait_for_event("presence.audiomuted", lambda who, value: (who, value) == (bob, "false"))
    await meeting.bob.mute_audio()
    await meeting.alice.wait_for_event("presence.audiomuted", lambda who, value: (who, value) == (bob, "true"))
    await meeting.bob.unmute_audio()
    assert not [event for event in meeting.alice.events if event.name == "presence.SourceInfo" and event.args[0] == bob]


async def test_who_mutes_right_after_joining_was_seen_unmuted_before(meeting: Meeting, open_page: Open) -> None:
    hasty = await open_page("Meeting")
    await hasty.join("Hasty", source_names=False)
    await hasty.mute_audio()
    seen = (hasty.endpoint_id, "true")
    await meeting.alice.wait_for_event("presence.audiomuted", lambda who, value: (who, value) == seen)
    told = [event.args for event in meeting.alice.events if event.name == "presence.audiomuted"]
    values = [value for who, value in told if who == hasty.endpoint_id]
    assert values == ["false", "true"]
    await hasty.leave()


async def test_screen_share_is_in_presence(meeting: Meeting) -> None:
    seen = len(meeting.bob.events)
    await meeting.alice.start_screen_share()
    await meeting.bob.wait_for_event(
        "presence.SourceInfo", lambda _, value: sources_of(value)["v0"].get("videoType") == "desktop", after=seen
    )
    await meeting.alice.stop_screen_share()
    await meeting.bob.start_screen_share()
    await meeting.alice.wait_for_event("presence.videoType", lambda _, value: value == "desktop")
    await meeting.bob.stop_screen_share()
    await meeting.alice.wait_for_event("presence.videoType", lambda _, value: value == "camera")
    assert meeting.alice.kinds()[-2:] == ["screen_share_started", "screen_share_stopped"]


async def test_switching_the_camera_keeps_it_a_camera(meeting: Meeting) -> None:
    await meeting.alice.switch_camera()
    assert meeting.alice.log[-1].kind == "camera_switched"


async def test_hand_and_name(meeting: Meeting) -> None:
    await meeting.alice.raise_hand()
    await meeting.alice.lower_hand()
    await meeting.alice.rename("Alice the Second")
    raised = str(meeting.alice.log[-3].details["raised_at_ms"])
    changed = "conference.participant_property_changed"
    await meeting.bob.wait_for_event(changed, lambda _, name, old, new: (name, new) == ("raisedHand", raised))
    await meeting.bob.wait_for_event(
        changed, lambda _, name, old, new: (name, old, new) == ("raisedHand", raised, None)
    )
    await meeting.bob.wait_for_event("conference.displayNameChanged", lambda _, name: name == "Alice the Second")


async def test_messages(meeting: Meeting) -> None:
    alice = meeting.alice.endpoint_id
    await meeting.alice.send_chat("Good morning <all> & everybody")
    await meeting.alice.send_private_chat(meeting.bob.endpoint_id, "psst")
    await meeting.alice.react("like", "clap")
    said = await meeting.bob.wait_for_event("conference.messageReceived", lambda who, *_: who == alice)
    assert said.args[1] == "Good morning <all> & everybody"
    await meeting.bob.wait_for_event(
        "conference.privateMessageReceived", lambda who, text, *_: (who, text) == (alice, "psst")
    )
    reaction = await meeting.bob.wait_for_event(
        "conference.endpoint_message_received", lambda _, message: message.get("name") == "endpoint-reaction"
    )
    assert reaction.args[1]["reactions"] == ["like", "clap"]


async def test_endpoint_stats(stack: Stack, meeting: Meeting) -> None:
    await stack.endpoint_stats("meeting", meeting.bob.endpoint_id, {"connectionQuality": 42})
    event = await meeting.alice.wait_for_event(
        "conference.endpoint_stats_received", lambda _, stats: stats.get("connectionQuality") == 42
    )
    assert event.args[0]["endpointId"] == meeting.bob.endpoint_id


async def test_subject(meeting: Meeting) -> None:
    await meeting.alice.set_subject("Plans")
    await meeting.bob.wait_for_event("conference.subjectChanged", lambda subject: subject == "Plans")


async def test_recording_asked_for_by_a_moderator(stack: Stack, meeting: Meeting) -> None:
    session_id = await meeting.alice.start_recording()
    [recorder] = [member for member in await stack.members("meeting") if member.hidden]
    assert recorder.endpoint_id.startswith("jibri-")
    await meeting.alice.stop_recording(session_id)
    statuses = await recording_statuses(meeting.bob, session_id, until="off")
    assert statuses == ["pending", "on", "off"]


async def test_recording_by_command_can_fail(stack: Stack, meeting: Meeting) -> None:
    session_id = await stack.start_recording("meeting", meeting.alice.endpoint_id, mode="stream")
    await stack.fail_recording("meeting", session_id, "error")
    await recording_statuses(meeting.bob, session_id, until="off")
    failed = meeting.bob.events[-1]
    assert (failed.args[0]["error"], failed.args[0]["mode"]) == ("error", "stream")


async def recording_statuses(participant: Participant, session_id: str, until: str) -> list[str]:
    """Every status of that session in the order of coming, the repeated ones once."""
    name = "conference.recorderStateChanged"
    await participant.wait_for_event(
        name, lambda session: (session["sessionId"], session["status"]) == (session_id, until)
    )
    sessions = [event.args[0] for event in participant.events if event.name == name]
    statuses = [session["status"] for session in sessions if session["sessionId"] == session_id]
    return list(dict.fromkeys(status for status in statuses if status))


async def test_transcription(stack: Stack, meeting: Meeting) -> None:
    bob = meeting.bob.endpoint_id
    with pytest.raises(StackError, match="has no transcriber"):
        await stack.transcribe("meeting", bob, "too early", name="Bob", message_id="m0")
    await stack.start_transcription("meeting")
    await stack.transcribe("meeting", bob, "hel", name="Bob", message_id="m1", interim=True)
    await stack.transcribe("meeting", bob, "hello", name="Bob", message_id="m1")
    await stack.stop_transcription("meeting")
    statuses = [
        await meeting.alice.wait_for_event(
            "conference.transcriptionStatusChanged", lambda status, *_, w=wanted: status == w
        )
        for wanted in ("ON", "OFF")
    ]
    assert statuses[0].at_ms <= statuses[1].at_ms
    final = await meeting.alice.wait_for_event(
        "conference.endpoint_message_received",
        lambda _, message: message.get("type") == "transcription-result" and not message["is_interim"],
    )
    assert final.args[1]["transcript"][0]["text"] == "hello"
    assert final.args[1]["participant"] == {"id": bob, "name": "Bob"}


async def test_moderator_mutes_promotes_and_kicks(open_page: Open) -> None:
    alice, bob = await asyncio.gather(open_page("moderation"), open_page("moderation"))
    await alice.join("Alice", audio=False, video=False)
    await bob.join("Bob", video=False)
    await bob.wait_for_bridge_channel()
    await alice.mute_other(bob.endpoint_id)
    muted = await bob.wait_for_action("audio_muted")
    assert muted.details == {"by": alice.endpoint_id}
    await alice.grant_moderator(bob.endpoint_id)
    await bob.wait_until_moderator()
    await bob.kick(alice.endpoint_id, "enough")
    kicked = await alice.wait_for_action("kicked")
    assert kicked.details == {"by": bob.endpoint_id, "reason": "enough"}
    assert bob.log[-1].kind == "kick"


async def test_moderator_rights_are_handed_over(stack: Stack, open_page: Open) -> None:
    alice, bob = await asyncio.gather(open_page("Grüße"), open_page("Grüße"))
    await alice.join("Alice", audio=False, video=False)
    await alice.wait_until_moderator()
    await bob.join("Bob", audio=False, video=False)
    await bob.wait_for_bridge_channel()
    assert bob.endpoint_id in await stack.bridge_channels("gr%c3%bc%c3%9fe")
    await alice.leave()
    assert alice.kinds() == ["joined", "role_changed", "left"]
    await bob.wait_until_moderator()


async def test_locked_room(stack: Stack, open_page: Open) -> None:
    alice, bob = await asyncio.gather(open_page("locked"), open_page("locked"))
    await alice.join("Alice", audio=False, video=False)
    await alice.lock("sesame")
    for password in (None, "wrong"):
        with pytest.raises(JoinFailedError) as refusal:
            await bob.join("Bob", audio=False, video=False, password=password)
        assert refusal.value.error == "conference.passwordRequired"
    assert bob.kinds() == []
    await bob.join("Bob", audio=False, video=False, password="sesame")
    session_id = await stack.start_recording("locked", alice.endpoint_id)  # the recorder needs no password
    await stack.stop_recording("locked", session_id, alice.endpoint_id)
    await alice.unlock()
    await bob.wait_for_event("conference.lock_state_changed", lambda locked: locked is False)


async def test_lobby(open_page: Open) -> None:
    alice, bob = await asyncio.gather(open_page("lobby"), open_page("lobby"))
    await alice.join("Alice", audio=False, video=False)
    await alice.enable_lobby()
    with pytest.raises(JoinFailedError) as refusal:
        await bob.join("Bob", audio=False, video=False)
    assert refusal.value.error == "conference.connectionError.membersOnly"
    await bob.join_lobby("Bob")
    knock = await alice.wait_for_event("conference.lobby.userJoined")
    assert knock.args[1] == "Bob"
    await alice.lobby_approve(knock.args[0])
    await bob.wait_joined(audio=False, video=False)
    assert bob.kinds() == ["lobby_joined", "joined"]


async def test_inlined_page_needs_no_config_script(meeting: Meeting) -> None:
    scripts = "[...document.scripts].filter(script => script.src.includes('/config.js')).length"
    assert await meeting.alice.page.evaluate(scripts) == 1
    assert await meeting.bob.page.evaluate(scripts) == 0
    assert await meeting.bob.page.evaluate("window.config.hosts.domain") == "meet.jitsi"


async def test_pages_without_library(stack: Stack, open_page: Open) -> None:
    look = "[typeof window.config, typeof window.JitsiMeetJS]"
    page = (await open_page("x", shape="nolibrary")).page
    assert await page.evaluate(look) == ["object", "undefined"]
    await page.goto(stack.room_url("x", "notjitsi"))
    assert await page.evaluate(look) == ["undefined", "undefined"]


async def test_destroyed_room(stack: Stack, open_page: Open) -> None:
    alice = await open_page("destroyed")
    await alice.join("Alice", audio=False, video=False)
    await stack.destroy_room("destroyed", "The meeting has been terminated")
    destroyed = await alice.wait_for_action("room_destroyed")
    assert destroyed.details == {"reason": "The meeting has been terminated"}
    assert await stack.members("destroyed") == []


async def test_focus_that_is_not_ready_is_asked_again(stack: Stack, open_page: Open) -> None:
    await stack.inject_conference_error("not-ready", room="later")
    alice = await open_page("later")
    await alice.join("Alice", audio=False, video=False)
    await alice.wait_until_moderator()


async def test_conference_error_is_answered(stack: Stack, open_page: Open) -> None:
    """In the npm build of December 2021 moderator.js emits `undefined` for these errors: no event ever comes."""
    await stack.inject_conference_error("not-authorized", room="refused")
    alice = await open_page("refused")
    refused = asyncio.Event()

    def watch(frame: bytes | str) -> None:
        if "<not-authorized" in str(frame):
            refused.set()

    alice.page.on("websocket", lambda websocket: websocket.on("framereceived", watch))
    join = asyncio.create_task(alice.join("Alice", audio=False, video=False))
    await asyncio.wait_for(refused.wait(), 10)
    join.cancel()
    await asyncio.wait([join])
    assert alice.kinds() == []


async def test_crashed_page_keeps_its_seat_until_the_server_gives_up(stack: Stack, open_page: Open) -> None:
    alice, bob = await asyncio.gather(open_page("crash"), open_page("crash"))
    await alice.join("Alice", audio=False, video=False)
    await bob.join("Bob", audio=False, video=False)
    await bob.crash()
    assert [member.name for member in await stack.members("crash")] == ["Alice", "Bob"]
    left = await alice.wait_for_event("conference.userLeft")
    assert left.args[0] == bob.endpoint_id
    assert left.at_ms - bob.log[-1].at_ms > 1000
    assert bob.kinds()[-1] == "crashed"


async def test_websocket_is_resumed_after_a_cut(stack: Stack, open_page: Open) -> None:
    alice = await open_page("resume", shape="tenant")
    endpoint_id = await alice.join("Alice", audio=False, video=False)
    seen = len(alice.events)
    assert await stack.cut_signalling() >= 1
    await alice.wait_for_event("connection.connectionEstablished", after=seen)
    await alice.send_chat("still here")
    assert [member.endpoint_id for member in await stack.members("resume")] == [endpoint_id]
    assert alice.kinds() == ["joined", "role_changed", "chat_sent"]


async def test_server_comes_back(browser: ParticipantBrowser) -> None:
    async with Stack.start() as fresh:
        await fresh.prosody("restart")
        await fresh.prosody("freeze")
        await fresh.prosody("thaw")
        await fresh.prosody("kill")
        with pytest.raises(StackError, match="not running"):
            await fresh.prosody("freeze")
        await fresh.prosody("start")
        alice = await browser.participant(fresh.room_url("after"))
        await alice.join("Alice", audio=False, video=False)
        await alice.close()


async def test_unknown_command_is_an_error(stack: Stack) -> None:
    with pytest.raises(StackError, match="nobody is in the room"):
        await stack.destroy_room("nowhere")


async def test_listens_on_loopback_only(stack: Stack) -> None:
    pids = [stack.pid, *(await stack.processes()).values()]
    addresses = [address for pid in pids for address in listening_addresses(pid)]
    assert len(addresses) == 3  # front door, Prosody's HTTP, Prosody's component port
    assert {address.partition(":")[0] for address in addresses} == {"0100007F"}


def listening_addresses(pid: int) -> list[str]:
    """Local addresses of a process's listening TCP sockets, as the kernel writes them in hexadecimal."""
    inodes = {str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()}
    rows = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
    ]
    listening = "0A"
    return [row[1] for row in rows if row[3] == listening and f"socket:[{row[9]}]" in inodes]


PARENT = """
import asyncio, json
from tests.stack.client import Stack

async def main():
    async with Stack.start() as stack:
        print(json.dumps([stack.pid, *(await stack.processes()).values()]), flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_no_process_survives_a_killed_parent() -> None:
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, cwd=REPOSITORY, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    pids = json.loads(await asyncio.wait_for(parent.stdout.readline(), 30))
    assert len(pids) == 2
    descriptors = [os.pidfd_open(pid) for pid in pids]
    parent.send_signal(signal.SIGKILL)
    await asyncio.wait_for(asyncio.gather(*(process_end(descriptor) for descriptor in descriptors)), 10)
    await parent.wait()


async def process_end(descriptor: int) -> None:
    """Returns when the process of a pidfd has ended; it need not be a child."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
