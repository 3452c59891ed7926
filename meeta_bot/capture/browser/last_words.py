"""Last words of a program that did not start: which of its lines says why, and what it lacks.

Lines are judged by what writes them: the loader, Chromium's log with its severities, the shell of a start script,
Node.js, libraries. What complains and goes on (a warning, a message bus that is not there, a test in a start script) is
never the reason. Pure but for :func:`missing_libraries`, which asks ``ldd``.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Iterable, Sequence
from enum import IntEnum

_LDD_TIMEOUT = 5.0  # seconds; it reads a few files

# [pid:thread:MMDD/hhmmss.micros:SEVERITY:file.cc:line] text, with or without the numbers.
_LOGGED = re.compile(
    r"\[(?:(?P<pid>\d+):(?P<thread>\d+):)?(?:\d{4}/[\d.]+:)?(?:\d+:)?(?P<severity>[A-Z]+\d*):(?P<place>[^\]]*)\]\s*(?P<text>.*)"
)
# NAME: LINE: text, or NAME: line LINE: text
_SHELL = re.compile(r"\S+: (?:line )?\d+: (?P<text>.+)")
_SHELL_TEST = re.compile(r"\[\[?:|test: ")
_LOADER = re.compile(
    r"error while loading shared libraries|Error loading shared library|Error relocating |symbol lookup error"
    r"|version [`']\S+' not found \(required by"
)
_LACKING = re.compile(
    r"(?:(?P<program>/\S+): )?(?:error while loading shared libraries: |Error loading shared library )"
    r"(?P<library>[^\s:]+): (?:cannot open shared object file|No such file)"
)
_NOT_FOUND = re.compile(r"\s*(\S+) => not found")
_DEADLY = re.compile(
    # no screen
    r"missing x server|(?:unable to|can(?:'t|not)) open (?:x )?display|no wayland display"
    # no sandbox
    r"|no usable sandbox|without --no-sandbox|failed to move to new namespace|suid sandbox helper"
    # no program
    r"|\bexec: |cannot execute|exec format error|required file not found|requires the \S+ snap"
    # no place to write
    r"|user data dir|singletonlock|processsingleton|profile appears to be in use|no space left|read-only file system"
    # no memory
    r"|out of memory|cannot allocate memory|bad_alloc|\boom\b"
    # Node.js and C++
    r"|\bNODE_OPTIONS\b|^\w*Error(?: \[\w+\])?: |^#?\s*fatal\b|assertion .*failed|terminate called",
    re.IGNORECASE,
)
# Parts of Chromium whose errors don't end it, or come of its end; a missing bus is the rule in a container.
_BYSTANDERS = re.compile(
    r"dbus|\bbus\.cc|object_proxy|upower|power_|udev|bluez"
    r"|gpu|viz|vaapi|\bgl[/_]|angle|vulkan|sandbox_linux|zygote_linux|nacl|crashpad"
    r"|gcm|registration|network_service|ssl_client|cert_|component_|policy|extension|font"
)
_CRASH = re.compile(
    r"received signal|segmentation fault|illegal instruction|trace/breakpoint trap|bus error|aborted|core dumped",
    re.IGNORECASE,
)
# What libraries say, stack frames, and decoration.
_NOISE = re.compile(
    r"\W*$|#\d+ 0x|\s+at \S|\[end of stack|DevTools listening|Fontconfig |libva |MESA|libGL |ALSA |Calling _exit"
    r"|\([^)]*:\d+\): \S+-(?:WARNING|CRITICAL|Message|DEBUG)|(?:\w+ )?(?:warning|info|note|debug)\b"
    r"|\s*(?:r\w+|efl|cgf|erf|trp|msk|cr2): [0-9a-f]{8,16}\b"
    r"|node:\S+:\d+$|\s*(?:throw |\^)|Require stack:|- |Node\.js v",
    re.IGNORECASE,
)


class _Weight(IntEnum):
    """The weight of a line as the reason; the least wins."""

    FATAL = 0
    DEADLY = 1
    CHECK = 2  # a failed assertion: fatal, and mostly the outcome of something that was said in words
    ERROR = 3
    PLAIN = 4
    SHELL = 5
    CRASH = 6


_PATTERNS = ((_LOADER, _Weight.FATAL), (_CRASH, _Weight.CRASH), (_DEADLY, _Weight.DEADLY))

# Of lines that weigh the same, the first is the cause of the others; errors that the program outlived come before.
_LAST_COUNTS = (_Weight.ERROR, _Weight.SHELL)


def reason_in(lines: Iterable[str]) -> str | None:
    """Return the line that says why a program did not start, without the head of a log line; None if none does."""
    found: dict[_Weight, str] = {}
    for line in lines:
        judged = _judge(line.rstrip())
        if judged is None:
            continue
        weight, text = judged
        if weight not in found or weight in _LAST_COUNTS:
            found[weight] = text
    return found[min(found)].strip() if found else None


def _judge(line: str) -> tuple[_Weight, str] | None:
    logged = _LOGGED.match(line)
    if logged is not None:
        return _judge_logged(logged)
    shell = _SHELL.match(line)
    if shell is not None and _SHELL_TEST.match(shell["text"]):
        return None
    for pattern, weight in _PATTERNS:
        if pattern.search(line):
            return weight, line
    if shell is not None:
        return _Weight.SHELL, line
    return None if _NOISE.match(line) else (_Weight.PLAIN, line)


def _judge_logged(logged: re.Match[str]) -> tuple[_Weight, str] | None:
    severity, place, text = logged["severity"], logged["place"], logged["text"]
    if severity == "FATAL":
        return _Weight.CHECK if text.startswith("Check failed") else _Weight.FATAL, text or place
    if severity != "ERROR" or _BYSTANDERS.search(place):
        return None
    if _DEADLY.search(text):
        return _Weight.DEADLY, text
    return (_Weight.ERROR, text) if logged["pid"] == logged["thread"] else None


async def missing_libraries(lines: Sequence[str]) -> list[str]:
    """Return the shared libraries that a program lacks by what the loader said: it names the first, ``ldd`` all."""
    found = [lacking for line in lines if (lacking := _LACKING.search(line))]
    libraries = [lacking["library"] for lacking in found]
    for program in {lacking["program"] for lacking in found if lacking["program"]}:
        libraries += _NOT_FOUND.findall(await _output("ldd", program))
    return list(dict.fromkeys(libraries))


async def _output(*command: str) -> str:
    """Return the output of a program; nothing when it is missing or hangs."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return ""
    try:
        async with asyncio.timeout(_LDD_TIMEOUT):
            return (await process.communicate())[0].decode(errors="replace")
    except TimeoutError:
        return ""
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


