"""The rows: which is selected, what the views list and open, and in which order."""

from __future__ import annotations

import os

import pytest
from client_messages import message, process
from demo_world import messages
from tui_driver import THREE, Driver, rate, started, three

UID = os.geteuid()


@pytest.fixture
def world() -> Driver:
    return started(messages(6), width=120, height=40)


# --- selection ----------------------------------------------------------------------------------


def test_the_selection_stays_on_its_row_when_the_order_changes() -> None:
    driver = three()
    driver.type("down")
    assert "three" in driver.selected()
    driver.receive(message([rate(1, b"one", 900), *THREE[1:]], seq=3))
    assert driver.names() == ["one", "two", "three"]
    assert "three" in driver.selected()


def test_before_anything_is_selected_the_busiest_row_is() -> None:
    driver = three()
    assert "two" in driver.selected()
    driver.receive(message([rate(1, b"one", 900), *THREE[1:]], seq=3))
    assert "one" in driver.selected()


def test_when_the_selected_row_goes_its_neighbour_is_selected() -> None:
    driver = three()
    driver.type("down")
    driver.receive(message([THREE[0], THREE[1]], seq=3))
    assert "one" in driver.selected()


def test_a_reused_pid_is_another_row() -> None:
    driver = three()
    driver.type("end")
    assert "one" in driver.selected()
    again = rate(1, b"newcomer", 999.0, start_ns=5_000)
    driver.receive(message([THREE[1], THREE[2], again], seq=3))
    assert "newcomer" not in driver.selected()


def test_equal_rows_keep_their_order() -> None:
    rows = [process(pid, b"idle-%d" % pid) for pid in range(1, 9)]
    driver = started([message(rows, seq=2)])
    before = driver.names()
    driver.receive(message(rows, seq=3))
    assert driver.names() == before == [f"idle-{pid}" for pid in range(1, 9)]


@pytest.mark.parametrize(
    ("keys", "name"),
    [
        (["down"], "p01"),
        (["j", "j", "k"], "p01"),
        (["ctrl n", "ctrl n", "ctrl p"], "p01"),
        (["end"], "p49"),
        (["G"], "p49"),
        (["end", "home"], "p00"),
        (["G", "g"], "p00"),
        (["page down"], "p10"),
        (["page down", "page down", "page up"], "p10"),
        (["ctrl v"], "p10"),
        (["ctrl f", "meta v"], "p00"),
        (["up"], "p00"),
    ],
)
def test_movements_of_arrows_vi_and_emacs(keys: list[str], name: str) -> None:
    rows = [rate(pid + 1, b"p%02d" % pid, 1000.0 - pid) for pid in range(50)]
    driver = started([message(rows, seq=2)])
    driver.draw()
    driver.type(*keys)
    assert name in driver.selected()
    assert name in driver.text()


# --- views --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "view", "first"),
    [
        ("1", "processes", "backup"),
        ("2", "programs", "backup"),
        ("3", "users", "root"),
        ("4", "units", "backup.service"),
        ("5", "connections", "198.51.100.7:873"),
        ("6", "hosts", "198.51.100.7"),
        ("7", "ports", "873"),
        ("8", "files", "archive-2026.tar"),
        ("9", "tree", "systemd"),
    ],
)
def test_every_view_has_a_key(world: Driver, key: str, view: str, first: str) -> None:
    world.type(key)
    tab = next(text for role, text in world.roles(4) if role == "tab on")
    assert view in tab
    assert first in world.rows()[0]


def test_tab_goes_through_the_views_and_around(world: Driver) -> None:
    seen = []
    for _ in range(9):
        world.type("tab")
        seen.append(world.app.state.position.view.name)
    assert len(set(seen)) == 9
    assert seen[-1] == "processes"
    world.type("shift tab")
    assert world.app.state.position.view.name == "tree"


def test_a_group_sums_its_members_and_opens_to_them(world: Driver) -> None:
    world.type("3")
    names = [line.split()[0] for line in world.rows()]
    for _ in range(names.index("postgres")):
        world.type("down")
    assert world.selected().split()[:3] == ["postgres", "70", "2"]
    world.type("enter")
    assert "users: postgres" in world.lines()[4]
    assert set(world.names()) == {"postgres"}
    world.type("esc")
    assert "postgres" in world.selected()


def test_containers_are_grouped_beside_units() -> None:
    driver = started(messages(3), width=200, height=50)
    driver.type("4")
    row = next(row for row in driver.rows() if "shop-app" in row)
    assert "registry.example/shop/ap" in row


