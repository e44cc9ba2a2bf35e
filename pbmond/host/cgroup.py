"""What a cgroup path says: the systemd unit and the container.

A container may run a systemd of its own, with units of the same names as the host's. They are given
with their container, as ``nginx.service@lxc:web``, and never taken for the host's.
"""

from __future__ import annotations

import re

_UNIT = re.compile(
    rb"[A-Za-z0-9:_.\\@-]+"
    rb"\.(?:service|scope|socket|mount|swap|device|automount|target|path|timer)\Z"
)
_SLICE = re.compile(rb"[A-Za-z0-9:_.\\@-]+\.slice\Z")
_USER_MANAGER = re.compile(rb"user@[0-9]+\.service\Z")
_ESCAPE = re.compile(rb"\\x([0-9a-fA-F]{2})")

_HEX_ID = rb"([0-9a-f]{64})"
# One path component each; the name before the id is what the runtime's systemd driver writes.
_SCOPES = tuple(
    (re.compile(prefix + _HEX_ID + rb"(?:\.scope)?\Z"), runtime)
    for prefix, runtime in (
        (rb"docker-", b"docker"),
        (rb"libpod-", b"podman"),
        (rb"cri-containerd-", b"containerd"),
        (rb"nerdctl-", b"containerd"),
        (rb"crio-", b"cri-o"),
    )
)
# cri-containerd with the cgroupfs driver, below a slice: kubepods-pod.slice:runtime:ID.
_TRIPLE = re.compile(rb"[^:]*:(cri-containerd|crio|docker|libpod):" + _HEX_ID + rb"\Z")
_RUNTIMES = {
    b"docker": b"docker",
    b"libpod": b"podman",
    b"libpod_parent": b"podman",
    b"cri-containerd": b"containerd",
    b"crio": b"cri-o",
    # containerd's own namespaces, as ctr and nerdctl use them with cgroupfs.
    b"default": b"containerd",
    b"k8s.io": b"containerd",
}
_BARE_ID = re.compile(_HEX_ID + rb"\Z")
_LXC_PAYLOAD = re.compile(rb"lxc\.payload[./](.+)\Z")
_NSPAWN = re.compile(rb"systemd-nspawn@(.+)\.service\Z")
# libvirt registers machines under such names with a number; they are not systemd-nspawn's.
_MACHINE = re.compile(rb"machine-(?!(?:qemu|lxc)\\x2d[0-9]+\\x2d)(.+)\.scope\Z")


def _unescape(name: bytes) -> bytes:
    r"""Undo systemd's escapes: ``\x2d`` is a dash."""
    return _ESCAPE.sub(lambda match: bytes([int(match[1], 16)]), name)


def _components(path: bytes) -> list[bytes]:
    # systemd prefixes a name that would collide with a kernel file by "_".
    return [
        part[1:] if part.startswith(b"_") and part != b"_" else part
        for part in path.split(b"/")
        if part not in (b"", b".", b"..")
    ]


def unit_of(path: bytes) -> bytes | None:
    """Return the systemd unit of cgroup ``path`` (below the cgroup mount), or None.

    It is the outermost unit of the path, because a unit may manage its own subtree. Below
    ``user@UID.service`` it is the outermost unit of that user. A path that consists of slices alone
    gives its innermost slice. What lies inside a container is the container's: its unit is given as
    ``UNIT@CONTAINER``; without one, it is the unit that holds the container.
    """
    parts = _components(path)
    outer = end = len(parts)
    while True:  # from the innermost container outwards
        index, container = _innermost_container(parts[:outer])
        unit = _unit(parts[index + 1 : end])
        if container is None:
            return unit
        if unit is not None:
            return unit + b"@" + container
        outer, end = index, index + 1  # the container itself may be a unit of what is around it


def _unit(parts: list[bytes]) -> bytes | None:
    units = [part for part in parts if _UNIT.match(part)]
    if not units:
        return next((part for part in reversed(parts) if _SLICE.match(part)), None)
    if _USER_MANAGER.match(units[0]) and len(units) > 1:
        return units[1]
    return units[0]


def container_of(path: bytes) -> bytes | None:
    """Return the innermost container of cgroup ``path`` as ``runtime:id``, or None.

    OCI runtimes have ids of 64 hexadecimal digits; LXC and systemd-nspawn have names. If the path
    has an id but no runtime, that is ``cri`` below kubepods, else ``oci``.
    """
    return _innermost_container(_components(path))[1]


def machine_of(container: bytes) -> bytes | None:
    """Return the name of a machine, which ``container`` consists of; None if it has an id."""
    runtime, _, name = container.partition(b":")
    return name if runtime in (b"lxc", b"systemd-nspawn") else None


def holder_of(path: bytes) -> bytes | None:
    """Return the cgroup in which the group of the path's container was made; the root is empty.

    None: there is no container, or it is inside another one, whose business it is.
    """
    real = [part for part in path.split(b"/") if part]
    parts = _components(path)
    index, container = _innermost_container(parts)
    if container is None or len(real) != len(parts):
        return None
    inside_another = _innermost_container(parts[:index])[1] is not None
    return None if inside_another else b"".join(b"/" + part for part in real[:index])


def _innermost_container(parts: list[bytes]) -> tuple[int, bytes | None]:
    """Return which of ``parts`` is the innermost container, and its name; (-1, None): none is."""
    for index in reversed(range(len(parts))):
        part = parts[index]
        parent = parts[index - 1] if index else b""
        found = _oci(part, parent, parts) or _named_machine(part, parent)
        if found:
            return index, found
    return -1, None


def _oci(part: bytes, parent: bytes, parts: list[bytes]) -> bytes | None:
    for pattern, runtime in _SCOPES:
        match = pattern.match(part)
        if match:
            return runtime + b":" + match[1]
    match = _TRIPLE.match(part)
    if match:
        return _RUNTIMES[match[1]] + b":" + match[2]
    match = _BARE_ID.match(part)
    if not match:
        return None
    if parent in _RUNTIMES:
        return _RUNTIMES[parent] + b":" + match[1]
    if any(each.startswith(b"kubepods") for each in parts):
        # The kubelet's cgroupfs driver does not name the runtime.
        return b"cri:" + match[1]
    return b"oci:" + match[1]


def _named_machine(part: bytes, parent: bytes) -> bytes | None:
    match = _LXC_PAYLOAD.match(part)
    if match:
        return b"lxc:" + match[1]
    if parent in (b"lxc", b"lxc.payload"):
        return b"lxc:" + part
    match = _NSPAWN.match(part)
    if match:
        return b"systemd-nspawn:" + _unescape(match[1])
    match = _MACHINE.match(part)
    return b"systemd-nspawn:" + _unescape(match[1]) if match else None
