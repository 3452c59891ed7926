"""`python -m tests.stack`: a local Jitsi until Ctrl-C. Test equipment."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import sys

from tests.stack.focus import DEFAULT_MEMBERS_FOR_MEDIA
from tests.stack.library import LibraryError, ensure_library
from tests.stack.processes import die_with_parent
from tests.stack.prosody import ProsodyError
from tests.stack.server import DEFAULT_HIBERNATION_SECONDS, Settings, running_stack


def main() -> int:
    """Parse, start, wait; what the user can mend is one line on standard error."""
    arguments = _parser().parse_args()
    if arguments.with_parent is not None:
        die_with_parent(arguments.with_parent)
    logging.basicConfig(level=logging.DEBUG if arguments.verbose else logging.WARNING, stream=sys.stderr)
    try:
        ensure_library()
        settings = Settings(
            port=arguments.port,
            hibernation_seconds=arguments.hibernation_seconds,
            members_for_media=arguments.members_for_media,
            bridge_channel=arguments.bridge_channel,
            media_pace=arguments.media_pace,
            joins_per_second=arguments.joins_per_second,
            token_secret=arguments.token_secret,
        )
        asyncio.run(_run(settings, arguments.json))
    except (LibraryError, ProsodyError, OSError) as problem:
        print(f"The local Jitsi stack did not start: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.stack", description="A local Jitsi for tests, on 127.0.0.1 only."
    )
    parser.add_argument("--json", action="store_true", help="print one line of JSON when ready, for a program to read")
    parser.add_argument(
        "--with-parent",
        nargs="?",
        type=int,
        const=os.getppid(),
        metavar="PID",
        help="die when the process that started this one dies; PID, if given, is that process",
    )
    parser.add_argument("--port", type=int, default=0, help="port of the web front (default: a free one)")
    parser.add_argument(
        "--hibernation-seconds",
        type=int,
        default=DEFAULT_HIBERNATION_SECONDS,
        help="how long a lost connection keeps its seat in a room (default: %(default)s)",
    )
    parser.add_argument(
        "--members-for-media",
        type=int,
        default=DEFAULT_MEMBERS_FOR_MEDIA,
        help="how many must be in a room before the bridge serves it (default: %(default)s)",
    )
    parser.add_argument(
        "--bridge-channel",
        choices=("websocket", "datachannel"),
        default="websocket",
        help="how the bridge is heard (default: %(default)s)",
    )
    parser.add_argument(
        "--media-pace",
        type=float,
        default=1.0,
        help="how much of jicofo's own time the focus takes to notice a bridge that failed (default: all of it)",
    )
    parser.add_argument(
        "--joins-per-second",
        type=float,
        default=0,
        help="how many a room lets in, silently and in order, as servers with a rate limit do (default: as they come)",
    )
    parser.add_argument(
        "--token-secret",
        default="",
        metavar="SECRET",
        help="let in only who has a JSON Web Token signed with SECRET (HS256; claims: exp, nbf, room, which may be *)",
    )
    parser.add_argument("--verbose", action="store_true", help="log everything to standard error")
    return parser


async def _run(settings: Settings, as_json: bool) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with running_stack(settings) as url:
        if as_json:
            print(json.dumps({"url": url, "control": f"{url}/control", "pid": os.getpid()}), flush=True)
        else:
            print(f"Local Jitsi stack: {url}/AnyRoom   (Ctrl-C stops it)", flush=True)
        await stop.wait()


if __name__ == "__main__":
    sys.exit(main())
