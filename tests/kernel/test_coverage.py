"""Coverage with a real kernel: known bytes over an interface and to a disk, and what the host says.

The daemon watches the interfaces of its own network namespace, so one end of a veth pair is there,
and the other in a namespace of the test's own; addresses are those kept for documentation.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from processes import row_of, run_python

from pbmond import wire
from pbmond.patience import patient
from pbmond.selftest.private_daemon import Daemon

NAMESPACE = f"pbmon-test-{os.getpid()}"
OURS, THEIRS = f"pbmt{os.getpid() % 10**7}", "peer"
ADDRESSES = {"203.0.113.1/30": "203.0.113.2/30", "2001:db8:3::1/126": "2001:db8:3::2/126"}
SENT, ANSWERED = 5_000_011, 300_007


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


@pytest.fixture(scope="module")
def link() -> Iterator[str]:
    """Make the pair and its addresses; return the name of our end."""
    ip("netns", "add", NAMESPACE)
    try:
        ip("link", "add", OURS, "type", "veth", "peer", "name", THEIRS, "netns", NAMESPACE)
        for ours, theirs in ADDRESSES.items():
            # No wait for a duplicate of an IPv6 address.
            dad = ["nodad"] if ":" in ours else []
            ip("address", "add", ours, "dev", OURS, *dad)
            ip("-n", NAMESPACE, "address", "add", theirs, "dev", THEIRS, *dad)
        ip("link", "set", OURS, "up")
        ip("-n", NAMESPACE, "link", "set", THEIRS, "up")
        ip("-n", NAMESPACE, "link", "set", "lo", "up")
        yield OURS
    finally:
        # Both ends go with the namespace.
        ip("netns", "delete", NAMESPACE)


@pytest.fixture(scope="module")
def daemon(link: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("daemon")) as running:
        yield running


_SERVER = """
import json, os, socket, sys
family, address, sent, answered = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
listener = socket.socket(getattr(socket, family))
listener.bind((address, 0))
listener.listen(1)
print(listener.getsockname()[1], flush=True)
connection, _ = listener.accept()
left = sent
while left:
    left -= len(connection.recv(left))
connection.sendall(b"x" * answered)
print(os.getpid())
"""
_CLIENT = """
import socket, sys
address, port, sent, answered = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
connection = socket.create_connection((address, port))
connection.sendall(b"x" * sent)
while answered:
    answered -= len(connection.recv(answered))
print(0)
"""


def transfer(family: str, bound: str, address: str) -> None:
    """Send SENT bytes from the other namespace to ``bound`` in ours, and ANSWERED bytes back."""
    figures = (str(SENT), str(ANSWERED))
    bare = [sys.executable, "-I", "-S", "-c"]
    with subprocess.Popen(
        [*bare, _SERVER, family, bound, *figures], stdout=subprocess.PIPE
    ) as server:
        assert server.stdout is not None
        try:
            port = int(server.stdout.readline())
            inside = ["ip", "netns", "exec", NAMESPACE, *bare, _CLIENT]
            subprocess.run([*inside, address, str(port), *figures], check=True, timeout=patient(60),
                           capture_output=True)  # fmt: skip
            assert json.loads(server.stdout.read()) == server.pid
        finally:
            server.kill()


def interface(message: wire.Message, name: str) -> dict[str, Any]:
    (found,) = (row for row in message.coverage["interfaces"] if row["name"] == name.encode())
    return dict(found)


def grown(before: dict[str, Any], after: dict[str, Any], name: str) -> int:
    return int(after[name] - before[name])


@pytest.mark.parametrize(
    ("family", "bound", "address"),
    [
        ("AF_INET", "203.0.113.1", "203.0.113.1"),
        ("AF_INET6", "2001:db8:3::1", "2001:db8:3::1"),
        ("AF_INET6", "::ffff:203.0.113.1", "203.0.113.1"),
        ("AF_INET6", "::", "203.0.113.1"),
    ],
    ids=["inet", "inet6", "mapped", "any"],
)
def test_payload_over_an_interface_is_exact_and_the_wire_carried_more(
    daemon: Daemon, link: str, family: str, bound: str, address: str
) -> None:
    before = daemon.snapshot()
    transfer(family, bound, address)
    after = daemon.snapshot()
    old, new = interface(before, link), interface(after, link)
    assert new["present"]
    assert new["addresses"] >= len(ADDRESSES)  # and a link-local one
    assert grown(old, new, "payload_rx_bytes") == SENT
    assert grown(old, new, "payload_tx_bytes") == ANSWERED
    assert grown(old, new, "rx_bytes") > SENT
    assert grown(old, new, "tx_bytes") > ANSWERED
    assert grown(old, new, "rx_packets") > 0
    # The other end is in another namespace, whose interfaces the host does not have.
    one, other = before.coverage["elsewhere"], after.coverage["elsewhere"]
    assert grown(one, other, "payload_tx_bytes") >= SENT
    assert grown(one, other, "payload_rx_bytes") >= ANSWERED


def test_the_interval_is_what_moved_since_the_previous_snapshot(daemon: Daemon, link: str) -> None:
    earlier = daemon.snapshot()
    transfer("AF_INET", "203.0.113.1", "203.0.113.1")
    for _ in range(20):
        later = daemon.snapshot(earlier.now_ns)
        if later.seq == earlier.seq + 1:  # else one was dropped, because we were late
            break
        earlier = later
    assert later.seq == earlier.seq + 1
    old, new = interface(earlier, link), interface(later, link)
    for name in (*wire.INTERFACE_COUNTERS, *wire.PAYLOAD_COUNTERS):
        assert new[wire.interval_name(name)] == grown(old, new, name)


def test_loopback_counts_every_byte_twice_once_for_each_end(daemon: Daemon) -> None:
    before = daemon.snapshot()
    run_python(_LOOPBACK, SENT)
    after = daemon.snapshot()
    old, new = interface(before, "lo"), interface(after, "lo")
    for way in ("rx", "tx"):
        assert grown(old, new, f"payload_{way}_bytes") >= SENT
        assert grown(old, new, f"{way}_bytes") > SENT


_LOOPBACK = """
import socket, sys, threading
listener = socket.create_server(("127.0.0.5", 0))
def send():
    socket.create_connection(listener.getsockname()).sendall(b"x" * int(sys.argv[1]))
