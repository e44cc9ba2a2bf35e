"""Whether programs that run when kernel functions return (fexit) load and attach here.

Such a program does not slow down other system calls.

Used by the loader only: any Python >= 3.9, standard library.
"""

from __future__ import annotations

import os

from pbmond.loader import bpf
from pbmond.loader.btf import Btf
from pbmond.loader.hooks import function_of
from pbmond.loader.instructions import NOTHING

_ENOTSUPP = 524  # include/linux/errno.h: internal to the kernel, so no libc has a text for it


def refusal(btf: Btf) -> str | None:
    """Return why programs cannot be attached to system call functions, or None if they can."""
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
        unsupported = "not supported on this machine yet (arm64: since Linux 6.4)"
        words = unsupported if error.errno == _ENOTSUPP else error.strerror
        return f"the kernel does not attach them: {words}"
    finally:
        os.close(program)
    return None
