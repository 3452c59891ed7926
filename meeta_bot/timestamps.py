"""Points in time: milliseconds since 1970, aware datetimes in UTC, and ISO 8601."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EARLIEST_MS = -62_135_596_800_000  # year 1 and year 9999: what ISO 8601 with four digits can show
LATEST_MS = 253_402_300_799_999
EPOCH_2000_MS = 946_684_800_000  # 2000-01-01 in UTC; PostgreSQL counts microseconds from there
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def moment(ms: int) -> datetime:
    """Return the time that is `ms` milliseconds after 1970.

    :raises OverflowError: it is outside the years 1 to 9999.
    """
    return _EPOCH + ms * _MILLISECOND


def milliseconds(moment: datetime) -> int:
    """Return whole milliseconds since 1970; the exact value that was stored."""
    return (moment - _EPOCH) // _MILLISECOND


def iso(moment: datetime | None) -> str | None:
    """Write a moment as ISO 8601 in UTC with milliseconds, such as 2026-11-22T10:00:00.000Z."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
