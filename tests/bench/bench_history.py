"""What the store of the past costs: a week of a host on disk, recording a tick, and asking.

Run it as ``python tests/bench/bench_history.py``; it needs no root. It takes about a quarter of an
hour, as it records a week: its last six hours in ticks of a second, the rest in ticks of ten
seconds, since of those no finer tier is kept. ``--days 1`` records less. ``recorder_cost.py`` has
what the recorder's process costs.
"""

from __future__ import annotations

import argparse
import resource
import select
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from history_host import Host

from pbmon_client.data.model import Selection
from pbmon_client.history.past import Past
from pbmon_client.history.writer import HistoryWriter
from pbmon_client.tui import time_travel
from pbmon_client.tui.app import App
from pbmon_client.tui.feed.messages import FeedRequest, MailboxSource
from pbmon_client.tui.feed.past import PastFeed
from pbmon_client.tui.session.settings import Settings

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests import past_host

DAY = 86_400
FINE = 6 * 3600


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
    options = parser.parse_args()
    seconds = int(options.days * DAY)
    with tempfile.TemporaryDirectory(prefix="bench-history-") as name:
        directory = Path(name) / "server"
        began, costs = recorded(directory, Host(), seconds)
        end = began + seconds
        fine = costs[-FINE:]
        print("| tier | MB |\n|---|---:|")
        for tier in Past(directory).kept().tiers:
            print(f"| {tier.width} s | {tier.size / 1e6:.1f} |")
        files = sum(each.stat().st_size for each in directory.iterdir())
        print(f"| all of {options.days:g} days | {files / 1e6:.1f} |\n")
        worst = sorted(fine)[-len(fine) // 100]
        print(
            f"recording a tick: {np.mean(fine) * 1e3:.2f} ms of CPU, 99 of 100: {worst * 1e3:.1f}"
        )
        print(f"peak memory with the generator: {rss():.0f} MB\n")
        middle = began + seconds // 2 // 3600 * 3600 + 600
        print("| question | new reader, ms of CPU | again, ms of CPU |\n|---|---:|---:|")
        timed(
            "top 20 of five minutes", directory, lambda p: p.message(middle, middle + 300, top=20)
        )
        unit = {"unit": b"app-00.service"}
        timed("a unit by hour, all", directory, lambda p: p.series(began, end, 3600, unit))
        timed("top 20 of all", directory, lambda p: p.message(began, end, top=20, flows=False))
        timed("top 20 of all, with flows", directory, lambda p: p.message(began, end, top=20))
        timed("all rows of a day", directory, lambda p: p.message(end - DAY, end))
        timed("a frame of 10 s", directory, lambda p: p.frame(middle))
        timed("a frame of 1 s", directory, lambda p: p.frame(end - 4000))
        timed("what is kept", directory, lambda p: p.kept())
        print_steps(directory, {"of 1 s": end - 4000, "of 10 s": middle})
        _began, costs = recorded(Path(name) / "build", Host(build=True), options.build_minutes * 60)
        print(f"\nbuild server: a tick costs {np.mean(costs) * 1e3:.2f} ms of CPU")


class Present(MailboxSource):
    """A present in which nothing happens."""

    def request(self, request: FeedRequest) -> None:
        """Need nothing."""

    def close(self) -> None:
        """Close the descriptors."""
        self._mailbox.close()


def steps(directory: Path, at: int, key: str = "]", times: int = 30) -> list[tuple[float, float]]:
    """Return the seconds from a key press to the drawn step, and the processor's of all threads."""
    app = App(Settings(), wall=lambda: float(at + DAY))
    feed = PastFeed(Present(), lambda: Past(directory), Selection())
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


def print_steps(directory: Path, places: dict[str, int]) -> None:
    """Print how long a step of the terminal interface takes, in Markdown."""
    print("\n| step of the interface, 200 x 50 | median, ms | longest of 30, ms |\n|---|---:|---:|")
    for name, at in places.items():
        both = zip(("", ", CPU"), zip(*steps(directory, at), strict=True), strict=True)
        for what, costs in both:
            middle = sorted(costs)[len(costs) // 2]
            print(f"| {name}{what} | {middle * 1e3:.1f} | {max(costs) * 1e3:.1f} |")


def rss() -> float:
    """Return the peak of this process's resident memory in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
