"""What the screen shows at every size: header, columns, numbers, detail pane, footer."""

from __future__ import annotations

import os

import pytest
import urwid
from client_messages import message, process
from demo_world import messages
from tui_driver import THREE, Driver, rate, started, three

from pbmond.fields import HISTORY

UID = os.geteuid()


@pytest.fixture
def world() -> Driver:
    return started(messages(6), width=120, height=40)


# --- the screen ---------------------------------------------------------------------------------


def test_at_80x24_name_pid_net_and_file_columns_are_all_visible() -> None:
    titles = three().lines()[5]
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
    narrow, wide = three(width=60).lines()[5], three(width=200, height=50).lines()[5]
    assert "DISK" not in narrow
    assert "FILE W" in narrow
    assert "CMDLINE" in wide


def test_traffic_without_a_column_shows_in_a_sum() -> None:
    local = process(1, b"local", loopback_rx_bytes_per_s=2e6, pipe_write_bytes_per_s=3e6,
                    loopback_rx_bytes=7)  # fmt: skip
    driver = started([message([local, rate(2, b"sender", 100.0)], seq=2)])
    assert driver.lines()[5].endswith("OTHER")
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
    title = driver.lines()[5].index("OTHER")
    driver.click(title, 5)
    assert "▼ busiest" in driver.lines()[0]
    seen = set()
    for _ in range(9):
        driver.type("s")
        seen.add(driver.app.state.sort_of(driver.app.state.position.view)[0])
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
    history = dict.fromkeys(HISTORY, curve)
    driver.detail(message([THREE[1]], [], [], seq=2, history=history))
    heading = next(at for at, line in enumerate(driver.lines()) if "── two 2" in line)
    assert "▁█" in driver.lines()[heading + 1]


def test_an_opened_row_shows_its_attributes_whole() -> None:
    command = b"\0".join(b"--option-%d=value" % number for number in range(20))
    row = rate(1, b"one", 5.0, cmdline=command, exe=b"/usr/bin/one", cgroup=b"/a.slice/b.service",
               unit=b"b.service", container=b"docker:" + b"f" * 64, container_name=b"web",
               image=b"registry.example/web:1", pod=b"shop-7d9f", namespace=b"store")  # fmt: skip
    driver = started([message([row], [], [], seq=2)], height=50)
    driver.type("enter")
    text = driver.text()
    assert "--option-19=value" in text
    for label, value in (("exe", "/usr/bin/one"), ("cgroup", "/a.slice/b.service"),
                         ("unit", "b.service"), ("user", "mara"), ("container", "docker:fff"),
                         ("called", "web"), ("image", "registry.example/web:1"),
                         ("pod", "shop-7d9f"), ("namespace", "store"),
                         ("started", "22:13:20")):  # fmt: skip
        assert any(line.split()[:1] == [label] and value in line for line in driver.lines()), label


def test_an_opened_row_shows_what_was_moved_before_the_daemon() -> None:
    row = rate(1, b"one", 5.0, before_read_bytes=12_000, before_disk_write_bytes=7_000_000)
    driver = started([message([row], [], [], seq=2)], height=40)
    driver.type("enter")
    lines = [" ".join(line.split()) for line in driver.lines()]
    assert [line for line in lines if line.startswith("before")] == [
        "before read 12.0K", "before disk write 7.0M"
    ]  # fmt: skip


def test_facts_stay_where_they_are_while_an_age_grows() -> None:
    row = rate(1, b"one", 5.0, cmdline=b"one", unit=b"one.service", start_ns=1_000_000_000)

    def column(seconds: int) -> int:
        now_ns = (1 + seconds) * 10**9
        driver = started([message([row], [], [], seq=2, now_ns=now_ns)], width=120)
        return next(line for line in driver.lines() if "runs one" in line).index("one.service")

    assert {column(seconds) for seconds in (5, 59, 60, 61, 3599, 3600)} == {column(10)}


def test_curves_show_their_highest_value_where_there_is_room() -> None:
    driver = three(width=200, height=50)
    history = {name: [7_000.0, 300.0] for name in HISTORY}
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
    assert "Space resume" in world.lines()[-1]


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


# --- numbers ------------------------------------------------------------------------------------


def test_a_u_and_e_change_how_traffic_is_written() -> None:
    driver = started([message([rate(1, b"one", 12_345_678.0)], seq=2)])
    assert "12.3M" in driver.rows()[0]
    driver.type("u")
    assert "98.8M" in driver.rows()[0]
    driver.type("u", "B")
    assert "11.8M" in driver.rows()[0]
    assert "1024" in driver.lines()[0]
    driver.type("B", "a")
    assert "123M" in driver.rows()[0]
    assert "bytes total" in driver.lines()[0]
    driver.type("e")
    assert "123,456,780" in driver.rows()[0]


def test_classes_and_columns_can_be_hidden() -> None:
    driver = three()
    driver.type("C", "down", " ", "esc")
    assert "FILE" not in driver.lines()[5]
    assert "DISK W" in driver.lines()[5]
    driver.type("f2", "down", " ", "esc")
    assert "FILE" in driver.lines()[5]


def test_a_hidden_class_hides_its_connections(world: Driver) -> None:
    world.type("5")
    assert any("127.0.0.1" in row for row in world.rows())
    world.app.state.settings.hidden[""] = ["loopback"]
    assert not any("127.0.0.1" in row for row in world.rows())


def test_c_shows_command_lines_instead_of_names() -> None:
    driver = started([message([process(1, b"one", cmdline=b"/bin/one\0--fast")], seq=2)])
    driver.type("c")
    assert "/bin/one --fast" in driver.rows()[0]


def test_a_full_command_line_takes_the_room_that_there_is() -> None:
    long = b"/usr/bin/one\0" + b"\0".join(b"--option-%02d" % number for number in range(4))
    driver = started([message([process(1, b"one", cmdline=long)], seq=2)], width=240, height=40)
    assert "CMDLINE" in driver.text()
    driver.type("c")
    assert driver.rows()[0].index("--option-03") < driver.lines()[5].index("NET RX")
    assert "CMDLINE" not in driver.text()


def test_names_of_hosts_and_services_show_once_they_are_asked_for(world: Driver) -> None:
    state = world.app.state
    state.name_of = {"198.51.100.7": "vault.example.net"}.get
    state.service_of = lambda _protocol, port: {873: "rsync"}.get(port)
    world.type("5")
    assert "vault" not in world.text()
    world.type("n")
    assert "vault.example.net:rsync" in world.rows()[0]


def test_only_what_changed_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = three()
    driver.draw()
    loop = driver.terminal.loop
    drawn: list[None] = []
    monkeypatch.setattr(urwid.MainLoop, "draw_screen", lambda _loop: drawn.append(None))
    loop.screen_size = driver.size
    loop.draw_screen()
    drawn.clear()
    feed = driver.terminal._on_input
    feed([], [27])  # the start of a sequence
    loop.draw_screen()
    assert not drawn
    driver.receive(message([process(9, b"nine")], seq=3))
    feed([], [27])  # before the news were drawn
    loop.draw_screen()
    assert len(drawn) == 1
    assert feed(["j", ("mouse press", 1, 3, 3)], []) == ["j", ("mouse press", 1, 3, 3)]
    loop.draw_screen()
    loop.draw_screen()
    assert len(drawn) == 2


def test_a_cursor_position_report_does_not_end_the_interface() -> None:
    driver = three()
    assert driver.terminal._on_input([("cursor position", 9, 4), "j"], []) == ["j"]
