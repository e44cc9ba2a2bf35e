"""A process is what it is now: title, unit, namespace, user and program follow it while it runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from conservation import assert_conserved
from processes import Row, row_of
from waiting import snapshot_when

from pbmond import wire
from pbmond.fields import OPEN
from pbmond.selftest.private_daemon import Daemon

_LINGER_S = 1.0
#: Obeys a line at a time: Python that it executes. Between them it is quiet.
_OBEY = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
null = open("/dev/null", "wb", 0)
def title(beyond):
    begin, end = map(int, open("/proc/self/stat").read().rsplit(")", 1)[1].split()[45:47])
    text = b"worker: idle" if beyond is None else b"w" * (end - begin + beyond)
    ctypes.memset(begin, 0, end - begin)
    ctypes.memmove(begin, text + bytes(1), len(text) + 1)
for line in sys.stdin:
    exec(line)
    print("done", flush=True)
"""


class Actor:
    """A process that does what it is told."""

    def __init__(self, *command: str) -> None:
        self._running = subprocess.Popen(
            [*(command or (sys.executable,)), "-I", "-c", _OBEY],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"ROOM": "y" * 200},
        )
        self.pid = self._running.pid

    def do(self, line: str) -> None:
        assert self._running.stdin is not None
        assert self._running.stdout is not None
        self._running.stdin.write(line + "\n")
        self._running.stdin.flush()
        assert self._running.stdout.readline() == "done\n"

    def end(self) -> None:
        assert self._running.stdin is not None
        self._running.stdin.close()
        self._running.wait()
        assert self._running.stdout is not None
        self._running.stdout.close()


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("daemon"), exited_linger_s=_LINGER_S) as running:
        yield running


@pytest.fixture
def actor() -> Iterator[Actor]:
    running = Actor()
    yield running
    running.end()


def shown(daemon: Daemon, actor: Actor, **wanted: object) -> dict[str, Any]:
    """Let the process move a byte; return its row once it is as ``wanted``.

    That is the next but one, unless others keep the daemon so busy that it looks a round later.
    """
    actor.do("null.write(b'x')")
    daemon.snapshot()

    def missing(message: wire.Message) -> list[str]:
        row = row_of(message, actor.pid)
        return [f"{name}, it is {row[name]!r}" for name in wanted if row[name] != wanted[name]]

    return row_of(snapshot_when(daemon, missing), actor.pid)


def unified() -> Path:
    """Return where cgroup v2 is mounted."""
    for line in Path("/proc/mounts").read_text().splitlines():
        if line.split()[2] == "cgroup2":
            return Path(line.split()[1])
    pytest.skip("no cgroup v2 is mounted")


@contextmanager
def groups(*places: str) -> Iterator[list[Path]]:
    with ExitStack() as stack:
        made = []
        for place in places:
            group = unified() / place
            # The outermost first, so that it is removed last.
            for each in (*reversed(group.relative_to(unified()).parents[:-1]), Path(place)):
                if not (unified() / each).exists():
                    (unified() / each).mkdir()
                    stack.callback((unified() / each).rmdir)
            made.append(group)
        yield made


@pytest.mark.parametrize("beyond", [None, 100])
def test_a_title_is_shown_whole_also_beyond_the_arguments(
    daemon: Daemon, actor: Actor, beyond: int | None
) -> None:
    first = shown(daemon, actor)["cmdline"]
    assert first.startswith(sys.executable.encode())
    actor.do(f"title({beyond})")
    now = Path(f"/proc/{actor.pid}/cmdline").read_bytes()
    assert len(now.rstrip(b"\0")) == (12 if beyond is None else len(first) + beyond)
    shown(daemon, actor, cmdline=now)


def old_title(row: Row) -> str:
    """What is missing while a process has another title than it gave itself."""
    title = row["cmdline"]
    return "" if title.startswith(b"worker: idle") else f"the new title, it is {title!r}"


def test_a_quiet_process_has_its_title_within_the_time_of_a_round(
    daemon: Daemon, actor: Actor
) -> None:
    shown(daemon, actor)
    actor.do("title(None)")
    message = snapshot_when(daemon, lambda message: old_title(row_of(message, actor.pid)))
    assert row_of(message, actor.pid)["device_write_bytes"] == 1
    assert daemon.snapshot().health["cost"]["looks"] > 0


