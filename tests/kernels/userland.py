"""Debian 13's userland as a guest's root: debootstrapped once, pbmon set up in it by quickstart."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from tests.kernels.apt import Apt
from tests.kernels.cache import CHECKOUT, MatrixError, directory, locked, say, staged

_SUITE: Final = "trixie"
#: What the guest needs beside what quickstart installs: modprobe, and ip for network namespaces.
_PACKAGES: Final = "ca-certificates,iproute2,kmod"
#: Where pbmon is in the root.
PLACE: Final = Path("/opt/pbmon")
#: Where quickstart installs it; the guest's .venv is a link to that.
_PREFIX: Final = Path("/opt/pbmon-installed")
#: How this machine reaches the archive and PyPI, and whom it trusts there.
_NETWORK: Final = ("etc/resolv.conf", "etc/pip.conf", "etc/ssl/certs/ca-certificates.crt")


def debian_13(apt: Apt) -> Path:
    """Return the root, with this checkout's files as they are now in ``PLACE``."""
    root = directory() / "roots" / _SUITE
    with locked(".roots.lock", "another run prepares a root: waiting for it"):
        if not root.exists():
            say("Debian 13: making a root with debootstrap")
            with staged(root) as place:
                _install(place, apt)
        copy_checkout(root)
        say("Debian 13: packaging/quickstart --setup-only")
        run(
            "quickstart",
            *("unshare", "--mount", "--pid", "--fork", "--mount-proc", f"--root={root}", "--wd=/"),
            *(str(PLACE / "packaging/quickstart"), "--setup-only", "--prefix", str(_PREFIX)),
        )
        _link_virtualenv(root)
    return root


def _link_virtualenv(root: Path) -> None:
    """Let .venv of the checkout be what quickstart has installed."""
    virtualenv = root / PLACE.relative_to("/") / ".venv"
    if virtualenv.is_dir() and not virtualenv.is_symlink():
        shutil.rmtree(virtualenv)
    virtualenv.unlink(missing_ok=True)
    version = (root / _PREFIX.relative_to("/") / "bin").readlink().parent
    virtualenv.symlink_to(_PREFIX / version)


def _install(place: Path, apt: Apt) -> None:
    command = ("debootstrap", "--variant=minbase", f"--include={_PACKAGES}", _SUITE)
    run("debootstrap", *command, str(place), apt.mirror())
    for name in _NETWORK:
        if Path("/", name).exists():
            shutil.copy(Path("/", name), place / name)
    (place / "etc/apt/apt.conf.d/90host").write_text(apt.network)


def copy_checkout(root: Path) -> None:
    """Bring every file to its place, the virtualenv of last time left where it is."""
    target = root / PLACE.relative_to("/")
    target.mkdir(parents=True, exist_ok=True)
    for old in target.iterdir():
        if old.name.startswith("."):
            continue
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    for new in CHECKOUT.iterdir():
        if new.name.startswith("."):
            continue
        if new.is_dir():
            shutil.copytree(new, target / new.name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(new, target)


def run(what: str, *words: str) -> None:
    """Run a command that prepares a root; MatrixError, with its last line, if it fails."""
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "HOME": "/root"}
    done = subprocess.run(
        words,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )
    if done.returncode:
        last = (done.stdout.splitlines() or [f"exit status {done.returncode}"])[-1]
        raise MatrixError(f"making a root: {what} failed: {last}")
