"""Processes as /proc describes them, on an injected root: whole, hostile, dead."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

import pytest
from fake_proc import ESTABLISHED, LISTEN, START_NS, TCP_HEADER, FakeProc, failing, gone, stat_line
from hypothesis import given
from hypothesis import strategies as st

from pbmond.host import proc_formats, procfs
from pbmond.host.procfs import Procfs, Used
from pbmond.kernel.records import START_TICK_NS, same_start


@pytest.fixture
def proc(tmp_path: Path) -> FakeProc:
    return FakeProc(tmp_path / "proc")


# --- start times --------------------------------------------------------------------------------


def test_a_start_time_from_proc_matches_every_exact_time_in_its_tick() -> None:
    coarse = START_NS
    assert same_start(coarse, coarse)
    assert same_start(coarse, coarse + 1)
    assert same_start(coarse + START_TICK_NS - 1, coarse)
    assert not same_start(coarse, coarse + START_TICK_NS)
    assert not same_start(coarse - 1, coarse)


def test_two_exact_start_times_in_one_tick_are_two_processes() -> None:
    exact = START_NS + 5
    assert same_start(exact, exact)
    assert not same_start(exact, exact + 1)


@given(st.integers(0, 2**64 - 1), st.integers(-2 * START_TICK_NS, 2 * START_TICK_NS))
def test_same_start_does_not_depend_on_the_order(one_ns: int, distance_ns: int) -> None:
    other_ns = max(one_ns + distance_ns, 0)
    assert same_start(one_ns, other_ns) == same_start(other_ns, one_ns)


def test_the_tick_of_start_times_is_this_kernels() -> None:
    assert 10**9 // os.sysconf("SC_CLK_TCK") == START_TICK_NS


# --- describing ---------------------------------------------------------------------------------


def test_a_process_is_described_whole(proc: FakeProc) -> None:
    proc.process(42, ppid=7)
    before_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    seen = Procfs(proc.root).process(42)
    assert seen is not None
    assert before_ns <= seen.time_ns <= time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    assert (seen.pid, seen.start_ns, seen.ppid) == (42, START_NS, 7)
    assert (seen.name, seen.exe, seen.cmdline) == (b"cat", b"/usr/bin/cat", b"cat\0-n\0")
    assert (seen.cgroup, seen.netns) == (b"/system.slice/cron.service", 4026531840)


def test_every_process_is_listed_and_nothing_else(proc: FakeProc) -> None:
    for pid in (1, 42, 4194303):
        proc.process(pid)
    assert sorted(Procfs(proc.root).pids()) == [1, 42, 4194303]


@pytest.mark.parametrize(
    "name",
    [
        b") S 1 2 3",
        b"a) Z 1",
        b"((",
        b"",
        b"a\nb",
        b"a b  c",
        b"\xff\xfe",
        b"\x1b[31m",
        b"12345678 (x)",
    ],
)
def test_a_hostile_name_changes_no_other_field(proc: FakeProc, name: bytes) -> None:
    proc.process(42, name=name, ppid=7)
    seen = Procfs(proc.root).process(42)
    assert seen is not None
    assert (seen.name, seen.ppid, seen.start_ns) == (name, 7, START_NS)


@given(st.binary(max_size=64), st.integers(0, 2**22), st.integers(0, 2**63))
def test_stat_is_parsed_under_any_name(name: bytes, ppid: int, start_ticks: int) -> None:
    stat = proc_formats.parse_stat(stat_line(42, name=name, ppid=ppid, start_ticks=start_ticks))
    assert (stat.name, stat.ppid, stat.start_ticks) == (name, ppid, start_ticks)
    assert (stat.state, stat.threads, stat.cpu_ticks, stat.rss_pages) == (b"S", 1, 12, 411)


@given(st.binary(max_size=200))
def test_text_that_is_no_stat_file_is_a_value_error(text: bytes) -> None:
    with contextlib.suppress(ValueError):
        stat = proc_formats.parse_stat(text)
        assert len(text[text.rindex(b")") + 1 :].split()) >= 22
        assert stat.name in text


def test_the_user_is_the_owner_of_the_directory(proc: FakeProc) -> None:
    proc.process(42)
    seen = Procfs(proc.root).process(42)
    assert seen is not None
    assert seen.uid == os.geteuid()


def test_a_kernel_thread_has_neither_exe_nor_command_line(proc: FakeProc) -> None:
    base = proc.process(2, name=b"kthreadd", ppid=0)
    (base / "exe").unlink()
    (base / "cmdline").write_bytes(b"")
    seen = Procfs(proc.root).process(2)
    assert seen is not None
    assert (seen.name, seen.exe, seen.cmdline) == (b"kthreadd", None, None)


@pytest.mark.parametrize("state", ["Z", "X"])
def test_a_zombie_is_not_alive(proc: FakeProc, state: str) -> None:
    base = proc.process(42, state=state)
    (base / "exe").unlink()
    root = Procfs(proc.root)
    assert root.process(42) is None
    assert root.process(42) is None
    assert root.sample(42, START_NS) == gone(42, START_NS)


def test_a_long_command_line_is_cut(proc: FakeProc) -> None:
    base = proc.process(42)
    (base / "cmdline").write_bytes(b"a\0" * 100_000)
    seen = Procfs(proc.root).process(42)
    assert seen is not None
    assert seen.cmdline == b"a\0" * (procfs.MAX_CMDLINE_BYTES // 2)


# --- exe ----------------------------------------------------------------------------------------


def exe_of(proc: FakeProc, link: str) -> bytes | None:
    base = proc.process(42)
    (base / "exe").unlink()
    (base / "exe").symlink_to(link)
    seen = Procfs(proc.root).process(42)
    assert seen is not None
    return seen.exe


def test_a_deleted_program_is_marked_as_the_kernel_does(proc: FakeProc) -> None:
    assert exe_of(proc, "/no/such/tool (deleted)") == b"/no/such/tool (deleted)"


# --- cgroup -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (b"0::/system.slice/a.service\n", b"/system.slice/a.service"),
        (b"0::/\n", b"/"),
        (b"", None),
        (b"4:memory:/m\n1:name=systemd:/u.service\n0::/v2\n", b"/v2"),
        (b"4:memory:/m\n2:pids:/p\n1:name=systemd:/u.service\n0::/\n", b"/u.service"),
        (b"4:memory:/m\n2:pids:/p\n1:name=systemd:/\n", b"/p"),
        (b"4:memory:/docker/ab\n2:pids:/\n1:name=systemd:/\n0::/\n", b"/docker/ab"),
        (b"5:cpu,cpuacct:/c\n4:memory:/\n1:name=systemd:/\n", b"/c"),
        (b"4:memory:/\n1:name=systemd:/\n", b"/"),
        (b"0::/a:b/c::d\n", b"/a:b/c::d"),
        (b"0::/a\rb\n", b"/a\rb"),
        (b"0::/user.slice/x\\x2dy.scope\n", b"/user.slice/x\\x2dy.scope"),
    ],
)
def test_the_cgroup_path_that_says_most_is_chosen(text: bytes, path: bytes | None) -> None:
    assert proc_formats.parse_cgroup(text) == path


@given(st.binary(max_size=200))
def test_any_cgroup_file_gives_a_path_or_none(text: bytes) -> None:
    path = proc_formats.parse_cgroup(text)
    assert path is None or path in text or path == b"/"


# --- listening ports ----------------------------------------------------------------------------


def write_tcp(base: Path, name: str, *rows: str) -> None:
    (base / "net" / name).write_text(TCP_HEADER + "".join(rows))


def test_listening_ports_are_told_by_namespace(proc: FakeProc) -> None:
    first, second = proc.process(1), proc.process(42)
    (second / "ns" / "net").unlink()
    (second / "ns" / "net").symlink_to("net:[77]")
    write_tcp(first, "tcp", LISTEN.format(port=22), ESTABLISHED.format(port=40000))
    write_tcp(first, "tcp6", LISTEN.format(port=443).replace("00000000:", "0" * 32 + ":", 1))
    write_tcp(second, "tcp", LISTEN.format(port=80), LISTEN.format(port=65535))
    expected = {(4026531840, 22), (4026531840, 443), (77, 80), (77, 65535)}
    assert Procfs(proc.root).listening() == expected


def test_each_namespace_is_read_once(proc: FakeProc) -> None:
    for pid in range(1, 6):
        proc.process(pid)
    with failing(10**6, 0) as made:
        Procfs(proc.root).listening()
    assert made.count("readlink") == 5
    assert made.count("open") == 5 + len(("tcp6", "tcp"))


def test_a_namespace_is_read_from_another_process_when_one_vanishes(proc: FakeProc) -> None:
    for pid in (1, 2, 3):
        base = proc.process(pid)
        write_tcp(base, "tcp", LISTEN.format(port=22))
        if pid != 2:
            (base / "net" / "tcp").unlink()
            (base / "net" / "tcp6").unlink()
    assert Procfs(proc.root).listening() == {(4026531840, 22)}


def test_a_host_without_ipv6_still_has_its_ports(proc: FakeProc) -> None:
    base = proc.process(1)
    write_tcp(base, "tcp", LISTEN.format(port=22))
    (base / "net" / "tcp6").unlink()
    assert Procfs(proc.root).listening() == {(4026531840, 22)}


# --- the rest -----------------------------------------------------------------------------------


def test_the_boot_id_is_read_without_its_newline(proc: FakeProc) -> None:
    path = proc.root / "sys/kernel/random/boot_id"
    path.parent.mkdir(parents=True)
    path.write_text("0f8fad5b-d9cb-469f-a165-70867728950e\n")
    assert Procfs(proc.root).boot_id() == "0f8fad5b-d9cb-469f-a165-70867728950e"


def test_what_a_process_has_used_is_known_while_it_is_there(proc: FakeProc) -> None:
    proc.process(42)
    used = Used(12 * START_TICK_NS, 411 * os.sysconf("SC_PAGESIZE"))
    assert Procfs(proc.root).used(42) == used
    assert Procfs(proc.root).used(43) is None
