"""Debian 12's userland for another machine than this one, as a guest's root.

Nothing of the other machine runs on the host: debootstrap's first stage fetches the packages, and
they are unpacked without their maintainers' scripts, so what a guest needs of those is done here.
pip has the wheels of pbmon's dependencies for that machine.
"""

from __future__ import annotations

import shutil
import sys
import tomllib
from pathlib import Path
from typing import Final

from tests.kernels.apt import Apt
from tests.kernels.cache import CHECKOUT, directory, locked, say, staged
from tests.kernels.userland import PLACE, copy_checkout, run

_SUITE: Final = "bookworm"
_PACKAGES: Final = "python3,python3-bpfcc,libbpf1,kmod,iproute2"
#: Of wheels, for each of Debian's names of a machine; bookworm has glibc 2.36.
_PLATFORMS: Final = {"arm64": ("manylinux2014_aarch64", "manylinux_2_28_aarch64")}
#: What the scripts of base-passwd would make, as (file, what it is a copy of).
_MADE_BY_SCRIPTS: Final = (
    ("etc/passwd", "usr/share/base-passwd/passwd.master"),
    ("etc/group", "usr/share/base-passwd/group.master"),
)
#: The user of the publisher, whom quickstart would create.
_USER: Final = "pbmon:x:900:900::/nonexistent:/usr/sbin/nologin\n"
_GROUP: Final = "pbmon:x:900:\n"
_SCRIPT: Final = """#!{python}
import sys

from {module} import {function}

sys.exit({function}())
"""


def debian_12(apt: Apt) -> Path:
    """Return the root for the machine of ``apt``, with this checkout as it is now in ``PLACE``."""
    root = directory() / "roots" / f"{_SUITE}-{apt.architecture}"
    with locked(".roots.lock", "another run prepares a root: waiting for it"):
        if not root.exists():
            say(f"Debian 12 for {apt.architecture}: making a root with debootstrap")
            with staged(root) as place:
                _install(place, apt)
        copy_checkout(root)
        _set_up(root / PLACE.relative_to("/"), apt.architecture, _python(root))
    return root


def _install(place: Path, apt: Apt) -> None:
    run(
        "debootstrap",
        *("debootstrap", f"--arch={apt.architecture}", "--foreign", "--variant=minbase"),
        *(f"--include={_PACKAGES}", _SUITE, str(place), apt.mirror()),
    )
    archives = sorted((place / "var/cache/apt/archives").glob("*.deb"))
    for archive in archives:
        run("unpacking", "dpkg-deb", "--extract", str(archive), str(place))
        archive.unlink()
    for made, source in _MADE_BY_SCRIPTS:
        (place / made).write_bytes((place / source).read_bytes())
    for made, line in (("etc/passwd", _USER), ("etc/group", _GROUP)):
        with (place / made).open("a") as file:
            file.write(line)
    (place / "etc/hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")


def _python(root: Path) -> str:
    """Return the version of the root's Python, "3.11"."""
    return (root / "usr/bin/python3").readlink().name.removeprefix("python")


def _set_up(place: Path, architecture: str, python: str) -> None:
    """Make the virtualenv that quickstart would make, unless it has what pbmon needs now."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"]["daemon"]]
    environment, wanted = place / ".venv", "\n".join(needed)
    mark = environment / "made-for"
    if mark.exists() and mark.read_text() == wanted:
        return
    say(f"Debian 12 for {architecture}: fetching Python packages")
    shutil.rmtree(environment, ignore_errors=True)
    packages = environment / f"lib/python{python}/site-packages"
    packages.mkdir(parents=True)
    (packages / "pbmon.pth").write_text(f"{PLACE}\n")
    (environment / "pyvenv.cfg").write_text("home = /usr/bin\n")
    programs = environment / "bin"
    programs.mkdir()
    (programs / "python").symlink_to("/usr/bin/python3")
    for name, target in project["scripts"].items():
        module, _, function = target.partition(":")
        python_here = PLACE / ".venv/bin/python"
        text = _SCRIPT.format(python=python_here, module=module, function=function)
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    run(
        "pip",
        *(sys.executable, "-m", "pip", "install", "--target", str(packages)),
        *("--only-binary=:all:", f"--python-version={python}", "--implementation=cp"),
        *(f"--platform={platform}" for platform in _PLATFORMS[architecture]),
        *needed,
    )
    mark.write_text(wanted)
