"""The run directory: safe, held by one daemon at a time, and where that daemon listens.

Everything in it is done by its descriptor, so that whoever might exchange the directory, or what
leads to it, gains nothing.
"""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from pbmond.system.safe_paths import UnsafePathError, Walk, open_own, umask

PID_FILE: Final = "pbmond.pid"
SOCKET: Final = "pbmond.sock"
#: Viewers that may wait for a publisher, for example while another one starts. The kernel allows
#: net.core.somaxconn, by default 4096.
BACKLOG: Final = 4096

#: How long a daemon that starts may take from locking the pid file to writing it.
_WRITING_S: Final = 1.0
_MAX_SOCKET_PATH: Final = 107  # sizeof(sockaddr_un.sun_path) - 1


class RunDirError(Exception):
    """The run directory cannot be used; the message is one line that says what to do."""


@contextmanager
def hold(run_dir: Path) -> Iterator[socket.socket]:
    """Create ``run_dir`` if necessary, hold it for the block, and yield the listening socket in it.

    The socket does not block. It serves every publisher in turn: whoever connects in between waits
    in its backlog. Raises RunDirError if another daemon holds the directory or others may write to
    it or to what is above it.
    """
    if len(os.fsencode(run_dir / SOCKET)) > _MAX_SOCKET_PATH:
        raise RunDirError(f"{run_dir}: path too long for a socket; choose a shorter --run-dir")
    with ExitStack() as stack:
        with _one_line(run_dir):
            folder = _folder(run_dir)
            stack.callback(os.close, folder)
            pid_file = open_own(folder, PID_FILE, os.O_RDWR, 0o600)
            stack.callback(os.close, pid_file)
            # Whoever can open it could lock it, and keep every daemon from starting: flock(2).
            os.fchmod(pid_file, 0o600)
            _lock(pid_file, run_dir)
            # The pid file stays: another daemon may have opened it, and would lock a deleted file.
            stack.callback(os.ftruncate, pid_file, 0)
            listener = stack.enter_context(_listening(folder))
            stack.callback(_clean_up, folder)
        yield listener


def holder(run_dir: Path) -> int:
    """Return the process id of the daemon that holds ``run_dir``; RunDirError if none does.

    A killed daemon leaves its id behind, so the process must also have the pid file open.
    """
    try:
        pid, file = _pid_file(run_dir)
    except UnsafePathError as error:
        raise RunDirError(f"{run_dir}: {error.strerror}; name another --run-dir") from None
    except (OSError, ValueError):
        pid, file = 0, None
    if file is not None:
        with suppress(OSError):
            for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(OSError):
                    if os.path.samestat(descriptor.stat(), file):
                        return pid
    raise RunDirError(f"{run_dir}: no daemon is running there; start pbmond, or name its --run-dir")


def _pid_file(run_dir: Path) -> tuple[int, os.stat_result]:
    """Return the process id in the pid file, and the file's status; OSError, ValueError."""
    with Walk().parent(run_dir / PID_FILE, follow=False) as (folder, name):
        fd = open_own(folder, name, os.O_RDONLY)
    try:
        return int(os.read(fd, 32)), os.fstat(fd)
    finally:
        os.close(fd)


@contextmanager
def _one_line(run_dir: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunDirError(f"{run_dir}: {error.strerror}; choose another --run-dir") from None


def _folder(run_dir: Path) -> int:
    """Return a descriptor (O_PATH) of a directory that only we may write to."""
    folder = Walk().folder(run_dir, make=True)
    found = os.fstat(folder)
    if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o022:
        os.close(folder)
        raise UnsafePathError("others may write to it; it must belong to root with mode 0755")
    return folder


def _lock(fd: int, run_dir: Path) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RunDirError(
            f"already running: process {_written(fd) or 'unknown'} holds {run_dir}; "
            "stop it first, or choose another --run-dir"
        ) from None
    os.ftruncate(fd, 0)
    os.pwrite(fd, b"%d\n" % os.getpid(), 0)


def _written(fd: int) -> str:
    """Return the id in the pid file, which its holder writes right after it locked it."""
    until_s = time.monotonic() + _WRITING_S
    while True:
        text = os.pread(fd, 32, 0).decode("ascii", "replace").strip()
        if text or time.monotonic() > until_s:
            return text
        time.sleep(0.01)


def _listening(folder: int) -> socket.socket:
    """Return a socket in ``folder`` to which everybody may connect, in place of an old one."""
    _remove_socket(folder)
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.settimeout(0)
        # There is no bindat(2), and /proc may be missing. A name is all that bind(2) then looks up,
        # and if something has it, be it a link, that is an error.
        with _working_in(folder), umask(0o111):
            listener.bind(SOCKET)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _remove_socket(folder: int) -> None:
    """Remove the socket, if there is one; UnsafePathError if something else has its name."""
    try:
        found = os.stat(SOCKET, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise UnsafePathError(f"{SOCKET} in it is not a socket")
    os.unlink(SOCKET, dir_fd=folder)


def _clean_up(folder: int) -> None:
    with suppress(OSError):  # the next daemon will say what stands in its way
        _remove_socket(folder)


@contextmanager
def _working_in(folder: int) -> Iterator[None]:
    """Make ``folder`` the working directory, which the whole process has in common."""
    before = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fchdir(folder)
        try:
            yield
        finally:
            try:
                os.fchdir(before)
            except OSError:  # no capability enters a user's private directory any more
                os.chdir("/")
    finally:
        os.close(before)
