"""The run directory: safe, and held by one daemon at a time."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PID_FILE = "pbmond.pid"
SOCKET = "pbmond.sock"

_MAX_SOCKET_PATH = 107  # sizeof(sockaddr_un.sun_path) - 1


class RunDirError(Exception):
    """The run directory cannot be used; the message is one line that says what to do."""


@contextmanager
def hold(run_dir: Path) -> Iterator[Path]:
    """Create ``run_dir`` if necessary, hold it for the block, and yield the path of the socket.

    Raises RunDirError if another daemon holds it or other users may write to it.
    """
    socket_path = run_dir / SOCKET
    if len(os.fsencode(socket_path)) > _MAX_SOCKET_PATH:
        raise RunDirError(f"{run_dir}: path too long for a socket; choose a shorter --run-dir")
    try:
        _make(run_dir)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(run_dir / PID_FILE, flags, 0o644)
    except OSError as error:
        raise RunDirError(f"{run_dir}: {error.strerror}; choose another --run-dir") from None
    try:
        _lock(fd, run_dir)
        try:
            yield socket_path
        finally:
            # The pid file stays: another daemon may have opened it, and would lock a deleted file.
            socket_path.unlink(missing_ok=True)
            os.ftruncate(fd, 0)
    finally:
        os.close(fd)


def holder(run_dir: Path) -> int:
    """Return the process id of the daemon that holds ``run_dir``; RunDirError if none does.

    A killed daemon leaves its id behind, so the process must also have the pid file open.
    """
    path = run_dir / PID_FILE
    with suppress(OSError, ValueError):
        pid, file = int(path.read_text("ascii")), path.stat()
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                if os.path.samestat(descriptor.stat(), file):
                    return pid
    raise RunDirError(f"{run_dir}: no daemon is running there; start pbmond, or name its --run-dir")


def _make(run_dir: Path) -> None:
    if not run_dir.is_dir():
        run_dir.mkdir(parents=True)
        run_dir.chmod(0o755)  # whatever the umask is: viewers must be able to enter
    found = run_dir.stat()
    if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o022:
        raise RunDirError(
            f"{run_dir}: others may write to it; it must belong to root with mode 0755"
        )


def _lock(fd: int, run_dir: Path) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(fd, 32).decode("ascii", "replace").strip() or "unknown"
        raise RunDirError(
            f"already running: process {holder} holds {run_dir}; "
            "stop it first, or choose another --run-dir"
        ) from None
    os.ftruncate(fd, 0)
    os.pwrite(fd, b"%d\n" % os.getpid(), 0)
