"""Names looked up in other threads, signals to the right process, views printed once."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import demo_world
import pytest
from fake_publisher import PATIENCE_S

from pbmon_client import cli, options
from pbmon_client.tui import display, kill, names, start
from pbmon_client.tui.app import App
from pbmon_client.tui.names import Names
from pbmon_client.tui.session.settings import Settings

# --- names ----------------------------------------------------------------------------------------


def test_a_name_is_none_until_it_is_found_and_nobody_waits_for_it() -> None:
    asked, answer, found = threading.Event(), threading.Event(), threading.Event()

    def slow(address: str) -> str:
        asked.set()
        answer.wait(PATIENCE_S)
        return f"name-of-{address}"

    book = Names(found.set, slow, lambda _protocol, _port: None)
    assert book.host("192.0.2.1") is None
    assert asked.wait(PATIENCE_S)
    assert book.host("192.0.2.1") is None
    answer.set()
    assert found.wait(PATIENCE_S)
    assert book.host("192.0.2.1") == "name-of-192.0.2.1"


def test_each_name_is_asked_for_once() -> None:
    calls: list[tuple[str, int]] = []
    found = threading.Event()

    def service(protocol: str, port: int) -> str:
        calls.append((protocol, port))
        return "https"

    book = Names(found.set, lambda _address: None, service)
    for _ in range(5):
        book.service("tcp", 443)
    assert found.wait(PATIENCE_S)
    assert book.service("tcp", 443) == "https"
    assert calls == [("tcp", 443)]


def test_an_answer_that_comes_at_once_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    book = Names(lambda: None, lambda address: f"name-of-{address}")
    put = book._waiting.put_nowait
    answered = threading.Event()
    book._found = answered.set

    def answer_first(question: Any) -> None:
        put(question)
        assert answered.wait(PATIENCE_S)

    monkeypatch.setattr(book._waiting, "put_nowait", answer_first)
    book.host("192.0.2.1")
    assert book.host("192.0.2.1") == "name-of-192.0.2.1"


def test_a_lookup_that_failed_is_tried_again_after_a_minute() -> None:
    now_s = 1000.0
    answers = iter([None, "late.example"])
    asked, found = threading.Semaphore(0), threading.Event()

    def look_up(_address: str) -> str | None:
        asked.release()
        return next(answers)

    book = Names(found.set, look_up, clock=lambda: now_s)
    assert book.host("192.0.2.1") is None
    assert asked.acquire(timeout=PATIENCE_S)
    now_s += 59
    assert book.host("192.0.2.1") is None
    assert not asked.acquire(blocking=False)
    deadline = time.monotonic() + PATIENCE_S
    while not found.wait(0.01):  # the thread may note its failure only now
        now_s += 61
        book.host("192.0.2.1")
        assert time.monotonic() < deadline
    assert book.host("192.0.2.1") == "late.example"


def test_what_has_no_name_is_no_error() -> None:
    assert names.host_name("no address") is None
    assert names.service_name("tcp", 1 << 20) is None
    assert names.service_name("no protocol", 1) is None


# --- signals --------------------------------------------------------------------------------------


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as started:
        yield started
        started.kill()


def start_ns(pid: int) -> int:
    """Return when a process started, as /proc tells: a multiple of 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    return int(fields[19]) * 10_000_000


def test_a_signal_reaches_the_process_that_was_meant(child: subprocess.Popen[bytes]) -> None:
    exact = start_ns(child.pid) + 4_321_000
    assert kill.send(child.pid, exact, signal.SIGTERM) is None
    assert child.wait(PATIENCE_S) == -signal.SIGTERM


def test_a_process_that_took_over_the_number_is_spared(child: subprocess.Popen[bytes]) -> None:
    other = start_ns(child.pid) - 10_000_000
    assert kill.send(child.pid, other, signal.SIGKILL) == (
        f"process {child.pid} now belongs to another process"
    )
    assert child.poll() is None


