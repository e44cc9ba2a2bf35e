"""Where container runtimes keep what people call a container, and what their files look like.

All of them are files that a runtime run by root writes. No socket of a runtime is used: whoever may
talk to one may start containers, and so is root. Containers of other users keep their files in the
users' homes, and are not looked up.
"""

from __future__ import annotations

import json
import re
import sqlite3
import tomllib
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing, suppress
from functools import lru_cache
from typing import Any, Final

from pbmond.containers.bolt import Bolt
from pbmond.containers.names import NONE, TEXT_BYTES, ContainerNames
from pbmond.containers.trusted_files import TrustedFiles

_ID: Final = re.compile(rb"[^:]+:([0-9a-f]{64})\Z")
#: Namespaces of containerd (moby is Docker's) beyond which its containers are not looked for.
_MAX_NAMESPACES: Final = 32
#: Where containerd keeps what runs; the others are those of k3s and of MicroK8s.
_CONTAINERD_STATE: Final = (
    "/run/containerd",
    "/run/k3s/containerd",
    "/var/snap/microk8s/common/run/containerd",
)
#: What cri-dockerd calls the containers of Kubernetes begins with this.
_KUBERNETES_PREFIX: Final = "k8s_"
_DRIVERS: Final = ("overlay", "vfs", "btrfs", "zfs")

# Keys of labels and annotations; the first that is there counts.
_LABELS: Final = {
    "container_name": (
        "io.kubernetes.cri.container-name",  # containerd
        "io.kubernetes.container.name",  # CRI-O, and Docker below Kubernetes
        "nerdctl/name",
    ),
    "image": ("io.kubernetes.cri.image-name", "io.kubernetes.cri-o.ImageName"),
    "pod": ("io.kubernetes.cri.sandbox-name", "io.kubernetes.pod.name"),
    "namespace": ("io.kubernetes.cri.sandbox-namespace", "io.kubernetes.pod.namespace"),
}

#: Whatever a file may hold, half written or of a version to come.
_UNREADABLE: Final = (
    *(OSError, ValueError, RecursionError, sqlite3.Error),
    *(LookupError, TypeError, AttributeError),
)

Json = Mapping[str, Any]


def look_up(files: TrustedFiles, container: bytes) -> ContainerNames:
    """Return what ``container``, ``runtime:id``, is called; NONE if no runtime's files say.

    The files of all runtimes are asked, because an id is unique and a cgroup may name none.
    """
    match = _ID.match(container)
    if match is None:
        return NONE
    found = NONE
    for source in _SOURCES:
        try:
            found = found.or_else(source(files, match[1].decode()))
        except _UNREADABLE:
            continue
    return found


# --- Docker ---------------------------------------------------------------------------------------


def _docker(files: TrustedFiles, identifier: str) -> ContainerNames:
    roots = ["/var/lib/docker", "/var/snap/docker/common/var-lib-docker"]
    try:
        settings = json.loads(files.read("/etc/docker/daemon.json"))
        roots = [*_absolute(settings.get("data-root")), *roots]
    except OSError:
        pass  # without the file, the folders are the usual ones
    state = _first_json(files, [f"{root}/containers/{identifier}/config.v2.json" for root in roots])
    config, name = state["Config"], state["Name"].removeprefix("/")
    own = ContainerNames(container_name=_text(name), image=_text(config["Image"]))
    # Labels may be those of the image, whoever made it: only Kubernetes' own containers have a pod.
    if not name.startswith(_KUBERNETES_PREFIX):
        return own
    return _labelled(config.get("Labels") or {}).or_else(own)


# --- podman and CRI-O -----------------------------------------------------------------------------


def _storage(files: TrustedFiles) -> list[str]:
    """Return where containers/storage keeps its files."""
    roots = ["/var/lib/containers/storage"]
    try:
        settings = tomllib.loads(files.read("/etc/containers/storage.conf").decode())
        roots = [*_absolute(settings["storage"].get("graphroot")), *roots]
    except (OSError, ValueError, LookupError):
        pass
    return roots


def _storage_annotations(files: TrustedFiles, identifier: str) -> ContainerNames:
    """Read the annotations of CRI-O, which writes the specification below its storage."""
    paths = [
        f"{root}/{driver}-containers/{identifier}/userdata/config.json"
        for root in _storage(files)
        for driver in _DRIVERS
    ]
    return _labelled(_first_json(files, paths).get("annotations") or {})


def _storage_list(files: TrustedFiles, identifier: str) -> ContainerNames:
    """Read podman's list of containers, which has names and images."""
    for root in _storage(files):
        for driver in _DRIVERS:
            path = f"{root}/{driver}-containers/containers.json"
            with suppress(FileNotFoundError, NotADirectoryError):
                found = _stored(files, path, files.version(path)).get(identifier)
                if found is not None:
                    return found
    return NONE


