"""The process that reads what containers are called: no network, no writing, nothing but reading.

The collector starts it when it sees the first container. It runs as the publisher's user and keeps
one capability of root, CAP_DAC_READ_SEARCH, because runtimes hide their files from everybody else.
"""

from __future__ import annotations

import os
import resource
import socket
import sys
from pathlib import Path
from typing import Final

from pbmond.containers.names import (
    NONE,
    PACKET_BYTES,
    ContainerNames,
    pack_answer,
    unpack_question,
)
from pbmond.containers.sources import look_up
from pbmond.containers.trusted_files import TrustedFiles
from pbmond.host.cgroup import container_of, holder_of
from pbmond.system.privileges import become, limit_resources
from pbmond.system.rights import NAMES_RIGHTS

NAME: Final = b"pbmond-names"
MEMORY_BYTES: Final = 512 << 20
DESCRIPTORS: Final = 64
_LIMITS: Final = {
    resource.RLIMIT_CORE: 0,
    resource.RLIMIT_FSIZE: 0,
    resource.RLIMIT_AS: MEMORY_BYTES,
    resource.RLIMIT_NOFILE: DESCRIPTORS,
}

_ROOT: Final = 0
_CGROUP_FS: Final = ("cgroup", "cgroup2")


def answer(cgroup: bytes, files: TrustedFiles, mounts: tuple[str, ...]) -> ContainerNames:
    """Return what the container of ``cgroup`` is called; NONE if that is not for us to say.

    Whoever may make cgroups can give them the name of any container. So only those count that root
    made: the cgroup around the container's belongs to root, wherever it is mounted.
    """
    container, holder = container_of(cgroup), holder_of(cgroup)
    if container is None or holder is None:
        return NONE
    owners = {_owner(os.fsencode(mount) + holder) for mount in mounts} - {None}
    return look_up(files, container) if owners == {_ROOT} else NONE


def _owner(path: bytes) -> int | None:
    try:
        return Path(os.fsdecode(path)).stat().st_uid
    except (OSError, ValueError):
        return None


def cgroup_mounts(mountinfo: str) -> tuple[str, ...]:
    """Return where whole cgroup hierarchies are mounted, from /proc/self/mountinfo."""
    found = []
    for line in mountinfo.splitlines():
        place, _, kind = line.partition(" - ")
        words = place.split()
        if len(words) > 4 and words[3] == "/" and kind.split(" ")[0] in _CGROUP_FS:
            found.append(words[4])
    return tuple(found)


def serve(asked: socket.socket, files: TrustedFiles, mounts: tuple[str, ...]) -> None:
    """Answer one question after another, until the collector closes its end."""
    while packet := asked.recv(PACKET_BYTES + 1):
        number, cgroup = unpack_question(packet)
        asked.send(pack_answer(number, answer(cgroup, files, mounts)))


def main(arguments: list[str]) -> int:
    """Run until the collector closes its end (return 0) or an error occurs (return 1)."""
    fd, uid, gid = map(int, arguments)
    Path("/proc/self/comm").write_bytes(NAME)
    limit_resources(_LIMITS)
    try:
        mounts = cgroup_mounts(Path("/proc/self/mountinfo").read_text(errors="surrogateescape"))
        become(uid, gid, NAMES_RIGHTS)
        serve(socket.socket(fileno=fd), TrustedFiles(), mounts)
    except (BrokenPipeError, ConnectionResetError):
        return 0
    except Exception as error:  # noqa: BLE001 - any error means a new process
        sys.stderr.write(f"pbmond: names of containers: {error or type(error).__name__}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
