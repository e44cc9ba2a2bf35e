"""What each runtime's files look like, and what they say: shortened from those of real hosts."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from bolt_file import bolt_file

from pbmond.containers.names import NONE, TEXT_BYTES, ContainerNames
from pbmond.containers.sources import look_up
from pbmond.containers.trusted_files import TrustedFiles

ID = "0123456789abcdef" * 4
OTHER = "fedcba9876543210" * 4
POD = "00ff" * 16
STORAGE = "/var/lib/containers/storage"
TASKS = "/run/containerd/io.containerd.runtime.v2.task"

DOCKER: dict[str, Any] = {
    "ID": ID,
    "Name": "/shop-db",
    "Image": f"sha256:{OTHER}",
    "State": {"Running": True, "Pid": 4711},
    "Config": {
        "Hostname": "0123456789ab",
        "Image": "registry.example/postgres:16",
        "Labels": {"com.docker.compose.service": "db"},
    },
}
KUBERNETES_DOCKER: dict[str, Any] = {
    **DOCKER,
    "Name": "/k8s_web_shop-7d9f_store_1f0e_0",
    "Config": {
        "Image": f"sha256:{OTHER}",
        "Labels": {
            "io.kubernetes.container.name": "web",
            "io.kubernetes.pod.name": "shop-7d9f",
            "io.kubernetes.pod.namespace": "store",
        },
    },
}
CONTAINERD = {
    "ociVersion": "1.1.0",
    "annotations": {
        "io.kubernetes.cri.container-name": "web",
        "io.kubernetes.cri.container-type": "container",
        "io.kubernetes.cri.image-name": "registry.example/shop/web:2.1",
        "io.kubernetes.cri.sandbox-id": OTHER,
        "io.kubernetes.cri.sandbox-name": "shop-7d9f",
        "io.kubernetes.cri.sandbox-namespace": "store",
    },
}
SANDBOX = {
    "annotations": {
        "io.kubernetes.cri.container-type": "sandbox",
        "io.kubernetes.cri.sandbox-name": "shop-7d9f",
        "io.kubernetes.cri.sandbox-namespace": "store",
    },
}
CRI_O = {
    "annotations": {
        "io.container.manager": "cri-o",
        "io.kubernetes.container.name": "web",
        "io.kubernetes.cri-o.ContainerType": "container",
        "io.kubernetes.cri-o.ImageName": "registry.example/shop/web:2.1",
        "io.kubernetes.cri-o.Name": "k8s_web_shop-7d9f_store_1f0e_0",
        "io.kubernetes.pod.name": "shop-7d9f",
        "io.kubernetes.pod.namespace": "store",
    },
}
PODMAN_LIST = [
    {"id": OTHER, "names": ["other"], "metadata": "{}"},
    {
        "id": ID,
        "names": ["shop-api"],
        "metadata": json.dumps({"image-name": "registry.example/api:3", "name": "as-created"}),
    },
]
NERDCTL = {"annotations": {"nerdctl/name": "shop-api", "nerdctl/namespace": "default"}}
RUNC = {
    "id": ID,
    "config": {
        "labels": [
            "io.kubernetes.container.name=web",
            "io.kubernetes.pod.name=shop=7d9f",
            "bundle=/run/somewhere",
        ],
    },
}
POD_WEB = ContainerNames(b"web", b"registry.example/shop/web:2.1", b"shop-7d9f", b"store")


class Host:
    """The files of a host."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.files = TrustedFiles(str(top), os.getuid())

    def write(self, path: str, data: Any) -> Path:
        file = self.top / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        for folder in file.relative_to(self.top).parents:
            (self.top / folder).chmod(0o755)
        file.write_bytes(data if isinstance(data, bytes) else json.dumps(data).encode())
        return file

    def ask(self, runtime: bytes = b"podman") -> ContainerNames:
        return look_up(self.files, runtime + b":" + ID.encode())


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.mark.parametrize(
    ("path", "data", "names"),
    [
        (
            f"/var/lib/docker/containers/{ID}/config.v2.json",
            DOCKER,
            ContainerNames(b"shop-db", b"registry.example/postgres:16"),
        ),
        (
            f"/var/lib/docker/containers/{ID}/config.v2.json",
            KUBERNETES_DOCKER,
            ContainerNames(b"web", f"sha256:{OTHER}".encode(), b"shop-7d9f", b"store"),
        ),
        (f"{TASKS}/k8s.io/{ID}/config.json", CONTAINERD, POD_WEB),
        (
            f"/run/k3s/containerd/io.containerd.runtime.v2.task/k8s.io/{ID}/config.json",
            CONTAINERD,
            POD_WEB,
        ),
        (
            f"{TASKS}/k8s.io/{ID}/config.json",
            SANDBOX,
            ContainerNames(pod=b"shop-7d9f", namespace=b"store"),
        ),
        (f"{TASKS}/default/{ID}/config.json", NERDCTL, ContainerNames(b"shop-api")),
        (f"{STORAGE}/overlay-containers/{ID}/userdata/config.json", CRI_O, POD_WEB),
        (
            f"{STORAGE}/overlay-containers/containers.json",
            PODMAN_LIST,
            ContainerNames(b"shop-api", b"registry.example/api:3"),
        ),
        (
            f"{STORAGE}/vfs-containers/containers.json",
            PODMAN_LIST,
            ContainerNames(b"shop-api", b"registry.example/api:3"),
        ),
        (f"/run/crun/{ID}/config.json", CRI_O, POD_WEB),
        (f"/run/runc/{ID}/state.json", RUNC, ContainerNames(b"web", pod=b"shop=7d9f")),
    ],
)
def test_a_runtimes_file_says_what_a_container_is_called(
    host: Host, path: str, data: object, names: ContainerNames
) -> None:
    host.write(path, data)
    assert host.ask() == names
    assert look_up(host.files, b"oci:" + OTHER[:-1].encode() + b"1") == NONE