@lru_cache(maxsize=8)  # a host may have thousands in one list, and each is asked about
def _stored(files: TrustedFiles, path: str, _version: tuple[int, ...]) -> dict[str, ContainerNames]:
    return {
        each["id"]: ContainerNames(
            container_name=_text((each.get("names") or [None])[0]),
            image=_text(json.loads(each.get("metadata") or "{}").get("image-name")),
        )
        for each in json.loads(files.read(path))
    }


def _podman_pod(files: TrustedFiles, identifier: str) -> ContainerNames:
    """Read the name of a container's pod from podman's state: SQLite since 5, before a bbolt."""
    for root in _storage(files):
        with suppress(FileNotFoundError), files.opened(f"{root}/db.sql") as fd:
            return ContainerNames(pod=_text(_sqlite_pod(fd, identifier)))
        with suppress(FileNotFoundError), files.opened(f"{root}/libpod/bolt_state.db") as fd:
            state = Bolt(fd)
            pod = json.loads(state.get(b"ctr", identifier.encode(), b"config") or "{}").get("pod")
            name = state.get(b"id-registry", pod.encode()) if pod else None
            return ContainerNames(pod=_text((name or b"").decode()))
    return NONE


def _sqlite_pod(fd: int, identifier: str) -> object:
    # Immutable: without locks, and without looking for a journal beside the file.
    state = sqlite3.connect(f"file:/proc/self/fd/{fd}?mode=ro&immutable=1", uri=True)
    with closing(state):
        row = state.execute(
            "SELECT PodConfig.Name FROM ContainerConfig JOIN PodConfig"
            " ON PodConfig.ID = ContainerConfig.PodID WHERE ContainerConfig.ID = ?",
            (identifier,),
        ).fetchone()
    return row and row[0]


# --- containerd, runc and crun --------------------------------------------------------------------


def _containerd(files: TrustedFiles, identifier: str) -> ContainerNames:
    """Read the specification of a container that runs, from the folder of its namespace."""
    for root in _CONTAINERD_STATE:
        top = f"{root}/io.containerd.runtime.v2.task"
        with suppress(FileNotFoundError):
            spaces = sorted(files.listed(top, _MAX_NAMESPACES))
            paths = [f"{top}/{space}/{identifier}/config.json" for space in spaces]
            return _labelled(_first_json(files, paths).get("annotations") or {})
    return NONE


def _containerd_image(files: TrustedFiles, identifier: str) -> ContainerNames:
    """Read the image of a container of ctr or nerdctl from the metadata of containerd."""
    top = f"{_CONTAINERD_STATE[0]}/io.containerd.runtime.v2.task"
    with files.opened("/var/lib/containerd/io.containerd.metadata.v1.bolt/meta.db") as fd:
        metadata = Bolt(fd)
        for space in sorted(files.listed(top, _MAX_NAMESPACES)):
            path = (b"v1", space.encode(), b"containers", identifier.encode(), b"image")
            image = metadata.get(*path)
            if image:
                return ContainerNames(image=_text(image.decode()))
    return NONE


def _crun(files: TrustedFiles, identifier: str) -> ContainerNames:
    specification = _first_json(files, [f"/run/crun/{identifier}/config.json"])
    return _labelled(specification.get("annotations") or {})


def _runc(files: TrustedFiles, identifier: str) -> ContainerNames:
    """Read the state of runc, which keeps annotations as labels: ``key=value``."""
    state = _first_json(files, [f"/run/runc/{identifier}/state.json"])
    return _labelled(dict(each.split("=", 1) for each in state["config"]["labels"]))


_SOURCES: Final[tuple[Callable[[TrustedFiles, str], ContainerNames], ...]] = (
    _docker,
    _containerd,
    _containerd_image,
    _storage_annotations,
    _storage_list,
    _podman_pod,
    _crun,
    _runc,
)


# --- values ---------------------------------------------------------------------------------------


def _first_json(files: TrustedFiles, paths: Iterable[str]) -> Any:  # noqa: ANN401 - what JSON holds
    """Parse the first file that there is; FileNotFoundError if there is none."""
    for path in paths:
        try:
            return json.loads(files.read(path))
        except (FileNotFoundError, NotADirectoryError):
            continue
    raise FileNotFoundError


def _labelled(labels: Json) -> ContainerNames:
    """Return what labels or annotations say."""
    named = {
        name: next((found for key in keys if (found := _text(labels.get(key)))), None)
        for name, keys in _LABELS.items()
    }
    return ContainerNames(**named)


def _text(value: object) -> bytes | None:
    """Return a text as bytes, cut where it is too long; None if it is none, or empty."""
    if not isinstance(value, str):
        return None
    whole = value.encode("utf-8", "surrogatepass")[:TEXT_BYTES]
    return whole or None


def _absolute(value: object) -> list[str]:
    return [value] if isinstance(value, str) and value.startswith("/") else []
