"""The workload programs, by the I/O path that each of them takes."""

from importlib import import_module

from pbmond.selftest.workloads.programs.program import PROGRAMS, UNSEEN, UnavailableError

_AREAS = (
    "files",
    "filesystems",
    "identities",
    "aio",
    "sockets",
    "stream_sockets",
    "families",
    "queues",
    "zero_copy",
    "uring",
    "uring_sockets",
    "processes",
    "brief",
    "foreign",
    "namespaces",
    "lossy",
)
for _area in _AREAS:
    import_module(f"{__name__}.{_area}")

__all__ = ["PROGRAMS", "UNSEEN", "UnavailableError"]