def test_signalling_an_exited_process_is_reported(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.wait()
    assert kill.send(child.pid, 0, signal.SIGTERM) == f"process {child.pid} has exited already"


# --- once -----------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def locale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C.UTF-8")


def once(capfdbinary: pytest.CaptureFixture[bytes], *arguments: str) -> str:
    assert cli.main(["--once", "--demo", str(demo_world.FILE), *arguments]) == 0
    out, err = capfdbinary.readouterr()
    assert err == b""
    return out.decode()


def test_once_prints_a_view_as_plain_text(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    text = once(capfdbinary, "--view", "connections", "--top", "3")
    assert "\x1b" not in text
    assert "web-1" in text
    assert "198.51.100.7:873" in text
    assert "… and 13 more" in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("locale", ["C", "POSIX", "en_US.ISO-8859-1"])
def test_once_is_ascii_where_the_locale_is_not_unicode(
    locale: str, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", locale)
    text = once(capfdbinary, "--view", "connections", "--top", "3")
    assert text.isascii()
    assert "~ and 13 more" in text
    assert "?" not in text  # which would mean that something is not known


@pytest.mark.parametrize("view", options.VIEW_NAMES)
def test_every_view_can_be_printed(view: str, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert len(once(capfdbinary, "--view", view).splitlines()) > 6


def test_once_filters_sorts_and_widens(
    capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    text = once(capfdbinary, "--filter", "user = postgres", "--sort", "pid", "--reverse")
    rows = [line.split() for line in text.splitlines() if "postgresql.service" in line]
    assert [row[0] for row in rows] == ["2311", "2388"]
    assert "LO RX" in text
    only = once(capfdbinary, "-p", "1202", "--view", "files")
    assert "tour.mp4" in only
    assert "archive" not in only


def test_sorting_by_a_total_prints_totals(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    text = once(capfdbinary, "--sort", "net_tx_bytes", "--top", "1")
    assert "9.3G" in text


def test_a_view_and_a_recording_are_for_screens_and_for_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for arguments in (["--json", "--view", "tree"], ["--csv", "--demo", "x"], ["--view", "none"]):
        with pytest.raises(SystemExit) as caught:
            options.parse(arguments)
        assert caught.value.code == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_a_recording_without_a_terminal_needs_once() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pbmon_client", "--demo", str(demo_world.FILE)],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert "--once" in done.stderr


# --- the command line -----------------------------------------------------------------------------


def applied(*arguments: str) -> App:
    app = App(Settings())
    start.apply(app, options.parse(list(arguments)))
    return app


def test_options_win_over_what_was_remembered() -> None:
    state = applied("--view", "hosts", "--filter", "pid = 3", "--active", "-d", "5").state
    assert state.position.view.name == "hosts"
    assert state.search.text == "pid = 3"
    assert state.settings.active
    assert state.interval_s == 5.0


def test_sort_options_choose_the_views_column() -> None:
    state = applied("--sort", "net_tx_bytes_per_s", "--reverse").state
    assert state.sort_of(state.position.view) == ("net_tx", True)
    assert applied("--flows").state.position.view.name == "connections"


def test_the_interface_loads_neither_numpy_nor_what_only_filters_need() -> None:
    script = "import sys\nfrom pbmon_client.tui import start, terminal\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert not {"numpy", "lark", "difflib", "csv"} & set(done.stdout.split())


def test_urwid_is_not_loaded_before_the_daemon_was_asked() -> None:
    script = "import sys\nfrom pbmon_client.tui import start\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert "urwid" not in done.stdout.split()


@pytest.mark.parametrize(
    ("environment", "shows"),
    [
        ({"TERM": "xterm-256color"}, True),
        ({"TERM": "xterm", "COLORTERM": "truecolor"}, True),
        ({"TERM": "linux"}, False),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, False),
        ({}, False),
    ],
)
def test_the_environment_says_whether_a_terminal_shows_256_colours(
    environment: dict[str, str], shows: bool
) -> None:
    assert display.shows_256(environment) is shows