sender = threading.Thread(target=send)
sender.start()
connection, left = listener.accept()[0], int(sys.argv[1])
while left:
    left -= len(connection.recv(left))
sender.join()
print(0)
"""


def test_places_hold_what_the_totals_hold(daemon: Daemon) -> None:
    message = daemon.snapshot()
    places = [*message.coverage["interfaces"], message.coverage["elsewhere"]]
    for way in ("rx", "tx"):
        total = sum(message.totals[f"{kind}_{way}_bytes"] for kind in ("net", "loopback"))
        assert sum(place[f"payload_{way}_bytes"] for place in places) == total


_WRITE = """
import mmap, os, sys
memory = mmap.mmap(-1, 1 << 20)
descriptor = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT | os.O_DIRECT)
for _ in range(int(sys.argv[2])):
    os.write(descriptor, memory)
print(os.getpid())
"""


def test_direct_writes_reach_the_disk_as_they_are_attributed(
    daemon: Daemon, tmp_path: Path
) -> None:
    written = 16 << 20
    before = daemon.snapshot()
    pid = run_python(_WRITE, tmp_path / "data", written >> 20)
    after = daemon.snapshot()
    # Beside the data itself, pages of the file system's own may have become dirty.
    own = row_of(after, pid)["disk_write_bytes"]
    assert written <= own <= written + (1 << 20)
    attributed = grown(
        dict(before.coverage["attributed"]), dict(after.coverage["attributed"]), "disk_write_bytes"
    )
    assert attributed >= own
    assert after.coverage["attributed"]["disk_write_bytes"] == after.totals["disk_write_bytes"]
    assert on_disks(after) - on_disks(before) >= written


def on_disks(message: wire.Message) -> int:
    return sum(disk["write_bytes"] for disk in message.coverage["disks"] if not disk["stacked"])


def test_an_interface_that_is_gone_keeps_what_it_moved(daemon: Daemon) -> None:
    name, address, peer = f"{OURS}b", "203.0.113.5", "203.0.113.6"
    ip("link", "add", name, "type", "veth", "peer", "name", "second", "netns", NAMESPACE)
    try:
        ip("address", "add", f"{address}/30", "dev", name)
        ip("link", "set", name, "up")
        ip("-n", NAMESPACE, "link", "set", "second", "up")
        # Somebody to send to, so that no datagram waits for an answer and is dropped.
        ip("neighbour", "add", peer, "lladdr", "02:00:00:00:00:01", "dev", name)
        daemon.snapshot()
        run_python(_DATAGRAMS, address, peer)
        moved = interface(daemon.snapshot(), name)
        assert moved["payload_tx_bytes"] == 100_000
        assert moved["tx_bytes"] > 100_000
    finally:
        ip("link", "delete", name)
    gone = interface(daemon.snapshot(), name)
    assert (gone["present"], gone["addresses"], gone["tx_bytes_interval"]) == (False, 0, None)
    assert gone["payload_tx_bytes"] == 100_000
    assert gone["tx_bytes"] >= moved["tx_bytes"]


_DATAGRAMS = """
import socket, sys
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sender.bind((sys.argv[1], 0))
for _ in range(100):
    sender.sendto(b"x" * 1000, (sys.argv[2], 9))
print(0)
"""
