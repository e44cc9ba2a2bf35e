"""Boots a guest whose first process is systemd, and runs the daemon there under its own unit.

    python -m tests.kernels.systemd [--minutes N] [SERIES]

Run by ``packaging/check --systemd``. The daemon must be the host's (a container has a PID namespace
of its own, where it does not count), so this takes a machine of its own. Exits with 0 if all that
``systemd_guest`` looks for was seen, with 3 if guests cannot be made here.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.kernels.cache import say
from tests.kernels.one_guest import boot_one
from tests.kernels.qemu import Guest, run

_SERIES: Final = "6.1"  # Debian 12's, whose systemd is what most of this was written for
#: What a machine needs to be started and this one does not.
_MASKED: Final = (
    *("systemd-udevd.service", "systemd-udev-trigger.service", "systemd-udev-settle.service"),
    *("systemd-hwdb-update.service", "systemd-binfmt.service", "systemd-random-seed.service"),
    *("systemd-modules-load.service", "ldconfig.service", "systemd-timesyncd.service"),
    *("systemd-journal-catalog-update.service", "systemd-update-done.service"),
    *("systemd-networkd.service", "systemd-resolved.service", "apparmor.service"),
    *("systemd-pstore.service", "systemd-firstboot.service", "keyboard-setup.service"),
)
_TARGET: Final = """[Unit]
Requires=pbmon-guest.service basic.target
After=basic.target
AllowIsolate=yes
"""
_SERVICE: Final = """[Unit]
After=basic.target

[Service]
Type=oneshot
StandardOutput=file:/dev/console
StandardError=file:/dev/console
Environment=PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
WorkingDirectory={checkout}
ExecStart=-/bin/sh -c '.venv/bin/python -m tests.kernels.systemd_guest /job; \
    echo "pbmon-guest: ended with $$?"; systemctl poweroff --force --force'
"""


def main(arguments: Sequence[str]) -> int:
    """Boot it; return the exit status."""
    parser = argparse.ArgumentParser(prog="packaging/check --systemd", allow_abbrev=False)
    parser.add_argument("series", nargs="?", default=_SERIES, help=f"default: {_SERIES}")
    return boot_one(parser, arguments, "systemd", _boot)


def _boot(options: argparse.Namespace, guest: Guest, busybox: Path) -> int:
    job = guest.job
    _write_units(job / "units", guest.checkout)
    say(f"{job.name}: booting")
    failed = run(guest, busybox, 60 * options.minutes, lambda line: say(f"{job.name}: {line}"))
    if failed is None:
        print(json.dumps(json.loads((job / "systemd.json").read_text()), indent=1))
        return 0
    say(f"{job.name}: {failed}; the guest's console and results are in {job}")
    return 1


def _write_units(place: Path, checkout: Path) -> None:
    place.mkdir()
    (place / "pbmon-guest.target").write_text(_TARGET)
    (place / "pbmon-guest.service").write_text(_SERVICE.format(checkout=checkout))
    for name in _MASKED:
        (place / name).symlink_to("/dev/null")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
