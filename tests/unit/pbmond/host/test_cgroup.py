"""Units and containers by cgroup path: one table of paths as the runtimes write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbmond.host.cgroup import container_of, holder_of, machine_of, unit_of

ID = b"4f1d3c5e" * 8
POD = b"pod0b3f6a5e_5a2c_4d6e_9a51_1d3f5a7b9c0d"
POD_PATH = b"kubepods-burstable.slice/kubepods-burstable-" + POD + b".slice/"

CASES = [
    # systemd
    (b"/", None, None),
    (b"", None, None),
    (b"/init.scope", b"init.scope", None),
    (b"/system.slice/ssh.service", b"ssh.service", None),
    (b"/system.slice/system-getty.slice/getty@tty1.service", b"getty@tty1.service", None),
    (b"/system.slice/foo\\x2dbar.mount", b"foo\\x2dbar.mount", None),
    (b"/system.slice", b"system.slice", None),
    (b"/user.slice/user-1000.slice", b"user-1000.slice", None),
    (b"/user.slice/user-1000.slice/session-3.scope", b"session-3.scope", None),
    (b"/user.slice/user-1000.slice/user@1000.service", b"user@1000.service", None),
    (b"/user.slice/user-1000.slice/user@1000.service/init.scope", b"init.scope", None),
    (
        b"/user.slice/user-1000.slice/user@1000.service/app.slice/app-firefox-123.scope",
        b"app-firefox-123.scope",
        None,
    ),
    (b"/user.slice/user-1000.slice/user@1000.service/app.slice", b"user@1000.service", None),
    (b"/system.slice/systemd-udevd.service/udev", b"systemd-udevd.service", None),
    (b"/system.slice/_cpu.service", b"cpu.service", None),
    (b"/some/group", None, None),
    # docker: systemd and cgroupfs drivers, a systemd inside, a parent of the admin's own
    (b"/system.slice/docker-" + ID + b".scope", b"docker-" + ID + b".scope", b"docker:" + ID),
    (
        b"/system.slice/docker-" + ID + b".scope/system.slice/nginx.service",
        b"nginx.service@docker:" + ID,
        b"docker:" + ID,
    ),
    (b"/docker/" + ID, None, b"docker:" + ID),
    (b"/docker/" + ID + b"/init.scope", b"init.scope@docker:" + ID, b"docker:" + ID),
    (b"/docker/" + ID + b"/system.slice", b"system.slice@docker:" + ID, b"docker:" + ID),
    (
        b"/docker/" + ID + b"/user.slice/user-0.slice/user@0.service/app.slice/web.service",
        b"web.service@docker:" + ID,
        b"docker:" + ID,
    ),
    (b"/custom/" + ID, None, b"oci:" + ID),
    (b"/system.slice/docker.service", b"docker.service", None),
    # podman
    (
        b"/machine.slice/libpod-" + ID + b".scope/container",
        b"libpod-" + ID + b".scope",
        b"podman:" + ID,
    ),
    (
        b"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" + ID + b".scope",
        b"libpod-" + ID + b".scope",
        b"podman:" + ID,
    ),
    (b"/libpod_parent/libpod-" + ID, None, b"podman:" + ID),
    (b"/machine.slice/libpod-conmon-" + ID + b".scope", b"libpod-conmon-" + ID + b".scope", None),
    # containerd and CRI
    (
        b"/kubepods.slice/" + POD_PATH + b"cri-containerd-" + ID + b".scope",
        b"cri-containerd-" + ID + b".scope",
        b"containerd:" + ID,
    ),
    (
        b"/kubepods.slice/" + POD_PATH + b"crio-" + ID + b".scope",
        b"crio-" + ID + b".scope",
        b"cri-o:" + ID,
    ),
    (b"/kubepods/burstable/" + POD + b"/" + ID, None, b"cri:" + ID),
    (b"/kubepods/besteffort/" + POD + b"/crio-" + ID, None, b"cri-o:" + ID),
    (
        b"/system.slice/containerd.service/kubepods-besteffort-" + POD
        + b".slice:cri-containerd:" + ID,
        b"containerd.service",
        b"containerd:" + ID,
    ),
    (b"/system.slice/nerdctl-" + ID + b".scope", b"nerdctl-" + ID + b".scope", b"containerd:" + ID),
    (b"/default/" + ID, None, b"containerd:" + ID),
    # docker in docker: the innermost
    (b"/docker/" + ID + b"/docker/" + ID[::-1].replace(b"e", b"a"), None,
     b"docker:" + ID[::-1].replace(b"e", b"a")),
    # LXC
    (b"/lxc.payload.web-1", None, b"lxc:web-1"),
    (b"/lxc.payload.web-1/system.slice/nginx.service", b"nginx.service@lxc:web-1", b"lxc:web-1"),
    (b"/lxc/web-1", None, b"lxc:web-1"),
    (b"/lxc/web-1/system.slice/nginx.service", b"nginx.service@lxc:web-1", b"lxc:web-1"),
    (b"/lxc.payload/web-1", None, b"lxc:web-1"),
    (b"/lxc.monitor.web-1", None, None),
    # docker in LXC: what is around the innermost container is LXC's, not the host's
    (
        b"/lxc.payload.web-1/system.slice/docker.service/docker/" + ID,
        b"docker.service@lxc:web-1",
        b"docker:" + ID,
    ),
    (
        b"/lxc.payload.web-1/system.slice/docker-" + ID + b".scope/system.slice/x.service",
        b"x.service@docker:" + ID,
        b"docker:" + ID,
    ),
    # systemd-nspawn, and libvirt's machines, which are none
    (
        b"/machine.slice/systemd-nspawn@my\\x2dbox.service/payload",
        b"systemd-nspawn@my\\x2dbox.service",
        b"systemd-nspawn:my-box",
    ),
    (
        b"/machine.slice/systemd-nspawn@my\\x2dbox.service/payload/system.slice/cron.service",
        b"cron.service@systemd-nspawn:my-box",
        b"systemd-nspawn:my-box",
    ),
    (
        b"/machine.slice/machine-my\\x2dbox.scope",
        b"machine-my\\x2dbox.scope",
        b"systemd-nspawn:my-box",
    ),
    (
        b"/machine.slice/machine-qemu\\x2d1\\x2dvm.scope/libvirt/emulator",
        b"machine-qemu\\x2d1\\x2dvm.scope",
        None,
    ),
    # found by tests.fuzz: nothing is left behind this underscore
    (b"/lxc/_", None, b"lxc:_"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "unit", "_container"), CASES)
def test_unit_of_a_path(path: bytes, unit: bytes | None, _container: bytes | None) -> None:
    assert unit_of(path) == unit


@pytest.mark.parametrize(("path", "_unit", "container"), CASES)
def test_container_of_a_path(path: bytes, _unit: bytes | None, container: bytes | None) -> None:
    assert container_of(path) == container


@given(st.binary(max_size=200))
def test_any_bytes_have_a_unit_and_a_container_or_none(path: bytes) -> None:
    assert (unit_of(path) or b"").partition(b"@")[0] in path
    assert b":" in (container_of(path) or b":")


@given(st.sampled_from([path for path, _, container in CASES if container]))
def test_a_unit_inside_a_container_is_never_named_like_one_of_the_host(path: bytes) -> None:
    own = unit_of(path + b"/system.slice/cron.service")
    assert own == b"cron.service@" + (container_of(path) or b"") or own == unit_of(path)
    assert own != b"cron.service"


@pytest.mark.parametrize(
    ("path", "holder"),
    [
        (b"/docker/" + ID + b"/system.slice/x.service", b"/docker"),
        (b"/machine.slice/libpod-" + ID + b".scope/container", b"/machine.slice"),
        (b"/_system.slice/docker-" + ID + b".scope", b"/_system.slice"),
        (b"/" + ID, b""),
        (b"/lxc.payload.web/docker/" + ID, None),
        (b"/docker/" + ID + b"/docker/" + ID, None),
        (b"/docker/../" + ID, None),
        (b"/system.slice/x.service", None),
        (b"/", None),
    ],
)
def test_the_group_around_a_container_is_told_unless_it_is_inside_another(
    path: bytes, holder: bytes | None
) -> None:
    assert holder_of(path) == holder


def test_machines_have_names_and_others_ids() -> None:
    assert machine_of(b"lxc:web") == machine_of(b"systemd-nspawn:web") == b"web"
    assert machine_of(b"docker:" + ID) is machine_of(b"oci:" + ID) is None
