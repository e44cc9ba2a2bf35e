"""systemd hears of the first snapshot, of each later one, and of long intervals."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pbmond.system.manager import ServiceManager

SECOND = 1_000_000_000


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "30000000")
        yield listening


def test_it_is_ready_with_the_first_snapshot_and_alive_with_each(manager: socket.socket) -> None:
    with closing(ServiceManager(SECOND)) as told:
        told.served()
        told.served()
    assert manager.recv(1000) == b"READY=1\nWATCHDOG=1"
    assert manager.recv(1000) == b"WATCHDOG=1"


def test_snapshots_further_apart_than_the_watchdog_allows_have_it_wait_longer(
    manager: socket.socket,
) -> None:
    with closing(ServiceManager(3600 * SECOND)) as told:
        told.served()
    assert manager.recv(1000) == b"READY=1\nWATCHDOG_USEC=10800000000\nWATCHDOG=1"


def test_children_do_not_learn_where_the_manager_listens(manager: socket.socket) -> None:
    with closing(ServiceManager(SECOND)):
        assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC"} & set(os.environ)


@pytest.mark.parametrize("address", ["", "relative", "/nowhere/at/all", "@pbmon-nobody"])
def test_without_a_manager_nothing_happens(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    with closing(ServiceManager(SECOND)) as told:
        told.served()


def test_a_manager_that_does_not_listen_is_not_waited_for(manager: socket.socket) -> None:
    with closing(ServiceManager(SECOND)) as told:
        for _ in range(10_000):
            told.served()
    assert manager.recv(1000).startswith(b"READY=1")
