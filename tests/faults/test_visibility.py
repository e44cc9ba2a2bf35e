"""A viewer sees no more than /proc allows: what a process did as another user shows nowhere.

Each attack reads 64 MiB of a secret file as root and then becomes user 65534, wholly or in part,
while that user records every snapshot that the client prints.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from visibility_stage import (
    AS_USER,
    CLIENT,
    HIDDEN,
    LIMIT_S,
    SECRET_BYTES,
    SHOWN,
    USER,
    Process,
    World,
    attack,
    new_world,
    pid_of,
    rows_of,
    running,
)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with new_world() as made:
        yield made


class Viewer:
    """The client of user 65534: every snapshot that it prints."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.snapshots: list[dict[str, Any]] = []
        self.lines: list[str] = []

    def follow(self) -> dict[str, Any]:
        """Return the next snapshot."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the client ended"
        self.lines.append(line)
        self.snapshots.append(json.loads(line))
        return self.snapshots[-1]

    def follow_until(self, done: Any) -> dict[str, Any]:
        deadline = time.monotonic() + LIMIT_S
        while not done(snapshot := self.follow()):
            assert time.monotonic() < deadline
        return snapshot

    def assert_nothing_of(self, secret: Path) -> None:
        """No path, no byte and no rate of what was read before shows in any snapshot."""
        assert not [line for line in self.lines if str(secret) in line]
        for each in self.snapshots:
            assert each["totals"]["file_read_bytes"] < SECRET_BYTES
            assert all(row["file_read_bytes"] < SECRET_BYTES for row in each["processes"])
            assert all(row["file_read_bytes"] < SECRET_BYTES for row in each["retired"])
            assert (each["totals"]["file_read_bytes_per_s"] or 0) < SECRET_BYTES


@contextmanager
def watching(world: World) -> Iterator[Viewer]:
    words = [
        str(CLIENT),
        "--ndjson",
        "--flows",
        "--socket",
        f"{world.daemon.directory}/pbmond.sock",
    ]
    with running(words, cwd="/", **AS_USER) as process:
        viewer = Viewer(process)
        viewer.follow()
        yield viewer


def after(world: World) -> Callable[[dict[str, Any]], bool]:
    """Return whether a snapshot was made from now on; older ones may wait before the client."""
    seq = world.daemon.snapshot().seq
    return lambda snapshot: snapshot["seq"] >= seq


def root_reads(world: World, pid: int) -> dict[str, int]:
    """Return what root sees that a process has read, by path."""
    files = world.daemon.snapshot().files
    assert files is not None
    return {
        os.fsdecode(row["path"] or b""): row["read_bytes"]
        for row in files.rows()
        if row["pid"] == pid
    }


@pytest.mark.parametrize("code", HIDDEN.values(), ids=list(HIDDEN))
def test_a_process_that_is_not_the_viewers_alone_shows_nowhere(world: World, code: str) -> None:
    with watching(world) as viewer, attack(world, code) as process:
        pid = pid_of(process)
        until = time.monotonic() + 3
        viewer.follow_until(lambda _: time.monotonic() > until)
        assert not [row for each in viewer.snapshots for row in rows_of(each, pid)]
        viewer.assert_nothing_of(world.secret)
        reads = root_reads(world, pid)
        assert reads[str(world.secret)] >= SECRET_BYTES
        assert reads[str(world.ordinary)] > 0


@pytest.mark.parametrize("code", SHOWN.values(), ids=list(SHOWN))
def test_a_process_that_becomes_the_viewers_shows_what_it_does_then(
    world: World, code: str
) -> None:
    with watching(world) as viewer, attack(world, code) as process:
        pid = pid_of(process)

        def shown(snapshot: dict[str, Any]) -> bool:
            rows = rows_of(snapshot, pid)
            return any(row.get("path") == str(world.ordinary) for row in rows)

        rows = rows_of(viewer.follow_until(shown), pid)
        assert rows[0]["files"] == len(rows) - 1
        for _ in range(5):
            viewer.follow()
        viewer.assert_nothing_of(world.secret)
        assert root_reads(world, pid)[str(world.secret)] >= SECRET_BYTES


_HIDES = """
read(ordinary); print(os.getpid(), flush=True)
time.sleep(5); dumpable(0); read(tools); work()
"""
_EXECUTES = """
read(ordinary); time.sleep(1); print(os.getpid(), flush=True)
reader = os.path.join(os.path.dirname(secret), "reader")
os.execv(reader, ["reader", f"if={secret}", "of=/dev/null", "bs=1M"])
"""


def test_what_makes_itself_undumpable_shows_no_more(world: World) -> None:
    with watching(world) as viewer, attack(world, _HIDES, **AS_USER) as process:
        pid = pid_of(process)
        viewer.follow_until(lambda each: bool(rows_of(each, pid)))
        last = viewer.follow_until(lambda each: not rows_of(each, pid))
        for _ in range(5):
            assert not rows_of(viewer.follow(), pid)
        assert not [line for line in viewer.lines if str(world.top / "tools.py") in line]
        assert last["totals"]["file_read_bytes"] > 0


def test_a_set_uid_program_that_the_viewer_executes_is_not_theirs(world: World) -> None:
    if os.statvfs(world.top).f_flag & os.ST_NOSUID:
        pytest.skip("the temporary directory ignores set-uid programs")
    with watching(world) as viewer, attack(world, _EXECUTES, **AS_USER) as process:
        pid = pid_of(process)
        assert process.wait(LIMIT_S) == 0
        reads = root_reads(world, pid)
        viewer.follow_until(after(world))
        assert reads[str(world.secret)] == SECRET_BYTES
        assert not rows_of(viewer.snapshots[-1], pid)
        viewer.assert_nothing_of(world.secret)


_UNLINKS = """
path = ordinary + ".pub/mine"
file = os.open(path, os.O_RDONLY)
os.pread(file, 100, 0)
print(os.getpid(), flush=True)
time.sleep(1)
os.unlink(path)
while True:
    os.pread(file, 100, 0)
    time.sleep(0.02)
