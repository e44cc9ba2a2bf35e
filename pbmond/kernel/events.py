"""Parses lifecycle events: bytes of the ring buffer become frozen values.

The layouts are those of ``bpf/pbmon.h``. A path arrives as its components, leaf first, each
terminated by NUL, because that is the order in which the kernel finds them.
"""

from __future__ import annotations

import struct

from pbmond.kernel.records import Event, FileSeen, ProcessExited, ProcessSeen, UnixSeen

PROCESS, EXIT, FILE, UNIX = 1, 2, 3, 4
SLOTS = 5  # it wakes the collector, and says nothing
HEAD = struct.Struct("<IIQQQ")  # kind, tgid, start_ns, time_ns, id
NAME = struct.Struct("<6IB3xIQ16sI4x")
DISK = struct.Struct("<QQ")
UNIX_NAMES = struct.Struct("<QII112s112s")

_PIPEFS_MAGIC = 0x50495045  # include/uapi/linux/magic.h
_ANON_INODE_FS_MAGIC = 0x09041934


def parse(data: bytes) -> Event | None:
    """Return the event in ``data``, or None if it is truncated or says nothing that we know."""
    try:
        kind, pid, start_ns, time_ns, row = HEAD.unpack_from(data)
        if kind == EXIT:
            return ProcessExited(pid, start_ns, time_ns, *DISK.unpack_from(data, HEAD.size))
        if kind == FILE:
            return _file(data, row)
        if kind == PROCESS:
            return _process(data, pid, start_ns, time_ns)
        if kind == UNIX:
            return _unix(data, row)
    except struct.error:
        return None
    return None


def _file(data: bytes, row: int) -> FileSeen:
    _, _, _, path_size, _, _, whole, magic, inode, _, _ = NAME.unpack_from(data, HEAD.size)
    at = HEAD.size + NAME.size
    path = _path(data[at : at + path_size])
    return FileSeen(row, _with_kernel_name(path, magic, inode), bool(whole))


def _with_kernel_name(path: bytes, magic: int, inode: int) -> bytes:
    """Name a file without a path as the kernel does: ``pipe:[12]``, ``anon_inode:[eventfd]``."""
    if path.count(b"/") > 1:
        return path
    if magic == _PIPEFS_MAGIC:
        return b"pipe:[%d]" % inode
    if magic == _ANON_INODE_FS_MAGIC:
        return b"anon_inode:" + path.removeprefix(b"/")
    return path


def _path(components: bytes) -> bytes:
    """Turn ``leaf NUL parent NUL`` into ``/parent/leaf``, or b"" if there is no name."""
    names = components.split(b"\0")[:-1]
    return b"/" + b"/".join(reversed(names)) if any(names) else b""


def _process(data: bytes, pid: int, start_ns: int, time_ns: int) -> ProcessSeen:
    ppid, uid, netns, *sizes, _, _, _, comm, viewer = NAME.unpack_from(data, HEAD.size)
    path_size, cmdline_size, cgroup_size = sizes
    at = HEAD.size + NAME.size
    exe = _path(data[at : at + path_size])
    cmdline = data[at + path_size : at + path_size + cmdline_size]
    cgroup = data[at + path_size + cmdline_size :][:cgroup_size]
    return ProcessSeen(
        pid=pid,
        start_ns=start_ns,
        time_ns=time_ns,
        ppid=ppid,
        uid=uid,
        viewer=viewer,
        name=comm.partition(b"\0")[0],
        exe=exe or None,
        cmdline=cmdline or None,
        cgroup=_path(cgroup) or None,  # the root is not useful; a v1 hierarchy may say more
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
    """Return a whole abstract name (it begins with NUL), a path up to its NUL, or None."""
    return (name if name.startswith(b"\0") else name.partition(b"\0")[0]) or None
