"""The hooks: which program runs where in the kernel, for each mode.

Used by the loader only: any Python >= 3.9, standard library.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from typing import NamedTuple

SOCKET_TRACEPOINTS = ("sock_send_length", "sock_recv_length")
# System call -> program. Calls that move bytes in the same direction share one.
_SYSCALLS = {
    **dict.fromkeys(("read", "pread64", "readv", "preadv", "preadv2"), "exit_in"),
    **dict.fromkeys(("write", "pwrite64", "writev", "pwritev", "pwritev2"), "exit_out"),
    **dict.fromkeys(("sendfile64", "splice", "copy_file_range", "tee", "vmsplice"), "exit_between"),
    "prctl": "exit_prctl",
    "io_setup": "exit_io_setup",
    "io_submit": "exit_io_submit",
    **dict.fromkeys(("io_getevents", "io_pgetevents"), "exit_io_results"),
}
_QUEUE_SYSCALLS = {
    "mq_timedsend": "exit_mq_timedsend",
    "mq_timedreceive": "exit_in",
    "msgsnd": "exit_msgsnd",
    "msgrcv": "exit_msgrcv",
}
_MESSAGE_SYSCALLS = {
    **dict.fromkeys(("sendto", "sendmsg"), "exit_out"),
    "recvfrom": "exit_recvfrom",
    "recvmsg": "exit_recvmsg",
    "sendmmsg": "exit_sendmmsg",
    "recvmmsg": "exit_recvmmsg",
}
# Tracepoint -> program, where their names differ.
_PROGRAMS = dict.fromkeys(("io_uring_submit_req", "io_uring_submit_sqe"), "io_uring_submit")
# The group of each tracepoint in tracefs.
_GROUPS = {
    **dict.fromkeys(SOCKET_TRACEPOINTS, "sock"),
    **dict.fromkeys(("sched_process_exec", "sched_process_exit"), "sched"),
}
# Prefix of the kernel functions behind system calls.
_FUNCTIONS = {"x86_64": "__x64_sys_", "aarch64": "__arm64_sys_"}

# Programs that take the kernel long to verify: all their tracepoints share one.
_SHARED = ("exit_between", "exit_io_submit", "exit_io_results")

# The best modes first.
_SOCKET_MODES = ("tracepoint", "fexit", "syscall-exit")
_FILE_MODES = ("fexit", "syscall-exit")


class Modes(NamedTuple):
    """How sockets and files are counted."""

    sockets: str  # "tracepoint", "fexit", "syscall-exit" or "off"
    files: str  # "fexit", "syscall-exit" or "off"

    @property
    def calls(self) -> str:
        """How programs run at the end of system calls: "fexit", "syscall-exit" or "off"."""
        return self.files if self.sockets in ("tracepoint", "off") else self.sockets


class Hook(NamedTuple):
    """One place in the kernel where one of our programs runs."""

    program: str
    kind: str  # "raw_tracepoint", "tracepoint" or "fexit"
    name: str
    required: bool

    @property
    def loaded(self) -> str:
        """The name of the loaded program. Most hooks have their own, so their runs are separate."""
        shares = self.kind == "tracepoint" and self.program in _SHARED
        return self.program if shares else self.name


def modes(sockets: str, files: str) -> Iterator[Modes]:
    """Yield the modes that may be tried, the best first. ``auto`` stands for any but "off".

    Sockets and files must use the same kind of hook at the end of system calls.
    """
    for file in _FILE_MODES if files == "auto" else (files,):
        for socket in _SOCKET_MODES if sockets == "auto" else (sockets,):
            if {socket, file} != {"fexit", "syscall-exit"}:
                yield Modes(socket, file)


def calls(modes: Modes) -> dict[str, str]:
    """Return each system call that is hooked, and the program that runs at its end."""
    if modes.calls == "off":
        return {}
    found = dict(_SYSCALLS)
    if modes.files != "off":
        found.update(_QUEUE_SYSCALLS)
    if modes.sockets != "off":
        found["getsockopt"] = "exit_getsockopt"
    if modes.sockets == modes.calls:
        found.update(_MESSAGE_SYSCALLS)
    elif modes.sockets == "tracepoint":  # the tracepoint counts; this tells one call from the next
        found["sendmmsg"] = _MESSAGE_SYSCALLS["sendmmsg"]
    return found


def hooks(
    modes: Modes, uring: Sequence[str], *, by_perf: bool = False, dispatched: bool = False
) -> list[Hook]:
    """Return every hook of the given modes. ``uring`` lists the io_uring tracepoints to use.

    ``by_perf``: attach to tracepoints that run in process context through perf instead of raw.
    ``dispatched``: one program runs at the end of every system call, and calls those of ``calls``.
    """
    traced = _by_perf if by_perf else _raw
    found = [
        traced("sched_process_exec", required=True),
        traced("sched_process_exit", required=True),
    ]
    if modes.sockets != "off":
        # Also in interrupts, where the kernel skips them by way of perf if they interrupt another.
        found += [
            _raw(name, required=False) for name in ("inet_sock_set_state", "tcp_retransmit_skb")
        ]
    if modes.sockets == "tracepoint":
        found += [traced(name, required=True) for name in SOCKET_TRACEPOINTS]
    # Hooking the exit of one system call slows down all of them, so hook none if none is needed.
    if modes.calls == "off":
        return found
    if dispatched:
        found.append(Hook("exit_dispatch", "tracepoint", "raw_syscalls/sys_exit", required=True))
    else:
        found += [_exit(modes.calls, *item) for item in calls(modes).items()]
    return found + [traced(name, required=False) for name in uring]


def function_of(call: str) -> str:
    """Return the name of the kernel function behind a system call on this machine."""
    return _FUNCTIONS.get(platform.machine(), "__se_sys_") + call


def _raw(name: str, *, required: bool) -> Hook:
    return Hook(f"raw_{_PROGRAMS.get(name, name)}", "raw_tracepoint", name, required)


def _by_perf(name: str, *, required: bool) -> Hook:
    raw = _raw(name, required=required)
    return raw._replace(kind="tracepoint", name=f"{_GROUPS.get(name, 'io_uring')}/{name}")


def _exit(calls: str, name: str, program: str) -> Hook:
    # A kernel may lack a call (CONFIG_, architecture). Then no program can call it either.
    required = name in ("read", "write")
    if calls == "fexit":
        return Hook(program, "fexit", function_of(name), required)
    return Hook(program, "tracepoint", f"syscalls/sys_exit_{name}", required)
