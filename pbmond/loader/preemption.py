"""Whether this kernel preempts itself, and our programs with it.

If a program is preempted, the kernel skips the same program for whatever runs next on that
processor (bpf_prog->active, kernel/bpf/trampoline.c). Those calls go uncounted, but the kernel says
how many there were (bpf_prog_info.recursion_misses).

- fexit programs can be preempted wherever the kernel can.
- Raw tracepoint programs can be since Linux 7.0. There we attach through perf instead.
- Programs at the tracepoint of one system call can be since 7.2. There we use the tracepoint that
  all system calls pass instead.
- With PREEMPT_RT, all programs can be.

Used by the loader only: any Python >= 3.9, standard library.
"""

from __future__ import annotations

import os
import platform
import re

from pbmond.loader import kernelfs
from pbmond.loader.btf import Btf

#: Words in the kernel's version (utsname) that mean it preempts itself. PREEMPT_DYNAMIC may or may
#: not.
_PREEMPTIBLE = {"PREEMPT", "PREEMPT_RT", "PREEMPT_LAZY"}
_MODES = "sched/preempt"  # in debugfs: "none (voluntary) full lazy" (kernel/sched/debug.c)


def of_kernel() -> str | None:
    """Return why the kernel may preempt itself, or None if it does not."""
    words = set(platform.version().split())
    if words & _PREEMPTIBLE:
        return "this kernel preempts itself"
    if "PREEMPT_DYNAMIC" not in words:
        return None
    mode = _mode()
    if mode is None:
        return f"whether this kernel preempts itself cannot be read from debugfs ({_MODES})"
    return None if mode in ("none", "voluntary") else f"this kernel preempts itself ({mode})"


def of_programs(calls: str, kernel: str | None) -> str | None:
    """Return why programs may be preempted, or None if they are not.

    ``calls`` is Modes.calls. ``kernel`` is the result of of_kernel().
    """
    return kernel if calls == "fexit" or "PREEMPT_RT" in platform.version() else None


def calls_are_preemptible(btf: Btf) -> bool:
    """Return whether programs at system call tracepoints can be preempted (Linux 7.2).

    perf_syscall_exit() calls them in trace_call_bpf_faultable(), before it disables preemption.
    """
    return btf.function("trace_call_bpf_faultable") is not None


def raw_is_preemptible(btf: Btf) -> bool:
    """Return whether programs at raw tracepoints can be preempted.

    Since Linux 7.0, SRCU protects tracepoints. (Up to 6.12, an SRCU of the same name protected some
    of them. tracepoint_ext came with 6.13.) perf disables preemption.
    """
    has_srcu = btf.variable("tracepoint_srcu_srcu_data") is not None
    return has_srcu and btf.structure("tracepoint_ext") is not None


def _mode() -> str | None:
    try:
        directory = kernelfs.debugfs()
    except OSError:
        return None
    try:
        modes = kernelfs.read(directory, _MODES)
    except OSError:
        return None
    finally:
        os.close(directory)
    found = re.search(r"\((\w+)\)", modes)
    return found[1] if found else None
