"""The guest's first root: busybox, ``init``, and the modules that reach the real root over 9p."""

from __future__ import annotations

import gzip
import lzma
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from tests.kernels.builds import Kernel
from tests.kernels.cache import MatrixError

_INIT: Final = Path(__file__).with_name("init")
_FOLDERS: Final = ("bin", "sbin", "modules", "proc", "sys", "dev", "lower", "upper", "root", "keep")
#: What ``init`` calls.
_APPLETS: Final = (
    "sh", "mount", "umount", "insmod", "mkdir", "cat", "chroot", "poweroff", "echo", "ln", "uname",
    "hostname", "ip", "chmod", "switch_root", "cp",
)  # fmt: skip
#: What reaches the root; ext4, sctp and the like are loaded from there.
_MODULES: Final = ("virtio_pci", "9pnet_virtio", "9p", "overlay")
#: The kernel looks for modprobe here and not in the root that ``init`` changes to.
_MODPROBE: Final = """#!/bin/sh
PATH=/usr/sbin:/sbin exec /bin/busybox chroot /root modprobe "$@"
"""


def write(kernel: Kernel, busybox: Path, target: Path) -> None:
    """Write the archive, gzipped, to ``target``."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        for name in _FOLDERS:
            (root / name).mkdir()
        shutil.copy(busybox, root / "bin/busybox")
        for applet in _APPLETS:
            (root / "bin" / applet).symlink_to("busybox")
        shutil.copy(_INIT, root / "init")
        (root / "sbin/modprobe").write_text(_MODPROBE)
        for program in ("init", "sbin/modprobe"):
            (root / program).chmod(0o755)
        listing = (kernel.modules / "modules.dep").read_text()
        for number, path in enumerate(load_order(listing, _MODULES)):
            module = root / f"modules/{number:02}-{path.name.partition('.')[0]}.ko"
            module.write_bytes(_plain(kernel.modules / path))
        target.write_bytes(gzip.compress(archive(root), 1))


def load_order(listing: str, names: Iterable[str]) -> Iterator[Path]:
    """Yield the files of modules and of what they need, what is needed first, each once.

    ``listing``: the text of modules.dep; a module that it does not have is built in.
    """
    needs: dict[str, list[Path]] = {}
    for line in listing.splitlines():
        path, _, others = line.partition(":")
        # It names what must be there already from right to left.
        needs[_name(path)] = [Path(other) for other in (path, *others.split())][::-1]
    # A dictionary keeps the first of each, and the order.
    yield from dict.fromkeys(path for name in names for path in needs.get(name, []))


def _name(path: str) -> str:
    """Return a module's name: dashes and underscores are one to the kernel."""
    return re.sub(r"\.ko.*$", "", path.rpartition("/")[2]).replace("-", "_")


def _plain(module: Path) -> bytes:
    data = module.read_bytes()
    if module.suffix == ".ko":
        return data
    if module.suffix == ".xz":
        return lzma.decompress(data)
    raise MatrixError(f"{module}: modules of Debian's are plain or .xz so far")


def archive(root: Path) -> bytes:
    """Return a directory's files as a cpio archive of the kind "newc", all owned by root.

    See Documentation/driver-api/early-userspace/buffer-format.rst of the kernel.
    """
    entries = [
        _entry(number, str(path.relative_to(root)), path.lstat().st_mode, _content(path))
        for number, path in enumerate(sorted(root.rglob("*")), 1)
    ]
    return b"".join([*entries, _entry(0, "TRAILER!!!", 0, b"")])


def _content(path: Path) -> bytes:
    if path.is_symlink():
        return bytes(path.readlink())
    return b"" if path.is_dir() else path.read_bytes()


def _entry(number: int, name: str, mode: int, content: bytes) -> bytes:
    """Return one file: thirteen numbers, the name and the content, each padded to four bytes."""
    text = name.encode() + b"\0"
    # inode, mode, uid, gid, links, time, size, two devices, size of the name, no checksum
    numbers = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(text), 0)
    head = b"070701" + b"".join(b"%08x" % each for each in numbers) + text
    return head + bytes(-len(head) % 4) + content + bytes(-len(content) % 4)
