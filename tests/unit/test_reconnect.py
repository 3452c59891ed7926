"""How soon and how often a bot tries to get back into a room that it lost."""

from __future__ import annotations

import pytest

from meeta_bot import settings
from meeta_bot.capture.reconnect import Reconnect
from meeta_bot.events import EndReason, GapCause


def reconnect(**values: float) -> Reconnect:
    return Reconnect(settings.load(values))


def test_the_first_try_comes_at_once_and_pauses_double_up_to_the_longest() -> None:
    one = reconnect(reconnect_pause_initial=0.5, reconnect_pause_max=3)
    pauses = [one.lost(GapCause.SIGNALLING_LOST, 1000 * second) for second in range(6)]
    assert pauses == [0, 0.5, 1, 2, 3, 3]
    assert one.attempts == 6


def test_who_is_back_begins_anew() -> None:
    one = reconnect(reconnect_timeout=10)
    one.lost(GapCause.SIGNALLING_LOST, 0)
    one.lost(GapCause.SIGNALLING_LOST, 1000)
    one.back()
    assert one.attempts == 0
    assert one.lost(GapCause.SIGNALLING_LOST, 60_000) == 0
    assert one.left_ms(65_000) == 5000


def test_who_is_not_back_in_time_gives_up() -> None:
    one = reconnect(reconnect_timeout=10, reconnect_pause_initial=1)
    assert one.lost(GapCause.SIGNALLING_LOST, 0) == 0
    assert one.lost(GapCause.SIGNALLING_LOST, 8_900) == 1
    assert one.lost(GapCause.SIGNALLING_LOST, 9_000) is EndReason.RECONNECT_EXHAUSTED
    assert one.left_ms(11_000) == 0


@pytest.mark.parametrize(
    ("cause", "reason"),
    [
        (GapCause.PAGE_CRASHED, EndReason.PAGE_CRASHED),
        (GapCause.PAGE_HUNG, EndReason.PAGE_CRASHED),
        (GapCause.BROWSER_CRASHED, EndReason.BROWSER_CRASHED),
    ],
)
def test_crashes_again_and_again_end_a_capture_however_quickly_it_is_back(cause: GapCause, reason: EndReason) -> None:
    one = reconnect(crashes_limit=3, crashes_window=60)
    for second in (0, 10):
        assert one.lost(cause, second * 1000) == 0
        one.back()
    assert one.lost(cause, 60_000) is reason


def test_old_crashes_are_forgiven_and_lost_signalling_is_no_crash() -> None:
    one = reconnect(crashes_limit=3, crashes_window=60)
    for second in (0, 10, 61, 122, 183):
        assert one.lost(GapCause.PAGE_CRASHED, second * 1000) == 0
        one.back()
        assert one.lost(GapCause.SIGNALLING_LOST, second * 1000) == 0
        one.back()
