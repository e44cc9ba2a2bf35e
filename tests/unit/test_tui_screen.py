"""Keys typed at the interface and the screens that urwid draws for them."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from client_messages import flow, message, process
from demo_world import messages
from tui_driver import Driver, started

from pbmon_client.tui.app import Copy, Quit
from pbmon_client.tui.settings import Settings
from pbmond import wire

UID = os.geteuid()


def rate(pid: int, name: bytes, bytes_per_s: float, **fields: Any) -> dict[str, Any]:
    """Make a process that sends."""
    return process(
        pid, name, net_tx_bytes_per_s=bytes_per_s, net_tx_bytes=int(bytes_per_s * 10), **fields
    )


THREE = [rate(1, b"one", 100.0), rate(2, b"two", 300.0), rate(3, b"three", 200.0)]


def three(**options: Any) -> Driver:
    return started([message(THREE, seq=2)], **options)


@pytest.fixture
def world() -> Driver:
    return started(messages(6), width=120, height=40)


# --- the screen ---------------------------------------------------------------------------------


def test_at_80x24_name_pid_net_and_file_columns_are_all_visible() -> None:
    titles = three().lines()[4]
    for title in ("PID", "NAME", "NET RX", "NET TX", "FILE R", "FILE W"):
        assert title in titles


@pytest.mark.parametrize("size", [(60, 15), (60, 24), (72, 18), (80, 24), (140, 45), (300, 100)])
def test_every_line_fills_the_screen_at_any_size(size: tuple[int, int]) -> None:
    driver = started(messages(3), width=size[0], height=size[1])
    for key in ("down", "4", "5", "6", "7", "8", "9", "enter", "esc", "?", "esc", "/"):
        driver.type(key)
        widths = {len(line.decode()) for line in driver.draw().text}
        assert widths == {size[0]}, key


def test_narrow_screens_drop_columns_by_importance() -> None:
    narrow, wide = three(width=60).lines()[4], three(width=200, height=50).lines()[4]
    assert "DISK" not in narrow
    assert "FILE W" in narrow
    assert "CMDLINE" in wide


def test_traffic_without_a_column_shows_in_a_sum() -> None:
    local = process(1, b"local", loopback_rx_bytes_per_s=2e6, pipe_write_bytes_per_s=3e6,
                    loopback_rx_bytes=7)  # fmt: skip
    driver = started([message([local, rate(2, b"sender", 100.0)], seq=2)])
    assert driver.lines()[4].endswith("OTHER")
    assert [row.split()[-1] for row in driver.rows()] == ["5.0M", "·"]
    driver.type("a")
    assert next(row for row in driver.rows() if "local" in row).split()[-1] == "7"
    wide = started([message([local], seq=2)], width=300, height=50)
    assert "OTHER" not in wide.text()
    driver.app.state.settings.hidden[""] = ["loopback"]
    driver.type("a")
    assert [row.split()[-1] for row in driver.rows()] == ["3.0M", "·"]


def test_the_sum_of_others_is_no_column_to_sort_by() -> None:
    driver = three()
    title = driver.lines()[4].index("OTHER")
    driver.click(title, 4)
    assert "▼ busiest" in driver.lines()[0]
    seen = set()
    for _ in range(9):
        driver.type("s")
        seen.add(driver.app.state.sort_of(driver.app.state.place.view)[0])
    assert "other" not in seen


def test_a_terminal_that_is_too_small_says_so_and_does_not_fail() -> None:
    assert three(width=12, height=4).lines()[0].strip() == "too small"


def test_the_header_shows_host_clock_interval_scope_and_health(world: Driver) -> None:
    first = world.lines()[0]
    for part in ("web-1", ":26:45", "every 1 s", "bytes/s", "every user", "complete"):
        assert part in first


def test_the_detail_pane_shows_curves_connections_files_and_attributes(world: Driver) -> None:
    text = world.text()
    assert "── backup 28700 ──" in text
    for part in ("198.51.100.7:873", "archive-2026.tar", "backup.service", "/usr/local/bin/backup"):
        assert part in text
    world.type("d")
    assert "── backup" not in world.text()


def test_curves_of_a_process_are_the_daemons_once_they_came() -> None:
    driver = three(height=30)
    assert "█" not in driver.lines()[-8]
    curve = [None, 5.0, 300.0]
    history = dict.fromkeys(wire.HISTORY, curve)
    driver.detail(message([THREE[1]], [], [], seq=2, history=history))
    heading = next(at for at, line in enumerate(driver.lines()) if "── two 2" in line)
    assert "▁█" in driver.lines()[heading + 1]


def test_an_opened_row_shows_its_attributes_whole() -> None:
    command = b"\0".join(b"--option-%d=value" % number for number in range(20))
    row = rate(1, b"one", 5.0, cmdline=command, exe=b"/usr/bin/one", cgroup=b"/a.slice/b.service",
               unit=b"b.service", container=b"docker:" + b"f" * 64)  # fmt: skip
    driver = started([message([row], [], [], seq=2)], height=40)
    driver.type("enter")
    text = driver.text()
    assert "--option-19=value" in text
    for label, value in (("exe", "/usr/bin/one"), ("cgroup", "/a.slice/b.service"),
                         ("unit", "b.service"), ("user", "mara"), ("container", "docker:fff"),
                         ("started", "22:13:20")):  # fmt: skip
        assert any(line.split()[:1] == [label] and value in line for line in driver.lines()), label


def test_facts_stay_where_they_are_while_an_age_grows() -> None:
    row = rate(1, b"one", 5.0, cmdline=b"one", unit=b"one.service", start_ns=1_000_000_000)

    def column(seconds: int) -> int:
        now_ns = (1 + seconds) * 10**9
        driver = started([message([row], [], [], seq=2, now_ns=now_ns)], width=120)
        return next(line for line in driver.lines() if "runs one" in line).index("one.service")

    assert {column(seconds) for seconds in (5, 59, 60, 61, 3599, 3600)} == {column(10)}


def test_curves_tell_their_highest_value_where_there_is_room() -> None:
    driver = three(width=200, height=50)
    history = {name: [7_000.0, 300.0] for name in wire.HISTORY}
    driver.detail(message([THREE[1]], [], [], seq=2, history=history))
    assert driver.text().count("max   7.0K") == 4


def test_the_footer_has_the_keys_of_what_is_shown(world: Driver) -> None:
    assert "sort" in world.lines()[-1]
    world.type("enter")
    assert world.lines()[-1].split()[:2] == ["Esc", "back"]
    assert "scroll" in world.lines()[-1]
    assert "sort" not in world.lines()[-1]
    world.type("esc", "4", "enter", " ")
    assert world.lines()[-1].split()[:2] == ["Esc", "back"]
    assert "Space go on" in world.lines()[-1]


@pytest.mark.parametrize(
    ("interval_s", "shown"), [(0.9, "1 s"), (1.1, "1 s"), (0.5, "0.5 s"), (4.97, "5 s")]
)
def test_a_jittering_interval_stands_still(interval_s: float, shown: str) -> None:
    driver = started([message(THREE, seq=2, interval_ns=round(interval_s * 1e9))])
    assert f"every {shown} " in driver.lines()[0]


def test_a_narrow_header_keeps_host_clock_interval_and_sort() -> None:
    driver = three(width=60, height=15)
    assert " ".join(driver.lines()[1].split()) == "net in · out 600 file read · write ·"
    first = driver.lines()[0]
    for part in ("host", "22:13:22", "every 1 s", "▼ busiest", "every user", "complete"):
        assert part in first
    long = started([message(THREE, seq=2, host="h" * 60)], width=60, height=15).lines()[0]
    assert "h…  22:13:22" in long


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
        (["page down"], "p11"),
        (["page down", "page down", "page up"], "p11"),
        (["ctrl v"], "p11"),
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
        seen.append(world.app.state.place.view.name)
    assert len(set(seen)) == 9
    assert seen[-1] == "processes"
    world.type("shift tab")
    assert world.app.state.place.view.name == "tree"


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


def test_containers_are_grouped_beside_units(world: Driver) -> None:
    world.type("4")
    assert any("docker:3f9c1d2ab47e" in row for row in world.rows())


def test_a_container_is_named_as_its_own_tools_do() -> None:
    driver = started(messages(3), width=300, height=50)
    row = next(row for row in driver.rows() if "gunicorn" in row)
    assert " docker:3f9c1d2ab47e " in row


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
    assert world.app.state.place.view.name == "processes"


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
    assert not driver.source.wants[-1].flows
    assert driver.source.wants[-1].pid == 3
    driver.type("5")
    assert driver.source.wants[-1].flows
    assert "connections come with the next snapshot" in driver.text()
    driver.type("1", "d")
    assert driver.source.wants[-1].pid is None


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
    x = driver.lines()[4].index("NAME")
    driver.click(x, 4)
    assert driver.names() == ["one", "three", "two"]
    driver.click(x, 4)
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


# --- numbers ------------------------------------------------------------------------------------


def test_a_b_and_e_change_how_traffic_is_written() -> None:
    driver = started([message([rate(1, b"one", 12_345_678.0)], seq=2)])
    assert "12.3M" in driver.rows()[0]
    driver.type("b")
    assert "98.8M" in driver.rows()[0]
    driver.type("b", "B")
    assert "11.8M" in driver.rows()[0]
    assert "1024" in driver.lines()[0]
    driver.type("B", "a")
    assert "123M" in driver.rows()[0]
    assert "bytes in all" in driver.lines()[0]
    driver.type("e")
    assert "123,456,780" in driver.rows()[0]


def test_classes_and_columns_can_be_hidden() -> None:
    driver = three()
    driver.type("C", "down", " ", "esc")
    assert "FILE" not in driver.lines()[4]
    assert "DISK W" in driver.lines()[4]
    driver.type("f2", "down", " ", "esc")
    assert "FILE" in driver.lines()[4]


def test_a_hidden_class_hides_its_connections(world: Driver) -> None:
    world.type("5")
    assert any("127.0.0.1" in row for row in world.rows())
    world.app.state.settings.hidden[""] = ["loopback"]
    assert not any("127.0.0.1" in row for row in world.rows())


def test_c_shows_command_lines_instead_of_names() -> None:
    driver = started([message([process(1, b"one", cmdline=b"/bin/one\0--fast")], seq=2)])
    driver.type("c")
    assert "/bin/one --fast" in driver.rows()[0]


def test_names_of_hosts_and_services_show_once_they_are_asked_for(world: Driver) -> None:
    state = world.app.state
    state.name_of = {"198.51.100.7": "vault.example.net"}.get
    state.service_of = lambda _protocol, port: {873: "rsync"}.get(port)
    world.type("5")
    assert "vault" not in world.text()
    world.type("n")
    assert "vault.example.net:rsync" in world.rows()[0]


# --- the filter ---------------------------------------------------------------------------------


def test_words_match_while_they_are_typed_and_esc_clears() -> None:
    driver = three()
    driver.type("/")
    driver.write("t")
    assert driver.names() == ["two", "three"]
    driver.write("h")
    assert driver.names() == ["three"]
    assert driver.cursor() == (len(" filter: th"), 23)
    driver.type("enter")
    assert "filter th" in driver.lines()[-1]
    driver.type("esc")
    assert len(driver.rows()) == 3


def test_an_expression_of_the_command_line_filters_every_view(world: Driver) -> None:
    world.type("/")
    world.write("user = mara and net_rx_bytes_per_s > 1M")
    world.type("enter")
    assert world.names() == ["git"]
    world.type("5")
    assert ["203.0.113.140:443" in row for row in world.rows()] == [True]
    world.type("2")
    assert [row.split()[0] for row in world.rows()] == ["git"]


def test_an_unfinished_expression_keeps_the_last_matches_and_says_what_is_missing() -> None:
    driver = three()
    driver.type("/")
    driver.write("t")
    driver.write(" =")
    assert driver.names() == ["two", "three"]
    assert "no field" in driver.lines()[-1] or "expected" in driver.lines()[-1]
    driver.type("enter")
    assert len(driver.rows()) == 3


def test_the_filter_line_is_edited_as_emacs_does() -> None:
    driver = three()
    driver.type("/")
    driver.write("xwo")
    driver.type("ctrl a", "delete", "t", "ctrl e", "backspace", "ctrl u")
    assert driver.app.state.typed == ""
    driver.write("one two")
    driver.type("ctrl w", "left", "ctrl k")
    assert driver.app.state.typed == "one"


def test_keys_of_the_table_are_text_in_the_filter_line() -> None:
    driver = three()
    driver.type("/")
    driver.write("q?p ")
    assert driver.app.state.typed == "q?p "
    assert not driver.app.state.pinned


def test_no_matches_say_so() -> None:
    driver = three()
    driver.type("/")
    driver.write("nobody")
    assert "no row of 3 matches" in driver.text()
    assert "0 of 3" in driver.lines()[-1]


def test_a_filter_on_connections_asks_for_them_in_the_process_view() -> None:
    driver = three()
    driver.type("/")
    driver.write("remote_port = 443")
    driver.type("enter")
    assert driver.source.wants[-1].flows
    connection = flow(2, family=2, remote_port=443)
    driver.receive(message(THREE, [connection], [], seq=3))
    assert driver.names() == ["two"]


# --- pause and interval -------------------------------------------------------------------------


def test_a_paused_screen_freezes_whole_while_data_go_on() -> None:
    driver = three()
    driver.type(" ")
    before = driver.lines()
    driver.wait(12)
    driver.receive(message([rate(9, b"late", 10**9)], seq=3))
    after = driver.lines()
    assert "PAUSED 12 s" in after[0]
    assert after[1:] == before[1:]
    driver.type("a")
    assert driver.names() == ["two", "three", "one"]
    driver.type("a", " ")
    assert driver.names() == ["late"]


def test_plus_and_minus_change_the_interval_of_display() -> None:
    driver = three()
    driver.type("+")
    assert driver.source.wants[-1].interval_s == 2.0
    assert "every 2 s" in driver.lines()[0]
    driver.type("+", "-", "-", "-")
    assert driver.source.wants[-1].interval_s is None


# --- other keys ---------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["?", "h", "f1"])
def test_the_help_lists_the_keys_and_scrolls(key: str) -> None:
    driver = three()
    driver.type(key)
    assert "keys" in driver.text()
    assert "row up" in driver.text()
    driver.type("end")
    assert "this help" in driver.text()
    assert "wheel" in driver.text()
    driver.type("esc")
    assert "row up" not in driver.text()


@pytest.mark.parametrize("key", ["q", "f10", "ctrl c"])
def test_quit_quits(key: str) -> None:
    assert three().app.key(key, 0.0) == [Quit()]


def test_y_copies_the_row_as_json_of_the_contract() -> None:
    effects = three().app.key("y", 0.0)
    assert isinstance(effects[0], Copy)
    row = json.loads(effects[0].text)
    assert (row["pid"], row["name"], row["net_tx_bytes"]) == (2, "two", 3000)
    assert row.keys() >= wire.PROCESS.keys() | {"user"}


def test_the_copied_row_reaches_the_terminal_as_osc_52() -> None:
    driver = three()
    driver.screen.term = "xterm-256color"
    driver.type("y")
    assert "\x1b]52;c;" in driver.screen.written.getvalue()


def test_a_signal_is_sent_only_after_a_question() -> None:
    driver = three()
    driver.type("f9")
    if UID not in (0, 1000):
        assert "not your process" in driver.text()
        return
    assert "Send a signal to two (2)?" in driver.text()
    driver.type("n")
    assert "Send a signal" not in driver.text()


def test_the_answer_to_the_question_names_the_process_by_its_identity() -> None:
    own = rate(77, b"mine", 5.0, uid=UID, start_ns=123_000)
    driver = started([message([own], seq=2)])
    driver.app.key("K", 0.0)
    kill = driver.app.key("enter", 0.0)[0]
    assert (kill.pid, kill.start_ns, kill.number) == (77, 123_000, 15)  # type: ignore[union-attr]


def test_moving_with_vi_keys_answers_no_question() -> None:
    own = rate(77, b"mine", 5.0, uid=UID)
    driver = started([message([own], seq=2)])
    assert not [effect for key in "Kkkjjq" for effect in driver.app.key(key, 0.0)]
    driver.app.key("K", 0.0)
    driver.app.key("j", 0.0)
    kill = driver.app.key("enter", 0.0)[0]
    assert kill.number == 2  # type: ignore[union-attr]


def test_an_exited_process_is_not_asked_about() -> None:
    gone = rate(7, b"gone", 5.0, uid=UID, state=1, exited_ns=5)
    driver = started([message([gone], seq=2)])
    driver.type("K")
    assert "gone has exited already" in driver.lines()[-1]


def test_t_changes_the_theme_and_ctrl_l_draws_anew() -> None:
    driver = three(settings=Settings(theme="dark"), colours=256)
    dark = driver.ansi()
    driver.type("T")
    assert driver.app.state.settings.theme == "light"
    assert driver.ansi() != dark
    driver.screen.written.truncate(0)
    driver.type("ctrl l")
    driver.draw()
    assert "NAME" in driver.screen.written.getvalue()


def test_the_mouse_selects_scrolls_opens_and_changes_views(world: Driver) -> None:
    first = world.lines().index(world.rows()[0])
    world.click(5, first + 2)
    assert world.selected() == world.lines()[first + 2]
    world.click(5, first + 2)
    assert "── " in world.lines()[4]
    world.type("esc")
    world.click(5, first, button=5)
    assert world.app.state.place.at == 5
    world.click(world.lines()[4].index("files"), 4)
    assert world.app.state.place.view.name == "files"


def test_nothing_is_drawn_again_that_did_not_change() -> None:
    driver = three()
    driver.draw()
    driver.screen.written.truncate(0)
    driver.screen.written.seek(0)
    driver.draw()
    written = driver.screen.written.getvalue()
    assert "NAME" not in written
    assert "two" not in written
