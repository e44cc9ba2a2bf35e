"""What the probes add to a system call, side by side with a per-event monitor and empty programs.

Run as root: ``.venv/bin/python tests/bench/probe_cost.py``. The variants take turns in every round,
so that whatever the machine does besides meets all of them alike. Right before and after each of
them the same calls are measured with nothing attached; what a variant adds is the median over the
rounds of its difference to those two, and its ratio the median of the quotients. A measurement is
the lower quartile of its chunks.

System calls are met by each mode that this kernel allows. In an emulated machine ratios are all
that means anything: ``--emulated --rounds 2 --chunks 3``. QEMU's ``-icount shift=3`` counts
instructions instead of time there, so that nothing else on the host shows, and each is 8 ns.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import socket
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles

import bench
import numpy as np
from bench import Calls, Processors, Verdict
from variants import LOG, MODES, Attached, Empty, PerEvent, modes_here, nothing

from pbmond.config import Config
from pbmond.kernel.attach import attach
from pbmond.kernel.maps import Kernel
from pbmond.kernel.records import KernelRows
from pbmond.loader.hooks import SOCKET_TRACEPOINTS, Hook

CHUNK_NS = 3_000_000
NOTHING, CONTROL = "nothing attached", "nothing, as a variant (noise)"
ON, EMPTY = "pbmon by {}", "empty programs by {}"  # the mode
AT_CALLS, OFF, EVENTS = "pbmon, sockets too by {}", "pbmon, files off", "one event a call"
UNRELATED, FILE, ZERO = "getppid", "pread file", "read /dev/zero"
UDP, TCP = "UDP send+recv", "TCP send+recv"
_TRACED = ("read", "pread64", "write", "pwrite64", "sendto", "recvfrom", "sendmsg", "recvmsg")


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

    def ratio(self, variant: str, operation: str) -> float:
        """Return how many times as long an operation takes with a variant."""
        key = variant, operation
        pairs = zip(self.with_it[key], self.without[key], strict=True)
        return bench.median([with_it / without for with_it, without in pairs])


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
        pairs = {UDP: (left, right), TCP: _tcp(stack)}
        self.calls = {
            UNRELATED: Calls([(bench.GETPPID,)], os.getppid()),
            FILE: Calls([(bench.PREAD64, file.fileno(), at, 1, 0)], 1),
            ZERO: Calls([(bench.READ, zero.fileno(), at, 1)], 1),
        }
        for name, (one, other) in pairs.items():
            sending = (bench.SENDTO, one.fileno(), at, 1, 0, 0, 0)
            receiving = (bench.RECVFROM, other.fileno(), at, 1, 0, 0, 0)
            self.calls[name] = Calls([sending, receiving], 2)
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


def _tcp(stack: ExitStack) -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = stack.enter_context(socket.create_connection(listener.getsockname()))
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return client, stack.enter_context(listener.accept()[0])


class Pbmon:
    """pbmon under one configuration; checks that it counted what was measured."""

    def __init__(self, config: Config, processors: Processors, work: Work) -> None:
        self._config, self._processors, self._work = config, processors, work

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Attach for the block; RuntimeError if a byte of it was not counted."""
        with self._processors.elsewhere():
            kernel = attach(self._config, LOG)
        try:
            yield
            self._check(kernel)
        finally:
            kernel.close()

    def _check(self, kernel: Kernel) -> None:
        flows, files, _ = kernel.read()
        rows, expected = {"files": files}, {}
        for name, protocol in ((UDP, socket.IPPROTO_UDP), (TCP, socket.IPPROTO_TCP)):
            found = flows.keys["protocol"] == protocol
            rows[name] = KernelRows(flows.keys[found], flows.counters[found])
            expected[name] = self._work.made(name)
        if self._config.files != "off":
            expected["files"] = self._work.made(FILE) + self._work.made(ZERO)
        for name, least in expected.items():
            mine = rows[name].counters[rows[name].keys["pid"] == os.getpid()]
            counted = int(np.sum(mine["rx_calls"]))
            # Python itself may have read a byte or two in the meantime.
            if not least <= counted <= least + 100:
                raise RuntimeError(f"{name}: {counted} calls counted, {least} made")


def _variants(
    stack: ExitStack, processors: Processors, work: Work, modes: Mapping[str, Sequence[Hook]]
) -> tuple[dict[str, Attached], PerEvent]:
    variants: dict[str, Attached] = {CONTROL: nothing}
    for mode, hooks in modes.items():
        variants[ON.format(mode)] = Pbmon(Config(files=mode), processors, work).attached
        variants[EMPTY.format(mode)] = Empty(stack, hooks).attached
        if _has_socket_tracepoints(hooks):
            at_calls = Config(sockets=mode, files=mode)
            variants[AT_CALLS.format(mode)] = Pbmon(at_calls, processors, work).attached
    if all(map(_has_socket_tracepoints, modes.values())):
        variants[OFF] = Pbmon(Config(files="off"), processors, work).attached
    ways = [f"syscalls/sys_{way}_{name}" for name in _TRACED for way in ("enter", "exit")]
    events = PerEvent(stack, processors, ways)
    variants[EVENTS] = events.attached
    return variants, events


