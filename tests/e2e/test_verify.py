"""``meeta-bot verify`` as a user meets it, on a database that a sink has filled."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from meeta_bot.events import SealedEvent
from tests.e2e.recorder_process import run
from tests.e2e.terminal import on_terminal
from tests.postgres.samples import capture_id, ended, joined, seal_all, started
from tests.postgres.tables import write
from tests.postgres.test_verify import sound_story
from tests.stack.postgres import fetch


def documents(text: str) -> list[dict[str, Any]]:
    """What was printed, a document a line."""
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
async def standup(newest_database: str) -> tuple[str, list[SealedEvent]]:
    """A database with one capture, and its events."""
    batch = seal_all(sound_story())
    await write(newest_database, batch)
    return newest_database, batch


async def verify(url: str, *arguments: str) -> tuple[int, str, str]:
    """``meeta-bot verify ARGUMENTS`` on the database at `url`."""
    return await run("verify", *arguments, "--database-url", url)


async def test_a_capture_that_holds_is_one_line_and_a_summary(standup: tuple[str, Sequence[SealedEvent]]) -> None:
    url, batch = standup
    code, out, err = await verify(url)
    assert (code, err) == (0, "")
    first, summary = out.splitlines()
    assert first == (
        f"✓ {batch[0].capture_id}  standup  {len(batch)} events  head {batch[-1].digest.hex()[:8]}…"
        "  numbers, chain, books, projections, gaps, ends"
    )
    assert summary == f"1 capture, {len(batch)} events: complete and unaltered"


async def test_a_refutation_names_the_event_what_it_means_and_what_to_do(
    standup: tuple[str, Sequence[SealedEvent]],
) -> None:
    url, _ = standup
    await fetch(url, "UPDATE meeta.events SET origin = 'other' WHERE seq = 7")
    await fetch(url, "DELETE FROM meeta.gaps")
    code, out, err = await verify(url, "standup")
    assert (code, err) == (1, "")
    lines = out.splitlines()
    assert lines[0].startswith("✗ ")
    assert lines[0].endswith("refuted: chain, projections")
    assert lines[1] == "    chain: seq 7: digest does not follow: this event was altered, or one before it removed"
    assert lines[3] == "    projections: seq 14: the row 14 of gaps is missing"
    assert "meeta-bot db rebuild" in lines[4]
    assert lines[-1].endswith("1 refuted")

    code, out, err = await verify(url, "--json")
    assert (code, err) == (1, "")
    [document] = documents(out)
    assert (document["verified"], document["first_bad_seq"]) == (False, 7)
    assert document["checks"]["chain"]["seq"] == 7
    assert document["checks"]["numbers"] == {"ok": True, "seq": None, "problem": None, "hint": None}


async def test_captures_and_meetings_are_named_as_elsewhere(newest_database: str) -> None:
    url = newest_database
    one, other = seal_all(sound_story()), seal_all(sound_story(3))
    lone = seal_all([started("lone"), ended(1)])
    await write(url, one, other, lone)

    async def named(*arguments: str) -> list[str]:
        code, out, err = await verify(url, *arguments, "--json")
        assert (code, err) == (0, "")
        return [document["capture_id"] for document in documents(out)]

    both = sorted([one[0].capture_id, other[0].capture_id])
    assert await named("standup") == both
    assert await named(one[0].capture_id) == [one[0].capture_id]
    assert await named(one[0].capture_id.upper()) == [one[0].capture_id]
    assert await named("6f1c1e0a") == both
    assert await named("lone") == [lone[0].capture_id]
    assert await named("--all") == sorted([*both, lone[0].capture_id])


async def test_a_capture_is_held_against_a_head_that_was_kept(standup: tuple[str, Sequence[SealedEvent]]) -> None:
    url, batch = standup
    name, head = batch[0].capture_id, batch[-1].digest.hex()
    assert (await verify(url, name, "--expect", head))[0] == 0
    assert (await verify(url, "standup", "--expect", head.upper()))[0] == 0
    assert (await verify(url, name, "--expect", batch[-2].digest.hex()))[0] == 1
    for table in ("events", "captures", "visits", "gaps", "meetings"):
        await fetch(url, f"DELETE FROM meeta.{table}")  # noqa: S608
    code, out, _ = await verify(url, name, "--expect", head)
    assert code == 1
    assert "nothing of it is stored" in out
    assert (await verify(url, name))[0] == 1
    assert (await verify(url, "standup", "--expect", head))[0] == 3


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("standup", "--all"), 2, "don't go together"),
        (("--expect", "abc"), 2, "64 hexadecimal digits"),
        (("--expect", "0" * 64, "--all"), 2, "head of one capture"),
        (("standup", "--expect", "0" * 64), 2, "2 are named"),
        (("nowhere",), 3, "Meeting 'nowhere' not found"),
        (("6f1c1e0a-5a55-5c1e-8a55-0123456789ac",), 3, "0123456789ac' not found"),
    ],
    ids=lambda value: " ".join(value)[:30] if isinstance(value, tuple) else "",
)
async def test_what_can_not_be_verified_is_one_line(
    newest_database: str, arguments: tuple[str, ...], code: int, says: str
) -> None:
    await write(newest_database, seal_all(sound_story()), seal_all(sound_story(3)))
    found, out, err = await verify(newest_database, *arguments)
    assert (found, out) == (code, "")
    assert says in err
    assert len([line for line in err.splitlines() if line.startswith("error:")]) == 1


async def test_all_of_nothing_is_fine_and_strays_are_not(newest_database: str) -> None:
    assert await verify(newest_database, "--all") == (0, "Nothing is stored\n", "")
    await write(newest_database, seal_all(sound_story()))
    for table in ("events", "captures", "visits", "gaps"):
        await fetch(newest_database, f"DELETE FROM meeta.{table}")  # noqa: S608
    code, out, _ = await verify(newest_database, "--all")
    assert code == 1
    assert "no capture names this meeting" in out


async def test_a_database_that_may_only_be_read_is_verified(standup: tuple[str, Sequence[SealedEvent]]) -> None:
    url, batch = standup
    await fetch(url, f"ALTER DATABASE {url.split('///')[1].split('?')[0]} SET default_transaction_read_only = on")
    code, out, err = await verify(url, batch[0].capture_id)
    assert (code, err) == (0, ""), out


async def test_many_events_are_verified_by_several_processes_behind_a_bar(newest_database: str) -> None:
    batch = seal_all([started(), *(joined(n, f"e{n % 9}") for n in range(1, 3000))], capture_id())
    await write(newest_database, batch)
    async with on_terminal(
        *("verify", "--database-url", newest_database),
        columns=200,
        MEETA_VERIFY_CHUNK_EVENTS="500",
        MEETA_VERIFY_PARALLEL_EVENTS="1000",
        MEETA_VERIFY_PROCESSES="2",
        MEETA_HEARTBEAT_INTERVAL="3600",
    ) as terminal:
        await terminal.shows("3000/3000")
        await terminal.shows("still recording")
        assert await terminal.ended() == 0
        assert "complete and unaltered" in terminal.shown
