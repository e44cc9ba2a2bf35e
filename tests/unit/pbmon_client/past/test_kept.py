"""``pbmon-client history`` says what is kept and by whom, and its mistakes are one line."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pbmon_client.history import exporting
from pbmon_client.history.past import Past
from pbmon_client.history.recorder import RecorderState, recorder_of
from pbmon_client.history.storage import HeldError
from pbmon_client.history.writer import HistoryWriter
from pbmon_client.past import kept_options, start
from tests import past_host as make


@pytest.fixture
def store(tmp_path: Path) -> Path:
    with HistoryWriter(tmp_path / "store", 10_000_000, sync=False) as writer:
        for second in (*range(100), *range(200, 300)):
            row = [make.process(1)]
            deltas = np.ones((1, 32), np.int64)
            at_ns = (make.MONDAY + second) * make.SECOND
            writer.tick(make.tick(at_ns, {"processes": row}, {"processes": deltas}))
    return tmp_path / "store"


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert start.main(arguments) == 0
    return capsys.readouterr().out


def test_what_is_kept_is_said(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = json.loads(said(capsys, "--json", "--history", str(store)))
    size = sum(each.stat().st_size for each in store.iterdir())
    assert (kept["bytes"], kept["cap_bytes"]) == (size, 10_000_000)
    assert kept["recorder"] == {"running": False, "pid": None}
    assert kept["read_from"] == str(store)
    assert [each["interval_s"] for each in kept["tiers"]] == [1, 10, 60, 3600]
    begin = make.MONDAY * make.SECOND
    assert kept["tiers"][0]["since_ns"] == begin - make.SECOND
    gap = {"since_ns": begin + 99 * make.SECOND, "until_ns": begin + 199 * make.SECOND}
    assert (kept["gaps"], kept["missing"]) == ([gap], [])
    words = said(capsys, "--history", str(store))
    assert "no recorder runs" in words
    assert words.count("not recorded: ") == 1
    with HistoryWriter(store, sync=False):
        assert f"process {os.getpid()}" in said(capsys, "--history", str(store))


def test_who_records_is_known_without_proc(store: Path) -> None:
    """A recorder of another user or PID namespace is not in our /proc/locks."""
    assert recorder_of(store) == RecorderState(running=False, cap=10_000_000)
    with HistoryWriter(store, 20_000_000, sync=False):
        assert recorder_of(store) == RecorderState(running=True, pid=os.getpid(), cap=20_000_000)
    (store / "lock").write_bytes(b"\xff\xb2 -1")  # a full disk, or nonsense
    assert recorder_of(store) == RecorderState(running=False)
    (store / "lock").unlink()
    assert recorder_of(store) == RecorderState(running=False)


def test_what_is_no_lock_leaves_it_unknown(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (store / "lock").unlink()
    os.mkfifo(store / "lock")
    assert recorder_of(store) is None
    (store / "lock").unlink()
    (store / "lock").symlink_to("/etc/passwd")
    assert recorder_of(store) is None
    assert json.loads(said(capsys, "--json", "--history", str(store)))["recorder"] is None
    assert "is not known" in said(capsys, "--history", str(store))


def test_asking_who_records_keeps_no_recorder_out(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks has the lock for a moment; a recorder that starts just then waits."""
    asker = os.open(store / "lock", os.O_RDONLY)
    fcntl.flock(asker, fcntl.LOCK_SH)
    assert recorder_of(store) == RecorderState(running=False, cap=10_000_000)
    monkeypatch.setattr(time, "sleep", lambda _s: os.close(asker))
    with HistoryWriter(store, sync=False):
        monkeypatch.setattr(time, "sleep", lambda _s: None)
        with pytest.raises(HeldError, match=f"written by process {os.getpid()}"):
            HistoryWriter(store, sync=False)


