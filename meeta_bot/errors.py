"""Every error that a user can cause or must act on, as one tree.

::

    MeetaError                    exit code 70 (EX_SOFTWARE): an error of the program itself
    ├── UsageError                2   the command line or a setting is wrong
    │   ├── InvalidRoomUrl
    │   └── ConfigurationError
    ├── NotFound                  3   unknown meeting or capture
    │   └── Ambiguous
    ├── DatabaseError             4
    │   ├── DatabaseUnreachable
    │   ├── DatabaseNotMigrated
    │   ├── DatabaseNewer
    │   └── EmbeddedDatabaseError
    ├── BrowserError              5
    │   ├── BrowserNotFound
    │   └── PageError
    ├── SpoolError                6
    │   ├── SpoolBusy
    │   ├── SpoolUnusable
    │   └── SpoolFull
    ├── CaptureFailed             7   a capture ended because it could not get in or stay in
    └── OutputError               8   what was printed could not be written, or nobody read it to its end

Exit code 1 is no error's: ``verify`` has refuted something. Exit code 75 (EX_TEMPFAIL) is not an error: events
remain in the spool and will be delivered later. Nor is 130: Ctrl-C ended a reading command.
The message of an error is one line that says what is wrong; ``hint`` is one that says what to do.
"""

from __future__ import annotations

EXIT_REFUTED = 1
EXIT_EVENTS_REMAIN = 75
EXIT_INTERRUPTED = 130  # 128 and the number of SIGINT, as shells have it


class MeetaError(Exception):
    """The base of all; ``str(error)`` is one line for a person."""

    exit_code = 70

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(MeetaError):
    """A mistake on the command line."""

    exit_code = 2


class InvalidRoomUrl(UsageError):
    """A text that is not the address of a Jitsi room."""


class ConfigurationError(UsageError):
    """A setting with a value that can't be used."""


class NotFound(MeetaError):
    """An unknown meeting or capture."""

    exit_code = 3


class Ambiguous(NotFound):
    """A prefix that fits more than one meeting."""


class DatabaseError(MeetaError):
    """A refusal by PostgreSQL."""

    exit_code = 4


class DatabaseUnreachable(DatabaseError):
    """A server that does not answer, or won't let us in now; trying again later can succeed."""


class DatabaseNotMigrated(DatabaseError):
    """A schema that is missing or older than this program."""


class DatabaseNewer(DatabaseError):
    """A schema that is newer than this program."""


class EmbeddedDatabaseError(DatabaseError):
    """An embedded PostgreSQL that could not be prepared or started."""


class BrowserError(MeetaError):
    """A Chromium that could not be used."""

    exit_code = 5


class BrowserNotFound(BrowserError):
    """A machine without Chromium."""


class PageError(BrowserError):
    """A browser page that did not do in time what it was asked."""


class SpoolError(MeetaError):
    """A spool that can't be used."""

    exit_code = 6


class SpoolBusy(SpoolError):
    """A spool that another process owns."""


class SpoolUnusable(SpoolError):
    """A spool whose file is damaged, or of a newer version."""


class SpoolFull(SpoolError):
    """A spool that reached its bound, or a full disk."""


class CaptureFailed(MeetaError):
    """A capture that ended for a reason that its operator did not ask for."""

    exit_code = 7


class OutputError(MeetaError):
    """Output that was lost, though it matters: standard output takes no more."""

    exit_code = 8
