"""What the daemon's own code says reaches the client as the contract has it, for every topic."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pbmon_client.data import filters, model
from pbmon_client.output import csvout, jsonout
from pbmon_client.present.selected import selected
from pbmond import fields, wire
from pbmond.kernel.records import FLAG_CONNECTED, Event, FileSeen
from pbmond.store.store import Store
from tests import factories as make
from tests.store_views import message, new_store

TOPICS = ("all/processes", "all/flows", "all/flows/7", "uid/1000/processes", "uid/1000/flows",
          "uid/1000/flows/7")  # fmt: skip
OLD_NS, NEW_NS = make.START_NS, make.START_NS + make.SECOND


def store() -> Store:
    """Return a store in its second tick: PID 7 was used twice, and PID 8 is another user's."""
    made = new_store()
    events: list[Event] = [
        make.seen(7, OLD_NS, b"old"), make.exited(7, OLD_NS), make.seen(7, NEW_NS, b"new"),
        make.seen(8, name=b"other", uid=0), FileSeen(3, b"/srv/data", whole=True),
    ]  # fmt: skip
    made.apply(make.reading(1, events=events))
    made.snapshot()
    tcp: dict[str, Any] = {"values": (100, 200, 1, 2, 3, 4344), "rtt_us": 850, "tcp_state": 1}
    key = make.flow_key(7, NEW_NS, remote_port=443)
    flows = [
        (key, make.counter(1, flags=FLAG_CONNECTED, netns=make.NETNS, **tcp)),
        (make.flow_key(7, OLD_NS), make.counter(4, values=(9, 9, 1, 1))),
        (make.flow_key(8, type=2, protocol=17), make.counter(2, values=(5, 6, 1, 1))),
    ]
    files = [(make.file_key(7, NEW_NS), make.counter(3, "file", (10, 20, 1, 2)))]
    made.apply(make.reading(2, flows, files))
    return made


def viewed(topic: str, **asked: Any) -> model.Snapshot:
    """Return what a client makes of a topic of the daemon."""
    sent = message(store(), wire.parse_topic(topic.encode()))
    scope = "all" if topic.startswith("all") else "own"
    selection = model.Selection(**asked)
    made = model.snapshot_of(sent, selection, 1000, scope, lambda uid: f"u{uid}")
    return selected(made, selection)


def printed(topic: str, **asked: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(jsonout.render(viewed(topic, **asked), row_a_line=False))
    return found


@pytest.mark.parametrize("topic", TOPICS)
def test_every_topic_is_an_object_of_the_contract(topic: str) -> None:
    found = printed(topic, flows="flows" in topic)
    assert found["totals"].keys() == {*fields.COUNTERS, *fields.RATES}
    for table in ("processes", "connections", "files"):
        rows = found.get(table)
        assert (rows is None) == (table != "processes" and "flows" not in topic)
        for row in rows or ():
            assert list(row) == list(fields.SHOWN[table])
            numbers = {name for name, value in row.items() if isinstance(value, (int, float))}
            kinds = {fields.SHOWN[table][name].type for name in numbers}
            assert kinds <= {"number", "bool"}
    lines = csvout.Writer(flows=True).render(viewed(topic, flows="flows" in topic)).splitlines()
    assert len(lines) == 1 + sum(
        len(found.get(t) or ()) for t in ("processes", "connections", "files")
    )


@pytest.mark.parametrize("scope", ["all", "uid/1000"])
def test_the_topic_of_a_pid_is_one_process_with_its_rows_and_history(scope: str) -> None:
    found = printed(f"{scope}/flows/7", flows=True)
    (process,) = found["processes"]
    assert (process["name"], process["state"]) == ("new", "running")
    (connection,), (file,) = found["connections"], found["files"]
    for row in (connection, file):
        assert (row["pid"], row["start_ns"]) == (process["pid"], process["start_ns"])
    history = message(store(), wire.parse_topic(f"{scope}/flows/7".encode())).history
    assert {name: samples[-1] for name, samples in history.items()} == {
        name: process[name] for name in fields.HISTORY
    }


def test_how_connections_fare_reaches_json_filters_and_processes() -> None:
    names = ("rtt_us", "retransmitted_segments", "retransmitted_bytes", "tcp_state")
    found = printed("all/flows", flows=True)
    told = {(row["pid"], row["rx_bytes"]): [row[name] for name in names]
            for row in found["connections"]}  # fmt: skip
    assert told == {
        (7, 100): [850, 3, 4344, "ESTABLISHED"],
        (7, 9): [None] * 4,
        (8, 5): [None] * 4,
    }
    assert {row["name"]: row["retransmitted_bytes"] for row in found["processes"]} == {
        "old": 0, "new": 4344, "other": 0
    }  # fmt: skip
    assert found["totals"]["retransmitted_segments"] == 3
    for text in ("rtt_us > 800", "tcp_state = ESTABLISHED", "retransmitted_segments >= 3"):
        chosen = printed("all/flows", flows=True, filter=filters.parse(text))
        assert [row["rx_bytes"] for row in chosen["connections"]] == [100], text
