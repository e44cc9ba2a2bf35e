"""Claims about the self-test's programs: what they ask of a kernel, and what they never do."""

from __future__ import annotations

import ast
import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pbmond.selftest.workloads import Workload, programs
from pbmond.selftest.workloads.programs import kernel
from pbmond.selftest.workloads.programs import ring as uring
from pbmond.selftest.workloads.programs.program import UnavailableError, offered
from pbmond.selftest.workloads.programs.ring import Ring

SOURCES = sorted(Path(programs.__file__).parent.glob("*.py"))


@pytest.fixture
def ring() -> Iterator[Ring]:
    try:
        made = Ring()
    except UnavailableError as reason:
        pytest.skip(str(reason))
    yield made
    os.close(made.fd)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_no_program_forks_as_python_does(path: Path) -> None:
    """From Python 3.12 on, os.fork() reads /proc/self/stat: bytes that no program expects."""
    called = {node.attr for node in ast.walk(ast.parse(path.read_text()))
              if isinstance(node, ast.Attribute)
              and isinstance(node.value, ast.Name) and node.value.id == "os"}  # fmt: skip
    assert not {"fork", "forkpty"} & called


_BUSY_ON_THE_WAY_OUT = """
import os, sys, time
os.write(1, b'{"ready": %d}\\n' % os.getpid())
end = time.monotonic() + 0.3
while time.monotonic() < end:
    pass
open("left", "w").close()
sys.stdin.read()
"""


def test_a_program_is_ready_once_the_write_that_says_so_has_returned(tmp_path: Path) -> None:
    stdin, orders = os.pipe()
    answers, stdout = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-c", _BUSY_ON_THE_WAY_OUT], stdin=stdin, stdout=stdout, cwd=tmp_path
    ):
        os.close(stdin)
        os.close(stdout)
        with Workload("busy", tmp_path, (orders, answers), started_ns=0):
            assert (tmp_path / "left").exists()


def test_a_fork_reads_nothing_and_the_child_ends_by_itself() -> None:
    before = _read_so_far()
    pid = kernel.fork()
    if pid == 0:
        os._exit(7)
    after = _read_so_far()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    # The second look shows what the first one read.
    assert after - before == before.size


class _Reads(int):
    """Bytes that this process has read, and how many it read to find out."""

    size: int


def _read_so_far() -> _Reads:
    fd = os.open("/proc/self/io", os.O_RDONLY)
    text = os.read(fd, 4096)
    os.close(fd)
    found = _Reads(int(text.split()[1]))
    found.size = len(text)
    return found


def test_the_kernel_is_asked_which_opcodes_it_has(ring: Ring) -> None:
    ring.submit(uring.READ, -1)
    assert ring.complete()[0] == -errno.EBADF
    with pytest.raises(UnavailableError, match="opcode 255"):
        ring.submit(255, -1)


@pytest.mark.parametrize(
    ("flags", "ioprio", "lacking"),
    [
        (uring.SKIP_SUCCESS, 0, "without a completion"),
        (0, uring.RECV_MULTISHOT, "multishot receive"),
    ],
)
def test_flags_of_newer_kernels_are_not_offered_by_older_ones(
    ring: Ring, flags: int, ioprio: int, lacking: str
) -> None:
    ring._features = 0
    ring._opcodes = frozenset({uring.RECV})
    with pytest.raises(UnavailableError, match=lacking):
        ring.submit(uring.RECV, -1, flags=flags, ioprio=ioprio)


def test_a_kernel_thread_may_be_able_to_use_registered_files_alone(ring: Ring) -> None:
    ring._sqpoll, ring._features = True, 0
    with pytest.raises(UnavailableError, match="not registered"):
        ring.submit(uring.READ, 0)


def test_a_result_of_einval_is_an_error_and_not_a_missing_feature(ring: Ring) -> None:
    ring._opcodes = frozenset({255})
    ring.submit(255, -1)
    with pytest.raises(OSError, match="Invalid argument"):
        ring.result()


@pytest.mark.parametrize(
    ("numbers", "raised"), [((), OSError), ((errno.EINVAL,), UnavailableError)]
)
def test_einval_means_a_missing_feature_only_where_it_can_mean_nothing_else(
    numbers: tuple[int, ...], raised: type[Exception]
) -> None:
    with pytest.raises(raised), offered("this", *numbers):
        raise OSError(errno.EINVAL, "Invalid argument")
