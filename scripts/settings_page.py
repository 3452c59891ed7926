"""``python -m scripts.settings_page [--print]``: write docs/settings.md from the code, or print it.

Names, defaults, bounds and reasons of settings are those of :mod:`meeta_bot.settings`; bounds that are no settings are
constants of the code, with the comment that stands beside or above each. Nothing of this machine gets onto the page.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import annotated_types
from pydantic.fields import FieldInfo

from meeta_bot.settings import PREFIX, Settings
from tests.stack.report import Table

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / "meeta_bot"
PAGE = REPOSITORY / "docs" / "settings.md"

_GROUP = re.compile(r"^    # --- (.+?) -+$")
_SETTING = re.compile(r"^    (\w+): .+ = Field\(")
_CONSTANT = re.compile(r"^ *(?:const )?([A-Z_]+) = ([\d._* ]+?|\{.+\});?(?:\s+(?:#|//) (.+))?$")
_COMMENT = re.compile(r"^ *(?:#|//) (.+)$")
_OBJECT_ENTRY = re.compile(r"(\w+): (\d+)")

# What a number counts, where its name does not say so by its end; see `unit`.
_UNITS = {
    "rooms_per_page": "rooms",
    "rooms_per_profile": "rooms",
    "joins_per_second": "joins a second",
    "joins_at_once": "joins",
    "rooms_limit": "rooms",
    "browser_failures_limit": "failures",
    "crashes_limit": "crashes",
    "page_text_limit": "characters",
    "writer_bulk_backlog": "events",
    "sink_lag_share": "share",
    "partition_months_ahead": "months",
}
_COUNTED = ("appends", "batches", "bytes", "events", "messages", "ms", "processes")
# A default that is made when the program runs, in words that hold everywhere.
_MADE = {"data_directory": "`~/.local/share/meeta-bot`; for root `/var/lib/meeta-bot`"}

# Every constant whose comment begins with one of these, or whose name ends so, bounds a wait and is on the page.
_TIME_WORDS = ("seconds", "milliseconds")
_TIME_ENDS = ("_TIMEOUT", "_SETTLE_MS", "_LOOK_MS", "_LAG_MS", "_SILENCE_MS", "_TOLERANCE_MS")
# And these, by name.
_OTHERS = (
    "SETTLE_MS",
    "ASK_AFTER",
    "MISSED_HEARTBEATS",
    "LIMITS",
    "CHAT_IDS_LIMIT",
    "FORMER_IDS_LIMIT",
    "PROPERTIES_LIMIT",
    "BLOCK_EVENTS",
    "LOG_SQLITE_PAGES",
    "NEARLY_FULL",
    "FORGOTTEN_EVENTS",
    "LARGEST_NUMBER_OF_SPOOLS",
    "ENDED_KEPT",
    "DAMAGED_BLOCKS",
    "DAMAGED_BYTES",
    "DAMAGED_WHOLE_FILES",
    "DAMAGED_FILES",
    "COPY_EVENTS",
    "LARGEST_FILE_BYTES",
    "LARGE_PAYLOAD",
    "LOG_LIMIT",
    "MOST_PROCESSES",
    "MOST_SPANS",
    "REBUILD_CHUNK",
)

_COLUMNS = ("setting", "variable", "default", "unit", "bounds", "what it is for; why")

_HEAD = f"""\
# Settings and bounds

Written by `make docs` from [meeta_bot/settings.py](../meeta_bot/settings.py) and the constants of the code; a test
compares. Edit those, not this page.

A value comes from the first of these that has one: an option of the command line, the environment, one TOML file
(`--config`, `{PREFIX}CONFIG`, or `~/.config/meeta-bot/config.toml`), the default. In the file a setting has its name
(`left_alone_grace = 60`), in the environment the variable beside it (`{PREFIX}LEFT_ALONE_GRACE=60`). A value out of
its bounds is refused, and so is a name in the file that is no setting, or a variable that misses one by a letter. Mi
and Gi are 2^20 and 2^30; a setting takes the number itself: 64 Mi is `67108864`. What stands behind a semicolon is the
reason.
"""

_CONSTANTS_HEAD = """\
## Bounds that are no settings

