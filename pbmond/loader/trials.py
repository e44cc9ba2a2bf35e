"""What can be known before anything is compiled: facts about this process, and cheap trials.

Each trial asks the kernel for a minimum of what the programs will need. It takes milliseconds, and
raises Refused with a line from refusals.py. No trial looks at the kernel's version.

Used by the loader too: any Python >= 3.9, standard library.
"""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import resource
import socket
from pathlib import Path

from pbmond.loader import bpf, kernelfs, layout, refusals
from pbmond.loader.btf import VMLINUX
from pbmond.loader.instructions import NOTHING
from pbmond.loader.refusals import Facts, Refused

# The host's namespaces: PROC_*_INIT_INO of include/linux/proc_ns.h.
_HOSTS = {"user": 0xEFFFFFFD, "pid": 0xEFFFFFFC, "time": 0xEFFFFFFA}
_DESCRIPTORS = 1024  # the usual soft limit
_PRIORITY = 1  # the lowest real-time one
_NO_EVENT = 0xFFFFFFFF
_BTF_MAGIC = (b"\x9f\xeb", b"\xeb\x9f")
_A_TRACEPOINT = "syscalls/sys_exit_read"


def raise_limits() -> None:
    """Raise this process's limits of locked memory, open files and real-time priority.

    As far as needed and allowed. The priority keeps the collector on its processor for a moment.
    """
    unlimited = resource.RLIM_INFINITY
    _, memlock = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    for hard in (memlock, unlimited):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (hard, hard))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == unlimited else min(hard, _DESCRIPTORS)
    if soft != unlimited and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    _, hard = resource.getrlimit(resource.RLIMIT_RTPRIO)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_RTPRIO, (max(hard, _PRIORITY),) * 2)


def facts() -> Facts:
    """Return what this process has; Refused without a /proc that shows it."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        raise Refused(refusals.NO_PROC) from None
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    return Facts(
        capabilities=int(status["CapEff"], 16),
        user_namespace=_is_not_the_hosts("user"),
        seccomp=status.get("Seccomp") == "2",
        paranoid=_paranoid(),
        memlock=_limit(resource.RLIMIT_MEMLOCK),
        descriptors=_limit(resource.RLIMIT_NOFILE),
        release=platform.release(),
        opened=_opened(),
        pid_namespace=_is_not_the_hosts("pid"),
        time_namespace=_is_not_the_hosts("time"),
        lockdown=_lockdown(),
    )


def can_load(known: Facts) -> None:
    """Refused unless a small map, and small programs that read kernel memory, can be loaded.

    This must be the first trial. With lockdown=confidentiality from boot on, Linux 6.12 oopses when
    a mount of tracefs goes away, so none may be made before this trial has ruled out lockdown.
    """
    try:
        os.close(bpf.create_map(bpf.ARRAY, 4, 8, 1, name="pb_trial"))
    except OSError as error:
        raise Refused(refusals.small_map(_number(error), _asked(known))) from None
    try:
        for kind in (bpf.RAW_TRACEPOINT, bpf.TRACEPOINT):
            os.close(bpf.load_program(kind, NOTHING, "trial").descriptor)
    except OSError as error:
        raise Refused(refusals.small_program(_number(error), _asked(known))) from None
    try:
        reader = layout.read((0,), 8)
        os.close(bpf.load_program(bpf.RAW_TRACEPOINT, reader, "trial").descriptor)
    except OSError as error:  # the helper that reads the kernel's memory is withheld
        raise Refused(refusals.locked_down(_number(error), known)) from None


def has_types(known: Facts, path: str = VMLINUX) -> None:
    """Refused unless ``path`` is BTF, and equal to the kernel's own if the kernel shows that."""
    try:
        types = Path(path).read_bytes()
    except OSError as error:
        raise Refused(refusals.no_btf(path, _number(error))) from None
    if types[:2] not in _BTF_MAGIC:
        raise Refused(refusals.no_btf(path, None))
    own = bpf.kernel_types()
    if own is not None and own != types:
        sign = f"{len(types)} bytes, where the kernel holds {len(own)}"
        raise Refused(refusals.foreign_btf(path, sign, known))


def has_offsets(constants: dict[str, int], known: Facts, path: str = VMLINUX) -> None:
    """Refused unless ``constants`` (from offsets.py) find known facts about this process."""
    one, other = socket.socketpair()
    with one, other:
        wrong = layout.misfit(constants, one.fileno())
    if wrong is not None:
        sign = f"{wrong.name} reads {wrong.found}, not {wrong.expected}"
        raise Refused(refusals.foreign_btf(path, sign, known))


def open_tracepoints(known: Facts) -> int:
    """Return a descriptor of tracefs. Refused unless its tracepoints may be opened."""
    try:
        directory = kernelfs.tracefs()
    except OSError as error:
        raise Refused(refusals.tracefs(_number(error), known)) from None
    try:
        kernelfs.read(directory, f"events/{_A_TRACEPOINT}/id")
    except OSError as error:
        raise Refused(refusals.tracepoint(_A_TRACEPOINT, _number(error))) from None
    try:
        os.close(bpf.open_event(_NO_EVENT))
    except OSError as error:
        if error.errno != errno.EINVAL:  # EINVAL: allowed, but no such event
            raise Refused(refusals.perf(_number(error), known)) from None
    return directory


def _asked(known: Facts) -> Facts:
    """Add whether bpf(2) is allowed at all, which matters only once it has refused something."""
    return known._replace(
        reached=bpf.refusal(bpf.NO_COMMAND) is None,
        capable=bpf.refusal(bpf.LOAD_TYPES) is None,
    )


def _number(error: OSError) -> int:
    return error.errno or 0


def _is_not_the_hosts(namespace: str) -> bool:
    try:
        return Path(f"/proc/self/ns/{namespace}").stat().st_ino != _HOSTS[namespace]
    except OSError:  # a kernel without such namespaces
        return False


def _lockdown() -> str | None:
    try:
        text = Path("/sys/kernel/security/lockdown").read_text()
    except OSError:  # a kernel without it, or securityfs is not mounted
        return None
    return text.partition("[")[2].partition("]")[0]


def _paranoid() -> int | None:
    try:
        return int(Path("/proc/sys/kernel/perf_event_paranoid").read_text())
    except (OSError, ValueError):
        return None


def _opened() -> int:
    try:
        return sum(1 for _ in Path("/proc/self/fd").iterdir())
    except OSError:  # none is left for that
        return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def _limit(which: int) -> int | None:
    soft, _ = resource.getrlimit(which)
    return None if soft == resource.RLIM_INFINITY else soft
