"""The oracle: what is known of a capture against what is stored of it. Pure: it is fed, and tells what is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from meeta_bot.events import GapCause
from tests.chaos.load import Said, text_of

MOST_FINDINGS = 5  # of one capture that are told; one refutes


@dataclass
class Known:
    """What the harness knows of a capture: what was acknowledged, in order, and between which moments (wall clock, ms)
    its process was ended."""

    capture_id: str
    acknowledged: list[Said] = field(default_factory=list)
    cut_at: int | None = None
    dead_by: int | None = None

    @property
    def last_seq(self) -> int:
        """The last event that was acknowledged; 0 for none."""
        return max((said.seq for said in self.acknowledged), default=0)

    @property
    def messages(self) -> int:
        """How many chat messages were acknowledged."""
        return max((said.messages for said in self.acknowledged), default=0)


@dataclass(frozen=True)
class Stored:
    """A row of events; `payload` is parsed."""

    seq: int
    type: str
    payload: dict[str, Any]
    digest: str


@dataclass
class Judgement:
    """What became of a capture. `stored` counts rows; `lost` and `altered` count acknowledged events."""

    capture_id: str
    acknowledged: int
    stored: int
    lost: int = 0
    twice: int = 0
    altered: int = 0
    has_gap: bool = False  # of a damaged spool
    findings: list[str] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Is everything there, once and unaltered?"""
        return not (self.lost or self.twice or self.altered)


def judge(known: Known, rows: Sequence[Stored], *, is_verified: bool) -> Judgement:
    """Hold the rows of a capture, in the order of ``seq``, against what is known of it."""
    found = Judgement(known.capture_id, known.last_seq, len(rows))
    _count(found, known, rows)
    _look_at_texts(found, known, rows)
    gaps = [row.payload for row in rows if row.type == "capture.gap"]
    found.has_gap = any(gap["cause"] == GapCause.SPOOL_DAMAGED for gap in gaps)
    if rows:
        _look_at_end(found, known, rows[-1], gaps)
    if not is_verified:
        found.findings.append("verify refutes it")
    return found


def _count(found: Judgement, known: Known, rows: Sequence[Stored]) -> None:
    numbers = Counter(row.seq for row in rows)
    digests = {row.seq: row.digest for row in rows}
    repeated = sum(numbers.values()) - len(numbers)
    missing = [seq for seq in range(1, known.last_seq + 1) if seq not in numbers]
    altered = [said.seq for said in known.acknowledged if said.seq in digests and digests[said.seq] != said.head]
    found.twice += repeated
    found.lost += len(missing)
    found.altered += len(altered)
    if [row.seq for row in rows] != sorted(numbers):
        found.findings.append(f"not in order, or {repeated} numbers twice")
    if rows and sorted(numbers) != list(range(1, max(numbers) + 1)):
        found.findings.append("numbers have holes")
    if missing:
        found.findings.append(f"{len(missing)} acknowledged events are missing, the first has seq {missing[0]}")
    if altered:
        found.findings.append(f"the digest of seq {altered[0]} is not the one that was acknowledged")


def _look_at_texts(found: Judgement, known: Known, rows: Sequence[Stored]) -> None:
    """Each message says what it is; so each is there once, in order, and in these words."""
    texts = [row.payload.get("text", "") for row in rows if row.type == "chat.message"]
    expected = [text_of(known.capture_id, number) for number in range(1, max(len(texts), known.messages) + 1)]
    repeated = sum(Counter(texts).values()) - len(set(texts))
    said = set(expected)
    strange = [text for text in texts if text not in said]
    missing = set(expected[: known.messages]) - set(texts)
    if repeated:
        found.twice += repeated
        found.findings.append(f"{repeated} messages are stored twice")
    if strange:
        found.altered += len(strange)
        found.findings.append(f"nobody said {strange[0][:60]!r}")
    if missing:
        found.lost = max(found.lost, len(missing))
        found.findings.append(f"{len(missing)} acknowledged messages are missing: {min(missing)[:40]!r}")
    if texts != expected[: len(texts)]:
        found.findings.append("messages are not in the order in which they were said")


def _look_at_end(found: Judgement, known: Known, last: Stored, gaps: Iterable[dict[str, Any]]) -> None:
    """The end is there; and what a kill cut off is covered by a gap, from before the kill until after it."""
    if last.type != "capture.ended":
        found.findings.append(f"it has no end, its last event is {last.type}")
        return
    if last.payload["reason"] != "process_killed":
        return
    cut = [gap for gap in gaps if gap["cause"] == GapCause.PROCESS_KILLED]
    if known.cut_at is None or known.dead_by is None:
        found.findings.append("it is said to be killed, and its process was not ended")
    elif not any(gap["from_at"] <= known.dead_by and gap["to_at"] >= known.cut_at for gap in cut):
        found.findings.append(f"no gap covers the kill between {known.cut_at} and {known.dead_by}")


def told(found: Judgement) -> str:
    """One line."""
    return f"{found.capture_id}: {'; '.join(found.findings[:MOST_FINDINGS])}"
