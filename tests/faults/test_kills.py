"""SIGKILL of any process at any moment leaves no program, no process and no scratch directory.

A publisher is back in 15 ms on an idle machine (see packaging/doc/architecture.md for what was
measured; times are not asserted). KILLS moments of each kind are tried; for more:
PBMON_KILLS=100 packaging/check tests/faults/test_kills.py
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import pytest
from publisher_stage import Stage, stage
from test_daemon import assert_gone, programs_of

from pbmond.patience import patient
from pbmond.selftest.private_daemon import Daemon
from pbmond.system import rights

KILLS = int(os.environ.get("PBMON_KILLS", "4"))
_PATIENCE_S = patient(60.0)
_Found = TypeVar("_Found")
#: At what part of a start the daemon is killed; a start takes about a second.
_MOMENTS = [step / KILLS * 1.2 for step in range(KILLS)]


def until(true: Callable[[], _Found]) -> _Found:
    """Ask again and again until the answer is true; return it."""
    end = time.monotonic() + _PATIENCE_S
    while not (found := true()):
        assert time.monotonic() < end, "in vain"
        time.sleep(0.01)
    return found


def descendants(pid: int) -> Iterator[int]:
    with suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            yield int(child)
            yield from descendants(int(child))


def is_alive(pid: int) -> bool:
    """Return whether a process still does anything: a zombie does not."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def named(daemon: Daemon, name: str) -> int:
    for pid in daemon.children():
        with suppress(OSError):
            if Path(f"/proc/{pid}/comm").read_text() == f"{name}\n":
                return pid
    return 0


def is_replaced(daemon: Daemon, publisher: int) -> bool:
    return named(daemon, rights.PUBLISHER_RIGHTS.name) not in (0, publisher)


def scratch(place: Path) -> Path:
    """Return the folder for temporary files of a daemon that was started in ``place``."""
    return place / "scratch"


def start(place: Path) -> subprocess.Popen[bytes]:
    scratch(place).mkdir()
    command = [sys.executable, "-m", "pbmond", "--run-dir", str(place / "run")]
    environment = {**os.environ, "TMPDIR": str(scratch(place))}
    with (place / "log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, env=environment)


@pytest.mark.parametrize("share", _MOMENTS)
def test_a_collector_killed_while_it_starts_leaves_nothing(tmp_path: Path, share: float) -> None:
    process = start(tmp_path)
    time.sleep(share)  # the moment is the point: there is nothing to wait for
    found = {*descendants(process.pid)}
    programs = programs_of(process.pid)
    process.kill()
    process.wait()
    until(lambda: not any(is_alive(pid) for pid in found))
    if programs:
        assert_gone(programs)
    with Daemon(tmp_path) as daemon:  # the next one starts well
        assert daemon.snapshot().health["status"]


def test_a_collector_killed_at_work_takes_its_children_and_programs_along(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        found, programs = daemon.children(), programs_of(daemon.process.pid)
        assert len(found) >= 2
        daemon.process.kill()
        until(lambda: not any(is_alive(pid) for pid in found))
    assert_gone(programs)


def test_a_loader_that_is_killed_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    process = start(tmp_path)

    def loader() -> int:
        for pid in descendants(process.pid):
            with suppress(OSError):
                if b"loader.py" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    return pid
        return 0

    os.kill(until(loader), signal.SIGKILL)
    assert process.wait(_PATIENCE_S) == 1
    lines = (tmp_path / "log").read_text().splitlines()
    assert "the loader was killed" in lines[-1]
    assert "Traceback" not in "".join(lines)
    assert not [*scratch(tmp_path).iterdir()]


def test_a_publisher_that_is_killed_again_and_again_is_replaced(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        for _ in range(KILLS):
            publisher = until(lambda: named(daemon, rights.PUBLISHER_RIGHTS.name))
            os.kill(publisher, signal.SIGKILL)
            until(lambda: is_replaced(daemon, publisher))  # noqa: B023 - called at once
            assert not is_alive(publisher)
        assert daemon.snapshot().health["status"]
        assert daemon.stop() == 0


def test_a_forker_that_is_killed_ends_the_daemon_with_one_line_for_the_supervisor_to_restart(
    tmp_path: Path,
) -> None:
    with Daemon(tmp_path) as daemon:
        found, programs = daemon.children(), programs_of(daemon.process.pid)
        os.kill(until(lambda: named(daemon, rights.FORKER_RIGHTS.name)), signal.SIGKILL)
        assert daemon.process.wait(_PATIENCE_S) == 1
        until(lambda: not any(is_alive(pid) for pid in found))
        words = daemon.log.read_text()
    assert "Traceback" not in words
    assert words.splitlines()[-1].endswith("has ended: start pbmond again")
    assert_gone(programs)


def test_clients_that_are_killed_cost_the_others_nothing(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        for _ in range(KILLS):
            client = subprocess.Popen(
                [sys.executable, "-m", "pbmon_client", "--ndjson"],
                stdout=subprocess.PIPE,
                env={**os.environ, "PBMON_SOCKET": f"{tmp_path}/pbmond.sock"},
            )
            assert client.stdout is not None
            assert client.stdout.readline()
            client.kill()
            client.communicate()
            assert daemon.snapshot().health["status"]
        publisher = named(daemon, rights.PUBLISHER_RIGHTS.name)
        assert publisher
        assert daemon.stop() == 0


def test_of_two_daemons_started_at_once_in_one_run_directory_one_serves(tmp_path: Path) -> None:
    """The other names it and ends, and neither its socket nor its pid file is touched."""
    places = tmp_path / "one", tmp_path / "other"
    for place in places:
        place.mkdir()
        (place / "run").symlink_to(tmp_path / "run")
    (tmp_path / "run").mkdir()
    processes = [start(place) for place in places]
    try:
        until(lambda: any(process.poll() is not None for process in processes))
        (loser,) = (at for at, process in enumerate(processes) if process.poll() is not None)
        winner = processes[1 - loser]
        assert processes[loser].returncode == 1
        said = (places[loser] / "log").read_text()
        assert said.count("\n") == 1
        assert str(winner.pid) in said
        assert (tmp_path / "run" / "pbmond.pid").read_text().strip() == str(winner.pid)
        shown = subprocess.run(
            [sys.executable, "-m", "pbmon_client", "--json", "--wait", str(_PATIENCE_S)],
            env={**os.environ, "PBMON_SOCKET": f"{tmp_path}/run/pbmond.sock"},
            capture_output=True,
            check=False,
        )
        assert shown.returncode == 0
    finally:
        for process in processes:
            process.terminate()
            process.wait()


@pytest.mark.parametrize(
    "output",
    [
        ["--ndjson", "--wait", "999"],
        ["--csv", "--flows", "--wait", "999"],
        ["web", "--listen", "0"],
    ],
)
def test_a_client_that_is_killed_leaves_no_topic_wanted(
    monkeypatch: pytest.MonkeyPatch, output: list[str]
) -> None:
    """The publisher takes its subscription back, so that nothing is encoded for nobody."""
    monkeypatch.setattr(Stage, "_tick", lambda *_: None)  # the client waits for what it can read
    with stage() as staged:
        for moment in range(KILLS):
            client = subprocess.Popen(
                [sys.executable, "-m", "pbmon_client", *output],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PBMON_SOCKET": str(staged.path)},
            )
            try:
                if moment:
                    until(lambda: staged.wanted)
                else:
                    time.sleep(0.3)  # it may be starting, or at its handshake
            finally:
                client.kill()
                client.wait()
            until(lambda: not staged.wanted)
        assert staged.starts == 1
