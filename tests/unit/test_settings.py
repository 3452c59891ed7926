"""Settings: the sources of values, and the errors about those that can't be used."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from pathlib import Path

import pytest

from meeta_bot import settings
from meeta_bot.errors import ConfigurationError

WriteToml = Callable[[str], Path]


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.upper().startswith("MEETA_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "configuration"))


@pytest.fixture
def toml(tmp_path: Path) -> WriteToml:
    def write(text: str) -> Path:
        path = tmp_path / "given.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def refusal(**call: object) -> str:
    with pytest.raises(ConfigurationError) as error:
        settings.load(**call)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)
    return str(error.value)


def test_without_any_source_the_defaults_hold() -> None:
    assert settings.load().bot_name == "Event recorder"
    assert settings.load().database_url is None


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch, toml: WriteToml) -> None:
    def unknown(user_id: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {user_id}")

    path = toml("")
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(ConfigurationError, match="12345 has no home") as error:
        settings.load()
    assert error.value.hint == "set HOME, or MEETA_CONFIG and MEETA_DATA_DIRECTORY"
    monkeypatch.setenv("MEETA_CONFIG", str(path))
    assert "has no home" in refusal()
    monkeypatch.setenv("MEETA_DATA_DIRECTORY", str(path.parent))
    assert settings.load().data_directory == path.parent


def test_an_option_wins_over_the_environment_and_that_over_the_file(
    monkeypatch: pytest.MonkeyPatch, toml: WriteToml
) -> None:
    path = toml('bot_name = "file"')
    assert settings.load(config_file=path).bot_name == "file"
    monkeypatch.setenv("MEETA_BOT_NAME", "environment")
    assert settings.load(config_file=path).bot_name == "environment"
    assert settings.load({"bot_name": "option"}, path).bot_name == "option"


def test_each_value_comes_from_the_first_source_that_has_it(monkeypatch: pytest.MonkeyPatch, toml: WriteToml) -> None:
    path = toml('bot_name = "file"\njoin_timeout = 1\nlobby_timeout = 2')
    monkeypatch.setenv("MEETA_JOIN_TIMEOUT", "3")
    chosen = settings.load({"bot_name": None, "leave_timeout": 4}, path)
    assert (chosen.bot_name, chosen.join_timeout, chosen.lobby_timeout, chosen.leave_timeout) == ("file", 3, 2, 4)


def test_the_file_can_be_named_by_the_environment(monkeypatch: pytest.MonkeyPatch, toml: WriteToml) -> None:
    monkeypatch.setenv("MEETA_CONFIG", str(toml('bot_name = "named"')))
    assert settings.load().bot_name == "named"


def test_the_file_in_the_user_s_configuration_directory_is_read() -> None:
    path = settings.default_config_file()
    path.parent.mkdir(parents=True)
    path.write_text('bot_name = "mine"', encoding="utf-8")
    assert settings.load().bot_name == "mine"


def test_one_file_does_not_change_settings_loaded_later(toml: WriteToml) -> None:
    settings.load(config_file=toml('bot_name = "file"'))
    assert settings.load().bot_name == "Event recorder"


def test_a_named_file_that_is_missing_is_an_error(tmp_path: Path) -> None:
    missing = tmp_path / "missing.toml"
    assert f"Configuration file {missing} not found" in refusal(config_file=missing)


def test_a_directory_in_place_of_the_file_is_an_error(tmp_path: Path) -> None:
    assert str(tmp_path) in refusal(config_file=tmp_path)


def test_broken_toml_is_one_line_with_file_line_and_column(toml: WriteToml) -> None:
    path = toml('bot_name = "file"\njoin_timeout = = 3\n')
    said = refusal(config_file=path)
    assert str(path) in said
    assert "line 2, column 16" in said


def test_a_file_that_is_no_text_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "binary.toml"
    path.write_bytes(b"\xff\xfe\x00")
    assert str(path) in refusal(config_file=path)


def test_an_unknown_name_is_an_error_that_names_it(toml: WriteToml) -> None:
    assert "'bot_nmae'" in refusal(config_file=toml('bot_nmae = "x"'))
    assert "'bot_nmae'" in refusal(options={"bot_nmae": "x"})


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("join_timeout = 'soon'", "join_timeout"),
        ("join_timeout = 0", "join_timeout"),
        ("max_duration = -1", "max_duration"),
        ("page_batch_messages = 1.5", "page_batch_messages"),
        ("page_batch_messages = 1001", "page_batch_messages"),
        ("bot_name = ''", "bot_name"),
        ("bot_name = 5", "bot_name"),
        ("[database_url]\nhost = 'x'", "database_url"),
        ("database_url = 'mysql://ada@host/meeta'", "database_url"),
    ],
)
def test_a_value_that_can_t_be_used_is_an_error_that_names_the_setting(text: str, name: str, toml: WriteToml) -> None:
    assert repr(name) in refusal(config_file=toml(text))


def test_a_value_of_the_environment_that_can_t_be_used_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEETA_JOIN_TIMEOUT", "soon")
    assert "'join_timeout'" in refusal()


def test_secrets_do_not_show() -> None:
    chosen = settings.load({"database_url": "postgresql://u:hush@h/d", "room_password": "hush"})
    assert "hush" not in repr(chosen)
    assert "hush" not in str(chosen)
    assert "hush" not in chosen.model_dump_json()


def test_a_secret_of_the_wrong_type_does_not_show_in_the_error() -> None:
    assert "hush" not in refusal(options={"room_password": ["hush"]})


def test_settings_can_t_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        settings.load().bot_name = "x"


def test_every_setting_says_what_it_is_for() -> None:
    fields = settings.Settings.model_fields
    assert [name for name, field in fields.items() if not field.description] == []


# --- what is said of mistakes, word for word ----------------------------------------------------------------------


def problem(**call: object) -> tuple[str, str | None]:
    """Return the error and the hint of settings that can't be loaded."""
    with pytest.raises(ConfigurationError) as error:
        settings.load(**call)  # type: ignore[arg-type]
    return str(error.value), error.value.hint


