"""Errors about a database that can't be connected to: one line, a hint, and never a password.

The servers here are sockets that answer with bytes of our own: what a server of another kind, or a PostgreSQL in
trouble, sends to somebody who connects. Real servers are in tests/postgres.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from meeta_bot import database
from meeta_bot.errors import DatabaseError, DatabaseUnreachable
from tests.unit.builders import settings

PATIENCE = 0.3  # seconds; a server that says nothing is waited for


@asynccontextmanager
async def server(answer: bytes | None, after: int = 1) -> AsyncIterator[str]:
    """Yield the address of a server that answers who has sent `after` bytes, then hangs up; None: never answers."""
    closing = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            if answer is None:
                await closing.wait()
            else:
                await reader.readexactly(after)
                writer.write(answer)
                await writer.drain()
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    try:
        yield f"postgresql://ada:hush@127.0.0.1:{port}/meeta"
    finally:
        closing.set()
        listening.close()


def refusing(state: str, text: str) -> bytes:
    """Return a PostgreSQL's answer to a connection that it does not want: SQLSTATE and message."""
    fields = b"".join(kind + value.encode() + b"\0" for kind, value in ((b"S", "FATAL"), (b"C", state), (b"M", text)))
    return b"E" + struct.pack("!i", 4 + len(fields) + 1) + fields + b"\0"


async def refusal(url: str) -> DatabaseError:
    with pytest.raises(DatabaseError) as caught:
        await database.connect(url, settings(database_connect_timeout=PATIENCE), purpose="test")
    told = f"{caught.value} {caught.value.hint}"
    assert "hush" not in told
    assert "\n" not in told
    assert caught.value.exit_code == 4
    return caught.value


@pytest.mark.parametrize(
    ("answer", "says", "to_do"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "The server at {place} refuses TLS", "is it PostgreSQL?"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "The server at {place} refuses TLS", "is it PostgreSQL?"),
        (b"", "The server at {place} hangs up at once", "is it PostgreSQL?"),
        (b"S", "The server at {place} hangs up at once", "is it PostgreSQL?"),
        (None, "No answer from {place} in time", "is it PostgreSQL?"),
    ],
    ids=["ssh", "http", "hangs up", "hangs up in TLS", "says nothing"],
)
async def test_what_is_no_postgresql_is_told(answer: bytes | None, says: str, to_do: str) -> None:
    async with server(answer) as url:
        error = await refusal(url)
        assert str(error) == says.format(place=url.partition("@")[2])
    assert to_do in str(error.hint)


@pytest.mark.parametrize(
    ("state", "text", "says", "to_do"),
    [
        ("28P01", "password authentication failed", "does not let us in: {text} ({state})", "check user and password"),
        ("28000", "no pg_hba.conf entry for host", "does not let us in: {text} ({state})", "check user and password"),
        ("3D000", 'database "x" does not exist', "says: {text} ({state})", "create the database, or name another"),
        ("53300", "sorry, too many clients already", "says: {text} ({state})", "max_connections"),
        ("53300", 'too many connections for role "ada"', "says: {text} ({state})", "CONNECTION LIMIT"),
        ("57P03", "the database system is starting up", "says: {text} ({state})", "wait until the server has started"),
        ("42704", 'unrecognized configuration parameter "x"', "says: {text} ({state})", "from the database URL"),
        ("08P01", "unsupported startup parameter: jit", "says: {text} ({state})", "PgBouncer"),
        ("XX000", "something else", "says: {text} ({state})", "look at the server's log"),
    ],
)
async def test_what_a_postgresql_in_trouble_says_is_passed_on(state: str, text: str, says: str, to_do: str) -> None:
    async with server(refusing(state, text), after=30) as url:
        place = url.partition("@")[2]
        error = await refusal(f"{url}?sslmode=disable")
    assert isinstance(error, DatabaseUnreachable)
    assert str(error) == f"PostgreSQL at {place} {says.format(text=text, state=state)}"
    assert to_do in str(error.hint)


async def test_what_a_server_says_controls_no_terminal() -> None:
    async with server(refusing("XX000", "\x1b[2J\x9b1m\u202ebad\nnews"), after=30) as url:
        error = await refusal(f"{url}?sslmode=disable")
    assert str(error).endswith("says: [2J 1m bad news (XX000)")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://127.0.0.1:1/meeta", "Nothing listens at 127.0.0.1:1/meeta"),
        ("postgresql:///meeta?host=/no/such/folder", "Nothing listens at /no/such/folder/meeta"),
        (
            "postgresql://no-such-host.invalid/meeta",
            "Host not found for no-such-host.invalid/meeta: Name or service not known",
        ),
        (
            "postgresql://127.0.0.1:1/meeta?sslmode=verify-full&sslrootcert=/no/such/file",
            "The address of 127.0.0.1:1/meeta names a file that is missing",
        ),
    ],
)
async def test_where_nothing_is_to_be_found_is_told(url: str, says: str) -> None:
    error = await refusal(url)
    assert str(error) == says
    assert error.hint


@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        "mysql://ada:hush@host/meeta",
        "https://meet.example.org/Room",
        "postgresql://ada:hush@host:port/meeta",
        "postgresql://ada:hush@host:99999/meeta",
        "postgresql://ada:hush@one:5432,two:99999/meeta",
        "postgresql://ada:hush@[::1/meeta",
        "postgresql://ada:hu#sh@host/meeta",
        "postgresql://ada:hush/@host/meeta",
        "postgresql://host/meeta?sslmode=nonsense",
        "postgresql://\udcff/meeta",
    ],
)
async def test_what_is_no_address_of_a_postgresql_is_told_without_repeating_it(url: str) -> None:
    error = await refusal(url)
    assert str(error) == "The database URL is not the address of a PostgreSQL database"
    assert error.hint == database.URL_HINT


async def test_a_password_with_an_at_sign_is_explained() -> None:
    error = await refusal("postgresql://ada:hu@hush@127.0.0.1:1/meeta")
    assert str(error).startswith("Host not found for 127.0.0.1:1/meeta")
    assert "%40 for @" in str(error.hint)


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (ConnectionResetError("reset by peer"), DatabaseUnreachable, "PostgreSQL did not answer: reset by peer"),
        (TimeoutError(), DatabaseUnreachable, "PostgreSQL did not answer: no answer in time"),
    ],
)
def test_a_statement_that_gets_no_answer_is_told(error: Exception, kind: type[DatabaseError], says: str) -> None:
    told = database.trouble(error)
    assert type(told) is kind
    assert str(told) == says
    assert told.hint


def test_a_port_that_is_free_again_is_one_where_nothing_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert "Nothing listens" in str(asyncio.run(refusal(f"postgresql://127.0.0.1:{port}/meeta")))
