"""Programs whose TCP segments are lost on the way to a peer in another network namespace."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable, Iterator

from pbmond.selftest.workloads.programs import kernel, tcp
from pbmond.selftest.workloads.programs.namespaces import FAR, TCP_PORT, Link, attribute, route
from pbmond.selftest.workloads.programs.program import Account, Run, offered, program

RTM_NEWQDISC, TCA_KIND, TCA_OPTIONS, TC_H_ROOT = 36, 1, 2, 0xFFFFFFFF
TICK_NS = 64  # of struct tc_netem_qopt: PSCHED_SHIFT of include/net/pkt_sched.h
LOSS, DELAY_MS, LIMIT = 0.1, 3, 1000
SHORT = 500  # segments up to this size, with header, are never dropped by the receiver
ENOUGH, CHUNKS_MAX = 3, 400
FINAL_CALLS = 40  # where reads are expensive, only one call in sixteen looks at the connection


def _receive(run: Run, loss: float, link: Link) -> None:
    """The peer, in a namespace of its own: receive everything."""
    link.far()
    listener = socket.create_server((FAR[0], TCP_PORT))
    link.listening.open()
    server = listener.accept()[0]
    if loss:
        tcp.lose(server, loss, above=SHORT)
    row = run.connection(server, "net", "in")
    kernel.await_input(server.fileno())  # not in a call that is in progress when the daemon starts
    while size := kernel.recvfrom(server.fileno(), 1 << 16):
        row.read(size)


def _send(client: socket.socket, row: Account) -> None:
    """Send until enough is lost, then a byte at a time. Record the round-trip times."""
    # A connection that is older than the daemon counts from the end of its first call on.
    row.write(kernel.write(client.fileno(), 1))
    for _ in range(CHUNKS_MAX):
        row.write(kernel.write(client.fileno(), 50_003))
        tcp.await_acknowledged(client)
        if tcp.info(client).retransmitted_segments >= ENOUGH:
            break
    else:
        raise AssertionError("no segment was lost")
    trips = []
    for _ in range(FINAL_CALLS):
        trips.append(tcp.info(client).rtt_us)
        row.write(kernel.write(client.fileno(), 1))
        tcp.await_acknowledged(client)
    row.facts["rtt_us"] = trips


def _record_tcp_info(client: socket.socket, row: Account) -> None:
    """Add the kernel's final TCP_INFO to the account."""
    info = tcp.info(client)
    trips = [*row.facts["rtt_us"], info.rtt_us]  # type: ignore[misc]  # _send() left a list there
    row.facts["rtt_us"] = (min(trips), max(trips))
    row.facts["retransmitted_segments"] = info.retransmitted_segments
    row.facts["retransmitted_bytes"] = info.retransmitted_bytes


def _across(run: Run, loss: float, spoil: Callable[[], None] = lambda: None) -> Iterator[None]:
    link = Link()
    far = run.fork(lambda inner: _receive(inner, loss, link))
    link.near(far.pid)
    client = socket.create_connection((FAR[0], TCP_PORT))
    spoil()  # now: a SYN that was sent again before the daemon started counts only in TCP_INFO
    row = run.connection(client, "net", "out")
    yield
    _send(client, row)
    client.shutdown(socket.SHUT_WR)
    run.join(far)
    _record_tcp_info(client, row)


@program
def dropped_by_the_receiver(run: Run) -> Iterator[None]:
    """Segments that a filter on the receiving socket drops, and that TCP sends again."""
    yield from _across(run, LOSS)


def _netem() -> None:
    """Let the interface v0 delay packets, and drop some."""
    ticks = DELAY_MS * 1_000_000 // TICK_NS
    # struct tc_netem_qopt: latency, limit, loss, gap, duplicate, jitter
    options = struct.pack("=6I", ticks, LIMIT, int(LOSS * 0xFFFFFFFF), 0, 0, 0)
    # struct tcmsg: family, interface, handle, parent, info
    head = struct.pack("=BxxxiIII", 0, socket.if_nametoindex("v0"), 0, TC_H_ROOT, 0)
    body = head + attribute(TCA_KIND, b"netem\0") + attribute(TCA_OPTIONS, options)
    with offered("netem", errno.ENOENT):
        route(RTM_NEWQDISC, body)


@program
def netem(run: Run) -> Iterator[None]:
    """Packets that the kernel's network emulator delays, or loses."""
    yield from _across(run, 0, _netem)
