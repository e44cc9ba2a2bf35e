"""The columns are those of the published contract, and every wire column reaches one."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from client_messages import flow, message, process, received

from pbmon_client.data.columns import SOURCES
from pbmon_client.data.users import user_id, user_name
from pbmond import fields, wire

_CLASS_COUNTERS = [
    f"{name}_{verb}_{unit}"
    for name, verbs in (
        *((name, ("rx", "tx")) for name in ("net", "loopback", "unix", "socket")),
        *((name, ("read", "write")) for name in ("file", "pipe", "device")),
    )
    for unit in ("bytes", "calls")
    for verb in verbs
]
#: Written out as the contract is, not taken from the code; the classes' counters come in between.
_WRITTEN = {
    "processes": """
        pid start_ns ppid uid user name exe cmdline cgroup unit container netns state exited_ns
        connections files before_read_bytes before_write_bytes before_disk_read_bytes
        before_disk_write_bytes COUNTERS disk_read_bytes disk_write_bytes
        retransmitted_segments retransmitted_bytes RATES
        disk_read_bytes_per_s disk_write_bytes_per_s""",
    "connections": """
        pid start_ns class protocol local_address local_port remote_address remote_port netns
        inode direction rx_bytes tx_bytes rx_calls tx_calls rx_bytes_per_s tx_bytes_per_s rtt_us
        retransmitted_segments retransmitted_bytes tcp_state before_rx_bytes before_tx_bytes
        first_ns last_ns open""",
    "files": """
        pid start_ns class path device inode read_bytes write_bytes read_calls write_calls
        read_bytes_per_s write_bytes_per_s first_ns last_ns open""",
    "retired": """
        unit container uid user processes COUNTERS disk_read_bytes disk_write_bytes
        retransmitted_segments retransmitted_bytes""",
}
_CLASS_RATES = [f"{name}_per_s" for name in _CLASS_COUNTERS if name.endswith("bytes")]
CONTRACT = {
    kind: text.replace("COUNTERS", " ".join(_CLASS_COUNTERS))
    .replace("RATES", " ".join(_CLASS_RATES))
    .split()
    for kind, text in _WRITTEN.items()
}


def values(kind: str, name: str, *rows: dict[str, Any]) -> list[Any]:
    source = SOURCES[kind][name]
    return list(source(wired(kind, *rows), lambda uid: f"user-{uid}"))


def wired(kind: str, *rows: dict[str, Any]) -> dict[str, Any]:
    """Send rows over the wire and return their columns."""
    given = [rows if kind == name else () for name in wire.TABLES]  # in the order of message()
    sent = message(*given)
    came: wire.Table = getattr(received(sent), kind)
    return dict(came.columns)


@pytest.mark.parametrize("kind", CONTRACT)
def test_columns_are_those_of_the_contract_in_its_order(kind: str) -> None:
    assert list(SOURCES[kind]) == CONTRACT[kind]


@pytest.mark.parametrize("kind", CONTRACT)
def test_every_wire_column_is_used(kind: str) -> None:
    class Used(dict[str, Any]):
        def __getitem__(self, name: str) -> Any:
            seen.add(name)
            return super().__getitem__(name)

    seen: set[str] = set()
    used = Used(wired(kind, process(1)))
    for source in SOURCES[kind].values():
        assert len(source(used, str)) == 1
    assert seen == wire.TABLES[kind].keys()


def test_fields_that_share_a_name_share_their_type() -> None:
    for kind in ("processes", "connections", "files"):
        for name, field in fields.SHOWN[kind].items():
            assert fields.FIELDS[name].type == field.type
            assert fields.FIELDS[name].choices == field.choices


def test_what_is_not_known_is_none() -> None:
    nobody = process(1, uid=0xFFFFFFFF)
    for name in ("uid", "user", "exe", "cmdline", "unit", "container", "netns", "exited_ns"):
        assert values("processes", name, nobody) == [None], name
    assert values("processes", "net_rx_bytes_per_s", {"pid": 1}) == [None]
    stranger = flow(1, family=2)
    for name in ("local_port", "remote_address", "remote_port", "rx_bytes_per_s"):
        assert values("connections", name, stranger) == [None], name
    assert values("files", "path", flow(1)) == [None]
    assert values("files", "open", flow(1, open=2)) == [None]


def test_how_a_connection_fares_is_known_of_tcp_alone() -> None:
    tcp = flow(1, tcp_state=1, rtt_us=850, retransmitted_segments=0, retransmitted_bytes=9)
    young = flow(1, tcp_state=2)  # no round trip has been measured
    found = {
        name: values("connections", name, tcp, young, flow(1))
        for name in ("tcp_state", "rtt_us", "retransmitted_segments", "retransmitted_bytes")
    }
    assert found == {
        "tcp_state": ["ESTABLISHED", "SYN_SENT", None],
        "rtt_us": [850, None, None],
        "retransmitted_segments": [0, 0, None],
        "retransmitted_bytes": [9, 0, None],
    }


def test_an_index_beyond_the_schema_reads_as_unknown() -> None:
    assert values("processes", "state", process(1, state=9)) == [None]
    assert values("connections", "class", {"class": 200}) == [None]
    assert values("connections", "direction", {"direction": 3}) == ["unknown"]
    assert values("files", "open", {"open": 255}) == [None]


@pytest.mark.parametrize(
    ("family", "raw", "shown"),
    [
        (2, bytes([192, 0, 2, 7]), "192.0.2.7"),
        (10, socket.inet_pton(socket.AF_INET6, "2001:db8::1"), "2001:db8::1"),
        (10, bytes(10) + b"\xff\xff" + bytes([192, 0, 2, 7]), "192.0.2.7"),
        (16, bytes([7]), None),
    ],
)
def test_addresses_are_text(family: int, raw: bytes, shown: str | None) -> None:
    for side in ("local", "remote"):
        assert values("connections", f"{side}_address", {"family": family, side: raw}) == [shown]


def test_an_unspecified_local_address_is_known_and_a_remote_one_is_not() -> None:
    assert values("connections", "local_address", {"family": 2}, {"family": 10}) == [
        "0.0.0.0",
        "::",
    ]
    assert values("connections", "remote_address", {"family": 2}, {"family": 10}) == [None, None]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"/run/a.sock", "/run/a.sock"),
        (b"\0abs\ntract", r"@abs\x0atract"),
        (None, None),
        (b"", None),
    ],
)
def test_unix_sockets_have_paths_or_abstract_names(name: bytes | None, shown: str | None) -> None:
    row = {"family": 1, "local": b"\x07", "local_name": name, "remote_name": name}
    assert values("connections", "local_address", row) == [shown]
    assert values("connections", "remote_address", row) == [shown]


@pytest.mark.parametrize(
    ("family", "kind", "number", "shown"),
    [
        (2, 1, 6, "tcp"),
        (10, 2, 17, "udp"),
        (2, 1, 262, "mptcp"),
        (10, 3, 58, "icmpv6"),
        (2, 3, 99, "ip-99"),
        (1, 1, 0, "stream"),
        (1, 2, 0, "dgram"),
        (1, 5, 0, "seqpacket"),
        (16, 3, 9, "netlink"),
        (17, 3, 3, "packet"),
        (40, 1, 0, "vsock"),
        (200, 1, 0, "family-200"),
    ],
)
def test_protocols_have_names(family: int, kind: int, number: int, shown: str) -> None:
    row = {"family": family, "type": kind, "protocol": number}
    assert values("connections", "protocol", row) == [shown]


def test_an_unlinked_file_is_marked_once() -> None:
    rows = ({"path": b"/a", "unlinked": 1}, {"path": b"/a (deleted)", "unlinked": 1})
    assert values("files", "path", *rows) == ["/a (deleted)"] * 2


def test_a_device_number_is_major_and_minor() -> None:
    assert values("files", "device", {"device": 8 << 20 | 1}) == ["8:1"]


def test_users_have_names_and_unknown_users_their_number() -> None:
    assert values("processes", "user", process(1, uid=7)) == ["user-7"]
    assert user_name(0) == "root"
    assert user_name(3_999_999_999) == "3999999999"


def test_a_user_is_found_by_name_or_number() -> None:
    assert (user_id("root"), user_id("0"), user_id("4294967295")) == (0, 0, 4294967295)
    for wrong in ("nobody-of-that-name", "", "-1", "4294967296", "٣"):
        with pytest.raises(ValueError, match="no user"):
            user_id(wrong)


def test_table_titles_are_short() -> None:
    assert fields.SHOWN["processes"]["net_rx_bytes_per_s"].short == "NET RX"
    assert fields.SHOWN["processes"]["file_write_bytes_per_s"].short == "FILE W"