# --- where to get them --------------------------------------------------------------------------------------------

# Debian's names of packages that are not made from the name of their library.
_PACKAGES = {
    **dict.fromkeys(("libc", "libdl", "libm", "libpthread", "librt", "libresolv"), "libc6"),
    **dict.fromkeys(("libglib-2.0", "libgobject-2.0", "libgio-2.0", "libgmodule-2.0"), "libglib2.0-0"),
    **dict.fromkeys(("libnssutil3", "libsmime3", "libssl3"), "libnss3"),
    **dict.fromkeys(("libplc4", "libplds4"), "libnspr4"),
    "libatk-1.0": "libatk1.0-0",
    "libatk-bridge-2.0": "libatk-bridge2.0-0",
    "libatspi": "libatspi2.0-0",
    "libjpeg": "libjpeg62-turbo",
}
_LIBRARY = re.compile(r"(?P<name>.+?)\.so(?:\.(?P<version>\d+))?(?:\.\d+)*")


def how_to_get(libraries: Iterable[str]) -> str:
    """Return what to do about missing libraries: Debian names a package after library and version."""
    packages = dict.fromkeys(_package_of(library) for library in libraries)
    return f"install it; on Debian: apt-get install {' '.join(packages)}"


def _package_of(library: str) -> str:
    parts = _LIBRARY.fullmatch(library)
    if parts is None:
        return library
    name, version = parts["name"], parts["version"] or ""
    if name in _PACKAGES:
        return _PACKAGES[name]
    separator = "-" if version and name[-1].isdigit() else ""
    if name == "libgcc_s":
        separator = ""
    return f"{name}{separator}{version}".lower().replace("_", "-")