def test_nobody_records_into_a_file_that_was_exported(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    said(capsys, "export", str(file), "--history", str(store))
    assert Past(file).kept().recorder == RecorderState(running=False)


def test_a_store_of_which_nothing_can_be_read_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with HistoryWriter(tmp_path, sync=False) as writer:
        deltas = {"processes": np.ones((1, 32), np.int64)}
        row = {"processes": [make.process(1)]}
        writer.tick(make.tick(make.MONDAY * make.SECOND, row, deltas))
    (tmp_path / "tail").write_bytes(b"nonsense" * 99)
    os.utime(tmp_path / "tail", (make.MONDAY, make.MONDAY))
    (missing,) = json.loads(said(capsys, "--json", "--history", str(tmp_path)))["missing"]
    assert missing["since_ns"] is None
    assert missing["until_ns"] == (make.MONDAY + 1) * make.SECOND
    words = said(capsys, "--history", str(tmp_path))
    assert "missing: before 2026-09-2" in words
    assert words.rstrip().endswith("1 s: the tail is damaged")
    assert start.main(["export", str(tmp_path / "x"), "--history", str(tmp_path)]) == 1
    assert capsys.readouterr().err == "pbmon-client: the tail is damaged\n"


def test_a_range_goes_through_a_file(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, made = str(tmp_path / "file"), str(tmp_path / "made")
    since, until = (f"@{make.MONDAY + second}" for second in (10, 20))
    said(capsys, "export", file, "--history", str(store), "--since", since, "--until", until)
    said(capsys, "import", file, made)
    for place in (file, made):
        kept = json.loads(said(capsys, "--json", "--history", place))
        assert kept["tiers"][0]["until_ns"] == (make.MONDAY + 19) * make.SECOND


@pytest.mark.parametrize(
    ("until", "said"), [("11:00", ()), ("09:00", ("--until: 09:00 is read as the first one",))]
)
def test_an_exports_end_that_is_tomorrows_is_said(
    until: str, said: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    noon = make.MONDAY + 12 * 3600
    monkeypatch.setattr(kept_options, "time", SimpleNamespace(time=lambda: float(noon)))
    asked = kept_options.parse_export(["file", "--since", "10:00", "--until", until])
    assert asked.until == noon + (21 * 3600 if said else -3600)
    assert len(asked.remarks) == len(said)
    assert all(map(str.startswith, asked.remarks, said))


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["bogus"], 2),
        (["--bogus"], 2),
        (["export"], 2),
        (["export", "a", "--since", "nonsense"], 2),
        (["export", "a", "--since", "@20", "--until", "@10"], 2),
        (["import", "a"], 2),
        (["import", "/nonexistent/a", "/nonexistent/b"], 1),
        (["--history", "/nonexistent"], 1),
        (["export", "/nonexistent/a", "--history", "/nonexistent"], 1),
        (["--history", "/etc/passwd"], 1),
        (["--history", "a\nb"], 1),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        ended: object = start.main(arguments)
    except SystemExit as end:
        ended = end.code
    assert ended == status
    written = capsys.readouterr()
    assert written.err.count("\n") == 1
    assert not written.out


def test_a_directory_that_is_no_history_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "letters").write_text("none of pbmon's")
    assert start.main(["--history", str(tmp_path)]) == 1
    words = f"{tmp_path} has no history: `pbmon-client record` writes one"
    assert capsys.readouterr().err == f"pbmon-client: {words}\n"


def test_a_hint_to_record_is_only_for_what_is_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for place, hinted in ((tmp_path / "none", True), (Path("/dev/null"), False)):
        assert start.main(["--history", str(place)]) == 1
        assert ("writes one" in capsys.readouterr().err) == hinted


def test_a_bundle_that_cannot_be_written_or_read_is_named(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = tmp_path / "none" / "bundle"
    assert start.main(["export", "--history", str(store), str(nowhere)]) == 1
    assert capsys.readouterr().err.startswith(f"pbmon-client: {nowhere}: ")
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert start.main(["export", "--history", str(store), str(whole)]) == 0
    cut.write_bytes(whole.read_bytes()[:-1])
    assert start.main(["import", str(cut), str(tmp_path / "unpacked")]) == 1
    assert capsys.readouterr().err == f"pbmon-client: cannot read {cut}: it is not whole\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("command", ["export", "import"])
def test_a_signal_leaves_nothing_half_made(
    store: Path, tmp_path: Path, command: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, made = tmp_path / "bundle", tmp_path / "made"
    assert start.main(["export", "--history", str(store), str(bundle)]) == 0
    before = {*tmp_path.iterdir()}

    def interrupted(*_given: object, **_named: object) -> None:
        assert {*tmp_path.iterdir()} > before
        os.kill(os.getpid(), number)

    name = "_write" if command == "export" else "_append"
    monkeypatch.setattr(exporting, name, interrupted)
    given = {"export": ["--history", str(store), str(made)], "import": [str(bundle), str(made)]}
    handler = signal.signal(number, lambda *_of: None)  # the usual one would end the tests
    try:
        with pytest.raises(SystemExit) as end:
            start.main([command, *given[command]])
    finally:
        signal.signal(number, handler)
    assert end.value.code == 128 + number
    assert {*tmp_path.iterdir()} == before


def test_what_cannot_be_unpacked_is_named_as_it_was_given(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, fifo, linked = tmp_path / "bundle", tmp_path / "fifo", tmp_path / "linked"
    assert start.main(["export", "--history", str(store), str(bundle)]) == 0
    capsys.readouterr()
    os.mkfifo(fifo)
    (tmp_path / "empty").mkdir()
    linked.symlink_to("empty")
    for given, words in (
        ((fifo, tmp_path / "made"), f"{fifo}: not a regular file"),
        ((bundle, tmp_path / "none" / "made"), f"{tmp_path / 'none' / 'made'}: No such file"),
        ((bundle, linked), f"{linked}: Not a directory"),
    ):
        assert start.main(["import", *map(str, given)]) == 1
        assert capsys.readouterr().err.startswith(f"pbmon-client: {words}")
