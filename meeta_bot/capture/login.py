"""The door: the credentials that the bot of a request logs in with, and the meaning of their refusal.

A JSON Web Token is only carried, never verified: that is the server's part. What a file holds is read anew for every
login, so that whoever issues tokens can renew it while a capture runs. Only this module knows where credentials come
from; everybody else carries them.
"""

from __future__ import annotations

from pathlib import Path

import jwt

from meeta_bot.capture import admission
from meeta_bot.capture.admission import Action, Credentials, Refusal
from meeta_bot.capture.request import CaptureRequest
from meeta_bot.events import EndReason, Payload

# Refusals of a login that another token, or one at all, may undo.
_OF_TOKENS = frozenset({EndReason.TOKEN_REJECTED, EndReason.TOKEN_EXPIRED, EndReason.AUTHENTICATION_REQUIRED})
_NOT_READ = "the file of the token holds none that can be read"


class Login:
    """The way of one request's bot through the door, as often as it comes back."""

    def __init__(self, request: CaptureRequest) -> None:
        self._request = request

    def credentials(self) -> Credentials:
        """Return the credentials for the next login; a file that can't be read just now gives none."""
        return Credentials(token=self._token(), password=self._password())

    def judge(self, payload: Payload, tried: Credentials, *, wall_ms: int, was_in_room: bool) -> Refusal | None:
        """Return what `payload` means, an answer to a login with `tried`, at the moment `wall_ms`; None for nothing.

        A token may have run out since the login, and another may be there by now: a bot that was in its room may get
        back in with that.
        """
        refusal = admission.refusal(payload, tried)
        if refusal is None or refusal.reason not in _OF_TOKENS or refusal.action is not Action.END:
            return refusal
        return self._judge_token(refusal, tried.token, wall_ms, was_in_room=was_in_room)

    def _judge_token(self, refusal: Refusal, tried: str | None, wall_ms: int, *, was_in_room: bool) -> Refusal:
        """Tell a token that can be renewed, or will be once its file is written, from one that is over or wrong."""
        present = self._token()
        if present is None and self._request.token_file is not None:
            if was_in_room:
                return Refusal(refusal.reason, _NOT_READ, Action.RETURN)
            return Refusal(refusal.reason, f"{refusal.detail}; {_NOT_READ}" if refusal.detail else _NOT_READ)
        if was_in_room and present not in (None, tried):
            return Refusal(refusal.reason, "the token was renewed meanwhile", Action.RETURN)
        if refusal.reason is EndReason.TOKEN_REJECTED and tried is not None and has_expired(tried, wall_ms):
            return Refusal(EndReason.TOKEN_EXPIRED, refusal.detail)
        return refusal

    def _token(self) -> str | None:
        """Return the link's own token, else the first line of the file, else the one that was given."""
        request = self._request
        if request.address.token is not None:
            return request.address.token
        if request.token_file is not None:
            return _first_line(request.token_file)
        return request.token.get_secret_value() if request.token is not None else None

    def _password(self) -> str | None:
        """Return the first line of the password's file, else the password that was given."""
        request = self._request
        if request.password_file is not None:
            return _first_line(request.password_file)
        return request.password.get_secret_value() if request.password is not None else None


def _first_line(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8-sig").partition("\n")[0].strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def _expiry_ms(token: str) -> float | None:
    """Return the end of a token's time by its own word (claim ``exp``, RFC 7519); None without a word on it.

    Milliseconds since 1970, as large as anybody likes to write.
    """
    try:
        claims = jwt.decode(token, options={"verify_signature": False})
        return float(claims["exp"]) * 1000
    except (jwt.InvalidTokenError, KeyError, TypeError, ValueError, OverflowError):
        return None


def has_expired(token: str, wall_ms: float) -> bool:
    """Return True when the token's time, by its own word, is over at the moment `wall_ms`."""
    end_ms = _expiry_ms(token)
    return end_ms is not None and end_ms <= wall_ms
