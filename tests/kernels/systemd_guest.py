"""Runs in a guest under systemd: installs the unit and looks at the daemon's life under it.

    .venv/bin/python -m tests.kernels.systemd_guest JOB

Every claim that does not hold is a line on standard output, and the exit status 1. What was
measured is written to ``systemd.json`` in the directory JOB.
"""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from pbmond.loader import bpf
from pbmond.system import rights

_CHECKOUT: Final = Path(__file__).resolve().parents[2]
_UNITS: Final = _CHECKOUT / "packaging/systemd"
_UNIT: Final = "pbmond.service"
_WEB: Final = "pbmon-web.service"
_ADDRESS: Final = "http://127.0.0.1:8484/api/v1/processes?top=5"
_PATIENCE: Final = 10  # emulation is some twenty times slower than the machine
_WAIT_S: Final = 900.0
_WATCHDOG_S: Final = 20
_BACK_S: Final = 5.0  # from the end of a daemon to the start of the next
#: Changes of the unit that emulation needs; what it may do stays as it is.
_DROP_IN: Final = f"""[Service]
Environment=PBMON_PATIENCE={_PATIENCE}
TimeoutStartSec={_WAIT_S:g}
WatchdogSec={_WATCHDOG_S}
"""
_MOVE: Final = """
import os, socket, sys
one, other = socket.socketpair()
one.send(b"x" * 331)
os.write(os.open("/dev/null", os.O_WRONLY), b"x" * 1237)
print(os.getpid(), flush=True)
sys.stdin.read()
"""


class Claims:
    """What was found to hold, and what not."""

    def __init__(self) -> None:
        self.failed: list[str] = []
        self.measured: dict[str, Any] = {}

    def holds(self, claim: str, true: object) -> None:
        say(f"{'yes' if true else 'NO'}: {claim}")
        if not true:
            self.failed.append(claim)


def say(message: str) -> None:
    up_s = time.clock_gettime(time.CLOCK_BOOTTIME)
    print(f"pbmon-guest: {up_s:4.0f} s: {message}", flush=True)


def main(arguments: list[str]) -> int:
    """Look at everything; return the exit status."""
    job, claims = Path(arguments[0]), Claims()
    say(f"systemd is process 1 on Linux {os.uname().release}: {Path('/proc/1/comm').read_text()}")
    install()
    for step in (
        *(start, counts, replaces_a_publisher, restarts_after_a_kill, restarts_what_is_stopped),
        *(serves_the_web, stops),
    ):
        try:
            step(claims)
        except (OSError, subprocess.SubprocessError, ValueError, LookupError) as error:
            claims.holds(f"{step.__name__}: {error!r}", true=False)
    journal = ("journalctl", "--no-pager", "--output=short-monotonic", "--unit")
    for unit in (_UNIT, _WEB):
        (job / f"{unit}.log").write_text(run(*journal, unit, check=False))
    (job / "systemd.json").write_text(json.dumps(claims.__dict__, indent=1))
    return 1 if claims.failed else 0


def install() -> None:
    """Do what a package does, with the checkout's daemon."""
    for kind in ("sysusers", "tmpfiles"):
        shutil.copy(_UNITS / f"pbmond.{kind}.conf", f"/usr/lib/{kind}.d/pbmond.conf")
    run("systemd-sysusers", "/usr/lib/sysusers.d/pbmond.conf")
    run("systemd-tmpfiles", "--create", "/usr/lib/tmpfiles.d/pbmond.conf")
    for unit in (_UNIT, _WEB):
        text = (_UNITS / unit).read_text()
        text = text.replace("\nExecStart=", f"\nExecStart={_CHECKOUT}/.venv/bin/")
        Path("/run/systemd/system", unit).write_text(text)
    drop_in = Path(f"/run/systemd/system/{_UNIT}.d/emulation.conf")
    drop_in.parent.mkdir()
    drop_in.write_text(_DROP_IN)
    run("systemctl", "daemon-reload")


def start(claims: Claims) -> None:
    began = time.monotonic()
    run("systemctl", "start", _UNIT)
    claims.measured["ready_s"] = round(time.monotonic() - began, 1)
    claims.holds("the daemon starts under its unit", show("ActiveState") == "active")
    status = status_of(main_pid())
    claims.holds("it keeps what it uses", int(status["CapPrm"], 16) == rights.COLLECTOR_RIGHTS.mask)
    claims.holds("it is ready with a snapshot to give", snapshot()["health"]["status"])
    claims.measured["health"] = snapshot()["health"]["status"]
    claims.measured["modes"] = snapshot()["health"]["modes"]


