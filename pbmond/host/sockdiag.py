"""What open TCP connections have moved, by the kernel's own TCP_INFO (sock_diag).

Facts are those of linux/inet_diag.h, linux/tcp.h, net/ipv4/tcp_diag.c and net/ipv4/tcp.c.
"""

from __future__ import annotations

import errno
import socket
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pbmond.host.netlink import (
    NLM_F_DUMP_INTR,
    NLMSG_DONE,
    NLMSG_ERROR,
    TIMEOUT_S,
    attributes,
    dump_request,
    messages,
)

_CHUNK: Final = 1 << 16
_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY = 4, 20
_INET_DIAG_INFO: Final = 2  # the attribute that holds struct tcp_info; asked for by bit 1
_ESTABLISHED, _FIN_WAIT1, _FIN_WAIT2, _CLOSE_WAIT, _LAST_ACK, _CLOSING = 1, 4, 5, 8, 9, 11
_OPEN: Final = (_ESTABLISHED, _FIN_WAIT1, _FIN_WAIT2, _CLOSE_WAIT, _LAST_ACK, _CLOSING)
_SENT_FIN: Final = (_FIN_WAIT1, _FIN_WAIT2, _LAST_ACK, _CLOSING)
_RECEIVED_FIN: Final = (_CLOSE_WAIT, _LAST_ACK, _CLOSING)

# struct inet_diag_req_v2: family, protocol, extensions, states; any socket.
_REQUEST: Final = struct.Struct("=BBBxI48x")
# struct inet_diag_msg: its beginning (state, local and remote port) and its end (what waits to be
# read, what is not acknowledged yet, inode number).
_HEAD: Final = struct.Struct("!xBxxHH")
_TAIL: Final = struct.Struct("=56xII4xI")
# struct tcp_info: bytes_acked, bytes_received, notsent_bytes, bytes_sent, bytes_retrans (4.19).
_INFO: Final = struct.Struct("=120xQQ8xI52xQQ")


@dataclass(frozen=True, slots=True)
class TcpMoved:
    """An open TCP connection, and the bytes that its calls have received and sent so far."""

    inode: int
    local_port: int
    remote_port: int
    received: int
    sent: int


def connections(asking: socket.socket) -> Iterator[TcpMoved]:
    """Yield the open connections of the network namespace that ``asking`` (``opened``) is of.

    Those that no process holds any more have no inode number and are left out. OSError if the
    kernel refuses, ValueError if its answer is not whole.
    """
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            for body in _dump(asking, family):
                found = parse_connection(body)
                if found is not None and found.inode:
                    yield found
        except OSError as error:
            # A kernel without IPv6 knows no such family.
            if family != socket.AF_INET6 or error.errno != errno.ENOENT:
                raise


def opened() -> socket.socket:
    """Return a socket to ask by, of the network namespace of the calling thread."""
    asking = socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG
    )
    asking.settimeout(TIMEOUT_S)
    return asking


def _dump(asking: socket.socket, family: int) -> Iterator[bytes]:
    """Yield struct inet_diag_msg and its attributes for each open connection of a family."""
    states = sum(1 << state for state in _OPEN)
    request = _REQUEST.pack(family, socket.IPPROTO_TCP, 1 << (_INET_DIAG_INFO - 1), states)
    asking.sendto(dump_request(_SOCK_DIAG_BY_FAMILY, request), (0, 0))
    while True:
        answer, (sender, _) = asking.recvfrom(_CHUNK)
        if sender != 0:  # root of the namespace can send to this socket too
            raise ValueError("an answer that is not the kernel's")
        for kind, flags, body in messages(answer):
            if flags & NLM_F_DUMP_INTR:
                raise ValueError("no whole list of connections")
            if kind in (NLMSG_DONE, NLMSG_ERROR):
                _check(kind, body)
                return
            yield body


def _check(kind: int, body: bytes) -> None:
    """Raise OSError if the last message says that the list failed; the number may be missing."""
    code = -int.from_bytes(body[:4], sys.byteorder, signed=True) if len(body) >= 4 else 0
    if code or kind == NLMSG_ERROR:
        raise OSError(code, "sock_diag failed")


def parse_connection(body: bytes) -> TcpMoved | None:
    """Parse struct inet_diag_msg and its attributes; None without TCP_INFO.

    ValueError if either is cut off.
    """
    if len(body) < _TAIL.size:
        raise ValueError("half a connection")
    state, local_port, remote_port = _HEAD.unpack_from(body)
    unread, unacknowledged, inode = _TAIL.unpack_from(body)
    info = dict(attributes(body[_TAIL.size :])).get(_INET_DIAG_INFO)
    if info is None:
        return None
    if len(info) < _INFO.size:
        raise ValueError("a TCP_INFO without byte counts")
    acked, received, notsent, transmitted, retransmitted = _INFO.unpack_from(info)
    return TcpMoved(
        inode=inode,
        local_port=local_port,
        remote_port=remote_port,
        received=_received(state, received, unread),
        sent=_sent(state, acked + unacknowledged, transmitted - retransmitted + notsent, notsent),
    )


def _received(state: int, received: int, unread: int) -> int:
    """Return the bytes that calls have received: not those that still wait in the queue.

    A FIN is one more in sequence numbers, in both until it was read.
    """
    fin = int(state in _RECEIVED_FIN)
    return max(0, received - fin - max(0, unread - fin))


def _sent(state: int, sequence: int, payload: int, notsent: int) -> int:
    """Return the bytes that calls have sent, whether they have left the host or not.

    ``sequence`` counts sequence numbers: the FIN is one of them, and the SYN of the side that
    opened the connection. ``payload`` has no SYN, and tells which side this is. But it is not exact
    where the host itself dropped a segment: then this may be a byte less than was sent, never more.
    """
    fin = int(state in _SENT_FIN)
    sequence -= fin
    payload -= fin if notsent else 0  # the last one in line
    return max(0, sequence if payload == sequence else sequence - 1)