@pytest.mark.parametrize(
    ("text", "says", "to_do"),
    [
        (
            'join_timeout = "soon"',
            "Setting 'join_timeout' ({path}) is not a number: 'soon'",
            "in the room, counted from the loaded page; a number of seconds, 45 by default",
        ),
        (
            "join_timeout = 0",
            "Setting 'join_timeout' ({path}) must be greater than 0: 0",
            "in the room, counted from the loaded page; a number of seconds, 45 by default",
        ),
        (
            "join_timeout = inf",
            "Setting 'join_timeout' ({path}) must be finite: inf",
            "in the room, counted from the loaded page; a number of seconds, 45 by default",
        ),
        (
            "page_batch_messages = 1001",
            "Setting 'page_batch_messages' ({path}) must be at most 1000: 1001",
            "messages in one call of the binding, 100 by default",
        ),
        (
            "page_batch_messages = 1.5",
            "Setting 'page_batch_messages' ({path}) is not a whole number: 1.5",
            "messages in one call of the binding, 100 by default",
        ),
        (
            'max_duration = "1h"',
            "Setting 'max_duration' ({path}) is not a number: '1h'",
            "leave after this long; a number of seconds",
        ),
        (
            "bot_name = 5",
            "Setting 'bot_name' ({path}) is not a text: 5",
            "the name that others in the room see, Event recorder by default",
        ),
        (
            "spool_group_appends = true",
            "Setting 'spool_group_appends' ({path}) can't be true or false: True",
            "appends that share one fsync, 256 by default",
        ),
        (
            'browser = ""',
            "Setting 'browser' ({path}) is empty",
            "unset it, or give it a value: Chromium to use instead of the one that is found",
        ),
        (
            'room_password = ""',
            "Setting 'room_password' ({path}) is empty",
            "unset it, or give it a value: password of locked rooms",
        ),
        ("room_password = 5", "Setting 'room_password' ({path}) is not a text", "password of locked rooms"),
        ('bot_nmae = "x"', "Unknown setting 'bot_nmae' ({path})", "did you mean 'bot_name'?"),
        ('MEETA_BOT_NAME = "x"', "Unknown setting 'MEETA_BOT_NAME' ({path})", "did you mean 'bot_name'?"),
        (
            '[meeta]\nbot_name = "x"',
            "Unknown setting 'meeta' ({path})",
            "the file has no tables: write settings without a [heading]",
        ),
        ("zzz = 1", "Unknown setting 'zzz' ({path})", "meeta_bot/settings.py lists all settings"),
        (
            'bot_name = "ok"\njoin_timeout = = 3\n',
            "{path} is not valid TOML: Invalid value (at line 2, column 16)",
            'write one setting per line, and texts in quotes: bot_name = "Recorder"',
        ),
        (
            'join_timeout = 3\nbot_name = "unterminated',
            "{path} is not valid TOML: Unterminated string (at line 2, column 25)",
            'write one setting per line, and texts in quotes: bot_name = "Recorder"',
        ),
        (
            "join_timeout = 1\njoin_timeout = 2",
            "{path} is not valid TOML: Cannot overwrite a value (at line 2, column 17)",
            'write one setting per line, and texts in quotes: bot_name = "Recorder"',
        ),
    ],
)
def test_a_mistake_in_the_file_is_told_with_what_to_do(text: str, says: str, to_do: str, toml: WriteToml) -> None:
    path = toml(text)
    assert problem(config_file=path) == (says.format(path=path), to_do)


