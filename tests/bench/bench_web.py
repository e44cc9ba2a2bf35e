"""What the web server and its page cost: processor time, memory, bytes, and how fast they answer.

Run it as ``python tests/bench/bench_web.py``; it needs neither root nor a daemon, but the page as
built and a browser, and takes ten minutes. ``--no-browser`` leaves those figures out.
"""

from __future__ import annotations

import argparse
import gzip
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import bench
import httpx2
from bench import Verdict
from bench_tui import LARGE, SMALL, publisher
from web_viewers import PATIENCE_S, Server, Viewer, answers_ms, crowd_elsewhere, server, viewers

ASSETS: Final = Path(__file__).parents[2] / "pbmon_client" / "web" / "page" / "dist" / "assets"
#: What the page asks for on a screen of usual size.
WINDOW: Final = {"window": {"first": 0, "count": 50}}
SORTS: Final = (
    *("pid", "name", "user", "net_rx", "net_tx", "file_read", "file_write"),
    *("disk_read", "unit", "busiest"),
)
#: Thirty people: half look at what the page opens with, the others have a sort order or a filter
#: of their own.
CROWD: Final[Sequence[dict[str, Any]]] = [
    *({} for _ in range(15)),
    *({"sort": name} for name in SORTS[:8]),
    *({"filter": f"worker-{number}"} for number in range(7)),
]
#: Longer than the publisher's second, and so at every phase of it.
_BETWEEN_SCRAPES_S: Final = 1.037
_SCRAPES: Final = 20
#: The publisher's second, in the browser's hour.
_FAST_S: Final = 0.05
_HOUR: Final = 3600
#: Until the charts are full and the engine has compiled what it compiles.
_SETTLE_S: Final = 120


def percentile(values: Sequence[float], percent: int) -> float:
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]


def ready(running: Server) -> None:
    """Wait for the first snapshot."""
    end_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < end_s:
        answer = httpx2.get(
            f"{running.origin}/api/v1/processes?top=1", headers=running.bearer, timeout=PATIENCE_S
        )
        if answer.status_code == 200:
            return
    raise SystemExit(f"no snapshot came: {answer.text}")


def sort_wishes(count: int) -> list[dict[str, Any]]:
    return [{"sort": SORTS[at % len(SORTS)], "reverse": at % 3 == 0} for at in range(count)]


def one_viewer(path: Path, seconds: float, requests: int) -> list[Verdict]:
    """Measure a server with one viewer of the processes."""
    with server(path) as running:
        ready(running)
        with viewers(running.address, [WINDOW]) as (viewer,):
            time.sleep(3)
            ticks, received = viewer.ticks, viewer.received
            used = running.percent(seconds)
            a_tick = (viewer.received - received) / max(1, viewer.ticks - ticks)
            memory = running.rss_bytes() / 1e6
            before = running.cpu_s()
            taken = answers_ms(viewer, sort_wishes(requests), 0.073)
            each_ms = (running.cpu_s() - before) / requests * 1000
        metrics = _metrics(running, running.percent(seconds))
    return [
        Verdict("one viewer, processor", used, 3, "% of a core"),
        Verdict("one viewer, memory", memory, 100, "MB"),
        Verdict("one viewer, on the wire", a_tick / 1000, 10, "kB a tick"),
        Verdict("sort request, 99 of 100", percentile(taken, 99), 50, "ms"),
        Verdict("sort request, processor, ticks included", each_ms, 50, "ms each"),
        *metrics,
    ]


def flows_viewer(path: Path, seconds: float) -> str:
    """Measure a server with one viewer of the connections, which has no limit of its own."""
    wish = WINDOW | {"view": "connections"}
    with server(path) as running, viewers(running.address, [wish]) as (viewer,):
        time.sleep(3)
        ticks, received = viewer.ticks, viewer.received
        used = running.percent(seconds)
        a_tick = (viewer.received - received) / max(1, viewer.ticks - ticks)
        memory = running.rss_bytes() / 1e6
    return (
        f"one viewer of the connections: {used:.1f} % of a core, {memory:.0f} MB, "
        f"{a_tick / 1000:.1f} kB a tick"
    )


