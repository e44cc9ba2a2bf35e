"""Samples of one process on an injected root; processes that vanish or are refused."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from descriptors import descriptors
from fake_proc import (
    START_NS,
    FakeProc,
    failing,
    gone,
    identity_of,
    io_text,
    stat_line,
    unknown,
)

from pbmond.host import procfs
from pbmond.host.procfs import Procfs
from pbmond.kernel.records import START_TICK_NS, DiskBytes, IoAccounting


@pytest.fixture
def proc(tmp_path: Path) -> FakeProc:
    return FakeProc(tmp_path / "proc")


# --- samples ------------------------------------------------------------------------------------


def test_a_sample_has_the_processs_own_disk_bytes_not_its_childrens(proc: FakeProc) -> None:
    proc.process(42)
    sample = Procfs(proc.root).sample(42, START_NS)
    assert sample.disk == DiskBytes(4097, 8193)


def test_a_sample_describes_the_process_as_it_is_now(proc: FakeProc) -> None:
    base = proc.process(42)
    first = Procfs(proc.root).sample(42, START_NS).seen
    (base / "cmdline").write_bytes(b"cat: idle")
    (base / "cgroup").write_text("0::/system.slice/late.service\n")
    (base / "stat").write_bytes(stat_line(42, name=b"worker", ppid=9))
    now = Procfs(proc.root).sample(42, START_NS).seen
    assert first is not None
    assert now is not None
    assert (first.cmdline, first.cgroup) == (b"cat\0-n\0", b"/system.slice/cron.service")
    assert (now.cmdline, now.cgroup) == (b"cat: idle", b"/system.slice/late.service")
    assert (now.name, now.ppid) == (b"worker", 9)
    assert now.time_ns > first.time_ns


def test_the_accounting_of_a_process_has_its_childrens_and_its_own_disk_bytes(
    proc: FakeProc,
) -> None:
    proc.process(42)
    (proc.process(43) / "io").unlink()  # refused, or ended meanwhile
    (proc.process(44) / "io").write_text("rchar: 1\n")
    assert Procfs(proc.root).accounting() == [
        IoAccounting(42, START_NS, 1, 2, 900_001, 900_003, DiskBytes(4097, 8193))
    ]


def test_disk_bytes_are_summed_over_the_living_threads(proc: FakeProc) -> None:
    base = proc.process(42, threads=3)
    for tid, count in ((43, 10), (44, 100)):
        (base / "task" / str(tid)).mkdir()
        (base / "task" / str(tid) / "io").write_text(io_text(count, count + 1))
    (base / "task" / "45").mkdir()  # a thread that ended after the listing
    sample = Procfs(proc.root).sample(42, START_NS)
    assert sample.disk == DiskBytes(4097 + 110, 8193 + 112)


def test_disk_bytes_are_unknown_when_no_thread_could_be_read(proc: FakeProc) -> None:
    base = proc.process(42)
    (base / "task" / "42" / "io").unlink()
    sample = Procfs(proc.root).sample(42, START_NS)
    assert (sample.disk, sample.gone) == (None, False)


def test_a_sample_lists_every_open_inode_once(proc: FakeProc, tmp_path: Path) -> None:
    base = proc.process(42)
    for number, name in enumerate(("one", "two", "one")):
        proc.open_file(base, number, tmp_path / name)
    (base / "fd" / "9").symlink_to(tmp_path / "closed meanwhile")
    sample = Procfs(proc.root).sample(42, START_NS)
    assert sample.open_inodes == frozenset(
        {identity_of(tmp_path / "one"), identity_of(tmp_path / "two")}
    )


def test_a_process_with_nothing_open_has_no_open_inodes(proc: FakeProc) -> None:
    proc.process(42)
    assert Procfs(proc.root).sample(42, START_NS).open_inodes == frozenset()


def refuse_stat(base: Path, number: int) -> None:
    (base / "fd" / str(number)).symlink_to(str(number))  # a loop: statx fails, but not by ENOENT


def test_an_inode_that_statx_refuses_is_read_from_fdinfo(proc: FakeProc) -> None:
    base = proc.process(42)
    refuse_stat(base, 5)
    (base / "fdinfo" / "5").write_text("pos:\t0\nflags:\t02\nmnt_id:\t9\nino:\t77\nino:\t78\n")
    others = "".join(f"{100 + n} 1 0:{n} / /mnt/{n} rw - tmpfs none rw\n" for n in range(10_000))
    mount = "9 1 7:45 / /mnt rw - fuse none rw\n"
    (base / "mountinfo").write_text(others + mount)
    assert Procfs(proc.root).sample(42, START_NS).open_inodes == frozenset({(7 << 20 | 45, 77)})
    (base / "mountinfo").write_text(others)  # the mount is in no namespace any more
    assert Procfs(proc.root).sample(42, START_NS).open_inodes is None


def test_open_inodes_are_unknown_if_one_cannot_be_read(proc: FakeProc, tmp_path: Path) -> None:
    base = proc.process(42)
    proc.open_file(base, 0, tmp_path / "data")
    refuse_stat(base, 5)
    (base / "fdinfo" / "5").write_text("pos:\t0\nflags:\t02\nmnt_id:\t9\n")  # before 5.14
    assert Procfs(proc.root).sample(42, START_NS).open_inodes is None


def test_too_many_descriptors_are_unknown_and_too_many_threads_summed_by_the_kernel(
    proc: FakeProc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = proc.process(42, threads=2)
    (base / "task" / "43").mkdir()
    (base / "task" / "43" / "io").write_text(io_text(1, 1))
    for number in range(3):
        proc.open_file(base, number, tmp_path / str(number))
    monkeypatch.setattr(procfs, "MAX_DESCRIPTORS", 3)
    monkeypatch.setattr(procfs, "MAX_THREADS", 2)
    within = Procfs(proc.root).sample(42, START_NS)
    assert within.open_inodes is not None
    assert len(within.open_inodes) == 3
    assert within.disk == DiskBytes(4098, 8194)
    monkeypatch.setattr(procfs, "MAX_DESCRIPTORS", 2)
    monkeypatch.setattr(procfs, "MAX_THREADS", 1)
    beyond = Procfs(proc.root).sample(42, START_NS)
    assert beyond.open_inodes is None
    assert beyond.disk == DiskBytes(900_001, 900_003, 0)  # the kernel's sum; it waited for no child
    assert not beyond.gone


def test_a_process_is_sampled_by_its_exact_start_time(proc: FakeProc) -> None:
    proc.process(42)
    exact = START_NS + 1_234_567
    sample = Procfs(proc.root).sample(42, exact)
    assert (sample.start_ns, sample.gone) == (exact, False)


def test_a_reused_pid_means_gone(proc: FakeProc) -> None:
    proc.process(42)
    for start_ns in (
        START_NS - START_TICK_NS,
        START_NS + START_TICK_NS,
        START_NS - START_TICK_NS + 99,
    ):
        assert Procfs(proc.root).sample(42, start_ns) == gone(42, start_ns)


def test_a_missing_process_is_gone(proc: FakeProc) -> None:
    assert Procfs(proc.root).sample(42, 7) == gone(42, 7)
    assert Procfs(proc.root).process(42) is None


def dead_main_thread(proc: FakeProc, state_of_other: str) -> Path:
    """A process whose main thread ended: its files are to be found at thread 43 alone."""
    base = proc.process(42, state="Z", threads=2)
    (base / "exe").unlink()
    (base / "cmdline").write_bytes(b"")
    (base / "ns" / "net").unlink()
    (base / "cgroup").write_text("2:pids:/\n1:name=systemd:/\n0::/\n")
    (base / "task" / "42" / "stat").write_bytes(stat_line(42, state="Z", threads=2))
    other = base / "task" / "43"
    proc.thread(other)
    (other / "stat").write_bytes(stat_line(43, state=state_of_other, threads=2))
    (other / "io").write_text(io_text(3, 5))
    return other


def test_a_process_whose_main_thread_ended_is_read_from_another_thread(
    proc: FakeProc, tmp_path: Path
) -> None:
    other = dead_main_thread(proc, "S")
    proc.open_file(other, 0, tmp_path / "data")
    root = Procfs(proc.root)
    seen, sample = root.process(42), root.sample(42, START_NS)
    assert seen is not None
    assert (seen.exe, seen.cmdline, seen.netns) == (b"/usr/bin/cat", b"cat\0-n\0", 4026531840)
    assert root.cgroup(42) == seen.cgroup == b"/system.slice/cron.service"
    assert not sample.gone
    assert sample.disk == DiskBytes(4097 + 3, 8193 + 5)
    assert sample.open_inodes == frozenset({identity_of(tmp_path / "data")})


def test_a_process_whose_threads_all_ended_is_gone(proc: FakeProc) -> None:
    dead_main_thread(proc, "Z")
    assert Procfs(proc.root).process(42) is None
    assert Procfs(proc.root).sample(42, START_NS).gone


# --- vanishing and refusing ---------------------------------------------------------------------

OPTIONAL = ("exe", "cmdline", "cgroup", "ns/net")


@pytest.mark.parametrize("name", OPTIONAL)
def test_one_unreadable_file_is_none_and_the_others_are_read(proc: FakeProc, name: str) -> None:
    base = proc.process(42)
    (base / name).unlink()
    seen = Procfs(proc.root).process(42)
    assert seen is not None
    values = dict(zip(OPTIONAL, (seen.exe, seen.cmdline, seen.cgroup, seen.netns), strict=True))
    assert [key for key, value in values.items() if value is None] == [name]


@pytest.mark.parametrize("text", [None, b"", b"42", b"42 (cat", b"42 (cat) S 1\n"])
def test_a_process_without_a_whole_stat_is_not_described(
    proc: FakeProc, text: bytes | None
) -> None:
    base = proc.process(42)
    (base / "stat").unlink()
    if text is not None:
        (base / "stat").write_bytes(text)
    assert Procfs(proc.root).process(42) is None


@pytest.mark.parametrize("once", [True, False])
@pytest.mark.parametrize("error", [errno.ENOENT, errno.ESRCH, errno.EACCES, errno.EMFILE])
def test_a_process_may_vanish_or_be_refused_at_every_single_call(
    proc: FakeProc, tmp_path: Path, error: int, once: bool
) -> None:
    base = proc.process(42, threads=2)
    proc.open_file(base, 0, tmp_path / "data")
    root, start_ns = Procfs(proc.root), START_NS
    asks: tuple[Callable[[], Any], ...] = (
        lambda: root.process(42),
        lambda: root.sample(42, start_ns),
        lambda: root.used(42),
        root.listening,
    )
    for ask in asks:
        before = descriptors()
        with failing(10**6, error) as made:
            ask()
        assert len(made) >= 3
        for nth in range(len(made)):
            with failing(nth, error, once=once):
                ask()  # whatever it says, it must say it
            assert descriptors() <= before


def test_a_sample_cut_short_has_none_for_what_is_missing(proc: FakeProc, tmp_path: Path) -> None:
    base = proc.process(42)
    proc.open_file(base, 0, tmp_path / "data")
    whole = Procfs(proc.root).sample(42, START_NS)
    with failing(10**6, errno.ESRCH) as made:
        Procfs(proc.root).sample(42, START_NS)
    for nth in range(len(made)):
        with failing(nth, errno.ESRCH):
            cut = Procfs(proc.root).sample(42, START_NS)
        assert cut.disk in (None, whole.disk)
        assert cut.seen is None or cut.seen.name == b"cat"
        assert not cut.gone or cut == gone(42, START_NS)


@pytest.mark.parametrize("error", [errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENOMEM])
def test_a_process_that_may_not_be_looked_at_is_unknown_not_gone(
    proc: FakeProc, error: int
) -> None:
    proc.process(42)
    with failing(0, error):
        assert Procfs(proc.root).sample(42, 7) == unknown(42, 7)
