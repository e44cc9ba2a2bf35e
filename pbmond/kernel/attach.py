"""Gets the eBPF programs into the kernel: runs the loader and takes its descriptors over."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import json
import logging
import platform
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pbmond.config import Config
from pbmond.loader import bpf, refusals, trials
from pbmond.patience import patient
from pbmond.system.privileges import confine_loader

if TYPE_CHECKING:
    from pbmond.kernel.maps import Kernel

_PACKAGE: Final = Path(__file__).resolve().parents[1]
#: Interpreters for which distributions package bcc.
_SYSTEM_PYTHONS: Final = ("/usr/bin/python3", "/usr/libexec/platform-python")
#: Sizes of a key and of a slot in bytes. The compiler checks them against bpf/pbmon.h, a test
#: against the numpy types of records.py.
TABLE_SIZES: Final = {"flow": (56, 136), "file": (32, 112), "overflow": (16, 96)}
_EVENTS_SIZE: Final = 1 << 22
_LOADER_TIMEOUT_S: Final = 60.0
_EXIT_TIMEOUT_S: Final = 1.0

_UNSEEN: Final = (
    "io_uring requests that ask for no completion (IOSQE_CQE_SKIP_SUCCESS)",
    "results of io_submit taken without a call, where several threads use one context",
    "packets that a program moves through mapped rings (PACKET_RX_RING, AF_XDP)",
    "memory-mapped files (their transfers show in disk bytes)",
    "calls whose descriptor another thread replaced while they were blocked",
)


class AttachError(Exception):
    """Nothing can be counted. The message says in one line why, and what to do."""


class _Disconnected(Exception):  # noqa: N818 - reported as an error with the exit status
    """The loader closed its socket without an answer."""


class _NoBcc(Exception):  # noqa: N818 - not an error yet: the next interpreter is tried
    """The interpreter has no bcc."""


class Attaching:
    """Programs on their way into the kernel, while the daemon imports what else it needs.

    Creating one starts a loader. ``finish`` waits for it. Both raise AttachError if nothing can be
    counted.
    """

    def __init__(self, config: Config, log: logging.Logger) -> None:
        """Start compiling and loading as ``config`` says."""
        if not bpf.supported():
            raise AttachError(f"pbmon does not know this machine ({platform.machine()})")
        if config.sockets == "off" and config.files == "off":
            raise AttachError("sockets and files are both off: there is nothing to count")
        self._config = config
        self._log = log
        self._pythons = _interpreters(config)
        self._loader = self._next()

    def _next(self) -> _Loader:
        for python in self._pythons:
            return _Loader(python, _request(self._config, self._log))
        tried = ", ".join(_interpreters(self._config)) or "none"
        raise AttachError(
            f"no Python with bcc (tried {tried}): install python3-bpfcc (Debian, Ubuntu) or "
            "python3-bcc (Fedora), or set bcc_python in the configuration"
        )

    def finish(self) -> Kernel:
        """Wait until everything is attached and return it."""
        while True:
            try:
                descriptors, answer = self._loader.result()
            except _NoBcc as error:
                self._log.debug("%s", error)
                self._loader = self._next()
                continue
            kernel = self._kernel(descriptors, answer)
            for refusal in answer["refusals"]:
                self._log.info("the kernel refuses better hooks: %s", refusal)
            _report(kernel, self._log)
            return kernel

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
    """Compile, load and attach as ``config`` says. AttachError if nothing can be counted."""
    return Attaching(config, log).finish()


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


def _request(config: Config, log: logging.Logger) -> dict[str, Any]:
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
    }


def _capacities(config: Config) -> dict[str, int]:
    return {
        "flow": config.flows_capacity,
        "file": config.files_capacity,
        "overflow": config.overflow_capacity,
    }


class _Loader:
    """One run of the loader under one interpreter."""

    def __init__(self, python: str, request: dict[str, Any]) -> None:
        self._channel, theirs = socket.socketpair()
        with theirs:
            command = [python, "-I", str(_PACKAGE / "loader" / "loader.py"), str(theirs.fileno())]
            # Output of bcc and of the interpreter must not mix with our one line.
            output = None if request["debug"] else subprocess.DEVNULL
            try:
                self._process = subprocess.Popen(  # noqa: S603 - a path from root's own config
                    command,
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    preexec_fn=confine_loader,  # noqa: PLW1509 - no thread runs yet
                )
            except OSError as error:
                raise AttachError(f"{python} cannot be run: {error.strerror}") from None
        self._channel.settimeout(patient(_LOADER_TIMEOUT_S))
        with contextlib.suppress(OSError):  # if it ended at once, result() says so
            self._channel.sendall(json.dumps(request).encode() + b"\n")

    def result(self) -> tuple[dict[str, dict[str, int]], dict[str, Any]]:
        """Wait for the descriptors, by kind and name, and for the rest of the loader's answer."""
        try:
            with self._channel:
                return _receive(self._channel)
        except (_Disconnected, ConnectionError):
            raise AttachError(refusals.ended(self._status())) from None
        except OSError as error:
            raise AttachError(f"the loader did not answer: {error}") from None
        finally:
            self._process.kill()
            self._process.wait()

    def _status(self) -> int | None:
        """Return the exit status of a loader that has closed its socket and so is about to exit."""
        try:
            return self._process.wait(patient(_EXIT_TIMEOUT_S))
        except subprocess.TimeoutExpired:
            return None


def _receive(channel: socket.socket) -> tuple[dict[str, dict[str, int]], dict[str, Any]]:
    """Receive descriptors, by kind and name, until the loader says "done"."""
    descriptors: dict[str, dict[str, int]] = {}
    while True:
        message = json.loads(_line(channel))
        if "error" in message:
            raise (_NoBcc if message.get("no_bcc") else AttachError)(message["error"])
        if "done" in message:
            return descriptors, message
        count = message.pop("count")
        (kind, names), received = message.popitem(), list[int]()
        while len(received) < count:
            data, fds, flags, _ = socket.recv_fds(channel, 1, 253)
            if flags & socket.MSG_CTRUNC:  # there was no descriptor left for some of them
                lacks = refusals.exhausted(errno.EMFILE, trials.facts())
                raise AttachError(lacks or "descriptors were lost on their way")
            if not data:
                raise _Disconnected
            received += fds
        descriptors[kind] = dict(zip(names, received, strict=True))


def _line(channel: socket.socket) -> bytes:
    """Read one line byte by byte, because the bytes after it carry descriptors."""
    line = bytearray()
    while not line.endswith(b"\n"):
        byte = channel.recv(1)
        if not byte:
            raise _Disconnected
        line += byte
    return bytes(line)


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
