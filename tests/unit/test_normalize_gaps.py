"""Every interval in which something could not be seen has its gap, with bounds by both clocks, cause and evidence."""

from __future__ import annotations

from typing import Any

import pytest

from meeta_bot import events
from meeta_bot.capture.normalize import Message, normalize
from meeta_bot.events import CaptureGap, GapCause, Lost, Unknown
from tests.unit.capture import START, Capture, gaps, only, types


@pytest.fixture
def room() -> Capture:
    """The bot and alice, long since, with a bridge channel."""
    capture = Capture()
    capture.join("alice")
    capture.say("hook.bridge_heard", {"channel": "new"})
    capture.settle()
    return capture


def bounds(gap: CaptureGap) -> tuple[int | None, int | None]:
    """From and to by the capture's clock, once the wall clock is seen to agree."""
    assert gap.from_ms is not None
    assert gap.to_ms is not None
    assert (gap.from_at, gap.to_at) == (START + gap.from_ms, START + gap.to_ms)
    return gap.from_ms, gap.to_ms


def kind(gap: CaptureGap) -> tuple[str, str]:
    return gap.cause.value, gap.lost.value


def only_gap(found: list[events.Event]) -> CaptureGap:
    assert len(gaps(found)) == 1, types(found)
    return gaps(found)[0]


# --- signalling ----------------------------------------------------------------------------------------------------


def lose_signalling(capture: Capture, ago_ms: int = 40, evidence: str = "closed") -> list[events.Event]:
    return capture.say("hook.signalling_lost", {"ago_ms": ago_ms, "evidence": evidence})


def test_signalling_that_is_lost_is_told_at_once_with_the_last_word_of_the_server(room: Capture) -> None:
    lost = only(lose_signalling(room, 40, "silent"))
    assert lost.payload == events.SignallingLost(since_at=START + room.now - 40, evidence="silent")
    assert lose_signalling(room) == []


def test_a_session_that_goes_on_has_lost_nothing_but_time(room: Capture) -> None:
    lose_signalling(room)
    since = room.now - 40
    restored, gap = room.say("hook.signalling_back", after=900)
    assert restored.payload == events.SignallingRestored(down_ms=940)
    assert isinstance(gap.payload, CaptureGap)
    assert (kind(gap.payload), bounds(gap.payload)) == (("signalling_resumed", "nothing"), (since, room.now))
    assert gap.payload.evidence == (
        "from the last word of the server, whose connection is closed; until the session went on"
    )
    assert room.say("hook.signalling_back") == []


def test_signalling_that_comes_back_unlost_is_no_news(room: Capture) -> None:
    assert room.say("hook.signalling_back") == []
    assert room.state.counts.absorbed > 0


def test_who_leaves_while_the_session_is_interrupted_is_told_late_as_any_other(room: Capture) -> None:
    lose_signalling(room)
    left = only(room.leave("alice"))
    assert (left.type, left.inferred) == ("participant.left", False)


def test_signalling_that_ends_with_the_bot_s_own_leaving_is_not_lost(room: Capture) -> None:
    room.say("hook.leaving")
    assert lose_signalling(room) == []
    assert gaps(room.say("recorder.ended", {"reason": "operator"})) == []


def test_when_the_session_does_not_go_on_everything_is_lost_since_the_last_word(room: Capture) -> None:
    lose_signalling(room, 40)
    since = room.now - 40
    room.lose("put_out")
    gap = only_gap(room.arrive("alice"))
    assert (kind(gap), bounds(gap)) == (("signalling_lost", "everything"), (since, room.now))


def test_signalling_of_a_new_stay_that_comes_back_is_no_sight_of_the_room(room: Capture) -> None:
    room.lose()
    assert types(lose_signalling(room)) == ["signalling.lost"]
    assert types(room.say("hook.signalling_back")) == ["signalling.restored"]
    assert gaps(room.join("alice")) == []  # the gap came with alice
    assert len(gaps(room.events)) == 1


