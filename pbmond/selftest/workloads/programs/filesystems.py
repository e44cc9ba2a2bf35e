"""Programs whose files differ by where they live: devices, pseudo and stacked systems, paths."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import struct
import tty
from collections.abc import Iterator
from pathlib import Path

from pbmond.selftest.workloads.programs import kernel
from pbmond.selftest.workloads.programs.program import Run, UnavailableError, offered, program

CLONE_NEWNS = 0x20000
MS_REC_PRIVATE = 0x44000
LOOP_SET_FD, LOOP_CLR_FD, LOOP_CTL_GET_FREE = 0x4C00, 0x4C01, 0x4C82

PATH_MAX, NAME_MAX = 4096, 255

HOSTILE_NAMES = (
    b"line\nbreak",
    b"\x1b[31mred\x1b[0m",
    b"invalid \xff\xfe UTF-8",
    b"quote \" and ' and \\ backslash",
    "right-to-left \u202e override".encode(),
    b"tab\tcarriage\rreturn\x07",
    b"looks removed (deleted)",
    b" ",
    b"n" * 255,
)


def own_mounts() -> None:
    """Enter a mount namespace whose mounts vanish with this process."""
    with offered("mount namespace"):
        kernel.unshare(CLONE_NEWNS)
        kernel.mount("none", "/", None, MS_REC_PRIVATE)


@program
def null_and_zero(run: Run) -> Iterator[None]:
    """/dev/null and /dev/zero, as devices."""
    null, zero = os.open("/dev/null", os.O_RDWR), os.open("/dev/zero", os.O_RDWR)
    null_row, zero_row = run.file(null, "device"), run.file(zero, "device")
    yield
    null_row.write(kernel.write(null, 1001), kernel.vectored("pwritev", null, (7, 8), 0))
    null_row.read(kernel.read(null, 1001))  # nothing
    zero_row.read(kernel.read(zero, 2003), kernel.pread64(zero, 17, 0))
    zero_row.write(kernel.write(zero, 5))


@program
def terminal(run: Run) -> Iterator[None]:
    """A pseudo terminal, both ends."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    master_row, slave_row = run.file(master, "device"), run.file(slave, "device")
    yield
    slave_row.write(kernel.write(slave, 301))
    master_row.read(kernel.read(master, 1000))
    master_row.write(kernel.write(master, 203))
    slave_row.read(kernel.read(slave, 1000))


@program
def anonymous_inodes(run: Run) -> Iterator[None]:
    """An eventfd; all files of this kind share one inode, so the row may hold more than these."""
    counter = os.eventfd(0)
    row = run.file(counter, "device")
    yield
    row.write(kernel.call("write", counter, struct.pack("=Q", 5), 8))
    row.read(kernel.read(counter, 8))


@program
def pseudo_file_systems(run: Run) -> Iterator[None]:
    """Regular files by their mode, but no storage; those of processes are one row, /proc."""
    paths = ("/proc/version", "/sys/kernel/uevent_seqnum", "/proc/self/status")
    fds = [os.open(path, os.O_RDONLY) for path in paths]
    proc_row = run.file(os.open("/proc", os.O_RDONLY), "device")
    rows = [*(run.file(fd, "device") for fd in fds[:2]), proc_row]
    name = os.open("/proc/self/comm", os.O_RDWR)
    yield
    for row, fd in zip(rows, fds, strict=True):
        row.read(kernel.read(fd, 3), kernel.pread64(fd, 4001, 0))
    proc_row.write(kernel.call("write", name, b"renamed", 7))
    proc_row.read(kernel.pread64(name, 101, 0))


@program
def cgroup_file(run: Run) -> Iterator[None]:
    """A file of the cgroup file system, as a device."""
    found = [Path("/sys/fs/cgroup/cgroup.procs"), *Path("/sys/fs/cgroup").glob("*/cgroup.procs")]
    readable = [path for path in found if path.exists()]
    if not readable:
        raise UnavailableError("no cgroup file system at /sys/fs/cgroup")
    fd = os.open(readable[0], os.O_RDONLY)
    row = run.file(fd, "device")
    yield
    row.read(kernel.read(fd, 101), kernel.read(fd, 100_001))


