"""Claims about the Debian packages, in clean roots of Debian 12 and 13.

Each test takes a minute or two, and longer the first time, when it makes the roots.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
from pathlib import Path

import pytest

from pbmond import __version__
from pbmond.patience import patient
from tests.packages.debian_root import SUITES, Root

ROOTS = pytest.mark.parametrize("root", SUITES, indirect=True)
CONFIG = "etc/pbmond.toml"
WANTS = "etc/systemd/system/multi-user.target.wants"
DEMO = Path(__file__).resolve().parents[1] / "data/demo.ndjson"
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


def older(deb: Path, place: Path) -> Path:
    """Repack a package as version 0.0.9, with another configuration file."""
    tree = place / "tree"
    subprocess.run(["dpkg-deb", "--raw-extract", deb, tree], check=True)
    control = tree / "DEBIAN/control"
    control.write_text(control.read_text().replace(__version__, "0.0.9"))
    if (tree / CONFIG).exists():
        (tree / CONFIG).write_text("#interval = 1.0\n")
    made = place / deb.name.replace(__version__, "0.0.9")
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", tree, made], check=True)
    subprocess.run(["rm", "-r", tree], check=True)
    return made


def installed_version(root: Root, package: str) -> str:
    return root.run("dpkg-query", "--show", "--showformat", "${Version}", package)


def counts(root: Root) -> None:
    """Start the daemon as its unit does; clients see what they may; it ends when it is asked to."""
    daemon = root.start("/usr/bin/pbmond", "--config", "/etc/pbmond.toml")
    try:
        shown = json.loads(root.run("pbmon-client", "--json", "--wait", str(patient(60))))
        assert daemon.pid in {row["pid"] for row in shown["processes"]}
        own = json.loads(root.run(*NOBODY, "pbmon-client", "--json", "--wait", str(patient(30))))
        assert own["viewer"]["scope"] == "own"
        assert {row["uid"] for row in own["processes"]} <= {65534}
        assert "PID" in root.run("pbmon-client", "--once")
    finally:
        daemon.send_signal(signal.SIGTERM)
        _, said = daemon.communicate(timeout=patient(30))
        print(said)  # shown if a client failed
    assert daemon.returncode == 0, said


@ROOTS
def test_what_is_installed_counts_is_upgraded_removed_and_purged(
    root: Root, debs: list[Path], tmp_path: Path
) -> None:
    before = root.files_named("*pbmon*")
    root.install(*root.take(*(older(deb, tmp_path) for deb in debs)))
    assert installed_version(root, "pbmond") == "0.0.9"
    for unit in ("pbmond", "pbmon-record", "pbmon-history"):
        assert (root.place / WANTS / f"{unit}.service").is_symlink()
    assert (root.place / "usr/lib/systemd/system/pbmond.socket").exists()
    # The service wants it; nobody else does.
    assert not list((root.place / "etc/systemd/system").rglob("pbmond.socket"))
    assert "nologin" in root.run("getent", "passwd", "pbmon")
    assert (root.place / "run/pbmon").is_dir()

    (root.place / CONFIG).write_text("interval = 0.5 # the admin's\n")
    root.install(*root.take(*debs))
    assert installed_version(root, "pbmond") == installed_version(root, "pbmon-client")
    assert installed_version(root, "pbmond") == __version__
    assert (root.place / CONFIG).read_text() == "interval = 0.5 # the admin's\n"

    assert root.run("pbmond", "--version") == f"pbmond {__version__}\n"
    assert root.run("pbmond", "--help").startswith("usage: pbmond")
    assert root.run("pbmond", "--check-config", "--config", "/etc/pbmond.toml").endswith("valid\n")
    assert root.run("pbmond", "selftest", "--list")
    counts(root)

    root.run("apt-get", "-q", "remove", "--yes", "pbmond")
    assert (root.place / CONFIG).read_text() == "interval = 0.5 # the admin's\n"
    assert not (root.place / "usr/bin/pbmond").exists()
    assert root.run("pbmon-client", "--version") == f"pbmon-client {__version__}\n"

    root.run("apt-get", "-q", "purge", "--yes", "pbmond", "pbmon-client")
    left = root.files_named("*pbmon*") - before
    left -= {name for name in left if re.fullmatch(r"pbmond?(-client)?_[\d.]+_all\.deb", name)}
    assert left == set()


@ROOTS
def test_the_client_is_installed_without_daemon_bcc_and_numpy(root: Root, debs: list[Path]) -> None:
    """It shows a recording, on a terminal too; and says what is missing for what it cannot do."""
    root.install(*root.take(debs[0]))
    (demo,) = root.take(DEMO)
    for absent in ("python3-bpfcc", "python3-numpy", "pbmond"):
        root.run("dpkg", "--status", absent, status=1)
    assert root.run("pbmon-client", "--version") == f"pbmon-client {__version__}\n"
    assert "nginx" in root.run("pbmon-client", "--demo", demo, "--once")
    assert root.on_terminal("pbmon-client", "--demo", demo, until="nginx", then=b"q") == 0
    said = root.run("pbmon-client", "--once", status=1)
    assert said.count("\n") == 1
    assert "systemctl start pbmond" in said
    said = root.run("pbmon-client", "web", status=1)
    assert re.fullmatch(r"pbmon-client: web needs fastapi, .*: pip install 'pbmon\[web\]'\n", said)
