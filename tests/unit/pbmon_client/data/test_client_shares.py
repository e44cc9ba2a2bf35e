"""The sentence about coverage: honest shares, reasons for the rest, and room for both."""

from __future__ import annotations

from typing import Any

import pytest
from client_messages import counts, coverage, disk, interface, message, received

from pbmon_client.data import rates
from pbmon_client.data.model import Selection, snapshot_of
from pbmon_client.data.shares import LEAST_BYTES, line
from pbmon_client.data.text import width
from pbmon_client.output import table
from pbmond import wire

SECOND = 10**9


def net(payload: int, whole: int, packets: int = 1000, name: str = "eth0", **more: Any) -> Any:
    """Make an interface as the client has it, with the same figures in all and in the interval."""
    moved = {"payload_rx_bytes": payload, "rx_bytes": whole, "rx_packets": packets}
    return {**interface(b"", moved, moved, **more), "name": name}


def drive(whole: int, name: str = "vda", **more: Any) -> Any:
    return {**disk(b"", {"write_bytes": whole}, {"write_bytes": whole}, **more), "name": name}


def attributed(written: int) -> Any:
    moved = {"disk_write_bytes": written}
    return counts(wire.ATTRIBUTED_COUNTERS, moved, moved)


def said(*interfaces: Any, cells: int = 500, **parts: Any) -> str:
    return line(coverage(interfaces=list(interfaces), **parts), SECOND, cells)


# --- shares ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "percent"),
    [
        (0, "0%"),
        (1, "<1%"),
        (19_999, "1%"),
        (970_000, "97%"),
        (999_999, "99%"),
        (1_000_000, "100%"),
        (1_000_001, "101%"),
        (2_500_000, "250%"),
    ],
)
def test_shares_are_never_rounded_to_all_and_never_clamped(payload: int, percent: str) -> None:
    assert said(net(payload, 1_000_000)).startswith(f"coverage: eth0 {percent} of 1.0M/s in rows")


def test_too_few_bytes_have_no_share() -> None:
    assert said(net(1000, LEAST_BYTES - 1), disks=[drive(LEAST_BYTES - 1)]) == ""
    assert said(net(1000, LEAST_BYTES)) != ""


def test_an_interface_without_an_address_or_an_answer_is_not_judged() -> None:
    bridged, unknown = net(0, 9_000_000, addresses=0), net(0, 9_000_000, addresses=None)
    silent = {**net(0, 9_000_000), "rx_bytes_interval": None, "rx_bytes": None}
    assert said(bridged, unknown, silent) == ""


def test_the_busiest_interface_comes_first() -> None:
    text = said(net(90_000, 100_000, name="wg0"), net(900_000, 1_000_000))
    assert text.startswith("coverage: eth0 90% of 1.0M/s, wg0 90% of 100K/s in rows")


def test_a_quiet_interval_is_replaced_by_all_time_since_the_start() -> None:
    quiet = {**net(950_000, 1_000_000), "rx_bytes_interval": 0, "payload_rx_bytes_interval": 0}
    assert said(quiet) == "coverage since start: eth0 95% of 1.0M in rows (rest: headers)"


@pytest.mark.parametrize("asked", [{"interval_ns": 0}, {"interval_ns": SECOND, "totals": True}])
def test_totals_are_shown_on_request_and_before_the_first_interval(asked: Any) -> None:
    whole = coverage(interfaces=[net(950_000, 1_000_000)])
    text = line(whole, asked.pop("interval_ns"), 500, **asked)
    assert text.startswith("coverage since start: eth0 95% of 1.0M in rows")


def test_rates_are_per_second_of_the_interval() -> None:
    whole = coverage(interfaces=[net(950_000, 1_000_000)])
    assert "eth0 95% of 500K/s" in line(whole, 2 * SECOND, 500)


def test_nothing_known_says_nothing() -> None:
    nothing = coverage(
        interfaces=None, disks=None, attributed=counts(wire.ATTRIBUTED_COUNTERS),
        elsewhere=counts(wire.PAYLOAD_COUNTERS), **counts(wire.HOST_COUNTERS),
    )  # fmt: skip
    assert line(nothing, SECOND, 80) == ""


# --- reasons --------------------------------------------------------------------------------------


def test_a_rest_larger_than_headers_is_named() -> None:
    assert "(rest: headers)" in said(net(1_000_000 - 66_000, 1_000_000, packets=1000))
    assert "(rest: headers and what no row moved)" in said(net(500_000, 1_000_000, packets=1000))


