"""What a selection keeps, in which order, and what it does not touch."""

from __future__ import annotations

from typing import Any

import pytest
from client_messages import HEALTH, flow, message, process, received

from pbmon_client.data import filters, model
from pbmon_client.data.model import Rows, Selection
from pbmon_client.present.selected import selected

CONNECTIONS = [
    flow(1, family=2, remote=bytes([192, 0, 2, 1]), rx_bytes=5, rx_bytes_per_s=5.0),
    flow(2, family=2, remote=bytes([10, 0, 0, 9]), rx_bytes=9, rx_bytes_per_s=0.0),
]
FILES = [
    flow(2, path=b"/srv/data", read_bytes=5, read_bytes_per_s=0.0, write_bytes_per_s=0.0),
    flow(3, path=b"/etc/passwd", read_bytes=7, read_bytes_per_s=7.0, write_bytes_per_s=0.0),
]
PROCESSES = [
    process(1, b"nginx", uid=33, net_rx_bytes=5, net_rx_bytes_per_s=5.0),
    process(2, b"bash", uid=1000, file_read_bytes=5),
    process(3, b"nginx-helper", uid=33, file_read_bytes=7, file_read_bytes_per_s=7.0),
]


def view(selection: Selection, **fields: Any) -> model.Snapshot:
    sent = message(PROCESSES, CONNECTIONS, FILES, seq=2, **fields)
    snapshot = model.snapshot_of(received(sent), selection, 1000, "all", lambda uid: f"u{uid}")
    return selected(snapshot, selection)


def pids(rows: Rows | None) -> list[int]:
    assert rows is not None
    return list(rows.column("pid"))


def shown(**options: Any) -> list[int]:
    return pids(view(Selection(**options)).processes)


def filtered(text: str, *, flows: bool = True) -> tuple[list[int], ...]:
    result = view(Selection(filter=filters.parse(text), flows=flows))
    if not flows:
        assert result.connections is result.files is None
        return (pids(result.processes),)
    return pids(result.processes), pids(result.connections), pids(result.files)


def test_everything_is_shown_in_the_wires_order_when_nothing_is_asked() -> None:
    assert shown() == [1, 2, 3]
    assert view(Selection()).connections is None


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"pids": frozenset({3, 1, 99})}, [1, 3]),
        ({"uids": frozenset({1000})}, [2]),
        ({"names": ("nginx",)}, [1]),
        ({"names": ("nginx*", "bash")}, [1, 2, 3]),
        ({"names": ("NGINX",)}, []),
        ({"names": ("nginx*",), "pids": frozenset({3})}, [3]),
        ({"active": True}, [1, 3]),
        ({"top": 1}, [3]),
        ({"busiest_first": True}, [3, 1, 2]),
        ({"busiest_first": True, "reverse": True}, [2, 1, 3]),
        ({"sort": "pid"}, [3, 2, 1]),
        ({"sort": "pid", "reverse": True}, [1, 2, 3]),
        ({"sort": "name"}, [2, 1, 3]),
        ({"sort": "name", "reverse": True, "top": 2}, [3, 1]),
        ({"sort": "exe"}, [1, 2, 3]),
        ({"reverse": True}, [3, 2, 1]),
    ],
)
def test_options_narrow_and_sort(options: dict[str, Any], kept: list[int]) -> None:
    assert shown(**options) == kept


def test_unknown_values_are_sorted_last_either_way() -> None:
    rows = [process(1), process(2, exe=b"/b"), process(3, exe=b"/a")]
    for reverse, order in ((False, [3, 2, 1]), (True, [2, 3, 1])):
        asked = Selection(sort="exe", reverse=reverse)
        snapshot = model.snapshot_of(received(message(rows)), asked, 0, "all", str)
        result = selected(snapshot, asked)
        assert pids(result.processes) == order


def test_options_about_processes_narrow_their_flows() -> None:
    result = view(Selection(names=("nginx*",), flows=True))
    assert pids(result.connections) == [1]
    assert pids(result.files) == [3]


