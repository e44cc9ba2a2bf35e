"""Interfaces of a network that the process is not in, by the sockets that it was given."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[2]
#: Process 1 of a namespace waits in its network; the other one leaves that, and has its sockets.
_CODE = """
import ctypes, os, socket, struct, subprocess, sys
from pbmond.host.hostcounters import HostCounters

def ip(*words):
    subprocess.check_call(["nsenter", "--target", "1", "--net", "ip", *words])

def opened(groups):
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    sock.bind((0, groups))
    return sock

if os.fork():
    sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
for number in range(40):
    ip("link", "add", f"one{number}", "type", "veth", "peer", "name", f"other{number}")
asking, told = opened(0), opened(1 | 0x10 | 0x100)
# Somebody asked for all links and was killed before reading the first.
asking.send(struct.pack("=IHHIIBxHiII", 32, 18, 0x301, 7, 0, 0, 0, 0, 0, 0))
assert ctypes.CDLL(None).unshare(0x40000000) == 0  # CLONE_NEWNET

counters = HostCounters(given=(asking, told))
first = counters.read(0)
ip("address", "add", "192.0.2.7/24", "dev", "one0")
ip("link", "set", "one1", "name", "late")
second, third = counters.read(1), counters.read(2)

assert first.netns == os.stat("/proc/1/ns/net").st_ino != os.stat("/proc/self/ns/net").st_ino
assert len(first.interfaces) == 81, first
assert first.interface_numbers.keys() == first.interfaces.keys()
assert second.interface_numbers[b"late"] == first.interface_numbers[b"one1"]
mapped = bytes(10) + b"\\xff\\xff" + bytes((192, 0, 2, 7))
assert second.addresses == {b"one0": {mapped}}, second.addresses
assert third.addresses is second.addresses
"""


def test_the_interfaces_are_those_of_the_sockets_and_of_process_1() -> None:
    command = ["unshare", "--net", "--pid", "--fork", "--mount-proc", sys.executable, "-c", _CODE]
    subprocess.run(
        command, check=True, env={"PYTHONPATH": str(_ROOT), "PATH": "/sbin:/usr/sbin:/bin:/usr/bin"}
    )
