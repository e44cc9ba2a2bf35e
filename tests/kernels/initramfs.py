"""The guest's first root: busybox, ``init``, and the modules that reach the real root over 9p."""

from __future__ import annotations

import gzip
import lzma
import re
import shutil
import subprocess
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
    "hostname", "ip", "chmod",
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
        target.write_bytes(gzip.compress(_archive(root, busybox), 1))


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


def _archive(root: Path, busybox: Path) -> bytes:
    names = [str(path.relative_to(root)) for path in sorted(root.rglob("*"))]
    return subprocess.run(
        [busybox, "cpio", "-o", "-H", "newc"],
        check=True,
        capture_output=True,
        cwd=root,
        input="\n".join([".", *names]).encode() + b"\n",
    ).stdout
