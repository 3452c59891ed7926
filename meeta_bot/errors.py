"""Every error that a user can cause or must act on, as one tree.

::

    MeetaError                    exit code 1
    ├── UsageError                2   the command line or a setting is wrong
    │   ├── InvalidRoomUrl
    │   └── ConfigurationError
    ├── NotFound                  3   no such meeting or capture
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

Exit code 1 is also that of ``verify`` when it refutes something. Exit code 75 (EX_TEMPFAIL) is no error: events remain
in the spool and will be delivered later. Nor is 130: Ctrl-C ended a reading command.
The message of an error is one line that says what is wrong; ``hint`` is one that says what to do.
"""

from __future__ import annotations

EXIT_EVENTS_REMAIN = 75
EXIT_INTERRUPTED = 130  # 128 and the number of SIGINT, as shells have it


class MeetaError(Exception):
    """Base of all; ``str(error)`` is one line for a person."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(MeetaError):
    """The command line is wrong."""

    exit_code = 2


class InvalidRoomUrl(UsageError):
    """What was given is no address of a Jitsi room."""


class ConfigurationError(UsageError):
    """A setting has a value that can't be used."""


class NotFound(MeetaError):
    """There is no such meeting or capture."""

    exit_code = 3


class Ambiguous(NotFound):
    """A prefix fits more than one meeting."""


class DatabaseError(MeetaError):
    """PostgreSQL refused."""

    exit_code = 4


class DatabaseUnreachable(DatabaseError):
    """Nothing answers, or what answers won't let us in now; trying again later can succeed."""


class DatabaseNotMigrated(DatabaseError):
    """The schema is missing or older than this program."""


class DatabaseNewer(DatabaseError):
    """The schema is newer than this program."""


class EmbeddedDatabaseError(DatabaseError):
    """The embedded PostgreSQL could not be prepared or started."""


class BrowserError(MeetaError):
    """Chromium could not be used."""

    exit_code = 5


class BrowserNotFound(BrowserError):
    """No Chromium on this machine."""


class PageError(BrowserError):
    """A page did not do what it was asked in time."""


class SpoolError(MeetaError):
    """The spool can't be used."""

    exit_code = 6


class SpoolBusy(SpoolError):
    """Another process owns this spool."""


class SpoolUnusable(SpoolError):
    """The spool's file is damaged, or of a newer version."""


class SpoolFull(SpoolError):
    """The spool reached its bound, or the disk is full."""


class CaptureFailed(MeetaError):
    """A capture ended for a reason that its operator did not ask for."""

    exit_code = 7


class OutputError(MeetaError):
    """Standard output takes no more, and what was to be said there matters."""

    exit_code = 8
