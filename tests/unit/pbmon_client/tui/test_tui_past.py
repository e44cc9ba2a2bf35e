"""The scene of the past: keys and clicks on a store on disk, and what the screen then says."""

from __future__ import annotations

import itertools
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
from client_messages import message
from fake_publisher import PATIENCE_S
from tui_driver import THREE, Driver, Source, processes

from pbmon_client.data import model
from pbmon_client.history.layout import LAYOUTS, PROCESSES
from pbmon_client.history.source import PastSource, open_past
from pbmon_client.history.writer import HistoryWriter
from pbmon_client.options import parse
from pbmon_client.tui.draw import timeline
from pbmon_client.tui.feed.messages import PastReady
from pbmon_client.tui.feed.past import PastFeed, _bounds_of, _timeline
from pbmon_client.tui.session.past import PastScene, PastShown
from pbmon_client.tui.start import apply
from pbmon_client.tui.time_travel import understand
from pbmond.wire import Message
from tests import past_host

if TYPE_CHECKING:
    from pbmon_client.history.past import Series

BEGIN = past_host.MONDAY
NOW = BEGIN + 1000
#: Seconds after BEGIN in which nothing was recorded.
GAP = range(300, 420)


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def record(directory: Path, seconds: range, name: bytes | None = None) -> None:
    """Record a process that sends 1000 bytes in the second that ends at 1 s, 2000 at 2 s."""
    counters = LAYOUTS[PROCESSES].counters
    with HistoryWriter(directory, sync=False) as writer:
        for at in seconds:
            if at in GAP:
                continue
            odd = past_host.process(
                8 + at % 2, name=name or (b"odd" if at % 2 else b"even"), start_ns=past_host.SECOND
            )
            rows = {
                PROCESSES: [past_host.process(7, name=name or b"sender"), odd],
                "connections": [past_host.connection(7, 4000)],
                "files": [past_host.file(8 + at % 2, 5, start_ns=past_host.SECOND)],
            }
            deltas = {
                table: np.zeros((len(some), len(LAYOUTS[table].counters)), np.int64)
                for table, some in rows.items()
            }
            deltas[PROCESSES][0, counters.index("net_tx_bytes")] = 1000 * at
            deltas[PROCESSES][1, counters.index("file_read_bytes")] = 7
            deltas["connections"][0, LAYOUTS["connections"].counters.index("tx_bytes")] = 1000 * at
            deltas["files"][0, 0] = 7
            # The interval ends within the second, as those of a daemon do.
            writer.tick(past_host.tick((BEGIN + at) * past_host.SECOND + 300_000_000, rows, deltas))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("history")
    record(directory, range(1, 900))
    return directory


class Live(Source):
    """The present, and a bell for the news of the past."""

    def __init__(self) -> None:
        super().__init__()
        self.bell = threading.Event()

    def wake(self) -> None:
        self.bell.set()


class PastDriver(Driver):
    """An interface whose past is read by the thread that also reads it for users."""

    def __init__(self, opener: Callable[[], PastSource], *size: int, **options: Any) -> None:
        super().__init__(*size, wall=lambda: float(NOW), **options)
        self.live = Live()
        self.source = self.live
        self.feed = PastFeed(self.live, opener, model.Selection())
        self.terminal._source = self.feed

    def settle(self, done: Callable[[], bool] | None = None) -> None:
        """Let the thread answer what the screen asks for."""
        deadline = time.monotonic() + PATIENCE_S
        self.draw()
        self.terminal.on_drawn()
        while not (done or self.answered)():
            assert self.live.bell.wait(deadline - time.monotonic()), self.text()
            self.live.bell.clear()
            self.terminal.on_news()
            self.draw()
            self.terminal.on_drawn()

    def answered(self) -> bool:
        """Whether all is on the screen, the curves of the selected row last."""
        past = self.app.state.past
        if past is None:
            return True
        request = self.app.request().past
        row = None if request is None else request.row
        line = past.timeline
        return (
            past.answered
            and line is not None
            and (row is None or past.curves.row == row)
            and bool(past.curves.of_host)
        )

    def press(self, *keys: str) -> None:
        for key in keys:
            self.type(key)
            self.settle()

    def ask(self, text: str) -> None:
        self.type("b")
        self.write(text)
        self.press("enter")

    def time(self) -> str:
        """Return the time that the first line says."""
        found = re.search(r"\d\d:\d\d:\d\d", self.lines()[0])
        assert found is not None, self.text()
        return found[0]


