"""What the daemon says of its picture's completeness, in words; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pbmon_client.model import View as Snapshot


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that the numbers leave out. ``key`` tells it from other warnings.

    A ``lasting`` one is a trait of the host, and is remembered once it was acknowledged.
    """

    key: str
    text: str
    role: str
    lasting: bool = False


def warnings(snapshot: Snapshot) -> list[Notice]:
    """Say what the numbers of a snapshot leave out, the gravest first."""
    health = snapshot.health
    epoch = snapshot.message.epoch
    made = []
    for reason, count in _items(health.get("lost")):
        if count:
            made.append(
                Notice(f"{epoch} lost {reason} {count}", f"LOST {reason}: {count:,}", "alert")
            )
    if health.get("status") != "complete":
        words = "; ".join(_texts(health.get("reasons"))) or "some bytes are missing from the rows"
        made.append(Notice(f"{epoch} incomplete {words}", f"INCOMPLETE {words}", "alert"))
    for part, rung in _items(health.get("rungs")):
        if rung == "off":
            made.append(
                Notice(f"rung {part}", f"NOT COUNTED {part}: switched off", "warn", lasting=True)
            )
    unseen = ", ".join(_texts(health.get("unseen")))
    if unseen:
        made.append(Notice(f"unseen {unseen}", f"unseen here: {unseen}", "warn", lasting=True))
    return made


def status(snapshot: Snapshot) -> tuple[str, str]:
    """Return the role and the word for the header."""
    health = snapshot.health
    lost = sum(count for _reason, count in _items(health.get("lost")) if isinstance(count, int))
    if health.get("status") != "complete":
        return "alert", " INCOMPLETE "
    if lost:
        return "warn", f"lost {lost:,}"
    off = [part for part, rung in _items(health.get("rungs")) if rung == "off"]
    if off:
        return "warn", f"without {', '.join(off)}"
    return "good", "complete"


def _items(value: Any) -> list[tuple[str, Any]]:  # noqa: ANN401 - whatever a daemon sends
    return list(value.items()) if isinstance(value, Mapping) else []


def _texts(value: Any) -> list[str]:  # noqa: ANN401
    return [str(item) for item in value] if isinstance(value, list) else []
