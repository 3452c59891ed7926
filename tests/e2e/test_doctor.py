"""``meeta-bot doctor`` as its users run it: against real deployments, and where something is missing or wrong."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from meeta_bot import doctor, settings
from meeta_bot.database import embedded
from tests.e2e.conftest import Deployment, People
from tests.e2e.recorder_process import run
from tests.e2e.terminal import run_on_terminal
from tests.stack.client import Shape, Stack, StackError

pytestmark = pytest.mark.asyncio(loop_scope="session")

HERE = [check.name for check in doctor.HERE]
EVERYWHERE = [*HERE, *(check.name for check in doctor.DEPLOYMENT)]
NO_BROWSER = {"MEETA_BROWSER": "/no/such/chromium"}
FINE = ("ok", "note", "warning")

Answer = dict[str, dict[str, Any]]


async def examined(*arguments: str, **environment: str) -> tuple[int, Answer]:
    """The exit code of ``meeta-bot doctor``, and what it said of each check, by name."""
    code, out, err = await run("doctor", *arguments, "--json", **environment)
    assert err == ""
    results = [json.loads(line) for line in out.splitlines()]
    assert all(set(result) == {"name", "group", "status", "found", "hint"} for result in results)
    return code, {result["name"]: result for result in results}


def troubles(answer: Answer) -> dict[str, str]:
    """What did not go well enough to record."""
    return {name: result["status"] for name, result in answer.items() if result["status"] not in FINE}


def elsewhere(tmp_path: Path) -> dict[str, str]:
    """Environment with a data directory that does not exist."""
    return {"MEETA_DATA_DIRECTORY": str(tmp_path / "data")}


# --- where all is well --------------------------------------------------------------------------------------------


async def test_a_deployment_is_seen_and_nobody_notices(
    deployment: Deployment, newest_database: str, tmp_path: Path
) -> None:
    room = deployment.new_room()
    arguments = (deployment.room_url(room), "--database-url", newest_database)
    code, answer = await examined(*arguments, **elsewhere(tmp_path))
    assert (code, troubles(answer)) == (0, {}), answer
    assert list(answer) == EVERYWHERE
    for name in (
        "program",
        "browser",
        "PostgreSQL",
        "schema",
        "rights",
        "partitions",
        "page",
        "configuration",
        "login",
    ):
        assert answer[name]["status"] == "ok", answer[name]
    assert answer["library"]["found"].startswith("lib-jitsi-meet ")
    assert room in answer["address"]["found"]


@pytest.mark.parametrize(("shape", "how"), [("plain", "a script of its own"), ("inlined", "inlined into the page")])
async def test_the_shape_of_the_page_is_told_and_the_room_is_not_made(
    stack: Stack, newest_database: str, tmp_path: Path, shape: Shape, how: str
) -> None:
    room = f"looked-at-{shape}"
    arguments = (stack.room_url(room, shape), "--database-url", newest_database)
    code, answer = await examined(*arguments, **elsewhere(tmp_path))
    assert (code, troubles(answer)) == (0, {})
    assert answer["configuration"]["found"].startswith(how)
    assert answer["page"]["found"] == "HTTP status 200, no TLS"
    assert "logged in anonymously over websocket (BOSH is available, too)" in answer["login"]["found"]
    assert answer["lobby"]["found"].startswith("announced by the server")
    assert answer["breakout rooms"]["found"].startswith("announced by the server")
    assert answer["transcription"]["found"] == "on (transcription.enabled)"
    assert answer["peer to peer"]["found"] == "off (p2p.enabled)"
    with pytest.raises(StackError):
        await stack.set_password(room, "")  # the focus knows no such room


async def test_a_room_with_people_stays_as_it_is(
    stack: Stack, people: People, newest_database: str, tmp_path: Path
) -> None:
    url = stack.room_url("with-people")
    ada = await people.participant(url)
    await ada.join("Ada")
    code, _ = await examined(url, "--database-url", newest_database, **elsewhere(tmp_path))
    assert code == 0
    assert [member.name for member in await stack.members("with-people")] == ["Ada"]
    await ada.leave()


async def test_without_anything_set_up_nothing_is_created(data: dict[str, str]) -> None:
    code, answer = await examined(**data)
    assert code == 0
    assert list(answer) == HERE
    assert "will be created at first use" in answer["PostgreSQL"]["found"]
    assert set(troubles(answer)) == {"schema", "rights", "partitions", "quarantine", "server clock"}
    assert not os.path.exists(data["MEETA_DATA_DIRECTORY"])  # noqa: PTH110, ASYNC240 - one stat


async def test_the_embedded_server_runs_for_the_look_only(data: dict[str, str]) -> None:
    assert (await run("meetings", **data))[0] == 0
    code, answer = await examined(**data)
    assert (code, troubles(answer)) == (0, {})
    assert "started for this check" in answer["PostgreSQL"]["found"]
    assert not await embedded.is_running(settings.load({"data_directory": data["MEETA_DATA_DIRECTORY"]}))


# --- where something is wrong with the way to a deployment --------------------------------------------------------


def closed_port() -> int:
    """A port where nobody listens, and which browsers don't refuse by its number."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid"])