def test_an_image_cannot_give_its_container_the_name_of_another_or_a_pod(host: Host) -> None:
    labels = {"Labels": KUBERNETES_DOCKER["Config"]["Labels"]}
    data = {**DOCKER, "Config": {**DOCKER["Config"], **labels}}
    host.write(f"/var/lib/docker/containers/{ID}/config.v2.json", data)
    assert host.ask() == ContainerNames(b"shop-db", b"registry.example/postgres:16")


@pytest.mark.parametrize(
    ("setting", "text", "path", "data"),
    [
        (
            "/etc/docker/daemon.json",
            b'{"data-root": "/srv/docker"}',
            f"/srv/docker/containers/{ID}/config.v2.json",
            DOCKER,
        ),
        (
            "/etc/containers/storage.conf",
            b'[storage]\ndriver = "overlay"\ngraphroot = "/srv/images"\n',
            "/srv/images/overlay-containers/containers.json",
            PODMAN_LIST,
        ),
    ],
)
def test_the_administrator_may_have_moved_the_files(
    host: Host, setting: str, text: bytes, path: str, data: object
) -> None:
    host.write(setting, text)
    host.write(path, data)
    assert host.ask().container_name in (b"shop-db", b"shop-api")


def test_the_pod_of_podman_is_read_from_bbolt(host: Host) -> None:
    config = json.dumps({"id": ID, "name": "shop-api", "pod": POD}).encode()
    state = {
        b"ctr": {ID.encode(): {b"config": config}},
        b"id-registry": {ID.encode(): b"shop-api", POD.encode(): b"shop-pod"},
    }
    host.write(f"{STORAGE}/libpod/bolt_state.db", bolt_file(state))
    host.write(f"{STORAGE}/overlay-containers/containers.json", PODMAN_LIST)
    assert host.ask() == ContainerNames(b"shop-api", b"registry.example/api:3", b"shop-pod")


