"""Whether programs on the way out of kernel functions (fexit) load and attach here.

Such a program costs other system calls nothing.

Used by the loader only: any Python >= 3.9, standard library.
"""

from __future__ import annotations

import os

from pbmond.loader import bpf
from pbmond.loader.btf import Btf
from pbmond.loader.hooks import function_of
from pbmond.loader.instructions import NOTHING

_ENOTSUPP = 524  # include/linux/errno.h: one of the kernel's own, without a word in any libc


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
