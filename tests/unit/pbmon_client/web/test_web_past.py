"""The past over the API and the page's WebSocket: the store's bytes, mistakes, and no history."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient
from web_client import MESSAGES, Page, StillFeed, snapshot

from pbmon_client.data.times import END_S
from pbmon_client.history.buckets import Tick
from pbmon_client.history.layout import PROCESSES, TOTALS
from pbmon_client.history.source import PastError
from pbmon_client.history.writer import HistoryWriter
from pbmon_client.web import past as pasts
from pbmon_client.web.receiver import Arrived
from tests import past_host as make

START = make.MONDAY + 3 * 3600
LISTS = ("processes", "connections", "files", "groups/hosts", "overview")
SERIES = ("net_rx", "net_tx", "file_read", "file_write")
#: Two minutes were recorded, then nothing for one, then another two.
SECONDS = [*range(1, 121), *range(181, 301)]


@pytest.fixture(scope="module")
def ticks() -> list[Tick]:
    random = np.random.default_rng(14)
    return [make.random_tick(random, (START + second) * make.SECOND) for second in SECONDS]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, ticks: Sequence[Tick]) -> Path:
    """What each test gets a copy of, which takes far less time than to record it."""
    store = tmp_path_factory.mktemp("recorded") / "history"
    with HistoryWriter(store, sync=False) as writer:
        for tick in ticks:
            writer.tick(tick)
    return store


@pytest.fixture
def recorded(tmp_path: Path, store: Path, ticks: Sequence[Tick]) -> Sequence[Tick]:
    shutil.copytree(store, tmp_path / "history")
    return ticks


def total(ticks: Sequence[Tick], since: int, until: int) -> dict[str, int]:
    """Return the host's bytes in a range of seconds after the start."""
    sums = np.zeros(len(TOTALS), np.int64)
    for tick in ticks:
        if since <= tick.time_ns // make.SECOND - START < until:
            sums += tick.totals
    return dict(zip(TOTALS, sums.tolist(), strict=True))


#: Clocks of Berlin were put back from 03:00 to 02:00 then.
TWICE = "02:30 on 2025-10-26 came twice, as clocks were put back: it is read as the first"


def span(since: int, until: int) -> str:
    return f"since={START + since}&until={START + until}"


def test_a_range_has_the_recorded_bytes_in_every_list(
    client: TestClient, recorded: Sequence[Tick]
) -> None:
    expected = total(recorded, 10, 90)
    overview = client.get(f"/api/v1/overview?{span(10, 90)}").json()
    assert {name: overview["totals"][name] for name in TOTALS} == expected
    assert overview["interval_ns"] == 80 * make.SECOND
    processes = client.get(f"/api/v1/processes?{span(10, 90)}&flows=true").json()
    for name in ("net_rx_bytes", "file_write_bytes"):
        assert sum(row[name] for row in processes["processes"]) == expected[name]
    for table in ("connections", "files"):
        assert client.get(f"/api/v1/{table}?{span(10, 90)}").json()[table] == processes[table] != []
    for view in ("programs", "users", "units"):
        groups = client.get(f"/api/v1/groups/{view}?{span(10, 90)}").json()["groups"]
        assert sum(group["net_rx_bytes"] for group in groups) == expected["net_rx_bytes"]


@pytest.mark.parametrize("path", ["processes", "connections", "files", "groups/units", "overview"])
def test_an_answer_says_whether_it_is_of_the_past(
    client: TestClient, recorded: Sequence[Tick], path: str
) -> None:
    for when in (span(10, 90), f"at={START + 50}"):
        assert client.get(f"/api/v1/{path}?{when}").json()["past"] is True
    assert "past" not in client.get(f"/api/v1/{path}").json()


def test_lists_of_the_past_are_filtered_and_sorted(
    client: TestClient, recorded: Sequence[Tick]
) -> None:
    where = f"{span(0, 301)}&filter=uid%20%3D%201001&sort=pid&reverse=true&top=3&fields=pid,uid"
    rows = client.get(f"/api/v1/processes?{where}").json()["processes"]
    assert len(rows) == 3
    assert {row["uid"] for row in rows} == {1001}
    assert [row["pid"] for row in rows] == sorted(row["pid"] for row in rows)


def test_a_moment_is_the_shortest_interval_around_it(
    client: TestClient, recorded: Sequence[Tick]
) -> None:
    shown = client.get(f"/api/v1/overview?at={START + 50}").json()
    # The tick that ends next after the moment.
    assert {name: shown["totals"][name] for name in TOTALS} == total(recorded, 51, 52)
    assert shown["interval_ns"] == make.SECOND
    gap = client.get(f"/api/v1/overview?at={START + 150}").json()
    assert gap["health"]["reasons"] == ["history: nothing was recorded"]


