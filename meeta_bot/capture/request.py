"""Requests for captures: the room, the bot's way in, and its departure. Limits of a process are settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from pydantic import SecretStr

from meeta_bot.room_address import RoomAddress
from meeta_bot.settings import Settings

Labels = dict[str, str]


class CaptureRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request to record one room once.

    ``name`` is the bot's in the room. The password of the room and the token of the login are given as such or as a
    file, which is read for every login; a link's own token (``address.token``) comes before either. Durations are
    seconds. ``schedule_key`` tells meetings apart that the server does not; ``labels`` are the operator's own, and are
    stored with the capture.
    """

    address: RoomAddress
    name: str
    password: SecretStr | None = None
    password_file: Path | None = None
    token: SecretStr | None = None
    token_file: Path | None = None
    max_duration: float | None = None
    nobody_came_timeout: float
    left_alone_grace: float
    schedule_key: str | None = None
    labels: Labels = {}

    @property
    def key(self) -> tuple[str, str]:
        """Return the room that is asked for; a process records a room once at a time."""
        return self.address.key


def request_for(address: RoomAddress, settings: Settings, **own: Any) -> CaptureRequest:
    """Return the request for a room: `own` fields where given, else what the settings say for all rooms."""
    common = {
        "name": settings.bot_name,
        "password": settings.room_password,
        "token": settings.jwt,
        "token_file": settings.jwt_file,
        "max_duration": settings.max_duration,
        "nobody_came_timeout": settings.nobody_came_timeout,
        "left_alone_grace": settings.left_alone_grace,
    }
    if "password_file" in own:
        common["password"] = None
    if "token" in own or "token_file" in own:
        common["token"] = common["token_file"] = None
    return CaptureRequest(address=address, **(common | own))
