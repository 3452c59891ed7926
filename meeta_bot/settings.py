"""All settings and limits, and the only code that reads the environment.

Sources, the first that has a value wins: options of the command line, environment (``MEETA_…``), one TOML file
(``--config``, ``MEETA_CONFIG``, or ``config.toml`` in the user's configuration directory), the defaults here.
Durations are seconds unless the name says otherwise; sizes are bytes.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import platformdirs
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_core import ErrorDetails, PydanticCustomError
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from meeta_bot.errors import ConfigurationError

APPLICATION = "meeta-bot"
PREFIX = "MEETA_"
_MISSPELT = 0.85  # similarity from which on an unknown variable is taken for a slip of the pen
_SIMILAR = 0.6  # similarity from which on a name is worth a suggestion
_LONGEST_VALUE = 60  # characters of a value that a message repeats
_NAME_A_FILE = "name a TOML file with --config or MEETA_CONFIG"
_AS_TOML = 'write one setting per line, and texts in quotes: bot_name = "Recorder"'


def _default_data_directory() -> Path:
    """Return the user's data directory; for root a system directory, since PostgreSQL refuses to run as root."""
    if os.geteuid() == 0:
        return Path("/var/lib") / APPLICATION
    return _of_home(platformdirs.user_data_dir)


def default_config_file() -> Path:
    """Return the path of the TOML file that is read when none is named.

    :raises ConfigurationError: the user has no home directory.
    """
    return _of_home(platformdirs.user_config_dir) / "config.toml"


def _of_home(directory: Callable[..., str]) -> Path:
    """Return a directory of the user's; containers run with user ids that no passwd file has a home for."""
    try:
        return Path(directory(APPLICATION, appauthor=False))
    except RuntimeError:
        raise ConfigurationError(
            f"User {os.geteuid()} has no home directory", hint="set HOME, or MEETA_CONFIG and MEETA_DATA_DIRECTORY"
        ) from None


