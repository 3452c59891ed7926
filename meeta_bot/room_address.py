"""The address of a Jitsi room, as a person pastes it, parsed as the Jitsi Meet web application does."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import parse_qs, quote, unquote, urlsplit

import msgspec

from meeta_bot.errors import InvalidRoomUrl

_EXAMPLE = "give the address that you would open in a browser, such as https://meet.example.org/WeeklyStandup"
_PORTS = {"http": 80, "https": 443}  # named in no deployment

# A browser would refuse such a host, or take it for another one; before an @, % has its place.
_NO_HOST = re.compile(r"[\s\\<>\"^`{|}]|%[^@]*$")


class RoomAddress(msgspec.Struct, frozen=True):
    """A room and the deployment that has it.

    ``url`` opens the room's page and carries no token; ``deployment`` is the address without the room, with a
    tenant's path if there is one; ``room`` is the name as lib-jitsi-meet takes it; ``token`` is the JSON Web Token
    of the link, a secret.
    """

    url: str
    deployment: str
    room: str
    token: str | None = None

    def __repr__(self) -> str:
        return f"RoomAddress({self.url!r})"

    @property
    def key(self) -> tuple[str, str]:
        """The identity of a room, the same for all its addresses."""
        return self.deployment, self.room


def parse(text: str) -> RoomAddress:
    """Parse the address of a room.

    :raises InvalidRoomUrl: `text` is not an http(s) address, or names no room.
    """
    stripped = text.strip()
    try:
        stripped.encode()  # refuses lone surrogates, as from a command line that is not UTF-8
        parts = urlsplit(stripped if "://" in stripped else f"https://{stripped}")
        port = parts.port
    except ValueError:
        raise InvalidRoomUrl(f"{_shown(text)} is not an address", hint=_EXAMPLE) from None
    if parts.scheme not in ("http", "https") or not parts.hostname or _NO_HOST.search(parts.netloc):
        raise InvalidRoomUrl(f"{_shown(text)} is not an http or https address", hint=_EXAMPLE)
    path, _, last = parts.path.rstrip("/").rpartition("/")
    room = room_name(last)
    if room in ("", ".", ".."):
        raise InvalidRoomUrl(f"{_shown(text)} names no room", hint=_EXAMPLE)
    host = parts.hostname if ":" not in parts.hostname else f"[{parts.hostname}]"
    usual = port is None or port == _PORTS[parts.scheme]
    deployment = f"{parts.scheme}://{host}{'' if usual else f':{port}'}{path}"
    token = parse_qs(parts.query).get("jwt", [None])[0]
    return RoomAddress(f"{deployment}/{quote(unquote(last), safe='')}", deployment, room, token)


def room_name(text: str) -> str:
    """Return a room's name in lib-jitsi-meet's form: decoded, NFKC, lower case, encoded, lower case again."""
    return quote(unicodedata.normalize("NFKC", unquote(text)).lower(), safe="!'()*~-._").lower()


def _shown(text: str) -> str:
    """Return `text` as an error message may show it: no tokens, no control characters, not endless."""
    bare = re.sub(r"(^|//)[^/]*@", r"\1", text.strip().split("?")[0].split("#")[0])
    return repr(bare if len(bare) <= 200 else f"{bare[:200]}…")
