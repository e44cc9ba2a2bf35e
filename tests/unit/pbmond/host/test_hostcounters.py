"""The host's own counters: the formats of kernels, arbitrary bytes, and the files."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbmond.host import rtnetlink
from pbmond.host.counter_files import (
    parse_disks,
    parse_forwarded,
    parse_interfaces,
    parse_retransmitted,
)
from pbmond.host.hostcounters import DISKS_NS, HostCounters
from tests import factories as make

NET_DEV = b"""Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo \
colls carrier compressed
    lo: 141599932   21140    0    0    0     0          0         0 141599932   21140    0    0
  eth0:61664328    1725    0    0    0     0          0         0   108033    1038    0    0    0
br-\xff\x1b[31m: 18446744073709551615 1 0 0 0 0 0 0 2 3 0 0 0 0 0 0
a:b: 1 2 0 0 0 0 0 0 3 4 0 0 0 0 0 0
"""
DISKSTATS = b"""   7       0 loop0 6 0 48 0 6 6 96 0 0 20 0 0 0 0 0 0 0
 254       0 vda 40891 7679 2777794 8365 4684 55980 2932512 15684 0 6864 25337 8740 37 134208 1264
 254       1 vda1 1 2 3
 104       0 cciss/c0d0 1 0 8 0 1 0 16 0 0 0 0
"""
SNMP = b"""Ip: Forwarding DefaultTTL InReceives InHdrErrors InAddrErrors ForwDatagrams
Ip: 2 64 22645 0 0 17
Icmp: InMsgs
Icmp: 0
Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails RetransSegs
Tcp: 1 200 120000 -1 509 490 0 5
"""
SNMP6 = b"Ip6InReceives                   \t439\nIp6OutForwDatagrams             \t3\n"


# --- formats --------------------------------------------------------------------------------------


def test_interface_names_may_contain_anything() -> None:
    assert parse_interfaces(NET_DEV) == {
        b"lo": (141599932, 141599932, 21140, 21140),
        b"eth0": (61664328, 108033, 1725, 1038),
        b"br-\xff\x1b[31m": (2**64 - 1, 2, 1, 3),
        b"a:b": (1, 3, 2, 4),
    }


def test_disk_counters_are_in_bytes() -> None:
    assert parse_disks(DISKSTATS) == {
        b"loop0": (48 * 512, 96 * 512),
        b"vda": (2777794 * 512, 2932512 * 512),
        b"cciss/c0d0": (8 * 512, 16 * 512),
    }


def test_protocol_counters_are_found_by_their_names() -> None:
    assert parse_retransmitted(SNMP) == 5
    assert parse_forwarded(SNMP, SNMP6) == 20
    assert parse_forwarded(SNMP, b"") == 17


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b"Tcp:", b"Tcp: RetransSegs\n", b"Tcp: RetransSegs\nTcp:\n"),
        *(b"Tcp: RetransSegs\nTcp: x\n", b"Tcp: Other\nTcp: 1\n", b"Udp: RetransSegs\nUdp: 1\n"),
    ],
)
def test_a_missing_protocol_counter_is_unknown(text: bytes) -> None:
    assert parse_retransmitted(text) is None
    assert parse_forwarded(text, SNMP6) is None


def test_a_number_that_no_kernel_can_count_to_is_left_out() -> None:
    """Found by tests.fuzz: int() refuses more than 4,300 digits."""
    digits = b"9" * 5000
    assert parse_interfaces(b"eth0: " + b" ".join([digits] * 16)) == {}
    assert parse_disks(b"254 0 vda " + b" ".join([digits] * 16)) == {}
    assert parse_retransmitted(b"Tcp: RetransSegs\nTcp: " + digits) is None
    assert parse_forwarded(SNMP, b"Ip6OutForwDatagrams " + digits) is None


@given(st.binary(max_size=300), st.sampled_from([b"", NET_DEV, DISKSTATS, SNMP, SNMP6]))
def test_no_text_raises_an_error(noise: bytes, text: bytes) -> None:
    for each in (noise, text + noise, text[: len(noise)], text[len(noise) :]):
        parse_interfaces(each)
        parse_disks(each)
        parse_retransmitted(each)
        parse_forwarded(each, each)


# --- files ----------------------------------------------------------------------------------------


class FakeHost:
    """A proc and a sys file system with a host's counters in them."""

    def __init__(self, root: Path) -> None:
        self.proc, self.sys = root / "proc", root / "sys"
        self.net = self.proc / "self/net"
        self.net.mkdir(parents=True)
        for name, text in (("dev", NET_DEV), ("snmp", SNMP), ("snmp6", SNMP6)):
            (self.net / name).write_bytes(text)
        (self.proc / "self/ns").mkdir()
        (self.proc / "self/ns/net").touch()
        (self.proc / "diskstats").write_bytes(DISKSTATS)
        for name in ("loop0", "vda", "cciss!c0d0"):
            self.disk(name)

    def disk(self, name: str, *slaves: str) -> None:
        folder = self.sys / "block" / name / "slaves"
        folder.mkdir(parents=True)
        for slave in slaves:
            (folder / slave).touch()
        (folder.parent / "hidden").write_text("0\n")

    def counters(self) -> HostCounters:
        self.made = HostCounters(self.proc, self.sys)
        return self.made


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeHost]:
    host = FakeHost(tmp_path)
    yield host
    host.made.close()


