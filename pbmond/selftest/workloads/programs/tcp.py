"""What the kernel reports about a TCP connection, and a receiver that loses segments."""

from __future__ import annotations

import array
import ctypes
import fcntl
import socket
import struct
import termios
import time
from dataclasses import dataclass

CLOSE = 7  # include/net/tcp_states.h
TCP_INFO, SO_ATTACH_FILTER, SO_DETACH_FILTER = 11, 26, 27
#: struct tcp_info of include/uapi/linux/tcp.h as far as its bytes_retrans.
_INFO_SIZE, _STATE, _RTT, _SEGMENTS, _BYTES = 216, 0, 68, 100, 208
# Instructions of a classic socket filter.
_LOAD_SIZE, _LOAD, _JUMP_IF_MORE, _JUMP_IF_NOT_LESS, _RETURN = 0x80, 0x20, 0x25, 0x35, 0x06
_RANDOM = 0xFFFFF038  # SKF_AD_OFF + SKF_AD_RANDOM
_ALL = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class TcpInfo:
    """What TCP_INFO says; ``rtt_us`` is smoothed."""

    state: int
    rtt_us: int
    retransmitted_segments: int
    retransmitted_bytes: int


def info(sock: socket.socket) -> TcpInfo:
    """Ask the kernel about the state of a connection."""
    data = sock.getsockopt(socket.IPPROTO_TCP, TCP_INFO, _INFO_SIZE).ljust(_INFO_SIZE, b"\0")
    (rtt,), (segments,) = (struct.unpack_from("=I", data, at) for at in (_RTT, _SEGMENTS))
    (size,) = struct.unpack_from("=Q", data, _BYTES)
    return TcpInfo(data[_STATE], rtt, segments, size)


def lose(sock: socket.socket, share: float, above: int = 0) -> None:
    """Let ``sock`` drop at random this share of the segments that arrive with more bytes.

    ``above`` includes the header. A socket filter in the receiver drops them, so that it takes
    neither a module nor rights.
    """
    program = b"".join(
        struct.pack("=HBBI", *each)
        for each in (
            (_LOAD_SIZE, 0, 0, 0),
            (_JUMP_IF_MORE, 0, 3, above),
            (_LOAD, 0, 0, _RANDOM),
            (_JUMP_IF_NOT_LESS, 1, 0, min(int(share * (_ALL + 1)), _ALL)),
            (_RETURN, 0, 0, 0),
            (_RETURN, 0, 0, _ALL),
        )
    )
    buffer = ctypes.create_string_buffer(program, len(program))
    filter_ = struct.pack("=HxxxxxxQ", len(program) // 8, ctypes.addressof(buffer))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, filter_)


def lose_nothing(sock: socket.socket) -> None:
    """End what ``lose`` began."""
    sock.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)


def await_acknowledged(sock: socket.socket, seconds: float = 15) -> None:
    """Wait until the other end has acknowledged every byte, so that nothing is sent again."""
    deadline = time.monotonic() + seconds
    unacknowledged = array.array("i", [1])
    while unacknowledged[0]:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{unacknowledged[0]} bytes are not acknowledged")
        fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, unacknowledged)
        time.sleep(0.001)


def await_closed(sock: socket.socket, seconds: float = 15) -> None:
    """Wait until the kernel has closed the connection, because both ends have."""
    deadline = time.monotonic() + seconds
    while (state := info(sock).state) != CLOSE:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the connection is in state {state}")
        time.sleep(0.001)
