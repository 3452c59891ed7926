"""Fixtures for tests that trouble a server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.stack.postgres import VERSIONS, Server


@pytest.fixture(scope="module", params=VERSIONS, ids=lambda version: f"pg{version}")
def fragile(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server that tests of this module may stop and start."""
    instance = Server(request.param)
    try:
        instance.start()
        yield instance
    finally:
        instance.destroy()


@pytest.fixture
async def fragile_url(fragile: Server) -> AsyncIterator[str]:
    """A database of a server that may be stopped; it runs as usual again afterwards."""
    yield await fragile.shared_database()
    fragile.restore()