async def test_an_address_where_nobody_answers(host: str, newest_database: str, tmp_path: Path) -> None:
    url = f"http://{host}:{closed_port()}/room"
    code, answer = await examined(url, "--database-url", newest_database, **elsewhere(tmp_path))
    assert (code, answer["page"]["status"]) == (7, "failed"), answer
    assert f"nothing listens at {host}" in answer["page"]["found"] or f"no host {host}" in answer["page"]["found"]
    assert "firewall" in answer["page"]["hint"]
    assert {result["found"] for name, result in answer.items() if name in ("login", "lobby", "access")} == {
        "not checked: page failed"
    }


@pytest.mark.parametrize("shape", ["notjitsi", "nolibrary"])
async def test_a_page_that_is_no_jitsi(stack: Stack, shape: Shape, newest_database: str, tmp_path: Path) -> None:
    arguments = (stack.room_url("anywhere", shape), "--database-url", newest_database)
    code, answer = await examined(*arguments, **elsewhere(tmp_path))
    assert (code, answer["page"]["status"]) == (7, "failed"), answer
    assert "browser" in answer["page"]["hint"]


async def test_what_is_no_address_is_wrong_usage_and_the_rest_is_checked(newest_database: str, tmp_path: Path) -> None:
    arguments = ("https://meet.example.org", "--database-url", newest_database)
    code, answer = await examined(*arguments, **elsewhere(tmp_path))
    assert (code, answer["address"]["status"]) == (2, "failed"), answer
    assert answer["page"]["found"] == "not checked: address failed"
    assert answer["PostgreSQL"]["status"] == "ok"


async def test_a_server_that_lets_nobody_log_in(stack: Stack, newest_database: str, tmp_path: Path) -> None:
    await stack.cut_signalling(refuse=True)
    try:
        arguments = (stack.room_url("unreachable"), "--database-url", newest_database)
        code, answer = await examined(*arguments, **elsewhere(tmp_path), MEETA_JOIN_TIMEOUT="20")
    finally:
        await stack.accept_signalling()
    assert (code, troubles(answer)["login"]) == (7, "failed")
    assert answer["page"]["status"] == answer["configuration"]["status"] == "ok"
    assert answer["lobby"]["found"] == "not checked: login failed"
    assert answer["transcription"]["status"] == "note"


