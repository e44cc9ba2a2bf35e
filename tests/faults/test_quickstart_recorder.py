"""quickstart's recorder and server: who they are, when replaced, and what is left alone."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from pbmond.patience import handed_down, patient

PACKAGING = Path(__file__).parents[2] / "packaging"
PUBLISHER = "pbmon"
#: As quickstart, but in a folder of the test's, and beside a daemon that does nothing.
_SCRIPT = """
set -euo pipefail
umask 022
PROGRAM=quickstart
source {packaging}/common.sh
source {packaging}/install.sh
source {packaging}/recorder.sh
PUBLISHER_USER=pbmon STATE_DIR={place}/state PREFIX={place}/prefix
HISTORY=$STATE_DIR/history RECORDER_LOG=$STATE_DIR/record.log
SERVER_DIR={place}/run SERVER_LOG=$STATE_DIR/history.log
START_SECONDS=$((30 * PATIENCE)) STOP_SECONDS=$((30 * PATIENCE))
running_daemon() {{ echo {daemon}; }}
{command}
"""
_CLIENT = """#!{python}
import sys
sys.path[:0] = {path}
from pbmon_client.cli import main
sys.exit(main())
"""
_HOLD = """
import fcntl, os, sys, time
lock = os.open(sys.argv[1], os.O_RDWR)
fcntl.flock(lock, fcntl.LOCK_EX)
os.pwrite(lock, b"%d\\n200\\n" % os.getpid(), 0)
print("held", flush=True)
time.sleep(1000)
"""
_LISTEN = """
import os, socket, sys
sock = socket.socket(socket.AF_UNIX)
sock.bind(sys.argv[1])
os.chmod(sys.argv[1], 0o666)
sock.listen()
print("held", flush=True)
while True:
    sock.accept()[0].close()
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that every user reaches, with two versions, of which the first is used."""
    with tempfile.TemporaryDirectory(prefix="pbmon-recorder-", dir="/var/tmp") as directory:
        place = Path(directory)
        place.chmod(0o755)
        for version in ("v1", "v2"):
            programs = place / "prefix" / version / "bin"
            programs.mkdir(parents=True)
            (programs / "python").symlink_to(Path(sys.executable).resolve())
            (programs / "sleep").symlink_to("/bin/sleep")
            (client := programs / "pbmon-client").write_text(
                _CLIENT.format(python=programs / "python", path=[str(PACKAGING.parent), *sys.path])
            )
            client.chmod(0o755)
        (place / "prefix/bin").symlink_to("v1/bin")
        yield place


@contextmanager
def process(*command: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(command, stdout=subprocess.PIPE) as started:
        try:
            yield started
        finally:
            started.kill()


@pytest.fixture
def daemon(place: Path) -> Iterator[int]:
    with process(str(place / "prefix/v1/bin/sleep"), "1000") as started:
        yield started.pid


def quickstart(place: Path, daemon: int, command: str) -> str:
    """Run a function of quickstart's; return what it says."""
    script = _SCRIPT.format(packaging=PACKAGING, place=place, daemon=daemon, command=command)
    said = place / "said"
    with said.open("w") as stream:  # no pipe: a recorder that it starts would keep that open
        subprocess.run(
            ["bash", "-c", script], check=True, stdin=subprocess.DEVNULL, stdout=stream,
            stderr=stream, timeout=patient(60.0), env={"PATH": os.defpath, **handed_down()},
        )  # fmt: skip
    return said.read_text()


@pytest.fixture
def recorder(place: Path, daemon: int) -> Iterator[int]:
    """A recorder that quickstart has started."""
    said = quickstart(place, daemon, "start_recorder")
    assert f"recording to {place}/state/history" in said
    assert "--no-history turns it off" in said
    yield int(quickstart(place, daemon, "running_recorder"))
    quickstart(place, daemon, "stop_recorder")


@pytest.fixture
def server(place: Path, daemon: int, recorder: int) -> Iterator[int]:
    """A server that quickstart has started beside its recorder."""
    said = quickstart(place, daemon, "start_server")
    assert "every user can ask for the past of their own processes" in said
    yield int(quickstart(place, daemon, "running_server"))
    quickstart(place, daemon, "stop_server")


def wait_until_ended(pid: int) -> None:
    """It has let the lock go before it is gone, and who takes its status in is not our affair."""
    deadline = time.monotonic() + patient(60.0)
    status = Path(f"/proc/{pid}/stat")
    with suppress(OSError):  # it is gone
        while ") Z " not in status.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.mark.parametrize("service", ["recorder", "server"])
