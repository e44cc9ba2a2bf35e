"""The states of a screen, each as it is drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from client_messages import HEALTH, message, process
from tui_driver import Driver, started

from pbmon_client.present.cells import TIMES
from pbmon_client.subscription import silence_words
from pbmon_client.tui.draw.header import open_warnings
from pbmon_client.tui.session.settings import Settings, load, save
from pbmond.fields import RATES

PATH = "/run/pbmon/pbmond.sock"


def busy(pid: int = 1, **fields: Any) -> dict[str, Any]:
    return process(pid, b"busy", net_tx_bytes_per_s=5_000_000.0, net_tx_bytes=9, **fields)


def test_before_the_first_snapshot_the_screen_says_that_it_waits() -> None:
    assert "waiting for the first snapshot" in Driver().text()


def test_without_a_daemon_the_screen_waits_and_says_how_to_start_it() -> None:
    driver = Driver()
    driver.silence(silence_words(PATH, FileNotFoundError()))
    text = driver.text()
    assert f"pbmond is not running (there is no socket {PATH})" in text
    assert "sudo systemctl start pbmond" in text
    assert "sudo packaging/quickstart" in text
    driver.receive(message([busy()], seq=2))
    assert "not running" not in driver.text()
    assert "busy" in driver.text()


def test_a_narrow_screen_says_all_of_why_nothing_comes() -> None:
    driver = Driver(width=60, height=15)
    driver.silence(silence_words(PATH, FileNotFoundError()))
    words = " ".join(" ".join(driver.lines()).split())
    assert f"pbmond is not running (there is no socket {PATH})" in words
    assert "sudo systemctl start pbmond" in words


def test_a_restarted_daemon_is_announced_and_its_rows_are_shown() -> None:
    driver = started([message([busy()], seq=7)])
    driver.receive(message([process(5, b"fresh")], seq=1, epoch="epoch-2"))
    assert "the daemon restarted" in driver.lines()[-1]
    assert driver.names() == ["fresh"]
    driver.wait(6)
    assert "restarted" not in driver.lines()[-1]


def test_a_snapshot_older_than_three_intervals_is_greyed_and_its_age_is_shown() -> None:
    driver = started([message([busy(), process(2, b"idle")], seq=2)])
    driver.wait(1.5)
    assert " OLD " not in driver.lines()[0]
    assert driver.role_of("5.0M") != "stale"
    driver.wait(2.5)
    assert " 5 s OLD " in driver.lines()[0]
    assert driver.role_of("5.0M") == "stale"
    assert {role for line in range(3, 23) for role, _text in driver.roles(line)} == {"stale"}
    driver.receive(message([busy()], seq=3))
    assert " OLD " not in driver.lines()[0]


def test_a_lost_daemon_is_reported_above_the_greyed_rows() -> None:
    driver = started([message([busy()], seq=2)])
    driver.wait(6)
    driver.silence(silence_words(PATH, ConnectionRefusedError()))
    line = next(line for line in driver.lines() if "nobody listens" in line)
    assert "pbmond is not running" in line
    assert driver.role_of("nobody listens") == "alert"
    assert driver.role_of("busy") == "stale"
    driver.type(" ")
    assert "nobody listens" not in driver.text()  # a paused screen is frozen whole
    driver.type(" ")
    driver.receive(message([busy()], seq=3))
    assert "nobody listens" not in driver.text()


def test_only_a_pause_an_age_and_a_notice_change_with_time_alone() -> None:
    driver = started([message([busy()], seq=2)])
    assert not driver.app.ages(driver.now_s)
    driver.app.notify("something", driver.now_s)
    assert not driver.app.ages(driver.now_s + 1)
    assert driver.app.ages(driver.now_s + 6)
    assert driver.app.ages(driver.now_s + 6)  # of the snapshot by now
    driver.receive(message([busy()], seq=3))
    driver.type(" ")
    assert driver.app.ages(driver.now_s)


def test_a_longer_display_interval_is_not_out_of_date() -> None:
    driver = started([message([busy()], seq=2)])
    driver.type("+", "+")
    driver.wait(9)
    assert " OLD " not in driver.lines()[0]


def test_a_lost_byte_shows_with_words_until_it_is_acknowledged_and_again_when_more_are() -> None:
    health = HEALTH | {"lost": {"flow table full": 3}, "status": "incomplete",
                       "reasons": ["lost: flow table full"]}  # fmt: skip
    driver = started([message([busy()], seq=2, health=health)])
    assert "INCOMPLETE" in driver.lines()[0]
    assert driver.text().count("flow table full") == 1
    assert "LOST flow table full: 3" in driver.text()
    driver.type("x")
    assert "LOST" not in driver.text()
    assert "INCOMPLETE" in driver.lines()[0]
    more = health | {"lost": {"flow table full": 4}, "status": "complete", "reasons": []}
    driver.receive(message([busy()], seq=3, health=more))
    assert "LOST flow table full: 4" in driver.text()
    driver.type("x")
    assert "lost 4" in driver.lines()[0]


def test_a_missing_mode_shows_with_words() -> None:
    health = HEALTH | {"modes": {"sockets": "tracepoint", "files": "off"}}
    driver = started([message([busy()], seq=2, health=health)])
    assert "without files" in driver.lines()[0]
    assert "NOT COUNTED files: switched off" in driver.text()


def test_what_a_kernel_cannot_show_is_a_mark_in_the_header_and_named_in_the_health() -> None:
    health = HEALTH | {"unseen": ["libaio", "splice out of a socket"]}
    driver = started([message([busy()], seq=2, health=health)])
    assert driver.lines()[0].endswith("complete*")
    assert "libaio" not in driver.text()
    driver.type("H", "page down")
    assert "* in the header" in driver.text()
    assert "splice out of a socket" in driver.text()


@pytest.mark.parametrize(
    "health", [{"lost": {"events": 3}}, {"modes": {"sockets": "off"}}, {"status": "incomplete"}]
)
def test_what_was_put_away_stays_put_away_in_the_next_run(
    health: dict[str, Any], tmp_path: Path
) -> None:
    file = tmp_path / "client.toml"
    driver = started([message([busy()], seq=2, health=HEALTH | health)])
    warned = len(open_warnings(driver.app.state))
    driver.type("x")
    save(file, driver.app.state.settings)
    again = started([message([busy()], seq=3, health=HEALTH | health)], settings=load(file))
    assert warned
    assert not open_warnings(again.app.state)
    other = message([busy()], seq=4, health=HEALTH | {"lost": {"events": 9}})
    again.receive(other)
    assert "LOST 9 events" in again.text()


def test_only_the_newest_warnings_are_remembered() -> None:
    settings = Settings()
    for number in range(150):
        settings.put_away([f"warning {number}"])
    assert (settings.seen[0], settings.seen[-1]) == ("warning 50", "warning 149")


def test_a_warning_that_is_cut_short_is_whole_in_the_health() -> None:
    reasons = [f"thing {number} with many words" for number in range(9)]
    health = HEALTH | {"status": "incomplete", "reasons": reasons}
    driver = started([message([busy()], seq=2, health=health)], height=50)
    line = next(line for line in driver.lines() if "INCOMPLETE thing" in line)
    assert line.endswith("… H all  x dismiss")
    driver.type("H", "end")
    assert "thing 8 with many words" in driver.text()
    driver.type("esc")
    assert "thing 8" not in driver.text()


def test_the_health_shows_all_that_the_daemon_says_of_itself() -> None:
    health = {
        "status": "incomplete",
        "lost": {"events": 12_345},
        "unseen": [],
        "maps": {"flows": {"used": 7, "capacity": 1000}},
        "cost": {
            "daemon_cpu_percent": 0.44,
            "daemon_rss_bytes": 81_000_000,
            "probe": None,
            "processes": [
                {"role": "collector", "pid": 13925, "cpu_percent": None, "rss_bytes": 58_000_000}
            ],
        },
    }
    driver = started([message([busy()], seq=2, health=health)], height=40)
    driver.type("f3")
    shown = {line.strip("│ ") for line in driver.lines()}
    lines = [" ".join(line.split()) for line in shown]
    for text in ("events 12,345", "flows 7 of 1,000 used", "daemon cpu 0.4 %",
                 "daemon rss 81.0MB", "probe not known",
                 "collector (pid 13925) cpu not known, rss 58.0MB"):  # fmt: skip
        assert any(text in line for line in lines), text


def test_a_limited_scope_is_visible() -> None:
    driver = Driver()
    driver.receive(message([busy()], seq=2), scope="own")
    assert "your processes only" in driver.lines()[0]
    assert driver.role_of("your processes only") == "warn"


def test_unknown_rates_of_the_first_seconds_are_question_marks() -> None:
    unknown = dict.fromkeys(RATES, float("nan"))
    driver = started([message([process(1, b"first", **unknown)], seq=1)])
    assert driver.rows()[0].split()[3:] == ["?"] * 5
    assert "first snapshot" in driver.lines()[0]
    driver.type("s", "s", "s", "2", "s", "s", "s", "9", "o")
    assert "PID" in driver.text()


def test_exited_rows_are_dim_and_show_when_they_ended() -> None:
    gone = process(2, b"gone", state=1, exited_ns=1_500_000_000)
    driver = started([message([busy(), gone], seq=2)])
    assert f"gone {TIMES}22:13:21" in driver.rows()[1]
    driver.type("home")
    assert driver.role_of("gone") == "exited"


def test_a_hundred_cells_of_name_leave_room_for_the_exit_time() -> None:
    gone = process(2, b"n" * 100, state=1, exited_ns=1_500_000_000)
    driver = started([message([gone], seq=2)])
    assert f"… {TIMES}22:13:21" in driver.rows()[0]


def test_an_empty_host_says_so() -> None:
    assert "no rows" in started([message([], seq=2)]).text()


def test_ten_thousand_processes_are_listed_and_reached() -> None:
    rows = [process(pid, b"p%05d" % pid, net_tx_bytes_per_s=float(pid)) for pid in range(1, 10_001)]
    driver = started([message(rows, seq=2)])
    assert "10,000" in driver.lines()[-1]
    assert driver.names()[:2] == ["p10000", "p09999"]
    driver.type("end")
    assert "p00001" in driver.selected()
    driver.type("/")
    driver.write("p0500")
    assert len(driver.rows()) == 10


HOSTILE = b"\x1b[2J\x9b31m\nname\r\x07\xe2\x80\xae\xff"


@pytest.mark.parametrize("key", ["1", "2", "4", "5", "8", "9", "c"])
def test_hostile_names_are_one_line_of_printable_text(key: str) -> None:
    row = process(1, HOSTILE, cmdline=HOSTILE, exe=HOSTILE, unit=HOSTILE, container=HOSTILE,
                  cgroup=HOSTILE, net_rx_bytes_per_s=1.0)  # fmt: skip
    mine = {"pid": 1, "start_ns": 1000, "first_ns": 1, "last_ns": 1, "open": 1}
    unix = mine | {"family": 1, "class": 2, "type": 1, "remote_name": HOSTILE}
    stored = mine | {"class": 4, "path": HOSTILE}
    sent = message([row], [unix], [stored], seq=2, host="\x1b]0;x\x07",
                   health=HEALTH | {"unseen": ["\x1b[5m"], "reasons": ["\x9b"]})  # fmt: skip
    driver = started([sent], width=160, height=45)
    driver.type(key, "enter")
    for line in driver.draw().text:
        assert line.decode().isprintable()
    assert "\\x1b[2J" in driver.text()


def test_a_right_to_left_name_does_not_reorder_the_numbers() -> None:
    name = "שלום"
    driver = started([message([process(1, name.encode(), net_rx_bytes_per_s=12.0)], seq=2)])
    assert f"\u200e{name}" in driver.rows()[0]
    after = driver.rows()[0].partition(name)[2]
    assert after.startswith(" ") or after.startswith("\u200e")
    assert "\u200e" in after.partition("12")[0]