def test_a_time_after_the_newest_is_the_newest(
    client: TestClient, recorded: Sequence[Tick]
) -> None:
    shown = client.get(f"/api/v1/overview?at={START + 10_000}").json()
    assert {name: shown["totals"][name] for name in TOTALS} == total(recorded, 300, 301)


def test_a_series_sums_to_the_range_and_has_gaps(
    client: TestClient, recorded: Sequence[Tick]
) -> None:
    given = client.get(f"/api/v1/history/series?{span(0, 310)}&step=10s").json()
    assert (given["since"], given["step"]) == (START, 10)
    assert given["recorded_until"] == START + 300
    sums = given["sums"]["net_rx_bytes"]
    assert [value is None for value in sums] == [130 <= 10 * at < 180 for at in range(31)]
    for at, value in enumerate(sums):
        if value is not None:
            assert value == total(recorded, 10 * at, 10 * at + 10)["net_rx_bytes"]


def test_the_tick_at_whose_end_a_gap_begins_is_known_though_it_moved_nothing(
    client: TestClient, recorded: Sequence[Tick]
) -> None:
    given = client.get(f"/api/v1/history/series?{span(118, 184)}&step=1s&user=4321").json()
    sums = given["sums"]["net_rx_bytes"]
    assert [value is None for value in sums] == [121 <= at < 180 for at in range(118, 184)]
    assert {*sums} == {0, None}


def test_a_series_is_of_whom_it_is_asked(client: TestClient, recorded: Sequence[Tick]) -> None:
    asked = f"/api/v1/history/series?{span(0, 301)}&step=1m&fields=net_rx_bytes,net_tx_bytes"

    def moved(whose: str) -> int:
        given = client.get(f"{asked}&{whose}").json()
        assert {*given["sums"]} == {"net_rx_bytes", "net_tx_bytes"}
        return sum(filter(None, given["sums"]["net_rx_bytes"]))

    for view in ("processes", "programs", "users", "units", "tree"):
        listed = "processes" if view in ("processes", "tree") else f"groups/{view}"
        rows = client.get(f"/api/v1/{listed}?{span(0, 301)}&top=2").json()
        for row in rows.get("groups", []):
            assert moved(f"view={view}&key={row['key']}") == row["net_rx_bytes"]
        for row in rows.get("processes", []):
            who = f"pid={row['pid']}&start_ns={row['start_ns']}"
            assert moved(who) == row["net_rx_bytes"]
    every = client.get(f"/api/v1/groups/users?{span(0, 301)}").json()["groups"]
    assert {group["uid"]: moved(f"user={group['uid']}") for group in every} == {
        group["uid"]: group["net_rx_bytes"] for group in every
    }
    units = client.get(f"/api/v1/groups/units?{span(0, 301)}&top=1").json()["groups"]
    assert moved(f"unit={units[0]['unit']}") == units[0]["net_rx_bytes"]


@pytest.mark.parametrize("view", ["connections", "files", "hosts", "ports"])
def test_a_series_of_a_flow_or_host_has_its_bytes(
    client: TestClient, page: Page, recorded: Sequence[Tick], view: str
) -> None:
    counter = "read_bytes" if view == "files" else "rx_bytes"
    column = counter.removesuffix("_bytes")
    when = {"since": START, "until": START + 301}
    units = {"totals": True, "exact": True}
    shown = page.wish(view=view, columns=[column], units=units, window={"count": 3}, **when)
    for row in shown["rows"]:
        given = client.get(
            f"/api/v1/history/series?{span(0, 301)}&step=1m&view={view}&key={row['key']}"
        ).json()
        moved = sum(filter(None, given["sums"][counter]))
        assert f"{moved:,}" == row["cells"][0].replace("·", "0")