def test_they_are_the_publishers_user_with_no_right_at_all(
    place: Path, server: int, recorder: int, service: str
) -> None:
    pid = server if service == "server" else recorder
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    user = pwd.getpwnam(PUBLISHER)
    assert status["Uid"].split() == [str(user.pw_uid)] * 4
    assert status["Gid"].split() == [str(user.pw_gid)] * 4
    assert (status["Groups"].strip(), status["NoNewPrivs"]) == ("", "1")
    assert {int(status[name], 16) for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    assert Path(f"/proc/{pid}/cwd").readlink() == Path("/")
    assert {path.owner() for path in (place / "state/history").iterdir()} == {PUBLISHER}
    assert (place / "state").owner() == "root"


def test_a_second_start_changes_nothing_and_a_stop_ends_it(
    place: Path, daemon: int, recorder: int
) -> None:
    assert f"already running (pid {recorder})" in quickstart(place, daemon, "start_recorder")
    assert f"stopped the recorder (pid {recorder})" in quickstart(place, daemon, "stop_recorder")
    wait_until_ended(recorder)
    assert quickstart(place, daemon, "stop_recorder") == ""


def test_of_the_server_too(place: Path, daemon: int, server: int) -> None:
    assert f"already running (pid {server})" in quickstart(place, daemon, "start_server")
    (place / "prefix/bin").unlink()
    (place / "prefix/bin").symlink_to("v2/bin")
    said = quickstart(place, daemon, "start_server")
    assert f"stopped the server (pid {server})" in said
    wait_until_ended(server)
    now = quickstart(place, daemon, 'version_run_by "$(running_server)"')
    assert now == "v2\n"
    assert "stopped the server" in quickstart(place, daemon, "stop_server")
    assert quickstart(place, daemon, "stop_server") == ""
    assert not (place / "run/history.sock").exists()


def test_without_a_recorder_there_is_no_server(place: Path, daemon: int) -> None:
    assert quickstart(place, daemon, "start_server") == ""
    assert not (place / "run").exists()


def test_a_process_of_another_user_that_listens_in_its_place_is_left_alone(
    place: Path, daemon: int
) -> None:
    (place / "run").mkdir()
    sock = place / "run/history.sock"
    with process(sys.executable, "-c", _LISTEN, str(sock)) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        said = quickstart(place, daemon, "stop_server")
        assert f"process {holder.pid} serves {place}/run and is not pbmon's: it is left" in said
        assert holder.poll() is None


def test_another_version_replaces_it(place: Path, daemon: int, recorder: int) -> None:
    (place / "prefix/bin").unlink()
    (place / "prefix/bin").symlink_to("v2/bin")
    assert "recording to" in quickstart(place, daemon, "start_recorder")
    wait_until_ended(recorder)
    now = quickstart(place, daemon, 'version_run_by "$(running_recorder)"')
    assert now == "v2\n"
    # The daemon runs the other one yet.
    assert (place / "prefix/v1").exists()


def test_beside_the_daemon_of_a_package_none_is_started(place: Path) -> None:
    """That has a recorder of its own, and a configuration that may turn it off."""
    with process("/bin/sleep", "1000") as packaged:
        assert quickstart(place, packaged.pid, "start_recorder") == ""
    assert not (place / "state").exists()


def test_a_process_of_another_user_that_the_lock_names_is_left_alone(
    place: Path, daemon: int
) -> None:
    """The lock is the publisher's user's to write, and quickstart is root."""
    (history := place / "state/history").mkdir(parents=True)
    (history / "lock").touch()
    for path in (history, history / "lock"):
        os.chown(path, pwd.getpwnam(PUBLISHER).pw_uid, -1)
    with process(sys.executable, "-c", _HOLD, str(history / "lock")) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        said = quickstart(place, daemon, "stop_recorder")
        assert f"process {holder.pid} writes to {history} and is not pbmon's: it is left" in said
        assert holder.poll() is None
        holder.send_signal(signal.SIGTERM)


def test_a_recorder_that_cannot_start_is_one_line(place: Path, daemon: int) -> None:
    (place / "prefix/v1/bin/pbmon-client").write_text("#!/bin/sh\necho no numpy here >&2; exit 1\n")
    said = quickstart(place, daemon, "start_recorder")
    assert said == "quickstart: nothing is recorded: no numpy here\n"