def test_active_top_and_sort_apply_to_each_table() -> None:
    result = view(Selection(flows=True, active=True))
    assert (pids(result.connections), pids(result.files)) == ([1], [3])
    result = view(Selection(flows=True, sort="rx_bytes", top=1))
    assert (pids(result.connections), pids(result.files)) == ([2], [3])
    result = view(Selection(flows=True, sort="name"))  # a flow is sorted by its process's name
    assert (pids(result.connections), pids(result.files)) == ([2, 1], [2, 3])


def test_active_means_ever_while_no_rate_is_known() -> None:
    rows = [
        {"pid": 1, "start_ns": 1, "pipe_read_bytes": 1},
        {"pid": 2, "start_ns": 2},
    ]
    asked = Selection(active=True)
    snapshot = model.snapshot_of(received(message(rows)), asked, 0, "all", str)
    assert pids(selected(snapshot, asked).processes) == [1]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("name = nginx", ([1], [1], [])),
        ("remote_address in 10.0.0.0/8", ([2], [2], [])),
        ("not remote_address in 10.0.0.0/8", ([1], [1], [])),
        ("path ~ ^/etc", ([3], [], [3])),
        ("not path ~ ^/etc", ([2], [], [2])),
        ("path ~ ^/etc or remote_address = 192.0.2.1", ([1, 3], [1], [3])),
        ("name = bash or remote_address = 192.0.2.1", ([1, 2], [1, 2], [2])),
        ("name = bash and path ~ data", ([2], [], [2])),
        ("path ~ data and remote_address = 10.0.0.9", ([], [], [])),
        ("user = u33 and read_bytes > 1", ([3], [], [3])),
    ],
)
def test_a_flow_matches_with_its_process_and_a_process_with_its_flows(
    text: str, kept: tuple[list[int], ...]
) -> None:
    assert filtered(text) == kept
    assert filtered(text, flows=False) == kept[:1]


def test_flows_are_needed_when_shown_or_named_in_a_filter() -> None:
    assert not Selection(filter=filters.parse("name = x")).needs_flows
    assert Selection(filter=filters.parse("name = x or not path = y")).needs_flows
    assert Selection(flows=True).needs_flows


def test_totals_and_retired_stay_whole() -> None:
    whole = view(Selection())
    narrow = view(Selection(pids=frozenset({99}), top=1))
    assert narrow.totals == whole.totals
    assert len(narrow.retired) == len(whole.retired)


def test_an_unknown_owner_hides_a_flow_only_from_options_about_processes() -> None:
    sent = received(message([process(1)], [flow(9, rx_bytes=1)], []))
    everything = model.snapshot_of(sent, Selection(flows=True), 0, "all", str)
    assert pids(everything.connections) == [9]
    named = model.snapshot_of(sent, Selection(flows=True, names=("*",)), 0, "all", str)
    assert pids(named.connections) == []


def test_health_is_made_fit_for_a_terminal_and_for_json() -> None:
    health = HEALTH | {"reasons": ["\x1b[2J"], "\u202ekey": [1.5, None, True, [{"\n": "\n"}]]}
    result = view(Selection(), health=health).health
    assert result["reasons"] == [r"\x1b[2J"]
    assert result[r"\u202ekey"] == [1.5, None, True, [{r"\x0a": r"\x0a"}]]


@pytest.mark.parametrize("processes", [2, 200])
def test_flows_have_the_fields_of_their_process_however_many_there_are(processes: int) -> None:
    names = [process(pid, b"p%d" % pid) for pid in range(1, processes + 1)]
    flows = [flow(pid, family=2) for pid in (2, 777, 1, 2)]
    sent = message(names, flows, [], seq=2)
    result = model.snapshot_of(received(sent), Selection(flows=True), 1000, "all", str)
    assert result.connections is not None
    assert result.connections.values("name") == ["p2", None, "p1", "p2"]
