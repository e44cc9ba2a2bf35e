"""Claims about whose code is trusted."""

from __future__ import annotations

import os
import struct
import sys
from pathlib import Path

import pytest

from pbmond.loader import ownership
from pbmond.loader.ownership import Inspector, UnsafeCode

NOBODY = 65534
PLACES = ["..", ".", "package", "package/module.py", "package/deep/data.h"]
#: posix_acl_xattr.h: (tag, permissions, id); a user of its own may write, within the mask.
_LIST = [(1, 6, -1), (2, 6, NOBODY), (4, 4, -1), (16, 6, -1), (32, 4, -1)]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """A folder of code below another, as only its owner may change it."""
    place = tmp_path / "top" / "code"
    (place / "package" / "deep").mkdir(parents=True)
    (place / "package" / "module.py").write_text("")
    (place / "package" / "deep" / "data.h").write_text("")
    for path in (tmp_path / "top").rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    (tmp_path / "top").chmod(0o755)
    return place


def found(code: Path) -> str | None:
    try:
        Inspector().tree(str(code))
    except UnsafeCode as error:
        return str(error)
    return None


def test_code_that_only_its_owner_may_change_is_fine(code: Path) -> None:
    (code / "link").symlink_to(code / "package")
    (code / "dangling").symlink_to(code / "nothing")
    (code / "itself").symlink_to(code)
    assert found(code) is None


@pytest.mark.parametrize(
    "place", ["..", ".", "package", "package/module.py", "package/deep/data.h"]
)
def test_what_everybody_may_write_to_is_named(code: Path, place: str) -> None:
    path = (code / place).resolve()
    path.chmod(0o777)
    assert found(code) == f"everybody may write to {path}"


@needs_root
@pytest.mark.parametrize(
    "place", ["..", ".", "package", "package/module.py", "package/deep/data.h"]
)
def test_what_belongs_to_somebody_else_is_named(code: Path, place: str) -> None:
    path = (code / place).resolve()
    os.chown(path, NOBODY, 0)
    assert found(code) == f"{path} belongs to uid {NOBODY}"


@needs_root
def test_a_group_may_write_only_if_it_is_roots(code: Path) -> None:
    module = code / "package" / "module.py"
    module.chmod(0o664)
    os.chown(module, 0, 0)
    assert found(code) is None
    os.chown(module, 0, 50)
    assert found(code) == f"the group with gid 50 may write to {module}"


@needs_root
def test_an_access_control_list_is_noticed(code: Path) -> None:
    module = code / "package" / "module.py"
    packed = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in _LIST)
    try:
        os.setxattr(module, "system.posix_acl_access", packed)
    except OSError as error:
        pytest.skip(f"no access control lists here: {error.strerror}")
    os.chown(module, 0, 0)
    assert found(code) == f"an access control list lets others write to {module}"


@needs_root
@pytest.mark.parametrize("links", [1, 2])
def test_where_a_link_leads_is_looked_at_too(code: Path, tmp_path: Path, links: int) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "x.py").write_text("")
    os.chown(theirs, NOBODY, 0)
    target = theirs / "x.py"
    for number in range(links):
        link = code / f"link{number}"
        link.symlink_to(os.path.relpath(target, code))
        target = link
    assert found(code) == f"{theirs} belongs to uid {NOBODY}"


@needs_root
def test_a_link_of_somebody_else_is_not_followed(code: Path) -> None:
    link = code / "link.py"
    link.symlink_to("/usr/bin/true")
    os.chown(link, NOBODY, 0, follow_symlinks=False)
    assert found(code) == f"{link} belongs to uid {NOBODY}"


def test_links_in_a_circle_end(code: Path) -> None:
    (code / "a").symlink_to("b")
    (code / "b").symlink_to("a")
    assert str(found(code)).endswith("Too many levels of symbolic links")


def test_a_sticky_folder_may_be_on_the_way_but_holds_no_code(code: Path) -> None:
    code.parent.chmod(0o1777)
    assert found(code) is None
    assert found(code.parent) == f"everybody may write to {code.parent}"
    assert found(code.parent / "not-yet") == f"everybody may write to {code.parent}"


def test_what_no_module_can_be_in_does_not_matter(code: Path) -> None:
    (code / ".git").mkdir()
    (code / ".git" / "x").write_text("")
    (code / ".git" / "x").chmod(0o666)
    assert found(code) is None
    (code / "package" / ".libs").mkdir()
    (code / "package" / ".libs" / "x.so").write_text("")
    (code / "package" / ".libs" / "x.so").chmod(0o666)
    assert found(code) == f"everybody may write to {code}/package/.libs/x.so"


def test_a_name_with_a_line_break_stays_on_its_line(code: Path) -> None:
    (code / "a\nb").write_text("")
    (code / "a\nb").chmod(0o666)
    assert "\n" not in str(found(code))


def test_a_folder_of_modules_that_others_may_write_to_is_refused(
    code: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code.chmod(0o777)
    monkeypatch.setattr(sys, "path", [str(code)])
    with pytest.raises(UnsafeCode, match=f"^everybody may write to {code}$"):
        ownership.importable(Inspector())


def test_the_refusal_is_one_line_with_a_remedy_and_its_acceptance_names_the_price() -> None:
    line = ownership.line("everybody may write to /x")
    assert line.startswith("everybody may write to /x, so others could have root run anything: ")
    assert ownership.SWITCH in line
    assert ownership.accepted(line) == (
        "--allow-unsafe-code: everybody may write to /x: whoever that is can run anything as "
        "root, from now on or later"
    )
