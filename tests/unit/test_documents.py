"""The documents say what the code has: bounds, commands, modules."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
from pydantic.fields import FieldInfo
from typer.main import get_command

from meeta_bot import cli
from meeta_bot.settings import PREFIX, Settings

REPOSITORY = Path(__file__).parents[2]
PACKAGE = REPOSITORY / "meeta_bot"
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
ARCHITECTURE = (REPOSITORY / "ARCHITECTURE.md").read_text(encoding="utf-8")
SETTINGS = (REPOSITORY / "docs" / "settings.md").read_text(encoding="utf-8")
BY_HAND = (
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "docs/queries.md",
    "docs/recording.md",
    "docs/reliability.md",
    "sql/README.md",
)
NUMBERS = {
    name: field for name, field in Settings.model_fields.items() if re.search("int|float", str(field.annotation))
}
LIMITS = {"gt": ">", "ge": "≥", "le": "≤"}
# The bounds without which a wait would be unbounded, whatever else is on the page.
CONSTANTS = {
    "TICK", "ASK_AFTER", "SETTLE_MS", "BRIDGE_SETTLE_MS", "_BUSY_TIMEOUT", "_GRACE", "_PROBE_TIMEOUT",
    "_INITDB_TIMEOUT", "HANDOVER", "STOP_TIMEOUT", "LIMITS", "MISSED_HEARTBEATS",
}  # fmt: skip


def written(value: float) -> str:
    """A number as the documents have it: 5,000; 64 Mi, which a unit follows."""
    for size, unit in ((2**30, " Gi"), (2**20, " Mi")):
        if value >= size and value % size == 0:
            return f"{value // size}{unit}"
    return f"{value:,g}" if isinstance(value, float) else f"{value:,}"


def rows(text: str) -> Iterator[list[str]]:
    """The rows of all tables, without their heads."""
    for line in text.splitlines():
        if line.startswith("| "):
            yield line.strip("| ").replace("\\|", "|").split(" | ")


def section(document: str, heading: str) -> str:
    """What stands below a heading, until the next that is not below it."""
    level = heading.partition(" ")[0]
    return re.split(rf"^#{{1,{len(level)}}} ", document.partition(f"{heading}\n")[2], maxsplit=1, flags=re.M)[0]


# --- settings and bounds ------------------------------------------------------------------------------------------


def test_the_page_of_settings_is_what_the_command_gives() -> None:
    command = [sys.executable, "-m", "scripts.settings_page", "--print"]
    printed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    assert printed == SETTINGS, "run `make docs`"


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_told_with_variable_unit_and_purpose(name: str) -> None:
    (row,) = [row for row in rows(SETTINGS) if row[0] == f"`{name}`"]
    _, variable, default, unit, _, purpose = row
    assert variable == f"`{PREFIX}{name.upper()}`"
    assert default
    assert unit
    assert purpose == Settings.model_fields[name].description


@pytest.mark.parametrize(("name", "field"), NUMBERS.items(), ids=NUMBERS)
def test_every_timeout_and_bound_is_told_with_its_default(name: str, field: FieldInfo) -> None:
    (row,) = [row for row in rows(SETTINGS) if row[0] == f"`{name}`"]
    assert row[2] == ("none" if field.default is None else written(field.default))
    limits = [f"{LIMITS[kind]} {getattr(limit, kind):,}" for limit in field.metadata for kind in LIMITS
              if hasattr(limit, kind)]  # fmt: skip
    assert limits, "every number has a bound"
    assert row[4] == ", ".join(limits)


def test_constants_are_told_as_they_are_in_the_code() -> None:
    table = rows(section(SETTINGS, "## Bounds that are no settings"))
    told = {name.strip("`"): (value, path) for name, value, path, _ in table if name.startswith("`")}
    assert told.keys() >= CONSTANTS
    for name, (value, path) in told.items():
        source = (PACKAGE / path).read_text(encoding="utf-8")
        (found,) = re.findall(rf"^ *(?:const )?{name} = (.+?);?(?: +(?:#|//) .*)?$", source, re.M)
        numbers = [int(number.replace(",", "")) for number in re.findall(r"[\d,]*\d", value)]
        if found.startswith("{"):
            assert numbers == [int(number) for number in re.findall(r"\d+", found)], name
        else:
            factors = [base**exponent for base, exponent in (powers(factor) for factor in found.split(" * "))]
            assert value == written(math.prod(factors)), name


def powers(factor: str) -> tuple[float, int]:
    base, _, exponent = factor.partition("**")
    number = base.replace("_", "")
    return float(number) if "." in number else int(number), int(exponent or 1)


@pytest.mark.parametrize("document", BY_HAND)
def test_a_number_behind_a_setting_is_its_default(document: str) -> None:
    text = (REPOSITORY / document).read_text(encoding="utf-8")
    for name, number in re.findall(r"`(\w+)` (\d[\d,.]*(?: [MG]i)?)", text):
        if name in NUMBERS:
            assert number.rstrip(",.") == written(NUMBERS[name].default), f"{document}: {name}"


def test_the_table_of_channels_gives_the_default_of_each_setting_that_it_names() -> None:
    table = section(ARCHITECTURE, "## Channels between parts, and their bounds")
    named = [name for name in re.findall(r"`(\w+)`", table) if name in NUMBERS]
    assert len(named) > 20
    for name in named:
        default = NUMBERS[name].default
        if default is not None:
            assert re.search(rf"`{name}` {re.escape(written(default))}(?![\d,.]*\d)", table), name


# --- commands -----------------------------------------------------------------------------------------------------


def commands(command: Any, path: str) -> Iterator[str]:
    """Every command that does something; groups have others below them."""
    below = getattr(command, "commands", None)
    if below is None:
        yield path
    for name, one in (below or {}).items():
        yield from commands(one, f"{path} {name}")


def test_the_readme_lists_every_command_and_no_other() -> None:
    told = re.findall(r"`(meeta-bot [^`]+)`", " ".join(row[0] for row in rows(section(README, "## Commands"))))
    named = {re.split(r" [^a-z]|$", text)[0] for text in told}
    assert named == set(commands(get_command(cli.app), "meeta-bot"))


def test_the_readme_lists_every_exit_code() -> None:
    from meeta_bot import errors

    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.MeetaError)]
    codes = {kind.exit_code for kind in kinds} | {
        errors.EXIT_REFUTED,
        errors.EXIT_EVENTS_REMAIN,
        errors.EXIT_INTERRUPTED,
    }
    assert {int(row[0]) for row in rows(section(README, "## Commands")) if row[0].isdigit()} == {0, *codes}


# --- the map ------------------------------------------------------------------------------------------------------


def mapped() -> set[str]:
    """The paths in ARCHITECTURE.md's tree; folders end with a slash."""
    found, parents = set(), [(-1, "")]
    for line in re.search(r"```\n(meeta_bot/\n.+?)```", ARCHITECTURE, re.S)[1].splitlines():  # type: ignore[index]
        indent = len(line) - len(line.lstrip())
        names = list(takewhile(lambda word: re.fullmatch(r"\w+(/|\.\w+)", word), line.split()))
        if names:
            parents = [(place, path) for place, path in parents if place < indent]
            found |= {parents[-1][1] + name for name in names}
            parents.append((indent, parents[-1][1] + names[0]))
    return found


def test_the_map_shows_what_there_is() -> None:
    paths = mapped()
    assert len(paths) > 40
    assert {path for path in paths if not (REPOSITORY / path).exists()} == set()
    assert all((REPOSITORY / path).is_dir() == path.endswith("/") for path in paths)


def test_the_map_leaves_out_no_package_and_no_module_at_the_top() -> None:
    packages = [*PACKAGE.glob("*/"), *(PACKAGE / "capture").glob("*/")]
    modules = [*PACKAGE.glob("*.py"), *(PACKAGE / "capture").glob("*.py")]
    there = {f"{path.relative_to(REPOSITORY).as_posix()}/" for path in packages if not path.name.startswith("__")}
    there |= {path.relative_to(REPOSITORY).as_posix() for path in modules if not path.name.startswith("__")}
    assert there - mapped() == set()


@pytest.mark.parametrize("document", [*BY_HAND, "docs/settings.md", "docs/performance.md"])
def test_links_between_documents_lead_somewhere(document: str) -> None:
    place = (REPOSITORY / document).parent
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (REPOSITORY / document).read_text(encoding="utf-8")):
        assert (place / target).exists(), target
