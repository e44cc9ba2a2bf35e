"""One guest: started, its lines told as they come, ended in time.

By emulation alone, so that every machine shows the same, with or without KVM.
"""

from __future__ import annotations

import subprocess
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.kernels import initramfs
from tests.kernels.builds import Kernel
from tests.kernels.cache import directory, locked
from tests.kernels.machines import Machine

#: What begins the lines that ``init`` and ``guest`` have to say, and the last of them.
_MARK: Final = "pbmon-guest: "
_ENDED_WELL: Final = f"{_MARK}ended with 0"
_SCRATCH_BYTES: Final = 1 << 30
#: A panic ends the guest. Mitigations cost time and protect nobody here.
_PARAMETERS: Final = "rdinit=/init mitigations=off quiet loglevel=4 panic=-1"


@dataclass(frozen=True, slots=True)
class Guest:
    """What a guest is made of. ``job``: a directory that the guest writes its results to.

    ``checkout``: where pbmon is, as a path in ``root``, which becomes the guest's /.
    """

    machine: Machine
    kernel: Kernel
    root: Path
    checkout: Path
    job: Path


def run(guest: Guest, busybox: Path, timeout_s: float, told: Callable[[str], None]) -> str | None:
    """Run a guest to its end, one at a time on this machine; return what went wrong, if anything.

    ``told`` is called with each line that the guest has to say; everything is in ``job/console``.
    """
    (guest.job / "checkout").write_text(str(guest.checkout))
    initramfs.write(guest.kernel, busybox, guest.job / "initramfs")
    with (
        locked(".qemu.lock", "another guest runs on this machine: waiting for it"),
        tempfile.NamedTemporaryFile(dir=directory()) as scratch,
    ):
        scratch.truncate(_SCRATCH_BYTES)
        subprocess.run(["mkfs.ext4", "-q", "-F", scratch.name], check=True)
        return emulate(command(guest, scratch.name), guest.job / "console", timeout_s, told)


def command(guest: Guest, scratch: str) -> list[str]:
    """Return QEMU's command line."""
    shares = (
        ("root", guest.root, "readonly=on"),
        ("modules", guest.kernel.modules, "readonly=on"),
        ("job", guest.job, "readonly=off"),
    )
    return [
        *guest.machine.emulator,
        *("-smp", "2", "-m", "4096"),
        *("-accel", "tcg,thread=multi,tb-size=1024"),
        *("-nographic", "-no-reboot", "-nic", "none"),
        *("-kernel", str(guest.kernel.image), "-initrd", str(guest.job / "initramfs")),
        *("-append", f"console={guest.machine.console} {_PARAMETERS}"),
        # Files of several file systems below one root must not get the same inode numbers.
        *(
            argument
            for tag, path, access in shares
            for argument in (
                "-virtfs",
                f"local,path={_escaped(path)},mount_tag={tag},security_model=none,"
                f"multidevs=remap,{access}",
            )
        ),
        *("-drive", f"file={_escaped(scratch)},if=virtio,format=raw,cache=unsafe"),
    ]


def _escaped(path: Path | str) -> str:
    return str(path).replace(",", ",,")


def emulate(
    qemu: Sequence[str], console: Path, timeout_s: float, told: Callable[[str], None]
) -> str | None:
    """Run QEMU's command line; the rest is as of ``run``."""
    late = threading.Event()
    last, ended_well = "", False
    with (
        console.open("wb") as log,
        subprocess.Popen(
            qemu, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as process,
    ):

        def end() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(timeout_s, end)
        timer.start()
        try:
            for line in process.stdout or ():
                log.write(line)
                log.flush()
                text = line.decode(errors="replace").strip()
                last = text or last
                ended_well = ended_well or _ENDED_WELL in text
                if _MARK in text and not ended_well:
                    told(text.partition(_MARK)[2])
        finally:
            timer.cancel()
            process.kill()
    if late.is_set():
        return f"the guest had not ended after {timeout_s:.0f} s"
    return None if ended_well else f"the guest's last line: {last}"
