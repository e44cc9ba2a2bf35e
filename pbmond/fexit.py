"""Whether programs on the way out of kernel functions (fexit) load here, and count exactly.

Such a program costs other system calls nothing. But the kernel skips it where the same program was
preempted on that processor (bpf_prog->active, kernel/bpf/trampoline.c), so that on a kernel that
preempts itself, calls of whoever runs instead would go uncounted.

Used by the loader only: any Python >= 3.9, standard library.
"""

from __future__ import annotations

import os
import platform
import re

from pbmond import bpf, kernelfs
from pbmond.btf import Btf
from pbmond.hooks import function_of
from pbmond.instructions import NOTHING

_ENOTSUPP = 524  # include/linux/errno.h: one of the kernel's own, without a word in any libc
#: Words of the kernel's version (utsname) that mean it preempts itself; PREEMPT_DYNAMIC may or not.
_PREEMPTIBLE = {"PREEMPT", "PREEMPT_RT", "PREEMPT_LAZY"}
_MODES = "sched/preempt"  # in debugfs: "none (voluntary) full lazy" (kernel/sched/debug.c)


def refusal(btf: Btf) -> str | None:
    """Say why programs cannot be attached to the functions of system calls; None: they can."""
    function = btf.function(function_of("read"))
    if not function:
        return f"the kernel's BTF has no function {function_of('read')}"
    try:
        program = bpf.load_program(bpf.TRACING, NOTHING, "pb_try", function=function).descriptor
    except OSError as error:
        return f"the kernel refuses them: {error.strerror}"
    try:
        os.close(bpf.open_function(program))
    except OSError as error:
        lacking = "it cannot yet on this machine (arm64: Linux 6.4 can)"
        words = lacking if error.errno == _ENOTSUPP else error.strerror
        return f"the kernel does not attach them: {words}"
    finally:
        os.close(program)
    return None


def inexact() -> str | None:
    """Say why such programs would miss calls on this kernel; None: they miss none."""
    words = set(platform.version().split())
    if words & _PREEMPTIBLE:
        return "this kernel preempts itself"
    if "PREEMPT_DYNAMIC" not in words:
        return None
    mode = _mode()
    if mode is None:
        return "whether this kernel preempts itself cannot be read from debugfs"
    return None if mode in ("none", "voluntary") else f"this kernel preempts itself ({mode})"


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
