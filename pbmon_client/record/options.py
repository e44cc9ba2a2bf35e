"""The command line of ``pbmon-client record``: where to, and how much of it."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pbmon_client.command_line import CommandParser, add_help, add_socket

DEFAULT_DIRECTORY: Final = "/var/lib/pbmon/history"
DEFAULT_SIZE: Final = "200M"
_UNITS: Final = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
#: Less than that has no room for an hour and what is being written.
_LEAST: Final = 8 << 20
_MOST: Final = 1 << 40

_INTRO: Final = """\
Write down what every process, connection and file moves, tick by tick, until
it is interrupted. It needs to be root, or in the group that sees everybody.
It listens on nothing.
"""
_EPILOG: Final = """\
examples:
  pbmon-client record --directory ~/history --size 1G

environment:
  PBMON_SOCKET   the daemon's socket, unless --socket is given

packaging/doc/history.md says what is kept.
"""


@dataclass(frozen=True, slots=True)
class RecordOptions:
    """A checked command line; ``size`` are bytes."""

    directory: Path
    size: int
    socket: str


def parse(arguments: Sequence[str]) -> RecordOptions:
    """Read what follows ``pbmon-client record``; a mistake in it is SystemExit 2."""
    parser = _parser()
    given = parser.parse_args(arguments)
    return RecordOptions(given.directory, given.size, parser.socket_of(given))


def _parser() -> CommandParser:
    parser = CommandParser("pbmon-client record", _INTRO, _EPILOG)
    group = parser.add_argument_group("where to, and how much")
    group.add_argument(
        "--directory", type=_directory, default=Path(DEFAULT_DIRECTORY), metavar="DIR",
        help=f"where the files are, made if it is missing (default: {DEFAULT_DIRECTORY})",
    )  # fmt: skip
    group.add_argument(
        "--size", type=_size, default=_size(DEFAULT_SIZE), metavar="SIZE",
        help=f"the most that all files have together (default: {DEFAULT_SIZE}); "
        "the oldest of each kind go first",
    )  # fmt: skip
    rest = parser.add_argument_group("access and help")
    add_socket(rest)
    add_help(rest)
    return parser


def _directory(text: str) -> Path:
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"{text!r} is no directory")
    return Path(text)


def _size(text: str) -> int:
    found = re.fullmatch(r"([0-9]{1,12})([KMG]?)", text)
    size = int(found[1]) * _UNITS.get(found[2], 1) if found else 0
    if not _LEAST <= size <= _MOST:
        raise argparse.ArgumentTypeError(f"{text!r} is no size from 8M to 1024G")
    return size
