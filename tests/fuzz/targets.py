"""The table of targets: what is fuzzed, and where an input begins."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """One reader of bytes; ``check`` raises if a claim about it does not hold for its input."""

    name: str
    check: Callable[[bytes], object]
    seeds: Callable[[], Iterable[bytes]]


def all_targets() -> dict[str, Target]:
    """Return every target by name, in order."""
    # Imported here: the engine instruments what these modules import.
    from tests.fuzz import client_targets, daemon_targets  # noqa: PLC0415

    return {each.name: each for each in (*daemon_targets.TARGETS, *client_targets.TARGETS)}
