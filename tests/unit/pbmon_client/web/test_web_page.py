"""The page's WebSocket: wishes and what answers them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect
from web_client import MESSAGES, SOCKET, Page, StillFeed, snapshot

from pbmon_client.present.arrange import ViewQuery, arrange
from pbmon_client.present.views import BY_NAME, VIEWS
from pbmon_client.web import desk, screen
from pbmon_client.web import house as houses
from pbmon_client.web.house import House
from pbmon_client.web.json_text import WrittenJson, json_of
from pbmon_client.web.receiver import Arrived, Silence

Tell = Callable[[Any], None]


def column(view: dict[str, Any], columns: list[dict[str, Any]], name: str) -> list[str]:
    at = [each["name"] for each in columns].index(name)
    return [row["cells"][at] for row in view["rows"]]


@pytest.mark.parametrize("name", [view.name for view in VIEWS])
def test_a_view_lists_what_the_terminal_lists(page: Page, name: str) -> None:
    view = page.wish(view=name)
    found = arrange(snapshot(MESSAGES[1]), ViewQuery(BY_NAME[name]))
    assert found is not None
    assert view["count"] == len(found.order)
    assert len(view["rows"]) == len(found.order)
    assert [each["name"] for each in view["columns"]] == [c.name for c in BY_NAME[name].columns]
    for row in view["rows"]:
        assert len(row["cells"]) == len(row["tones"]) == len(view["columns"])
    assert len({row["key"] for row in view["rows"]}) == len(view["rows"])


def test_only_the_rows_in_the_window_are_sent(page: Page) -> None:
    whole = page.wish()
    part = page.wish(window={"first": 3, "count": 2})
    assert part["first"] == 3
    assert part["rows"] == whole["rows"][3:5]
    assert "columns" not in part  # sent once
    end = page.wish(window={"first": 1000, "count": 4})
    assert end["first"] == end["count"] - 4
    assert end["rows"] == whole["rows"][-4:]


def test_a_wish_sorts_filters_and_pins(page: Page) -> None:
    view = page.wish(columns=["pid", "exe", "net_tx_calls"], sort="pid", reverse=True)
    pids = list(map(int, column(view, view["columns"], "pid")))
    assert pids == sorted(pids)
    key = view["rows"][-1]["key"]
    pinned = page.wish(columns=["pid", "exe", "net_tx_calls"], sort="pid", pinned=[key])
    assert pinned["pinned"] == 1
    assert pinned["rows"][0]["key"] == key
    words = page.wish(filter="nginx worker")
    assert words["count"] == 2
    assert words["of"] == view["of"]


def test_within_a_group_only_its_members_are_listed(page: Page) -> None:
    users = page.wish(view="users")
    key = users["rows"][0]["key"]
    label = users["rows"][0]["cells"][0]
    inside = page.wish(view="processes", within=[{"view": "users", "key": key}])
    assert inside["within"] == [{"view": "users", "key": key, "label": label}]
    assert set(column(inside, inside["columns"], "user")) == {label}


def test_a_selection_has_facts_flows_and_history(page: Page) -> None:
    key = page.wish(filter="pid = 1202")["rows"][0]["key"]
    view = page.wish(selected=key)
    assert view["rows"][view["selected_index"]]["key"] == key
    selected = page.of_type("selected")
    assert selected["title"] == "nginx"
    assert not selected["gone"]
    assert {"label": "user", "text": "www-data"} in selected["facts"]
    assert selected["connections"]["count"] == len(selected["connections"]["rows"]) == 3
    assert selected["files"]["count"] == 2
    history = page.until(lambda m: m["type"] == "history" and m["key"] == key)
    assert len(history["t_ms"]) == len(history["net_rx"]) == len(history["file_write"]) > 0
    assert history["t_ms"][-1] == selected["point"]["t_ms"]


@pytest.mark.parametrize("name", [view.name for view in VIEWS])
def test_every_row_can_be_selected(page: Page, name: str) -> None:
    for row in page.wish(view=name)["rows"]:
        page.wish(view=name, selected=row["key"])
        selected = page.of_type("selected")
        assert selected["key"] == row["key"]
        assert not selected["gone"]
        assert selected["title"]
        assert selected["facts"]


@pytest.mark.parametrize(
    "key", ["", "x", "AAAA", "kw", "ks0VGc8AAATphK-6AA", "é", "wA", "gA", "k8DAwA"]
)
@pytest.mark.parametrize("name", [view.name for view in VIEWS])
def test_a_key_of_no_row_selects_nothing(page: Page, key: str, name: str) -> None:
    """As in an old link."""
    view = page.wish(view=name, selected=key, pinned=[key])
    assert view["selected_index"] is None
    assert view["pinned"] == 0
    assert page.of_type("selected")["gone"]
    for outer in VIEWS:
        inside = page.wish(view=name, within=[{"view": outer.name, "key": key}])
        assert inside["count"] == 0


def test_a_new_snapshot_is_shown_by_itself(page: Page, tell: Tell) -> None:
    first = page.wish()
    assert page.of_type("history")["key"] is None
    tell(Arrived(None, snapshot(MESSAGES[2])))
    second = page.of_type("view")
    assert second["seq"] == first["seq"] + 1
    assert second["wish"] == first["wish"]
    assert second["point"]["t_ms"] == second["time_ms"]


def test_a_paused_page_keeps_its_snapshot_and_may_still_scroll(page: Page, tell: Tell) -> None:
    first = page.wish(paused=True)
    tell(Arrived(None, snapshot(MESSAGES[2])))
    assert page.wish(paused=True, sort="pid")["seq"] == first["seq"]
    assert page.wish(paused=False)["seq"] == first["seq"] + 1


def test_few_snapshots_are_kept_for_paused_pages(house: House) -> None:
    kept = [snapshot(MESSAGES[at % 3]) for at in range(8)]
    numbers = [house.pauses.hold(each) for each in kept]
    assert [house.pauses.snapshot(number) is not None for number in numbers] == [False] * 4 + [
        True
    ] * 4
    again = house.pauses.hold(kept[-1])
    house.pauses.release(numbers[-1])
    assert house.pauses.snapshot(again) is kept[-1]
    for number in [*numbers, again]:
        house.pauses.release(number)
    assert not any(house.pauses.snapshot(number) for number in numbers)


def test_a_wrong_filter_leaves_the_view_as_it_was(page: Page, tell: Tell) -> None:
    good = page.wish(filter="nginx")
    wrong = page.wish(filter="  pid ~ 1")
    assert wrong["type"] == "error"
    assert wrong["message"] == "~ is for text, and pid is not text"
    assert wrong["position"] == {"start": 8, "end": 9}
    tell(Arrived(None, snapshot(MESSAGES[2])))
    assert page.of_type("view")["wish"] == good["wish"]


@pytest.mark.parametrize(
    "wish", [{"view": "nonsense"}, {"sort": "nonsense"}, {"columns": ["nonsense"]},
             {"view": "users", "sort": "exe"}]
)  # fmt: skip
def test_what_does_not_exist_is_an_error_and_no_end(page: Page, wish: dict[str, Any]) -> None:
    assert page.wish(**wish)["type"] == "error"
    assert page.wish()["type"] == "view"


@pytest.mark.parametrize(
    "frame", ["", "x", "[]", "7", "null", "{}", '{"wish":"1"}', '{"wish":true}', '{"wish":1e400}',
              '{"wish":1,"view":7}', '{"wish":1,"filter":"\\ud800"}', '{"wish":1,"window":[]}',
              '{"wish":1,"window":{"first":-1}}', '{"wish":1,"hidden":"net"}',
              '{"wish":1,"within":[1]}',
              '{"wish":1,"units":{"bits":1}}', '{"wish":1,"pinned":[null]}', "[" * 30_000,
              '{"wish":1,"within":[{"view":"x","key":"y"}]}', '{"wish":1,"detail":7}',
              '{"wish":1,"window":{"count":1.5}}', '{"wish":1,"sort":["a"]}',
              '{"wish":1,"paused":0}'],
)  # fmt: skip
def test_a_frame_that_is_no_wish_ends_the_socket(page: Page, frame: str) -> None:
    page.session.send_text(frame)
    with pytest.raises(WebSocketDisconnect) as end:
        page.session.receive_text()
    assert end.value.code == 1008
    assert end.value.reason


def test_a_binary_frame_that_is_no_text_ends_the_socket(page: Page) -> None:
    page.session.send_bytes(b"\xff\xfe")
    with pytest.raises(WebSocketDisconnect):
        page.session.receive_text()


def test_while_the_daemon_is_away_the_page_hears_since_when(page: Page, tell: Tell) -> None:
    page.wish()
    tell(Silence(1_780_000_000_000, "pbmond is not running"))
    assert page.of_type("away") == {
        "type": "away",
        "since_ms": 1_780_000_000_000,
        "message": "pbmond is not running",
    }
    assert page.wish(sort="pid")["seq"] == MESSAGES[1].seq  # the last there was
    restarted = dataclasses.replace(MESSAGES[2], epoch="another run", seq=1)
    tell(Arrived(None, snapshot(restarted)))
    assert page.of_type("view")["epoch"] == "another run"
    assert page.of_type("history")["key"] is None  # charts are filled again


def test_views_of_flows_are_subscribed_to_only_when_they_are_shown(
    page: Page, feed: StillFeed
) -> None:
    page.wish()
    assert not any(demand.flows for demand in feed.demands)
    page.wish(view="hosts")
    assert feed.demands[-1].flows
    page.wish(filter="remote_port = 443")
    assert feed.demands[-1].flows


def test_equal_wishes_share_one_arrangement(
    client: TestClient, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    arranged: list[Any] = []

    def counting(*given: Any) -> Any:
        arranged.append(given)
        return arrange(*given)

    monkeypatch.setattr(desk, "arrange", counting)
    wish = json.dumps({"wish": 1, "filter": "nginx", "sort": "net_tx"})
    for _page in range(5):
        with client.websocket_connect(f"{SOCKET}/page") as session:
            session.send_text(wish)
            assert json.loads(session.receive_text())["count"] == 3
    assert len(arranged) == 1


def rows_of(client: TestClient, **wish: Any) -> Any:
    """Return the rows that a page of its own is sent."""
    with client.websocket_connect(f"{SOCKET}/page") as session:
        return Page(session).wish(**wish)["rows"]


def test_pages_that_show_the_same_rows_share_their_text(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever else they show, such as another selection."""
    wish = {"filter": "nginx", "sort": "net_tx", "detail": None}
    written: list[Any] = []

    def counting(value: Any) -> WrittenJson:
        written.append(value)
        return json_of(value)

    monkeypatch.setattr(screen, "json_of", counting)
    first = rows_of(client, **wish)
    count = len(written)
    assert count > 0
    for row in first:
        assert rows_of(client, **wish, selected=row["key"]) == first
    assert len(written) == count