# --- the stay in the room ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cause", ["page_crashed", "page_hung", "browser_crashed", "signalling_lost", "put_out"])
def test_a_lost_stay_is_told_at_once_and_its_gap_at_the_first_sign_of_the_room(cause: str, room: Capture) -> None:
    lost = only(room.lose(cause, ago_ms=70))
    since = room.now - 70
    assert lost.payload == events.CaptureReconnecting(cause=GapCause(cause), attempt=1, detail="d")
    assert not room.state.in_conference
    gap = only_gap(room.arrive("alice"))
    assert (kind(gap), bounds(gap)) == ((cause, "everything"), (since, room.now))
    assert gap.evidence == "from the last sign; until the first sign of the room"
    assert gaps(room.join(own="b1")) == []


def test_a_try_that_fails_prolongs_the_gap_of_the_first_cause(room: Capture) -> None:
    room.lose("browser_crashed")
    since = room.now
    again = only(room.lose("signalling_lost", attempt=2))
    assert isinstance(again.payload, events.CaptureReconnecting)
    assert again.payload.attempt == 2
    gap = only_gap(room.join())
    assert (kind(gap), bounds(gap)) == (("browser_crashed", "everything"), (since, room.now))


def test_a_later_cause_with_an_earlier_beginning_is_the_cause(room: Capture) -> None:
    lose_signalling(room, 0)
    room.lose("page_hung", ago_ms=4000)
    since = room.now - 4000
    gap = only_gap(room.join())
    assert (gap.cause, bounds(gap)) == (GapCause.PAGE_HUNG, (since, room.now))


def test_a_stay_that_ends_unasked_is_a_gap(room: Capture) -> None:
    assert types(room.leave("alice", with_our_own=True)) == []
    assert types(room.say("conference.left")) == ["conference.left"]
    since = room.now
    gap = only_gap(room.join())
    assert (kind(gap), bounds(gap)) == (("put_out", "everything"), (since, room.now))


def test_a_stay_that_ends_on_purpose_is_none(room: Capture) -> None:
    room.say("hook.leaving")
    room.say("conference.left")
    assert types(room.say("recorder.ended", {"reason": "operator"})) == ["capture.ended"]


def test_a_page_that_is_only_malformed_is_no_sign_of_the_room(room: Capture) -> None:
    room.lose()
    assert isinstance(only(room.say("conference.userJoined", "alice", "who?")).payload, Unknown)
    assert room.state.blind is not None


@pytest.mark.parametrize("jump_ms", [-60_000, 60_000])
def test_a_gap_over_a_jump_of_the_wall_clock_ends_after_it_begins(jump_ms: int, room: Capture) -> None:
    room.lose()
    lost_at = START + room.now
    now = room.now + 1000
    said = Message("conference.joined", [{"endpoint_id": "b1"}], START + now + jump_ms, now)
    gap = only_gap(normalize(room.state, said)[1])
    assert (gap.from_ms, gap.to_ms, gap.to_at) == (room.now, now, START + now + jump_ms)
    assert gap.from_at == (gap.to_at - 1000 if jump_ms < 0 else lost_at)


# --- before the first stay -----------------------------------------------------------------------------------------


MEMBERS_ONLY = "conference.connectionError.membersOnly"


def test_waiting_in_the_lobby_is_a_gap_until_the_room_is_seen() -> None:
    capture = Capture()
    assert types(capture.say("conference.failed", MEMBERS_ONLY)) == ["capture.lobby_waiting"]
    since = capture.now
    found = capture.arrive("alice")
    gap = only_gap(found)
    assert (kind(gap), bounds(gap)) == (("not_admitted", "everything"), (since, capture.now))
    assert found[1].initial
    assert not found[1].inferred


def test_who_is_never_let_in_has_a_gap_to_the_end() -> None:
    capture = Capture()
    capture.say("conference.failed", MEMBERS_ONLY)
    since = capture.now
    capture.say("conference.failed", "conference.connectionError.accessDenied")
    gap, ended = capture.say("recorder.ended", {"reason": "lobby_denied"})
    assert ended.type == "capture.ended"
    assert bounds(only_gap([gap])) == (since, capture.now)


