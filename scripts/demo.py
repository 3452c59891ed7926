"""``make demo``: the main job, for real, on this machine.

Starts the local stack, lets four people (Chromium pages with lib-jitsi-meet) hold a short conference, records it
with the very ``meeta-bot record`` that users run into the embedded PostgreSQL, and prints what was recorded. The
user's own settings, such as another database, are left aside.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from meeta_bot.errors import EXIT_INTERRUPTED
from tests.stack.client import Stack, StackError
from tests.stack.participant import Participant, ParticipantBrowser, ParticipantError

ROOM = "weekly-standup"
LOG = Path(__file__).resolve().parent.parent / ".cache" / "demo.log"  # what the recorder said
BOT_NAME = "Event recorder"
RECORDER_JOIN_TIMEOUT = 45.0  # seconds; about 3 on an idle machine
RECORDER_END_TIMEOUT = 60.0
LEFT_ALONE_GRACE = "2"  # seconds; users wait a minute by default
KEPT = ("MEETA_BROWSER", "MEETA_DATA_DIRECTORY")  # of the user's settings: about this machine, not about a meeting
BREATH = 0.7  # seconds in which people look at each other, so that the timeline has a shape

_began = time.monotonic()


class DemoError(Exception):
    """The demo can't go on; the text says why."""


def say(text: str) -> None:
    """Progress for the person who waits."""
    print(f"  {time.monotonic() - _began:5.1f} s  {text}", file=sys.stderr, flush=True)


async def breathe(times: float = 1) -> None:
    """Let time pass in the meeting. Nothing waits for anything here: it is what the recording shows."""
    await asyncio.sleep(BREATH * times)


def environment(**settings: str) -> dict[str, str]:
    """The environment of every ``meeta-bot``: nothing else of the user's settings, no configuration file, no pager."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("MEETA_") or name in KEPT}
    return {**ours, "MEETA_CONFIG": os.devnull, "PAGER": "cat", **settings}


@asynccontextmanager
async def recorder(url: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """``meeta-bot record URL``, told to go soon after the others have gone."""
    command = [sys.executable, "-m", "meeta_bot", "record", url, "--name", BOT_NAME, "--json"]
    with LOG.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *command,
            env=environment(MEETA_LEFT_ALONE_GRACE=LEFT_ALONE_GRACE),
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            start_new_session=True,  # a Ctrl-C is ours; from us it gets one signal, since the second stops at once
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            await finish(process)


async def finish(process: asyncio.subprocess.Process) -> str:
    """Wait for the recorder's end, and kill it if it does not come; what it printed."""
    try:
        out, _ = await asyncio.wait_for(process.communicate(), RECORDER_END_TIMEOUT)
    except TimeoutError:
        process.kill()
        out, _ = await process.communicate()
    return out.decode()


def failure(what: str) -> DemoError:
    """The failure of the recorder, after its own words."""
    sys.stderr.write(LOG.read_text(encoding="utf-8", errors="replace"))
    return DemoError(what)


async def wait_for_recorder(stack: Stack, process: asyncio.subprocess.Process) -> None:
    """Wait until the bot sits in the room."""
    try:
        async with asyncio.timeout(RECORDER_JOIN_TIMEOUT):
            while not any(member.name == BOT_NAME for member in await stack.members(ROOM)):
                if process.returncode is not None:
                    raise failure(f"the recorder ended with exit code {process.returncode}")
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise failure(f"the recorder was not in the room after {RECORDER_JOIN_TIMEOUT:g} s") from None


async def opening(people: ParticipantBrowser, url: str) -> Participant:
    """The first one, before the recorder starts: who is first in a room becomes its moderator."""
    say("Ada opens the meeting")
    ada = await people.participant(url)
    await ada.join("Ada Lovelace")
    return ada