def test_pages_that_show_other_things_of_the_same_rows_do_not_share_them(
    client: TestClient,
) -> None:
    shown = [
        rows_of(client, filter="nginx", sort="pid"),
        rows_of(client, filter="nginx", sort="pid", units={"bits": True}),
        rows_of(client, filter="nginx", sort="pid", units={"totals": True}),
        rows_of(client, filter="nginx", sort="pid", columns=["pid", "net_tx"]),
        rows_of(client, filter="nginx", sort="pid", window={"first": 0, "count": 2}),
        rows_of(client, filter="nginx", sort="pid", reverse=True),
    ]
    assert len({json.dumps(rows) for rows in shown}) == len(shown)


def test_the_totals_of_pages_with_other_units_are_their_own(page: Page) -> None:
    short = page.wish()["totals_text"]
    exact = page.wish(units={"exact": True})["totals_text"]
    assert short["net_rx"] != exact["net_rx"]
    assert page.wish()["totals_text"] == short


def test_a_page_may_show_no_columns_and_gets_the_keys_of_its_rows(page: Page) -> None:
    whole = page.wish()["rows"]
    rows = page.wish(columns=[])["rows"]
    assert [row["key"] for row in rows] == [row["key"] for row in whole]
    assert {(*row["cells"], row["tones"]) for row in rows} == {("",)}