@program
def memfd(run: Run) -> Iterator[None]:
    """A file that never had a name."""
    fd = os.memfd_create("worked on")
    os.ftruncate(fd, 10_001)
    row = run.file(fd)
    yield
    row.write(kernel.write(fd, 4001))
    row.read(kernel.read(fd, 10_001))


@program
def unlinked(run: Run) -> Iterator[None]:
    """A file without a name any more."""
    fd = run.open("gone", 10_001)
    (run.scratch / "gone").unlink()
    row = run.file(fd)
    yield
    row.write(kernel.write(fd, 1003))
    row.read(kernel.read(fd, 333))


@program
def unlinked_while_counted(run: Run) -> Iterator[None]:
    """Its row says so as soon as something moves."""
    fd = run.open("going", 10_001)
    yield
    first = kernel.write(fd, 1003)
    (run.scratch / "going").unlink()
    row = run.file(fd, path=os.fsencode(run.scratch / "going"))
    row.write(first, kernel.write(fd, 5))


@program
def renamed_while_counted(run: Run) -> Iterator[None]:
    """One inode, one row, with the name it has now."""
    fd = run.open("before", 10_001)
    yield
    first = kernel.write(fd, 1003)
    (run.scratch / "before").rename(run.scratch / "after")
    run.file(fd).write(first, kernel.write(fd, 21))


@program
def renamed_after_closing(run: Run) -> Iterator[None]:
    """How editors, package managers and databases write a file."""
    fd = run.open("file.tmp")
    row = run.file(fd, path=os.fsencode(run.scratch / "file"))
    yield
    row.write(kernel.write(fd, 1003))
    os.close(fd)
    (run.scratch / "file.tmp").rename(run.scratch / "file")


@program
def renamed_above(run: Run) -> Iterator[None]:
    """A directory is renamed, and moved into another one; below it a file is open and quiet."""
    (run.scratch / "new" / "below").mkdir(parents=True)
    (run.scratch / "other").mkdir()
    fd = run.open("new/below/file")
    row = run.file(fd, path=os.fsencode(run.scratch / "other" / "old" / "below" / "file"))
    yield
    row.write(kernel.write(fd, 1003))
    (run.scratch / "new").rename(run.scratch / "other" / "old")


@program
def named_later(run: Run) -> Iterator[None]:
    """A file from O_TMPFILE gets its name once it is complete."""
    directory = os.open(run.scratch, os.O_RDONLY)
    with offered("O_TMPFILE"):
        fd = os.open(run.scratch, os.O_RDWR | os.O_TMPFILE, 0o600)
    yield
    first = kernel.write(fd, 1003)
    # Only with a directory does Python's link() follow the link that /proc shows.
    os.link(f"/proc/self/fd/{fd}", "complete", src_dir_fd=directory, dst_dir_fd=directory)
    run.file(fd, path=os.fsencode(run.scratch / "complete")).write(first)


@program
def hostile_names(run: Run) -> Iterator[None]:
    """Newlines, escape sequences, invalid UTF-8 and the like in names of files."""
    fds = [run.open(name) for name in HOSTILE_NAMES]
    rows = [run.file(fd) for fd in fds]
    yield
    for number, (row, fd) in enumerate(zip(rows, fds, strict=True)):
        row.write(kernel.write(fd, 101 + 2 * number))


def _deep(run: Run, part: str, depth: int) -> Iterator[None]:
    directory = run.scratch.joinpath(*[part] * depth)
    directory.mkdir(parents=True)
    fd = run.open(os.fsencode(directory / "data"))
    row = run.file(fd)
    yield
    row.write(kernel.write(fd, 1003))


@program
def long_path(run: Run) -> Iterator[None]:
    """More than a thousand bytes in long names."""
    yield from _deep(run, "d" * 201, 6)


