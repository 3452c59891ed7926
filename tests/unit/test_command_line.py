"""The command line's answers to mistakes that need neither browser nor database: one line, a hint, the exit code.

Run in this process, where a mistake costs milliseconds; tests/e2e has those that need a process.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from meeta_bot import cli, errors

Said = tuple[int | str | None, str, str]
Say = Callable[..., Said]

URL = "https://meet.example.org/Room"
NOWHERE = "postgresql://127.0.0.1:1/none"
EXAMPLE = "give the address that you would open in a browser, such as https://meet.example.org/WeeklyStandup"


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Say:
    """Run the command line; exit code, standard output, standard error."""
    for name in [name for name in os.environ if name.upper().startswith("MEETA_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("MEETA_DATA_DIRECTORY", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Said:
        monkeypatch.setattr("sys.argv", ["meeta-bot", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return end.value.code, *capfd.readouterr()

    return run


@pytest.mark.parametrize(
    ("arguments", "says", "to_do"),
    [
        (("nonsense",), "No such command 'nonsense'.", "see `meeta-bot --help`"),
        (("meetigns",), "No such command 'meetigns'. Did you mean 'meetings'?", "see `meeta-bot --help`"),
        (("db", "upgrad"), "No such command 'upgrad'. Did you mean 'upgrade'?", "see `meeta-bot db --help`"),
        (
            ("meetings", "--lmit", "3"),
            "No such option: --lmit (Possible options: --limit)",
            "see `meeta-bot meetings --help`",
        ),
        (("timeline", "a", "b"), "Got unexpected extra argument(s) (b)", "see `meeta-bot timeline --help`"),
        (("events", "--type"), "Option '--type' requires an argument.", "see `meeta-bot"),
        (("record", "not a url"), "'not a url' is not an http or https address", EXAMPLE),
        (("record", "https://meet.example.org"), "'https://meet.example.org' names no room", EXAMPLE),
        (("record", URL, "https://meet.example.org/?jwt=hush"), "'https://meet.example.org/' names no room", EXAMPLE),
        (("record", "\u202eftp://x/[red]"), r"'\u202eftp://x/[red]' is not an http or https address", EXAMPLE),
        (("record", URL, "--max-duration", "soon"), "'soon' is not a duration", "write it as 90s, 15m or 1h30m"),
        (
            ("record", URL, "--max-duration", "0"),
            "Setting 'max_duration' must be greater than 0: 0.0",
            "leave after this long; a number of seconds",
        ),
        (
            ("record", URL, "--name", ""),
            "Setting 'bot_name' is empty",
            "unset it, or give it a value: the name that others in the room see, Event recorder by default",
        ),
        (
            ("record", URL, "--name", "\udcff"),
            "Setting 'bot_name' is not valid UTF-8",
            "the name that others in the room see, Event recorder by default",
        ),
        (
            ("meetings", "--database-url", ""),
            "Setting 'database_url' is empty",
            "unset it, or give it a value: PostgreSQL to write to, postgresql://…; the embedded one when not given",
        ),
        (
            ("record", URL, "--database-url", "mysql://ada:hush@host/meeta"),
            "Setting 'database_url' is not the address of a PostgreSQL database",
            "PostgreSQL to write to, postgresql://…; the embedded one when not given",
        ),
        (
            ("meetings", "--config", "/no/such/file.toml"),
            "Configuration file /no/such/file.toml not found",
            "name a TOML file with --config or MEETA_CONFIG",
        ),
        (
            ("events", "--since", "yesterday"),
            "'yesterday' is not a time",
            "write 2026-11-22T10:00:00Z, 15m for 15 minutes ago, or 1:02:03 after the start",
        ),
        (
            ("events", "--since", "1h", "--until", "2h"),
            "--since is not before --until",
            "give the earlier moment to --since",
        ),
        (
            ("events", "--type", "participant.joind"),
            "Unknown event type 'participant.joind'",
            "did you mean participant.joined",
        ),
        (("export", "--output", ""), "--output names no file", "use - for standard output"),
        (("export", "-o", "/no/such/x"), "Directory /no/such not found", "create it, or name another file"),
        (
            ("export", "-o", "/dev/null", "--force"),
            "/dev/null is not a regular file",
            "use `--output -` and redirect it",
        ),
        (("export", "-o", "x" * 300), f"Can't write {'x' * 300}: File name too long", "name another file"),
        (("export", "a", "--all"), "MEETING and --all don't go together", "give one of them"),
        (("timeline", "\udcff"), r"'\udcff' is not valid UTF-8", "type it on a terminal that writes UTF-8"),
        (("export", "\udcff"), r"'\udcff' is not valid UTF-8", "type it on a terminal that writes UTF-8"),
        (("meetings", "--room", "\udcff"), r"'\udcff' is not valid UTF-8", "type it on a terminal that writes UTF-8"),
        (
            ("events", "--participant", "\udcff"),
            r"'\udcff' is not valid UTF-8",
            "type it on a terminal that writes UTF-8",
        ),
    ],
    ids=lambda value: (
        " ".join(value)[:40].encode("ascii", "backslashreplace").decode() if isinstance(value, tuple) else ""
    ),
)
def test_a_mistake_of_usage_is_one_line_a_hint_and_exit_code_2(
    arguments: tuple[str, ...], says: str, to_do: str, say: Say
) -> None:
    code, out, err = say(*arguments)
    first, second, end = err.split("\n")
    assert (code, out, end) == (2, "", "")
    assert first == f"error: {says}"
    assert second.startswith(f"hint:  {to_do}")


@pytest.mark.parametrize("value", ["x", "0", "-3", "1.5", "10001", "", "٣x"])
def test_a_limit_that_is_none_is_told(value: str, say: Say) -> None:
    code, out, err = say("meetings", "--limit", value)
    assert (code, out) == (2, "")
    assert re.fullmatch(r"error: Invalid value for '--limit' / '-n': .+\nhint:  see `meeta-bot meetings --help`\n", err)


def test_a_format_that_is_none_is_told_with_those_that_are(say: Say) -> None:
    code, out, err = say("export", "--format", "xml")
    assert (code, out) == (2, "")
    assert re.fullmatch(r"error: Invalid value for '--format'.*'xml'.*'jsonl', 'csv'.*\nhint: .*export --help`\n", err)


@pytest.mark.parametrize("arguments", [(), ("db",), ("spool",)], ids=["alone", "db", "spool"])
def test_a_group_without_a_command_explains_itself(arguments: tuple[str, ...], say: Say) -> None:
    code, out, err = say(*arguments)
    assert (code, err) == (2, "")
    assert f"Usage: meeta-bot {' '.join(arguments)}".strip() in out
    assert out.count("Usage") == 1


def commands() -> dict[str, Any]:
    """Every command and group, by its words."""

    def walk(command: Any, words: str) -> Iterator[tuple[str, Any]]:
        yield words, command
        for name, below in getattr(command, "commands", {}).items():
            yield from walk(below, f"{words} {name}".strip())

    return dict(walk(get_command(cli.app), ""))


def test_every_json_option_says_whether_it_prints_lines_or_one_document() -> None:
    options = {words: option for words, one in commands().items() for option in one.params if "--json" in option.opts}
    assert {"events", "timeline", "record", "doctor", "db status", "spool flush"} <= options.keys()
    assert [words for words, option in options.items() if not re.search("line|document", option.help)] == []


@pytest.mark.parametrize("command", commands())
def test_no_line_of_a_help_is_broken_on_a_terminal_of_80_columns(command: str) -> None:
    _, *paragraphs = commands()[command].help.split("\n\n")  # the first is wrapped, the others keep their lines
    assert [line for text in paragraphs for line in text.splitlines() if len(line) > 78] == []


def test_the_help_names_every_exit_code(say: Say) -> None:
    def codes(kind: type[errors.MeetaError]) -> set[int]:
        return {kind.exit_code}.union(*(codes(below) for below in kind.__subclasses__()))

    code, out, _ = say("--help")
    told = re.sub(r"[\s│╰╯─]+", " ", out[out.index("Exit codes:") :])
    assert code == 0
    assert {int(number) for number in re.findall(r"[:,] (\d+) \w", told)} == {
        *(0, errors.EXIT_REFUTED, errors.EXIT_EVENTS_REMAIN, errors.EXIT_INTERRUPTED),
        *codes(errors.MeetaError),
    }


@pytest.mark.parametrize(
    "command",
    [
        ("meetings",),
        ("timeline",),
        ("participants", "x"),
        ("events", "--counts"),
        ("events", "-f"),
        ("export", "--all"),
        ("db", "status"),
        ("db", "upgrade"),
        ("db", "rebuild"),
        ("db", "shell", "-c", "SELECT 1"),
        ("spool", "flush"),
    ],
    ids=" ".join,
)
def test_a_database_that_is_away_is_exit_code_4_for_every_command_that_reads(
    command: tuple[str, ...], say: Say
) -> None:
    code, out, err = say(*command, "--database-url", NOWHERE)
    told = "error: Nothing listens at 127.0.0.1:1/none\nhint:  is PostgreSQL running, and is the port right?\n"
    assert (code, out) == (4, "")
    assert err.endswith(told)
    assert err.removesuffix(told) in ("", f"There is no spool {Path.cwd()}/data/spool\n")


@pytest.mark.parametrize("place", ["file", "proc", "long"])
@pytest.mark.parametrize("command", [("meetings",), ("db", "start")], ids=" ".join)
def test_a_data_directory_that_can_t_be_made_is_told(
    command: tuple[str, ...], place: str, say: Say, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    path, why = {
        "file": (f"{tmp_path}/file", "Not a directory"),
        "proc": ("/proc/meeta", "No such file or directory"),
        "long": (f"{tmp_path}/{'x' * 300}", "File name too long"),
    }[place]
    monkeypatch.setenv("MEETA_DATA_DIRECTORY", path)
    code, out, err = say(*command)
    assert (code, out) == (4, "")
    assert err.endswith(
        f"error: Can't create {path}/postgres: {why}\nhint:  name another directory with MEETA_DATA_DIRECTORY\n"
    )


@pytest.mark.parametrize("mode", ["file", "long"])
def test_a_spool_that_is_not_there_is_told(
    mode: str, say: Say, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    path = f"{tmp_path}/{'file' if mode == 'file' else 'x' * 300}"
    monkeypatch.setenv("MEETA_DATA_DIRECTORY", path)
    code, out, err = say("spool", "flush", "--database-url", NOWHERE)
    first, code_expected = {
        "file": (f"There is no spool {path}/spool", 4),
        "long": (f"error: Can't read the spool {path}/spool: File name too long", 6),
    }[mode]
    assert (code, out) == (code_expected, "")
    assert err.split("\n")[0] == first


def test_stopping_a_server_that_can_t_be_there_is_no_mistake(
    say: Say, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MEETA_DATA_DIRECTORY", str(tmp_path / "file"))
    assert say("db", "stop") == (0, "", "stopped\n")


def test_files_of_the_embedded_server_that_can_t_be_used_are_told(say: Say, tmp_path: Path) -> None:
    keep = tmp_path / "data" / "postgres" / "keep"
    keep.mkdir(parents=True)
    assert say("db", "stop") == (
        4,
        "",
        f"error: Can't use {keep}: Is a directory\n"
        "hint:  run as the user who owns it, or name another directory with MEETA_DATA_DIRECTORY\n",
    )


def test_an_unknown_variable_that_is_nearly_a_setting_stops_every_command_that_has_settings(
    say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEETA_DATABASE_ULR", NOWHERE)
    told = "error: Unknown setting 'MEETA_DATABASE_ULR'\nhint:  did you mean MEETA_DATABASE_URL?\n"
    assert say("record", URL) == (2, "", told)
    assert say("meetings") == (2, "", told)
