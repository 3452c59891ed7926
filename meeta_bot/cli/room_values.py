"""The values that a list of rooms gives for one room: a table of TOML, or an object of JSON Lines.

Nothing of a secret is in an error: of ``password`` and ``token`` the message says what is wrong, never what was there.
"""

from __future__ import annotations

import difflib
import math
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from pydantic import SecretStr

from meeta_bot import room_address
from meeta_bot.cli import console
from meeta_bot.errors import UsageError
from meeta_bot.room_address import RoomAddress

_CONTROLS = ("Cc", "Cs")  # no value needs them, and PostgreSQL's texts can't hold all of them


class ListedRoom(msgspec.Struct, frozen=True):
    """A room of a list: its address, and the fields of its request that the list gives."""

    address: RoomAddress
    own: dict[str, Any] = {}

    @property
    def has_secret(self) -> bool:
        """Tell if a password or a token stands in the list itself."""
        secrets = (self.address.token, self.address.credentials)
        return any(secret is not None for secret in secrets) or not self.own.keys().isdisjoint(("password", "token"))

    def is_like(self, other: ListedRoom) -> bool:
        """Tell if two lines about one room ask for the same."""
        return (_asked(self.address), self.own) == (_asked(other.address), other.own)


def _asked(address: RoomAddress) -> tuple[object, ...]:
    """Return what a link asks for beside the room, which has many spellings."""
    return address.token, address.credentials, address.overrides


def parse(values: object, folder: Path) -> ListedRoom:
    """Return the room that `values` name; files are looked for in `folder` unless their path is absolute.

    :raises UsageError: a value is missing, unknown or of the wrong kind, or a file can't be read.
    """
    if not isinstance(values, dict):
        raise UsageError("is not a table of values", hint=_HOW)
    for key in values:
        if key != "url" and key not in _PARSERS:
            raise UsageError(f"has an unknown key {key[:_LONGEST_KEY]!r}", hint=_similar(str(key)))
    for kind in ("password", "token"):
        if kind in values and f"{kind}_file" in values:
            raise UsageError(f"has both {kind} and {kind}_file", hint=f"keep one of them; {kind}_file is safer")
    if "url" not in values:
        raise UsageError("has no url", hint="give the address of the room, as in a browser")
    address = room_address.parse(_text(values["url"], "url"))
    own = {key: _PARSERS[key](value, key, folder) for key, value in values.items() if key != "url"}
    return ListedRoom(address, own)


def shown(values: object) -> str:
    """Return the address among `values` as an error may name it, in brackets and without a token; or nothing."""
    try:
        url = values["url"] if isinstance(values, dict) else None
        return f" ({room_address.parse(url).url})" if isinstance(url, str) else ""
    except (KeyError, UsageError):
        return ""


def _similar(key: str) -> str:
    close = difflib.get_close_matches(key.lower(), ["url", *_PARSERS], 1)
    return f"did you mean {close[0]!r}?" if close else f"known are url, {', '.join(_PARSERS)}"


def _text(value: object, key: str) -> str:
    if not isinstance(value, str):
        raise UsageError(f"has a {key} that is not a text", hint="write it in quotes")
    if not value.strip():
        raise UsageError(f"has an empty {key}", hint=f"leave {key} out, or give it a value")
    if any(unicodedata.category(character) in _CONTROLS for character in value):
        raise UsageError(f"has a {key} with a control character", hint="write it on one line, without escapes")
    return value


def _plain(value: object, key: str, _folder: Path) -> str:
    return _text(value, key)


def _secret(value: object, key: str, _folder: Path) -> SecretStr:
    return SecretStr(_text(value, key))


def _file(value: object, key: str, folder: Path) -> Path:
    """Return the path of a file that holds a secret; it can be read now, and is read again for every login."""
    name = _text(value, key)
    if name == "-":
        raise UsageError(f"has a {key} of -", hint="name a file; only the command line's options read standard input")
    path = folder / name
    try:
        console.read_secret(str(path))
    except UsageError as error:
        hint = "write it into the first line of a file that only you can read"
        raise UsageError(f"has a {key} that can't be used: {error}", hint=hint) from None
    return path


def _duration(value: object, key: str, _folder: Path) -> float:
    seconds = math.nan
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value) if abs(value) < _LONGEST_SECONDS else math.inf
    elif isinstance(value, str):
        try:
            seconds = console.parse_duration(value)
        except UsageError:
            seconds = math.nan
    least_is_allowed = key == "left_alone_grace"
    if not math.isfinite(seconds) or seconds < 0 or (seconds == 0 and not least_is_allowed):
        hint = 'write a number of seconds, or a text such as "90s", "15m" or "1h30m"'
        raise UsageError(f"has a {key} that is not a duration", hint=hint)
    return seconds


def _labels(value: object, key: str, _folder: Path) -> dict[str, str]:
    if not isinstance(value, dict):
        raise UsageError(f"has {key} that are not a table", hint='write labels = { team = "sales" }')
    return {
        _text(name, "label's name"): _text(label, f"label {name[:_LONGEST_KEY]!r}") for name, label in value.items()
    }


_LONGEST_KEY = 60  # characters of a key that a message repeats
_LONGEST_SECONDS = 1e12  # numbers of any length may stand in a file
_HOW = 'give it a url, such as url = "https://meet.example.org/Standup"'
_PARSERS: dict[str, Callable[[Any, str, Path], Any]] = {
    "name": _plain,
    "password_file": _file,
    "password": _secret,
    "token_file": _file,
    "token": _secret,
    "max_duration": _duration,
    "nobody_came_timeout": _duration,
    "left_alone_grace": _duration,
    "schedule_key": _plain,
    "labels": _labels,
}