Nobody needs them set otherwise, but they bound a wait or a size all the same. The words are those of the code.
"""


class Constant(NamedTuple):
    """A constant that bounds something; `value` as it is shown."""

    name: str
    path: str
    value: str
    words: str


def groups() -> Iterator[tuple[str, list[str]]]:
    """The settings by the headings between which they stand in the code."""
    heading = ""
    names: list[str] = []
    for line in (PACKAGE / "settings.py").read_text(encoding="utf-8").splitlines():
        if match := _GROUP.match(line):
            if names:
                yield heading, names
            heading, names = match[1], []
        elif match := _SETTING.match(line):
            names.append(match[1])
    yield heading, names


def written(value: float) -> str:
    """A number for people: 5,000; 64 Mi; 0.005."""
    for size, letter in ((2**30, " Gi"), (2**20, " Mi")):
        if value >= size and value % size == 0:
            return f"{value // size:g}{letter}"
    return f"{value:,g}" if isinstance(value, float) else f"{value:,}"


def unit(name: str, field: FieldInfo) -> str:
    """Return the unit of its value, or its kind.

    :raises ValueError: a whole number whose name does not say what it counts.
    """
    kind = str(field.annotation)
    if name in _UNITS:
        return _UNITS[name]
    if ending := next((word for word in _COUNTED if name.endswith(f"_{word}")), None):
        return ending
    if "float" in kind:
        return "seconds"
    if "int" in kind:
        raise ValueError(f"setting {name} has no unit: name it in {Path(__file__).name}")
    if "SecretStr" in kind:
        return "text, secret"
    return "path" if "Path" in kind else "text"


def bounds(field: FieldInfo) -> str:
    """Return the bounds of a value."""
    found = []
    for limit in field.metadata:
        match limit:
            case annotated_types.Gt(gt=value):
                found.append(f"> {value:,}")
            case annotated_types.Ge(ge=value):
                found.append(f"≥ {value:,}")
            case annotated_types.Le(le=value):
                found.append(f"≤ {value:,}")
            case annotated_types.MinLen(min_length=1):
                found.append("not empty")
            case _:
                raise ValueError(f"no words for the bound {limit}")
    return ", ".join(found)


def default(name: str, field: FieldInfo) -> str:
    """Return the default."""
    if name in _MADE:
        return _MADE[name]
    value = field.get_default()
    if value is None:
        return "none"
    return written(value) if isinstance(value, int | float) else f"`{value}`"


def _row(name: str) -> tuple[str, ...]:
    field = Settings.model_fields[name]
    variable = f"`{PREFIX}{name.upper()}`"
    return (
        f"`{name}`",
        variable,
        default(name, field),
        unit(name, field),
        bounds(field),
        str(field.description).replace("|", "\\|"),
    )


def constants() -> list[Constant]:
    """Every constant that bounds a wait, and those that are named here.

    :raises ValueError: one that is named here is nowhere, or has no comment that says what it is for.
    """
    paths = sorted(path for path in PACKAGE.rglob("*") if path.suffix in (".py", ".js"))
    found = [constant for path in paths for constant in _constants_of(path)]
    if missing := set(_OTHERS) - {constant.name for constant in found}:
        raise ValueError(f"no such constants: {', '.join(sorted(missing))}")
    if mute := [constant.name for constant in found if not constant.words]:
        raise ValueError(f"constants without a comment: {', '.join(mute)}")
    return found


def _constants_of(path: Path) -> Iterator[Constant]:
    above: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        match = _CONSTANT.match(line)
        words = (match and match[3]) or " ".join(above)
        if match and _bounds_something(match[1], words):
            yield Constant(match[1], path.relative_to(PACKAGE).as_posix(), _shown(match[2]), words)
        comment = _COMMENT.match(line)
        above = [*above, comment[1]] if comment else []


def _bounds_something(name: str, words: str) -> bool:
    return name in _OTHERS or name.endswith(_TIME_ENDS) or words.startswith(_TIME_WORDS)


def _shown(expression: str) -> str:
    """The value of a product or power of numbers, or of an object of JavaScript, for people."""
    if expression.startswith("{"):
        return ", ".join(f"{name} {int(value):,}" for name, value in _OBJECT_ENTRY.findall(expression))
    return written(math.prod(map(_factor, re.split(r" \* ", expression))))


def _factor(text: str) -> float:
    base, _, exponent = text.partition("**")
    number = float(base) if "." in base else int(base)
    return number ** int(exponent) if exponent else number


def page() -> str:
    """The whole page."""
    parts = [_HEAD]
    for heading, names in groups():
        parts.append(f"## {heading[0].upper()}{heading[1:]}\n\n{_table(_COLUMNS, map(_row, names))}\n")
    rows = [(f"`{one.name}`", one.value, one.path, one.words.replace("|", "\\|")) for one in constants()]
    parts.append(f"{_CONSTANTS_HEAD}\n{_table(('constant', 'value', 'where', 'what it is'), rows)}\n")
    return "\n".join(parts)


def _table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    return Table("", list(columns), [list(row) for row in rows]).markdown().lstrip()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.settings_page", description="Write docs/settings.md.")
    parser.add_argument("--print", action="store_true", help="print the page and write nothing")
    if parser.parse_args().print:
        sys.stdout.write(page())
    else:
        PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
