"""Every tape gives the events that are written down beside it."""

from __future__ import annotations

import pytest

from meeta_bot.events import Unknown
from tests import tapes


@pytest.mark.parametrize("name", tapes.names())
def test_a_tape_gives_the_expected_events(name: str) -> None:
    _, found = tapes.replay(name)
    assert [tapes.as_line(event) for event in found] == tapes.read_events(name)


@pytest.mark.parametrize("name", tapes.names())
def test_the_books_of_a_tape_balance(name: str) -> None:
    state, found = tapes.replay(name)
    counts = state.counts
    assert counts.messages == len(tapes.read_messages(name))
    assert counts.messages == counts.normalized + counts.absorbed + counts.sampled + counts.refused
    assert counts.events == len(found)


@pytest.mark.parametrize("name", tapes.names())
def test_nothing_on_a_tape_is_malformed(name: str) -> None:
    _, found = tapes.replay(name)
    assert [event.payload for event in found if isinstance(event.payload, Unknown) and event.payload.problem] == []
