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
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Final, NamedTuple

from pbmond.loader import bpf
from pbmond.system import rights
from tests.kernels.guest import say
from tests.kernels.systemd_asking import (
    CHECKOUT,
    MOVED,
    UNIT,
    WAIT_S,
    Claims,
    main_pid,
    moved,
    moving,
    named,
    processes,
    programs_of,
    run,
    show,
    snapshot,
    status_of,
    until,
)
from tests.kernels.systemd_history import (
    RECORDER,
    SERVER,
    ends,
    outlives_the_daemon,
    records,
    serves_the_past,
)

_UNITS: Final = CHECKOUT / "packaging/systemd"
_WEB: Final = "pbmon-web.service"
#: Of the machine that is emulated (asm/unistd_64.h).
_SETHOSTNAME: Final = 170
#: What a filter refuses and the caller does without: mbind, a library's advice on its memory
#: (@resources), and clone3, whose flags RestrictNamespaces= cannot see: libc takes clone.
_NOT_MISSED: Final = {237, 435}
_ADDRESS: Final = "http://127.0.0.1:8484/api/v1/processes?top=5"
_ADDED: Final = "192.0.2.9/32"
_SENT: Final = 100_000
_PATIENCE: Final = 10  # emulation is some twenty times slower than the machine
_WATCHDOG_S: Final = 20
_BACK_S: Final = 5.0  # from the end of a daemon to the start of the next
#: Changes of the unit that emulation needs; what it may do stays as it is.
_PATIENT: Final = f"""[Service]
Environment=PBMON_PATIENCE={_PATIENCE}
"""
_SOCKET: Final = "pbmond.socket"
_DROP_INS: Final = {
    UNIT: f"{_PATIENT}TimeoutStartSec={WAIT_S:g}\nWatchdogSec={_WATCHDOG_S}\n",
    _WEB: "",
    RECORDER: _PATIENT,
    SERVER: _PATIENT,
}
#: Makes one call that its filter refuses.
_REFUSED: Final = "import socket; socket.sethostname('refused')"


def main(arguments: list[str]) -> int:
    """Look at everything; return the exit status."""
    job, claims = Path(arguments[0]), Claims()
    say(f"systemd is process 1 on Linux {os.uname().release}: {Path('/proc/1/comm').read_text()}")
    install()
    for step in _STEPS:
        try:
            step(claims)
        except (OSError, subprocess.SubprocessError, ValueError, LookupError) as error:
            claims.holds(f"{step.__name__}: {error!r}", true=False)
    journal = ("journalctl", "--no-pager", "--output=short-monotonic", "--unit")
    for unit in _DROP_INS:
        (job / f"{unit}.log").write_text(run(*journal, unit, check=False))
    (job / "systemd.json").write_text(json.dumps(claims.__dict__, indent=1))
    return 1 if claims.failed else 0


def install() -> None:
    """Do what a package does, with the checkout's daemon."""
    for kind in ("sysusers", "tmpfiles"):
        shutil.copy(_UNITS / f"pbmond.{kind}.conf", f"/usr/lib/{kind}.d/pbmond.conf")
    run("systemd-sysusers", "/usr/lib/sysusers.d/pbmond.conf")
    run("systemd-tmpfiles", "--create", "/usr/lib/tmpfiles.d/pbmond.conf")
    shutil.copy(_UNITS / _SOCKET, "/run/systemd/system")
    for unit, drop_in in _DROP_INS.items():
        text = (_UNITS / unit).read_text()
        text = text.replace("\nExecStart=", f"\nExecStart={CHECKOUT}/.venv/bin/")
        place = Path("/run/systemd/system", unit)
        place.write_text(text)
        (more := Path(f"{place}.d/emulation.conf")).parent.mkdir()
        more.write_text(drop_in)
    run("systemctl", "daemon-reload")


def start(claims: Claims) -> None:
    began = time.monotonic()
    run("systemctl", "start", UNIT)
    claims.measured["ready_s"] = round(time.monotonic() - began, 1)
    claims.holds("the daemon starts under its unit", show("ActiveState") == "active")
    status = status_of(main_pid())
    claims.holds("it keeps what it uses", int(status["CapPrm"], 16) == rights.COLLECTOR_RIGHTS.mask)
    claims.holds("it is ready with a snapshot to give", snapshot()["health"]["status"])
    claims.measured["health"] = snapshot()["health"]["status"]
    claims.measured["modes"] = snapshot()["health"]["modes"]


