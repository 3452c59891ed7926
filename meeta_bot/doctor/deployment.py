"""Checks of a deployment and the way to it: address, token, page, configuration, login. The room is not entered."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import msgspec

from meeta_bot import room_address
from meeta_bot.capture.browser.conference_page import PageNotLoaded
from meeta_bot.capture.browser.probe_page import Document, ProbePage
from meeta_bot.capture.login import Login, has_expired
from meeta_bot.capture.request import request_for
from meeta_bot.doctor.capabilities import KEYS
from meeta_bot.doctor.checks import Examination, Finding, failed, note, ok, warning
from meeta_bot.events import EndReason
from meeta_bot.settings import Settings

CERTIFICATE_WARNING = timedelta(days=7)  # renewals come weeks ahead; so close to the end one has failed
_LOCAL = ("localhost", "127.0.0.1", "::1")
_HINTS = {
    EndReason.NOT_JITSI: "open the address in a browser: does a Jitsi meeting begin there?",
    EndReason.CERTIFICATE_REJECTED: "give the deployment a certificate that browsers trust, its whole chain included, "
    "or have this machine's Chromium trust its authority",
    EndReason.ROOM_UNREACHABLE: "check host, port, proxy and firewall; open the address in a browser on this machine",
}
_RENEW = "get a new one: a new link, a new line in the file of --jwt-file, or a new MEETA_JWT"
_PASSWORD_REQUIRED = "connection.passwordRequired"  # noqa: S105 - an error of lib-jitsi-meet


def page_deadline(settings: Settings) -> float:
    """Return the seconds for opening and loading a page."""
    return settings.page_load_timeout + 2 * settings.page_call_timeout


def connection_deadline(settings: Settings) -> float:
    """Return the seconds for logging in, and a call around it."""
    return settings.join_timeout + settings.page_call_timeout


async def address(examination: Examination) -> Finding:
    """Check that the argument is the address of a room."""
    examination.address = found = room_address.parse(examination.room or "")
    description = f"room {found.room} at {found.deployment}"
    parts = urlsplit(found.deployment)
    if found.other_name is not None:
        return warning(description, found.other_name)
    if parts.scheme == "http" and parts.hostname not in _LOCAL:
        return warning(f"{description}, not encrypted", "write https:// if the deployment has it")
    return ok(description)


async def token(examination: Examination) -> Finding:
    """Check the token to log in with, and its expiry. Its signature is the server's to judge."""
    link, settings = examination.address.token, examination.settings
    present = Login(request_for(examination.address, settings)).credentials().token
    examination.address = msgspec.structs.replace(examination.address, token=present)
    if present is None and settings.jwt_file is not None:
        return failed(f"no token can be read from {settings.jwt_file}", "write the token into its first line")
    if present is None:
        return note("none: the bot logs in anonymously")
    where = "in the link" if link else f"from {settings.jwt_file}" if settings.jwt_file else "from the settings"
    if has_expired(present, time.time() * 1000):
        return warning(f"{where}; it has expired", _RENEW)
    return ok(where)


async def page(examination: Examination) -> Finding:
    """Load the page of Jitsi Meet."""
    examination.page = await ProbePage.open(examination.chromium, examination.settings)
    examination.exits.push_async_callback(examination.page.close)
    try:
        document = await examination.page.load(examination.address)
    except PageNotLoaded as error:
        return failed(str(error), _HINTS.get(error.reason))
    return judge_page(document, urlsplit(examination.address.url).netloc)


def judge_page(document: Document, asked: str) -> Finding:
    """Judge a page that was asked of the host `asked`: its status, redirect and certificate."""
    description = f"HTTP status {document.status}"
    if document.host != asked:
        description += f" from {document.host}, where it redirects"
    if document.issuer is None or document.expires is None:
        return ok(f"{description}, no TLS")
    issuer, until = document.issuer, f"{document.expires:%Y-%m-%d}"
    description += f", {document.protocol or 'TLS'}, certificate issued by {issuer}, valid until {until}"
    if document.expires - datetime.now(UTC) < CERTIFICATE_WARNING:
        return warning(description, "the deployment's certificate expires soon: renew it")
    return ok(description)


async def configuration(examination: Examination) -> Finding:
    """Check that the configuration has everything that joining needs."""
    examination.seen = seen = await examination.page.contents(KEYS)
    how = f"a script of its own, {urlsplit(seen.config_script).path}" if seen.config_script else "inlined into the page"
    missing = [key for key in ("hosts.domain", "hosts.muc") if not seen.config[key]]
    if not seen.config["websocket"] and not seen.config["bosh"]:
        missing.append("websocket or bosh")
    if missing:
        return failed(
            f"{how}; it lacks {', '.join(missing)}",
            "correct the deployment's config.js; does the page work for people?",
        )
    return ok(f"{how}; XMPP domain {seen.config['hosts.domain']}")


async def connection(examination: Examination) -> Finding:
    """Log in and out, to check that the server answers and lets us in."""
    seconds = examination.settings.join_timeout
    try:
        async with asyncio.timeout(seconds):
            connected = examination.connected = await examination.page.connect(examination.address)
    except TimeoutError:
        return failed(
            f"the server did not answer a login within {seconds:g} s (join_timeout)",
            "does the deployment's proxy pass websocket and BOSH on to its XMPP server?",
        )
    config = examination.seen.config
    kind = "websocket" if connected.service.startswith("ws") else "BOSH"
    if config["websocket"] and config["bosh"]:
        other = "BOSH" if kind == "websocket" else "websocket"
        choice = f"{kind} ({other} is available, too)"
    else:
        choice = kind
    where = f"{choice} at {connected.service}"
    token = examination.address.token
    if connected.error is None:
        who = "with the token" if token else "anonymously"
        return ok(f"logged in {who} over {where} in {connected.milliseconds} ms, and out again")
    if connected.error == _PASSWORD_REQUIRED:
        return _authentication(where, connected.message, has_token=token is not None)
    detail = f"{connected.error}: {connected.message}" if connected.message else connected.error
    return failed(
        f"login over {where} failed: {detail}", f"does the deployment's proxy pass the {kind} on to its XMPP server?"
    )


def _authentication(where: str, message: str | None, *, has_token: bool) -> Finding:
    detail = f": {message}" if message else ""
    if has_token:
        return failed(f"the server at {where} rejects the token{detail}", _RENEW)
    return failed(
        f"the server at {where} lets nobody in without an account{detail}",
        "give the room's link with its token (https://…/Room?jwt=…), or a token with --jwt-file",
    )
