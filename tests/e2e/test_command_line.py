"""The command line as a user meets it: what it says, to whom, and how it exits."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from tests.e2e.recorder_process import run

REPOSITORY = Path(__file__).resolve().parents[2]
UNREACHABLE = "postgresql://alice:s3cr3t@127.0.0.1:1/meeta"
COMMANDS = (
    ("record",),
    ("doctor",),
    ("verify",),
    ("meetings",),
    ("timeline",),
    ("participants",),
    ("events",),
    ("export",),
    ("schema",),
    ("db", "upgrade"),
    ("db", "status"),
    ("db", "url"),
    ("db", "rebuild"),
    ("db", "shell"),
    ("db", "start"),
    ("db", "stop"),
    ("spool", "flush"),
    ("spool", "status"),
)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
async def test_every_command_explains_itself_and_stands_in_the_readme(command: tuple[str, ...]) -> None:
    code, out, _ = await run(*command, "--help")
    assert code == 0
    assert "Usage:" in out
    assert f"meeta-bot {' '.join(command)}" in (REPOSITORY / "README.md").read_text(encoding="utf-8")


async def test_the_list_of_commands_is_complete() -> None:
    _, out, _ = await run("--help")
    shown = out[out.index("Commands") :]
    groups = {command[0] for command in COMMANDS}
    assert {word for word in groups if f" {word} " in shown} == groups
    assert sum(line.startswith("│ ") and line[2] != " " for line in shown.splitlines()) == len(groups)


async def test_the_version_is_that_of_the_package() -> None:
    from meeta_bot import __version__

    assert (await run("--version"))[:2] == (0, f"meeta-bot {__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("record", "not a url"), "is not an http or https address"),
        (("record", "ftp://host/room"), "is not an http or https address"),
        (("record", "https://host"), "names no room"),
        (("record", "https://host/room", "--max-duration", "soon"), "is not a duration"),
        (("record", "https://host/room", "--password-file", "/no/such/file"), "Can't read"),
        (("meetings", "--config", "/no/such/file.toml"), "Configuration file /no/such/file.toml not found"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
async def test_wrong_usage_is_one_line_and_exit_code_2(arguments: tuple[str, ...], says: str) -> None:
    code, out, err = await run(*arguments)
    assert code == 2
    assert out == ""
    assert says in err
    assert "Traceback" not in err
    assert len([line for line in err.splitlines() if line.startswith("error:")]) == 1


async def test_broken_toml_is_told_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('bot_name = "ok"\nmax_duration = = 3\n', encoding="utf-8")
    code, _, err = await run("meetings", "--config", str(path))
    assert code == 2
    assert "line 2" in err


async def test_a_database_that_does_not_answer_is_exit_code_4_and_shows_no_password() -> None:
    code, _, err = await run("meetings", "--database-url", UNREACHABLE)
    assert code == 4
    assert "s3cr3t" not in err
    assert "hint:" in err


async def test_a_room_that_is_called_otherwise_than_its_address_is_told_before_anybody_joins(
    data: dict[str, str],
) -> None:
    code, _, err = await run("record", "http://127.0.0.1:1/C++Users", MEETA_BROWSER="/no/such/chromium", **data)
    assert code == 5
    assert err.startswith("warning: C++Users is the room cusers: ")


async def test_no_browser_is_exit_code_5_with_a_way_out(data: dict[str, str]) -> None:
    code, _, err = await run("record", "http://127.0.0.1:1/room", MEETA_BROWSER="/no/such/chromium", **data)
    assert code == 5
    assert "/no/such/chromium" in err


async def test_a_spool_that_can_not_be_written_is_exit_code_6(tmp_path: Path, newest_database: str) -> None:
    (tmp_path / "data").write_text("a file where a directory should be")
    code, _, err = await run(
        "record",
        "http://127.0.0.1:1/room",
        "--database-url",
        newest_database,
        MEETA_DATA_DIRECTORY=str(tmp_path / "data"),
    )
    assert code == 6
    assert "hint:" in err


async def test_the_schema_is_a_valid_schema() -> None:
    code, out, _ = await run("schema")
    assert code == 0
    jsonschema.Draft202012Validator.check_schema(json.loads(out))


async def test_the_embedded_database_is_there_without_any_set_up(data: dict[str, str]) -> None:
    assert await run("meetings", "--json", **data) == (0, "", "")
    code, out, err = await run("db", "status", "--json", **data)
    assert code == 0, err
    assert json.loads(out)["applied"] != []
    code, _, err = await run("timeline", "latest", **data)
    assert code == 3
    assert "There are no meetings yet" in err


async def test_the_embedded_database_stays_up_between_start_and_stop(data: dict[str, str]) -> None:
    code, url, err = await run("db", "start", **data)
    assert code == 0, err
    assert (await run("db", "url", **data))[1] == url
    code, _, err = await run("db", "upgrade", "--database-url", url.strip(), **data)
    assert code == 0, err
    assert (await run("db", "stop", **data))[0] == 0
    code, _, _ = await run("db", "status", "--database-url", url.strip(), **data)
    assert code == 4


async def test_a_schema_that_is_missing_is_told_with_what_to_do(empty_url: str) -> None:
    code, _, err = await run("meetings", "--database-url", empty_url)
    assert code == 4
    assert "db upgrade" in err
    code, out, _ = await run("db", "status", "--json", "--database-url", empty_url)
    assert code == 4
    assert json.loads(out)["pending"] != []
