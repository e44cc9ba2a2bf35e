"""Why a start is refused, in one line, given the kernel's answer and what this process has.

trials.py asks the kernel. Each line says what is wrong, then what to do.

Used by the loader too: any Python >= 3.9, standard library.
"""

from __future__ import annotations

import errno
import os
import signal
from typing import NamedTuple

CAP_SYS_ADMIN, CAP_SYS_RESOURCE, CAP_PERFMON, CAP_BPF = 21, 24, 38, 39
# Without these the daemon would start, but show less than it claims. privileges.py says why.
_ALWAYS = {
    2: "CAP_DAC_READ_SEARCH",
    5: "CAP_KILL",
    6: "CAP_SETGID",
    7: "CAP_SETUID",
    8: "CAP_SETPCAP",
    19: "CAP_SYS_PTRACE",
}
_NAMES = {
    **_ALWAYS,
    CAP_SYS_ADMIN: "CAP_SYS_ADMIN",
    CAP_SYS_RESOURCE: "CAP_SYS_RESOURCE",
    CAP_PERFMON: "CAP_PERFMON",
    CAP_BPF: "CAP_BPF",
}
_DESCRIPTORS = 256  # maps, programs and hooks take about 130
_USUAL = 16  # of them are open when nothing was inherited
_GRANT = "(CapabilityBoundingSet= of a unit, --cap-add of a container)"
#: A /proc of another PID namespace than ours does not show this process, as if there were none.
NO_PROC = "/proc is not mounted, or that of a container: mount -t proc proc /proc"
_TRACEFS = "/sys/kernel/tracing"


class Refused(Exception):  # noqa: N818 - named after what happened
    """The programs cannot run here. The message says in one line why and what to do."""


class Facts(NamedTuple):
    """What this process has, and what the host says. None means unlimited or unknown.

    ``capabilities`` has one bit for each effective capability. ``pid_namespace`` and
    ``time_namespace``: it is not the host's. ``seccomp``: a filter is active.
    ``lockdown`` is what the kernel is locked down to, "none" for nothing.
    ``memlock`` (in bytes) and ``descriptors`` are limits; ``opened``: how many descriptors
    are open. ``reached``: bpf(2) answers to a command that does not exist. ``capable``: it does to
    one that needs CAP_BPF and no memory.
    """

    capabilities: int
    user_namespace: bool
    seccomp: bool
    paranoid: int | None
    memlock: int | None
    descriptors: int | None
    release: str
    opened: int = 0
    reached: bool = True
    capable: bool = True
    pid_namespace: bool = False
    time_namespace: bool = False
    lockdown: str | None = None

    def lacks(self, *capabilities: int) -> list[str]:
        """Return the names of the capabilities that are missing."""
        return [_NAMES[number] for number in capabilities if not self.capabilities >> number & 1]


def lacking(facts: Facts) -> str | None:
    """Say what this process certainly lacks, before anything is tried. None: nothing."""
    if facts.user_namespace:
        return (
            "root of a user namespace (a rootless container) may not load eBPF programs: "
            "start pbmond as root of the host"
        )
    if facts.pid_namespace or facts.time_namespace:
        return _elsewhere(facts)
    names = facts.lacks(*_ALWAYS)
    if facts.lacks(CAP_SYS_ADMIN):
        names += facts.lacks(CAP_BPF, CAP_PERFMON)
    if names:
        return f"{_and(names)} {_is_missing(names)}: grant {_them(names)} {_GRANT}"
    if facts.descriptors is not None and facts.descriptors < _needed(facts):
        return _too_few_files(facts)
    return None


def _needed(facts: Facts) -> int:
    return _DESCRIPTORS + max(0, facts.opened - _USUAL)


def _too_few_files(facts: Facts) -> str:
    inherited = f", and {facts.opened} are open already" * (facts.opened > _USUAL)
    return (
        f"only {facts.descriptors} open files are allowed{inherited}: allow {_needed(facts)} "
        "(LimitNOFILE= of a unit, ulimit -n)"
    )


def exhausted(number: int, facts: Facts) -> str | None:
    """Say what has run out if errno ``number`` means that; None: it means something else."""
    if number == errno.EMFILE:
        return _too_few_files(facts)
    if number == errno.ENFILE:
        return "the host has no open files left: raise the sysctl fs.file-max"
    if number == errno.ENOMEM:
        return "the kernel has no memory: raise MemoryMax= or the container's limit"
    return None


