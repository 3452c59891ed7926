"""`python -m tests.stack.bridge_process`: the bridge in a process of its own, to be killed and frozen. Test equipment.

It serves websockets and commands on one port of loopback, which it prints, and dies with who started it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys

from aiohttp import web

from tests.stack.bridge import Bridge
from tests.stack.data_channel import DataChannels
from tests.stack.processes import die_with_parent


async def serve(expiry_seconds: float) -> None:
    """Serve until SIGTERM."""
    bridge = Bridge()
    parts = (bridge, DataChannels(bridge, expiry_seconds))

    async def command(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        found = next(getattr(part, name) for part in parts if hasattr(part, name))
        return web.json_response({"result": await found(**await request.json())})

    application = web.Application()
    application.router.add_get("/colibri-ws/{room}/{endpoint_id}", bridge.web_channel)
    application.router.add_post("/command/{name}", command)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    print(json.dumps({"port": runner.addresses[0][1]}), flush=True)
    await stop.wait()
    await runner.cleanup()


if __name__ == "__main__":
    die_with_parent(int(sys.argv[1]))
    logging.basicConfig(level=logging.ERROR)
    asyncio.run(serve(float(sys.argv[2])))
