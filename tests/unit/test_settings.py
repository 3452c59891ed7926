"""Settings: where a value comes from, and what is said of one that can't be used."""

from __future__ import annotations

import os
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
    assert "no configuration file" in refusal(config_file=tmp_path / "missing.toml")


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