def test_the_pod_of_podman_is_read_from_sqlite(host: Host) -> None:
    file = host.write(f"{STORAGE}/db.sql", b"")
    with sqlite3.connect(file) as state:
        state.execute("CREATE TABLE PodConfig(ID TEXT, Name TEXT, JSON TEXT)")
        state.execute("CREATE TABLE ContainerConfig(ID TEXT, Name TEXT, PodID TEXT, JSON TEXT)")
        state.execute("INSERT INTO PodConfig VALUES(?, 'shop-pod', '{}')", (POD,))
        state.execute("INSERT INTO ContainerConfig VALUES(?, 'shop-api', ?, '{}')", (ID, POD))
        state.execute("INSERT INTO ContainerConfig VALUES(?, 'other', NULL, '{}')", (OTHER,))
    state.close()
    assert host.ask() == ContainerNames(pod=b"shop-pod")
    assert look_up(host.files, b"podman:" + OTHER.encode()) == NONE


def test_the_image_of_nerdctl_is_read_from_containerd(host: Host) -> None:
    host.write(f"{TASKS}/default/{ID}/config.json", NERDCTL)
    metadata = {
        b"v1": {b"default": {b"containers": {ID.encode(): {b"image": b"registry.example/api:3"}}}}
    }
    database = "/var/lib/containerd/io.containerd.metadata.v1.bolt/meta.db"
    host.write(database, bolt_file(metadata, inline=True))
    assert host.ask() == ContainerNames(b"shop-api", b"registry.example/api:3")


def test_a_container_that_was_renamed_has_its_new_name(host: Host) -> None:
    path = f"{STORAGE}/overlay-containers/containers.json"
    host.write(path, PODMAN_LIST)
    assert host.ask().container_name == b"shop-api"
    host.write(path, [{**PODMAN_LIST[1], "names": ["a-longer-name"]}])
    assert host.ask().container_name == b"a-longer-name"


@pytest.mark.parametrize(
    "data",
    [
        *(
            b"",
            b"{",
            b"[]",
            b"null",
            b"[" * 100_000,
            b"9" * 5000,
            b"\xff\xfe",
            b'{"annotations": 1}',
        ),
        *(b'{"annotations": {"io.kubernetes.pod.name": {}}}', b'[{"id": []}]', b'[{"id": 1}, 2]'),
        b'{"Config": {"Labels": 7, "Image": 1}, "Name": []}',
        b'{"config": {"labels": ["x", 1]}}',
        b'{"annotations": {"io.kubernetes.pod.name": ""}}',
    ],
)
def test_whatever_a_file_holds_there_is_only_no_name(host: Host, data: bytes) -> None:
    for path in (
        f"/var/lib/docker/containers/{ID}/config.v2.json",
        f"{TASKS}/k8s.io/{ID}/config.json",
        f"{STORAGE}/overlay-containers/{ID}/userdata/config.json",
        f"{STORAGE}/overlay-containers/containers.json",
        f"{STORAGE}/libpod/bolt_state.db",
        f"{STORAGE}/db.sql",
        f"/run/crun/{ID}/config.json",
        f"/run/runc/{ID}/state.json",
        *("/etc/docker/daemon.json", "/etc/containers/storage.conf"),
    ):
        host.write(path, data)
    assert host.ask() == NONE


def test_a_long_name_is_cut(host: Host) -> None:
    labels = {"io.kubernetes.pod.name": "x" * 5000}
    host.write(f"{TASKS}/k8s.io/{ID}/config.json", {"annotations": labels})
    assert host.ask().pod == b"x" * TEXT_BYTES


@pytest.mark.parametrize(
    "container", [b"lxc:web", b"podman:../../etc", b"podman:" + b"A" * 64, b"", b":" + b"0" * 63]
)
def test_only_an_id_becomes_part_of_a_path(host: Host, container: bytes) -> None:
    host.write("/run/crun/web/config.json", CRI_O)
    assert look_up(host.files, container) == NONE
