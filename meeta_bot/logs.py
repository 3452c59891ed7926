"""Structured logs on standard error: readable on a terminal, JSON lines elsewhere; secrets never pass."""

from __future__ import annotations

import re
import sys
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

_SECRET_NAME = re.compile(r"password|passwd|secret|token|jwt|credential|authorization|salt", re.IGNORECASE)
_SECRET_IN_TEXT = re.compile(
    r"(?P<name>jwt|token|password|previd)=(?:'[^']*'|\"[^\"]*\"|[^&\s\"']+)"
    # User and password of an address: up to the last @ before its path; what has none may have a / in its password.
    r"|(?<=://)[^/\s:@]*:(?:[^/\s?#]*|[^@\s]+)(?=@)",
    re.IGNORECASE,
)
HIDDEN = "[hidden]"


def redact_text(text: str) -> str:
    """Return `text` without tokens in links and without user and password before an @."""
    return _SECRET_IN_TEXT.sub(lambda m: f"{m['name']}={HIDDEN}" if m["name"] else HIDDEN, text)


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Redact every value of a log line; a processor of structlog."""
    return {name: _redacted(name, value) for name, value in event.items()}


def _redacted(name: str, value: Any) -> Any:
    if _SECRET_NAME.search(name):
        return HIDDEN
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, dict):
        return {redact_text(str(key)): _redacted(str(key), item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_redacted(name, item) for item in value]
    return redact_text(str(value))


def configure(
    *, verbose: bool = False, level: str = "info", json_lines: bool | None = None, stream: TextIO | None = None
) -> None:
    """Set up logging once for the process. `json_lines` None means: unless the stream is a terminal."""
    out = stream or sys.stderr
    as_json = not out.isatty() if json_lines is None else json_lines
    renderer: Processor = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer()
    processors: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redact,
        renderer,
    ]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger("debug" if verbose else level),
        logger_factory=structlog.PrintLoggerFactory(out),
        cache_logger_on_first_use=False,
    )


def get_logger(name: str, **context: Any) -> structlog.typing.FilteringBoundLogger:
    """Return a logger whose lines carry `name` as their part of the program."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(part=name, **context)
    return logger