def crowd(path: Path, seconds: float, requests: int) -> list[Verdict]:
    """Measure a server with thirty viewers, and one who sorts among them."""
    with server(path) as running:
        ready(running)
        with crowd_elsewhere(running.address, [WINDOW | wish for wish in CROWD]):
            time.sleep(3)
            used = running.percent(seconds)
            memory = running.rss_bytes() / 1e6
            one = Viewer(running.address, **WINDOW)
            taken = answers_ms(one, sort_wishes(requests), 0.073)
            one.close()
            scrape = _metrics(running, used)[0].value
    return [
        Verdict("thirty viewers, processor", used, 10, "% of a core"),
        Verdict("thirty viewers, memory", memory, 120, "MB"),
        Verdict("sort request among thirty, 99 of 100", percentile(taken, 99), 50, "ms"),
        Verdict("a scrape of /metrics among thirty, median", scrape, 50, "ms"),
    ]


def _metrics(running: Server, idle: float) -> list[Verdict]:
    """Measure scrapes, which are for Prometheus; ``idle`` % of a core is used without them.

    As Prometheus does, they use one connection, and each finds a snapshot that none had before.
    """
    taken = []
    with httpx2.Client(base_url=running.origin, headers=running.bearer, timeout=PATIENCE_S) as to:
        to.get("/metrics")
        before, began_s = running.cpu_s(), time.perf_counter()
        for _ in range(_SCRAPES):
            time.sleep(_BETWEEN_SCRAPES_S)
            asked_s = time.perf_counter()
            text = to.get("/metrics").text
            taken.append((time.perf_counter() - asked_s) * 1000)
        used_s = running.cpu_s() - before - idle / 100 * (time.perf_counter() - began_s)
    series = sum(not line.startswith("#") for line in text.splitlines())
    return [
        Verdict("a scrape of /metrics, median", bench.median(taken), 50, "ms"),
        Verdict("a scrape of /metrics, processor", used_s / _SCRAPES * 1000, 50, "ms each"),
        Verdict("series of /metrics", series, 1500, "series"),
    ]


def script_kb() -> float:
    """Return the page's JavaScript, gzipped, in kB."""
    return sum(len(gzip.compress(path.read_bytes())) for path in ASSETS.glob("*.js")) / 1000


def in_browser(path: Path, seconds: float) -> list[Verdict]:
    """Measure the page in a browser."""
    import web_browser  # noqa: PLC0415 - needs Playwright

    with server(path) as running, web_browser.chromium() as browser:
        ready(running)
        paints = [web_browser.first_paint_ms(browser, running) for _ in range(7)]
        with web_browser.opened(browser, running) as page:
            clicks = web_browser.clicks_ms(page, 60)
            tasks, used_ms = web_browser.tasks_ms(page, seconds)
    return [
        Verdict("first paint of data, median", bench.median(paints), 700, "ms"),
        Verdict("click on a title to painted, 95 of 100", percentile(clicks, 95), 100, "ms"),
        Verdict(f"tasks over 50 ms in {seconds:.0f} s", len(tasks), 0, "tasks"),
        Verdict("the page's thread, processor, all tasks of a tick", used_ms, 50, "ms"),
    ]


def heap_growth(folder: Path) -> Verdict:
    """Measure an hour of the page, with a publisher in a hurry."""
    import web_browser  # noqa: PLC0415 - needs Playwright

    path = folder / "fast.sock"
    with publisher(SMALL, path, every_s=_FAST_S), server(path) as running:
        ready(running)
        with (
            web_browser.chromium() as browser,
            web_browser.opened(browser, running, "#sort=pid") as page,
        ):
            grown = web_browser.growth_bytes(page, _SETTLE_S, _HOUR * _FAST_S)
    return Verdict("the browser's heap grows in an hour", grown / 1e6, 2, "MB")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0, help="of measured processor time")
    parser.add_argument("--requests", type=int, default=300, help="that sort")
    parser.add_argument("--no-browser", action="store_true", help="only the server")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "daemon.sock"
        with publisher(LARGE, path):
            verdicts = one_viewer(path, given.seconds, given.requests)
            flows = flows_viewer(path, given.seconds)
            verdicts += crowd(path, given.seconds, given.requests)
            if not given.no_browser:
                verdicts += in_browser(path, 60)
        if not given.no_browser:
            verdicts += [
                Verdict("JavaScript, gzipped", script_kb(), 120, "kB"),
                heap_growth(Path(folder)),
            ]
    return bench.report(f"{bench.machine()}\n{flows}", verdicts)


if __name__ == "__main__":
    sys.exit(main())
