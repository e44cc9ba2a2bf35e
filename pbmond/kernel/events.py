"""Lifecycle events: from the bytes of the ring buffer to frozen values; pure.

The layouts are those of ``bpf/pbmon.h``. A path arrives as its components, leaf first, each ended
by NUL, because that is the order in which the kernel finds them.
"""

from __future__ import annotations

import struct

from pbmond.kernel.records import Event, FileSeen, ProcessExited, ProcessSeen, UnixSeen

PROCESS, EXIT, FILE, UNIX = 1, 2, 3, 4
HEAD = struct.Struct("<IIQQQ")  # kind, tgid, start_ns, time_ns, id
NAME = struct.Struct("<6IB7x16s")
DISK = struct.Struct("<QQ")
UNIX_NAMES = struct.Struct("<QII112s112s")


def parse(data: bytes) -> Event | None:
    """Return the event in ``data``, None if it is cut short or of an unknown kind."""
    try:
        kind, pid, start_ns, time_ns, row = HEAD.unpack_from(data)
        if kind == EXIT:
            return ProcessExited(pid, start_ns, time_ns, *DISK.unpack_from(data, HEAD.size))
        if kind == FILE:
            _, path, whole, *_ = _named(data)
            return FileSeen(row, path, whole)
        if kind == PROCESS:
            return _process(data, pid, start_ns, time_ns)
        if kind == UNIX:
            return _unix(data, row)
    except struct.error:
        return None
    return None


def _named(data: bytes) -> tuple[tuple[int, int, int, bytes], bytes, bool, bytes, bytes]:
    """Split an event with a path: (ppid, uid, netns, name), path, whole, cmdline, cgroup."""
    fields = NAME.unpack_from(data, HEAD.size)
    ppid, uid, netns, path_size, cmdline_size, cgroup_size, whole, comm = fields
    at = HEAD.size + NAME.size
    path = data[at : at + path_size]
    cmdline = data[at + path_size : at + path_size + cmdline_size]
    cgroup = data[at + path_size + cmdline_size :][:cgroup_size]
    name = comm.partition(b"\0")[0]
    return (ppid, uid, netns, name), _path(path), bool(whole), cmdline, cgroup


def _path(components: bytes) -> bytes:
    """Turn ``leaf NUL parent NUL`` into ``/parent/leaf``; b"" if there is no name at all."""
    names = components.split(b"\0")[:-1]
    return b"/" + b"/".join(reversed(names)) if any(names) else b""


def _process(data: bytes, pid: int, start_ns: int, time_ns: int) -> ProcessSeen:
    (ppid, uid, netns, name), exe, _, cmdline, cgroup = _named(data)
    return ProcessSeen(
        pid=pid,
        start_ns=start_ns,
        time_ns=time_ns,
        ppid=ppid,
        uid=uid,
        name=name,
        exe=exe or None,
        cmdline=cmdline or None,
        cgroup=_path(cgroup) or None,  # the root says nothing: a v1 hierarchy may say more
        netns=netns or None,
    )


def _unix(data: bytes, row: int) -> UnixSeen:
    inode, local_size, remote_size, local, remote = UNIX_NAMES.unpack_from(data, HEAD.size)
    return UnixSeen(
        id=row,
        local=_unix_name(local[:local_size]),
        remote=_unix_name(remote[:remote_size]),
        remote_inode=inode or None,
    )


def _unix_name(name: bytes) -> bytes | None:
    """Return an abstract name whole (it begins with NUL), a path up to its NUL, or None."""
    return (name if name.startswith(b"\0") else name.partition(b"\0")[0]) or None