def _elsewhere(facts: Facts) -> str:
    """Say that the kernel and /proc would speak of processes by other numbers or start times."""
    if facts.pid_namespace:
        return (
            "this is not the host's PID namespace, so /proc does not show the processes that the "
            "kernel counts for: start pbmond on the host, or its container with --pid=host "
            "(Kubernetes: hostPID: true); a WSL distribution cannot"
        )
    return (
        "this is not the host's time namespace, so /proc shows other start times than the kernel "
        "counts by: nsenter --time=/proc/1/ns/time pbmond"
    )


def small_map(number: int, facts: Facts) -> str:
    """Say why the smallest map is refused with errno ``number``."""
    if number == errno.EPERM and facts.capable and facts.memlock is not None:
        return memlock(facts)
    return small_program(number, facts)


def small_program(number: int, facts: Facts) -> str:
    """Say why the smallest program is refused with errno ``number``."""
    if (gone := exhausted(number, facts)) is not None:
        return gone
    if facts.seccomp and not facts.reached:
        return _seccomp("bpf(2)")
    if number == errno.ENOSYS:
        return "this kernel has no bpf(2): it needs CONFIG_BPF_SYSCALL=y"
    if number == errno.EINVAL:
        return "this kernel has no eBPF programs for tracepoints: it needs CONFIG_BPF_EVENTS=y"
    return _security_module("bpf(2)", number, facts)


def memlock(facts: Facts) -> str:
    """Say that maps count against RLIMIT_MEMLOCK, as they do before Linux 5.11."""
    lacks = facts.lacks(CAP_SYS_RESOURCE)
    cannot = ", and CAP_SYS_RESOURCE to raise it is missing" if lacks else ""
    return (
        f"Linux {facts.release} counts maps as locked memory, of which {facts.memlock} bytes are "
        f"allowed{cannot}: set LimitMEMLOCK=infinity (ulimit -l unlimited)"
    )


def table(name: str, size: int, number: int, facts: Facts) -> str:
    """Say why the map ``name`` of ``size`` bytes is refused, where a small one is not."""
    if number == errno.EPERM and facts.memlock is not None:
        return memlock(facts)
    if number in (errno.ENOMEM, errno.E2BIG):
        return (
            f"the kernel has no memory for the table {name} ({size >> 20} MiB): raise MemoryMax= "
            "or the container's limit, or set smaller [maps] in the configuration"
        )
    if number == errno.EINVAL:
        return f"this kernel ({facts.release}) cannot make the table {name}: Linux 5.10 can"
    return exhausted(number, facts) or (
        f"the kernel refuses the table {name}: {os.strerror(number)}"
    )


def locked_down(number: int, facts: Facts) -> str:
    """Say why programs may not read the kernel's memory, though others are loaded."""
    if (gone := exhausted(number, facts)) is not None:
        return gone
    if facts.lockdown not in (None, "confidentiality"):
        return _security_module("eBPF programs that read the kernel's memory", number, facts)
    return (
        "lockdown=confidentiality forbids eBPF programs to read the kernel's memory: "
        "boot with lockdown=integrity or without lockdown"
    )


def no_btf(path: str, number: int | None) -> str:
    """Say why the kernel's types cannot be read: by errno, or None if the file is not BTF."""
    if number is None:
        return f"{path} is not BTF: something else is mounted over it; unmount it"
    if number == errno.ENOENT:
        return (
            f"no BTF at {path}: the kernel needs CONFIG_DEBUG_INFO_BTF=y, and sysfs to be mounted "
            "at /sys"
        )
    return f"{path} cannot be read: {os.strerror(number)}"


def foreign_btf(path: str, sign: str, facts: Facts) -> str:
    """Say that the types are not those of the running kernel. ``sign`` is the evidence."""
    return (
        f"{path} belongs to another kernel than the running {facts.release} ({sign}): "
        "unmount what is mounted over it, or boot that kernel"
    )


def tracefs(number: int, facts: Facts) -> str:
    """Say why tracefs, which is not mounted, cannot be opened either."""
    if (gone := exhausted(number, facts)) is not None:
        return gone
    if number == errno.ENODEV:
        return "this kernel has no tracefs: it needs CONFIG_FTRACE=y"
    if facts.lacks(CAP_SYS_ADMIN):
        return (
            "tracefs is not mounted, and CAP_SYS_ADMIN to mount it is missing: "
            f"mount -t tracefs tracefs {_TRACEFS}, or grant it {_GRANT}"
        )
    if facts.seccomp:
        return _seccomp("fsopen(2), fsconfig(2) and fsmount(2)")
    return _security_module("mounting tracefs", number, facts)


