"""What each process of the daemon may do: the one table, which tests and the documents quote.

Capabilities are those of linux/capability.h. Everything else about rights is in ``privileges``,
which gives them up, and in ``syscalls``, which names the system calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pbmond.system.syscalls import COLLECTOR, EXPENDABLE, PUBLISHER, Calls

#: The numbers of the capabilities that any process of ours may have.
NUMBERS: Final = {
    "DAC_READ_SEARCH": 2,
    "KILL": 5,
    "SETGID": 6,
    "SETUID": 7,
    "SETPCAP": 8,
    "SYS_PTRACE": 19,
    "SYS_ADMIN": 21,
    "SYS_RESOURCE": 24,
    "PERFMON": 38,
    "BPF": 39,
}

#: The badness that the kernel adds to an expendable process when memory runs out, of 1000.
EXPENDABLE_OOM_SCORE: Final = 500


@dataclass(frozen=True, slots=True)
class Rights:
    """What one process may do for most of its life.

    ``capabilities``: each with the call that needs it; they are also all of its bounding set, but
    for those of a process of another user, whose bounding set is empty. ``calls``: the system calls
    that its filter allows; None: it has no filter. ``inputs``: what it reads that others wrote.
    """

    name: str  # its comm
    user: str
    capabilities: Mapping[str, str]
    calls: Calls | None
    inputs: str

    @property
    def mask(self) -> int:
        """Return the capabilities as a mask of bits, as in /proc/PID/status."""
        return sum(1 << NUMBERS[name] for name in self.capabilities)


LOADER_RIGHTS: Final = Rights(
    "python3",
    "root",
    {
        "BPF": "bpf(2): make maps, load programs, make links",
        "PERFMON": "bpf(2): programs that read kernel memory; perf_event_open(2): tracepoints",
        "SYS_ADMIN": "bpf(2): look for the kernel's BTF by its id; fsopen(2) where tracefs is not "
        "mounted",
        "DAC_READ_SEARCH": "open(2): its own code, wherever that is",
    },
    None,
    "one request of the collector; the kernel's BTF and tracefs",
)
COLLECTOR_RIGHTS: Final = Rights(
    "pbmond",
    "root",
    {
        "DAC_READ_SEARCH": "getdents64(2): list /proc/PID/fd of other users",
        "KILL": "pidfd_send_signal(2): end a publisher that hangs",
        "SYS_PTRACE": "readlinkat(2), open(2): exe, fd and io in /proc/PID of every process",
        "BPF": "bpf(2): read and trim maps where unprivileged bpf(2) is off (before Linux 5.19)",
    },
    COLLECTOR,
    "eBPF maps, /proc, netlink; fixed-size records of the publisher and the names reader",
)
FORKER_RIGHTS: Final = Rights(
    "pbmond-forker",
    "root",
    {
        "SETGID": "setgroups(2), setresgid(2): children become the publisher's group",
        "SETUID": "setresuid(2): and its user",
        "SETPCAP": "prctl(PR_CAPBSET_DROP): children empty their bounding sets",
        "KILL": "prctl(PR_SET_PDEATHSIG): its end ends children that are another user's",
        "DAC_READ_SEARCH": "open(2): children import their code before that; the names reader "
        "keeps it",
    },
    None,
    "one byte of the collector for each child that it starts",
)
PUBLISHER_RIGHTS: Final = Rights(
    "pbmond-publish",
    "publisher_user",
    {},
    PUBLISHER,
    "the socket that every user may connect to; frames of the collector",
)
NAMES_RIGHTS: Final = Rights(
    "pbmond-names",
    "publisher_user",
    {"DAC_READ_SEARCH": "open(2): files of container runtimes, which only root may read"},
    EXPENDABLE,
    "cgroups that the collector asks about; files of container runtimes that only root writes",
)
ALL: Final = (LOADER_RIGHTS, COLLECTOR_RIGHTS, FORKER_RIGHTS, PUBLISHER_RIGHTS, NAMES_RIGHTS)

#: What the daemon starts with: all of the above, and what it needs to give the rest up. With
#: ``baseline``, SYS_ADMIN also enters network namespaces once: setns(2).
STARTING: Final = frozenset(name for each in ALL for name in each.capabilities) | {"SYS_RESOURCE"}
#: What it has once the forker runs.
LOADING: Final = STARTING - {"SETUID", "SETGID", "SYS_RESOURCE"}
