"""HTTP authentication of a deployment that has it in front of its pages, with what the room's address carries.

A page's other requests (scripts, websocket, conference request) use what the browser remembers of the first answer.
"""

from __future__ import annotations

from typing import Any

from meeta_bot.room_address import RoomAddress


class HttpLogin:
    """Answers the challenges of one page's requests; a request that was answered and asks again is refused."""

    def __init__(self, address: RoomAddress) -> None:
        self._credentials = address.credentials
        self._origin = "/".join(address.url.split("/")[:3])
        self._answered: set[str] = set()

    @property
    def is_wanted(self) -> bool:
        """Tell if there is anything to answer with."""
        return self._credentials is not None

    def answer(self, event: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Return the command that answers a ``Fetch.authRequired``. Other origins and proxies learn nothing."""
        response = self._response(event["authChallenge"], event["requestId"])
        return "Fetch.continueWithAuth", {"requestId": event["requestId"], "authChallengeResponse": response}

    def _response(self, challenge: dict[str, Any], request: str) -> dict[str, str]:
        if challenge.get("source") == "Proxy":
            return {"response": "Default"}
        if self._credentials is None or challenge["origin"] != self._origin or request in self._answered:
            return {"response": "CancelAuth"}
        self._answered.add(request)
        return {
            "response": "ProvideCredentials",
            "username": self._credentials.user,
            "password": self._credentials.password,
        }
