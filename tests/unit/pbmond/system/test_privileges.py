"""Dropped privileges cannot be regained; each test uses a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pbmond.system.privileges import COLLECTOR_CAPABILITIES

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


def test_the_collector_keeps_a_few_capabilities_and_its_children_get_no_more() -> None:
    out = run(
        "import subprocess\n"
        "from pbmond.system.privileges import reduce_collector\n"
        "before = int(status()['CapPrm'], 16)\n"
        "reduce_collector()\n"
        "names = ('CapPrm', 'CapEff', 'CapBnd', 'CapInh', 'CapAmb')\n"
        "print(before, *(int(status()[name], 16) for name in names), status()['NoNewPrivs'])\n"
        "print(subprocess.run(['cat', '/proc/self/status'], capture_output=True).stdout.decode())\n"
    )
    first, *rest = out.splitlines()
    before, permitted, effective, bounding, inheritable, ambient, no_new = map(int, first.split())
    kept = sum(1 << number for number in COLLECTOR_CAPABILITIES) & before
    assert permitted == effective == kept
    assert bounding & ~kept == 0
    assert (inheritable, ambient, no_new) == (0, 0, 1)
    child = {key: value.strip() for key, _, value in (line.partition(":") for line in rest)}
    assert int(child["CapPrm"], 16) & ~kept == 0


def test_root_cannot_be_had_back() -> None:
    out = run(
        "import os\n"
        "from pbmond.system.privileges import become\n"
        "become(61001, 61002)\n"
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
        "ours, theirs = os.pipe()\n"
        "middle = os.fork()\n"
        "if not middle:\n"
        "    if not os.fork():\n"
        "        become(61001, 61001)\n"
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
        "from pbmond.system.privileges import become_reader\n"
        "become_reader(61001, 61002)\n"
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
