"""The command line of ``pbmon-client history serve``: which store, and on which socket."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from pbmon_client.command_line import CommandParser, add_help

DEFAULT_SOCKET: Final = "/run/pbmon-history/history.sock"
_INTRO: Final = """\
Answer other users about the past: group pbmon and root see everything, others
what was recorded of themselves.
"""
_EPILOG: Final = """\
packaging/doc/history.md says how to ask without pbmon-client.
"""


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """A checked command line."""

    directory: Path
    socket: Path


def parse_serve(arguments: Sequence[str]) -> ServeOptions:
    """Read what follows ``pbmon-client history serve``; a mistake in it is SystemExit 2."""
    parser = CommandParser("pbmon-client history serve", _INTRO, _EPILOG)
    group = parser.add_argument_group("what, and where")
    group.add_argument(
        "--directory", type=_path, default=Path("/var/lib/pbmon/history"), metavar="DIR",
        help="where the files are (default: /var/lib/pbmon/history)",
    )  # fmt: skip
    group.add_argument(
        "--listen-unix", type=_path, default=Path(DEFAULT_SOCKET), metavar="PATH",
        help=f"the socket to answer on (default: {DEFAULT_SOCKET})",
    )  # fmt: skip
    add_help(parser.add_argument_group("help"))
    given = parser.parse_args(arguments)
    return ServeOptions(given.directory, given.listen_unix)


def nothing_else(arguments: Sequence[str]) -> NoReturn:
    """SystemExit 2, because nothing else can be asked yet."""
    parser = CommandParser("pbmon-client history", _INTRO, _EPILOG)
    parser.error(f"{arguments[0]}: no such command" if arguments else "what? serve")


def _path(text: str) -> Path:
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"{text!r} is no path")
    return Path(text)
