"""The API says of a snapshot what the contract says of it, and mistakes are problems."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient
from web_client import MESSAGES, StillFeed, snapshot

from pbmon_client.data.filters import FilterError, parse
from pbmon_client.output import jsonout
from pbmon_client.present.views import VIEWS
from pbmon_client.web.receiver import Arrived, Silence
from pbmond.fields import HISTORY, SHOWN


def printed(second: int = 1) -> dict[str, Any]:
    """Return what --json --flows prints of a second."""
    found: dict[str, Any] = json.loads(jsonout.render(snapshot(MESSAGES[second]), row_a_line=False))
    return found


def keyed(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(json.dumps(row, sort_keys=True) for row in rows)


def test_tables_are_those_of_the_contract(client: TestClient) -> None:
    given = client.get("/api/v1/processes?flows=true").json()
    expected = printed()
    for table in ("processes", "connections", "files"):
        assert keyed(given[table]) == keyed(expected[table])
        if table != "processes":
            assert keyed(client.get(f"/api/v1/{table}").json()[table]) == keyed(expected[table])
    for name in ("schema", "host", "epoch", "seq", "time", "time_ns", "interval_ns", "viewer"):
        assert given[name] == expected[name]


def test_a_list_is_filtered_sorted_and_cut_as_the_command_does(client: TestClient) -> None:
    answer = client.get(
        "/api/v1/processes",
        params={"filter": "user = root", "sort": "pid", "top": 3, "fields": "pid,user"},
    ).json()["processes"]
    every = sorted((r["pid"] for r in printed()["processes"] if r["user"] == "root"), reverse=True)
    assert answer == [{"pid": pid, "user": "root"} for pid in every[:3]]


def test_the_busiest_come_first(client: TestClient) -> None:
    rows = client.get("/api/v1/processes?top=2").json()["processes"]
    assert [row["name"] for row in rows] == ["backup", "postgres"]


def test_a_filter_that_names_flows_chooses_processes(client: TestClient, feed: StillFeed) -> None:
    rows = client.get("/api/v1/processes", params={"filter": "path ~ tour.mp4"}).json()
    assert [row["pid"] for row in rows["processes"]] == [1202]
    assert any(demand.flows for demand in feed.demands)


@pytest.mark.parametrize("text", ["pid ~ 1", "pid =", "nme = x", "(", 'name ~ "("', "a=" * 400])
def test_a_wrong_filter_gets_the_filters_own_message(client: TestClient, text: str) -> None:
    for path in ("processes", "connections", "files", "groups/users", "stream"):
        answer = client.get(f"/api/v1/{path}", params={"filter": text})
        assert answer.status_code == 400
        assert answer.headers["content-type"] == "application/problem+json"
        with pytest.raises(FilterError) as mistake:
            parse(text)
        problem = answer.json()
        assert problem["detail"] == str(mistake.value)
        assert problem["position"] == {"start": mistake.value.start, "end": mistake.value.end}


@pytest.mark.parametrize(
    ("path", "parameter"),
    [("processes?sort=nonsense", "sort"), ("processes?top=0", "top"),
     ("files?sort=rtt_us", "sort"),
     ("processes?fields=pid,nme", "fields"), ("connections?fields=path", "fields"),
     ("processes?nonsense=1", "nonsense"), ("processes?active=perhaps", "active"),
     ("groups/nonsense", "view"), ("groups/users?sort=pid", "sort"), ("processes/x", "pid"),
     ("processes/-1", "pid"), ("overview?x=1", "x"), ("processes/1?start_ns=-1", "start_ns"),
     ("processes?top=1&top=2", "top"), ("stream?filter=pid=1&filter=pid=2", "filter"),
     ("overview?at=1790000000&at=now", "at"), ("history/series?pid=1&since=-1d&pid=2", "pid")],
)  # fmt: skip
def test_a_wrong_parameter_is_named(client: TestClient, path: str, parameter: str) -> None:
    answer = client.get(f"/api/v1/{path}")
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["parameter"] == parameter


def test_a_pattern_that_would_never_end_is_answered(client: TestClient) -> None:
    evil = {"filter": r'cmdline ~ "^(([a-z/]+)+ ?)+[$]$"'}
    began_s = time.monotonic()
    assert client.get("/api/v1/processes", params=evil).status_code == 200
    assert time.monotonic() - began_s < 30  # Python's own would take years


@pytest.mark.parametrize("pattern", [r"(a)\1", "(?=a)", "(?<!b)a"])
def test_patterns_that_need_more_than_one_look_are_refused(
    client: TestClient, pattern: str
) -> None:
    answer = client.get("/api/v1/processes", params={"filter": f'name ~ "{pattern}"'})
    assert answer.status_code == 400
    assert "look around" in answer.json()["detail"]


@pytest.mark.parametrize("text", ["pid=1 or " * 60 + "pid=1", f"name={'x' * 2000}"])
def test_a_filter_that_costs_too_much_is_refused(client: TestClient, text: str) -> None:
    assert client.get("/api/v1/processes", params={"filter": text}).status_code == 400


def test_a_process_has_its_flows_and_its_history(client: TestClient) -> None:
    answer = client.get("/api/v1/processes/1202").json()
    expected = printed()
    process = next(row for row in expected["processes"] if row["pid"] == 1202)
    assert answer["process"] == process
    assert answer["start_ns"] == process["start_ns"]
    assert set(answer["history"]) == set(HISTORY)
    mine = [row for row in answer["connections"] if row["pid"] == 1202]
    assert keyed(mine) == keyed([r for r in expected["connections"] if r["pid"] == 1202])
    assert client.get(f"/api/v1/processes/1202?start_ns={process['start_ns']}").status_code == 200
    assert client.get("/api/v1/processes/1202?start_ns=5").status_code == 404


def test_an_unknown_process_is_404(client: TestClient) -> None:
    assert client.get("/api/v1/processes/4000000").status_code == 404


def test_an_exited_process_is_410_with_its_last_values(
    client: TestClient, tell: Callable[[Any], None]
) -> None:
    message = MESSAGES[2]
    columns = dict(message.processes.columns)
    row = list(columns["pid"]).index(1202)
    columns["state"] = [int(at == row) for at in range(message.processes.length)]
    columns["state"] = bytes(columns["state"])
    table = dataclasses.replace(message.processes, columns=columns)
    tell(Arrived(None, snapshot(dataclasses.replace(message, processes=table))))
    answer = client.get("/api/v1/processes/1202")
    assert answer.status_code == 410
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["process"]["pid"] == 1202
    assert answer.json()["process"]["net_tx_bytes"] > 0


@pytest.mark.parametrize("view", ["users", "programs", "units", "hosts", "ports"])
def test_groups_have_sums(client: TestClient, view: str) -> None:
    groups = client.get(f"/api/v1/groups/{view}").json()["groups"]
    assert len({row["key"] for row in groups}) == len(groups) > 1
    table = "processes" if view in ("users", "programs", "units") else "connections"
    rows = printed()[table]
    counted = "net_tx_bytes" if table == "processes" else "tx_bytes"
    assert sum(row[counted] for row in groups) == sum(row[counted] for row in rows)
    assert sum(row["members"] for row in groups) == len(rows)


def test_the_overview_has_totals_and_what_was_retired(client: TestClient) -> None:
    given, expected = client.get("/api/v1/overview").json(), printed()
    for name in ("health", "coverage", "totals", "retired"):
        assert given[name] == expected[name]


def test_health_is_also_said_in_words(client: TestClient) -> None:
    given = client.get("/api/v1/health").json()
    assert given["health"] == printed()["health"]
    assert {part["heading"] for part in given["report"]} >= {"status", "lost"}


def test_the_fields_are_those_of_the_table(client: TestClient) -> None:
    given = client.get("/api/v1/fields").json()
    for table, named in SHOWN.items():
        assert [field["name"] for field in given["tables"][table]] == list(named)
    assert [view["name"] for view in given["views"]] == [view.name for view in VIEWS]


def test_without_a_daemon_it_says_so(client: TestClient, tell: Callable[[Any], None]) -> None:
    tell(Silence(1, "pbmond is not running"))
    for path in ("processes", "connections", "processes/1", "overview", "groups/users", "stream"):
        answer = client.get(f"/api/v1/{path}")
        assert answer.status_code == 503
        assert answer.json()["detail"] == "pbmond is not running"
    assert client.get("/api/v1/fields").status_code == 200
    tell(Arrived(None, snapshot(MESSAGES[2])))
    assert client.get("/api/v1/overview").status_code == 200


def test_names_stay_text_that_ends_no_markup(
    client: TestClient, tell: Callable[[Any], None]
) -> None:
    message = MESSAGES[2]
    columns = dict(message.processes.columns)
    hostile = b'</script><img src=x onerror=alert(1)>\xff\x1b[31m\n"'
    columns["name"] = [hostile] * message.processes.length
    table = dataclasses.replace(message.processes, columns=columns)
    tell(Arrived(None, snapshot(dataclasses.replace(message, processes=table))))
    answer = client.get("/api/v1/processes?top=1&fields=name")
    assert answer.headers["content-type"] == "application/json"
    name = answer.json()["processes"][0]["name"]
    assert name.startswith("</script>")
    assert name.isprintable()
