"""The command ``pbmond probes``: arguments, which daemon, and what it prints."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Final

from pbmond import __version__
from pbmond.cli import Parser, add_switch, fail, print_lines
from pbmond.config import Config
from pbmond.loader import ownership
from pbmond.probes import costs
from pbmond.probes.measure import MeasureError, attachments, measure
from pbmond.system.rundir import RunDirError, holder

_PROGRAM: Final = "pbmond probes"
_FAILURE, _INTERRUPTED = 1, 130
_LEAST_S, _MOST_S = 0.1, 3600.0


def main(arguments: list[str]) -> int:
    """Run the measurement. Returns the exit status: 0 measured, 1 failed, 2 usage."""
    options = _parser().parse_args(arguments)
    if os.geteuid() != 0:
        return fail(_PROGRAM, "must run as root: use sudo", _FAILURE)
    if not options.allow_unsafe_code and (unsafe := ownership.refusal()) is not None:
        return fail(_PROGRAM, unsafe, _FAILURE)
    try:
        return _run(options.run_dir, options.seconds, as_json=options.json)
    except (MeasureError, RunDirError) as error:
        return fail(_PROGRAM, str(error), _FAILURE)
    except KeyboardInterrupt:
        return fail(_PROGRAM, "interrupted", _INTERRUPTED)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog=_PROGRAM,
        description="Measures what each hook of a running pbmond costs: how often its program "
        "runs, for how long, and what share of one core that takes.",
        epilog="Meanwhile the kernel measures every eBPF program on the machine. That adds some "
        "tens of ns to each run, on some virtual machines over 100, and partly to the figures.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "--seconds",
        metavar="N",
        type=_seconds,
        default=5.0,
        help="how long to measure (default: 5)",
    )
    add("--json", action="store_true", help="print one JSON object instead of a table")
    add(
        "--run-dir",
        metavar="DIR",
        type=Path,
        default=Config().run_dir,
        help="the daemon's --run-dir (default: /run/pbmon)",
    )
    add_switch(parser)
    return parser


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not _LEAST_S <= value <= _MOST_S:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0.1 to 3600")
    return value


def _run(run_dir: Path, seconds: float, *, as_json: bool) -> int:
    pid = holder(run_dir)
    measured = measure(attachments(pid), seconds)
    if holder(run_dir) != pid:
        raise MeasureError(f"the daemon (process {pid}) ended meanwhile; try again")
    if not as_json:
        return print_lines(costs.table(measured))
    kernel = os.uname()
    about = {
        "schema": costs.SCHEMA,
        "version": __version__,
        "kernel": kernel.release,
        "machine": kernel.machine,
        "pid": pid,
    }
    return print_lines([json.dumps(about | costs.as_json(measured))])
