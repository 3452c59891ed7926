"""The files of ``sql/``: every statement is there once, is used and described."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

from meeta_bot import sqlfiles

REPOSITORY = Path(__file__).parent.parent.parent
FILES = sorted((REPOSITORY / "sql/queries").glob("*.sql"))
NAMES = [
    f"{file.stem}/{name}" for file in FILES for name in re.findall(r"^-- name: (\w+)$", file.read_text("utf-8"), re.M)
]


def literals() -> set[str]:
    """Every string in the program and its scripts that could be the name of a statement."""
    looks = re.compile(rf"(?:{'|'.join(file.stem for file in FILES)})/\w+")
    modules = [file for folder in ("meeta_bot", "scripts") for file in (REPOSITORY / folder).rglob("*.py")]
    return {
        node.value
        for module in modules
        for node in ast.walk(ast.parse(module.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and looks.fullmatch(node.value)
    }


def test_every_statement_is_used_and_every_used_one_exists() -> None:
    assert literals() == set(NAMES)


def test_no_name_is_given_twice() -> None:
    assert [name for name, times in Counter(NAMES).items() if times > 1] == []


@pytest.mark.parametrize("name", NAMES)
def test_every_statement_says_what_it_is_for_and_what_it_takes(name: str) -> None:
    lines = sqlfiles.statement(name).splitlines()
    first = next(place for place, line in enumerate(lines) if not line.startswith("--"))
    told, asked = "\n".join(lines[:first]), "\n".join(lines[first:])
    assert told != ""
    assert set(re.findall(r"\$\d+", told)) == set(re.findall(r"\$\d+", asked))


def test_an_unknown_statement_is_a_bug_that_says_which() -> None:
    for name in ("reading/nothing", "nothing/meetings", "meetings"):
        with pytest.raises(LookupError, match=f"There is no statement '{name}'"):
            sqlfiles.statement(name)
