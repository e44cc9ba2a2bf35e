"""The run directory is held by one daemon, and nobody else can write to it."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import threading
from pathlib import Path

import pytest
from descriptors import descriptors

from pbmond.system.rundir import PID_FILE, SOCKET, RunDirError, hold, holder
from pbmond.system.safe_paths import umask


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_it_is_made_so_that_everybody_can_enter_and_connect(tmp_path: Path) -> None:
    run_dir = tmp_path / "a" / "run"
    with umask(0o077), hold(run_dir):
        modes = [mode(path) for path in (run_dir.parent, run_dir, run_dir / SOCKET)]
        assert modes == [0o755, 0o755, 0o666]
        assert mode(run_dir / PID_FILE) == 0o600
        assert os.umask(0o077) == 0o077


def test_the_working_directory_stays_the_same(tmp_path: Path) -> None:
    before = Path.cwd()
    with hold(tmp_path):
        assert Path.cwd() == before


def test_who_connects_without_a_publisher_waits_for_one(tmp_path: Path) -> None:
    with hold(tmp_path) as listener, socket.socket(socket.AF_UNIX) as viewer:
        viewer.connect(str(tmp_path / SOCKET))
        viewer.send(b"hello")
        with listener.accept()[0] as accepted:
            assert accepted.recv(5) == b"hello"


def test_the_second_holder_is_told_of_the_first(tmp_path: Path) -> None:
    with hold(tmp_path):
        assert (tmp_path / PID_FILE).read_text() == f"{os.getpid()}\n"
        with pytest.raises(RunDirError, match=f"process {os.getpid()} holds"), hold(tmp_path):
            pass
        assert (tmp_path / PID_FILE).read_text() == f"{os.getpid()}\n"


def test_a_holder_that_has_not_written_its_id_yet_is_waited_for(tmp_path: Path) -> None:
    pid_file = tmp_path / PID_FILE
    with pid_file.open("wb", buffering=0) as locked:
        fcntl.flock(locked, fcntl.LOCK_EX)
        writing = threading.Timer(0.1, locked.write, [b"4321\n"])
        writing.start()
        with pytest.raises(RunDirError, match="process 4321 holds"), hold(tmp_path):
            pass
        writing.join()


def test_it_can_be_held_again_after_any_end(tmp_path: Path) -> None:
    def crash() -> None:
        with hold(tmp_path):
            raise KeyError

    before = descriptors()
    with pytest.raises(KeyError):
        crash()
    assert not (tmp_path / SOCKET).exists()
    with hold(tmp_path):
        pass
    assert descriptors() <= before


def test_a_stale_pid_file_and_socket_do_not_matter(tmp_path: Path) -> None:
    (tmp_path / PID_FILE).write_text("123456789\n")
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(tmp_path / SOCKET))
    with hold(tmp_path):
        assert (tmp_path / PID_FILE).read_text() == f"{os.getpid()}\n"


def make(kind: str, path: Path) -> None:
    """Make something that is neither a pid file nor a socket of ours."""
    target = path.with_name("target")
    target.write_text("precious")
    target.chmod(0o600)
    if kind == "link":
        path.symlink_to(target)
    elif kind == "dangling link":
        path.symlink_to(path.with_name("nothing"))
    elif kind == "hard link":
        path.hardlink_to(target)
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()


@pytest.mark.parametrize("name", [PID_FILE, SOCKET])
@pytest.mark.parametrize("kind", ["link", "dangling link", "hard link", "fifo", "directory"])
def test_what_is_no_pid_file_and_no_socket_is_left_alone(
    tmp_path: Path, name: str, kind: str
) -> None:
    make(kind, tmp_path / name)
    before, found = descriptors(), (tmp_path / name).lstat()
    with pytest.raises(RunDirError) as error, hold(tmp_path):
        pass
    assert str(error.value).startswith(f"{tmp_path}: {name} ")
    assert "\n" not in str(error.value)
    after = (tmp_path / name).lstat()
    assert (after.st_ino, after.st_mode) == (found.st_ino, found.st_mode)
    target = tmp_path / "target"
    assert (target.read_text(), mode(target)) == ("precious", 0o600)
    assert not (tmp_path / "nothing").exists()
    assert descriptors() <= before


def test_a_second_daemon_leaves_the_socket_of_the_first(tmp_path: Path) -> None:
    with hold(tmp_path):
        inode = (tmp_path / SOCKET).lstat().st_ino
        with pytest.raises(RunDirError), hold(tmp_path):
            pass
        assert (tmp_path / SOCKET).lstat().st_ino == inode


@pytest.mark.parametrize("below", ["run", "a/b/run"])
def test_below_a_folder_that_others_may_write_to_nothing_is_made(
    tmp_path: Path, below: str
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    folder.chmod(0o775)
    with (
        pytest.raises(RunDirError, match=f"others may write to {folder}; choose"),
        hold(folder / below),
    ):
        pass
    assert list(folder.iterdir()) == []


def test_a_directory_that_others_can_write_to_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(RunDirError, match="others may write"), hold(tmp_path):
        pass


@pytest.mark.parametrize("name", ["x" * 100, "file/run", "file"])
def test_a_place_that_cannot_be_is_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunDirError) as error, hold(tmp_path / name):
        pass
    assert "--run-dir" in str(error.value)
    assert "\n" not in str(error.value)


def test_the_holder_is_found_while_it_holds(tmp_path: Path) -> None:
    with hold(tmp_path):
        assert holder(tmp_path) == os.getpid()
    with pytest.raises(RunDirError, match="no daemon is running there"):
        holder(tmp_path)


@pytest.mark.parametrize("text", [f"{os.getpid()}\n", "123456789\n", "x", ""])
def test_a_stale_pid_file_names_no_holder(tmp_path: Path, text: str) -> None:
    """Also when another process has got the pid meanwhile."""
    (tmp_path / PID_FILE).write_text(text)
    with pytest.raises(RunDirError) as error:
        holder(tmp_path)
    assert str(error.value).startswith(f"{tmp_path}: no daemon is running there; ")


def test_a_pid_file_that_is_a_link_names_no_holder(tmp_path: Path) -> None:
    with hold(tmp_path / "real"):
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / PID_FILE).symlink_to(tmp_path / "real" / PID_FILE)
        with pytest.raises(RunDirError, match="not a regular file"):
            holder(tmp_path / "run")
