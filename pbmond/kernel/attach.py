"""Gets the eBPF programs into the kernel: runs the loader and takes its descriptors over."""

from __future__ import annotations

import importlib.util
import logging
import platform
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pbmond.config import Config
from pbmond.kernel.loading import AttachError, Descriptors, Loader, NoBcc
from pbmond.loader import bpf, ownership

if TYPE_CHECKING:
    from pbmond.kernel.maps import Kernel

_PACKAGE: Final = Path(__file__).resolve().parents[1]
#: Interpreters for which distributions package bcc.
_SYSTEM_PYTHONS: Final = ("/usr/bin/python3", "/usr/libexec/platform-python")
#: Sizes of a key and of a slot in bytes. The compiler checks them against bpf/pbmon.h, a test
#: against the numpy types of records.py.
TABLE_SIZES: Final = {"flow": (56, 136), "file": (32, 112), "overflow": (16, 96)}
_EVENTS_SIZE: Final = 1 << 22

_UNSEEN: Final = (
    "io_uring requests that ask for no completion (IOSQE_CQE_SKIP_SUCCESS)",
    "results of io_submit taken without a call, where several threads use one context",
    "packets that a program moves through mapped rings (PACKET_RX_RING, AF_XDP)",
    "memory-mapped files (their transfers show in disk bytes)",
    "calls whose descriptor another thread replaced while they were blocked",
)


class Attaching:
    """Programs on their way into the kernel, while the daemon imports what else it needs.

    Creating one starts a loader. ``finish`` waits for it. Both raise AttachError if nothing can be
    counted.
    """

    def __init__(self, config: Config, log: logging.Logger, *, allow_unsafe_code: bool) -> None:
        """Start compiling and loading as ``config`` says.

        ``allow_unsafe_code``: take any interpreter, whoever may change it or its modules.
        """
        if not bpf.supported():
            raise AttachError(f"pbmon does not know this machine ({platform.machine()})")
        if config.sockets == "off" and config.files == "off":
            raise AttachError("sockets and files are both off: there is nothing to count")
        self._config = config
        self._log = log
        self._unsafe = allow_unsafe_code
        self._pythons = _interpreters(config)
        self._loader = self._next()

    def _next(self) -> Loader:
        for python in self._pythons:
            if not self._unsafe:
                try:
                    ownership.Inspector().file(python)
                except ownership.UnsafeCode as error:
                    raise AttachError(ownership.line(str(error))) from None
            request = _request(self._config, self._log, allow_unsafe_code=self._unsafe)
            return Loader(python, request)
        tried = ", ".join(_interpreters(self._config)) or "none"
        raise AttachError(
            f"no Python with bcc (tried {tried}): install python3-bpfcc (Debian, Ubuntu) or "
            "python3-bcc (Fedora), or set bcc_python in the configuration"
        )

    def finish(self) -> Kernel:
        """Wait until everything is attached and return it."""
        descriptors, answer = self._result()
        kernel = self._kernel(descriptors, answer)
        for refusal in answer["refusals"]:
            self._log.info("the kernel refuses better hooks: %s", refusal)
        _report(kernel, self._log)
        return kernel

    def _result(self) -> tuple[Descriptors, dict[str, Any]]:
        """Return the answer of the first interpreter that has bcc."""
        while True:
            try:
                return self._loader.result()
            except NoBcc as error:
                self._log.debug("%s", error)
                self._loader = self._next()

    def _kernel(self, descriptors: dict[str, dict[str, int]], answer: Mapping[str, Any]) -> Kernel:
        from pbmond.kernel.maps import Kernel  # noqa: PLC0415 - numpy, loaded while the loader works

        return Kernel(
            descriptors,
            {
                "capacities": _capacities(self._config),
                "events_size": _EVENTS_SIZE,
                "modes": {each: answer[each] for each in ("sockets", "files", "reads")},
                "unseen": _unseen(answer),
                "blind": answer["blind"],
                "verified_instructions": max(answer["verified"].values()),
                "hooks": answer["hooks"],
            },
        )


def attach(config: Config, log: logging.Logger) -> Kernel:
    """Compile, load and attach as ``config`` says. AttachError if nothing can be counted.

    For programs that are not the daemon; whoever may change the code, they run it already.
    """
    return Attaching(config, log, allow_unsafe_code=True).finish()


def _interpreters(config: Config) -> Iterator[str]:
    if config.bcc_python is not None:
        yield str(config.bcc_python)
        return
    if importlib.util.find_spec("bcc") is not None:
        yield sys.executable
    yield from (python for python in _SYSTEM_PYTHONS if Path(python).exists())


def _sources() -> Path:
    """Find bpf/: inside the package if installed, next to it in a checkout."""
    for place in (_PACKAGE / "bpf", _PACKAGE.parent / "bpf"):
        if (place / "pbmon.c").exists():
            return place
    raise AttachError(f"the eBPF sources are missing next to {_PACKAGE}: reinstall pbmon")


def _request(
    config: Config, log: logging.Logger, *, allow_unsafe_code: bool = True
) -> dict[str, Any]:
    capacities = _capacities(config)
    return {
        "sockets": config.sockets,
        "files": config.files,
        "reads": config.reads,
        "tables": [[name, *sizes, capacities[name]] for name, sizes in TABLE_SIZES.items()],
        "processes": config.overflow_capacity,
        "events_size": _EVENTS_SIZE,
        "sources": str(_sources()),
        "headers": str(_sources() / "headers"),
        "debug": log.isEnabledFor(logging.DEBUG),
        "allow_unsafe_code": allow_unsafe_code,
    }


def _capacities(config: Config) -> dict[str, int]:
    return {
        "flow": config.flows_capacity,
        "file": config.files_capacity,
        "overflow": config.overflow_capacity,
    }


def _unseen(answer: Mapping[str, Any]) -> list[str]:
    """Return what cannot be counted here, given what the loader answered."""
    sockets, files = answer["sockets"], answer["files"]
    unseen = list(_UNSEEN)
    if files != "off":
        unseen.append("files and pipes of 32-bit programs")
        unseen.append("new names of closed files that the kernel no longer has in memory")
    if files == "off" and sockets == "tracepoint":
        unseen.append("splice out of TCP sockets, TCP_ZEROCOPY_RECEIVE (files are off)")
        unseen.append("peers of datagrams in the sendmmsg after one that faulted (files are off)")
    if sockets in ("fexit", "syscall-exit"):
        unseen.append("sockets of 32-bit programs, and of the kernel's own (NFS, iSCSI)")
    if "fexit" in (sockets, files):
        unseen.append("calls already in progress when the daemon started")
    unseen += answer["unseen"] + answer["blind"]
    unseen += [f"{hook['name']}: {hook['error']}" for hook in answer["hooks"] if hook["error"]]
    return unseen


def _report(kernel: Kernel, log: logging.Logger) -> None:
    attached = [hook.name for hook in kernel.hooks if hook.error is None]
    failed = [hook.name for hook in kernel.hooks if hook.error is not None]
    log.info(
        "attached %d hooks%s: sockets by %s, files by %s, reads by %s",
        len(attached),
        f" ({', '.join(failed)} failed)" if failed else "",
        kernel.modes["sockets"],
        kernel.modes["files"],
        kernel.modes["reads"],
    )
    for hook in kernel.hooks:
        log.debug("hook %s: %s", hook.name, hook.error or "attached")
