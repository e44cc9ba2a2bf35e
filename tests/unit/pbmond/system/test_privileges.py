"""Dropped privileges cannot be regained; each test uses a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pbmond.system.rights import COLLECTOR_RIGHTS

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root has something to give up")
ROOT = Path(__file__).resolve().parents[4]

STATUS = """
def status():
    lines = open("/proc/self/status").read().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}
"""


def run(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", STATUS + code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout


def test_the_collector_keeps_a_few_capabilities_and_executes_nothing() -> None:
    out = run(
        "import os\n"
        "from pbmond.system.privileges import confine_collector, confine_daemon\n"
        "before = int(status()['CapPrm'], 16)\n"
        "confine_daemon()\n"
        "confine_collector()\n"
        "names = ('CapPrm', 'CapEff', 'CapBnd', 'CapInh', 'CapAmb')\n"
        "print(before, *(int(status()[name], 16) for name in names), status()['NoNewPrivs'])\n"
        "for call in (lambda: os.execv('/bin/true', ['true']), os.fork, lambda: os.setuid(0),\n"
        "             lambda: os.kill(1, 0), lambda: os.chmod('/dev/null', 0o666)):\n"
        "    try:\n"
        "        call()\n"
        "        print('succeeded')\n"
        "    except PermissionError:\n"
        "        pass\n"
    )
    before, permitted, effective, bounding, inheritable, ambient, no_new = map(int, out.split())
    kept = COLLECTOR_RIGHTS.mask & before
    assert permitted == effective == kept
    assert bounding & ~kept == 0
    assert (inheritable, ambient, no_new) == (0, 0, 1)


def test_what_is_confined_still_has_threads_files_and_its_sockets() -> None:
    out = run(
        "import socket, threading\n"
        "from pbmond.system.privileges import confine_collector, confine_daemon\n"
        "confine_daemon()\n"
        "kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)\n"
        "confine_collector()\n"
        "thread = threading.Thread(target=lambda: print('thread'))\n"
        "thread.start()\n"
        "thread.join()\n"
        "kernel.bind((0, 0))\n"
        "ours, theirs = socket.socketpair()\n"
        "ours.settimeout(1)\n"
        "ours.send(b'x')\n"
        "families = socket.AF_INET, socket.AF_INET6, socket.AF_PACKET, socket.AF_NETLINK\n"
        "for family in families:\n"
        "    try:\n"
        "        socket.socket(family, socket.SOCK_DGRAM)\n"
        "    except PermissionError:\n"
        "        print('refused')\n"
    )
    assert out.split() == ["thread", *["refused"] * 4]


def test_written_memory_never_becomes_code() -> None:
    """Linux 6.3 and later; an older kernel knows nothing of it and is left alone."""
    out = run(
        "import ctypes, errno, mmap\n"
        "from pbmond.system.privileges import confine_daemon\n"
        "confine_daemon()\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "zero = ctypes.c_ulong(0)\n"
        "known = libc.prctl(66, zero, zero, zero, zero)\n"  # PR_GET_MDWE
        "try:\n"
        "    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)\n"
        "    print(known, 'mapped')\n"
        "except PermissionError:\n"
        "    print(known, 'refused')\n"
    )
    assert out in ("1 refused\n", "-1 mapped\n")


def test_root_cannot_be_had_back() -> None:
    out = run(
        "import os\n"
        "from pbmond.system.privileges import become\n"
        "from pbmond.system.rights import PUBLISHER_RIGHTS\n"
        "become(61001, 61002, PUBLISHER_RIGHTS)\n"
        "for call in (lambda: os.setresuid(0, 0, 0), lambda: os.setgid(0),\n"
        "             lambda: os.setgroups([0]), lambda: open('/proc/1/environ', 'rb').read()):\n"
        "    try:\n"
        "        call()\n"
        "        print('succeeded')\n"
        "    except PermissionError:\n"
        "        pass\n"
        "print(status()['Uid'], status()['Gid'], int(status()['CapPrm'], 16))\n"
    )
    assert out.split() == ["61001"] * 4 + ["61002"] * 4 + ["0"]


def test_it_dies_with_its_parent() -> None:
    out = run(
        "import os, sys, time, signal\n"
        "from pbmond.system.privileges import become\n"
        "from pbmond.system.rights import PUBLISHER_RIGHTS\n"
        "ours, theirs = os.pipe()\n"
        "middle = os.fork()\n"
        "if not middle:\n"
        "    if not os.fork():\n"
        "        become(61001, 61001, PUBLISHER_RIGHTS)\n"
        "        os.write(theirs, b'r')\n"
        "        time.sleep(60)\n"
        "        os._exit(0)\n"
        "    os.read(ours, 1)\n"
        "    os._exit(0)\n"
        "os.close(theirs)\n"
        "os.waitpid(middle, 0)\n"
        "print(os.read(ours, 1))\n"  # its end only comes when the grandchild is dead
    )
    assert out == "b''\n"


def test_a_reader_reads_what_is_roots_and_does_nothing_else(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("root's")
    secret.chmod(0o600)
    out = run(
        "import os, socket, subprocess\n"
        "from pbmond.system.privileges import become\n"
        "from pbmond.system.rights import NAMES_RIGHTS\n"
        "become(61001, 61002, NAMES_RIGHTS)\n"
        f"print(open({str(secret)!r}).read())\n"
        f"for call in (lambda: open({str(secret)!r}, 'a'), lambda: socket.socket(),\n"
        "             lambda: socket.socketpair(), lambda: os.setuid(0),\n"
        "             lambda: os.execv('/bin/true', ['true'])):\n"
        "    try:\n"
        "        call()\n"
        "        print('succeeded')\n"
        "    except PermissionError:\n"
        "        pass\n"
        "print(status()['Uid'].split()[0], int(status()['CapPrm'], 16), status()['Seccomp'])\n"
    )
    assert out.split("\n")[:2] == ["root's", "61001 4 2"]
