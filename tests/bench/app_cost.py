"""What applications lose while pbmond runs, side by side with empty programs on the same hooks.

Run as root: ``.venv/bin/python tests/bench/app_cost.py``. The applications of apps.py are started
once. In every round each of them runs for a second with nothing attached, with each variant, and
with nothing again; what a variant costs is compared with the mean of the two, in percent of the
throughput. A figure is the median over the rounds, with its quartiles. What the empty programs
cost is the price of the hooks; the rest is ours.

In an emulated guest, where a start of pbmond takes half a minute: set PBMON_PATIENCE=20, and run
``--rounds 3 --interval 60 --mode syscall-exit --mode fexit --only redis --only fio``. With QEMU's
``-icount shift=1`` nothing else on the host shows; with snapshots 60 s apart only the hooks count.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles

import bench
from apps import APPS, App, AppError, Measure, Stage
from bench import Processors, Verdict
from variants import MODES, Attached, Empty, modes_here, nothing

from pbmond.loader.hooks import Hook
from pbmond.selftest.private_daemon import Daemon, DaemonError

NOTHING = "nothing"
EMPTY, PBMOND, OURS = "empty, {}", "pbmond, {}", "difference, {}"  # the mode
_LINGER_S = 10.0  # rows of exited processes stay so long, as by default

#: By variant and application, one value a round, in percent.
Losses = Mapping[tuple[str, str], list[float]]


@dataclass(frozen=True, slots=True)
class Samples:
    """By application, what it did in a second with nothing attached; and what was lost of it."""

    rates: Mapping[str, list[float]]
    lost: Losses


def _pbmond(mode: str, processors: Processors, interval_s: float) -> Attached:
    @contextmanager
    def attached() -> Iterator[None]:
        with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
            with processors.anywhere():
                daemon = Daemon(
                    Path(place),
                    files=mode,
                    interval_s=interval_s,
                    topic=b"all/processes",
                    exited_linger_s=_LINGER_S,
                )
            stack.enter_context(daemon)
            yield

    return attached


def _take_turns(
    variants: Mapping[str, Attached], apps: Mapping[str, Measure], options: argparse.Namespace
) -> Samples:
    """Measure every application with every variant in each of ``options.rounds``."""
    rates: defaultdict[str, list[float]] = defaultdict(list)
    lost: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    order = list(variants)
    for number in range(options.rounds):
        for name, measure in apps.items():
            before = _turn(nothing, measure, options)
            found = {variant: _turn(variants[variant], measure, options) for variant in order}
            without = (before + _turn(nothing, measure, options)) / 2
            rates[name].append(without)
            for variant, rate in found.items():
                lost[variant, name].append(100 * (1 - rate / without))
        order.reverse()
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
    return Samples(rates, lost)


def _turn(attached: Attached, measure: Measure, options: argparse.Namespace) -> float:
    """Run an application once; again, if somebody else's programs came meanwhile."""
    own = {os.getpid()}
    while True:
        bench.wait_for_quiet(own, options.patience)
        with attached():
            rate = measure(options.seconds)
        if not bench.attached_by_others(own):
            return rate


def _differences(lost: Losses, modes: Sequence[str], apps: Sequence[App]) -> Losses:
    """Return what pbmond lost beyond the empty programs, round by round."""
    return {
        (OURS.format(mode), app.name): [
            ours - empty
            for ours, empty in zip(
                lost[PBMOND.format(mode), app.name], lost[EMPTY.format(mode), app.name], strict=True
            )
        ]
        for mode in modes
        for app in apps
    }


def _table(samples: Samples, lost: Losses, columns: Sequence[str], apps: Sequence[App]) -> str:
    rows = []
    for app in apps:
        cells = [_spread(lost[column, app.name]) for column in columns]
        rows.append([app.title, f"{bench.median(samples.rates[app.name]):,.0f}/s", *cells])
    return bench.table(["% lost: median (quartiles)", "without", *columns], rows)


def _spread(values: Sequence[float]) -> str:
    low, middle, high = quantiles(values, n=4)
    return f"{middle:.1f} ({low:.1f} to {high:.1f})"


def _verdicts(lost: Losses, modes: Sequence[str], apps: Sequence[App]) -> list[Verdict]:
    """Judge fexit by the exit tracepoints of the same run."""
    if not {*MODES} <= {*modes}:
        return []
    tracepoint, fexit = (PBMOND.format(mode) for mode in MODES)
    found = []
    for app in apps:
        share = bench.median(lost[fexit, app.name]) / bench.median(lost[tracepoint, app.name])
        found.append(
            Verdict(f"{app.title}: fexit, of what exit tracepoints cost", 100 * share, 50, "%")
        )
    return found


def _measure(
    options: argparse.Namespace, apps: Sequence[App], modes: Mapping[str, Sequence[Hook]]
) -> Samples:
    processors = bench.pin()
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        scratch.chmod(0o755)
        stage = Stage(stack, scratch, processors)
        measures = {app.name: app.start(stage) for app in apps}
        variants: dict[str, Attached] = {NOTHING: nothing}
        for mode, hooks in modes.items():
            variants[EMPTY.format(mode)] = Empty(stack, hooks).attached
            variants[PBMOND.format(mode)] = _pbmond(mode, processors, options.interval)
        return _take_turns(variants, measures, options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="at least 3")
    parser.add_argument("--seconds", type=float, default=1, help="of each application in a turn")
    parser.add_argument("--interval", type=float, default=1, help="s between pbmond's snapshots")
    parser.add_argument("--patience", type=float, default=60, help="s to wait for a quiet machine")
    parser.add_argument("--mode", action="append", choices=["auto", *MODES], dest="modes")
    parser.add_argument("--only", action="append", choices=[app.name for app in APPS])
    options = parser.parse_args()
    if options.rounds < 3:
        parser.error("--rounds: quartiles take three and more")
    return options


def main() -> int:
    """Print the table and the verdicts."""
    options = _options()
    if os.geteuid():
        print("loading eBPF programs takes root", file=sys.stderr)
        return 2
    apps = [app for app in APPS if app.name in (options.only or [app.name for app in APPS])]
    packages = sorted({package for app in apps for package in app.missing()})
    if packages:
        print(f"programs are missing: apt-get install {' '.join(packages)}", file=sys.stderr)
        return 2
    bench.wait_for_quiet({os.getpid()}, options.patience)
    modes = modes_here(options.modes or ["auto"])
    try:
        samples = _measure(options, apps, modes)
    except (AppError, DaemonError) as error:
        print(error, file=sys.stderr)
        return 1
    lost = {**samples.lost, **_differences(samples.lost, [*modes], apps)}
    columns = [NOTHING, *(name.format(mode) for mode in modes for name in (EMPTY, PBMOND, OURS))]
    return bench.report(_table(samples, lost, columns, apps), _verdicts(lost, [*modes], apps))


if __name__ == "__main__":
    sys.exit(main())
