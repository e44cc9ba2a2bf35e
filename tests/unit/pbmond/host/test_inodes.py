"""File identities: what statx(2) says is what stat says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_proc import identity_of

from pbmond.host.inodes import identity


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to("file")
    fd = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def test_identity_is_what_stat_says(directory: int, tmp_path: Path) -> None:
    stat = (tmp_path / "file").stat()
    assert identity(b"file", directory) == identity_of(stat)


def test_identity_follows_links(directory: int) -> None:
    assert identity(b"link", directory) == identity(b"file", directory)


def test_identity_of_an_empty_name_is_the_directory(directory: int, tmp_path: Path) -> None:
    stat = tmp_path.stat()
    assert identity(b"", directory) == identity_of(stat)


def test_identity_of_a_device_is_that_of_its_node() -> None:
    stat = Path("/dev/null").stat()
    root = os.open("/", os.O_PATH | os.O_DIRECTORY)
    try:
        assert identity(b"dev/null", root) == identity_of(stat)
    finally:
        os.close(root)


def test_a_missing_name_is_file_not_found(directory: int) -> None:
    with pytest.raises(FileNotFoundError):
        identity(b"absent", directory)
