"""Reports of the recorder to the normalizer: everything that it knows of itself, each a type of its own.

A report travels as the one argument of a message with its origin. On a tape it is an object of JSON with the same
fields, which :func:`report_of` takes as well. Only the recorder may use these origins: what a page says in its name
arrives as ``page.recorder.…``.
"""

from __future__ import annotations

from typing import ClassVar, TypeVar

import msgspec

from meeta_bot.capture.normalize.arguments import Ago, Whole
from meeta_bot.capture.normalize.state import Message
from meeta_bot.events import EndReason, GapCause, Lost


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all reports."""

    origin: ClassVar[str]


class StartReport(Report, frozen=True, kw_only=True):
    """The beginning of a capture; fields as in ``capture.started``."""

    origin: ClassVar[str] = "recorder.started"
    room_url: str
    deployment: str
    room: str
    bot_name: str
    program_version: str
    heartbeat_interval_ms: int | None = None
    labels: dict[str, str] = {}


class HeartbeatReport(Report, frozen=True, kw_only=True):
    """A sign of life, with the books of the page where there is one: messages made, taken from it, and missed."""

    origin: ClassVar[str] = "recorder.heartbeat"
    page_made: Whole | None = None
    page_taken: Whole | None = None
    page_missed: Whole | None = None


class LossReport(Report, frozen=True, kw_only=True):
    """The end of a stay, or of a try to get back. ``ago_ms``: how long before, at most, all was seen."""

    origin: ClassVar[str] = "recorder.lost"
    cause: GapCause
    attempt: Whole = 1
    detail: str | None = None
    ago_ms: Ago = 0
    evidence: str | None = None


class GapReport(Report, frozen=True, kw_only=True):
    """A gap whose both ends are known: as wall clock, or as how long ago they were. Without an end, it ends now."""

    origin: ClassVar[str] = "recorder.gap"
    cause: GapCause
    lost: Lost
    from_at: Whole | None = None
    to_at: Whole | None = None
    ago_ms: Ago | None = None
    until_ago_ms: Ago | None = None
    evidence: str | None = None
    missed: Whole | None = None

    def __post_init__(self) -> None:
        if self.from_at is None and self.ago_ms is None:
            raise ValueError("a gap without a beginning")


class DamageReport(Report, frozen=True, kw_only=True):
    """The loss of what the spool had of this capture. ``ago_ms``: the age of the last sign of it before."""

    origin: ClassVar[str] = "recorder.damaged"
    missed: Whole
    evidence: str
    ago_ms: Ago = 0


class StandstillReport(Report, frozen=True, kw_only=True):
    """A standstill: the process got no time for ``ms`` up to now."""

    origin: ClassVar[str] = "recorder.stood_still"
    ms: Ago
    lost: Lost
    evidence: str | None = None


class ClockReport(Report, frozen=True, kw_only=True):
    """A jump of the machine's wall clock, which was set."""

    origin: ClassVar[str] = "recorder.clock_jumped"
    jump_ms: Whole


class TelemetryReport(Report, frozen=True, kw_only=True):
    """The keeping of statistics, which are the first to go when the spool fills."""

    origin: ClassVar[str] = "recorder.telemetry"
    is_kept: bool


class ErrorReport(Report, frozen=True, kw_only=True):
    """An error in the recorder, which goes on."""

    origin: ClassVar[str] = "recorder.error"
    where: str
    message: str


class MeetingOverReport(Report, frozen=True, kw_only=True):
    """The end of the meeting: nobody was there for the grace period."""

    origin: ClassVar[str] = "recorder.meeting_over"


class EndReport(Report, frozen=True, kw_only=True):
    """The end of a capture; nothing comes after it."""

    origin: ClassVar[str] = "recorder.ended"
    reason: EndReason
    detail: str | None = None


_R = TypeVar("_R", bound=Report)


def message_of(report: Report, wall_ms: int, monotonic_ms: int) -> Message:
    """Return `report` as the normalizer is fed it."""
    return Message(report.origin, [report], wall_ms, monotonic_ms)


def report_of(message: Message, kind: type[_R]) -> _R:
    """Return the report in `message`, made from JSON if it comes from a tape.

    :raises msgspec.ValidationError: it is something else.
    """
    given = message.args[0] if message.args else {}
    return given if isinstance(given, kind) else msgspec.convert(given, kind)
