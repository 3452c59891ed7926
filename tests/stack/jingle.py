"""Jingle between focus and participants: the offer, and which media sources everybody has. Test equipment.

As jicofo: each member gets a session-initiate from the focus (XEP-0166, XEP-0167) and hears of the others' sources by
source-add and source-remove. Its transport is the bridge's, with a data channel (XEP-0343); or it names the bridge's
websocket, and fingerprint and candidate are made up: it suffices that they parse into SDP. No media flows.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from xml.etree.ElementTree import Element

from tests.stack.stanzas import (
    COLIBRI,
    FOCUS,
    JINGLE,
    JINGLE_GROUPING,
    JINGLE_RTP,
    JINGLE_SOURCES,
    JITMEET,
    element,
    qualified,
    serialize_all,
    split_tag,
)

FEEDBACK = "urn:xmpp:jingle:apps:rtp:rtcp-fb:0"  # XEP-0293
HEADER_EXTENSIONS = "urn:xmpp:jingle:apps:rtp:rtp-hdrext:0"  # XEP-0294
DTLS = "urn:xmpp:jingle:apps:dtls:0"  # XEP-0320
ICE = "urn:xmpp:jingle:transports:ice-udp:1"  # XEP-0176
SCTP_MAP = {
    "xmlns": "urn:xmpp:jingle:transports:dtls-sctp:1",  # XEP-0343
    "number": "5000",
    "protocol": "webrtc-datachannel",
    "streams": "1024",
}
MEDIA = ("audio", "video")
DATA = "data"
SOURCE_ACTIONS = ("session-accept", "source-add", "source-remove")

SourcesByMedia = dict[str, list[Element]]


@dataclass
class MediaSessions:
    """The Jingle sessions of one room, and the sources its members announced."""

    sid_by_endpoint: dict[str, str] = field(default_factory=dict)
    sources_by_endpoint: dict[str, SourcesByMedia] = field(default_factory=dict)
    rewriting: set[str] = field(default_factory=set)  # members who are not told of sources by the focus
    lost: set[str] = field(default_factory=set)  # members who asked too early for another session, and get none

    def forget(self, endpoint_id: str) -> None:
        """A member left."""
        self.sid_by_endpoint.pop(endpoint_id, None)
        self.sources_by_endpoint.pop(endpoint_id, None)
        self.rewriting.discard(endpoint_id)

    def announced(self, endpoint_id: str, jingle: Element, occupant_jid: str) -> SourcesByMedia:
        """Take in a session-accept, source-add or source-remove; returns what the others must be told."""
        changed = sources_in(jingle, occupant_jid)
        known = self.sources_by_endpoint.setdefault(endpoint_id, {})
        for media, sources in changed.items():
            if jingle.get("action") == "source-remove":
                gone = {source.get("ssrc") for source in sources if source.get("ssrc")}
                known[media] = [source for source in known.get(media, []) if source.get("ssrc") not in gone]
            else:
                known.setdefault(media, []).extend(sources)
        return changed

    def sources_for(self, endpoint_id: str) -> dict[str, str]:
        """The others' sources, as markup by media type, for an offer."""
        if endpoint_id in self.rewriting:
            return {}
        others = [sources for owner, sources in self.sources_by_endpoint.items() if owner != endpoint_id]
        return {media: "".join(serialize_all(sources.get(media, [])) for sources in others) for media in MEDIA}


def sources_in(jingle: Element, occupant_jid: str) -> SourcesByMedia:
    """The sources of a Jingle stanza by media type, each marked with its owner as jicofo does."""
    found: SourcesByMedia = {}
    for content in jingle.iter(qualified(JINGLE, "content")):
        for description in content.iter(qualified(JINGLE_RTP, "description")):
            media = description.get("media") or content.get("name") or ""
            for child in description:
                if split_tag(child)[0] == JINGLE_SOURCES:
                    found.setdefault(media, []).append(_with_owner(child, occupant_jid))
    return found


def _with_owner(source: Element, occupant_jid: str) -> Element:
    if split_tag(source)[1] == "source":
        source.append(Element(qualified(JITMEET, "ssrc-info"), {"owner": occupant_jid}))
    return source


def source_change(action: str, sid: str, initiator: str, changed: SourcesByMedia) -> str:
    """The source-add or source-remove that tells a member about another one's sources."""
    contents = (
        element(
            "content",
            {"creator": "initiator", "name": media},
            element("description", {"xmlns": JINGLE_RTP, "media": media}, serialize_all(sources)),
        )
        for media, sources in changed.items()
    )
    return element("jingle", {"xmlns": JINGLE, "action": action, "sid": sid, "initiator": initiator}, *contents)


