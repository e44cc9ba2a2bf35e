"""Programs whose files are easily taken for each other, or one of them for two."""

from __future__ import annotations

import os
from collections.abc import Iterator

from pbmond.selftest.workloads.programs import kernel
from pbmond.selftest.workloads.programs.filesystems import own_mounts
from pbmond.selftest.workloads.programs.program import Account, Run, offered, program

MS_BIND = 0x1000


def _mount(run: Run, kind: str, name: str, data: str = "") -> None:
    target = run.scratch / name
    target.mkdir(exist_ok=True)
    with offered(kind):
        kernel.mount("none", str(target), kind, 0, data)


def _overlay(run: Run, lower: str) -> None:
    """Mount an overlayfs on ``merged``; ``lower`` names folders of the scratch folder."""
    for name in ("upper", "work"):
        (run.scratch / name).mkdir()
    folders = ":".join(str(run.scratch / name) for name in lower.split(":"))
    layers = f"lowerdir={folders},upperdir={run.scratch}/upper,workdir={run.scratch}/work"
    _mount(run, "overlay", "merged", layers)


def _by_path(run: Run, fd: int) -> Account:
    """Open the account of a file whose device and inode number others have, too."""
    row = run.file(fd)
    row.facts.update(device=None, inode=None)
    return row


def _one_after_another(run: Run, folder: str) -> None:
    """Write three files; each is removed while it is open, so the next may get its number."""
    for name, size in ("one", 1003), ("two", 2003), ("three", 4001):
        fd = run.open(f"{folder}/{name}")
        first = kernel.write(fd, size)
        (run.scratch / folder / name).unlink()
        _by_path(run, fd).write(first, kernel.write(fd, 7))
        os.close(fd)


@program
def numbers_used_again(run: Run) -> Iterator[None]:
    """Files that are removed and made, in the file system of the scratch folder."""
    (run.scratch / "here").mkdir()
    yield
    _one_after_another(run, "here")


@program
def tmpfs_numbers_used_again(run: Run) -> Iterator[None]:
    """The same in memory."""
    own_mounts()
    _mount(run, "tmpfs", "memory")
    yield
    _one_after_another(run, "memory")


@program
def overlay_numbers_used_again(run: Run) -> Iterator[None]:
    """The same in an overlayfs, whose inodes have no generation."""
    own_mounts()
    (run.scratch / "lower").mkdir()
    _overlay(run, "lower")
    yield
    _one_after_another(run, "merged")


def _read_two(run: Run, folder: str) -> Iterator[None]:
    """Read two files of ``folder`` that have one inode number."""
    fds = [os.open(run.scratch / folder / name, os.O_RDONLY) for name in ("one", "two")]
    if len({(run.scratch / name).stat().st_ino for name in ("first/one", "second/two")}) > 1:
        raise AssertionError("the first files of two file systems in memory have two numbers")
    rows = [_by_path(run, fd) for fd in fds]
    yield
    rows[0].read(kernel.read(fds[0], 5003))
    rows[1].read(kernel.read(fds[1], 7001))


def _two_file_systems(run: Run) -> None:
    own_mounts()
    for layer, name, size in ("first", "one", 10_001), ("second", "two", 20_001):
        _mount(run, "tmpfs", layer)
        os.close(run.open(f"{layer}/{name}", size))


@program
def overlay_of_two_file_systems(run: Run) -> Iterator[None]:
    """Two lower files with one inode number."""
    _two_file_systems(run)
    _overlay(run, "first:second")
    yield from _read_two(run, "merged")


@program
def overlay_of_an_overlay(run: Run) -> Iterator[None]:
    """The same one further down, as in a container inside a container."""
    _two_file_systems(run)
    _mount(run, "overlay", "middle", f"lowerdir={run.scratch}/first:{run.scratch}/second")
    _overlay(run, "middle")
    yield from _read_two(run, "merged")


@program
def overlay_copied_up(run: Run) -> Iterator[None]:
    """A lower file is read, copied up and written, and read by both descriptors: one row."""
    own_mounts()
    (run.scratch / "lower").mkdir()
    os.close(run.open("lower/data", 10_001))
    _overlay(run, "lower")
    path = run.scratch / "merged" / "data"
    lower = os.open(path, os.O_RDONLY)
    row = _by_path(run, lower)
    yield
    row.read(kernel.read(lower, 1003))
    upper = os.open(path, os.O_RDWR)
    row.write(kernel.pwrite64(upper, 333, 0))
    row.read(kernel.read(lower, 1003), kernel.read(upper, 2001))


@program
def bind_mount(run: Run) -> Iterator[None]:
    """A file by two mounts: one row."""
    own_mounts()
    for name in ("here", "there"):
        (run.scratch / name).mkdir()
    with offered("bind mount"):
        kernel.mount(str(run.scratch / "here"), str(run.scratch / "there"), None, MS_BIND)
    fds = [run.open(f"{name}/data", 10_001) for name in ("here", "there")]
    row = run.file(fds[0])
    yield
    row.write(*(kernel.write(fd, 1003) for fd in fds))


@program
def hard_link(run: Run) -> Iterator[None]:
    """A file by two names: one row."""
    fd = run.open("one", 10_001)
    (run.scratch / "two").hardlink_to(run.scratch / "one")
    other = run.open("two")
    row = run.file(fd)
    yield
    row.write(kernel.write(fd, 1003), kernel.write(other, 2003))
