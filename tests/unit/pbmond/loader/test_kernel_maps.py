"""The maps that the programs share: the compiler checks each, and none outgrows its table."""

from __future__ import annotations

import re
from pathlib import Path

from pbmond.config import Config
from pbmond.kernel.attach import TABLE_SIZES
from pbmond.loader import bpf
from pbmond.loader.handover import LoadRequest, TableLayout
from pbmond.loader.kernel_maps import Map, maps, sizes

ROOT = Path(__file__).parents[4]
KNOWN = Map("known_requests", bpf.LRU_HASH, 24, 56, 8192)


def request(flows: int = 1000) -> LoadRequest:
    tables = tuple(TableLayout(name, *each, flows) for name, each in TABLE_SIZES.items())
    return LoadRequest(
        *("auto", "auto", "auto", tables, 100, 1 << 22, "bpf", "bpf/headers"),
        debug=False,
        allow_unsafe_code=False,
    )


def test_the_compiler_checks_the_sizes_of_every_map() -> None:
    source = (ROOT / "bpf" / "map_sizes.h").read_text()
    checked = set(re.findall(r"^CHECK_(?:MAP|VALUE)\((\w+)", source, re.MULTILINE))
    unchecked = {bpf.RINGBUF, bpf.PROG_ARRAY}  # their sizes are the kernel's own
    every = maps(request(), KNOWN, 1)
    assert checked == {each.name.upper() for each in every if each.kind not in unchecked}
    assert {f"VALUE_SIZE_{name}" for name in checked} <= set(sizes(every))


def test_connections_with_retransmissions_are_half_of_the_rows_and_at_least_one() -> None:
    for flows, room in ((Config().flows_capacity, 65_536), (1, 1)):
        (owners,) = (each for each in maps(request(flows), KNOWN, 1) if each.name == "tcp_owners")
        assert owners.entries == room


def test_a_preempted_processor_has_several_scratch_spaces() -> None:
    found = [each.entries for each in maps(request(), KNOWN, 4) if each.name.endswith("scratch")]
    assert found == [4, 4]
