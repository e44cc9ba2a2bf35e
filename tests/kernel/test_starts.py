"""Starts with an obstacle: either the daemon runs, or it names the obstacle in one line."""

from __future__ import annotations

import errno
import os
import shlex
import socket
import struct
import sys
from pathlib import Path

import pytest
from one_line import refusal_of

from pbmond.loader import bpf, layout, trials
from pbmond.loader.btf import VMLINUX, Btf
from pbmond.loader.offsets import defines
from pbmond.selftest.private_daemon import Daemon, switches

_PBMOND = [sys.executable, "-s", "-P", "-m", "pbmond"]
_ROOT = Path(__file__).resolve().parents[2]
_FORBID = [sys.executable, str(Path(__file__).with_name("forbid.py"))]
_FSOPEN = 430
_FOR_GOOD = ("kill", "setgid", "setuid", "setpcap", "sys_ptrace", "dac_read_search")
_MOUNT_TRACEFS = "mount -t tracefs tracefs /sys/kernel/tracing"
_NO_TRACEFS = "umount --lazy --quiet /sys/kernel/tracing /sys/kernel/debug || true"

Prefix = tuple[str, ...]


def refused(directory: Path, *prefix: str) -> str:
    """Start pbmond behind ``prefix``, which must end in one line and status 1; return the line."""
    config = directory / "pbmond.toml"
    config.write_text(f'run_dir = "{directory}/run"\npublisher_user = "nobody"')
    options = ("--config", str(config), "--log-file", str(directory / "log"), *switches())
    environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
    return refusal_of([*prefix, *_PBMOND, *options], env=environment, limit_s=30)


def only(*capabilities: str) -> Prefix:
    """Return a prefix that starts a command with only these capabilities."""
    return ("setpriv", "--bounding-set", ",".join(["-all", *(f"+{each}" for each in capabilities)]))


def without(*capabilities: str) -> Prefix:
    """Return a prefix that starts a command without these capabilities."""
    return ("setpriv", "--bounding-set", ",".join(f"-{each}" for each in capabilities))


def after(*commands: str) -> Prefix:
    """Return a prefix that starts a command in a mount namespace after shell commands."""
    return ("unshare", "-m", "bash", "-ec", "\n".join([*commands, 'exec "$@"']), "start")


def over(path: str, file: Path) -> str:
    """Return the shell command that mounts ``file`` over ``path``."""
    return f"mount --bind {shlex.quote(str(file))} {path}"


# --- capabilities -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "prefix",
    [
        only(*_FOR_GOOD, "sys_admin"),
        (*after(_MOUNT_TRACEFS), *only(*_FOR_GOOD, "bpf", "perfmon")),
    ],
    ids=["sys_admin", "bpf and perfmon, tracefs mounted"],
)
def test_a_few_capabilities_are_enough(tmp_path: Path, prefix: Prefix) -> None:
    with Daemon(tmp_path, prefix=prefix) as daemon:
        assert daemon.snapshot().health["status"] == "complete"
        assert daemon.stop() == 0


@pytest.mark.parametrize("capability", _FOR_GOOD)
def test_a_capability_that_is_missing_is_named(tmp_path: Path, capability: str) -> None:
    said = refused(tmp_path, *without(capability))
    assert said.startswith(f"pbmond: CAP_{capability.upper()} is missing: grant it")


@pytest.mark.parametrize("capability", ["bpf", "perfmon"])
def test_without_sys_admin_both_others_are_needed(tmp_path: Path, capability: str) -> None:
    said = refused(tmp_path, *without("sys_admin", capability))
    assert said.startswith(f"pbmond: CAP_{capability.upper()} is missing: grant it")


def test_without_any_capability_all_are_named_at_once(tmp_path: Path) -> None:
    said = refused(tmp_path, *without("all"))
    for capability in (*_FOR_GOOD, "bpf", "perfmon"):
        assert f"CAP_{capability.upper()}" in said


def test_root_of_a_user_namespace_is_refused(tmp_path: Path) -> None:
    assert "root of a user namespace" in refused(tmp_path, "unshare", "--user", "--map-root-user")


_CROWDED = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
for _ in range(int(sys.argv[1])):
    os.set_inheritable(os.open("/dev/null", os.O_RDONLY), True)
