"""A clean Debian that a test may change: a copy of a debootstrapped root, entered by chroot."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import termios
import time
from pathlib import Path
from typing import Final

from pbmond.patience import patient
from tests.kernels.apt import mirrors
from tests.kernels.cache import directory, locked, staged

#: Debian 12 and 13.
SUITES: Final = ("bookworm", "trixie")
_NETWORK: Final = ("etc/resolv.conf", "etc/ssl/certs/ca-certificates.crt")
#: Mounted for one command, in a mount namespace of its own. The daemon counts the whole machine, so
#: the PID namespace stays the host's.
_ENTER: Final = """
set -e
mount -t proc proc "$1/proc"
mount --rbind /sys "$1/sys"
mount --rbind /dev "$1/dev"
mount --bind "$2" "$1/var/cache/apt/archives"
root=$1
shift 2
exec chroot "$root" "$@"
"""
_ENVIRONMENT: Final = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "DEBIAN_FRONTEND": "noninteractive",
    "LC_ALL": "C.UTF-8",
    "HOME": "/root",
    "TERM": "xterm-256color",
}


class Root:
    """A root directory. Commands run in it as root, with the archive within reach."""

    def __init__(self, suite: str, place: Path) -> None:
        """Make ``place`` a copy of the clean root of ``suite``, which is made once."""
        self.place = place
        self._archives = directory() / "package-archives"
        (self._archives / "partial").mkdir(parents=True, exist_ok=True)
        clean = directory() / "package-roots" / suite
        with locked(".package-roots.lock", "another run prepares a root: waiting for it"):
            if not clean.exists():
                with staged(clean) as staging:
                    _debootstrap(suite, staging)
        subprocess.run(["cp", "--archive", clean, place], check=True)
        for name in _NETWORK:
            if Path("/", name).exists():
                shutil.copy(Path("/", name), place / name)
        (place / "etc/apt/apt.conf.d/90host").write_text(_host_settings())
        (place / "etc/dpkg/dpkg.cfg.d/90fast").write_text("force-unsafe-io\n")
        self.run("apt-get", "-q", "update")

    def command(self, *words: str) -> list[str]:
        """Return the host's command that runs ``words`` in here; its process becomes theirs."""
        private = ("unshare", "--mount", "--propagation", "private")
        return [*private, "sh", "-c", _ENTER, "sh", str(self.place), str(self._archives), *words]

    def run(self, *words: str, status: int = 0) -> str:
        """Run a command and return its standard output; it must end with ``status``."""
        done = subprocess.run(
            self.command(*words),
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=_ENVIRONMENT,
        )
        said = f"{words}: {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        assert done.returncode == status, said
        return done.stdout if status == 0 else done.stderr

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a command; its standard error is a pipe."""
        return subprocess.Popen(
            self.command(*words), stderr=subprocess.PIPE, text=True, env=_ENVIRONMENT
        )

    def install(self, *packages: str) -> None:
        """Install packages by name, or by their files in here, with what they depend on."""
        self.run("apt-get", "-q", "install", "--yes", "--no-install-recommends",
                 "-o", "Dpkg::Options::=--force-confold", *packages)  # fmt: skip

    def take(self, *files: Path) -> list[str]:
        """Copy files into the root; return their paths in there."""
        for file in files:
            shutil.copy(file, self.place)
        return [f"/{file.name}" for file in files]

    def on_terminal(self, *words: str, until: str, then: bytes) -> int:
        """Run a command on a terminal, type ``then`` once it shows ``until``; return the status."""
        ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (40, 120))
        os.set_blocking(ours, False)
        process = subprocess.Popen(
            self.command(*words), stdin=theirs, stdout=theirs, stderr=theirs, env=_ENVIRONMENT
        )
        os.close(theirs)
        shown, typed, end = "", False, time.monotonic() + patient(60)
        while process.poll() is None and time.monotonic() < end:
            if select.select([ours], [], [], 0.2)[0]:
                try:
                    shown += os.read(ours, 65536).decode(errors="replace")
                except OSError:  # the other end is closed
                    break
            if not typed and until in shown:
                os.write(ours, then)
                typed = True
        if process.poll() is None and not typed:
            process.kill()
        status = process.wait(patient(60))
        os.close(ours)
        assert typed, shown[-3000:]
        return status

    def files_named(self, pattern: str) -> set[str]:
        """Return the paths of what has a matching name, without what is apt's and dpkg's."""
        kept = ("proc/", "sys/", "dev/", "var/cache/apt/", "var/log/", "tmp/")
        found = (path.relative_to(self.place) for path in self.place.rglob(pattern))
        return {str(path) for path in found if not str(path).startswith(kept)}


def _debootstrap(suite: str, place: Path) -> None:
    files = [Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*.*")]
    mirror = mirrors(file.read_text() for file in files if file.is_file())["debian"]
    options = ("--variant=minbase", "--include=ca-certificates")
    command = ["debootstrap", *options, suite, str(place), mirror]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=_ENVIRONMENT | os.environ)


def _host_settings() -> str:
    """Return how this machine's apt reaches archives; the downloads stay, for the next root."""
    dumped = subprocess.run(["apt-config", "dump"], check=True, capture_output=True, text=True)
    wanted = r"^Acquire::(?:https?|Check-|Force|Retries).*\n"
    kept = 'Binary::apt-get::APT::Keep-Downloaded-Packages "true";\nAPT::Sandbox::User "root";\n'
    return "".join(re.findall(wanted, dumped.stdout, re.MULTILINE)) + kept
