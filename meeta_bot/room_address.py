"""The address of a Jitsi room, as a person pastes it: the room to which the Jitsi Meet web application gets from it.

Three read it one after the other, and so does this module: the browser (WHATWG URL Standard, by the library ada-url),
the web application (react/features/base/util: `parseURIString`, `getBackendSafeRoomName`, `parseURLParams`), and what
the deployment serves there.
"""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any
from urllib.parse import quote, unquote, unquote_to_bytes, urlsplit

import ada_url
import msgspec

from meeta_bot.errors import InvalidRoomUrl

_TRIMMED = "".join(map(chr, range(0x21)))  # as browsers do; other spaces belong to the name
_EXAMPLE = "give the address that you would open in a browser, such as https://meet.example.org/WeeklyStandup"
_LONGEST_SHOWN = 200  # characters of an address in a message

# A browser would refuse such a host, or take it for another one; before an @, % has its place.
_NO_HOST = re.compile(r"[\s\\<>\"^`{|}]|%[^@]*$")

# Taken out of every part of a path as it stands there, before anything is decoded.
_EXCLUDED = re.compile(r"[:?#\[\]@!$&'()*+,;=></\"]")
_DOTS = re.compile(r"[/\\](\.|%2e){1,2}[/\\]*\s*$", re.IGNORECASE)  # a browser takes them for a folder
_MALFORMED_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_SAFE = "!'()*~-._"  # what encodeURIComponent leaves as it is

# The values of a fragment that concern the connection, of those that the web application takes from a link.
_OVERRIDES = frozenset(
    {"bridgeChannel", "forceTurnRelay", "preferBosh", "useTurnUdp", "webrtcIceTcpDisable", "webrtcIceUdpDisable"}
)


class HttpCredentials(msgspec.Struct, frozen=True):
    """User and password for HTTP authentication, which stand before the host; secrets of that origin alone."""

    user: str
    password: str

    def __repr__(self) -> str:
        return "HttpCredentials(…)"


class RoomAddress(msgspec.Struct, frozen=True):
    """A room and the deployment that has it.

    ``url`` opens the room's page and carries nothing secret; ``deployment`` is the address without the room, with a
    tenant's path, if there is one, in the one form that all its spellings share; ``room`` is the name as lib-jitsi-meet
    takes it. ``token`` (a JSON Web Token) and ``credentials`` are secrets of the link. ``overrides`` are values of the
    deployment's configuration by their dotted names, as JSON. ``typed`` is the path of the address as a person reads
    it, if the room that people get to with it is called otherwise.
    """

    url: str
    deployment: str
    room: str
    token: str | None = None
    credentials: HttpCredentials | None = None
    overrides: tuple[tuple[str, str], ...] = ()
    typed: str | None = None

    def __repr__(self) -> str:
        return f"RoomAddress({self.url!r})"

    @property
    def key(self) -> tuple[str, str]:
        """The identity of a room, the same for all its addresses."""
        return self.deployment, self.room

    @property
    def page_key(self) -> tuple[object, ...]:
        """The identity of a page that serves this room: rooms for which it is the same can share one."""
        return self.url.rpartition("/")[0], self.credentials, self.overrides

    @property
    def shown_path(self) -> str:
        """The room's name for a person, behind its tenant's if there is one."""
        return unquote("/".join([*self.deployment.split("/")[3:], self.room]))

    @property
    def other_name(self) -> str | None:
        """A sentence that says so if people get to another room than the address reads; None if it is the same."""
        if self.typed is None:
            return None
        return (
            f"{self.typed} is the room {self.shown_path}: the web application takes signs such as + & ' ( ) out of "
            "names, and writes some letters alike"
        )


