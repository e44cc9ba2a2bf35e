"""What the guest's steps under systemd share: their claims, and how they ask systemd and pbmon."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from tests.kernels.guest import say

CHECKOUT: Final = Path(__file__).resolve().parents[2]
CLIENT: Final = str(CHECKOUT / ".venv/bin/pbmon-client")
UNIT: Final = "pbmond.service"
WAIT_S: Final = 900.0
#: What ``moving`` moves, with the counters that say so.
MOVED: Final = {"unix_tx_bytes": 331, "device_write_bytes": 1237}
_MOVE: Final = """
import os, socket, sys
one, other = socket.socketpair()
one.send(b"x" * 331)
os.write(os.open("/dev/null", os.O_WRONLY), b"x" * 1237)
print(os.getpid(), flush=True)
sys.stdin.read()
"""
_GROUPS: Final = {"root": "root", "nobody": "nogroup"}


class Claims:
    """What was found to hold, and what not."""

    def __init__(self) -> None:
        self.failed: list[str] = []
        self.measured: dict[str, Any] = {}

    def holds(self, claim: str, true: object) -> None:
        say(f"{'yes' if true else 'NO'}: {claim}")
        if not true:
            self.failed.append(claim)


def run(*command: str, check: bool = True, user: str = "root") -> str:
    """Return what a command of one of two users prints; ValueError if it fails."""
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=WAIT_S, user=user,
        group=_GROUPS[user], extra_groups=(),
    )  # fmt: skip
    if check and done.returncode:
        raise ValueError(f"{' '.join(command[:3])}: {(done.stderr or done.stdout)[-400:]}")
    return done.stdout


def show(what: str, unit: str = UNIT) -> str:
    return run("systemctl", "show", "--value", "--property", what, unit).strip()


def main_pid(unit: str = UNIT) -> int:
    return int(show("MainPID", unit))


def snapshot(wait: int = 0) -> dict[str, Any]:
    """Return a snapshot, the next after ``wait`` seconds."""
    time.sleep(wait)
    found: dict[str, Any] = json.loads(run(CLIENT, "--json", "--wait", "120"))
    return found


@contextmanager
def moving(user: str = "root") -> Iterator[int]:
    """Run a program of a user that has moved ``MOVED``, and ends afterwards; yield its pid."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", _MOVE]
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, user=user, group=_GROUPS[user], extra_groups=()
    ) as program:
        assert program.stdout is not None
        assert program.stdin is not None
        yield int(program.stdout.readline())
        program.stdin.close()


def moved(found: dict[str, Any], pid: int) -> dict[str, int]:
    """Return what a process has moved, by the counters of ``MOVED``; empty: it is not there."""
    rows = (row for row in found["processes"] if row["pid"] == pid)
    return next(({name: row[name] for name in MOVED} for row in rows), {})


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + WAIT_S
    while not true():
        if time.monotonic() > end:
            raise TimeoutError("in vain")
        time.sleep(0.1)


def processes(unit: str = UNIT) -> Iterator[tuple[int, str]]:
    """Yield the processes of a unit: what systemd has in its cgroup."""
    with suppress(OSError):
        for pid in Path(f"/sys/fs/cgroup/system.slice/{unit}/cgroup.procs").read_text().split():
            with suppress(OSError):
                yield int(pid), Path(f"/proc/{pid}/comm").read_text().strip()


def named(name: str) -> int:
    """Return the daemon's process of that name; 0: there is none."""
    return next((pid for pid, comm in processes() if comm == name), 0)


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def programs_of(pid: int) -> set[int]:
    """Return the ids of the eBPF programs that a process holds."""
    found = set()
    for entry in Path(f"/proc/{pid}/fdinfo").iterdir():
        with suppress(FileNotFoundError):  # the daemon's come and go
            match = re.search(r"^prog_id:\s*(\d+)$", entry.read_text(), re.MULTILINE)
            if match:
                found.add(int(match[1]))
    return found
