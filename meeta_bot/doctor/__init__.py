"""`meeta-bot doctor`: the checks whether a recording would work here, and what it would be able to see.

`checks` defines and makes them; this module lists them; each other module inspects one thing.
"""

from __future__ import annotations

from meeta_bot.doctor import browser, capabilities, database, deployment, machine, spools
from meeta_bot.doctor.checks import NOT_CHECKED, Check, Examination, Finding, Inspection, Level, Result, examine
from meeta_bot.errors import (
    BrowserError,
    CaptureFailed,
    DatabaseError,
    InvalidRoomUrl,
    MeetaError,
    SpoolError,
    UsageError,
)

__all__ = ["DEPLOYMENT", "HERE", "NOT_CHECKED", "Check", "Examination", "Finding", "Level", "Result", "examine"]

MACHINE, DATABASE, ROOM, CAPABILITIES = "this machine", "database", "deployment", "what can be seen"

HERE = (
    Check("program", MACHINE, machine.program, MeetaError.exit_code),
    Check("settings", MACHINE, machine.settings, UsageError.exit_code),
    Check("data directory", MACHINE, machine.data_directory, SpoolError.exit_code, ("settings",)),
    Check("disk", MACHINE, machine.disk, SpoolError.exit_code, ("data directory",)),
    Check("spool", MACHINE, spools.waiting, SpoolError.exit_code, ("data directory",)),
    Check("clock", MACHINE, machine.clock, MeetaError.exit_code),
    Check("open files", MACHINE, machine.open_files, MeetaError.exit_code),
    Check("browser", MACHINE, browser.starts, BrowserError.exit_code, ("settings",), browser.deadline),
    Check("sandbox", MACHINE, browser.sandbox, BrowserError.exit_code, ("browser",)),
    Check("PostgreSQL", DATABASE, database.reachable, DatabaseError.exit_code, ("settings",), database.deadline),
    Check("schema", DATABASE, database.schema, DatabaseError.exit_code, ("PostgreSQL",), database.query_deadline),
    Check("rights", DATABASE, database.rights, DatabaseError.exit_code, ("PostgreSQL",), database.query_deadline),
    Check("partitions", DATABASE, database.partitions, DatabaseError.exit_code, ("schema",), database.query_deadline),
    Check("quarantine", DATABASE, database.quarantine, DatabaseError.exit_code, ("schema",), database.query_deadline),
    Check("server clock", DATABASE, database.clock, DatabaseError.exit_code, ("PostgreSQL",), database.query_deadline),
)
"""The needs of every recording, in the order in which they are reported."""


def _capability(name: str, inspect: Inspection, needs: str) -> Check:
    return Check(name, CAPABILITIES, inspect, CaptureFailed.exit_code, (needs,))


DEPLOYMENT = (
    Check("address", ROOM, deployment.address, InvalidRoomUrl.exit_code),
    Check("token", ROOM, deployment.token, CaptureFailed.exit_code, ("settings", "address")),
    Check("page", ROOM, deployment.page, CaptureFailed.exit_code, ("browser", "address"), deployment.page_deadline),
    Check("configuration", ROOM, deployment.configuration, CaptureFailed.exit_code, ("page",)),
    Check("library", ROOM, capabilities.library, CaptureFailed.exit_code, ("configuration",)),
    Check(
        "login",
        ROOM,
        deployment.connection,
        CaptureFailed.exit_code,
        ("configuration",),
        deployment.connection_deadline,
    ),
    _capability("access", capabilities.access, "configuration"),
    _capability("sources", capabilities.sources, "configuration"),
    _capability("bridge channel", capabilities.bridge_channel, "configuration"),
    _capability("peer to peer", capabilities.peer_to_peer, "configuration"),
    _capability("ping", capabilities.ping, "configuration"),
    _capability("transcription", capabilities.transcription, "configuration"),
    _capability("recording", capabilities.recording, "configuration"),
    _capability("visitors", capabilities.visitors, "configuration"),
    _capability("lobby", capabilities.lobby, "login"),
    _capability("breakout rooms", capabilities.breakout_rooms, "login"),
    _capability("moderation", capabilities.moderation, "login"),
)
"""The needs of recording one room, and what its deployment says of itself."""
