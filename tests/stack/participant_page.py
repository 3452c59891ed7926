"""A participant's page: the browser's arguments, the requests that are let through, the script. Test equipment."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from playwright.async_api import Route

# One script made of two files, because Playwright promises no order between several.
SCRIPT_FILES = ("participant_conference.js", "participant.js")

# The page's scripts that a participant needs, by the end of their paths: deployments differ in the folders.
NEEDED_SCRIPTS = ("/config.js", "/lib-jitsi-meet.min.js")
EMPTY_BODIES = {"script": "application/javascript", "stylesheet": "text/css"}
BLOCKED_TYPES = {"script", "stylesheet", "image", "font", "media", "manifest", "texttrack"}

CHROMIUM_ARGUMENTS = [
    "--use-fake-device-for-media-stream=device-count=2",
    "--use-fake-ui-for-media-stream",
    "--auto-select-desktop-capture-source=Entire screen",
    "--autoplay-policy=no-user-gesture-required",
    "--mute-audio",
    "--disable-background-networking",
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-features=WebRtcHideLocalIpsWithMdns,MediaRouter,OptimizationHints,Translate",
    "--disable-gpu",
    "--disable-renderer-backgrounding",
    "--no-first-run",
]


def page_script() -> str:
    """What runs in the page before the page's own scripts."""
    folder = Path(__file__).resolve().parent
    return "\n".join((folder / name).read_text(encoding="utf-8") for name in SCRIPT_FILES)


async def let_through_what_is_needed(route: Route) -> None:
    """Document, configuration, jQuery and library are the deployment's; web application and looks are empty."""
    request = route.request
    if request.resource_type not in BLOCKED_TYPES or _is_needed_script(urlsplit(request.url).path):
        await route.continue_()
    else:
        content_type = EMPTY_BODIES.get(request.resource_type, "application/octet-stream")
        await route.fulfill(status=200, content_type=content_type, body="")


def _is_needed_script(path: str) -> bool:
    return path.endswith(NEEDED_SCRIPTS) or ("/jquery" in path and path.endswith(".js"))
