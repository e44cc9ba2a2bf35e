"""What the store of the past costs: a week of a host on disk, recording a tick, and asking.

Asking is measured in this process, and of the server, ``pbmon-client history serve``.

Run it as ``python tests/bench/bench_history.py``; it needs no root. It takes about a quarter of an
hour, as it records a week: its last six hours in ticks of a second, the rest in ticks of ten
seconds, since of those no finer tier is kept. ``--days 1`` records less. ``--directory DIR`` keeps
it, and asks the same days again if they are there. ``recorder_cost.py`` has what the recorder's
process costs.
"""

from __future__ import annotations

import argparse
import os
import resource
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from history_host import Host
from recorder_cost import HERTZ, cpu_s, pss_mb

from pbmon_client.data.model import Selection
from pbmon_client.history.past import Past
from pbmon_client.history.remote import RemotePast
from pbmon_client.history.segments import holds_store
from pbmon_client.history.writer import HistoryWriter
from pbmon_client.tui import time_travel
from pbmon_client.tui.app import App
from pbmon_client.tui.feed.messages import FeedRequest, MailboxSource
from pbmon_client.tui.feed.past import OpenPast, PastFeed
from pbmon_client.tui.session.settings import Settings
from pbmond.wire import Message

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests import past_host

DAY = 86_400
#: Processes, and not even how many connections and files they have.
ALONE: dict[str, Any] = {"flows": False, "counts": False}
FINE = 6 * 3600
#: So long the server is watched while nobody asks, and so often each question is asked.
IDLE_S, ASKED = 10, 30


def recorded(directory: Path, host: Host, seconds: int) -> tuple[int, list[float]]:
    """Record some seconds up to now; return when they began, and the cost of each tick."""
    began = past_host.MONDAY
    costs = []
    with HistoryWriter(directory, sync=False) as writer:
        at = began
        while at < began + seconds:
            step = 1 if at >= began + seconds - FINE else 10
            at += step
            tick = host.tick(step, at)
            start = time.process_time()
            writer.tick(tick)
            costs.append(time.process_time() - start)
    return began, costs


def timed(name: str, directory: Path, ask: Callable[[Past], Any], times: int = 7) -> None:
    """Print what a question costs a new reader, and one that has its index already."""
    fresh, again = [], []
    for _ in range(times):
        start = time.process_time()
        past = Past(directory)
        ask(past)
        fresh.append(time.process_time() - start)
        start = time.process_time()
        ask(past)
        again.append(time.process_time() - start)
    middle = times // 2
    print(f"| {name} | {sorted(fresh)[middle] * 1e3:.1f} | {sorted(again)[middle] * 1e3:.1f} |")


def main() -> None:
    """Record, ask, and print tables in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=float, default=7)
    parser.add_argument("--build-minutes", type=int, default=10)
    parser.add_argument("--directory", type=Path)
    options = parser.parse_args()
    seconds = int(options.days * DAY)
    began, end = past_host.MONDAY, past_host.MONDAY + seconds
    with tempfile.TemporaryDirectory(prefix="bench-history-") as name:
        directory = options.directory or Path(name) / "server"
        if not (directory.is_dir() and holds_store(directory)):
            print_recorded(directory, seconds)
        middle = began + seconds // 2 // 3600 * 3600 + 600
        places = {"of 1 s": end - 4000, "of 10 s": middle}
        print_asked(directory, began, end, middle)
        print_steps(lambda: Past(directory), places)
        print_served(directory, began, end, places)
        if options.build_minutes:
            build = Host(build=True)
            _began, costs = recorded(Path(name) / "build", build, options.build_minutes * 60)
            print(f"\nbuild server: a tick costs {np.mean(costs) * 1e3:.2f} ms of CPU")


def print_recorded(directory: Path, seconds: int) -> None:
    """Record, and print how large it is and what a tick costs."""
    _began, costs = recorded(directory, Host(), seconds)
    fine = costs[-FINE:]
    print("| tier | MB |\n|---|---:|")
    for tier in Past(directory).kept().tiers:
        print(f"| {tier.width} s | {tier.size / 1e6:.1f} |")
    files = sum(each.stat().st_size for each in directory.iterdir())
    print(f"| all of {seconds / DAY:g} days | {files / 1e6:.1f} |\n")
    worst = sorted(fine)[-len(fine) // 100]
    print(f"recording a tick: {np.mean(fine) * 1e3:.2f} ms of CPU, 99 of 100: {worst * 1e3:.1f}")
    print(f"peak memory with the generator: {rss():.0f} MB\n")


def print_asked(directory: Path, began: int, end: int, middle: int) -> None:
    """Print what questions cost, in Markdown."""
    print("| question | new reader, ms of CPU | again, ms of CPU |\n|---|---:|---:|")
    timed("top 20 of five minutes", directory, lambda p: p.message(middle, middle + 300, top=20))
    unit = {"unit": b"app-00.service"}
    timed("a unit by hour, all", directory, lambda p: p.series(began, end, 3600, unit))
    timed("top 20 of all", directory, lambda p: p.message(began, end, top=20, **ALONE))
    timed("top 20 of all, with flows", directory, lambda p: p.message(began, end, top=20))
    timed("all rows of a day", directory, lambda p: p.message(end - DAY, end))
    print_commands(directory, began, end, middle)
    timed("a frame of 10 s", directory, lambda p: p.frame(middle))
    timed("a frame of 1 s", directory, lambda p: p.frame(end - 4000))
    timed("what is kept", directory, lambda p: p.kept())


def print_commands(directory: Path, began: int, end: int, middle: int) -> None:
    """Print what questions cost as the command asks them: for one row more than it shows."""
    timed("--json --since -1d --view units --step 1h", directory, lambda p: by_hour(p, end - DAY))
    once, json = "--once --since -7d --top 20", "--json --since -7d --top 20"
    timed(once, directory, lambda p: p.message(began, end, top=21, **ALONE))
    timed(json, directory, lambda p: p.message(began, end, top=21, flows=False))
    once = "--once --since 03:10 --until 03:15 --top 20"
    timed(once, directory, lambda p: p.message(middle, middle + 300, top=21, **ALONE))


def by_hour(past: Past, began: int) -> list[Message]:
    """Return the messages of a day in steps of an hour, with how many flows processes have."""
    return [past.message(at, at + 3600, flows=False) for at in range(began, began + DAY, 3600)]


class Present(MailboxSource):
    """A present in which nothing happens."""

    def request(self, request: FeedRequest) -> None:
        """Need nothing."""

    def close(self) -> None:
        """Close the descriptors."""
        self._mailbox.close()


def steps(
    open_past: OpenPast, at: int, key: str = "]", times: int = 30
) -> list[tuple[float, float]]:
    """Return the seconds from a key press to the drawn step, and the processor's of all threads."""
    app = App(Settings(), wall=lambda: float(at + DAY))
    feed = PastFeed(Present(), open_past, Selection())
    time_travel.go(app.state, at)
    costs = []
    for number in range(times + 1):
        start, cpu = time.perf_counter(), time.process_time()
        if number:
            app.key(key, start)
        app.draw(200, 50, start)
        feed.request(app.request())
        before = app.state.past_shown
        while app.state.past_shown is before:
            select.select([feed.fd], [], [])
            for news in feed.news():
                app.receive(news, start)
        app.draw(200, 50, start)
        costs.append((time.perf_counter() - start, time.process_time() - cpu))
    feed.close()
    return costs[1:]  # the first opens the store


