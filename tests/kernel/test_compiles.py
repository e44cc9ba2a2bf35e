"""The C side compiles with the offsets of every recorded kernel, for every choice of modes."""

from __future__ import annotations

import json
import logging
import subprocess
from pathlib import Path
from typing import cast

import pytest

from pbmond.config import Config
from pbmond.kernel.attach import _interpreters, _request
from tests.kernels.recorded_btf import kernels

Said = dict[str, dict[str, str | None]]


@pytest.fixture(scope="module")
def said() -> Said:
    """What bcc says of each choice, for each kernel, under the first Python that has bcc."""
    request = json.dumps(_request(Config(), logging.getLogger("pbmond")))
    done = [
        subprocess.run(
            [python, "-m", "tests.kernels.compile_all"],
            input=request,
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=False,
        )
        for python in _interpreters(Config())
    ]
    output = next((each.stdout for each in done if each.returncode == 0), "")
    assert output, [each.stderr for each in done]
    return cast("Said", json.loads(output))


@pytest.mark.parametrize("kernel", kernels())
def test_the_c_side_compiles_for_a_kernel(kernel: str, said: Said) -> None:
    assert {choice.rpartition("-")[2] for choice in said[kernel]} >= {"typed", "probe"}
    assert not {choice: words for choice, words in said[kernel].items() if words}
