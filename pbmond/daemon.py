"""Assembles the collector process from its parts, and takes it apart again."""

from __future__ import annotations

import logging
import os
import secrets
import socket
from collections.abc import Sequence
from contextlib import closing

from pbmond.allocator import give_back
from pbmond.children.starter import Starter
from pbmond.collector import Clock, Collector, RunIdentity
from pbmond.config import Config
from pbmond.containers.asking import NameLookup
from pbmond.host.hostcounters import HostCounters
from pbmond.host.inodes import socket_device
from pbmond.host.procfs import Procfs
from pbmond.kernel.attach import Attaching
from pbmond.kernel.maps import Kernel
from pbmond.publish.supervisor import Supervisor
from pbmond.service import Service
from pbmond.store.store import Store, StoreOptions
from pbmond.system.manager import ServiceManager
from pbmond.system.privileges import confine_collector
from pbmond.system.signals import Signals


def serve(
    config: Config,
    attaching: Attaching,
    starter: Starter,
    signals: Signals,
    given: Sequence[socket.socket] = (),
) -> None:
    """Count and publish until a signal ends it. ``given``: as of ``HostCounters``.

    Raises AttachError, PublisherError and ForkerError.
    """
    log = logging.getLogger("pbmond")
    clock, proc, host = Clock(), Procfs(), HostCounters(given=given)
    supervisor = Supervisor(starter.publisher, log)
    containers = NameLookup(starter.names_reader if config.container_names else None, log)
    try:
        supervisor.ensure(clock.monotonic())  # starts while the programs are being loaded
        kernel = attaching.finish()
        try:
            collector = _collector(
                *(config, kernel, proc, host, clock), containers=containers, starter=starter
            )
            interval_ns = round(config.interval_s * 1e9)
            with closing(ServiceManager(interval_ns)) as manager:
                confine_collector()
                signals.serve()
                service = Service(
                    *(collector, supervisor, interval_ns, clock, log),
                    give_back=give_back,
                    children_say=starter.take_words,
                    served=manager.served,
                )
                service.run(kernel.events_fd, signals)
        finally:
            kernel.close()
    finally:
        supervisor.close()
        containers.close()
        host.close()


def _collector(
    config: Config,
    kernel: Kernel,
    proc: Procfs,
    host: HostCounters,
    clock: Clock,
    *,
    containers: NameLookup,
    starter: Starter,
) -> Collector:
    began = host.read(clock.monotonic())  # first of all: the programs are counting already
    began_ns = clock.boot()
    identity = RunIdentity(
        host=os.uname().nodename,
        boot_id=proc.boot_id(),
        epoch=secrets.token_hex(8),
        pid=os.getpid(),
        began_ns=began_ns,
    )
    store = _store(config, proc, began_ns)
    store.set_baseline(began)
    if config.baseline:
        from pbmond.host import baseline  # noqa: PLC0415 - only who wants it loads it

        store.set_before(baseline.read(proc, began_ns, logging.getLogger("pbmond")))
    return Collector(
        *(kernel, proc, store, identity, clock),
        host=host,
        containers=containers,
        children=starter.processes,
        proc_time_ns=config.proc_time_ns,
    )


def _store(config: Config, proc: Procfs, started_ns: int) -> Store:
    options = StoreOptions(
        exited_linger_ns=round(config.exited_linger_s * 1e9),
        idle_linger_ns=round(config.idle_linger_s * 1e9),
        history_length=config.history_length,
        visible=config.visible,
        socket_device=socket_device(),
        capacities=(config.flows_capacity, config.files_capacity, config.overflow_capacity),
    )
    store = Store(options, started_ns)
    store.set_listening(proc.listening())
    return store