@pytest.mark.parametrize("created_first", [True, False])
def test_who_comes_late_has_a_gap_since_the_room_was_made(created_first: bool) -> None:
    capture = Capture()
    created = ("conference.createdTimestamp", str(START - 60_000))
    if created_first:
        capture.say(*created)
    capture.join("alice")
    joined_ms = capture.now
    if not created_first:
        capture.say(*created)
    gap = only_gap(capture.events)
    assert (kind(gap), bounds(gap)) == (("late_join", "everything"), (-60_000, joined_ms))


def test_who_is_first_is_not_late_nor_is_who_comes_back() -> None:
    capture = Capture()
    capture.say("conference.createdTimestamp", str(START - 5))
    capture.join()
    capture.arrive("alice")
    capture.lose()
    capture.join("alice", own="b1")
    capture.say("conference.createdTimestamp", str(START - 3))
    assert [gap.cause for gap in gaps(capture.events)] == [GapCause.PAGE_CRASHED]


# --- the bridge channel --------------------------------------------------------------------------------------------


def lose_bridge(capture: Capture, ago_ms: int = 1500, evidence: str = "silent") -> list[events.Event]:
    return capture.say("hook.bridge_lost", {"ago_ms": ago_ms, "evidence": evidence})


def hear_bridge(capture: Capture, channel: str = "new") -> list[events.Event]:
    return capture.say("hook.bridge_heard", {"channel": channel})


@pytest.mark.parametrize(
    ("evidence", "cause"),
    [
        ("closed", "bridge_channel_closed"),
        ("silent", "bridge_unheard"),
        ("mute", "bridge_unheard"),
        ("unopened", "bridge_unheard"),
        ("uninvited", "bridge_unheard"),
    ],
)
def test_what_the_bridge_told_is_missed_from_its_last_word_to_the_next(
    evidence: str, cause: str, room: Capture
) -> None:
    lost = only(lose_bridge(room, 1500, evidence))
    since = room.now - 1500
    assert lost.payload == events.BridgeLost(since_at=START + since, evidence=evidence)
    gap, restored, opened = hear_bridge(room)
    assert isinstance(gap.payload, CaptureGap)
    assert (kind(gap.payload), bounds(gap.payload)) == ((cause, "bridge_only"), (since, room.now))
    assert restored.payload == events.BridgeRestored(down_ms=room.now - since)
    assert opened.payload == events.BridgeChannelOpened()


def test_a_bridge_that_answers_at_last_has_no_new_channel(room: Capture) -> None:
    lose_bridge(room)
    assert types(hear_bridge(room, "same")) == ["capture.gap", "bridge.restored"]


def test_a_channel_that_opens_is_not_one_that_is_heard(room: Capture) -> None:
    lose_bridge(room, 5000, "unopened")
    assert room.say("conference.dataChannelOpened") == []
    assert room.state.bridge_blind is not None


@pytest.mark.parametrize("closing", ["conference.dataChannelClosed", "hook.bridge_closed"])
def test_a_closed_channel_is_told_once_and_missed_since_the_last_word(closing: str, room: Capture) -> None:
    lose_bridge(room, 1500, "closed")
    since = room.now - 1500
    assert types(room.say(closing)) == ["bridge_channel.closed"]
    assert room.say("conference.dataChannelClosed") == room.say("hook.bridge_closed") == []
    assert bounds(only_gap(hear_bridge(room))) == (since, room.now)


def test_the_library_is_believed_where_the_hook_does_not_hear_the_bridge_itself(room: Capture) -> None:
    room.say("conference.dataChannelClosed")
    since = room.now
    assert bounds(only_gap(hear_bridge(room))) == (since, room.now)


def test_an_earlier_last_word_is_the_beginning(room: Capture) -> None:
    room.say("conference.dataChannelClosed")
    lose_bridge(room, 2500, "closed")
    since = room.now - 2500
    assert bounds(only_gap(hear_bridge(room))) == (since, room.now)


