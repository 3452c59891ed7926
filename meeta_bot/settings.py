"""All settings and limits, and the only code that reads the environment.

Sources, the first that has a value wins: options of the command line, environment (``MEETA_…``), one TOML file
(``--config``, ``MEETA_CONFIG``, or ``config.toml`` in the user's configuration directory), the defaults here.
Durations are seconds unless the name says otherwise; sizes are bytes.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any, ClassVar

import platformdirs
from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from meeta_bot.errors import ConfigurationError

APPLICATION = "meeta-bot"


def _default_data_directory() -> Path:
    """The user's data directory; for root a system directory, since PostgreSQL refuses to run as root."""
    if os.geteuid() == 0:
        return Path("/var/lib") / APPLICATION
    return Path(platformdirs.user_data_dir(APPLICATION, appauthor=False))


def default_config_file() -> Path:
    """Where the TOML file is looked for when none is named."""
    return Path(platformdirs.user_config_dir(APPLICATION, appauthor=False)) / "config.toml"


class Settings(BaseSettings):
    """Every value that an operator may set. Each limit has a unit and a reason."""

    model_config = SettingsConfigDict(env_prefix="MEETA_", extra="forbid", frozen=True)
    toml_values: ClassVar[dict[str, Any]] = {}

    # --- where things are -----------------------------------------------------------------------------
    database_url: SecretStr | None = Field(
        None, description="PostgreSQL to write to, postgresql://…; the embedded one when not given"
    )
    data_directory: Path = Field(
        default_factory=_default_data_directory,
        description="spool and embedded PostgreSQL live here",
    )
    browser: Path | None = Field(None, description="Chromium to use instead of the one that is found")

    # --- the bot --------------------------------------------------------------------------------------
    bot_name: str = Field("Event recorder", description="the name that others in the room see", min_length=1)
    room_password: SecretStr | None = Field(None, description="password of locked rooms")

    # --- the meeting ----------------------------------------------------------------------------------
    max_duration: float | None = Field(None, gt=0, description="leave after this long")
    left_alone_grace: float = Field(
        60, ge=0, description="leave when nobody else was there for this long; a reload takes seconds"
    )
    nobody_came_timeout: float = Field(
        900, gt=0, description="leave when nobody came for this long; people are late, but not by more"
    )

    # --- deadlines: no state lasts longer -------------------------------------------------------------
    browser_start_timeout: float = Field(30, gt=0, description="Chromium answers; 2 s on an idle machine")
    page_load_timeout: float = Field(30, gt=0, description="document, config and library have loaded")
    join_timeout: float = Field(45, gt=0, description="in the room, counted from the loaded page")
    lobby_timeout: float = Field(600, gt=0, description="let in from the lobby by a moderator")
    leave_timeout: float = Field(2, gt=0, description="out of the room; then the page is closed anyway")
    page_call_timeout: float = Field(10, gt=0, description="any single call into a page")
    flush_timeout: float = Field(15, gt=0, description="deliver the spool on the way out; the rest stays in it")
    browser_stop_timeout: float = Field(5, gt=0, description="Chromium closes; then it is killed")

    # --- page to Python -------------------------------------------------------------------------------
    page_batch_messages: int = Field(100, gt=0, le=1000, description="messages in one call of the binding")
    page_window_batches: int = Field(8, gt=0, description="batches on their way without acknowledgement")
    page_buffer_messages: int = Field(
        50_000, gt=0, description="messages a page holds unacknowledged; minutes of a busy meeting"
    )
    page_buffer_bytes: int = Field(64 * 2**20, gt=0, description="the same as text; a renderer has some GiB")
    page_resend_ms: int = Field(3_000, gt=0, description="an unacknowledged batch is sent again after")
    page_text_limit: int = Field(
        2**20, gt=0, description="characters of one string from a page; longer ones are cut and marked"
    )
    bridge_queue_batches: int = Field(64, gt=0, description="batches waiting for the normalizer, a capture")

    # --- spool ----------------------------------------------------------------------------------------
    spool_max_bytes: int = Field(2 * 2**30, gt=0, description="a spool file grows no larger; below most disks")
    spool_group_appends: int = Field(256, gt=0, description="appends that share one fsync")
    spool_retry_timeout: float = Field(600, gt=0, description="a spool that takes nothing ends its captures after")
    spool_retry_pause: float = Field(1, gt=0, description="between tries to append to a spool that is full")
    heartbeat_interval: float = Field(15, gt=0, description="how exactly the end of a killed process is known")

    # --- writer and PostgreSQL ------------------------------------------------------------------------
    writer_batch_events: int = Field(500, gt=0, le=5000, description="events a transaction")
    writer_linger: float = Field(
        0.005, ge=0, description="wait for company before a batch is sent; 50 ms would triple latency"
    )
    database_connect_timeout: float = Field(5, gt=0, description="a connection stands")
    database_statement_timeout: float = Field(60, gt=0, description="one statement answers")
    database_retry_initial: float = Field(0.2, gt=0, description="first pause after a failed delivery")
    database_retry_max: float = Field(10, gt=0, description="longest pause between deliveries that fail")
    partition_months_ahead: int = Field(3, ge=1, le=24, description="months of partitions created ahead")
    embedded_start_timeout: float = Field(30, gt=0, description="the embedded PostgreSQL answers, after recovery")

    # --- sampling -------------------------------------------------------------------------------------
    statistics_interval: float = Field(
        10, gt=0, description="connection statistics a participant; clients send them every 10 s or faster"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, InitSettingsSource(settings_cls, cls.toml_values)


def load(options: dict[str, Any] | None = None, config_file: Path | None = None) -> Settings:
    """Settings from `options` (None values are not given), environment and TOML file, in that order.

    :raises ConfigurationError: a file that is missing or no TOML, a value that can't be used, no such name.
    """
    given = {name: value for name, value in (options or {}).items() if value is not None}
    toml = _read_toml(config_file)

    class _Sourced(Settings):
        toml_values = toml

    try:
        return _Sourced(**given)
    except ValidationError as error:
        raise ConfigurationError(_first_problem(error)) from None


def _read_toml(config_file: Path | None) -> dict[str, Any]:
    named = config_file or (Path(os.environ["MEETA_CONFIG"]) if os.environ.get("MEETA_CONFIG") else None)
    path = named or default_config_file()
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if named is None:
            return {}
        raise ConfigurationError(f"There is no configuration file {path}") from None
    except OSError as error:
        if named is None:
            return {}
        raise ConfigurationError(f"Can't read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is no valid TOML: {error}") from None


def _first_problem(error: ValidationError) -> str:
    problem = error.errors(include_url=False, include_input=False)[0]
    name = ".".join(str(part) for part in problem["loc"])
    return f"Setting {name!r}: {problem['msg']}"
