"""One tick, frozen: what is needed to write the wire message of any topic, made on demand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pbmond import wire
from pbmond.store.coverage import CoverageRows
from pbmond.store.flow_columns import CONNECTION_COLUMNS, FILE_COLUMNS, RowSelection
from pbmond.store.process_counters import DISK
from pbmond.store.process_texts import TEXTS
from pbmond.store.processes import EXCLUDED, FREE, ProcessRows
from pbmond.store.recent_rates import Plane, host_samples, sum_samples
from pbmond.store.retired import RetiredRows
from pbmond.store.rows import RowView, row_counts

_BYTE_ROWS = np.array([wire.COUNTERS.index(name) for name in wire.BYTE_COUNTERS])
_DISK_RATES = _BYTE_ROWS >= DISK
_INFO_COLUMNS = {name: name for name in ("pid", "ppid", "uid", "netns", "state", "exited_ns")}
_INFO_COLUMNS["start_ns"] = "shown_start_ns"


@dataclass(frozen=True, slots=True)
class Meta:
    """What a message says beside the snapshot; ``health`` is the contract's object."""

    host: str
    boot_id: str
    epoch: str
    seq: int
    health: Mapping[str, Any]


def process_rates(rows: ProcessRows, interval_ns: int) -> NDArray[np.float64]:
    """Return bytes/s by (len(wire.RATES), slots); NaN is not known."""
    if not interval_ns:
        return np.full((len(_BYTE_ROWS), len(rows.info)), np.nan)
    rates: NDArray[np.float64] = rows.deltas[_BYTE_ROWS] / (interval_ns / 1e9)
    rates[_DISK_RATES] = rows.deltas[_BYTE_ROWS[_DISK_RATES]] / rows.disk_elapsed_s
    return rates


def sum_rates(rates: NDArray[np.float64], interval_ns: int) -> NDArray[np.float64]:
    """Return the sum of what is known of each rate; NaN in an epoch's first snapshot only."""
    return np.nansum(rates, axis=1) if interval_ns else np.full(len(rates), np.nan)


