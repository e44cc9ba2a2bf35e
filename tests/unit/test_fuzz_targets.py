"""The fuzz targets hold on their own seeds, and on what a blind mutation makes of them."""

from __future__ import annotations

import random

import pytest

from tests.fuzz.targets import all_targets

TARGETS = all_targets()
ROUNDS = 60


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Overwrite, cut or repeat a part of ``data``."""
    at = chance.randrange(len(data) + 1)
    part = chance.choice((chance.randbytes(4), data[at : at + 8] * 2, b"", b"9" * 5000))
    return data[:at] + part + data[at + chance.randrange(9) :]


@pytest.mark.unmeasured
@pytest.mark.parametrize("name", TARGETS)
def test_a_target_holds_near_its_seeds(name: str) -> None:
    target, chance = TARGETS[name], random.Random(name)
    for seed in target.seeds():
        target.check(seed)
        for _ in range(ROUNDS):
            target.check(mutated(seed, chance))


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_takes_no_input_at_all(name: str) -> None:
    TARGETS[name].check(b"")
