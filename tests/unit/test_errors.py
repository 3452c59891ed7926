"""The tree of errors and its exit codes."""

from __future__ import annotations

import inspect
import re

import pytest

from meeta_bot import errors
from meeta_bot.errors import MeetaError

ALL: list[type[MeetaError]] = [
    cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, MeetaError)
]
FAMILIES: list[type[MeetaError]] = [MeetaError, *MeetaError.__subclasses__()]


def documented() -> dict[str, int]:
    """The exit codes of the tree in the module's own description."""
    tree = re.findall(
        r"^\W*(\w+)[ ]+(?:exit code )?(\d+)\b", (errors.__doc__ or "").partition("Exit code")[0], re.MULTILINE
    )
    return {name: int(code) for name, code in tree}


def test_each_family_has_an_exit_code_of_its_own() -> None:
    codes = [family.exit_code for family in FAMILIES]
    assert len(set(codes)) == len(codes)
    assert not {0, errors.EXIT_REFUTED, errors.EXIT_EVENTS_REMAIN, errors.EXIT_INTERRUPTED} & set(codes)


def test_the_documented_exit_codes_are_the_real_ones() -> None:
    assert documented() == {family.__name__: family.exit_code for family in FAMILIES}


@pytest.mark.parametrize("error", ALL)
def test_every_error_is_in_the_documented_tree(error: type[MeetaError]) -> None:
    assert re.search(rf"\b{error.__name__}\b", errors.__doc__ or "")


@pytest.mark.parametrize("error", ALL)
def test_an_error_has_the_exit_code_of_its_family(error: type[MeetaError]) -> None:
    family = next((one for one in MeetaError.__subclasses__() if issubclass(error, one)), MeetaError)
    assert error.exit_code == family.exit_code


@pytest.mark.parametrize("error", ALL)
def test_an_error_says_what_is_wrong_and_separately_what_to_do(error: type[MeetaError]) -> None:
    made = error("The spool is full", hint="free disk space")
    assert (str(made), made.hint) == ("The spool is full", "free disk space")
    assert error("The spool is full").hint is None


def test_the_exit_code_of_events_that_remain_is_that_of_a_temporary_failure() -> None:
    assert errors.EXIT_EVENTS_REMAIN == 75
    assert "75" in (errors.__doc__ or "")