def test_a_bridge_that_is_not_heard_is_missed_by_nobody_until_somebody_comes() -> None:
    capture = Capture()
    capture.join()
    assert lose_bridge(capture, 10_000, "uninvited") == []
    capture.settle()
    capture.arrive("alice")
    since = capture.now
    gap = only_gap(hear_bridge(capture))
    assert (kind(gap), bounds(gap)) == (("bridge_unheard", "bridge_only"), (since, capture.now))


def test_it_is_missed_no_longer_when_nobody_is_there_any_more(room: Capture) -> None:
    lose_bridge(room)
    since = room.now - 1500
    room.leave("alice")
    gap = only_gap(room.say("hook.bridge_idle"))
    assert (bounds(gap), gap.evidence) == (
        (since, room.now),
        "from its last word, its channel is open and a question was not answered; until nobody was there any more",
    )
    room.arrive("ben")
    assert gaps(hear_bridge(room)) == []


def test_each_half_of_what_a_return_brings_back_has_its_own_end(room: Capture) -> None:
    room.lose("put_out")
    room.arrive("alice")
    whole = only_gap(room.events)
    assert whole.lost.value == "everything"
    room.join()
    bridge = only_gap(hear_bridge(room))
    assert (kind(bridge), bridge.from_ms) == (("bridge_unheard", "bridge_only"), whole.to_ms)


def test_a_return_to_a_room_in_which_nobody_is_left_misses_no_bridge(room: Capture) -> None:
    room.lose("put_out")
    room.join()
    assert gaps(hear_bridge(room)) == []


def test_a_bridge_is_not_missed_when_the_bot_leaves(room: Capture) -> None:
    room.say("hook.leaving")
    assert lose_bridge(room) == []


def test_a_channel_that_is_closed_when_nobody_is_there_misses_nothing(room: Capture) -> None:
    room.leave("alice")
    room.say("conference.dataChannelClosed")
    assert types(room.say("hook.bridge_heard", {"channel": "new"})) == ["bridge_channel.opened"]


def test_the_loss_of_the_room_closes_over_that_of_the_bridge(room: Capture) -> None:
    room.say("conference.dataChannelClosed")
    bridge_since = room.now
    room.lose(ago_ms=30)
    since = room.now - 30
    room.arrive("alice")
    bridge, whole = gaps(room.events)
    assert (kind(bridge), bounds(bridge)) == (("bridge_channel_closed", "bridge_only"), (bridge_since, since))
    assert (kind(whole), bounds(whole)) == (("page_crashed", "everything"), (since, room.now))
    assert types(hear_bridge(room)) == ["capture.gap", "bridge_channel.opened"]  # the bridge's half of the return


def test_a_channel_that_breaks_with_its_stay_has_no_gap_of_its_own(room: Capture) -> None:
    lose_signalling(room)
    room.say("conference.dataChannelClosed")
    room.lose()
    room.say("hook.bridge_closed")
    assert only_gap(room.join()).lost is Lost.EVERYTHING


def test_a_channel_that_breaks_while_signalling_is_away_stays_broken_when_that_is_back(room: Capture) -> None:
    lose_signalling(room)
    room.say("conference.dataChannelClosed")
    since = room.now
    room.say("hook.signalling_back")
    gap = only_gap(room.say("hook.bridge_heard", {"channel": "new"}))
    assert (kind(gap), bounds(gap)) == (("bridge_channel_closed", "bridge_only"), (since, room.now))


# --- the end -------------------------------------------------------------------------------------------------------


def test_whatever_is_out_of_view_at_the_end_has_its_gap_before_the_last_event(room: Capture) -> None:
    room.say("conference.dataChannelClosed")
    bridge_since = room.now
    lose_signalling(room, 0)
    since = room.now
    found = room.say("recorder.ended", {"reason": "reconnect_exhausted"})
    assert types(found) == ["capture.gap", "capture.gap", "capture.ended"]
    assert [bounds(gap) for gap in gaps(found)] == [(bridge_since, since), (since, room.now)]
    ended = found[-1].payload
    assert isinstance(ended, events.CaptureEnded)
    assert ended.events == len(room.events) - 1


