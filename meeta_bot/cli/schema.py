"""``meeta-bot schema``: the JSON Schema of events, for programs."""

from __future__ import annotations

import json

import typer

from meeta_bot.events import json_schema


def schema() -> None:
    """Print the JSON Schema of an event as `meeta-bot events --json` prints it.

    Example:

      meeta-bot schema > event.schema.json
    """
    typer.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))
