"""The conservation law under everything that can happen to a row: rows + retired = totals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from kernel_model import HIDDEN_PID, TICKS, Model, Tick, run

from pbmond import wire
from pbmond.fields import COUNTERS
from pbmond.publish.topic_messages import Messages
from pbmond.store.snapshot import StoreSnapshot
from pbmond.store.store import Store, StoreOptions
from tests import factories as make


def _sums(message: wire.Message) -> dict[str, int]:
    return {
        name: sum(message.processes.columns[name].tolist())
        + sum(message.retired.columns[name].tolist())
        for name in COUNTERS
    }


@pytest.mark.unmeasured
@settings(max_examples=150)
@given(TICKS)
def test_rows_and_retired_add_up_to_the_totals_whatever_happens(ticks: list[Tick]) -> None:
    options = StoreOptions(
        2 * make.SECOND, 3 * make.SECOND, 4, lambda pid, _name, _uid: pid != HIDDEN_PID, 2
    )
    store, model = Store(options, make.STARTED_NS), Model()
    time_s = 0
    before = dict.fromkeys(COUNTERS, 0)
    seen = dict.fromkeys((1000, 1001), before)
    for tick in ticks:
        time_s += tick.seconds
        run(store, model, tick, time_s)
        messages = Messages(store.snapshot(), make.META)
        scopes = {uid: messages.of(wire.Topic(uid, "flows")) for uid in seen}
        everyone = messages.of(wire.Topic(None, "flows"))
        totals = {name: everyone.totals[name] for name in COUNTERS}
        expected = model.totals()
        for name in COUNTERS:
            if not name.startswith("disk_"):
                assert totals[name] == expected[name], name
            assert totals[name] >= before[name], f"{name} went down"
            # What may have moved under another user is nobody's but root's.
            assert totals[name] >= sum(each.totals[name] for each in scopes.values()), name
        assert _sums(everyone) == totals
        _assert_covered(everyone, list(scopes.values()), model)
        for uid, message in scopes.items():
            own = {name: message.totals[name] for name in COUNTERS}
            assert _sums(message) == own
            assert all(own[name] >= seen[uid][name] for name in COUNTERS)
            seen[uid] = own
            frame = wire.encode(wire.Topic(uid, "flows"), message)
            assert wire.decode(frame)[1].processes.length == message.processes.length
        assert HIDDEN_PID not in everyone.processes.columns["pid"]
        before = totals


def _payload(message: wire.Message, name: str) -> dict[bytes, int]:
    parts = {row["name"]: row[name] for row in message.coverage["interfaces"]}
    return {**parts, b"elsewhere": message.coverage["elsewhere"][name]}


def _assert_covered(everyone: wire.Message, scopes: list[wire.Message], model: Model) -> None:
    """Interfaces and elsewhere hold what the net and loopback counters hold, each byte once."""
    for way in ("rx", "tx"):
        name = f"payload_{way}_bytes"
        parts = _payload(everyone, name)
        expected = sum(model.totals()[f"{kind}_{way}_bytes"] for kind in ("net", "loopback"))
        assert sum(parts.values()) == expected
        shared = [_payload(scope, name) for scope in scopes]
        assert all(sum(each[place] for each in shared) <= parts[place] for place in parts)
        for scope, own in zip(scopes, shared, strict=True):
            seen = sum(scope.totals[f"{kind}_{way}_bytes"] for kind in ("net", "loopback"))
            assert sum(own.values()) == seen
        if everyone.interval_ns:
            moved = _payload(everyone, wire.interval_name(name))
            assert all(0 <= moved[place] <= parts[place] for place in parts)


@pytest.mark.unmeasured
@settings(max_examples=60)
@given(TICKS)
def test_a_snapshot_never_changes(ticks: list[Tick]) -> None:
    options = StoreOptions(2 * make.SECOND, 3 * make.SECOND, 4, lambda *_: True)
    store, model = Store(options, make.STARTED_NS), Model()
    kept = []
    time_s = 0
    for tick in ticks:
        time_s += tick.seconds
        run(store, model, tick, time_s)
        snapshot = store.snapshot()
        kept.append((snapshot, _frames(snapshot)))
    for snapshot, frames in kept:
        assert _frames(snapshot) == frames


def _frames(snapshot: StoreSnapshot) -> list[bytes]:
    messages = Messages(snapshot, make.META)
    topics = [wire.Topic(None, "flows"), wire.Topic(1000, "flows"), wire.Topic(None, "flows", 1)]
    return [wire.encode(topic, messages.of(topic)) for topic in topics]


@settings(max_examples=60)
@given(TICKS)
def test_every_process_leaves_some_time_after_the_last_event(ticks: list[Tick]) -> None:
    options = StoreOptions(2 * make.SECOND, 3 * make.SECOND, 4, lambda *_: True)
    store, model = Store(options, make.STARTED_NS), Model()
    time_s = 0
    for tick in ticks:
        time_s += tick.seconds
        run(store, model, tick, time_s)
    quiet = Tick([], frozenset(), frozenset(), 0, refuse=False, seconds=1)
    for _ in range(10):
        time_s += 1
        run(store, model, quiet, time_s)
        store.apply_proc([make.gone(*each) for each in store.due(100).keys])
    message = Messages(store.snapshot(), make.META).of(wire.Topic(None, "flows"))
    assert message.processes.length == 0
    assert message.connections is not None
    assert message.connections.length == 0
    assert not any(model.maps.values())
    assert np.sum(message.retired.columns["net_rx_bytes"]) == model.totals()["net_rx_bytes"]
