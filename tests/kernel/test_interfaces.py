"""Interfaces that are made again, in a network namespace of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_CODE = """
import subprocess
from pbmond.host.hostcounters import HostCounters
def ip(*words):
    subprocess.check_call(["ip", "link", *words])
counters = HostCounters()
seen = []
ip("add", "again", "type", "veth", "peer", "name", "other")
for _ in range(2):
    seen.append(counters.read(0).interface_numbers[b"again"])
    ip("del", "again")
    ip("add", "again", "type", "veth", "peer", "name", "other")
seen.append(counters.read(0).interface_numbers[b"again"])
assert len(set(seen)) == 3, seen
assert counters.read(0).interface_numbers[b"again"] == seen[-1]
"""


def test_an_interface_made_again_has_another_number_at_the_next_reading() -> None:
    command = ["unshare", "--net", sys.executable, "-c", _CODE]
    subprocess.run(
        command, check=True, env={"PYTHONPATH": str(_ROOT), "PATH": "/sbin:/usr/sbin:/bin:/usr/bin"}
    )
