"""Boots a guest whose first process is systemd, and runs the daemon there under its own unit.

    python -m tests.kernels.systemd [--minutes N] [SERIES]

Run by ``packaging/check --systemd``. The daemon must be the host's (a container has a PID namespace
of its own, where it does not count), so this takes a machine of its own. Exits with 0 if all that
``systemd_guest`` looks for was seen, with 3 if guests cannot be made here.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.kernels import versions
from tests.kernels.__main__ import Kind, prepared, require_tools
from tests.kernels.cache import MatrixError, UnavailableError, directory, locked, say
from tests.kernels.qemu import Guest, run

_SERIES: Final = "6.1"  # Debian 12's, whose systemd is what most of this was written for
_MINUTES: Final = 45.0
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
    parser.add_argument("--minutes", type=float, default=_MINUTES, help="give up after that time")
    options = parser.parse_args(arguments)
    if not versions.is_series(options.series):
        parser.error(f"{options.series}: must be one such as 6.1")
    os.umask(0o022)
    try:
        kinds = [Kind(options.series)]
        require_tools(kinds)
        with locked(".prepare.lock", "another run prepares kernels: waiting for it"):
            ((guest, busybox),) = prepared(kinds)
        return _boot(guest, busybox, options.minutes)
    except UnavailableError as error:
        say(str(error))
        return 3
    except (MatrixError, versions.NoBuildError) as error:
        say(str(error))
        return 1


def _boot(found: Guest, busybox: Path, minutes: float) -> int:
    release = f"{found.kernel.build.release}-systemd"
    job = directory() / "runs" / release
    guest = Guest(found.machine, found.kernel, found.root, found.checkout, job)
    shutil.rmtree(job, ignore_errors=True)
    _write_units(job / "units", guest.checkout)
    say(f"{release}: booting")
    failed = run(guest, busybox, 60 * minutes, lambda line: say(f"{release}: {line}"))
    results = job / "systemd.json"
    if failed is None:
        print(json.dumps(json.loads(results.read_text()), indent=1))
        return 0
    say(f"{release}: {failed}; the guest's console and results are in {job}")
    return 1


def _write_units(place: Path, checkout: Path) -> None:
    place.mkdir(parents=True)
    (place / "pbmon-guest.target").write_text(_TARGET)
    (place / "pbmon-guest.service").write_text(_SERVICE.format(checkout=checkout))
    for name in _MASKED:
        (place / name).symlink_to("/dev/null")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
