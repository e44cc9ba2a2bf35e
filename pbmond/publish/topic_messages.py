"""The message of each topic, made on demand from a snapshot: scope, tables, sums and history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pbmond import wire
from pbmond.containers.names import NAMES, NONE, ContainerNames, Owner
from pbmond.fields import COUNTERS, NO_COUNT, PROCESSES, RATES, STATES
from pbmond.publish.flow_columns import CONNECTION_COLUMNS, FILE_COLUMNS, ChosenRows
from pbmond.store.own_views import RowsBefore
from pbmond.store.process_counters import DISK
from pbmond.store.processes import BEFORE, EXCLUDED, FREE
from pbmond.store.recent_rates import host_samples, sum_samples
from pbmond.store.retired import Group, RetiredRows
from pbmond.store.rows import RowView, row_counts
from pbmond.store.snapshot import StoreSnapshot, sum_rates

#: Where the store keeps the properties of a process: part, name there, and name on the wire.
_KEPT: Final = tuple(
    (*each.store.split("."), each.name)
    for each in PROCESSES
    if each.store.startswith(("info.", "texts."))
)


@dataclass(frozen=True, slots=True)
class Meta:
    """What a message contains in addition to the snapshot.

    ``health`` is the contract's object; ``containers`` says what containers are called.
    """

    host: str
    boot_id: str
    epoch: str
    seq: int
    health: Mapping[str, Any]
    containers: Mapping[Owner, ContainerNames] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Scope:
    """What all topics of a user (or of everybody) have in common; the masks are by slot.

    ``counters`` are those of all slots, as the user may see them. ``begun``: the user sees some of
    the processes since a moment only.
    """

    uid: int | None
    begun: bool
    counters: NDArray[np.uint64]
    everyone: NDArray[np.bool_]
    shown: NDArray[np.bool_]
    totals: dict[str, int | float | None]
    coverage: dict[str, Any]
    retired: wire.Table


class Messages:
    """The messages about one snapshot."""

    def __init__(self, snapshot: StoreSnapshot, meta: Meta) -> None:
        self.snapshot = snapshot
        self.meta = meta
        self._scopes: dict[int | None, _Scope] = {}

    def of(self, topic: wire.Topic) -> wire.Message:
        """Return the message of ``topic``. An unknown PID or user gives empty tables.

        A topic with a PID contains only the newest process with that PID.
        """
        snapshot, meta = self.snapshot, self.meta
        if topic.uid not in self._scopes:
            self._scopes[topic.uid] = self._scope(topic.uid)
        scope = self._scopes[topic.uid]
        shown = np.flatnonzero(scope.shown)
        if topic.pid is not None:
            shown = self._newest(scope.shown, topic.pid)
        whole = topic.uid is None and topic.pid is None
        flows = topic.kind == "flows"
        return wire.Message(
            host=meta.host,
            boot_id=meta.boot_id,
            epoch=meta.epoch,
            seq=meta.seq,
            time_ns=snapshot.wall_ns,
            now_ns=snapshot.time_ns,
            interval_ns=snapshot.interval_ns,
            health=meta.health,
            coverage=scope.coverage,
            totals=scope.totals,
            history=self._history(topic, scope, shown),
            retired=scope.retired,
            processes=self._everyone if whole else self._process_table(shown, scope),
            connections=self._rows("flows", shown, scope, CONNECTION_COLUMNS) if flows else None,
            files=self._rows("files", shown, scope, FILE_COLUMNS) if flows else None,
        )

    def _scope(self, uid: int | None) -> _Scope:
        processes = self.snapshot.processes
        everyone = self._processes_of(uid)
        shown = everyone & processes.info["visible"]
        begun = uid is not None and bool((everyone & processes.own.partial).any())
        counters = (
            processes.own.subtract(processes.counters, everyone) if begun else processes.counters
        )
        totals = self._totals(counters, everyone, uid)
        return _Scope(
            uid=uid,
            begun=begun,
            counters=counters,
            everyone=everyone,
            shown=shown,
            totals=totals,
            coverage=self._coverage(everyone, uid, totals),
            retired=self._retired_table(counters, everyone & ~shown, uid),
        )

    def _processes_of(self, uid: int | None) -> NDArray[np.bool_]:
        """Tell by slot whose process it is, if any: hidden ones are in the scope too."""
        processes = self.snapshot.processes
        used: NDArray[np.bool_] = processes.info["state"] != FREE
        return used if uid is None else used & (processes.own.shown_to == uid)

    def _newest(self, shown: NDArray[np.bool_], pid: int) -> NDArray[np.intp]:
        """Return the slot of the newest process of a PID: others of that PID have exited."""
        info = self.snapshot.processes.info
        slots = np.flatnonzero(self._pids == pid)
        slots = slots[shown[slots]]
        return slots[np.argsort(info["start_ns"][slots])][-1:]

    @cached_property
    def _pids(self) -> NDArray[np.uint32]:
        return np.ascontiguousarray(self.snapshot.processes.info["pid"])

    # --- processes ----------------------------------------------------------------------------

    @cached_property
    def _everyone(self) -> wire.Table:
        scope = self._scopes[None]
        return self._process_table(np.flatnonzero(scope.shown), scope)

    def _process_table(self, index: NDArray[np.intp], scope: _Scope) -> wire.Table:
        counts = self._own_counts() if scope.begun else self._counts
        columns: dict[str, Any] = {
            name: count[index] for name, count in zip(("connections", "files"), counts, strict=True)
        }
        columns.update(self.describe_processes(index))
        if scope.begun:
            for name in BEFORE:  # another user's process may have moved those
                columns[name][self.snapshot.processes.own.partial[index]] = NO_COUNT
        # Not [:, index], which would leave the columns strided.
        columns.update(zip(COUNTERS, np.take(scope.counters, index, axis=1), strict=True))
        columns.update(zip(RATES, np.take(self.snapshot.rates, index, axis=1), strict=True))
        return wire.Table(len(index), columns)

    def describe_processes(self, index: NDArray[np.intp]) -> dict[str, Any]:
        """Return the columns of who processes are, by slot."""
        rows = self.snapshot.processes
        order = index.tolist()
        columns: dict[str, Any] = {
            name: rows.info[kept][index]
            if part == "info"
            else list(map(rows.texts[kept].__getitem__, order))
            for part, kept, name in _KEPT
        }
        return {**columns, **self.container_names(columns["container"], columns["uid"])}

    @cached_property
    def _counts(self) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
        snapshot = self.snapshot
        slots = len(snapshot.processes.info)
        return row_counts(snapshot.flows.state, slots), row_counts(snapshot.files.state, slots)

    def _own_counts(self) -> tuple[NDArray[np.uint32], ...]:
        """Count the rows of each slot as its user may see them."""
        snapshot, own = self.snapshot, self.snapshot.processes.own
        slots = len(snapshot.processes.info)
        return tuple(
            (
                counts - np.bincount(before.slots[before.unmoved(view.state)], minlength=slots)
            ).astype(np.uint32)
            for counts, view, before in zip(
                self._counts, (snapshot.flows, snapshot.files), (own.flows, own.files), strict=True
            )
        )

    # --- sums ---------------------------------------------------------------------------------

    def _totals(
        self, counters: NDArray[np.uint64], scope: NDArray[np.bool_], uid: int | None
    ) -> dict[str, int | float | None]:
        snapshot = self.snapshot
        retired, index = self._retired(uid)
        counters = counters[:, scope].sum(axis=1) + retired.counters[:, index].sum(axis=1)
        rates = sum_rates(snapshot.rates[:, scope], snapshot.interval_ns)
        return {
            **dict(zip(COUNTERS, counters.tolist(), strict=True)),
            **{
                name: None if np.isnan(rate) else float(rate)
                for name, rate in zip(RATES, rates, strict=True)
            },
        }

    def _coverage(
        self, scope: NDArray[np.bool_], uid: int | None, totals: Mapping[str, Any]
    ) -> dict[str, Any]:
        disk = tuple(totals[name] for name in wire.ATTRIBUTED_COUNTERS)
        now = self.snapshot.processes.deltas[DISK, scope].sum(axis=1).tolist()
        return self.snapshot.coverage.message(uid, disk, tuple(now))

    def _retired(self, uid: int | None) -> tuple[RetiredRows, list[int]]:
        """Return retired groups, and the indexes of those that are in the scope."""
        if uid is None:
            return self.snapshot.retired, list(range(len(self.snapshot.retired.groups)))
        own = self.snapshot.own_retired
        return own, [index for index, group in enumerate(own.groups) if group.uid == uid]

    def _retired_table(
        self, moved: NDArray[np.uint64], hidden: NDArray[np.bool_], uid: int | None
    ) -> wire.Table:
        """Make the retired groups of a scope. Hidden processes are counted in group EXCLUDED.

        ``moved`` are the counters of all slots, as the scope has them.
        """
        retired, index = self._retired(uid)
        groups = [retired.groups[each] for each in index]
        processes = retired.processes[index]
        counters = np.take(retired.counters, index, axis=1)
        processes_of = self.snapshot.processes
        owners = processes_of.info["uid"] if uid is None else processes_of.own.shown_to
        for owner in np.unique(owners[hidden]).tolist():
            slots = np.flatnonzero(hidden & (owners == owner))
            group = Group(EXCLUDED, None, owner)
            if group not in groups:
                groups.append(group)
                processes = np.append(processes, np.uint64(0))
                counters = np.pad(counters, ((0, 0), (0, 1)))
            row = groups.index(group)
            processes[row] += np.uint64(len(slots))
            counters[:, row] += moved[:, slots].sum(axis=1)
        containers = [group.container for group in groups]
        uids = np.array([group.uid for group in groups], np.uint32)
        columns: dict[str, Any] = {
            "unit": [group.unit for group in groups],
            "container": containers,
            **self.container_names(containers, uids),
            "uid": uids,
            "processes": processes,
            **dict(zip(COUNTERS, counters, strict=True)),
        }
        return wire.Table(len(groups), columns)

    def container_names(
        self, containers: list[bytes | None], uids: NDArray[np.uint32]
    ) -> dict[str, list[bytes | None]]:
        """Return the columns that say what ``containers`` are called, to the user of each row."""
        if not any(containers):
            return dict.fromkeys(NAMES, containers)
        known = self.meta.containers
        owners = zip(containers, uids.tolist(), strict=True)
        names = [
            NONE if container is None else known.get((container, uid), NONE)
            for container, uid in owners
        ]
        return {name: [getattr(each, name) for each in names] for name in NAMES}

    def _history(
        self, topic: wire.Topic, scope: _Scope, shown: NDArray[np.intp]
    ) -> dict[str, list[float | None]]:
        """Return the history of the topic's process, of the user's processes, or of the host."""
        planes = self.snapshot.planes
        if topic.uid is None and topic.pid is None:
            return host_samples(planes)
        # For a user, only their own processes: the host's history would reveal those of others.
        slots = np.flatnonzero(scope.everyone) if topic.pid is None else shown
        processes = self.snapshot.processes
        since = processes.info["born"] if topic.uid is None else processes.own.since
        return sum_samples(planes, slots, since[slots])

    # --- connections and files ----------------------------------------------------------------

    def _rows(
        self, table: str, shown: NDArray[np.intp], scope: _Scope, columns: Mapping[str, Any]
    ) -> wire.Table:
        view: RowView = getattr(self.snapshot, table)
        slots = view.state.slots
        if len(shown) == 1:
            index = np.flatnonzero(slots == shown[0])
        else:
            # The last element is that of folded rows, slot -1.
            by_slot = np.zeros(len(self.snapshot.processes.info) + 1, np.bool_)
            by_slot[shown] = True
            index = np.flatnonzero(by_slot[slots])
        if scope.begun:
            before: RowsBefore = getattr(self.snapshot.processes.own, table)
            view = RowView(before.without(view.state, index), view.names)
            index = np.arange(len(view.state))
        selection = self.chosen(view, index)
        return wire.Table(len(index), {name: make(selection) for name, make in columns.items()})

    def chosen(self, view: RowView, index: NDArray[np.intp]) -> ChosenRows:
        """Return some rows of connections or files with all that their columns are made from."""
        return ChosenRows(
            view=view,
            index=index,
            exited=self._exited,
            starts_ns=self.snapshot.processes.info["shown_start_ns"],
            interval_ns=self.snapshot.interval_ns,
            listening=self.snapshot.listening,
            before=self.snapshot.before,
        )

    @cached_property
    def _exited(self) -> NDArray[np.bool_]:
        return np.asarray(self.snapshot.processes.info["state"] == STATES.index("exited"))
