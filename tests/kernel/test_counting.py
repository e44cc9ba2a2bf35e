"""Every I/O path, byte for byte: what a workload was told by the kernel is what pbmon shows.

Each workload runs under every rung, once set up before the daemon started (descriptors that it did
not see being opened) and once after. They run in one batch for each daemon, since the daemon must
keep them apart anyway; each test then judges one of them.
"""

from __future__ import annotations

import os

import pytest

from pbmond.selftest.daemon import Daemon
from pbmond.selftest.session import ORDERS, Observed, observe
from pbmond.selftest.verdicts import EXACT, NOT_OFFERED, UNSEEN
from pbmond.selftest.workloads import EXCUSES, NAMES

#: Sockets and reads, as kernels get them: from 6.3, 6.2, 5.15, and older; last, what one with the
#: socket tracepoints and without the cast would get.
RUNGS = (
    ("tracepoint", "cast"),
    ("syscall-exit", "cast"),
    ("syscall-exit", "typed"),
    ("syscall-exit", "probe"),
    ("tracepoint", "typed"),
)
#: What this kernel may lack (modules and devices); everything else must run.
OPTIONAL = frozenset(
    (
        *("families.crypto", "families.vsock", "sockets.sctp", "stream_sockets.tls"),
        *("foreign.calls_of_a_32_bit_program", "foreign.int_80_of_a_64_bit_program"),
    )
)


@pytest.fixture(scope="session", params=RUNGS, ids="-".join)
def observed(request: pytest.FixtureRequest) -> Observed:
    sockets, reads = request.param
    seen = observe(NAMES, lambda path: Daemon(path, sockets=sockets, reads=reads), seed=0)
    # Builds of other distributions need room under the verifier's limit of a million.
    assert seen.health["cost"]["verified_instructions"] < 200_000
    assert seen.health["rungs"] == {"sockets": sockets, "files": "syscall-exit", "reads": reads}
    return seen


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", NAMES)
def test_every_byte_is_counted_once(observed: Observed, order: str, name: str) -> None:
    lines = [line for line in observed.lines if (line.path, line.opened) == (name, order)]
    assert lines
    for line in lines:
        if line.verdict == NOT_OFFERED:
            assert name in OPTIONAL or os.geteuid() != 0, line.reason
            pytest.skip(str(line.reason))
        assert line.verdict == EXACT or (line.verdict == UNSEEN and name in EXCUSES), line.reason