def test_a_bridge_that_is_not_heard_at_the_end_has_its_gap(room: Capture) -> None:
    room.say("conference.dataChannelClosed")
    gap = only_gap(room.say("recorder.ended", {"reason": "operator"}))
    assert gap.evidence == "from the closing of its channel; until the end of the capture"


def test_the_gap_of_a_killed_process_goes_on_where_the_one_that_was_open_ends(room: Capture) -> None:
    room.lose(ago_ms=50)
    since, touched = room.now - 50, room.now
    killed = {"cause": "process_killed", "lost": "everything", "from_at": START + touched, "to_at": START + touched + 9}
    room.say("recorder.gap", {**killed, "evidence": None, "missed": None}, after=0)
    room.say("recorder.ended", {"reason": "process_killed"}, after=0)
    kill, blind = gaps(room.events)
    assert (kill.cause, bounds(kill)) == (GapCause.PROCESS_KILLED, (touched, touched + 9))
    assert (blind.cause, bounds(blind)) == (GapCause.PAGE_CRASHED, (since, touched))


# --- gaps whose both ends are told ---------------------------------------------------------------------------------


def test_an_overflow_of_the_page_is_a_gap(room: Capture) -> None:
    found = only(room.say("hook.overflow", {"missed": 7, "from_at": START + 1, "to_at": START + 9}))
    assert found.payload == CaptureGap(
        cause=GapCause.PAGE_BUFFER_OVERFLOW,
        lost=Lost.EVERYTHING,
        from_at=START + 1,
        to_at=START + 9,
        evidence="counted by the page",
        missed=7,
        from_ms=1,
        to_ms=9,
    )


def test_a_damaged_spool_is_a_gap_with_a_count(room: Capture) -> None:
    gap = only_gap(room.say("recorder.damaged", {"missed": 4, "evidence": "a torn tail", "ago_ms": 500}))
    assert (kind(gap), bounds(gap)) == (("spool_damaged", "everything"), (room.now - 500, room.now))
    assert (gap.missed, gap.evidence) == (4, "a torn tail")


@pytest.mark.parametrize("cause", list(GapCause))
def test_every_cause_can_be_told_by_the_recorder(cause: GapCause, room: Capture) -> None:
    given = {"cause": cause.value, "lost": "bridge_only", "ago_ms": 5, "evidence": "e", "missed": 3}
    gap = only_gap(room.say("recorder.gap", given))
    assert (kind(gap), gap.evidence, gap.missed) == ((cause.value, "bridge_only"), "e", 3)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"ago_ms": 500, "until_ago_ms": 200}, (5400 - 500, 5400 - 200)),
        ({"ago_ms": 500.9}, (5400 - 500, 5400)),
        ({"from_at": START + 1, "until_ago_ms": 10}, (1, 5390)),
        ({"from_at": START + 100, "to_at": START + 300}, (100, 300)),
        ({"from_at": START - 100, "to_at": START + 300}, (-100, 300)),
    ],
)
def test_a_gap_of_the_recorder_has_the_bounds_that_it_was_given(
    given: dict[str, Any], expected: tuple[int, int], room: Capture
) -> None:
    gap = only_gap(room.say("recorder.gap", {"cause": "spool_full", "lost": "everything", **given}))
    assert room.now == 5400
    assert bounds(gap) == expected


@pytest.mark.parametrize(
    "given",
    [
        {"cause": "put_out", "lost": "everything"},
        {"cause": "boredom", "lost": "everything", "ago_ms": 1},
        {"cause": "put_out", "lost": "everything", "ago_ms": -1},
    ],
)
def test_a_gap_that_makes_no_sense_is_kept_as_unknown(given: dict[str, Any], room: Capture) -> None:
    assert isinstance(only(room.say("recorder.gap", given)).payload, Unknown)