def session_initiate(
    sid: str,
    initiator: str,
    bridge_url: str | None,
    others_sources: dict[str, str],
    real_transport: dict[str, Any] | None = None,
) -> str:
    """The offer: one bundled audio and video content, and the bridge's websocket or data channel."""
    transport = _transport(bridge_url, real_transport)
    contents = [
        element(
            "content",
            {"creator": "initiator", "name": media, "senders": "both"},
            _description(media, others_sources.get(media, "")),
            transport,
        )
        for media in MEDIA
    ]
    bundled = list(MEDIA)
    if real_transport is not None:
        bundled.append(DATA)
        description = element("description", {"xmlns": JINGLE_RTP, "media": "application"})
        contents.append(
            element(
                "content",
                {"creator": "initiator", "name": DATA, "senders": "both"},
                description,
                _transport(None, real_transport, element("sctpmap", SCTP_MAP)),
            )
        )
    names = (element("content", {"name": media}) for media in bundled)
    return element(
        "jingle",
        {"xmlns": JINGLE, "action": "session-initiate", "initiator": initiator, "sid": sid},
        element("group", {"xmlns": JINGLE_GROUPING, "semantics": "BUNDLE"}, *names),
        element("bridge-session", {"xmlns": FOCUS, "id": secrets.token_hex(4), "region": "local"}),
        *contents,
    )


def session_terminate(sid: str, initiator: str, reason: str) -> str:
    """The end of a session, as when jicofo expires it."""
    attributes = {"xmlns": JINGLE, "action": "session-terminate", "initiator": initiator, "sid": sid}
    return element("jingle", attributes, element("reason", {}, element(reason, {})))


def asks_for_restart(session_terminate: Element) -> bool:
    """A client whose ICE has failed ends its session and wants another one, if `support-terminate-restart` is on."""
    bridge_session = session_terminate.find(qualified(FOCUS, "bridge-session"))
    return bridge_session is not None and bridge_session.get("restart") == "true"


def accepted_transport(session_accept: Element) -> dict[str, Any] | None:
    """What a client accepted: ufrag, pwd, and its fingerprints as (hash, value); None where it says nothing."""
    for transport in session_accept.iter(qualified(ICE, "transport")):
        found = [(one.get("hash", ""), one.text or "") for one in transport.iter(qualified(DTLS, "fingerprint"))]
        if transport.get("ufrag") and found:
            return {"ufrag": transport.get("ufrag"), "pwd": transport.get("pwd"), "fingerprints": found}
    return None


def _transport(bridge_url: str | None, real: dict[str, Any] | None = None, more: str = "") -> str:
    made_up = {
        "ufrag": secrets.token_hex(4),
        "pwd": secrets.token_hex(12),
        "fingerprint": ":".join(f"{byte:02X}" for byte in secrets.token_bytes(32)),
        "ip": "127.0.0.1",
        "port": 9,  # the discard port: nothing answers there
    }
    told = {name: str(value) for name, value in (real or made_up).items()}
    candidate = {
        "component": "1",
        "foundation": "1",
        "generation": "0",
        "id": "local",
        "ip": told["ip"],
        "network": "0",
        "port": told["port"],
        "priority": "2130706431",
        "protocol": "udp",
        "type": "host",
    }
    return element(
        "transport",
        {"xmlns": ICE, "ufrag": told["ufrag"], "pwd": told["pwd"]},
        element("web-socket", {"xmlns": COLIBRI, "url": bridge_url}) if bridge_url else "",
        more,
        element("rtcp-mux", {}),
        element("fingerprint", {"xmlns": DTLS, "hash": "sha-256", "setup": "actpass"}, told["fingerprint"]),
        element("candidate", candidate),
    )


def _description(media: str, sources: str) -> str:
    parts = _audio_parts() if media == "audio" else _video_parts()
    return element("description", {"xmlns": JINGLE_RTP, "media": media}, *parts, sources, element("rtcp-mux", {}))


def _audio_parts() -> Iterator[str]:
    opus = {"id": "111", "name": "opus", "clockrate": "48000", "channels": "2"}
    yield element(
        "payload-type", opus, _parameter("minptime", "10"), _parameter("useinbandfec", "1"), _feedback("transport-cc")
    )
    yield _header_extension("1", "urn:ietf:params:rtp-hdrext:ssrc-audio-level")
    yield _header_extension("5", "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01")


def _video_parts() -> Iterator[str]:
    feedback = (_feedback("ccm", "fir"), _feedback("nack"), _feedback("nack", "pli"), _feedback("transport-cc"))
    yield element("payload-type", {"id": "100", "name": "VP8", "clockrate": "90000"}, *feedback)
    yield element("payload-type", {"id": "96", "name": "rtx", "clockrate": "90000"}, _parameter("apt", "100"))
    yield _header_extension("3", "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time")
    yield _header_extension("5", "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01")


def _parameter(name: str, value: str) -> str:
    return element("parameter", {"name": name, "value": value})


def _feedback(kind: str, subtype: str | None = None) -> str:
    return element("rtcp-fb", {"xmlns": FEEDBACK, "type": kind, "subtype": subtype})


def _header_extension(identifier: str, uri: str) -> str:
    return element("rtp-hdrext", {"xmlns": HEADER_EXTENSIONS, "id": identifier, "uri": uri})
