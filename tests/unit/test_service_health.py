"""Health: incomplete while something is lost or full, and the numbers stay."""

from __future__ import annotations

from typing import Any

from pbmond.health import Cost, Health

MAPS = {"flows": {"used": 1, "capacity": 2}}


def tick(health: Health, **lost: int) -> dict[str, Any]:
    return health.tick(lost, MAPS, Cost(None, 0))


def test_complete_is_said_with_everything_the_contract_has() -> None:
    health = Health({"sockets": "tracepoint"}, ["io_uring"])
    assert health.tick({"events": 0}, MAPS, Cost(1.5, 42)) == {
        "status": "complete",
        "reasons": [],
        "lost": {"events": 0},
        "rungs": {"sockets": "tracepoint"},
        "unseen": ["io_uring"],
        "maps": MAPS,
        "cost": {"daemon_cpu_percent": 1.5, "daemon_rss_bytes": 42, "probe_ns_per_call": None},
    }


def test_a_loss_is_news_for_two_ticks_and_its_number_stays() -> None:
    health = Health({}, [])
    seen = [tick(health, events=count) for count in (0, 3, 3, 3)]
    assert [each["status"] for each in seen] == ["complete", "incomplete", "incomplete", "complete"]
    assert [each["reasons"] for each in seen] == [[], ["lost: events"], ["lost: events"], []]
    assert seen[-1]["lost"] == {"events": 3}


def test_a_loss_before_the_first_tick_is_news_too() -> None:
    assert tick(Health({}, []), events=1)["status"] == "incomplete"


def test_a_loss_that_goes_on_stays_news() -> None:
    health = Health({}, [])
    assert [tick(health, events=n)["status"] for n in (1, 2, 3, 4)] == ["incomplete"] * 4


def test_a_full_map_is_incomplete_as_long_as_it_is_full() -> None:
    health = Health({}, [])
    full = {"files": {"used": 8, "capacity": 8}}
    assert health.tick({}, full, Cost(None, 0))["reasons"] == ["map full: files"]
    assert health.tick({}, full, Cost(None, 0))["status"] == "incomplete"
    assert health.tick({}, MAPS, Cost(None, 0))["status"] == "complete"
