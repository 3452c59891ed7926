"""When a bot leaves because of who is in the room: from states as the normalizer makes them."""

from __future__ import annotations

from typing import Any

from meeta_bot import room_address
from meeta_bot.capture.departure import Departure, next_departure
from meeta_bot.capture.request import request_for
from meeta_bot.events import EndReason
from tests.unit.builders import settings
from tests.unit.capture import Capture

ADDRESS = room_address.parse("https://meet.example.org/Standup")
TIMES: dict[str, Any] = {"left_alone_grace": 60, "nobody_came_timeout": 900, "max_duration": None}


def departure(capture: Capture, after: int = 0, **changes: Any) -> Departure | None:
    """What is due so many milliseconds after the newest message."""
    return next_departure(capture.state, capture.now + after, request_for(ADDRESS, settings(**{**TIMES, **changes})))


def test_in_company_the_bot_stays() -> None:
    capture = Capture()
    capture.join("alice")
    assert departure(capture, after=10**9) is None


def test_before_it_is_in_the_room_nobody_can_be_missing() -> None:
    assert departure(Capture(), after=10**9) is None


def test_where_nobody_came_it_waits_longer_than_where_the_last_one_left() -> None:
    empty, left = Capture(), Capture()
    empty.join()
    left.join("alice")
    left.leave("alice")
    assert departure(empty) == (900, EndReason.NOBODY_CAME)
    assert departure(left, after=10_000) == (50, EndReason.LEFT_ALONE)


def test_another_bot_is_no_company() -> None:
    capture = Capture()
    capture.join("alice")
    capture.arrive("b07", bot_type="meeta_bot")
    capture.leave("alice")
    assert departure(capture) == (60, EndReason.ONLY_BOTS_LEFT)


def test_who_comes_back_in_time_is_company_again() -> None:
    capture = Capture()
    capture.join("alice")
    capture.leave("alice")
    capture.arrive("a11ce")
    assert departure(capture, after=10**9) is None


def test_while_the_room_is_lost_nobody_knows_who_is_there() -> None:
    capture = Capture()
    capture.join("alice")
    capture.leave("alice")
    capture.lose()
    assert departure(capture, after=10**9) is None


def test_the_longest_duration_counts_from_the_start_and_the_first_reason_wins() -> None:
    capture = Capture()
    capture.join()
    assert departure(capture, after=1000, max_duration=100) == (100 - 1 - capture.now / 1000, EndReason.MAX_DURATION)
    assert departure(capture, max_duration=5000) == (900, EndReason.NOBODY_CAME)
    assert departure(capture, after=900_000) == (0, EndReason.NOBODY_CAME)
