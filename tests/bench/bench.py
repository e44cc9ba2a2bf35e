"""What the benchmarks share: a tight loop of system calls, processors, tables and verdicts."""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pbmond.loader import bpf

# What a descriptor that attaches a program is called in /proc: a link, or an event of perf.
_ATTACHMENTS = ("anon_inode:bpf", "anon_inode:[perf_event]")

# x86-64, System V: u64 run(u64 rounds, call *first, call *end), where a call is seven words:
# number and arguments. Returns the sum of the results. No compiler is needed where this runs, and
# the loop itself costs about 2 ns a call; a call made by ctypes costs some hundred.
_MACHINE_CODE = bytes.fromhex(
    "f30f1efa"  # endbr64
    "53 55 4154 4155 4156"  # push rbx, rbp, r12, r13, r14
    "4989fc 4989f5 4989d6"  # mov r12, rdi; mov r13, rsi; mov r14, rdx
    "31ed"  # xor ebp, ebp
    "4c89eb"  # round: mov rbx, r13
    "488b03"  # call: mov rax, [rbx]
    "488b7b08 488b7310 488b5318"  # mov rdi, [rbx+8]; mov rsi, [rbx+16]; mov rdx, [rbx+24]
    "4c8b5320 4c8b4328 4c8b4b30"  # mov r10, [rbx+32]; mov r8, [rbx+40]; mov r9, [rbx+48]
    "0f05"  # syscall
    "4801c5"  # add rbp, rax
    "4883c338 4c39f3 75d7"  # add rbx, 56; cmp rbx, r14; jne call
    "49ffcc 75cf"  # dec r12; jne round
    "4889e8"  # mov rax, rbp
    "415e 415d 415c 5d 5b c3"  # pop r14, r13, r12, rbp, rbx; ret
)
_CALL_WORDS = 7
_NUMBERS = {  # getppid, read, pread64, sendto, recvfrom
    "x86_64": (110, 0, 17, 44, 45),
    "aarch64": (173, 63, 67, 206, 207),
}
GETPPID, READ, PREAD64, SENDTO, RECVFROM = _NUMBERS[platform.machine()]


