"""The doctor's engine and what needs neither browser nor database: each judgement for good and for bad."""

from __future__ import annotations

import asyncio
import base64
import json
import resource
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from meeta_bot import doctor, room_address, settings
from meeta_bot.capture.browser.probe_page import Connected, Document, PageContents
from meeta_bot.capture.spool import Spool
from meeta_bot.capture.spool.directory import spool_root
from meeta_bot.doctor import NOT_CHECKED, Check, Examination, Finding, Level, Result, capabilities, deployment, machine
from meeta_bot.doctor.checks import failed, note, ok, warning
from meeta_bot.errors import DatabaseUnreachable
from meeta_bot.room_address import RoomAddress
from tests.unit import builders

CHECKS = {check.name: check for check in (*doctor.HERE, *doctor.DEPLOYMENT)}


def check(name: str, finding: Finding | Exception, *needs: str) -> Check:
    async def look(_: Examination) -> Finding:
        if isinstance(finding, Exception):
            raise finding
        return finding

    return Check(name, "group", look, 4, needs)


async def examined(*checks: Check, examination: Examination | None = None) -> dict[str, Result]:
    found = examination or Examination({}, None, None)
    return {result.name: result async for result in doctor.examine(found, checks)}


async def look(name: str, **options: Any) -> Result:
    """Make one of the real checks, after the settings with `options` that it needs."""
    examination = Examination(options, None, None)
    examination.settings = settings.load(options)
    return (await examined(CHECKS[name], examination=examination))[name]


# --- the engine ---------------------------------------------------------------------------------------------------


async def test_what_depends_on_a_failed_check_is_told_as_not_checked_with_the_first_reason() -> None:
    results = await examined(
        check("page", failed("it is away", "fetch it")),
        check("login", ok("never"), "page"),
        check("lobby", ok("never"), "login"),
        check("disk", ok("large")),
    )
    assert [result.level for result in results.values()] == ["failed", "not_checked", "not_checked", "ok"]
    assert results["lobby"].found == f"{NOT_CHECKED}page failed"


async def test_a_warning_stops_nothing_and_a_note_only_if_it_says_so() -> None:
    results = await examined(
        check("clock", warning("wrong", None)),
        check("schema", note("none", stops="there is no schema yet")),
        check("ping", note("off")),
        check("a", ok("a"), "clock", "ping"),
        check("b", ok("b"), "schema"),
    )
    assert results["a"].level is Level.OK
    assert (results["b"].level, results["b"].found) == (Level.NOT_CHECKED, f"{NOT_CHECKED}there is no schema yet")


async def test_an_error_of_the_tree_is_a_finding_with_its_hint_and_another_is_a_bug_that_stops_nothing() -> None:
    results = await examined(
        check("a", DatabaseUnreachable("Nothing listens", hint="start it")),
        check("b", KeyError("x")),
        check("c", ok("c")),
    )
    assert (results["a"].level, results["a"].found, results["a"].hint) == (
        Level.FAILED,
        "Nothing listens",
        "start it",
    )
    assert results["b"].level is Level.FAILED
    assert "KeyError" in results["b"].found
    assert results["c"].level is Level.OK


async def test_a_check_that_hangs_ends_at_its_deadline() -> None:
    async def hang(_: Examination) -> Finding:
        await asyncio.Event().wait()
        return ok("never")

    examination = Examination({}, None, None)
    examination.settings = settings.load({"doctor_timeout": 0.01})
    result = (await examined(Check("disk", "group", hang, 6), examination=examination))["disk"]
    assert result.level is Level.FAILED
    assert "0.01 s" in result.found


async def test_secrets_do_not_pass() -> None:
    results = await examined(check("a", failed("at postgresql://u:hush@h/d", "open https://h/r?jwt=hush")))
    assert "hush" not in f"{results['a'].found}{results['a'].hint}"


