"""Health: incomplete while something is lost or full, and the numbers stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pbmond.kernel.records import ProbeRuns
from pbmond.store.health import Cost, Health, Looks, ProcessCost

SECOND = 1_000_000_000
NO_RUNS = ProbeRuns(0, 0)
NO_LOOKS = Looks(0, 0, 0, None)
NOTHING = Cost(0, (), NO_RUNS, NO_LOOKS)
MAPS = {"flows": {"used": 1, "capacity": 2}}


@dataclass
class Hooks:
    """How a run is attached."""

    modes: Mapping[str, str] = field(default_factory=dict)
    unseen: Sequence[str] = ()
    blind: Sequence[str] = ()
    verified_instructions: int = 1000


def tick(health: Health, **lost: int) -> dict[str, Any]:
    return health.tick(lost, MAPS, NOTHING)


def costs(*ticks: Cost) -> list[dict[str, Any]]:
    health = Health(Hooks(), 0)
    return [health.tick({}, MAPS, cost)["cost"] for cost in ticks]


def process(pid: int, cpu_ns: int, role: str = "publisher") -> ProcessCost:
    return ProcessCost(role, pid, cpu_ns, 1000 * pid)


def test_a_complete_health_object_has_everything_in_the_contract() -> None:
    health = Health(Hooks({"sockets": "tracepoint"}, ["io_uring"]), 5)
    cost = Cost(SECOND, [ProcessCost("collector", 7, 8, 42)], ProbeRuns(9, 1), NO_LOOKS)
    assert health.tick({"events": 0}, MAPS, cost) == {
        "status": "complete",
        "reasons": [],
        "began_ns": 5,
        "lost": {"events": 0},
        "lost_interval": {"events": 0},
        "postponed": {"looks": 0, "cut": 0, "listed": 0, "cgroups": 0},
        "modes": {"sockets": "tracepoint"},
        "unseen": ["io_uring"],
        "maps": MAPS,
        "cost": {
            "daemon_cpu_percent": None,
            "daemon_rss_bytes": 42,
            "processes": [{"role": "collector", "pid": 7, "cpu_percent": None, "rss_bytes": 42}],
            "probe_ns_per_call": None,
            "probe_calls_per_s": None,
            "looks": 0,
            "looks_percent": None,
            "looks_waiting": 0,
            "looks_oldest_s": None,
            "names": 0,
            "names_percent": None,
            "verified_instructions": 1000,
        },
    }


def test_what_the_looks_into_proc_cost_is_a_share_of_the_interval() -> None:
    first = Cost(SECOND, (), NO_RUNS, NO_LOOKS)
    second = Cost(3 * SECOND, (), NO_RUNS, Looks(204, SECOND // 50, 7, 30 * SECOND))
    found = costs(first, second)[1]
    assert (found["looks"], found["looks_percent"]) == (204, 1.0)
    assert (found["looks_waiting"], found["looks_oldest_s"]) == (7, 30.0)


def test_a_kernel_that_hides_some_bytes_is_always_incomplete() -> None:
    health = Health(Hooks(unseen=["io_uring"], blind=["io_uring"]), 0)
    seen = [tick(health) for _ in range(3)]
    assert [each["status"] for each in seen] == ["incomplete"] * 3
    assert seen[-1]["reasons"] == ["not seen: io_uring"]


def test_a_loss_makes_its_own_interval_incomplete_and_its_number_stays() -> None:
    health = Health(Hooks(), 0)
    seen = [tick(health, events=count) for count in (0, 3, 3, 5)]
    assert [each["status"] for each in seen] == ["complete", "incomplete", "complete", "incomplete"]
    assert [each["reasons"] for each in seen] == [[], ["lost: events"], [], ["lost: events"]]
    assert [each["lost"]["events"] for each in seen] == [0, 3, 3, 5]
    assert [each["lost_interval"]["events"] for each in seen] == [0, 3, 0, 2]


def test_a_loss_before_the_first_tick_belongs_to_it() -> None:
    assert tick(Health(Hooks(), 0), events=1)["status"] == "incomplete"


def test_a_continuing_loss_makes_every_interval_incomplete() -> None:
    health = Health(Hooks(), 0)
    assert [tick(health, events=n)["status"] for n in (1, 2, 3, 4)] == ["incomplete"] * 4


def test_a_full_map_is_incomplete_as_long_as_it_is_full() -> None:
    health = Health(Hooks(), 0)
    full = {"files": {"used": 8, "capacity": 8}}
    assert health.tick({}, full, NOTHING)["reasons"] == ["map full: files"]
    assert health.tick({}, full, NOTHING)["status"] == "incomplete"
    assert health.tick({}, MAPS, NOTHING)["status"] == "complete"


def test_each_process_has_its_share_of_a_core_since_the_previous_tick() -> None:
    _, cost = costs(
        Cost(SECOND, [process(1, 0, "collector"), process(2, SECOND)], NO_RUNS, NO_LOOKS),
        Cost(3 * SECOND, [process(1, SECOND, "collector"), process(2, SECOND)], NO_RUNS, NO_LOOKS),
    )
    assert cost["processes"] == [
        {"role": "collector", "pid": 1, "cpu_percent": 50.0, "rss_bytes": 1000},
        {"role": "publisher", "pid": 2, "cpu_percent": 0.0, "rss_bytes": 2000},
    ]
    assert (cost["daemon_cpu_percent"], cost["daemon_rss_bytes"]) == (50.0, 3000)


def test_the_share_of_a_new_publisher_and_the_total_are_unknown_for_a_tick() -> None:
    ticks = costs(
        Cost(SECOND, [process(1, 0), process(2, SECOND)], NO_RUNS, NO_LOOKS),
        Cost(2 * SECOND, [process(1, 0), process(3, SECOND)], NO_RUNS, NO_LOOKS),
        Cost(3 * SECOND, [process(1, 0), process(3, SECOND)], NO_RUNS, NO_LOOKS),
        Cost(
            4 * SECOND, [process(1, 0), process(3, 0)], NO_RUNS, NO_LOOKS
        ),  # the same pid once more
    )
    shares = [[each["cpu_percent"] for each in tick["processes"]] for tick in ticks]
    assert shares == [[None, None], [0.0, None], [0.0, 0.0], [0.0, None]]
    assert [tick["daemon_cpu_percent"] for tick in ticks] == [None, None, 0.0, None]


def test_without_elapsed_time_the_share_is_unknown() -> None:
    cost = Cost(SECOND, [process(1, 0)], ProbeRuns(1, 1), NO_LOOKS)
    later = Cost(SECOND, [process(1, 5)], ProbeRuns(2, 2), NO_LOOKS)
    assert costs(cost, later)[1]["daemon_cpu_percent"] is None
    assert costs(cost, later)[1]["probe_calls_per_s"] is None


def test_probe_figures_are_known_only_while_runs_are_counted() -> None:
    runs = [ProbeRuns(0, 0), ProbeRuns(600, 3), ProbeRuns(600, 3), ProbeRuns(1000, 5)]
    ticks = costs(*(Cost(n * SECOND // 2, (), each, NO_LOOKS) for n, each in enumerate(runs)))
    figures = [(tick["probe_ns_per_call"], tick["probe_calls_per_s"]) for tick in ticks]
    assert figures == [(None, None), (200.0, 6.0), (None, None), (200.0, 4.0)]
