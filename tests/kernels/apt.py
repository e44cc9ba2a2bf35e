"""Debian's package lists and packages, from bullseye to sid, beside the system's own configuration.

Everything is kept below the cache; nothing is installed and no list of the system's is touched.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from tests.kernels.cache import UnavailableError, directory, say
from tests.kernels.versions import Package, read_index

#: Archive and suite, each.
_SUITES: Final = (
    ("debian", "bullseye"),
    ("debian-security", "bullseye-security"),
    ("debian", "bookworm"),
    ("debian", "bookworm-backports"),
    ("debian-security", "bookworm-security"),
    ("debian", "trixie"),
    ("debian", "trixie-backports"),
    ("debian", "sid"),
)
_KEYRING: Final = "/usr/share/keyrings/debian-archive-keyring.gpg"
_DEFAULT_MIRROR: Final = "http://deb.debian.org"
_UNUSED: Final = ("parts", "main", "sourceparts", "preferences", "preferencesparts")
_FRESH_S: Final = 12 * 3600
_HELPER: Final = "/usr/lib/apt/apt-helper"


class Apt:
    """A private apt; its lists are at most half a day old when they can be had."""

    def __init__(self, architecture: str) -> None:
        """Write the configuration and fetch the lists; UnavailableError if there are none.

        ``architecture``: of the packages, as Debian calls it.
        """
        if not shutil.which("apt-get") or not Path(_KEYRING).exists():
            raise UnavailableError(
                "Debian's kernels are fetched by apt-get with debian-archive-keyring: "
                "install both (Debian, Ubuntu)"
            )
        self.architecture = architecture
        self._place = directory() / f"apt-{architecture}"
        self._stamp = self._place / "refreshed"
        for name in ("lists/partial", "archives/partial"):
            (self._place / name).mkdir(parents=True, exist_ok=True)
        (self._place / "status").touch()
        (self._place / "sources.list").write_text("\n".join(sources(_system_sources())) + "\n")
        #: What the system's own configuration says of the way to archives, and of trust in them.
        self.network = _network()
        (self._place / "apt.conf").write_text(
            self.network + _configuration(self._place, architecture)
        )
        self._refresh()

    def packages(self) -> Iterator[Package]:
        """Yield the kernels' packages of every suite."""
        for line in self._targets():
            suite, file = line.split("\t")
            text = self._run([_HELPER, "cat-file", file]).stdout
            yield from read_index(text, suite)

    def download(self, packages: Sequence[str], place: Path) -> list[Path]:
        """Download packages, each "name" or "name=version"; return the files in ``place``."""
        done = self._run(["apt-get", "download", *packages], place)
        if done.returncode:
            self._stamp.unlink(missing_ok=True)  # it may be gone, and another in its place
            raise UnavailableError(f"cannot download {' '.join(packages)}: {_last_line(done)}")
        return sorted(place.glob("*.deb"))

    def mirror(self) -> str:
        """Return the address of the archive "debian"."""
        return mirrors(_system_sources())["debian"]

    def _targets(self) -> list[str]:
        form = "$(CODENAME)\t$(FILENAME)"
        command = ["apt-get", "indextargets", "--format", form, "Created-By: Packages"]
        return self._run(command).stdout.splitlines()

    def _refresh(self) -> None:
        stamp = self._stamp
        if stamp.exists() and time.time() - stamp.stat().st_mtime < _FRESH_S:
            return
        say(f"reading Debian's package lists for {self.architecture}, from bullseye to sid")
        done = self._run(["apt-get", "update"])
        if done.returncode == 0:
            stamp.touch()
        elif self._targets():  # of a mirror that no longer has one of the suites, or of last time
            say(f"some lists are missing or old: {_last_line(done)}")
        else:
            raise UnavailableError(f"Debian's package lists cannot be had: {_last_line(done)}")

    def _run(
        self, command: Sequence[str], place: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "APT_CONFIG": str(self._place / "apt.conf"), "LC_ALL": "C"}
        return subprocess.run(
            command, check=False, capture_output=True, text=True, cwd=place, env=environment
        )


def sources(system: Iterable[str]) -> Iterator[str]:
    """Yield the lines of sources.list; ``system``: the texts of the system's own sources."""
    where = mirrors(system)
    for archive, suite in _SUITES:
        yield f"deb [signed-by={_KEYRING}] {where[archive]} {suite} main"


def mirrors(system: Iterable[str]) -> dict[str, str]:
    """Return the address of each archive: the one that the system uses, if it is Debian's."""
    text = "\n".join(system)
    found = {}
    for archive in ("debian", "debian-security"):
        used = re.search(rf"https?://\S+/{archive}(?=/?\s)", text + "\n")
        found[archive] = used[0] if used else f"{_DEFAULT_MIRROR}/{archive}"
    return found


def _system_sources() -> list[str]:
    files = [Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*.*")]
    return [file.read_text() for file in files if file.is_file()]


def _network() -> str:
    dumped = subprocess.run(["apt-config", "dump"], check=True, capture_output=True, text=True)
    wanted = r"^Acquire::(?:https?|Check-|Force|Retries).*\n"
    return "".join(re.findall(wanted, dumped.stdout, re.MULTILINE))


def _configuration(place: Path, architecture: str) -> str:
    """Return an apt.conf that keeps to ``place`` and leaves the system's settings and hooks out."""
    values = {
        "Dir::Etc::sourcelist": place / "sources.list",
        "Dir::State": place,
        "Dir::State::status": place / "status",
        "Dir::Cache": place,
        "Dir::Cache::pkgcache": "",
        "Dir::Cache::srcpkgcache": "",
        "APT::Architecture": architecture,
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
        "Acquire::GzipIndexes": "true",
        **dict.fromkeys((f"Dir::Etc::{name}" for name in _UNUSED), "/dev/null"),
    }
    return "".join(f'{name} "{value}";\n' for name, value in values.items())


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    errors = [line for line in done.stderr.splitlines() if line.startswith("E:")]
    return (errors or done.stderr.splitlines() or [f"exit status {done.returncode}"])[-1]