async def conference(
    stack: Stack, people: ParticipantBrowser, ada: Participant, process: asyncio.subprocess.Process
) -> None:
    """A short lively meeting."""
    grace, linus, mallory = [await people.participant(stack.room_url(ROOM)) for _ in range(3)]
    await wait_for_recorder(stack, process)
    say("the recorder has taken its seat")
    await ada.set_subject("Weekly standup")
    await grace.join("Grace Hopper")
    # He joins as clients of 2021 did: his microphone and camera are told by the older presence elements.
    await linus.join("linus", source_names=False)
    await ada.wait_for_bridge_channel()
    await speak(stack, ada)
    await linus.rename("Linus Torvalds")
    await grace.mute_audio()
    await speak(stack, grace, after_unmuting=True)

    say("Ada has it recorded and transcribed")
    session = await stack.start_recording(ROOM, ada.endpoint_id)
    await stack.start_transcription(ROOM)
    await transcribe(stack, ada, "Good morning", "Good morning, everybody, let us begin.")
    await linus.switch_camera()
    await linus.start_screen_share()
    await speak(stack, linus)
    await transcribe(stack, linus, "You can see", "You can see the new scheduler here.")

    say("Grace raises a hand, they chat")
    await grace.raise_hand()
    await ada.send_chat("Grace first, please 🙂")
    await grace.lower_hand()
    await speak(stack, grace)
    await transcribe(stack, grace, "It is easier", "It is easier to ask forgiveness than permission.")
    await linus.stop_screen_share()

    say("Mallory comes, misbehaves, and is removed")
    await mallory.join("Mallory")
    await mallory.send_chat("FREE COINS here: https://example.org")
    await breathe()
    await ada.kick(mallory.endpoint_id, "No advertising")
    await speak(stack, ada)
    await ada.mute_video()
    await stack.stop_transcription(ROOM)
    await stack.stop_recording(ROOM, session, ada.endpoint_id)

    say("everybody leaves")
    for person in (linus, grace, ada):
        await person.leave()
        await breathe(0.5)


async def speak(stack: Stack, person: Participant, *, after_unmuting: bool = False) -> None:
    """This one is the dominant speaker for a while."""
    if after_unmuting:
        await breathe()
        await person.unmute_audio()
    await stack.set_dominant_speaker(ROOM, person.endpoint_id)
    await breathe(1.5)


async def transcribe(stack: Stack, person: Participant, interim: str, final: str) -> None:
    """The transcriber guesses, then knows."""
    name = next(member.name for member in await stack.members(ROOM) if member.endpoint_id == person.endpoint_id)
    message_id = f"message-{person.endpoint_id}-{len(final)}"
    for text, guess in ((interim, True), (final, False)):
        await stack.transcribe(ROOM, person.endpoint_id, text, name=name, message_id=message_id, interim=guess)


async def show(*arguments: str) -> None:
    """Return the output of ``meeta-bot``; the command is shown, since it is what users will type."""
    print(f"\n$ meeta-bot {' '.join(arguments)}\n", flush=True)
    command = [sys.executable, "-m", "meeta_bot", *arguments]
    process = await asyncio.create_subprocess_exec(*command, env=environment())
    if await process.wait():
        raise DemoError(f"meeta-bot {' '.join(arguments)} failed")


async def demo() -> None:
    """All of it.

    :raises DemoError, StackError, ParticipantError: it went wrong.
    """
    LOG.parent.mkdir(exist_ok=True)
    async with Stack.start() as stack, ParticipantBrowser.start() as people:
        say(f"the local Jitsi stack is at {stack.url}")
        ada = await opening(people, stack.room_url(ROOM))
        async with recorder(stack.room_url(ROOM)) as process:
            await conference(stack, people, ada, process)
            printed = await finish(process)
    if process.returncode:
        raise failure(f"the recorder ended with exit code {process.returncode}")
    say("the recorder noticed that it was alone, left, and delivered everything")
    meeting = json.loads(printed)["meeting_id"]
    await show("timeline", meeting)
    await show("participants", meeting)
    await show("events", meeting, "--counts")
    print("\nRecord a room of your own:  make record ROOM=https://your.jitsi.example/YourRoom", file=sys.stderr)


def main() -> int:
    """Run the demo; the exit code."""
    # A Ctrl-C ends Playwright's driver, too, which tells it as an error that nobody waited for.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    try:
        asyncio.run(demo())
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except (DemoError, StackError, ParticipantError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