class Settings(BaseSettings):
    """All values that an operator may set. Each limit has a unit and a reason."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True, allow_inf_nan=False)
    toml_values: ClassVar[dict[str, Any]] = {}

    # --- where things are -----------------------------------------------------------------------------
    database_url: SecretStr | None = Field(
        None, description="PostgreSQL to write to, postgresql://…; the embedded one when not given"
    )
    data_directory: Path = Field(
        default_factory=_default_data_directory, description="spool and embedded PostgreSQL live here"
    )
    browser: Path | None = Field(None, description="Chromium to use instead of the one that is found")

    # --- the bot --------------------------------------------------------------------------------------
    bot_name: str = Field("Event recorder", description="the name that others in the room see", min_length=1)
    room_password: SecretStr | None = Field(None, description="password of locked rooms")
    jwt: SecretStr | None = Field(None, description="JSON Web Token to log in with, for links without one")
    jwt_file: Path | None = Field(None, description="file with such a token, read again for every login")

    # --- many rooms -----------------------------------------------------------------------------------
    rooms_per_page: int = Field(
        20, gt=0, le=100, description="rooms of one deployment in one page: memory saved against what one crash takes"
    )
    rooms_per_profile: int = Field(
        100, gt=0, le=120, description="rooms of one browser profile; each takes two of its 255 websockets"
    )
    joins_per_second: float = Field(10, gt=0, description="rooms that begin to join; servers bear a reload of a class")
    joins_at_once: int = Field(8, gt=0, description="rooms on their way in; a join keeps a core busy for a moment")
    rooms_limit: int = Field(2000, gt=0, description="rooms of one process; ten times what was measured")

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
    page_load_timeout: float = Field(
        30, gt=0, description="document, config and library have loaded; longer than a person would wait"
    )
    join_timeout: float = Field(45, gt=0, description="in the room, counted from the loaded page")
    lobby_timeout: float = Field(
        600, gt=0, description="let in from the lobby by a moderator, who has to notice and to act"
    )
    host_timeout: float = Field(
        1800, gt=0, description="a host comes to a meeting that guests can't begin; a recurring one may start late"
    )
    start_timeout: float = Field(1800, gt=0, description="a meeting that is not live yet goes live")
    full_timeout: float = Field(600, gt=0, description="somebody leaves a full room; it may take a while")
    queue_timeout: float = Field(
        600, gt=0, description="in the room, when a server lets in one after the other; 3 a second are 1,800"
    )
    ask_pause: float = Field(
        5, gt=0, description="until a server that said no for now is asked again; web clients take as long"
    )
    waiting_reminder: float = Field(60, gt=0, description="how often the log says that the bot still waits")
    reconnect_timeout: float = Field(
        900, gt=0, description="back in a room that was lost; three times the longest outage that was tried"
    )
    reconnect_pause_initial: float = Field(
        0.5, gt=0, description="before the second try to get back into a room; the first comes at once"
    )
    reconnect_pause_max: float = Field(
        10, gt=0, description="longest pause between tries; a server that is back is met within it"
    )
    browser_failures_limit: int = Field(
        3, gt=0, description="times in a row that Chromium gives no usable page; then another is started"
    )
    browser_doubt_timeout: float = Field(
        2, gt=0, description="a page comes, or answers while it loads, after all were lost; else another Chromium"
    )
    crashes_limit: int = Field(
        5, gt=0, description="crashes within crashes_window end a capture: the next would be no better"
    )
    crashes_window: float = Field(600, gt=0, description="older crashes are forgiven")
    stop_signals_window: float = Field(
        0.5, ge=0, description="signals to stop are one: a terminal's, and what passes it on; a person takes longer"
    )
    leave_timeout: float = Field(2, gt=0, description="out of the room; then the page is closed anyway")
    page_call_timeout: float = Field(10, gt=0, description="any single call into a page; half of page_hung_timeout")
    flush_timeout: float = Field(15, gt=0, description="deliver the spool on the way out; the rest stays in it")
    browser_stop_timeout: float = Field(5, gt=0, description="Chromium closes; then it is killed")

    # --- signs of life --------------------------------------------------------------------------------
    page_heartbeat_ms: int = Field(5_000, gt=0, description="how often a page gives a sign of life")
    page_hung_timeout: float = Field(
        20, gt=0, description="a page that gives none for this long counts as crashed; 4 heartbeats"
    )
    signalling_silence_ms: int = Field(
        15_000, gt=0, description="nothing arrived from the server and it did not answer when asked: signalling is lost"
    )
    signalling_timeout: float = Field(
        90, gt=0, description="signalling that was lost comes back by itself; then the room is joined again"
    )
    bridge_ask_ms: int = Field(
        2_000, gt=0, description="the bridge said nothing for this long and is asked; how exactly its end is known"
    )
    bridge_silence_ms: int = Field(
        4_000, gt=0, description="it did not answer: it is not heard; two retransmissions of a data channel"
    )
    bridge_first_word_ms: int = Field(2_000, gt=0, description="the same on a channel that just opened")
    bridge_open_ms: int = Field(
        5_000, gt=0, description="from the invitation to an open bridge channel; it takes well under a second"
    )
    bridge_invitation_ms: int = Field(
        10_000, gt=0, description="from when somebody is there to the invitation; a focus takes a second"
    )
    focus_ask_ms: int = Field(
        1_000, gt=0, description="a conference focus that left is asked back; the pause doubles with each try"
    )
    focus_ask_longest_ms: int = Field(10_000, gt=0, description="longest pause between such requests")
    media_restart_ms: int = Field(
        10_000, gt=5_000, description="for a focus to invite anew by itself; it bears one request in 5 s, 5 a minute"
    )
    media_restart_longest_ms: int = Field(
        60_000, gt=0, description="longest pause between requests for a media session; each takes 20 s to fail"
    )
    media_invitation_ms: int = Field(
        30_000,
        gt=0,
        description="no media session comes: then the room may be left and entered; a busy focus took 15 s",
    )
    library_gives_up_ms: int = Field(
        60_000, gt=0, description="for the library to get its media path back by itself; it tries three times"
    )
    media_give_up_ms: int = Field(
        300_000, gt=0, description="no media session brought the bridge: then the room may be left and entered"
    )
    media_rejoin_pause_initial: float = Field(
        120, gt=0, description="between leaving and entering a room for the bridge's sake, which is seen; it doubles"
    )
    media_rejoin_pause_max: float = Field(1800, gt=0, description="longest such pause")
    received_interval_ms: int = Field(60_000, gt=0, description="how often the received media are measured")
    received_bytes: int = Field(
        1_000, gt=0, description="a second beside the bridge channel; STUN and RTCP are a tenth of it, audio four times"
    )
    watch_interval: float = Field(1, gt=0, description="how often the process checks its clocks")
    stall_tolerance: float = Field(
        5, gt=0, description="a check that comes later than this: the process stood still; a third of a heartbeat"
    )
    clock_jump_tolerance: float = Field(1, gt=0, description="of the wall clock; what is less is slewed by NTP")

    # --- page to Python -------------------------------------------------------------------------------
    page_batch_messages: int = Field(100, gt=0, le=1000, description="messages in one call of the binding")
    page_window_batches: int = Field(
        32, gt=0, description="batches on their way without acknowledgement; fewer than bridge_queue_batches"
    )
    page_pause_ms: float = Field(
        5, ge=0, le=1000, description="after a call what follows closely gathers for the next; a call costs much"
    )
    page_buffer_messages: int = Field(
        50_000, gt=0, description="messages a page holds unacknowledged; minutes of a busy meeting"
    )
    page_buffer_bytes: int = Field(64 * 2**20, gt=0, description="the same as text; a renderer has some GiB")
    page_resend_ms: int = Field(
        3_000, gt=0, description="an unacknowledged batch is sent again after; an append takes far less"
    )
    page_text_limit: int = Field(
        2**20, gt=0, description="characters of one string from a page; longer ones are cut and marked"
    )
    acknowledge_pause: float = Field(
        0.1, ge=0, description="acknowledgements gather, unless half the window is used; well below page_resend_ms"
    )
    bridge_queue_batches: int = Field(
        64, gt=0, description="batches waiting for the normalizer, a capture; two windows"
    )

    # --- spool ----------------------------------------------------------------------------------------
    spool_max_bytes: int = Field(2 * 2**30, gt=0, description="a spool file grows no larger; below most disks")
    spool_reserve_bytes: int = Field(
        2**20, gt=0, description="room above spool_max_bytes, and on the disk, for gaps and ends; some hundred captures"
    )
    spool_recent_bytes: int = Field(
        16 * 2**20, ge=0, description="of the newest events are kept in memory too; more than waits for a busy database"
    )
    spool_read_bytes: int = Field(
        16 * 2**20, gt=0, description="a batch read from disk, but for its last block: events can be large"
    )
    spool_group_appends: int = Field(256, gt=0, description="appends that share one fsync")
    spool_retry_timeout: float = Field(
        600, gt=0, description="a spool that takes nothing ends its captures after; until then a disk can be emptied"
    )
    spool_retry_pause: float = Field(
        1, gt=0, description="between tries to append to a spool that is full; the page keeps the rest"
    )
    heartbeat_interval: float = Field(15, gt=0, description="how exactly the end of a killed process is known")

    # --- writer and PostgreSQL ------------------------------------------------------------------------
    writer_batch_events: int = Field(
        500, gt=0, le=5000, description="events a transaction; smaller ones store fewer a second"
    )
    writer_bulk_backlog: int = Field(
        2_000, gt=0, description="when more events than this wait, they are stored in bulk; four ordinary batches"
    )
    writer_bulk_events: int = Field(
        5_000, gt=0, le=50_000, description="events per transaction in bulk; more gain nothing and hold locks longer"
    )
    jsonl_line_bytes: int = Field(
        64 * 2**20, gt=0, description="a line of a JSON Lines file, as much as a page holds; readers keep one in memory"
    )
    writer_linger: float = Field(
        0.005, ge=0, description="wait for company before a batch is sent; 50 ms would triple latency"
    )
    sink_write_timeout: float = Field(
        300, gt=0, description="a sink stores a batch, else it is unavailable; several statements of a busy database"
    )
    sink_lag_share: float = Field(
        0.25, gt=0, le=1, description="of spool_max_bytes: a sink beside the database that holds up more is given up"
    )
    outage_reminder_interval: float = Field(
        3600, gt=0, description="between log lines about a sink that stays unavailable; an outage may last for days"
    )
    database_connect_timeout: float = Field(5, gt=0, description="a connection stands; else it is tried again")
    database_statement_timeout: float = Field(
        60, gt=0, description="one statement answers; migrations and rebuilds may take longer"
    )
    database_retry_initial: float = Field(
        0.2, gt=0, description="first pause after a failed delivery; it doubles with each that follows"
    )
    database_retry_max: float = Field(
        10, gt=0, description="longest pause between such deliveries; a database that is back waits so long"
    )
    partition_months_ahead: int = Field(
        3, ge=1, le=24, description="months of partitions made ahead; a month may begin while none can be made"
    )
    embedded_start_timeout: float = Field(30, gt=0, description="the embedded PostgreSQL answers, after recovery")

    # --- sampling -------------------------------------------------------------------------------------
    statistics_interval: float = Field(
        10, gt=0, description="connection statistics per participant; clients send them every 10 s or faster"
    )

    # --- verify ---------------------------------------------------------------------------------------
    verify_page_events: int = Field(500, gt=0, le=10_000, description="events fetched at once; some MiB at most")
    verify_chunk_events: int = Field(
        20_000, gt=0, description="events of a capture that one process checks at a time; less than a second of work"
    )
    verify_processes: int | None = Field(
        None, gt=0, le=64, description="processes that verify; half the cores when not given: PostgreSQL takes the rest"
    )
    verify_parallel_events: int = Field(
        50_000, gt=0, description="from here on other processes are started; fewer are done before they have begun"
    )

    # --- doctor ---------------------------------------------------------------------------------------
    doctor_timeout: float = Field(
        10, gt=0, description="one check of `meeta-bot doctor`; those that start or load something add their own"
    )

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_empty_and_broken_texts(cls, value: Any) -> Any:
        # A variable that is set and empty was forgotten: an empty path would mean the current directory.
        if value == "":
            raise PydanticCustomError("empty", "is empty")
        if isinstance(value, bool):  # no setting is one, and pydantic would take it for 0 or 1
            raise PydanticCustomError("bool", "can't be true or false")
        if isinstance(value, str) and not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                raise PydanticCustomError("no_text", "is not valid UTF-8") from None
        return value

    @field_validator("database_url")
    @classmethod
    def _refuse_other_databases(cls, value: SecretStr | None) -> SecretStr | None:
        # A recorder would take it for one that is away, and spool for it.
        if value is not None and not value.get_secret_value().startswith(("postgresql://", "postgres://")):
            raise PydanticCustomError("no_postgresql", "is not the address of a PostgreSQL database")
        return value

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
    """Load the settings from `options` (None values are not given), environment and TOML file, in that order.

    :raises ConfigurationError: a file that is missing or not TOML, a value that can't be used, an unknown name.
    """
    given = {name: value for name, value in (options or {}).items() if value is not None}
    _refuse_misspelt_variables()
    toml = _read_toml(config_file)

    class _Sourced(Settings):
        toml_values = toml

    try:
        return _Sourced(**given)
    except ValidationError as error:
        path = str(_toml_path(config_file))
        raise _first_problem(error, {**dict.fromkeys(toml, path), **_variables(), **dict.fromkeys(given)}) from None


class Sources(NamedTuple):
    """The names of the settings that each source gives. ``unknown`` are variables that look like settings."""

    file: Path | None
    in_file: list[str]
    in_environment: list[str]
    unknown: list[str]


def sources(config_file: Path | None = None) -> Sources:
    """Return the sources of :func:`load` and the names of the settings in each; no values, since some are secrets.

    :raises ConfigurationError: a file that is missing or not TOML.
    """
    toml = _read_toml(config_file)
    path = _toml_path(config_file)
    variables = {name: variable for name, variable in sorted(_variables().items()) if name != "config"}
    known = [variable for name, variable in variables.items() if name in Settings.model_fields]
    others = [variable for name, variable in variables.items() if name not in Settings.model_fields]
    return Sources(path if path.is_file() else None, sorted(toml), known, others)


def _toml_path(config_file: Path | None) -> Path:
    return config_file or Path(os.environ.get("MEETA_CONFIG") or default_config_file())


def _read_toml(config_file: Path | None) -> dict[str, Any]:
    is_named = config_file is not None or bool(os.environ.get("MEETA_CONFIG"))
    path = _toml_path(config_file)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        if not is_named:
            return {}
        raise ConfigurationError(f"Configuration file {path} not found", hint=_NAME_A_FILE) from None
    except OSError as error:
        if not is_named:
            return {}
        raise ConfigurationError(f"Can't read {path}: {error.strerror}", hint=_NAME_A_FILE) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(f"{path} is not valid UTF-8: line {line}", hint="save it as UTF-8") from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path} is not valid TOML: {_with_position(error, text)}", hint=_AS_TOML) from None


def _with_position(error: tomllib.TOMLDecodeError, text: str) -> str:
    """Return the message of a TOML error with line and column, which tomllib omits at the very end of a file."""
    line, column = text.count("\n") + 1, len(text) - text.rfind("\n")
    return str(error).replace("at end of document", f"at line {line}, column {column}")


# --- errors about names and values ----------------------------------------------------------------


def _variables() -> dict[str, str]:
    """Return the variables of the environment that look like settings, by the name of the setting."""
    return {name.lower().removeprefix("meeta_"): name for name in os.environ if name.upper().startswith(PREFIX)}


def _refuse_misspelt_variables() -> None:
    """Refuse a variable that almost names a setting: ignored, it would let events go to another database."""
    known = [*Settings.model_fields, "config"]
    for name, variable in _variables().items():
        close = [] if name in known else difflib.get_close_matches(name, known, 1, _MISSPELT)
        if close:
            raise ConfigurationError(f"Unknown setting {variable!r}", hint=f"did you mean {PREFIX}{close[0].upper()}?")


def _first_problem(error: ValidationError, origins: dict[str, str | None]) -> ConfigurationError:
    """Return the error for the first problem; `origins` has the source of each setting, None for an option."""
    problem = error.errors(include_url=False)[0]
    name = str(problem["loc"][0])
    origin = f" ({origins[name]})" if origins.get(name) else ""
    if problem["type"] == "extra_forbidden":
        return ConfigurationError(f"Unknown setting {name!r}{origin}", hint=_similar(name, problem["input"]))
    advice = "unset it, or give it a value: " if problem["type"] == "empty" else ""
    return ConfigurationError(f"Setting {name!r}{origin} {_words(name, problem)}", hint=f"{advice}{_purpose(name)}")


def _similar(name: str, value: Any) -> str:
    bare = name.lower().removeprefix(PREFIX.lower())
    close = difflib.get_close_matches(bare, Settings.model_fields, 1, _SIMILAR)
    if close:
        return f"did you mean {close[0]!r}?"
    if isinstance(value, dict):
        return "the file has no tables: write settings without a [heading]"
    return "meeta_bot/settings.py lists all settings"


def _words(name: str, problem: ErrorDetails) -> str:
    """Describe the problem with a value, and repeat the value unless it may be a secret."""
    description = _PROBLEMS.get(problem["type"], problem["msg"])
    for limit, value in problem.get("ctx", {}).items():
        description = description.replace(f"{{{limit}}}", f"{value:g}" if isinstance(value, float) else str(value))
    value = problem["input"]
    if _is_secret(name) or value == "" or problem["type"] == "no_text" or not isinstance(value, str | int | float):
        return description
    return f"{description}: {(value[:_LONGEST_VALUE] if isinstance(value, str) else value)!r}"


# In place of pydantic's own words, which speak of inputs.
_PROBLEMS = {
    "empty": "is empty",
    "finite_number": "must be finite",
    "float_parsing": "is not a number",
    "float_type": "is not a number",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "int_from_float": "is not a whole number",
    "int_parsing": "is not a whole number",
    "int_type": "is not a whole number",
    "less_than_equal": "must be at most {le}",
    "path_type": "is not a path",
    "string_type": "is not a text",
}


def _is_secret(name: str) -> bool:
    return "SecretStr" in str(Settings.model_fields[name].annotation)


def _purpose(name: str) -> str:
    """Describe a setting's purpose and form, for somebody who gave it a value that can't be used."""
    field = Settings.model_fields[name]
    form = ""
    if "float" in str(field.annotation):
        form = "; a number" if name.endswith("_per_second") else "; a number of seconds"
    default = f", {field.default} by default" if isinstance(field.default, str | int | float) else ""
    return f"{field.description}{form}{default}"