async def test_what_was_opened_is_closed_after_the_last_check() -> None:
    closed: list[str] = []
    examination = Examination({}, None, None)
    examination.exits.callback(closed.append, "browser")
    seen: list[list[str]] = []
    results: AsyncIterator[Result] = doctor.examine(examination, (check("a", ok("a")), check("b", ok("b"))))
    async for _ in results:
        seen.append(list(closed))
    assert seen == [[], []]
    assert closed == ["browser"]


def test_every_check_has_a_name_of_its_own_and_needs_earlier_ones_only() -> None:
    names = [one.name for one in (*doctor.HERE, *doctor.DEPLOYMENT)]
    assert len(set(names)) == len(names)
    for position, name in enumerate(names):
        assert set(CHECKS[name].needs) <= set(names[:position])


# --- this machine -------------------------------------------------------------------------------------------------


async def test_settings_are_told_by_name_and_a_variable_that_is_none_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "given.toml"
    file.write_text('bot_name = "hush"\n')
    monkeypatch.setenv("MEETA_ROOM_PASSWORD", "hush")
    options = {"database_url": "postgresql://u:hush@h/d"}
    examination = Examination(options, file, None)
    result = (await examined(CHECKS["settings"], examination=examination))["settings"]
    assert all(name in result.found for name in (str(file), "bot_name", "MEETA_ROOM_PASSWORD", "database_url"))
    assert "hush" not in result.found
    monkeypatch.setenv("MEETA_UNHEARD_OF", "hush")
    result = (await examined(CHECKS["settings"], examination=Examination({}, file, None)))["settings"]
    assert result.level is Level.WARNING
    assert "MEETA_UNHEARD_OF" in result.found
    assert "hush" not in result.found


async def test_the_data_directory_may_be_missing_but_not_a_file(tmp_path: Path) -> None:
    assert "will be created" in (await look("data directory", data_directory=tmp_path / "a" / "b")).found
    assert not (tmp_path / "a").exists()
    assert "writable" in (await look("data directory", data_directory=tmp_path)).found
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        result = await look("data directory", data_directory=place)
        assert result.level is Level.FAILED
        assert str(tmp_path / "file") in result.found
        assert result.hint


async def test_the_disk_must_have_room_for_a_spool_as_large_as_it_may_become(tmp_path: Path) -> None:
    assert (await look("disk", data_directory=tmp_path, spool_max_bytes=4096, page_buffer_bytes=1)).level is Level.OK
    large = 2**60
    result = await look("disk", data_directory=tmp_path, spool_max_bytes=large, page_buffer_bytes=1)
    assert (result.level, result.hint is not None) == (Level.WARNING, True)
    result = await look("disk", data_directory=tmp_path, spool_max_bytes=large, page_buffer_bytes=large)
    assert result.level is Level.FAILED


@pytest.mark.parametrize(
    ("soft", "status", "rooms"),
    [(20_000, "ok", "2,468"), (1024, "ok", "96"), (256, "warning", "0"), (64, "warning", "0")],
)
def test_the_limit_of_open_files_is_told_in_rooms(soft: int, status: str, rooms: str) -> None:
    finding = machine.judge_open_files(soft, 4096)
    assert finding.level == status
    assert f"about {rooms} rooms" in finding.found
    assert ("ulimit -n 4256" in (finding.hint or "")) == (soft < 4256)
    assert "4,096" in (finding.hint or "4,096")


def test_no_limit_of_open_files_is_fine() -> None:
    assert machine.judge_open_files(resource.RLIM_INFINITY, resource.RLIM_INFINITY).found == "unlimited"