def parse(text: str) -> RoomAddress:
    """Parse the address of a room.

    :raises InvalidRoomUrl: `text` is not an http(s) address, or names no room.
    """
    found = _as_a_browser(text)
    *above, last = [part for part in found.pathname.split("/") if part] or [""]
    bare = _EXCLUDED.sub("", last) if not _DOTS.search(re.split("[?#]", text)[0]) else ""
    room = room_name(bare)
    if room in ("", ".", ".."):
        raise InvalidRoomUrl(f"{_shown(text)} names no room", hint=_EXAMPLE)
    origin = f"{found.protocol}//{found.host}"
    address = RoomAddress(
        url="/".join([origin, *above, quote(_decoded(bare), safe="")]),
        deployment="/".join([origin, *filter(None, (room_name(_EXCLUDED.sub("", part)) for part in above))]),
        room=room,
        token=_token(found),
        credentials=_credentials(found),
        overrides=_overrides(found.hash),
    )
    typed = "/".join(map(_decoded, [*above, last]))
    if unicodedata.normalize("NFC", typed).lower() == address.shown_path:
        return address
    return msgspec.structs.replace(address, typed=typed)


def room_name(text: str) -> str:
    """Return a room's name in lib-jitsi-meet's form: decoded, NFKC, lower case, encoded, lower case again."""
    return quote(unicodedata.normalize("NFKC", _decoded(text)).lower(), safe=_SAFE).lower()


def _as_a_browser(text: str) -> ada_url.URL:
    """Return the address as a browser reads it."""
    stripped = text.strip(_TRIMMED)
    try:
        stripped.encode()  # refuses lone surrogates, as from a command line that is not UTF-8
        whole = stripped if "://" in stripped else f"https://{stripped}"
        parts = urlsplit(whole)
        found = ada_url.URL(whole)
    except ValueError:
        raise InvalidRoomUrl(f"{_shown(text)} is not an http or https address", hint=_EXAMPLE) from None
    if found.protocol not in ("http:", "https:") or not parts.hostname or _NO_HOST.search(parts.netloc):
        raise InvalidRoomUrl(f"{_shown(text)} is not an http or https address", hint=_EXAMPLE)
    return found


def _decoded(text: str) -> str:
    """Decode percent escapes, all of them or, if one is malformed or no UTF-8, none: decodeURIComponent."""
    if _MALFORMED_ESCAPE.search(text):
        return text
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        return text


# --- what else a link carries ---------------------------------------------------------------------------------------


def _token(found: ada_url.URL) -> str | None:
    """Return the token of the fragment, else that of the query."""
    in_fragment = _parameters(found.hash).get("jwt")
    if in_fragment:
        value = _json(in_fragment)
        return value if isinstance(value, str) and value else in_fragment
    return _parameters(found.search).get("jwt") or None


def _credentials(found: ada_url.URL) -> HttpCredentials | None:
    if not found.username and not found.password:
        return None
    return HttpCredentials(unquote(found.username), unquote(found.password))


def _overrides(fragment: str) -> tuple[tuple[str, str], ...]:
    values = []
    for name, text in sorted(_parameters(fragment).items()):
        _, _, key = name.partition("config.")
        if name.startswith("config.") and key.split(".")[0] in _OVERRIDES and _json(text) is not None:
            values.append((key, json.dumps(_json(text))))
    return tuple(values)


def _parameters(query: str) -> dict[str, str]:
    """Return the parameters of a query or fragment by name; as in the web application, a value ends at the next `=`."""
    pairs = (part.split("=") for part in query[1:].split("&"))
    return {pair[0]: unquote(pair[1]) for pair in pairs if len(pair) > 1}


def _json(text: str) -> Any:
    """Return the value of a parameter, with straight quotes where a mail program made others; None for none."""
    straight = text.translate({0x2018: "'", 0x2019: "'", 0x201C: '"', 0x201D: '"'})
    try:
        return json.loads(straight)
    except ValueError:
        return None


def _shown(text: str) -> str:
    """Return `text` as an error message may show it: no tokens, no control characters, not endless."""
    bare = re.sub(r"(^|//)[^/]*@", r"\1", text.strip().split("?")[0].split("#")[0])
    return repr(bare if len(bare) <= _LONGEST_SHOWN else f"{bare[:_LONGEST_SHOWN]}…")