@pytest.fixture
def start(recorded: Path) -> Iterator[Callable[..., PastDriver]]:
    made: list[PastDriver] = []

    def starts(*size: int, directory: Path = recorded, **options: Any) -> PastDriver:
        driver = PastDriver(lambda: open_past(directory), *size, **options)
        made.append(driver)
        driver.receive(message(THREE, seq=2))
        return driver

    yield starts
    for each in made:
        each.feed.close()


Start = Callable[..., PastDriver]


# --- going there and back -------------------------------------------------------------------------


def test_a_time_that_is_typed_shows_what_moved_then(start: Start) -> None:
    driver = start()
    driver.ask("00:03:20")
    assert driver.lines()[0].startswith(" PAST  Mon 21 Sep 00:03:20  13 m 19 s ago")
    assert driver.names() == ["sender", "even"]
    assert "200K" in driver.rows()[0]
    assert driver.role_of("PAST") == "past"


def test_what_is_typed_is_explained_and_a_mistake_stays_to_be_mended(start: Start) -> None:
    driver = start()
    driver.type("@")
    driver.write("00:03")
    assert driver.lines()[-1].startswith(" time: 00:03")
    assert driver.lines()[-1].endswith("Mon 21 Sep 2026 00:03:00")
    driver.write("x")
    driver.type("enter")
    assert "is not a time" in driver.lines()[-1]
    driver.type("backspace")
    driver.press("enter")
    assert driver.time() == "00:03:00"


def test_a_range_may_be_typed_and_is_summed_up(start: Start) -> None:
    driver = start()
    driver.ask("00:01:00 to 00:01:10")
    assert "00:01:00 to 00:01:10" in driver.lines()[0]
    driver.press("a")
    assert f"{sum(range(60, 70))}K" in driver.rows()[0]
    assert "range 10 s" in driver.text()
    assert f"out {sum(range(60, 70))}K" in driver.text()


def test_a_range_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(ValueError, match="ends before it begins"):
        understand("00:05 to 2026-09-20 00:01", NOW)


def test_the_future_is_refused(start: Start) -> None:
    driver = start()
    driver.type("@")
    driver.write("2026-09-22 00:00")
    driver.type("enter")
    assert "in the future" in driver.lines()[-1]


def test_esc_leaves_the_prompt_and_the_present_stays(start: Start) -> None:
    driver = start()
    driver.type("@", "0", "esc")
    assert "PAST" not in driver.text()
    assert driver.names() == ["two", "three", "one"]


def test_live_returns_at_once_to_the_newest_snapshot(start: Start) -> None:
    driver = start()
    driver.ask("00:03:20")
    driver.receive(processes(THREE[:1], seq=3))
    assert driver.names() == ["sender", "even"]
    driver.type("L")
    assert driver.names() == ["one"]
    assert "PAST" not in driver.text()


def test_live_while_the_past_is_being_read_stays_live(recorded: Path) -> None:
    reading, go_on = threading.Event(), threading.Event()

    def slow() -> PastSource:
        reading.set()
        assert go_on.wait(PATIENCE_S)
        return open_past(recorded)

    driver = PastDriver(slow)
    driver.receive(message(THREE, seq=2))
    driver.type("[")
    driver.draw()
    driver.terminal.on_drawn()
    assert reading.wait(PATIENCE_S)
    assert driver.names() == ["two", "three", "one"]
    driver.type("L")
    go_on.set()
    assert driver.live.bell.wait(PATIENCE_S)
    driver.terminal.on_news()
    assert driver.names() == ["two", "three", "one"]
    assert "PAST" not in driver.text()
    driver.feed.close()


