"""Half a day in fast motion: processes and their rows come and go, and the store does not grow."""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import count, islice
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pbmond.kernel.records import COUNTER, Event, FileSeen, ProcSample, Reading, UnixSeen
from pbmond.store.snapshot import StoreSnapshot
from pbmond.store.store import Retire, Store
from tests import factories as make
from tests.store_views import new_store

TICK_S = 10
TICKS_AN_HOUR = 3600 // TICK_S
#: Compared with each other. In one of them everything bounded meets its bound.
PERIOD = 2 * TICKS_AN_HOUR
PERIODS = 6
BORN_A_TICK = 2
LIFE_TICKS = 3
PIDS = 1000  # they wrap, as those of the kernel do
DAEMON = 1  # a process that stays, and talks to all those others

Pairs = dict[int, tuple[Any, Any]]  # key and counter by id


class World:
    """What the kernel and /proc report, tick by tick."""

    def __init__(self) -> None:
        self.flows: Pairs = {}
        self.files: Pairs = {}
        self._living: deque[tuple[int, int, int]] = deque()  # ordinal, pid, start_ns
        self._ordinal = 0
        self._row = 0

    def reading(self, tick: int) -> Reading:
        """Some processes are born, which move a few bytes, and as many end."""
        events: list[Event] = []
        if tick > LIFE_TICKS:
            events += self._deaths(tick)
        for _ in range(BORN_A_TICK):
            events += self._birth(tick)
        return make.reading(
            tick * TICK_S,
            flows=list(self.flows.values()),
            files=list(self.files.values()),
            events=events,
        )

    def _birth(self, tick: int) -> Iterator[Event]:
        ordinal = self._ordinal = self._ordinal + 1
        pid, start_ns = 2 + ordinal % PIDS, make.STARTED_NS + tick * TICK_S * make.SECOND + ordinal
        self._living.append((ordinal, pid, start_ns))
        unit = b"job-%06d.service" % ordinal
        yield make.seen(pid, start_ns, b"job", tick * TICK_S, uid=1000 + ordinal % 3, unit=unit)
        unix, file, peer = (self._row + n for n in (1, 2, 3))
        self._row = peer
        self.flows[unix] = make.flow_key(pid, start_ns, family=1), make.counter(unix, "unix")
        yield UnixSeen(unix, b"/run/job-%06d" % ordinal, None, None)
        self.files[file] = make.file_key(pid, start_ns, ordinal), make.counter(file, "file")
        yield FileSeen(file, b"/var/lib/job-%06d" % ordinal, whole=True)
        self.flows[peer] = make.flow_key(DAEMON, local_port=ordinal % 65536), make.counter(peer)

    def _deaths(self, tick: int) -> Iterator[Event]:
        for _ in range(BORN_A_TICK):
            ordinal, pid, start_ns = self._living.popleft()
            if ordinal % BORN_A_TICK:  # the others' events were lost
                yield make.exited(pid, start_ns, tick * TICK_S, (ordinal, 1))

    def sample(self, pid: int, start_ns: int) -> ProcSample:
        """Look into /proc."""
        if pid == DAEMON or any(start_ns == each[2] for each in self._living):
            return make.sample(pid, start_ns, (start_ns % 1000, 1), open_inodes=[(1, start_ns)])
        return make.gone(pid, start_ns)

    def delete(self, pairs: Pairs, ids: NDArray[np.uint64]) -> NDArray[np.void]:
        """Take rows away, and tell what they counted."""
        return np.array([pairs.pop(each)[1] for each in ids.tolist()], COUNTER)


def everybody(_pid: int, _name: bytes, _uid: int) -> bool:
    return True


def tick(store: Store, world: World, number: int) -> StoreSnapshot:
    retire: Retire = store.apply(world.reading(number))
    flows = world.delete(world.flows, retire.flows)
    files = world.delete(world.files, retire.files)
    store.fold(flows, files, make.counters())
    store.apply_proc([world.sample(*process) for process in store.due(100).keys])
    return store.snapshot()


def sizes(snapshot: StoreSnapshot) -> dict[str, int]:
    """How many of everything the store holds."""
    return {
        "slots": len(snapshot.processes.info),
        "flows": len(snapshot.flows.state),
        "files": len(snapshot.files.state),
        "flow names": len(snapshot.flows.names),
        "file names": len(snapshot.files.names),
        "retired groups": len(snapshot.retired.groups),
        "planes of history": len(snapshot.planes),
    }


def largest(each: Iterable[dict[str, int]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for one in each:
        found = {name: max(value, found.get(name, 0)) for name, value in one.items()}
    return found


@pytest.mark.unmeasured
def test_half_a_day_of_ticks_does_not_grow_the_store() -> None:
    # What may be open stays until half of its table is in use.
    store = new_store(idle_linger_ns=60 * make.SECOND, visible=everybody, capacities=(32, 32, 32))
    world = World()
    numbers = count(1)
    periods = []
    for _ in range(PERIODS):
        seen, states = [], []
        for number in islice(numbers, PERIOD):
            seen.append(sizes(tick(store, world, number)))
            if number % 60 == 0:
                states.append(len(pickle.dumps(store)))  # everything that it holds
        periods.append((largest(seen), max(states)))
    (early, early_state), (late, late_state) = periods[1], periods[-1]
    assert late == early
    assert late_state < early_state + 4096
    assert min(early.values()) > 0
