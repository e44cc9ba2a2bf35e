"""Builds the health object of the JSON contract: what is missing, and what pbmon itself costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from pbmond.kernel.records import ProbeRuns
from pbmond.store.process_index import ProcessKey


@dataclass(frozen=True, slots=True)
class ProcessCost:
    """What a process of the daemon has used so far; ``role`` as in the JSON contract."""

    role: str
    pid: int
    cpu_ns: int
    rss_bytes: int


@dataclass(frozen=True, slots=True)
class Postponed:
    """What a tick's time in /proc was too short for, by its name in the contract."""

    looks: int = 0
    cut: int = 0
    listed: int = 0
    cgroups: int = 0


@dataclass(frozen=True, slots=True)
class Looks:
    """What was looked at in /proc in this tick, so that processes are shown as they are now.

    ``processes`` were, and that took ``took_ns``; ``waiting`` others moved bytes and have to wait;
    ``oldest_ns``: the age of the oldest description of any process, None if there is none.
    ``late``: those that would have been looked at, had there been time.
    """

    processes: int
    took_ns: int
    waiting: int
    oldest_ns: int | None
    late: Sequence[ProcessKey] = ()
    postponed: Postponed = Postponed()


@dataclass(frozen=True, slots=True)
class NameLooks:
    """How many file rows had their names compared in this tick, and how long that took."""

    files: int
    took_ns: int


@dataclass(frozen=True, slots=True)
class Cost:
    """What pbmon itself has used up to ``time_ns``, on any clock that neither stops nor jumps."""

    time_ns: int
    processes: Sequence[ProcessCost]
    probes: ProbeRuns
    looks: Looks
    names: NameLooks = NameLooks(0, 0)


class Hooks(Protocol):
    """How this run is attached to the kernel, and what it cannot see."""

    @property
    def modes(self) -> Mapping[str, str]:
        """How sockets and files are counted, and how the kernel's structures are read."""

    @property
    def unseen(self) -> Sequence[str]:
        """What is not counted here, in words."""

    @property
    def blind(self) -> Sequence[str]:
        """The part of it that makes the picture incomplete on this kernel."""

    @property
    def verified_instructions(self) -> int:
        """How many instructions the kernel's verifier checked for the largest program."""


class Health:
    """Compares losses and cost with those of the tick before.

    ``began_ns`` is when the daemon began to count (CLOCK_BOOTTIME).
    """

    def __init__(self, hooks: Hooks, began_ns: int) -> None:
        self._hooks = hooks
        self._began_ns = began_ns
        self._lost: dict[str, int] = {}
        self._cost: Cost | None = None

    def tick(
        self, lost: Mapping[str, int], maps: Mapping[str, Mapping[str, int]], cost: Cost
    ) -> dict[str, Any]:
        """Return the object of this tick; ``lost`` counts since the start, by reason."""
        before, self._cost = self._cost or cost, cost
        grown = {reason: count - self._lost.get(reason, 0) for reason, count in lost.items()}
        self._lost = dict(lost)
        reasons = self._reasons(grown, maps)
        return {
            "status": "incomplete" if reasons else "complete",
            "reasons": reasons,
            "began_ns": self._began_ns,
            "lost": dict(lost),
            "lost_interval": grown,
            "postponed": asdict(cost.looks.postponed),
            "modes": dict(self._hooks.modes),
            "unseen": list(self._hooks.unseen),
            "maps": {name: dict(use) for name, use in maps.items()},
            "cost": {
                **_daemon_cost(before, cost),
                **_probe_cost(before, cost),
                **_look_cost(before, cost),
                "verified_instructions": self._hooks.verified_instructions,
            },
        }

    def _reasons(
        self, grown: Mapping[str, int], maps: Mapping[str, Mapping[str, int]]
    ) -> list[str]:
        """Say why the picture is incomplete; nothing if it is complete."""
        full = [name for name, use in maps.items() if use["used"] >= use["capacity"]]
        return [
            *(f"not seen: {what}" for what in self._hooks.blind),
            *(f"lost: {reason}" for reason in sorted(grown) if grown[reason] > 0),
            *(f"map full: {name}" for name in full),
        ]


def _daemon_cost(before: Cost, cost: Cost) -> dict[str, Any]:
    """Return what our processes cost between two ticks, in percent of one core; None: unknown."""
    elapsed_ns = cost.time_ns - before.time_ns
    cpu_ns = {process.pid: process.cpu_ns for process in before.processes}
    percents = [_percent(cpu_ns.get(p.pid), p.cpu_ns, elapsed_ns) for p in cost.processes]
    known = [percent for percent in percents if percent is not None]
    return {
        "daemon_cpu_percent": sum(known) if known and len(known) == len(percents) else None,
        "daemon_rss_bytes": sum(process.rss_bytes for process in cost.processes) or None,
        "processes": [
            {
                "role": process.role,
                "pid": process.pid,
                "cpu_percent": percent,
                "rss_bytes": process.rss_bytes,
            }
            for process, percent in zip(cost.processes, percents, strict=True)
        ],
    }


def _probe_cost(before: Cost, cost: Cost) -> dict[str, Any]:
    """Return what our programs cost between two ticks.

    If none ran, the kernel's statistics are off, or there was nothing to measure.
    """
    calls, elapsed_ns = cost.probes.calls - before.probes.calls, cost.time_ns - before.time_ns
    if calls <= 0 or elapsed_ns <= 0:
        return {"probe_ns_per_call": None, "probe_calls_per_s": None}
    return {
        "probe_ns_per_call": (cost.probes.time_ns - before.probes.time_ns) / calls,
        "probe_calls_per_s": 1e9 * calls / elapsed_ns,
    }


def _look_cost(before: Cost, cost: Cost) -> dict[str, Any]:
    """Return what it costs to show processes and files as they are, and how well it succeeds."""
    looks, names, elapsed_ns = cost.looks, cost.names, cost.time_ns - before.time_ns
    return {
        "looks": looks.processes,
        "looks_percent": 100 * looks.took_ns / elapsed_ns if elapsed_ns > 0 else None,
        "looks_waiting": looks.waiting,
        "looks_oldest_s": None if looks.oldest_ns is None else looks.oldest_ns / 1e9,
        "names": names.files,
        "names_percent": 100 * names.took_ns / elapsed_ns if elapsed_ns > 0 else None,
    }


def _percent(before_ns: int | None, now_ns: int, elapsed_ns: int) -> float | None:
    # Less than before: it is another process with the same PID.
    if before_ns is None or now_ns < before_ns or elapsed_ns <= 0:
        return None
    return 100 * (now_ns - before_ns) / elapsed_ns
