"""The options of whatever shows metrics: how many names have series of their own."""

from __future__ import annotations

import argparse
from typing import Final

from pbmon_client.metrics.meter import DEFAULT_TOP, MeterOptions

_MOST_TOP: Final = 1000


def add_options(group: argparse._ArgumentGroup, prefix: str = "") -> None:
    """Add ``--PREFIXtop`` and ``--PREFIXprograms``."""
    group.add_argument(
        f"--{prefix}top", dest="metering_top", type=_top, default=DEFAULT_TOP, metavar="N",
        help="how many units, containers and users (each the busiest) have series of their own "
             f"(default: {DEFAULT_TOP}); the others share one",
    )  # fmt: skip
    group.add_argument(
        f"--{prefix}programs", dest="metering_programs", action="store_true",
        help="series of programs, by name, as well",
    )  # fmt: skip


def chosen(given: argparse.Namespace) -> MeterOptions:
    """Return what was chosen by these options."""
    return MeterOptions(given.metering_top, programs=given.metering_programs)


def _top(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:5]) <= _MOST_TOP):
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to {_MOST_TOP}")
    return int(text)
