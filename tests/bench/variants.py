"""What benchmarks attach in turns: nothing, empty programs on pbmon's hooks, an event monitor."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from bench import Processors

from pbmond.config import Config
from pbmond.kernel.attach import attach
from pbmond.kernel.loading import AttachError
from pbmond.loader import bpf, kernelfs
from pbmond.loader.attaching import open_hook
from pbmond.loader.btf import Btf
from pbmond.loader.hooks import Hook, Modes, hooks
from pbmond.loader.uring import uring

ROOT = Path(__file__).resolve().parents[2]
MODES = ("syscall-exit", "fexit")
LOG = logging.getLogger("bench")
_NOTHING = bytes.fromhex("b700000000000000 9500000000000000")  # r0 = 0; exit
_KINDS = {
    "tracepoint": bpf.TRACEPOINT,
    "raw_tracepoint": bpf.RAW_TRACEPOINT,
    "fexit": bpf.TRACING,
}

#: Attaches something for a block.
Attached = Callable[[], AbstractContextManager[None]]


@contextmanager
def nothing() -> Iterator[None]:
    """Attach nothing."""
    yield


def modes_here(wanted: Sequence[str]) -> dict[str, list[Hook]]:
    """Return pbmon's hooks by each mode of ``wanted`` that runs here; say why the others do not.

    ``auto`` goes by the name of the mode that pbmon chooses. SystemExit if none runs.
    """
    found = {}
    for mode in wanted:
        try:
            modes, here = _attach_once(Config(files=mode))
        except AttachError as error:
            print(error, file=sys.stderr)
        else:
            found[modes.files] = here
    if not found:
        raise SystemExit(1)
    return found


def _attach_once(config: Config) -> tuple[Modes, list[Hook]]:
    kernel = attach(config, LOG)
    kernel.close()
    modes = Modes(kernel.modes["sockets"], kernel.modes["files"])
    words = "sockets by {sockets}, files by {files}, {reads} reads".format(**kernel.modes)
    print(words, file=sys.stderr)
    taken = {hook.name for hook in kernel.hooks if hook.error is None}
    every = hooks(
        modes,
        uring(Btf()).hooks,
        by_perf="sched/sched_process_exec" in taken,
        dispatched="raw_syscalls/sys_exit" in taken,
    )
    return modes, [hook for hook in every if hook.name in taken]


class Empty:
    """Empty programs on given hooks: what the hooks themselves cost."""

    def __init__(self, stack: ExitStack, places: Sequence[Hook]) -> None:
        """Load them."""
        self._tracefs = kernelfs.tracefs()
        stack.callback(os.close, self._tracefs)
        btf = Btf()
        self._programs = {}
        for hook in places:
            function = btf.function(hook.name) or 0 if hook.kind == "fexit" else 0
            loaded = bpf.load_program(_KINDS[hook.kind], _NOTHING, "empty", function=function)
            self._programs[hook] = loaded.descriptor
            stack.callback(os.close, loaded.descriptor)

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Attach for the block."""
        links = [open_hook(*each, self._tracefs) for each in self._programs.items()]
        try:
            yield
        finally:
            # The kernel lets each tracepoint go only after a grace period: wait for all together.
            with ThreadPoolExecutor(len(links)) as pool:
                list(pool.map(os.close, links))


class PerEvent:
    """per_event.py in a process of its own, off the measuring processor."""

    def __init__(self, stack: ExitStack, processors: Processors, events: Sequence[str]) -> None:
        """Start it; ``events``: the tracepoints it is to trace."""
        command = [
            "/usr/bin/python3", "-I", str(Path(__file__).with_name("per_event.py")),
            str(ROOT / "bpf" / "headers"), *events,
        ]  # fmt: skip
        with processors.elsewhere():
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        stack.callback(self._end)
        self.pid = self._process.pid
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
