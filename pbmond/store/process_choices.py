"""Which processes are due: to be looked at in /proc, or to be shown no longer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pbmond.kernel.records import START_TICK_NS
from pbmond.store.process_index import ProcessKey
from pbmond.store.processes import EXITED, RUNNING, ProcessTable


@dataclass(frozen=True, slots=True)
class Quiet:
    """How often processes that move nothing are looked at, and how many of them in one tick."""

    every_ns: int
    budget: int


@dataclass(frozen=True, slots=True)
class Due:
    """The processes to look at in this tick.

    ``waiting``: how many others moved bytes, too; ``oldest_ns``: the age of the oldest description
    of any process, None if there is none.
    """

    keys: list[ProcessKey]
    waiting: int
    oldest_ns: int | None


def exited_before(info: NDArray[np.void], limit_ns: int, keep: int) -> NDArray[np.bool_]:
    """Mark the slots of exited processes that need not be shown any longer.

    Those exited at ``limit_ns`` or earlier, or are not among the ``keep`` newest. ``info`` is the
    table's.
    """
    exited = info["state"] == EXITED
    if np.count_nonzero(exited) > keep:
        times = np.sort(info["exited_ns"][exited])
        limit_ns = max(limit_ns, int(times[-keep - 1]))
    if limit_ns < 0:
        return np.zeros_like(exited)
    return np.asarray(exited & (info["exited_ns"] <= np.uint64(limit_ns)))


def described(info: NDArray[np.void]) -> set[int]:
    """Return the PIDs of the running processes whose description has been seen."""
    return set(info["pid"][(info["state"] == RUNNING) & (info["seen_ns"] > 0)].tolist())


def running(info: NDArray[np.void]) -> list[ProcessKey]:
    """Return all running processes."""
    return _keys(info[info["state"] == RUNNING])


def known_from_proc(info: NDArray[np.void]) -> list[ProcessKey]:
    """Return the running processes that only /proc has shown: their exit may cause no event."""
    return _keys(info[(info["state"] == RUNNING) & (info["start_ns"] % START_TICK_NS == 0)])


def due(table: ProcessTable, budget: int, quiet: Quiet | None = None) -> Due:
    """Return at most ``budget`` running processes that /proc should be asked about most.

    First those without a disk baseline, or whose user waits to see them, then those that moved
    bytes, then those of the others that ``quiet`` allows, starting with the ones sampled longest
    ago.
    """
    slots = np.flatnonzero(table.info["state"] == RUNNING)
    info = table.info[slots]
    settled = ~(table.disk.needs_baseline(slots) | table.views.awaiting(slots))
    quiet_ones = settled & ~(table.counters.active[slots] | table.disk.busy(slots))
    order = np.lexsort((info["sampled_ns"], quiet_ones, settled))
    urgent = len(order) - int(np.count_nonzero(quiet_ones))
    if quiet is not None:
        rest = order[urgent:]
        waited_ns = table.now_ns - info["sampled_ns"][rest].astype(np.int64)
        order = np.append(order[:urgent], rest[waited_ns >= quiet.every_ns][: quiet.budget])
    described_ns = info["seen_ns"][info["seen_ns"] > 0].astype(np.int64)
    return Due(
        keys=_keys(info[order[:budget]]),
        waiting=max(0, urgent - budget),
        oldest_ns=max(0, table.now_ns - int(described_ns.min())) if len(described_ns) else None,
    )


def _keys(info: NDArray[np.void]) -> list[ProcessKey]:
    return list(zip(info["pid"].tolist(), info["start_ns"].tolist(), strict=True))
