"""Verdicts on captures, and the checks and problems that they are made of."""

from __future__ import annotations

import msgspec

NUMBERS, CHAIN, HEAD, BOOKS = "numbers", "chain", "head", "books"
PROJECTIONS, GAPS, ENDS = "projections", "gaps", "ends"
CHECKS = (NUMBERS, CHAIN, HEAD, BOOKS, PROJECTIONS, GAPS, ENDS)

ALTERED_HINT = "restore it from a backup or a file of `record --jsonl`; the chain shows whether that is the same"
DAMAGED_HINT = "they are gone, unless a file of `record --jsonl` has them"
REBUILD_HINT = "the events are the truth: `meeta-bot db rebuild` derives these tables again"


class Problem(msgspec.Struct, frozen=True):
    """The reason of a refutation: one line, the first bad seq if it has one, and what to do if that is known."""

    text: str
    seq: int | None = None
    hint: str | None = None


class CheckResult(msgspec.Struct, frozen=True):
    """The result of one check; `seq`, `problem` and `hint` describe the first thing that is wrong."""

    ok: bool
    seq: int | None = None
    problem: str | None = None
    hint: str | None = None


class AwaitingDelivery(msgspec.Struct, frozen=True):
    """A capture in a spool that can be read: the last number that was given, and how many events wait."""

    last_seq: int
    waiting: int


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict on a capture, or on a meeting that no capture names (then `capture_id` is None).

    `state` is ``recording``, ``ended`` or ``lost``, and ``missing`` when no event is stored, or ``spooled`` when they
    are known to wait elsewhere. `head` is the digest of
    the last event, hexadecimal. `erased` and `quarantined` count events whose payload is gone or waits in quarantine.
    `notes` are not refutations.
    """

    capture_id: str | None
    meeting_id: str | None
    room: str | None
    state: str
    events: int
    head: str | None
    erased: int
    quarantined: int
    verified: bool
    first_bad_seq: int | None
    checks: dict[str, CheckResult]
    notes: list[str] = []


def checks_of(problems: dict[str, Problem | None]) -> dict[str, CheckResult]:
    """Return results by the names of the checks, in the order in which they are reported."""
    found = {}
    for name in CHECKS:
        if name in problems:
            problem = problems[name]
            found[name] = (
                CheckResult(ok=True) if problem is None else CheckResult(False, problem.seq, problem.text, problem.hint)
            )
    return found


def first_bad_seq(checks: dict[str, CheckResult]) -> int | None:
    """Return the smallest number that any check names."""
    return min((check.seq for check in checks.values() if check.seq is not None), default=None)
