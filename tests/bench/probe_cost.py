"""What the probes add to a system call, side by side with a per-event monitor and empty programs.

Run as root: ``.venv/bin/python tests/bench/probe_cost.py``. The variants take turns in every round,
so that whatever the machine does besides meets all of them alike. Right before and after each of
them the same calls are measured with nothing attached; what a variant adds is the median over the
rounds of its difference to those two. A measurement is the lower quartile of its chunks.
"""

from __future__ import annotations

import argparse
import ctypes
import logging
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles

import bench
import numpy as np
from bench import Calls, Processors, Verdict

from pbmond.attach import attach
from pbmond.config import Config
from pbmond.maps import Kernel
from pbmond.records import Rows

ROOT = Path(__file__).resolve().parents[2]
CHUNK_NS = 3_000_000
NOTHING, CONTROL = "nothing attached", "nothing, as a variant (noise)"
ON, OFF, SYSCALL_EXIT = "pbmon", "pbmon, files off", "pbmon, sockets by syscall-exit"
EMPTY, EVENTS = "empty programs on pbmon's hooks", "one event a call"
UNRELATED, FILE, ZERO, UDP = "getppid", "pread file", "read /dev/zero", "UDP send+recv"
_TRACED = ("read", "pread64", "write", "pwrite64", "sendto", "recvfrom", "sendmsg", "recvmsg")

Attached = Callable[[], AbstractContextManager[None]]


@dataclass(frozen=True, slots=True)
class Samples:
    """By variant and operation, one value a round: ns a call with it, and without around it."""

    variants: tuple[str, ...]
    operations: tuple[str, ...]
    with_it: Mapping[tuple[str, str], list[float]]
    without: Mapping[tuple[str, str], list[float]]

    def added(self, variant: str, operation: str) -> float:
        """Return what a variant adds to an operation, in ns."""
        key = variant, operation
        pairs = zip(self.with_it[key], self.without[key], strict=True)
        return bench.median([with_it - without for with_it, without in pairs])


class Work:
    """The measured calls and what they need; counts what it made."""

    def __init__(self, stack: ExitStack, chunks: int) -> None:
        file = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the stack does
        file.write(bytes(4096))
        file.flush()
        zero = stack.enter_context(Path("/dev/zero").open("rb", buffering=0))  # noqa: SIM115
        left, right = (stack.enter_context(_udp()) for _ in range(2))
        left.connect(right.getsockname())
        right.connect(left.getsockname())
        self._buffer = ctypes.create_string_buffer(64)
        self._files = (file, zero)
        at = ctypes.addressof(self._buffer)
        sending = (bench.SENDTO, left.fileno(), at, 1, 0, 0, 0)
        self.calls = {
            UNRELATED: Calls([(bench.GETPPID,)], os.getppid()),
            FILE: Calls([(bench.PREAD64, file.fileno(), at, 1, 0)], 1),
            ZERO: Calls([(bench.READ, zero.fileno(), at, 1)], 1),
            UDP: Calls([sending, (bench.RECVFROM, right.fileno(), at, 1, 0, 0, 0)], 2),
        }
        self._rounds = {name: calls.rounds(CHUNK_NS) for name, calls in self.calls.items()}
        self._chunks = chunks

    def measure(self) -> dict[str, float]:
        """Return ns a call of every operation."""
        for calls in self.calls.values():
            calls.run(500)
        return {
            name: quantiles(calls.measure(self._rounds[name], self._chunks))[0]
            for name, calls in self.calls.items()
        }

    def made(self, name: str) -> int:
        """How often one measure() makes the calls of an operation."""
        return 500 + self._rounds[name] * self._chunks


def _udp() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    return sock


class Other:
    """per_event.py in a process of its own, off the measuring processor."""

    def __init__(
        self, stack: ExitStack, processors: Processors, mode: str, hooks: list[str]
    ) -> None:
        command = [
            "/usr/bin/python3", "-I", str(Path(__file__).with_name("per_event.py")),
            str(ROOT / "bpf" / "headers"), mode, *hooks,
        ]  # fmt: skip
        with processors.elsewhere():
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        stack.callback(self._end)
        self.consumed = self._answer()

    def _end(self) -> None:
        with self._process as process:
            assert process.stdin is not None
            process.stdin.close()

    def _tell(self, word: str) -> int:
        assert self._process.stdin is not None
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Attach for the block."""
        self._tell("on")
        yield
        self.consumed += self._tell("off")


@contextmanager
def nothing() -> Iterator[None]:
    """Attach nothing."""
    yield


class Pbmon:
    """pbmon under one configuration; checks that it counted what was measured."""

    def __init__(self, config: Config, processors: Processors, work: Work) -> None:
        self._config, self._processors, self._work = config, processors, work
        self.hooks: list[str] = []

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Attach for the block; RuntimeError if a byte of it was not counted."""
        with self._processors.elsewhere():
            kernel = attach(self._config, logging.getLogger("bench"))
        try:
            self.hooks = [hook.name for hook in kernel.hooks if hook.error is None]
            yield
            self._check(kernel)
        finally:
            kernel.close()

    def _check(self, kernel: Kernel) -> None:
        flows, files, _ = kernel.read()
        udp = flows.keys["protocol"] == socket.IPPROTO_UDP
        rows = {"UDP": Rows(flows.keys[udp], flows.counters[udp]), "files": files}
        expected = {"UDP": self._work.made(UDP)}
        if self._config.files != "off":
            expected["files"] = self._work.made(FILE) + self._work.made(ZERO)
        for name, least in expected.items():
            mine = rows[name].counters[rows[name].keys["pid"] == os.getpid()]
            counted = int(np.sum(mine["rx_calls"]))
            # Python itself may have read a byte or two in the meantime.
            if not least <= counted <= least + 100:
                raise RuntimeError(f"{name}: {counted} calls counted, {least} made")


