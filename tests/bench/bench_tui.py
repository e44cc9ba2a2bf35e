"""What the terminal interface costs: start, key presses, processor time, memory.

Run it as ``python tests/bench/bench_tui.py``; it needs neither root nor a daemon, and takes three
minutes. The client runs in a terminal of its own, fed by a publisher in another process.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import bench
from bench import Verdict

from pbmond.patience import patient

FOLDER = Path(__file__).parent
COLUMNS, LINES = 200, 50
LARGE = (10_000, 100_000)
SMALL = (200, 1_000)
PATIENCE_S = patient(30.0)
#: Keys, and what the screen shows once each was drawn. After "/" the letters of a filter;
#: several at once are as if they were pasted.
KEYS: Sequence[tuple[str, str]] = (
    ("2", "PROGRAM"), ("1", "PID.*USER"), ("5", "LOCAL"), ("6", "REMOTE HOST"), ("7", "PROTOCOL"),
    ("8", "PATH"), ("5", "LOCAL"), ("s", "▼ pid"), ("s", "▲ name"), ("r", "▼ name"),
    ("S", "▼ pid"), ("S", "▼ busiest"), ("a", "bytes total"), ("a", "bytes/s"),
    ("b", "bits/s"), ("b", "bytes/s"), ("/", "filter:"), ("w", "filter: .*w"), ("o", "wo"),
    ("r", "wor"), ("\x1b", "help"), ("j", "── "), ("j", "── "), ("?", "row up"), ("q", "worker"),
    ("/", "filter:"), ("remote_address in 198.18.0.0/", "0/"), ("2", "0/2"), ("0", "0/20"),
    ("\x1b", "help"), ("9", "├"), ("3", "UID"), ("1", "PID.*USER"), ("j", "── "), ("j", "── "),
    ("G", "── "),
)  # fmt: skip


@contextmanager
def publisher(
    size: tuple[int, int], path: Path, scope: str = "all", every_s: float = 1.0
) -> Iterator[None]:
    """Run a publisher of ``size`` processes and flows; one of its seconds takes ``every_s``."""
    command = [sys.executable, str(FOLDER / "large_publisher.py"), str(path), *map(str, size)]
    command += ["--scope", scope, "--every", str(every_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield
        finally:
            process.kill()
            path.unlink(missing_ok=True)


class Client:
    """pbmon-client in a terminal."""

    def __init__(self, socket: Path, *arguments: str) -> None:
        self.began_s = time.perf_counter()
        self.pid, self._terminal = pty.fork()
        if not self.pid:
            os.environ |= {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8",
                           "XDG_CONFIG_HOME": str(socket.parent)}  # fmt: skip
            command = [sys.executable, "-m", "pbmon_client", "--socket", str(socket), *arguments]
            os.execv(sys.executable, command)
        size = struct.pack("HHHH", LINES, COLUMNS, 0, 0)
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, size)

    def until(self, pattern: str) -> float:
        """Read until the pattern was written; return the time."""
        wanted = re.compile(pattern)
        drawn = ""
        deadline = time.perf_counter() + PATIENCE_S
        while time.perf_counter() < deadline:
            if select.select([self._terminal], [], [], 0.1)[0]:
                drawn += os.read(self._terminal, 1 << 20).decode("utf-8", "replace")
                if wanted.search(drawn):
                    return time.perf_counter()
        raise SystemExit(f"{pattern!r} was not drawn: {drawn[-2000:]!r}")

    def drain(self, seconds: float) -> None:
        """Read whatever is written for a while."""
        deadline = time.perf_counter() + seconds
        while (left := deadline - time.perf_counter()) > 0:
            if select.select([self._terminal], [], [], left)[0]:
                os.read(self._terminal, 1 << 20)

    def press(self, key: str, pattern: str) -> float:
        """Press a key; return the seconds until it was drawn."""
        self.drain(0)
        began_s = time.perf_counter()
        os.write(self._terminal, key.encode())
        return self.until(pattern) - began_s

    def cpu_s(self) -> float:
        """Return the processor time used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_bytes().rpartition(b")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_bytes(self) -> int:
        """Return the memory in use."""
        fields = Path(f"/proc/{self.pid}/statm").read_text().split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")

    def close(self) -> None:
        """End it."""
        os.kill(self.pid, signal.SIGTERM)
        with suppress(OSError):  # the terminal goes with the client
            self.drain(0.5)
        os.close(self._terminal)
        os.waitpid(self.pid, 0)


@contextmanager
def client(socket: Path, *arguments: str) -> Iterator[Client]:
    """Run a client that has drawn its first snapshot."""
    running = Client(socket, *arguments)
    try:
        running.until("worker-")
        yield running
    finally:
        running.close()


def start_ms(socket: Path, tries: int) -> float:
    """Return how long it takes from the start to the first drawn row."""
    taken = []
    for _ in range(tries):
        running = Client(socket)
        taken.append((running.until("worker-") - running.began_s) * 1000)
        running.close()
    return bench.median(taken)


def keys_ms(socket: Path, rounds: int) -> list[tuple[float, str]]:
    """Return how long each key press takes to be drawn, while snapshots come."""
    taken = []
    with client(socket, "--view", "connections") as running:
        running.drain(5)  # the flows come, and the filter's parser is loaded
        for _ in range(rounds):
            for key, pattern in KEYS:
                taken.append((running.press(key, pattern) * 1000, key))
                # Past the time in which a lone Esc could begin a sequence; and at every phase of
                # the publisher's second.
                running.drain(0.27)
    return taken


def processor_percent(socket: Path, seconds: float, *arguments: str) -> tuple[float, int]:
    """Return the share of a core that an open client uses, and its memory in bytes."""
    with client(socket, *arguments) as running:
        running.drain(4)
        before, began_s = running.cpu_s(), time.perf_counter()
        running.drain(seconds)
        used = running.cpu_s() - before
        return 100 * used / (time.perf_counter() - began_s), running.rss_bytes()


def growth_bytes(snapshots: int) -> int:
    """Return what an hour's snapshots leave behind, with processes that come and go."""
    code = f"import grow; grow.main({snapshots})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=FOLDER, capture_output=True, text=True, check=True
    )
    return int(done.stdout)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="of measured processor time")
    parser.add_argument("--rounds", type=int, default=8, help="of all keys")
    given = parser.parse_args()
    verdicts = []
    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder) / "daemon.sock"
        with publisher(SMALL, socket):
            first = start_ms(socket, 7)
            small, small_rss = processor_percent(socket, given.seconds)
        with publisher(SMALL, socket, "own"):
            own = start_ms(socket, 7)
        with publisher(LARGE, socket):
            large, large_rss = processor_percent(socket, given.seconds)
            flows, flows_rss = processor_percent(socket, given.seconds, "--view", "connections")
            keys = keys_ms(socket, given.rounds)
    worst, key = max(keys)
    times = sorted(taken for taken, _key in keys)
    verdicts = [
        Verdict("start to first drawn data", first, 300, "ms"),
        Verdict("the same where only the own processes are granted", own, 300, "ms"),
        Verdict("key press drawn, median", bench.median(times), 50, "ms"),
        Verdict("key press drawn, 95 of 100", times[len(times) * 95 // 100], 50, "ms"),
        Verdict("key press drawn, 99 of 100", times[len(times) * 99 // 100], 50, "ms"),
        Verdict(f"key press drawn, slowest of {len(times)} ({key!r})", worst, 50, "ms"),
        Verdict("processor at 200 processes", small, 3, "% of a core"),
        Verdict("processor at 10,000 processes", large, 15, "% of a core"),
        Verdict("processor at 10,000 processes, 100,000 flows", flows, 15, "% of a core"),
        Verdict("growth over an hour", growth_bytes(3600) / 1e6, 1, "MB"),
    ]
    text = f"{bench.machine()}\nmemory: {small_rss / 1e6:.0f} MB at 200 processes, "
    text += f"{large_rss / 1e6:.0f} MB at 10,000, "
    text += f"{flows_rss / 1e6:.0f} MB with 100,000 flows"
    return bench.report(text, verdicts)


if __name__ == "__main__":
    sys.exit(main())
