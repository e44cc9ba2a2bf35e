"""`pbmond probes` as a user runs it: the kernel's own figures of a running daemon's hooks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from processes import run_python
from waiting import snapshot_when

from pbmond import wire
from pbmond.loader import bpf
from pbmond.patience import patient
from pbmond.probes.measure import attachments
from pbmond.selftest.private_daemon import Daemon, switches

_PBMOND = str(Path(sys.executable).with_name("pbmond"))
_PATIENCE_S = patient(60.0)
_CALLS = 20_000
_READ = f"""
import os
zero = os.open("/dev/zero", os.O_RDONLY)
for _ in range({_CALLS}):
    os.read(zero, 1)
print(os.getpid())
"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("run")) as running:
        yield running


def measuring(pid: int) -> bool:
    """Tell whether a process has the kernel's statistics switched on."""
    try:
        descriptors = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False
    return any(target_of(each) == "anon_inode:bpf-stats" for each in descriptors)


def target_of(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def probes_while(daemon: Daemon, work: Callable[[], object]) -> dict[str, Any]:
    """Do ``work`` while the command has the statistics on, and return what the command says."""
    for seconds in ("4", "16", "64"):  # the machine may have other things to do
        options = ["--json", "--seconds", seconds, "--run-dir", str(daemon.directory)]
        command = [_PBMOND, "probes", *switches(), *options]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            wait_for(partial(measuring, process.pid))
            work()
            in_time = measuring(process.pid)
            out, _ = process.communicate()
        assert process.returncode == 0
        if in_time:
            answer: dict[str, Any] = json.loads(out)
            return answer
    raise AssertionError("the work did not end in time")


def probe(answer: dict[str, Any], hook: str) -> dict[str, Any]:
    (found,) = (each for each in answer["probes"] if hook in each["hooks"])
    return dict(found)


def test_every_read_is_among_the_calls_of_its_hook(daemon: Daemon) -> None:
    answer = probes_while(daemon, lambda: run_python(_READ))
    read = probe(answer, "sys_exit_read")
    assert read["hooks"] == ["sys_exit_read"]
    assert read["calls"] >= _CALLS
    assert read["ns_per_call"] > 0
    assert answer["total"]["calls"] >= read["calls"]
    assert answer["pid"] == daemon.process.pid


def test_every_attached_hook_is_measured(daemon: Daemon) -> None:
    answer = probes_while(daemon, lambda: None)
    hooks = [hook for each in answer["probes"] for hook in each["hooks"]]
    (line,) = (line for line in daemon.log.read_text().splitlines() if " hooks: " in line)
    assert f"attached {len(hooks)} hooks" in line
    assert len(set(hooks)) == len(hooks)


def test_a_program_of_its_own_serves_each_way_of_reading_and_writing(daemon: Daemon) -> None:
    answer = probes_while(daemon, lambda: None)
    shared = [each["hooks"] for each in answer["probes"] if len(each["hooks"]) > 1]
    groups = (
        ("sendfile64", "splice", "copy_file_range", "tee", "vmsplice"),
        ("io_getevents", "io_pgetevents"),
    )
    assert sorted(shared) == sorted([f"sys_exit_{name}" for name in group] for group in groups)


def test_health_has_the_probes_figures_while_they_are_measured(daemon: Daemon) -> None:
    costs = []

    def work() -> None:
        daemon.snapshot()  # the statistics were on for a part of its interval only
        run_python(_READ)
        costs.append(daemon.snapshot().health["cost"])

    probes_while(daemon, work)
    assert costs[-1]["probe_ns_per_call"] > 0
    assert costs[-1]["probe_calls_per_s"] > 0
    assert all(each["rss_bytes"] > 0 for each in costs[-1]["processes"])


def test_health_has_the_cost_of_all_processes_of_the_daemon(daemon: Daemon) -> None:
    def missing(message: wire.Message) -> set[int]:
        pids = {each["pid"] for each in message.health["cost"]["processes"]}
        return pids ^ {daemon.process.pid, *daemon.children()}

    snapshot_when(daemon, missing)


def test_the_statistics_end_with_the_command(daemon: Daemon) -> None:
    probes_while(daemon, lambda: None)
    assert_statistics_end(daemon.process.pid)


def test_a_killed_command_leaves_no_statistics_on(daemon: Daemon) -> None:
    command = [
        _PBMOND,
        "probes",
        *switches(),
        "--seconds",
        "600",
        "--run-dir",
        str(daemon.directory),
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        wait_for(partial(measuring, process.pid))
        process.kill()
    assert_statistics_end(daemon.process.pid)


def assert_statistics_end(pid: int) -> None:
    """Wait until a daemon's program runs uncounted: others on this machine may measure, too."""
    (read,) = (each.program for each in attachments(pid) if each.hook == "sys_exit_read")
    program = bpf.open_program(read)
    try:
        wait_for(lambda: reads_uncounted(program))
    finally:
        os.close(program)


def reads_uncounted(program: int) -> bool:
    before = bpf.runs(program).calls
    with Path("/dev/zero").open("rb", buffering=0) as zero:
        for _ in range(100):
            zero.read(1)
    return bpf.runs(program).calls == before
