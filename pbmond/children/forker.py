"""The process that starts publishers and names readers: small, and asked for nothing else.

It keeps SETUID and SETGID, which the collector gives up. It reads one byte and two descriptors for
each child, and waits for the children. It ends, and they with it, when the collector ends.
Run as ``python -m pbmond.children.forker CHANNEL_FD LISTEN_FD UID GID GROUP``.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pbmond.system.privileges import confine_forker
from pbmond.system.rights import FORKER_RIGHTS

#: What the collector sends, with the child's socket and its standard error.
PUBLISHER: Final = b"P"
NAMES: Final = b"N"
#: What comes back: a child started (its pid and, as a descriptor, its pidfd), could not be started
#: (0 and errno), or has ended (its pid and status, negative: a signal).
STARTED: Final = b"S"
FAILED: Final = b"F"
ENDED: Final = b"E"
REPLY: Final = struct.Struct("=cii")

_STDERR: Final = 2
_DESCRIPTORS: Final = 2


@dataclass(frozen=True, slots=True)
class Command:
    """What to execute: the module, and its arguments after its socket. ``fds`` go with it."""

    module: str
    arguments: tuple[str, ...]
    fds: tuple[int, ...] = ()


def receive(channel: socket.socket, size: int, descriptors: int) -> tuple[bytes, list[int]]:
    """Return a packet, and its descriptors, which no program that is executed will inherit."""
    data, fds, _, _ = socket.recv_fds(channel, size, descriptors)
    for fd in fds:
        os.set_inheritable(fd, False)  # noqa: FBT003 - recv_fds takes MSG_CMSG_CLOEXEC for nothing
    return data, fds


class Forker:
    """Starts children as the collector asks, and tells it of their ends."""

    def __init__(
        self, channel: socket.socket, commands: Mapping[bytes, Command], environment: dict[str, str]
    ) -> None:
        """``commands``: what to execute, by the byte that asks for it."""
        self._channel = channel
        self._commands = commands
        self._environment = environment
        self._children: dict[int, int] = {}  # pids by pidfd
        self._poll = select.poll()
        self._poll.register(channel, select.POLLIN)

    def run(self) -> None:
        """Serve until the collector closes its end. Raises OSError if it does so meanwhile."""
        while True:
            for fd, _ in self._poll.poll():
                if fd != self._channel.fileno():
                    self._reap(fd)
                elif not self._serve():
                    return

    def _serve(self) -> bool:
        asked, fds = receive(self._channel, 1, _DESCRIPTORS)
        if not asked:
            return False
        try:
            command = self._commands[asked]
            sock, stderr = fds
            pid = self._start(command, sock, stderr)
            pidfd = os.pidfd_open(pid)
        except (OSError, KeyError, ValueError) as error:
            number = error.errno if isinstance(error, OSError) else None
            self._channel.send(REPLY.pack(FAILED, 0, number or 0))
            return True
        finally:
            for fd in fds:
                os.close(fd)
        socket.send_fds(self._channel, [REPLY.pack(STARTED, pid, 0)], [pidfd])
        self._children[pidfd] = pid
        self._poll.register(pidfd, select.POLLIN)
        return True

    def _start(self, command: Command, sock: int, stderr: int) -> int:
        passed = (sock, *command.fds)
        words = [sys.executable, "-s", "-P", "-m", command.module, str(sock), *command.arguments]
        for fd in passed:
            os.set_inheritable(fd, True)  # noqa: FBT003 - the name says it
        try:
            return os.posix_spawn(
                sys.executable,
                words,
                self._environment,
                file_actions=[(os.POSIX_SPAWN_DUP2, stderr, _STDERR)],
                setsid=True,
            )
        finally:
            for fd in passed:
                os.set_inheritable(fd, False)  # noqa: FBT003

    def _reap(self, pidfd: int) -> None:
        pid = self._children.pop(pidfd)
        self._poll.unregister(pidfd)
        os.close(pidfd)
        _, status = os.waitpid(pid, 0)
        self._channel.send(REPLY.pack(ENDED, pid, os.waitstatus_to_exitcode(status)))


def main(arguments: list[str]) -> int:
    """Run until the collector closes its end."""
    channel, listener, uid, gid = map(int, arguments[:4])
    Path("/proc/self/comm").write_text(FORKER_RIGHTS.name)
    commands = {
        PUBLISHER: Command(
            "pbmond.publish.publisher",
            (str(listener), str(uid), str(gid), arguments[4]),
            (listener,),
        ),
        NAMES: Command("pbmond.containers.helper", (str(uid), str(gid))),
    }
    for fd in (channel, listener):
        os.set_inheritable(fd, False)  # noqa: FBT003
    try:
        confine_forker()
        Forker(socket.socket(fileno=channel), commands, dict(os.environ)).run()
    except (ProcessLookupError, BrokenPipeError, ConnectionResetError):
        return 0  # the collector has ended
    except OSError as error:
        sys.stderr.write(f"pbmond: the process that starts others: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
