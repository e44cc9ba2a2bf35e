"""The C side compiles with the offsets of every recorded kernel, for every choice of modes."""

from __future__ import annotations

import json
import logging
import subprocess
from pathlib import Path
from typing import Any, cast

import pytest

from pbmond.config import Config
from pbmond.kernel.attach import _interpreters, _request
from tests.kernels.recorded_btf import kernels

Said = dict[str, dict[str, str | None]]


def compile_all(request: dict[str, Any], *names: str) -> subprocess.CompletedProcess[str]:
    """Run compile_all for these kernels, or all, under the first Python that has bcc."""
    for python in _interpreters(Config()):
        done = subprocess.run(
            [python, "-m", "tests.kernels.compile_all", *names],
            input=json.dumps(request),
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 0:
            return done
    pytest.fail("no Python with bcc")


@pytest.fixture(scope="module")
def request_() -> dict[str, Any]:
    return _request(Config(), logging.getLogger("pbmond"))


@pytest.fixture(scope="module")
def said(request_: dict[str, Any]) -> Said:
    """What bcc says of each choice, for each kernel."""
    return cast("Said", json.loads(compile_all(request_).stdout))


@pytest.mark.parametrize("kernel", kernels())
def test_the_c_side_compiles_for_a_kernel(kernel: str, said: Said) -> None:
    assert {choice.rpartition("-")[2] for choice in said[kernel]} >= {"typed", "probe"}
    assert not {choice: words for choice, words in said[kernel].items() if words}


def test_a_size_that_differs_from_the_c_side_does_not_compile(request_: dict[str, Any]) -> None:
    tables = [[name, key, slot + 8, room] for name, key, slot, room in request_["tables"]]
    kernel = next(iter(kernels()))
    done = compile_all({**request_, "tables": tables}, kernel)
    assert all(json.loads(done.stdout)[kernel].values())
    assert "FLOW_SLOTS" in done.stderr
