"""A file is one file: where one inode number means several, and where one file is met again.

More of this is in the self-test's programs (identities.py), which run on every kernel.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fuse import SERVE
from processes import Row

from pbmond.fields import OPEN
from pbmond.patience import patient
from pbmond.selftest.compare import device_of
from pbmond.selftest.private_daemon import Daemon

#: In a mount namespace of its own. `moved` remembers what stat says of a file that it read.
_BEGIN = """
import ctypes, json, os, struct, subprocess, sys
libc = ctypes.CDLL(None, use_errno=True)
top = os.fsencode(sys.argv[1])
def at(name):
    return os.path.join(top, os.fsencode(name))
def mount(kind, source, target, data="", flags=0):
    os.makedirs(at(target), exist_ok=True)
    if libc.mount(os.fsencode(source), at(target), os.fsencode(kind), flags, os.fsencode(data)):
        raise OSError(ctypes.get_errno(), "mount")
def fill(name):
    with open(at(name), "wb", 0) as file:
        file.truncate(100_000)
def read(name, size):
    fd = os.open(at(name), os.O_RDONLY)
    assert len(os.read(fd, size)) == size
    status = os.fstat(fd)
    moved[name] = size, status.st_dev, status.st_ino
    return fd
def run(*words):
    return subprocess.check_output(words, text=True).strip()