def test_one_page_too_many_is_sent_away(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(houses, "MOST_SEATS", 1)
    with client.websocket_connect(f"{SOCKET}/page"):
        for path in ("page", "ws"):
            with client.websocket_connect(f"{SOCKET}/{path}") as second:
                with pytest.raises(WebSocketDisconnect) as end:
                    second.receive_text()
                assert end.value.code == 1013
        assert client.get("/api/v1/stream").status_code == 503
    with client.websocket_connect(f"{SOCKET}/page") as third:
        third.send_text('{"wish": 1}')
        assert json.loads(third.receive_text())["type"] == "view"


def test_the_rows_of_a_stream_are_those_of_ndjson(client: TestClient, tell: Tell) -> None:
    with client.websocket_connect(f"{SOCKET}/ws?flows=true") as session:
        first = json.loads(session.receive_text())
        assert {"processes", "connections", "files", "health", "retired"} <= first.keys()
        assert first["seq"] == MESSAGES[1].seq
        tell(Arrived(None, snapshot(MESSAGES[2])))
        assert json.loads(session.receive_text())["seq"] == MESSAGES[2].seq


@pytest.mark.parametrize(
    "query",
    ["filter=pid+~+1", "top=0", "flows=x", "sort=nonsense", "nme=1", "top=1&top=2"],
)
def test_a_stream_refuses_wrong_parameters(client: TestClient, query: str) -> None:
    with (
        pytest.raises(WebSocketDenialResponse) as refusal,
        client.websocket_connect(f"{SOCKET}/ws?{query}"),
    ):
        pass
    assert refusal.value.status_code == 400
    assert refusal.value.json()["parameter"]
