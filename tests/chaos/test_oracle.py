"""The oracle and the means of the harness can fail: what is lost, doubled or altered is found, faults are real."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from tests.chaos import damage
from tests.chaos.load import Said, text_of
from tests.chaos.oracle import Known, Stored, judge
from tests.chaos.talk import Message
from tests.chaos.witness import Account, Blind, Heard, account, invented
from tests.stack.proxy import Proxy, Stream, Way

CAPTURE = "01932c5e-8f00-7000-8000-00000000000a"
CUT_AT, DEAD_BY = 5_000, 5_020
MESSAGES = 6


def digest(seq: int) -> str:
    """Stands for that of an event."""
    return hashlib.sha256(str(seq).encode()).hexdigest()


def row(seq: int, kind: str, **payload: Any) -> Stored:
    return Stored(seq, kind, payload, digest(seq))


def story() -> list[Stored]:
    """What is stored of a capture whose process was killed."""
    chat = [row(number + 1, "chat.message", text=text_of(CAPTURE, number)) for number in range(1, MESSAGES + 1)]
    gap = row(MESSAGES + 2, "capture.gap", cause="process_killed", from_at=CUT_AT - 100, to_at=DEAD_BY + 100)
    return [row(1, "capture.started"), *chat, gap, row(MESSAGES + 3, "capture.ended", reason="process_killed")]


def known(messages: int = MESSAGES) -> Known:
    """What was acknowledged of it: the start, and its messages two by two."""
    said = [Said(capture_id=CAPTURE, seq=1, head=digest(1))]
    said += [
        Said(capture_id=CAPTURE, seq=count + 1, head=digest(count + 1), messages=count)
        for count in range(2, messages + 1, 2)
    ]
    return Known(CAPTURE, said, CUT_AT, DEAD_BY)


def changed(rows: list[Stored], seq: int, **changes: Any) -> list[Stored]:
    """`rows` in which one is otherwise."""
    fields = {name: getattr(rows[seq - 1], name) for name in ("seq", "type", "payload", "digest")}
    return [*rows[: seq - 1], Stored(**{**fields, **changes}), *rows[seq:]]


def test_a_capture_that_is_whole_is_found_so() -> None:
    found = judge(known(), story(), is_verified=True)
    assert (found.findings, found.is_whole) == ([], True)
    assert (found.acknowledged, found.stored) == (MESSAGES + 1, MESSAGES + 3)


def test_what_was_stored_without_being_acknowledged_is_no_fault() -> None:
    assert judge(known(messages=2), story(), is_verified=True).findings == []


@pytest.mark.parametrize(
    ("spoil", "lost", "twice", "altered"),
    [
        pytest.param(lambda rows: [*rows[:3], *rows[4:]], 1, 0, 0, id="one-lost"),
        pytest.param(lambda rows: rows[:5], 2, 0, 0, id="tail-lost"),
        pytest.param(lambda rows: [], MESSAGES + 1, 0, 0, id="all-lost"),
        pytest.param(lambda rows: [*rows[:3], rows[2], *rows[3:]], 0, 2, 0, id="row-twice"),
        pytest.param(lambda rows: changed(rows, 4, payload={"text": text_of(CAPTURE, 2)}), 1, 1, 0, id="message-twice"),
        pytest.param(lambda rows: changed(rows, 3, digest=digest(99)), 0, 0, 1, id="digest-altered"),
        pytest.param(lambda rows: changed(rows, 3, payload={"text": "nobody said this"}), 1, 0, 1, id="text-altered"),
    ],
)
def test_what_is_lost_doubled_or_altered_is_counted(
    spoil: Callable[[list[Stored]], list[Stored]], lost: int, twice: int, altered: int
) -> None:
    found = judge(known(), spoil(story()), is_verified=True)
    assert (found.lost, found.twice, found.altered) == (lost, twice, altered), found.findings
    assert found.findings
    assert not found.is_whole


@pytest.mark.parametrize(
    ("spoil", "finding"),
    [
        pytest.param(lambda rows: rows[:-1], "no end", id="no-end"),
        pytest.param(lambda rows: [*rows[:2], rows[3], rows[2], *rows[4:]], "order", id="rows-swapped"),
        pytest.param(
            lambda rows: changed(
                changed(rows, 3, payload={"text": text_of(CAPTURE, 3)}), 4, payload={"text": text_of(CAPTURE, 2)}
            ),
            "order",
            id="texts-swapped",
        ),
        pytest.param(lambda rows: [*rows[:7], row(9, "capture.ended", reason="operator")], "holes", id="hole"),
        pytest.param(
            lambda rows: changed(rows, 8, payload={"cause": "process_killed", "from_at": 0, "to_at": CUT_AT - 1}),
            "no gap covers",
            id="gap-too-early",
        ),
        pytest.param(
            lambda rows: changed(rows, 8, payload={"cause": "process_killed", "from_at": DEAD_BY + 1, "to_at": 10**6}),
            "no gap covers",
            id="gap-too-late",
        ),
        pytest.param(
            lambda rows: changed(rows, 8, payload={"cause": "late_join", "from_at": 0, "to_at": 10**6}),
            "no gap covers",
            id="gap-of-another-cause",
        ),
    ],
)
def test_a_missing_end_a_wrong_order_and_an_uncovered_kill_are_found(
    spoil: Callable[[list[Stored]], list[Stored]], finding: str
) -> None:
    assert any(finding in one for one in judge(known(), spoil(story()), is_verified=True).findings)


def test_a_refutation_is_a_finding() -> None:
    assert judge(known(), story(), is_verified=False).findings == ["verify refutes it"]


def test_texts_can_be_told_from_each_other() -> None:
    texts = {text_of(capture, number) for capture in (CAPTURE, CAPTURE[::-1]) for number in range(1, 200)}
    assert len(texts) == 398
    assert text_of(CAPTURE, 7) == text_of(CAPTURE, 7)


def test_what_the_load_says_survives_the_pipe() -> None:
    said = Said(capture_id=CAPTURE, seq=3, head=digest(3), messages=2)
    assert msgspec.json.decode(msgspec.json.encode(said), type=Said) == said


# --- a room, and what was heard of it ---------------------------------------------------------------------------------


def message(number: int) -> Message:
    """Said at second `number`."""
    return Message(f"Ada says {number}", number * 1000 - 30, number * 1000)


def heard(*live: int, late: tuple[int, ...] = (), blind: tuple[tuple[int, int], ...] = ()) -> Heard:
    """A log with these messages."""
    return Heard(
        [message(number).text for number in live],
        [message(number).text for number in late],
        [Blind(from_at, to_at, "put_out") for from_at, to_at in blind],
    )


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        pytest.param(heard(1, 2, 3), Account(said=3, stored=3), id="all-stored"),
        pytest.param(heard(1, 3, blind=((1500, 2500),)), Account(said=3, stored=2, in_gap=1), id="in-a-gap"),
        pytest.param(heard(1, 3, late=(2,)), Account(said=3, stored=2, late=1), id="sent-later"),
        pytest.param(heard(1, 3), Account(said=3, stored=2, silent=1), id="silence"),
        pytest.param(
            heard(1, 3, blind=((0, 1900), (2100, 9000))), Account(said=3, stored=2, silent=1), id="between-gaps"
        ),
        pytest.param(heard(1, 2, 2, 3, blind=((0, 9000),)), Account(said=3, stored=2, twice=1), id="twice"),
        pytest.param(heard(1, 2, 3, late=(1, 2)), Account(said=3, stored=3, again=2), id="history-is-no-doubling"),
    ],
)
def test_each_message_is_stored_once_or_lies_in_a_gap(log: Heard, expected: Account) -> None:
    found, findings = account([message(1), message(2), message(3)], log)
    assert found == expected
    assert len(findings) == expected.silent + expected.twice


def test_what_nobody_said_is_found() -> None:
    assert invented([message(1)], {message(2).text}, heard(1, 2)) == []
    assert len(invented([message(1)], set(), heard(1, 2))) == 1


# --- damage -----------------------------------------------------------------------------------------------------------


def test_a_log_is_torn(tmp_path: Path) -> None:
    (tmp_path / damage.LOG).write_bytes(bytes(range(200)))
    assert damage.tear(tmp_path, Random(1))
    rest = (tmp_path / damage.LOG).read_bytes()
    assert rest == bytes(range(len(rest)))
    assert len(rest) < 200


def test_one_bit_is_flipped(tmp_path: Path) -> None:
    before = {name: bytes(300) for name in (damage.LOG, damage.DATABASE)}
    for name, content in before.items():
        (tmp_path / name).write_bytes(content)
    assert damage.flip(tmp_path, Random(1))
    after = b"".join((tmp_path / name).read_bytes() for name in before)
    assert (len(after), sum(byte.bit_count() for byte in after)) == (600, 1)


def test_where_nothing_is_nothing_is_damaged(tmp_path: Path) -> None:
    assert damage.tear(tmp_path, Random(1)) is None
    assert damage.flip(tmp_path, Random(1)) is None


# --- proxy ------------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def through_proxy() -> AsyncIterator[tuple[Proxy, Stream, Stream]]:
    """A proxy, and the two ends of a connection through it."""
    ends: asyncio.Queue[Stream] = asyncio.Queue()
    server = await asyncio.start_server(lambda reader, writer: ends.put_nowait((reader, writer)), "127.0.0.1", 0)
    proxy = Proxy(lambda: asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1]))
    await proxy.open()
    client = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        yield proxy, client, await ends.get()
    finally:
        client[1].close()
        await proxy.close()
        server.close()


async def sent(source: Stream, target: Stream, data: bytes) -> bytes:
    """What arrives of `data`."""
    source[1].write(data)
    return await target[0].readexactly(len(data))


async def test_a_proxy_passes_on_both_ways() -> None:
    async with through_proxy() as (_, client, server):
        assert await sent(client, server, b"question") == b"question"
        assert await sent(server, client, b"answer") == b"answer"


async def test_a_cut_connection_ends_at_both_ends() -> None:
    async with through_proxy() as (proxy, client, server):
        await sent(client, server, b"question")
        proxy.cut()
        assert (await client[0].read(), await server[0].read(), proxy.faults) == (b"", b"", 1)


async def test_a_reset_connection_fails_at_both_ends() -> None:
    async with through_proxy() as (proxy, client, server):
        await sent(client, server, b"question")
        proxy.reset()
        for end in (client, server):
            with pytest.raises(ConnectionResetError):
                await end[0].read()


@pytest.mark.parametrize("way", list(Way))
async def test_half_of_a_piece_arrives_and_then_the_end(way: Way) -> None:
    async with through_proxy() as (proxy, client, server):
        await sent(client, server, b"question")
        proxy.halve(way)
        source, target = (client, server) if way is Way.UP else (server, client)
        source[1].write(b"12345678")
        assert await target[0].read() == b"1234"
        with pytest.raises(ConnectionResetError):
            await source[0].read()


async def test_nothing_passes_a_stalled_proxy_until_it_is_restored() -> None:
    async with through_proxy() as (proxy, client, server):
        await sent(client, server, b"question")
        proxy.stall()
        client[1].write(b"more")
        arrival = asyncio.create_task(server[0].readexactly(4))
        done, _ = await asyncio.wait([arrival], timeout=0.1)
        assert not done
        proxy.restore()
        assert await arrival == b"more"


async def test_a_refusing_proxy_lets_nobody_in() -> None:
    async with through_proxy() as (proxy, _, _):
        proxy.refusing = True
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        assert await reader.read() == b""
        writer.close()
