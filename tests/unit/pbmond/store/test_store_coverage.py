"""Coverage: which interface payload belongs to, and host counters that come, go and fall."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from pbmond import wire
from pbmond.store.growth import MAX_GONE
from pbmond.store.store import Store
from tests import factories as make
from tests.store_views import message, new_store

ALL = b"all/processes"
OTHER_NETNS = make.NETNS + 1


def packed(text: str) -> bytes:
    """Return an address as a flow key holds it."""
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    return socket.inet_pton(family, text).ljust(16, b"\0")


def flow(
    local: str,
    values: tuple[int, int] = (10, 20),
    *,
    kind: str = "net",
    netns: int = make.NETNS,
    row_id: int = 1,
    pid: int = 7,
) -> Any:
    family = 10 if ":" in local else 2
    key = make.flow_key(pid, local=packed(local), family=family)
    return key, make.counter(row_id, kind, (*values, 1, 1), netns=netns)


def coverage(store: Store, topic: bytes = ALL) -> dict[str, Any]:
    return dict(message(store, wire.parse_topic(topic)).coverage)


def row(store: Store, name: bytes, part: str = "interfaces", topic: bytes = ALL) -> dict[str, Any]:
    (found,) = (each for each in coverage(store, topic)[part] if each["name"] == name)
    return dict(found)


def payload(store: Store, topic: bytes = ALL, suffix: str = "") -> dict[bytes, tuple[int, int]]:
    """Return (bytes in, bytes out) of every place that has any."""
    found = coverage(store, topic)
    places = [*found["interfaces"], {"name": b"elsewhere", **found["elsewhere"]}]
    moved = {
        place["name"]: tuple(place[f"{name}{suffix}"] for name in wire.PAYLOAD_COUNTERS)
        for place in places
    }
    return {name: values for name, values in moved.items() if any(values)}


def moved(*flows: Any, **host: Any) -> Store:
    """Return a store that has read these flows and this host."""
    store = new_store()
    store.apply(make.reading(1, flows=flows, host=make.host_reading(**host)))
    return store


# --- places ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("local", "place"),
    [
        ("192.0.2.1", b"eth0"),
        ("::ffff:192.0.2.1", b"eth0"),
        ("2001:db8::1", b"eth0"),
        ("fe80::1", b"eth0"),
        ("127.0.0.1", b"lo"),
        ("127.9.8.7", b"lo"),
        ("::ffff:127.0.0.53", b"lo"),
        ("::1", b"lo"),
        ("192.0.2.2", b"elsewhere"),
        ("::ffff:192.0.2.2", b"elsewhere"),
        ("::192.0.2.1", b"elsewhere"),
        ("0.0.0.0", b"elsewhere"),
        ("::", b"elsewhere"),
        ("2001:db8::2", b"elsewhere"),
        ("224.0.0.251", b"elsewhere"),
    ],
)
def test_payload_belongs_to_the_interface_that_has_its_local_address(
    local: str, place: bytes
) -> None:
    assert payload(moved(flow(local))) == {place: (10, 20)}


def test_both_ends_of_a_connection_within_the_host_belong_to_the_loopback_interface() -> None:
    store = moved(
        flow("192.0.2.1", kind="loopback"), flow("2001:db8::1", kind="loopback", row_id=2)
    )
    assert payload(store) == {b"lo": (20, 40)}


def test_other_network_namespaces_are_elsewhere_even_with_our_addresses() -> None:
    store = moved(
        flow("192.0.2.1", netns=OTHER_NETNS),
        flow("127.0.0.1", kind="loopback", netns=OTHER_NETNS, row_id=2),
    )
    assert payload(store) == {b"elsewhere": (20, 40)}


def test_an_address_of_two_interfaces_belongs_to_neither() -> None:
    link_local = frozenset({make.address("fe80::1"), make.address("192.0.2.9")})
    addresses = {b"eth0": link_local, b"eth1": frozenset({make.address("fe80::1")})}
    interfaces = dict.fromkeys((b"eth0", b"eth1"), (0, 0, 0, 0))
    store = moved(flow("fe80::1"), flow("192.0.2.9", row_id=2), addresses=addresses,
                  interfaces=interfaces)  # fmt: skip
    assert payload(store) == {b"elsewhere": (10, 20), b"eth0": (10, 20)}


@pytest.mark.parametrize("kind", ["unix", "socket"])
def test_other_sockets_are_not_payload(kind: str) -> None:
    assert payload(moved(flow("192.0.2.1", kind=kind))) == {}


def test_bytes_of_unknown_connections_are_elsewhere() -> None:
    store = new_store()
    overflow = [
        (make.overflow_key(kind=kind), make.counter(row_id, kind, (5, 6, 1, 1)))
        for row_id, kind in enumerate(("net", "file"))
    ]
    store.apply(make.reading(1, overflow=overflow))
    stranger = make.counter(9, "loopback", (100, 200, 1, 1))
    store.fold(make.counters(stranger), make.counters(), make.counters())
    assert payload(store) == {b"elsewhere": (105, 206)}
    assert payload(store, b"uid/1000/processes") == {}


def test_without_addresses_payload_is_unknown_and_counted_elsewhere() -> None:
    store = moved(flow("192.0.2.1"), addresses=None)
    eth0 = row(store, b"eth0")
    assert (eth0["addresses"], eth0["payload_rx_bytes"]) == (None, None)
    assert coverage(store)["elsewhere"]["payload_rx_bytes"] == 10


def test_a_new_address_counts_from_then_on() -> None:
    store = moved(flow("198.51.100.5"))
    more = {**make.ADDRESSES, b"eth0": frozenset({make.address("198.51.100.5")})}
    host = make.host_reading(addresses=more)
    store.apply(make.reading(2, flows=[flow("198.51.100.5", (17, 28))], host=host))
    assert payload(store) == {b"elsewhere": (10, 20), b"eth0": (7, 8)}
    assert payload(store, suffix="_interval") == {b"eth0": (7, 8)}
    assert row(store, b"eth0")["addresses"] == 1


# --- conservation and scope -----------------------------------------------------------------------


def test_final_values_of_deleted_rows_count_once() -> None:
    store = new_store(idle_linger_ns=make.SECOND, capacities=(1, 1, 1))
    store.apply(make.reading(1, flows=[flow("192.0.2.1")]))
    store.snapshot()
    retire = store.apply(make.reading(5, flows=[flow("192.0.2.1")]))
    assert list(retire.flows) == [1]
    final = make.counter(1, "net", (11, 22, 2, 2), netns=make.NETNS)
    store.fold(make.counters(final), make.counters(), make.counters())
    assert payload(store) == {b"eth0": (11, 22)}
    assert payload(store, suffix="_interval") == {b"eth0": (1, 2)}
    store.apply(make.reading(6))
    assert payload(store) == {b"eth0": (11, 22)}
    assert payload(store, suffix="_interval") == {}


def test_a_user_sees_their_own_payload_and_the_hosts_counters() -> None:
    store = new_store()
    host = make.host_reading()
    store.set_baseline(host)
    rows = [flow("192.0.2.1", pid=7), flow("192.0.2.1", (100, 200), pid=8, row_id=2)]
    events = [make.seen(7, uid=1000), make.seen(8, uid=0)]
    host = make.host_reading(interfaces={b"eth0": (500, 600, 7, 8)})
    store.apply(make.reading(1, flows=rows, events=events, host=host))
    assert payload(store, b"uid/1000/processes") == {b"eth0": (10, 20)}
    assert payload(store, b"uid/0/flows") == {b"eth0": (100, 200)}
    assert payload(store, b"uid/4242/flows") == {}
    assert payload(store) == {b"eth0": (110, 220)}
    mine = row(store, b"eth0", topic=b"uid/1000/processes")
    assert (mine["rx_bytes"], mine["tx_bytes"], mine["rx_packets"]) == (500, 600, 7)


def test_attributed_disk_bytes_include_exited_processes_of_the_scope() -> None:
    store = new_store(exited_linger_ns=0)
    seen = (make.seen(7, uid=1000), make.seen(8, uid=0))
    store.apply(make.reading(1, events=[*seen, make.exited(8, disk=(5, 6))]))
    store.snapshot()
    store.apply(make.reading(2))
    store.apply_proc([make.sample(7, disk=(100, 200))])
    everyone = coverage(store)["attributed"]
    assert (everyone["disk_read_bytes"], everyone["disk_write_bytes"]) == (105, 206)
    assert everyone["disk_read_bytes_interval"] == 100
    mine = coverage(store, b"uid/1000/processes")["attributed"]
    assert (mine["disk_read_bytes"], mine["disk_write_bytes_interval"]) == (100, 200)


# --- the host's counters --------------------------------------------------------------------------


def fed_store(*readings: Any) -> Store:
    """Return a store that began with the first of these host readings and then read the others."""
    store = new_store()
    store.set_baseline(readings[0])
    for time_s, host in enumerate(readings[1:], 1):
        store.apply(make.reading(time_s, host=host))
        store.snapshot()
    return store


def eth0(*values: int, **more: Any) -> Any:
    return make.host_reading(interfaces={b"eth0": values}, **more)


def test_counters_are_those_since_the_daemon_began_and_of_the_interval() -> None:
    store = fed_store(eth0(1000, 2000, 10, 20), eth0(1005, 2007, 11, 22), eth0(1105, 2207, 14, 25))
    found = row(store, b"eth0")
    assert [found[name] for name in wire.INTERFACE_COUNTERS] == [105, 207, 4, 5]
    assert [found[f"{name}_interval"] for name in wire.INTERFACE_COUNTERS] == [100, 200, 3, 3]
    assert found["present"] is True


def test_the_first_snapshot_has_no_interval() -> None:
    store = fed_store(eth0(0, 0, 0, 0), eth0(5, 7, 1, 2))
    found = coverage(store)
    rows = (
        found,
        found["interfaces"][0],
        found["elsewhere"],
        found["disks"][0],
        found["attributed"],
    )
    for part in rows:
        assert {part[name] for name in part if name.endswith("_interval")} == {None}
    assert found["interfaces"][0]["rx_bytes"] == 5


def test_an_interface_that_comes_later_starts_at_its_first_reading() -> None:
    store = fed_store(make.host_reading(), make.host_reading(), eth0(70, 80, 7, 8))
    store.apply(make.reading(3, host=make.host_reading(interfaces={b"new": (900, 900, 9, 9)})))
    assert (row(store, b"new")["rx_bytes"], row(store, b"new")["rx_bytes_interval"]) == (0, None)
    store.apply(make.reading(4, host=make.host_reading(interfaces={b"new": (950, 901, 9, 9)})))
    assert (row(store, b"new")["rx_bytes"], row(store, b"new")["rx_bytes_interval"]) == (50, 50)


def test_a_recreated_interface_counts_from_zero_and_keeps_its_total() -> None:
    store = fed_store(eth0(0, 0, 0, 0), eth0(500, 600, 5, 6), eth0(30, 700, 3, 7))
    found = row(store, b"eth0")
    assert [found[name] for name in wire.INTERFACE_COUNTERS] == [530, 1300, 8, 13]
    assert found["rx_bytes_interval"] == 30


def test_an_interface_made_again_within_a_tick_counts_from_zero_though_it_has_more_by_now() -> None:
    old, new = {b"eth0": 4}, {b"eth0": 5}
    store = fed_store(
        eth0(100, 100, 1, 1, interface_numbers=old), eth0(700, 700, 7, 7, interface_numbers=new)
    )
    assert row(store, b"eth0")["rx_bytes"] == 700
    store.apply(make.reading(2, host=eth0(710, 710, 8, 8, interface_numbers=new)))
    assert (row(store, b"eth0")["rx_bytes"], row(store, b"eth0")["rx_bytes_interval"]) == (710, 10)


def test_an_interface_that_was_gone_keeps_its_total_and_continues() -> None:
    nothing = make.host_reading(interfaces={})
    store = fed_store(eth0(0, 0, 0, 0), eth0(500, 600, 5, 6), nothing)
    found = row(store, b"eth0")
    assert (found["present"], found["rx_bytes"], found["rx_bytes_interval"]) == (False, 500, None)
    store.apply(make.reading(5, host=eth0(10_000, 20_000, 1, 1)))
    found = row(store, b"eth0")
    assert (found["present"], found["rx_bytes"], found["rx_bytes_interval"]) == (True, 500, None)
    store.apply(make.reading(6, host=eth0(10_001, 20_000, 1, 1)))
    assert (row(store, b"eth0")["rx_bytes"], row(store, b"eth0")["rx_bytes_interval"]) == (501, 1)


def test_only_so_many_gone_interfaces_are_kept_and_all_their_payload() -> None:
    store = new_store()
    address = {b"veth0": frozenset({make.address("192.0.2.77")})}
    for number in range(3 * MAX_GONE):
        name = b"veth%d" % number
        host = make.host_reading(interfaces={name: (1, 1, 1, 1)}, addresses=address)
        store.apply(make.reading(number + 1, flows=[flow("192.0.2.77")], host=host))
    names = [each["name"] for each in coverage(store)["interfaces"]]
    assert names[0] == b"veth%d" % (3 * MAX_GONE - 1)
    assert len(names) == MAX_GONE + 1
    assert b"veth0" not in names
    assert payload(store) == {b"elsewhere": (10, 20)}


def test_unreadable_counters_are_null_and_totals_continue_afterwards() -> None:
    silent = make.host_reading(interfaces=None, disks=None, retransmitted_segments=None,
                               forwarded_packets=None)  # fmt: skip
    store = fed_store(eth0(0, 0, 0, 0), eth0(5, 5, 5, 5), silent)
    found = coverage(store)
    assert (found["interfaces"], found["disks"]) == (None, None)
    assert found["elsewhere"]["payload_rx_bytes"] is None
    assert found["tcp_retransmitted_segments_interval"] is None
    store.apply(make.reading(5, host=eth0(20, 20, 20, 20)))
    assert (row(store, b"eth0")["rx_bytes"], row(store, b"eth0")["rx_bytes_interval"]) == (20, None)
    store.apply(make.reading(6, host=eth0(22, 20, 20, 20)))
    assert (row(store, b"eth0")["rx_bytes"], row(store, b"eth0")["rx_bytes_interval"]) == (22, 2)


def test_a_host_without_any_counters_has_a_coverage_of_nulls() -> None:
    silent = make.host_reading(
        netns=None, interfaces=None, addresses=None, disks=None,
        retransmitted_segments=None, forwarded_packets=None,
    )  # fmt: skip
    store = new_store()
    store.apply(make.reading(1, flows=[flow("192.0.2.1")], host=silent))
    found = coverage(store)
    assert (found["interfaces"], found["disks"], found["forwarded_packets"]) == (None, None, None)


def test_disks_and_protocols_are_counted_like_interfaces() -> None:
    def disks(*values: int, **more: Any) -> Any:
        return make.host_reading(
            disks={b"vda": values[:2], b"dm-0": values[:2]}, stacked=frozenset({b"dm-0"}), **more
        )

    store = fed_store(
        disks(512, 1024, retransmitted_segments=5, forwarded_packets=50),
        disks(1024, 1024, retransmitted_segments=5, forwarded_packets=50),
        disks(1536, 5120, retransmitted_segments=7, forwarded_packets=90),
    )
    found = coverage(store)
    vda, dm = found["disks"]
    assert (vda["read_bytes"], vda["write_bytes"], vda["read_bytes_interval"]) == (1024, 4096, 512)
    assert (vda["stacked"], dm["stacked"]) == (False, True)
    assert found["tcp_retransmitted_segments"] == 2
    assert (found["forwarded_packets"], found["forwarded_packets_interval"]) == (40, 40)


def test_without_a_baseline_the_first_reading_is_the_baseline() -> None:
    store = new_store()
    store.apply(make.reading(1, host=eth0(500, 600, 5, 6)))
    assert row(store, b"eth0")["rx_bytes"] == 0
