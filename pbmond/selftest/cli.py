"""The command ``pbmond selftest``: arguments, progress, and what it prints."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from types import FrameType
from typing import Final

from pbmond import __version__
from pbmond.cli import Parser, add_switch, fail, print_lines, uid_of
from pbmond.config import Config, ConfigError, load
from pbmond.loader import ownership
from pbmond.selftest.workloads import ABOUT, NAMES
from pbmond.system import accounts

_PROGRAM: Final = "pbmond selftest"
_FAILURE, _USAGE, _INTERRUPTED = 1, 2, 130
_SEEDS: Final = 1 << 31
#: The publisher's user if the configured one does not exist, because nothing is installed yet.
_ANY_USER: Final = "nobody"


def main(arguments: list[str]) -> int:
    """Run the self-test. Returns the exit status: 0 nothing is off, 1 something is, 2 usage."""
    options = _parser().parse_args(arguments)
    try:
        names = _chosen(options.only)
        config = load(options.config, uid_of) if options.config else Config()
    except ConfigError as error:
        return fail(_PROGRAM, str(error), _USAGE)
    if options.list:
        return print_lines(f"{name}  {ABOUT[name]}" for name in names)
    if os.geteuid() != 0:
        return fail(_PROGRAM, "must run as root: use sudo", _FAILURE)
    if not options.allow_unsafe_code and (unsafe := ownership.refusal()) is not None:
        return fail(_PROGRAM, unsafe, _FAILURE)
    seed = random.randrange(1, _SEEDS) if options.seed is None else options.seed  # noqa: S311
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGHUP, _interrupt)
    try:
        return _run(names, config, seed, options)
    except KeyboardInterrupt:
        return fail(_PROGRAM, "interrupted", _INTERRUPTED)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt  # whatever runs is ended during unwinding


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog=_PROGRAM,
        description="Moves known bytes through every I/O path of this kernel, under a daemon of "
        "its own, and compares what was counted. A running daemon is not disturbed.",
        epilog="Exits with 0 if nothing is off, 1 if something is. On a slow machine, set "
        "PBMON_PATIENCE to wait so many times longer.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--json", action="store_true", help="print one JSON object instead of a table")
    add(
        "--seed",
        metavar="N",
        type=_seed,
        help="choose sizes by this seed; 0 takes them as written (default: random)",
    )
    add("--only", metavar="PATTERNS", help="run only paths like 'uring.*', or with 'udp,tcp'")
    add("--list", action="store_true", help="print the paths and what they are, and exit")
    add("--config", metavar="FILE", type=Path, help="use the hooks and users of this configuration")
    add_switch(parser)
    return parser


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= _SEEDS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to {_SEEDS - 1}")
    return int(text)


def _chosen(patterns: str | None) -> tuple[str, ...]:
    """Return the paths that match ``patterns``. ConfigError if a pattern matches none."""
    if patterns is None:
        return NAMES
    chosen: set[str] = set()
    for pattern in patterns.split(","):
        whole = any(character in pattern for character in "*?[")
        names = [name for name in NAMES if fnmatchcase(name, pattern if whole else f"*{pattern}*")]
        if not names:
            near = difflib.get_close_matches(pattern, NAMES, 1, 0)
            raise ConfigError(
                f"--only {pattern}: no such path; the nearest is {near[0]}; see --list"
            )
        chosen.update(names)
    return tuple(name for name in NAMES if name in chosen)


def _run(names: Sequence[str], config: Config, seed: int, options: argparse.Namespace) -> int:
    # These import zmq and msgpack, which --list does not need.
    from pbmond.selftest import report  # noqa: PLC0415
    from pbmond.selftest.observation import STEPS, observe  # noqa: PLC0415
    from pbmond.selftest.private_daemon import Daemon, DaemonError  # noqa: PLC0415

    def daemon(directory: Path) -> Daemon:
        return Daemon(
            directory,
            sockets=config.sockets,
            files=config.files,
            reads=config.reads,
            publisher_user=_publisher_user(config),
            bcc_python=config.bcc_python,
            allow_unsafe_code=options.allow_unsafe_code,
        )

    started = time.monotonic()
    bar = report.Bar(STEPS * len(names), shutil.get_terminal_size().columns)
    try:
        with _progress(bar.draw, bar.clear()) as step:
            observed = observe(names, daemon, seed, step)
    except DaemonError as error:
        return fail(_PROGRAM, str(error).removeprefix("pbmond: "), _FAILURE)
    kernel = os.uname()
    took_s = time.monotonic() - started
    result = report.Report(
        kernel.release, kernel.machine, __version__, seed, took_s, observed.health, observed.lines
    )
    if options.json:
        print_lines([json.dumps(report.as_json(result))])
    else:
        print_lines([*report.table(result), "", report.summary(result)])
    for line in observed.bad_ends:
        fail(_PROGRAM, line, _FAILURE)
    return 0 if result.passed() else _FAILURE


def _publisher_user(config: Config) -> str:
    try:
        return config.publisher_user if accounts.user(config.publisher_user) else _ANY_USER
    except accounts.AccountsError:
        return _ANY_USER


@contextlib.contextmanager
def _progress(draw: Callable[[str], str | None], clear: str) -> Iterator[Callable[[str], None]]:
    """Yield a function to call at each step. It draws only on a terminal."""

    def show(text: str | None) -> None:
        if text is not None and sys.stderr.isatty():
            sys.stderr.write(text)
            sys.stderr.flush()

    try:
        yield lambda name: show(draw(name))
    finally:
        show(clear)
