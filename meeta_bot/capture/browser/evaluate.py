"""JavaScript in a page, by the DevTools protocol (Runtime.evaluate)."""

from __future__ import annotations

from typing import Any

import msgspec
from playwright.async_api import CDPSession

from meeta_bot.errors import PageError

_LONGEST_ERROR = 500  # characters of what a page threw


def literal(value: Any) -> str:
    """Return `value` (plain JSON types) as an expression of JavaScript."""
    return msgspec.json.encode(value).decode()


async def evaluate(session: CDPSession, expression: str) -> Any:
    """Return the value of an expression, or of the promise that it is.

    :raises PageError: it threw.
    :raises playwright.async_api.Error: the page is gone.
    """
    options = {"expression": expression, "returnByValue": True, "awaitPromise": True}
    answer = await session.send("Runtime.evaluate", options)
    if "exceptionDetails" in answer:
        details = answer["exceptionDetails"]
        text = details.get("exception", {}).get("description") or details.get("text", "")
        raise PageError(f"the page threw: {text.partition(chr(10))[0][:_LONGEST_ERROR]}")
    return answer["result"].get("value")
