"""A path leads through root's folders only, whoever tries to bend it."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

import pytest
from descriptors import descriptors

from pbmond.system.safe_paths import UnsafePathError, Walk, open_own, scratch, umask

ALICE = 61001  # a user whom no account database needs to know
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """Return a folder with folders in it that nobody else may write to."""
    for folder in ("a", "a/b", "shared"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder).chmod(0o755)
    (tmp_path / "shared").chmod(0o1777)
    return tmp_path


def found(path: Path | str, *, follow: bool = True) -> Path:
    """Return what a walk leads to, by the kernel's own account."""
    with Walk().parent(path, follow=follow) as (folder, name):
        return Path(f"/proc/self/fd/{folder}").readlink() / name


@pytest.mark.parametrize(
    ("path", "to"),
    [
        ("a/b/new", "a/b/new"),
        ("a//b/./new/", "a/b/new"),
        ("a/b/../new", "a/new"),
        ("up/new", "a/new"),
        ("absolute/new", "a/b/new"),
        ("up/relative", "a/b"),
        ("dangling", "a/nothing"),
    ],
)
def test_it_leads_to_where_the_kernel_would_go(top: Path, path: str, to: str) -> None:
    (top / "up").symlink_to("a/b/..")
    (top / "absolute").symlink_to(top / "up/b")
    (top / "a/relative").symlink_to("../absolute")
    (top / "dangling").symlink_to("a/nothing")
    before = descriptors()
    assert found(f"{top}/{path}") == top / to
    assert descriptors() <= before


def test_the_root_is_a_path_too() -> None:
    assert found("/").resolve() == Path("/")


def test_the_last_link_is_followed_only_if_asked(top: Path) -> None:
    (top / "link").symlink_to("a/b")
    assert found(top / "link", follow=False) == top / "link"


def test_a_loop_of_links_ends(top: Path) -> None:
    (top / "loop").symlink_to("loop")
    with pytest.raises(OSError, match="Too many levels"):
        found(top / "loop/x")


@pytest.mark.parametrize("path", ["nothing/x", "file/x"])
def test_what_leads_nowhere_is_an_error_and_leaves_no_descriptor(top: Path, path: str) -> None:
    (top / "file").touch()
    before = descriptors()
    with pytest.raises((FileNotFoundError, NotADirectoryError)):
        found(top / path)
    assert descriptors() <= before


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o757, 0o772])
def test_a_folder_that_others_may_write_to_is_refused(top: Path, mode: int) -> None:
    (top / "a").chmod(mode)
    with pytest.raises(UnsafePathError, match=f"others may write to {top}/a$"):
        found(top / "a/b/c/d")


@pytest.mark.parametrize(
    ("folder", "mode", "passed"),
    [("log", 0o775, True), ("log", 0o777, False), ("log/own", 0o775, False), ("lib", 0o775, False)],
)
def test_the_group_of_the_system_log_may_write_to_its_folder_only(
    top: Path, folder: str, mode: int, passed: bool
) -> None:
    for made in ("var", "var/log", "var/log/own", "var/lib"):
        (top / made).mkdir(mode=0o755)
    (top / "var" / folder).chmod(mode)
    walk = Walk(str(top)).parent(f"/var/{folder}/pbmond.log")
    with contextlib.nullcontext() if passed else pytest.raises(UnsafePathError), walk:
        pass


def test_a_sticky_folder_of_roots_is_passed_unless_that_is_not_wanted(top: Path) -> None:
    (top / "shared/own").mkdir(mode=0o755)
    assert found(top / "shared/own/x") == top / "shared/own/x"
    with pytest.raises(UnsafePathError), Walk(sticky=False).parent(top / "shared/own/x"):
        pass


@needs_root
@pytest.mark.parametrize("mode", [0o755, 0o1777, 0o700])
def test_a_folder_of_another_user_is_refused(top: Path, mode: int) -> None:
    (top / "shared/own/run").mkdir(parents=True)
    (top / "shared/own").chmod(mode)
    os.chown(top / "shared/own", ALICE, ALICE)
    with pytest.raises(UnsafePathError, match=f"own belongs to user {ALICE}"):
        found(top / "shared/own/run/x")


@needs_root
def test_a_link_of_another_user_is_refused_and_one_of_roots_is_followed(top: Path) -> None:
    link = top / "shared/link"
    link.symlink_to(top / "a")
    assert found(link / "b") == top / "a/b"
    os.chown(link, ALICE, ALICE, follow_symlinks=False)
    with pytest.raises(UnsafePathError, match=f"symbolic link link belongs to user {ALICE}"):
        found(link / "b")


@needs_root
def test_a_link_of_roots_into_another_users_folder_is_refused(top: Path) -> None:
    (top / "home/run").mkdir(parents=True)
    os.chown(top / "home", ALICE, ALICE)
    (top / "link").symlink_to(top / "home/run")
    with pytest.raises(UnsafePathError):
        found(top / "link/x")


def test_a_folder_is_made_with_those_above_it(top: Path) -> None:
    before = descriptors()
    os.close(Walk().folder(top / "a/new/newer", make=True))
    assert stat.S_IMODE((top / "a/new/newer").stat().st_mode) == 0o755
    assert descriptors() <= before


def test_a_dangling_link_is_not_made_a_folder(top: Path) -> None:
    (top / "link").symlink_to("nothing")
    with pytest.raises(FileNotFoundError):
        Walk().folder(top / "link", make=True)
    assert not (top / "nothing").exists()


@pytest.mark.parametrize("what", ["device", "file of another"])
@needs_root
def test_a_file_that_is_not_ours_is_not_opened(top: Path, what: str) -> None:
    if what == "device":
        os.mknod(top / "file", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    else:
        (top / "file").touch()
        os.chown(top / "file", ALICE, ALICE)
    before = descriptors()
    folder = os.open(top, os.O_PATH)
    try:
        with pytest.raises(UnsafePathError):
            open_own(folder, "file", os.O_RDWR, 0o600)
    finally:
        os.close(folder)
    assert descriptors() <= before


def test_a_scratch_directory_can_be_entered_and_is_gone_in_the_end(top: Path) -> None:
    with umask(0o077), scratch("x-", top / "shared") as path:
        (path / "file").touch()
        assert path.parent == top / "shared"
        assert stat.S_IMODE(path.stat().st_mode) == 0o755
    assert list((top / "shared").iterdir()) == []


def test_no_scratch_directory_is_made_where_others_could_exchange_it(top: Path) -> None:
    (top / "a").chmod(0o777)
    with pytest.raises(UnsafePathError, match="others may write"), scratch("x-", top / "a/b"):
        pass
    assert list((top / "a/b").iterdir()) == []
