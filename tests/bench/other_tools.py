"""How the same paths fare in other tools: known bytes through each, and what each tool makes of it.

Run as root: ``.venv/bin/python tests/bench/other_tools.py``. One pbmond and the other tools, each
with its best options, watch the same processes in the same run. Bytes are compared, not time, so
the machine need not be quiet. It takes about a minute and a half.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bench
from paths import CALLS, DISK, MAPPED, PATHS, TCP, UDP, UNIX, Forked, Row
from stage import Mover, stage

from pbmond import __version__
from pbmond.kernel.records import START_TICK_NS
from pbmond.selftest.private_daemon import Daemon, DaemonError

Pair = tuple[float, float]  # bytes in and out
_KB = 1024
_SETTLED_S = 3.0  # every tool has looked at least once
#: A tool that counts headers too is right up to this share of the payload.
_WIRE = 1.1
_LEGEND = """
n/a: the tool does not claim to show such bytes. nothing: it claims to, and gave this process none.
right, on the wire: it counts headers too, and is at most a tenth above the payload.
"""
_ENVIRONMENT = os.environ | {"LC_ALL": "C", "S_TIME_FORMAT": "ISO", "COLUMNS": "500"}


def _largest(lines: Iterator[tuple[int, float, float]]) -> dict[int, Pair]:
    found: dict[int, Pair] = {}
    for pid, came, went in lines:
        before = found.get(pid, (0, 0))
        found[pid] = max(before[0], came), max(before[1], went)
    return found


def _summed(lines: Iterator[tuple[int, float, float]]) -> dict[int, Pair]:
    found: defaultdict[int, Pair] = defaultdict(lambda: (0, 0))
    for pid, came, went in lines:
        found[pid] = found[pid][0] + came, found[pid][1] + went
    return found


def _nethogs(text: str) -> dict[int, Pair]:
    """Totals: program, process and user, bytes sent, bytes received."""
    found = re.findall(r"^.*/(\d+)/\d+\t(\S+)\t(\S+)$", text, re.MULTILINE)
    return _largest((int(pid), float(came), float(went)) for pid, went, came in found)


def _iotop(text: str) -> dict[int, Pair]:
    """Accumulated: process, priority, user, KB read, KB written."""
    found = re.findall(r"^ *(\d+) \S+ +\S+ +([\d.]+) K +([\d.]+) K ", text, re.MULTILINE)
    return _largest((int(pid), _KB * float(came), _KB * float(went)) for pid, came, went in found)


def _pidstat(text: str) -> dict[int, Pair]:
    """Rates over a second: time, user, process, KB/s read, KB/s written."""
    found = re.findall(r"^[\d:]{8} +\d+ +(\d+) +([\d.]+) +([\d.]+) ", text, re.MULTILINE)
    return _summed((int(pid), _KB * float(came), _KB * float(went)) for pid, came, went in found)


def _ss(text: str) -> dict[int, Pair]:
    """A connection a line, with the processes that have it open."""
    amounts = []
    for line in text.splitlines():
        came, went = (
            int(found[1]) if (found := re.search(rf"\bbytes_{way}:(\d+)", line)) else 0
            for way in ("received", "sent")
        )
        amounts += [(int(pid), came, went) for pid in set(re.findall(r"\bpid=(\d+)", line))]
    return _summed(iter(amounts))


@dataclass(frozen=True, slots=True)
class Tool:
    """A program of Debian that watches while the paths run, or looks once at the end."""

    package: str
    command: tuple[str, ...]
    kinds: frozenset[str]
    counts: str  # what it says it counts
    parse: Callable[[str], Mapping[int, Pair]]
    wire: bool = False  # it counts headers too

    @property
    def name(self) -> str:
        """The column's title."""
        return " ".join(self.command[:2]) if self.command[0] == "pidstat" else self.command[0]


