"""What users can do to the daemon's work in /proc: cost much, or hang. Ticks go on all the same."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fuse import SERVE
from processes import row_of
from waiting import snapshot_when, wait_until

from pbmond import wire
from pbmond.collector import PROC_TIME_NS
from pbmond.fields import OPEN
from pbmond.selftest.private_daemon import Daemon, now_ns

#: The attack of the issue: 200 processes of 4,000 descriptors cost 3.7 s of CPU a tick. In full:
#: ``PBMON_ATTACK=200 pytest tests/faults/test_proc_attacks.py``.
PROCESSES = int(os.environ.get("PBMON_ATTACK", "40"))
DESCRIPTORS = 4_000
USER, OTHER_USER = 64_901, 64_902

#: One process of the crowd is told by its uid. Each moves a byte every tenth of a second.
_CROWD = """
import json, os, resource, sys, time
uid, count, descriptors = map(int, sys.argv[1:])
room = max(256, descriptors + 50)
resource.setrlimit(resource.RLIMIT_NOFILE, (room, room))
null = os.open("/dev/null", os.O_WRONLY)
for _ in range(descriptors):
    os.dup(null)
os.setgroups([])
os.setresgid(uid, uid, uid)
os.setresuid(uid, uid, uid)
pids = []
for _ in range(count):
    pid = os.fork()
    if not pid:
        while True:
            os.write(null, b"x")
            time.sleep(0.1)
        os._exit(0)
    pids.append(pid)
print(json.dumps(pids), flush=True)
sys.stdin.read()
for pid in pids:
    os.kill(pid, 9)
    os.waitpid(pid, 0)
"""


@contextmanager
def program(code: str, *arguments: object) -> Iterator[Any]:
    """Run ``code`` until the end of the block; yields what it printed, as JSON."""
    command = [sys.executable, "-I", "-S", "-c", code, *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        line = running.stdout.readline()
        assert line, "the program failed"
        try:
            yield json.loads(line)
        finally:
            running.stdin.close()
            running.stdout.close()
    assert running.returncode == 0


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with Daemon(tmp_path, interval_s=1.0, topic=b"all/flows") as running:
        yield running


def rows(message: wire.Message, pids: list[int]) -> list[dict[str, Any]]:
    return [row for row in message.processes.rows() if row["pid"] in set(pids)]


def unknown(message: wire.Message, pids: list[int]) -> int:
    """Count those of ``pids`` of which it is not known what they do on disks."""
    return sum(math.isnan(row["disk_read_bytes_per_s"]) for row in rows(message, pids))


def test_many_descriptors_of_one_user_cost_a_tick_no_more_than_its_budget(daemon: Daemon) -> None:
    """200 processes of 4,000 descriptors: 3.7 s of CPU a tick before, a tenth of a second now."""
    with (
        program(_CROWD, USER, PROCESSES, DESCRIPTORS) as crowd,
        program(_CROWD, OTHER_USER, 3, 0) as others,
    ):
        known = set(crowd) | set(others)
        snapshot_when(daemon, lambda now: known - {row["pid"] for row in now.processes.rows()})
        cost_ns = []
        for _ in range(4):
            message = daemon.snapshot()
            cost_ns.append(1e7 * message.health["cost"]["looks_percent"])
            postponed = message.health["postponed"]
            assert postponed["looks"] > 0
            # Those of another user had their look: what they did on disks is known.
            assert not unknown(message, others)
            assert unknown(message, crowd) >= PROCESSES // 2
            # No byte is missing, whoever is looked at.
            assert all(row["device_write_bytes"] > 0 for row in rows(message, crowd))
    # In time that passed, of which only an eighth counts where we wait for a processor.
    assert min(cost_ns) < 8 * PROC_TIME_NS
    snapshot_when(daemon, lambda now: now.health["postponed"]["looks"])


#: A FUSE server that answers until it is told to stop; then everything that asks it hangs. Its
#: client has a file of it open, runs one, and works in its folder, and moves a byte elsewhere.
_HUNG = (
    """
