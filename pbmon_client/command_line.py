"""What the command lines of pbmon-client and of its commands have in common."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NoReturn

from pbmon_client.data.text import safe_text
from pbmond.history_settings import (
    DEFAULT_GROUP,
    HistorySettings,
    HistorySettingsError,
    read_settings,
)

DEFAULT_SOCKET: Final = "/run/pbmon/pbmond.sock"
#: Options whose value is a time, which may begin with a dash.
_TIMES: Final = ("--at", "--since", "--until")


class CommandParser(argparse.ArgumentParser):
    """A parser whose mistakes are one line and exit status 2. It has no options to begin with."""

    def __init__(self, prog: str, intro: str, epilog: str, usage: str | None = None) -> None:
        super().__init__(
            prog=prog,
            usage=usage,
            description=intro,
            epilog=epilog,
            formatter_class=_wide_help,
            allow_abbrev=False,
            add_help=False,
        )

    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line, without the whole usage."""
        self.exit(2, f"{self.prog}: {safe_text(message)}; see {self.prog} --help\n")

    def socket_of(self, given: argparse.Namespace) -> str:
        """Return the path of the daemon's socket, by ``--socket``, PBMON_SOCKET or default."""
        path: str = given.socket or os.environ.get("PBMON_SOCKET") or DEFAULT_SOCKET
        path = path.removeprefix("ipc://")
        if "://" in path or not path:
            self.error(f"--socket: {path!r} is not the path of a socket")
        return path

    def settings_of(self, given: argparse.Namespace) -> tuple[HistorySettings, str]:
        """Return the table [history] of ``--config``, and the group that sees everybody."""
        if given.config is None:
            return HistorySettings(), DEFAULT_GROUP
        try:
            return read_settings(given.config)
        except HistorySettingsError as error:
            self.error(str(error))


def add_socket(group: argparse._ArgumentGroup) -> None:
    """Add ``--socket``, which ``socket_of`` reads."""
    group.add_argument(
        "--socket", metavar="PATH", help=f"the daemon's socket (default: {DEFAULT_SOCKET})"
    )


def add_settings(group: argparse._ArgumentGroup) -> None:
    """Add ``--config``, which ``settings_of`` reads."""
    group.add_argument(
        "--config", type=Path, metavar="FILE",
        help="read [history] and access_group of pbmond's configuration",
    )  # fmt: skip


def add_help(group: argparse._ArgumentGroup) -> None:
    """Add ``--help``."""
    group.add_argument("-h", "--help", action="help", help="show this help and exit")


def with_values(arguments: Iterable[str]) -> Iterator[str]:
    """Join ``--since -1d`` to ``--since=-1d``: what begins with a dash would be an option."""
    waiting = None
    for argument in arguments:
        if waiting is not None and argument.startswith("-") and argument[1:2].isdigit():
            yield f"{waiting}={argument}"
            waiting = None
            continue
        if waiting is not None:
            yield waiting
        waiting = argument if argument in _TIMES else None
        if waiting is None:
            yield argument
    if waiting is not None:
        yield waiting


def path_of(text: str) -> Path:
    """Read the path of an option; for argparse."""
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"{text!r} is no path")
    return Path(text)


def complain(words: str, status: int = 1) -> int:
    """Say in one line on standard error what is wrong; return the exit status."""
    if sys.stderr is not None:
        sys.stderr.write(f"pbmon-client: {safe_text(words)}\n")
    return status


def version() -> str:
    """Look up the version of pbmon that is installed."""
    from importlib import metadata  # noqa: PLC0415 - slow to import

    try:
        return metadata.version("pbmon")
    except metadata.PackageNotFoundError:
        return "(not installed)"


def _wide_help(prog: str) -> argparse.HelpFormatter:
    return argparse.RawDescriptionHelpFormatter(prog, max_help_position=24, width=80)
