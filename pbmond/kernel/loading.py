"""One run of the loader under one interpreter: started, listened to, and ended.

The interpreter may be anything, as the configuration says which: it may hang, print without end, or
answer something else. It has an environment and a session of its own, and few rights.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pbmond.loader import refusals, trials
from pbmond.patience import handed_down, patient
from pbmond.system.privileges import confine_loader

_LOADER: Final = Path(__file__).resolve().parents[1] / "loader" / "loader.py"
#: For the interpreter to start and to import bcc.
READY_TIMEOUT_S: Final = 10.0
_LOADING_TIMEOUT_S: Final = 60.0
_EXIT_TIMEOUT_S: Final = 1.0
_MAX_LINE: Final = 1 << 16  # the longest is about 4 KB
_ENVIRONMENT: Final = {"LC_ALL": "C.UTF-8", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}

#: By kind (maps, programs, links) and name.
Descriptors = dict[str, dict[str, int]]


class AttachError(Exception):
    """Nothing can be counted. The message says in one line why, and what to do."""


class NoBcc(Exception):  # noqa: N818 - not an error yet: the next interpreter is tried
    """The interpreter has no bcc."""


class _Disconnected(Exception):  # noqa: N818 - reported as an error with the exit status
    """The loader closed its socket without an answer."""


class Loader:
    """A loader that is at work. ``result`` must be called, and ends it."""

    def __init__(self, python: str, request: Mapping[str, Any]) -> None:
        """Start it for ``request`` (``handover.LoadRequest``).

        Raises AttachError if the interpreter cannot be run.
        """
        self._python = python
        self._channel, theirs = socket.socketpair()
        with theirs:
            # Output of bcc and of the interpreter must not mix with our one line.
            output = None if request["debug"] else subprocess.DEVNULL
            try:
                self._process = subprocess.Popen(  # noqa: S603 - looked at by ownership.py
                    [python, "-I", "-S", str(_LOADER), str(theirs.fileno())],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    cwd="/",
                    env={**_ENVIRONMENT, **handed_down()},
                    start_new_session=True,  # so that what it starts can be ended with it
                    preexec_fn=confine_loader,  # noqa: PLW1509 - no thread runs yet
                )
            except OSError as error:
                self._channel.close()
                raise AttachError(_not_run(python, error)) from None
        self._ready_by = time.monotonic() + patient(READY_TIMEOUT_S)
        with contextlib.suppress(OSError):  # if it ended at once, result() says so
            self._channel.sendall(json.dumps(request).encode() + b"\n")

    def result(self) -> tuple[Descriptors, dict[str, Any]]:
        """Wait for the descriptors and for the rest of the loader's answer.

        Raises AttachError, or NoBcc.
        """
        try:
            with self._channel:
                return self._answer()
        except (_Disconnected, ConnectionError):
            raise AttachError(refusals.ended(self._status())) from None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise AttachError(
                f"{self._python} answers like no loader: set bcc_python to a Python that has bcc"
            ) from None
        except OSError as error:
            raise AttachError(f"the loader did not answer: {error}") from None
        finally:
            self._end()

    def _answer(self) -> tuple[Descriptors, dict[str, Any]]:
        try:
            answers = _Listener(self._channel, self._ready_by)
            if not answers.message().get("ready"):
                raise ValueError("something else first")
        except TimeoutError:
            raise AttachError(
                f"{self._python} did not start within {patient(READY_TIMEOUT_S):g} s: set "
                "bcc_python to a Python that has bcc; on a slow machine, set PBMON_PATIENCE"
            ) from None
        loaded_by = time.monotonic() + patient(_LOADING_TIMEOUT_S)
        try:
            return _Listener(self._channel, loaded_by).descriptors()
        except TimeoutError:
            raise AttachError(
                f"the programs were not loaded within {patient(_LOADING_TIMEOUT_S):g} s: on a slow "
                "machine, set PBMON_PATIENCE"
            ) from None

    def _status(self) -> int | None:
        """Return the exit status of a loader that has closed its socket and so is about to exit."""
        try:
            return self._process.wait(patient(_EXIT_TIMEOUT_S))
        except subprocess.TimeoutExpired:
            return None

    def _end(self) -> None:
        """End it, and what an interpreter that is a script may have started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait()


class _Listener:
    """What a loader says until a time (monotonic, in seconds). TimeoutError afterwards."""

    def __init__(self, channel: socket.socket, until: float) -> None:
        self._channel = channel
        self._until = until

    def message(self) -> dict[str, Any]:
        """Return the next line's object. AttachError or NoBcc if it is an error."""
        message: dict[str, Any] = json.loads(self._line())
        if "error" in message:
            raise (NoBcc if message.get("no_bcc") else AttachError)(message["error"])
        return message

    def descriptors(self) -> tuple[Descriptors, dict[str, Any]]:
        """Return descriptors, by kind and name, and the message that says "done"."""
        found: Descriptors = {}
        while True:
            message = self.message()
            if "done" in message:
                return found, message
            count = message.pop("count")
            (kind, names), received = message.popitem(), list[int]()
            while len(received) < count:
                received += self._received()
            found[kind] = dict(zip(names, received, strict=True))

    def _received(self) -> list[int]:
        self._wait()
        data, fds, flags, _ = socket.recv_fds(self._channel, 1, 253)
        if flags & socket.MSG_CTRUNC:  # there was no descriptor left for some of them
            lacks = refusals.exhausted(errno.EMFILE, trials.facts())
            raise AttachError(lacks or "descriptors were lost on their way")
        if not data:
            raise _Disconnected
        return fds

    def _line(self) -> bytes:
        """Read one line byte by byte, because the bytes after it carry descriptors."""
        line = bytearray()
        while not line.endswith(b"\n"):
            self._wait()
            byte = self._channel.recv(1)
            if not byte:
                raise _Disconnected
            line += byte
            if len(line) > _MAX_LINE:
                raise ValueError("a line without end")
        return bytes(line)

    def _wait(self) -> None:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._channel.settimeout(left)


def _not_run(python: str, error: OSError) -> str:
    if error.errno == errno.ENOEXEC:
        return f"{python} is not a program: set bcc_python to a Python that has bcc"
    return f"{python} cannot be run: {error.strerror}"
