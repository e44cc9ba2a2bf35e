"""Each process of the daemon has the rights that pbmond/system/rights.py says, and no other.

Read from /proc while they work: an attacker who took one over would have just that.
"""

from __future__ import annotations

import logging
import pwd
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pbmond.children.starter import Starter
from pbmond.patience import patient
from pbmond.selftest.private_daemon import Daemon
from pbmond.system import rights
from pbmond.system.rights import Rights

_PATIENCE_S = patient(60.0)
_NOBODY = pwd.getpwnam("nobody")  # as whom private daemons publish
#: What a child may see of the caller's environment: nothing.
_ENVIRONMENT = {"PYTHONPATH", "LC_ALL", "MALLOC_ARENA_MAX"}


@dataclass(frozen=True)
class Found:
    """One process, as /proc shows it. ``links``: what its descriptors are."""

    pid: int
    status: dict[str, str]
    threads: list[dict[str, str]]
    links: list[str]
    environment: set[str]
    limits: str
    oom_score_adj: int

    def sets(self) -> dict[str, int]:
        names = ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb")
        return {name: int(self.status[name], 16) for name in names}


def status_of(path: Path) -> dict[str, str]:
    lines = path.read_text().splitlines()
    return {key: " ".join(value.split()) for key, _, value in (e.partition(":") for e in lines)}


def look_at(pid: int) -> Found:
    place = Path(f"/proc/{pid}")
    links = []
    for entry in (place / "fd").iterdir():
        try:
            links.append(str(entry.readlink()))
        except FileNotFoundError:
            continue  # the collector's come and go
    environment = (place / "environ").read_bytes().split(b"\0")
    return Found(
        pid,
        status_of(place / "status"),
        [status_of(thread / "status") for thread in (place / "task").iterdir()],
        links,
        {each.partition(b"=")[0].decode() for each in environment if each},
        (place / "limits").read_text(),
        int((place / "oom_score_adj").read_text()),
    )


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + _PATIENCE_S
    while not true():
        assert time.monotonic() < end, "in vain"
        time.sleep(0.02)


def named(daemon: Daemon, name: str) -> int:
    (pid,) = (p for p in daemon.children() if Path(f"/proc/{p}/comm").read_text() == f"{name}\n")
    return pid


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("rights")) as running:
        yield running


def assert_only(found: Found, allowed: Rights) -> None:
    """The process has ``allowed`` and nothing else, in each of its threads."""
    expendable = allowed.user == "publisher_user"
    uid, gid = (_NOBODY.pw_uid, _NOBODY.pw_gid) if expendable else (0, 0)
    bounding = 0 if uid else allowed.mask
    for status in found.threads:
        sets = {name: int(status[name], 16) for name in found.sets()}
        assert sets["CapEff"] | sets["CapPrm"] == sets["CapPrm"] & allowed.mask
        assert (sets["CapInh"], sets["CapAmb"]) == (0, 0)
        assert sets["CapBnd"] & ~bounding == 0
        assert status["NoNewPrivs"] == "1"
        assert status["Seccomp"] == ("0" if allowed.calls is None else "2")
        assert status["Uid"].split() == [str(uid)] * 4
        assert status["Gid"].split() == [str(gid)] * 4
        assert status["Groups"].split() == [] if uid else True
    assert "Max core file size        0                    0" in found.limits
    # No file grows by them: no disk fills up, nor the memory behind a frame. (tests/measure.py,
    # which measures this process too, lets them write what it needs.)
    if expendable and "coverage" not in sys.modules:
        assert "Max file size             0                    0" in found.limits


def test_the_collector_has_what_the_table_says(daemon: Daemon) -> None:
    found = look_at(daemon.process.pid)
    assert_only(found, rights.COLLECTOR_RIGHTS)


def test_the_forker_has_what_the_table_says_and_three_sockets(daemon: Daemon) -> None:
    found = look_at(named(daemon, rights.FORKER_RIGHTS.name))
    assert_only(found, rights.FORKER_RIGHTS)
    assert found.environment == _ENVIRONMENT
    kinds = sorted(link.partition(":")[0] for link in found.links)
    # Standard input and output, the daemon's standard error; the channel and the listening socket;
    # the publisher's end as a pidfd.
    assert kinds.count("socket") == 2
    assert kinds.count("/dev/null") == 2
    assert len(kinds) == 6


def test_the_publisher_has_nothing_but_its_sockets(daemon: Daemon) -> None:
    found = look_at(daemon.publisher())
    assert_only(found, rights.PUBLISHER_RIGHTS)
    assert found.environment == _ENVIRONMENT
    kinds = [link.partition(":")[0] for link in found.links]
    assert set(kinds) <= {"/dev/null", "pipe", "socket", "anon_inode"}
    # Its standard error is a pipe of its own, and its only one: it must not write the daemon's log.
    assert kinds.count("pipe") == 1
    assert str(Path(f"/proc/{found.pid}/fd/2").readlink()).startswith("pipe:")
    assert found.oom_score_adj >= rights.EXPENDABLE_OOM_SCORE


def test_the_names_reader_has_what_the_table_says() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with (
        socket.socket(socket.AF_UNIX) as listener,
        Starter(
            *(listener, _NOBODY.pw_uid, _NOBODY.pw_gid, "pbmon", logging.getLogger("test")),
        ) as starter,
        ours,
        theirs,
    ):
        pid = starter.names_reader(theirs).pid
        until(lambda: status_of(Path(f"/proc/{pid}/status"))["Seccomp"] == "2")
        found = look_at(pid)
        assert_only(found, rights.NAMES_RIGHTS)
        assert found.environment == _ENVIRONMENT
        assert sorted(link.partition(":")[0] for link in found.links) == [
            *("/dev/null", "/dev/null", "pipe", "socket"),
        ]


def test_the_loader_has_what_the_table_says(tmp_path: Path) -> None:
    """It lives for a moment: what bcc_python names is asked what it has before it is Python."""
    said, python = tmp_path / "said", tmp_path / "python"
    python.write_text(f'#!/bin/sh\ncat /proc/self/status > {said}\nexec {find_bcc_python()} "$@"\n')
    python.chmod(0o755)
    with Daemon(tmp_path, bcc_python=python):
        status = status_of(said)
    allowed = rights.LOADER_RIGHTS.mask
    assert int(status["CapPrm"], 16) == int(status["CapBnd"], 16) == allowed
    assert (int(status["CapInh"], 16), int(status["CapAmb"], 16)) == (0, 0)
    assert status["NoNewPrivs"] == "1"


def find_bcc_python() -> str:
    """Return an interpreter that has bcc."""
    tried = ["/usr/bin/python3", sys.executable]
    (found, *_) = (
        each
        for each in tried
        if subprocess.run([each, "-c", "import bcc"], check=False, capture_output=True).returncode
        == 0
    )
    return found


def test_the_table_names_a_call_for_each_capability() -> None:
    for each in rights.ALL:
        for name, reason in each.capabilities.items():
            assert name in rights.NUMBERS
            assert "(2)" in reason or "prctl" in reason
