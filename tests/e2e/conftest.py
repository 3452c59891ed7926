"""What end-to-end tests share: a Jitsi deployment, a browser for the people, a database.

The deployment is the local stack, or the one that ``MEETA_TEST_JITSI_URL`` names. On a real one nobody commands the
bridge, the recorder and the transcriber, so that the scripts leave those acts out. Tests that command more than that
take a ``stack``, which is local whatever is named.
"""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from tests.e2e.recorder_process import run
from tests.stack.client import Stack
from tests.stack.participant import Participant, ParticipantBrowser
from tests.stack.postgres import VERSIONS, Server


@dataclass(frozen=True)
class Deployment:
    """Where the conferences are held; ``stack`` commands what only a stack of our own obeys."""

    url: str
    stack: Stack | None

    def new_room(self) -> str:
        """A room that nobody has used."""
        return f"meeta-{uuid.uuid4().hex[:12]}"

    def room_url(self, room: str) -> str:
        return f"{self.url}/{room}"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def deployment() -> AsyncIterator[Deployment]:
    named = os.environ.get("MEETA_TEST_JITSI_URL")
    if named:
        yield Deployment(named.rstrip("/"), None)
    else:
        async with Stack.start(hibernation_seconds=2) as stack:
            yield Deployment(stack.url, stack)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stack() -> AsyncIterator[Stack]:
    """A local stack, for tests of what a foreign deployment can't be made to do."""
    async with Stack.start(hibernation_seconds=2) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def own_stack() -> AsyncIterator[Stack]:
    """A local stack of a test's own, for faults that all its rooms feel."""
    async with Stack.start(hibernation_seconds=2) as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def participant_browser() -> AsyncIterator[ParticipantBrowser]:
    async with ParticipantBrowser.start() as browser:
        yield browser


class People:
    """The participants of one test; Chromium has only so many microphones to give."""

    def __init__(self, browser: ParticipantBrowser) -> None:
        self._browser = browser
        self._opened: list[Participant] = []

    async def participant(self, room_url: str) -> Participant:
        """Somebody who has opened the room's page; leaves it at the end of the test."""
        participant = await self._browser.participant(room_url)
        self._opened.append(participant)
        return participant

    async def close(self) -> None:
        for participant in self._opened:
            await participant.close()


@pytest_asyncio.fixture(loop_scope="session")
async def people(participant_browser: ParticipantBrowser) -> AsyncIterator[People]:
    found = People(participant_browser)
    yield found
    await found.close()


@pytest.fixture(scope="session")
def newest_server() -> Iterator[Server]:
    """The newest PostgreSQL that is tested, for tests in which its version does not matter."""
    instance = Server(VERSIONS[-1])
    try:
        instance.start()
        yield instance
    finally:
        instance.destroy()


@pytest_asyncio.fixture(loop_scope="session")
async def newest_database(newest_server: Server) -> str:
    """The address of a migrated database of this test's own."""
    return await newest_server.migrated_database()


@pytest.fixture
async def data() -> AsyncIterator[dict[str, str]]:
    """Environment with a data directory of the test's own, whose embedded PostgreSQL is down afterwards."""
    with tempfile.TemporaryDirectory(prefix="meeta-test-") as folder:
        os.chmod(folder, 0o755)  # noqa: PTH101, S103 - as root, the embedded PostgreSQL runs as another user
        environment = {"MEETA_DATA_DIRECTORY": f"{folder}/data"}
        yield environment
        await run("db", "stop", **environment)
