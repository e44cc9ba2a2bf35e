"""The options that ask for the past, and their values, checked."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from pbmon_client.command_line import path_of
from pbmon_client.data import times

#: What makes no sense for the past, and the option that says it.
_LIVE_ONLY: Final = (
    ("demo", "--demo"),
    ("count", "--count"),
    ("interval", "--interval"),
    ("wait", "--wait"),
)
OptionValue = TypeVar("OptionValue", int, times.Moment)


@dataclass(frozen=True, slots=True)
class PastOptions:
    """What of the past is asked for: the interval ``at`` a second of the epoch, or a range.

    A range goes from ``since`` to ``until`` (exclusive; None: to ``now``, when this was asked), in
    steps of ``step`` seconds if that is given. With neither ``at`` nor ``since`` only the
    ``history`` to use is known. ``remarks`` say how times were read that are not plain.
    """

    now: int
    at: int | None = None
    since: int | None = None
    until: int | None = None
    step: int | None = None
    history: Path | None = None
    remarks: tuple[str, ...] = ()


def add_past(group: argparse._ArgumentGroup) -> None:
    """Add the options."""
    group.add_argument(
        "--at", metavar="TIME", help="the interval at a time, of the finest that is kept"
    )
    group.add_argument(
        "--since", metavar="TIME",
        help="what moved from TIME on: counters are what moved in the range, rates are over it. "
             "With --ndjson a snapshot for each interval that is kept",
    )  # fmt: skip
    group.add_argument(
        "--until", metavar="TIME",
        help="the end of the range; a time without a date is the first one after --since "
             "(default: now)",
    )  # fmt: skip
    group.add_argument(
        "--step", metavar="DURATION",
        help="cut the range into steps, a snapshot for each; --json then prints one object whose "
             '"steps" are the snapshots',
    )  # fmt: skip
    group.add_argument(
        "--history", type=path_of, metavar="PATH",
        help="where the past is read from (default: what this host's recorder writes)",
    )  # fmt: skip


def asked_of(
    parser: argparse.ArgumentParser, given: argparse.Namespace, now_s: float, *, printed: bool
) -> PastOptions | None:
    """Return what of the past is asked for, None if nothing is; a mistake is SystemExit 2.

    ``printed`` is whether something is printed, rather than the interface opened.
    """
    times = (given.at, given.since, given.until, given.step)
    if times == (None,) * 4 and given.history is None:
        return None
    for name, option in _LIVE_ONLY:
        if getattr(given, name) is not None:
            parser.error(f"{option} is not for the past (--at, --since, --history)")
    if given.since is None:
        for value, option in ((given.until, "--until"), (given.step, "--step")):
            if value is not None:
                parser.error(f"{option} needs --since")
    elif given.at is not None:
        parser.error("--at is one interval and --since a range: give one of them")
    if printed and given.at is None and given.since is None:
        parser.error("--history: say which time with --at or --since")
    try:
        return _read(given, now_s)
    except ValueError as error:
        parser.error(str(error))


def _read(given: argparse.Namespace, now_s: float) -> PastOptions:
    """Read the times. ValueError says which of them is wrong, and why."""
    remarks: list[str] = []

    def moment(option: str, text: str | None, after: int | None = None) -> times.Moment | None:
        if text is None:
            return None
        read = _told(option, lambda: times.read(text, now_s, after=after))
        if read.seconds > now_s and option != "--until":
            raise ValueError(f"{option}: {text!r} is yet to come")
        remarks.extend([f"{option}: {read.remark}"] if read.remark else ())
        return read

    at, since = moment("--at", given.at), moment("--since", given.since)
    until = moment("--until", given.until, None if since is None else since.after)
    if since is not None and since.seconds >= (int(now_s) if until is None else until.seconds):
        words = f"--since is not before {'now' if until is None else '--until'}"
        raise ValueError("; ".join([words, *remarks]))
    step = None
    if given.step is not None:
        step = _told("--step", lambda: times.duration(given.step))
    at_s, since_s, until_s = (None if each is None else each.seconds for each in (at, since, until))
    return PastOptions(int(now_s), at_s, since_s, until_s, step, given.history, tuple(remarks))


def _told(option: str, read: Callable[[], OptionValue]) -> OptionValue:
    try:
        return read()
    except ValueError as error:
        raise ValueError(f"{option}: {error}") from None
