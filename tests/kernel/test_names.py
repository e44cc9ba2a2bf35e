"""A file's row has the name that the file has now, whoever renames it, and whether it is open or not."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pbmond.collector import NAME_BUDGET
from pbmond.selftest.private_daemon import Daemon

_RENAME_EXCHANGE = 2
_AT_FDCWD = -100
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


@pytest.fixture
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


def names(daemon: Daemon, inode: int, pid: int | None = None) -> tuple[list[bytes], bool]:
    """Return the path of each row of an inode in the next snapshot, and whether it is unlinked."""
    files = daemon.snapshot().files
    assert files is not None
    wanted = inode, pid or os.getpid()
    rows = [row for row in files.rows() if (row["inode"], row["pid"]) == wanted]
    return [row["path"] for row in rows], any(row["unlinked"] for row in rows)


def name(daemon: Daemon, file: Written) -> bytes:
    """Return the path of the one row of a file that has a name."""
    (path,), unlinked = names(daemon, file.inode)
    assert not unlinked
    return path


def elsewhere(*command: str | Path) -> None:
    """Have another process do it."""
    subprocess.run(command, check=True)


def test_a_rename_is_seen_while_the_file_is_open_and_quiet(daemon: Daemon, tmp_path: Path) -> None:
    file = Written(tmp_path / "app.log")
    assert name(daemon, file) == bytes(tmp_path / "app.log")
    elsewhere("mv", tmp_path / "app.log", tmp_path / "app.log.1")
    assert name(daemon, file) == bytes(tmp_path / "app.log.1")
    again = Written(tmp_path / "app.log")
    assert name(daemon, again) == bytes(tmp_path / "app.log")
    file.write()
    assert name(daemon, file) == bytes(tmp_path / "app.log.1")
    file.close()
    again.close()


def test_a_rename_after_closing_is_seen_without_another_byte(
    daemon: Daemon, tmp_path: Path
) -> None:
    file = Written(tmp_path / "doc.tmp")
    file.close()
    assert name(daemon, file) == bytes(tmp_path / "doc.tmp")
    (tmp_path / "doc.tmp").rename(tmp_path / "doc")
    assert name(daemon, file) == bytes(tmp_path / "doc")


def test_a_file_moves_to_another_directory(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    file = Written(tmp_path / "a" / "b" / "data")
    (tmp_path / "a" / "b" / "data").rename(tmp_path / "data")
    assert name(daemon, file) == bytes(tmp_path / "data")
    file.close()


def test_directories_are_renamed_above_open_and_closed_files(
    daemon: Daemon, tmp_path: Path
) -> None:
    (tmp_path / "new" / "below").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    opened, closed = (Written(tmp_path / "new" / "below" / each) for each in ("open", "closed"))
    closed.close()
    assert name(daemon, opened) == bytes(tmp_path / "new" / "below" / "open")
    (tmp_path / "new").rename(tmp_path / "other" / "old")
    assert name(daemon, opened) == bytes(tmp_path / "other" / "old" / "below" / "open")
    assert name(daemon, closed) == bytes(tmp_path / "other" / "old" / "below" / "closed")
    opened.close()


def test_two_files_exchange_their_names(daemon: Daemon, tmp_path: Path) -> None:
    one, two = Written(tmp_path / "one"), Written(tmp_path / "two")
    paths = [bytes(tmp_path / each) for each in ("one", "two")]
    assert [name(daemon, file) for file in (one, two)] == paths
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE) != 0:
        pytest.skip(f"RENAME_EXCHANGE: {os.strerror(ctypes.get_errno())}")
    assert [name(daemon, file) for file in (one, two)] == paths[::-1]
    one.close()
    two.close()


def test_a_file_that_was_replaced_has_no_name_any_more(daemon: Daemon, tmp_path: Path) -> None:
    old, new = Written(tmp_path / "conf"), Written(tmp_path / "conf.tmp")
    assert name(daemon, old) == bytes(tmp_path / "conf")
    (tmp_path / "conf.tmp").rename(tmp_path / "conf")
    assert names(daemon, old.inode) == ([bytes(tmp_path / "conf")], True)
    assert name(daemon, new) == bytes(tmp_path / "conf")
    old.close()
    new.close()


def test_a_file_is_unlinked_while_it_is_open_and_quiet(daemon: Daemon, tmp_path: Path) -> None:
    file = Written(tmp_path / "gone")
    assert name(daemon, file) == bytes(tmp_path / "gone")
    elsewhere("rm", tmp_path / "gone")
    assert names(daemon, file.inode) == ([bytes(tmp_path / "gone")], True)
    file.close()


def test_of_several_hard_links_the_last_one_is_the_name(daemon: Daemon, tmp_path: Path) -> None:
    file = Written(tmp_path / "first")
    other = tmp_path / "second"
    other.hardlink_to(tmp_path / "first")
    assert name(daemon, file) == bytes(tmp_path / "first")
    (tmp_path / "first").unlink()
    assert name(daemon, file) == bytes(other)
    file.close()


def test_a_file_that_is_opened_by_another_link_has_its_name_once_the_first_is_gone(
    daemon: Daemon, tmp_path: Path
) -> None:
    file = Written(tmp_path / "first")
    file.close()
    other = tmp_path / "second"
    other.hardlink_to(tmp_path / "first")
    (tmp_path / "first").unlink()
    names(daemon, file.inode)  # the kernel has dropped the name that the row was found at
    again = Written(other, flags=0)
    assert again.inode == file.inode
    assert name(daemon, again) == bytes(other)
    other.rename(tmp_path / "third")
    assert name(daemon, again) == bytes(tmp_path / "third")
    again.close()


def test_a_file_without_a_name_gets_one(daemon: Daemon, tmp_path: Path) -> None:
    try:
        file = Written(tmp_path, flags=os.O_TMPFILE)
    except OSError as error:
        pytest.skip(f"O_TMPFILE: {error.strerror}")
    assert names(daemon, file.inode)[1] is True
    directory = os.open(tmp_path, os.O_RDONLY)
    os.link(f"/proc/self/fd/{file.fd}", "named", src_dir_fd=directory, dst_dir_fd=directory)
    os.close(directory)
    assert name(daemon, file) == bytes(tmp_path / "named")
    file.close()


def apart(daemon: Daemon, directory: Path, first: str, second: str) -> list[bytes]:
    """Run both halves in a mount namespace; return the file's names after each.

    The first half makes ``file``, a descriptor that has moved bytes.
    """
    code = f"{_OWN_MOUNTS}{first}\nprint(os.fstat(file).st_ino)\npause()\n{second}\npause()\n"
    command = [sys.executable, "-I", "-S", "-c", code, str(directory)]
    found = []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        inode = int(process.stdout.readline())
        for _ in range(2):
            assert process.stdout.readline() == b"ready\n"
            (path,), _ = names(daemon, inode, process.pid)
            found.append(path)
            process.stdin.write(b"\n")
            process.stdin.flush()
    assert process.returncode == 0
    return found


_OPEN = "file = os.open({!r}, os.O_RDWR | os.O_CREAT, 0o600); os.write(file, b'x')"


def test_a_directory_above_a_mount_point_is_renamed(daemon: Daemon, tmp_path: Path) -> None:
    make = "os.makedirs('top/memory'); mount('none', 'top/memory', b'tmpfs', 0)\n"
    found = apart(
        daemon, tmp_path, make + _OPEN.format("top/memory/data"), "os.rename('top', 'summit')"
    )
    assert found == [bytes(tmp_path / each / "memory" / "data") for each in ("top", "summit")]


def test_a_mount_is_moved(daemon: Daemon, tmp_path: Path) -> None:
    make = "os.mkdir('here'); os.mkdir('there'); mount('none', 'here', b'tmpfs', 0)\n"
    second = "mount('here', 'there', None, 0x2000)"
    found = apart(daemon, tmp_path, make + _OPEN.format("here/data"), second)
    assert found == [bytes(tmp_path / each / "data") for each in ("here", "there")]


def test_a_file_keeps_its_name_when_its_file_system_is_unmounted(
    daemon: Daemon, tmp_path: Path
) -> None:
    make = "os.mkdir('here'); mount('none', 'here', b'tmpfs', 0)\n"
    second = "checked(libc.umount2(b'here', 2))"
    found = apart(daemon, tmp_path, make + _OPEN.format("here/data"), second)
    assert found == [bytes(tmp_path / "here" / "data")] * 2


def test_a_path_in_a_chroot_begins_at_its_root(daemon: Daemon, tmp_path: Path) -> None:
    first = "os.makedirs('root/var'); os.chroot('root'); os.chdir('/')\n" + _OPEN.format("/var/a")
    found = apart(daemon, tmp_path, first, "os.rename('/var', '/srv'); os.rename('/srv/a', '/b')")
    assert found == [b"/var/a", b"/b"]


def test_a_file_is_renamed_on_overlayfs(daemon: Daemon, tmp_path: Path) -> None:
    make = "[os.mkdir(each) for each in ('lower', 'upper', 'work', 'merged')]\n"
    make += "mount('o', 'merged', b'overlay', 0, b'lowerdir=lower,upperdir=upper,workdir=work')\n"
    found = apart(
        daemon,
        tmp_path,
        make + _OPEN.format("merged/data.tmp"),
        "os.rename('merged/data.tmp', 'merged/data')",
    )
    assert found == [bytes(tmp_path / "merged" / each) for each in ("data.tmp", "data")]


def test_more_files_than_a_tick_compares_are_all_named_in_the_end(
    daemon: Daemon, tmp_path: Path
) -> None:
    count = 6000
    directory = tmp_path / "cache.tmp"
    directory.mkdir()
    for number in range(count):
        with (directory / f"{number}").open("wb", 0) as file:
            file.write(b"x")
    daemon.snapshot()
    directory.rename(tmp_path / "cache")
    wanted = {bytes(tmp_path / "cache" / f"{number}") for number in range(count)}
    shown: set[bytes] = set()
    while not wanted <= shown:
        message = daemon.snapshot()
        assert message.health["cost"]["names"] <= 2 * NAME_BUDGET
        assert message.files is not None
        shown = {row["path"] for row in message.files.rows()}
