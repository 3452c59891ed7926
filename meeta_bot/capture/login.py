"""JSON Web Tokens that let the bot in: where the present one comes from, and what it means that one was refused.

A token is only carried, never verified: that is the server's part. What a file holds is read anew for every login, so
that whoever issues tokens can renew it while a capture runs.
"""

from __future__ import annotations

from pathlib import Path

import jwt

from meeta_bot.capture.admission import Verdict
from meeta_bot.capture.request import CaptureRequest
from meeta_bot.events import EndReason

# Refusals of a login that another token, or one at all, may undo.
REFUSALS = frozenset({EndReason.TOKEN_REJECTED, EndReason.TOKEN_EXPIRED, EndReason.AUTHENTICATION_REQUIRED})
_NOT_READ = "the file of the token holds none that can be read"


def current(request: CaptureRequest) -> str | None:
    """Return the token to log in with: the link's own, else the first line of the file, else the one that was given.

    A file that can't be read just now gives none: the server then says what it thinks of that.
    """
    if request.address.token is not None:
        return request.address.token
    if request.token_file is not None:
        return _first_line(request.token_file)
    return request.token.get_secret_value() if request.token is not None else None


def password(request: CaptureRequest) -> str | None:
    """Return the room's password: the first line of the file, else the one that was given; None when there is none."""
    if request.password_file is not None:
        return _first_line(request.password_file)
    return request.password.get_secret_value() if request.password is not None else None


def _first_line(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8-sig").partition("\n")[0].strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def expiry_ms(token: str) -> float | None:
    """When the token says (claim ``exp``, RFC 7519) that its time is over; None for one that does not or can't be read.

    Milliseconds since 1970, as large as anybody likes to write.
    """
    try:
        claims = jwt.decode(token, options={"verify_signature": False})
        return float(claims["exp"]) * 1000
    except (jwt.InvalidTokenError, KeyError, TypeError, ValueError, OverflowError):
        return None


def has_expired(token: str, wall_ms: float) -> bool:
    """Whether the token says that its time is over at the moment `wall_ms`."""
    end_ms = expiry_ms(token)
    return end_ms is not None and end_ms <= wall_ms


def judged(refusal: Verdict, tried: str | None, request: CaptureRequest, *, wall_ms: int, was_in_room: bool) -> Verdict:
    """What a refusal (one of :data:`REFUSALS`) of a login with the token `tried` means at the moment `wall_ms`.

    One that was in its room may get back in with the token that is there by now, or will be when whoever writes the
    file is done with it. Else a token whose time is over is told from one that is wrong, where the server does not.
    """
    present = current(request)
    if present is None and request.token_file is not None:
        if was_in_room:
            return Verdict(EndReason.ROOM_UNREACHABLE, _NOT_READ)
        return Verdict(refusal.reason, f"{refusal.detail}; {_NOT_READ}" if refusal.detail else _NOT_READ)
    if was_in_room and present not in (None, tried):
        return Verdict(EndReason.ROOM_UNREACHABLE, "the token was renewed meanwhile")
    if refusal.reason is EndReason.TOKEN_REJECTED and tried is not None and has_expired(tried, wall_ms):
        return Verdict(EndReason.TOKEN_EXPIRED, refusal.detail)
    return refusal
