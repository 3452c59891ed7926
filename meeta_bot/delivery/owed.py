"""The sinks that a spool owes its events, beside the database: a small file in the spool's directory.

**Format.** ``sinks.json`` is one object: ``version``, which is 1, ``sinks``, a list of objects with ``kind`` and
``target``, and ``checksum``, the CRC-32 of that list as `_packed` writes it. It is replaced as a whole, and it is on
disk before anything is recorded. Only who owns the spool writes or removes it.

**Promises.**

1. What was recorded for a sink that is named here reaches it, whoever delivers the spool: ``spool flush`` or the next
   recorder, whatever that one was started with. Standard output is never named: a pipe is gone with its process.
2. The file is removed once every sink has everything. Without a file, a spool owes the database alone, as all spools
   of earlier versions do.
3. What can't be read or understood here is no reason to forget an event: the database gets all of them, and they stay
   in the spool (`Owed.problems`) until an operator decides (``spool flush --database-only``).
"""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from meeta_bot.delivery.registry import Destination, can_be_owed
from meeta_bot.errors import SpoolError

NAME = "sinks.json"
VERSION = 1
_LARGEST_BYTES = 2**20


class Owed(msgspec.Struct, frozen=True):
    """Sinks that a spool owes its events, and why there may be others that can't be named."""

    destinations: frozenset[Destination] = frozenset()
    problems: tuple[str, ...] = ()


def read(directory: Path) -> Owed:
    """Return the sinks that the spool in `directory` owes its events."""
    file = directory / NAME
    try:
        with file.open("rb") as opened:
            raw = opened.read(_LARGEST_BYTES + 1)
    except FileNotFoundError:
        return Owed()
    except OSError as error:
        return Owed(problems=(f"Can't read {file}: {error.strerror}",))
    try:
        return _understood(_parsed(raw), file)
    except (ValueError, TypeError, KeyError, RecursionError):
        return Owed(problems=(f"{file} is damaged, so the sinks that events were promised to can't be named",))


def note(directory: Path, destinations: Iterable[Destination]) -> None:
    """Make durable that the spool in `directory` owes its events to these `destinations`, and to no others.

    Those that can't be owed are left out.

    :raises SpoolError: it can't be written; then what was noted before is still there.
    """
    wanted = {destination for destination in destinations if can_be_owed(destination)}
    if read(directory) == Owed(frozenset(wanted)):
        return
    file = directory / NAME
    try:
        if wanted:
            _replace(file, _document(wanted))
        else:
            file.unlink(missing_ok=True)
        _sync(directory)
    except OSError as error:
        raise SpoolError(f"Can't write {file}: {error.strerror}", hint="make room on the disk") from None


def forget(directory: Path) -> None:
    """Note that the spool in `directory` owes nothing any more; if that fails, the sinks are only asked once more."""
    with contextlib.suppress(OSError):
        (directory / NAME).unlink(missing_ok=True)


def _packed(sinks: object) -> bytes:
    """Return the list of sinks as its checksum is computed: ASCII, so that a name in any encoding can be kept."""
    return json.dumps(sinks, sort_keys=True).encode("ascii")


def _document(destinations: Iterable[Destination]) -> bytes:
    sinks = sorted(map(msgspec.to_builtins, destinations), key=lambda sink: (sink["kind"], sink["target"]))
    return _packed({"version": VERSION, "sinks": sinks, "checksum": zlib.crc32(_packed(sinks))}) + b"\n"


def _parsed(raw: bytes) -> dict[str, Any]:
    """Return the document in `raw`.

    :raises ValueError: it is damaged, or something else.
    """
    document = json.loads(raw)
    if document["version"] == VERSION and document["checksum"] != zlib.crc32(_packed(document["sinks"])):
        raise ValueError("checksum")
    return dict(document)


def _understood(document: dict[str, Any], file: Path) -> Owed:
    if document["version"] != VERSION:
        return Owed(problems=(f"{file} was written by a newer version of meeta-bot",))
    named = [Destination(str(sink["kind"]), str(sink["target"])) for sink in document["sinks"]]
    known = {one for one in named if can_be_owed(one)}
    problems = [f"{file} names a sink of an unknown kind: {one.kind!r}" for one in named if one not in known]
    return Owed(frozenset(known), tuple(problems))


def _replace(file: Path, content: bytes) -> None:
    new = file.with_name(f"{NAME}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())
    new.replace(file)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
