"""The log: reopened after a rotation, and says that nothing else is reloaded."""

from __future__ import annotations

import logging
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from descriptors import descriptors

from pbmond.system.logfile import Log
from pbmond.system.safe_paths import umask


@pytest.fixture(autouse=True)
def _root() -> Iterator[None]:
    """Restore the root logger."""
    root = logging.getLogger()
    level, before = root.level, list(root.handlers)
    yield
    for handler in set(root.handlers) - set(before):
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)


def test_after_a_rotation_messages_go_to_the_new_file(tmp_path: Path) -> None:
    path, rotated = tmp_path / "log", tmp_path / "log.1"
    log = Log("info", path)
    logging.getLogger("pbmond").info("before")
    path.rename(rotated)
    log.reopen()
    logging.getLogger("pbmond").info("after")
    assert rotated.read_text().endswith("INFO pbmond: before\n")
    first, second = path.read_text().splitlines()
    assert first.endswith(
        "SIGHUP: log file reopened; the configuration is read only at the start: restart pbmond"
    )
    assert second.endswith("INFO pbmond: after")


def test_a_file_that_cannot_be_reopened_leaves_the_old_one_in_use(tmp_path: Path) -> None:
    path, moved = tmp_path / "logs" / "log", tmp_path / "moved"
    path.parent.mkdir()
    log = Log("info", path)
    path.parent.rename(moved)
    log.reopen()
    assert "the log file cannot be reopened" in (moved / "log").read_text()


def test_a_folder_that_is_removed_costs_the_log_until_there_is_one_again(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "log"
    path.parent.mkdir()
    log = Log("info", path)
    path.unlink()
    path.parent.rmdir()
    for _ in range(2):
        logging.getLogger("pbmond").info("into a file without a name")
        log.reopen()
    path.parent.mkdir()
    log.reopen()
    logging.getLogger("pbmond").info("after")
    first, second = path.read_text().splitlines()
    assert "log file reopened" in first
    assert second.endswith("INFO pbmond: after")


def test_without_a_file_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    Log("info", None).reopen()
    assert "there is no log file to reopen" in capsys.readouterr().err


def test_each_reopening_closes_the_file_before(tmp_path: Path) -> None:
    log = Log("info", tmp_path / "log")
    before = descriptors()
    for _ in range(10):
        log.reopen()
    assert descriptors() <= before


# --- what is no log ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["link", "dangling link", "hard link", "fifo", "directory"])
def test_what_is_no_file_of_its_own_is_refused(tmp_path: Path, kind: str) -> None:
    path, target = tmp_path / "log", tmp_path / "target"
    target.write_text("precious")
    make: dict[str, Callable[[], object]] = {
        "link": lambda: path.symlink_to(target),
        "dangling link": lambda: path.symlink_to(tmp_path / "nothing"),
        "hard link": lambda: path.hardlink_to(target),
        "fifo": lambda: os.mkfifo(path),
        "directory": path.mkdir,
    }
    make[kind]()
    with pytest.raises(OSError, match=r"log (is not a regular file|has 2 names: hard links)"):
        Log("info", path)
    assert target.read_text() == "precious"
    assert not (tmp_path / "nothing").exists()


def test_after_a_rotation_it_follows_no_link_either(tmp_path: Path) -> None:
    path, target = tmp_path / "log", tmp_path / "target"
    target.touch()
    log = Log("info", path)
    path.rename(tmp_path / "log.1")
    path.symlink_to(target)
    log.reopen()
    assert target.read_text() == ""
    assert (
        (tmp_path / "log.1")
        .read_text()
        .endswith("SIGHUP: the log file cannot be reopened: log is not a regular file\n")
    )


@pytest.mark.parametrize("mask", [0, 0o022, 0o777])
def test_a_new_file_is_for_root_and_its_group(tmp_path: Path, mask: int) -> None:
    with umask(mask):
        Log("info", tmp_path / "log")
    assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o640


def test_it_appends_to_what_is_there_and_its_mode_stays(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("before\n")
    path.chmod(0o600)
    Log("info", path)
    logging.getLogger("pbmond").warning("name %s", "\udcff")
    before, after = path.read_text().splitlines()
    assert before == "before"
    assert after.endswith(r"WARNING pbmond: name \udcff")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("whose", ["folder", "log"])
def test_what_belongs_to_another_user_is_refused(tmp_path: Path, whose: str) -> None:
    path = tmp_path / "folder" / "log"
    path.parent.mkdir()
    path.touch()
    os.chown(path if whose == "log" else path.parent, 65534, 65534)
    with pytest.raises(PermissionError, match=f"{whose} belongs to user 65534"):
        Log("info", path)


# --- a full disk ------------------------------------------------------------------------------

_FULL = """
import logging, resource, sys
from pathlib import Path
from pbmond.system.logfile import Log

def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

path = Path(sys.argv[1])
Log("info", path)
log = logging.getLogger("pbmond")
log.info("one")
limit(path.stat().st_size + 10)  # room for a part of a line
for number in range(100):
    log.info("lost %d", number)
limit(resource.RLIM_INFINITY)
log.info("two")
"""


def test_a_full_disk_is_one_line_and_the_log_goes_on_when_there_is_room(tmp_path: Path) -> None:
    path = tmp_path / "log"
    ended = subprocess.run(
        [sys.executable, "-c", _FULL, path], capture_output=True, check=True, text=True
    )
    assert ended.stderr == f"pbmond: {path}: No space left on device; messages are lost\n"
    one, _torn, missing, two = path.read_text().splitlines()
    assert one.endswith("INFO pbmond: one")
    assert missing == "100 messages are missing here: they could not be written"
    assert two.endswith("INFO pbmond: two")


@pytest.mark.parametrize("place", [">/dev/full", ">&-"])
def test_a_standard_error_that_is_full_or_gone_ends_nothing(place: str) -> None:
    code = (
        "import logging; from pbmond.system.logfile import Log; Log('info', None)\n"
        "for _ in range(10000): logging.info('x' * 100)\n"
        "print('here', flush=True)"
    )
    ended = subprocess.run(
        ["sh", "-c", f'exec "$0" -c "$1" 2{place}', sys.executable, code],
        capture_output=True,
        check=False,
        text=True,
    )
    assert ended.stdout == "here\n"
