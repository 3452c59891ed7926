"""A whole conference of real participants, recorded by the very command, compared event by event."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path
from typing import Any

import asyncpg
import jsonschema
import pytest

from meeta_bot.events import chain, json_schema
from meeta_bot.events.document import EventRow, envelope, event_document
from tests.e2e.conftest import Deployment, People
from tests.e2e.recorder_process import folder_for_spool, reading, recording, run
from tests.e2e.script import NAMES, Script, expected_facts, recorded_facts
from tests.stack.postgres import Server

pytestmark = pytest.mark.asyncio(loop_scope="session")

ACTS = 30
DOMINANT_SPEAKER = "conference.dominantSpeaker"


async def _stored(url: str) -> list[EventRow]:
    async with reading(url) as reader:
        meeting = await reader.find_meeting("latest")
        return [row async for row in reader.all_events(meeting.capture_ids)]


async def test_every_act_of_every_participant_is_recorded_once_and_in_order(
    deployment: Deployment, people: People, server: Server, tmp_path: Path, seed: int
) -> None:
    database_url = await server.migrated_database()
    script = Script(seed, deployment.new_room())
    url = deployment.room_url(script.room)
    environment = {"MEETA_LEFT_ALONE_GRACE": "1", **folder_for_spool(tmp_path)}
    await script.open(people, url)
    async with recording(url, "--database-url", database_url, "--json", **environment) as recorder:
        await recorder.logged("in the room")
        await script.fill(people, url)
        await script.people[0].participant.wait_for_bridge_channel()
        await script.act(ACTS, deployment.stack)
        await script.end()
        assert await recorder.ended() == 0, recorder.talk
    summary = json.loads(recorder.printed)
    rows = await _stored(database_url)
    documents = [event_document(row) for row in rows]

    _compare(script, documents)
    _compare_speakers(script, documents, is_commanded=deployment.stack is not None)
    _validate(documents)
    _verify_chain(rows, summary)
    await _compare_projections(database_url, script)
    await _tell(database_url)


def _compare(script: Script, documents: list[dict[str, Any]]) -> None:
    for person in script.people:
        endpoint_id = person.participant.endpoint_id
        recorded = recorded_facts(documents, endpoint_id)
        for stream, facts in expected_facts(person.participant.log).items():
            assert recorded[stream] == facts, f"{stream} of {endpoint_id}, seed {script.seed}"
    types = [event["type"] for event in documents]
    for once in ("capture.started", "conference.joined", "meeting.ended", "capture.ended"):
        assert types.count(once) == 1
    assert types[-1] == "capture.ended"
    assert not _unknown_here(documents), "a type without a rule, though the library was made with it in view"


def _compare_speakers(script: Script, documents: list[dict[str, Any]], *, is_commanded: bool) -> None:
    """On the local stack they are named by command; elsewhere by a bridge, and the first one there heard it, too."""
    heard = script.speakers
    if not is_commanded:
        events = script.people[0].participant.events
        heard = [name for name, _ in groupby(event.args[0] for event in events if event.name == DOMINANT_SPEAKER)]
    recorded = [event["endpoint_id"] for event in documents if event["type"] == "dominant_speaker.changed"]
    assert recorded == (heard if is_commanded else heard[len(heard) - len(recorded) :])


def _unknown_here(documents: list[dict[str, Any]]) -> list[str]:
    """Origins kept raw that the hook did not name as unknown when it met the library: newer ones have more."""
    (hook,) = [event["payload"] for event in documents if event["type"] == "capture.hook_installed"]
    unknown = [event for event in documents if event["type"] == "unknown"]
    return [event["origin"] for event in unknown if event["origin"] not in hook["unknown_events"]]


def _validate(documents: list[dict[str, Any]]) -> None:
    """Every stored event is of the shape that ``meeta-bot schema`` prints."""
    validator = jsonschema.Draft202012Validator(json_schema())
    for document in documents:
        problems = [problem.message for problem in validator.iter_errors(document)]
        assert not problems, f"{document['type']}: {problems}"


def _verify_chain(rows: list[EventRow], summary: dict[str, Any]) -> None:
    """Numbers without a hole, digests that follow from what is stored, and the head that the recorder told."""
    assert [row.seq for row in rows] == list(range(1, summary["events"] + 1))
    digest = chain.GENESIS
    for row in rows:
        assert row.payload is not None
        assert row.salt is not None
        commitment = chain.commit(row.salt, chain.canonical_json(json.loads(row.payload)))
        assert commitment == row.commitment
        digest = chain.link(digest, envelope(row), commitment)
        assert digest == row.digest
    assert digest.hex() == summary["head_digest"]


async def _compare_projections(database_url: str, script: Script) -> None:
    async with reading(database_url) as reader:
        meeting = await reader.find_meeting("latest")
        visits = await reader.visits(meeting.capture_ids)
    assert meeting.state == "ended"
    assert meeting.people == len(NAMES)
    assert {visit.endpoint_id for visit in visits if visit.kind == "human"} == {
        person.participant.endpoint_id for person in script.people
    }
    first = script.people[0].participant.endpoint_id  # was there before the bot
    assert not any(visit.present for visit in visits)
    assert {visit.endpoint_id for visit in visits if visit.duration_is_lower_bound} == {first}
    before = await _projections(database_url)
    code, _, err = await run("db", "rebuild", "--database-url", database_url)
    assert code == 0, err
    assert await _projections(database_url) == before


async def _projections(database_url: str) -> dict[str, list[Any]]:
    connection = await asyncpg.connect(database_url)
    try:
        return {
            table: sorted(map(repr, await connection.fetch(f"SELECT * FROM meeta.{table}")))  # noqa: S608
            for table in ("captures", "meetings", "visits", "gaps")
        }
    finally:
        await connection.close()


async def _tell(database_url: str) -> None:
    """Every reading command answers, for a person and for a program, and shows hostile names harmlessly."""
    for command in ("meetings", "timeline", "participants", "events"):
        arguments = [] if command == "meetings" else ["latest"]
        code, out, err = await run(command, *arguments, "--database-url", database_url)
        assert code == 0, err
        assert out.strip()
        assert "\u202e" not in out
        code, out, err = await run(command, *arguments, "--json", "--database-url", database_url)
        assert code == 0, err
        # One document, written as it is read, or an object a line.
        assert all(json.loads(document) for document in ([out] if command == "timeline" else out.splitlines()))