def test_a_file_in_another_encoding_is_told_with_the_line(tmp_path: Path) -> None:
    path = tmp_path / "latin1.toml"
    path.write_bytes('join_timeout = 3\nbot_name = "Protokollführer"'.encode("latin-1"))
    assert problem(config_file=path) == (f"{path} is not valid UTF-8: line 2", "save it as UTF-8")


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "windows.toml"
    path.write_bytes(b'\xef\xbb\xbfbot_name = "x"\r\n')
    assert settings.load(config_file=path).bot_name == "x"


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("MEETA_JOIN_TIMEOUT", "soon", "Setting 'join_timeout' (MEETA_JOIN_TIMEOUT) is not a number: 'soon'"),
        ("MEETA_DATABASE_URL", "", "Setting 'database_url' (MEETA_DATABASE_URL) is empty"),
        ("MEETA_DATA_DIRECTORY", "", "Setting 'data_directory' (MEETA_DATA_DIRECTORY) is empty"),
        ("MEETA_BOT_NAME", "\udcff", "Setting 'bot_name' (MEETA_BOT_NAME) is not valid UTF-8"),
        ("MEETA_ROOM_PASSWORD", "h\udcffsh", "Setting 'room_password' (MEETA_ROOM_PASSWORD) is not valid UTF-8"),
        ("MEETA_DATABASE_ULR", "postgresql://u:hush@h/d", "Unknown setting 'MEETA_DATABASE_ULR'"),
        ("MEETA_CONFG", "/etc/meeta.toml", "Unknown setting 'MEETA_CONFG'"),
        ("meeta_browsr", "x", "Unknown setting 'meeta_browsr'"),
    ],
)
def test_a_mistake_in_the_environment_is_told_with_the_variable(
    variable: str, value: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    said, to_do = problem()
    assert said == says
    assert to_do
    assert "hush" not in said + to_do


def test_a_slip_of_the_pen_is_put_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEETA_DATABASE_ULR", "x")
    assert problem()[1] == "did you mean MEETA_DATABASE_URL?"


def test_variables_of_others_that_begin_alike_are_no_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MEETA_TEST_SEED", "MEETA_TEST_JITSI_URL", "MEETA_VERSION", "MEETA_HOME", "MEETA_DATABASE"):
        monkeypatch.setenv(name, "x")
    assert settings.load().bot_name == "Event recorder"


def test_an_option_is_told_without_a_place() -> None:
    assert problem(options={"max_duration": 0.0}) == (
        "Setting 'max_duration' must be greater than 0: 0.0",
        "leave after this long; a number of seconds",
    )


def test_every_setting_s_mistake_gets_words_of_its_own() -> None:
    for name in settings.Settings.model_fields:
        said, to_do = problem(options={name: {"a": object()}})
        assert said.startswith(f"Setting {name!r} is not ")
        assert to_do
