"""A spool whose tail is torn away, though PostgreSQL may have it: what is stored then says truly what became of it."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from meeta_bot import settings as bot_settings
from meeta_bot.capture.log import end_cut_captures
from meeta_bot.capture.normalize import Message, State, normalize
from meeta_bot.capture.spool import Append, Spool
from meeta_bot.events import CaptureEnded, EndReason, SealedEvent
from meeta_bot.verify import Verdict
from tests.postgres.samples import BEGAN_MS, capture_id, started
from tests.postgres.tables import write
from tests.postgres.test_verify import Wall, refuted, verdict
from tests.stack.postgres import fetch
from tests.unit.spool_faults import LOG, SPOOL_FILE, as_a_kill_leaves_it, without_counts

MESSAGES = 40
KILLED_AT = BEGAN_MS + 60_000


def message(number: int, origin: str, *args: object) -> Message:
    return Message(origin, list(args), BEGAN_MS + number * 10, number * 10)


async def record(spool: Spool, *, ends: bool = False) -> State:
    """A capture with a transaction for each of its events, which number `MESSAGES`."""
    state = State(capture_id=capture_id(), deployment="https://meet.example.org", room="standup")
    said = [message(0, "recorder.started", msgspec.to_builtins(started().payload))]
    while len(said) < MESSAGES:
        said.append(message(len(said), "conference.messageReceived", "ada", f"number {len(said)}", None))
    if ends:
        end = CaptureEnded(reason=EndReason.MEETING_ENDED)
        said[-1] = message(MESSAGES, "recorder.ended", msgspec.to_builtins(end))
    for one in said:
        state, found = normalize(state, one)
        await spool.append(state.capture_id, Append(state, found, one.wall_ms))
    return state


async def events_of(spool: Spool) -> list[SealedEvent]:
    return [spooled.event for spooled in await spool.read(10 * MESSAGES)]


async def deliver(url: str, spool: Spool, *, is_noted: bool = True) -> None:
    """Deliver all; `is_noted`: and get as far as to note it in the spool."""
    cursor = spool.cursor()
    spooled = await cursor.read(MESSAGES)
    await write(url, [one.event for one in spooled])
    if is_noted:
        await cursor.forget(spooled[-1].ordinal)


async def torn(spool: Spool, place: Path) -> Path:
    """What a kill leaves of a spool, with the end of the log torn away: a third of what was recorded or more."""
    left = as_a_kill_leaves_it(spool, place)
    await spool.close()
    os.truncate(left / LOG, (left / LOG).stat().st_size // 2)
    return left


async def adopted(url: str, left: Path, name: str) -> Verdict:
    """What is said of a capture when the next process has ended it and has delivered what was left."""
    spool = Spool(left, bot_settings.load())
    assert await end_cut_captures(spool, Wall(KILLED_AT)) == 1
    await write(url, await events_of(spool))
    await spool.close()
    return await verdict(url, name)


async def test_a_torn_tail_that_is_delivered_refutes_nothing(database_url: str, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", bot_settings.load())
    state = await record(spool)
    await deliver(database_url, spool)
    found = await adopted(database_url, await torn(spool, tmp_path / "left"), state.capture_id)
    assert (refuted(found), found.state, found.events) == (set(), "ended", MESSAGES + 3), found
    gaps = await fetch(database_url, "SELECT cause, missed FROM meeta.gaps ORDER BY seq")
    assert [tuple(gap.values()) for gap in gaps] == [("spool_damaged", 0), ("process_killed", None)]


async def test_a_torn_tail_that_is_not_delivered_refutes_the_numbers_alone(database_url: str, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", bot_settings.load())
    state = await record(spool)
    left = await torn(spool, tmp_path / "left")
    found = await adopted(database_url, left, state.capture_id)
    assert (refuted(found), found.state) == ({"numbers"}, "ended"), found
    missing = MESSAGES + 3 - found.events
    assert missing > 1
    assert found.checks["numbers"].problem == (
        f"events {MESSAGES - missing + 1} to {MESSAGES} are missing: up to {missing} events were lost with a "
        f"damaged spool, according to event {MESSAGES + 1}"
    )


async def test_a_capture_that_had_ended_and_is_lost_with_its_spool_is_ended_again(
    database_url: str, tmp_path: Path
) -> None:
    spool = Spool(tmp_path / "spool", bot_settings.load())
    state = await record(spool, ends=True)
    left = as_a_kill_leaves_it(spool, tmp_path / "left")
    await spool.close()
    (left / SPOOL_FILE).unlink()
    (left / LOG).unlink()
    found = await adopted(database_url, left, state.capture_id)
    assert (refuted(found), found.state, found.events) == ({"numbers"}, "ended", 3), found


async def test_an_end_that_was_delivered_unnoticed_is_named_as_what_it_is(database_url: str, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", bot_settings.load())
    state = await record(spool, ends=True)
    await deliver(database_url, spool, is_noted=False)
    found = await adopted(database_url, await torn(spool, tmp_path / "left"), state.capture_id)
    assert (refuted(found), found.first_bad_seq, found.events) == ({"ends"}, MESSAGES, MESSAGES + 3), found
    assert found.checks["ends"].problem == (
        f"capture.ended is not the last event: a damaged spool had lost it, according to event {MESSAGES + 1}, and "
        "its adopter wrote another end"
    )


async def test_books_that_were_lost_with_a_torn_tail_are_named_as_what_they_are(
    database_url: str, tmp_path: Path
) -> None:
    spool = Spool(tmp_path / "spool", bot_settings.load())
    state = await record(spool)
    await deliver(database_url, spool)
    left = await torn(spool, tmp_path / "left")
    without_counts(left / "heads")
    found = await adopted(database_url, left, state.capture_id)
    assert (refuted(found), found.first_bad_seq, found.events) == ({"books"}, MESSAGES + 3, MESSAGES + 3), found
    problem = found.checks["books"].problem
    assert problem is not None
    assert problem.endswith(
        f"and {MESSAGES + 2} come before this end: its spool was damaged, according to event {MESSAGES + 1}"
    )
