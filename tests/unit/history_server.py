"""A server of the past with other limits: ``python history_server.py DIRECTORY SOCKET JSON``.

With "slow", the question what is kept never has an answer.
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Any

from pbmon_client.history.past import Past
from pbmon_client.past.answering import PastAnswers
from pbmon_client.past.budget import QueryBudget
from pbmon_client.past.listening import listening
from pbmon_client.past.server import HistoryServer, ServerLimits


def _never(_past: Past) -> None:
    while True:
        pass


def run(directory: Path, path: Path, said: dict[str, Any]) -> None:
    if said.get("slow"):
        Past.kept = _never  # type: ignore[method-assign,assignment]
    signal.signal(signal.SIGTERM, lambda _signal, _frame: sys.exit(0))
    limits = ServerLimits(**said.get("limits", {}))
    budget = QueryBudget(**said.get("budget", {}))
    with listening(path) as listener:
        print("ready", flush=True)
        HistoryServer(listener, PastAnswers(directory, "no-such-group"), limits, budget).run()


if __name__ == "__main__":
    run(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))