def print_steps(open_past: OpenPast, places: dict[str, int]) -> None:
    """Print how long a step of the terminal interface takes, in Markdown."""
    print("\n| step of the interface, 200 x 50 | median, ms | longest of 30, ms |\n|---|---:|---:|")
    for name, at in places.items():
        both = zip(("", ", CPU"), zip(*steps(open_past, at), strict=True), strict=True)
        for what, costs in both:
            middle = sorted(costs)[len(costs) // 2]
            print(f"| {name}{what} | {middle * 1e3:.1f} | {max(costs) * 1e3:.1f} |")


@contextmanager
def served(directory: Path) -> Iterator[tuple[int, Path]]:
    """Run the server of a directory; give its process id and its socket."""
    with tempfile.TemporaryDirectory(prefix="bench-served-") as name:
        listen = Path(name) / "socket"
        command = [sys.executable, "-m", "pbmon_client", "history", "serve"]
        command += ["--directory", str(directory), "--listen", str(listen)]
        path = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        with subprocess.Popen(command, env=path) as server:
            while not listen.is_socket():
                time.sleep(0.05)
            try:
                yield server.pid, listen
            finally:
                server.terminate()


def print_served(directory: Path, began: int, end: int, places: dict[str, int]) -> None:
    """Print what the server costs while nobody asks, and what questions through it take."""
    with served(directory) as (pid, listen):
        start = cpu_s(pid)
        time.sleep(IDLE_S)
        print("\n| history serve | |\n|---|---:|")
        print(f"| idle, of a core | {(cpu_s(pid) - start) / IDLE_S:.2%} |")
        print(f"| PSS before it was asked, MB | {pss_mb(pid):.1f} |")
        print("\n| question of the server | median, ms | server's CPU, ms |\n|---|---:|---:|")
        past = RemotePast(listen)
        questions: dict[str, Callable[[], object]] = {
            "top 20 of all": lambda: past.message(began, end, top=20, **ALONE),
            "top 20 of all, with flows": lambda: past.message(began, end, top=20),
            "a frame of 1 s": lambda: past.frame(end - 4000),
            "what is kept": past.kept,
        }
        for name, ask in questions.items():
            walls, cpu = [], children_cpu_s(pid)
            for _ in range(ASKED):
                asked = time.perf_counter()
                ask()
                walls.append(time.perf_counter() - asked)
            cost = (children_cpu_s(pid) - cpu) / ASKED
            print(f"| {name} | {sorted(walls)[ASKED // 2] * 1e3:.1f} | {cost * 1e3:.1f} |")
        print(f"\nPSS of the server then: {pss_mb(pid):.1f} MB. Through it:")
        print_steps(lambda: RemotePast(listen), places)


def children_cpu_s(pid: int) -> float:
    """Return the CPU time of a process and of its children that have ended."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, words[11:15])) / HERTZ


def rss() -> float:
    """Return the peak of this process's resident memory in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
