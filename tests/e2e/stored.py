"""What a recording left in the database, read as its users read it: by the command line."""

from __future__ import annotations

import json
from typing import Any

from tests.e2e.recorder_process import run

Row = dict[str, Any]


async def rows(database_url: str, room: str = "latest") -> list[Row]:
    """The events of a meeting."""
    code, out, err = await run("events", room, "--json", "--database-url", database_url)
    assert code == 0, err
    return [json.loads(line) for line in out.splitlines()]


def payloads(found: list[Row], event_type: str) -> list[Row]:
    """Those of events of a type."""
    return [row["payload"] for row in found if row["type"] == event_type]


def gaps(found: list[Row]) -> list[Row]:
    """What could not be seen since the bot was first in the room; what the bridge alone tells is not among it."""
    found_gaps = payloads(found, "capture.gap")
    return [gap for gap in found_gaps if gap["cause"] != "late_join" and gap["lost"] != "bridge_only"]


def bridge_gaps(found: list[Row]) -> list[Row]:
    """What could not be heard while the room was seen."""
    return [gap for gap in payloads(found, "capture.gap") if gap["lost"] == "bridge_only"]


def names(found: list[Row], event_type: str, **fields: Any) -> list[str]:
    """The names of those that events of a type are about, if their envelope has these fields."""
    named = {row["endpoint_id"]: row["payload"]["display_name"] for row in found if row["type"] == "participant.joined"}
    return [named[row["endpoint_id"]] for row in found if row["type"] == event_type and fields.items() <= row.items()]


def texts(found: list[Row]) -> list[str]:
    """What was written in the chat."""
    return [payload["text"] for payload in payloads(found, "chat.message")]


def assert_same_meeting_after_the_gap(found: list[Row]) -> None:
    """It has the identity that it had before the room was lost."""
    lost = next(row["seq"] for row in found if row["type"] == "capture.reconnecting")
    before = payloads([row for row in found if row["seq"] < lost], "meeting.identified")
    assert payloads(found, "meeting.identified")[-1]["meeting_id"] == before[-1]["meeting_id"]


async def assert_verified(database_url: str) -> None:
    """`meeta-bot verify` finds nothing to refute."""
    code, out, err = await run("verify", "--all", "--database-url", database_url)
    assert code == 0, out + err