def test_a_gap_that_ends_before_it_begins_has_no_length(room: Capture) -> None:
    gap = only_gap(room.say("hook.overflow", {"missed": 1, "from_at": START + 9, "to_at": START + 1}))
    assert bounds(gap) == (1, 1)


# --- standstills ---------------------------------------------------------------------------------------------------


def stand_still(capture: Capture, ms: int, lost: str) -> list[events.Event]:
    given = {"ms": ms, "suspended_ms": 0, "lost": lost, "evidence": "looked late"}
    return capture.say("recorder.stood_still", given, after=ms)


def sleep(capture: Capture, ms: int, after: int = 10) -> list[events.Event]:
    now = START + capture.now + after
    return capture.say("hook.slept", {"from_at": now - ms, "to_at": now, "ms": ms}, after=after)


@pytest.mark.parametrize("lost", ["everything", "nothing"])
def test_a_process_that_stood_still_is_a_gap(lost: str, room: Capture) -> None:
    gap = only_gap(stand_still(room, 60_000, lost))
    assert (kind(gap), bounds(gap)) == (("host_suspended", lost), (room.now - 60_000, room.now))
    assert gap.evidence == "looked late"


def test_a_page_that_stood_still_lost_everything_if_it_was_in_the_room(room: Capture) -> None:
    gap = only_gap(sleep(room, 60_000, after=60_000))
    assert (kind(gap), bounds(gap)) == (("host_suspended", "everything"), (room.now - 60_000, room.now))
    joining = Capture()
    assert kind(only_gap(sleep(joining, 60_000, after=60_000))) == ("host_suspended", "nothing")


def test_a_page_that_stood_still_beside_a_living_recorder_hung(room: Capture) -> None:
    room.say("recorder.heartbeat", after=30_000)
    assert kind(only_gap(sleep(room, 60_000, after=30_000))) == ("page_hung", "everything")
    room.say("recorder.heartbeat", after=60_000)
    assert kind(only_gap(sleep(room, 60_000))) == ("host_suspended", "everything")  # it beat when all woke up


def test_a_standstill_that_page_and_process_tell_is_one_gap(room: Capture) -> None:
    stand_still(room, 60_000, "everything")
    assert sleep(room, 64_000) == []
    sleep(room, 50_000, after=200_000)
    assert stand_still(room, 1, "nothing") == []
    assert len(gaps(room.events)) == 2


def test_a_page_that_lost_more_than_the_process_is_told_beside_it(room: Capture) -> None:
    stand_still(room, 60_000, "nothing")
    assert kind(only_gap(sleep(room, 61_000))) == ("host_suspended", "everything")


def test_the_next_standstill_is_told_again(room: Capture) -> None:
    sleep(room, 60_000)
    assert kind(only_gap(sleep(room, 60_000, after=60_000))) == ("host_suspended", "everything")


def test_who_waits_at_the_door_of_a_running_meeting_has_one_gap_for_each_moment() -> None:
    capture = Capture()
    capture.now = 10_000
    capture.say("conference.failed", "conference.connectionError.membersOnly", "lobby@x", False)
    refused_ms = capture.now
    capture.now += 20_000
    capture.join("alice")
    capture.say("conference.createdTimestamp", str(START - 60_000))
    late, waiting = sorted(gaps(capture.events), key=lambda gap: gap.from_at)
    assert (late.cause, late.from_ms, late.to_ms) == (GapCause.LATE_JOIN, -60_000, refused_ms)
    assert (waiting.cause, waiting.from_ms) == (GapCause.NOT_ADMITTED, refused_ms)
    assert late.to_at == waiting.from_at


def test_a_meeting_that_began_while_the_bot_waited_has_the_wait_alone() -> None:
    capture = Capture()
    capture.now = 10_000
    capture.say("conference.failed", "conference.connectionError.membersOnly", "lobby@x", True)
    capture.now += 20_000
    capture.join("alice")
    capture.say("conference.createdTimestamp", str(START + 15_000))
    assert [gap.cause for gap in gaps(capture.events)] == [GapCause.NOT_ADMITTED]
