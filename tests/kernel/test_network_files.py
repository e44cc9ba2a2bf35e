"""Files of a network file system are told apart; this host serves them, in its own namespaces."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_identity import assert_apart

from pbmond.loader.btf import MODULES
from pbmond.selftest.private_daemon import Daemon

_BTF = Path("/sys/kernel/btf")
_NEEDED = {"nfs", "nfsd"}


def load(name: str) -> bool:
    """Load a module, as a mount would; return whether this kernel tells its types."""
    if not (_BTF / name).exists() and shutil.which("modprobe"):
        subprocess.run(["modprobe", "--quiet", name], check=False)
    return (_BTF / name).exists()


@pytest.fixture(scope="module", params=["auto", "probe"])
def daemon(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Daemon]:
    # It knows the types of modules that are loaded when it starts. All of them make its programs
    # as long as they get.
    found = {name for name in {*MODULES, *_NEEDED, "loop"} if load(name)}
    if not found >= _NEEDED:
        pytest.skip(f"this kernel has none, or no types, of {', '.join(_NEEDED - found)}")
    with Daemon(tmp_path_factory.mktemp("run"), capacity=1 << 19, reads=request.param) as running:
        yield running


#: An ext4, which uses the number of a removed file at once, exported by the kernel's own server of
#: NFS 4 and mounted on "m". What exportfs and mountd would tell it is written to its caches: who
#: asks, what is exported, and which export file handles are of: number 0, or a UUID of 16 bytes.
_NFS = """
import time
def tell(name, words):
    with open(name, "w") as file:
        file.write(words + "\\n")
assert libc.unshare(0x40000000) == 0
run("ip", "link", "set", "lo", "up")
fill("image")
os.truncate(at("image"), 32 << 20)
run("mkfs.ext4", "-q", at("image"))
os.mkdir(at("served"))
run("mount", "-o", "loop", at("image"), at("served"))
mount("nfsd", "none", "/proc/fs/nfsd")
tell("/proc/fs/nfsd/nfsv4gracetime", "10")  # in which nobody may open a file
tell("/proc/fs/nfsd/versions", "-3 +4")
tell("/proc/fs/nfsd/portlist", "tcp 2049")
forever = 2**31 - 1
caches = "/proc/self/net/rpc/"
export = f"{top.decode()}/served {forever} FLAGS 65534 65534 0"
uuid = r"\\x" + 16 * "a5"
tell(caches + "auth.unix.ip/channel", f"nfsd 127.0.0.1 {forever} all")
tell(caches + "nfsd.export/channel", f"all {export} uuid {uuid}")
tell(caches + "nfsd.fh/channel", rf"all 1 \\x00000000 {forever} {top.decode()}/served")
tell(caches + "nfsd.fh/channel", rf"all 6 {uuid} {forever} {top.decode()}/served")
tell("/proc/fs/nfsd/threads", "2")
options = "soft,timeo=600,retrans=1,vers=4.2,sec=sys"  # hard would outlive a server that fails
mount("nfs4", "127.0.0.1:/", "m", f"{options},addr=127.0.0.1,clientaddr=127.0.0.1")
fill("m/kept")
kept = read("m/kept", 10)
fill("m/one")
number = os.stat(at("m/one")).st_ino
handle = ctypes.create_string_buffer(struct.pack("=Ii", 128, 0), 136)  # of the server's, and more
assert not libc.name_to_handle_at(-100, at("m/one"), handle, ctypes.byref(ctypes.c_int()), 0)
assert struct.unpack_from("=H", handle, 20)[0] == SIZE
for name, size in ("one", 5000), ("two", 7000), ("three", 9000):
    while not os.path.exists(at("m/" + name)):  # the server has a removed file open for a while
        fill("m/new")
        if os.stat(at("m/new")).st_ino == number:
            os.rename(at("m/new"), at("m/" + name))
        else:
            os.unlink(at("m/new"))
            time.sleep(0.1)
    os.close(read("m/" + name, size))
    os.unlink(at("m/" + name))
assert {moved["m/" + name][2] for name in ("one", "two", "three")} == {number}, moved
"""
_END = """
os.close(kept)
os.chdir("/")
assert libc.umount2(at("m"), 0) == 0
tell("/proc/fs/nfsd/threads", "0")
"""


#: Flags of an export (NFSEXP_*) by the size of its handles: any port, no check of subtrees; and its
#: number is in the handles.
_FLAGS = {16: 0x2402, 28: 0x402}


@pytest.mark.parametrize("size", _FLAGS, ids="handles_of_{}_bytes".format)
def test_files_that_have_one_number_in_turn_on_nfs_are_several(
    daemon: Daemon, tmp_path: Path, size: int
) -> None:
    code = _NFS.replace("FLAGS", str(_FLAGS[size])).replace("SIZE", str(size))
    assert_apart(daemon, code, tmp_path, _END)


def test_programs_that_know_every_file_system_leave_the_verifier_room(daemon: Daemon) -> None:
    verified = daemon.snapshot().health["cost"]["verified_instructions"]
    assert verified < 200_000  # 0: Linux before 5.16 does not say
