"""What the web server of a deployment serves: room pages, config.js, scripts, BOSH.
Test equipment.

The first path segment chooses the page's shape:

* `/<room>`: config.js is a script of its own;
* `/inlined/<room>`: config.js is inlined into the page, as nginx's server-side include does;
* `/nolibrary/<room>`: looks like Jitsi Meet, but the library's script is missing;
* `/notjitsi/<room>`: some other page;
* `/<tenant>/<room>`: a tenant's room. Here it is the same conference as `/<room>`; a real deployment maps
  a tenant to a MUC domain of its own.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from aiohttp import ClientError, ClientSession, ClientTimeout, web
from aiohttp.typedefs import Handler

from tests.stack.library import JQUERY, LIB_JITSI_MEET, cached_file

PAGES = Path(__file__).resolve().parent / "pages"
BOSH_TIMEOUT = ClientTimeout(total=120)  # longer than BOSH's 60 s of waiting
CONFIG_PLACE = "<!-- CONFIG -->"
CONFIG_SCRIPT = '<script src="/config.js?v=5765"></script>'
LIBRARY_SCRIPT = '<script src="/libs/lib-jitsi-meet.min.js?v=5765"></script>'

JAVASCRIPT = "application/javascript"
PIXEL = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAICRAEAOw==")
SMALL_FILES = {
    "/interface_config.js": (
        JAVASCRIPT,
        b"var interfaceConfig = { APP_NAME: 'Jitsi Meet', SHOW_JITSI_WATERMARK: true };",
    ),
    "/logging_config.js": (JAVASCRIPT, b"var loggingConfig = { defaultLogLevel: 'warn', disableLogCollector: true };"),
    "/external_api.js": (JAVASCRIPT, b"window.JitsiMeetExternalAPI = function () {};"),
    "/libs/external_api.min.js": (JAVASCRIPT, b"window.JitsiMeetExternalAPI = function () {};"),
    "/static/pwa/registrator.js": (JAVASCRIPT, b"window.PWA_REGISTRATOR_RAN = true;"),
    "/css/all.css": (
        "text/css",
        b"@font-face { font-family: Inter; src: url(/fonts/inter.woff2); } body { font-family: Inter;"
        b" background: url(/images/welcome-background.png); }",
    ),
    "/manifest.json": (
        "application/manifest+json",
        b'{"name": "Jitsi Meet", "start_url": "/", "display": "standalone"}',
    ),
    "/_unlock": ("text/plain", b"OK"),
}
FOLDERS = {"images": ("image/gif", PIXEL), "fonts": ("font/woff2", b"wOF2"), "sounds": ("audio/mpeg", b"")}


class WebServer:
    """Handlers of one stack's web server."""

    def __init__(self, domain: str, prosody_port: Callable[[], int]) -> None:
        self.requested: Counter[str] = Counter()
        self.refusing_bosh = False
        self._domain = domain
        self._prosody_port = prosody_port
        self._client: ClientSession | None = None

    def application(self) -> web.Application:
        """The routes; the most general one, a room's page, is the last."""
        application = web.Application(middlewares=[self._count_requests])
        application.cleanup_ctx.append(self._client_session)
        routes = application.router
        routes.add_route("*", "/http-bind", self._bosh)
        routes.add_get("/config.js", self._config_script)
        routes.add_get("/libs/app.bundle.min.js", self._app_bundle)
        for package in (JQUERY, LIB_JITSI_MEET):
            routes.add_get(f"/libs/{package.served_as}", _file_handler(cached_file(package)))
        for path, (content_type, body) in SMALL_FILES.items():
            routes.add_get(path, _body_handler(content_type, body))
        for folder, (content_type, body) in FOLDERS.items():
            routes.add_get(f"/{folder}/{{name:.+}}", _body_handler(content_type, body))
        routes.add_get("/inlined/{room}", self._inlined_page)
        routes.add_get("/nolibrary/{room}", self._page_without_library)
        routes.add_get("/notjitsi/{room}", _file_handler(PAGES / "not_jitsi.html"))
        routes.add_get("/{room}", self._plain_page)
        routes.add_get("/{tenant}/{room}", self._plain_page)
        return application

    @web.middleware
    async def _count_requests(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self.requested[request.path] += 1
        return await handler(request)

    async def _client_session(self, _: web.Application):  # type: ignore[no-untyped-def]
        async with ClientSession(timeout=BOSH_TIMEOUT) as self._client:
            yield

    async def _bosh(self, request: web.Request) -> web.Response:
        """XEP-0124: each request goes to Prosody and back unchanged."""
        assert self._client is not None
        url = f"http://127.0.0.1:{self._prosody_port()}/http-bind?{request.query_string}"
        headers = {"Content-Type": request.headers.get("Content-Type", "text/xml")}
        if self.refusing_bosh:
            return web.Response(status=502)
        try:
            async with self._client.request(request.method, url, data=await request.read(), headers=headers) as answer:
                content_type = answer.headers.get("Content-Type", "text/xml")
                return web.Response(
                    body=await answer.read(), status=answer.status, headers={"Content-Type": content_type}
                )
        except (ClientError, TimeoutError):
            return web.Response(status=502)

    def _config(self, request: web.Request) -> str:
        """config.js with the address under which the browser came."""
        places = {"@DOMAIN@": self._domain, "@HTTP@": f"http://{request.host}", "@WEBSOCKET@": f"ws://{request.host}"}
        config = (PAGES / "config.js").read_text()
        for place, value in places.items():
            config = config.replace(place, value)
        return config

    async def _config_script(self, request: web.Request) -> web.Response:
        return web.Response(text=self._config(request), content_type=JAVASCRIPT)

    async def _app_bundle(self, _: web.Request) -> web.Response:
        return web.Response(text=(PAGES / "app.bundle.min.js").read_text(), content_type=JAVASCRIPT)

    async def _plain_page(self, _: web.Request) -> web.Response:
        return _html(_room_page(CONFIG_SCRIPT))

    async def _inlined_page(self, request: web.Request) -> web.Response:
        return _html(_room_page(f"<script>{self._config(request)}</script>"))

    async def _page_without_library(self, _: web.Request) -> web.Response:
        return _html(_room_page(CONFIG_SCRIPT).replace(LIBRARY_SCRIPT, ""))


def _room_page(config: str) -> str:
    return (PAGES / "room.html").read_text().replace(CONFIG_PLACE, config)


def _html(body: str) -> web.Response:
    return web.Response(text=body, content_type="text/html")


def _body_handler(content_type: str, body: bytes) -> Handler:
    async def handler(_: web.Request) -> web.StreamResponse:
        return web.Response(body=body, content_type=content_type)

    return handler


def _file_handler(path: Path) -> Handler:
    async def handler(_: web.Request) -> web.StreamResponse:
        return web.FileResponse(path)

    return handler