def test_what_is_kept_is_told(client: TestClient, recorded: Sequence[Tick]) -> None:
    kept = client.get("/api/v1/history").json()
    assert client.get("/api/v1/history/state").json() == {"kept": kept, "why": None}
    assert (kept["since"], kept["until"]) == (START, START + 300)
    assert [tier["step"] for tier in kept["tiers"]] == [1, 10, 60, 3600]
    assert kept["gaps"] == [
        {"since_ns": (START + 120) * make.SECOND, "until_ns": (START + 180) * make.SECOND}
    ]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("processes?at=soon", "'soon' is not a time"),
        ("overview?until=now", "until needs since"),
        ("groups/users?at=now&since=-1h", "at excludes since and until"),
        ("files?since=2026-01-02&until=2026-01-01", "the range is empty"),
        ("history/series?step=1m", "needs since"),
        ("history/series?since=-1h&step=fast", "'fast' is not a duration"),
        ("history/series?since=-10d&step=1s", "the shortest step for this range is 173 s"),
        ("history/series?since=-1h&unit=a&user=0", "unit excludes user"),
        ("history/series?since=-1h&start_ns=5", "start_ns needs pid"),
        ("history/series?since=-1h&view=users&key=!", "no key of a row of users"),
        ("history/series?since=-1h&view=users&key=_w", "no key of a row of users"),
        ("history/series?since=-1h&fields=pid", "pid is no counter"),
        ("history/moment?text=soon", "'soon' is not a time"),
        ("history/moment?text=now&zone=Nowhere/..", "no such time zone"),
    ],
)
def test_a_mistake_about_a_time_is_explained(
    client: TestClient, recorded: Sequence[Tick], query: str, words: str
) -> None:
    answer = client.get(f"/api/v1/{query}")
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert words in answer.json()["detail"]


#: No time and no duration.
HOSTILE = (
    *(
        "",
        " ",
        "0",
        "-0",
        "-5",
        "1e5",
        "1e999",
        "0x10",
        "9" * 50,
        "9" * 101,
        "x" * 60_000,
        "-1s" * 30,
    ),
    *("NaN", "nan", "inf", "-inf", "null", "[]", "%", "{}", "soon", "24:00", "-999999999999w"),
    *("@-1", "@999999999999", "@8589934592", "9999999999", "9999-12-31 23:59:59", "0001-01-01"),
    *(
        "\0",
        "03:12\0",
        "now\n",
        "now\t",
        "\x1b[2J",
        "\u202e03:12",
        "\u0660\u0663:12",
        "1h\r\nSet-Cookie: a",
    ),
)