@pytest.mark.parametrize(
    ("program", "script", "status", "says"),
    [
        ("timedatectl", "echo yes", Level.OK, "timedatectl"),
        ("timedatectl", "echo no", Level.WARNING, "not synchronized"),
        ("chronyc", "echo 'Leap status     : Normal'", Level.OK, "chronyc"),
        ("chronyc", "echo 'Leap status     : Not synchronised'", Level.WARNING, "not synchronized"),
        ("chronyc", "echo '506 Cannot talk to daemon'; exit 1", Level.WARNING, "no tool here tells"),
        ("timedatectl", "echo 'Failed to connect to bus' >&2; exit 1", Level.WARNING, "no tool here tells"),
    ],
)
async def test_the_clock_is_as_synchronized_as_the_machine_s_own_tools_say(
    program: str, script: str, status: Level, says: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tool = tmp_path / program
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("meeta_bot.doctor.machine._TIMESYNCD_MARK", tmp_path / "no such file")
    result = await look("clock")
    assert (result.level, says in result.found) == (status, True)
    assert ("occurred_at" in result.found) == (status is not Level.OK)


async def test_the_mark_of_timesyncd_is_believed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("meeta_bot.doctor.machine._TIMESYNCD_MARK", tmp_path)
    assert "systemd-timesyncd" in (await look("clock")).found


# --- spools -------------------------------------------------------------------------------------------------------


async def fill(directory: Path) -> Spool:
    """Return a spool that holds two events of a capture that goes on."""
    spool = Spool(directory, settings.load())
    await spool.append(builders.CAPTURE, builders.append(1, 2))
    return spool


async def test_no_spool_and_an_empty_one_are_fine(tmp_path: Path) -> None:
    assert (await look("spool", data_directory=tmp_path)).found == "nothing waits"
    assert not spool_root(settings.load({"data_directory": tmp_path})).exists()


async def test_what_a_dead_process_left_is_a_warning_and_what_a_running_one_holds_is_not(tmp_path: Path) -> None:
    chosen = settings.load({"data_directory": tmp_path})
    spool = await fill(spool_root(chosen) / "1")
    result = await look("spool", data_directory=tmp_path)
    assert (result.level, result.found.startswith("2 events in the spool of process ")) == (Level.OK, True)
    await spool.close()
    result = await look("spool", data_directory=tmp_path)
    assert result.level is Level.WARNING
    assert "2 events left" in result.found
    assert "1 of their captures" in result.found
    assert "spool flush" in (result.hint or "")
    again = Spool(spool_root(chosen) / "1", chosen)  # looking took nothing away
    assert again.waiting == 2
    await again.close()


async def test_a_spool_that_can_not_be_read_is_told_by_its_place(tmp_path: Path) -> None:
    directory = spool_root(settings.load({"data_directory": tmp_path})) / "7"
    directory.mkdir(parents=True)
    (directory / "events.sqlite3").write_bytes(b"this is no database, and it is longer than a header" * 40)
    result = await look("spool", data_directory=tmp_path)
    assert result.level is Level.WARNING
    assert str(directory) in result.found


# --- addresses ----------------------------------------------------------------------------------------------------


def token(**claims: Any) -> str:
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"e30.{payload}.c2lnbmF0dXJl"


async def address(text: str) -> Result:
    return (await examined(CHECKS["address"], examination=Examination({}, None, text)))["address"]


async def test_an_address_is_told_as_room_and_deployment_without_its_token() -> None:
    result = await address("https://meet.example.org/Team/Stand%20Up?jwt=hush.hush.hush")
    assert (result.level, result.found) == (Level.OK, "room stand%20up at https://meet.example.org/team")


async def test_a_connection_that_is_not_encrypted_is_a_warning() -> None:
    assert (await address("http://meet.example.org/r")).level is Level.WARNING
    assert (await address("http://localhost:8000/r")).level is Level.OK


async def test_a_room_that_is_called_otherwise_than_its_address_is_told() -> None:
    result = await address("https://meet.example.org/R&D")
    assert result.level is Level.WARNING
    assert result.found == "room rd at https://meet.example.org"
    assert result.hint is not None
    assert result.hint.startswith("R&D is the room rd: ")


@pytest.mark.parametrize("given", ["a.b.c", token(), token(exp="soon"), token(exp=10**400), "a." + "=" * 9])
async def test_a_token_that_tells_no_time_is_left_to_the_server(given: str) -> None:
    result = await login_token(f"https://meet.example.org/r?jwt={given}")
    assert (result.level, result.found) == (Level.OK, "in the link")


async def test_a_token_is_told_by_its_place_and_whether_its_time_is_over(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(token(exp=(datetime.now(UTC) + timedelta(days=1)).timestamp()))
    good = await login_token("https://h/r", jwt_file=file)
    assert (good.level, good.found) == (Level.OK, f"from {file}")
    assert file.read_text() not in repr(good)
    old = await login_token("https://h/r", jwt=token(exp=1_700_000_000))
    assert (old.level, old.found) == (Level.WARNING, "from the settings; it has expired")
    assert (await login_token("https://h/r")).level is Level.NOTE
    missing = await login_token("https://h/r", jwt_file=tmp_path / "missing")
    assert (missing.level, missing.found) == (Level.FAILED, f"no token can be read from {tmp_path / 'missing'}")


async def test_what_is_no_room_has_the_exit_code_of_wrong_usage() -> None:
    result = await address("https://meet.example.org")
    assert (result.level, result.exit_code) == (Level.FAILED, 2)
    assert "https://" in (result.hint or "")


async def login_token(link: str, **options: Any) -> Result:
    examination = Examination(options, None, link)
    examination.settings = settings.load(options)
    return (await examined(CHECKS["address"], CHECKS["token"], examination=examination))["token"]


# --- page and login -----------------------------------------------------------------------------------------------


def document(**fields: Any) -> Document:
    given = {"status": 200, "host": "h", "issuer": "An Authority", "protocol": "TLS 1.3"}
    return Document(**{**given, "expires": datetime.now(UTC) + timedelta(days=60), **fields})


def test_a_page_is_judged_by_who_answers_and_its_certificate() -> None:
    finding = deployment.judge_page(document(), "h")
    assert finding.level is Level.OK
    assert "TLS 1.3, certificate issued by An Authority, valid until " in finding.found
    assert "redirects" not in finding.found
    assert "from other.h, where it redirects" in deployment.judge_page(document(host="other.h"), "h").found
    soon = datetime.now(UTC) + timedelta(days=1)
    assert deployment.judge_page(document(expires=soon), "h").level is Level.WARNING


class AnsweringPage:
    """A page whose login goes as told."""

    def __init__(self, error: str | None, service: str = "wss://h/xmpp-websocket") -> None:
        self._connected = Connected(service, 120, error, "because" if error else None, [])

    async def connect(self, _: RoomAddress) -> Connected:
        return self._connected


class SilentPage(AnsweringPage):
    """A page whose login is not answered."""

    async def connect(self, _: RoomAddress) -> Connected:
        await asyncio.Event().wait()
        return self._connected


async def login(page: AnsweringPage, link: str = "https://h/r", **config: Any) -> Result:
    examination = Examination({}, None, link)
    examination.settings = settings.load({"join_timeout": 0.01})
    examination.address = room_address.parse(link)
    examination.page = page  # type: ignore[assignment]
    examination.seen = PageContents(dict.fromkeys(capabilities.KEYS) | config, None, None, None, [])
    return (await examined(Check("login", "group", CHECKS["login"].inspect, 7), examination=examination))["login"]


async def test_a_login_is_told_with_its_way_and_whether_there_is_another() -> None:
    both = await login(AnsweringPage(None), websocket="wss://h/x", bosh="/b")
    assert both.found.startswith(
        "logged in anonymously over websocket (BOSH is available, too) at wss://h/xmpp-websocket"
    )
    only = await login(AnsweringPage(None, "https://h/http-bind"), bosh="/b")
    assert only.found.startswith("logged in anonymously over BOSH at https://h/http-bind")
    assert "with the token" in (await login(AnsweringPage(None), "https://h/r?jwt=a.b.c")).found


async def test_a_login_that_wants_an_account_is_told_apart_from_a_token_that_is_rejected() -> None:
    refused = AnsweringPage("connection.passwordRequired")
    without = await login(refused)
    assert (without.level, "without an account" in without.found) == (Level.FAILED, True)
    assert "?jwt=" in (without.hint or "")
    rejected = await login(refused, "https://h/r?jwt=a.b.c")
    assert (rejected.level, "rejects the token" in rejected.found) == (Level.FAILED, True)
    other = await login(AnsweringPage("connection.otherError"))
    assert (other.level, "connection.otherError: because" in other.found) == (Level.FAILED, True)


async def test_a_login_that_is_not_answered_ends_at_its_deadline() -> None:
    result = await login(SilentPage(None))
    assert (result.level, "0.01 s (join_timeout)" in result.found) == (Level.FAILED, True)


# --- what a deployment says of itself -----------------------------------------------------------------------------


async def seen(name: str, announced: Any = None, events: Any = (), **config: Any) -> Result:
    """Make a check of a page with these keys of the configuration; a dot is written as two underscores."""
    given = {key.replace("__", "."): value for key, value in config.items()}
    assert set(given) <= set(capabilities.KEYS)
    examination = Examination({}, None, None)
    examination.seen = PageContents(dict.fromkeys(capabilities.KEYS) | given, None, None, None, list(events))
    examination.connected = Connected("wss://h/x", 1, None, None, announced)
    return (await examined(Check(name, "group", CHECKS[name].inspect, 7), examination=examination))[name]


@pytest.mark.parametrize("name", ["transcription", "recording"])
async def test_a_service_without_its_domain_looks_like_people(name: str) -> None:
    key = {"transcription": "transcription__enabled", "recording": "recordingService__enabled"}[name]
    result = await seen(name, **{key: True})
    assert (result.level, "hiddenDomain" in result.found) == (Level.WARNING, True)
    assert (await seen(name, hiddenDomain="recorder.meet.jitsi", **{key: True})).level is Level.NOTE
    assert (await seen(name, **{key: False})).level is Level.NOTE
    assert "not set" in (await seen(name)).found


async def test_an_older_key_counts_where_the_newer_one_is_missing() -> None:
    assert "on (transcribingEnabled)" in (await seen("transcription", transcribingEnabled=True)).found
    both = await seen("transcription", transcribingEnabled=True, transcription__enabled=False)
    assert both.found == "off (transcription.enabled)"


@pytest.mark.parametrize(
    ("name", "service"),
    [("lobby", "lobbyrooms"), ("breakout rooms", "breakout_rooms"), ("moderation", "av_moderation")],
)
async def test_services_are_what_the_server_announces(name: str, service: str) -> None:
    assert (await seen(name, [service])).found.startswith(f"announced by the server ({service})")
    assert (await seen(name, ["shard"])).found == f"not announced by the server ({service})"
    assert "did not say" in (await seen(name)).found


@pytest.mark.parametrize(
    ("name", "given", "says"),
    [
        ("sources", {"events": ("conference.participant_source_updated",)}, "SourceInfo (the library"),
        ("sources", {"flags__sourceNameSignaling": True}, "flags.sourceNameSignaling"),
        ("sources", {}, "audiomuted"),
        ("bridge channel", {"bridgeChannel__preferSctp": True}, "data channel"),
        ("bridge channel", {"bridgeChannel__preferSctp": False}, "websocket"),
        ("bridge channel", {"openBridgeChannel": "websocket"}, "openBridgeChannel is websocket"),
        ("bridge channel", {}, "not set"),
        ("peer to peer", {"p2p__enabled": False}, "off"),
        ("peer to peer", {"p2p__enabled": True}, "over the bridge while the bot is there"),
        ("ping", {"e2eping__enabled": True}, "on (e2eping.enabled)"),
        ("visitors", {"visitors__queueService": "https://h/q"}, "queue"),
        ("visitors", {"events": ("conference.visitorsSupported",)}, "inside a room only"),
        ("visitors", {}, "unknown to this library"),
        ("access", {"tokenAuthUrl": "https://h/login"}, "tokenAuthUrl"),
        ("access", {"hosts__anonymousdomain": "guest.h"}, "hosts.anonymousdomain"),
        ("access", {}, "no sign"),
    ],
)
async def test_each_statement_names_what_it_comes_from(name: str, given: dict[str, Any], says: str) -> None:
    result = await seen(name, **given)
    assert says in result.found
    assert result.level is Level.NOTE
