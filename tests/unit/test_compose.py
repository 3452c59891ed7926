"""The compose file of the real images against the release that it names, as that was read."""

from __future__ import annotations

import re
from pathlib import Path

COMPOSE = Path(__file__).resolve().parents[1] / "stack" / "compose.yaml"

# docker-jitsi-meet's tag stable-11146-2 (17 August 2026), read on 1 December 2026: of the variables that could matter
# here, those that its docker-compose.yml hands to a service, with the default in that service's templates. None where a
# service does not start without.
RELEASE = "stable-11146-2"
READ: dict[str, dict[str, str | None]] = {
    "web": {
        "ENABLE_P2P": "true",
        "ENABLE_PREJOIN_PAGE": "true",
        "JVB_PREFER_SCTP": "1",
        "PUBLIC_URL": "https://localhost:8443",
        "TZ": "",
        "XMPP_BOSH_URL_BASE": "http://xmpp.meet.jitsi:5280",
    },
    "prosody": {
        "ENABLE_LOBBY": "true",
        "JICOFO_AUTH_PASSWORD": None,
        "JVB_AUTH_PASSWORD": None,
        "PUBLIC_URL": "https://localhost:8443",
        "TZ": "",
    },
    "jicofo": {"JICOFO_AUTH_PASSWORD": None, "TZ": "", "XMPP_SERVER": "xmpp.meet.jitsi"},
    "jvb": {
        "JVB_ADVERTISE_IPS": "",
        "JVB_AUTH_PASSWORD": None,
        "JVB_DISABLE_STUN": "0",
        "TZ": "",
        "XMPP_SERVER": "xmpp.meet.jitsi",
    },
}
# Gone with the bridge's websocket, on 29 July 2026.
NO_LONGER_READ = {"ENABLE_COLIBRI_WEBSOCKET", "COLIBRI_WEBSOCKET_PORT", "DISABLE_COLIBRI_WEBSOCKET_JVB_LOOKUP"}


def services() -> dict[str, dict[str, str]]:
    """The variables that the file gives each service."""
    found: dict[str, dict[str, str]] = {}
    for line in COMPOSE.read_text(encoding="utf-8").splitlines():
        if service := re.fullmatch(r"  (\w+):", line):
            found[service[1]] = {}
        elif variable := re.fullmatch(r"      ([A-Z][A-Z0-9_]+): (.+?)(?: #.*)?", line):
            found[list(found)[-1]][variable[1]] = variable[2].strip('"')
    return found


def test_each_service_gets_what_the_release_reads_and_what_it_does_not_start_without() -> None:
    given = services()
    assert given.keys() == READ.keys()
    for service, variables in given.items():
        assert variables.keys() <= READ[service].keys(), service
        needed = {name for name, default in READ[service].items() if default is None}
        assert needed <= variables.keys(), service
        assert not NO_LONGER_READ & variables.keys()


def test_nothing_is_set_to_what_it_is_anyway_but_the_address() -> None:
    for service, variables in services().items():
        same = {name for name, value in variables.items() if value == READ[service][name]}
        assert same <= {"PUBLIC_URL"}, service


def test_parts_that_share_a_password_have_the_same_one() -> None:
    given = services()
    assert given["prosody"]["JICOFO_AUTH_PASSWORD"] == given["jicofo"]["JICOFO_AUTH_PASSWORD"]
    assert given["prosody"]["JVB_AUTH_PASSWORD"] == given["jvb"]["JVB_AUTH_PASSWORD"]


def test_the_images_are_of_the_release_that_was_read() -> None:
    images = re.findall(
        r"image: \S*\S/(\w+):(\S+)", COMPOSE.read_text(encoding="utf-8").replace(" the head of this file", "")
    )
    assert dict(images) == dict.fromkeys(READ, RELEASE)
    assert "xmpp.meet.jitsi" in COMPOSE.read_text(encoding="utf-8")  # the default of XMPP_SERVER