import ctypes, json, os, signal, struct, sys, time
libc = ctypes.CDLL(None, use_errno=True)
top, program = sys.argv[1], open("/bin/sleep", "rb").read()
assert libc.unshare(0x20000) == 0
assert libc.mount(b"none", b"/", None, 0x44000, None) == 0
device = os.open("/dev/fuse", os.O_RDWR)
data = f"fd={device},rootmode=40000,user_id=0,group_id=0"
if libc.mount(b"fuse", top.encode(), b"fuse", 0, data.encode()):
    raise OSError(ctypes.get_errno(), "mount")
def attributes(node):
    mode = 0o40755 if node == 1 else 0o100755
    # Nothing is cached: each question goes to the server.
    return struct.pack("=6Q10I", node, len(program), 200, *[0] * 6, mode, 1, 0, 0, 0, 4096, 0)
def answer(opcode, node, body):
    if opcode == 26:  # INIT
        return struct.pack("=4I2H2I2H8I", 7, 31, 65536, 0, 9, 9, 65536, 1, 16, *[0] * 9)
    if opcode == 1:  # LOOKUP
        return struct.pack("=4Q2I", 2, 0, 0, 0, 0, 0) + attributes(2)
    if opcode == 3:  # GETATTR
        return struct.pack("=Q2I", 0, 0, 0) + attributes(node)
    if opcode in (14, 27):  # OPEN, OPENDIR
        return struct.pack("=Q2I", node, 0, 0)
    if opcode == 15:  # READ
        start, size = struct.unpack_from("=8xQI", body)
        return program[start : start + size]
    return b"" if opcode in (18, 25, 29) else None  # RELEASE, FLUSH, RELEASEDIR
"""
    + SERVE
    + """
os.close(device)  # the server alone has it: its end is the end of all that waits
os.chdir(top)
kept = os.open(top + "/file", os.O_RDONLY)
os.read(kept, 10)
pipe, other = os.pipe()
runs = os.fork()
if not runs:
    os.close(other)
    os.execv(top + "/sleep", ["sleep", "1000"])
while os.readlink(f"/proc/{runs}/exe") != top + "/sleep":
    time.sleep(0.01)
time.sleep(0.2)  # until it has read its pages
os.kill(server, signal.SIGSTOP)
# It waits for the server, and cannot be interrupted but by its end: state D.
waits = os.fork()
if not waits:
    os.stat(top + "/file")
    os._exit(0)
null = os.open("/dev/null", os.O_WRONLY)
print(json.dumps([os.getpid(), runs, waits]), flush=True)
import select
while not select.select([0], [], [], 0.1)[0]:
    os.write(null, b"x")
os.kill(server, 9)
os.kill(runs, 9)
os.kill(waits, 9)
os._exit(0)
"""
)


@pytest.mark.skipif(not Path("/dev/fuse").exists(), reason="no FUSE")
def test_ticks_go_on_while_a_fuse_server_hangs_under_folder_program_and_open_file(
    daemon: Daemon, tmp_path_factory: pytest.TempPathFactory
) -> None:
    top = tmp_path_factory.mktemp("fuse")
    with program(_HUNG, top) as (user, runs, waits):
        wait_until(lambda: state_of(waits) not in "DS")
        opened = set()
        for _ in range(5):
            message = snapshot_when(daemon, lambda now: missing(now, user, runs))
            assert row_of(message, runs)["exe"] == bytes(top / "sleep")
            assert message.files is not None
            opened |= {each["open"] for each in message.files.rows() if each["pid"] == user}
        assert row_of(message, user)["device_write_bytes"] > 0
        # Its list of open files could be read, though one of them is the hanging server's.
        assert OPEN.index(True) in opened


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def missing(message: wire.Message, *pids: int) -> object:
    return set(pids) - {row["pid"] for row in message.processes.rows()}


def test_a_daemon_that_was_stopped_goes_on_with_the_next_interval(daemon: Daemon) -> None:
    """As after a suspend: what has been missed is one long interval, and no byte is lost."""
    before = daemon.snapshot()
    os.kill(daemon.process.pid, signal.SIGSTOP)
    with program(_CROWD, USER, 1, 0) as (pid,):
        stopped_ns = now_ns()
        while now_ns() < stopped_ns + 3_000_000_000:
            pass
        os.kill(daemon.process.pid, signal.SIGCONT)
        message = snapshot_when(daemon, lambda now: missing(now, pid))
    assert message.now_ns > before.now_ns
    assert row_of(message, pid)["device_write_bytes"] > 0
    assert message.health["lost"]["bytes"] == 0
