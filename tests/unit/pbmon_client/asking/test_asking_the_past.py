"""The past on the command line: a store is read, and every byte of it is accounted for."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pbmon_client import cli
from pbmon_client.data import recording
from pbmon_client.data.model import Selection
from pbmon_client.history.buckets import Tick
from pbmon_client.history.layout import LAYOUTS, PROCESSES, TOTALS
from pbmon_client.history.past import Past
from pbmon_client.history.writer import HistoryWriter
from pbmond.fields import RATES
from pbmond.wire import Message
from tests import past_host as make

#: 2026-10-25 02:00 in Berlin, in summer time; an hour later it is 02:00 again, in winter time.
TWO = 1_792_886_400
INTERVAL = 20
END = TWO + 7200
#: Nothing was recorded then: from 02:40:00 to 02:50:00, in winter time.
GAP = (TWO + 6000, TWO + 6600)
UNITS = LAYOUTS[PROCESSES].columns.index("unit")
PIDS = LAYOUTS[PROCESSES].columns.index("pid")

pytestmark = pytest.mark.usefixtures("wide_in_berlin")

Run = Callable[..., str]


@pytest.fixture(scope="module")
def ticks() -> list[Tick]:
    random = np.random.default_rng(14)
    times = range(TWO, END, INTERVAL)
    return [
        make.random_tick(
            random, second * make.SECOND + 1, interval_ns=INTERVAL * make.SECOND, processes=6
        )
        for second in times
        if not GAP[0] < second <= GAP[1]
    ]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, ticks: list[Tick]) -> Path:
    directory = tmp_path_factory.mktemp("past") / "history"
    write(directory, ticks)
    return directory


def write(directory: Path, ticks: Sequence[Tick]) -> None:
    with HistoryWriter(directory, sync=False) as writer:
        for tick in ticks:
            writer.tick(tick)


@pytest.fixture
def run(store: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> Run:
    """Run the command on the store and return what it prints."""

    def printed(*arguments: str, history: Path = store) -> str:
        assert cli.main(["--history", str(history), *arguments]) == 0
        return capfdbinary.readouterr().out.decode()

    return printed


def within(ticks: Sequence[Tick], since: int, until: int) -> list[Tick]:
    return [tick for tick in ticks if since <= tick.time_ns // make.SECOND < until]


def moved(ticks: Sequence[Tick], place: int | None = None) -> dict[Any, dict[str, int]]:
    """Sum up what processes moved, by one of their columns (None: together)."""
    sums: dict[Any, Any] = {}
    for tick in ticks:
        some = tick.tables[PROCESSES]
        rows = make.rows_of(some, LAYOUTS[PROCESSES].columns)
        for row, deltas in zip(rows, some.deltas.tolist(), strict=True):
            key = None if place is None else row[place]
            sums[key] = [
                a + b for a, b in zip(sums.get(key, [0] * len(deltas)), deltas, strict=True)
            ]
    return {key: dict(zip(TOTALS, values, strict=True)) for key, values in sums.items()}


def counters(row: dict[str, Any]) -> dict[str, int]:
    return {name: row[name] for name in TOTALS if name in row}


def test_a_range_is_what_moved_in_it_to_the_byte(run: Run, ticks: list[Tick]) -> None:
    since, until = TWO + 600, TWO + 5000
    shown = json.loads(run("--json", "--flows", "--since", f"@{since}", "--until", f"@{until}"))
    chosen = within(ticks, since, until)
    assert shown["past"] is True
    assert shown["health"] == {"status": "complete", "reasons": []}
    assert counters(shown["totals"]) == moved(chosen)[None]
    by_pid = moved(chosen, PIDS)
    assert {row["pid"]: counters(row) for row in shown["processes"]} == by_pid
    for name in RATES:
        assert shown["totals"][name] == shown["totals"][name.removesuffix("_per_s")] / (
            until - since
        )
    received = sum(int(tick.tables["connections"].deltas[:, 0].sum()) for tick in chosen)
    first = LAYOUTS["connections"].counters[0]
    assert sum(row[first] for row in shown["connections"]) == received


def test_steps_add_up_to_the_range_by_unit(run: Run, ticks: list[Tick]) -> None:
    times = ("--since", "2026-10-25 02:05", "--until", "2026-10-25 03:00")
    shown = json.loads(run("--json", *times, "--view", "units", "--step", "25m"))
    assert shown.keys() == {"schema", "past", "steps"}
    begin, steps = TWO + 300, []
    for step in shown["steps"]:
        end = min(begin + 1500, END)
        assert step["time_ns"] == end * make.SECOND
        assert step["interval_ns"] == (end - begin) * make.SECOND
        assert step["view"] == "units"
        assert "processes" not in step
        expected = moved(within(ticks, begin, end), UNITS)
        assert {row["unit"].encode(): counters(row) for row in step["groups"]} == expected
        begin = end
        steps.append(step)
    assert begin == END
    whole = json.loads(run("--json", *times, "--view", "units"))
    for row in whole["groups"]:
        same = [g for s in steps for g in s["groups"] if g["unit"] == row["unit"]]
        assert sum(group["net_rx_bytes"] for group in same) == row["net_rx_bytes"]


def test_the_hour_that_exists_twice_is_told_apart_by_its_zone(run: Run, ticks: list[Tick]) -> None:
    times = ("--since", "2026-10-25 02:15", "--until", "2026-10-25 02:15+01:00")
    shown = json.loads(run("--json", *times))
    assert shown["interval_ns"] == 3600 * make.SECOND
    assert counters(shown["totals"]) == moved(within(ticks, TWO + 900, TWO + 4500))[None]
    assert "from 2026-10-25 02:15:00 CEST to 2026-10-25 02:15:00 CET, 1 h" in run("--once", *times)


def test_the_heading_says_that_it_is_the_past_and_what_is_missing(run: Run) -> None:
    end = ("--until", "2026-10-25 03:00")
    lines = run("--once", "--since", "2026-10-25 02:30", *end).splitlines()
    assert "THE PAST" in lines[0]
    assert "INCOMPLETE" in lines[0]
    assert lines[1] == "moved from 2026-10-25 02:30:00 CEST to 2026-10-25 03:00:00 CET, 1 h 30 m"
    assert lines[2] == "INCOMPLETE history: about 600 s were not recorded"
    lines = run("--once", "--since", "@1792891200", "--until", "03:00").splitlines()
    assert lines[1] == "moved from 2026-10-25 02:20:00 to 03:00:00 CET, 40 m"
    nothing = run("--once", "--since", "2026-10-24", "--until", "2026-10-24 12:00")
    assert "INCOMPLETE history: nothing was recorded" in nothing


def test_a_replay_has_every_tick_once_and_a_gap_once(run: Run, ticks: list[Tick]) -> None:
    since, until = GAP[0] - 300, GAP[1] + 301
    lines = run("--ndjson", "--since", f"@{since}", "--until", f"@{until}").splitlines()
    shown = [json.loads(line) for line in lines]
    assert all(one["time_ns"] < other["time_ns"] for one, other in pairwise(shown))
    chosen = within(ticks, since, until)
    assert len([one for one in shown if one["processes"]]) == len(chosen) == 31
    for name in TOTALS:
        assert sum(one["totals"][name] for one in shown) == moved(chosen)[None][name]
    (gap,) = (one for one in shown if one["health"]["status"] != "complete")
    assert gap["health"]["reasons"] == ["history: nothing was recorded"]
    assert gap["processes"] == []
    assert abs(gap["interval_ns"] - (GAP[1] - GAP[0]) * make.SECOND) <= 2 * make.SECOND


def test_a_replay_is_a_recording_that_the_demo_plays(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "replay.ndjson"
    path.write_text(run("--ndjson", "--flows", "--since", f"@{TWO}", "--until", f"@{TWO + 600}"))
    shown = recording.first_known(path, Selection(flows=True))
    assert shown.host == "host"
    assert len(shown.processes) > 0


def test_a_range_of_years_is_answered_and_played(run: Run, tmp_path: Path) -> None:
    rows = [make.process(1)]
    deltas = np.full((1, len(TOTALS)), 7)
    years = [make.tick((END - days * 86_400) * make.SECOND, {PROCESSES: rows}, {PROCESSES: deltas},
                       now_ns=10**15) for days in (1000, 700, 30)]  # fmt: skip
    write(tmp_path / "history", years)
    since, path = f"@{END - 1001 * 86_400}", tmp_path / "replay.ndjson"
    shown = json.loads(run("--json", "--since", since, history=tmp_path / "history"))
    assert shown["totals"]["net_rx_bytes"] == 21
    path.write_text(run("--ndjson", "--since", since, history=tmp_path / "history"))
    assert sum(each.message.totals["net_rx_bytes"] for each in recording.read(path)) == 21
    path.write_text(
        run("--ndjson", "--since", "@0", "--step", "800d", history=tmp_path / "history")
    )
    assert sum(each.message.totals["net_rx_bytes"] for each in recording.read(path)) == 21


def test_a_replay_in_steps_has_every_step(run: Run, ticks: list[Tick]) -> None:
    times = ("--since", f"@{TWO}", "--until", f"@{END}")
    shown = [json.loads(line) for line in run("--ndjson", *times, "--step", "5m").splitlines()]
    assert [one["time_ns"] for one in shown] == [
        second * make.SECOND for second in range(TWO + 300, END + 1, 300)
    ]
    for name in TOTALS:
        assert sum(one["totals"][name] for one in shown) == moved(ticks)[None][name]


def test_csv_has_the_groups_that_json_has(run: Run) -> None:
    wanted = ("--since", f"@{TWO}", "--until", f"@{END}", "--view", "hosts", "--step", "1h")
    rows = list(csv.DictReader(io.StringIO(run("--csv", *wanted))))
    steps = json.loads(run("--json", *wanted))["steps"]
    groups = [(step["time"], group) for step in steps for group in step["groups"]]
    assert [(row["time"], row["host"]) for row in rows] == [(t, g["host"] or "") for t, g in groups]
    assert {row["table"] for row in rows} == {"hosts"}
    for row, (_time, group) in zip(rows, groups, strict=True):
        assert int(row["rx_bytes"]) == group["rx_bytes"]
        assert int(row["members"]) == group["members"]


def test_csv_has_the_rows_of_each_step(run: Run, ticks: list[Tick]) -> None:
    times = ("--since", f"@{TWO}", "--until", f"@{END}", "--step", "30m")
    rows = list(csv.DictReader(io.StringIO(run("--csv", *times))))
    assert len({row["time"] for row in rows}) == 4
    total = sum(int(row["file_read_bytes"]) for row in rows)
    assert total == moved(ticks)[None]["file_read_bytes"]


def test_one_interval_is_the_tick_that_covers_the_time(run: Run, ticks: list[Tick]) -> None:
    shown = json.loads(run("--json", "--at", f"@{TWO + 1010}"))
    (tick,) = within(ticks, TWO + 1001, TWO + 1021)
    assert counters(shown["totals"]) == moved([tick])[None]
    assert "THE PAST" in run("--once", "--at", f"@{TWO + 1010}")


@pytest.mark.parametrize("sort", [None, "net_tx_bytes", "file_write_bytes_per_s"])
def test_the_busiest_are_the_same_whoever_chooses_them(run: Run, sort: str | None) -> None:
    times = ("--since", f"@{TWO}", "--until", f"@{END}")
    sorts = () if sort is None else ("--sort", sort)
    every = run("--once", *times, *sorts).splitlines()
    some = run("--once", *times, *sorts, "--top", "7").splitlines()
    first = next(n for n, line in enumerate(every) if "PID" in line) + 1
    assert [line.split()[0] for line in some[first : first + 7]] == [
        line.split()[0] for line in every[first : first + 7]
    ]
    assert some[first + 7 :] == [" … and more"]
    shown = json.loads(run("--json", *times, "--top", "7", "--sort", sort or "net_tx_bytes"))
    assert len(shown["processes"]) == 7
    whole = json.loads(run("--json", *times, "--sort", sort or "net_tx_bytes"))
    assert shown["processes"] == whole["processes"][:7]
    assert shown["totals"] == whole["totals"]


@pytest.mark.parametrize("width", ["80", "250"])
@pytest.mark.parametrize(
    "arguments",
    [
        *(["--json"], ["--json", "--flows"], ["--csv"], ["--ndjson", "--flows"], ["--once"], []),
        ["--json", "--view", "units", "--step", "25m"],
        ["--json", "--view", "hosts"],
        ["--json", "--filter", "remote_port = 443 and files > 1"],
        *(["--once", "--view", name] for name in ("units", "users", "ports", "tree")),
        ["--once", "--top", "5"],
        ["--once", "--sort", "files", "--top", "5"],
        ["--once", "--filter", "connections > 3"],
        ["--once", "--view", "programs", "--filter", "path ~ data/1"],
    ],
)
def test_what_is_not_asked_for_is_not_missed(
    run: Run, monkeypatch: pytest.MonkeyPatch, arguments: list[str], width: str
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    times = ("--since", f"@{TWO + 600}", "--until", f"@{TWO + 2100}")
    shown = run(*times, *arguments)
    message = Past.message

    def of_everything(past: Past, since: int, until: int, **given: Any) -> Message:
        return message(past, since, until, **given | {"flows": True, "counts": True})

    monkeypatch.setattr(Past, "message", of_everything)
    assert run(*times, *arguments) == shown


def test_no_more_is_asked_than_is_shown(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """To count connections and files takes time, and to read them more."""
    asked, message = [], Past.message

    def noted(past: Past, since: int, until: int, **given: Any) -> Message:
        asked.append((given["flows"], given["counts"]))
        return message(past, since, until, **given)

    monkeypatch.setattr(Past, "message", noted)
    times = ("--since", f"@{TWO}", "--until", f"@{TWO + 600}")
    for arguments in (["--once"], ["--json"], ["--json", "--flows"]):
        run(*times, *arguments)
    assert asked == [(False, False), (False, True), (True, True)]


def test_options_narrow_the_past_as_they_narrow_the_present(run: Run, ticks: list[Tick]) -> None:
    times = ("--since", f"@{TWO}", "--until", f"@{END}")
    expected = moved(ticks, PIDS)
    assert {5, 6} < expected.keys()

    def pids(*arguments: str) -> set[int]:
        shown = json.loads(run("--json", *times, *arguments))
        for row in shown["processes"]:
            assert counters(row) == expected[row["pid"]]
        return {row["pid"] for row in shown["processes"]}

    assert pids("-p", "5", "-p", "6") == {5, 6}
    assert pids("-u", "1001") == {pid for pid in expected if pid % 3 == 1}
    assert pids("--name", "worker-[23]") == {pid for pid in expected if pid % 7 in (2, 3)}
    assert pids("--filter", "unit = app-4.service and pid > 10") == {
        pid for pid in expected if pid % 10 == 4 and pid > 10
    }


def test_hostile_names_of_the_past_reach_no_terminal(run: Run, tmp_path: Path) -> None:
    names = (b"\x1b[2J\x07evil", b"a\nb\xff", "=cmd|' /C'!A0 \u202e".encode())
    rows = [make.process(pid, name=name, unit=name) for pid, name in enumerate(names, 1)]
    files = [make.file(pid, pid, path=b"/srv/" + name) for pid, name in enumerate(names, 1)]
    deltas = {
        table: np.ones((3, len(LAYOUTS[table].counters)), np.int64)
        for table in (PROCESSES, "files")
    }
    tick = make.tick(TWO * make.SECOND + 1, {PROCESSES: rows, "files": files}, deltas)
    write(tmp_path / "hostile", [tick])
    for output in ("--once", "--json", "--ndjson", "--csv"):
        files_too = ("--view", "files") if output == "--once" else ("--flows",)
        for shown in ((), ("--view", "units"), files_too):
            times = ("--since", f"@{TWO}", "--until", f"@{TWO + 1}")
            text = run(output, *times, *shown, history=tmp_path / "hostile")
            assert all(char.isprintable() or char == "\n" for char in text)
            assert "evil" in text
            if output in ("--json", "--ndjson"):
                assert json.loads(text)["totals"]["net_rx_bytes"] == 3
            if output == "--csv":
                assert "\n=" not in text
                assert ",=" not in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--once", "--until", "03:00"), "--until needs --since"),
        (("--once", "--step", "1h"), "--step needs --since"),
        (("--once", "--at", "03:00", "--step", "1h"), "--step needs --since"),
        (("--once", "--at", "03:00", "--since", "02:00"), "--at is one interval and --since a"),
        (("--once", "--at", "03:00", "--demo", "x"), "--demo is not for the past"),
        (("--json", "--since", "-1d", "--wait", "3"), "--wait is not for the past"),
        (("--json", "--since", "-1d", "-n", "3"), "--count is not for the past"),
        (("--since", "-1d", "-n", "3"), "--count is not for the past"),
        (("--ndjson", "--since", "-1d", "-d", "3"), "--interval is not for the past"),
        (("--json", "--history", "x"), "--history: say which time with --at or --since"),
        (("--json", "--history", "", "--at", "now"), "'' is no path"),
        (("--once", "--since", "teatime"), "--since: 'teatime' is not a time; times: 03:12,"),
        (("--once", "--at", "\x1b[2J"), r"--at: '\x1b[2J' is not a time"),
        (("--once", "--since", "-1d", "--step", "0"), "--step: '0' is not a duration"),
        (("--once", "--since", "2100-01-01"), "--since: '2100-01-01' is yet to come"),
        (("--once", "--since", "now"), "--since is not before now"),
        (("--once", "--since", "-1d", "--until", "-2d"), "--since is not before --until"),
        (("--once", "--since", "-1d", "--until", "-1x"), "--until: '-1x' is not a time"),
        (("--once", "--since", "--until"), "expected one argument"),
        (("--csv", "--since", "-1d", "--view", "tree"), "--view tree is for the interface and"),
    ],
)
def test_a_mistake_is_told_in_one_line(
    arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(list(arguments))
    assert caught.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert words in said.err
    assert said.err.count("\n") == 1


def test_without_a_history_one_line_says_so(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert cli.main(["--once", "--at", "-1h", "--history", str(tmp_path / "none\n")]) == 1
    out, err = capfdbinary.readouterr()
    assert out == b""
    assert err.count(b"\n") == 1
    assert b"cannot read the history in" in err


def test_without_numpy_one_line_says_what_to_install() -> None:
    code = (
        "import sys\nsys.modules['numpy'] = None\nfrom pbmon_client import cli\n"
        "sys.exit(cli.main(['--json', '--at', '-1h']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "pbmon-client: the past needs numpy: install python3-numpy, with pip numpy\n"
    )


def test_what_is_no_terminal_gets_a_table_of_the_range(run: Run) -> None:
    text = run("--since", f"@{TWO}", "--until", f"@{END}")
    assert "THE PAST" in text
    assert "worker-3" in text
