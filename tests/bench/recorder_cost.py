"""What the process ``pbmon-client record`` costs: CPU a tick, and memory as the hours go by.

It is fed the ticks of a made-up host one after the other, so an hour of them takes minutes; at
one tick a second it does the same and sleeps. Run it as ``python tests/bench/recorder_cost.py``.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
HERTZ = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """Return the CPU time of a process so far."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / HERTZ


def pss_mb(pid: int) -> float:
    """Return the proportional set size of a process in MB."""
    found = re.search(r"^Pss: +(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)
    assert found is not None
    return int(found[1]) * 1024 / 1e6


def settled_cpu_s(pid: int) -> float:
    """Return the CPU time of a process once it has nothing left to do."""
    before, now = -1.0, cpu_s(pid)
    while now != before:
        time.sleep(1)
        before, now = now, cpu_s(pid)
    return now


def measure(root: Path, ticks: int, say: int, *, build: bool = False, pause_s: float = 0) -> None:
    """Print a table: how many ticks, CPU since the line before, and memory."""
    with tempfile.TemporaryDirectory(prefix="bench-recorder-") as name:
        socket = Path(name) / "socket"
        host = [sys.executable, str(HERE / "history_daemon.py"), str(socket), str(ticks)]
        host += ["--say", str(say), *(["--build"] if build else [])]
        host += ["--every", str(pause_s)] if pause_s else []
        record = [sys.executable, "-m", "pbmon_client", "record", "--socket", str(socket)]
        record += ["--directory", f"{name}/history", "--size", "1G"]
        path = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
        pipe = subprocess.PIPE
        with subprocess.Popen(host, stdin=pipe, stdout=pipe, text=True, env=path) as daemon:
            assert daemon.stdin is not None
            assert daemon.stdout is not None
            daemon.stdout.readline()
            with subprocess.Popen(record, cwd=root) as recorder:
                last = None
                for line in daemon.stdout:
                    now = settled_cpu_s(recorder.pid)
                    # The first ticks have the start of the program in them.
                    cost = "" if last is None else f"{(now - last) / say * 100:.2f} %"
                    print(f"| {int(line)} | {cost} | {pss_mb(recorder.pid):.1f} |", flush=True)
                    last = now
                    if int(line) + say > ticks:
                        break
                    daemon.stdin.write("\n")
                    daemon.stdin.flush()
                recorder.terminate()
            daemon.kill()


def main() -> None:
    """Print tables in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ticks", type=int, default=7200)
    parser.add_argument("--build-ticks", type=int, default=1200)
    parser.add_argument(
        "--say", type=int, default=600, metavar="TICKS", help="a line after so many"
    )
    parser.add_argument("--every", type=float, default=0, metavar="SECONDS", help="pause of a tick")
    parser.add_argument("--root", type=Path, default=HERE.parents[1], help="whose recorder to run")
    given = parser.parse_args()
    if any(0 < ticks < 2 * given.say for ticks in (given.ticks, given.build_ticks)):
        parser.error(f"costs are printed from the second {given.say} ticks on: see --say")
    kinds = (("300 processes", given.ticks, False), ("build server", given.build_ticks, True))
    for what, ticks, build in kinds:
        if ticks:
            print(f"\n| {what}: ticks | of a core | PSS, MB |\n|---:|---:|---:|")
            measure(given.root, ticks, given.say, build=build, pause_s=given.every)


if __name__ == "__main__":
    main()
