"""Only what root has put there is read: no user can point the reader at another file."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from pbmond.containers.trusted_files import MAX_BYTES, TrustedFiles


@pytest.fixture
def top(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir(mode=0o755)
    (tmp_path / "state/config").write_bytes(b"here")
    (tmp_path / "disk/state").mkdir(mode=0o755, parents=True)
    (tmp_path / "disk/state/config").write_bytes(b"moved")
    for folder in (tmp_path, tmp_path / "state", tmp_path / "disk", tmp_path / "disk/state"):
        folder.chmod(0o755)
    return tmp_path


def files(top: Path) -> TrustedFiles:
    return TrustedFiles(str(top), os.getuid())


def test_a_file_is_read(top: Path) -> None:
    assert files(top).read("/state/config") == b"here"
    assert files(top).listed("/state", 5) == ["config"]


@pytest.mark.parametrize("target", ["/disk/state", "disk/state", "/disk/../disk/state", "way"])
def test_a_folder_may_be_a_link_of_roots(top: Path, target: str) -> None:
    (top / "way").symlink_to("disk/state")
    (top / "link").symlink_to(target)
    assert files(top).read("/link/config") == b"moved"


def test_a_file_may_be_a_link_of_roots(top: Path) -> None:
    (top / "state/link").symlink_to("../disk/state/config")
    assert files(top).read("/state/link") == b"moved"


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o1777])
def test_nothing_below_a_folder_that_others_may_write_to_is_read(top: Path, mode: int) -> None:
    (top / "state").chmod(mode)
    with pytest.raises(PermissionError):
        files(top).read("/state/config")
    with pytest.raises(PermissionError):
        files(top).listed("/state", 5)


def test_a_link_in_a_folder_of_others_leads_nowhere(top: Path) -> None:
    (top / "state/config").unlink()
    (top / "state/config").symlink_to("/disk/state/config")
    assert files(top).read("/state/config") == b"moved"
    (top / "state").chmod(0o777)
    with pytest.raises(PermissionError):
        files(top).read("/state/config")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_folders_and_files_of_another_user_are_not_read(top: Path) -> None:
    os.chown(top / "state/config", 61001, 61001)
    with pytest.raises(PermissionError):
        files(top).read("/state/config")
    os.chown(top / "state/config", 0, 0)
    os.chown(top / "state", 61001, 61001)
    with pytest.raises(PermissionError):
        files(top).read("/state/config")


def test_what_is_no_regular_file_is_refused_at_once(top: Path) -> None:
    os.mkfifo(top / "state/fifo")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(top / "state/socket"))
    for name in ("fifo", "socket", ".", "nothing"):
        with pytest.raises(OSError):
            files(top).read(f"/state/{name}")


def test_links_that_lead_in_a_circle_end(top: Path) -> None:
    (top / "one").symlink_to("two")
    (top / "two").symlink_to("/one")
    with pytest.raises(OSError, match="symbolic links"):
        files(top).read("/one/config")


def test_huge_files_are_not_read(top: Path) -> None:
    os.truncate(top / "state/config", MAX_BYTES + 1)
    with pytest.raises(OSError, match="large"):
        files(top).read("/state/config")


def test_a_changed_file_has_another_version(top: Path) -> None:
    before = files(top).version("/state/config")
    assert files(top).version("/state/config") == before
    (top / "state/new").write_bytes(b"anew")
    (top / "state/new").rename(top / "state/config")
    assert files(top).version("/state/config") != before
