"""Events of the ring buffer: what the kernel writes becomes frozen values, or nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbmond.kernel import events
from pbmond.kernel.records import FileSeen, ProcessExited, ProcessSeen, UnixSeen

START_NS, TIME_NS = 5_000_000_123, 6_000_000_456


def head(kind: int, row: int = 0) -> bytes:
    return events.HEAD.pack(kind, 42, START_NS, TIME_NS, row)


def named(
    kind: int,
    path: bytes,
    cmdline: bytes = b"",
    cgroup: bytes = b"",
    *,
    whole: int = 1,
    magic: int = 0xEF53,
    viewer: int = 1000,
) -> bytes:
    sizes = (len(path), len(cmdline), len(cgroup))
    told = (7, 1000, 4026531840)
    name = events.NAME.pack(*told, *sizes, whole, magic, 12, b"worker\0stale", viewer)
    return head(kind, 99) + name + path + cmdline + cgroup


def unix(local: bytes, remote: bytes, inode: int) -> bytes:
    names = events.UNIX_NAMES.pack(inode, len(local), len(remote), local, remote)
    return head(events.UNIX, 99) + names


def test_a_process_has_its_names_put_in_order() -> None:
    data = named(events.PROCESS, b"cat\0bin\0usr\0", b"cat\0-n\0", b"cron.service\0system.slice\0")
    assert events.parse(data) == ProcessSeen(
        pid=42,
        start_ns=START_NS,
        time_ns=TIME_NS,
        ppid=7,
        uid=1000,
        viewer=1000,
        name=b"worker",
        exe=b"/usr/bin/cat",
        cmdline=b"cat\0-n\0",
        cgroup=b"/system.slice/cron.service",
        netns=4026531840,
    )


def test_a_kernel_thread_has_neither_executable_nor_command_line() -> None:
    seen = events.parse(named(events.PROCESS, b""))
    assert isinstance(seen, ProcessSeen)
    assert (seen.exe, seen.cmdline, seen.cgroup) == (None, None, None)


def test_names_may_be_any_bytes() -> None:
    data = named(events.FILE, b"a\nb\x1b[2J\xff\0dir with space\0")
    assert events.parse(data) == FileSeen(99, b"/dir with space/a\nb\x1b[2J\xff", whole=True)


def test_a_truncated_path_says_so() -> None:
    assert events.parse(named(events.FILE, b"leaf\0dir\0", whole=0)) == FileSeen(
        99, b"/dir/leaf", whole=False
    )


@pytest.mark.parametrize(
    ("magic", "root", "shown"),
    [
        (0x50495045, b"pipe:\0", b"pipe:[12]"),
        (0x09041934, b"[eventfd]\0", b"anon_inode:[eventfd]"),
        (0x01021994, b"memfd:x\0", b"/memfd:x"),
    ],
)
def test_a_file_without_a_path_has_the_kernels_name(magic: int, root: bytes, shown: bytes) -> None:
    seen = events.parse(named(events.FILE, root, magic=magic))
    assert seen == FileSeen(99, shown, whole=True)


def test_an_exit_brings_the_final_disk_bytes() -> None:
    data = head(events.EXIT) + events.DISK.pack(4096, 8192)
    assert events.parse(data) == ProcessExited(42, START_NS, TIME_NS, 4096, 8192)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        (b"/run/service.sock\0\0", b"/run/service.sock"),
        (b"\0abstract\0name", b"\0abstract\0name"),
        (b"", None),
    ],
)
def test_a_unix_name_is_a_path_or_abstract_or_none(written: bytes, name: bytes | None) -> None:
    assert events.parse(unix(written, b"", 0)) == UnixSeen(99, name, None, None)
    assert events.parse(unix(b"", written, 17)) == UnixSeen(99, None, name, 17)


@given(st.binary(max_size=400))
def test_no_bytes_raise(data: bytes) -> None:
    events.parse(data)


@given(st.integers(0, 400))
def test_no_truncated_event_raises(length: int) -> None:
    events.parse(named(events.PROCESS, b"cat\0bin\0usr\0", b"cat\0-n\0", b"a\0")[:length])
