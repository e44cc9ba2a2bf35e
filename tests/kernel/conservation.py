"""The conservation law on a real snapshot: rows and what is retired make up the totals."""

from __future__ import annotations

from pbmond import wire
from pbmond.fields import COUNTERS


def assert_conserved(message: wire.Message) -> None:
    """Assert for every counter: sum over processes + sum over retired = total."""
    for name in COUNTERS:
        rows = sum(message.processes.columns[name])
        retired = sum(message.retired.columns[name])
        assert rows + retired == message.totals[name], name
