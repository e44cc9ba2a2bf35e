"""The machines that QEMU emulates: what Debian calls them, and how a guest on one is started."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Machine:
    """One kind of guest. ``flavour``: what the names of its kernels end in, in Debian.

    ``emulator``: QEMU's program and the machine it is to be; ``console``: its serial line.
    """

    architecture: str
    flavour: str
    emulator: tuple[str, ...]
    console: str

    @property
    def program(self) -> str:
        """Return QEMU's program for it."""
        return self.emulator[0]


#: The fastest of QEMU's processors that numpy's instructions run on without being emulated slowly.
AMD64: Final = Machine(
    "amd64",
    "amd64",
    ("qemu-system-x86_64", "-machine", "q35", "-cpu", "Nehalem"),
    "ttyS0",
)
#: One that signs no pointers, which takes an emulator long, and that runs 32-bit programs.
ARM64: Final = Machine(
    "arm64",
    "arm64",
    ("qemu-system-aarch64", "-machine", "virt", "-cpu", "cortex-a72"),
    "ttyAMA0",
)
#: Pages of 16 KiB: the processor above knows none.
ARM64_16K: Final = Machine(
    "arm64",
    "arm64-16k",
    ("qemu-system-aarch64", "-machine", "virt", "-cpu", "max,pauth-impdef=on,sve=off"),
    "ttyAMA0",
)
