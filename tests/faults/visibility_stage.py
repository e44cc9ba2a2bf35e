"""Attacks on who sees what: processes that read a secret as root, and then become user 65534."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pbmond.patience import patient
from pbmond.selftest.private_daemon import Daemon

USER = 65534
SECRET_BYTES = 64 << 20
LIMIT_S = patient(60.0)
CLIENT = Path(sys.executable).with_name("pbmon-client")

Process = subprocess.Popen[str]

#: What makes a process of user 65534 from its first byte on.
AS_USER: dict[str, Any] = {"user": USER, "group": USER, "extra_groups": []}

_TOOLS = """
import ctypes, os, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
secret, ordinary = os.environ["SECRET"], os.environ["ORDINARY"]  # anybody may read arguments
user, tools = int(os.environ["UID_TO_BE"]), os.environ["TOOLS"]
def read(path):
    fd = os.open(path, os.O_RDONLY)
    while os.read(fd, 1 << 20):
        pass
    os.close(fd)
def dumpable(value):
    assert libc.prctl(4, value, 0, 0, 0) == 0
def become(real, effective, saved):
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(real, effective, saved)
def work():
    print(os.getpid(), flush=True)
    while True:
        read(ordinary)
        time.sleep(0.02)
"""

#: Never the viewer's, though it may be dumped.
HIDDEN = {
    "the effective uid alone": "read(secret); become(0, user, 0); dumpable(1); work()",
    "all but the saved uid": "read(secret); become(user, user, 0); dumpable(1); work()",
    "all but the real uid": "read(secret); become(0, user, user); dumpable(1); work()",
    "a drop, which makes it undumpable": "read(secret); become(user, user, user); work()",
    "one thread's drop": """
def root():
    while True:
        read(secret)
        time.sleep(0.02)
read(secret)
threading.Thread(target=root, daemon=True).start()
os.setgroups([])
os.setresgid(user, user, user)
assert libc.syscall(117, user, user, user) == 0  # setresuid of this thread only
dumpable(1)
work()
""",
}

#: The viewer's from some moment on, and shown from then on.
SHOWN = {
    "a drop of what then lets itself be dumped": """
read(secret); become(user, user, user); dumpable(1); work()
""",
    "exec after a drop": """
read(secret); become(user, user, user)
code = open(tools).read() + "work()"
os.execv(sys.executable, [sys.executable, "-I", "-S", "-c", code])
""",
    "a drop and a user namespace, whose owner only /proc tells": """
read(secret); become(user, user, user); dumpable(1)
assert libc.unshare(0x10000000) == 0  # CLONE_NEWUSER
dumpable(1); work()
""",
    "a drop of a forked child": """
read(secret)
if os.fork():
    time.sleep(1000)
read(secret); become(user, user, user); dumpable(1); work()
""",
}


@dataclass(frozen=True)
class World:
    """A daemon, and a directory with a secret, an ordinary file, and a set-uid reader."""

    daemon: Daemon
    top: Path

    @property
    def secret(self) -> Path:
        return self.top / "secret"

    @property
    def ordinary(self) -> Path:
        return self.top / "ordinary"


@contextmanager
def new_world() -> Iterator[World]:
    """Start a daemon, and make what is attacked."""
    # pytest's own directories are closed to other users.
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        top.chmod(0o755)
        run = top / "run"
        run.mkdir()
        for path, size in ((top / "secret", SECRET_BYTES), (top / "ordinary", 1000)):
            path.touch()
            os.truncate(path, size)
        (top / "secret").chmod(0o600)
        (top / "tools.py").write_text(_TOOLS)
        shutil.copy(shutil.which("dd") or "/bin/dd", top / "reader")
        (top / "reader").chmod(0o4755)
        with Daemon(run) as daemon:
            yield World(daemon, top)


def attack(world: World, code: str, **more: Any) -> AbstractContextManager[Process]:
    """Run the tools and then some code of an attack."""
    paths = {"SECRET": world.secret, "ORDINARY": world.ordinary, "TOOLS": world.top / "tools.py"}
    environment = {name: str(path) for name, path in paths.items()}
    words = [sys.executable, "-I", "-S", "-c", _TOOLS + code]
    return running(words, env=environment | {"UID_TO_BE": str(USER)}, **more)


@contextmanager
def running(words: list[str], **more: Any) -> Iterator[Process]:
    """Run a program in a session of its own, which ends with this."""
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, text=True, start_new_session=True, **more
    ) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, 9)


def rows_of(snapshot: dict[str, Any], pid: int) -> list[dict[str, Any]]:
    """Return the rows of a process in a snapshot."""
    tables = ("processes", "connections", "files")
    return [row for table in tables for row in snapshot[table] if row["pid"] == pid]


def pid_of(process: Process) -> int:
    """Return the PID that an attack says once it is what it becomes."""
    assert process.stdout is not None
    return int(process.stdout.readline())
