"""Participants: arrival, departure, names, roles, hands."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from meeta_bot.events.catalog import Payload, Privacy, event_type


class ParticipantKind(StrEnum):
    """The kinds of participants. Only humans and phones make a meeting."""

    HUMAN = "human"
    PHONE = "phone"
    RECORDER = "recorder"
    TRANSCRIBER = "transcriber"
    BOT = "bot"
    HIDDEN = "hidden"


@event_type("participant.joined", "conference.userJoined", Privacy.PERSONAL)
class ParticipantJoined(Payload):
    """Somebody is in the room."""

    display_name: str | None = None
    kind: ParticipantKind = ParticipantKind.HUMAN
    role: str | None = None
    stats_id: str | None = None
    user_id: str | None = None
    is_replacing: bool = False


class LeftCause(StrEnum):
    """The ways in which somebody leaves."""

    LEFT = "left"
    KICKED = "kicked"
    REPLACED = "replaced"
    LOST = "lost"  # the server gave the connection up
    UNSEEN = "unseen"  # not there any more after a gap


@event_type("participant.left", "conference.userLeft", Privacy.PERSONAL)
class ParticipantLeft(Payload):
    """Somebody is gone. ``duration_ms`` is null when we did not see the arrival.

    Of a connection that was lost the server tells late: it went between ``last_heard_at``, when anything last came from
    that participant, ``silent_ms`` before, and now. Both are null for other causes.
    """

    cause: LeftCause = LeftCause.LEFT
    reason: str | None = None
    duration_ms: int | None = None
    last_heard_at: int | None = None
    silent_ms: int | None = None


@event_type("participant.moved_to_breakout", "conference.breakout-rooms.updated")
class ParticipantMovedToBreakout(Payload):
    """Somebody went to a breakout room, or from one to another: still in the meeting, out of the bot's sight."""

    breakout_id: str
    from_breakout_id: str | None = None


@event_type("participant.returned", "conference.userJoined")
class ParticipantReturned(Payload):
    """Somebody came back to the main room; ``away_ms`` since leaving it, null when that was not seen."""

    breakout_id: str | None = None
    away_ms: int | None = None


@event_type("participant.kicked", "conference.participant_kicked", Privacy.PERSONAL)
class ParticipantKicked(Payload):
    """A moderator removed somebody; participant.left follows."""

    actor_endpoint_id: str | None = None
    reason: str | None = None


@event_type("participant.renamed", "conference.displayNameChanged", Privacy.PERSONAL)
class ParticipantRenamed(Payload):
    """Somebody changed the display name."""

    old_name: str | None
    new_name: str | None


@event_type("participant.role_changed", "conference.roleChanged")
class ParticipantRoleChanged(Payload):
    """Somebody's role: moderator, participant, visitor or none."""

    role: str
    old_role: str | None = None


@event_type("participant.property_changed", "conference.participant_property_changed", Privacy.PERSONAL)
class ParticipantPropertyChanged(Payload):
    """A ``jitsi_participant_…`` value in somebody's presence that has no type of its own."""

    name: str
    value: Any = None
    old: Any = None


@event_type("hand.raised", "conference.participant_property_changed")
class HandRaised(Payload):
    """Somebody raised a hand; ``raised_at`` is the sender's clock."""

    raised_at: int | None = None


@event_type("hand.lowered", "conference.participant_property_changed")
class HandLowered(Payload):
    """Somebody lowered the hand, or somebody did it for them."""

    held_ms: int | None = None
