"""A store for tests, and what a client sees of it."""

from __future__ import annotations

from typing import Any

from pbmond import wire
from pbmond.publish.topic_messages import Messages
from pbmond.store.store import Store, StoreOptions
from tests import factories as make

FLOWS = wire.Topic(None, "flows")
NO_COUNTERS = make.counters()


def new_store(**changes: Any) -> Store:
    options: dict[str, Any] = {
        "exited_linger_ns": 10 * make.SECOND,
        "idle_linger_ns": 100 * make.SECOND,
        "history_length": 60,
        "socket_device": make.SOCKETS,
        "visible": lambda _pid, _name, _uid: True,
        **changes,
    }
    return Store(StoreOptions(**options), make.STARTED_NS)


def message(store: Store, topic: wire.Topic = FLOWS) -> wire.Message:
    """Return what a client would decode."""
    frame = wire.encode(topic, Messages(store.snapshot(), make.META).of(topic))
    return wire.decode(frame)[1]


def processes(store: Store) -> list[dict[str, Any]]:
    return list(message(store).processes.rows())


def process(store: Store, pid: int = 7) -> dict[str, Any]:
    (found,) = (each for each in processes(store) if each["pid"] == pid)
    return found


def retired(store: Store) -> dict[tuple[bytes | None, int], dict[str, Any]]:
    return {(each["unit"], each["uid"]): each for each in message(store).retired.rows()}


def flow(row_id: int = 1, values: Any = (10, 20, 1, 2), pid: int = 7, **key: Any) -> Any:
    return make.flow_key(pid, **key), make.counter(row_id, "net", values)