def counts(claims: Claims) -> None:
    """Bytes of a known workload are exact."""
    with moving() as pid:
        found = claims.measured["moved"] = moved(snapshot(wait=2), pid)
    claims.holds("what a program moved is exact", found == MOVED)


def sees_the_hosts_network(claims: Claims) -> None:
    """Its own has nothing: systemd's two sockets and the files of process 1 tell."""
    for pid, name in processes():
        claims.holds(f"{name} is in a network of its own", network(pid) != network(1))
    before = loopback()
    run("ip", "address", "add", _ADDED, "dev", "lo")
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
        server.accept()[0] as other,
    ):
        client.sendall(bytes(_SENT))
        other.recv(_SENT, socket.MSG_WAITALL)
        after = loopback(wait=2)
    run("ip", "address", "delete", _ADDED, "dev", "lo")
    claims.measured["loopback"] = before, after
    claims.holds("a new address is seen", after["addresses"] == before["addresses"] + 1)
    for what in ("rx_bytes", "tx_bytes", "payload_rx_bytes", "payload_tx_bytes"):
        claims.holds(f"{what} of the host's lo", after[what] - before[what] >= _SENT)
    claims.holds("and no address is left", loopback(wait=2)["addresses"] == before["addresses"])


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
    select.select([process], [], [], WAIT_S)
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
    run("systemctl", "stop", UNIT)
    claims.holds("systemctl stop ends it well", show("Result") == "success")
    claims.holds("no program is left", programs and not [p for p in programs if bpf.is_loaded(p)])
    claims.holds("no process is left", not list(processes()))
    left = [*Path("/tmp").glob("*pbmon*"), *Path("/var/tmp").glob("*pbmon*")]
    claims.holds(f"no scratch directory is left: {left}", not left)
    claims.holds("no socket is left", not Path("/run/pbmon/pbmond.sock").exists())
    until(lambda: show("ActiveState", _SOCKET) == "inactive")
    run("ip", "address", "add", _ADDED, "dev", "lo")
    time.sleep(5)
    claims.holds("what changes then does not start it", show("ActiveState") == "inactive")


def is_refused_no_call(claims: Claims) -> None:
    """The guest's systemd logs what its filters refuse (``init``): the journal has it all."""
    filtered = (
        "--property=SystemCallFilter=~sethostname",
        "--property=SystemCallErrorNumber=EPERM",
    )
    run("systemd-run", "--wait", *filtered, sys.executable, "-c", _REFUSED, check=False)
    said = run("journalctl", "--no-pager").splitlines()
    lines = [line for line in said if "type=1326" in line or " SECCOMP " in line]
    calls = {int(call) for line in lines for call in re.findall(r" syscall=(\d+)", line)}
    claims.measured["refused"] = sorted(calls)
    claims.holds("what a filter refuses is logged", _SETHOSTNAME in calls)
    claims.holds("no unit of ours misses a call", calls <= {_SETHOSTNAME, *_NOT_MISSED})


# --- asking -------------------------------------------------------------------------------------


def network(pid: int) -> int:
    return Path(f"/proc/{pid}/ns/net").stat().st_ino


def loopback(wait: int = 0) -> dict[str, int]:
    interfaces = snapshot(wait)["coverage"]["interfaces"]
    return next((each for each in interfaces if each["name"] == "lo"), {})


class Answer(NamedTuple):
    """What the web server says. ``status``: 0: nothing."""

    status: int
    body: dict[str, Any]


def asked(token: str) -> Answer:
    request = urllib.request.Request(_ADDRESS, headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=WAIT_S) as answer:
            return Answer(answer.status, json.load(answer))
    except urllib.error.HTTPError as error:
        return Answer(error.code, {})
    except OSError:
        return Answer(0, {})


_STEPS: Final = (
    *(start, counts, sees_the_hosts_network, records, serves_the_past, replaces_a_publisher),
    *(restarts_after_a_kill, restarts_what_is_stopped, outlives_the_daemon, ends),
    *(serves_the_web, stops, is_refused_no_call),
)

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
