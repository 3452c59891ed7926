"""The table of phases: every phase ends, every reason has a place, and ARCHITECTURE.md shows the table as it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import meeta_bot
from meeta_bot.capture import phases
from meeta_bot.capture.phases import ANYWHERE, TABLE, Phase, diagram
from meeta_bot.events import ORDERLY_ENDS, EndReason, GapCause
from meeta_bot.settings import Settings

ARCHITECTURE = Path(__file__).parents[2] / "ARCHITECTURE.md"


def test_every_phase_has_a_rule() -> None:
    assert list(TABLE) == list(Phase)


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.ENDED])
def test_no_phase_lasts_for_ever(phase: Phase) -> None:
    rule = TABLE[phase]
    assert rule.deadlines
    assert set(rule.deadlines) <= Settings.model_fields.keys()
    assert rule.following


@pytest.mark.parametrize("phase", list(Phase))
def test_every_phase_leads_to_the_end(phase: Phase) -> None:
    reached = {phase}
    while more := {after for one in reached for after in TABLE[one].following} - reached:
        reached |= more
    assert Phase.ENDED in reached


def test_every_reason_ends_some_phase() -> None:
    assert {reason for rule in TABLE.values() for reason in rule.ends} | ANYWHERE == set(EndReason)


def test_the_architecture_shows_the_table() -> None:
    assert diagram() in ARCHITECTURE.read_text(encoding="utf-8")


def names_in_the_sources(kind: str) -> set[str]:
    """Members of an enumeration of reasons that are named where captures are made, the table excepted."""
    program = Path(meeta_bot.__file__).parent
    sources = {program / "worker.py", *(program / "capture").rglob("*.py")} - {Path(phases.__file__)}
    return {name for path in sources for name in re.findall(rf"\b{kind}\.([A-Z_]+)\b", path.read_text("utf-8"))}


@pytest.mark.parametrize("reasons", [EndReason, GapCause])
def test_there_is_no_reason_that_nothing_can_give(reasons: type[EndReason | GapCause]) -> None:
    assert names_in_the_sources(reasons.__name__) == set(reasons.__members__)


def test_an_error_of_our_own_is_no_orderly_end_wherever_it_happens() -> None:
    assert EndReason.INTERNAL_ERROR not in ORDERLY_ENDS
    assert EndReason.INTERNAL_ERROR in ANYWHERE
