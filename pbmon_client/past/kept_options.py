"""The command lines of ``pbmon-client history``, its ``export`` and its ``import``."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pbmon_client.command_line import CommandParser, add_help, path_of, with_values
from pbmon_client.data import times

_KEPT: Final = """\
Say what is kept of the past: how far back, how large it is, what is missing,
and whether it is being recorded. `pbmon-client history serve`, `export` and
`import` have their own --help.
"""
_EXPORT: Final = """\
Write a range of the past to one file, to send it to somebody. They look at it
with --history FILE. FILE is one that does not exist yet.
"""
_IMPORT: Final = """\
Make a directory of what `pbmon-client history export` wrote. The directory is
made, and is a history like any other.
"""
_EPILOG: Final = """\
packaging/doc/history.md describes the files.
"""


@dataclass(frozen=True, slots=True)
class KeptOptions:
    """A checked command line of ``history``; ``place`` None is the host's own."""

    place: Path | None
    json: bool


@dataclass(frozen=True, slots=True)
class BundleOptions:
    """A checked command line of ``history export``; times are seconds of the epoch.

    ``remarks`` say how times were read that are not plain.
    """

    file: Path
    place: Path | None
    since: int | None
    until: int | None
    redact: bool
    force: bool
    remarks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """A checked command line of ``history import``."""

    file: Path
    directory: Path


def parse_kept(arguments: Sequence[str]) -> KeptOptions:
    """Read what follows ``pbmon-client history``; a mistake in it is SystemExit 2."""
    parser = kept_parser()
    given = parser.parse_args(arguments)
    return KeptOptions(given.history, given.json)


def parse_export(arguments: Sequence[str]) -> BundleOptions:
    """Read what follows ``history export``; a mistake in it is SystemExit 2."""
    parser = export_parser()
    given = parser.parse_args([*with_values(arguments)])
    since = _time(parser, "--since", given.since, None)
    until = _time(parser, "--until", given.until, None if since is None else since.after)
    remarks = tuple(
        f"{option}: {each.remark}"
        for option, each in (("--since", since), ("--until", until))
        if each is not None and each.remark
    )
    if since is not None and until is not None and since.seconds >= until.seconds:
        parser.error("; ".join(["--since is not before --until", *remarks]))
    begin, end = (None if each is None else each.seconds for each in (since, until))
    return BundleOptions(given.FILE, given.history, begin, end, given.redact, given.force, remarks)


def _time(
    parser: CommandParser, option: str, text: str | None, after: int | None
) -> times.Moment | None:
    try:
        return None if text is None else times.read(text, time.time(), after=after)
    except ValueError as error:
        parser.error(f"{option}: {error}")


def parse_import(arguments: Sequence[str]) -> ImportOptions:
    """Read what follows ``history import``; a mistake in it is SystemExit 2."""
    given = import_parser().parse_args(arguments)
    return ImportOptions(given.FILE, given.DIR)


def kept_parser() -> CommandParser:
    """Return the parser of ``pbmon-client history``."""
    parser = CommandParser("pbmon-client history", _KEPT, _EPILOG)
    group = parser.add_argument_group("what, and how")
    _add_history(group)
    group.add_argument("--json", action="store_true", help="print one JSON object")
    add_help(parser.add_argument_group("help"))
    return parser


def export_parser() -> CommandParser:
    """Return the parser of ``pbmon-client history export``."""
    parser = CommandParser("pbmon-client history export", _EXPORT, _EPILOG)
    parser.add_argument("FILE", type=path_of, help="the file to write")
    group = parser.add_argument_group("what, and how")
    _add_history(group)
    group.add_argument(
        "--since", metavar="TIME",
        help="where the range begins (default: where the history does)",
    )  # fmt: skip
    group.add_argument(
        "--until", metavar="TIME",
        help="where the range ends (default: where the history does); a time without a date is the "
        "first one after --since",
    )  # fmt: skip
    group.add_argument(
        "--redact", action="store_true",
        help="write pseudonyms for names, command lines, paths, users, units, containers, "
        "addresses and the host; numbers stay",
    )  # fmt: skip
    group.add_argument("--force", action="store_true", help="replace FILE if it exists")
    add_help(parser.add_argument_group("help"))
    return parser


def import_parser() -> CommandParser:
    """Return the parser of ``pbmon-client history import``."""
    parser = CommandParser("pbmon-client history import", _IMPORT, _EPILOG)
    parser.add_argument("FILE", type=path_of, help="what was exported")
    parser.add_argument("DIR", type=path_of, help="the directory to make")
    add_help(parser.add_argument_group("help"))
    return parser


def _add_history(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--history", type=path_of, metavar="PATH",
        help="another history: a directory, or a file that was exported",
    )  # fmt: skip
