"""Layouts that the C side takes for granted, where it does not ask BTF: bpf/*.h and pbmon.c.

All but the last two groups are the interface of the kernel to programs and never change.
"""

from __future__ import annotations

from typing import NamedTuple


class Layout(NamedTuple):
    """A member at a fixed place, wherever the kernel has its structure."""

    structure: str
    member: str
    offset: int  # in bytes
    size: int | None  # in bytes; None: more of it is not read


LAYOUTS = (
    # peers.h: struct peer, which is a sockaddr_in or a sockaddr_in6
    Layout("sockaddr_in", "sin_family", 0, 2),
    Layout("sockaddr_in", "sin_port", 2, 2),
    Layout("sockaddr_in", "sin_addr", 4, 4),
    Layout("sockaddr_in6", "sin6_family", 0, 2),
    Layout("sockaddr_in6", "sin6_port", 2, 2),
    Layout("sockaddr_in6", "sin6_addr", 8, 16),
    # peers.h and messages.h: the beginning of a msghdr, the length of a message, the next message
    Layout("user_msghdr", "msg_name", 0, 8),
    Layout("user_msghdr", "msg_namelen", 8, 4),
    Layout("mmsghdr", "msg_hdr", 0, 56),
    Layout("mmsghdr", "msg_len", 56, 4),
    # messages.h: what was mapped, and what was copied
    Layout("tcp_zerocopy_receive", "length", 8, 4),
    Layout("tcp_zerocopy_receive", "recv_skip_hint", 12, 4),
    Layout("tcp_zerocopy_receive", "copybuf_len", 32, 4),
    # aio.h: struct iocb
    Layout("iocb", "aio_lio_opcode", 16, 2),
    Layout("iocb", "aio_fildes", 20, 4),
    # aio_ring.h: struct io_event, struct aio_ring and the events behind its header
    Layout("io_event", "obj", 8, 8),
    Layout("io_event", "res", 16, 8),
    Layout("io_event", "res2", 24, 8),
    Layout("aio_ring", "nr", 4, 4),
    Layout("aio_ring", "head", 8, 4),
    Layout("aio_ring", "magic", 16, 4),
    Layout("aio_ring", "io_events", 32, None),
    # pbmon.c: the completion of a request
    Layout("io_uring_cqe", "user_data", 0, 8),
    Layout("io_uring_cqe", "res", 8, 4),
    Layout("io_uring_cqe", "flags", 12, 4),
    # uring.h: what precedes a message of a multishot RECVMSG, 16 bytes
    Layout("io_uring_recvmsg_out", "flags", 12, 4),
    # sockets.h: a name behind its family
    Layout("sockaddr_un", "sun_family", 0, 2),
    Layout("sockaddr_un", "sun_path", 2, 108),
    # identity.h: the handle of a file on NFS
    Layout("nfs_fh", "size", 0, 2),
    Layout("nfs_fh", "data", 2, 128),
    # kernel_fields.h: struct call, what a program on the exit of a system call is given
    Layout("syscall_tp_t", "syscall_nr", 8, None),
    Layout("syscall_tp_t", "ret", 16, 8),
    # kernel_fields.h: READ() loads any number from the 8th byte of this on
    Layout("__kernel_sockaddr_storage", "__data", 2, 126),
    # sockets.h: a socket of any family is a struct sock, which begins with a struct sock_common
    Layout("sock", "__sk_common", 0, None),
    Layout("inet_sock", "sk", 0, None),
    Layout("inet_connection_sock", "icsk_inet", 0, None),
    Layout("tcp_sock", "inet_conn", 0, None),
    Layout("unix_sock", "sk", 0, None),
    # uring.h: what a request is told begins where the request does
    Layout("io_kiocb", "cmd", 0, None),
    Layout("io_kiocb", "splice", 0, None),
    # uring.h: the registered files of a ring are an array of these, 8 bytes each
    Layout("io_fixed_file", "file_ptr", 0, 8),
)

#: pbmon.c: what tracepoints hand over first, as Btf.tracepoint_parameters() gives it. Those of
#: io_uring that differ between kernels are told apart by pbmond/loader/uring.py.
TRACEPOINTS = {
    "inet_sock_set_state": ["sock", "", ""],  # and the state before, and after
    "tcp_retransmit_skb": ["sock"],  # what more there is differs
    "sock_send_length": ["sock", "", ""],  # and the result, and flags
    "sock_recv_length": ["sock", "", ""],
    "io_uring_cqe_overflow": ["", "", "", "", ""],  # ring, user data, result, flags, large result
}
