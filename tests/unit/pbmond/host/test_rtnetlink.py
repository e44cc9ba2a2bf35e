"""The addresses of interfaces: whole, odd, cut off and damaged answers of the kernel."""

from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbmond.host.rtnetlink import parse_addresses, parse_names
from tests import factories as make


def netlink(kind: int, body: bytes, flags: int = 2) -> bytes:
    length = 16 + len(body)
    return struct.pack("=IHHII", length, kind, flags, 1, 9) + body + bytes(-length % 4)


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def new_address(family: int, interface: int, *attributes: bytes) -> bytes:
    return netlink(20, struct.pack("=BBBBI", family, 24, 0, 0, interface) + b"".join(attributes))


def new_link(interface: int, *attributes: bytes, flags: int = 2) -> bytes:
    return netlink(16, struct.pack("=BxHiII", 0, 1, interface, 0, 0) + b"".join(attributes), flags)


DONE = netlink(3, bytes(4))
V4 = new_address(2, 4, attribute(1, b"\xc0\0\2\1"), attribute(2, b"\xc0\0\2\1"),
                 attribute(3, b"eth0\0"))  # fmt: skip
V6 = new_address(10, 4, attribute(1, socket.inet_pton(socket.AF_INET6, "fe80::1")))


def test_addresses_are_those_of_our_end() -> None:
    peer = new_address(2, 5, attribute(1, b"\xc6\x33\x64\1"), attribute(2, b"\xc6\x33\x64\2"))
    assert parse_addresses(V4 + V6 + peer + DONE) == [
        (4, make.address("192.0.2.1")),
        (4, make.address("fe80::1")),
        (5, make.address("198.51.100.2")),
    ]


def test_messages_and_addresses_of_other_kinds_are_skipped() -> None:
    odd = [netlink(16, bytes(40)), new_address(7, 1, attribute(1, b"1234")),
           new_address(2, 1, attribute(1, b"123")), new_address(2, 1),
           netlink(20, b"short")]  # fmt: skip
    assert parse_addresses(b"".join(odd) + DONE) == []


@pytest.mark.parametrize(
    "dump",
    [
        *(V4[:-1], V4[:10], b"\0" * 16, netlink(2, bytes(20)), b"\xff" * 40),
        new_address(2, 1, struct.pack("=HH", 40, 1)),
        new_address(2, 1, struct.pack("=HH", 0, 1)),
        netlink(20, V4[16:], flags=0x12),
    ],
    ids=["cut", "half a header", "no length", "an error", "too long", *"abc"],
)
def test_an_incomplete_list_is_an_error(dump: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_addresses(dump)


def test_names_are_whatever_bytes_the_kernel_has() -> None:
    odd = attribute(3, b"br-\xff\x1b[m\0")
    links = new_link(1, attribute(3, b"lo\0"), attribute(13, bytes(4))) + new_link(7, odd)
    nameless = new_link(8) + netlink(16, b"short") + V4
    assert parse_names(links + nameless + DONE) == {b"lo": 1, b"br-\xff\x1b[m": 7}


@pytest.mark.parametrize(
    "dump",
    [
        new_link(1, attribute(3, b"lo\0"))[:-4],
        new_link(1, struct.pack("=HH", 40, 3)),
        netlink(2, bytes(20)),
        new_link(1, attribute(3, b"lo\0"), flags=0x12),
    ],
    ids=["cut", "too long", "an error", "interrupted"],
)
def test_half_a_list_of_names_is_an_error(dump: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_names(dump)


@given(st.integers(0, len(V4 + V6) - 1), st.binary(min_size=1, max_size=4))
def test_a_damaged_list_is_read_or_is_a_value_error(at: int, noise: bytes) -> None:
    dump = V4 + V6
    try:
        found = parse_addresses(dump[:at] + noise + dump[at + len(noise) :])
    except ValueError:
        return
    assert all(len(address) == 16 for _, address in found)