@asynccontextmanager
async def https_server(folder: Path) -> AsyncIterator[str]:
    """The address of a web server whose certificate nobody has signed but itself."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subject = ("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2", "-nodes")
    names = ("-keyout", str(key), "-out", str(certificate))
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", *names, *subject]
    await asyncio.to_thread(lambda: subprocess.run(command, check=True, capture_output=True))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    runner = web.AppRunner(web.Application())
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        assert runner.addresses
        yield f"https://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_a_certificate_that_is_not_trusted(newest_database: str, tmp_path: Path) -> None:
    async with https_server(tmp_path) as url:
        code, answer = await examined(f"{url}/room", "--database-url", newest_database, **elsewhere(tmp_path))
    assert (code, answer["page"]["status"]) == (7, "failed"), answer
    assert "certificate" in answer["page"]["found"]
    assert "trust" in answer["page"]["hint"]


# --- where something is wrong here --------------------------------------------------------------------------------


async def test_no_browser(stack: Stack, newest_database: str, tmp_path: Path) -> None:
    arguments = (stack.room_url("room"), "--database-url", newest_database)
    code, answer = await examined(*arguments, **elsewhere(tmp_path), **NO_BROWSER)
    assert (code, answer["browser"]["status"]) == (5, "failed"), answer
    assert NO_BROWSER["MEETA_BROWSER"] in answer["browser"]["found"]
    assert "MEETA_BROWSER" in answer["browser"]["hint"]
    assert {result["found"] for name, result in answer.items() if name in ("sandbox", "page", "login")} == {
        "not checked: browser failed"
    }
    assert answer["PostgreSQL"]["status"] == answer["address"]["status"] == "ok"


async def test_a_program_that_is_no_browser(newest_database: str, tmp_path: Path) -> None:
    environment = {**elsewhere(tmp_path), "MEETA_BROWSER": "/bin/true"}
    code, answer = await examined("--database-url", newest_database, **environment)
    assert (code, answer["browser"]["status"]) == (5, "failed"), answer


async def test_a_file_in_place_of_the_data_directory(newest_database: str, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    code, answer = await examined("--database-url", newest_database, **elsewhere(tmp_path))
    assert (code, answer["data directory"]["status"]) == (6, "failed"), answer
    assert "MEETA_DATA_DIRECTORY" in answer["data directory"]["hint"]
    assert answer["spool"]["found"] == "not checked: data directory failed"


async def test_a_setting_that_can_not_be_used(tmp_path: Path) -> None:
    code, answer = await examined(**elsewhere(tmp_path), MEETA_JOIN_TIMEOUT="soon")
    assert (code, answer["settings"]["status"]) == (2, "failed"), answer
    assert "join_timeout" in answer["settings"]["found"]
    assert answer["browser"]["found"] == "not checked: settings failed"
    assert answer["program"]["status"] == "ok"


async def test_a_database_that_is_away_and_secrets_that_stay_secret(stack: Stack, tmp_path: Path) -> None:
    link = f"{stack.room_url('secret')}?jwt=header.hush1.signature#config.password=hush2"
    environment = {
        "MEETA_DATABASE_URL": "postgresql://alice:hush3@127.0.0.1:1/meeta",
        "MEETA_ROOM_PASSWORD": "hush4",
        **elsewhere(tmp_path),
    }
    for form in ((), ("--json",)):
        code, out, err = await run("doctor", link, *form, **environment)
        assert code == 4
        assert "hush" not in out + err
        assert "MEETA_DATABASE_URL" in out
        assert "in the link" in out


# --- as a person sees it ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [80, 120])
async def test_a_terminal_sees_each_check_and_what_is_being_checked(columns: int, data: dict[str, str]) -> None:
    room = f"http://127.0.0.1:{closed_port()}/room"
    code, shown = await run_on_terminal("doctor", room, columns=columns, **data)
    assert code == 7
    assert "this machine: browser …" in shown
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    lines = [line.rpartition("\r")[2] for line in plain.replace("\r\n", "\n").split("\n")]
    assert max(map(len, lines)) <= columns
    assert lines == [line.rstrip() for line in lines]
    heads = [line.split("  ")[0].strip() for line in lines]
    for head in ("✓ program", "✓ browser", "✓ address", "✗ page", "– not checked"):
        assert head in heads
    assert "1 check failed" in plain


async def test_without_a_terminal_it_is_plain_text_on_standard_output(tmp_path: Path) -> None:
    code, out, err = await run("doctor", **elsewhere(tmp_path), **NO_BROWSER)
    assert (code, err) == (5, "")
    assert "\x1b" not in out
    assert out.startswith("This machine\n ✓ program")
    assert "→ " in out
    assert out.endswith("\n")
