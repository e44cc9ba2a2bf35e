"""Every I/O path, byte for byte: pbmon shows what the kernel returned to the workload.

Each workload runs under every mode, once set up before the daemon started (descriptors that it did
not see being opened) and once after. They run in one batch for each daemon, since the daemon must
keep them apart anyway; each test then judges one of them.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pbmond.selftest.observation import ORDERS, Observed, observe
from pbmond.selftest.private_daemon import Daemon
from pbmond.selftest.verdicts import EXACT, NOT_OFFERED, UNSEEN
from pbmond.selftest.workloads import EXCUSES, NAMES

#: Sockets and reads, as kernels get them: from 6.3, 6.2, 5.15, and older; then what one with the
#: socket tracepoints and without the cast would get; last, from 7.0.
MODES = (
    ("tracepoint", "cast"),
    ("syscall-exit", "cast"),
    ("syscall-exit", "typed"),
    ("syscall-exit", "probe"),
    ("tracepoint", "typed"),
    ("tracepoint by perf", "cast"),
)
#: What this kernel may lack (modules and devices); everything else must run.
OPTIONAL = frozenset(
    (
        *("families.crypto", "families.vsock", "lossy.netem", "sockets.sctp", "stream_sockets.tls"),
        *("foreign.calls_of_a_32_bit_program", "foreign.int_80_of_a_64_bit_program"),
    )
)


_AS_FROM_7_0 = f"""#!/usr/bin/python3
# Runs the loader ($3 $4) as on a kernel that may preempt the programs of raw tracepoints.
import runpy, sys
sys.path.append({str(Path(__file__).parents[2])!r})
from pbmond.loader import offsets, preemption
offsets.raw_is_preemptible = preemption.raw_is_preemptible = lambda _btf: True
preemption.of_kernel = lambda: "for the test"
sys.argv = sys.argv[3:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def by_perf(directory: Path) -> Path:
    """Return an interpreter under which the loader takes tracepoints by way of perf."""
    folder = directory / "bin"  # of its own: what lies beside a script could be imported
    folder.mkdir()
    path = folder / "python"
    path.write_text(_AS_FROM_7_0)
    path.chmod(0o755)
    return path


@pytest.fixture(scope="session", params=MODES, ids="-".join)
def observed(request: pytest.FixtureRequest) -> Observed:
    (sockets, _, way), reads = request.param[0].partition(" "), request.param[1]

    def daemon(path: Path) -> Daemon:
        python = by_perf(path) if way else None
        return Daemon(path, sockets=sockets, reads=reads, bcc_python=python)

    seen = observe(NAMES, daemon, seed=0)
    # Builds of other distributions need room under the verifier's limit of a million.
    assert seen.health["cost"]["verified_instructions"] < 200_000
    assert seen.health["modes"] == {"sockets": sockets, "files": "syscall-exit", "reads": reads}
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
