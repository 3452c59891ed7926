"""JSON Web Tokens that let the bot in: where the present one comes from, and whether it has expired.

A token is only carried, never verified: that is the server's part. What a file holds is read anew for every login, so
that whoever issues tokens can renew it while a capture runs.
"""

from __future__ import annotations

import jwt

from meeta_bot.room_address import RoomAddress
from meeta_bot.settings import Settings


def current(address: RoomAddress, settings: Settings) -> str | None:
    """The token to log in with: the link's own, else the first line of ``jwt_file``, else the one that was given.

    A file that can't be read just now gives none: the server then says what it thinks of that.
    """
    if address.token is not None:
        return address.token
    if settings.jwt_file is not None:
        try:
            return settings.jwt_file.read_text(encoding="utf-8").partition("\n")[0].strip() or None
        except (OSError, UnicodeDecodeError):
            return None
    return settings.jwt.get_secret_value() if settings.jwt is not None else None


def has_expired(token: str, wall_ms: int) -> bool:
    """Whether the token says (claim ``exp``, RFC 7519) that its time is over; one that can't be read does not."""
    try:
        claims = jwt.decode(token, options={"verify_signature": False})
        return float(claims["exp"]) * 1000 <= wall_ms
    except (jwt.InvalidTokenError, KeyError, TypeError, ValueError):
        return False