@dataclass(frozen=True)  # no slots: cached_property needs a dict
class Snapshot:
    """The state of the store after one tick; ``rates`` is by (len(wire.RATES), slots)."""

    time_ns: int
    wall_ns: int
    interval_ns: int
    processes: ProcessRows
    rates: NDArray[np.float64]
    retired: RetiredRows
    flows: RowView
    files: RowView
    planes: tuple[Plane, ...]
    listening: frozenset[tuple[int, int]]
    coverage: CoverageRows

    def message(self, topic: wire.Topic, meta: Meta) -> wire.Message:
        """Return the message of ``topic``; a PID or user that is not there gives empty tables."""
        scope = self._scope(topic.uid)
        shown = scope & self.processes.info["visible"]
        rows = topic.kind == "flows"
        if topic.pid is not None:
            pid_slots = shown & (self.processes.info["pid"] == topic.pid)
        else:
            pid_slots = shown
        totals = self._totals(scope, topic.uid)
        return wire.Message(
            host=meta.host,
            boot_id=meta.boot_id,
            epoch=meta.epoch,
            seq=meta.seq,
            time_ns=self.wall_ns,
            now_ns=self.time_ns,
            interval_ns=self.interval_ns,
            health=meta.health,
            coverage=self._coverage(scope, topic.uid, totals),
            totals=totals,
            history=self._history(topic, scope, pid_slots),
            retired=self._retired_table(scope & ~shown, topic.uid),
            processes=self._everyone if topic.uid is None else self._process_table(shown),
            connections=self._row_table(self.flows, pid_slots, CONNECTION_COLUMNS)
            if rows
            else None,
            files=self._row_table(self.files, pid_slots, FILE_COLUMNS) if rows else None,
        )

    def _scope(self, uid: int | None) -> NDArray[np.bool_]:
        """Tell by slot whose process it is, if any: hidden ones are in the scope too."""
        info = self.processes.info
        used: NDArray[np.bool_] = info["state"] != FREE
        return used if uid is None else used & (info["uid"] == uid)

    # --- processes ----------------------------------------------------------------------------

    @cached_property
    def _everyone(self) -> wire.Table:
        return self._process_table(self._scope(None) & self.processes.info["visible"])

    def _process_table(self, shown: NDArray[np.bool_]) -> wire.Table:
        rows = self.processes
        index = np.flatnonzero(shown)
        order = index.tolist()
        columns: dict[str, Any] = {
            name: rows.info[field][index] for name, field in _INFO_COLUMNS.items()
        }
        for name in TEXTS:
            columns[name] = list(map(rows.texts[name].__getitem__, order))
        columns["connections"] = self._counts[0][index]
        columns["files"] = self._counts[1][index]
        # take and not [:, index], which would leave the columns strided.
        counters = np.take(rows.counters, index, axis=1)
        columns.update(zip(wire.COUNTERS, counters, strict=True))
        columns.update(zip(wire.RATES, np.take(self.rates, index, axis=1), strict=True))
        return wire.Table(len(index), columns)

    @cached_property
    def _counts(self) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
        slots = len(self.processes.info)
        return row_counts(self.flows.state, slots), row_counts(self.files.state, slots)

    # --- sums ---------------------------------------------------------------------------------

    def _totals(self, scope: NDArray[np.bool_], uid: int | None) -> dict[str, int | float | None]:
        retired = self.retired.counters[:, self._retired_index(uid)].sum(axis=1)
        counters = self.processes.counters[:, scope].sum(axis=1) + retired
        rates = sum_rates(self.rates[:, scope], self.interval_ns)
        return {
            **dict(zip(wire.COUNTERS, counters.tolist(), strict=True)),
            **{
                name: None if np.isnan(rate) else float(rate)
                for name, rate in zip(wire.RATES, rates, strict=True)
            },
        }

    def _coverage(
        self, scope: NDArray[np.bool_], uid: int | None, totals: Mapping[str, Any]
    ) -> dict[str, Any]:
        disk = tuple(totals[name] for name in wire.ATTRIBUTED_COUNTERS)
        now = self.processes.deltas[DISK:, scope].sum(axis=1).tolist()
        return self.coverage.message(uid, disk, tuple(now))

    def _retired_index(self, uid: int | None) -> list[int]:
        groups = self.retired.groups
        return [index for index, (_, owner) in enumerate(groups) if uid is None or owner == uid]

    def _retired_table(self, hidden: NDArray[np.bool_], uid: int | None) -> wire.Table:
        """Make the retired groups of a scope; processes that are never shown join (excluded)."""
        index = self._retired_index(uid)
        groups = [self.retired.groups[each] for each in index]
        processes = self.retired.processes[index]
        counters = np.take(self.retired.counters, index, axis=1)
        owners = self.processes.info["uid"]
        for owner in np.unique(owners[hidden]).tolist():
            slots = np.flatnonzero(hidden & (owners == owner))
            group = (EXCLUDED, owner)
            if group not in groups:
                groups.append(group)
                processes = np.append(processes, np.uint64(0))
                counters = np.pad(counters, ((0, 0), (0, 1)))
            row = groups.index(group)
            processes[row] += np.uint64(len(slots))
            counters[:, row] += self.processes.counters[:, slots].sum(axis=1)
        columns: dict[str, Any] = {
            "unit": [unit for unit, _ in groups],
            "uid": np.array([owner for _, owner in groups], np.uint32),
            "processes": processes,
            **dict(zip(wire.COUNTERS, counters, strict=True)),
        }
        return wire.Table(len(groups), columns)

    def _history(
        self, topic: wire.Topic, scope: NDArray[np.bool_], pid_slots: NDArray[np.bool_]
    ) -> dict[str, list[float | None]]:
        """History of the topic's newest process with that PID, of the user's processes, or host."""
        info = self.processes.info
        if topic.pid is not None:
            slots = np.flatnonzero(pid_slots)
            slots = slots[np.argsort(info["start_ns"][slots])][-1:]
        elif topic.uid is not None:
            slots = np.flatnonzero(scope)  # the host's would tell about others
        else:
            return host_samples(self.planes)
        return sum_samples(self.planes, slots, info["born"][slots])

    # --- connections and files ----------------------------------------------------------------

    def _row_table(
        self, view: RowView, wanted: NDArray[np.bool_], columns: Mapping[str, Any]
    ) -> wire.Table:
        by_slot = np.append(wanted, np.False_)  # the last element is that of folded rows, slot -1
        index = np.flatnonzero(by_slot[view.state.slots])
        selection = RowSelection(
            view=view,
            index=index,
            exited=self._exited,
            starts_ns=self.processes.info["shown_start_ns"],
            interval_ns=self.interval_ns,
            listening=self.listening,
        )
        return wire.Table(len(index), {name: make(selection) for name, make in columns.items()})

    @cached_property
    def _exited(self) -> NDArray[np.bool_]:
        return np.asarray(self.processes.info["state"] == wire.STATES.index("exited"))
