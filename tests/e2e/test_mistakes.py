"""Mistakes as users make them, with real processes: what is read, how it exits, and that nothing is lost.

Those that need neither browser nor database are in tests/unit/test_command_line.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from meeta_bot.events import ChatMessage, SealedEvent
from tests.e2e.recorder_process import EXIT_TIMEOUT, folder_for_spool, run, run_with_output
from tests.e2e.terminal import on_terminal, run_on_terminal
from tests.postgres.samples import (
    BEGAN_MS,
    MEETING,
    capture_id,
    ended,
    happening,
    identified,
    joined,
    seal_all,
    started,
)
from tests.postgres.tables import write
from tests.stack.postgres import VERSIONS, Server, fetch

pytestmark = pytest.mark.asyncio(loop_scope="session")

NOWHERE = "postgresql://127.0.0.1:1/none"
REFUSED_BY_BROWSERS = "http://127.0.0.1:9/Room"  # a capture that ends at once, without a server
HURRY = {"MEETA_FLUSH_TIMEOUT": "1"}  # a database that is away stays away
Prepare = Callable[[Server], Awaitable[str]]


def error_lines(err: str) -> list[str]:
    """What a person reads at the end, without log lines."""
    return [line for line in err.splitlines() if not line.startswith("{")]


# --- databases that are there and of no use -----------------------------------------------------------------------


async def with_newer_schema(server: Server) -> str:
    url = await server.migrated_database()
    await fetch(url, "INSERT INTO meeta.migrations (number, name, sha256) VALUES (9999, '9999_later', '')")
    return url


async def without_rights(server: Server) -> str:
    url = await server.migrated_database()
    await server.execute("DROP ROLE IF EXISTS stranger; CREATE ROLE stranger LOGIN")
    return url.replace("user=meeta", "user=stranger")


async def without_connections(server: Server) -> str:
    url = await server.migrated_database()
    await server.execute("DROP ROLE IF EXISTS crowd; CREATE ROLE crowd LOGIN CONNECTION LIMIT 0")
    return url.replace("user=meeta", "user=crowd")


async def without_a_name(server: Server) -> str:
    return server.url("nonsense")


NEWER = "The schema is at migration 9999, this program knows only "
NO_RIGHTS = "PostgreSQL refused: permission denied for schema meeta (42501)"


@pytest.mark.parametrize(
    ("prepare", "says", "to_do"),
    [
        (with_newer_schema, NEWER, "install a newer meeta-bot"),
        (without_rights, NO_RIGHTS, "let the schema's owner grant this user what it needs, or use another user"),
        (without_connections, 'says: too many connections for role "crowd" (53300)', "end other connections"),
        (without_a_name, 'says: database "nonsense" does not exist (3D000)', "create the database, or name another"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
async def test_a_database_of_no_use_is_told_to_readers_at_once(
    prepare: Prepare, says: str, to_do: str, newest_server: Server
) -> None:
    code, out, err = await run("meetings", "--database-url", await prepare(newest_server))
    first, second = err.splitlines()
    assert (code, out) == (4, "")
    assert first.startswith("error: ")
    assert says in first
    assert second.startswith(f"hint:  {to_do}")


@pytest.fixture(scope="module")
def standby() -> Iterator[Server]:
    """A server that follows another one, which is away: it can be read and not written."""
    instance = Server(VERSIONS[-1])
    try:
        yield instance
    finally:
        instance.destroy()


async def of_a_standby(server: Server) -> str:
    server.start()
    url = await server.migrated_database()
    await write(url, seal_all([started(), identified(1), joined(2, "a", "Ada"), ended(3)]))
    server.stop()
    (server.directory / "data" / "standby.signal").touch()
    server.start()
    return url


async def test_a_standby_can_be_read_and_not_written(standby: Server) -> None:
    url = await of_a_standby(standby)
    code, out, err = await run("participants", "--json", "--database-url", url)
    assert (code, err) == (0, "")
    assert json.loads(out)["display_name"] == "Ada"
    code, out, err = await run("db", "rebuild", "--database-url", url)
    assert (code, out) == (4, "")
    assert re.match(r"error: PostgreSQL refused: cannot .*(read-only transaction|recovery)", err)


# --- for record, a database in trouble is none --------------------------------------------------------------------


async def of_nobody(server: Server) -> str:
    return NOWHERE


async def assert_remains_and_arrives(
    outcome: tuple[int, str, str], says: str, database_url: str, folder: dict[str, str]
) -> None:
    """The recorder told what remains, once, and how to deliver it; doing so delivers all of it, unbroken."""
    code, out, err = outcome
    end = json.loads(out)
    said = " ".join(" ".join(error_lines(err)).split())
    logged = [json.loads(line) for line in err.splitlines() if line.startswith("{")]
    unavailable = [line for line in logged if line["event"] == "database unavailable, recording into the spool"]
    assert code == 75
    assert end["end_reason"] == "room_unreachable"
    assert f"{end['events']} events remain in the spool: {says}" in said
    assert "`meeta-bot spool flush`" in said
    assert [says in line["reason"] for line in unavailable] == [True]
    flushed = await run("spool", "flush", "--database-url", database_url, **folder)
    assert flushed == (0, "", f"{end['events']} events delivered, 0 remain, 0 cut captures ended\n")
    rows = await fetch(database_url, "SELECT seq, digest FROM meeta.events ORDER BY seq")
    assert [row["seq"] for row in rows] == list(range(1, end["events"] + 1))
    assert rows[-1]["digest"].hex() == end["head_digest"]


@pytest.mark.parametrize(
    ("prepare", "says"),
    [(of_nobody, "Nothing listens at 127.0.0.1:1/none"), (with_newer_schema, NEWER)],
    ids=lambda value: value.__name__ if callable(value) else "",
)
async def test_a_recorder_whose_database_is_of_no_use_loses_nothing(
    prepare: Prepare, says: str, newest_server: Server, newest_database: str, tmp_path: Path
) -> None:
    folder = folder_for_spool(tmp_path)
    arguments = (REFUSED_BY_BROWSERS, "--json", "--database-url", await prepare(newest_server))
    outcome = await run("record", *arguments, **HURRY, **folder)
    await assert_remains_and_arrives(outcome, says, newest_database, folder)


# --- browsers that don't start ------------------------------------------------------------------------------------


def program(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("echo libfoo.so is missing >&2; exit 127", "Chromium did not start: libfoo.so is missing"),
        ("exit 3", "Chromium did not start: it ended at once, with exit code 3"),
        (
            "[ foo = ] bar ]; echo '[1:1:0301/101112.1:WARNING:bus.cc(6)] no bus' >&2;"
            "echo '[1:1:0301/101112.1:FATAL:zygote_host_impl_linux.cc(13)] No usable sandbox!' >&2; exit 1",
            "Chromium did not start: No usable sandbox!",
        ),
        (
            "exec sleep 600",
            "Chromium did not start: no answer in 6 s (MEETA_BROWSER_START_TIMEOUT gives it longer)",
        ),
    ],
)
async def test_a_browser_that_does_not_start_is_told(
    text: str, says: str, newest_database: str, tmp_path: Path
) -> None:
    browser = program(tmp_path / "browser", text)
    environment = {"MEETA_BROWSER": str(browser), "MEETA_BROWSER_START_TIMEOUT": "6", **folder_for_spool(tmp_path)}
    code, out, err = await run("record", REFUSED_BY_BROWSERS, "--database-url", newest_database, **environment)
    assert (code, out) == (5, "")
    assert error_lines(err) == [
        f"error: {says}",
        f"hint:  try it by hand: {browser} --headless --dump-dom about:blank",
    ]


LOADER = (
    "error while loading shared libraries: libatomic.so.1: cannot open shared object file: No such file or directory"
)


async def test_a_driver_that_does_not_start_is_told_by_record_and_doctor_alike(
    newest_database: str, tmp_path: Path
) -> None:
    driver = program(tmp_path / "node", f"echo 'node: {LOADER}' >&2; exit 127")
    environment = {"PLAYWRIGHT_NODEJS_PATH": str(driver), **folder_for_spool(tmp_path)}
    says, to_do = (
        f"Playwright's driver did not start: node: {LOADER}",
        "install it; on Debian: apt-get install libatomic1",
    )
    code, out, err = await run("record", REFUSED_BY_BROWSERS, "--database-url", newest_database, **environment)
    assert (code, out) == (5, "")
    assert error_lines(err) == [f"error: {says}", f"hint:  {to_do}"]
    assert LOADER not in "".join(line for line in err.splitlines() if not line.startswith("error: "))
    code, out, err = await run("doctor", "--json", "--database-url", newest_database, **environment)
    (found,) = [one for one in map(json.loads, out.splitlines()) if one["name"] == "browser"]
    assert (code, err) == (5, "")
    assert (found["status"], found["found"], found["hint"]) == ("failed", says, to_do)


async def test_a_browser_that_does_not_start_keeps_nothing_from_being_delivered(
    newest_database: str, tmp_path: Path
) -> None:
    folder = folder_for_spool(tmp_path)
    code, out, _ = await run("record", REFUSED_BY_BROWSERS, "--json", "--database-url", NOWHERE, **HURRY, **folder)
    assert code == 75
    options = ("--database-url", newest_database)
    code, _, err = await run("record", REFUSED_BY_BROWSERS, *options, MEETA_BROWSER=str(tmp_path), **folder)
    assert code == 5
    assert '"adopted what an earlier recorder left"' in err
    assert error_lines(err) == [
        f"error: {tmp_path} is no program that can be run",
        "hint:  give MEETA_BROWSER the full path of Chromium, such as /usr/bin/chromium",
    ]
    rows = await fetch(newest_database, "SELECT digest FROM meeta.events ORDER BY seq")
    assert len(rows) == json.loads(out)["events"]
    assert rows[-1]["digest"].hex() == json.loads(out)["head_digest"]


# --- rooms that are none ------------------------------------------------------------------------------------------


@asynccontextmanager
async def answering(answer: bytes, certificate: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Host and port of a server that says `answer` and hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await reader.read(1)
            writer.write(answer)
            await writer.drain()
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=certificate)
    async with listening:
        yield f"127.0.0.1:{listening.sockets[0].getsockname()[1]}"


def own_certificate(folder: Path) -> ssl.SSLContext:
    """A certificate that nobody but its maker trusts."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = ["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    subprocess.run(
        [*command, "-subj", "/CN=127.0.0.1", "-keyout", key, "-out", certificate], check=True, capture_output=True
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


PAGE = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 12\r\nConnection: close\r\n\r\n<p>Hello</p>"
MISSING = b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\nConnection: close\r\n\r\nGone"
WORDLESS = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
# The whole Chromium keeps the status of an empty page to itself, its headless shell tells it.
CHROMIUM_SAYS = ("an error and nothing else", "HTTP status 503")


async def test_rooms_that_are_none_are_told_apart_in_one_line_each(newest_database: str, tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        serve = stack.enter_async_context
        page, missing = await serve(answering(PAGE)), await serve(answering(MISSING))
        wordless, silent = await serve(answering(WORDLESS)), await serve(answering(b""))
        ssh = await serve(answering(b"SSH-2.0-OpenSSH_9.2\r\n"))
        untrusted = await serve(answering(PAGE, own_certificate(tmp_path)))
        expected = {
            f"http://{page}/Room": ("not_jitsi", f"there is no Jitsi Meet behind http://{page}/Room"),
            f"http://{missing}/Room": ("room_unreachable", f"{missing} answered with HTTP status 404"),
            f"http://{wordless}/Room": ("room_unreachable", f"{wordless} answered with HTTP status 503"),
            f"http://{silent}/Room": ("room_unreachable", f"what answers at {silent} is not a web server"),
            f"http://{ssh}/Room": ("room_unreachable", f"what answers at {ssh} is not a web server"),
            f"https://{page}/Room": ("room_unreachable", f"what answers at {page} does not speak https"),
            f"https://{untrusted}/Room": ("certificate_rejected", f"the certificate of {untrusted} is not trusted"),
            "http://127.0.0.1:9/Room": ("room_unreachable", "browsers refuse the port of 127.0.0.1:9"),
            "http://[::1]:4/Room": ("room_unreachable", "nothing listens at [::1]:4"),
            "https://no-such-host.invalid/Room": ("room_unreachable", "there is no host no-such-host.invalid"),
        }
        typed = [f"{url}?jwt=hush.hush.hush#config.prejoin=false" for url in expected]
        again = [f"http://{page}/ROOM/", f"http://{page}/room"]
        folder = folder_for_spool(tmp_path)
        code, out, err = await run("record", *typed, *again, "--json", "--database-url", newest_database, **folder)
    ends = [json.loads(line) for line in out.splitlines()]
    assert code == 7
    found = {end["room"]: (end["end_reason"], end["end_detail"].replace(*CHROMIUM_SAYS)) for end in ends}
    assert found == expected
    assert len(ends) == len(expected)
    stored = await fetch(newest_database, "SELECT payload::text FROM meeta.events")
    assert len(stored) == sum(end["events"] for end in ends)
    assert "hush" not in out + err + str(stored)


# --- meetings that are none ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["timeline", "export"])
async def test_where_nothing_was_recorded_readers_say_so(command: str, newest_database: str) -> None:
    assert await run(command, "--database-url", newest_database) == (
        3,
        "",
        "error: There are no meetings yet\nhint:  record one: meeta-bot record https://meet.example.org/WeeklyStandup\n",
    )


async def test_a_meeting_that_is_named_wrongly_is_told_with_one_that_is_spelt_alike(newest_database: str) -> None:
    one, other = capture_id(), capture_id()
    await write(newest_database, seal_all([started("weeklystandup"), ended(1)], one))
    await write(newest_database, seal_all([started("other"), ended(1)], other))
    options = ("--database-url", newest_database)
    assert await run("timeline", "WeeklyStandpu", *options) == (
        3,
        "",
        "error: Meeting 'WeeklyStandpu' not found\nhint:  did you mean 'weeklystandup'?\n",
    )
    code, _, err = await run("timeline", "\x1b[31m[bold]", *options)
    assert code == 3
    assert err.startswith(r"error: Meeting '\x1b[31m[bold]' not found")
    code, _, err = await run("timeline", one[:3], *options)
    assert (code, err.splitlines()[1]) == (
        3,
        "hint:  name it by id, the first 4 or more digits of one, room, or `latest`; `meeta-bot meetings` lists them",
    )
    code, _, err = await run("timeline", one[:8], *options)
    assert code == 3
    assert err.startswith(f"error: {one[:8]!r} matches several meetings: ")
    assert one in err
    assert other in err
    assert err.endswith("hint:  give more digits of the id\n")
    assert await run("meetings", "--room", "nope", *options) == (
        0,
        "",
        "No meetings of room 'nope'. `meeta-bot meetings` lists all.\n",
    )


async def test_the_ids_that_are_listed_name_one_meeting_each(newest_database: str) -> None:
    at_once = [capture_id(BEGAN_MS) for _ in range(3)]
    for n, each in enumerate(at_once):
        events = [started(f"room{n}"), *([identified(1)] if n == 0 else []), ended(2)]
        await write(newest_database, seal_all(events, each))
    options = ("--database-url", newest_database)
    _, out, _ = await run("meetings", *options)
    listed = {line.split("/")[-1].strip(): line.split()[0] for line in out.splitlines()[1:]}
    assert listed["room0"] == MEETING[:8]
    for room, shown in listed.items():
        code, out, err = await run("timeline", shown, *options)
        assert (code, err) == (0, "")
        assert f"/{room}\n" in out


# --- readers that are interrupted, or have seen enough ------------------------------------------------------------


@pytest.mark.parametrize("arguments", ["timeline", "db upgrade", "spool flush"])
async def test_ctrl_c_ends_a_reader_quietly_with_130(arguments: str, tmp_path: Path) -> None:
    connected, done = asyncio.Event(), asyncio.Event()

    async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set()
        await done.wait()
        writer.close()

    (tmp_path / "data" / "spool").mkdir(parents=True)
    patience = {"MEETA_DATABASE_CONNECT_TIMEOUT": str(EXIT_TIMEOUT)}
    async with await asyncio.start_server(silent, "127.0.0.1", 0) as listening, asyncio.timeout(EXIT_TIMEOUT):
        url = f"postgresql://127.0.0.1:{listening.sockets[0].getsockname()[1]}/meeta"
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "meeta_bot", *arguments.split(), "--database-url", url),
            env={**os.environ, **patience, **folder_for_spool(tmp_path)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        await connected.wait()
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
        done.set()
    assert (process.returncode, out, err) == (130, b"", b"")


@pytest.mark.parametrize("arguments", ["meetings", "participants", "timeline", "db status", "schema"])
async def test_a_closed_pipe_ends_every_reader_quietly(arguments: str, newest_database: str) -> None:
    await write(newest_database, seal_all([started(), identified(1), joined(2, "a", "Ada"), ended(3)]))
    nobody, end = os.pipe()
    os.close(nobody)
    options = () if arguments == "schema" else ("--database-url", newest_database)
    assert await run_with_output(end, *arguments.split(), *options) == (0, "")


@pytest.mark.parametrize("arguments", ["verify", "verify --json"])
async def test_verify_whose_verdicts_nobody_reads_has_not_verified(arguments: str, newest_database: str) -> None:
    await write(newest_database, *(seal_all([started(), ended(1)], capture_id(BEGAN_MS + n)) for n in range(8)))
    nobody, end = os.pipe()
    os.close(nobody)
    code, err = await run_with_output(end, *arguments.split(), "--all", "--database-url", newest_database)
    assert code == 8
    assert err.startswith("error: The reader of the verdicts has gone before the last one\nhint:  ")
    assert len(err.splitlines()) == 2


@pytest.mark.parametrize(
    "arguments",
    ["--help", "schema", "meetings", "timeline", "events", "events --json", "export", "verify", "verify --json"],
)
async def test_output_that_a_full_disk_refuses_is_exit_code_8(arguments: str, newest_database: str) -> None:
    await write(newest_database, seal_all([started(), identified(1), joined(2, "a", "Ada"), ended(3)]))
    options = () if arguments in ("--help", "schema") else ("--database-url", newest_database)
    assert await run_with_output(os.open("/dev/full", os.O_WRONLY), *arguments.split(), *options) == (
        8,
        "error: Can't write the output: No space left on device\nhint:  make room, or redirect it\n",
    )


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("arguments", ["--help", "events", "verify --json"])
async def test_output_that_is_closed_is_none(arguments: str, closed: str, newest_database: str) -> None:
    await write(newest_database, seal_all([started(), identified(1), joined(2, "a", "Ada"), ended(3)]))
    options = "" if arguments == "--help" else '--database-url "$1"'
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", f'"$0" -m meeta_bot {arguments} {options} {closed}', sys.executable, newest_database),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(EXIT_TIMEOUT):
        out, err = await process.communicate()
    assert (process.returncode, err, out != b"") == (0, b"", closed == "2>&-")


# --- terminals ----------------------------------------------------------------------------------------------------

HOSTILE = [
    "[bold red]red[/]",
    "[/nope]\\[x]",
    "\x1b[2J\x1b]0;title\x07",
    "C1\x9b31m",
    "\u202eadA\u2066",
    "nul\x00l",
    "lone\ud800s",
    "zero\u200b\u200dwidth\ufeff",
    "Z" + "\u0315\u031b\u0489" * 40,
    "\u3164",
    "line\u2028\r\nforged",
    "x" * 100_000,
    "日本語の名前",
]
CONTROLLING = set("\x00\x07\x08\x1b\x7f\x9b\u200b\u200d\u200e\u202e\u2028\u2066\ufeff")
SGR = re.compile(r"\x1b\[([\d;]*)m")


def hostile_capture() -> list[SealedEvent]:
    """A capture in which names, endpoints and texts are out to harm the terminal of whoever reads it."""
    people = [joined(n, f"e{n}", name) for n, name in enumerate(HOSTILE, 1)]
    nameless = [joined(100 + n, endpoint) for n, endpoint in enumerate(HOSTILE[:6])]
    texts = [happening(ChatMessage(text=name, display_name=name), 200 + n, "e1") for n, name in enumerate(HOSTILE)]
    return seal_all([started(), identified(1), *people, *nameless, *texts, ended(5000)])


@pytest.mark.parametrize(
    "arguments",
    ["meetings", "participants", "timeline --all", "events", "events --json", "export --format csv"],
)
async def test_no_name_controls_a_terminal(arguments: str, newest_database: str) -> None:
    capture = hostile_capture()
    await write(newest_database, capture)
    code, sent = await run_on_terminal(*arguments.split(), "--database-url", newest_database, columns=40)
    assert code == 0
    assert not set(SGR.sub("", sent)) & CONTROLLING
    assert not re.search(r"[\u0300-\u036f\u0489]{5}", sent) or "--json" in arguments or "export" in arguments
    if arguments == "meetings":
        assert MEETING[:8] in sent
    if arguments == "events --json":
        assert [json.loads(line)["seq"] for line in sent.splitlines()] == [event.seq for event in capture]


@pytest.mark.parametrize(
    ("environment", "forbidden"),
    [
        ({"NO_COLOR": "1"}, r"\x1b\[[\d;]*(3\d|4\d|9\d|38|48)[\d;]*m"),
        ({"TERM": "dumb"}, r"\x1b"),
        ({"LC_ALL": "C"}, r"Traceback"),
        ({"PYTHONIOENCODING": "ascii"}, r"[^\x00-\x7f]"),
    ],
    ids=str,
)
async def test_plain_terminals_get_what_they_can_show(
    environment: dict[str, str], forbidden: str, newest_database: str
) -> None:
    await write(newest_database, hostile_capture())
    code, sent = await run_on_terminal("timeline", "--database-url", newest_database, columns=80, **environment)
    assert code == 0
    assert "[bold red]red[/]" in sent
    assert not re.search(forbidden, sent)


async def test_pipes_get_utf_8_whatever_the_locale(newest_database: str) -> None:
    await write(newest_database, seal_all([started(), identified(1), joined(2, "a", "Ада 🙂"), ended(3)]))
    options = ("--json", "--database-url", newest_database)
    code, out, err = await run("participants", *options, PYTHONIOENCODING="latin-1")
    assert (code, err) == (0, "")
    assert json.loads(out)["display_name"] == "Ада 🙂"


@pytest.mark.parametrize(("term", "cursor"), [("xterm-256color", ["\x1b[?25h"]), ("dumb", [])], ids=["xterm", "dumb"])
async def test_the_second_ctrl_c_stops_at_once_and_gives_the_terminal_back(
    term: str, cursor: list[str], tmp_path: Path
) -> None:
    browser = program(tmp_path / "browser", "exec sleep 600")  # never answers, so that there is nobody to leave
    environment = {"MEETA_BROWSER": str(browser), "TERM": term, **folder_for_spool(tmp_path)}
    environment["MEETA_STOP_SIGNALS_WINDOW"] = "0"  # so that the second one need not wait
    arguments = ("record", REFUSED_BY_BROWSERS, "--database-url", NOWHERE)
    async with on_terminal(*arguments, columns=120, lines=24, **environment) as terminal:
        await terminal.shows("database unavailable")
        terminal.send(signal.SIGTERM)  # of two signals that are the same and pending, one would be lost
        terminal.send(signal.SIGINT)
        assert await terminal.ended() == 75
    told = "\r\nstopped at once; the next run, or `meeta-bot spool flush`, ends the captures\r\n"
    assert told in terminal.sent
    assert re.findall(r"\x1b\[\?25.", terminal.sent)[-1:] == cursor


async def test_an_error_is_one_line_on_the_narrowest_terminal(newest_database: str) -> None:
    code, sent = await run_on_terminal("timeline", "x" * 100, "--database-url", newest_database, columns=20)
    assert code == 3
    assert len(sent.splitlines()) == 2
