"""Fixtures for tests of the web server as it runs: a socket, a publisher on it, and the server."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.web.servers import ROOT, Server, serving, started

sys.path.insert(0, str(ROOT / "tests" / "unit"))  # the made-up world is that of the unit tests

from fake_publisher import Publisher


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The daemon's socket."""
    return tmp_path / "daemon.sock"


@pytest.fixture
def publisher(path: Path) -> Iterator[Publisher]:
    with contextlib.closing(Publisher(path)) as made:
        yield made


@pytest.fixture
def serve(path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    with contextlib.ExitStack() as stack:
        yield lambda *arguments: stack.enter_context(started(path, *arguments))


@pytest.fixture
def server(path: Path) -> Iterator[Server]:
    with serving(path) as made:
        yield made
