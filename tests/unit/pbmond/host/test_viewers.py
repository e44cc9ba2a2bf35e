"""Who may see a process, by its files in /proc: with made-up ones, and with real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from fake_proc import FakeProc

from pbmond.host.procfs import Procfs
from pbmond.kernel.records import NO_VIEWER

ME = os.getuid()
USER = 1000
_SETRESUID_OF_A_THREAD = {"x86_64": 117, "aarch64": 147}[os.uname().machine]

needs_root = pytest.mark.skipif(ME != 0, reason="only root can become other users")


def viewer_of(proc: FakeProc) -> int:
    seen = Procfs(proc.root).process(42)
    assert seen is not None
    return seen.viewer


@pytest.fixture
def proc(tmp_path: Path) -> FakeProc:
    """Process 42 of user 1000; of this one where only root may give files away."""
    proc = FakeProc(tmp_path / "proc")
    base = proc.process(42)
    if ME == 0:
        for path in (base, base / "environ"):
            os.chown(path, USER, USER)
        proc.status(base, *(USER,) * 3)
    return proc


OWNER = ME or USER


def test_a_process_with_one_user_throughout_is_that_users(proc: FakeProc) -> None:
    assert viewer_of(proc) == OWNER


@pytest.mark.parametrize("uids", [(0, OWNER, OWNER), (OWNER, OWNER, 0), (0, OWNER, 0)])
def test_a_process_with_another_real_or_saved_user_is_nobodys(
    proc: FakeProc, uids: tuple[int, int, int]
) -> None:
    proc.status(proc.root / "42", *uids)
    assert viewer_of(proc) == NO_VIEWER


def test_a_process_with_a_capability_is_nobodys(proc: FakeProc) -> None:
    proc.status(proc.root / "42", *(OWNER,) * 3, capabilities=1 << 10)
    assert viewer_of(proc) == NO_VIEWER


@pytest.mark.parametrize("name", ["status", "environ", "ns/user"])
def test_a_process_that_does_not_say_whose_it_is_is_nobodys(proc: FakeProc, name: str) -> None:
    (proc.root / "42" / name).unlink()
    assert viewer_of(proc) == NO_VIEWER


@pytest.mark.parametrize(
    "text", ["", "Uid:\t1\n", "Uid:\tx\ty\tz\tw\nCapPrm:\t0\n", "CapPrm:\t0\n"]
)
def test_a_malformed_status_makes_it_nobodys(proc: FakeProc, text: str) -> None:
    (proc.root / "42" / "status").write_text(text)
    assert viewer_of(proc) == NO_VIEWER


@needs_root
def test_a_process_whose_files_belong_to_root_is_nobodys(proc: FakeProc) -> None:
    os.chown(proc.root / "42" / "environ", 0, 0)
    assert viewer_of(proc) == NO_VIEWER


# --- real processes -------------------------------------------------------------------------------

_WAIT = "print(flush=True); sys.stdin.read()"
_BECOME = "os.setgroups([]); os.setresgid(1000, 1000, 1000); "


def viewer_of_real(code: str, *prefix: str) -> int:
    """Run code as root until it waits; return who may see it then."""
    program = f"import ctypes, os, sys, threading; libc = ctypes.CDLL(None); {code}{_WAIT}"
    words = [*prefix, sys.executable, "-I", "-S", "-c", program]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"\n"
        seen = Procfs().process(process.pid)
        process.stdin.close()
    assert seen is not None
    return seen.viewer


@needs_root
@pytest.mark.parametrize(
    ("code", "viewer"),
    [
        ("", 0),
        (f"{_BECOME}os.setresuid(1000, 1000, 1000); ", NO_VIEWER),
        (f"{_BECOME}os.setresuid(1000, 1000, 1000); libc.prctl(4, 1, 0, 0, 0); ", 1000),
        (f"{_BECOME}os.setresuid(0, 1000, 0); libc.prctl(4, 1, 0, 0, 0); ", NO_VIEWER),
        (f"{_BECOME}os.setresuid(1000, 1000, 0); libc.prctl(4, 1, 0, 0, 0); ", NO_VIEWER),
        (f"{_BECOME}os.setresuid(1000, 0, 1000); libc.prctl(4, 1, 0, 0, 0); ", 0),
    ],
)
def test_real_processes_are_whose_the_kernel_says(code: str, viewer: int) -> None:
    assert viewer_of_real(code) == viewer


@needs_root
def test_a_process_with_a_thread_of_another_user_is_nobodys() -> None:
    thread = "threading.Thread(target=threading.Event().wait, daemon=True).start(); "
    drop = f"{thread}libc.syscall({_SETRESUID_OF_A_THREAD}, 1000, 1000, 1000); "
    assert viewer_of_real(f"{drop}libc.prctl(4, 1, 0, 0, 0); ") == NO_VIEWER


@needs_root
def test_a_process_in_a_user_namespace_is_its_owners() -> None:
    as_user = ("setpriv", "--reuid=1000", "--regid=1000", "--clear-groups")
    assert viewer_of_real("", *as_user) == 1000
    tried = subprocess.run([*as_user, "unshare", "-U", "true"], check=False)
    if tried.returncode != 0:
        pytest.skip("users may make no user namespaces")
    assert viewer_of_real("", *as_user, "unshare", "-U") == 1000
    assert viewer_of_real("", "unshare", "-U") == 0
