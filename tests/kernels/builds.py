"""Builds of Debian's kernel, unpacked in the cache: an image, and modules for modprobe."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.kernels.apt import Apt
from tests.kernels.cache import MatrixError, directory, say, staged
from tests.kernels.versions import Build

_BUSYBOX = "busybox-static/bookworm"


@dataclass(frozen=True, slots=True)
class Kernel:
    """An unpacked build: ``image`` boots, ``modules`` is its /lib/modules/RELEASE."""

    build: Build
    image: Path
    modules: Path


def unpacked(build: Build, apt: Apt) -> Kernel:
    """Return the build, from the cache or freshly downloaded."""
    place = directory() / "builds" / f"{build.release}_{build.version}"
    if not place.exists():
        say(f"{build.release}: downloading and unpacking")
        with staged(place) as staging:
            _unpack(apt, build.packages, staging)
            _arrange(staging, build.release)
    return Kernel(build, place / "vmlinuz", place / "lib/modules" / build.release)


def busybox(apt: Apt) -> Path:
    """Return a statically linked busybox, from the cache or freshly downloaded."""
    place = directory() / f"busybox-{apt.architecture}"
    if not place.exists():
        with staged(place) as staging:
            _unpack(apt, [_BUSYBOX], staging)
    (program,) = (path for path in place.glob("**/bin/busybox"))
    return program


def _unpack(apt: Apt, packages: tuple[str, ...] | list[str], place: Path) -> None:
    with tempfile.TemporaryDirectory(dir=place.parent) as archives:
        for archive in apt.download(packages, Path(archives)):
            command = ["dpkg-deb", "--extract", str(archive), str(place)]
            subprocess.run(command, check=True, capture_output=True)


def _arrange(place: Path, release: str) -> None:
    """Bring image and modules to one place each, whatever Debian release they are of."""
    modules = place / "lib/modules" / release
    merged = place / "usr/lib/modules" / release
    if merged.exists():
        modules.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(merged, modules, dirs_exist_ok=True, copy_function=shutil.move)
    images = [place / f"boot/vmlinuz-{release}", modules / "vmlinuz"]
    image = next((path for path in images if path.exists()), None)
    if image is None or not (modules / "kernel").is_dir():
        raise MatrixError(f"{release}: no image or no modules in Debian's packages")
    image.rename(place / "vmlinuz")
    for rest in ("usr", "boot"):
        shutil.rmtree(place / rest, ignore_errors=True)
    command = ["depmod", "--basedir", str(place), release]
    subprocess.run(command, check=True, capture_output=True)
