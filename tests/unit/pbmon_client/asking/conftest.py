"""What tests that ask the past on the command line share."""

from __future__ import annotations

import pytest


@pytest.fixture
def wide_in_berlin(berlin: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Be in Berlin, with lines of 120 characters."""
    monkeypatch.setenv("COLUMNS", "120")
