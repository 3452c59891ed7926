"""The scripted conferences that the tapes hold."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from tests.stack.participant import Participant

if TYPE_CHECKING:
    from tests.tapes.record import Set


async def _person(stage: Set, name: str, *, source_names: bool = True, audio: bool = True) -> Participant:
    person = await stage.people.participant(stage.url)
    await person.join(name, source_names=source_names, audio=audio)
    return person


async def ordinary(stage: Set) -> None:
    """The bot is there first; two people do what people do, one is kicked, the other leaves."""
    alice = await _person(stage, "Alice")
    bot = await stage.bot()
    bob = await _person(stage, "Bob")
    await bot.until("video.unmuted")
    await bob.mute_audio()
    await bot.until("audio.muted")
    await bob.unmute_audio()
    await bot.until("audio.unmuted")
    await bob.mute_video()
    await bot.until("video.muted")
    await bob.start_screen_share()
    await bot.until("screen_share.started")
    await bob.stop_screen_share()
    await bot.until("screen_share.stopped")
    await bob.rename("Robert")
    await bot.until("participant.renamed")
    await bob.raise_hand()
    await bot.until("hand.raised")
    await bob.lower_hand()
    await bot.until("hand.lowered")
    await bob.send_chat("Hello, Alice")
    await bot.until("chat.message")
    await stage.stack.set_password(stage.room, "a made-up word")
    await bot.until("conference.lock_changed")
    await stage.stack.set_password(stage.room, "")
    await bot.until("conference.lock_changed")
    await bob.start_screen_share()
    await bot.until("screen_share.started")
    await bob.leave()
    await bot.until("participant.left")
    await alice.leave()
    await bot.until("participant.left")


async def legacy_presence(stage: Set) -> None:
    """A client without SourceInfo: its presence says audiomuted, videomuted and videoType. The bot comes late."""
    alice = await _person(stage, "Alice", source_names=False)
    bob = await _person(stage, "Bob", source_names=False)
    await bob.wait_for_bridge_channel()
    await alice.mute_audio()
    await alice.start_screen_share()
    await bob.wait_for_event("conference.trackMuteChanged", lambda track: track["track"] == "audio" and track["muted"])
    bot = await stage.bot()
    await alice.stop_screen_share()
    await bot.until("screen_share.stopped")
    await alice.unmute_audio()
    await bot.until("audio.unmuted")
    await alice.mute_video()
    await bot.until("video.muted")
    await alice.start_screen_share()
    await bot.until("screen_share.started")
    await alice.leave()
    await bot.until("participant.left")


async def recording(stage: Set) -> None:
    """A recording by another than who ends it, one that fails, and a live stream."""
    alice = await _person(stage, "Alice")
    bob = await _person(stage, "Bob", audio=False)
    bot = await stage.bot()
    session = await stage.stack.start_recording(stage.room, alice.endpoint_id)
    await bot.until("recording.started")
    await stage.stack.stop_recording(stage.room, session, bob.endpoint_id)
    await bot.until("recording.stopped")
    failing = await stage.stack.start_recording(stage.room, alice.endpoint_id)
    await bot.until("recording.started")
    await stage.stack.fail_recording(stage.room, failing)
    await bot.until("recording.failed")
    stream = await stage.stack.start_recording(stage.room, bob.endpoint_id, mode="stream")
    await bot.until("stream.started")
    await stage.stack.stop_recording(stage.room, stream, bob.endpoint_id)
    await bot.until("stream.stopped")


async def transcription(stage: Set) -> None:
    """A transcriber comes, writes down interim and final texts through the room and over the bridge, and goes."""
    alice = await _person(stage, "Alice")
    bot = await stage.bot()
    await bot.until("bridge_channel.opened")
    await stage.stack.start_transcription(stage.room)
    await bot.until("transcription.started")
    await stage.stack.transcribe(stage.room, alice.endpoint_id, "good", name="Alice", message_id="m-1", interim=True)
    await stage.stack.transcribe(stage.room, alice.endpoint_id, "good morning", name="Alice", message_id="m-1")
    await bot.until("transcript.chunk", lambda payload: not payload.is_interim)
    await stage.stack.transcribe(
        stage.room, alice.endpoint_id, "everybody", name="Alice", message_id="m-2", over_bridge=True
    )
    await bot.until("transcript.chunk")
    await stage.stack.stop_transcription(stage.room)
    await bot.until("transcription.stopped")


async def bridge_channel(stage: Set) -> None:
    """What only the bridge tells: who speaks, connection quality, reactions; and the channel breaks once."""
    alice, bob = await _person(stage, "Alice"), await _person(stage, "Bob")
    await stage.stack.set_dominant_speaker(stage.room, alice.endpoint_id)
    bot = await stage.bot()
    await bot.until("dominant_speaker.changed")
    await stage.stack.set_dominant_speaker(stage.room, bob.endpoint_id)
    await bot.until("dominant_speaker.changed")
    await alice.react("like", "clap")
    await bot.until("reaction.sent")
    for quality in (90, 80):
        await stage.stack.endpoint_stats(stage.room, alice.endpoint_id, {"connectionQuality": quality, "jvbRTT": 12})
    await bot.until("connection.stats_updated", lambda payload: payload.jvb_rtt == 12)
    await alice.send_endpoint_message({"type": "made-up", "secret-sauce": 1})
    await bot.until("message.endpoint")
    await stage.stack.close_bridge_channels(stage.room)
    await bot.until("bridge_channel.opened")
    await bob.leave()
    await bot.until("participant.left")


async def kicked_and_moderated(stage: Set) -> None:
    """A moderator sets a subject, makes somebody else a moderator, kicks one and then the bot."""
    alice = await _person(stage, "Alice")
    bob = await _person(stage, "Bob")
    bot = await stage.bot()
    await alice.set_subject("Quarterly numbers")
    await bot.until("conference.subject_changed")
    await alice.grant_moderator(bob.endpoint_id)
    await bot.until("participant.role_changed", lambda payload: payload.old_role == "participant")
    await alice.kick(bob.endpoint_id, "not now")
    await bot.until("participant.left")
    assert bot.state.own_endpoint_id is not None
    await alice.kick(bot.state.own_endpoint_id, "no bots please")
    await bot.until("capture.kicked")


SCRIPTS: dict[str, Callable[[Set], Awaitable[None]]] = {
    script.__name__: script
    for script in (ordinary, legacy_presence, recording, transcription, bridge_channel, kicked_and_moderated)
}
