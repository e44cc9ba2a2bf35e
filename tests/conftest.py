"""How all tests run: ``--random-order SEED`` shuffles the unit tests, and Ctrl-C works."""

from __future__ import annotations

import random
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, settings

# Hypothesis would fail what takes long, and on a busy machine anything may.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

_UNIT: Final = Path(__file__).parent / "unit"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--random-order",
        metavar="SEED",
        type=int,
        help="shuffle the modules of unit tests, and the tests in each; kernel tests share daemons"
        " and stay in order",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "unmeasured: repeats for long what shorter tests run too, and coverage would double it",
    )
    # A shell that runs the tests in the background has them, and all they start, ignore Ctrl-C.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header(config: pytest.Config) -> str | None:
    seed = config.getoption("--random-order")
    return None if seed is None else f"random order: {seed}"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    seed = config.getoption("--random-order")
    if seed is None:
        return
    unit = [item for item in items if item.path.is_relative_to(_UNIT)]
    others = [item for item in items if not item.path.is_relative_to(_UNIT)]
    random.Random(seed).shuffle(unit)
    # A module's tests stay together: what they share would be made again for nearly each of them.
    places = {item.path: place for place, item in reversed([*enumerate(unit)])}
    unit.sort(key=lambda item: places[item.path])
    items[:] = unit + others


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Let coverage rest during a test that is marked ``unmeasured``."""
    measure = sys.gettrace()
    if item.get_closest_marker("unmeasured") is not None:
        sys.settrace(None)
    try:
        return (yield)
    finally:
        sys.settrace(measure)