def test_without_a_history_the_footer_says_so_and_the_present_stays(
    start: Start, tmp_path: Path
) -> None:
    driver = start(directory=tmp_path / "none")
    driver.ask("00:03")
    assert "cannot read the history" in driver.lines()[-1]
    assert driver.names() == ["two", "three", "one"]


def test_a_history_that_vanishes_leaves_what_is_shown_and_says_so(
    start: Start, recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pbmon_client.tui.feed.past._REFRESH_S", 0.0)
    copy = tmp_path / "copy"
    shutil.copytree(recorded, copy)
    driver = start(directory=copy)
    driver.ask("00:03:20")
    shutil.rmtree(copy)
    driver.type("]")
    driver.settle(lambda: "cannot read" in driver.lines()[-1])
    assert driver.time() == "00:03:20"
    assert driver.names() == ["sender", "even"]


def test_the_past_shows_while_no_daemon_runs(recorded: Path) -> None:
    driver = PastDriver(lambda: open_past(recorded))
    driver.silence("pbmond is not running")
    driver.ask("00:03:20")
    assert driver.names() == ["sender", "even"]
    assert "not running" not in driver.text()
    driver.feed.close()


# --- steps ----------------------------------------------------------------------------------------


def test_steps_go_one_interval_and_ten(start: Start) -> None:
    driver = start()
    driver.ask("00:03:20")
    steps = (
        ("]", "21"),
        ("[", "20"),
        ("t", "21"),
        ("T", "20"),
        ("[", "19"),
        ("}", "29"),
        ("{", "19"),
    )
    for key, then in steps:
        driver.press(key)
        assert driver.time() == f"00:03:{then}", key


def test_a_step_back_from_the_present_is_the_past(start: Start) -> None:
    driver = start()
    driver.type("]")
    assert "this is the present" in driver.lines()[-1]
    driver.press("[")
    assert driver.lines()[0].startswith(" PAST")


def test_a_gap_is_one_step_and_is_called_one(start: Start) -> None:
    driver = start()
    driver.ask("00:04:59")
    driver.press("]")
    assert "nothing recorded" in driver.lines()[0]
    assert "INCOMPLETE" in driver.text()
    assert "nothing was recorded" in driver.text()
    assert "?" in driver.lines()[3]
    driver.press("]")
    assert driver.time() == "00:07:00"
    driver.press("[", "[")
    assert driver.time() == "00:04:59"


def test_steps_end_at_the_oldest_and_at_the_newest(start: Start) -> None:
    driver = start()
    driver.ask("00:00:03")
    driver.press("{")
    assert driver.time() == "00:00:01"
    assert "the oldest" in driver.lines()[-1]
    driver.press("[")
    assert driver.time() == "00:00:01"
    driver.ask("00:14:58")
    driver.press("]", "]")
    assert driver.time() == "00:14:59"
    assert "the newest" in driver.lines()[-1]


def test_quick_steps_add_up_and_the_newest_wins(start: Start) -> None:
    driver = start()
    driver.ask("00:03:20")
    driver.type("]", "]", "]", "]")
    driver.settle()
    assert driver.time() == "00:03:24"


class Watched:
    """A past that notes what it is asked, and can be held at its next series."""

    def __init__(self, source: PastSource) -> None:
        self.source = source
        self.asked: list[str] = []
        self.hold = False
        self.reached, self.go_on = threading.Event(), threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.source, name)

    def frame(self, at: int) -> Message:
        self.asked.append("frame")
        return self.source.frame(at)

    def series(self, *args: Any) -> Series:
        self.asked.append("host" if len(args) == 3 else "row")
        if self.hold:
            self.hold = False
            self.reached.set()
            assert self.go_on.wait(PATIENCE_S)
        return self.source.series(*args)


