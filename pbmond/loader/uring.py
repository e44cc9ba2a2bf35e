"""What io_uring's tracepoints report on this kernel: which to hook, and what they miss.

Used by the loader only: any Python >= 3.9, standard library.
"""

from __future__ import annotations

from typing import NamedTuple

from pbmond.loader import bpf
from pbmond.loader.btf import Btf
from pbmond.loader.kernel_maps import Map

_COMPLETE, _OVERFLOW, _WAKE = "io_uring_complete", "io_uring_cqe_overflow", "io_uring_task_add"
_SUBMIT = ("io_uring_submit_req", "io_uring_submit_sqe")  # the newer name first
_REQUEST = "io_kiocb"
_SIZES = (24, 56)  # of struct known_key and struct known, bpf/uring.h
#: (ring, request, opcode, user data, flags, force_nonblock, sq_thread), Linux 5.14 to 5.17.
_OLD_SUBMIT_SIZE = 7

BLIND = "io_uring (its tracepoints do not name requests before Linux 5.14)"
_PARTLY_BLIND = (
    "io_uring requests in flight when the daemon starts, or that share ring and user data with "
    "another and end before it (before Linux 5.18)"
)


class Uring(NamedTuple):
    """How io_uring is counted here.

    ``hooks`` are tracepoints to attach to, ``defines`` are for the compiler, ``unseen`` is for
    people. ``memory`` is the map that remembers requests. ``blind``: io_uring cannot be counted.
    """

    hooks: tuple[str, ...]
    defines: dict[str, int]
    unseen: tuple[str, ...]
    memory: Map
    blind: bool


def uring(btf: Btf) -> Uring:
    """Find out from the parameters that ``btf`` lists for each tracepoint."""
    complete = btf.tracepoint_parameters(_COMPLETE)
    named = complete is not None and _names_request(complete)
    submit, request_at = _submission(btf)
    wake = btf.tracepoint_parameters(_WAKE) or [""]
    blind = complete is not None and not named and submit is None
    hooks = []
    if complete is not None and not blind:
        hooks.append(_COMPLETE)
    if named and btf.tracepoint_parameters(_OVERFLOW) is not None:
        hooks.append(_OVERFLOW)  # older: a result without room counts as completed
    if submit is not None:
        hooks.append(submit)
        hooks += [_WAKE] * (named and wake[0] == _REQUEST)
    defines = {
        "URING_COMPLETE_HAS_CQE": int("io_uring_cqe" in (complete or ())),
        "URING_COMPLETE_HAS_REQUEST": int(named),
        "URING_SUBMIT_REQUEST_AT": request_at,
        "REMEMBERS_REQUESTS": int(submit is not None),
    }
    partly = complete is not None and not named and not blind
    # Where completions do not name requests, every request must be found, and is then removed.
    kind, capacity = (bpf.HASH, 65536) if partly else (bpf.LRU_HASH, 8192)
    memory = Map("known_requests", kind, *_SIZES, capacity)
    return Uring(tuple(hooks), defines, (_PARTLY_BLIND,) if partly else (), memory, blind)


def _names_request(parameters: list[str]) -> bool:
    """Return whether a completion usually names its request.

    The parameters are (ring, request, user data, result, flags, ...) since Linux 5.18 and (ring,
    request, cqe) later. Before 5.18 they are (ring, user data, result), or one more.
    """
    return "io_uring_cqe" in parameters or len(parameters) > 4


def _submission(btf: Btf) -> tuple[str | None, int]:
    """Return the tracepoint at which requests are submitted, and which parameter is the request."""
    for name in _SUBMIT:
        parameters = btf.tracepoint_parameters(name)
        if parameters and parameters[0] == _REQUEST:
            return name, 0
        if parameters and len(parameters) == _OLD_SUBMIT_SIZE:
            return name, 1
    return None, 0