os.execvp(sys.argv[2], sys.argv[2:])
"""


@pytest.mark.parametrize("inherited", [130, 200, 240])
def test_inherited_descriptors_that_leave_too_few_are_named(tmp_path: Path, inherited: int) -> None:
    said = refused(tmp_path, sys.executable, "-c", _CROWDED, str(inherited))
    assert said.startswith("pbmond: only 256 open files are allowed, and ")


# --- where it stands ----------------------------------------------------------------------------


@pytest.mark.parametrize("mount", [(), ("--mount-proc",)])
def test_in_a_pid_namespace_of_its_own_it_says_what_to_do(tmp_path: Path, mount: Prefix) -> None:
    said = refused(tmp_path, "unshare", "--pid", "--fork", *mount)
    assert "PID namespace" in said or "/proc is not mounted" in said
    assert "--pid=host" in said or "mount -t proc" in said


def test_in_a_time_namespace_it_says_how_to_leave_it(tmp_path: Path) -> None:
    assert "nsenter --time=/proc/1/ns/time" in refused(
        tmp_path, "unshare", "--time", "--boottime", "1000", "--fork"
    )


def test_a_proc_of_another_pid_namespace_is_refused(tmp_path: Path) -> None:
    mount = "unshare --pid --fork mount -t proc proc /proc"
    said = refused(tmp_path, *after(mount))
    assert "mount -t proc proc /proc" in said


# --- tracefs ----------------------------------------------------------------------------------


def test_tracefs_that_is_not_mounted_takes_sys_admin(tmp_path: Path) -> None:
    said = refused(tmp_path, *after(_NO_TRACEFS), *without("sys_admin"))
    assert "tracefs is not mounted, and CAP_SYS_ADMIN to mount it is missing" in said


def test_tracefs_is_found_where_it_is_not_mounted_and_root_is_no_mount_point(
    tmp_path: Path,
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    commands = [_NO_TRACEFS]
    for entry in Path("/").iterdir():
        if entry.is_symlink():
            (root / entry.name).symlink_to(entry.readlink())
        elif entry.is_dir():
            (root / entry.name).mkdir()
            commands.append(f"mount --rbind {entry} {root / entry.name}")
    directory = tmp_path / "run"
    directory.mkdir()
    prefix = (*after(*commands), "chroot", str(root))
    with Daemon(directory, prefix=prefix) as daemon:
        assert daemon.snapshot().health["modes"]["files"] != "off"


# --- seccomp ----------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOSYS])
def test_a_filter_that_forbids_bpf_is_named(tmp_path: Path, number: int) -> None:
    said = refused(tmp_path, *_FORBID, str(number), str(bpf._BPF))
    assert said.startswith("pbmond: a seccomp filter forbids bpf(2): ")


def test_a_filter_that_kills_is_named(tmp_path: Path) -> None:
    said = refused(tmp_path, *_FORBID, "kill", str(bpf._BPF))
    assert said.startswith("pbmond: the loader was killed by a seccomp filter: ")


def test_a_filter_that_forbids_perf_events_is_named(tmp_path: Path) -> None:
    said = refused(tmp_path, *_FORBID, str(errno.EPERM), str(bpf._PERF_EVENT_OPEN))
    assert said.startswith("pbmond: a seccomp filter forbids perf_event_open(2): ")


def test_a_filter_that_forbids_mounting_tracefs_is_named(tmp_path: Path) -> None:
    said = refused(tmp_path, *after(_NO_TRACEFS), *_FORBID, str(errno.EPERM), str(_FSOPEN))
    assert said.startswith("pbmond: a seccomp filter forbids fsopen(2)")


def test_a_kernel_that_wants_more_for_perf_events_names_the_setting(tmp_path: Path) -> None:
    """Kernels of Debian and Ubuntu do, at kernel.perf_event_paranoid=3 and 4."""
    forbid = (*_FORBID, str(errno.EACCES), str(bpf._PERF_EVENT_OPEN))
    said = refused(tmp_path, *after(_MOUNT_TRACEFS), *without("sys_admin"), *forbid)
    assert "kernel.perf_event_paranoid=" in said
    assert "without CAP_SYS_ADMIN: grant it" in said


# --- BTF --------------------------------------------------------------------------------------


def test_a_kernel_without_btf_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    said = refused(tmp_path, *after(over("/sys/kernel/btf", tmp_path / "empty")))
    assert said.startswith(f"pbmond: no BTF at {VMLINUX}: ")


@pytest.mark.parametrize("content", [b"", b"no types at all", b"\x7fELF"])
def test_a_file_that_is_not_btf_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "btf"
    file.write_bytes(content)
    assert f"{VMLINUX} is not BTF" in refused(tmp_path, *after(over(VMLINUX, file)))


def other_layout() -> bytes:
    """Return BTF that puts the ``tgid`` of every structure where its ``prio`` is."""
    types = Path(VMLINUX).read_bytes()
    header, strings = struct.unpack_from("<4xI8xI", types)
    names = types[header + strings :]
    swapped = names.replace(b"\0tgid\0", b"\0\0\0\0\0\0", 1).replace(b"\0prio\0", b"\0tgid\0", 1)
    assert swapped != names
    return types[: header + strings] + swapped.replace(b"\0\0\0\0\0\0", b"\0prio\0", 1)


def test_btf_that_the_kernel_itself_does_not_hold_is_refused(tmp_path: Path) -> None:
    if bpf.kernel_types() is None:
        pytest.skip("this kernel does not show its own BTF (Linux 5.11 does)")
    file = tmp_path / "btf"
    file.write_bytes(other_layout())
    said = refused(tmp_path, *after(over(VMLINUX, file)))
    assert f"{VMLINUX} belongs to another kernel than the running {os.uname().release}" in said


def test_offsets_that_do_not_fit_are_refused_where_the_kernel_does_not_show_its_own(
    tmp_path: Path,
) -> None:
    file = tmp_path / "btf"
    file.write_bytes(other_layout())
    prefix = (*after(_MOUNT_TRACEFS, over(VMLINUX, file)), *without("sys_admin"))
    assert "(task_struct.tgid reads " in refused(tmp_path, *prefix)


def test_half_of_the_btf_is_not_enough(tmp_path: Path) -> None:
    file = tmp_path / "btf"
    file.write_bytes(Path(VMLINUX).read_bytes()[:300_000])
    prefix = (*after(_MOUNT_TRACEFS, over(VMLINUX, file)), *without("sys_admin"))
    assert f"{VMLINUX} is not BTF" in refused(tmp_path, *prefix)


_PROVEN = (
    *("TASK_TGID", "TASK_COMM", "TASK_CRED", "TASK_NSPROXY", "NSPROXY_NET", "NET_NS_INUM"),
    *("TASK_MM", "MM_ARG_START", "TASK_GROUP_LEADER", "TASK_START_BOOTTIME"),
    *("TASK_FILES", "FILES_FDT", "FDTABLE_FD", "FILE_INODE", "INODE_INO", "INODE_MODE"),
    *("INODE_SB", "SUPERBLOCK_DEV", "SUPERBLOCK_MAGIC", "SOCKET_SK", "SOCKET_ALLOC_INODE"),
    *("SKC_FAMILY", "SKC_NET", "SK_SOCKET", "UNIX_PEER"),
)


def test_each_checked_offset_is_noticed_when_it_is_wrong() -> None:
    right = defines(Btf())
    one, other = socket.socketpair()
    with one, other:
        assert layout.misfit(right, one.fileno()) is None
        for name in _PROVEN:
            # Not 8: some neighbours hold the same (cred and real_cred, mm and active_mm).
            wrong = {**right, f"OFFSETOF_{name}": right[f"OFFSETOF_{name}"] + 64}
            assert layout.misfit(wrong, one.fileno()) is not None, name


# --- limits and what else is missing ----------------------------------------------------------


def test_too_few_open_files_are_reported(tmp_path: Path) -> None:
    said = refused(tmp_path, "prlimit", "--nofile=64:64")
    assert said.startswith("pbmond: only 64 open files are allowed: ")


def test_a_soft_limit_on_open_files_is_raised(tmp_path: Path) -> None:
    with Daemon(tmp_path, prefix=("prlimit", "--nofile=64:4096")) as daemon:
        assert daemon.snapshot().health["status"] == "complete"


def test_proc_that_is_not_mounted_is_reported(tmp_path: Path) -> None:
    assert "/proc is not mounted" in refused(tmp_path, *after("umount -l /proc"))


def test_the_trials_pass_here_and_leave_nothing() -> None:
    before = set(Path("/proc/self/fd").iterdir())
    known = trials.facts()
    trials.can_load(known)
    trials.has_types(known)
    trials.has_offsets(defines(Btf()), known)
    os.close(trials.open_tracepoints(known))
    assert set(Path("/proc/self/fd").iterdir()) == before
