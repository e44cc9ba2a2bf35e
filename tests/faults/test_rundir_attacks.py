"""Whoever owns what leads to the run directory cannot make root touch a file of his choice.

Once, a user who owned the parent of the run directory got a root-owned 0600 file to become 0666 in
two seconds: he exchanged the directory for one whose ``pbmond.sock`` was a link to it, and made the
publisher restart. Connects while a publisher is replaced, and publishers that can never start, are
here too, because the socket is what all of this is about.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pwd
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from one_line import refusal_of

from pbmond.children.starter import Starter
from pbmond.patience import patient
from pbmond.publish.supervisor import Supervisor
from pbmond.selftest.private_daemon import Daemon
from pbmond.system.rundir import PID_FILE, SOCKET, RunDirError, hold

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be attacked by a user")

ALICE = 61001  # a user whom no account database needs to know
ROOT = Path(__file__).resolve().parents[2]
FORBID = ROOT / "tests/kernel/forbid.py"
#: How often the directory is taken while it is being exchanged.
TRIES = 300
RESTARTS = 10

# Run as ALICE. Exchanges two names in a folder for ever: renameat2(2) with RENAME_EXCHANGE.
_EXCHANGE = """
import ctypes, os, sys
one, other, uid = os.fsencode(sys.argv[1]), os.fsencode(sys.argv[2]), int(sys.argv[3])
os.setgroups([])
os.setresgid(uid, uid, uid)
os.setresuid(uid, uid, uid)
renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
print(renameat2(-100, one, -100, other, 2), flush=True)
while True:
    renameat2(-100, one, -100, other, 2)
"""


@pytest.fixture
def top() -> Iterator[Path]:
    """Return a folder of root's that every user may enter; pytest's own is private."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def secret(top: Path) -> Path:
    """Make a file of root's that nobody else may read."""
    path = top / "secret"
    path.write_text("precious")
    path.chmod(0o600)
    return path


def assert_untouched(path: Path) -> None:
    status = path.lstat()
    assert (stat.filemode(status.st_mode), status.st_uid, path.read_text()) == (
        "-rw-------",
        0,
        "precious",
    )


def trap(folder: Path, target: Path) -> None:
    """Make a run directory of ALICE's whose every name leads to ``target``."""
    folder.mkdir()
    for name in ("pbmond.sock", "pbmond.pid", "log"):
        (folder / name).symlink_to(target)
        os.chown(folder / name, ALICE, ALICE, follow_symlinks=False)
    os.chown(folder, ALICE, ALICE)