WATCHING = (
    Tool(
        "nethogs", ("nethogs", "-t", "-v", "2", "-C", "-a", "-d", "1"),
        frozenset((TCP, UDP)),
        "captured bytes of TCP and UDP, headers included; on lo a packet is its sender's alone",
        _nethogs, wire=True,
    ),
    Tool(
        "iotop-c", ("iotop-c", "-b", "-a", "-P", "-k", "-d", "1"), frozenset((DISK,)),
        "bytes asked of the disk or made dirty for it, metadata too", _iotop,
    ),
    Tool(
        "sysstat", ("pidstat", "-d", "1"), frozenset((DISK,)),
        "the same as rates, here added up", _pidstat,
    ),
)  # fmt: skip
AT_THE_END = (
    Tool(
        "iproute2", ("ss", "-tinpOH"), frozenset((TCP,)),
        "payload of TCP connections that are open, in its own network namespace", _ss,
    ),
)  # fmt: skip
TRIED = (
    ("bpfcc-tools", ("filetop-bpfcc", "-C", "1", "1")),
    ("bpfcc-tools", ("tcptop-bpfcc", "-C", "1", "1")),
    ("libbpf-tools", ("filetop", "1", "1")),
    ("libbpf-tools", ("tcptop", "1", "1")),
    ("sysdig", ("sysdig", "-n", "1")),
)


Amount = Callable[[Row, Forked], float]


@dataclass(frozen=True, slots=True)
class Column:
    """A tool's figures: ``amount`` of a row for one process, where it claims one of ``kinds``."""

    title: str
    about: str
    kinds: frozenset[str]
    amount: Amount
    wire: bool = False

    def cell(self, row: Row, moved: int, processes: Sequence[Forked]) -> str:
        """Return the verdict on one row."""
        if not self.kinds & row.kinds:
            return "n/a"
        amount = sum(self.amount(row, process) for process in processes)
        if amount == moved:
            return "exact"
        if not amount:
            return "nothing"
        share = f"{100 * amount / moved:.1f} %"
        about_right = self.wire and moved < amount <= _WIRE * moved
        return f"right, on the wire ({share})" if about_right else share


def _missing() -> str | None:
    """Say what is not installed and how to install it."""
    needed = {tool.package: tool.command[0] for tool in (*WATCHING, *AT_THE_END)}
    needed |= {package: command[0] for package, command in TRIED}
    packages = [package for package, name in needed.items() if not shutil.which(name)]
    if not packages:
        return None
    names = " ".join(packages)
    return f"not installed: {names}; apt-get install --no-install-recommends {names}"


def _version(package: str) -> str:
    query = ["dpkg-query", "--show", "--showformat=${Package} ${Version}", package]
    return subprocess.run(query, check=True, capture_output=True, text=True).stdout


@contextmanager
def _watching(tool: Tool, scratch: Path) -> Iterator[Callable[[], str]]:
    """Run a tool for the block; yield what ends it and returns all that it printed."""
    output = scratch / tool.package
    with output.open("wb") as file:
        process = subprocess.Popen(
            ["stdbuf", "-oL", *tool.command],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=_ENVIRONMENT,
            start_new_session=True,
        )

    def finish() -> str:
        if process.poll() is not None:
            last = (output.read_text(errors="replace").splitlines() or ["no output"])[-1]
            raise SystemExit(f"{tool.name} ended too early: {last}")
        process.send_signal(signal.SIGINT)
        process.wait(10)
        return output.read_text(errors="replace")

    try:
        yield finish
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _why_not(command: Sequence[str]) -> str:
    """Run a tool that may not run on this kernel; what it says."""
    try:
        ran = subprocess.run(
            command, capture_output=True, text=True, env=_ENVIRONMENT, timeout=20, check=False
        )
    except subprocess.TimeoutExpired:
        return "says nothing within 20 s"
    if ran.returncode == 0:
        return "runs here; its figures are not read by this program"
    lines = [line.strip() for line in (ran.stderr + ran.stdout).splitlines() if line.strip()]
    telling = [line for line in lines if re.search(r"No such file|Unable|failed", line)]
    return f"does not run here: {(telling or lines or ['no output'])[0]}"


def _io_of(pid: int) -> dict[str, int]:
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    return {name: int(value) for name, value in (line.split(": ") for line in lines)}


def _of_pairs(figures: Mapping[int, Pair]) -> Amount:
    return lambda row, process: figures.get(process.pid, (0, 0))[row.way == "out"]


def _column(tool: Tool, text: str) -> Column:
    about = f"{_version(tool.package)}, {' '.join(tool.command)}: {tool.counts}"
    return Column(tool.name, about, tool.kinds, _of_pairs(tool.parse(text)), tool.wire)


