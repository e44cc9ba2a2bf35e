"""The families of metrics: what each is called, what it means, and its samples of a snapshot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from pbmon_client.data.model import Snapshot
from pbmon_client.data.text import safe
from pbmon_client.metrics.ledger import Ledger
from pbmon_client.metrics.meter import DEVICES, Meter
from pbmond.fields import COUNTERS, STATES, TABLES
from pbmond.wire import SCHEMA

FamilyKind = Literal["counter", "gauge", "states", "info"]
#: The values of the labels, and the value; of "states" 1 for the one that holds.
SeriesSample = tuple[Sequence[str], int | float]


@dataclass(frozen=True, slots=True)
class MetricFamily:
    """One family; in the exposition ``_total`` follows a counter's name, ``_info`` an info's."""

    name: str
    kind: FamilyKind
    meaning: str
    labels: tuple[str, ...] = ()
    unit: str = ""

    @property
    def series(self) -> str:
        """The name of its series."""
        return self.name + {"counter": "_total", "info": "_info"}.get(self.kind, "")


@dataclass(frozen=True, slots=True)
class FilledFamily:
    """A family and its samples; ``created_s`` is when its counters began, in Unix time."""

    family: MetricFamily
    samples: tuple[SeriesSample, ...]
    created_s: float | None = None


_STATUSES: Final = ("complete", "incomplete")
_OF: Final = {
    "unit": ("pbmon", "systemd unit"),
    "container": ("pbmon_container", "container"),
    "user": ("pbmon_user", "user"),
    "program": ("pbmon_program", "program, by its name"),
}


def _traffic_families(dimension: str) -> dict[str, MetricFamily]:
    """Make the families of one dimension by what their counters count."""
    prefix, words = _OF[dimension]

    def counter(name: str, meaning: str, *labels: str) -> MetricFamily:
        unit = "bytes" if name.endswith("bytes") else ""
        of = (dimension, *labels)
        return MetricFamily(f"{prefix}_{name}", "counter", f"{meaning}, by {words}", of, unit)

    return {
        "bytes": counter("io_bytes", "Bytes that calls moved", "class", "direction"),
        "calls": counter("io_calls", "Calls that moved them", "class", "direction"),
        "disk": counter("disk_bytes", "Bytes from (in) and to (out) storage", "direction"),
        "retransmitted_segments": counter(
            "tcp_retransmitted_segments", "Segments that TCP sent again"
        ),
        "retransmitted_bytes": counter("tcp_retransmitted_bytes", "Bytes that TCP sent again"),
    }


_TRAFFIC: Final = {dimension: _traffic_families(dimension) for dimension in _OF}
UP: Final = MetricFamily("pbmon_daemon_up", "gauge", "Whether pbmond answers")
BUILD: Final = MetricFamily(
    "pbmon_build", "info", "The version of pbmon, and of the JSON contract", ("version", "schema")
)
_VIEWER: Final = MetricFamily(
    "pbmon_viewer", "info", "Whose processes are counted: all, or the viewer's own", ("scope",)
)
_CONTAINER: Final = MetricFamily(
    "pbmon_container",
    "info",
    "What people call a container",
    ("container", "name", "image", "pod", "namespace"),
)
_HEALTH: Final = MetricFamily(
    "pbmon_health", "states", "Whether anything is missing from the picture", ("pbmon_health",)
)
_LOST: Final = MetricFamily(
    "pbmon_lost", "counter", "What is missing, by reason; all 0 is the promise", ("reason",)
)
_UNSEEN: Final = MetricFamily(
    "pbmon_unseen", "gauge", "How many kinds of I/O this kernel cannot show"
)
_TIME: Final = MetricFamily(
    "pbmon_snapshot_timestamp_seconds",
    "gauge",
    "When the snapshot was taken, in Unix time",
    unit="seconds",
)
_PROCESSES: Final = MetricFamily(
    "pbmon_processes", "gauge", "Processes that are rows, by state", ("state",)
)
_USED: Final = MetricFamily(
    "pbmon_table_used_rows", "gauge", "Rows in use in a kernel table", ("table",)
)
_CAPACITY: Final = MetricFamily(
    "pbmon_table_capacity_rows", "gauge", "Rows that a kernel table can hold", ("table",)
)
_CPU: Final = MetricFamily(
    "pbmon_cost_cpu_ratio",
    "gauge",
    "Part of one core that a process of the daemon takes",
    ("role",),
    "ratio",
)
_MEMORY: Final = MetricFamily(
    "pbmon_cost_resident_bytes",
    "gauge",
    "Resident memory of a process of the daemon",
    ("role",),
    "bytes",
)
_PROBE: Final = MetricFamily(
    "pbmon_cost_probe_seconds",
    "gauge",
    "What a program adds to a call, where the kernel measures that",
    unit="seconds",
)
_INTERFACE: Final = MetricFamily(
    "pbmon_interface_bytes",
    "counter",
    "Bytes of an interface, as the host counts them",
    ("interface", "direction"),
    "bytes",
)
_PACKETS: Final = MetricFamily(
    "pbmon_interface_packets",
    "counter",
    "Packets of an interface, as the host counts them",
    ("interface", "direction"),
)
_PAYLOAD: Final = MetricFamily(
    "pbmon_interface_payload_bytes",
    "counter",
    "Bytes of an interface that are in rows",
    ("interface", "direction"),
    "bytes",
)
_ELSEWHERE: Final = MetricFamily(
    "pbmon_elsewhere_payload_bytes",
    "counter",
    "Bytes in rows that belong to none of these interfaces",
    ("direction",),
    "bytes",
)
_BLOCK: Final = MetricFamily(
    "pbmon_block_device_bytes",
    "counter",
    "Bytes of a disk, as the host counts them",
    ("disk", "direction"),
    "bytes",
)
_SENT_AGAIN: Final = MetricFamily(
    "pbmon_host_tcp_retransmitted_segments", "counter", "Segments that the host sent again"
)
_FORWARDED: Final = MetricFamily(
    "pbmon_host_forwarded_packets", "counter", "Packets that the host forwarded"
)
#: Every family there is, in the order of the exposition.
FAMILIES: Final = (
    *(UP, BUILD, _VIEWER, _HEALTH, _LOST, _UNSEEN, _TIME, _PROCESSES, _USED, _CAPACITY),
    *(_CPU, _MEMORY, _PROBE),
    *(family for families in _TRAFFIC.values() for family in families.values()),
    *(_CONTAINER, _INTERFACE, _PACKETS, _PAYLOAD, _ELSEWHERE, _BLOCK, _SENT_AGAIN, _FORWARDED),
)


def measured(meter: Meter, snapshot: Snapshot | None, version: str) -> list[FilledFamily]:
    """Return the families that have samples; ``snapshot`` is the last that the meter took.

    Without a snapshot, as no daemon answers, there is little to say. ``version`` is pbmon's.
    """
    found: dict[MetricFamily, list[SeriesSample]] = {
        UP: [((), int(snapshot is not None))],
        BUILD: [((version, SCHEMA), 1)],
    }
    if snapshot is not None:
        found |= _state(snapshot)
        for dimension, ledger in meter.ledgers.items():
            found |= _traffic(dimension, ledger)
        found[_CONTAINER] = list(_containers(snapshot, meter.ledgers["container"]))
        found |= _coverage(snapshot.coverage, meter.devices)
    return [
        FilledFamily(family, tuple(found[family]), meter.created_s)
        for family in FAMILIES
        if found.get(family)
    ]


def _state(snapshot: Snapshot) -> dict[MetricFamily, list[SeriesSample]]:
    health = snapshot.health
    tables = health.get("maps", {})
    states = snapshot.processes.table.columns["state"]
    status = health.get("status")
    return {
        _VIEWER: [((snapshot.scope,), 1)],
        _HEALTH: [((each,), int(each == status)) for each in _STATUSES],
        _LOST: [((reason,), count) for reason, count in health.get("lost", {}).items()],
        _UNSEEN: [((), len(health.get("unseen", ())))],
        _TIME: [((), snapshot.message.time_ns / 1e9)],
        _PROCESSES: [((name,), states.count(code)) for code, name in enumerate(STATES)],
        _USED: [((name,), table["used"]) for name, table in tables.items()],
        _CAPACITY: [((name,), table["capacity"]) for name, table in tables.items()],
        **_cost(health.get("cost", {})),
    }


def _cost(cost: Mapping[str, Any]) -> dict[MetricFamily, list[SeriesSample]]:
    cpu: dict[str, float] = {}
    memory: dict[str, int] = {}
    for process in cost.get("processes", ()):
        role = process["role"]
        if (percent := process["cpu_percent"]) is not None:
            cpu[role] = cpu.get(role, 0.0) + percent / 100
        if (resident := process["rss_bytes"]) is not None:
            memory[role] = memory.get(role, 0) + resident
    probe_ns = cost.get("probe_ns_per_call")
    return {
        _CPU: [((role,), value) for role, value in cpu.items()],
        _MEMORY: [((role,), value) for role, value in memory.items()],
        _PROBE: [] if probe_ns is None else [((), probe_ns / 1e9)],
    }


def _traffic(dimension: str, ledger: Ledger) -> dict[MetricFamily, list[SeriesSample]]:
    """Return what each name has moved; a counter that is still 0 has no series."""
    families = _TRAFFIC[dimension]
    places = [_place(families, name) for name in COUNTERS]
    found: dict[MetricFamily, list[SeriesSample]] = {family: [] for family in families.values()}
    for name, sums in ledger.sums():
        for (family, labels), value in zip(places, sums, strict=True):
            if value:
                found[family].append(((name, *labels), value))
    return found


def _place(
    families: Mapping[str, MetricFamily], counter: str
) -> tuple[MetricFamily, tuple[str, ...]]:
    """Return the family of one of COUNTERS, and its labels behind the name."""
    field = TABLES["processes"][counter]
    if field.direction is None:
        return families[counter], ()
    if field.byte_class == "disk":
        return families["disk"], (field.direction,)
    return families[field.unit], (field.byte_class or "", field.direction)


def _containers(snapshot: Snapshot, ledger: Ledger) -> Iterator[SeriesSample]:
    """Yield what the containers that have series are called."""
    columns = snapshot.processes.table.columns
    named = ("container", "container_name", "image", "pod", "namespace")
    distinct = {*zip(*map(columns.__getitem__, named), strict=True)}
    known: dict[str, tuple[str, ...]] = {}
    for row in distinct:
        texts = tuple("" if text is None else safe(text) for text in row)
        # One that has just been named may have rows from before.
        known[texts[0]] = max(texts, known.get(texts[0], ()))
    for name in ledger.names:
        if name in known:
            yield known[name], 1


def _coverage(
    coverage: Mapping[str, Any], devices: Mapping[str, Ledger]
) -> dict[MetricFamily, list[SeriesSample]]:
    return {
        _INTERFACE: list(_devices(devices, "interfaces", "rx_bytes", "tx_bytes")),
        _PACKETS: list(_devices(devices, "interfaces", "rx_packets", "tx_packets")),
        _PAYLOAD: list(_devices(devices, "interfaces", "payload_rx_bytes", "payload_tx_bytes")),
        _BLOCK: list(_devices(devices, "disks", "read_bytes", "write_bytes")),
        _ELSEWHERE: [
            (labels[1:], value)
            for labels, value in _devices(
                devices, "elsewhere", "payload_rx_bytes", "payload_tx_bytes"
            )
        ],
        _SENT_AGAIN: _known(coverage["tcp_retransmitted_segments"]),
        _FORWARDED: _known(coverage["forwarded_packets"]),
    }


def _devices(
    devices: Mapping[str, Ledger], kind: str, into: str, out: str
) -> Iterator[SeriesSample]:
    places = [("in", DEVICES[kind].index(into)), ("out", DEVICES[kind].index(out))]
    for name, sums in devices[kind].sums():
        yield from (((name, way), sums[at]) for way, at in places if sums[at])


def _known(value: int | None) -> list[SeriesSample]:
    return [] if value is None else [((), value)]