def _variants(stack: ExitStack, processors: Processors, work: Work) -> dict[str, Attached]:
    pbmon = Pbmon(Config(), processors, work)
    with pbmon.attached():
        work.measure()
    events = [f"syscalls/sys_{way}_{name}" for name in _TRACED for way in ("enter", "exit")]
    return {
        ON: pbmon.attached,
        OFF: Pbmon(Config(files="off"), processors, work).attached,
        SYSCALL_EXIT: Pbmon(Config(sockets="syscall-exit"), processors, work).attached,
        CONTROL: nothing,
        EMPTY: Other(stack, processors, "empty", pbmon.hooks).attached,
        EVENTS: Other(stack, processors, "events", events).attached,
    }


def measure(rounds: int, chunks: int, patience_s: float) -> Samples:
    """Measure every variant in each of ``rounds``."""
    with_it: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    without: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    processors = bench.pin()
    bench.wait_for_quiet(frozenset(), patience_s)
    with ExitStack() as stack:
        work = Work(stack, chunks)
        variants = _variants(stack, processors, work)
        ours = bench.tracing_programs()
        for number in range(rounds):
            for variant, attached in variants.items():
                before, during, after = _undisturbed(attached, work, ours, patience_s)
                for operation, value in during.items():
                    with_it[variant, operation].append(value)
                    without[variant, operation].append((before[operation] + after[operation]) / 2)
            print(f"round {number + 1} of {rounds}", file=sys.stderr)
    return Samples(tuple(variants), tuple(work.calls), with_it, without)


def _undisturbed(
    attached: Attached, work: Work, ours: frozenset[int], patience_s: float
) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
    """Measure before, with and after one variant, again if somebody else's programs came."""
    while True:
        bench.wait_for_quiet(ours, patience_s)
        before = work.measure()
        with attached():
            time.sleep(0.05)
            during = work.measure()
        bench.wait_for_quiet(ours, patience_s)  # ours go a moment after they are detached
        after = work.measure()
        if not bench.tracing_programs() - ours:
            return before, during, after


def _table(samples: Samples) -> str:
    rows = [[NOTHING], *([variant] for variant in samples.variants)]
    for operation in samples.operations:
        nothing = [ns for variant in samples.variants for ns in samples.without[variant, operation]]
        rows[0].append(f"{bench.median(nothing):.0f} ({min(nothing):.0f})")
        for row in rows[1:]:
            values = samples.with_it[row[0], operation]
            plus = samples.added(row[0], operation)
            row.append(f"{bench.median(values):.0f} ({min(values):.0f}) {plus:+.0f}")
    return bench.table(["ns a call: median (least), added", *samples.operations], rows)


def _verdicts(samples: Samples) -> list[Verdict]:
    plus = samples.added
    noise = max(5.0, 2 * abs(plus(CONTROL, UNRELATED)))
    verdicts = [
        Verdict("unrelated call, files on", plus(ON, UNRELATED), 50, "ns"),
        Verdict("unrelated call, files off (noise)", plus(OFF, UNRELATED), noise, "ns"),
        Verdict("UDP send+recv pair", plus(ON, UDP), 300, "ns"),
    ]
    for operation in (FILE, ZERO):
        share = 100 * plus(ON, operation) / plus(EVENTS, operation)
        verdicts += [
            Verdict(f"{operation}, 1 byte", plus(ON, operation), 350, "ns"),
            Verdict(f"{operation}, of what one event a call adds", share, 100 / 3, "%"),
        ]
    return verdicts


def main() -> int:
    """Print the table and the verdicts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--chunks", type=int, default=15, help="of 3 ms, in a round")
    parser.add_argument("--patience", type=float, default=5, help="s to wait for a quiet machine")
    options = parser.parse_args()
    samples = measure(options.rounds, options.chunks, options.patience)
    return bench.report(_table(samples), _verdicts(samples))


if __name__ == "__main__":
    sys.exit(main())