def test_user_namespace_and_parent_follow_the_process(daemon: Daemon, actor: Actor) -> None:
    before = shown(daemon, actor)
    actor.do("assert libc.unshare(0x40000000) == 0")  # CLONE_NEWNET
    actor.do("os.seteuid(65534)")
    netns = Path(f"/proc/{actor.pid}/ns/net").stat().st_ino
    assert netns != before["netns"]
    assert before["uid"] == 0
    shown(daemon, actor, netns=netns, uid=65534, ppid=os.getpid())


def test_a_program_that_was_deleted_is_marked(daemon: Daemon, tmp_path: Path) -> None:
    program = tmp_path / "tool"
    shutil.copy(Path(sys.executable).resolve(), program)
    actor = Actor(str(program))
    try:
        shown(daemon, actor, exe=bytes(program))
        program.unlink()
        shown(daemon, actor, exe=bytes(program) + b" (deleted)")
    finally:
        actor.end()


def test_whether_a_file_is_open_is_null_beyond_4096_descriptors(
    daemon: Daemon, actor: Actor, tmp_path: Path
) -> None:
    path = tmp_path / "data"
    wanted = [os.fsencode(path)]

    def await_open(value: bool | None) -> None:
        def missing(message: wire.Message) -> str:
            assert message.files is not None
            (row,) = (row for row in message.files.rows() if [row["path"]] == wanted)
            return "" if OPEN[row["open"]] is value else f"open = {value}"

        shown(daemon, actor)
        snapshot_when(daemon, missing)

    actor.do(f"file = open({str(path)!r}, 'wb', 0); file.write(b'x')")
    await_open(True)
    actor.do("import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (6000, 6000))")
    actor.do("more = [os.dup(0) for _ in range(5000)]")
    await_open(None)


def moved_by_unit(message: wire.Message, units: set[bytes]) -> dict[bytes, tuple[int, int]]:
    rows = (row for row in message.retired.rows() if row["unit"] in units)
    return {row["unit"]: (row["device_write_bytes"], row["processes"]) for row in rows}


def fewer_units(units: set[bytes], wanted: int) -> Callable[[wire.Message], str]:
    """What is missing while fewer of ``units`` have retired processes."""

    def missing(message: wire.Message) -> str:
        assert_conserved(message)
        moved = moved_by_unit(message, units)
        return "" if len(moved) >= wanted else f"{units - set(moved)} among the retired"

    return missing


def test_bytes_stay_with_the_unit_that_they_were_moved_in(daemon: Daemon) -> None:
    names = [f"system.slice/pbmon-{os.getpid()}-{name}.service" for name in ("early", "late")]
    early, late = (name.rpartition("/")[2].encode() for name in names)
    actor = Actor()
    with groups(*names) as (first, second):
        (first / "cgroup.procs").write_text(str(actor.pid))
        shown(daemon, actor, unit=early)
        actor.do("null.write(bytes(1000))")
        daemon.snapshot()
        (second / "cgroup.procs").write_text(str(actor.pid))
        shown(daemon, actor, unit=late, cgroup=b"/" + names[1].encode())
        actor.do("null.write(bytes(50000))")
        message = daemon.snapshot()
        assert row_of(message, actor.pid)["device_write_bytes"] == 51002
        actor.end()
        message = snapshot_when(daemon, fewer_units({early, late}, 2))
    # The byte that draws the daemon's eye is of the unit before if it does not look at once.
    assert moved_by_unit(message, {early, late}) in (
        {early: (1001, 0), late: (50001, 1)},
        {early: (1002, 0), late: (50000, 1)},
    )
    assert_conserved(message)


def test_a_unit_in_a_container_is_not_the_hosts(daemon: Daemon) -> None:
    name = f"pbmon-{os.getpid()}.service"
    places = [f"system.slice/{name}", f"lxc.payload.web/system.slice/{name}",
              f"docker/{'ab' * 32}/system.slice/{name}"]  # fmt: skip
    with groups(*places) as made:
        for size, group in enumerate(made, 1):
            program = f'echo 0 > "{group}/cgroup.procs"; exec head -c {size} /dev/zero > /dev/null'
            subprocess.run(["sh", "-c", program], check=True)
        units = {f"{name}{inside}".encode() for inside in ("", "@lxc:web", f"@docker:{'ab' * 32}")}
        message = snapshot_when(daemon, fewer_units(units, 3))
    moved = moved_by_unit(message, units)
    # The two bytes of the echo, and those of head.
    assert {unit.partition(b"@")[2][:6]: each for unit, each in moved.items()} == {
        b"": (3, 1), b"lxc:we": (4, 1), b"docker": (5, 1)
    }  # fmt: skip
