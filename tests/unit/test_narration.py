"""Events in words: every type, every cause of a gap, and texts of others that want to harm a terminal."""

from __future__ import annotations

from typing import Any

import pytest

from meeta_bot.events import CATALOG, GapCause, Lost
from meeta_bot.reading import narration
from meeta_bot.reading.lanes import Gap


def say(event_type: str, **payload: Any) -> str:
    return narration.sentence(event_type, payload, "a", lambda who: {"a": "Ada", "b": "Bo"}.get(who or "", "somebody"))


@pytest.mark.parametrize(
    ("event_type", "payload", "words"),
    [
        ("signalling.lost", {"evidence": "closed"}, "signalling lost: the connection broke"),
        ("signalling.lost", {"evidence": "silent"}, "signalling lost: nothing arrives from the server any more"),
        (
            "signalling.restored",
            {"down_ms": 12_000},
            "signalling is back after 0:12: what was sent meanwhile comes late",
        ),
        ("signalling.restored", {}, "signalling is back: what was sent meanwhile comes late"),
        (
            "capture.reconnecting",
            {"cause": "page_crashed", "attempt": 1, "detail": "the page's process died"},
            "the bot lost the room and tries to get back: its page crashed (the page's process died)",
        ),
        ("capture.clock_jumped", {"jump_ms": -3_600_000}, "this machine's clock was set back by 1:00:00"),
        ("capture.clock_jumped", {"jump_ms": 5000}, "this machine's clock was set forward by 0:05"),
        ("participant.left", {"cause": "unseen", "duration_ms": 119_000}, "Ada was gone after 1:59 or more"),
        ("participant.left", {"cause": "unseen"}, "Ada was gone"),
        (
            "participant.left",
            {"cause": "lost", "duration_ms": 119_000, "silent_ms": 61_000},
            "Ada lost the connection after 1:59, last heard of 1:01 before",
        ),
        ("participant.left", {"cause": "lost"}, "Ada lost the connection"),
        ("conference.failed", {"error": "conference.iceFailed"}, "the bot's media path to the bridge failed"),
        ("conference.failed", {"error": "conference.max_users", "details": ["x", {}]}, "the room is full (x)"),
        ("conference.failed", {"error": "conference.new", "details": []}, "the conference failed: conference.new"),
        ("participant.left", {"cause": "left", "duration_ms": 119_000}, "Ada left after 1:59"),
        ("capture.gap", {"cause": "late_join"}, "COULD NOT SEE for an unknown time: the bot came later than others"),
    ],
)
def test_sentences(event_type: str, payload: dict[str, Any], words: str) -> None:
    assert say(event_type, **payload) == words


def gap(**changes: Any) -> Gap:
    fields = {"start_ms": 60_000, "end_ms": 102_500, "cause": "page_crashed", "lost": "everything"}
    return Gap(**{**fields, **changes})


def moment(ms: int) -> str:
    return f"{ms} ms"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "COULD NOT SEE for 0:42, 60000 ms to 102500 ms: its page crashed; what happened then is unknown"),
        (
            {"missed": 17, "evidence": "counted\x1b[2J by the page", "cause": "page_buffer_overflow", "end_ms": 60_200},
            "COULD NOT SEE for 0.2 s, 60000 ms to 60200 ms: more came than its page could hold; what happened then is"
            " unknown, 17 messages were lost (counted [2J by the page)",
        ),
        (
            {"lost": "bridge_only", "cause": "bridge_channel_closed"},
            "COULD NOT HEAR for 0:42, 60000 ms to 102500 ms: the bridge channel was closed; who spoke then is unknown",
        ),
        (
            {"lost": "nothing", "cause": "signalling_resumed"},
            "WAS DELAYED for 0:42, 60000 ms to 102500 ms: signalling was interrupted; nothing was lost",
        ),
        (
            {"is_open": True, "cause": None, "lost": None},
            "COULD NOT SEE for 0:42, since 60000 ms: unknown; what happened then is unknown",
        ),
    ],
)
def test_gaps_have_bounds_length_cause_loss_and_evidence(changes: dict[str, Any], words: str) -> None:
    assert narration.gap_sentence(gap(**changes), moment) == words


@pytest.mark.parametrize("cause", GapCause)
def test_every_cause_has_words_of_its_own(cause: GapCause) -> None:
    others = {narration.cause_words(other) for other in GapCause if other is not cause}
    words = narration.cause_words(cause)
    assert "_" not in words
    assert words not in others
    assert words != cause.value.replace("_", " ")


def test_every_loss_has_words_of_its_own() -> None:
    assert len({narration.gap_sentence(gap(lost=lost.value), moment) for lost in Lost}) == len(Lost)


def test_every_type_has_a_sentence_or_is_a_detail() -> None:
    bare = {name for name in CATALOG if say(name).removeprefix("Ada: ").startswith(name)}
    assert bare <= narration.DETAILS


# JitsiConferenceErrors of lib-jitsi-meet in December 2021 and in August 2026.
CONFERENCE_ERRORS = [
    "authenticationRequired",
    "chatError",
    "connectionError",
    "connectionError.accessDenied",
    "connectionError.membersOnly",
    "connectionError.notAllowed",
    "destroyed",
    "display_name_required",
    "focusDisconnected",
    "focusLeft",
    "gracefulShutdown",
    "iceFailed",
    "incompatible_server_versions",
    "max_users",
    "offerAnswerFailed",
    "passwordNotSupported",
    "passwordRequired",
    "redirected",
    "reservationError",
    "settingsError",
    "videobridgeNotAvailable",
]


@pytest.mark.parametrize("error", CONFERENCE_ERRORS)
def test_every_failure_of_the_conference_is_told_as_what_it_is(error: str) -> None:
    told = say("conference.failed", error=f"conference.{error}")
    assert "conference." not in told
    assert "refused: " not in told
