"""The hooks: which program runs at which place in the kernel, for each rung.

Used by the loader only: any Python >= 3.9, standard library.
"""

from __future__ import annotations

from typing import NamedTuple

SOCKET_TRACEPOINTS = ("sock_send_length", "sock_recv_length")
# Where io_uring requests that post many results are met.
SHOT_TRACEPOINTS = ("io_uring_submit_req", "io_uring_task_add")
# System call -> program; calls whose bytes go the same way share one.
_SYSCALLS = {
    **dict.fromkeys(("read", "pread64", "readv", "preadv", "preadv2"), "exit_in"),
    **dict.fromkeys(("write", "pwrite64", "writev", "pwritev", "pwritev2"), "exit_out"),
    **dict.fromkeys(("sendfile64", "splice", "copy_file_range", "tee", "vmsplice"), "exit_between"),
    "io_setup": "exit_io_setup",
    "io_submit": "exit_io_submit",
    **dict.fromkeys(("io_getevents", "io_pgetevents"), "exit_io_results"),
}
_MESSAGE_SYSCALLS = {
    **dict.fromkeys(("sendto", "sendmsg"), "exit_out"),
    "recvfrom": "exit_recvfrom",
    "recvmsg": "exit_recvmsg",
    **dict.fromkeys(("sendmmsg", "recvmmsg"), "exit_messages"),
}


# Programs that the kernel takes 20 ms and more to verify: their hooks share one.
_SHARED = ("exit_between", "exit_messages", "exit_io_submit", "exit_io_results")


class Hook(NamedTuple):
    """One place in the kernel where a program of ours is to run."""

    program: str
    kind: str  # "raw_tracepoint" or "tracepoint"
    name: str
    required: bool

    @property
    def loaded(self) -> str:
        """Name the loaded program: each hook has its own, so that its runs can be told apart."""
        return self.program if self.program in _SHARED else self.name


def hooks(sockets: str, files: str) -> list[Hook]:
    """Return every hook of the rungs ``sockets`` and ``files``."""
    found = [
        _raw("sched_process_exec", required=True),
        _raw("sched_process_exit", required=True),
    ]
    if sockets != "off":
        found.append(_raw("inet_sock_set_state", required=False))
    if sockets == "tracepoint":
        found += [_raw(name, required=True) for name in SOCKET_TRACEPOINTS]
    # One exit of a system call that is hooked costs every system call, so none where none must be.
    if sockets == "syscall-exit" or files != "off":
        found += [_exit(*item) for item in _SYSCALLS.items()]
        if sockets != "off":
            found.append(_exit("getsockopt", "exit_getsockopt"))
        found.append(_raw("io_uring_complete", required=False))
        found.append(_raw("io_uring_cqe_overflow", required=False))
        found += [_raw(name, required=False) for name in SHOT_TRACEPOINTS]
    if sockets == "syscall-exit":
        found += [_exit(*item) for item in _MESSAGE_SYSCALLS.items()]
    return found


def lack(hook: Hook, constants: dict[str, int]) -> str | None:
    """Say why a hook is of no use on this kernel (``constants``: of offsets.py); None: it is."""
    if hook.name == "io_uring_complete" and not constants["URING_COMPLETE_HAS_REQUEST"]:
        return "does not name the request before Linux 5.18, so files of io_uring are not counted"
    return None


def _raw(name: str, *, required: bool) -> Hook:
    return Hook(f"raw_{name}", "raw_tracepoint", name, required)


def _exit(name: str, program: str) -> Hook:
    # A kernel may lack a call (CONFIG_, architecture); what it lacks cannot be called either.
    required = name in ("read", "write")
    return Hook(program, "tracepoint", f"syscalls/sys_exit_{name}", required)
