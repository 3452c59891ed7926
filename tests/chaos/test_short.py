"""The short form of the conservation harness: each fault at spool and writer a few times, then the oracle."""

from __future__ import annotations

from tests.chaos import spool_level
from tests.chaos.faults import FAULTS
from tests.chaos.options import Options


async def test_nothing_acknowledged_is_lost_or_stored_twice_whatever_is_killed(seed: int) -> None:
    section, violations = await spool_level.run(Options(seed, short=True))
    assert violations == []
    faults, tampering = section.tables
    *each, total = faults.rows
    assert [row[0] for row in each] == [fault.name for fault in FAULTS if fault.is_possible()]
    assert all(int(row[1]) > 0 and int(row[2]) > 0 for row in each), "every fault was injected, and every load killed"
    assert int(total[5].replace(",", "")) > 1000, "events were acknowledged"
    assert all(times == refuted != "0" for _, times, refuted in tampering.rows)
