"""The command line of ``pbmon-client record``: where to, and how much of it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from pbmon_client.command_line import CommandParser, add_help, add_settings, add_socket
from pbmon_client.history.places import DEFAULT_DIRECTORY
from pbmond.history_settings import SIZE_WORDS, HistorySettings, size_of

DEFAULT_SIZE: Final = "200M"

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
    """A checked command line; ``settings`` are those of ``config`` with its changes."""

    directory: Path
    settings: HistorySettings
    config: Path | None
    socket: str


def parse(arguments: Sequence[str]) -> RecordOptions:
    """Read what follows ``pbmon-client record``; a mistake in it is SystemExit 2."""
    parser = _parser()
    given = parser.parse_args(arguments)
    settings, _group = parser.settings_of(given)
    if given.size is not None:
        settings = replace(settings, size=given.size)
    return RecordOptions(given.directory, settings, given.config, parser.socket_of(given))


def _parser() -> CommandParser:
    parser = CommandParser("pbmon-client record", _INTRO, _EPILOG)
    group = parser.add_argument_group("where to, and how much")
    group.add_argument(
        "--directory", type=_directory, default=DEFAULT_DIRECTORY, metavar="DIR",
        help=f"where the files are, made if it is missing (default: {DEFAULT_DIRECTORY})",
    )  # fmt: skip
    group.add_argument(
        "--size", type=_size, metavar="SIZE",
        help=f"the most that all files have together (default: {DEFAULT_SIZE}); "
        "the oldest of each kind go first",
    )  # fmt: skip
    add_settings(group)
    rest = parser.add_argument_group("access and help")
    add_socket(rest)
    add_help(rest)
    return parser


def _directory(text: str) -> Path:
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"{text!r} is no directory")
    return Path(text)


def _size(text: str) -> int:
    size = size_of(text)
    if size is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not {SIZE_WORDS}")
    return size
