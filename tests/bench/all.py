"""Runs every benchmark, one after the other, and prints what the README quotes, as Markdown.

Run as root, with nothing else going on: ``.venv/bin/python tests/bench/all.py``. Half an hour.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import bench

BENCHES = {
    "app_cost.py": "What applications lose",
    "probe_cost.py": "Added to a system call",
    "daemon_cost.py": "The daemon",
    "scale.py": "The daemon at scale",
    "bench_tui.py": "The terminal interface",
    "bench_web.py": "The web server and its page",
}


def main() -> int:
    """Print all tables and verdicts; the exit status is 1 if a figure is missed."""
    print(bench.machine(), flush=True)
    status = 0
    for program, title in BENCHES.items():
        print(f"\n**{title}**\n", flush=True)
        command = [sys.executable, str(Path(__file__).with_name(program))]
        status |= subprocess.run(command, check=False).returncode
    return status


if __name__ == "__main__":
    sys.exit(main())
