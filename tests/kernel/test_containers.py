"""Containers have the names that people gave them, also after their end."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from waiting import snapshot_when

from pbmond import wire
from pbmond.patience import patient
from pbmond.selftest.private_daemon import Daemon

#: A machine that is a container itself may not raise limits, and has one way to make cgroups.
_PODMAN = ("podman", "--runtime", "runc", "--cgroup-manager", "cgroupfs")
_RUN = ("run", "--rm", "--network", "none", "--ulimit", "nofile=1024:1024", "--ulimit",
        "nproc=1000:1000")  # fmt: skip
_BYTES = 12_345
#: The most that podman takes for anything here on a busy machine.
_PODMAN_S = 120.0


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
    ran = subprocess.run(
        [*_PODMAN, *arguments], capture_output=True, check=False, timeout=patient(_PODMAN_S)
    )
    assert ran.returncode == 0, ran.stderr.decode()
    return ran.stdout


def run(rootfs: Path, *options: str, command: tuple[str, ...]) -> bytes:
    mounts = ("--volume", "/usr:/usr:ro", "--rootfs", str(rootfs))
    return podman(*_RUN, *options, *mounts, *command)


def names(message: wire.Message) -> set[bytes | None]:
    return {row["container_name"] for row in message.processes.rows()}


def no_row_of(name: bytes) -> Callable[[wire.Message], str]:
    """What is missing while no row has the name of a container."""

    def missing(message: wire.Message) -> str:
        shown = names(message)
        return "" if name in shown else f"{name!r} among the containers {shown}"

    return missing


def bytes_of(rows: Iterator[dict[str, Any]], name: bytes) -> int:
    """Return what the processes of the container called ``name`` wrote to its pipe."""
    return sum(row["pipe_write_bytes"] for row in rows if row["container_name"] == name)


def fewer_bytes(table: str, name: bytes) -> Callable[[wire.Message], str]:
    """What is missing while the rows of a container in ``table`` have fewer than all bytes."""

    def missing(message: wire.Message) -> str:
        moved = bytes_of(getattr(message, table).rows(), name)
        return "" if moved >= _BYTES else f"{_BYTES - moved} of {_BYTES} bytes of {name!r}"

    return missing


def container(*called: str) -> ExitStack:
    """Remove containers and pods at the end."""
    stack = ExitStack()
    for name in called:
        stack.callback(podman, "rm", "--force", "--time", "0", "--ignore", name)
    return stack


def test_a_container_keeps_its_name_in_the_retired_totals(daemon: Daemon, rootfs: Path) -> None:
    name = f"pbmon-api-{os.getpid()}"
    command = ("/usr/bin/sh", "-c", f"head -c {_BYTES} /dev/zero; sleep 1000")
    with container(name):
        run(rootfs, "--detach", "--name", name, command=command)
        message = snapshot_when(daemon, fewer_bytes("processes", name.encode()))
        rows = [row for row in message.processes.rows() if row["container_name"] == name.encode()]
        assert {row["container"][:7] for row in rows} == {b"podman:"}
        assert {(row["image"], row["pod"], row["namespace"]) for row in rows} == {(None,) * 3}
    snapshot_when(daemon, fewer_bytes("retired", name.encode()))
    message = snapshot_when(
        daemon, lambda message: f"the end of {name}" if name.encode() in names(message) else ""
    )
    assert bytes_of(message.retired.rows(), name.encode()) >= _BYTES


def test_a_container_that_is_gone_by_the_next_tick_has_its_name(
    tmp_path_factory: pytest.TempPathFactory, rootfs: Path
) -> None:
    name = f"pbmon-brief-{os.getpid()}"
    with Daemon(tmp_path_factory.mktemp("run"), interval_s=patient(20)) as daemon:
        run(rootfs, "--name", name, command=("/usr/bin/sleep", str(patient(6))))
        assert name.encode() in names(daemon.snapshot())


def test_a_container_in_a_pod_has_the_name_of_the_pod(daemon: Daemon, rootfs: Path) -> None:
    name, pod = f"pbmon-member-{os.getpid()}", f"pbmon-pod-{os.getpid()}"
    podman("pod", "create", "--infra=false", "--name", pod)
    with ExitStack() as stack:
        stack.callback(podman, "pod", "rm", "--force", pod)
        stack.enter_context(container(name))
        command = ("/usr/bin/sleep", "1000")
        run(rootfs, "--detach", "--name", name, "--pod", pod, command=command)
        message = snapshot_when(daemon, no_row_of(name.encode()))
        rows = (row for row in message.processes.rows() if row["container_name"] == name.encode())
        assert {(row["pod"], row["namespace"]) for row in rows} == {(pod.encode(), None)}


def test_a_renamed_container_gets_its_new_name(daemon: Daemon, rootfs: Path) -> None:
    old, new = f"pbmon-old-{os.getpid()}", f"pbmon-new-{os.getpid()}"
    with container(old, new):
        run(rootfs, "--detach", "--name", old, command=("/usr/bin/sleep", "1000"))
        snapshot_when(daemon, no_row_of(old.encode()))
        podman("rename", old, new)
        message = snapshot_when(daemon, no_row_of(new.encode()))
        assert old.encode() not in names(message)
