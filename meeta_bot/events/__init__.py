"""The events of meeta_bot: one struct per type, their envelope, and the catalog that knows them all.

A type's name is stable; its struct may gain fields with defaults. ``origin`` says where a fact comes from: a
lib-jitsi-meet event by its string value (``conference.userJoined``), a presence element
(``presence.SourceInfo``), the hook (``hook.…``) or the recorder itself (``recorder.…``).
Times named ``…_at`` are milliseconds since 1970 in UTC, durations ``…_ms`` are milliseconds.
"""

from meeta_bot.events.capture import *
from meeta_bot.events.catalog import *
from meeta_bot.events.conference import *
from meeta_bot.events.envelope import *
from meeta_bot.events.media import *
from meeta_bot.events.participants import *
from meeta_bot.events.reasons import *
from meeta_bot.events.schema import *
from meeta_bot.events.services import *
