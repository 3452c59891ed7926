"""A way to the stack that can be broken for the bot alone: the people in the room notice nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from tests.stack.client import Stack
from tests.stack.proxy import Proxy


@asynccontextmanager
async def breakable_way(stack: Stack) -> AsyncIterator[Proxy]:
    """A proxy in front of the stack's web server."""
    place = urlsplit(stack.url)
    proxy = Proxy(lambda: asyncio.open_connection(place.hostname, place.port))
    await proxy.open()
    try:
        yield proxy
    finally:
        await proxy.close()


def through(proxy: Proxy, room_url: str) -> str:
    """The room's address by way of the proxy."""
    return urlsplit(room_url)._replace(netloc=f"127.0.0.1:{proxy.port}").geturl()
