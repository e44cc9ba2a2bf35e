"""Fixtures for tests of the client: a socket's path, a publisher on it, and the command."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from client_process import Client, Start
from fake_publisher import PATIENCE_S, Publisher


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "daemon.sock"


@pytest.fixture
def publisher(path: Path) -> Iterator[Publisher]:
    with contextlib.closing(Publisher(path)) as made:
        yield made


@pytest.fixture
def client(path: Path) -> Iterator[Start]:
    with contextlib.ExitStack() as stack:

        def start(*arguments: str, **options: Any) -> Client:
            started = Client(path, "--wait", str(PATIENCE_S), *arguments, **options)
            stack.enter_context(started.process)  # closes its pipes, and waits
            stack.callback(started.process.kill)
            return started

        yield start
