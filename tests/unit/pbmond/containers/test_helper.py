"""The helper answers only for cgroups that root made, and can do nothing but read."""

from __future__ import annotations

import json
import logging
import os
import pwd
import select
import socket
import time
from pathlib import Path

import pytest

from pbmond.children.starter import Starter
from pbmond.containers.asking import NameLookup
from pbmond.containers.helper import answer, cgroup_mounts
from pbmond.containers.names import NONE, ContainerNames
from pbmond.containers.trusted_files import TrustedFiles
from pbmond.patience import patient

ID = "0123456789abcdef" * 4
ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture
def host(tmp_path: Path) -> TrustedFiles:
    state = tmp_path / f"run/crun/{ID}"
    state.mkdir(parents=True)
    (state / "config.json").write_text(json.dumps({"annotations": {"nerdctl/name": "web"}}))
    for folder in (state, *state.parents[:3]):
        folder.chmod(0o755)
    (tmp_path / "cgroup/docker").mkdir(parents=True)
    (tmp_path / "pids/docker").mkdir(parents=True)
    return TrustedFiles(str(tmp_path), os.geteuid())


def ask(host: TrustedFiles, top: Path, cgroup: str) -> ContainerNames:
    return answer(cgroup.encode(), host, (f"{top}/cgroup", f"{top}/pids", f"{top}/nowhere"))


@ROOT
def test_a_container_of_root_has_names(host: TrustedFiles, tmp_path: Path) -> None:
    assert ask(host, tmp_path, f"/docker/{ID}") == ContainerNames(b"web")
    assert ask(host, tmp_path, f"/docker-{ID}.scope/init.scope") == ContainerNames(b"web")


@ROOT
@pytest.mark.parametrize("hierarchy", ["cgroup", "pids"])
def test_whoever_may_make_cgroups_cannot_ask_about_the_containers_of_others(
    host: TrustedFiles, tmp_path: Path, hierarchy: str
) -> None:
    os.chown(tmp_path / hierarchy / "docker", 61001, 61001)
    assert ask(host, tmp_path, f"/docker/{ID}") == NONE


@ROOT
@pytest.mark.parametrize(
    "cgroup", ["/", "/nowhere/" + ID, f"/docker/../docker/{ID}", f"/docker/{'1' * 64}/docker/{ID}"]
)
def test_what_is_not_known_to_be_roots_has_no_names(
    host: TrustedFiles, tmp_path: Path, cgroup: str
) -> None:
    assert ask(host, tmp_path, cgroup) == NONE


def test_whole_hierarchies_are_found_where_they_are_mounted() -> None:
    mountinfo = (
        "23 1 0:21 / /proc rw - proc proc rw\n"
        "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n"
        "39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids\n"
        "42 31 0:36 /docker /somewhere rw,relatime - cgroup cgroup rw,pids\n"
        "\n"
    )
    assert cgroup_mounts(mountinfo) == ("/sys/fs/cgroup/unified", "/sys/fs/cgroup/pids")


@ROOT
def test_the_process_answers_and_may_read_and_nothing_else() -> None:
    nobody = pwd.getpwnam("nobody")
    log = logging.getLogger("test")
    with (
        socket.socket(socket.AF_UNIX) as listener,
        Starter(listener, nobody.pw_uid, nobody.pw_gid, "pbmon", log) as starter,
    ):
        names = NameLookup(starter.names_reader, log)
        names.see([(f"/{ID}".encode(), 0)], time.monotonic_ns())
        pid, fd = names.pid, names.fd
        assert pid is not None
        assert fd is not None
        assert select.select([fd], [], [], patient(60))[0], "no answer"
        status = Path(f"/proc/{pid}/status").read_text()
        found = dict(line.split(":\t", 1) for line in status.splitlines())
        assert found["Name"] == "pbmond-names"
        assert set(found["Uid"].split()) == {str(nobody.pw_uid)}
        assert int(found["CapPrm"], 16) & ~(1 << 2) == 0  # CAP_DAC_READ_SEARCH
        assert int(found["CapEff"], 16) == int(found["CapPrm"], 16)
        assert (found["NoNewPrivs"], found["Seccomp"]) == ("1", "2")
        names.take(time.monotonic_ns())
        assert names.pid == pid, "the answer was refused"
        assert names.names() == {}
        names.close()
