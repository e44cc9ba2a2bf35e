"""Files that somebody names: anything but a regular one of a sensible size is an error at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pbmond.given_file import open_given, read_given


def why(path: Path | str, most: int = 100, *, roots_own: bool = False) -> str:
    with pytest.raises(OSError) as caught:
        read_given(Path(path), most, roots_own=roots_own)
    return str(caught.value.strerror)


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100)
    assert read_given(path, 100) == b"x" * 100
    assert "more than 99 bytes" in why(path, 99)


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert why(tmp_path / "fifo") == "not a regular file"
    assert why("/dev/zero") == "not a regular file"
    assert why(tmp_path) == "Is a directory"
    assert why(tmp_path / "none") == "No such file or directory"


def test_a_large_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    assert "more than 100 bytes" in why(path)


@pytest.mark.parametrize("name", ["a\0b", "\ud800"])
def test_a_name_that_no_file_can_have_is_said(name: str) -> None:
    assert why(name) == "no file can have this name"


def test_it_does_not_pass_to_programs_that_are_started(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with open_given(tmp_path / "file") as file:
        assert not os.get_inheritable(file.fileno())


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to own a file")
@pytest.mark.parametrize(
    ("owner", "mode", "good"), [(0, 0o644, 1), (0, 0o664, 0), (0, 0o646, 0), (5, 0o644, 0)]
)
def test_root_reads_only_what_nobody_else_may_write(
    tmp_path: Path, owner: int, mode: int, good: bool
) -> None:
    path = tmp_path / "file"
    path.touch()
    os.chown(path, owner, 0)
    path.chmod(mode)
    if good:
        assert read_given(path, 1, roots_own=True) == b""
    else:
        assert "others than root may write" in why(path, roots_own=True)
