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
    """The processes to look at in this tick: user and process, the users in turn.

    ``beyond``: others that moved bytes, too; ``oldest_ns``: the age of the oldest description of
    any process, None if there is none.
    """

    turns: list[tuple[int, ProcessKey]]
    beyond: list[ProcessKey]
    oldest_ns: int | None

    @property
    def keys(self) -> list[ProcessKey]:
        """The processes alone."""
        return [key for _, key in self.turns]


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

    Of each user first those without a disk baseline, or whose user waits to see them, then those
    that moved bytes; last those of the others that ``quiet`` allows. Each starts with the ones
    never sampled, the newest first, and the ones sampled longest ago, the busiest first. Users take
    turns, so that none has all of it.
    """
    slots = np.flatnonzero(table.info["state"] == RUNNING)
    info = table.info[slots]
    settled = ~(table.disk.needs_baseline(slots) | table.views.awaiting(slots))
    quiet_ones = settled & ~(table.counters.active[slots] | table.disk.busy(slots))
    older = np.iinfo(np.uint64).max - info["start_ns"]
    moved = ~table.counters.moved(slots)  # inverted, as ``older``: the most is the first
    order = np.lexsort((older, moved, info["sampled_ns"], quiet_ones, settled))
    urgent, rest = np.split(order, [len(order) - int(np.count_nonzero(quiet_ones))])
    if quiet is not None:
        waited_ns = table.now_ns - info["sampled_ns"][rest].astype(np.int64)
        rest = rest[waited_ns >= quiet.every_ns][: quiet.budget]
    urgent = _in_turns(urgent, info["uid"])
    chosen = np.append(urgent, rest)[:budget]
    described_ns = info["seen_ns"][info["seen_ns"] > 0].astype(np.int64)
    return Due(
        turns=list(zip(info["uid"][chosen].tolist(), _keys(info[chosen]), strict=True)),
        beyond=_keys(info[urgent[budget:]]),
        oldest_ns=max(0, table.now_ns - int(described_ns.min())) if len(described_ns) else None,
    )


def _in_turns(order: NDArray[np.intp], uids: NDArray[np.uint32]) -> NDArray[np.intp]:
    """Return ``order`` with the first of each user first, then the second of each, and so on."""
    by_user = np.argsort(uids[order], kind="stable")
    _, firsts, counts = np.unique(uids[order][by_user], return_index=True, return_counts=True)
    turn = np.empty(len(order), np.intp)
    turn[by_user] = np.arange(len(order)) - np.repeat(firsts, counts)
    return order[np.argsort(turn, kind="stable")]


def _keys(info: NDArray[np.void]) -> list[ProcessKey]:
    return list(zip(info["pid"].tolist(), info["start_ns"].tolist(), strict=True))
