"""The command line of ``pbmon-client history serve``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pbmon_client.command_line import CommandParser, add_help, add_settings, path_of
from pbmon_client.history.places import DEFAULT_DIRECTORY, DEFAULT_SOCKET

_INTRO: Final = """\
Answer every user of this host about the past, on a socket, until interrupted.
Root, its own user and the group that sees everybody are shown everything,
others what they could see when it was recorded. It only reads the files.
"""
_EPILOG: Final = """\
packaging/doc/history.md describes questions and answers.
"""


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """A checked command line; ``group`` sees everything, ``serve`` is false if nothing may."""

    directory: Path
    listen: Path
    config: Path | None
    group: str
    serve: bool


def parse(arguments: Sequence[str]) -> ServeOptions:
    """Read what follows ``history serve``; a mistake in it is SystemExit 2."""
    parser = serve_parser()
    given = parser.parse_args(arguments)
    settings, group = parser.settings_of(given)
    return ServeOptions(given.directory, given.listen, given.config, group, settings.serve)


def serve_parser() -> CommandParser:
    """Return the parser of ``pbmon-client history serve``."""
    parser = CommandParser("pbmon-client history serve", _INTRO, _EPILOG)
    group = parser.add_argument_group("what, and where")
    group.add_argument(
        "--directory", type=path_of, default=DEFAULT_DIRECTORY, metavar="DIR",
        help=f"what `pbmon-client record` writes (default: {DEFAULT_DIRECTORY})",
    )  # fmt: skip
    group.add_argument(
        "--listen", type=path_of, default=DEFAULT_SOCKET, metavar="PATH",
        help=f"the socket to make, in a directory that exists (default: {DEFAULT_SOCKET})",
    )  # fmt: skip
    add_settings(group)
    add_help(parser.add_argument_group("help"))
    return parser