"""


def test_a_hard_link_in_a_folder_of_roots_stays_unknown_when_the_users_own_is_gone(
    world: World,
) -> None:
    """As of a backup by hard links: /proc says no more than that the name is deleted."""
    public, private = Path(f"{world.ordinary}.pub"), world.top / "private"
    public.mkdir()
    private.mkdir(mode=0o700)
    (public / "mine").write_bytes(bytes(1000))
    (private / "backup").hardlink_to(public / "mine")
    for path in (public, public / "mine"):
        os.chown(path, USER, USER)
    with watching(world) as viewer, attack(world, _UNLINKS, **AS_USER) as process:
        pid = pid_of(process)
        viewer.follow_until(lambda each: str(public / "mine") in paths_of(each, pid))
        viewer.follow_until(lambda _: not (public / "mine").exists())
        (private / "backup").stat()  # the kernel knows this name
        for _ in range(10):
            viewer.follow()
        assert not [line for line in viewer.lines if str(private) in line]
        assert str(public / "mine") in paths_of(viewer.snapshots[-1], pid)


def paths_of(snapshot: dict[str, Any], pid: int) -> set[str]:
    return {row["path"] for row in snapshot["files"] if row["pid"] == pid}


_SPAWN = """
import os, subprocess, sys, time
began = time.monotonic()
for n in range(600):
    subprocess.run(["/bin/cat", sys.argv[1]], stdout=subprocess.DEVNULL, check=True)
    time.sleep(max(0.0, began + (n + 1) / 200 - time.monotonic()))
"""


def test_every_byte_of_a_users_own_short_lived_processes_shows(world: World) -> None:
    """600 runs of cat, 200 a second, each reads 1,000 bytes.

    A busy machine takes longer for them than a process that ended is shown: each counts as it was
    shown last.
    """
    words = [sys.executable, "-I", "-S", "-c", _SPAWN, str(world.ordinary)]
    shown: dict[tuple[int, int], int] = {}
    with watching(world) as viewer, running(words, **AS_USER) as spawning:
        while spawning.poll() is None:
            viewer.follow()
        assert spawning.returncode == 0
        viewer.follow_until(after(world))
        for snapshot in viewer.snapshots:
            cats = {whose(row) for row in snapshot["processes"] if row["name"] == "cat"}
            for row in snapshot["files"]:
                if row["path"] == str(world.ordinary) and whose(row) in cats:
                    shown[whose(row)] = row["read_bytes"]
        assert viewer.snapshots[-1]["health"]["lost"]["events"] == 0
    assert len(shown) == 600
    assert set(shown.values()) == {1000}


def whose(row: dict[str, Any]) -> tuple[int, int]:
    return row["pid"], row["start_ns"]
