"""A row that is being retired takes no more bytes once its final value may have been read."""

from __future__ import annotations

import logging
import os
import tempfile

import numpy as np
import pytest

from pbmond.config import Config
from pbmond.kernel import maps
from pbmond.kernel.attach import attach
from pbmond.selftest.workloads.programs.aio import Context

_PREAD = 0
_NONE = np.zeros(0, np.uint64)


def test_a_result_that_is_taken_while_its_row_is_retired_counts_for_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kernel = attach(Config(), logging.getLogger("test"))
    context, wait_for_programs = Context(), maps._wait_for_programs
    taken: list[int] = []

    def take_result_then() -> None:
        """Take it at the earliest moment at which ``delete`` may read the final value."""
        wait_for_programs()
        taken.extend(context.results())

    with tempfile.TemporaryFile() as file:
        file.write(bytes(8192))
        file.flush()
        context.prepare_plain(0, _PREAD, file.fileno(), 4001)
        context.submit()  # which claims the row
        _, files, _ = kernel.read()
        mine = files.keys["pid"] == os.getpid()
        mine &= files.keys["inode"] == os.fstat(file.fileno()).st_ino
        (row,) = files.counters[mine]
        monkeypatch.setattr(maps, "_wait_for_programs", take_result_then)
        try:
            _, (final,), _ = kernel.delete(_NONE, files.counters["id"][mine], _NONE)
            _, _, overflow = kernel.read()
        finally:
            kernel.close()
    assert taken == [4001]
    assert final["rx_bytes"] == row["rx_bytes"]
    assert overflow.counters["rx_bytes"][overflow.keys["pid"] == os.getpid()].tolist() == taken
