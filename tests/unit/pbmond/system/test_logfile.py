"""The log: reopened after a rotation, and says that nothing else is reloaded."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from pbmond.system.logfile import Log


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


def test_without_a_file_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    Log("info", None).reopen()
    assert "there is no log file to reopen" in capsys.readouterr().err


def test_each_reopening_closes_the_file_before(tmp_path: Path) -> None:
    log = Log("info", tmp_path / "log")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(10):
        log.reopen()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
