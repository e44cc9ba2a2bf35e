"""Processes and viewers that come and go: the collector's memory stays below 100 MB.

The issue's figures: ten minutes of 200 processes a second with 50 viewers a second took it from 50
to 157 MB. In full: ``PBMON_CHURN_S=600 pytest tests/faults/test_churn_memory.py``.
"""

from __future__ import annotations

import os
from pathlib import Path

from churn_memory import Visitors, churn, rss_mb

from pbmond.selftest.private_daemon import Daemon

SECONDS = float(os.environ.get("PBMON_CHURN_S", "15"))
MOST_MB = 100


def test_two_hundred_processes_and_fifty_viewers_a_second_take_no_more_than_100_mb(
    tmp_path: Path,
) -> None:
    with Daemon(
        tmp_path, interval_s=1.0, topic=b"all/processes", exited_linger_s=10, capacity=32_768
    ) as daemon:
        visitors = Visitors(daemon)
        with churn(200):
            visitors.come_and_go(SECONDS, 50)
        during = rss_mb(daemon.process.pid)
        visitors.leave()
        message = daemon.snapshot()
    assert message.processes.length > 100
    assert during < MOST_MB
