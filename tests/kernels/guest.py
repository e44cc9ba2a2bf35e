"""Runs in the guest: the daemon with a client, then the self-test under every mode.

    .venv/bin/python -m tests.kernels.guest JOB

JOB is a directory: ``plan.json`` (see ``Plan``) is read from it, and what comes of each step is
written to it at once, so that a guest that dies leaves what it had.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.kernels import modes

_DAEMON: Final = ".venv/bin/pbmond"
_CLIENT: Final = ".venv/bin/pbmon-client"
_SELFTEST_S: Final = 3600
#: Minutes on a machine that has time, and tests may run beside (see .ci/run).
_SNAPSHOT_S: Final = 1800
_STOP_S: Final = 900
#: Every limit of pbmon's own, times this: emulation is some twenty times slower than
#: the machine, which may be busy.
_PATIENCE: Final = "40"


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run. ``only``: patterns of the self-test's paths; None: all.

    ``forced``: whether every mode is forced beside what the daemon takes by itself.
    ``tests``: what pytest runs instead of the daemon and its self-test.
    """

    only: str | None
    forced: bool
    tests: Sequence[str] = ()


def main(arguments: Sequence[str]) -> int:
    """Run the plan of the directory that is the only argument."""
    job = Path(arguments[0])
    plan = Plan(**json.loads((job / "plan.json").read_text()))
    os.environ["PBMON_PATIENCE"] = _PATIENCE
    say(f"booted Linux {os.uname().release}")
    if plan.tests:
        return _tests(job, plan.tests)
    _write(job, "facts", _facts())
    _write(job, "daemon", _daemon(job))
    report = _selftest(job, 0, {}, plan.only)
    if plan.forced and report is not None:
        for number, settings in enumerate(modes.forced(report["modes"]), 1):
            _selftest(job, number, settings, plan.only)
    log = subprocess.run(["dmesg"], check=False, capture_output=True)
    (job / "dmesg").write_bytes(log.stdout)
    return 0


def _tests(job: Path, names: Sequence[str]) -> int:
    with (job / "tests").open("wb") as said:
        command = [sys.executable, "-m", "pytest", "-v", "-rs", *names]
        return subprocess.run(command, check=False, stdout=said, stderr=said).returncode


def say(message: str) -> None:
    up_s = time.clock_gettime(time.CLOCK_BOOTTIME)
    print(f"pbmon-guest: {up_s:4.0f} s: {message}", flush=True)


def _write(job: Path, name: str, what: object) -> None:
    (job / f"{name}.json").write_text(json.dumps(what, indent=1))


def _facts() -> dict[str, str]:
    """Return what the kernel is run with."""
    system = platform.freedesktop_os_release()
    bcc = subprocess.run(
        ["/usr/bin/python3", "-c", "import bcc; print(bcc.__version__)"],
        check=False,
        capture_output=True,
        text=True,
    )
    return {
        "release": os.uname().release,
        "userland": f"{system['NAME'].split()[0]} {system.get('VERSION_ID', 'sid')}",
        "python": platform.python_version(),
        "bcc": bcc.stdout.strip() or "none",
    }


def _daemon(job: Path) -> dict[str, Any]:
    """Start the daemon as an admin would, take one snapshot as a user would, and stop it."""
    started = time.monotonic()
    with (job / "daemon.log").open("wb") as log:
        daemon = subprocess.Popen([_DAEMON], stderr=log)
    health = _health(daemon)
    took_s = round(time.monotonic() - started, 1)
    daemon.send_signal(signal.SIGTERM)
    try:
        status = daemon.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        daemon.kill()
        status = daemon.wait()
    words = (job / "daemon.log").read_text(errors="replace").splitlines()
    if health is None:
        say(f"the daemon has no snapshot: {words[-1] if words else 'it says nothing'}")
    else:
        say(f"the daemon's first snapshot after {took_s} s: {health['status']}")
    return {"seconds": took_s, "status": status, "health": health, "words": words}


def _health(daemon: subprocess.Popen[bytes]) -> dict[str, Any] | None:
    """Return the health in the first snapshot that a client gets; None: there is none."""
    command = [_CLIENT, "--json", "--flows", "--wait", str(_SNAPSHOT_S)]
    with tempfile.TemporaryFile() as snapshot:
        client = subprocess.Popen(command, stdout=snapshot)
        while client.poll() is None:
            if daemon.poll() is not None:
                client.terminate()
            time.sleep(0.1)
        snapshot.seek(0)
        health: dict[str, Any] | None = None
        if client.returncode == 0:
            health = json.load(snapshot)["health"]
        return health


def _selftest(
    job: Path, number: int, settings: modes.Settings, only: str | None
) -> dict[str, Any] | None:
    """Run the self-test once and write what it said; return its report, if there is one."""
    file = Path("/run/pbmon-forced.toml")
    file.write_text(modes.configuration(settings))
    command = [_DAEMON, "selftest", "--json", "--seed", "1", "--config", str(file)]
    if only is not None:
        command += ["--only", only]
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=_SELFTEST_S
        )
        said, words = done.stdout, done.stderr
    except subprocess.TimeoutExpired:
        said, words = "", f"no result in {_SELFTEST_S} s"
    name = modes.name(settings)
    report: dict[str, Any] | None = json.loads(said) if said else None
    _write(job, f"run-{number:02}", {"forced": name, "report": report, "words": words})
    if report is None:
        say(f"{name}: {(words.splitlines() or ['no result'])[-1]}")
    else:
        counts = ", ".join(f"{n} {verdict}" for verdict, n in report["summary"].items())
        say(f"{name}: {counts} in {report['seconds']:.0f} s".replace("_", " "))
    return report


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