def test_retransmissions_forwarding_and_payload_elsewhere_are_named() -> None:
    text = said(
        net(950_000, 1_000_000),
        **counts(
            wire.HOST_COUNTERS,
            0,
            {"tcp_retransmitted_segments": 1, "forwarded_packets": 40_000},
        ),
        elsewhere=counts(wire.PAYLOAD_COUNTERS, 0, {"payload_tx_bytes": 2_000_000}),
    )
    assert text.endswith(
        "in rows (rest: headers, 1 retransmitted segment, 40.0K forwarded packets, "
        "2.0M/s more by no interface's address)"
    )


def test_more_than_all_has_its_reason() -> None:
    assert said(net(1_100_000, 1_000_000)).endswith("in rows (over 100%: still in buffers)")
    text = said(disks=[drive(1_000_000)], attributed=attributed(1_500_000))
    assert text == "coverage: vda 150% of 1.0M/s (over 100%: written back later)"


def test_the_first_reason_is_the_busiest_interfaces() -> None:
    both = net(1_100_000, 1_000_000, name="lo"), net(90_000, 100_000)
    wanted = "coverage: lo 110% of 1.0M/s in rows (over 100%: still in buffers)"
    assert said(*both, cells=len(wanted)) == wanted
    assert said(*both).endswith("(over 100%: still in buffers, rest: headers)")


# --- disks ----------------------------------------------------------------------------------------


def test_stacked_disks_are_not_counted_twice() -> None:
    disks = [drive(1_000_000), drive(1_000_000, "dm-0", stacked=True)]
    text = said(disks=disks, attributed=attributed(900_000))
    assert text == "coverage: vda 90% of 1.0M/s (rest: written before, file system)"


def test_several_disks_are_judged_together() -> None:
    disks = [drive(600_000, "sda"), drive(400_000, "sdb"), drive(0, "sdc")]
    assert said(disks=disks, attributed=attributed(1_000_000)) == "coverage: disks 100% of 1.0M/s"


# --- room -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("cells", [20, 40, 60, 79, 80, 120, 200])
def test_the_line_fits_and_its_least_important_parts_give_way(cells: int) -> None:
    everything = said(
        net(1_000_000 - 66_000, 1_000_000),
        net(90_000, 100_000, name="wg0"),
        **counts(wire.HOST_COUNTERS, 0, dict.fromkeys(wire.HOST_COUNTERS, 3)),
        disks=[drive(5_000_000)],
        attributed=attributed(4_400_000),
        cells=cells,
    )
    assert width(everything) <= cells
    assert everything.startswith("coverage: eth0 93% of"[: cells - 1])
    assert ("(rest: headers" in everything) is (cells >= 79)
    assert ("vda 88% of 5.0M/s" in everything) is (cells >= 60)


def test_hostile_interface_names_stay_on_their_line() -> None:
    name = b"\x1b[2J\xff" + "\u202e界".encode()
    moved = {"rx_bytes": 10**6, "payload_rx_bytes": 10**6, "rx_packets": 1}
    sent = message(seq=2, coverage=coverage(interfaces=[interface(name, moved, moved)]))
    shown = snapshot_of(received(sent), Selection(), 0, "all", str)
    for cells in (30, 80, 200):
        text = line(shown.coverage, SECOND, cells)
        assert text.isprintable()
        assert width(text) <= cells
        assert all(width(each) <= cells for each in table.render(shown, cells).split("\n"))
    assert r"coverage: \x1b[2J\xff\u202e界 100% of 1.0M/s" in table.render(shown, 200)


# --- the interval ---------------------------------------------------------------------------------


def test_intervals_are_taken_since_the_snapshot_shown_before() -> None:
    def at(seq: int, moved: int, name: bytes = b"eth0", **more: Any) -> Any:
        found = {**interface(name, moved, 1), **more}
        parts = counts(wire.HOST_COUNTERS, moved, 1)
        return received(message(seq=seq, coverage=coverage(interfaces=[found], **parts)))

    now = rates.over_interval(at(4, 900), at(2, 100), "all")
    assert now.interval_ns == 2 * SECOND
    assert now.coverage["interfaces"][0]["rx_bytes_interval"] == 800
    assert now.coverage["interfaces"][0]["rx_bytes"] == 900
    assert now.coverage["forwarded_packets_interval"] == 800
    assert now.coverage["elsewhere"]["payload_rx_bytes_interval"] == 0
    for before, after in (
        (at(2, 100, b"eth1"), at(4, 900)),
        (at(2, 100, present=False), at(4, 900)),
        (at(2, 100), at(4, 900, present=False)),
        (at(2, None), at(4, 900)),  # type: ignore[arg-type] # not known
        (at(2, 100), at(4, None)),  # type: ignore[arg-type]
        (received(message(seq=2, coverage=coverage(interfaces=None))), at(4, 900)),
    ):
        assert (
            rates.over_interval(after, before, "all").coverage["interfaces"][0]["rx_bytes_interval"]
            is None
        )
