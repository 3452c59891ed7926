"""Fixtures that more than one folder of tests uses: PostgreSQL servers and databases."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import hypothesis
import pytest
import structlog

from tests.stack.postgres import VERSIONS, Server

# A shell that runs us in the background has us ignore SIGINT, and whoever we start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says something of the machine, and is nothing that a test asserts. Everybody's run tries the
# same examples and has the same verdict; what is new is looked for by `make fuzz`.
hypothesis.settings.register_profile("same-verdict", deadline=None, derandomize=True, database=None)
hypothesis.settings.register_profile("explore", deadline=None, derandomize=False, database=None, print_blob=True)
hypothesis.settings.load_profile("same-verdict")


_SEED = 20261201


@pytest.fixture
def seed() -> int:
    """The seed of what a test draws by itself: the same for everybody, and another in each round of `make fuzz`."""
    drawn = int(os.environ.get("MEETA_TEST_SEED", _SEED))
    print(f"MEETA_TEST_SEED={drawn}")
    return drawn


@pytest.fixture(scope="session", params=VERSIONS, ids=lambda version: f"pg{version}")
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A running PostgreSQL of each supported version, shared by the tests of one process. Leave it running."""
    instance = Server(request.param)
    try:
        instance.start()
        yield instance
    finally:
        instance.destroy()


@pytest.fixture
async def database_url(server: Server) -> str:
    """The address of a migrated, empty database. Others use it later: change its rows, not its schema."""
    return await server.shared_database()


@pytest.fixture
async def own_database_url(server: Server) -> str:
    """The address of a migrated database of this test's own."""
    return await server.migrated_database()


@pytest.fixture
async def empty_url(server: Server) -> str:
    """The address of an empty database of this test's own."""
    return await server.empty_database()


@pytest.fixture(autouse=True)
def _logs_as_they_were() -> Iterator[None]:
    """What a test did to the process's one logging configuration is no other test's business."""
    yield
    structlog.reset_defaults()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What only root does differently is no test of an ordinary user's: it is left out there, not skipped."""
    for item in items:
        if "seed" in getattr(item, "fixturenames", ()):
            item.add_marker("explores")
    if os.geteuid() != 0:
        left_out = [item for item in items if item.get_closest_marker("as_root")]
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name what was skipped: here that is a failure."""
    if terminalreporter.stats.get("skipped"):
        terminalreporter.write_line("tests were skipped, which counts as a failure", red=True)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A test that did not run has shown nothing."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
