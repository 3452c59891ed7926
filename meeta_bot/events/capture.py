"""The recorder's own life, and what no other type fits."""

from __future__ import annotations

from typing import Any

from meeta_bot.events.catalog import Payload, Privacy, event_type
from meeta_bot.events.reasons import EndReason, GapCause, Lost


@event_type("capture.started", "recorder.started")
class CaptureStarted(Payload):
    """A recorder begins; nothing has been seen yet. ``room_url`` carries no token; ``labels`` are the operator's."""

    room_url: str
    deployment: str
    room: str
    bot_name: str
    program_version: str
    heartbeat_interval_ms: int | None = None
    labels: dict[str, str] = {}


@event_type("capture.hook_installed", "hook.installed")
class CaptureHookInstalled(Payload):
    """The library was found in the page and every event it can emit is listened to."""

    page_load: str
    library_version: str | None = None
    listening: int = 0
    unknown_events: list[str] = []


@event_type("capture.join_in_progress", "conference.join_in_progress")
class CaptureJoinInProgress(Payload):
    """The first presence of the room came back."""


@event_type("capture.entering", "hook.entering")
class CaptureEntering(Payload):
    """The bot asked the room to be let in: the first presence was sent. Servers may let in one after the other."""


@event_type("capture.lobby_waiting", "conference.failed")
class CaptureLobbyWaiting(Payload):
    """The room has a lobby and the bot waits in it."""

    waiting_for_host: bool = False


@event_type("capture.lobby_denied", "conference.failed")
class CaptureLobbyDenied(Payload):
    """A moderator refused the bot in the lobby."""


@event_type("capture.kicked", "conference.kicked", Privacy.PERSONAL)
class CaptureKicked(Payload):
    """A moderator removed the bot."""

    actor_endpoint_id: str | None = None
    reason: str | None = None
    is_replaced: bool = False


@event_type("capture.heartbeat", "recorder.heartbeat")
class CaptureHeartbeat(Payload):
    """The recorder lives; its books so far: messages = normalized + absorbed + sampled + refused.

    The page's side: it has numbered ``page_made`` messages of this capture in its present load, of which the recorder
    has taken ``page_taken``; ``page_missed`` found no room in its buffer. None before a page has said so.
    """

    in_conference: bool
    participants: int
    messages: int
    events: int
    absorbed: int
    sampled: int
    refused: int
    unknown: int
    normalized: int | None = None
    page_made: int | None = None
    page_taken: int | None = None
    page_missed: int | None = None


@event_type("capture.gap", "recorder.gap")
class CaptureGap(Payload):
    """Between two moments the capture could not see, or saw only part. ``evidence`` says how the bounds are known.

    ``from_at`` and ``to_at`` are wall clock, ``from_ms`` and ``to_ms`` the same by the capture's monotonic clock.
    """

    cause: GapCause
    lost: Lost
    from_at: int
    to_at: int
    evidence: str | None = None
    missed: int | None = None
    from_ms: int | None = None
    to_ms: int | None = None


@event_type("capture.reconnecting", "recorder.lost")
class CaptureReconnecting(Payload):
    """The room was lost and the recorder tries to get back. ``attempt`` counts from 1 since it was last in the room."""

    cause: GapCause
    attempt: int = 1
    detail: str | None = None


@event_type("capture.clock_jumped", "recorder.clock_jumped")
class CaptureClockJumped(Payload):
    """The machine's wall clock was set: forward by ``jump_ms``, or back if that is negative."""

    jump_ms: int


@event_type("capture.error", "recorder.error")
class CaptureError(Payload):
    """Something in the recorder failed and it went on."""

    where: str
    message: str


@event_type("capture.ended", "recorder.ended")
class CaptureEnded(Payload):
    """The last event of every capture, with its books as in ``capture.heartbeat``, this event not counted."""

    reason: EndReason
    detail: str | None = None
    messages: int | None = None
    events: int | None = None
    normalized: int | None = None
    absorbed: int | None = None
    sampled: int | None = None
    refused: int | None = None
    unknown: int | None = None


@event_type("unknown", "*", Privacy.CONTENT)
class Unknown(Payload):
    """An event without a type here, or one whose arguments made no sense: kept raw, without what looks secret."""

    arguments: list[Any] = []
    problem: str | None = None
