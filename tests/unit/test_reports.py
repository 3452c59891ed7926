"""Reports of the recorder: typed where the recorder makes them, JSON on tapes, and the same to the normalizer."""

from __future__ import annotations

import msgspec
import pytest

from meeta_bot.capture.normalize import Message, known_origins, normalize
from meeta_bot.capture.normalize.reports import (
    ClockReport,
    DamageReport,
    EndReport,
    ErrorReport,
    GapReport,
    HeartbeatReport,
    LossReport,
    MeetingOverReport,
    Report,
    StandstillReport,
    StartReport,
    TelemetryReport,
    message_of,
    report_of,
)
from meeta_bot.events import EndReason, GapCause, Lost, Unknown
from tests.unit.builders import state

NOW = 1_700_000_000_000
EXAMPLES: list[Report] = [
    StartReport(room_url="u", deployment="d", room="r", bot_name="b", program_version="1", labels={"team": "a"}),
    HeartbeatReport(page_made=3, page_taken=2, page_missed=0),
    LossReport(cause=GapCause.PAGE_CRASHED, attempt=2, detail="d", ago_ms=40, evidence="e"),
    GapReport(cause=GapCause.SPOOL_FULL, lost=Lost.NOTHING, ago_ms=7000, until_ago_ms=0, evidence="e"),
    GapReport(cause=GapCause.PROCESS_KILLED, lost=Lost.EVERYTHING, from_at=NOW - 9000, to_at=NOW),
    DamageReport(missed=4, evidence="e", ago_ms=500),
    StandstillReport(ms=8000, lost=Lost.NOTHING, evidence="e"),
    ClockReport(jump_ms=-5000),
    TelemetryReport(is_kept=False),
    ErrorReport(where="w", message="m"),
    MeetingOverReport(),
    EndReport(reason=EndReason.OPERATOR, detail="d"),
]


def test_every_report_has_an_example_and_a_rule() -> None:
    assert {type(example) for example in EXAMPLES} == set(Report.__subclasses__())
    assert {example.origin for example in EXAMPLES} == {
        origin for origin in known_origins() if origin.startswith("recorder.")
    }


@pytest.mark.parametrize("report", EXAMPLES, ids=lambda report: report.origin)
def test_a_report_on_a_tape_is_the_report_that_was_made(report: Report) -> None:
    made = message_of(report, NOW, 20_000)
    taped = msgspec.json.decode(msgspec.json.encode(made), type=Message)
    assert report_of(made, type(report)) is report
    assert report_of(taped, type(report)) == report
    assert taped.origin == type(report).origin
    assert normalize(state(), taped) == normalize(state(), made)


@pytest.mark.parametrize("report", EXAMPLES, ids=lambda report: report.origin)
def test_a_report_makes_sense_to_the_normalizer(report: Report) -> None:
    _, found = normalize(state(), message_of(report, NOW, 20_000))
    assert not [event for event in found if isinstance(event.payload, Unknown)]


def test_a_gap_without_a_beginning_can_t_be_reported() -> None:
    with pytest.raises(ValueError, match="without a beginning"):
        GapReport(cause=GapCause.SPOOL_FULL, lost=Lost.NOTHING, to_at=NOW)
