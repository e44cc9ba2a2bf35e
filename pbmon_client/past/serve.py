"""``pbmon-client history serve``: answers every user about the past, until it is told to end."""

from __future__ import annotations

import signal
from typing import NoReturn

from pbmon_client.past.answering import PastAnswers
from pbmon_client.past.listening import listening
from pbmon_client.past.serve_options import ServeOptions
from pbmon_client.past.server import HistoryServer


def run(chosen: ServeOptions) -> NoReturn:
    """Serve. OSError or OccupiedError if it cannot listen; SystemExit at SIGTERM."""
    with listening(chosen.listen) as listener:
        signal.signal(signal.SIGTERM, _end)
        HistoryServer(listener, PastAnswers(chosen.directory, chosen.group)).run()
    raise SystemExit(0)


def _end(_signal: int, _frame: object) -> NoReturn:
    raise SystemExit(0)