def test_a_container_without_a_name_has_its_id_as_its_own_tools_write_it() -> None:
    container = b"docker:3f9c1d2ab47e" + b"0" * 52
    pod = {"container_name": b"web", "pod": b"shop-7d9f", "namespace": b"store"}
    rows = [process(1, b"one", container=container),
            process(2, b"two", container=b"cri:" + b"1" * 64, **pod),
            process(3, b"three", container=b"podman:" + b"2" * 64, container_name=b"db"),
            ]  # fmt: skip
    driver = started([message(rows, [], [], seq=1)], width=300, height=50)
    for name, shown in (("one", "docker:3f9c1d2ab47e"), ("two", "store/shop-7d9f/web"),
                        ("three", "db")):  # fmt: skip
        row = next(row for row in driver.rows() if f" {name} " in row)
        assert shown in row.split()
    driver.type("4")
    assert {row.split()[0] for row in driver.rows()} == {
        "docker:3f9c1d2ab47e", "store/shop-7d9f/web", "db"
    }  # fmt: skip


def test_a_container_is_found_by_its_name_its_image_and_its_pod() -> None:
    rows = [process(1, b"one", container=b"cri:" + b"1" * 64, container_name=b"web",
                    image=b"registry.example/shop:1", pod=b"shop-7d9f", namespace=b"store"),
            process(2, b"two")]  # fmt: skip
    for words in ("web", "registry.example", "shop-7d9f", "store", "container_name = web",
                  "image ~ shop:1 and pod = shop-7d9f", "namespace in (store)"):  # fmt: skip
        driver = started([message(rows, [], [], seq=1)], width=300)
        driver.type("/", *words, "enter")
        assert driver.names() == ["one"], words


def test_ports_are_the_services(world: Driver) -> None:
    world.type("7")
    text = "\n".join(world.rows())
    assert any(row.split()[:2] == ["tcp", "443"] and " in " in row for row in world.rows())
    assert any(row.split()[:2] == ["tcp", "443"] and " out " in row for row in world.rows())
    assert "unix sockets" in text


def test_opening_a_process_fills_the_screen_with_its_details(world: Driver) -> None:
    world.type("enter")
    assert not any("PID USER" in line for line in world.lines())
    assert "── backup 28700" in world.text()
    world.type("esc")
    assert any("PID USER" in line for line in world.lines())


def test_the_tree_shows_children_under_their_parents(world: Driver) -> None:
    world.type("t")
    rows = world.rows()
    cron = next(at for at, row in enumerate(rows) if row.split()[-1:] and "├ cron" in row)
    assert "│ └ backup" in rows[cron + 1]
    world.type("t")
    assert world.app.state.position.view.name == "processes"


def test_a_filter_keeps_the_ancestors_in_the_tree(world: Driver) -> None:
    world.type("9", "/")
    world.write("git")
    world.type("enter")
    shown = "\n".join(world.rows())
    assert "bash" in shown
    assert "redis" not in shown


def test_flows_are_asked_for_only_by_views_that_show_them() -> None:
    driver = three()
    driver.type("down")
    assert not driver.source.requests[-1].flows
    assert driver.source.requests[-1].pid == 3
    driver.type("5")
    assert driver.source.requests[-1].flows
    assert "connections arrive with the next snapshot" in driver.text()
    driver.type("1", "d")
    assert driver.source.requests[-1].pid is None


# --- order --------------------------------------------------------------------------------------


def test_s_and_arrows_change_the_sort_column_and_r_reverses() -> None:
    driver = three()
    driver.draw()
    assert "▼ busiest" in driver.lines()[0]
    driver.type("s")
    assert driver.names() == ["three", "two", "one"]
    assert "▼ pid" in driver.lines()[0]
    driver.type("right", "right")
    assert "▲ name" in driver.lines()[0]
    assert driver.names() == ["one", "three", "two"]
    driver.type("r")
    assert "▼ name" in driver.lines()[0]
    assert driver.names() == ["two", "three", "one"]
    driver.type("left", "left", "left")
    assert "▼ busiest" in driver.lines()[0]


def test_a_click_on_a_title_sorts_and_another_reverses() -> None:
    driver = three()
    x = driver.lines()[5].index("NAME")
    driver.click(x, 5)
    assert driver.names() == ["one", "three", "two"]
    driver.click(x, 5)
    assert driver.names() == ["two", "three", "one"]


def test_o_shows_only_rows_that_move() -> None:
    driver = started([message([*THREE, process(4, b"idle")], seq=2)])
    assert len(driver.rows()) == 4
    driver.type("o")
    assert driver.names() == ["two", "three", "one"]
    assert "active only" in driver.lines()[0] or "3 of 4" in driver.lines()[-1]


def test_pinned_rows_stay_at_the_top() -> None:
    driver = three()
    driver.type("end", "p")
    assert driver.names() == ["one", "two", "three"]
    assert driver.rows()[0].startswith("•")
    driver.receive(message(THREE, seq=3))
    assert driver.names()[0] == "one"
    driver.type("p")
    assert driver.names() == ["two", "three", "one"]