def test_a_step_does_not_wait_for_the_curves_of_the_row_that_is_left(recorded: Path) -> None:
    watched = Watched(open_past(recorded))
    driver = PastDriver(lambda: cast(PastSource, watched))
    driver.receive(message(THREE, seq=2))
    driver.ask("00:03:20")
    watched.asked.clear()
    watched.hold = True
    for _ in range(2):  # the second while the curves of the first are read
        driver.type("[")
        driver.draw()
        driver.terminal.on_drawn()
        assert watched.reached.wait(PATIENCE_S)
    watched.go_on.set()
    driver.settle(lambda: watched.asked[-1] == "row")
    last = len(watched.asked) - watched.asked[::-1].index("frame")
    assert watched.asked[last:] == ["host", "row"]
    assert "row" not in watched.asked[:last]
    assert "host" in watched.asked[:last]
    driver.feed.close()


def test_a_longer_interval_is_one_step(start: Start) -> None:
    driver = start()
    driver.ask("00:03:20")
    driver.press("+", "+", "+")
    assert driver.lines()[0].startswith(" PAST  Mon 21 Sep 00:03:20 to 00:03:30")
    driver.press("]")
    assert "00:03:30 to 00:03:40" in driver.lines()[0]


@pytest.mark.parametrize("phase_ns", [0, 300_000_000])
def test_steps_skip_no_interval_of_a_daemon_that_counts_every_ten_seconds(
    start: Start, tmp_path: Path, phase_ns: int
) -> None:
    moved = np.zeros((1, len(LAYOUTS[PROCESSES].counters)), np.int64)
    with HistoryWriter(tmp_path, sync=False) as writer:
        for at in range(10, 900, 10):
            moved[0, 0] = at
            tick = past_host.tick(
                (BEGIN + at) * past_host.SECOND + phase_ns,
                {PROCESSES: [past_host.process(7)]},
                {PROCESSES: moved.copy()},
                interval_ns=10 * past_host.SECOND,
            )
            writer.tick(tick)
    driver = start(directory=tmp_path)
    driver.ask("00:03:25")

    def shown() -> int:
        past = driver.app.state.past
        assert past is not None
        assert past.shown is not None
        return int(past.shown.snapshot.message.totals["net_rx_bytes"])

    seen = [shown()]
    for key in "]]]]][[[[[":
        driver.press(key)
        seen.append(shown())
    first = seen[0]
    forth = [first + 10 * step for step in range(6)]
    assert seen == forth + forth[-2::-1]


# --- the timeline ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("span", "step"), [(600, 4), (3600, 20), (86_400, 480), (604_800, 3600)])
def test_the_timeline_reads_slots_of_a_coarser_tier_where_its_bars_stay_as_fine(
    span: int, step: int, tmp_path: Path
) -> None:
    record(tmp_path, range(1, 900))
    past = PastScene(BEGIN + 200, NOW, span=span)
    asked = past.request(interval_s=None, flows=False, cells=198, row=None)
    source = open_past(tmp_path)
    bounds = _bounds_of(source)
    assert bounds is not None
    line = _timeline(source, bounds, asked)
    assert line.step == step
    assert asked.step <= line.step <= asked.step * 1.25
    assert sum(filter(None, line.rates)) * line.step > 0


def test_arrows_scrub_the_timeline_and_do_not_sort(start: Start) -> None:
    driver = start()
    driver.ask("00:10:00")
    driver.press("left")
    assert "00:09:1" in driver.lines()[0]  # an hour in 78 cells
    assert "busiest" in driver.text()
    driver.press("z", "z", "right")
    assert driver.time() != "00:09:15"


