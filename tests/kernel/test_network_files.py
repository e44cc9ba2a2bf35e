"""Files of a network file system are told apart; this host serves them, in its own namespaces."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_identity import assert_apart

from pbmond.selftest.private_daemon import Daemon

_BTF = Path("/sys/kernel/btf")


def require(*modules: str) -> None:
    """Load kernel modules, as mounts would; skip the test if the kernel has none of one."""
    for name in modules:
        if (_BTF / name).exists():
            continue
        if not shutil.which("modprobe"):
            pytest.skip(f"no {name}, and no modprobe")
        subprocess.run(["modprobe", "--quiet", name], check=False)
        if not (_BTF / name).exists():
            pytest.skip(f"this kernel has no {name}, or not its types")


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    # It knows the types of modules that are loaded when it starts.
    require("loop", "nfs", "nfsd")
    (tmp_path / "run").mkdir()
    with Daemon(tmp_path / "run", capacity=1 << 19) as running:
        yield running


#: An ext4, which uses the number of a removed file at once, exported by the kernel's own server of
#: NFS 4 and mounted on "m". What exportfs and mountd would tell it is written to its caches: who
#: asks, what is exported, and which export file handles are of.
_NFS = """
def tell(name, words):
    with open(name, "w", 1 << 16) as file:
        file.write(words + "\\n")
assert libc.unshare(0x40000000) == 0
run("ip", "link", "set", "lo", "up")
fill("image")
os.truncate(at("image"), 32 << 20)
run("mkfs.ext4", "-q", at("image"))
os.mkdir(at("served"))
run("mount", "-o", "loop", at("image"), at("served"))
mount("tmpfs", "none", "control")
mount("nfsd", "none", "control")
tell(at("control/versions"), "-3 +4")
with open(at("control/portlist"), "w") as file:
    file.write("tcp 2049\\n")
forever = 2**31 - 1
caches = "/proc/self/net/rpc/"
EXPORT
tell(at("control/threads"), "2")
tell(at("control/v4_end_grace"), "Y")
mount("nfs4", "127.0.0.1:/", "m", "vers=4.2,addr=127.0.0.1,clientaddr=127.0.0.1,hard,sec=sys")
fill("m/kept")
kept = read("m/kept", 10)
for name, size in ("one", 5000), ("two", 7000), ("three", 9000):
    fill("m/" + name)
    os.close(read("m/" + name, size))
    if name != "three":
        os.unlink(at("m/" + name))
assert len({moved["m/" + name][2] for name in ("one", "two", "three")}) == 1, moved
"""
_EXPORT = """
tell(caches + "auth.unix.ip/channel", f"nfsd 127.0.0.1 {forever} all")
tell(caches + "nfsd.export/channel", f"all {top.decode()}/served {forever} 9218 65534 65534 0")
tell(caches + "nfsd.fh/channel", rf"all 1 \\x00000000 {forever} {top.decode()}/served")
"""
_END = """
os.close(kept)
os.chdir("/")
assert libc.umount2(at("m"), 0) == 0
tell(at("control/threads"), "0")
"""


def test_files_that_have_one_number_in_turn_on_nfs_are_several(
    daemon: Daemon, tmp_path: Path
) -> None:
    (tmp_path / "top").mkdir()
    assert_apart(daemon, _NFS.replace("EXPORT", _EXPORT), tmp_path / "top", _END)
