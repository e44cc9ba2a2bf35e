"""Every I/O path, byte for byte: what a workload was told by the kernel is what pbmon shows.

Each workload runs under every rung, once set up before the daemon started (descriptors that it did
not see being opened) and once after. They run in one batch for each daemon, since the daemon must
keep them apart anyway; each test then judges one of them.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import workloads
from daemon import Daemon
from expectations import Rows, check
from workloads import Expectation, UnavailableError

#: Sockets and reads, as kernels get them: from 6.3, 6.2, 5.15, and older; last, what one with the
#: socket tracepoints and without the cast would get.
RUNGS = (
    ("tracepoint", "cast"),
    ("syscall-exit", "cast"),
    ("syscall-exit", "typed"),
    ("syscall-exit", "probe"),
    ("tracepoint", "typed"),
)
ORDERS = ("before", "after")
#: What a rung cannot see, by workload: words that health.unseen must have for it.
UNSEEN = {
    ("tracepoint", "uring.read_multishot"): "multishot",
    ("syscall-exit", "uring.read_multishot"): "multishot",
    ("syscall-exit", "uring.receive_multishot"): "multishot",
}
#: What this kernel may lack (modules and devices); everything else must run.
OPTIONAL = frozenset(("families.crypto", "families.vsock"))


@dataclass(slots=True)
class Observed:
    """What one daemon saw: rows, and what each workload expects of them, by order and name."""

    unseen: list[str] = field(default_factory=list)
    rows: dict[str, Rows] = field(default_factory=dict)
    expected: dict[tuple[str, str], list[Expectation] | str] = field(default_factory=dict)


def _start(stack: ExitStack, name: str, scratch: Path) -> workloads.Workload | str:
    try:
        return stack.enter_context(workloads.start(name, scratch))
    except UnavailableError as reason:
        return str(reason)


def _go(workload: workloads.Workload | str) -> list[Expectation] | str:
    if isinstance(workload, str):
        return workload
    try:
        return workload.go()
    except UnavailableError as reason:
        return str(reason)


@pytest.fixture(scope="session", params=RUNGS, ids="-".join)
def observed(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Observed:
    sockets, reads = request.param
    seen = Observed()
    scratch = tmp_path_factory.mktemp("scratch")
    directory = tmp_path_factory.mktemp("run")
    with ExitStack() as stack:
        early = {name: _start(stack, name, scratch) for name in workloads.NAMES}
        daemon = stack.enter_context(Daemon(directory, sockets=sockets, reads=reads))
        for name, workload in early.items():
            seen.expected["before", name] = _go(workload)
        message = daemon.snapshot()
        seen.rows["before"] = Rows(message)
        seen.unseen = message.health["unseen"]
        with ExitStack() as late:
            for name in workloads.NAMES:
                seen.expected["after", name] = _go(_start(late, name, scratch))
            seen.rows["after"] = Rows(daemon.snapshot())
    rungs = {"sockets": sockets, "files": "syscall-exit", "reads": reads}
    assert message.health["rungs"] == rungs
    return seen


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", workloads.NAMES)
def test_every_byte_is_counted_once(
    observed: Observed, order: str, name: str, request: pytest.FixtureRequest
) -> None:
    rung, _reads = request.node.callspec.params["observed"]
    expected = observed.expected[order, name]
    if isinstance(expected, str):
        assert name in OPTIONAL or os.geteuid() != 0, f"unavailable: {expected}"
        pytest.skip(expected)
    words = UNSEEN.get((rung, name))
    if words is not None:
        assert any(words in line for line in observed.unseen)
        return
    rows, older = observed.rows[order], order == "before"
    failures = [line for each in expected for line in check(each, rows, older=older)]
    assert not failures, "\n".join(failures)
