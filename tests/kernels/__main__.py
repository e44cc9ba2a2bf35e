"""The matrix's command line: boots the kernels that are asked for and prints the table.

    python -m tests.kernels [--short | --only PATTERN] [--minutes N] [--results DIR] [SERIES...]

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
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from tests.kernels import builds, results, tables, userland, versions
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
from tests.kernels.qemu import Guest, run

_FAILURE, _USAGE, _UNAVAILABLE, _INTERRUPTED = 1, 2, 3, 130
_TOOLS: Final = ("qemu-system-x86_64", "depmod", "mkfs.ext4", "dpkg-deb")
#: Debian 13's root on a kernel of its own.
DEBIAN_13: Final = "debian13"
_DEBIAN_13_SERIES: Final = "6.12"
DEFAULT: Final = ("5.10", "6.1", "6.12", "6.18", versions.SID, versions.NEWEST, DEBIAN_13)
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
        _require_tools(options.series)
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
    add("--short", action="store_true", help="some paths of each kind, and no rung is forced")
    add("--minutes", type=float, metavar="N", help="give up after that time")
    add("--results", type=Path, metavar="DIR", help="write results of whole self-tests there")
    options = parser.parse_args(arguments)
    for series in options.series:
        if not (series == DEBIAN_13 or versions.is_series(series)):
            parser.error(f"{series}: must be one such as 6.1, or of {', '.join(DEFAULT[4:])}")
    plan = Plan(",".join(SHORT) if options.short else options.only, forced=not options.short)
    minutes = options.minutes or _GUEST_MINUTES * len(DEFAULT)
    return Options(
        plan, options.series or DEFAULT, time.monotonic() + 60 * minutes, options.results
    )


def _require_tools(series: Sequence[str]) -> None:
    tools = [*_TOOLS, *["debootstrap"] * (DEBIAN_13 in series)]
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        raise UnavailableError(f"not installed: {' '.join(missing)}")


def _boot_all(options: Options) -> Iterator[results.Result]:
    with locked(".prepare.lock", "another run prepares kernels: waiting for it"):
        apt = Apt()
        known = versions.builds(apt.packages())
        busybox = builds.busybox(apt)
        kernels: dict[tuple[str, bool], builds.Kernel] = {}
        for series in options.series:
            build = versions.choose(_DEBIAN_13_SERIES if series == DEBIAN_13 else series, known)
            say(f"{series}: {build.release}, Debian's {build.version}")
            kernels.setdefault((build.release, series == DEBIAN_13), builds.unpacked(build, apt))
    for (release, has_other_root), kernel in kernels.items():
        place = Path("/"), CHECKOUT
        if has_other_root:
            place = userland.debian_13(apt), userland.PLACE
        job = directory() / "runs" / (release + "-debian13" * has_other_root)
        shutil.rmtree(job, ignore_errors=True)
        job.mkdir(parents=True)
        result = _boot(Guest(kernel, *place, job), busybox, options)
        if options.place is not None and options.plan.only is None:
            results.save(result, options.place)
        yield result


def _boot(guest: Guest, busybox: Path, options: Options) -> results.Result:
    release = guest.kernel.build.release
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
