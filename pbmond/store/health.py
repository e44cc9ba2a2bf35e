"""Builds the contract's health object: is the picture complete, and what does it cost; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from pbmond.kernel.records import ProbeRuns

#: A loss is news for this many ticks; its number stays for good.
_TICKS_OF_NEWS: Final = 2


@dataclass(frozen=True, slots=True)
class ProcessCost:
    """What a process of the daemon has used so far; ``role``: "collector" or "publisher"."""

    role: str
    pid: int
    cpu_ns: int
    rss_bytes: int


@dataclass(frozen=True, slots=True)
class Cost:
    """What pbmon itself has used by ``time_ns`` (of any clock that does not stop or jump)."""

    time_ns: int
    processes: Sequence[ProcessCost]
    probes: ProbeRuns


class Hooked(Protocol):
    """What the hooks of one run are, and what passes them."""

    @property
    def modes(self) -> Mapping[str, str]:
        """How sockets, files and the kernel's structures are met."""

    @property
    def unseen(self) -> Sequence[str]:
        """What nobody counts here, for people."""

    @property
    def blind(self) -> Sequence[str]:
        """Of that, what leaves the picture incomplete on this kernel."""

    @property
    def verified_instructions(self) -> int:
        """How many instructions the kernel's verifier followed for the largest program."""


class Health:
    """Remembers the losses of the last ticks; ``hooked`` is that of one run."""

    def __init__(self, hooked: Hooked) -> None:
        self._hooked = hooked
        self._lost: dict[str, int] = {}
        self._news: dict[str, int] = {}  # reason -> ticks for which it is still news
        self._cost: Cost | None = None

    def tick(
        self, lost: Mapping[str, int], maps: Mapping[str, Mapping[str, int]], cost: Cost
    ) -> dict[str, Any]:
        """Return the object of this tick; ``lost`` counts since the start, by reason."""
        self._news = {reason: left - 1 for reason, left in self._news.items() if left > 1}
        for reason, count in lost.items():
            if count > self._lost.get(reason, 0):
                self._news[reason] = _TICKS_OF_NEWS
        self._lost = dict(lost)
        before, self._cost = self._cost, cost
        reasons = [f"not seen: {what}" for what in self._hooked.blind]
        reasons += [f"lost: {reason}" for reason in sorted(self._news)]
        reasons += [
            f"map full: {name}" for name, use in maps.items() if use["used"] >= use["capacity"]
        ]
        return {
            "status": "incomplete" if reasons else "complete",
            "reasons": reasons,
            "lost": dict(lost),
            "modes": dict(self._hooked.modes),
            "unseen": list(self._hooked.unseen),
            "maps": {name: dict(use) for name, use in maps.items()},
            "cost": _since(before or cost, cost)
            | {"verified_instructions": self._hooked.verified_instructions},
        }


def _since(before: Cost, cost: Cost) -> dict[str, Any]:
    """Return the cost of the time between two ticks, in percent of one core; None: not known."""
    elapsed_ns = cost.time_ns - before.time_ns
    cpu_ns = {process.pid: process.cpu_ns for process in before.processes}
    percents = [_percent(cpu_ns.get(p.pid), p.cpu_ns, elapsed_ns) for p in cost.processes]
    # Without calls the kernel's statistics are off, or there was nothing to measure.
    calls = cost.probes.calls - before.probes.calls
    measured = calls > 0 and elapsed_ns > 0
    probe_ns = cost.probes.time_ns - before.probes.time_ns
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
        "probe_ns_per_call": probe_ns / calls if measured else None,
        "probe_calls_per_s": 1e9 * calls / elapsed_ns if measured else None,
    }


def _percent(before_ns: int | None, now_ns: int, elapsed_ns: int) -> float | None:
    # Less than before: another process, with the same pid.
    if before_ns is None or now_ns < before_ns or elapsed_ns <= 0:
        return None
    return 100 * (now_ns - before_ns) / elapsed_ns
