"""What moved in one tick, as the wire's columns, and who each row is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pbmond import wire
from pbmond.fields import CHANGING, COUNTERS, DESCRIPTION, NO_UID, TABLES
from pbmond.moved_wire import RETIRED, ROW_COUNTERS
from pbmond.publish.flow_columns import CONNECTION_COLUMNS, FILE_COLUMNS
from pbmond.publish.topic_messages import Messages
from pbmond.store.movement import Movement
from pbmond.store.processes import EXCLUDED
from pbmond.store.retired import Group
from pbmond.store.rows import RowView
from pbmond.store.values import VALUES

_UNKNOWN: Final = Group(None, None, NO_UID)
_SLOT_BITS: Final = 32
#: Where the increases of each table's counters are among those of the kernel's rows.
_PLACES: Final = {
    table: [VALUES.index(TABLES[table][name].store.partition(".")[2]) for name in names]
    for table, names in ROW_COUNTERS.items()
    if table != "processes"
}
_FLOWS: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "connections": ("flows", CONNECTION_COLUMNS),
    "files": ("files", FILE_COLUMNS),
}


@dataclass(frozen=True, slots=True)
class MovedColumns:
    """Rows that moved: ids, (rows, ROW_COUNTERS) increases, the columns CHANGING and DESCRIPTION.

    Ids are of one row each, for as long as the daemon runs.
    """

    ids: NDArray[np.uint64]
    increases: NDArray[np.uint64]
    changing: Mapping[str, Any]
    description: Mapping[str, Any]


def moved_processes(messages: Messages) -> MovedColumns:
    """Return the processes that moved, but those that the configuration hides."""
    processes = messages.snapshot.processes
    slots = np.flatnonzero(processes.deltas.any(axis=0) & processes.info["visible"])
    described = {
        **messages.describe_processes(slots),
        "viewer": processes.own.shown_to[slots],
    }
    # A slot becomes that of another process in a later tick at the earliest.
    ids = processes.info["born"][slots] << np.uint64(_SLOT_BITS) | slots.astype(np.uint64)
    return MovedColumns(
        ids,
        np.ascontiguousarray(processes.deltas[:, slots].T),
        {name: described[name] for name in CHANGING["processes"]},
        {name: described[name] for name in DESCRIPTION["processes"]},
    )


def moved_flows(messages: Messages, table: str) -> MovedColumns:
    """Return the connections or files that moved, of processes that are shown.

    A row that left has what it moved until then.
    """
    kept, makers = _FLOWS[table]
    processes = messages.snapshot.processes
    owners = {"uid": processes.info["uid"], "viewer": processes.own.shown_to}
    movement: Movement = getattr(messages.snapshot, f"{kept}_moved")
    view: RowView = getattr(messages.snapshot, kept)
    state, every = movement.rows()
    increases = every[:, _PLACES[table]]  # the kernel counts more than is shown
    is_shown = processes.info["visible"][state.slots]
    shown = np.flatnonzero(is_shown & increases.any(axis=1))
    chosen = messages.chosen(RowView(state, view.names), shown)
    columns = {
        name: makers[name](chosen) if name in makers else owners[name][state.slots[shown]]
        for name in (*CHANGING[table], *DESCRIPTION[table])
    }
    return MovedColumns(
        np.ascontiguousarray(state.counters["id"][shown]),
        increases[shown],
        {name: columns[name] for name in CHANGING[table]},
        {name: columns[name] for name in DESCRIPTION[table]},
    )


def moved_retired(messages: Messages) -> wire.Table:
    """Return what moved without being of a process that is shown: by user, hidden or not known."""
    processes = messages.snapshot.processes
    hidden = np.flatnonzero(processes.deltas.any(axis=0) & ~processes.info["visible"])
    owners = processes.info["uid"][hidden]
    groups = [Group(EXCLUDED, None, uid) for uid in np.unique(owners).tolist()]
    sums = [processes.deltas[:, hidden[owners == group.uid]].sum(axis=1) for group in groups]
    if messages.snapshot.unread.any():
        groups.append(_UNKNOWN)
        sums.append(messages.snapshot.unread)
    counters = np.array(sums, np.uint64).reshape(-1, len(COUNTERS)).T
    containers = [group.container for group in groups]
    uids = np.array([group.uid for group in groups], np.uint32)
    columns = {
        "unit": [group.unit for group in groups],
        "container": containers,
        **messages.container_names(containers, uids),
        "uid": uids,
        **{name: counters[row].copy() for row, name in enumerate(COUNTERS)},
    }
    return wire.Table(len(groups), {name: columns[name] for name in RETIRED})


def totals_of(messages: Messages) -> NDArray[np.uint64]:
    """Return the host's counters since the daemon began, by COUNTERS."""
    snapshot = messages.snapshot
    totals = snapshot.processes.counters.sum(axis=1) + snapshot.retired.counters.sum(axis=1)
    return np.asarray(totals)
