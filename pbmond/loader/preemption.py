"""Whether this kernel preempts itself, and our programs with it.

The kernel skips a program where the same one was preempted on that processor (bpf_prog->active,
kernel/bpf/trampoline.c), so that calls of whoever runs instead go uncounted; it counts them
(bpf_prog_info.recursion_misses). Programs of fexit can be preempted wherever the kernel can, those
of raw tracepoints since Linux 7.0, where perf serves instead, those of a system call's tracepoints
since 7.2, where the one that all calls pass serves instead; all with PREEMPT_RT.

Used by the loader only: any Python >= 3.9, standard library.
"""

from __future__ import annotations

import os
import platform
import re

from pbmond.loader import kernelfs
from pbmond.loader.btf import Btf

#: Words of the kernel's version (utsname) that mean it preempts itself; PREEMPT_DYNAMIC may or not.
_PREEMPTIBLE = {"PREEMPT", "PREEMPT_RT", "PREEMPT_LAZY"}
_MODES = "sched/preempt"  # in debugfs: "none (voluntary) full lazy" (kernel/sched/debug.c)


def of_kernel() -> str | None:
    """Say why the kernel may preempt itself; None: it does not."""
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
    """Say why programs may be preempted; None: they are not.

    ``calls``: as Modes.calls; ``kernel``: what of_kernel() says.
    """
    return kernel if calls == "fexit" or "PREEMPT_RT" in platform.version() else None


def calls_are_preemptible(btf: Btf) -> bool:
    """Tell whether programs of a system call's tracepoints run with preemption on (Linux 7.2).

    perf_syscall_exit() calls them by trace_call_bpf_faultable(), before it switches that off.
    """
    return btf.function("trace_call_bpf_faultable") is not None


def raw_is_preemptible(btf: Btf) -> bool:
    """Tell whether programs of raw tracepoints run with preemption on.

    Since Linux 7.0 an SRCU protects tracepoints. (Until 6.12 there was one of that name, for some
    of them; tracepoint_ext is of 6.13.) Those of perf switch preemption off.
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
