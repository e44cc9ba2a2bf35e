"""A file's row has the name that it has now, whoever renames it, and whether it is open or not."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pbmond.selftest.private_daemon import Daemon

_RENAME_EXCHANGE = 2
_AT_FDCWD = -100
_ROUND = 100  # ticks
#: The beginning of a program in a mount namespace of its own; argv[1] is its directory.
_OWN_MOUNTS = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
def checked(result):
    if result: raise OSError(ctypes.get_errno(), "refused")
def mount(source, target, kind, flags, data=b""):
    checked(libc.mount(source.encode(), target.encode(), kind, ctypes.c_ulong(flags), data))
def pause():
    print("ready", flush=True)
    sys.stdin.readline()
checked(libc.unshare(0x20000))
mount("none", "/", None, 0x44000)
os.chdir(sys.argv[1])
"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("daemon")) as running:
        yield running


class Written:
    """A file of this process that has counted some bytes, and the number of its inode."""

    def __init__(self, path: Path, *, flags: int = os.O_CREAT) -> None:
        self.fd = os.open(path, os.O_RDWR | flags, 0o600)
        self.inode = os.fstat(self.fd).st_ino
        self.write()

    def write(self) -> None:
        os.write(self.fd, b"x")

    def close(self) -> None:
        os.close(self.fd)


def rows_of(daemon: Daemon, inode: int, pid: int | None = None) -> list[tuple[bytes, bool]]:
    """Return path and ``unlinked`` of each row of an inode in the next snapshot."""
    files = daemon.snapshot().files
    assert files is not None
    wanted = inode, pid or os.getpid()
    rows = [row for row in files.rows() if (row["inode"], row["pid"]) == wanted]
    return [(row["path"], bool(row["unlinked"])) for row in rows]


def shows(
    daemon: Daemon,
    inode: int,
    path: Path,
    pid: int | None = None,
    *,
    unlinked: bool = False,
    meanwhile: Callable[[], None] = lambda: None,
) -> bool:
    """Return whether an inode has one row, with this path, within a round of comparisons.

    With no more files than one tick compares, that is the next snapshot. Other programs on this
    machine may have more. ``meanwhile`` is done before each.
    """
    for _ in range(_ROUND):
        meanwhile()
        if rows_of(daemon, inode, pid) == [(bytes(path), unlinked)]:
            return True
    return False


def elsewhere(*command: str | Path) -> None:
    """Have another process do it."""
    subprocess.run(command, check=True)


def test_a_rename_is_seen_while_the_file_is_open_and_quiet(daemon: Daemon, tmp_path: Path) -> None:
    file = Written(tmp_path / "app.log")
    assert shows(daemon, file.inode, tmp_path / "app.log")
    elsewhere("mv", tmp_path / "app.log", tmp_path / "app.log.1")
    assert shows(daemon, file.inode, tmp_path / "app.log.1")
    again = Written(tmp_path / "app.log")
    assert shows(daemon, again.inode, tmp_path / "app.log")
    file.write()
    assert shows(daemon, file.inode, tmp_path / "app.log.1")
    file.close()
    again.close()


def test_a_rename_after_closing_is_seen_without_another_byte(
    daemon: Daemon, tmp_path: Path
) -> None:
    file = Written(tmp_path / "doc.tmp")
    file.close()
    assert shows(daemon, file.inode, tmp_path / "doc.tmp")
    (tmp_path / "doc.tmp").rename(tmp_path / "doc")
    assert shows(daemon, file.inode, tmp_path / "doc")


def test_a_file_moves_to_another_directory(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    file = Written(tmp_path / "a" / "b" / "data")
    (tmp_path / "a" / "b" / "data").rename(tmp_path / "data")
    assert shows(daemon, file.inode, tmp_path / "data")
    file.close()


def test_directories_are_renamed_above_open_and_closed_files(
    daemon: Daemon, tmp_path: Path
) -> None:
    (tmp_path / "new" / "below").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    opened, closed = (Written(tmp_path / "new" / "below" / each) for each in ("open", "closed"))
    closed.close()
    assert shows(daemon, opened.inode, tmp_path / "new" / "below" / "open")
    (tmp_path / "new").rename(tmp_path / "other" / "old")
    assert shows(daemon, opened.inode, tmp_path / "other" / "old" / "below" / "open")
    assert shows(daemon, closed.inode, tmp_path / "other" / "old" / "below" / "closed")
    opened.close()


def test_two_files_exchange_their_names(daemon: Daemon, tmp_path: Path) -> None:
    one, two = Written(tmp_path / "one"), Written(tmp_path / "two")
    paths = [tmp_path / each for each in ("one", "two")]
    assert all(shows(daemon, *each) for each in zip((one.inode, two.inode), paths, strict=True))
    libc = ctypes.CDLL(None, use_errno=True)
    old, new = map(bytes, paths)
    if libc.renameat2(_AT_FDCWD, old, _AT_FDCWD, new, _RENAME_EXCHANGE) != 0:
        pytest.skip(f"RENAME_EXCHANGE: {os.strerror(ctypes.get_errno())}")
    assert all(shows(daemon, *each) for each in zip((two.inode, one.inode), paths, strict=True))
    one.close()
    two.close()


def test_a_file_that_was_replaced_has_no_name_any_more(daemon: Daemon, tmp_path: Path) -> None:
    old, new = Written(tmp_path / "conf"), Written(tmp_path / "conf.tmp")
    assert shows(daemon, old.inode, tmp_path / "conf")
    (tmp_path / "conf.tmp").rename(tmp_path / "conf")
    assert shows(daemon, old.inode, tmp_path / "conf", unlinked=True)
    assert shows(daemon, new.inode, tmp_path / "conf")
    old.close()
    new.close()


def test_a_file_is_unlinked_while_it_is_open_and_quiet(daemon: Daemon, tmp_path: Path) -> None:
    file = Written(tmp_path / "gone")
    assert shows(daemon, file.inode, tmp_path / "gone")
    elsewhere("rm", tmp_path / "gone")
    assert shows(daemon, file.inode, tmp_path / "gone", unlinked=True)
    file.close()


def test_of_several_hard_links_the_last_one_is_the_name(daemon: Daemon, tmp_path: Path) -> None:
    file = Written(tmp_path / "first")
    other = tmp_path / "second"
    other.hardlink_to(tmp_path / "first")
    assert shows(daemon, file.inode, tmp_path / "first")
    (tmp_path / "first").unlink()
    assert shows(daemon, file.inode, other)
    file.close()


def test_a_file_that_is_opened_by_another_link_has_its_name_once_the_first_is_gone(
    daemon: Daemon, tmp_path: Path
) -> None:
    file = Written(tmp_path / "first")
    file.close()
    other = tmp_path / "second"
    other.hardlink_to(tmp_path / "first")
    (tmp_path / "first").unlink()
    again = Written(other, flags=0)
    assert again.inode == file.inode
    # The first call after a comparison has found that the kernel dropped the row's name.
    assert shows(daemon, again.inode, other, meanwhile=again.write)
    other.rename(tmp_path / "third")
    assert shows(daemon, again.inode, tmp_path / "third")
    again.close()


def test_a_file_without_a_name_gets_one(daemon: Daemon, tmp_path: Path) -> None:
    try:
        file = Written(tmp_path, flags=os.O_TMPFILE)
    except OSError as error:
        pytest.skip(f"O_TMPFILE: {error.strerror}")
    assert all(unlinked for _, unlinked in rows_of(daemon, file.inode))
    directory = os.open(tmp_path, os.O_RDONLY)
    os.link(f"/proc/self/fd/{file.fd}", "named", src_dir_fd=directory, dst_dir_fd=directory)
    os.close(directory)
    assert shows(daemon, file.inode, tmp_path / "named")
    file.close()


def apart(daemon: Daemon, directory: Path, halves: tuple[str, str], paths: list[Path]) -> None:
    """Run both halves in a mount namespace, and await each one's path of the file.

    The first half makes ``file``, a descriptor that has moved bytes.
    """
    first, second = halves
    code = f"{_OWN_MOUNTS}{first}\nprint(os.fstat(file).st_ino)\npause()\n{second}\npause()\n"
    command = [sys.executable, "-I", "-S", "-c", code, str(directory)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        inode = int(process.stdout.readline())
        for path in paths:
            assert process.stdout.readline() == b"ready\n"
            assert shows(daemon, inode, path, process.pid)
            process.stdin.write(b"\n")
            process.stdin.flush()
    assert process.returncode == 0


_OPEN = "file = os.open({!r}, os.O_RDWR | os.O_CREAT, 0o600); os.write(file, b'x')"


def test_a_directory_above_a_mount_point_is_renamed(daemon: Daemon, tmp_path: Path) -> None:
    make = "os.makedirs('top/memory'); mount('none', 'top/memory', b'tmpfs', 0)\n"
    halves = make + _OPEN.format("top/memory/data"), "os.rename('top', 'summit')"
    paths = [tmp_path / each / "memory" / "data" for each in ("top", "summit")]
    apart(daemon, tmp_path, halves, paths)


def test_a_mount_is_moved(daemon: Daemon, tmp_path: Path) -> None:
    make = "os.mkdir('here'); os.mkdir('there'); mount('none', 'here', b'tmpfs', 0)\n"
    halves = make + _OPEN.format("here/data"), "mount('here', 'there', None, 0x2000)"
    apart(daemon, tmp_path, halves, [tmp_path / each / "data" for each in ("here", "there")])


def test_a_file_keeps_its_name_when_its_file_system_is_unmounted(
    daemon: Daemon, tmp_path: Path
) -> None:
    make = "os.mkdir('here'); mount('none', 'here', b'tmpfs', 0)\n"
    halves = make + _OPEN.format("here/data"), "checked(libc.umount2(b'here', 2))"
    apart(daemon, tmp_path, halves, [tmp_path / "here" / "data"] * 2)


def test_a_file_below_a_second_mount_of_the_root_has_its_whole_path(
    daemon: Daemon, tmp_path: Path
) -> None:
    seen = f"again{tmp_path}/a"
    halves = "os.mkdir('again'); mount('/', 'again', None, 0x1000)\n" + _OPEN.format(seen), ""
    apart(daemon, tmp_path, halves, [tmp_path / seen] * 2)


def test_a_path_in_a_chroot_begins_at_its_root(daemon: Daemon, tmp_path: Path) -> None:
    first = "os.makedirs('root/var'); os.chroot('root'); os.chdir('/')\n" + _OPEN.format("/var/a")
    halves = first, "os.rename('/var', '/srv'); os.rename('/srv/a', '/b')"
    apart(daemon, tmp_path, halves, [Path("/var/a"), Path("/b")])


def test_a_file_is_renamed_on_overlayfs(daemon: Daemon, tmp_path: Path) -> None:
    make = "[os.mkdir(each) for each in ('lower', 'upper', 'work', 'merged')]\n"
    make += "mount('o', 'merged', b'overlay', 0, b'lowerdir=lower,upperdir=upper,workdir=work')\n"
    halves = make + _OPEN.format("merged/tmp"), "os.rename('merged/tmp', 'merged/data')"
    apart(daemon, tmp_path, halves, [tmp_path / "merged" / each for each in ("tmp", "data")])