def test_a_click_and_a_drag_move_the_cursor(start: Start) -> None:
    driver = start()
    driver.ask("00:10:00")
    driver.press("z")  # ten minutes
    left = driver.app.state.past.left if driver.app.state.past else 0
    driver.click(1, 3)
    driver.settle()
    assert abs(_seconds(driver) - (left - BEGIN)) <= 10
    driver.terminal.loop.process_input([("mouse drag", 1, 40, 3)])
    driver.settle()
    assert abs(_seconds(driver) - (left - BEGIN + 300)) <= 10
    driver.terminal.loop.process_input([("mouse release", 0, 40, 3)])
    driver.terminal.loop.process_input([("mouse drag", 1, 2, 3)])
    driver.settle()
    assert abs(_seconds(driver) - (left - BEGIN + 300)) <= 10


def _seconds(driver: PastDriver) -> int:
    hours, minutes, seconds = map(int, driver.time().split(":"))
    return hours * 3600 + minutes * 60 + seconds


def test_the_cursor_shows_without_colour_and_in_ascii(start: Start) -> None:
    driver = start(ascii_only=True)
    driver.ask("00:10:00")
    assert "┃" in driver.lines()[3]
    assert driver.lines()[3].index("┃") == driver.lines()[4].index("▲")
    assert driver.role_of("┃") == "cursor"


def test_a_mark_sums_up_to_the_cursor_and_ends(start: Start) -> None:
    driver = start()
    driver.ask("00:01:00")
    driver.press("m")
    driver.press("]", "]")
    assert "range 3 s" in driver.text()
    assert f"out {60 + 61 + 62}K" in driver.text()
    assert "segment" not in driver.text()
    driver.press("m")
    assert "range 3 s" not in driver.text()
    assert driver.time() == "00:01:02"


# --- everything else as live ----------------------------------------------------------------------


def test_views_search_and_details_work_in_the_past(start: Start) -> None:
    driver = start(120, 40)
    driver.ask("00:03:20")
    assert "10.0.0.0:4000" in driver.text()  # the connection of the selected process
    driver.press("5")
    assert ["10.0.0.0:4000" in row for row in driver.rows()] == [True]
    driver.press("8")
    assert ["/var/lib/data/5" in row for row in driver.rows()] == [True]
    driver.press("1", "/", "e", "v", "enter")
    assert driver.names() == ["even"]


def test_the_selection_returns_with_its_row(start: Start) -> None:
    driver = start()
    driver.ask("00:03:20")
    driver.press("down")
    assert "even" in driver.selected()
    driver.press("]")
    assert "odd" in driver.selected()
    driver.press("]")
    assert "even" in driver.selected()


def test_curves_show_the_past_around_the_cursor(start: Start) -> None:
    driver = start(120, 40)
    driver.ask("00:03:20")
    past = driver.app.state.past
    assert past is not None
    sent = past.curves.of_row[1]
    assert sent[60] == 200_000
    assert sent[0] == 140_000
    assert sent[120] == 260_000
    assert past.curves.host()[1] == list(sent)


@pytest.mark.parametrize("view", ["5", "6", "7"])
def test_connections_hosts_and_ports_have_curves_too(start: Start, view: str) -> None:
    driver = start(120, 40)
    driver.ask("00:03:20")
    driver.press(view)
    past = driver.app.state.past
    assert past is not None
    received, sent = past.curves.of_row
    assert (sent[60], sent[0], received[60]) == (200_000, 140_000, 0)


def test_signals_and_the_pause_say_that_this_is_the_past(start: Start) -> None:
    driver = start()
    driver.ask("00:03:20")
    driver.type("K")
    assert "this is the past" in driver.lines()[-1]
    driver.type(" ")
    assert "stands still" in driver.lines()[-1]
    assert driver.effects == []


def test_hostile_names_reach_no_terminal(start: Start, tmp_path: Path) -> None:
    record(tmp_path / "store", range(1, 20), b"\x1b[2J\n\xff\xe2\x80\xaeevil")
    driver = start(directory=tmp_path / "store")
    driver.ask("00:00:10")
    assert "evil" in driver.text()
    assert "\x1b" not in driver.text()