@contextlib.contextmanager
def exchanging(one: Path, other: Path) -> Iterator[bool]:
    """Let ALICE exchange two directories in a loop; yield whether she can."""
    attacker = subprocess.Popen(
        [sys.executable, "-c", _EXCHANGE, one, other, str(ALICE)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert attacker.stdout is not None
        yield attacker.stdout.readline() == "0\n"
        assert attacker.poll() is None
    finally:
        attacker.kill()
        attacker.communicate()


def refused(*arguments: str, prefix: tuple[str, ...] = ()) -> str:
    """Start pbmond, which must end in one line and status 1; return the line."""
    command = [*prefix, sys.executable, "-s", "-P", "-m", "pbmond", *arguments]
    return refusal_of(command, env={**os.environ, "PYTHONPATH": str(ROOT)})


# --- the directory is exchanged ---------------------------------------------------------------


def test_a_run_directory_below_another_users_folder_is_refused_however_he_exchanges_it(
    top: Path,
) -> None:
    target, home = secret(top), top / "home"
    run_dir = home / "run"
    run_dir.mkdir(parents=True)
    trap(home / "trap", target)
    os.chown(home, ALICE, ALICE)
    with exchanging(run_dir, home / "trap") as can:
        assert can
        for _ in range(TRIES):
            with pytest.raises(RunDirError, match=f"home belongs to user {ALICE}"), hold(run_dir):
                pass
    assert_untouched(target)
    assert {path.name for path in home.rglob("*")} == {
        *("run", "trap", "pbmond.sock", "pbmond.pid", "log")
    }


def test_in_a_sticky_folder_another_user_can_only_come_first_and_is_refused(top: Path) -> None:
    target, shared = secret(top), top / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    run_dir = shared / "run"
    trap(run_dir, target)
    with pytest.raises(RunDirError, match="others may write to it"), hold(run_dir):
        pass
    run_dir.rename(shared / "trap")
    with hold(run_dir), exchanging(run_dir, shared / "trap") as can:
        assert not can
    assert_untouched(target)


def test_a_daemon_whose_directory_is_exchanged_later_restarts_publishers_without_a_look_at_it(
    top: Path,
) -> None:
    """The attack itself: ten publishers are killed while the directory is being exchanged."""
    target, home = secret(top), top / "home"
    run_dir = home / "run"
    run_dir.mkdir(parents=True)
    with Daemon(run_dir) as daemon:
        trap(home / "trap", target)
        os.chown(home, ALICE, ALICE)
        with exchanging(run_dir, home / "trap") as can:
            assert can
            pids = [daemon.publisher()]
            for _ in range(RESTARTS):
                os.kill(pids[-1], signal.SIGKILL)
                pids.append(another_publisher(daemon, pids[-1]))
        assert_untouched(target)
        if (run_dir / SOCKET).is_symlink():  # she stopped while her directory was there
            (home / "trap").rename(home / "real")
            run_dir.rename(home / "trap")
            (home / "real").rename(run_dir)
        assert daemon.snapshot()
        assert len(set(pids)) == 1 + RESTARTS
        assert daemon.stop() == 0
    assert_untouched(target)
    assert (home / "trap" / SOCKET).is_symlink()
    assert not (run_dir / SOCKET).exists()


def another_publisher(daemon: Daemon, before: int) -> int:
    """Wait for a publisher other than ``before``, and return its process id."""
    pids = [before]

    def replaced() -> bool:
        with contextlib.suppress(ValueError):  # there is none
            pids.append(daemon.publisher())
        return pids[-1] != before

    wait_until(replaced)
    return pids[-1]


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + patient(60)
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("what", ["--log-file", "--run-dir"])
def test_a_path_below_another_users_folder_is_one_line(top: Path, what: str) -> None:
    target, home = secret(top), top / "home"
    trap(home, target)
    paths = {"--run-dir": str(top / "run"), "--log-file": str(top / "log")}
    paths[what] = str(home / "log")
    config = top / "pbmond.toml"
    config.write_text('publisher_user = "nobody"')
    line = refused("--config", str(config), *(each for pair in paths.items() for each in pair))
    assert line == (
        f"pbmond: {home}/log: {home} belongs to user {ALICE}, who could change it; "
        f"choose another {what}\n"
    )
    assert_untouched(target)


@pytest.mark.parametrize("kind", ["directory", "fifo", "symlink", "hard link"])
def test_a_socket_path_that_is_something_else_is_one_line(top: Path, kind: str) -> None:
    target, path = secret(top), top / SOCKET
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "symlink":
        path.symlink_to(target)
    else:
        path.hardlink_to(target)
    config = top / "pbmond.toml"
    config.write_text(f'publisher_user = "nobody"\nrun_dir = "{top}"')
    line = refused("--config", str(config))
    assert line == f"pbmond: {top}: {SOCKET} in it is not a socket; choose another --run-dir\n"
    assert_untouched(target)
    assert not path.is_socket()


# --- the lock ----------------------------------------------------------------------------------

# Run as ALICE: holds a lock on a file that she opens, and says whether she could.
_LOCKS = """
uid = int(sys.argv[2])
os.setgroups([])
os.setresgid(uid, uid, uid)
os.setresuid(uid, uid, uid)
try:
    fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX)
except PermissionError:
    print("refused", flush=True)
else:
    print("locked", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def locking(path: Path, uid: int) -> Iterator[tuple[str, int]]:
    """Let a user lock a file; yield what came of it, and the user's process."""
    with subprocess.Popen(
        [sys.executable, "-c", f"import fcntl, os, sys{_LOCKS}", path, str(uid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as locker:
        assert locker.stdout is not None
        yield locker.stdout.readline().strip(), locker.pid


def test_another_user_cannot_keep_the_daemon_from_starting_by_holding_its_lock(top: Path) -> None:
    """The pid file stays when a daemon ends, and to lock a file it is enough to read it."""
    (top / PID_FILE).touch(0o644)
    for _ in range(2):
        with hold(top):
            pass
        with locking(top / PID_FILE, ALICE) as (what, _), hold(top):
            assert what == "refused"


def test_quickstart_takes_only_a_process_that_has_the_pid_file_open_for_the_daemon(
    top: Path,
) -> None:
    """Once, --stop ended whichever process had the pid that a killed daemon had left behind."""
    script = (ROOT / "packaging/quickstart").read_text()
    start = script.index("running_daemon() {")
    function = script[start : script.index("\n}\n", start) + 3]
    command = ["bash", "-c", f"set -euo pipefail; RUN_DIR={top}; {function} running_daemon"]
    path = top / PID_FILE
    path.write_text(f"{os.getpid()}\n")
    with locking(path, 0) as (what, pid):
        assert what == "locked"
        assert subprocess.run(command, capture_output=True, check=False).returncode == 1
        path.write_text(f"{pid}\n")
        assert subprocess.check_output(command, text=True) == f"{pid}\n"
    with hold(top):
        assert subprocess.check_output(command, text=True) == f"{os.getpid()}\n"
    assert subprocess.run(command, capture_output=True, check=False).returncode == 1


# --- publishers come and go -------------------------------------------------------------------


def test_of_200_connects_while_there_is_no_publisher_none_is_refused(top: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(hold(top))
        log = logging.getLogger("test")
        starter = stack.enter_context(Starter(listener, nobody.pw_uid, nobody.pw_gid, "pbmon", log))
        supervisor = Supervisor(starter.publisher, log)
        stack.callback(supervisor.close)
        assert supervisor.ensure(time.monotonic_ns())
        assert supervisor.pid is not None
        os.kill(supervisor.pid, signal.SIGKILL)

        def ended() -> bool:
            supervisor.receive()
            return supervisor.pid is None

        wait_until(ended)
        viewers = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(200)]
        for viewer in viewers:
            viewer.connect(str(top / SOCKET))
        wait_until(lambda: supervisor.ensure(time.monotonic_ns()))
        for viewer in viewers:
            viewer.settimeout(patient(60))
            assert viewer.recv(1) == b"\xff"  # how a ZMTP greeting begins


_SETRESUID = {"x86_64": 117, "aarch64": 147}


def test_a_publisher_that_cannot_become_its_user_is_one_line(top: Path) -> None:
    """Once, its traceback repeated for ever. Here a filter refuses what the capability allows."""
    config = top / "pbmond.toml"
    config.write_text(f'publisher_user = "nobody"\nrun_dir = "{top}/run"\nlog_level = "error"')
    number = _SETRESUID[os.uname().machine]
    forbid = (sys.executable, str(FORBID), "1", str(number))
    assert refused("--config", str(config), prefix=forbid) == (
        "pbmond: the publisher cannot become its user: it needs CAP_SETUID and CAP_SETGID "
        "(status 77)\n"
    )
    assert not (top / "run" / SOCKET).exists()
