"""What the distributions' own linters say of the packages: nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from pbmond import __version__

CHECKOUT = Path(__file__).resolve().parents[2]


def said(*command: str | Path) -> subprocess.CompletedProcess[str]:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed: packaging/check --packages does it")
    return subprocess.run(
        command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def test_lintian_has_neither_errors_nor_warnings(built: Path) -> None:
    (changes,) = built.glob(f"pbmon_{__version__}_*.changes")
    as_root = ["--allow-root"] if os.geteuid() == 0 else []
    done = said("lintian", *as_root, "--fail-on", "error,warning", changes)
    found = [line for line in done.stdout.splitlines() if line[:2] in ("E:", "W:")]
    assert (found, done.returncode) == ([], 0), done.stdout


def test_rpmlint_has_neither_errors_nor_warnings(built: Path) -> None:
    """packaging/rpm/rpmlint.toml says of which rules, and why not of all."""
    config = CHECKOUT / "packaging/rpm/rpmlint.toml"
    done = said("rpmlint", "--config", config, *built.glob("*.rpm"), built / "pbmon.spec")
    assert "0 errors, 0 warnings" in done.stdout, done.stdout
    assert done.returncode == 0


def files_of_rpm(package: Path) -> set[str]:
    done = subprocess.run(
        ["rpm", "--query", "--list", "--package", package],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return {*done.stdout.splitlines()}


def files_of_deb(package: Path) -> set[str]:
    done = subprocess.run(
        ["dpkg-deb", "--contents", package], check=True, capture_output=True, text=True
    )
    return {line.split()[5][1:] for line in done.stdout.splitlines() if not line.endswith("/")}


@pytest.mark.parametrize("name", ["pbmond", "pbmon-client"])
def test_rpm_and_debian_package_have_the_same_programs(built: Path, name: str) -> None:
    rpm = files_of_rpm(built / f"{name}-{__version__}-1.noarch.rpm")
    deb = files_of_deb(built / f"{name}_{__version__}_all.deb")
    places = ("/usr/share/pbmon/", "/usr/bin/", "/etc/")
    both = {path for path in rpm & deb if path.startswith(places)}
    assert {path for path in deb if path.startswith(places)} == both
    assert f"/usr/bin/{name}" in both


def test_no_file_is_in_both_packages(built: Path) -> None:
    names = ("pbmond", "pbmon-client")
    daemons, clients = (files_of_deb(built / f"{name}_{__version__}_all.deb") for name in names)
    assert daemons & clients == set()
    daemons, clients = (
        files_of_rpm(built / f"{name}-{__version__}-1.noarch.rpm") for name in names
    )
    assert daemons & clients == set()


def test_the_rpm_of_the_daemon_keeps_its_configuration(built: Path) -> None:
    package = built / f"pbmond-{__version__}-1.noarch.rpm"
    command = ["rpm", "--query", "--configfiles", "--package", str(package)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "/etc/pbmond.toml" in done.stdout.split()