def counts(claims: Claims) -> None:
    """Bytes of a known workload are exact."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", _MOVE], stdin=pipe, stdout=pipe) as program:
        assert program.stdout is not None
        pid = int(program.stdout.readline())
        (row,) = (row for row in snapshot(wait=2)["processes"] if row["pid"] == pid)
        assert program.stdin is not None
        program.stdin.close()
    moved = (row["unix_tx_bytes"], row["device_write_bytes"])
    claims.measured["moved"] = moved
    claims.holds("what a program moved is exact", moved == (331, 1237))


def serves_the_web(claims: Claims) -> None:
    """The web server, as a user of its own, answers whoever has its token, and nobody else."""
    began = time.monotonic()
    run("systemctl", "start", _WEB)
    until(lambda: asked("").status == 401 or int(show("NRestarts", _WEB)))
    claims.holds("the web server serves", show("NRestarts", _WEB) == "0")
    claims.measured["web_s"] = round(time.monotonic() - began, 1)
    process = status_of(int(show("MainPID", _WEB)))
    user = {int(each) for each in process["Uid"].split()}
    claims.measured["web_user"] = sorted(user)
    claims.holds("the web server is a user of its own", min(user) > 0)
    claims.holds("it has no capability", int(process["CapPrm"], 16) == 0)
    answer = asked(Path("/var/lib/pbmon-web/token").read_text().strip())
    claims.holds("it answers who has its token", answer.status == 200)
    users = claims.measured["web_shows"] = [row["uid"] for row in answer.body["processes"]]
    claims.holds("it shows its own processes at most", set(users) <= user)
    run("systemctl", "stop", _WEB)
    claims.holds("it ends well", show("Result", _WEB) == "success")


def replaces_a_publisher(claims: Claims) -> None:
    before, publisher = main_pid(), named(rights.PUBLISHER_RIGHTS.name)
    os.kill(publisher, signal.SIGKILL)
    began = time.monotonic()
    until(lambda: named(rights.PUBLISHER_RIGHTS.name) not in (0, publisher))
    claims.measured["publisher_back_s"] = round(time.monotonic() - began, 1)
    claims.holds("a publisher that was killed is replaced", snapshot()["health"]["status"])
    claims.holds("the daemon stays", main_pid() == before)


def restarts_after_a_kill(claims: Claims) -> None:
    before = main_pid()
    programs = programs_of(before)
    killed = time.monotonic()
    process = os.pidfd_open(before)
    os.kill(before, signal.SIGKILL)
    # The kernel detaches the programs as the process ends: by emulation, that takes 20 s.
    select.select([process], [], [], _WAIT_S)
    os.close(process)
    began = time.monotonic()  # CLOCK_MONOTONIC, which systemd's times are of
    claims.measured["end_s"] = round(began - killed, 1)
    until(lambda: main_pid() not in (0, before))
    # As systemd saw it: asking takes seconds here.
    started_s = int(show("ExecMainStartTimestampMonotonic")) / 1e6
    took = claims.measured["restart_s"] = round(started_s - began, 1)
    claims.holds(f"a daemon that was killed is started within {_BACK_S:g} s", took < _BACK_S)
    until(lambda: show("ActiveState") == "active")
    claims.measured["served_again_s"] = round(time.monotonic() - began, 1)
    claims.holds("it serves again", snapshot()["health"]["status"])
    left = {each for each in programs if bpf.is_loaded(each)}
    claims.holds("no program of the killed one is left", programs and not left)


def restarts_what_is_stopped(claims: Claims) -> None:
    before = main_pid()
    os.kill(before, signal.SIGSTOP)
    began = time.monotonic()
    until(lambda: main_pid() not in (0, before))
    claims.measured["watchdog_s"] = round(time.monotonic() - began, 1)
    claims.holds("the watchdog restarts a stopped daemon", show("NRestarts") == "2")
    until(lambda: show("ActiveState") == "active")
    claims.holds("it serves again", snapshot()["health"]["status"])


def stops(claims: Claims) -> None:
    programs = programs_of(main_pid())
    run("systemctl", "stop", _UNIT)
    claims.holds("systemctl stop ends it well", show("Result") == "success")
    claims.holds("no program is left", programs and not [p for p in programs if bpf.is_loaded(p)])
    claims.holds("no process is left", not list(processes()))
    left = [*Path("/tmp").glob("*pbmon*"), *Path("/var/tmp").glob("*pbmon*")]
    claims.holds(f"no scratch directory is left: {left}", not left)
    claims.holds("no socket is left", not Path("/run/pbmon/pbmond.sock").exists())


# --- asking -------------------------------------------------------------------------------------


def run(*command: str, check: bool = True) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=_WAIT_S)
    if check and done.returncode:
        raise ValueError(f"{' '.join(command[:3])}: {(done.stderr or done.stdout)[-400:]}")
    return done.stdout


def show(what: str, unit: str = _UNIT) -> str:
    return run("systemctl", "show", "--value", "--property", what, unit).strip()


class Answer(NamedTuple):
    """What the web server says. ``status``: 0: nothing."""

    status: int
    body: dict[str, Any]


def asked(token: str) -> Answer:
    request = urllib.request.Request(_ADDRESS, headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=_WAIT_S) as answer:
            return Answer(answer.status, json.load(answer))
    except urllib.error.HTTPError as error:
        return Answer(error.code, {})
    except OSError:
        return Answer(0, {})


def main_pid() -> int:
    return int(show("MainPID"))


def snapshot(wait: int = 0) -> dict[str, Any]:
    """Return a snapshot, the next after ``wait`` seconds."""
    time.sleep(wait)
    client = str(_CHECKOUT / ".venv/bin/pbmon-client")
    found: dict[str, Any] = json.loads(run(client, "--json", "--wait", "120"))
    return found


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + _WAIT_S
    while not true():
        if time.monotonic() > end:
            raise TimeoutError("in vain")
        time.sleep(0.1)


def processes() -> Iterator[tuple[int, str]]:
    """Yield the processes of the unit: what systemd has in its cgroup."""
    with suppress(OSError):
        for pid in Path(f"/sys/fs/cgroup/system.slice/{_UNIT}/cgroup.procs").read_text().split():
            with suppress(OSError):
                yield int(pid), Path(f"/proc/{pid}/comm").read_text().strip()


def named(name: str) -> int:
    """Return the process of that name; 0: there is none."""
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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