@program
def longest_path(run: Run) -> Iterator[None]:
    """As long as a path can be: 4,096 bytes with the NUL that ends it."""
    name, fd = os.fsencode(run.scratch), os.open(run.scratch, os.O_RDONLY)
    while (left := PATH_MAX - 2 - len(name)) > NAME_MAX:
        part = b"d" * min(NAME_MAX, left - 2)
        os.mkdir(part, dir_fd=fd)
        fd, above = os.open(part, os.O_RDONLY, dir_fd=fd), fd
        os.close(above)
        name += b"/" + part
    last = b"f" * left
    fd = os.open(last, os.O_RDWR | os.O_CREAT, 0o600, dir_fd=fd)
    row = run.file(fd, path=name + b"/" + last)
    yield
    row.write(kernel.write(fd, 1003))


@program
def deep_path(run: Run) -> Iterator[None]:
    """Many short names."""
    yield from _deep(run, "d", 60)


@program
def tmpfs(run: Run) -> Iterator[None]:
    """A file in memory, in a mount namespace of its own."""
    own_mounts()
    target = run.scratch / "memory"
    target.mkdir()
    with offered("tmpfs"):
        kernel.mount("none", str(target), "tmpfs")
    fd = run.open("memory/data", 10_001)
    row = run.file(fd)
    yield
    row.write(kernel.write(fd, 1003))
    row.read(kernel.read(fd, 5000))


@program
def overlay(run: Run) -> Iterator[None]:
    """A lower file read and an upper one written; stat and the kernel name other inodes here."""
    own_mounts()
    parts = {name: run.scratch / name for name in ("lower", "upper", "work", "merged")}
    for part in parts.values():
        part.mkdir()
    run.open("lower/below", 10_001)
    layers = "lowerdir={lower},upperdir={upper},workdir={work}".format(**parts)
    with offered("overlay"):
        kernel.mount("overlay", str(parts["merged"]), "overlay", 0, layers)
    below = os.open(parts["merged"] / "below", os.O_RDONLY)
    above = run.open("merged/above")
    below_row, above_row = run.file(below), run.file(above)
    for row in (below_row, above_row):
        row.facts.update(device=None, inode=None)
    yield
    below_row.read(kernel.read(below, 4001), kernel.vectored("preadv", below, (7, 8), 0))
    above_row.write(kernel.write(above, 1003), kernel.pwrite64(above, 5, 0))


def _attach_loop(backing: int) -> int:
    """Open a free loop device and give it ``backing``; another process may be quicker."""
    control = os.open("/dev/loop-control", os.O_RDWR)
    while True:
        device = os.open(f"/dev/loop{fcntl.ioctl(control, LOOP_CTL_GET_FREE)}", os.O_RDWR)
        try:
            fcntl.ioctl(device, LOOP_SET_FD, backing)
        except OSError as error:
            os.close(device)
            if error.errno != errno.EBUSY:
                raise
        else:
            return device


@program
def block_device(run: Run) -> Iterator[None]:
    """A loop device."""
    if not Path("/dev/loop-control").exists():
        raise UnavailableError("loop device")
    with offered("loop device"):
        device = _attach_loop(run.open("backing", 1 << 20))
    run.at_exit.callback(fcntl.ioctl, device, LOOP_CLR_FD)
    row = run.file(device)
    yield
    row.write(kernel.write(device, 5001))
    row.read(kernel.pread64(device, 777, 3))


@program
def chroot(run: Run) -> Iterator[None]:
    """The path is as the process sees it."""
    (run.scratch / "root" / "var").mkdir(parents=True)

    def inside(inner: Run) -> None:
        with offered("chroot"):
            os.chroot(inner.scratch / "root")
        fd = os.open("/var/inside", os.O_RDWR | os.O_CREAT, 0o600)
        inner.file(fd, path=b"/var/inside").write(kernel.write(fd, 1003))

    yield
    run.join(run.fork(inside))
