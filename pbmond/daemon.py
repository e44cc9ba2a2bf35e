"""Puts the collector process together from its parts, and takes it apart again."""

from __future__ import annotations

import logging
import os
import secrets
from pathlib import Path
from typing import Protocol

from pbmond.attach import attach
from pbmond.config import Config
from pbmond.privileges import reduce_collector
from pbmond.procfs import Procfs
from pbmond.service import Clock, Collector, Identity, Service
from pbmond.store import Store, StoreOptions
from pbmond.supervisor import Supervisor, spawn_publisher


class Stop(Protocol):
    """How the daemon learns that it shall end."""

    @property
    def fd(self) -> int:
        """Readable once the daemon shall end."""

    def serve(self) -> None:
        """From now on only make ``fd`` readable; before, a signal raises SystemExit."""


def serve(config: Config, socket_path: Path, account: tuple[int, int], stop: Stop) -> None:
    """Count and publish until ``stop``; ``account`` is the publisher's uid and gid.

    Raises AttachError.
    """
    log = logging.getLogger("pbmond")
    clock, proc = Clock(), Procfs()
    kernel = attach(config, log)
    try:
        store = _store(config, proc, clock.boot())
        reduce_collector()
        identity = Identity(
            host=os.uname().nodename,
            boot_id=proc.boot_id(),
            epoch=secrets.token_hex(8),
            pid=os.getpid(),
        )
        collector = Collector(kernel, proc, store, identity, clock)
        spawn = spawn_publisher(socket_path, *account, config.access_group)
        supervisor = Supervisor(spawn, log)
        try:
            stop.serve()
            interval_ns = round(config.interval_s * 1e9)
            Service(collector, supervisor, interval_ns, clock, log).run(kernel.events_fd, stop.fd)
        finally:
            supervisor.close()
    finally:
        kernel.close()


def _store(config: Config, proc: Procfs, started_ns: int) -> Store:
    options = StoreOptions(
        exited_linger_ns=round(config.exited_linger_s * 1e9),
        idle_linger_ns=round(config.idle_linger_s * 1e9),
        history_length=config.history_length,
        visible=config.visible,
    )
    store = Store(options, started_ns)
    store.listening(proc.listening())
    return store