class Pbmon:
    """Every process that the daemon has shown, as it was shown last."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._rows: defaultdict[int, dict[int, dict[str, Any]]] = defaultdict(dict)
        self._lost: dict[str, int] = {}

    def look(self) -> None:
        """Take the next snapshot."""
        message = self._daemon.snapshot()
        assert message.processes is not None
        for row in message.processes.rows():
            # A start becomes exact when the process moves its first byte.
            self._rows[row["pid"]][row["start_ns"] // START_TICK_NS] = row
        self._lost = {name: count for name, count in message.health["lost"].items() if count}

    def _amount(self, row: Row, process: Forked) -> float:
        earliest = process.before_ns // START_TICK_NS
        starts = [start for start in self._rows[process.pid] if start >= earliest]
        if not starts:
            return 0
        counters = self._rows[process.pid][min(starts)]
        return float(sum(counters[name] for name in row.counters))

    def column(self) -> Column:
        """Return it as a column of the table."""
        lost = self._lost or "nothing"
        about = f"pbmon {__version__}: payload, as the calls returned it; lost, host-wide: {lost}"
        kinds = frozenset((TCP, UDP, UNIX, CALLS, DISK, MAPPED))
        return Column("pbmon", about, kinds, self._amount)


def _accounts(movers: Sequence[Mover]) -> Iterator[Column]:
    """What htop and atop read: the account of each process that still lives."""
    accounts = {mover.process.pid: _io_of(mover.process.pid) for mover in movers}
    for names, kind, about in (
        (
            ("rchar", "wchar"),
            CALLS,
            "as htop's RCHAR and WCHAR show it: read, write and similar calls",
        ),
        (
            ("read_bytes", "write_bytes"),
            DISK,
            "as the disk columns of htop and atop show it: the same as iotop-c",
        ),
    ):
        pairs = {pid: (io[names[0]], io[names[1]]) for pid, io in accounts.items()}
        title = " ".join(names)
        yield Column(title, f"/proc/PID/io, {about}", frozenset((kind,)), _of_pairs(pairs))


def measure() -> tuple[list[Column], list[list[str]]]:
    """Run every path before every tool; the columns, and the rows of the table."""
    with ExitStack() as stack:
        name = stack.enter_context(tempfile.TemporaryDirectory(prefix="pbmon-", dir="/var/tmp"))
        scratch, run = Path(name), Path(name, "run")
        scratch.chmod(0o755)  # the publisher must reach its socket
        run.mkdir()
        scene = stack.enter_context(stage(scratch))
        pbmon = Pbmon(stack.enter_context(Daemon(run, interval_s=1.0)))
        finishing = [stack.enter_context(_watching(tool, scratch)) for tool in WATCHING]
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
        movers = [Mover(work, scene) for work in PATHS]
        for mover in movers:
            stack.callback(mover.end)
        time.sleep(_SETTLED_S)
        ran = [(mover, *_run(mover, pbmon)) for mover in movers]
        time.sleep(_SETTLED_S)
        columns = [_column(*each) for each in zip(WATCHING, (f() for f in finishing), strict=True)]
        columns += [_column(tool, _output(tool)) for tool in AT_THE_END]
        columns += _accounts(movers)
        for mover in movers:
            mover.end()
        pbmon.look()  # what was for the disk alone is known at once when a process ends
        columns.insert(0, pbmon.column())
    rows = [
        [row.name, str(amount), *(column.cell(row, amount, processes) for column in columns)]
        for mover, moved, processes in ran
        for row, amount in zip(mover.rows, moved, strict=True)
    ]
    return columns, rows


def _run(mover: Mover, pbmon: Pbmon) -> tuple[list[int], list[Forked]]:
    print(mover.rows[0].name, file=sys.stderr)
    return mover.run(pbmon.look)


def _output(tool: Tool) -> str:
    return subprocess.run(
        tool.command, check=True, capture_output=True, text=True, env=_ENVIRONMENT
    ).stdout


def main() -> int:
    """Print the table, what each tool counts, and what does not run."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    problem = "must run as root: use sudo" if os.geteuid() else _missing()
    if problem:
        print(problem, file=sys.stderr)
        return 1
    try:
        columns, rows = measure()
    except DaemonError as error:
        print(error, file=sys.stderr)
        return 1
    print(bench.table(["path", "bytes", *(column.title for column in columns)], rows))
    print(_LEGEND)
    print(f"{bench.machine()}\n")
    for column in columns:
        print(f"- {column.title}: {column.about}")
    for package, command in TRIED:
        print(f"- {' '.join(command)} ({_version(package)}): {_why_not(command)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
