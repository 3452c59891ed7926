"""ARCHITECTURE.md names every timeout and bound as it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic.fields import FieldInfo

from meeta_bot.settings import Settings

REPOSITORY = Path(__file__).parents[2]
ARCHITECTURE = (REPOSITORY / "ARCHITECTURE.md").read_text(encoding="utf-8")
SECTION = ARCHITECTURE.partition("### Every timeout")[2].partition("\n## ")[0]
TIMEOUTS = re.findall(r"^\| (.+?) \| (.+?) \|", SECTION, re.MULTILINE)
NUMBERS = {
    name: field for name, field in Settings.model_fields.items() if re.search("int|float", str(field.annotation))
}
CONSTANT = re.compile(r"(\w+) \(([\w/]+\.(?:py|js))(?:; ms)?\)")


def written(value: float) -> str:
    """A default as the document has it: 5,000; 64 Mi, which a unit follows."""
    for size, unit in ((2**30, " Gi"), (2**20, " Mi")):
        if value >= size and value % size == 0:
            return f"{value // size}{unit}"
    return f"{value:,g}" if isinstance(value, float) else f"{value:,}"


def in_the_table() -> dict[str, str]:
    """Every name in the table of timeouts, with the value beside it."""
    found: dict[str, str] = {}
    for names, values in TIMEOUTS[2:]:
        found |= zip(re.split(r", (?=`)", names), values.split(", "), strict=True)
    return {name.partition(" (ms)")[0]: value for name, value in found.items()}


@pytest.mark.parametrize(("name", "field"), NUMBERS.items(), ids=NUMBERS)
def test_every_timeout_and_bound_is_told_with_its_default(name: str, field: FieldInfo) -> None:
    quoted = f"`{name}`"
    if field.default is None:
        assert quoted in ARCHITECTURE
        return
    in_prose = re.search(rf"{quoted} {re.escape(written(field.default))}(?![\d,.]*\d)", ARCHITECTURE)
    assert in_prose or in_the_table().get(quoted) == written(field.default)


def test_constants_in_the_table_are_those_of_the_code() -> None:
    constants = {name: value for name, value in in_the_table().items() if not name.startswith("`")}
    assert constants
    for place, value in constants.items():
        match = CONSTANT.fullmatch(place)
        assert match, place
        source = (REPOSITORY / "meeta_bot" / match[2]).read_text(encoding="utf-8")
        (found,) = re.findall(rf"^ *(?:const )?{match[1]} = ([\d.]+)", source, re.M)
        assert float(found) == float(value.replace(",", "")), place


def test_the_table_names_no_setting_that_is_none() -> None:
    assert {name.strip("`") for name in in_the_table() if name.startswith("`")} <= NUMBERS.keys()
