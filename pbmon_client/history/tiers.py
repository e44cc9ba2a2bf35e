"""The tiers: how wide their buckets are, what a block and a file hold, and how long they stay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


@dataclass(frozen=True, slots=True)
class Tier:
    """One tier; times are seconds.

    A block has the buckets of ``block`` seconds, and a file those of ``span``. Each is a multiple
    of the one before, and of the finer tier's. ``keep`` is how old a file may become, ``share`` its
    part of the size. A bucket has about ``processes`` rows, and ``flows`` of each other table.
    """

    width: int
    block: int
    span: int
    keep: int
    share: float
    processes: int
    flows: int


#: From the finest to the coarsest.
TIERS: Final = (
    Tier(1, _MINUTE, _HOUR, 6 * _HOUR, 0.25, 96, 24),
    Tier(10, 10 * _MINUTE, 6 * _HOUR, 7 * _DAY, 0.5, 112, 14),
    Tier(_MINUTE, _HOUR, _DAY, 30 * _DAY, 0.2, 160, 24),
    Tier(_HOUR, 6 * _HOUR, 30 * _DAY, 366 * _DAY, 0.05, 400, 150),
)
#: How old the files of each tier become, unless the configuration says otherwise.
KEEPS: Final = tuple(tier.keep for tier in TIERS)
#: The busiest processes of a tick, and connections and files each; its other ones fold at once.
TICK_PROCESSES: Final = TIERS[0].processes
TICK_FLOWS: Final = TIERS[0].flows
#: What a bucket hands to the next tier: more rows than are written, so that few fold early.
HANDED_ON: Final = (600, 400)
