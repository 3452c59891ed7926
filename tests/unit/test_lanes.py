"""Gaps of a capture as readers show them: bounds from either clock, what is still open, what covers what."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from meeta_bot.reading.lanes import Gap, GapBuilder, Interval, Lane, LaneBuilder, merged, total_ms

BEGAN_MS = 1_700_000_000_000


class Happening(msgspec.Struct):
    """A stored event, as lanes read one."""

    type: str
    monotonic_ms: int
    payload: dict[str, Any] | None = None
    endpoint_id: str | None = None


def happening(event_type: str, ms: int, wall_ms: int | None = None, **payload: Any) -> tuple[Happening, int]:
    """Return an event and its wall clock, which goes with the monotonic one unless it is given."""
    return Happening(event_type, ms, payload), BEGAN_MS + (ms if wall_ms is None else wall_ms)


def gap(ms: int, begin: int, end: int, cause: str = "put_out", lost: str = "everything") -> tuple[Happening, int]:
    """Return a gap with both clocks, recorded at `ms`."""
    bounds: dict[str, Any] = {"from_ms": begin, "to_ms": end, "from_at": BEGAN_MS + begin, "to_at": BEGAN_MS + end}
    return happening("capture.gap", ms, cause=cause, lost=lost, **bounds)


def gaps(story: list[tuple[Happening, int]]) -> list[Gap]:
    builder = GapBuilder()
    for event, wall_ms in story:
        builder.feed(event, wall_ms)
    return builder.finish()


def lanes(story: list[Happening]) -> list[Lane]:
    builder = LaneBuilder()
    for event in story:
        builder.feed(event)
    return builder.finish()


def spans(found: list[Gap]) -> list[tuple[int, int, str | None, bool]]:
    return [(one.start_ms, one.end_ms, one.lost, one.is_open) for one in found]


def test_the_monotonic_clock_counts_where_it_was_happening() -> None:
    jumped: dict[str, Any] = {
        "from_at": BEGAN_MS - 3_600_000,
        "to_at": BEGAN_MS,
        "cause": "put_out",
        "lost": "everything",
    }
    both = happening("capture.gap", 9000, from_ms=5000, to_ms=8500, **jumped)
    assert spans(gaps([both])) == [(5000, 8500, "everything", False)]


def test_a_gap_of_an_older_recorder_is_placed_by_the_clocks_of_its_event() -> None:
    old = happening(
        "capture.gap", 9000, 20_000, cause="process_killed", from_at=BEGAN_MS + 15_000, to_at=BEGAN_MS + 19_000
    )
    assert spans(gaps([old])) == [(4000, 8000, None, False)]


@pytest.mark.parametrize("payload", [{}, {"from_at": "x", "to_at": 1}, {"from_ms": 1, "to_ms": "x"}, {"from_ms": 1}])
def test_a_gap_whose_bounds_can_not_be_known_is_no_interval(payload: dict[str, Any]) -> None:
    assert gaps([happening("capture.gap", 1, **payload), (Happening("capture.gap", 1, None), BEGAN_MS)]) == []


def test_an_outage_that_goes_on_is_open_from_the_last_sign_of_the_server() -> None:
    lost = happening("signalling.lost", 9000, since_at=BEGAN_MS + 4000, evidence="silent")
    again = happening("capture.reconnecting", 9500, cause="signalling_lost")
    assert spans(gaps([lost, again, happening("capture.heartbeat", 12_000)])) == [(4000, 12_000, "everything", True)]


def test_its_gap_closes_an_outage_and_another_one_does_not() -> None:
    lost = happening("capture.reconnecting", 9000, cause="page_crashed")
    other = gap(9500, 1000, 2000, "page_buffer_overflow")
    half = gap(9600, 8000, 9600, "bridge_channel_closed", "bridge_only")
    assert [one.is_open for one in gaps([lost, other, half])] == [False, False, True]
    assert [one.is_open for one in gaps([lost, other, half, gap(11_000, 8800, 11_000)])] == [False, False, False]
    assert gaps([lost, happening("capture.ended", 9000)]) == []  # which can't be: verify refutes it


def test_the_bridge_channel_is_half_of_it() -> None:
    closed = happening("bridge_channel.closed", 3000)
    assert spans(gaps([closed, happening("audio.muted", 5000)])) == [(3000, 5000, "bridge_only", True)]
    assert gaps([closed, happening("bridge_channel.opened", 5000)]) == []
    assert spans(gaps([closed, gap(9000, 2500, 9000)])) == [(2500, 9000, "everything", False)]


def test_moments_in_several_gaps_count_once() -> None:
    found = gaps([gap(9, 5, 9), gap(10, 1, 6), gap(30, 20, 30), gap(31, 21, 22)])
    assert merged(found) == [Interval(1, 9), Interval(20, 30)]
    assert total_ms(merged(found)) == 18


def test_a_departure_that_was_found_later_ends_everything_at_the_beginning_of_the_gap() -> None:
    story = [
        Happening("participant.joined", 1000, {"display_name": "Ada"}, "a"),
        Happening("audio.unmuted", 2000, {}, "a"),
        Happening("hand.raised", 6000, {}, "a"),  # what the page had not handed over: later than the last certain sign
        Happening("capture.gap", 9000, {}),
        Happening("participant.left", 5000, {"cause": "unseen"}, "a"),
        Happening("capture.ended", 12_000, {}),
    ]
    [lane] = lanes(story)
    assert (lane.present, lane.audio, lane.hand) == (
        [Interval(1000, 5000)],
        [Interval(2000, 5000)],
        [Interval(6000, 6000)],
    )


def test_who_is_in_a_breakout_room_is_present_and_out_of_sight() -> None:
    happened = [
        Happening("participant.joined", 0, {}, "a"),
        Happening("audio.unmuted", 10, {}, "a"),
        Happening("dominant_speaker.changed", 20, {}, "a"),
        Happening("participant.moved_to_breakout", 100, {"breakout_id": "b-1"}, "a"),
        Happening("participant.moved_to_breakout", 150, {"breakout_id": "b-2"}, "a"),
        Happening("participant.returned", 200, {}, "a"),
        Happening("audio.unmuted", 220, {}, "a"),
        Happening("participant.moved_to_breakout", 250, {"breakout_id": "b-1"}, "a"),
        Happening("participant.left", 300, {}, "a"),
    ]
    [lane] = lanes(happened)
    assert lane.present == [Interval(0, 300)]
    assert lane.breakout == [Interval(100, 200), Interval(250, 300)]
    assert lane.audio == [Interval(10, 100), Interval(220, 250)]
    assert lane.speaking == [Interval(20, 100)]
