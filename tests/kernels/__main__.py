"""The matrix's command line: boots the kernels that are asked for and prints the table.

    python -m tests.kernels [--auto] [--short | --only PATTERN] [--minutes N] [--results DIR]
                            [SERIES...]

Run by ``packaging/check --kernels``. Exits with 0 if nothing is off, with 1 if something is or has
no result, with 3 if guests cannot be made here (QEMU or Debian's packages cannot be had).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from tests.kernels import builds, foreign, results, tables, userland, versions
from tests.kernels.apt import Apt
from tests.kernels.cache import (
    CHECKOUT,
    MatrixError,
    UnavailableError,
    directory,
    locked,
    say,
)
from tests.kernels.guest import Plan
from tests.kernels.machines import AMD64, ARM64, ARM64_16K, Machine
from tests.kernels.qemu import Guest, run

_FAILURE, _USAGE, _UNAVAILABLE, _INTERRUPTED = 1, 2, 3, 130
_TOOLS: Final = ("depmod", "mkfs.ext4", "dpkg-deb")
_GUEST_MINUTES: Final = 90.0
#: Some paths of each kind, for a run of a minute or two.
SHORT: Final = (
    *("files.read_write", "files.sixteen_threads", "files.pipe", "filesystems.null_and_zero"),
    *("filesystems.unlinked", "aio.read_write", "sockets.tcp_ipv4", "sockets.tcp_ipv6"),
    *("sockets.udp_unconnected_ipv4", "sockets.sendmmsg_recvmmsg", "families.unix_stream_pair"),
    *("stream_sockets.peeks_count_nothing", "families.netlink", "zero_copy.sendfile_to_tcp"),
    *("zero_copy.splice_pipe_tcp_pipe", "zero_copy.copy_file_range", "uring.plain_inline"),
    *("uring_sockets.tcp_inline", "processes.fork_inherits_descriptors", "brief.fork_and_exec"),
    *("brief.hundred_forks", "namespaces.veth_ipv4"),
)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of guest. ``root``: makes what becomes its /; None: this machine's own serves."""

    series: str
    machine: Machine = AMD64
    root: Callable[[Apt], Path] | None = None


#: Kinds that have a name of their own; another is named by its series.
NAMED: Final = {
    "debian13": Kind("6.12", AMD64, userland.debian_13),
    "arm64": Kind("6.1", ARM64, foreign.debian_12),
    "arm64-16k": Kind("6.12", ARM64_16K, foreign.debian_12),
}
DEFAULT: Final = ("5.10", "6.1", "6.12", "6.18", versions.SID, versions.NEWEST, *NAMED)


@dataclass(frozen=True, slots=True)
class Options:
    """What is asked for. ``deadline``: of time.monotonic(); ``place``: for whole self-tests."""

    plan: Plan
    series: Sequence[str]
    deadline: float
    place: Path | None


def main(arguments: Sequence[str]) -> int:
    """Run the matrix; return the exit status."""
    options = _options(arguments)
    os.umask(0o022)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # the guest is ended on the way out
    try:
        found = list(_boot_all(options))
    except UnavailableError as error:
        say(str(error))
        return _UNAVAILABLE
    except (MatrixError, versions.NoBuildError) as error:
        say(str(error))
        return _FAILURE
    except KeyboardInterrupt:
        say("interrupted")
        return _INTERRUPTED
    print("\n".join(tables.text(found)))
    return 0 if all(result.passed for result in found) else _FAILURE


def _options(arguments: Sequence[str]) -> Options:
    parser = argparse.ArgumentParser(
        prog="packaging/check --kernels",
        epilog="packaging/check --help says more.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("series", nargs="*", metavar="SERIES", help=f"default: {' '.join(DEFAULT)}")
    add("--only", metavar="PATTERNS", help="these paths, as the self-test takes them")
    add("--short", action="store_true", help="some paths of each kind, and no mode is forced")
    add("--auto", action="store_true", help="what the daemon takes by itself; no mode is forced")
    add("--minutes", type=float, metavar="N", help="give up after that time")
    add("--results", type=Path, metavar="DIR", help="write results of whole self-tests there")
    options = parser.parse_args(arguments)
    for series in options.series:
        if not (series in NAMED or versions.is_series(series)):
            names = ", ".join((versions.SID, versions.NEWEST, *NAMED))
            parser.error(f"{series}: must be one such as 6.1, or of {names}")
    forced = not (options.short or options.auto)
    plan = Plan(",".join(SHORT) if options.short else options.only, forced=forced)
    if options.results is not None:
        options.results.mkdir(parents=True, exist_ok=True)  # and not after an hour
    minutes = options.minutes or _GUEST_MINUTES * len(DEFAULT)
    return Options(
        plan, options.series or DEFAULT, time.monotonic() + 60 * minutes, options.results
    )


def require_tools(kinds: Sequence[Kind]) -> None:
    tools = {*_TOOLS, *(kind.machine.program for kind in kinds)}
    if any(kind.root for kind in kinds):
        tools.add("debootstrap")
    missing = sorted(tool for tool in tools if shutil.which(tool) is None)
    if missing:
        raise UnavailableError(f"not installed: {' '.join(missing)}")


def _boot_all(options: Options) -> Iterator[results.Result]:
    kinds = [NAMED.get(series, Kind(series)) for series in options.series]
    require_tools(kinds)
    with locked(".prepare.lock", "another run prepares kernels: waiting for it"):
        guests = list(prepared(kinds))
    for guest, busybox in guests:
        result = _boot(guest, busybox, options)
        if options.place is not None and options.plan.only is None:
            results.save(result, options.place)
        yield result


def prepared(kinds: Sequence[Kind]) -> Iterator[tuple[Guest, Path]]:
    """Yield each guest once, whatever series mean the same, with the busybox of its machine."""
    apts = {name: Apt(name) for name in {kind.machine.architecture for kind in kinds}}
    packages = {name: list(apt.packages()) for name, apt in apts.items()}
    seen = set()
    for kind in kinds:
        apt = apts[kind.machine.architecture]
        known = versions.builds(packages[apt.architecture], kind.machine.flavour)
        build = versions.choose(kind.series, known)
        say(f"{kind.series}: {build.release}, Debian's {build.version}")
        if (build, kind.root) in seen:
            continue
        seen.add((build, kind.root))
        kernel = builds.unpacked(build, apt)
        root, checkout, name = Path("/"), CHECKOUT, build.release
        if kind.root is not None:
            root, checkout = kind.root(apt), userland.PLACE
            name += f"-{root.name}"
        job = directory() / "runs" / name
        yield Guest(kind.machine, kernel, root, checkout, job), builds.busybox(apt)


def _boot(guest: Guest, busybox: Path, options: Options) -> results.Result:
    release = guest.kernel.build.release
    shutil.rmtree(guest.job, ignore_errors=True)
    guest.job.mkdir(parents=True)
    (guest.job / "plan.json").write_text(json.dumps(asdict(options.plan)))
    say(f"{release}: booting")
    left_s = min(options.deadline - time.monotonic(), 60 * _GUEST_MINUTES)
    failed = run(guest, busybox, max(left_s, 0), lambda line: say(f"{release}: {line}"))
    result = results.collect(guest.job, release, failed)
    if not result.passed:
        say(f"{release}: not well: the guest's console and results are in {guest.job}")
    return result


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