def test_everything_is_read(fake: FakeHost) -> None:
    found = fake.counters().read(0)
    assert found.interfaces == parse_interfaces(NET_DEV)
    assert found.disks == parse_disks(DISKSTATS)
    assert found.stacked == {b"loop0"}
    assert (found.retransmitted_segments, found.forwarded_packets) == (5, 20)
    assert found.netns == (fake.proc / "self/ns/net").stat().st_ino


def test_counters_are_read_again_each_time(fake: FakeHost) -> None:
    counters = fake.counters()
    counters.read(0)
    (fake.net / "dev").write_bytes(b"eth9: 1 2 0 0 0 0 0 0 3 4 0 0 0 0 0 0\n")
    assert counters.read(1).interfaces == {b"eth9": (1, 3, 2, 4)}


def test_a_text_longer_than_one_read_is_complete(fake: FakeHost) -> None:
    lines = [b"veth%d: %d 2 0 0 0 0 0 0 3 4 0 0 0 0 0 0\n" % (at, at) for at in range(5000)]
    (fake.net / "dev").write_bytes(b"".join(lines))
    found = fake.counters().read(0).interfaces
    assert found is not None
    assert len(found) == 5000


def test_what_cannot_be_read_is_none(tmp_path: Path) -> None:
    with closing(HostCounters(tmp_path, tmp_path)) as counters:
        found = counters.read(0)
    assert (found.netns, found.interfaces, found.disks) == (None, None, None)
    assert (found.retransmitted_segments, found.forwarded_packets) == (None, None)


def test_without_ipv6_only_ipv4_forwards(fake: FakeHost) -> None:
    (fake.net / "snmp6").unlink()
    assert fake.counters().read(0).forwarded_packets == 17


def test_partitions_are_not_disks(fake: FakeHost) -> None:
    text = DISKSTATS + b" 254 1 vda1 1 0 8 0 1 0 16 0 0 0 0\n"
    (fake.proc / "diskstats").write_bytes(text)
    assert set(fake.counters().read(0).disks or ()) == {b"loop0", b"vda", b"cciss/c0d0"}


def test_disks_built_on_other_disks_are_stacked(fake: FakeHost) -> None:
    fake.disk("dm-0", "vda")
    fake.disk("nvme0c0n1")
    (fake.sys / "block/nvme0c0n1/hidden").write_text("1\n")
    more = b"".join(b"1 1 %s 1 0 8 0 1 0 16 0 0 0 0\n" % name for name in (b"dm-0", b"nvme0c0n1"))
    (fake.proc / "diskstats").write_bytes(DISKSTATS + more)
    assert fake.counters().read(0).stacked == {b"loop0", b"dm-0", b"nvme0c0n1"}


def test_a_disk_that_becomes_stacked_is_noticed_in_time(fake: FakeHost) -> None:
    counters = fake.counters()
    assert b"vda" not in counters.read(0).stacked
    (fake.sys / "block/vda/slaves/sda").touch()
    assert b"vda" not in counters.read(DISKS_NS - 1).stacked
    assert b"vda" in counters.read(DISKS_NS).stacked


# --- this host ------------------------------------------------------------------------------------


def test_this_host_has_a_loopback_interface_with_its_addresses() -> None:
    with closing(HostCounters()) as counters:
        found, again = counters.read(0), counters.read(1)
    assert found.interfaces is not None
    assert found.addresses is not None
    assert b"lo" in found.interfaces
    assert make.address("127.0.0.1") in found.addresses.get(b"lo", ())
    assert again.addresses is found.addresses
    assert found.netns == Path("/proc/self/ns/net").stat().st_ino


def test_refused_netlink_leaves_addresses_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> socket.socket:
        raise PermissionError

    monkeypatch.setattr(rtnetlink, "_netlink", refused)
    with closing(HostCounters()) as counters:
        found = counters.read(0)
    assert found.addresses is None
    assert found.interfaces is not None
