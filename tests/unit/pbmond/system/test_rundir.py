"""The run directory is held by one daemon, and nobody else can write to it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from pbmond.system.rundir import PID_FILE, RunDirError, hold, holder


def test_it_is_made_so_that_everybody_can_enter(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        with hold(tmp_path / "a" / "run") as path:
            assert path == tmp_path / "a" / "run" / "pbmond.sock"
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o755
    finally:
        os.umask(before)


def test_the_second_holder_is_told_of_the_first(tmp_path: Path) -> None:
    with hold(tmp_path):
        assert (tmp_path / PID_FILE).read_text() == f"{os.getpid()}\n"
        with pytest.raises(RunDirError, match=f"process {os.getpid()} holds"), hold(tmp_path):
            pass
        assert (tmp_path / PID_FILE).read_text() == f"{os.getpid()}\n"


def test_it_can_be_held_again_after_any_end(tmp_path: Path) -> None:
    def crash() -> None:
        with hold(tmp_path) as path:
            path.touch()
            raise KeyError

    with pytest.raises(KeyError):
        crash()
    assert not (tmp_path / "pbmond.sock").exists()
    with hold(tmp_path):
        pass


def test_a_stale_pid_file_and_socket_do_not_matter(tmp_path: Path) -> None:
    (tmp_path / PID_FILE).write_text("123456789\n")
    (tmp_path / "pbmond.sock").touch()
    with hold(tmp_path):
        assert (tmp_path / PID_FILE).read_text() == f"{os.getpid()}\n"


def test_a_directory_that_others_can_write_to_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(RunDirError, match="others may write"), hold(tmp_path):
        pass


def test_a_link_in_place_of_the_pid_file_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("precious")
    (tmp_path / PID_FILE).symlink_to(target)
    with pytest.raises(RunDirError), hold(tmp_path):
        pass
    assert target.read_text() == "precious"


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
