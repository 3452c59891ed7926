"""Capabilities of a deployment, by the keys of its configuration, its library, and the services that its server
announces to those who are logged in. Nothing is promised: only a meeting shows what really happens.
"""

from __future__ import annotations

from meeta_bot.capture.browser.probe_page import ConfigValue, PageContents
from meeta_bot.doctor.checks import Examination, Finding, note, ok, warning

# All that is read of a configuration; each name is a key of Jitsi Meet's config.js.
KEYS = (
    "hosts.domain",
    "hosts.muc",
    "hosts.anonymousdomain",
    "websocket",
    "bosh",
    "preferBosh",
    "tokenAuthUrl",
    "hiddenDomain",
    "transcription.enabled",
    "transcribingEnabled",
    "recordingService.enabled",
    "fileRecordingsEnabled",
    "liveStreaming.enabled",
    "liveStreamingEnabled",
    "p2p.enabled",
    "e2eping.enabled",
    "bridgeChannel.preferSctp",
    "openBridgeChannel",
    "flags.sourceNameSignaling",
    "visitors.queueService",
)
_UNRECOGNIZED = "without hiddenDomain, recorders and transcribers look like people"
_SOURCES_EVENT = "conference.participant_source_updated"
_VISITORS_EVENT = "conference.visitorsSupported"


async def access(examination: Examination) -> Finding:
    """Check whether people need accounts or tokens."""
    config = examination.seen.config
    parts = []
    if config["tokenAuthUrl"]:
        parts.append("tokens are issued by a login service (tokenAuthUrl)")
    if config["hosts.anonymousdomain"]:
        parts.append("guests are distinguished from accounts (hosts.anonymousdomain); rooms may wait for an account")
    return note("; ".join(parts) or "no sign of accounts or tokens (tokenAuthUrl, hosts.anonymousdomain)")


async def sources(examination: Examination) -> Finding:
    """Check the way in which microphones, cameras and screens are announced."""
    seen = examination.seen
    if _SOURCES_EVENT in seen.conference_events:
        return note(f"each source by its name in SourceInfo (the library has {_SOURCES_EVENT})")
    if seen.config["flags.sourceNameSignaling"]:
        return note("each source by its name in SourceInfo (flags.sourceNameSignaling)")
    return note("by audiomuted, videomuted and videoType, as older libraries do")


async def bridge_channel(examination: Examination) -> Finding:
    """Check the channel of dominant speaker and statistics."""
    config = examination.seen.config
    prefer, older = config["bridgeChannel.preferSctp"], config["openBridgeChannel"]
    if prefer is True:
        return note("data channel if the bridge offers one (bridgeChannel.preferSctp): needs UDP or TURN to the bridge")
    if prefer is False:
        return note("websocket (bridgeChannel.preferSctp is false)")
    if older is not None:
        return note(f"openBridgeChannel is {_on_or_off(older)}")
    return note("not set (bridgeChannel.preferSctp); library and bridge decide")


async def peer_to_peer(examination: Examination) -> Finding:
    """Check the fate of calls of two."""
    enabled = examination.seen.config["p2p.enabled"]
    if enabled is False:
        return note("off (p2p.enabled)")
    state = "on (p2p.enabled)" if enabled else "not set (p2p.enabled)"
    return note(f"{state}; a call of two goes over the bridge while the bot is there")


async def ping(examination: Examination) -> Finding:
    """Check whether clients measure the way to each other."""
    return note(_switch(examination.seen, "e2eping.enabled"))


async def transcription(examination: Examination) -> Finding:
    """Check whether meetings can be transcribed."""
    return _service(examination.seen, _switch(examination.seen, "transcription.enabled", "transcribingEnabled"))


async def recording(examination: Examination) -> Finding:
    """Check whether the deployment can record or stream meetings."""
    files = _switch(examination.seen, "recordingService.enabled", "fileRecordingsEnabled")
    stream = _switch(examination.seen, "liveStreaming.enabled", "liveStreamingEnabled")
    return _service(examination.seen, f"{files}; streaming {stream}")


async def visitors(examination: Examination) -> Finding:
    """Check whether people can come as visitors, who only watch."""
    if examination.seen.config["visitors.queueService"]:
        return note("there is a queue for visitors (visitors.queueService)")
    if _VISITORS_EVENT in examination.seen.conference_events:
        return note(f"announced inside a room only ({_VISITORS_EVENT})")
    return note(f"unknown to this library (no {_VISITORS_EVENT})")


async def lobby(examination: Examination) -> Finding:
    """Check whether the server has lobbies."""
    return _announced(examination, "lobbyrooms", "only moderators learn who waits in it")


async def breakout_rooms(examination: Examination) -> Finding:
    """Check whether the server has breakout rooms."""
    return _announced(examination, "breakout_rooms", None)


async def moderation(examination: Examination) -> Finding:
    """Check whether moderators can forbid people to unmute."""
    return _announced(examination, "av_moderation", "only moderators learn who was allowed to unmute")


def _announced(examination: Examination, service: str, restriction: str | None) -> Finding:
    announced = examination.connected.announced
    if announced is None:
        return note("the server did not say which services it has")
    if service not in announced:
        return note(f"not announced by the server ({service})")
    return note(f"announced by the server ({service})" + (f"; {restriction}" if restriction else ""))


def _service(seen: PageContents, found: str) -> Finding:
    """Return the finding on a service that takes part in the room under a domain of its own."""
    if "on (" in found and not seen.config["hiddenDomain"]:
        return warning(f"{found}; {_UNRECOGNIZED}", "set hiddenDomain in the deployment's config.js")
    return note(found)


def _switch(seen: PageContents, *keys: str) -> str:
    """Return the value of the first of `keys`, newest first, that the configuration has."""
    for key in keys:
        value = seen.config[key]
        if value is not None:
            return f"{_on_or_off(value)} ({key})"
    return f"not set ({keys[0]})"


def _on_or_off(value: ConfigValue) -> str:
    return {True: "on", False: "off"}.get(value, str(value)) if isinstance(value, bool) else str(value)


async def library(examination: Examination) -> Finding:
    """Check the library that the deployment serves."""
    seen = examination.seen
    version = seen.library_version or "of unknown version"
    return ok(f"lib-jitsi-meet {version}, {len(seen.conference_events)} conference events")