moved = {}
assert libc.unshare(0x20000) == 0
assert libc.mount(b"none", b"/", None, 0x44000, None) == 0
"""
_END = """
print(json.dumps([os.getpid(), moved]), flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    # Whatever else reads files on this machine has rows, too.
    with Daemon(tmp_path_factory.mktemp("run"), capacity=1 << 19) as running:
        yield running


@contextmanager
def living(code: str, top: Path, end: str = "") -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Run ``code`` until the end of the block; return its pid and what it moved, by name."""
    command = [sys.executable, "-I", "-S", "-c", _BEGIN + code + _END + end, str(top)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        line = running.stdout.readline()
        assert line, "the program failed"
        yield json.loads(line)
        running.stdin.close()
    assert running.returncode == 0


def rows_when(
    daemon: Daemon, pid: int, top: Path, done: Callable[[Mapping[str, Row]], bool]
) -> Mapping[str, Row]:
    """Return the rows of a process below ``top`` by name, once they are ``done``."""
    deadline = time.monotonic() + patient(60.0)
    while True:
        message = daemon.snapshot()
        assert message.files is not None
        ours = [
            row
            for row in message.files.rows()
            if row["pid"] == pid and (row["path"] or b"").startswith(bytes(top) + b"/")
        ]
        named = {row["path"].decode().removeprefix(f"{top}/"): row for row in ours}
        assert len(named) == len(ours), [row["path"] for row in ours]
        if done(named):
            return named
        assert time.monotonic() < deadline, [
            (name, row["open"], row["read_bytes"], row["device"]) for name, row in named.items()
        ]


def assert_apart(
    daemon: Daemon, code: str, top: Path, end: str = "", *, alike: bool = False
) -> None:
    """The files that ``code`` reads have rows of their own, and the first alone is open.

    ``alike``: to stat they are one, so that all are said to be open.
    """
    with living(code, top, end) as (pid, moved):
        first, *others = moved
        wanted = {first: True} | dict.fromkeys(others, alike)

        def told(rows: Mapping[str, Row]) -> bool:
            return {name: OPEN[row["open"]] for name, row in rows.items()} == wanted

        rows = rows_when(daemon, pid, top, told)
        found = {
            name: [row["read_bytes"], device_of(row), row["inode"]] for name, row in rows.items()
        }
    assert found == moved


_TWO_LAYERS = """
for layer, name in ("first", "one"), ("second", "two"):
    mount("tmpfs", "none", layer)
    fill(f"{layer}/{name}")
mount("overlay", "none", "m", f"lowerdir={sys.argv[1]}/first:{sys.argv[1]}/second")
kept = read("m/one", 5000)
os.close(read("m/two", 7000))
assert moved["m/one"][2] == moved["m/two"][2]
"""


def test_overlay_layers_with_one_inode_number_are_two_files(daemon: Daemon, tmp_path: Path) -> None:
    assert_apart(daemon, _TWO_LAYERS, tmp_path)


_UPPER = """
for name in ("l", "u", "w"):
    os.mkdir(at(name))
fill("l/lower")
fill("l/raised")
data = "lowerdir={0}/l,upperdir={0}/u,workdir={0}/w".format(sys.argv[1])
mount("overlay", "none", "m", data)
fill("m/upper")
kept = read("m/upper", 5000)
os.close(read("m/lower", 7000))
os.close(os.open(at("m/raised"), os.O_RDWR))
os.close(read("m/raised", 9000))
"""


def test_overlay_files_show_what_stat_shows(daemon: Daemon, tmp_path: Path) -> None:
    assert_apart(daemon, _UPPER, tmp_path)


_BTRFS = """
fill("image")
os.truncate(at("image"), 120 << 20)
run("mkfs.btrfs", "-q", at("image"))
os.mkdir(at("m"))
run("mount", "-o", "loop", at("image"), at("m"))
run("btrfs", "subvolume", "create", at("m/one"))
fill("m/one/data")
run("btrfs", "subvolume", "snapshot", at("m/one"), at("m/two"))
kept = read("m/one/data", 5000)
os.close(read("m/two/data", 7000))
assert moved["m/one/data"][2] == moved["m/two/data"][2]
"""


@pytest.mark.skipif(not shutil.which("mkfs.btrfs"), reason="no btrfs-progs")
def test_a_file_and_its_copy_in_a_btrfs_snapshot_are_two(daemon: Daemon, tmp_path: Path) -> None:
    if "btrfs" not in Path("/proc/filesystems").read_text():
        pytest.skip("no btrfs")
    assert_apart(daemon, _BTRFS, tmp_path)


#: A FUSE server that gives the files of its folder, nodes 2 and 3, one inode number.
_FUSE = (
    """
device = os.open("/dev/fuse", os.O_RDWR)
owner = OWNER
data = f"fd={device},rootmode=40000,user_id={owner},group_id={owner}"
mount("fuse", "none", "m", data)
def attributes(node):
    mode, number = (0o40755, 1) if node == 1 else (0o100644, 77)
    return struct.pack("=6Q10I", number, 100_000, 200, 0, 0, 0, 0, 0, 0, mode, 1, owner, owner,
                       0, 4096, 0)
def answer(opcode, node, body):
    if opcode == 26:  # INIT
        return struct.pack("=4I2H2I2H8I", 7, 31, 65536, 0, 9, 9, 65536, 1, 16, *[0] * 9)
    if opcode == 1:  # LOOKUP
        node = {b"one": 2, b"two": 3}[body.rstrip(bytes(1))]
        return struct.pack("=4Q2I", node, 0, 60, 60, 0, 0) + attributes(node)
    if opcode == 3:  # GETATTR
        return struct.pack("=Q2I", 60, 0, 0) + attributes(node)
    if opcode == 14:  # OPEN
        return struct.pack("=Q2I", node, 0, 0)
    if opcode == 15:  # READ
        return bytes(struct.unpack_from("=QQI", body)[2])
    return b"" if opcode in (18, 25) else None  # RELEASE, FLUSH
"""
    + SERVE
    + """
os.setresgid(owner, owner, owner)
os.setresuid(owner, owner, owner)
kept = read("m/one", 5000)
os.close(read("m/two", 7000))
"""
)
_STOP_SERVER = """
os.close(kept)
os.kill(server, 9)
"""


@pytest.mark.skipif(not Path("/dev/fuse").exists(), reason="no FUSE")
@pytest.mark.parametrize("owner", [0, 65534], ids=["root", "another_user"])
def test_fuse_files_with_one_inode_number_are_two(
    daemon: Daemon, tmp_path: Path, owner: int
) -> None:
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    end = _STOP_SERVER if owner == 0 else ""
    assert_apart(daemon, _FUSE.replace("OWNER", str(owner)), tmp_path, end, alike=True)


_MOUNTED_AGAIN = """
fill("image")
os.truncate(at("image"), 8 << 20)
run("mkfs.ext4", "-q", at("image"))
loop = run("losetup", "--find", "--show", at("image"))
mount("ext4", loop, "m")
fill("m/data")
for size in (5000, 7000):
    os.close(read("m/data", size))
    assert libc.umount2(at("m"), 0) == 0
    mount("tmpfs", "none", f"other{size}")
    mount("ext4", loop, "m")
moved["m/data"] = 12000, *moved["m/data"][1:]
kept = os.open(at("m/data"), os.O_RDONLY)
run("losetup", "--detach", loop)
"""


@pytest.mark.skipif(not shutil.which("mkfs.ext4"), reason="no e2fsprogs")
def test_a_file_system_that_is_mounted_again_has_the_same_files(
    daemon: Daemon, tmp_path: Path
) -> None:
    if not Path("/dev/loop-control").exists():
        pytest.skip("no loop devices")
    assert_apart(daemon, _MOUNTED_AGAIN, tmp_path)


_ANOTHER_IMAGE = """
fill("kept")
kept = read("kept", 10)
os.mkdir(at("m"))
for name, size in ("one", 5000), ("two", 7000):
    fill("image " + name)
    os.truncate(at("image " + name), 120 << 20)
    FORMAT
    run("mount", "-o", "loop", at("image " + name), at("m"))
    if not os.path.exists(at("m/" + name)):
        fill("m/" + name)
    os.close(read("m/" + name, size))
    run("umount", at("m"))
assert moved["m/one"][2] == moved["m/two"][2]
"""
#: Copied into the image, a file has generation 0; made there, that of a first transaction.
_FORMATS = {
    "mkfs.ext4": """
    os.mkdir(at("in " + name))
    fill(f"in {name}/{name}")
    run("mkfs.ext4", "-q", "-d", at("in " + name), at("image " + name))
""",
    "mkfs.btrfs": """
    run("mkfs.btrfs", "-q", at("image " + name))
""",
}


@pytest.mark.parametrize("tool", _FORMATS)
def test_files_of_one_image_after_another_in_a_loop_device_are_two(
    daemon: Daemon, tmp_path: Path, tool: str
) -> None:
    if not shutil.which(tool) or not Path("/dev/loop-control").exists():
        pytest.skip(f"no {tool}, or no loop devices")
    if tool.removeprefix("mkfs.") not in Path("/proc/filesystems").read_text():
        pytest.skip(f"no file system for {tool}")
    assert_apart(daemon, _ANOTHER_IMAGE.replace("FORMAT", _FORMATS[tool].strip()), tmp_path)


_FUSE_AGAIN = """
fill("kept")
kept = read("kept", 10)
for again, size in ("one", 5000), ("two", 7000):
    SERVER
    os.close(read("m/" + again, size))
    assert libc.umount2(at("m"), 0) == 0
    os.kill(server, 9)
    os.waitpid(server, 0)
    os.close(device)
"""


@pytest.mark.skipif(not Path("/dev/fuse").exists(), reason="no FUSE")
def test_files_of_one_fuse_server_after_another_are_two(daemon: Daemon, tmp_path: Path) -> None:
    # Both servers have one file, whatever it is called: node 2, inode 77.
    server = _FUSE.replace("OWNER", "0").replace('b"two": 3', 'b"two": 2')
    server = server.partition("os.setresgid")[0].replace("\n", "\n    ")
    assert_apart(daemon, _FUSE_AGAIN.replace("SERVER", server), tmp_path)