class Calls:
    """A fixed sequence of system calls, to be made many times over at the least cost."""

    def __init__(self, calls: Sequence[Sequence[int]], result: int | None = None) -> None:
        """``calls``: number and arguments of each; ``result``: what they return together."""
        self._words = (ctypes.c_uint64 * (_CALL_WORDS * len(calls)))()
        for index, call in enumerate(calls):
            for word, value in enumerate(call):
                self._words[index * _CALL_WORDS + word] = value
        self._calls = [[ctypes.c_long(word) for word in call] for call in calls]
        self._result = result
        self._run = self._in_machine_code() or self._in_python

    def _in_machine_code(self) -> Callable[[int], int] | None:
        if platform.machine() != "x86_64":
            return None
        try:
            self._memory = mmap.mmap(
                -1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
            )
        except OSError:  # a security module may forbid memory that is writable and executable
            return None
        self._memory.write(_MACHINE_CODE)
        address = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        words = (ctypes.c_uint64,) * 3
        run = ctypes.CFUNCTYPE(ctypes.c_uint64, *words)(address)
        first = ctypes.addressof(self._words)
        end = first + ctypes.sizeof(self._words)
        return lambda rounds: int(run(rounds, first, end))

    def _in_python(self, rounds: int) -> int:
        """Do the same through ctypes: its own cost is in every column, the differences stay."""
        syscall = ctypes.CDLL(None).syscall
        syscall.restype = ctypes.c_long
        return sum(int(syscall(*call)) for _ in range(rounds) for call in self._calls)

    def run(self, rounds: int) -> None:
        """Make the calls ``rounds`` times; RuntimeError if they did not return what they must."""
        total = self._run(rounds)
        if self._result is not None and total != self._result * rounds:
            raise RuntimeError(f"{rounds} rounds returned {total}, not {self._result} each")

    def rounds(self, duration_ns: int) -> int:
        """Return how many rounds take about ``duration_ns``."""
        begin = time.perf_counter_ns()
        self.run(200)
        return max(200, 200 * duration_ns // (time.perf_counter_ns() - begin))

    def measure(self, rounds: int, chunks: int) -> list[float]:
        """Return ns a round for each of ``chunks`` chunks of ``rounds``."""
        samples = []
        with real_time():
            for _ in range(chunks):
                begin = time.perf_counter_ns()
                self.run(rounds)
                samples.append((time.perf_counter_ns() - begin) / rounds)
        return samples


@contextmanager
def real_time() -> Iterator[None]:
    """Keep ordinary tasks of the machine from taking the processor in the middle of a chunk."""
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    try:
        yield
    finally:
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


@dataclass(frozen=True, slots=True)
class Processors:
    """The one that measures, and the others, for whatever else a benchmark runs."""

    measuring: frozenset[int]
    others: frozenset[int]

    def elsewhere(self) -> AbstractContextManager[None]:
        """Run the block, and what it starts, on the other processors."""
        return self._on(self.others)

    def anywhere(self) -> AbstractContextManager[None]:
        """Run the block, and what it starts, on all processors."""
        return self._on(self.measuring | self.others)

    @contextmanager
    def _on(self, processors: frozenset[int]) -> Iterator[None]:
        os.sched_setaffinity(0, processors)
        try:
            yield
        finally:
            os.sched_setaffinity(0, self.measuring)


def pin() -> Processors:
    """Pin this process to the last processor."""
    every = sorted(os.sched_getaffinity(0))
    processors = Processors(frozenset(every[-1:]), frozenset(every[:-1] or every))
    os.sched_setaffinity(0, processors.measuring)
    return processors


@dataclass(frozen=True, slots=True)
class Verdict:
    """One figure against its limit; ``limit`` None: there is none, the figure only informs."""

    what: str
    value: float
    limit: float
    unit: str

    @property
    def met(self) -> bool:
        """Whether the figure keeps its limit."""
        return self.value <= self.limit

    def __str__(self) -> str:
        word = "ok" if self.met else "MISSED"
        return f"{word}: {self.what}: {self.value:.4g} {self.unit} (at most {self.limit:g})"


def attached_by_others(own: AbstractSet[int]) -> set[int]:
    """Return the processes, except ``own``, that have eBPF programs attached to the kernel."""
    processes = {int(name) for name in os.listdir("/proc") if name.isdigit()}  # noqa: PTH208
    return {pid for pid in processes - own if _has_attached(pid)}


def _has_attached(pid: int) -> bool:
    with suppress(OSError):  # it ended in the meantime
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                target = str(descriptor.readlink())
                if target.startswith(_ATTACHMENTS) and bpf.attached(pid, int(descriptor.name)):
                    return True
    return False


def wait_for_quiet(own: AbstractSet[int], patience_s: float) -> None:
    """Return once nobody but the processes ``own`` has programs attached; SystemExit if not."""
    end = time.monotonic() + patience_s
    while others := attached_by_others(own):
        if time.monotonic() > end:
            pids = ", ".join(map(str, sorted(others)))
            raise SystemExit(
                f"others have eBPF programs attached (is pbmond running? processes {pids}): "
                "stop them, or the figures mean nothing"
            )
        time.sleep(1)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table whose columns line up, so that a terminal shows it well too."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        first, *rest = zip(cells, widths, strict=True)
        texts = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]
        return "| " + " | ".join(texts) + " |"

    rule = "|" + "|".join("-" * (w + 1) + (":" if i else "-") for i, w in enumerate(widths)) + "|"
    return "\n".join([line(header), rule, *map(line, rows)])


def report(text: str, verdicts: Sequence[Verdict]) -> int:
    """Print a benchmark's table and verdicts; return the exit status, 1 if a figure is missed."""
    print(text)
    print()
    for verdict in verdicts:
        print(f"- {verdict}")
    return int(not all(verdict.met for verdict in verdicts))


def machine() -> str:
    """Return kernel, processor and date in one line."""
    model = platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    hypervisor = "hypervisor" in Path("/proc/cpuinfo").read_text()
    return (
        f"Linux {platform.release()}, {os.cpu_count()} x {model}"
        f"{' (virtual machine)' if hypervisor else ''}, {time.strftime('%Y-%m-%d')}"
    )


def median(values: Sequence[float]) -> float:
    """Return the median; the benchmarks never average, because disturbances only ever add."""
    return statistics.median(values)
