"""Containers have the names that people gave them, also those that are gone by the next tick."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pbmond import wire
from pbmond.selftest.private_daemon import Daemon

#: A machine that is a container itself may not raise limits, and has one way to make cgroups.
_PODMAN = ("podman", "--runtime", "runc", "--cgroup-manager", "cgroupfs")
_RUN = ("run", "--rm", "--network", "none", "--ulimit", "nofile=1024:1024", "--ulimit",
        "nproc=1000:1000")  # fmt: skip
_BYTES = 12_345


@pytest.fixture(scope="module", autouse=True)
def _tools() -> None:
    if not (shutil.which("podman") and shutil.which("runc")):
        pytest.skip("podman and runc are not installed")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("run"), exited_linger_s=2.0) as running:
        yield running


@pytest.fixture
def rootfs(tmp_path: Path) -> Path:
    """Make the root of a container that has the host's programs."""
    root = tmp_path / "root"
    (root / "usr").mkdir(parents=True)
    for name in ("bin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    return root


def podman(*arguments: str) -> bytes:
    ran = subprocess.run([*_PODMAN, *arguments], capture_output=True, check=False)
    assert ran.returncode == 0, ran.stderr.decode()
    return ran.stdout


def run(rootfs: Path, *options: str, command: tuple[str, ...]) -> bytes:
    mounts = ("--volume", "/usr:/usr:ro", "--rootfs", str(rootfs))
    return podman(*_RUN, *options, *mounts, *command)


def named(daemon: Daemon, name: bytes) -> dict[str, Any]:
    """Return the row of ``head`` in the container called ``name``."""
    message = daemon.snapshot()
    (row,) = (
        row
        for row in message.processes.rows()
        if row["container_name"] == name and row["name"] == b"head"
    )
    return row


def shown(message: wire.Message, name: bytes) -> bool:
    return any(row["container_name"] == name for row in message.processes.rows())


def retired(message: wire.Message, name: bytes) -> list[dict[str, Any]]:
    return [row for row in message.retired.rows() if row["container_name"] == name]


def test_a_brief_container_has_its_name_and_keeps_it_in_the_retired_totals(
    daemon: Daemon, rootfs: Path
) -> None:
    name = f"pbmon-brief-{os.getpid()}"
    command = ("/usr/bin/head", "-c", str(_BYTES), "/dev/zero")
    assert len(run(rootfs, "--name", name, command=command)) == _BYTES
    row = named(daemon, name.encode())
    assert row["container"].startswith(b"podman:")
    # What runc wrote before it became head is there too.
    assert row["pipe_write_bytes"] >= _BYTES
    assert (row["image"], row["pod"]) == (None, None)
    message = daemon.snapshot()
    while not retired(message, name.encode()):
        message = daemon.snapshot()
    rows = retired(message, name.encode())
    assert {each["container"] for each in rows} == {row["container"]}
    assert sum(each["pipe_write_bytes"] for each in rows) >= row["pipe_write_bytes"]


def test_a_container_in_a_pod_has_the_name_of_the_pod(daemon: Daemon, rootfs: Path) -> None:
    name, pod = f"pbmon-member-{os.getpid()}", f"pbmon-pod-{os.getpid()}"
    podman("pod", "create", "--infra=false", "--name", pod)
    try:
        command = ("/usr/bin/head", "-c", str(_BYTES), "/dev/zero")
        run(rootfs, "--name", name, "--pod", pod, command=command)
    finally:
        podman("pod", "rm", "--force", pod)
    row = named(daemon, name.encode())
    assert (row["pod"], row["namespace"]) == (pod.encode(), None)


def test_a_renamed_container_gets_its_new_name(daemon: Daemon, rootfs: Path) -> None:
    old, new = f"pbmon-old-{os.getpid()}", f"pbmon-new-{os.getpid()}"
    command = ("/usr/bin/sh", "-c", "while sleep 0.1; do head -c 1 /dev/zero; done")
    run(rootfs, "--detach", "--name", old, command=command)
    try:
        while not shown(daemon.snapshot(), old.encode()):
            pass
        podman("rename", old, new)
        while not shown(daemon.snapshot(), new.encode()):
            pass
        assert not shown(daemon.snapshot(), old.encode())
    finally:
        podman("rm", "--force", "--time", "0", "--ignore", old, new)
