"""What ``pbmon-client history`` does not know: one line, and exit status 2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from pbmon_client.command_line import CommandParser

_INTRO = "Say what is kept of the past."


def nothing_else(arguments: Sequence[str]) -> NoReturn:
    """SystemExit 2, because there is no such command."""
    parser = CommandParser("pbmon-client history", _INTRO, "")
    parser.error(f"{arguments[0]}: no such command" if arguments else "what is to be done?")