@pytest.mark.parametrize("size", [(20, 5), (20, 9), (40, 12), (80, 24), (200, 50)])
def test_every_size_says_that_it_is_not_now(start: Start, size: tuple[int, int]) -> None:
    driver = start(*size)
    driver.ask("00:03:20")
    assert "PAST" in driver.lines()[0]
    assert "00:03:20" in driver.lines()[0]
    driver.press("m", "m", "@", "esc", "?", "esc")


def test_days_are_marked_on_the_timeline(start: Start) -> None:
    driver = start(200, 50)
    driver.ask("00:03:20")
    driver.press("Z", "Z", "Z")
    assert "│Sun 20 Sep" in driver.lines()[4]
    assert "│Wed 16 Sep" in driver.lines()[4]


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize(
    ("now", "days", "hours"),
    [(1_793_300_000, ["Sun 25 Oct", "Mon 26 Oct"], 25),  # Thursday, 2026-10-29
     (1_775_120_000, ["Sun 29 Mar", "Mon 30 Mar"], 23)],  # Thursday, 2026-04-02
)  # fmt: skip
def test_days_begin_at_midnight_also_when_clocks_change(
    now: int, days: list[str], hours: int
) -> None:
    scene = PastScene(now, now, span=7 * 86_400)
    found = [(at, words) for at, words, day in timeline._labels(scene, 100) if day]
    assert [words for _at, words in found][3:5] == days
    passed = [(after - at) / 3600 for (at, _w), (after, _x) in itertools.pairwise(found)]
    assert passed.count(hours) == 1
    assert passed.count(24) == len(passed) - 1


@pytest.mark.usefixtures("berlin")
def test_a_time_that_clocks_show_twice_has_its_zone(start: Start) -> None:
    change = 1_792_890_000  # 2026-10-25, from 03:00 back to 02:00
    snapshot = start().app.state.snapshot
    assert snapshot is not None

    def when(begin: int, end: int) -> str:
        return timeline.when(PastShown(snapshot, change + begin, change + end, end - begin))

    assert when(-1800, -1799) == "Sun 25 Oct 02:30:00 CEST"
    assert when(1800, 1801) == "Sun 25 Oct 02:30:00 CET"
    assert when(-1800, 1800) == "Sun 25 Oct 02:30:00 CEST to 02:30:00 CET"
    assert when(-7200, -3660) == "Sun 25 Oct 01:00:00 to 01:59:00"
    assert when(3600, 7200) == "Sun 25 Oct 03:00:00 to 04:00:00"


@pytest.mark.usefixtures("berlin")
def test_a_range_that_clocks_skipped_is_refused_in_words() -> None:
    noon = 1_774_746_000 + 9 * 3600  # of 2026-03-29, when it went from 02:00 to 03:00
    with pytest.raises(ValueError, match="before it begins; 02:30 on 2026-03-29 was skipped"):
        understand("02:30 to 03:30", noon)


def test_an_answer_that_comes_late_does_not_move_the_cursor(start: Start) -> None:
    driver = start()
    driver.ask("00:03:20")
    past = driver.app.state.past
    request = driver.app.request().past
    assert past is not None
    assert request is not None
    assert past.shown is not None
    past.go(BEGIN + 500)
    late = PastReady(request, past.shown, None, None, moved=False)
    driver.app.receive(late, driver.now_s)
    assert not past.answered
    assert past.cursor == BEGIN + 500


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["--at", "@1789949000"], "00:03:20"),
        (["--since", "@1789948860", "--until", "@1789948870"], "00:01:00 to 00:01:10"),
    ],
)
def test_the_command_line_opens_the_interface_in_the_past(
    start: Start, arguments: list[str], shown: str
) -> None:
    driver = start()
    apply(driver.app, parse(arguments))
    driver.settle()
    assert driver.lines()[0].startswith(" PAST")
    assert shown in driver.lines()[0]