def tracepoint(name: str, number: int) -> str:
    """Say why the id of a system call's tracepoint cannot be read in tracefs."""
    if number == errno.ENOENT:
        return f"this kernel has no tracepoint {name}: it needs CONFIG_FTRACE_SYSCALLS=y"
    return f"the id of the tracepoint {name} cannot be read in tracefs: {os.strerror(number)}"


def perf(number: int, facts: Facts) -> str:
    """Say why perf_event_open(2) of a tracepoint is refused."""
    if (gone := exhausted(number, facts)) is not None:
        return gone
    names = facts.lacks(CAP_PERFMON, CAP_SYS_ADMIN)
    if number == errno.EACCES and names and facts.paranoid is not None:
        # Values above 2 are a distribution's own. Up to 2, CAP_PERFMON is enough.
        enough = 2 if facts.paranoid > 2 and names == ["CAP_SYS_ADMIN"] else -1
        return (
            f"kernel.perf_event_paranoid={facts.paranoid} forbids perf_event_open(2) without "
            f"{_and(names)}: grant {_them(names)} {_GRANT}, or set the sysctl to {enough}"
        )
    if facts.seccomp and number in (errno.EPERM, errno.ENOSYS):
        return _seccomp("perf_event_open(2)")
    if number in (errno.ENOSYS, errno.ENOENT):
        return "this kernel has no tracepoints for perf: it needs CONFIG_PERF_EVENTS=y"
    return _security_module("perf_event_open(2)", number, facts)


def program(name: str, number: int, log: str, facts: Facts) -> str:
    """Say why the kernel refuses a program. ``log`` is the verifier's last line, if any."""
    said = f"{name}: {os.strerror(number)}" + f", {log}" * bool(log)
    if number in (errno.EMFILE, errno.ENFILE):
        return exhausted(number, facts) or said
    if number in (errno.EPERM, errno.ENOMEM):
        return f"the kernel does not load a program ({said})"
    what = "finds a program too long" if number == errno.E2BIG else "refuses a program"
    line = f"the verifier of Linux {facts.release} {what} ({said}): please report it"
    if name.startswith("sched_process_"):  # part of every mode
        return line
    return f'{line}; meanwhile sockets = "off" or files = "off" in the configuration may start'


def uncompiled(said: str) -> str:
    """Say that bcc did not compile the programs, and what it said."""
    return f"bcc did not compile the programs ({said}): pbmond --log-level debug says more"


def ended(status: int | None) -> str:
    """Say how the loader ended without an answer. ``status``: subprocess's; None: still running."""
    if status == -signal.SIGSYS:
        return "the loader was killed by a seccomp filter: allow bpf(2) and perf_event_open(2)"
    if status == -signal.SIGKILL:
        return "the loader was killed: it needs about 150 MB of memory, was there less?"
    how = f"by signal {-status}" if status is not None and status < 0 else f"with status {status}"
    return f"the loader ended {how} without an answer: pbmond --log-level debug says more"


def _seccomp(call: str) -> str:
    return (
        f"a seccomp filter forbids {call}: allow it in the profile of the container "
        "(--security-opt seccomp=), or in SystemCallFilter= of the unit"
    )


def _security_module(call: str, number: int, facts: Facts) -> str:
    names = facts.lacks(CAP_SYS_ADMIN, CAP_BPF, CAP_PERFMON)
    if names and number in (errno.EPERM, errno.EACCES):
        return (
            f"the kernel refuses {call} ({os.strerror(number)}): {_and(names)} {_is_missing(names)}"
            f", which some kernels want: grant {_them(names)} {_GRANT}"
        )
    return (
        f"the kernel refuses {call} ({os.strerror(number)}) though no capability is missing: a "
        "security module (SELinux, AppArmor) may be the cause, see its log"
    )


def _and(names: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _is_missing(names: list[str]) -> str:
    return "is missing" if len(names) == 1 else "are missing"


def _them(names: list[str]) -> str:
    return "it" if len(names) == 1 else "them"
