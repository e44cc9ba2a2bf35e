"""Many small files read fast: how many calls are left without a file, and what the ticks cost.

Run as root: ``.venv/bin/python tests/bench/many_files.py``. The files lie in a tmpfs of a mount
namespace of our own; readers open, read and close each of them once, at a given pace.
"""

from __future__ import annotations

import argparse
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from daemon_cost import cpu_ns, pss_bytes

from pbmond import wire
from pbmond.selftest.private_daemon import Daemon, now_ns

SIZE: Final = 37
_REST_S: Final = 2

#: Makes the files, then waits for a line; a reader of each part starts on it.
_TREE = """
import os, subprocess, sys
scratch, count, size, reader = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
subprocess.run(["mount", "-t", "tmpfs", "-o", "nr_inodes=0", "tmpfs", scratch], check=True)
os.chdir(scratch)
for number in range(count):
    if number % 1000 == 0:
        os.mkdir(str(number // 1000))
    with open(f"{number // 1000}/{number}", "wb", buffering=0) as file:
        file.write(bytes(size))
print("ready", flush=True)
parts, seconds = int(sys.stdin.readline()), sys.stdin.readline().strip()
readers = [subprocess.Popen([*reader, str(count), str(part), str(parts), seconds])
           for part in range(parts)]
for each in readers:
    assert each.wait() == 0
print("read", flush=True)
sys.stdin.read()
"""
_READ = """
import os, sys, time
count, part, parts, seconds = map(int, sys.argv[1:])
mine = range(part, count, parts)
began = time.monotonic()
for done, number in enumerate(mine):
    descriptor = os.open(f"{number // 1000}/{number}", os.O_RDONLY)
    assert os.read(descriptor, 4096)
    os.close(descriptor)
    if done % 64 == 0:
        ahead = began + seconds * done / len(mine) - time.monotonic()
        if ahead > 0:
            time.sleep(ahead)
"""


@contextmanager
def tree(scratch: str, count: int) -> Iterator[subprocess.Popen[str]]:
    """Make ``count`` files of SIZE bytes in ``scratch``, seen only by the process and its readers.

    Its standard input takes the number of readers and the seconds that they are to take.
    """
    python = [sys.executable, "-I", "-S", "-c"]
    command = ["unshare", "--mount", *python, _TREE, scratch, str(count), str(SIZE)]
    with subprocess.Popen(
        [*command, *python, _READ], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.communicate()


def memlock_bytes(daemon: Daemon) -> int:
    """Return what the kernel says its maps take: the sum of memlock over the daemon's maps."""
    sizes: dict[str, int] = {}
    for file in Path(f"/proc/{daemon.process.pid}/fdinfo").iterdir():
        lines = (line.split(":", 1) for line in file.read_text().splitlines() if ":" in line)
        fields = {name: value.strip() for name, value in lines}
        if "map_id" in fields and "memlock" in fields:
            sizes[fields["map_id"]] = int(fields["memlock"])
    return sum(sizes.values())


def run(count: int, readers: int, seconds: int, interval_s: float) -> None:
    """Measure one run and print it."""
    with (
        tempfile.TemporaryDirectory() as scratch,
        tempfile.TemporaryDirectory() as run_dir,
        tree(scratch, count) as process,
        Daemon(
            Path(run_dir), interval_s=interval_s, topic=b"all/processes", exited_linger_s=10.0
        ) as daemon,
    ):
        time.sleep(_REST_S)
        rest = pss_bytes(daemon), memlock_bytes(daemon)
        before = daemon.snapshot()
        cpu, began = cpu_ns(daemon), time.monotonic()
        assert process.stdin is not None
        process.stdin.write(f"{readers}\n{seconds}\n")
        process.stdin.flush()
        messages = [before, *_until_read(daemon, process)]
        took, used = time.monotonic() - began, cpu_ns(daemon) - cpu
        _print(messages, took, used, rest, pss_bytes(daemon))


def _until_read(daemon: Daemon, process: subprocess.Popen[str]) -> Iterator[wire.Message]:
    assert process.stdout is not None
    last_ns, done = now_ns(), False
    while not done:
        done = bool(select.select([process.stdout], [], [], 0)[0])
        message = daemon.snapshot(last_ns)
        last_ns = message.now_ns
        yield message


def _print(
    messages: list[wire.Message], took: float, used_ns: int, rest: tuple[int, int], pss: int
) -> None:
    first, last = messages[0].health, messages[-1].health
    lost = {
        reason: number - first["lost"][reason]
        for reason, number in last["lost"].items()
        if number != first["lost"][reason]
    }
    most = max(message.health["maps"]["files"]["used"] for message in messages)
    print(f"took {took:.1f} s in {len(messages) - 1} snapshots; lost {lost or 'nothing'}")
    print(f"file rows at most {most:,} of {last['maps']['files']['capacity']:,}")
    resting, maps, after = (size / 1e6 for size in (*rest, pss))
    print(f"at rest: PSS {resting:.1f} MB, maps {maps:.1f} MB; after: PSS {after:.1f} MB")
    print(f"daemon CPU {100 * used_ns / 1e9 / took:.1f} % of a core", flush=True)


def main() -> int:
    """Run it as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=160_000)
    parser.add_argument("--readers", type=int, default=1)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--interval", type=float, default=1.0)
    options = parser.parse_args()
    run(options.files, options.readers, options.seconds, options.interval)
    return 0


if __name__ == "__main__":
    sys.exit(main())
