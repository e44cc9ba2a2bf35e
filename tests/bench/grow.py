"""An hour of the terminal interface, fast-forwarded: prints the bytes that stay behind."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from client_messages import flow, message, process
from tui_driver import Driver

#: By then everything that is kept for a while is full.
_SETTLED = 600
_KEYS = ("down", "2", "down", "5", "6", "7", "8", "9", "1", "/", "w", "1", "enter", "esc")


def main(snapshots: int) -> None:
    tracemalloc.start()
    driver = Driver(120, 40)
    before = 0
    for seq in range(2, snapshots + 2):
        # Every process lives for 50 seconds; none comes back.
        pids = range(seq, seq + 50)
        driver.receive(
            message(
                [process(pid, b"w%d" % pid, net_rx_bytes_per_s=float(pid % 7)) for pid in pids],
                [flow(pid, family=2, remote=pid.to_bytes(16, "little")) for pid in pids],
                [flow(pid, path=b"/f%d" % pid) for pid in pids],
                seq=seq,
            )
        )
        driver.type(_KEYS[seq % len(_KEYS)])
        driver.draw()
        driver.source.requests.clear()
        driver.screen.written.truncate(0)
        driver.screen.written.seek(0)
        driver.wait(1)
        if seq == _SETTLED:
            gc.collect()
            before = tracemalloc.get_traced_memory()[0]
    gc.collect()
    print(tracemalloc.get_traced_memory()[0] - before)