def _has_socket_tracepoints(hooks: Sequence[Hook]) -> bool:
    return {*SOCKET_TRACEPOINTS} <= {hook.name for hook in hooks}


def measure(options: argparse.Namespace, modes: Mapping[str, Sequence[Hook]]) -> Samples:
    """Measure every variant in each of ``options.rounds``."""
    with_it: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    without: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    processors = bench.pin()
    with ExitStack() as stack:
        work = Work(stack, options.chunks)
        variants, events = _variants(stack, processors, work, modes)
        own = {os.getpid(), events.pid}
        for number in range(options.rounds):
            for variant, attached in variants.items():
                before, during, after = _undisturbed(attached, work, own, options.patience)
                for operation, value in during.items():
                    with_it[variant, operation].append(value)
                    without[variant, operation].append((before[operation] + after[operation]) / 2)
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
    return Samples(tuple(variants), tuple(work.calls), with_it, without)


def _undisturbed(
    attached: Attached, work: Work, own: set[int], patience_s: float
) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
    """Measure before, with and after one variant, again if somebody else's programs came."""
    while True:
        bench.wait_for_quiet(own, patience_s)
        before = work.measure()
        with attached():
            time.sleep(0.05)
            during = work.measure()
        after = work.measure()
        if not bench.attached_by_others(own):
            return before, during, after


def _table(samples: Samples) -> str:
    rows = [[NOTHING], *([variant] for variant in samples.variants)]
    for operation in samples.operations:
        nothing = [ns for variant in samples.variants for ns in samples.without[variant, operation]]
        rows[0].append(f"{bench.median(nothing):.0f} ({min(nothing):.0f})")
        for row in rows[1:]:
            values = samples.with_it[row[0], operation]
            plus, times = samples.added(row[0], operation), samples.ratio(row[0], operation)
            row.append(f"{bench.median(values):.0f} ({plus:+.0f}, x {times:.2f})")
    return bench.table(["ns a call: median (added, ratio)", *samples.operations], rows)


def _verdicts(samples: Samples, mode: str) -> list[Verdict]:
    """Judge what a mode adds on a real machine."""
    plus, on = samples.added, ON.format(mode)
    noise = max(5.0, 2 * abs(plus(CONTROL, UNRELATED)))
    verdicts = [
        Verdict("unrelated call, files on", plus(on, UNRELATED), 50, "ns"),
        Verdict("UDP send+recv pair", plus(on, UDP), 300, "ns"),
    ]
    if OFF in samples.variants:
        unrelated = plus(OFF, UNRELATED)
        verdicts.append(Verdict("unrelated call, files off (noise)", unrelated, noise, "ns"))
    for operation in (FILE, ZERO):
        share = 100 * plus(on, operation) / plus(EVENTS, operation)
        verdicts += [
            Verdict(f"{operation}, 1 byte", plus(on, operation), 350, "ns"),
            Verdict(f"{operation}, of what one event a call adds", share, 100 / 3, "%"),
        ]
    return verdicts


def _comparison(samples: Samples) -> list[Verdict]:
    """Judge fexit by the exit tracepoints of the same run."""
    tracepoint, fexit = (ON.format(mode) for mode in MODES)
    return [
        Verdict(
            f"{operation}: fexit, of what exit tracepoints add",
            100 * samples.added(fexit, operation) / samples.added(tracepoint, operation),
            most,
            "%",
        )
        for operation, most in ((UNRELATED, 20), (FILE, 75), (ZERO, 75))
    ]


def main() -> int:
    """Print the table and the verdicts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--chunks", type=int, default=15, help="of 3 ms, in a round")
    parser.add_argument("--patience", type=float, default=5, help="s to wait for a quiet machine")
    parser.add_argument("--emulated", action="store_true", help="judge ratios only")
    options = parser.parse_args()
    bench.wait_for_quiet({os.getpid()}, options.patience)
    modes = modes_here(MODES)
    samples = measure(options, modes)
    verdicts = [] if options.emulated else _verdicts(samples, next(reversed(modes)))
    if len(modes) == len(MODES):
        verdicts += _comparison(samples)
    return bench.report(_table(samples), verdicts)


if __name__ == "__main__":
    sys.exit(main())