def given_as(value: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield each way to give a value as a time or a duration: a path, and its parameters."""
    for path in (*LISTS, "history/series"):
        if path in LISTS:
            yield path, {"at": value}
        yield path, {"since": value}
        yield path, {"since": f"{START}", "until": value}
    yield "history/series", {"since": f"{START}", "until": f"{START + 100}", "step": value}
    yield "history/moment", {"text": value}


@pytest.mark.usefixtures("recorded")
def test_what_is_no_time_is_a_mistake_in_a_line_wherever_it_is_given(client: TestClient) -> None:
    for value in HOSTILE:
        for path, given in given_as(value):
            answer = client.get(f"/api/v1/{path}", params=given)
            assert answer.status_code == 400, (path, given)
            assert answer.headers["content-type"] == "application/problem+json"
            detail = answer.json()["detail"]
            assert (detail.isprintable(), len(detail) < 250) == (True, True), detail


@pytest.mark.usefixtures("recorded")
def test_two_times_that_exclude_each_other_are_a_mistake_in_every_list(client: TestClient) -> None:
    since, until = f"since={START + 5}", f"until={START}"
    both = (f"{since}&{until}", f"{since}&until={START + 5}", until)
    for path in (*LISTS, "history/series"):
        for query in (*both, f"at={START}&{since}", f"at={START}&{until}"):
            answer = client.get(f"/api/v1/{path}?{query}")
            assert answer.status_code == 400, (path, query)
            assert "\n" not in answer.json()["detail"]


@pytest.mark.usefixtures("recorded")
def test_all_times_that_there_are_may_be_asked_for(
    client: TestClient, recorded: Sequence[Tick]
) -> None:
    every = f"since=@0&until=@{END_S - 1}"
    for path in LISTS:
        assert client.get(f"/api/v1/{path}?{every}").status_code == 200
    overview = client.get(f"/api/v1/overview?{every}").json()
    assert overview["totals"]["net_rx_bytes"] == total(recorded, 0, 301)["net_rx_bytes"]
    given = client.get(f"/api/v1/history/series?{every}&step={END_S - 1}").json()
    assert sum(filter(None, given["sums"]["net_rx_bytes"])) == overview["totals"]["net_rx_bytes"]


def test_a_time_is_read_in_the_browsers_zone(client: TestClient) -> None:
    def read(text: str, zone: str) -> dict[str, Any]:
        where = f"/api/v1/history/moment?text={text}&zone={zone}"
        found: dict[str, Any] = client.get(where).json()
        return found

    clock = "2026-09-21%2003:12"
    at = make.MONDAY + 3 * 3600 + 12 * 60
    assert read(clock, "UTC") == {"at": at, "remark": ""}
    assert read(clock, "Europe/Berlin") == {"at": at - 7200, "remark": ""}
    assert read("2025-10-26%2002:30", "Europe/Berlin")["remark"] == f"{TWICE}, 02:30+02:00"


@pytest.mark.usefixtures("berlin", "recorded")
@pytest.mark.parametrize(
    "path", ["processes", "files", "groups/users", "overview", "history/series"]
)
def test_a_time_that_is_not_plain_is_answered_with_a_remark(client: TestClient, path: str) -> None:
    for since, said in (("02:30", [f"since: {TWICE}, 02:30+02:00"]), ("01:30", [])):
        query = f"since=2025-10-26T{since}&until=2025-10-26T03:30"
        assert client.get(f"/api/v1/{path}?{query}").json()["remarks"] == said


@pytest.mark.usefixtures("berlin", "recorded")
def test_a_moment_that_is_not_plain_is_answered_with_a_remark(client: TestClient) -> None:
    shown = client.get("/api/v1/overview?at=2025-10-26T02:30").json()
    assert shown["remarks"] == [f"at: {TWICE}, 02:30+02:00"]
    assert "remarks" not in client.get("/api/v1/overview").json()


@pytest.mark.parametrize("query", ["processes?at=now", "history", "history/series?since=-1h"])
def test_without_a_history_the_past_is_a_problem_and_the_present_is_not(
    client: TestClient, query: str
) -> None:
    answer = client.get(f"/api/v1/{query}")
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert "cannot read the history" in answer.json()["detail"]
    state = client.get("/api/v1/history/state").json()
    assert state == {"kept": None, "why": answer.json()["detail"]}
    assert client.get("/api/v1/processes").status_code == 200


def test_a_page_in_the_past_shows_it_and_comes_back(
    page: Page, recorded: Sequence[Tick], feed: StillFeed, tell: Callable[[Any], None]
) -> None:
    live = page.wish()
    assert "past" not in live
    view = page.wish(since=START + 10, until=START + 90, units={"totals": True, "exact": True})
    expected = total(recorded, 10, 90)
    assert view["past"] == {
        "since_ms": (START + 10) * 1000,
        "until_ms": (START + 90) * 1000,
        "range": True,
        "sums": {name: expected[f"{name}_bytes"] for name in SERIES},
    }
    assert view["totals_text"]["net_rx"] == f"{expected['net_rx_bytes']:,}"
    tell(Arrived(None, snapshot(MESSAGES[2])))  # is not of the past
    chosen = page.wish(at=START + 50, selected=view["rows"][0]["key"])
    assert chosen["past"]["range"] is False
    detail = page.of_type("selected")
    assert detail["wish"] == chosen["wish"]
    assert "past" not in page.wish()
    assert page.of_type("history")["key"] is None  # the charts are filled again


def test_a_page_is_told_that_there_is_no_past_and_goes_on(page: Page) -> None:
    page.number += 1
    page.session.send_text(f'{{"wish": {page.number}, "at": {START}}}')
    told = page.of_type("no_past")
    assert told["wish"] == page.number
    assert "cannot read the history" in told["message"]
    assert page.wish()["rows"]


@pytest.mark.parametrize("time", [{"since": 5}, {"at": 5, "since": 1, "until": 2},
                                  {"since": 5, "until": 5}])  # fmt: skip
def test_half_a_time_is_a_mistake(page: Page, time: dict[str, int]) -> None:
    assert page.wish(**time)["type"] == "error"


def test_equal_times_share_a_snapshot(tmp_path: Path, recorded: Sequence[Tick]) -> None:
    reader = pasts.PastReader(tmp_path / "history")
    when = pasts.When(START + 10, START + 90)

    def shown() -> object:
        return reader._read(lambda source: reader._shown(source, when, flows=True))

    assert shown() is shown()
    reader.close()


def test_a_past_that_went_away_is_opened_again(tmp_path: Path, recorded: Sequence[Tick]) -> None:
    reader = pasts.PastReader(tmp_path / "history")

    def fails(_source: object) -> None:
        raise OSError(5, "Input/output error")

    with pytest.raises(PastError, match="Input/output error"):
        reader._read(fails)
    assert pasts.span_of(reader._read(lambda source: source.kept())) == (START, START + 300)
    reader.close()


def test_only_the_busiest_rows_are_named_where_there_are_too_many(
    client: TestClient, recorded: Sequence[Tick], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pasts, "MOST_ROWS", 5)
    given = client.get(f"/api/v1/processes?{span(0, 301)}").json()
    assert len(given[PROCESSES]) == 5
    overview = client.get(f"/api/v1/overview?{span(0, 301)}").json()
    assert "history: the 5 busiest rows only" in overview["health"]["reasons"]
    assert overview["totals"]["net_rx_bytes"] == total(recorded, 0, 301)["net_rx_bytes"]
