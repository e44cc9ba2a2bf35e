"""Keys typed at the interface: the filter, the pause, and all that is no move or view."""

from __future__ import annotations

import json
import os

import pytest
from client_messages import flow, message
from demo_world import messages
from tui_driver import THREE, Driver, rate, started, three

from pbmon_client.tui.app import Copy, Quit
from pbmon_client.tui.session.settings import Settings
from pbmond import wire

UID = os.geteuid()


@pytest.fixture
def world() -> Driver:
    return started(messages(6), width=120, height=40)


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
    assert "none of 3 rows match" in driver.text()
    assert "0 of 3" in driver.lines()[-1]


def test_a_filter_on_connections_asks_for_them_in_the_process_view() -> None:
    driver = three()
    driver.type("/")
    driver.write("remote_port = 443")
    driver.type("enter")
    assert driver.source.requests[-1].flows
    connection = flow(2, family=2, remote_port=443)
    driver.receive(message(THREE, [connection], [], seq=3))
    assert driver.names() == ["two"]


# --- pause and interval -------------------------------------------------------------------------


def test_a_paused_screen_freezes_while_counting_goes_on() -> None:
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


def test_a_view_without_data_before_the_pause_says_so() -> None:
    driver = three()
    driver.type(" ", "5")
    assert "paused before connections arrived (Space resumes)" in driver.text()
    driver.type(" ")
    assert "connections arrive with the next snapshot" in driver.text()


def test_plus_and_minus_change_the_display_interval() -> None:
    driver = three()
    driver.type("+")
    assert driver.source.requests[-1].interval_s == 2.0
    assert "every 2 s" in driver.lines()[0]
    driver.type("+", "-", "-", "-")
    assert driver.source.requests[-1].interval_s is None


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
    assert row.keys() >= wire.TABLES["processes"].keys() | {"user"}


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
    assert world.app.state.position.at == 5
    world.click(world.lines()[4].index("files"), 4)
    assert world.app.state.position.view.name == "files"


def test_a_click_means_the_row_that_was_drawn_whatever_came_since() -> None:
    driver = three()
    line = next(at for at, text in enumerate(driver.lines()) if " three " in text)
    busier = [rate(1, b"one", 900.0), rate(2, b"two", 300.0), rate(3, b"three", 200.0)]
    driver.receive(message(busier, seq=3))  # "two" is on that line now, but is not drawn yet
    driver.press_button(5, line)
    assert "three" in driver.selected()


def test_a_click_on_a_row_that_has_gone_selects_nothing_else() -> None:
    driver = three()
    driver.type("end")
    line = next(at for at, text in enumerate(driver.lines()) if " two " in text)
    driver.receive(message([rate(1, b"one", 100.0), rate(3, b"three", 200.0)], seq=3))
    driver.press_button(5, line)
    assert "one" in driver.selected()


def test_nothing_is_drawn_again_that_did_not_change() -> None:
    driver = three()
    driver.draw()
    driver.screen.written.truncate(0)
    driver.screen.written.seek(0)
    driver.draw()
    written = driver.screen.written.getvalue()
    assert "NAME" not in written
    assert "two" not in written


def test_keys_that_come_together_act_as_they_do_one_by_one() -> None:
    rows = [rate(pid, b"w%d" % pid, 1000.0 - pid) for pid in range(1, 30)]
    rows += [rate(pid, b"xx%d" % pid, 60.0 - pid) for pid in (50, 51, 52)]
    keys = ("end", "/", "x", "page up")
    one_by_one, together = (started([message(rows, seq=2)]) for _ in range(2))
    for key in keys:
        one_by_one.type(key)
        one_by_one.draw()
    together.draw()
    together.type("end")
    together.draw()
    together.type(*keys[1:])
    assert "xx50" in one_by_one.selected()
    assert together.selected() == one_by_one.selected()
