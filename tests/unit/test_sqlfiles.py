"""The files of ``sql/``: every statement is there once, is used and described; definitions have an order."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

from meeta_bot.database import sqlfiles
from meeta_bot.database.sqlfiles import Definition

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


def test_a_definitions_file_defines_what_it_is_named_after() -> None:
    created = r"^CREATE OR REPLACE (FUNCTION|VIEW) meeta\.(\w+)"
    for definition in sqlfiles.definitions():
        found = {f"{kind.lower()}s/{name}" for kind, name in re.findall(created, definition.text, re.M)}
        assert found == {definition.name}
        assert not re.search(r"^(CREATE (?!OR REPLACE)|DROP|ALTER|INSERT|UPDATE|DELETE)", definition.text, re.M)


def test_migrations_make_no_functions_and_no_views() -> None:
    for _, _, text in sqlfiles.migrations():  # one may replace a view, so that it lets go of what is to be dropped
        assert not re.search(r"^CREATE ((OR REPLACE )?FUNCTION|VIEW)", text, re.M)


def test_definitions_come_after_what_they_build_on() -> None:
    some = [
        Definition("functions/a", "-- after: functions/c, views/d\n-- after: functions/b\n"),
        Definition("functions/b", "-- after: views/d\n"),
        Definition("functions/c", ""),
        Definition("views/d", "-- after: functions/c\n"),
    ]
    assert [one.name for one in sqlfiles.in_order(some)] == ["functions/c", "views/d", "functions/b", "functions/a"]


def test_a_missing_definition_is_a_bug_that_says_which() -> None:
    with pytest.raises(LookupError, match="views/a is to come after functions/b, which has no file"):
        sqlfiles.in_order([Definition("views/a", "-- after: functions/b\n")])


def test_definitions_in_a_circle_are_a_bug_that_says_which() -> None:
    circle = [Definition("functions/a", "-- after: views/b"), Definition("views/b", "-- after: functions/a")]
    with pytest.raises(ValueError, match=r"come after the next: (functions/a, views/b|views/b, functions/a)"):
        sqlfiles.in_order(circle)
