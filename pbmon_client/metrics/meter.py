"""The meter: takes snapshots as they are asked for, and holds what each name has moved so far."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pbmon_client.data.columns import UserName
from pbmon_client.data.model import Snapshot
from pbmon_client.data.users import user_name
from pbmon_client.metrics.growth import DIMENSIONS, GrowthTracker
from pbmon_client.metrics.ledger import Ledger
from pbmond.fields import BYTE_COUNTERS, COUNTERS
from pbmond.wire import DISK_COUNTERS, INTERFACE_COUNTERS, PAYLOAD_COUNTERS

DEFAULT_TOP: Final = 50
#: Series for each name that may have some, so that all dimensions together stay below 1,500.
_SERIES_A_NAME: Final = {"unit": 14, "container": 5, "user": 5, "program": 14}
_BYTES: Final = tuple(map(COUNTERS.index, BYTE_COUNTERS))
#: Parts of ``coverage``, and the counters of their rows.
DEVICES: Final[dict[str, Sequence[str]]] = {
    "interfaces": (*INTERFACE_COUNTERS, *PAYLOAD_COUNTERS),
    "elsewhere": PAYLOAD_COUNTERS,
    "disks": DISK_COUNTERS,
}
_MOST_DEVICES: Final = 8


@dataclass(frozen=True, slots=True)
class MeterOptions:
    """How many units, containers and users have series of their own, and programs if any do."""

    top: int = DEFAULT_TOP
    programs: bool = False


class Meter:
    """What was counted in the present run of the daemon; another run begins at zero."""

    def __init__(self, options: MeterOptions, user: UserName = user_name) -> None:
        self._options = options
        self._user = user
        self._run: _MeteredRun | None = None

    def take(self, snapshot: Snapshot) -> None:
        """Add what a snapshot has more than the one before; an older one changes nothing."""
        if self._run is None or self._run.epoch != snapshot.message.epoch:
            self._run = _MeteredRun(self._options, self._user, snapshot)
        self._run.take(snapshot)

    @property
    def created_s(self) -> float | None:
        """When the run began, in Unix time; None if that is not known."""
        return None if self._run is None else self._run.created_s

    @property
    def ledgers(self) -> Mapping[str, Ledger]:
        """The counters by dimension, each as wide as COUNTERS."""
        return {} if self._run is None else self._run.ledgers

    @property
    def devices(self) -> Mapping[str, Ledger]:
        """The counters of coverage by its part, each as wide as its DEVICES."""
        return {} if self._run is None else self._run.devices


class _MeteredRun:
    """One run of the daemon."""

    def __init__(self, options: MeterOptions, user: UserName, first: Snapshot) -> None:
        dimensions = DIMENSIONS if options.programs else DIMENSIONS[:-1]
        self.epoch: Final = first.message.epoch
        self.created_s: Final = _created_s(first)
        self.ledgers: Final = {
            name: Ledger(len(COUNTERS), options.top, options.top * _SERIES_A_NAME[name], _BYTES)
            for name in dimensions
        }
        self.devices: Final = {
            name: Ledger(len(of), _MOST_DEVICES, _MOST_DEVICES * len(of), range(len(of)))
            for name, of in DEVICES.items()
        }
        self._growing = GrowthTracker(dimensions, user)
        self._last: dict[str, dict[str, Sequence[int]]] = {name: {} for name in DEVICES}
        self._seq = -1

    def take(self, snapshot: Snapshot) -> None:
        if snapshot.message.seq <= self._seq:
            return
        self._seq = snapshot.message.seq
        for name, growth in self._growing.take(snapshot).items():
            self.ledgers[name].add(growth)
        for name, ledger in self.devices.items():
            now = dict(_device_counters(snapshot.coverage[name], DEVICES[name]))
            ledger.add(dict(_rises(now, self._last[name])))
            self._last[name] |= now


def _device_counters(
    part: Any,  # noqa: ANN401 - a list of the contract, one row without a name, or None
    counters: Sequence[str],
) -> Iterator[tuple[str, Sequence[int]]]:
    for row in [part] if isinstance(part, Mapping) else part or ():
        yield row.get("name", ""), [row[name] or 0 for name in counters]


def _rises(
    now: Mapping[str, Sequence[int]], before: Mapping[str, Sequence[int]]
) -> Iterator[tuple[str, Sequence[int]]]:
    """Yield by how much each rose; payload falls where a process leaves what a viewer may see."""
    for name, counts in now.items():
        last = before.get(name, [0] * len(counts))
        yield name, [max(0, new - old) for new, old in zip(counts, last, strict=True)]


def _created_s(snapshot: Snapshot) -> float | None:
    began_ns = snapshot.health.get("began_ns")
    if not isinstance(began_ns, int):
        return None
    return (snapshot.message.time_ns - snapshot.message.now_ns + began_ns) / 1e9
